//! What was learned about a file, a line, and what is staged; and the hook that says so before a commit.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::support::{Ran, Sandbox};

/// What scripts begin with: `c` commits everything, `r KIND TITLE GLOB…` records.
const PRELUDE: &str = "set -e; c() { git add -A; git commit -q --allow-empty -m \"${1-$RANDOM}\"; }; \
    r() { local k=$1 t=$2; shift 2; git elf record \"$k\" \"$t\" \"${@/#/--path=}\" >/dev/null 2>&1; };";

fn bash(sandbox: &Sandbox, script: &str) -> Ran {
    let mut command = sandbox.command("bash");
    command.arg("-c").arg(format!("{PRELUDE} {script}"));
    sandbox.run(command)
}

/// Returns what is found, best first: `title (why; why)`, without the names of commits.
fn why<S: AsRef<OsStr>>(sandbox: &Sandbox, dir: &str, args: &[S]) -> Vec<String> {
    let mut command = sandbox.elf_command(["why", "--json"]);
    command.args(args).current_dir(sandbox.repo().join(dir));
    let is_name = |word: &str| word.len() == 10 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let plain = |why: &str| {
        let words: Vec<_> = why.split(' ').map(|word| if is_name(word) { "X" } else { word }).collect();
        words.join(" ")
    };
    let rows = sandbox.run(command).ok().json();
    rows.iter()
        .map(|row| {
            assert!(row["reach"].is_string(), "{row}");
            let reasons: Vec<_> =
                row["why"].as_array().unwrap().iter().map(|why| plain(why.as_str().unwrap())).collect();
            format!("{} ({})", row["title"].as_str().unwrap(), reasons.join("; "))
        })
        .collect()
}

/// A name, a script, where somebody asks, what, and the answer.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "the closest first, then what warns",
        "mkdir -p a/b; touch a/b/f.rs other; c; r heuristic all '*.rs'; r failure dir a; r success sub 'a/b/*'; r invariant must 'a/b/*'; r heuristic file a/b/f.rs; r failure none other",
        ".",
        &["a/b/f.rs"],
        &["file (path a/b/f.rs)", "must (path a/b/*)", "sub (path a/b/*)", "dir (path a)", "all (path *.rs)"],
    ),
    (
        "retracted",
        "touch f; c; r failure gone f; git elf retract $(git elf list --json | cut -d'\"' -f4) 2>/dev/null >/dev/null",
        ".",
        &["f"],
        &[],
    ),
    (
        "edited",
        "touch f; c; r failure now; git elf edit $(git elf list --json | cut -d'\"' -f4) --set paths=f 2>/dev/null >/dev/null",
        ".",
        &["f"],
        &["now (path f)"],
    ),
    ("from a subdirectory", "mkdir -p a/b; touch a/f; c; r failure x a/f", "a/b", &["../f"], &["x (path a/f)"]),
    (
        "a directory has what is in it",
        "mkdir -p a/b ab; touch a/b/f ab/f; c; r failure x a/b/f; r failure y 'a/b/*.c'; r failure no ab/f",
        ".",
        &["a/"],
        &["x (path a/b/f)", "y (path a/b/*.c)"],
    ),
    (
        "the whole tree",
        "touch f; c; r failure x f; r failure y '*.c'; r failure none",
        ".",
        &["."],
        &["x (path f)", "y (path *.c)"],
    ),
    (
        "renamed twice",
        "mkdir a; seq 50 >one; c; git mv one two; c; git mv two a/three; c; r failure first one; r failure second two; r failure third a/three",
        ".",
        &["a/three"],
        &["third (path a/three)", "second (was two)", "first (was one)"],
    ),
    ("deleted", "touch f; c; r failure x f; git rm -q f; c", ".", &["f"], &["x (path f)"]),
    ("deleted, a line", "seq 5 >f; c; r failure x; c; git rm -q f; c", ".", &["f:3"], &["x (commit X of line 3)"]),
    ("not committed yet", "touch f; r failure x f", ".", &["f"], &["x (path f)"]),
    (
        "a line",
        "seq 9 >f; c one; r failure one; sed -i 's/^5$/five/' f; c two; r failure two; r heuristic broad '*'; sed -i 's/^7$/seven/' f; c three",
        ".",
        &["f:5"],
        &["two (commit X of line 5)", "broad (commit X of line 5; path *)", "one (commit X before X of line 5)"],
    ),
    ("a line with a column", "seq 3 >f; c; r failure x", ".", &["f:2:7"], &["x (commit X of line 2)"]),
    (
        "a line that is not committed",
        "seq 3 >f; c; r failure x; echo 4 >>f",
        ".",
        &["f:4"],
        &["x (commit X before line 4, not committed yet)"],
    ),
    (
        "a line of a merge's side",
        "seq 9 >f; c; git checkout -q -b w; sed -i 's/^2$/two/' f; c; r failure w; git checkout -q main; sed -i 's/^8$/eight/' f; c; git merge -q --no-edit w",
        ".",
        &["f:2"],
        &["w (commit X of line 2)"],
    ),
    (
        "a line whose commit told it",
        "git elf init >/dev/null; seq 3 >f; c $'x\\n\\nElf-Failure: told\\nElf-Domain: d'",
        ".",
        &["f:1"],
        &["told (message of commit X of line 1)"],
    ),
    (
        "a name with a colon and a number",
        "seq 3 >f:1; seq 3 >f; c; r failure colon f:1; r failure plain f",
        ".",
        &["f:1"],
        &["colon (path f:1)"],
    ),
    ("a name with a colon, and its line", "seq 3 >a:b; c; r failure x", ".", &["a:b:2"], &["x (commit X of line 2)"]),
    (
        "a name that looks like an option or a pattern",
        "touch -- '--all' '[a]*'; touch a; c; r failure x -- 2>/dev/null || true; git elf record failure y --path='[[]a]*' >/dev/null 2>&1; git elf record failure z --path=a >/dev/null 2>&1",
        ".",
        &["--", "[a]*"],
        &["y (path [[]a]*)"],
    ),
    ("spaces and a line feed", "touch $'a b\\nc'; c; r failure x $'a b*'", ".", &["a b\nc"], &["x (path a b*)"]),
    (
        "several files",
        "touch f g; c; r failure x f; r failure y '?'",
        ".",
        &["f", "g"],
        &["x (f: path f)", "y (f: path ?; g: path ?)"],
    ),
    (
        "detached",
        "seq 3 >f; c; r failure x; git checkout -q --detach; r failure y f",
        ".",
        &["f:1"],
        &["y (commit X of line 1; path f)", "x (commit X of line 1)"],
    ),
    (
        "in a linked worktree",
        "seq 3 >f; c; git worktree add -q ../w; cd ../w; git mv f g; c; r failure x f",
        "../w",
        &["g"],
        &["x (was f)"],
    ),
    (
        "by way of a link",
        "mkdir a; touch a/f; c; ln -s repo/a ../link; r failure x a/f",
        ".",
        &["../link/f"],
        &["x (path a/f)"],
    ),
    (
        "shallow",
        "seq 3 >f; c; c; r failure x f; git clone -q --depth 1 \"file://$PWD\" ../s; cd ../s; git fetch -q origin refs/elf/memory:refs/elf/memory",
        "../s",
        &["f"],
        &["x (path f)"],
    ),
    (
        "bare",
        "mkdir a; seq 3 >a/f; c; r failure x a/f; git clone -q --bare . ../b; git -C ../b fetch -q ../repo refs/elf/memory:refs/elf/memory",
        "../b",
        &["a/f:2"],
        &["x (commit X of line 2; path a/f)"],
    ),
    ("unborn", "git checkout -q --orphan new; touch f; r failure x f", ".", &["f"], &["x (path f)"]),
    ("named before it is there", "r failure x later", ".", &["later"], &["x (path later)"]),
    (
        "on the current branch",
        "git elf init --in-tree >/dev/null; touch f; c; r failure x f",
        ".",
        &["f"],
        &["x (path f)"],
    ),
];

#[test]
fn what_was_learned_about_a_file_or_a_line_is_found() {
    let mut wrong = Vec::new();
    for (name, script, dir, args, expected) in CASES {
        let sandbox = Sandbox::new();
        bash(&sandbox, script).ok();
        let found = why(&sandbox, dir, args);
        if found != *expected {
            wrong.push(format!("{name}: {found:#?}, not {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_name_that_is_not_utf_8_is_found_by_a_pattern() {
    let sandbox = Sandbox::new();
    bash(&sandbox, "mkdir d; touch $'d/\\xff.c'; c; r failure x 'd/*.c'").ok();
    assert_eq!(why(&sandbox, ".", &[OsStr::from_bytes(b"d/\xff.c")]), ["x (path d/*.c)"]);
}

#[test]
fn what_cannot_be_answered_is_said() {
    let sandbox = Sandbox::new();
    bash(&sandbox, "mkdir d; seq 3 >f; c; r failure broad '*'").ok();
    for (typed, said) in [
        ("nope", "nope is neither in the working tree nor in HEAD's history"),
        ("nope:3", "nope is neither in the working tree nor in HEAD's history"),
        ("f:4", "has only 3 lines"),
        ("f:0", "lines are counted from 1"),
        ("d:1", "d is a directory"),
        ("../x", "is outside of the working tree"),
        ("/", "is outside of the working tree"),
    ] {
        let ran = sandbox.elf(["why", typed]).exits(2);
        assert!(ran.err.contains(said) && ran.out.is_empty(), "{typed}: {}", ran.err);
    }
    sandbox.elf(["why"]).exits(2);
    let text = sandbox.elf(["why", "f"]).ok();
    assert!(text.out.ends_with("  broad\n    path *\n"), "{}", text.out);
    bash(&sandbox, "for i in $(seq 25); do r failure $i f; done").ok();
    assert_eq!(why(&sandbox, ".", &["f"]).len(), 20);
    assert_eq!(why(&sandbox, ".", &["f", "-n", "2"]).len(), 2);
}

/// A name, a script that stages, and what is then said: for each line the file and the title.
const STAGED: &[(&str, &str, &[&str])] = &[
    ("nothing staged", "r failure x f; touch f", &[]),
    ("staged", "r failure x f; touch f g; git add f", &["f: x"]),
    ("nothing known", "r failure x f; touch g; git add g", &[]),
    ("only what warns", "r heuristic h f; r success s f; r invariant i f; touch f; git add f", &["f: i"]),
    (
        "the closest, and the worst",
        "r failure broad '*'; r invariant file f; r failure worse f; touch f; git add f",
        &["f: file", "f: worse", "f: broad"],
    ),
    (
        "more than three lines",
        "for i in 1 2 3 4 5; do r failure x f; done; touch f; git add f",
        &["f: x", "f: x", "3 more"],
    ),
    ("renamed", "seq 50 >old; c; r failure x old; git mv old new", &["new: x"]),
    ("deleted", "touch f; c; r failure x f; git rm -q f", &["f: x"]),
    ("a name with colons and spaces", "r failure x 'a: b'; touch 'a: b'; git add .", &["a: b: x"]),
    ("unborn", "r failure x f; git checkout -q --orphan new; touch f; git add f", &["f: x"]),
    (
        "from a subdirectory, with a relative diff",
        "r failure x f; git config diff.relative true; touch f; git add f; mkdir d; cd d",
        &["f: x"],
    ),
];

fn said(ran: &Ran) -> Vec<String> {
    let plain = |line: &str| {
        let line = line.strip_prefix("elf: ").unwrap_or(line);
        if let Some((count, "")) = line.split_once(" more: git elf why --staged --json") {
            return format!("{count} more");
        }
        let (before, title) = line.rsplit_once(": ").unwrap();
        format!("{}: {title}", before.rsplit_once(": ").unwrap().0)
    };
    ran.out.lines().chain(ran.err.lines()).map(plain).collect()
}

#[test]
fn what_is_staged_is_warned_about_on_three_lines() {
    let mut wrong = Vec::new();
    for (name, script, expected) in STAGED {
        let sandbox = Sandbox::new();
        bash(&sandbox, script).ok();
        sandbox.elf(["list"]).ok();
        let index = std::fs::read(sandbox.repo().join(".git/index")).unwrap_or_default();
        for args in [&["why", "--staged"][..], &["hook", "pre-commit"]] {
            let ran = sandbox.elf(args).ok();
            if said(&ran) != *expected {
                wrong.push(format!("{name}, {args:?}: {}{}, not {expected:?}", ran.out, ran.err));
            }
        }
        assert!(
            std::fs::read(sandbox.repo().join(".git/index")).unwrap_or_default() == index,
            "{name}: the index changed"
        );
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let sandbox = Sandbox::new();
    bash(&sandbox, "r failure x f; touch f; git add f").ok();
    let row = sandbox.elf(["why", "--staged", "--json"]).ok().json().remove(0);
    assert_eq!((&row["title"], &row["why"][0]), (&"x".into(), &"f: path f".into()));
}

/// The commits that a user makes, and whether the warning about `f` comes.
const COMMITS: [(&str, bool); 8] = [
    ("echo 1 >>f; git add f; git commit -q -m x", true),
    ("echo 1 >>f; git commit -q -a -m x", true),
    ("echo 1 >>f; git commit -q -m x -- f", true),
    ("echo 1 >>f; echo 1 >>g; git add f; git commit -q -m x -- g", false),
    ("echo 1 >>f; git add f; git commit -q -n -m x", false),
    ("echo 1 >>g; git add g; git commit -q -m x", false),
    ("git commit -q --allow-empty -m x", false),
    ("git worktree add -q ../w; cd ../w; echo 1 >>f; git commit -q -a -m x", true),
];

#[test]
fn the_hook_warns_of_what_is_committed_and_never_stops_it() {
    for (name, prepare) in [
        ("alone", ""),
        (
            "in a hook of the user's",
            "printf '#!/bin/sh\\nset -eu\\ntouch ran\\n' >.git/hooks/pre-commit; chmod +x .git/hooks/pre-commit;",
        ),
        ("in a directory of the repository's", "git config core.hooksPath hooks; mkdir hooks;"),
    ] {
        for (script, warns) in COMMITS {
            let sandbox = Sandbox::new();
            bash(
                &sandbox,
                &format!("touch f g; {prepare} git elf init --pre-commit >/dev/null; c; r failure careful f"),
            )
            .ok();
            let ran = bash(&sandbox, script).ok();
            assert_eq!(
                ran.err.contains("elf: f: failure ") && ran.err.contains(": careful"),
                warns,
                "{name}: {script}: {}",
                ran.err
            );
            assert_eq!(
                ran.err.lines().filter(|line| line.starts_with("elf: ")).count(),
                usize::from(warns),
                "{name}: {}",
                ran.err
            );
        }
    }
}

#[test]
fn the_hook_says_nothing_and_stops_nothing_when_something_is_wrong() {
    for wrong in [
        "rm -rf .git/elf",
        "printf garbage >.git/elf/index.db",
        "git config elf.lockTimeout never",
        "git config elf.ref nonsense",
        "mkdir -p .git/elf/x; rm -rf .git/elf/index.db*; mkdir .git/elf/index.db",
    ] {
        let sandbox = Sandbox::new();
        bash(&sandbox, "touch f; git elf init --pre-commit >/dev/null; c; r failure careful f").ok();
        // What post-commit says of the same trouble is its own affair.
        bash(&sandbox, &format!("rm .git/hooks/post-commit; {wrong}; echo 1 >>f; git commit -q -a -m x; test -z \"$(git status --porcelain)\"")).ok();
        let ran = sandbox.elf(["hook", "pre-commit"]).ok();
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""), "{wrong}");
    }
}

#[test]
fn the_hook_takes_no_lock_and_waits_for_nobody() {
    let sandbox = Sandbox::new();
    bash(
        &sandbox,
        "touch f; git elf init --pre-commit >/dev/null; c; r failure careful f; git elf list >/dev/null; echo 1 >>f",
    )
    .ok();
    let held = std::fs::File::open(sandbox.elf_dir().join("lock")).unwrap();
    held.lock().unwrap();
    let ran = bash(&sandbox, "rm .git/hooks/post-commit; git elf record failure --no-wait later --path f >/dev/null 2>&1; git commit -q -a -m x").ok();
    assert!(ran.err.contains(": careful") && !ran.err.contains("later"), "{}", ran.err);
    assert!(sandbox.elf_dir().join("spool").read_dir().unwrap().count() > 0, "what waits still waits");
}

#[test]
fn the_hook_is_there_when_asked_for_and_goes_with_the_others() {
    let sandbox = Sandbox::new();
    let hook = sandbox.repo().join(".git/hooks/pre-commit");
    let init = |args: &[&str]| sandbox.elf([&["init"], args].concat()).ok();
    init(&[]);
    assert!(!hook.exists(), "nobody asked");
    assert!(init(&["--pre-commit"]).out.contains("pre-commit hook installed"));
    assert!(init(&[]).out.contains("pre-commit hook kept as it is"), "once asked for it stays");
    let shape = |text: &str| text.contains("hook pre-commit") && !text.contains("@GIT_ELF@");
    assert!(shape(&std::fs::read_to_string(&hook).unwrap()));
    assert!(sandbox.elf(["doctor"]).out.contains("pre-commit"), "doctor looks at it");
    std::fs::remove_file(&hook).unwrap();
    let said = sandbox.elf(["list"]).ok().err;
    assert!(said.contains("the hook pre-commit of git-elf is gone"), "{said}");
    for name in ["post-commit", "pre-push"] {
        std::fs::remove_file(sandbox.repo().join(".git/hooks").join(name)).unwrap();
    }
    let said = sandbox.elf(["list"]).ok().err;
    assert!(said.contains("the hooks post-commit, pre-push and pre-commit of git-elf are gone"), "{said}");
    init(&[]);
    assert!(hook.exists(), "what was asked for is put in again");
    // As pre-commit and lefthook leave it.
    std::fs::rename(&hook, hook.with_extension("legacy")).unwrap();
    assert!(sandbox.elf(["uninstall"]).ok().out.contains("pre-commit.legacy"));
    let left = |dir: &Path| {
        std::fs::read_dir(dir)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_none_or(|end| end != "sample"))
            .count()
    };
    assert_eq!(left(&sandbox.repo().join(".git/hooks")), 0);
    assert!(!init(&[]).out.contains("pre-commit hook"), "uninstall takes back that it was asked for");
}

#[test]
fn beside_other_programs_the_hook_is_put_where_they_run_it_or_the_addition_is_printed() {
    let line = "git-elf hook pre-commit </dev/null";
    for (name, theirs, says, runs) in [
        (
            "pre-commit",
            "printf '#!/bin/sh\\n# File generated by pre-commit: x\\n\"$0.legacy\"\\n' >$H; chmod +x $H",
            "pre-commit.legacy",
            true,
        ),
        ("git-lfs", "printf '#!/bin/sh\\ntrue git lfs x\\n' >$H; chmod +x $H", "pre-commit hook installed", true),
        (
            "lefthook",
            "printf '#!/bin/sh\\ncall_lefthook() { :; }\\ncall_lefthook x\\n' >$H; chmod +x $H",
            "lefthook-local.yml",
            false,
        ),
        ("a hook in Python", "printf '#!/usr/bin/env python3\\n' >$H; chmod +x $H", line, false),
        (
            "husky",
            "mkdir -p .husky/_; H=.husky/_/pre-commit; printf '#!/bin/sh\\n' >$H; chmod +x $H; git config core.hooksPath .husky/_",
            line,
            false,
        ),
    ] {
        let sandbox = Sandbox::new();
        bash(&sandbox, &format!("touch f; c; r failure careful f; H=.git/hooks/pre-commit; mkdir -p .git/hooks; {theirs}; cp $H ../theirs")).ok();
        let init = sandbox.elf(["init", "--pre-commit"]).ok();
        assert!(format!("{}{}", init.out, init.err).contains(says), "{name}: {}{}", init.out, init.err);
        let commit = bash(&sandbox, "echo 1 >>f; git commit -q -a -m x").ok();
        assert_eq!(commit.err.contains(": careful"), runs, "{name}: {}", commit.err);
        sandbox.elf(["uninstall"]).ok();
        bash(
            &sandbox,
            "H=.git/hooks/pre-commit; test ! -d .husky || H=.husky/_/pre-commit; cmp $H ../theirs; test ! -e $H.legacy",
        )
        .ok();
    }
}
