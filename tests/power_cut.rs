//! What a power cut leaves, and what the next command makes of it.
//!
//! Real writers run with the journal of file operations on. A cut is a position in that journal; from the state before and
//! the operations up to the cut, [`Replay`] works out what the disk may hold afterwards on ext4 or xfs (the rules are those
//! of their journals, see there). That state is written out, and the next command has to find every record that was
//! acknowledged before the cut.
//!
//! `ELF_CASES=N` runs N histories instead of the default; `ELF_SEED=N` starts at another seed. The order in which the
//! writers run is the machine's, so a seed repeats the choices but not always the schedule.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fastrand::Rng;
use git_elf::lock::{LockFile, Outcome, Silent};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::faults::{files, overwrite};
use crate::support::{Ran, Sandbox};

/// Which journal orders what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Replacing a file by rename writes the new one's data out first (`auto_da_alloc`).
    Ext4,
    Xfs,
}

/// One line of the journal; paths are relative to `.git`.
#[derive(Clone, Debug)]
enum Event {
    New {
        inode: u64,
        name: String,
        content: Vec<u8>,
    },
    Append {
        inode: u64,
        name: String,
        content: Vec<u8>,
    },
    Rename {
        inode: u64,
        from: String,
        to: String,
    },
    Link {
        inode: u64,
        name: String,
    },
    Unlink {
        name: String,
    },
    Flush {
        inode: u64,
    },
    Fsync {
        inode: u64,
    },
    SyncDir,
    /// A writer returned 0.
    Acknowledged {
        id: String,
    },
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

impl Event {
    fn parse(line: &str) -> Self {
        let words: Vec<_> = line.split('\t').collect();
        let path = |at: usize| words[at].split_once("/.git/").expect("all files of ours are below .git").1.to_owned();
        if words[0] == "ack" {
            return Self::Acknowledged { id: words[1].to_owned() };
        }
        let inode = words[1].parse().unwrap();
        match words[0] {
            "new" => Self::New { inode, name: path(2), content: unhex(words[3]) },
            "append" => Self::Append { inode, name: path(2), content: unhex(words[3]) },
            "rename" => Self::Rename { inode, from: path(2), to: path(3) },
            "link" => Self::Link { inode, name: path(2) },
            "unlink" => Self::Unlink { name: path(2) },
            "flush" => Self::Flush { inode },
            "fsync" => Self::Fsync { inode },
            "syncdir" => Self::SyncDir,
            other => panic!("unknown operation {other}"),
        }
    }
}

/// Files and what they hold, durably.
#[derive(Clone, Default)]
struct Disk {
    names: BTreeMap<String, u64>,
    data: HashMap<u64, Vec<u8>>,
    /// Kernel's inode numbers of these files while they are live.
    inodes: HashMap<u64, u64>,
}

/// The index is a cache that is written by `SQLite`, outside the journal.
fn is_index(name: &str) -> bool {
    name.starts_with("elf/index.db")
}

impl Disk {
    /// Reads `.git` as it is now.
    fn of(git: &Path) -> Self {
        let mut disk = Self::default();
        for path in files(git) {
            let name = path.strip_prefix(git).unwrap().to_str().unwrap().to_owned();
            let next = u64::try_from(disk.names.len()).unwrap();
            let file = *disk.inodes.entry(fs::metadata(&path).unwrap().ino()).or_insert(next);
            disk.data.insert(file, fs::read(&path).unwrap());
            disk.names.insert(name, file);
        }
        disk
    }

    /// Makes `.git` hold these files and no other, hard links as such; directories stay.
    fn write_to(&self, git: &Path) {
        for path in files(git) {
            fs::remove_file(path).unwrap();
        }
        let mut written: HashMap<u64, PathBuf> = HashMap::new();
        for (name, file) in &self.names {
            let path = git.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(first) = written.get(file) {
                fs::hard_link(first, path).unwrap();
            } else {
                overwrite(&path, &self.data[file]);
                written.insert(*file, path);
            }
        }
    }
}

/// A change that the file system's journal orders.
#[derive(Debug)]
enum Change {
    Name(String, u64),
    Rename(String, String, u64),
    Gone(String, u64),
    Data(u64, Vec<u8>),
}

impl Change {
    fn touches(&self, file: u64) -> bool {
        let (Self::Name(_, of) | Self::Rename(_, _, of) | Self::Gone(_, of) | Self::Data(of, _)) = self;
        *of == file
    }
}

/// A file system in memory, with what is durable and what is not.
///
/// Rules, for ext4 (`data=ordered`, delayed allocation) and xfs: changes of names are durable in the order in which they were
/// made, at least up to the last one that concerns a file that was fsynced. Data of a file is durable when it was written out
/// and the journal got that far; a name whose file's data is not is empty, zeros, or the first part of it. The kernel may write data out and commit
/// its journal at any time of its own accord.
struct Replay {
    kind: Kind,
    base: Disk,
    names: BTreeMap<String, u64>,
    content: HashMap<u64, Vec<u8>>,
    /// What a file held when it was created: what is torn cannot be newer than its name.
    first: HashMap<u64, Vec<u8>>,
    files: HashMap<u64, u64>,
    next: u64,
    dirty: BTreeSet<u64>,
    log: Vec<Change>,
    committed: usize,
}

impl Replay {
    fn new(kind: Kind, base: &Disk) -> Self {
        Self {
            kind,
            names: base.names.clone(),
            content: base.data.clone(),
            first: HashMap::new(),
            files: base.inodes.clone(),
            next: 1_000_000,
            dirty: BTreeSet::new(),
            log: Vec::new(),
            committed: 0,
            base: base.clone(),
        }
    }

    fn create(&mut self, inode: u64, name: &str, content: &[u8]) {
        self.next += 1;
        self.files.insert(inode, self.next);
        self.content.insert(self.next, content.to_vec());
        self.first.insert(self.next, content.to_vec());
        self.dirty.insert(self.next);
        self.name(name, self.next);
    }

    fn name(&mut self, name: &str, file: u64) {
        self.names.insert(name.to_owned(), file);
        self.log.push(Change::Name(name.to_owned(), file));
    }

    fn write_out(&mut self, file: u64) {
        if self.dirty.remove(&file) {
            self.log.push(Change::Data(file, self.content[&file].clone()));
        }
    }

    fn fsync(&mut self, file: u64) {
        self.write_out(file);
        if let Some(last) = self.log.iter().rposition(|change| change.touches(file)) {
            self.committed = self.committed.max(last + 1);
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::New { inode, name, content } => self.create(*inode, name, content),
            Event::Append { inode, name, content } => match (self.files.get(inode), self.names.get(name)) {
                (Some(file), Some(named)) if file == named => {
                    self.content.insert(*file, content.clone());
                    self.dirty.insert(*file);
                }
                _ => self.create(*inode, name, content),
            },
            Event::Rename { inode, from, to } => {
                let file = self.files[inode];
                if self.kind == Kind::Ext4 && self.names.contains_key(to) {
                    self.write_out(file);
                }
                self.names.remove(from);
                self.names.insert(to.clone(), file);
                self.log.push(Change::Rename(from.clone(), to.clone(), file));
            }
            Event::Link { inode, name } => self.name(name, self.files[inode]),
            Event::Unlink { name } => {
                if let Some(file) = self.names.remove(name) {
                    self.log.push(Change::Gone(name.clone(), file));
                }
            }
            Event::Flush { inode } => self.write_out(self.files[inode]),
            Event::Fsync { inode } => self.fsync(self.files[inode]),
            Event::SyncDir => self.committed = self.log.len(),
            Event::Acknowledged { .. } => {}
        }
    }

    /// What the kernel does of its own accord.
    fn background(&mut self, rng: &mut Rng) {
        if rng.f64() < 0.06
            && let Some(file) = rng.choice(self.dirty.iter().copied())
        {
            self.write_out(file);
        }
        if rng.f64() < 0.04 {
            self.committed = rng.usize(self.committed..=self.log.len());
        }
    }

    /// Returns what is found after a cut at which the first `durable` changes had reached the disk.
    fn crash(self, durable: usize, torn: impl Fn(&[u8]) -> Vec<u8>) -> Disk {
        let (mut names, mut data) = (self.base.names, self.base.data);
        for change in &self.log[..durable] {
            match change {
                Change::Name(name, file) => drop(names.insert(name.clone(), *file)),
                Change::Rename(from, to, file) => {
                    if names.get(from) == Some(file) {
                        names.remove(from);
                    }
                    names.insert(to.clone(), *file);
                }
                Change::Gone(name, file) => {
                    if names.get(name) == Some(file) {
                        names.remove(name);
                    }
                }
                Change::Data(file, content) => drop(data.insert(*file, content.clone())),
            }
        }
        for file in names.values() {
            data.entry(*file).or_insert_with(|| torn(&self.first[file]));
        }
        Disk { names, data, inodes: HashMap::new() }
    }
}

/// How far beyond the last fsync the disk got.
#[derive(Clone, Copy, Debug)]
enum Reach {
    FsyncedOnly,
    Everything,
    Random,
}

fn crash(kind: Kind, base: &Disk, events: &[Event], reach: Reach, rng: &mut Rng) -> Disk {
    let mut replay = Replay::new(kind, base);
    for event in events {
        if matches!(reach, Reach::Random) {
            replay.background(rng);
        }
        replay.apply(event);
    }
    let (least, most) = (replay.committed, replay.log.len());
    let durable = match reach {
        Reach::FsyncedOnly => least,
        Reach::Everything => most,
        Reach::Random => rng.usize(least..=most),
    };
    let torn = rng.u8(..3);
    replay.crash(durable, |content| match torn {
        0 => Vec::new(),
        1 => vec![0; content.len()],
        _ => content[..content.len() - content.len() / 8].to_vec(),
    })
}

/// Returns a body that differs from record to record, so that one that was cut off shows.
fn body_of(title: &str) -> String {
    format!("What happened, and what came of it: {title}. ").repeat(3).trim_end().to_owned()
}

fn acknowledged(events: &[Event]) -> impl Iterator<Item = String> {
    events.iter().filter_map(|event| if let Event::Acknowledged { id } = event { Some(id.clone()) } else { None })
}

/// A repository that writers work in, and one in which what a cut left is looked at.
struct Bench {
    live: Sandbox,
    after: Sandbox,
    journal: PathBuf,
    titles: u32,
}

impl Bench {
    fn new() -> Self {
        let live = Sandbox::new();
        fs::remove_dir_all(live.repo().join(".git/hooks")).unwrap();
        let journal = live.root().join("journal");
        Self { live, after: Sandbox::new(), journal, titles: 0 }
    }

    fn git(&self) -> PathBuf {
        self.live.repo().join(".git")
    }

    fn log(&self, line: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.journal).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Notes that git created a file, without making it durable.
    fn log_new(&self, path: &Path) {
        let (inode, content) = (fs::metadata(path).unwrap().ino(), hex(&fs::read(path).unwrap()));
        self.log(&format!("new\t{inode}\t{}\t{content}", path.display()));
    }

    fn take_journal(&self) -> Vec<Event> {
        let text = fs::read_to_string(&self.journal).unwrap_or_default();
        let _ = fs::remove_file(&self.journal);
        text.lines().map(Event::parse).collect()
    }

    /// Runs one writer and notes in the journal when it acknowledged.
    fn write(&self, title: u32, no_wait: bool, fault: Option<&str>) {
        let ran = self.live.run(self.writer(title, no_wait, fault));
        match ran.status {
            0 => self.log(&format!("ack\t{}", ran.line())),
            -1 => assert!(fault.is_some(), "{ran:?}"),
            _ => panic!("{ran:?}"),
        }
    }

    fn writer(&self, title: u32, no_wait: bool, fault: Option<&str>) -> Command {
        let title = format!("record {title}");
        let mut command = self.live.elf_command(["record", "failure", "--title", &title, "-m", &body_of(&title)]);
        command.env("ELF_FAULT_JOURNAL", &self.journal);
        if no_wait {
            command.arg("--no-wait");
        }
        if let Some(point) = fault {
            command.env("ELF_FAULT", point);
        }
        command
    }

    /// Runs `git pack-refs --all` and notes what it did; under the lock, so that its place in the journal is known.
    fn pack_refs(&self) {
        fs::create_dir_all(self.live.elf_dir()).unwrap();
        let mut file = LockFile::open(&self.live.elf_dir()).unwrap();
        let outcome = file.hold("test", Duration::from_secs(120), &mut Silent, |_| {
            self.pack_refs_locked();
            Ok(())
        });
        assert!(matches!(outcome, Ok(Outcome::Done(()))), "the lock stayed taken");
    }

    fn pack_refs_locked(&self) {
        let git = self.git();
        let packed = git.join("packed-refs");
        let before = files(&git.join("refs"));
        let old = fs::metadata(&packed).map(|meta| meta.ino()).ok();
        self.live.git(["pack-refs", "--all"]).ok();
        let Ok(meta) = fs::metadata(&packed) else { return };
        if old != Some(meta.ino()) {
            let content = hex(&fs::read(&packed).unwrap());
            let (inode, packed) = (meta.ino(), packed.display());
            self.log(&format!("new\t{inode}\t{packed}.of-git\t{content}"));
            self.log(&format!("fsync\t{inode}"));
            self.log(&format!("rename\t{inode}\t{packed}.of-git\t{packed}"));
        }
        for gone in before.iter().filter(|path| !path.exists()) {
            self.log(&format!("unlink\t0\t{}", gone.display()));
        }
    }

    /// A few rounds of writers, some of which die.
    fn epoch(&mut self, rng: &mut Rng, points: &[String]) {
        let timeout = if rng.u8(..4) == 0 { "0.02" } else { "120" };
        self.live.git(["config", "elf.lockTimeout", timeout]).ok();
        if rng.u8(..6) == 0 {
            // Enough for the path that writes a pack.
            for _ in 0..17 {
                self.titles += 1;
                self.write(self.titles, true, None);
            }
        }
        for _ in 0..rng.usize(1..=2) {
            let writers: Vec<_> = (0..rng.u8(1..=4))
                .map(|_| {
                    self.titles += 1;
                    let fault =
                        (rng.u8(..3) == 0).then(|| format!("{}:{}", points[rng.usize(..points.len())], rng.u8(1..=2)));
                    (self.titles, rng.u8(..3) == 0, fault)
                })
                .collect();
            let pack = rng.u8(..3) == 0;
            let this = &*self;
            std::thread::scope(|scope| {
                for (title, no_wait, fault) in &writers {
                    scope.spawn(move || this.write(*title, *no_wait, fault.as_deref()));
                }
                if pack {
                    scope.spawn(move || this.pack_refs());
                }
            });
        }
    }

    /// Puts a disk into the second repository and lets the next command find it.
    fn check(&self, disk: &Disk, index: &Disk, acknowledged: &BTreeSet<String>, gc: bool, case: &str) {
        let git = self.after.repo().join(".git");
        let mut disk = disk.clone();
        disk.names.retain(|name, _| !is_index(name));
        disk.write_to(&git);
        for (name, file) in index.names.iter().filter(|(name, _)| is_index(name)) {
            fs::create_dir_all(git.join("elf")).unwrap();
            overwrite(&git.join(name), &index.data[file]);
        }
        let succeeded = |ran: Ran, what: &str| {
            assert_eq!(ran.status, 0, "{case}\n{what}: {}{}", ran.out, ran.err);
            ran
        };
        let new = succeeded(self.after.elf(["record", "failure", "after the cut"]), "record").line().to_owned();
        let rows = succeeded(self.after.elf(["list", "--json"]), "list").json();
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
        let listed: BTreeSet<_> = rows.iter().map(|row| text(row, "id")).collect();
        let titles: BTreeSet<_> = rows.iter().map(|row| text(row, "title")).collect();
        assert!(listed.contains(&new), "{case}\nthe new record is not listed");
        for row in &rows {
            let title = text(row, "title");
            assert!(!title.starts_with("record") || text(row, "body") == body_of(&title), "{case}\ncut off: {row}");
        }
        let lost: Vec<_> = acknowledged.difference(&listed).collect();
        assert!(lost.is_empty(), "{case}\nlost {lost:?}");
        assert_eq!((listed.len(), titles.len()), (rows.len(), rows.len()), "{case}\na record is there twice");
        let tree: BTreeSet<_> =
            self.after.tree().iter().filter_map(|path| path.rsplit('/').next()?.get(..16).map(str::to_owned)).collect();
        assert_eq!(tree, listed, "{case}\nledger and list differ");
        succeeded(self.after.git(["fsck", "--strict", "--no-progress"]), "fsck");
        let locks: Vec<_> =
            files(&git.join("refs")).into_iter().filter(|path| path.extension() == Some("lock".as_ref())).collect();
        assert!(locks.is_empty(), "{case}\n{locks:?}");
        if gc {
            succeeded(self.after.git(["gc", "-q", "--prune=now"]), "gc");
            assert_eq!(self.after.listed().len(), rows.len(), "{case}\ngc took records away");
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Shows the last operations before the cut, without file contents.
fn tail(events: &[Event]) -> String {
    let mut text = String::new();
    for event in &events[events.len().saturating_sub(60)..] {
        let line = match event {
            Event::New { inode, name, content } => format!("new {inode} {name} ({} bytes)", content.len()),
            Event::Append { inode, name, content } => format!("append {inode} {name} ({} bytes)", content.len()),
            other => format!("{other:?}"),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn histories(kind: Kind, first: u64) {
    let points: Vec<_> = crate::faults::points().into_iter().collect();
    let first = number("ELF_SEED", first);
    for seed in first..first + number("ELF_CASES", 8) {
        let mut rng = Rng::with_seed(seed);
        let mut bench = Bench::new();
        let mut known = BTreeSet::new();
        for epoch in 0..3 {
            let base = Disk::of(&bench.git());
            bench.epoch(&mut rng, &points);
            let events = bench.take_journal();
            let now = Disk::of(&bench.git());
            let mut left = None;
            for cut_number in 0..6 {
                let cut = rng.usize(..=events.len());
                let reach = [Reach::FsyncedOnly, Reach::Everything, Reach::Random][rng.usize(..3)];
                let disk = crash(kind, &base, &events[..cut], reach, &mut rng);
                let mut expected = known.clone();
                expected.extend(acknowledged(&events[..cut]));
                let (index, which) = match rng.u8(..3) {
                    0 => (Disk::default(), "none"),
                    1 => (base.clone(), "of before"),
                    _ => (now.clone(), "of after"),
                };
                let case = format!(
                    "ELF_SEED={seed}, {kind:?}, epoch {epoch}, cut at {cut} of {}, {reach:?}, index: {which}; before it:\n{}",
                    events.len(),
                    tail(&events[..cut])
                );
                bench.check(&disk, &index, &expected, cut_number == 0, &case);
                left = Some((disk, expected));
            }
            // The next writers meet what the last cut left.
            let (disk, expected) = left.expect("there was a cut");
            disk.write_to(&bench.git());
            known = expected;
        }
    }
}

/// On ext4, the default file system of most machines: a power cut must not cost a lesson that somebody was told is safe.
#[test]
fn what_was_acknowledged_survives_a_power_cut_on_ext4() {
    histories(Kind::Ext4, 1);
}

/// The same on xfs, which does not write data out when a file is replaced.
#[test]
fn what_was_acknowledged_survives_a_power_cut_on_xfs() {
    histories(Kind::Xfs, 1001);
}

/// Cuts at every position of a journal, with the least and the most that can be durable: no step is missed by chance.
fn every_cut(scene: &str, bench: &Bench, base: &Disk, known: &BTreeSet<String>) {
    let mut rng = Rng::with_seed(1);
    let events = bench.take_journal();
    assert!(events.iter().any(|event| matches!(event, Event::Acknowledged { .. })), "{scene}: nothing to lose");
    for kind in [Kind::Ext4, Kind::Xfs] {
        for reach in [Reach::FsyncedOnly, Reach::Everything] {
            let mut seen = BTreeSet::new();
            for cut in 0..=events.len() {
                let disk = crash(kind, base, &events[..cut], reach, &mut rng);
                let mut expected = known.clone();
                expected.extend(acknowledged(&events[..cut]));
                let contents: Vec<_> =
                    disk.names.iter().map(|(name, file)| (name.clone(), disk.data[file].clone())).collect();
                if !seen.insert((contents, expected.len())) {
                    continue;
                }
                let case = format!("{scene}, {kind:?}, {reach:?}, cut at {cut}; before it:\n{}", tail(&events[..cut]));
                bench.check(&disk, &Disk::default(), &expected, false, &case);
            }
        }
    }
}

/// One writer, alone, in each state that a ledger's ref can be in.
#[test]
fn every_cut_in_one_record_is_survived() {
    for scene in ["first record", "second record", "after pack-refs", "queued"] {
        let bench = Bench::new();
        let mut known = BTreeSet::new();
        if scene != "first record" {
            known.insert(bench.live.record("before"));
        }
        if scene == "after pack-refs" {
            bench.live.git(["pack-refs", "--all"]).ok();
        }
        let base = Disk::of(&bench.git());
        bench.write(1, scene == "queued", None);
        every_cut(scene, &bench, &base, &known);
    }
}

/// A writer finds that another one committed its record and died before the ref was durable: it has to see to that itself
/// before it tells anybody that the record is safe.
#[test]
fn a_writer_that_finishes_for_a_dead_one_makes_the_ref_durable() {
    for packed in [false, true] {
        let bench = Bench::new();
        let known = BTreeSet::from([bench.live.record("before")]);
        let base = Disk::of(&bench.git());
        let mut slow = bench.writer(1, false, Some("spool-linked:stop"));
        let slow = slow.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(slow.id().try_into().unwrap()).unwrap();
        assert!(waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap().1.stopped());
        bench.write(2, false, Some("ref-renamed"));
        if packed {
            bench.pack_refs();
        }
        kill_process(pid, Signal::CONT).unwrap();
        let ran = Ran::of(slow.wait_with_output().unwrap()).ok();
        bench.log(&format!("ack\t{}", ran.line()));
        every_cut(&format!("finishing for a dead one, packed: {packed}"), &bench, &base, &known);
    }
}

/// Finds the spool entry of the one record that is queued: its path, and the object that it will become.
fn queued_object(bench: &Bench) -> (PathBuf, PathBuf) {
    let spool = files(&bench.live.elf_dir().join("spool"));
    let [entry] = &spool[..] else { panic!("{spool:?}") };
    let hash = entry.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1.to_owned();
    (entry.clone(), bench.git().join("objects").join(&hash[..2]).join(&hash[2..]))
}

/// git leaves the objects that it writes unsynced. One that is a record's already has to reach the disk with the others.
#[test]
fn an_object_that_git_wrote_just_before_is_made_durable() {
    let bench = Bench::new();
    let known = BTreeSet::from([bench.live.record("before"), {
        let ran = bench.live.run(bench.writer(1, true, None)).ok();
        ran.line().to_owned()
    }]);
    let _ = bench.take_journal();
    let base = Disk::of(&bench.git());
    let (entry, object) = queued_object(&bench);
    bench.live.git(["hash-object", "-w", "--no-filters", entry.to_str().unwrap()]).ok();
    bench.log_new(&object);
    bench.write(2, false, None);
    every_cut("object of git's", &bench, &base, &known);
}

/// What a power cut left of an object that git wrote: libgit2 would neither replace nor accept it, and every later record
/// with the same content would fail.
#[test]
fn a_torn_object_under_a_records_name_is_replaced() {
    for torn in [Some(&b""[..]), Some(&[0; 90]), Some(b"x\x01not zlib"), None] {
        let bench = Bench::new();
        bench.live.record("before");
        bench.live.run(bench.writer(1, true, None)).ok();
        let (entry, object) = queued_object(&bench);
        bench.live.git(["hash-object", "-w", "--no-filters", entry.to_str().unwrap()]).ok();
        let whole = fs::read(&object).unwrap();
        fs::remove_file(&object).unwrap();
        overwrite(&object, torn.unwrap_or(&whole[..whole.len() - 20]));
        let ran = bench.live.elf(["list", "--json"]).ok();
        assert_eq!((ran.json().len(), ran.err.as_str()), (2, ""));
        bench.live.git(["fsck", "--strict"]).ok();
        bench.live.git(["gc", "-q", "--prune=now"]).ok();
    }
}
