//! What the pre-push hook asks: are the stores in step, what does a remote lack, is a pushed memory sound.

use std::collections::HashMap;
use std::time::Duration;

use git2::Oid;

use super::Store;
use crate::error::{Doing, Error, Result};
use crate::index::Index;
use crate::ledger::{Content, FILTER_FIELD, Item, Ledger};
use crate::lock::{LockFile, Outcome, Silent};
use crate::record::{Id, Kind, Record, secret};

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
        if self.is_stamped()? {
            return Ok(InStep::Yes);
        }
        self.repo.create_elf_dir()?;
        let mut file = LockFile::open(self.repo.elf_dir())?;
        let outcome = file.hold(verb, patience, &mut Silent, |lock| {
            for _ in 0..ATTEMPTS {
                self.refresh(lock)?;
                if self.says_what_the_ledger_says()? {
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
        let present = self.present()?;
        if present.has_nothing() {
            return Ok(true);
        }
        let index = Index::read(&self.index_dir).ok().flatten();
        Ok(index.is_some_and(|index| self.is_current(&index, &present)))
    }

    /// As above, whatever waits: the spool is written to without the lock, so among writers it is never empty for long.
    fn says_what_the_ledger_says(&self) -> Result<bool> {
        let present = self.present()?;
        let index = Index::read(&self.index_dir).ok().flatten();
        Ok(present.has_nothing() || index.is_some_and(|index| self.has_state(&index, &present)))
    }

    /// Finds the records' tree of a commit; `None` when the object is not here.
    ///
    /// # Errors
    /// When it is here and has no tree.
    pub fn tree_of(&self, oid: Oid) -> Result<Option<Oid>> {
        let git = self.repo.git();
        if oid.is_zero() || !git.odb().doing(|| "open the object database".into())?.exists(oid) {
            return Ok(None);
        }
        // A commit names its tree; that one need not be there when it is empty.
        let tree = git.find_object(oid, None).and_then(|object| match object.peel_to_commit() {
            Ok(commit) => Ok(commit.tree_id()),
            Err(_) => object.peel_to_tree().map(|tree| tree.id()),
        });
        let tree = tree.doing(|| format!("read the tree of {oid}"))?;
        self.ledger().records_of(tree).map(Some)
    }

    /// Counts the record files of a tree that another one lacks.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn count_new(&self, old: Option<Oid>, new: Oid) -> Result<u64> {
        let mut count = 0;
        self.ledger().changes(old, Some(new), &|_| true, &mut |change| {
            count += u64::from(change.old.is_none() && change.new_file().is_some());
            Ok(())
        })?;
        Ok(count)
    }

    /// Says what is wrong with the files of a tree that are new to another one: path and problem.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn flaws(&self, old: Option<Oid>, new: Oid) -> Result<Vec<(String, String)>> {
        let ledger = self.ledger();
        let mut flaws = Vec::new();
        let mut sound = Vec::new();
        ledger.changes(old, Some(new), &|_| true, &mut |change| {
            let problem = match change.new {
                None => return Ok(()),
                Some(Content::Stray(problem)) => Some(problem),
                Some(Content::File(item)) => match self.flaw(&ledger, &change.path, item)? {
                    Some(Flaw { name: Some(name), problem }) => {
                        flaws.push((name, problem));
                        return Ok(());
                    }
                    flaw => flaw.map(|flaw| flaw.problem),
                },
            };
            match (problem, change.path.rsplit('/').next().and_then(Id::of_file_name)) {
                (Some(problem), _) => flaws.push((change.path, problem)),
                (None, Some(id)) => sound.push((id, change.path)),
                (None, None) => {}
            }
            Ok(())
        })?;
        // Each leaf is read once: a hundred thousand files may be in one.
        sound.sort_unstable();
        for leaf in sound.chunk_by(|(a, _), (b, _)| Record::leaf(Kind::Event, *a) == Record::leaf(Kind::Event, *b)) {
            let mut others: HashMap<Id, Vec<String>> = HashMap::new();
            for (id, path) in ledger.neighbours(new, leaf[0].0)? {
                others.entry(id).or_default().push(path);
            }
            for (id, path) in leaf {
                if let Some(other) = others.get(id).and_then(|paths| paths.iter().find(|other| *other != path)) {
                    flaws.push((path.clone(), format!("has the id of {other}")));
                }
            }
        }
        flaws.sort_unstable();
        Ok(flaws)
    }
}

/// What is wrong with a file, and another name for it where its path must not be repeated.
struct Flaw {
    name: Option<String>,
    problem: String,
}

impl Store {
    /// Says what is wrong with one file. Only what may be a record is read.
    fn flaw(&self, ledger: &Ledger<'_>, path: &str, item: Item) -> Result<Option<Flaw>> {
        let flaw = |problem: String| Some(Flaw { name: None, problem });
        let text = ledger.small_blob(item)?;
        if text.as_ref().is_some_and(|text| is_conflict(text)) {
            return Ok(flaw("has conflict markers".into()));
        }
        match ledger.record_at(path, item) {
            // The path has words of the title.
            Ok(record) => Ok(self
                .secret_in(&record, &text.unwrap_or_default())
                .map(|problem| Flaw { name: Some(record.id.to_string()), problem })),
            // Whoever has no key may push what others wrote.
            Err(error @ Error::Invalid { .. }) if error.field() == Some(FILTER_FIELD) => Ok(None),
            Err(error @ Error::Invalid { .. }) => Ok(flaw(error.to_string())),
            Err(error) => Err(error),
        }
    }

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
