//! Linked worktrees that go away while somebody records in them.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{Place, make};
use crate::support::{Ran, Sandbox, elf_program};

/// Ways in which a worktree goes away.
const REMOVALS: [&str; 5] = [
    "git worktree remove --force ../a",
    "rm -rf ../a",
    "rm -rf ../a; git worktree prune --expire now",
    "git worktree move ../a ../b",
    "git worktree remove --force ../a; git branch -D a; git gc -q || true",
];

#[test]
fn a_writer_whose_worktree_is_removed_finishes() {
    for removal in REMOVALS {
        for point in ["spool-written", "spool-linked", "spool-listed", "objects-written", "ref-locked", "index-written"]
        {
            let s = Sandbox::new_in_memory();
            assert!(make(&s, "git worktree add -q -b a ../a"));
            let first = s.record("First");
            let mut record = Place::parse(&s, "../a").command(&s, elf_program(), &["record", "failure", "Second"]);
            record.env("ELF_FAULT", format!("{point}:stop")).stdout(Stdio::piped()).stderr(Stdio::piped());
            let writer = record.spawn().unwrap();
            let pid = Pid::from_raw(writer.id().try_into().unwrap()).unwrap();
            let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
            assert!(status.stopped(), "{point}: {status:?}");
            assert!(make(&s, removal), "{point}: {removal}");
            kill_process(pid, Signal::CONT).unwrap();
            let second = Ran::of(writer.wait_with_output().unwrap()).ok().line().to_owned();
            let listed = s.listed();
            assert!(listed.contains(&first) && listed.contains(&second), "{removal} at {point}: {listed:?}");
            s.elf(["check"]).ok();
            s.git(["fsck", "--strict"]).ok();
        }
    }
}

#[test]
fn what_waits_from_a_removed_worktree_is_committed_by_the_others() {
    for removal in REMOVALS {
        let s = Sandbox::new_in_memory();
        assert!(make(&s, "git worktree add -q -b a ../a"));
        let linked = Place::parse(&s, "../a");
        let waiting = linked.elf(&s, &["record", "--no-wait", "failure", "Waits"]).ok().line().to_owned();
        assert!(make(&s, removal));
        assert_eq!(s.listed(), [waiting], "{removal}: the spool is no part of the worktree");
        s.elf(["check"]).ok();
    }
}

#[test]
fn worktrees_come_and_go_among_writers_and_nothing_acknowledged_is_lost() {
    let s = Sandbox::new_in_memory();
    let over = AtomicBool::new(false);
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let s = &s;
        let over = &over;
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for n in 0..3 {
                    make(s, &format!("git worktree add -q --detach ../w{n} 2>/dev/null || true"));
                }
                std::thread::sleep(Duration::from_millis(50));
                for n in 0..3 {
                    make(s, &format!("git worktree remove --force ../w{n} 2>/dev/null || rm -rf ../w{n}"));
                }
                make(s, "git worktree prune --expire now 2>/dev/null || true");
            }
        });
        let writers: Vec<_> = (0..3)
            .map(|n| {
                scope.spawn(move || {
                    let place = Place::parse(s, &format!("../w{n}"));
                    let mut ids = Vec::new();
                    let mut refused = 0;
                    for i in 0..40 {
                        let title = format!("Writer {n}, lesson {i}");
                        let mut record = place.command(s, elf_program(), &["record", "failure", &title]);
                        // The directory may be gone before the program starts.
                        match record.output().map(Ran::of) {
                            Ok(ran) if ran.status == 0 => ids.push(ran.line().to_owned()),
                            Ok(ran) => {
                                assert!(ran.status == 1 && !ran.err.contains("panicked"), "{}", ran.err);
                                refused += 1;
                            }
                            Err(_) => {
                                refused += 1;
                                std::thread::sleep(Duration::from_millis(20));
                            }
                        }
                    }
                    eprintln!("writer {n}: {} acknowledged, {refused} refused", ids.len());
                    ids
                })
            })
            .collect();
        let ids = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        ids
    });
    assert!(!acknowledged.is_empty(), "somebody recorded");
    let rows = s.elf(["list", "--json", "--limit", "1000"]).ok().json();
    let listed: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    for id in &acknowledged {
        assert!(listed.contains(id), "{id} was acknowledged: {listed:?}");
    }
    s.elf(["check"]).ok();
    s.git(["fsck", "--strict"]).ok();
}
