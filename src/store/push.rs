//! What the pre-push hook asks: are the stores in step, what does a remote lack, is a pushed memory sound.

use std::time::Duration;

use git2::Oid;

use super::{Spoken, Store};
use crate::error::{Doing, Error, Result};
use crate::index::Index;
use crate::ledger::{Change, FILTER_FIELD};
use crate::lock::{LockFile, Outcome};
use crate::record::{Id, Record, secret};

/// How often a ledger that others keep writing is compared.
const ATTEMPTS: u32 = 3;
/// Begin the lines of a merge conflict (git-merge(1), "How conflicts are presented"); all three make one.
const MARKERS: [&[u8]; 3] = [b"<<<<<<< ", b"=======", b">>>>>>> "];

/// Whether the index says what the ledger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InStep {
    Yes,
    /// They differ right after a catch-up.
    No,
    /// Somebody else held the lock all the time.
    Busy,
}

impl Store {
    /// Compares the index's stamp with the ledger, after a catch-up when they differ.
    ///
    /// # Errors
    /// When the ledger cannot be read or the index cannot be written.
    pub fn in_step(&self, verb: &str, patience: Duration) -> Result<InStep> {
        if self.spool.is_empty() && self.is_stamped()? {
            return Ok(InStep::Yes);
        }
        self.repo.create_elf_dir()?;
        let mut file = LockFile::open(self.repo.elf_dir())?;
        let outcome = file.hold(verb, patience, &mut Spoken(self), |lock| {
            for _ in 0..ATTEMPTS {
                self.refresh(lock)?;
                if self.is_stamped()? {
                    return Ok(InStep::Yes);
                }
            }
            Ok(InStep::No)
        })?;
        Ok(match outcome {
            Outcome::Done(in_step) => in_step,
            Outcome::Unneeded | Outcome::Busy => InStep::Busy,
        })
    }

    fn is_stamped(&self) -> Result<bool> {
        let Some(tip) = self.ledger().tip_id()? else { return Ok(true) };
        let index = Index::read(self.repo.elf_dir()).ok().flatten();
        Ok(index.is_some_and(|index| self.is_current(&index, &tip.to_string())))
    }

    /// Finds the tree of a commit; `None` when the object is not here.
    ///
    /// # Errors
    /// When it is here and has no tree.
    pub fn tree_of(&self, oid: Oid) -> Result<Option<Oid>> {
        let git = self.repo.git();
        if oid.is_zero() || !git.odb().doing(|| "open the object database".into())?.exists(oid) {
            return Ok(None);
        }
        let tree = git.find_object(oid, None).and_then(|object| object.peel_to_tree());
        tree.map(|tree| Some(tree.id())).doing(|| format!("read the tree of {oid}"))
    }

    /// Counts the record files of a tree that another one lacks.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn count_new(&self, old: Option<Oid>, new: Oid) -> Result<u64> {
        let mut count = 0;
        self.ledger().changes(old, Some(new), &|_| true, &mut |change| {
            count += u64::from(change.old.is_none() && change.new.is_some());
            Ok(())
        })?;
        Ok(count)
    }

    /// Says what is wrong with the files of a tree that are new to another one: path and problem.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn flaws(&self, old: Option<Oid>, new: Oid) -> Result<Vec<(String, String)>> {
        let mut flaws = Vec::new();
        self.ledger().changes(old, Some(new), &|_| true, &mut |change| {
            if let Some((name, problem)) = self.flaw(new, &change)? {
                flaws.push((name.unwrap_or(change.path), problem));
            }
            Ok(())
        })?;
        Ok(flaws)
    }

    /// Returns what is wrong with a file, and another name for it where its path must not be repeated.
    fn flaw(&self, tree: Oid, change: &Change) -> Result<Option<(Option<String>, String)>> {
        let ledger = self.ledger();
        let Some(item) = change.new else { return Ok(None) };
        if is_conflict(&ledger.blob(item.oid)?) {
            return Ok(Some((None, "has conflict markers".into())));
        }
        match ledger.record_at(&change.path, item) {
            Ok(record) => {
                if let Some(problem) = self.secret_in(&record, &ledger.blob(item.oid)?) {
                    // The path has words of the title.
                    return Ok(Some((Some(record.id.to_string()), problem)));
                }
            }
            // Whoever has no key may push what others wrote.
            Err(error @ Error::Invalid { .. }) if error.field() == Some(FILTER_FIELD) => return Ok(None),
            Err(error @ Error::Invalid { .. }) => return Ok(Some((None, error.to_string()))),
            Err(error) => return Err(error),
        }
        let Some(id) = change.path.rsplit('/').next().and_then(Id::of_file_name) else { return Ok(None) };
        let files = ledger.files_of(tree, id)?;
        Ok(files.iter().find(|file| **file != change.path).map(|other| (None, format!("has the id of {other}"))))
    }
}

impl Store {
    /// Says which secret a record of the ledger seems to hold, by rule and position; the text is searched for what is no value of
    /// the record, such as a comment.
    pub(super) fn secret_in(&self, record: &Record, text: &[u8]) -> Option<String> {
        let allowed = &self.config.allow_secret;
        let mut found = record.secrets(allowed);
        if found.is_empty() && Record::parse(text).is_ok() {
            let carried = secret::allowed_by(&record.extra);
            let text = String::from_utf8_lossy(text);
            let new = secret::scan(&text).into_iter().filter(|finding| {
                !carried.contains(&finding.rule) && !allowed.iter().any(|allowed| allowed == finding.rule)
            });
            found.extend(new.map(|finding| ("file".to_owned(), finding)));
        }
        (!found.is_empty()).then(|| format!("looks like a secret: {}", secret::places(&found)))
    }
}

fn is_conflict(text: &[u8]) -> bool {
    MARKERS.iter().all(|marker| text.split(|byte| *byte == b'\n').any(|line| line.starts_with(marker)))
}
