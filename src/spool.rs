//! The spool: one file for each record that is not yet durable in the ledger.
//!
//! An entry is the record's text under the name `<id>-<hash>.md`, where `hash` is what git calls a blob of that text. It is
//! written under a temporary name and renamed, so it is whole or absent, except after a power cut; then the hash tells. The
//! name is unique for its content, so renaming over an equal entry changes nothing.
//!
//! Only the holder of the lock removes entries, and only those that it saw in the ledger after the ref was fsynced. So a
//! writer whose entry is gone knows that its record is durable, unless the entry is in `bad/`. Malformed entries are moved
//! there and never deleted.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use git2::{ObjectFormat, ObjectType, Oid};

use crate::error::{Doing, Error, Result};
use crate::fault;
use crate::lock::RepoLock;
use crate::record::{Id, Record, field};
use crate::repo::parse_oid;
use crate::sys::{self, Flush, Prepared};

/// Largest entry that is read, in bytes: a record's file.
const FILE_MAX: u64 = field::FILE_MAX as u64;

/// The spool directory.
pub struct Spool {
    dir: PathBuf,
    /// How blobs are named in this repository.
    format: ObjectFormat,
}

/// A record on its way to the ledger.
#[derive(Debug)]
pub struct Entry {
    pub record: Record,
    pub text: String,
    /// The spool file; `None` for a record that is handed to the drain directly, as an import does.
    name: Option<String>,
    /// When the spool file was written.
    since: Option<SystemTime>,
    /// How blobs are named in this repository.
    format: ObjectFormat,
}

/// A record that its writer put into the spool.
pub struct Ticket {
    path: PathBuf,
    bad: PathBuf,
    dir: PathBuf,
    file: Prepared,
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Still in the spool.
    Waiting,
    /// In the ledger, durably.
    Committed,
    /// Moved to `bad/`.
    Rejected,
}

/// What the spool holds.
#[derive(Default)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// Names that could not be read or did not parse, with the reason.
    pub malformed: Vec<(String, Error)>,
}

impl Entry {
    /// Returns what git calls a blob of the text.
    pub fn blob(&self) -> Oid {
        blob_id(self.text.as_bytes(), self.format)
    }

    /// Returns the name of the spool file.
    pub fn spool_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns how long the entry has waited in the spool; zero when the clock was set back.
    pub fn waited(&self) -> Option<Duration> {
        self.since.map(|since| SystemTime::now().duration_since(since).unwrap_or_default())
    }

    /// Tells whether the record was handed over without a spool file.
    pub fn is_direct(&self) -> bool {
        self.name.is_none()
    }
}

impl Spool {
    /// Names the spool below our directory; it is created by the first record.
    pub fn new(elf_dir: &Path, format: ObjectFormat) -> Self {
        Self { dir: elf_dir.join("spool"), format }
    }

    /// Names another spool of the same repository.
    #[must_use]
    pub fn another(&self, elf_dir: &Path) -> Self {
        Self::new(elf_dir, self.format)
    }

    /// Wraps a record that never is in the spool.
    pub fn direct(&self, record: Record) -> Entry {
        Entry { text: record.to_text(), record, name: None, since: None, format: self.format }
    }

    /// Returns the directory of entries that could not be read.
    pub fn bad_dir(&self) -> PathBuf {
        self.dir.join("bad")
    }

    /// Puts a record into the spool, not yet durably.
    ///
    /// # Errors
    /// When the file system refuses; nothing is left behind.
    pub fn put(&self, record: &Record) -> Result<Ticket> {
        let text = record.to_text();
        let doing = || format!("write to {}", self.dir.display());
        sys::create_dir(&self.bad_dir()).doing(doing)?;
        let mut file = sys::prepare(&self.dir, ".tmp-", text.as_bytes(), 0o666).doing(doing)?;
        fault!("spool-written");
        let name = self.name_of(record.id, text.as_bytes());
        let ticket = (self.dir.join(&name), self.bad_dir().join(&name));
        file.rename_to(&ticket.0).doing(doing)?;
        fault!("spool-linked");
        Ok(Ticket { path: ticket.0, bad: ticket.1, dir: self.dir.clone(), file })
    }

    /// Reads every entry and checks its hash.
    ///
    /// # Errors
    /// When the directory cannot be read. What is wrong with one entry is part of the listing.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        for name in self.names()? {
            match self.read(&name) {
                Ok(entry) => listing.entries.push(entry),
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => listing.malformed.push((name, error)),
            }
        }
        listing.entries.sort_by_key(|entry| (entry.record.created, entry.record.id));
        Ok(listing)
    }

    /// Returns a digest of the entries' names, which say what the entries hold; empty when nothing waits.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn digest(&self) -> Result<String> {
        let mut names = self.names()?;
        names.sort_unstable();
        Ok(if names.is_empty() { String::new() } else { blob_id(names.join("\n").as_bytes(), self.format).to_string() })
    }

    /// Returns where the entries are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes over the entries of another spool on the same file system; returns how many.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn take_over(&self, _lock: &RepoLock<'_>, other: &Self) -> Result<usize> {
        let names = other.names()?;
        sys::create_dir(&self.bad_dir()).doing(|| format!("create {}", self.dir.display()))?;
        let doing = || format!("move the entries of {}", other.dir.display());
        for name in &names {
            sys::rename(&other.dir.join(name), &self.dir.join(name)).doing(doing)?;
        }
        if !names.is_empty() {
            // What was acknowledged as queued must stay so.
            sys::sync_dir(&self.dir).doing(doing)?;
        }
        for name in other.bad() {
            sys::rename(&other.bad_dir().join(&name), &self.bad_dir().join(&name)).doing(doing)?;
        }
        Ok(names.len())
    }

    /// Returns the number of entries without reading them.
    pub fn len(&self) -> usize {
        self.names().map_or(0, |names| names.len())
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns for how long the entry that has waited longest has waited; `None` when nothing waits.
    pub fn longest_wait(&self) -> Option<Duration> {
        let names = self.names().unwrap_or_default();
        let since = |name: &String| fs::symlink_metadata(self.dir.join(name)).and_then(|meta| meta.modified()).ok();
        let oldest = names.iter().filter_map(since).min()?;
        Some(SystemTime::now().duration_since(oldest).unwrap_or_default())
    }

    /// Lists the names of entries that were put aside.
    pub fn bad(&self) -> Vec<String> {
        let mut bad = names_in(&self.bad_dir()).unwrap_or_default();
        // Names that are no text are none of ours and stay where they are.
        for dir in [&self.dir, &self.bad_dir()] {
            let all = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
            bad.extend(all.filter(|name| name.to_str().is_none()).map(|name| name.to_string_lossy().into_owned()));
        }
        bad
    }

    /// Finds waiting records whose id starts with `prefix`.
    pub fn find(&self, prefix: &str) -> Vec<Record> {
        let names = self.names().unwrap_or_default();
        names
            .iter()
            .filter(|name| name.starts_with(prefix))
            .filter_map(|name| Some(self.read(name).ok()?.record))
            .collect()
    }

    /// Moves an entry to `bad/`. Errors of the disk are no fault of the entry: it then stays where it is.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn put_aside(&self, _lock: &RepoLock<'_>, name: &str, why: &Error) -> Result<()> {
        if matches!(why, Error::Io { .. }) {
            return Ok(());
        }
        let (from, to) = (self.dir.join(name), self.bad_dir().join(name));
        sys::rename(&from, &to).doing(|| format!("move spool/{name} aside"))
    }

    /// Removes entries whose records are durable in the ledger.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self, _lock: &RepoLock<'_>, entries: &[Entry]) -> Result<()> {
        for name in entries.iter().filter_map(|entry| entry.name.as_ref()) {
            sys::unlink(&self.dir.join(name)).doing(|| format!("remove spool/{name}"))?;
            fault!("spool-unlinked");
        }
        Ok(())
    }

    /// Removes entries whose content is lost and whose names say that the ledger has it, durably.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove_spent(&self, _lock: &RepoLock<'_>, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|name| sys::unlink(&self.dir.join(name)).doing(|| format!("remove spool/{name}")))
    }

    /// Removes temporary files whose writer is gone and that are older than a minute. Age alone proves nothing, since clocks jump;
    /// a leftover whose process number is somebody else's now stays until that process ends, and nothing reads it meanwhile.
    pub fn sweep(&self, _lock: &RepoLock<'_>) {
        let Ok(dir) = fs::read_dir(&self.dir) else { return };
        for file in dir.flatten() {
            let name = file.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(".tmp-")) else { continue };
            let pid = pid.split('-').next().and_then(|pid| pid.parse().ok());
            let written = file.metadata().and_then(|meta| meta.modified()).ok();
            let age = written.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default();
            if age > Duration::from_secs(60) && !pid.is_some_and(sys::process_is_alive) {
                let _ = sys::unlink(&file.path());
            }
        }
    }

    fn name_of(&self, id: Id, bytes: &[u8]) -> String {
        format!("{id}-{}.md", blob_id(bytes, self.format))
    }

    fn names(&self) -> Result<Vec<String>> {
        names_in(&self.dir).doing(|| format!("list {}", self.dir.display()))
    }

    fn read(&self, name: &str) -> Result<Entry> {
        let path = self.dir.join(name);
        let meta = fs::symlink_metadata(&path).doing(|| format!("read spool/{name}"))?;
        if !meta.is_file() {
            return Err(Error::invalid("spool", format!("{name} is no regular file")));
        }
        if meta.len() > FILE_MAX {
            return Err(Error::invalid("spool", format!("{name} has {} bytes (limit: {FILE_MAX})", meta.len())));
        }
        let mut bytes = Vec::new();
        let file = sys::open_own(&path).doing(|| format!("read spool/{name}"))?;
        file.take(FILE_MAX + 1).read_to_end(&mut bytes).doing(|| format!("read spool/{name}"))?;
        let record = Record::parse(&bytes)?;
        if self.name_of(record.id, &bytes) != name {
            return Err(Error::invalid("spool", format!("{name} does not hold what its name says")));
        }
        let text = String::from_utf8(bytes).map_err(|_| Error::invalid("spool", "not UTF-8"))?;
        Ok(Entry { record, text, name: Some(name.to_owned()), since: meta.modified().ok(), format: self.format })
    }
}

impl Ticket {
    /// Looks at the entry's own name only.
    ///
    /// # Errors
    /// When the file system does not say whether the entry was put aside.
    pub fn fate(&self) -> Result<Fate> {
        // Only "no such file" says that a name is gone; an error of the disk must not turn into an acknowledgement.
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Ok(Fate::Waiting),
        }
        match fs::symlink_metadata(&self.bad) {
            Ok(_) => Ok(Fate::Rejected),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Fate::Committed),
            Err(error) => Err(error).doing(|| format!("look whether {} is there", self.bad.display())),
        }
    }

    /// Makes the entry durable in the spool.
    ///
    /// # Errors
    /// When the disk refuses; the record must then be treated as lost.
    pub fn sync(&self) -> Result<()> {
        let doing = || format!("make {} durable", self.path.display());
        sys::sync_file(self.file.file()).doing(doing)?;
        if Flush::of(&self.dir) == Flush::Each {
            sys::sync_dir(&self.dir).doing(doing)?;
        }
        Ok(())
    }
}

/// Reads from the name of an entry which record it held, and the blob of its text.
pub fn promised(name: &str) -> Option<(Id, Oid)> {
    let (id, blob) = name.strip_suffix(".md")?.split_once('-')?;
    Some((id.parse().ok()?, parse_oid(blob).ok()?))
}

fn blob_id(bytes: &[u8], format: ObjectFormat) -> Oid {
    Oid::hash_object_ext(ObjectType::Blob, bytes, format).expect("hashing bytes in memory does not fail")
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if !name.starts_with('.') && name != "bad" {
            names.push(name);
        }
    }
    Ok(names)
}
