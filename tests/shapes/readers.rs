//! Where nothing can be written: readers answer from what is there, and a writer hands its record back.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use super::users::{User, are_possible};
use crate::support::Sandbox;

/// What may have happened before everything became read-only: a name, and a script that runs after three records.
const STATES: [(&str, &str); 8] = [
    ("the index is current", ""),
    (
        "the index is closed",
        "sqlite3 .git/elf/index.db 'PRAGMA wal_checkpoint(TRUNCATE)' >../n 2>&1 || true; rm -f .git/elf/index.db-shm .git/elf/index.db-wal",
    ),
    ("there is no index", "rm -f .git/elf/index.*"),
    ("there is nothing but the ref", "rm -rf .git/elf"),
    (
        "the index is behind",
        "git clone -q . ../c; cd ../c; git fetch -q origin refs/elf/memory:refs/elf/memory; git elf record failure 'Lesson four' >../n 2>&1; cd ../repo; git fetch -q ../c refs/elf/memory:refs/elf/memory",
    ),
    (
        "the index is an old copy",
        "cp -r .git/elf ../elf; git elf record failure 'Lesson four' >../n 2>&1; rm -rf .git/elf; mv ../elf .git/elf",
    ),
    ("the index is behind, since a record waits", "git elf record --no-wait failure 'Lesson four' >../n 2>&1"),
    ("the ref is packed", "git pack-refs --all; git gc -q"),
];

fn prepared(script: &str) -> (Sandbox, Vec<String>) {
    let s = Sandbox::new();
    let ids = ["Lesson one", "Lesson two", "Lesson three"].map(|title| s.record(title));
    assert!(super::make(&s, script));
    (s, ids.to_vec())
}

fn answers(name: &str, ids: &[String], elf: &dyn Fn(&[&str]) -> crate::support::Ran) {
    let list = elf(&["list", "--json"]).ok();
    let listed = list.json();
    let is_behind = name.contains("behind");
    assert_eq!(listed.len(), ids.len() + usize::from(name.contains("copy")), "{name}");
    assert_eq!(list.err.contains("not visible yet: nothing can be written here"), is_behind, "{name}: {}", list.err);
    let found = elf(&["search", "lesson", "--json"]).ok().json();
    assert!(found.len() >= ids.len(), "{name}: search finds {} records", found.len());
    assert!(elf(&["show", &ids[1]]).ok().out.contains("Lesson two"), "{name}");
    let exported = elf(&["export", "--format", "jsonl"]).ok().json().len();
    let is_in_ledger = name.contains("behind") || name.contains("copy");
    assert_eq!(exported, ids.len() + usize::from(is_in_ledger && !name.contains("waits")), "{name}: it needs no index");
    elf(&["log"]).ok();
    elf(&["stats"]).ok();
    assert_ne!(elf(&["doctor"]).status, -1, "{name}: doctor ends in its own way");

    let refused = elf(&["record", "failure", "Kept elsewhere", "-m", "Whole."]).exits(1);
    let line = &refused.json()[0];
    assert_eq!((line["title"].as_str(), line["body"].as_str()), (Some("Kept elsewhere"), Some("Whole.")), "{name}");
    assert!(refused.err.contains("git elf import --from jsonl"), "{name}: {}", refused.err);
    for args in [&["check"][..], &["validate", &ids[0]], &["init"]] {
        let ran = elf(args).exits(1);
        let says =
            ["ermission denied", "ead-only", "not be written", "readonly"].iter().any(|why| ran.err.contains(why));
        assert!(says, "{name}: {args:?} says why: {}", ran.err);
    }
}

#[test]
fn somebody_without_the_right_to_write_gets_answers() {
    if !are_possible() {
        return eprintln!("SKIPPED: only root can become another user");
    }
    for (name, script) in STATES {
        let (s, ids) = prepared(script);
        let reader = User::new(&s, 54_004, "022").trusts(&s.repo());
        answers(name, &ids, &|args| reader.elf(&s, args));
    }
}

#[test]
fn a_read_only_mount_gives_answers() {
    if !rustix::process::getuid().is_root() {
        return eprintln!("SKIPPED: only root can mount");
    }
    for (name, script) in STATES {
        let (s, ids) = prepared(script);
        let repo = s.repo();
        let mount = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec \"$@\"", repo.display());
        // A mount namespace of its own, so that nothing is left mounted.
        let unshared = |args: &[&str]| {
            let mut command = s.command("unshare");
            command.args(["-m", "sh", "-c", &mount, "sh"]).arg(crate::support::elf_program()).args(args);
            command.current_dir(s.root()).env("GIT_DIR", repo.join(".git")).env("GIT_WORK_TREE", &repo);
            s.run(command)
        };
        let works = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "x", "/mnt"]).output();
        if !works.is_ok_and(|output| output.status.success()) {
            return eprintln!("SKIPPED: no mount namespaces here");
        }
        answers(name, &ids, &unshared);
    }
}

#[test]
fn a_common_directory_that_is_not_ours_to_write_is_left_alone() {
    if !are_possible() {
        return eprintln!("SKIPPED: only root can become another user");
    }
    // Only `elf` belongs to somebody else, as after a record by root.
    let (s, _) = prepared("");
    let user = User::new(&s, 54_005, "022").trusts(&s.repo());
    for path in [s.repo(), s.repo().join(".git"), s.repo().join(".git/refs"), s.repo().join(".git/objects")] {
        chown(path, Some(user.id), Some(user.id)).unwrap();
    }
    let before = fs::read_dir(s.elf_dir()).unwrap().count();
    let refused = user.elf(&s, &["record", "failure", "Mine"]).exits(1);
    assert_eq!(refused.json()[0]["title"], "Mine");
    assert_eq!(fs::read_dir(s.elf_dir()).unwrap().count(), before);
    assert_eq!(user.listed(&s), 3);
}
