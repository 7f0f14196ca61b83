//! Paths of every kind, what is refused, and what a partial clone may lack.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Place, live, make};
use crate::support::{Sandbox, object_format};

/// Names that a directory above a repository may have.
const NAMES: [&[u8]; 14] = [
    b"a b",
    b" ",
    b"a\nb",
    b"a\tb",
    b"-dash",
    b"--git-dir=x",
    b"a'b\"c",
    b"a\\b",
    b"$HOME `x` *?[a]",
    b"caf\xc3\xa9",
    b"not utf-8 \xff\xfe",
    b"a;b&c|d",
    b"file:x#y%20",
    b"#",
];

#[test]
fn a_repository_may_have_any_path() {
    for name in NAMES {
        let sandbox = Sandbox::new();
        let dir = sandbox.root().join(OsStr::from_bytes(name));
        let (main, linked) = (dir.join("main"), dir.join("linked"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::rename(sandbox.repo(), &main).unwrap();
        std::fs::create_dir(sandbox.repo()).unwrap();
        let places = [Place::at(main.clone()), Place::at(linked)];
        // A worktree whose path has a line feed is more than git's own file format holds.
        if places[0].git(&sandbox, &["worktree", "add", "-q", "-b", "a", "../linked"]).status == 0
            && places[1].dir.is_dir()
            && places[1].git(&sandbox, &["status"]).status == 0
        {
            live(&sandbox, &places, &String::from_utf8_lossy(name));
        } else {
            eprintln!("SKIPPED a linked worktree below {}: git cannot", String::from_utf8_lossy(name).escape_debug());
            std::fs::remove_dir_all(main.join(".git/worktrees")).unwrap();
            live(&sandbox, &places[..1], &String::from_utf8_lossy(name));
        }
    }
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    let cases = [
        ("rm -rf .git; git init -q --ref-format=reftable || exit 77", "git refs migrate --ref-format=files"),
        ("git config core.repositoryFormatVersion 1; git config extensions.compatObjectFormat sha256", "extensions"),
        ("git config core.repositoryFormatVersion 1; git config extensions.fromTheFuture true", "extensions"),
        ("git config core.repositoryFormatVersion 99", "version"),
    ];
    for (script, hint) in cases {
        let sandbox = Sandbox::new();
        if !make(&sandbox, script) {
            eprintln!("SKIPPED {script}: this git cannot make it");
            continue;
        }
        for args in [&["record", "failure", "x"][..], &["list"], &["init"], &["check"], &["doctor"]] {
            let ran = sandbox.elf(args).exits(1);
            assert!(ran.err.contains(hint), "{script}: {args:?} says what to do: {}", ran.err);
        }
        assert!(!sandbox.elf_dir().exists(), "{script}: nothing was written");
    }
}

#[test]
fn a_migrated_reftable_works() {
    let sandbox = Sandbox::new();
    if !make(&sandbox, "git refs migrate --ref-format=reftable || exit 77") {
        return eprintln!("SKIPPED: this git has no reftable");
    }
    let refused = sandbox.elf(["record", "failure", "x"]).exits(1);
    let command = refused.err.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap().to_owned();
    assert!(make(&sandbox, &command), "the hint is a command");
    live(&sandbox, &[Place::parse(&sandbox, ".")], "migrated");
}

#[test]
fn what_a_partial_clone_lacks_is_not_torn() {
    for (filter, lacks) in [("blob:none", "blobs"), ("tree:0", "trees")] {
        let sandbox = Sandbox::new();
        let ids = [sandbox.record("Lesson one"), sandbox.record("Lesson two")];
        let script = format!(
            "git config uploadpack.allowFilter true; git config uploadpack.allowAnySHA1InWant true
            git clone -q --no-checkout --filter={filter} file://@/repo ../c
            cd ../c; git fetch -q origin refs/elf/memory:refs/elf/memory; git rev-parse refs/elf/memory >../tip
            git remote set-url origin file://@/gone"
        );
        assert!(make(&sandbox, &script));
        let place = Place::parse(&sandbox, "../c");
        let tip = std::fs::read_to_string(sandbox.root().join("tip")).unwrap();
        for args in [&["list"][..], &["search", "lesson"], &["show", &ids[0]], &["check"], &["log"], &["export"]] {
            let ran = place.elf(&sandbox, args);
            assert_eq!(ran.status, 1, "{args:?} cannot know without the {lacks}: {}", ran.out);
            assert!(ran.err.contains("git fetch"), "{args:?} says how to get the {lacks}: {}", ran.err);
        }
        let recorded = place.elf(&sandbox, &["record", "failure", "Here"]).ok();
        let is_kept = place.git(&sandbox, &["merge-base", "--is-ancestor", tip.trim(), "refs/elf/memory"]).status == 0;
        assert!(is_kept, "{filter}: a ref whose objects are on a remote is never moved back: {}", recorded.err);
        assert!(!place.common_dir(&sandbox).join("elf/healed.log").exists(), "{filter}: {}", recorded.err);

        assert!(make(&sandbox, "git -C ../c remote set-url origin file://@/repo"));
        let rows = place.elf(&sandbox, &["list", "--json"]).ok().json();
        assert_eq!(rows.len(), 3, "{filter}: the remote has the {lacks}, and what was queued is committed");
        place.elf(&sandbox, &["check"]).ok();
        place.git(&sandbox, &["fsck", "--strict"]).ok();
    }
}

#[test]
fn ids_do_not_depend_on_the_object_format() {
    let derived = |format: &str| {
        let sandbox = Sandbox::empty();
        sandbox.git(["init", "-q", &format!("--object-format={format}"), "."]).ok();
        let line = r#"{"kind":"failure","title":"The same lesson","created":"2026-01-02T03:04:05Z"}"#;
        sandbox.elf_with_input(["import", "--from", "jsonl", "-"], line).ok();
        sandbox.listed()
    };
    assert_eq!(derived("sha1"), derived("sha256"), "two clones make one record of one source");
}

#[test]
fn the_suite_runs_in_the_format_that_it_is_told() {
    let sandbox = Sandbox::new();
    let format = sandbox.git(["rev-parse", "--show-object-format"]).ok().out;
    assert_eq!(format.trim(), object_format().as_deref().unwrap_or("sha1"));
}
