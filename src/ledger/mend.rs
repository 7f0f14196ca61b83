//! Mending a tip that a power cut left empty or torn, or took away.
//!
//! The tip is set to the newest sound commit that this clone knows: of packed-refs, the reflog and what the caller adds, else
//! of the tracking refs. A commit is sound when it and every object that it brought (compared with its first parent) can
//! be read. Damage deeper in history is no reason to go back: it is the same in every older commit.
//!
//! An object that merely cannot be read (an I/O error, permissions, one that an alternate or a promisor remote should
//! have) stops everything with an error: going back would hide records that are there.

use std::fs;
use std::io;
use std::path::PathBuf;

use git2::{ObjectType, Oid, Tree};

use super::{Ledger, refs};
use crate::error::{Doing, Error, Result};
use crate::lock::RepoLock;
use crate::repo::{self, Identity, parse_oid};

/// Longest end of the reflog that is searched for a sound commit.
const REFLOG_MAX: u64 = 1 << 20;

/// What the loose file of the ref holds.
#[derive(PartialEq, Eq)]
enum Loose {
    Absent,
    /// Nothing, or zeros: what a power cut leaves of a file that was never flushed.
    Torn,
    Value(Oid),
}

impl Ledger<'_> {
    /// Sets a torn tip back to the newest sound commit. Returns what was done; `None` when the tip is sound or absent.
    ///
    /// # Errors
    /// When an object merely cannot be read, or nothing sound is known: nothing was changed then.
    pub fn mend(&self, lock: &RepoLock<'_>, also: Option<Oid>, who: &Identity) -> Result<Option<String>> {
        let loose = self.loose_value()?;
        let packed = self.packed_value()?;
        let value = match loose {
            Loose::Absent => packed,
            Loose::Torn => None,
            Loose::Value(oid) => Some(oid),
        };
        if loose == Loose::Absent && value.is_none() && !self.may_be_lost() {
            return Ok(None);
        }
        if let Some(oid) = value
            && self.is_sound(oid)?
        {
            return Ok(None);
        }
        let local = packed.into_iter().chain(self.reflog_values()).chain(also);
        let best = match self.newest_sound(local)? {
            None => self.newest_sound(self.tracking_values())?,
            best => best,
        };
        let Some(best) = best else { return self.without_any(lock, &loose) };
        let state = if loose == Loose::Absent { "was lost" } else { "was torn" };
        let edit = refs::Edit {
            git: self.git,
            dir: self.git.commondir(),
            name: &self.name,
            lock_path: self.lock_path(),
            old: value,
            new: best,
            who,
            message: "elf: mend a torn tip",
            flush: self.flush,
        };
        if !edit.replace_torn(&refs::prepare_value(&self.scratch, best)?, || Ok(self.loose_value()? == loose))? {
            return Ok(None);
        }
        // Nothing leads to them now, and a torn file stops git gc.
        for oid in self.torn.take() {
            crate::sys::unlink(&self.loose_path(oid)).doing(|| format!("remove the torn object {oid}"))?;
        }
        Ok(Some(format!("{} {state} and was set back to {best}, the newest sound commit", self.name)))
    }

    /// Tells whether a ref that is absent was lost rather than deleted: whoever deletes a ref deletes its reflog, and git never
    /// writes an empty packed-refs. (By git's default packed-refs is not flushed before the loose refs are removed.)
    pub fn may_be_lost(&self) -> bool {
        let common = self.git.commondir();
        let size = |path: PathBuf| fs::metadata(path).map(|meta| meta.len()).ok();
        size(common.join("logs").join(&self.name)).is_some_and(|size| size > 0)
            || size(common.join("packed-refs")) == Some(0)
    }

    /// Removes a ref that holds nothing and that nothing ever stood on: the first record's, before it was durable.
    fn without_any(&self, _lock: &RepoLock<'_>, loose: &Loose) -> Result<Option<String>> {
        if *loose == Loose::Absent {
            return Ok(None);
        }
        if *loose != Loose::Torn {
            return Err(Error::Refused {
                what: format!("{} is torn, and no sound commit of it is known here", self.name),
                hint: "git elf doctor; a clone that has the memory can give it back: git fetch".into(),
            });
        }
        let path = self.git.commondir().join(&self.name);
        crate::sys::unlink(&path).doing(|| format!("remove the empty {}", self.name))?;
        Ok(Some(format!("{} was empty, with no commit known, and was removed", self.name)))
    }

    fn loose_value(&self) -> Result<Loose> {
        let doing = || format!("read {}", self.name);
        match fs::read(self.git.commondir().join(&self.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Loose::Absent),
            Err(error) => Err(error).doing(doing),
            Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => Ok(Loose::Torn),
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                parse_oid(text.trim_end()).map(Loose::Value).doing(doing)
            }
        }
    }

    fn packed_value(&self) -> Result<Option<Oid>> {
        let path = self.git.commondir().join("packed-refs");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.doing(|| "read packed-refs".into())?,
        };
        let line = text.lines().find_map(|line| line.strip_suffix(&self.name)?.strip_suffix(' '));
        Ok(line.and_then(|oid| parse_oid(oid).ok()))
    }

    /// Returns the values that the reflog names, newest first; lines that a power cut tore are skipped.
    fn reflog_values(&self) -> Vec<Oid> {
        use std::io::{Read, Seek, SeekFrom};
        let path = self.git.commondir().join("logs").join(&self.name);
        let mut bytes = Vec::new();
        let read = crate::sys::open_own(&path).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(REFLOG_MAX)))?;
            file.take(REFLOG_MAX).read_to_end(&mut bytes)
        });
        if read.is_err() {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let value = |word: &str| parse_oid(word).ok().filter(|oid| !oid.is_zero());
        let line = |line: &str| {
            let mut words = line.split(' ');
            let old = words.next().and_then(value);
            [words.next().and_then(value), old]
        };
        text.lines().rev().flat_map(line).flatten().collect()
    }

    fn tracking_values(&self) -> Vec<Oid> {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        let refs = self.git.references_glob(&format!("refs/elf/remotes/*/{last}"));
        refs.map(|refs| refs.flatten().filter_map(|one| one.target()).collect()).unwrap_or_default()
    }

    /// Returns the sound commit with the latest commit time.
    fn newest_sound(&self, candidates: impl IntoIterator<Item = Oid>) -> Result<Option<Oid>> {
        let mut known: Vec<Oid> = Vec::new();
        for oid in candidates {
            if !known.contains(&oid) {
                known.push(oid);
            }
        }
        let time = |oid: &Oid| self.commit_at(*oid).map_or(i64::MIN, |commit| commit.time().seconds());
        // A stable sort: of two commits in one second, the one that was named first is the newer.
        known.sort_by_key(|oid| std::cmp::Reverse(time(oid)));
        for oid in known {
            if self.is_sound(oid)? {
                return Ok(Some(oid));
            }
        }
        Ok(None)
    }

    /// Tells whether a commit and everything that it brought can be read; `false` when something of it is torn or was never
    /// there.
    pub(super) fn is_sound(&self, commit: Oid) -> Result<bool> {
        let Ok(commit) = self.commit_at(commit) else { return self.is_unreadable(commit).map(|()| false) };
        let parent = commit.parent_id(0).map(|parent| self.commit_at(parent).ok());
        let parent = parent.ok().flatten().and_then(|parent| self.tree_at(parent.tree_id()).ok().flatten());
        self.is_sound_tree(parent.as_ref(), commit.tree_id())
    }

    fn is_sound_tree(&self, old: Option<&Tree<'_>>, new: Oid) -> Result<bool> {
        let Ok(tree) = self.tree_at(new) else { return self.is_unreadable(new).map(|()| false) };
        let Some(tree) = tree else { return Ok(true) };
        for entry in &tree {
            let before = old.and_then(|old| old.get_name_bytes(entry.name_bytes()));
            if before.as_ref().is_some_and(|before| before.id() == entry.id()) {
                continue;
            }
            let sound = match entry.kind() {
                Some(ObjectType::Tree) => {
                    let before = before.and_then(|before| self.tree_at(before.id()).ok().flatten());
                    self.is_sound_tree(before.as_ref(), entry.id())?
                }
                Some(ObjectType::Blob) => self.is_sound_blob(entry.id())?,
                _ => true,
            };
            if !sound {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether a blob can be read; `false` when it is torn or was never there.
    ///
    /// # Errors
    /// When it merely cannot be read.
    pub fn is_sound_blob(&self, oid: Oid) -> Result<bool> {
        if self.blob(oid).is_ok() { Ok(true) } else { self.is_unreadable(oid).map(|()| false) }
    }

    /// Succeeds when an object that could not be read is torn or missing; fails when that is no fault of the object.
    fn is_unreadable(&self, oid: Oid) -> Result<()> {
        let doing = || format!("read the object {oid}");
        let file = crate::sys::open_own(&self.loose_path(oid));
        match file.and_then(|mut file| io::copy(&mut file, &mut io::sink())) {
            // Readable, and yet no object.
            Ok(_) => {
                // An object of another kind, or one that libgit2 does not understand, is somebody's and stays.
                if !self.is_intact(oid) {
                    self.torn.borrow_mut().push(oid);
                }
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing(doing),
        }
        let elsewhere = self.git.commondir().join("objects/info/alternates").exists()
            || repo::promisor(self.git).is_some()
            || self.git.odb().is_ok_and(|odb| odb.exists(oid));
        if elsewhere {
            return Err(Error::Refused {
                what: format!("cannot read the object {oid}, which a pack, an alternate or a remote should have"),
                hint: "git fsck, then git elf doctor".into(),
            });
        }
        Ok(())
    }
}
