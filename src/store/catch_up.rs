//! Bringing the index from the tree it was made from to another one.

use std::collections::{HashMap, HashSet};

use git2::Oid;

use super::Store;
use crate::error::{Doing, Error, Result};
use crate::index::{Batch, Index, Sample, Stamp};
use crate::ledger::{Change, Content, FILTER_FIELD, Item, Ledger, Tip};
use crate::lock::RepoLock;
use crate::record::{Id, Kind, Record, Time};
use crate::repo::parse_oid;
use crate::spool::Entry;

/// Rows after which the progress is reported again.
const REPORT_EVERY: u64 = 500;
/// Fewest rows that are worth a report.
const REPORT_FROM: u64 = 2_000;

/// What to do about a file of the ledger whose object cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Stop with the error: the tip may be torn, and the caller mends it.
    Stops,
    /// Note it as a misfit: the tip is sound, and one lost object must not hide the others.
    IsNoted,
}

/// What the caller just added to the ledger, so that no walk is needed.
pub(super) struct Known<'a> {
    pub base: Option<Tip>,
    pub entries: &'a [Entry],
}

/// Where an index is to be brought.
pub(super) struct Goal<'a> {
    pub ledger: &'a Ledger<'a>,
    pub tip: Option<Tip>,
    pub known: Option<&'a Known<'a>>,
    pub unreadable: Unreadable,
    /// What waits in the spool and is shown all the same, as records on the current branch are.
    pub pending: Pending,
}

/// Entries of the spool that are shown beside the ledger.
#[derive(Default)]
pub(super) struct Pending {
    entries: Vec<Entry>,
    digest: String,
}

impl Goal<'_> {
    fn tree(&self) -> Option<Oid> {
        self.tip.map(|tip| tip.tree)
    }

    fn stamp(&self) -> Stamp {
        let text = |oid: Option<Oid>| oid.map(|oid| oid.to_string()).unwrap_or_default();
        Stamp {
            ref_name: self.ledger.name().to_owned(),
            tip: text(self.tip.map(|tip| tip.commit)),
            tree: text(self.tree()),
            pending: self.pending.digest.clone(),
        }
    }
}

impl Store {
    /// Makes the index say what the ledger says; a damaged one is emptied in place and filled again.
    ///
    /// # Errors
    /// When the disk refuses, or the ledger cannot be read.
    pub(super) fn catch_up(&self, lock: &RepoLock<'_>, goal: &Goal<'_>) -> Result<()> {
        self.with_index(lock, goal, |index| self.advance(lock, index, goal))
    }

    /// Rebuilds the index in place, in one transaction.
    ///
    /// # Errors
    /// When the disk refuses, or the ledger cannot be read.
    pub fn rebuild(&self, lock: &RepoLock<'_>) -> Result<()> {
        let ledger = self.ledger();
        let tip = self.healed_tip(lock, &ledger)?;
        let goal = self.goal(&ledger, tip, Unreadable::IsNoted)?;
        self.with_index(lock, &goal, |index| self.fill(lock, index, &goal))
    }

    /// Makes the index again from an empty file, for one that may be damaged where no row shows it.
    ///
    /// # Errors
    /// When the disk refuses, or the ledger cannot be read.
    pub(super) fn make_again(&self, lock: &RepoLock<'_>, goal: &Goal<'_>) -> Result<()> {
        let mut index = Index::recreate(&self.index_dir, lock)?;
        self.fill(lock, &mut index, goal)?;
        self.checkpoint(lock, &index);
        Ok(())
    }

    /// Says where the index is to be brought when nothing is known about the way there.
    pub(super) fn goal<'l>(
        &self,
        ledger: &'l Ledger<'l>,
        tip: Option<Tip>,
        unreadable: Unreadable,
    ) -> Result<Goal<'l>> {
        let mut pending = Pending::default();
        if ledger.is_in_tree() {
            // In this order: an entry that arrives in between makes the stamp look old, never current.
            pending.digest = self.spool.digest()?;
            pending.entries = self.spool.list()?.entries;
        }
        Ok(Goal { ledger, tip, known: None, unreadable, pending })
    }

    fn with_index(
        &self,
        lock: &RepoLock<'_>,
        goal: &Goal<'_>,
        work: impl FnOnce(&mut Index) -> Result<()>,
    ) -> Result<()> {
        let mut index = Index::create(&self.index_dir, lock)?;
        match work(&mut index) {
            Err(error) if Index::is_damage(&error) => {
                drop(index);
                index = Index::recreate(&self.index_dir, lock)?;
                self.fill(lock, &mut index, goal)?;
            }
            result => result?,
        }
        self.checkpoint(lock, &index);
        Ok(())
    }

    /// Writes the log back when it is large. The index is complete without that, so a full disk is only worth a word.
    fn checkpoint(&self, lock: &RepoLock<'_>, index: &Index) {
        if let Err(error) = index.checkpoint(lock, self.config.wal_limit) {
            self.say(&format!("the log of the index stays as it is: {error}"));
        }
    }

    fn advance(&self, lock: &RepoLock<'_>, index: &mut Index, goal: &Goal<'_>) -> Result<()> {
        let stamp = index.stamp()?;
        if stamp.as_ref() == Some(&goal.stamp()) {
            return Ok(());
        }
        let old = stamp.as_ref().and_then(|stamp| parse_oid(&stamp.tree).ok());
        let from = goal.known.map(|known| known.base.map(|base| base.tree));
        let nothing_waits = goal.pending.digest.is_empty() && stamp.is_none_or(|stamp| stamp.pending.is_empty());
        let mut batch = match old {
            None if from != Some(None) => return self.fill(lock, index, goal),
            _ => index.begin(lock)?,
        };
        let applied = match goal.known {
            Some(known) if from == Some(old) && nothing_waits => put_all(&mut batch, goal, known.entries),
            _ => self.apply(&mut batch, goal, old),
        };
        match applied {
            Ok(()) if !batch.is_incomplete() => {
                note_drain(&batch, lock, goal)?;
                batch.commit(&goal.stamp())
            }
            // The old tree may be gone after a gc, and files that share an id need the whole picture.
            Ok(()) | Err(Error::Git { .. }) => {
                batch.rollback()?;
                self.fill(lock, index, goal)
            }
            Err(error) => Err(error),
        }
    }

    /// Fills an index from nothing, in one transaction.
    pub(super) fn fill(&self, lock: &RepoLock<'_>, index: &mut Index, goal: &Goal<'_>) -> Result<()> {
        index.prepare_rebuild(lock)?;
        let mut batch = index.begin(lock)?;
        batch.clear()?;
        self.apply(&mut batch, goal, None)?;
        note_drain(&batch, lock, goal)?;
        batch.commit(&goal.stamp())
    }

    /// Fills an index in memory that nobody else sees, so that no lock is needed.
    pub(super) fn fill_in_memory(&self, index: &mut Index, goal: &Goal<'_>) -> Result<()> {
        let mut batch = index.begin_in_memory()?;
        self.apply(&mut batch, goal, None)?;
        batch.commit(&goal.stamp())
    }

    /// Applies the difference of two trees: events, records, and the records that only their events touched.
    fn apply(&self, batch: &mut Batch<'_>, goal: &Goal<'_>, old: Option<Oid>) -> Result<()> {
        drop_pending(batch, goal)?;
        let mut done = 0;
        let mut each = |change: Change| {
            done += 1;
            if done >= REPORT_FROM && done % REPORT_EVERY == 0 {
                self.voice.progress("indexing", done, 0);
            }
            apply_change(batch, goal, &change)
        };
        let result = goal
            .ledger
            .changes(old, goal.tree(), &|name| name == "events", &mut each)
            .and_then(|()| goal.ledger.changes(old, goal.tree(), &|name| name != "events", &mut each));
        self.voice.progress("indexing", 0, 0);
        result?;
        put_pending(batch, goal)?;
        put_touched(batch, goal)
    }
}

/// Removes the rows of records that wait no longer, or that the ledger has by now.
fn drop_pending(batch: &mut Batch<'_>, goal: &Goal<'_>) -> Result<()> {
    let waiting: HashSet<_> = goal.pending.entries.iter().filter_map(Entry::spool_name).collect();
    for (name, id, path) in batch.pending()? {
        if !waiting.contains(name.as_str()) || is_in(goal, id)? {
            batch.remove_pending(&name, &path)?;
        }
    }
    Ok(())
}

fn put_pending(batch: &mut Batch<'_>, goal: &Goal<'_>) -> Result<()> {
    let shown: HashSet<_> = batch.pending()?.into_iter().map(|(name, ..)| name).collect();
    let (events, records): (Vec<_>, Vec<_>) =
        goal.pending.entries.iter().partition(|entry| entry.record.kind == Kind::Event);
    for entry in events.into_iter().chain(records) {
        let name = entry.spool_name().expect("what waits has a name");
        if !shown.contains(name) && !is_in(goal, entry.record.id)? {
            batch.put_pending(name, &entry.record.path(), &entry.blob().to_string(), entry.record.clone())?;
        }
    }
    Ok(())
}

fn is_in(goal: &Goal<'_>, id: Id) -> Result<bool> {
    goal.tree().map_or(Ok(false), |tree| Ok(!goal.ledger.files_of(tree, id)?.is_empty()))
}

/// Notes how long the lock was waited for and held, when a drain changed the ledger.
fn note_drain(batch: &Batch<'_>, lock: &RepoLock<'_>, goal: &Goal<'_>) -> Result<()> {
    let Some(known) = goal.known.filter(|known| !known.entries.is_empty()) else { return Ok(()) };
    batch.note_drain(&Sample {
        at: Time::now(),
        verb: lock.verb().to_owned(),
        waited: lock.waited(),
        held: lock.held(),
        records: known.entries.len().try_into().unwrap_or(u64::MAX),
        oldest: known.entries.iter().filter_map(Entry::waited).max(),
    })
}

fn apply_change(batch: &mut Batch<'_>, goal: &Goal<'_>, change: &Change) -> Result<()> {
    if change.old.is_some() {
        batch.remove(&change.path)?;
    }
    match &change.new {
        None => Ok(()),
        Some(Content::File(item)) => put_file(batch, goal, &change.path, *item),
        Some(Content::Stray(problem)) => batch.put_misfit(&change.path, None, "", problem),
    }
}

fn put_file(batch: &mut Batch<'_>, goal: &Goal<'_>, path: &str, item: Item) -> Result<()> {
    let blob = item.oid.to_string();
    let problem = match goal.ledger.record_at(path, item) {
        Ok(record) => return batch.put(path, &blob, record),
        Err(error @ Error::Invalid { .. }) => error,
        Err(error @ Error::Git { .. }) if goal.unreadable == Unreadable::IsNoted => error,
        Err(error) => return Err(error),
    };
    let id = path.rsplit('/').next().and_then(Id::of_file_name);
    batch.put_misfit(path, id, &blob, &problem.to_string())
}

fn put_all(batch: &mut Batch<'_>, goal: &Goal<'_>, entries: &[Entry]) -> Result<()> {
    let (events, records): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.record.kind == Kind::Event);
    for entry in events.into_iter().chain(records) {
        batch.put(&entry.record.path(), &entry.blob().to_string(), entry.record.clone())?;
    }
    put_touched(batch, goal)
}

fn put_touched(batch: &mut Batch<'_>, goal: &Goal<'_>) -> Result<()> {
    let touched = batch.touched()?;
    if touched.is_empty() {
        return Ok(());
    }
    // What waits is not in the object database.
    let waiting: HashMap<_, _> = goal.pending.entries.iter().map(|entry| (entry.blob(), &entry.record)).collect();
    for (_, path, blob) in touched {
        let oid = parse_oid(&blob).doing(|| "read a blob id".into())?;
        if let Some(record) = waiting.get(&oid) {
            batch.put(&path, &blob, (*record).clone())?;
            continue;
        }
        match goal.ledger.text_at(&path, oid) {
            Ok(text) => batch.put(&path, &blob, Record::parse(&text)?)?,
            // Its filter works no longer; the row says what is known.
            Err(error) if error.field() == Some(FILTER_FIELD) => {}
            Err(Error::Git { .. }) if goal.unreadable == Unreadable::IsNoted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
