//! Whether the state of a memory is visible: waits, and everything around it that can be wrong.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::Sandbox;

/// Takes the repository lock as another program would, until the returned guard is dropped.
fn lock_file(sandbox: &Sandbox) -> fd_lock::RwLock<File> {
    fd_lock::RwLock::new(File::options().read(true).write(true).open(sandbox.elf_dir().join("lock")).unwrap())
}

fn database(sandbox: &Sandbox) -> rusqlite::Connection {
    rusqlite::Connection::open(sandbox.elf_dir().join("index.db")).unwrap()
}

fn stats(sandbox: &Sandbox) -> Json {
    sandbox.elf(["stats", "--json"]).ok().json().remove(0)
}

/// Waits until the spool holds this many entries.
fn await_spool(sandbox: &Sandbox, count: usize) {
    let entries = || std::fs::read_dir(sandbox.elf_dir().join("spool")).unwrap().flatten();
    let is_entry = |name: &str| name != "bad" && !name.starts_with('.');
    while entries().filter(|entry| is_entry(&entry.file_name().to_string_lossy())).count() < count {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn stats_shows_how_long_writers_waited_and_for_whom() {
    let sandbox = Sandbox::new();
    let empty = stats(&sandbox);
    assert_eq!((&empty["contention"]["drains"], &empty["contention"]["wait_p50_ms"]), (&0.into(), &Json::Null));
    sandbox.record("creates everything");
    let start = Instant::now();
    let mut file = lock_file(&sandbox);
    let guard = file.write().unwrap();
    let writer = |number: usize| -> Child {
        let mut command = sandbox.elf_command(["record", "failure", &format!("waits {number}")]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let writers: Vec<Child> = (0..5).map(writer).collect();
    await_spool(&sandbox, 5);
    std::thread::sleep(Duration::from_millis(1_500));
    let waiting = stats(&sandbox);
    assert_eq!(waiting["pending"], 5, "the depth of the queue");
    assert!(waiting["oldest_pending_ms"].as_f64().unwrap() >= 1_000.0, "{waiting}");
    drop(guard);
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let total = start.elapsed().as_secs_f64() * 1_000.0;
    let after = stats(&sandbox);
    let contention = &after["contention"];
    assert_eq!((&after["pending"], &after["oldest_pending_ms"]), (&0.into(), &Json::Null));
    assert_eq!((&contention["drains"], &contention["records_max"]), (&2.into(), &5.into()), "{contention}");
    assert_eq!((&contention["records_mean"], &contention["hold_max_verb"]), (&3.0.into(), &"record".into()));
    for key in ["wait_p99_ms", "oldest_max_ms"] {
        let wait = contention[key].as_f64().unwrap();
        assert!((1_000.0..=total).contains(&wait), "{key} is {wait} of {total}");
    }
    assert!(contention["wait_p50_ms"].as_f64() < contention["wait_p99_ms"].as_f64(), "{contention}");
    let text = sandbox.elf(["stats"]).ok().out;
    assert!(text.contains("wait_p99_ms: ") && text.contains("records_max: 5"), "{text}");
}

#[test]
fn a_command_that_changes_nothing_leaves_no_sample() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("one");
    let line = sandbox.elf(["export"]).ok().out;
    let before = stats(&sandbox)["contention"].clone();
    for args in [vec!["list"], vec!["check"], vec!["show", &id]] {
        sandbox.elf(args).ok();
    }
    sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &line).ok();
    sandbox.elf(["check", "--fix"]).ok();
    assert_eq!(stats(&sandbox)["contention"], before);
}

#[test]
fn stats_shows_when_the_log_was_put_back() {
    let sandbox = Sandbox::new();
    sandbox.record("one");
    let before = stats(&sandbox);
    assert_eq!((&before["checkpointed"], &before["bytes"]["wal_limit"]), (&Json::Null, &262_144.into()));
    assert!(before["bytes"]["wal"].as_u64().unwrap() > 0);
    sandbox.git(["config", "elf.walLimit", "0"]).ok();
    sandbox.record("two");
    let after = stats(&sandbox);
    assert!(after["checkpointed"].as_str().unwrap().ends_with('Z'), "{after}");
    assert_eq!(after["bytes"]["wal"], 0);
}

#[test]
fn an_index_of_version_1_is_migrated_in_place_and_keeps_its_rows() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("written by the ledger");
    let old = database(&sandbox);
    // What only a row that was kept can say: a rebuild would take the title from the ledger.
    old.execute_batch(
        "DROP TABLE drain; DROP TABLE checkpoint; PRAGMA user_version = 1; UPDATE record SET title = 'kept'",
    )
    .unwrap();
    drop(old);
    let title = || {
        let query = "SELECT title FROM record WHERE id = ?1";
        database(&sandbox).query_row(query, [&id], |row| row.get::<_, String>(0)).unwrap()
    };
    sandbox.elf(["list"]).ok();
    assert_eq!(title(), "kept");
    let migrated = stats(&sandbox);
    assert_eq!((&migrated["settings"]["user_version"], &migrated["contention"]["drains"]), (&2.into(), &0.into()));
    sandbox.record("after the migration");
    assert_eq!(title(), "kept");
    assert_eq!(stats(&sandbox)["contention"]["drains"], 1);
}

#[test]
fn on_a_network_file_system_the_index_does_without_a_write_ahead_log() {
    let sandbox = Sandbox::new();
    let elf = |args: &[&str]| {
        let mut command = sandbox.elf_command(args);
        command.env("ELF_FAULT_FS", "network");
        sandbox.run(command).ok()
    };
    let wal = sandbox.elf_dir().join("index.db-wal");
    let first = elf(&["record", "failure", "recorded over the network"]).line().to_owned();
    assert!(!wal.exists());
    let stats = elf(&["stats", "--json"]).json().remove(0);
    assert_ne!(stats["settings"]["journal_mode"], "wal");
    assert_eq!((&stats["bytes"]["wal"], &stats["checkpointed"]), (&0.into(), &Json::Null));
    // Readers and writers at once: each waits for a moment, none fails.
    let mut writers: Vec<_> = (0..4)
        .map(|number| {
            let mut command = sandbox.elf_command(["record", "failure", &format!("network {number}")]);
            command.env("ELF_FAULT_FS", "network").stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for _ in 0..5 {
        elf(&["search", "network"]);
    }
    assert!(writers.iter_mut().all(|writer| writer.wait().unwrap().success()));
    elf(&["check"]);
    assert_eq!(elf(&["list", "--json"]).json().len(), 5);
    // The same index on a local file system, and back.
    sandbox.record("recorded locally");
    assert!(wal.exists());
    assert_eq!(self::stats(&sandbox)["settings"]["journal_mode"], "wal");
    sandbox.elf(["check"]).ok();
    elf(&["validate", &first]);
    assert!(!wal.exists());
    elf(&["check"]);
}
