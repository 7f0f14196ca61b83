//! What may stand in a git directory that somebody packed up, and in a working tree. Nothing outside is read or changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Lab, bounded, each};

/// What has to come of it.
#[derive(Clone, Copy)]
enum Then {
    /// Everything works, and `check` names this.
    Works(&'static str),
    /// Every verb ends by itself, and this is said.
    Says(&'static str),
}
use Then::{Says, Works};

/// What a link leads to: never changed.
const VICTIM: &str = "victim";

#[test]
fn whatever_is_in_the_git_directory_nothing_outside_is_touched() {
    if !bounded() {
        return;
    }
    let cases: [(&str, (fn(&Lab), Then)); 43] = [
        ("elf as a link", (|lab| outside(lab, "elf"), Says("symbolic link"))),
        ("elf as a file", (|lab| swap(lab, "elf", |path| fs::write(path, "x").unwrap()), Says("no directory"))),
        ("elf/spool as a link", (|lab| link(lab, "elf/spool"), Says("symbolic link"))),
        ("elf/spool/bad as a link", (|lab| link(lab, "elf/spool/bad"), Says("symbolic link"))),
        ("elf/tmp as a link", (|lab| link(lab, "elf/tmp"), Says("symbolic link"))),
        ("objects/elf-tmp as a link", (|lab| link(lab, "objects/elf-tmp"), Works(""))),
        ("elf/lock as a link", (|lab| link_file(lab, "elf/lock"), Says("elf/lock"))),
        ("elf/lock as a pipe", (|lab| pipe(lab, "elf/lock"), Says("no regular file"))),
        ("elf/lock as a directory", (|lab| swap(lab, "elf/lock", mkdir), Says("elf/lock"))),
        ("elf/lock of 10 GB", (|lab| huge(lab, "elf/lock"), Works(""))),
        ("elf/lock with escapes", (|lab| write(lab, "elf/lock", b"1 \x1b[31m 2026\n"), Works(""))),
        ("index.db as a link", (|lab| link_file(lab, "elf/index.db"), Works(""))),
        (
            "index.db as a link to nothing",
            (|lab| swap(lab, "elf/index.db", |path| symlink("../new", path).unwrap()), Works("")),
        ),
        ("index.db as a pipe", (|lab| pipe(lab, "elf/index.db"), Works(""))),
        ("index.db as a directory", (|lab| swap(lab, "elf/index.db", mkdir), Works(""))),
        ("index.db of zeros", (|lab| huge(lab, "elf/index.db"), Works(""))),
        ("index.db with a view that never ends", (|lab| forged(lab, VIEW), Works(""))),
        ("index.db with triggers", (|lab| forged(lab, TRIGGERS), Works(""))),
        ("index.db with a table that loads code", (|lab| forged(lab, LOADER), Works(""))),
        ("index.db of somebody else", (|lab| forged(lab, "PRAGMA application_id = 7; CREATE TABLE t (x)"), Works(""))),
        ("the log of the index as a link", (|lab| link_file(lab, "elf/index.db-wal"), Works(""))),
        ("the log of the index as a pipe", (|lab| pipe(lab, "elf/index.db-wal"), Works(""))),
        ("the memory of the index as a link", (|lab| link_file(lab, "elf/index.db-shm"), Works(""))),
        ("the journal of the index as a link", (|lab| link_file(lab, "elf/index.db-journal"), Works(""))),
        ("the seal of the index as a link", (|lab| link_file(lab, "elf/index.seal"), Works(""))),
        ("the seal of the index as a pipe", (|lab| pipe(lab, "elf/index.seal"), Works(""))),
        ("the ref as a link", (|lab| link_file(lab, "refs/elf/memory"), Says("symbolic link"))),
        ("refs/elf as a link", (|lab| outside(lab, "refs/elf"), Says("symbolic link"))),
        ("the ref as a pipe", (|lab| pipe(lab, "refs/elf/memory"), Says("neither a file nor a directory"))),
        ("the ref of 10 GB", (|lab| huge(lab, "refs/elf/memory"), Says("too large"))),
        ("the reflog as a link", (|lab| link_file(lab, "logs/refs/elf/memory"), Says("symbolic link"))),
        ("the reflogs as a link", (|lab| link(lab, "logs/refs/elf"), Says("symbolic link"))),
        (
            "a spool entry as a link",
            (|lab| link_file(lab, "elf/spool/0123456789abcdef-x.md"), Works("0123456789abcdef-x.md")),
        ),
        ("a spool entry as a pipe", (|lab| pipe(lab, "elf/spool/p.md"), Works("p.md"))),
        ("a spool entry as a directory", (|lab| swap(lab, "elf/spool/d.md", mkdir), Works("d.md"))),
        ("a spool entry of 10 GB", (|lab| huge(lab, "elf/spool/h.md"), Works("h.md"))),
        ("a spool entry under another hash", (wrong_hash, Works("0123456789abcdef-0.md"))),
        ("a spool entry with escapes in its name", (|lab| write(lab, "elf/spool/\x1b[31m\n.md", b"x"), Works("u001b"))),
        ("a spool entry whose name is no UTF-8", (not_utf8, Works(".md"))),
        ("healed.log as a link", (healed, Works(""))),
        ("the ref on a tag", (|lab| on(lab, "tag"), Works(""))),
        ("the ref on a blob", (|lab| on(lab, "HEAD:README"), Works(""))),
        ("an object as a pipe", (|lab| pipe(lab, &object(lab, "refs/elf/memory^{tree}")), Says("it is no file"))),
    ];
    each(cases, |case, (plant, then)| {
        let lab = Lab::new();
        let victim = lab.sandbox.root().join(VICTIM);
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("keep"), "precious\n").unwrap();
        plant(&lab);
        let before = listing(&victim);
        match then {
            Works("") => {
                lab.works(case);
                assert!(lab.findings().contains("\"clean\":true"), "{case}: {}", lab.findings());
            }
            Works(named) => lab.case(case, named),
            Says(text) => says(&lab, case, text),
        }
        lab.elf(&["doctor"]);
        lab.elf(&["locks"]);
        lab.elf(&["stats"]);
        assert_eq!(listing(&victim), before, "{case}: something outside was changed");
        if case == "the ref on a tag" {
            lab.sandbox.git(["cat-file", "-t", "tag"]).ok();
        }
    });
}

/// The other verbs empty a foreign index; `check` looks into it first.
#[test]
fn check_looks_into_a_foreign_index_and_comes_back() {
    if !bounded() {
        return;
    }
    each([("a view", VIEW), ("a trigger", TRIGGERS), ("a loader", LOADER), ("nothing", "")], |case, sql| {
        for args in [&["check", "--json"][..], &["check", "--fix"], &["doctor"]] {
            let lab = Lab::new();
            forged(&lab, sql);
            lab.elf(args);
            lab.works(case);
        }
    });
}

#[test]
fn configuration_of_a_stranger_is_refused_with_its_name() {
    if !bounded() {
        return;
    }
    let cases: [(&str, (fn(&Lab), &str)); 22] = [
        (".elf.toml as a link", (|lab| symlink("/etc/passwd", toml(lab)).unwrap(), ".elf.toml")),
        (".elf.toml as a link to nothing", (|lab| symlink("/nowhere", toml(lab)).unwrap(), ".elf.toml")),
        (".elf.toml as a pipe", (|lab| mkfifo(&toml(lab)), ".elf.toml")),
        (".elf.toml as a directory", (|lab| fs::create_dir(toml(lab)).unwrap(), ".elf.toml")),
        (".elf.toml of 10 GB", (|lab| sparse(&toml(lab)), ".elf.toml")),
        (".elf.toml of brackets", (|lab| set(lab, &format!("ref = {}", "[".repeat(4_000))), ".elf.toml")),
        (".elf.toml of dots", (|lab| set(lab, &format!("{}a = 1", "a.".repeat(2_000))), ".elf.toml")),
        (".elf.toml with NUL", (|lab| set(lab, "ref = \"refs/elf/a\0\""), ".elf.toml")),
        (".elf.toml that is no UTF-8", (|lab| fs::write(toml(lab), b"ref = \"\xff\"").unwrap(), ".elf.toml")),
        (".elf.toml with another key", (|lab| set(lab, "lockTimeout = 0"), "only `ref`")),
        (".elf.toml that leaves", (|lab| set(lab, "ref = \"refs/heads/../../config\""), "elf.ref")),
        (".elf.toml that names HEAD's file", (|lab| set(lab, "ref = \"refs/elf/../../HEAD\""), "elf.ref")),
        (".elf.toml that names a tag", (|lab| set(lab, "ref = \"refs/tags/v1\""), "elf.ref")),
        (".elf.toml that names a lock", (|lab| set(lab, "ref = \"refs/elf/memory.lock\""), "elf.ref")),
        (".elf.toml with an escape", (|lab| set(lab, "ref = \"refs/elf/\\u001b[31m\""), "elf.ref")),
        (".elf.toml with an absolute path", (|lab| set(lab, "ref = \"/etc/passwd\""), "elf.ref")),
        ("elf.ref with a line break", (|lab| config(lab, "elf.ref", "refs/elf/a\nb"), "elf.ref")),
        ("elf.ref as an option", (|lab| config(lab, "elf.ref", "--upload-pack=touch x"), "elf.ref")),
        ("an empty elf.ref", (|lab| config(lab, "elf.ref", ""), "elf.ref")),
        ("elf.lockTimeout without end", (|lab| config(lab, "elf.lockTimeout", "inf"), "elf.lockTimeout")),
        ("elf.lockTimeout that is no number", (|lab| config(lab, "elf.lockTimeout", "nan"), "elf.lockTimeout")),
        ("elf.walLimit beyond 64 bits", (|lab| config(lab, "elf.walLimit", "99999999999g"), "elf.walLimit")),
    ];
    each(cases, |case, (plant, named)| {
        let lab = Lab::new();
        plant(&lab);
        for args in [
            &["list"][..],
            &["search", "x"],
            &["record", "failure", "x"],
            &["check"],
            &["export"],
            &["log"],
            &["doctor"],
        ] {
            let ran = lab.elf(args);
            assert_eq!(ran.status, 2, "{case}: git elf {args:?}: {}", ran.err);
            assert!(ran.err.contains(named), "{case}: git elf {args:?}: {}", ran.err);
            assert!(ran.err.len() < 2_000, "{case}: git elf {args:?} says {} bytes", ran.err.len());
        }
    });
}

#[test]
fn a_branch_of_code_named_by_a_stranger_is_never_written() {
    if !bounded() {
        return;
    }
    let lab = Lab::new();
    lab.sandbox.git(["branch", "code"]).ok();
    set(&lab, "ref = \"refs/heads/code\"");
    let before = lab.sandbox.git(["rev-parse", "code"]).ok().out;
    let ran = lab.elf(&["record", "failure", "x"]);
    assert!(ran.err.contains("no memory of git-elf"), "{}", ran.err);
    assert!(lab.elf(&["list"]).out.is_empty());
    assert_eq!(lab.sandbox.git(["rev-parse", "code"]).ok().out, before);
}

/// A recursive view in the place of the table: whoever reads it never comes back.
const VIEW: &str = "CREATE VIEW record AS WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
    SELECT x AS rowid, x AS id, x AS kind, x AS state, x AS golden, x AS created, x AS path, x AS blob, x AS domain,
    x AS author, x AS agent, x AS title, x AS tags, x AS paths, x AS front, x AS body FROM c;
    CREATE VIEW stamp AS SELECT * FROM record; CREATE VIEW event AS SELECT * FROM record;
    CREATE VIEW misfit AS SELECT * FROM record";
const TRIGGERS: &str = "CREATE TABLE record (id, path, title); CREATE TABLE stamp (one, ref, tip, tree);
    CREATE TABLE log (x); CREATE TRIGGER t AFTER INSERT ON stamp BEGIN
    INSERT INTO log WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c; END";
const LOADER: &str = "CREATE TABLE record (id, path AS (load_extension('/tmp/evil.so')), title)";

/// Writes a database that says it is ours.
fn forged(lab: &Lab, sql: &str) {
    swap(lab, "elf/index.db", |path| {
        let conn = rusqlite::Connection::open(path).unwrap();
        conn.execute_batch(&format!("PRAGMA application_id = {}; PRAGMA user_version = 2;", 0x454C_4631)).unwrap();
        // SQLite refuses to define what it would not run; then there is nothing to defend against.
        let _ = conn.execute_batch(sql);
    });
}

/// Fails unless every verb ends, and what is wrong is said; a record is kept or refused.
fn says(lab: &Lab, case: &str, text: &str) {
    let mut said = String::new();
    for args in [
        &["list"][..],
        &["search", "x"],
        &["show", &lab.good],
        &["export"],
        &["log"],
        &["record", "failure", "x"],
        &["check"],
    ] {
        let ran = lab.elf(args);
        said += &ran.err;
        if args[0] == "record" && ran.status == 0 {
            assert!(ran.err.contains("queued"), "{case}: {}", ran.err);
        }
    }
    assert!(said.contains(text), "{case}: nobody says {text:?}:\n{said}");
    assert!(!said.contains('\x1b'), "{case}: {said:?}");
}

/// Something to heal, so that the log is written.
fn healed(lab: &Lab) {
    link_file(lab, "elf/healed.log");
    write(lab, "refs/elf/memory", b"");
}

/// Puts the ref on what is no commit.
fn on(lab: &Lab, what: &str) {
    lab.sandbox.git(["tag", "-a", "-m", "x", "tag"]).ok();
    let oid = lab.sandbox.git(["rev-parse", what]).ok().out;
    write(lab, "refs/elf/memory", oid.as_bytes());
}

/// Names the loose file of an object.
fn object(lab: &Lab, name: &str) -> String {
    let oid = lab.sandbox.git(["rev-parse", name]).ok().out;
    format!("objects/{}/{}", &oid[..2], oid[2..].trim())
}

fn wrong_hash(lab: &Lab) {
    write(lab, "elf/spool/0123456789abcdef-0.md", super::file("0123456789abcdef", "failure", "").as_bytes());
}

fn path(lab: &Lab, name: &str) -> PathBuf {
    lab.sandbox.repo().join(".git").join(name)
}

/// Puts something in the place of whatever is there.
fn swap(lab: &Lab, name: &str, put: impl Fn(&Path)) {
    let path = path(lab, name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap();
    } else {
        let _ = fs::remove_file(&path);
    }
    put(&path);
}

fn write(lab: &Lab, name: &str, bytes: &[u8]) {
    swap(lab, name, |path| fs::write(path, bytes).unwrap());
}

/// A link to the directory outside.
fn link(lab: &Lab, name: &str) {
    swap(lab, name, |path| symlink(lab.sandbox.root().join(VICTIM), path).unwrap());
}

/// A link to the file outside.
fn link_file(lab: &Lab, name: &str) {
    swap(lab, name, |path| symlink(lab.sandbox.root().join(VICTIM).join("keep"), path).unwrap());
}

/// Moves a directory out of the repository and leaves a link.
fn outside(lab: &Lab, name: &str) {
    let to = lab.sandbox.root().join(VICTIM).join("moved");
    fs::rename(path(lab, name), &to).unwrap();
    symlink(&to, path(lab, name)).unwrap();
}

fn pipe(lab: &Lab, name: &str) {
    swap(lab, name, mkfifo);
}

fn mkdir(path: &Path) {
    fs::create_dir(path).unwrap();
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn huge(lab: &Lab, name: &str) {
    swap(lab, name, sparse);
}

/// A file of 10 GB that takes no space.
fn sparse(path: &Path) {
    fs::File::create(path).unwrap().set_len(10 << 30).unwrap();
}

fn not_utf8(lab: &Lab) {
    use std::os::unix::ffi::OsStrExt;
    fs::write(path(lab, "elf/spool").join(std::ffi::OsStr::from_bytes(b"\xff\xfe.md")), "x").unwrap();
}

fn toml(lab: &Lab) -> PathBuf {
    lab.sandbox.repo().join(".elf.toml")
}

fn set(lab: &Lab, text: &str) {
    fs::write(toml(lab), text).unwrap();
}

fn config(lab: &Lab, key: &str, value: &str) {
    lab.sandbox.git(["config", key, value]).ok();
}

/// Every path below a directory with its content.
fn listing(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            found.extend(listing(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}
