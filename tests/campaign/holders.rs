//! The holder of the lock dies, stops or is somebody else; the clock is wrong.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{Memory, no_strace, run, skipped};
use crate::support::Ran;

impl Memory {
    /// Starts a record that stops (SIGSTOP) while it holds the lock, at its first fsync; returns it and its process id.
    fn stopped_holder(&mut self) -> (String, Child, u32) {
        let title = self.title();
        let options = ["-o", "/dev/null", "-e", "inject=fsync:signal=SIGSTOP:when=1"];
        let mut command = self.traced(&options, &["record", "observation", &title, "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        for _ in 0..3000 {
            let text = fs::read_to_string(self.sandbox.elf_dir().join("lock")).unwrap_or_default();
            let pid = text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = state.rsplit(") ").next().and_then(|rest| rest.chars().next());
            let ours = fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&title));
            if ours && matches!(state, Some('T' | 't')) && self.holds_lock(pid) {
                return (title, child, pid);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("no holder stops");
    }

    /// Tells whether a process has the lock file locked (proc(5), /proc/locks).
    fn holds_lock(&self, pid: u32) -> bool {
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        locks.lines().any(|line| line.contains("FLOCK") && line.split_whitespace().any(|word| word == pid.to_string()))
    }
}

fn kill(how: &str, pid: u32) {
    run("kill", &[how, &pid.to_string()]).ok();
}

/// With a patience of nothing there is one attempt: it must succeed as soon as the holder is dead.
#[test]
fn a_killed_holder_frees_the_lock_at_once() {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    memory.sandbox.git(["config", "elf.lockTimeout", "0"]).ok();
    for _ in 0..5 {
        let (_, child, pid) = memory.stopped_holder();
        memory.record(&[]);
        assert_eq!(memory.waiting().len(), 2, "the lock is not held");
        kill("-KILL", pid);
        child.wait_with_output().unwrap();
        memory.settle("a killed holder");
        memory.figures.faults += 1;
    }
    memory.plain_git("killed holders");
    memory.figures.print("killed holder", memory.acknowledged.len());
}

fn stop(seconds: u64) {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    memory.sandbox.git(["config", "elf.lockTimeout", "1"]).ok();
    let (title, child, pid) = memory.stopped_holder();
    let titles: Vec<_> = (0..8).map(|_| memory.title()).collect();
    let start = |title: &String| {
        let mut command = memory.sandbox.elf_command(["record", "observation", title, "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let waiters: Vec<_> = titles.iter().map(start).collect();
    for (title, waiter) in titles.iter().zip(waiters) {
        let ran = Ran::of(waiter.wait_with_output().unwrap());
        let state = memory.take(title, &ran);
        assert_eq!(state.as_deref(), Some("queued"), "a writer beside a stopped holder: {ran:?}");
        assert!(ran.err.contains(&format!("pid {pid}")), "the holder is not named: {ran:?}");
    }
    let listed = memory.sandbox.elf(["list"]).ok();
    assert!(listed.err.contains("not visible yet"), "a reader is not told what it misses: {listed:?}");
    memory.sandbox.git(["commit", "-q", "--allow-empty", "-m", "beside a stopped holder"]).ok();
    std::thread::sleep(Duration::from_secs(seconds));
    kill("-CONT", pid);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(memory.take(&title, &ran).as_deref(), Some("committed"), "the holder goes on: {ran:?}");
    memory.settle("a stopped holder that went on");
    memory.figures.faults += 1;
    memory.figures.print("stopped holder", memory.acknowledged.len());
}

#[test]
fn a_stopped_holder_makes_others_queue_and_nothing_is_lost() {
    stop(0);
}

#[test]
#[ignore = "the holder sleeps for 15 s"]
fn long_stop_of_the_holder() {
    stop(15);
}

/// What a holder does in elf/tmp happens under the lock alone; the journal of file operations has its process id.
#[test]
fn two_holders_never_overlap_while_holders_are_stopped_and_killed() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    let journal = memory.sandbox.root().join("journal");
    let mut random = fastrand::Rng::with_seed(0x401D);
    for round in 0..6 {
        let titles: Vec<_> = (0..12).map(|_| memory.title()).collect();
        let start = |title: &String| {
            let mut command = memory.sandbox.elf_command(["record", "observation", title, "--json"]);
            command.env("ELF_FAULT_JOURNAL", &journal);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let writers: Vec<_> = titles.iter().map(start).collect();
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(random.u64(1..15)));
            // Whoever is there: the process may have ended, which is no error here.
            let pid = writers[random.usize(..writers.len())].id().to_string();
            run("kill", &["-STOP", &pid]);
            std::thread::sleep(Duration::from_millis(random.u64(1..30)));
            run("kill", &[if round % 2 == 0 { "-CONT" } else { "-KILL" }, &pid]);
        }
        for (title, writer) in titles.iter().zip(writers) {
            run("kill", &["-CONT", &writer.id().to_string()]);
            let ran = Ran::of(writer.wait_with_output().unwrap());
            memory.take(title, &ran);
        }
        memory.figures.faults += 6;
        memory.settle("stops and kills of writers");
    }
    let text = fs::read_to_string(&journal).unwrap();
    let holders: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split("/elf/tmp/").nth(1)?.split('-').nth(1)?.split(['\t', '/']).next())
        .collect();
    let mut turns: Vec<&str> = holders.clone();
    turns.dedup();
    let mut once = turns.clone();
    once.sort_unstable();
    once.dedup();
    assert!(once.len() > 10, "only {} holders left a trace", once.len());
    assert_eq!(turns.len(), once.len(), "two processes held the lock at once: {turns:?}");
    memory.figures.print("overlapping holders", memory.acknowledged.len());
}

/// The text of the lock file, and names with a process id, may be those of a process that took the number over.
#[test]
fn a_foreign_process_with_the_number_of_a_dead_holder_changes_nothing() {
    let mut memory = Memory::new();
    memory.record(&[]);
    memory.sandbox.git(["config", "elf.lockTimeout", "0"]).ok();
    let (dir, live) = (memory.sandbox.elf_dir(), std::process::id());
    fs::write(dir.join("lock"), format!("{live} record 2020-01-01T00:00:00Z\n")).unwrap();
    fs::write(dir.join(format!("tmp/object-{live}-0123456789ab")), "left by a dead holder").unwrap();
    fs::write(dir.join(format!("spool/.tmp-{live}-0123456789ab")), "left by a dead writer").unwrap();
    memory.settle("a reused process id");
    assert_eq!(fs::read_dir(dir.join("tmp")).unwrap().count(), 0, "leftovers stay in tmp/");
}

/// Finds the library that fakes the time.
fn faketime() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    places.map(|dir| dir.join("faketime/libfaketime.so.1")).find(|path| path.is_file())
}

#[test]
fn a_clock_that_is_wrong_or_steps_back_loses_nothing_and_the_last_edit_wins() {
    let Some(library) = faketime() else {
        skipped("libfaketime is not installed");
        return;
    };
    let mut memory = Memory::new();
    let at = |memory: &Memory, offset: &str, args: &[&str]| {
        let mut command = memory.sandbox.elf_command(args);
        command.env("LD_PRELOAD", &library).env("FAKETIME", offset).env("FAKETIME_DONT_RESET", "1");
        memory.sandbox.run(command)
    };
    let mut edited = Vec::new();
    for (nth, offset) in ["+0", "+730d", "-730d", "+0", "-730d", "+730d"].into_iter().enumerate() {
        let title = memory.title();
        let ran = at(&memory, offset, &["record", "observation", &title, "--json"]);
        assert_eq!(memory.take(&title, &ran).as_deref(), Some("committed"), "the clock is off by {offset}: {ran:?}");
        let queued = memory.title();
        let ran = at(&memory, offset, &["record", "observation", &queued, "--json", "--no-wait"]);
        assert_eq!(memory.take(&queued, &ran).as_deref(), Some("queued"), "the clock is off by {offset}: {ran:?}");
        let id = memory.acknowledged.iter().find(|(_, found)| **found == title).unwrap().0.clone();
        edited.push(id);
        // Every record so far is edited by this clock, whatever the clock of the edit before it was.
        for id in &edited {
            let body = format!("edit {nth}");
            let ran = at(&memory, offset, &["edit", id, "-m", &body]);
            assert_eq!(ran.status, 0, "an edit while the clock is off by {offset}: {ran:?}");
            let shown = memory.sandbox.elf(["show", "--json", id]).ok().json().remove(0);
            assert_eq!(shown["body"], body.as_str(), "an edit does not win while the clock is off by {offset}");
        }
        memory.figures.faults += 1;
        memory.settle(&format!("a clock off by {offset}"));
    }
    // A step back while a process waits for the lock, and an old leftover judged by a clock of the future.
    let fresh = memory.sandbox.elf_dir().join(format!("spool/.tmp-{}-0123456789ab", std::process::id()));
    fs::write(&fresh, "of a process that is alive").unwrap();
    at(&memory, "+730d", &["record", "observation", "judge", "--json"]).ok();
    assert!(fresh.exists(), "a clock of the future removed what a live process is writing");
    memory.figures.print("clocks", memory.acknowledged.len());
}

#[test]
fn a_clock_that_steps_back_while_a_writer_waits_loses_nothing() {
    let (Some(library), false) = (faketime(), no_strace()) else {
        skipped("libfaketime or strace is not installed");
        return;
    };
    let mut memory = Memory::new();
    memory.record(&[]);
    memory.sandbox.git(["config", "elf.lockTimeout", "2"]).ok();
    let clock = memory.sandbox.root().join("clock");
    fs::write(&clock, "+0\n").unwrap();
    let (title, holder, pid) = memory.stopped_holder();
    let waiting = memory.title();
    let mut command = memory.sandbox.elf_command(["record", "observation", &waiting, "--json"]);
    command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
    command.env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let waiter = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(&clock, "-730d\n").unwrap();
    let ran = Ran::of(waiter.wait_with_output().unwrap());
    assert_eq!(memory.take(&waiting, &ran).as_deref(), Some("queued"), "the clock steps back: {ran:?}");
    kill("-CONT", pid);
    let ran = Ran::of(holder.wait_with_output().unwrap());
    memory.take(&title, &ran).unwrap();
    memory.settle("a clock that stepped back");
}
