//! What a tree may hold beside records.

use super::{DIR, FILE, GITLINK, LINK, Lab, PROGRAM, bounded, each, file};
use crate::support::object_name_length;

const ID: &str = "0123456789abcdef";
const NAME: &[u8] = b"0123456789abcdef-x.md";

type Case = (&'static str, (fn(&Lab), &'static str));

#[test]
fn whatever_a_tree_holds_the_records_beside_it_stay() {
    if !bounded() {
        return;
    }
    let cases: [Case; 24] = [
        ("a link as a record", (|lab| leaf(lab, LINK, &lab.blob(b"/etc/passwd")), "mode 120000")),
        ("a gitlink as a record", (|lab| leaf(lab, GITLINK, &"1".repeat(object_name_length())), "mode 160000")),
        ("an executable record", (|lab| leaf(lab, PROGRAM, &record(lab)), "mode 100755")),
        ("a directory as a record", (|lab| leaf(lab, DIR, &lab.root()), "failures/0/1/2/")),
        ("a link as a kind", (|lab| lab.plant("", &[(LINK, b"spikes", &lab.blob(b"/etc"))]), "spikes")),
        ("a link as a shard", (|lab| lab.plant("failures", &[(LINK, b"w", &lab.blob(b"/etc"))]), "failures/")),
        (
            "a gitlink as a kind",
            (|lab| lab.plant("", &[(GITLINK, b"spikes", &"1".repeat(object_name_length()))]), "spikes"),
        ),
        (
            "a gitlink as a shard",
            (|lab| lab.plant("failures", &[(GITLINK, b"w", &"1".repeat(object_name_length()))]), "failures/"),
        ),
        ("a file as a kind", (|lab| lab.plant("", &[(FILE, b"spikes", &record(lab))]), "spikes")),
        ("..", (|lab| everywhere(lab, b".."), "..")),
        (".", (|lab| everywhere(lab, b"."), ".")),
        (".git", (|lab| everywhere(lab, b".git"), ".git")),
        (".GIT", (|lab| everywhere(lab, b".GIT"), ".GIT")),
        ("git~1", (|lab| everywhere(lab, b"git~1"), "git~1")),
        (".git with a character of no width", (|lab| everywhere(lab, ".git\u{200c}".as_bytes()), ".git")),
        ("a line break", (|lab| everywhere(lab, b"a\nb"), "a\\\\nb")),
        ("an escape", (|lab| everywhere(lab, b"\x1b]0;x\x07"), "u{1b}")),
        ("no UTF-8", (|lab| everywhere(lab, b"\xff\xfe"), "no part of a memory")),
        ("a slash", (|lab| everywhere(lab, b"a/b"), "a/b")),
        ("a name as long as a book", (|lab| everywhere(lab, &[b'x'; 4_000]), "xxx")),
        ("an escape after the id", (|lab| named(lab, b"0123456789abcdef-\x1b[31m.md"), "u{1b}")),
        ("no UTF-8 after the id", (|lab| named(lab, b"0123456789abcdef-\xff.md"), "0123456789abcdef")),
        ("a name twice", (|lab| twice(lab), "failures/0/1/2/")),
        (
            "a record in the wrong leaf",
            (|lab| lab.plant("failures/z/z/z", &[(FILE, NAME, &record(lab))]), "failures/z/z/z/"),
        ),
    ];
    each(cases, |case, (plant, named)| {
        let lab = Lab::new();
        plant(&lab);
        lab.case(case, named);
    });
}

/// libgit2 reads no tree that has such a name, so nothing on that commit can be read; the ledger goes back, and says so.
#[test]
fn a_name_that_no_library_reads_does_not_take_the_memory_away() {
    if !bounded() {
        return;
    }
    let lab = Lab::new();
    named(&lab, &b"x".repeat(100_000));
    let said = lab.elf(&["list"]).err;
    assert!(said.contains("was set back to"), "{said}");
    lab.works("a name of 100,000 bytes");
    assert!(lab.findings().contains("\"clean\":true"));
}

#[test]
fn two_files_with_one_id_are_named_and_one_of_them_is_read() {
    if !bounded() {
        return;
    }
    let cases: [Case; 3] = [
        ("two slugs", (two_slugs, "same id")),
        ("two kinds", (|lab| two_kinds(lab, "success"), "same id")),
        ("a record and an event", (|lab| two_kinds(lab, "event"), "same id")),
    ];
    each(cases, |case, (plant, named)| {
        let lab = Lab::new();
        plant(&lab);
        lab.case(case, named);
        assert!(lab.elf(&["show", ID]).out.contains(ID), "{case}");
    });
}

#[test]
fn size_and_depth_are_bounded() {
    if !bounded() {
        return;
    }
    let cases: [Case; 6] = [
        ("100 MB in a file", (|lab| leaf(lab, FILE, &lab.blob(&vec![b'x'; 100 << 20])), "104857600 bytes")),
        ("100,000 files in a leaf", (|lab| crowd(lab, 100_000), "no front matter")),
        ("100,000 entries at the root", (|lab| strangers(lab, 100_000), "100000 entries")),
        ("5,000 directories deep", (|lab| deep(lab, 5_000, "deep"), "deep")),
        ("5,000 directories deep below a leaf", (|lab| deep(lab, 5_000, "failures/0/0/0/deep"), "failures/0/0/0/")),
        ("the same directory everywhere", (bomb, "no part of a memory")),
    ];
    each(cases, |case, (plant, named)| {
        let lab = Lab::new();
        plant(&lab);
        lab.case(case, named);
    });
}

#[test]
fn a_push_of_a_bad_tree_is_stopped_in_bounded_time() {
    if !bounded() {
        return;
    }
    let cases: [Case; 5] = [
        ("a gitlink", (|lab| leaf(lab, GITLINK, &"1".repeat(object_name_length())), "mode 160000")),
        ("100 MB", (|lab| leaf(lab, FILE, &lab.blob(&vec![b'x'; 100 << 20])), "104857600 bytes")),
        ("100,000 files in a leaf", (|lab| crowd(lab, 100_000), "no front matter")),
        ("the same directory everywhere", (bomb, "no part of a memory")),
        ("two slugs", (two_slugs, "has the id of")),
    ];
    each(cases, |case, (plant, named)| {
        let lab = Lab::new();
        let (elf, sandbox) = (lab.sandbox.root().join("remote"), &lab.sandbox);
        sandbox.git(["init", "-q", "--bare", elf.to_str().unwrap()]).ok();
        sandbox.elf(["init"]).ok();
        plant(&lab);
        let pushed = sandbox.git(["push", "-q", elf.to_str().unwrap(), "refs/elf/memory"]);
        assert_ne!(pushed.status, 0, "{case}: it was pushed: {}", pushed.err);
        assert!(pushed.err.contains(named), "{case}: {}", super::head(&pushed.err));
    });
}

fn record(lab: &Lab) -> String {
    lab.blob(file(ID, "failure", "").as_bytes())
}

fn leaf(lab: &Lab, mode: &str, oid: &str) {
    lab.plant("failures/0/1/2", &[(mode, NAME, oid)]);
}

fn named(lab: &Lab, name: &[u8]) {
    lab.plant("failures/0/1/2", &[(FILE, name, &record(lab))]);
}

/// Puts a name at the root, in a kind, in a leaf and beside the good record.
fn everywhere(lab: &Lab, name: &[u8]) {
    let good = lab.good.clone();
    let beside = format!("failures/{}/{}/{}", &good[..1], &good[1..2], &good[2..3]);
    for dir in ["", "failures", "failures/0/1/2", &beside] {
        lab.plant(dir, &[(FILE, name, &record(lab))]);
    }
    lab.plant("", &[(DIR, &[name, b"-dir"].concat(), &lab.root())]);
}

fn twice(lab: &Lab) {
    let other = lab.blob(file(ID, "failure", "severity = 1").as_bytes());
    lab.plant("failures/0/1/2", &[(FILE, NAME, &record(lab)), (FILE, NAME, &other)]);
}

fn two_slugs(lab: &Lab) {
    lab.plant("failures/0/1/2", &[(FILE, NAME, &record(lab)), (FILE, b"0123456789abcdef-y.md", &record(lab))]);
}

fn two_kinds(lab: &Lab, kind: &str) {
    let more = if kind == "event" { format!("verb = \"validates\"\ntarget = \"{}\"", lab.good) } else { String::new() };
    leaf(lab, FILE, &record(lab));
    let dir = if kind == "event" { "events" } else { "successes" };
    lab.plant_record(dir, ID, file(ID, kind, &more).as_bytes());
}

/// Puts files without content into one leaf.
fn crowd(lab: &Lab, count: usize) {
    let empty = lab.blob(b"");
    let names: Vec<_> = (0..count).map(|n| format!("012{n:013}-x.md").into_bytes()).collect();
    let entries: Vec<_> = names.iter().map(|name| (FILE, &name[..], &empty[..])).collect();
    lab.plant("failures/0/1/2", &entries);
}

fn strangers(lab: &Lab, count: usize) {
    let empty = lab.blob(b"");
    let names: Vec<_> = (0..count).map(|n| format!("stranger-{n:06}").into_bytes()).collect();
    let entries: Vec<_> = names.iter().map(|name| (FILE, &name[..], &empty[..])).collect();
    lab.plant("", &entries);
}

/// Nests directories; the objects are made by one git.
fn deep(lab: &Lab, levels: usize, path: &str) {
    let mut stream = b"blob\nmark :1\ndata 1\nx\ncommit refs/heads/deep\ncommitter A <a@b> 0 +0000\ndata 0\n".to_vec();
    stream.extend_from_slice(format!("M 100644 :1 {}x\n", "d/".repeat(levels)).as_bytes());
    lab.feed(&["fast-import", "--quiet", "--force"], &stream);
    let tree = String::from_utf8(lab.feed(&["rev-parse", "deep^{tree}"], b"")).unwrap();
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    lab.plant(dir, &[(DIR, name.as_bytes(), tree.trim())]);
}

/// Four objects that stand for billions of paths.
fn bomb(lab: &Lab) {
    let empty = lab.blob(b"");
    let names: Vec<_> = (0..1_000).map(|n| format!("zzz{n:013}-x.md").into_bytes()).collect();
    let mut tree = lab.tree(&names.iter().map(|name| (FILE.into(), name.clone(), empty.clone())).collect::<Vec<_>>());
    for _ in 0..3 {
        let digits = b"0123456789abcdefghjkmnpqrstvwxyz";
        tree = lab.tree(&digits.iter().map(|digit| (DIR.into(), vec![*digit], tree.clone())).collect::<Vec<_>>());
    }
    lab.plant("", &[(DIR, b"spikes", &tree), (DIR, b"decisions", &tree), (DIR, b"heuristics", &tree)]);
}
