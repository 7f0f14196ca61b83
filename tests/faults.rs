//! The program dies at each named point of the write path; the next command carries on as if nothing had been.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Ran, Sandbox};

/// Steps that only a branch that is checked out has.
pub const STEPS_OF_A_CHECKOUT: [&str; 3] = ["index-copied", "index-locked", "index-swapped"];

/// Finds the names of all fault points in the sources, so that a new one is tested without anybody thinking of it.
pub fn points() -> BTreeSet<String> {
    fn walk(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fault!(\"").skip(1).filter_map(|rest| rest.split_once('"'));
            found.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
    let mut found = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    // No writer passes it: `git elf locks --clean` does, and tests/locks.rs stops it there.
    assert!(found.remove("lock-aside"));
    // Only a branch that is checked out is kept in step: tests/checked_out.rs stops there.
    for point in STEPS_OF_A_CHECKOUT {
        assert!(found.remove(point));
    }
    found
}

/// Lists every file below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Writes bytes over whatever a file held, as a test may and the program must not.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    let mut file = fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

fn dies_at(sandbox: &Sandbox, point: &str, args: &[&str]) -> Ran {
    let mut command = sandbox.elf_command(args);
    command.env("ELF_FAULT", point);
    sandbox.run(command)
}

/// Lets a writer die at `point` with `waiting` records in the spool, and looks at what the next command makes of it.
fn survives(point: &str, waiting: usize, with_memory: bool) {
    let case = format!("{point}, {waiting} waiting, memory before: {with_memory}");
    let sandbox = Sandbox::new();
    let mut acknowledged = BTreeSet::new();
    if with_memory {
        acknowledged.insert(sandbox.record("before"));
    }
    for i in 1..waiting {
        let title = format!("queued {i}");
        let ran = sandbox.elf(["record", "failure", "--no-wait", "--title", &title]).ok();
        acknowledged.insert(ran.line().to_owned());
    }
    let mut args = vec!["record", "failure", "--title", "dies"];
    if point == "queued" {
        args.push("--no-wait");
    }
    let dead = dies_at(&sandbox, point, &args);
    assert_eq!(dead.status, -1, "{case}: the point was not passed: {}", dead.err);
    assert_eq!(dead.out, "", "{case}: a record was acknowledged before it was durable");

    acknowledged.insert(sandbox.record("after"));
    let rows = sandbox.elf(["list", "--json"]).ok().json();
    let ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    let distinct: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), distinct.len(), "{case}: a record is listed twice");
    assert!(acknowledged.is_subset(&distinct), "{case}: lost {:?}", acknowledged.difference(&distinct));
    let unacknowledged: Vec<_> =
        rows.iter().filter(|row| !acknowledged.contains(row["id"].as_str().unwrap())).collect();
    assert!(unacknowledged.len() <= 1, "{case}: {unacknowledged:?}");
    assert!(unacknowledged.iter().all(|row| row["title"] == "dies"), "{case}: {unacknowledged:?}");
    let mut in_tree: Vec<_> = sandbox.tree().iter().filter_map(|path| id_in(path)).collect();
    in_tree.sort();
    assert_eq!(in_tree, distinct.iter().cloned().collect::<Vec<_>>(), "{case}: ledger and list differ");

    nothing_is_left(&sandbox, &case);
    sandbox.git(["fsck", "--strict"]).ok();
    sandbox.write("README", "changed\n");
    sandbox.git(["commit", "-q", "-a", "-m", "work goes on"]).ok();
    sandbox.git(["gc", "-q", "--prune=now"]).ok();
    assert_eq!(sandbox.listed().len(), ids.len(), "{case}: gc took records away");
}

fn id_in(path: &str) -> Option<String> {
    path.rsplit('/').next()?.get(..16).map(str::to_owned)
}

/// Fails when a lock, a temporary file or a spool entry survived the command that came after.
fn nothing_is_left(sandbox: &Sandbox, case: &str) {
    let git = sandbox.repo().join(".git");
    let locks: Vec<_> =
        files(&git.join("refs")).into_iter().filter(|path| path.extension() == Some("lock".as_ref())).collect();
    assert!(locks.is_empty(), "{case}: {locks:?}");
    let left: Vec<_> = fs::read_dir(git.join("elf/tmp")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "{case}: {left:?}");
    // A temporary file younger than a minute might be that of a slow writer, so it may stay.
    let spool: Vec<_> = files(&git.join("elf/spool"))
        .into_iter()
        .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with(".tmp-"))
        .collect();
    assert!(spool.is_empty(), "{case}: {spool:?}");
}

/// A crash of the machine's user session in mid-record would otherwise cost a record, or block everybody who comes after.
#[test]
fn a_writer_that_dies_anywhere_costs_nothing_that_was_acknowledged() {
    let points = points();
    assert!(points.len() >= 12, "the sources were not found: {points:?}");
    for point in &points {
        survives(point, 1, true);
    }
}

/// The first record of a repository creates directories, reflog and ref; dying there must not leave half a memory.
#[test]
fn dying_in_the_very_first_record_leaves_a_repository_that_takes_the_next() {
    for point in &points() {
        survives(point, 1, false);
    }
}

/// Forty waiting records make more than 64 objects, which go to disk as one pack.
#[test]
fn a_writer_that_dies_with_a_full_spool_costs_nothing_that_was_acknowledged() {
    for point in &points() {
        survives(point, 40, true);
    }
}

/// Dying at the second object or the third spool entry is another state than dying at the first.
#[test]
fn dying_in_the_middle_of_a_loop_is_no_different() {
    for point in ["object-renamed:2", "object-renamed:5", "spool-unlinked:2"] {
        survives(point, 3, true);
    }
    survives("object-renamed:2", 40, true);
}

/// Two deaths in a row, the second while the first is being mended.
#[test]
fn dying_while_mending_is_no_different() {
    for first in ["ref-locked", "object-renamed", "ref-renamed"] {
        for second in
            ["spool-listed", "objects-written", "ref-locked", "reflog-written", "ref-renamed", "spool-unlinked"]
        {
            let sandbox = Sandbox::new();
            let before = sandbox.record("before");
            assert_eq!(dies_at(&sandbox, first, &["record", "failure", "first"]).status, -1);
            assert_eq!(dies_at(&sandbox, second, &["record", "failure", "second"]).status, -1, "{first}, {second}");
            let after = sandbox.record("after");
            let rows = sandbox.elf(["list", "--json"]).ok().json();
            for title in ["before", "first", "second", "after"] {
                let count = rows.iter().filter(|row| row["title"] == title).count();
                assert_eq!(count, 1, "{first}, {second}: {title}");
            }
            assert!([before, after].iter().all(|id| rows.iter().any(|row| row["id"] == id.as_str())));
            nothing_is_left(&sandbox, &format!("{first}, {second}"));
            sandbox.git(["fsck", "--strict"]).ok();
        }
    }
}
