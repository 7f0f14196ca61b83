//! What a power cut or a kill may leave behind is mended by the next command, without a flag and without losing a record.

use std::fs;
use std::path::PathBuf;

use crate::support::Sandbox;

/// Where git keeps an object that is not packed.
fn object_file(sandbox: &Sandbox, name: &str) -> PathBuf {
    let oid = sandbox.git(["rev-parse", name]).ok().line().to_owned();
    sandbox.repo().join(".git/objects").join(&oid[..2]).join(&oid[2..])
}

/// Leaves an object with its name and only the first part of its content: none of it, or half.
fn tear(path: &PathBuf, keep_half: bool) {
    let content = fs::read(path).unwrap();
    let keep = if keep_half { content.len() / 2 } else { 0 };
    // git makes objects read-only.
    fs::remove_file(path).unwrap();
    fs::write(path, &content[..keep]).unwrap();
}

fn ref_file(sandbox: &Sandbox) -> PathBuf {
    sandbox.repo().join(".git/refs/elf/memory")
}

#[test]
fn an_empty_ref_is_set_back_to_the_newest_sound_commit() {
    let sandbox = Sandbox::new();
    let ids = [sandbox.record("one"), sandbox.record("two")];
    let tip = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out;
    for content in ["", "\0\0\0\0\0\0\0\0"] {
        fs::write(ref_file(&sandbox), content).unwrap();
        let ran = sandbox.elf(["list"]).ok();
        assert!(ran.out.contains(&ids[0]) && ran.out.contains(&ids[1]), "{}", ran.out);
        assert!(ran.err.contains("was torn and was set back to"), "{}", ran.err);
        assert_eq!(sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out, tip);
    }
    let log = fs::read_to_string(sandbox.elf_dir().join("healed.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
    sandbox.record("three");
    sandbox.elf(["check"]).ok();
    sandbox.git(["fsck", "--strict"]).ok();
}

#[test]
fn packed_refs_serve_when_the_loose_ref_is_empty() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("one");
    sandbox.git(["pack-refs", "--all"]).ok();
    fs::remove_file(sandbox.repo().join(".git/logs/refs/elf/memory")).unwrap();
    fs::remove_file(sandbox.elf_dir().join("index.db")).unwrap();
    fs::write(ref_file(&sandbox), "").unwrap();
    sandbox.record("two");
    assert!(sandbox.listed().contains(&id));
    assert_eq!(sandbox.listed().len(), 2);
}

#[test]
fn the_first_record_whose_ref_was_never_durable_comes_from_the_spool() {
    let sandbox = Sandbox::new();
    let id = sandbox.elf(["record", "failure", "one", "--no-wait"]).ok().line().to_owned();
    fs::create_dir_all(ref_file(&sandbox).parent().unwrap()).unwrap();
    fs::write(ref_file(&sandbox), "").unwrap();
    let ran = sandbox.elf(["list"]).ok();
    assert!(ran.out.contains(&id) && ran.err.contains("was empty"), "{} {}", ran.out, ran.err);
}

#[test]
fn a_torn_commit_or_tree_is_left_for_the_commit_before_and_the_spool_fills_the_gap() {
    for (what, message, keep_half) in [
        ("refs/elf/memory", "commit", false),
        ("refs/elf/memory", "half a commit", true),
        ("refs/elf/memory^{tree}", "root tree", false),
        ("refs/elf/memory^{tree}", "half a root tree", true),
        ("refs/elf/memory:failures", "tree", true),
    ] {
        let sandbox = Sandbox::new();
        let first = sandbox.record("one");
        // Keep the entry of the second record as a power cut does that comes before it is removed.
        let second = sandbox.elf(["record", "failure", "two", "--no-wait"]).ok().line().to_owned();
        let spool = sandbox.elf_dir().join("spool");
        let entry = fs::read_dir(&spool).unwrap().flatten().find(|entry| entry.path().is_file()).unwrap().path();
        let text = fs::read(&entry).unwrap();
        sandbox.elf(["list"]).ok();
        assert!(!entry.exists());
        fs::write(&entry, text).unwrap();
        tear(&object_file(&sandbox, what), keep_half);
        for name in ["index.db", "index.db-wal", "index.db-shm"] {
            let _ = fs::remove_file(sandbox.elf_dir().join(name));
        }
        let ran = sandbox.elf(["list"]).ok();
        assert!(ran.out.contains(&first) && ran.out.contains(&second), "{message}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains("set back"), "{message}: {}", ran.err);
        sandbox.elf(["check"]).ok();
        sandbox.git(["gc", "--quiet"]).ok();
        assert_eq!(sandbox.listed().len(), 2, "{message}");
    }
}

#[test]
fn a_torn_blob_is_written_again_from_the_spool() {
    let sandbox = Sandbox::new();
    let id = sandbox.elf(["record", "failure", "one", "--no-wait"]).ok().line().to_owned();
    let entry = fs::read_dir(sandbox.elf_dir().join("spool")).unwrap().flatten().find(|entry| entry.path().is_file());
    let entry = entry.unwrap().path();
    let text = fs::read(&entry).unwrap();
    sandbox.elf(["list"]).ok();
    fs::write(&entry, text).unwrap();
    let path = sandbox.tree().into_iter().find(|path| path.contains(&id)).unwrap();
    tear(&object_file(&sandbox, &format!("refs/elf/memory:{path}")), true);
    sandbox.record("two");
    assert_eq!(sandbox.listed().len(), 2);
    sandbox.git(["fsck", "--strict"]).ok();
    sandbox.elf(["check"]).ok();
}

#[test]
fn a_lost_object_deep_in_history_hides_nothing_else() {
    let sandbox = Sandbox::new();
    let lost = sandbox.record("lost");
    let path = sandbox.tree().into_iter().find(|path| path.contains(&lost)).unwrap();
    let others = [sandbox.record("two"), sandbox.record("three")];
    let tip = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out;
    tear(&object_file(&sandbox, &format!("refs/elf/memory:{path}")), true);
    fs::remove_file(sandbox.elf_dir().join("index.db")).unwrap();
    let listed = sandbox.listed();
    assert!(others.iter().all(|id| listed.contains(id)), "{listed:?}");
    assert_eq!(sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out, tip, "going back would lose the others");
    let report = sandbox.elf(["check"]).exits(3).out;
    assert!(report.contains(&path), "{report}");
    sandbox.record("four");
}

#[test]
fn an_object_that_merely_cannot_be_read_moves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.record("one");
    sandbox.record("two");
    let tip = fs::read(ref_file(&sandbox)).unwrap();
    let object = object_file(&sandbox, "refs/elf/memory");
    let aside = sandbox.root().join("aside");
    fs::rename(&object, &aside).unwrap();
    // Reading a directory fails as a failing disk does: with an error of the system.
    fs::create_dir(&object).unwrap();
    let ran = sandbox.elf(["record", "failure", "three", "--json"]).ok();
    assert_eq!(ran.json()[0]["state"], "queued", "{}", ran.err);
    let ran = sandbox.elf(["list"]);
    assert_ne!(ran.status, 0);
    assert_eq!(fs::read(ref_file(&sandbox)).unwrap(), tip);
    fs::remove_dir(&object).unwrap();
    fs::rename(&aside, &object).unwrap();
    assert_eq!(sandbox.listed().len(), 3, "when it can be read again, nothing is lost");
}

#[test]
fn the_lock_of_a_dead_process_of_ours_is_removed_and_a_strangers_is_not() {
    let sandbox = Sandbox::new();
    sandbox.record("one");
    let mut command = sandbox.elf_command(["record", "failure", "dies"]);
    command.env("ELF_FAULT", "ref-locked");
    assert_ne!(sandbox.run(command).status, 0);
    let lock = sandbox.repo().join(".git/refs/elf/memory.lock");
    assert!(lock.exists());
    let ran = sandbox.elf(["record", "failure", "two"]).ok();
    assert!(ran.err.contains("left by a git-elf that died"), "{}", ran.err);
    assert!(!lock.exists());
    assert_eq!(sandbox.listed().len(), 3, "the entry of the one that died was still in the spool");
    fs::write(&lock, "").unwrap();
    let ran = sandbox.elf(["record", "failure", "three", "--json"]).ok();
    assert_eq!(ran.json()[0]["state"], "queued");
    assert!(lock.exists(), "nobody knows whose this is");
}

#[test]
fn a_half_written_entry_of_a_dead_writer_goes_and_a_live_ones_stays() {
    use std::time::{Duration, SystemTime};
    let sandbox = Sandbox::new();
    sandbox.record("one");
    let spool = sandbox.elf_dir().join("spool");
    let leave = |pid: u32, age: u64| {
        let path = spool.join(format!(".tmp-{pid}-{age}"));
        let file = fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        path
    };
    let mut ended = sandbox.command("true").spawn().unwrap();
    ended.wait().unwrap();
    let (dead, young) = (leave(ended.id(), 120), leave(ended.id(), 5));
    let live = leave(std::process::id(), 7200);
    sandbox.record("two");
    assert_eq!([&dead, &young, &live].map(|path| path.exists()), [false, true, true]);
    assert_eq!(sandbox.listed().len(), 2);
}
