//! Errors of the disk at any system call: a full disk, a failing one, permissions that changed, a file system gone read-only.

use std::fs;

use super::{Memory, no_strace, spread};
use crate::support::Ran;

/// System calls of a record, and what each of them can fail with (their manual pages).
const FAULTS: [(&str, &[&str]); 15] = [
    ("write", &["EIO", "ENOSPC"]),
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("sync_file_range", &["EIO", "ENOSPC"]),
    ("rename", &["ENOSPC", "EACCES", "EROFS", "EIO"]),
    ("linkat", &["ENOSPC", "EACCES", "EROFS", "EIO"]),
    ("openat", &["ENOSPC", "EACCES", "EROFS", "EIO"]),
    ("mkdir", &["ENOSPC", "EACCES", "EROFS"]),
    ("unlink", &["EACCES", "EROFS", "EIO"]),
    ("ftruncate", &["EIO", "ENOSPC"]),
    ("flock", &["EIO", "ENOLCK"]),
    ("statx", &["EIO", "EACCES"]),
    ("newfstatat", &["EIO", "EACCES"]),
    ("getdents64", &["EIO"]),
    ("pread64", &["EIO"]),
];

/// What the C library says of these errors, and SQLite, and the loader of shared libraries.
const REASONS: [&str; 9] = [
    "Input/output error",
    "No space left",
    "Permission denied",
    "Read-only file system",
    "No locks available",
    "disk",
    "unable to open",
    "error while loading shared libraries",
    "failed",
];

impl Memory {
    /// Records a lesson while `inject` is active; returns its title, what it printed and strace's log.
    fn with_error(&mut self, name: &str, inject: &str, path: Option<&str>) -> (String, Ran, String) {
        let title = self.title();
        let log = self.sandbox.root().join("log");
        let (log_name, inject) = (log.to_str().unwrap(), format!("inject={name}:{inject}"));
        let traced = format!("trace=fsync,{name}");
        let mut options = vec!["-y", "-o", log_name, "-e", &traced, "-e", &inject];
        options.extend(path.iter().flat_map(|path| ["-P", path]));
        let command =
            self.traced(&options, &["record", "observation", &title, "-m", "Said while it failed.", "--json"]);
        let ran = self.sandbox.run(command);
        self.figures.faults += 1;
        self.figures.survived += usize::from(ran.status == 0);
        (title, ran, fs::read_to_string(log).unwrap_or_default())
    }

    /// Compares what a record said with what strace saw, and with what the next command finds.
    #[track_caller]
    fn judge(&mut self, doing: &str, title: &str, ran: &Ran, log: &str, fsyncs_seen: bool) {
        let injected = || log.lines().filter(|line| line.contains("(INJECTED)"));
        match self.take(title, ran).as_deref() {
            None => {
                assert!(!ran.err.trim().is_empty(), "{doing} ends with {} and without a word", ran.status);
                assert!(REASONS.iter().any(|reason| ran.err.contains(reason)), "{doing} does not say why: {ran:?}");
            }
            Some("queued") => {
                // A look at the own entry that fails leaves it open whether it is gone: then it is made durable where it is.
                let blind = injected().any(|line| line.contains("stat") && line.contains("/spool/"));
                let said = ran.err.contains("queued") || REASONS.iter().any(|reason| ran.err.contains(reason));
                assert!(blind || said, "{doing} does not say why: {ran:?}");
                let synced = log.lines().any(|line| {
                    line.contains("fsync(") && line.contains("/spool/") && line.trim_end().ends_with("= 0")
                });
                assert!(synced || !fsyncs_seen, "{doing} is acknowledged as queued without an fsync:\n{log}");
            }
            Some("committed") => {
                let ledger_fsync = injected().find(|line| line.contains("fsync(") && !line.contains("index.db"));
                assert_eq!(ledger_fsync, None, "{doing} is acknowledged as committed");
            }
            Some(other) => panic!("{doing}: {other}"),
        }
        self.settle(doing);
    }
}

fn every_call(most: usize) {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    let counts = memory.calls(&["record", "observation", "counted", "-m", "x", "--json"], "");
    for (name, errors) in FAULTS {
        let count = counts.get(name).copied().unwrap_or_default();
        for (nth, at) in spread(count, most.saturating_mul(errors.len())).into_iter().enumerate() {
            for error in if most == usize::MAX { errors } else { &errors[nth % errors.len()..][..1] } {
                // Once, as a bad sector; and from then on, as a full disk.
                for when in [format!("{at}"), format!("{at}+")] {
                    let doing = format!("{error} at {name} {when}");
                    let (title, ran, log) = memory.with_error(name, &format!("error={error}:when={when}"), None);
                    if name == "write" && when.ends_with('+') && ran.status != 0 {
                        // Its own words could not be written either.
                        memory.settle(&doing);
                    } else {
                        memory.judge(&doing, &title, &ran, &log, true);
                    }
                }
            }
        }
    }
    memory.plain_git("all errors");
    memory.figures.print("errors", memory.acknowledged.len());
}

#[test]
fn an_error_of_the_disk_never_becomes_an_acknowledgement() {
    every_call(3);
}

#[test]
#[ignore = "half an hour: every call and every error"]
fn long_errors_everywhere() {
    every_call(usize::MAX);
}

/// The kernel reports a failed write-back to fsync once and then forgets it (fsync(2), "Error handling").
#[test]
fn a_failed_fsync_that_succeeds_the_second_time_is_not_durable() {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    for (at, expected) in [("1", Some("queued")), ("2", Some("queued")), ("1+", None), ("2+", None)] {
        let doing = format!("EIO at fsync {at}");
        let (title, ran, log) = memory.with_error("fsync", &format!("error=EIO:when={at}"), None);
        assert_eq!(memory.take(&title, &ran).as_deref(), expected, "{doing}: {ran:?}");
        assert!(ran.err.contains("Input/output error"), "{doing} does not say why: {ran:?}");
        memory.judge(&doing, &title, &ran, &log, true);
    }
}

/// While somebody else holds the lock a record can be queued and nothing else, whatever the look at its entry says.
#[test]
fn an_entry_that_cannot_be_looked_at_is_not_taken_for_committed() {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    memory.sandbox.git(["config", "elf.lockTimeout", "0"]).ok();
    for name in ["statx", "newfstatat"] {
        for last in 0..6 {
            let mut file = git_elf::lock::LockFile::open(&memory.sandbox.elf_dir()).unwrap();
            let lock = file.try_lock("test").unwrap().expect("nobody else is here");
            let counted = memory.title();
            let count = memory.calls(&["record", "observation", &counted, "-m", "x", "--json"], "")[name];
            let doing = format!("EIO at {name} {last} from the end, beside a holder");
            let at = count.saturating_sub(last).max(1);
            let (title, ran, log) = memory.with_error(name, &format!("error=EIO:when={at}+"), None);
            let state = memory.take(&title, &ran);
            assert_ne!(state.as_deref(), Some("committed"), "{doing}: {ran:?}");
            drop(lock);
            memory.judge(&doing, &title, &ran, &log, true);
            memory.sandbox.elf(["list"]).ok();
        }
    }
}

/// A ref, a packed ref or a look at one that fails is not an absent ref: a new root commit would hide every record.
#[test]
fn a_ledger_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    let count = |memory: &Memory| {
        let ran = memory.sandbox.git(["rev-list", "--count", "refs/elf/memory"]).ok();
        ran.line().parse::<usize>().unwrap()
    };
    for packed in [false, true] {
        for file in ["refs/elf/memory", "packed-refs"] {
            for name in ["openat", "newfstatat", "read", "statx", "fstat", "access", "lstat", "stat"] {
                for error in ["EIO", "EACCES"] {
                    if packed {
                        memory.sandbox.git(["pack-refs", "--all"]).ok();
                    }
                    let before = count(&memory);
                    let path = memory.sandbox.repo().join(".git").join(file);
                    let path = path.canonicalize().unwrap_or(path);
                    let doing = format!("{error} at every {name} of {file}, packed: {packed}");
                    let inject = format!("error={error}:when=1+");
                    let (title, ran, log) = memory.with_error(name, &inject, path.to_str());
                    memory.judge(&doing, &title, &ran, &log, false);
                    assert!(count(&memory) > before, "the history was replaced by {doing}");
                }
            }
        }
    }
    memory.figures.print("errors of the ref", memory.acknowledged.len());
}

/// What is never queued says that it did not happen, or it did.
#[test]
fn an_import_or_an_edit_that_meets_an_error_is_whole_or_says_so() {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    let id = memory.acknowledged.keys().next().unwrap().clone();
    let faults = [
        ("fsync", "1"),
        ("fsync", "2"),
        ("sync_file_range", "1"),
        ("sync_file_range", "3"),
        ("rename", "1"),
        ("rename", "2"),
        ("rename", "1+"),
        ("linkat", "1+"),
        ("pwrite64", "1+"),
        ("write", "2"),
        ("ftruncate", "1+"),
        ("unlink", "1+"),
    ];
    for (nth, (name, when)) in faults.into_iter().enumerate() {
        let inject = format!("inject={name}:error={}:when={when}", if nth % 2 == 0 { "EIO" } else { "ENOSPC" });
        let options = ["-o", "/dev/null", "-e", &inject];
        // More objects than are written loose, so that they go into a pack, and few of them.
        for count in [3, 40] {
            let titles: Vec<_> = (0..count).map(|_| memory.title()).collect();
            let line =
                |title: &String| format!("{{\"kind\":\"failure\",\"title\":\"{title}\",\"summary\":\"Body\"}}\n");
            let input: String = titles.iter().map(line).collect();
            let args = ["import", "--from", "jsonl", "-"];
            let mut command = memory.traced(&options, &args);
            super::with_input(&mut command, &input);
            let ran = memory.sandbox.run(command);
            let doing = format!("{inject} in an import of {count}");
            memory.figures.faults += 1;
            memory.figures.survived += usize::from(ran.status == 0);
            assert!(ran.status == 0 || REASONS.iter().any(|why| ran.err.contains(why)), "{doing}: {ran:?}");
            let listed = |memory: &Memory| {
                let rows = memory.sandbox.elf(["list", "--json"]).ok().json();
                rows.iter().filter(|row| titles.iter().any(|title| row["title"] == title.as_str())).count()
            };
            let arrived = listed(&memory);
            assert!(arrived == 0 || arrived == count, "{arrived} records arrived of {doing}");
            assert!(ran.status != 0 || arrived == count, "{doing} ends well, and nothing arrived");
            assert_eq!(memory.sandbox.elf_with_input(args, &input).status, 0, "the same import after {doing}");
            assert_eq!(listed(&memory), count, "the same import after {doing}");
            memory.settle(&doing);
        }
        let body = format!("edited {nth}");
        let ran = memory.sandbox.run(memory.traced(&options, &["edit", &id, "-m", &body]));
        let doing = format!("{inject} in an edit");
        memory.figures.faults += 1;
        memory.figures.survived += usize::from(ran.status == 0);
        assert!(ran.status == 0 || REASONS.iter().any(|why| ran.err.contains(why)), "{doing}: {ran:?}");
        let shown = memory.sandbox.elf(["show", "--json", &id]).ok().json().remove(0);
        assert!(ran.status != 0 || shown["body"] == body.as_str(), "{doing} ends well and changed nothing: {shown}");
        memory.settle(&doing);
    }
    memory.figures.print("errors of import and edit", memory.acknowledged.len());
}

/// Whoever sends stderr to a full disk has recorded all the same.
#[test]
fn a_record_whose_stderr_cannot_be_written_ends_well() {
    let mut memory = Memory::new();
    for wait in [&[][..], &["--no-wait"]] {
        let title = memory.title();
        let mut command = memory.sandbox.elf_command([&["record", "observation", &title, "-m", "x"], wait].concat());
        let Ok(full) = fs::File::options().write(true).open("/dev/full") else {
            super::skipped("there is no /dev/full");
            return;
        };
        let ran = memory
            .sandbox
            .run({
                command.stderr(full);
                command
            })
            .ok();
        memory.acknowledged.insert(ran.line().to_owned(), title);
    }
    memory.settle("a full stderr");
}
