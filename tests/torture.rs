//! Many processes, some of them killed: nothing that was acknowledged is lost, and nobody's git is disturbed.
//!
//! The harness is that of `git elf torture`; here it runs the program under test.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use git_elf::store::Voice;
use git_elf::torture::{Plan, Report, run};

use crate::support::{Ran, Sandbox, elf_program};

struct Mute;

impl Voice for Mute {
    fn say(&self, _line: &str) {}
    fn progress(&self, _what: &str, _done: u64, _total: u64) {}
}

/// Runs the crowd and fails unless every promise was kept and nothing is left behind.
#[track_caller]
fn survives(writers: usize, seconds: u64, kill: bool) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan {
        program: elf_program().to_owned(),
        parent: dir.path().to_owned(),
        writers,
        readers: 2,
        worktrees: 3,
        duration: Duration::from_secs(seconds),
        kill,
    };
    let report = run(&plan, &AtomicBool::new(false), &Mute).unwrap();
    if !report.faults().is_empty() {
        let _ = dir.keep();
        panic!("{:?}\n{report:#?}", report.faults());
    }
    assert_eq!(report.found, report.acknowledged);
    assert!(report.acknowledged >= writers, "{report:#?}");
    assert!(report.reads > 0 && report.user_commits > 0 && report.drains > 0, "{report:#?}");
    // On a busy machine an import may not get the lock in time.
    assert!(report.complaints.iter().all(|complaint| complaint.contains("Exit(4)")), "{report:#?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something was left behind");
    report
}

#[test]
fn a_crowd_in_four_worktrees_loses_nothing() {
    let report = survives(12, 3, false);
    assert_eq!(report.killed, 0);
    assert_eq!(report.unacknowledged, 0, "without a kill, what is there was acknowledged");
}

#[test]
fn a_crowd_whose_writers_are_killed_loses_nothing() {
    let report = survives(12, 3, true);
    assert!(report.killed > 0, "{report:#?}");
}

#[test]
#[ignore = "two minutes of full load: cargo test --test tests -- --ignored a_large_crowd"]
fn a_large_crowd_loses_nothing_in_a_minute() {
    survives(30, 60, false);
    let report = survives(30, 60, true);
    assert!(report.killed > 100, "{report:#?}");
}

/// Starts `git elf torture` for a minute and waits until its directory is there.
fn started(sandbox: &Sandbox) -> std::process::Child {
    let mut command: Command =
        sandbox.elf_command(["torture", "--writers", "3", "--worktrees", "1", "--seconds", "60", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let start = Instant::now();
    while !fs::read_dir(sandbox.root()).unwrap().flatten().any(|entry| entry.path().join("writer-0.log").exists()) {
        assert!(start.elapsed() < Duration::from_secs(30), "it makes no directory");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn names_in_root(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.root()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn ctrl_c_ends_it_with_a_report_and_leaves_nothing_behind() {
    for signal in ["-INT", "-TERM"] {
        let sandbox = Sandbox::new();
        let before = names_in_root(&sandbox);
        let child = started(&sandbox);
        std::thread::sleep(Duration::from_millis(700));
        // To the whole group, as a terminal does.
        let group = format!("-{}", child.id());
        sandbox
            .run({
                let mut kill = sandbox.command("kill");
                kill.args([signal, "--", &group]);
                kill
            })
            .ok();
        let start = Instant::now();
        let ran = Ran::of(child.wait_with_output().unwrap()).exits(130);
        assert!(start.elapsed() < Duration::from_secs(40), "it took {:?}", start.elapsed());
        let report = &ran.json()[0];
        assert_eq!(report["faults"], serde_json::json!([]), "{report}");
        assert_eq!(report["found"], report["acknowledged"]);
        assert_eq!(names_in_root(&sandbox), before);
        assert!(!sandbox.elf_dir().exists(), "the user's own repository was touched");
        assert!(sandbox.git(["status", "--porcelain"]).ok().out.is_empty());
    }
}

#[test]
fn an_error_and_a_panic_leave_nothing_behind() {
    struct Panics;
    impl Voice for Panics {
        fn say(&self, _line: &str) {}
        fn progress(&self, _what: &str, _done: u64, _total: u64) {
            panic!("on purpose");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let plan = |program: &Path| Plan {
        program: program.to_owned(),
        parent: dir.path().to_owned(),
        writers: 2,
        readers: 1,
        worktrees: 1,
        duration: Duration::from_secs(60),
        kill: false,
    };
    let start = Instant::now();
    let error = run(&plan(Path::new("/nowhere/git-elf")), &AtomicBool::new(false), &Mute).unwrap_err();
    assert!(error.to_string().contains("/nowhere/git-elf"), "{error}");
    let caught = std::panic::catch_unwind(|| run(&plan(elf_program()), &AtomicBool::new(false), &Panics));
    assert!(caught.is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something was left behind");
    assert!(start.elapsed() < Duration::from_secs(30), "it ends early");
}

#[test]
fn a_program_that_loses_records_is_found_out() {
    // It acknowledges and writes nothing, as a broken build would.
    let sandbox = Sandbox::new();
    let liar = sandbox.root().join("liar");
    let script = "#!/bin/sh\nif test \"$1\" = record; then\n  echo \"{\\\"id\\\":\\\"$$\\\",\\\"state\\\":\\\"queued\\\"}\"\nfi\n";
    fs::write(&liar, script).unwrap();
    fs::set_permissions(&liar, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let parent = sandbox.root().join("parent");
    fs::create_dir(&parent).unwrap();
    let plan = Plan {
        program: liar,
        parent: parent.clone(),
        writers: 2,
        readers: 0,
        worktrees: 1,
        duration: Duration::from_millis(300),
        kill: false,
    };
    let report = run(&plan, &AtomicBool::new(false), &Mute).unwrap();
    assert_eq!((report.found, report.missing.len()), (0, report.acknowledged));
    assert!(report.faults()[0].contains("missing"), "{:?}", report.faults());
    assert!(report.kept.unwrap().starts_with(&parent), "it is kept, to be looked into");
}

struct Quiet;

impl git_elf::store::Voice for Quiet {
    fn say(&self, _line: &str) {}
    fn progress(&self, _what: &str, _done: u64, _total: u64) {}
}

#[test]
fn a_reader_without_an_index_waits_for_one_and_not_for_the_lock() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("There before the reader");
    for suffix in ["-wal", "-shm", ""] {
        let _ = fs::remove_file(sandbox.elf_dir().join(format!("index.db{suffix}")));
    }
    let mut file = git_elf::lock::LockFile::open(&sandbox.elf_dir()).unwrap();
    let lock = file.try_lock("test").unwrap().expect("nobody else is here");
    let reader = sandbox.elf_command(["list", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(600));
    let repo = git_elf::repo::Repo::open_at(&sandbox.repo()).unwrap();
    git_elf::store::Store::of(repo, Box::new(Quiet)).unwrap().rebuild(&lock).unwrap();
    let ran = Ran::of(reader.wait_with_output().unwrap()).ok();
    assert!(ran.out.contains(&id), "{ran:?}");
    drop(lock);
}

#[test]
fn a_reader_behind_an_import_does_not_say_that_nothing_is_missing() {
    let sandbox = Sandbox::new();
    sandbox.record("In the index");
    // The ref moves and the index does not follow, as between the two steps of an import.
    let commit = sandbox.git(["commit-tree", "-p", "refs/elf/memory", "-m", "x", "refs/elf/memory^{tree}"]).ok();
    sandbox.git(["update-ref", "refs/elf/memory", commit.line()]).ok();
    let mut file = git_elf::lock::LockFile::open(&sandbox.elf_dir()).unwrap();
    let _lock = file.try_lock("test").unwrap().expect("nobody else is here");
    let ran = sandbox.elf(["list"]).ok();
    assert!(ran.err.contains("the newest records are not visible yet"), "{}", ran.err);
}

#[test]
fn it_asks_for_sensible_numbers_and_stays_out_of_the_help() {
    let sandbox = Sandbox::new();
    sandbox.elf(["torture", "--writers", "0"]).exits(2);
    sandbox.elf(["torture", "--seconds", "0"]).exits(2);
    assert!(!sandbox.elf(["help"]).ok().out.contains("torture"));
    assert!(sandbox.elf(["torture", "-h"]).ok().out.contains("git elf torture --kill"));
}
