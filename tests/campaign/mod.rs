//! The fault campaign: what docs/durability.md promises, with every fault that can be staged on one machine.
//!
//! One file a row of its table. Each test injects faults into real processes on real file systems, and after each of them asks
//! the same questions ([`Memory::settle`]): does the next command work without a flag, is everything there that was ever
//! acknowledged, is nothing there twice, does plain git work? The short form runs with the other tests; the long form
//! is `#[ignore]`d and started by the command in the table. What a machine cannot stage is skipped with a word on stderr.

mod entries;
mod errors;
mod full;
mod holders;
mod index;
mod kill;
mod power;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ran, Sandbox, elf_program};

/// The system calls that change something, or whose answer decides what is changed.
const TELLING: [&str; 16] = [
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "sync_file_range",
    "rename",
    "linkat",
    "mkdir",
    "unlink",
    "ftruncate",
    "flock",
    "fcntl",
    "getdents64",
    "pread64",
    "read",
    "close",
];

/// What a row of the campaign did.
#[derive(Debug, Default)]
struct Figures {
    faults: usize,
    /// Commands that ended with 0 although a fault was injected.
    survived: usize,
    /// Leftovers that a later command reported as removed.
    healed: usize,
}

impl Figures {
    fn print(&self, row: &str, acknowledged: usize) {
        let Self { faults, survived, healed } = self;
        eprintln!(
            "CAMPAIGN {row}: {faults} faults, {acknowledged} acknowledged, 0 lost, {survived} survived, {healed} healed"
        );
    }
}

/// A memory, and everything that was acknowledged in it.
struct Memory {
    sandbox: Sandbox,
    /// Id and title.
    acknowledged: BTreeMap<String, String>,
    /// Id and what was printed, for the message of a failure.
    receipts: BTreeMap<String, String>,
    serial: usize,
    figures: Figures,
}

impl Memory {
    fn new() -> Self {
        Self::of(Sandbox::new())
    }

    fn of(sandbox: Sandbox) -> Self {
        Self {
            sandbox,
            acknowledged: BTreeMap::new(),
            receipts: BTreeMap::new(),
            serial: 0,
            figures: Figures::default(),
        }
    }

    /// Returns a title that no other record has.
    fn title(&mut self) -> String {
        self.serial += 1;
        format!("lesson {:05}", self.serial)
    }

    /// Notes what a `record --json` acknowledged and returns the state.
    fn take(&mut self, title: &str, ran: &Ran) -> Option<String> {
        let receipt = (ran.status == 0).then(|| ran.json().remove(0))?;
        let id = receipt["id"].as_str().unwrap();
        self.receipts.insert(id.to_owned(), format!("{} {}", ran.line(), ran.err));
        self.acknowledged.insert(id.to_owned(), title.to_owned());
        Some(receipt["state"].as_str().unwrap().to_owned())
    }

    /// Records one lesson, which must work.
    fn record(&mut self, options: &[&str]) {
        let title = self.title();
        let ran = self.sandbox.elf([&["record", "observation", &title, "-m", "A body.", "--json"], options].concat());
        self.take(&title, &ran.ok());
    }

    /// Asks after a fault whether anything was lost, doubled or left in the way. `doing` names the fault.
    #[track_caller]
    fn settle(&mut self, doing: &str) {
        self.next(doing);
        self.verify(doing);
    }

    /// Runs the next command, a record, which must be committed without a flag.
    #[track_caller]
    fn next(&mut self, doing: &str) {
        let title = self.title();
        let ran = self.sandbox.elf(["record", "observation", &title, "--json"]);
        assert_eq!(ran.status, 0, "the next command fails after {doing}: {ran:?}");
        self.figures.healed += ran.err.matches("left by a git-elf that died").count();
        let state = self.take(&title, &ran);
        assert_eq!(state.as_deref(), Some("committed"), "the next record is not committed after {doing}: {ran:?}");
    }

    /// Removes entries that were put aside, as `check` says, if nobody was told that they were kept; returns their number.
    #[track_caller]
    fn clear_bad(&self, doing: &str) -> usize {
        let bad = self.sandbox.elf_dir().join("spool/bad");
        let mut count = 0;
        for entry in fs::read_dir(bad).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            assert!(!self.acknowledged.contains_key(&name[..16]), "LOST, put aside after {doing}: {name}");
            fs::remove_file(entry.path()).unwrap();
            count += 1;
        }
        count
    }

    /// Compares list, tree and spool with what was acknowledged; writes nothing.
    #[track_caller]
    fn verify(&self, doing: &str) {
        let listed = self.sandbox.elf(["list", "--json"]);
        assert_eq!(listed.status, 0, "list fails after {doing}: {listed:?}");
        let rows = listed.json();
        let mut titles: HashMap<&str, usize> = HashMap::new();
        for row in &rows {
            *titles.entry(row["title"].as_str().unwrap()).or_default() += 1;
        }
        let doubled: Vec<_> = titles.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "doubled after {doing}: {doubled:?}");
        let ids: HashMap<&str, &str> =
            rows.iter().map(|row| (row["id"].as_str().unwrap(), row["title"].as_str().unwrap())).collect();
        let tree = self.sandbox.tree();
        let mut files: HashMap<&str, usize> = HashMap::new();
        for path in tree.iter().filter_map(|path| path.rsplit('/').next()?.get(..16)) {
            *files.entry(path).or_default() += 1;
        }
        for (id, title) in &self.acknowledged {
            let (found, count) = (ids.get(id.as_str()), files.get(id.as_str()));
            assert!(
                found == Some(&title.as_str()) && count == Some(&1),
                "LOST after {doing}: {id} {title:?} is {found:?} in the list and stands {count:?} times in the tree: {:?}",
                self.receipts.get(id)
            );
        }
        assert_eq!(self.waiting(), Vec::<String>::new(), "left in the spool after {doing}");
        let locks = locks_below(&self.sandbox.repo().join(".git"));
        assert!(locks.is_empty(), "left in git's way after {doing}: {locks:?}");
        let fsck = self.sandbox.git(["fsck", "--strict", "--no-dangling", "--no-progress"]);
        assert_eq!(fsck.status, 0, "git fsck after {doing}: {fsck:?}");
    }

    /// Lists what waits in the spool, entries in `bad/` included.
    fn waiting(&self) -> Vec<String> {
        let names = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let spool = self.sandbox.elf_dir().join("spool");
        let all = names(spool.join("bad")).chain(names(spool)).map(|name| name.to_string_lossy().into_owned());
        all.filter(|name| name != "bad" && !name.starts_with(".tmp-")).collect()
    }

    /// Does what a user does with plain git.
    #[track_caller]
    fn plain_git(&self, doing: &str) {
        for args in [
            &["commit", "-q", "--allow-empty", "-m", "the user's own work"][..],
            &["update-ref", "refs/heads/other", "HEAD"],
            &["pack-refs", "--all"],
            &["gc", "--quiet"],
        ] {
            let ran = self.sandbox.git(args);
            assert_eq!(ran.status, 0, "git {args:?} after {doing}: {ran:?}");
        }
    }

    /// Prepares a command of ours under strace with these options.
    fn traced<S: AsRef<OsStr>>(&self, options: &[S], args: &[&str]) -> Command {
        let mut command = self.sandbox.command("strace");
        command.args(["-f", "-qq"]).args(options).arg(elf_program()).args(args);
        command
    }

    /// Counts the system calls of a command by name.
    fn calls(&self, args: &[&str], input: &str) -> BTreeMap<String, usize> {
        let log = self.sandbox.root().join("calls");
        let mut command = self.traced(&["-c", "-o", log.to_str().unwrap()], args);
        with_input(&mut command, input);
        self.sandbox.run(command);
        let mut counts = BTreeMap::new();
        for line in fs::read_to_string(log).unwrap().lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let (true, Ok(count)) = (words.len() >= 5, words.get(3).unwrap_or(&"").parse()) {
                counts.insert((*words.last().unwrap()).to_owned(), count);
            }
        }
        counts.retain(|name, _| !["total", "execve", "exit_group"].contains(&name.as_str()));
        assert!(counts.len() > 10, "strace counted {counts:?}");
        counts
    }
}

/// Gives a command its stdin, from a file that is gone afterwards.
fn with_input(command: &mut Command, input: &str) {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    command.stdin(file);
}

/// Spreads at most `most` positions over 1 to `count`, the first and the last among them.
fn spread(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (1..=count).collect();
    }
    (0..most).map(|i| 1 + i * (count - 1) / (most - 1)).collect()
}

/// Finds lock files of git; a lock of ours has another name.
fn locks_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(locks_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            found.push(path);
        }
    }
    found
}

/// Says that a row is skipped, and why; returns true.
fn skipped(why: &str) -> bool {
    eprintln!("SKIPPED: {why}");
    true
}

fn is_missing(tool: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(tool).is_file());
    !found && skipped(&format!("{tool} is not installed"))
}

/// Tells whether processes cannot be traced here.
fn no_strace() -> bool {
    if is_missing("strace") {
        return true;
    }
    let injects = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=1", "true"];
    let traced = Command::new("strace").args(injects).output();
    !traced.is_ok_and(|output| output.status.success()) && skipped("strace cannot inject faults here")
}

/// A file system of its own in a file.
struct Disk {
    dir: tempfile::TempDir,
    kind: &'static str,
}

impl Disk {
    /// Makes and mounts one; `None`, with a word, where that is not permitted.
    fn new(kind: &'static str, size: &str, options: &[&str]) -> Option<Self> {
        let mkfs = format!("mkfs.{kind}");
        if is_missing(&mkfs) {
            return None;
        }
        let disk = Self { dir: tempfile::tempdir().unwrap(), kind };
        fs::create_dir(disk.mount_point()).unwrap();
        let image = disk.image();
        let image = image.to_str().unwrap();
        run("truncate", &["-s", size, image]).ok();
        run(&mkfs, &[options, &["-q", image]].concat()).ok();
        let mounted = disk.mount(&disk.image());
        if mounted.status != 0 {
            skipped(&format!("a {kind} on a loop device cannot be mounted here: {}", mounted.err.trim()));
            return None;
        }
        Some(disk)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn mount(&self, image: &Path) -> Ran {
        run("mount", &["-t", self.kind, "-o", "loop", image.to_str().unwrap(), self.mount_point().to_str().unwrap()])
    }

    fn umount(&self) {
        let point = self.mount_point();
        for _ in 0..100 {
            if run("umount", &[point.to_str().unwrap()]).status == 0 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{} stays busy", point.display());
    }

    /// Makes a repository on it, with these settings, and waits until it is on the disk: git leaves its own files unsynced.
    fn sandbox(&self, settings: &[(&str, &str)]) -> Sandbox {
        let sandbox = Sandbox::new_in(&self.mount_point());
        for (key, value) in settings {
            sandbox.git(["config", "--global", key, value]).ok();
        }
        run("sync", &["-f", self.mount_point().to_str().unwrap()]).ok();
        sandbox
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", self.mount_point().to_str().unwrap()]).output();
    }
}

/// Runs a tool that is no part of a sandbox.
fn run(program: &str, args: &[&str]) -> Ran {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Ran::of(Command::new(program).args(args).env("PATH", path).output().unwrap())
}
