//! Bringing the index from the tree it was made from to another one.

use git2::Oid;

use super::Store;
use crate::error::{Error, Result};
use crate::index::{Batch, Index, Stamp};
use crate::ledger::{Change, Item, Ledger, Tip};
use crate::lock::RepoLock;
use crate::record::{Id, Kind, Record};
use crate::spool::Entry;

/// Rows after which the progress is reported again.
const REPORT_EVERY: u64 = 500;
/// Fewest rows that are worth a report.
const REPORT_FROM: u64 = 2_000;

/// What the caller just added to the ledger, so that no walk is needed.
pub(super) struct Known<'a> {
    pub base: Option<Tip>,
    pub entries: &'a [Entry],
}

impl Store {
    /// Makes the index say what the ledger says; a damaged one is emptied in place and filled again.
    ///
    /// # Errors
    /// When the disk refuses, or the ledger cannot be read.
    pub(super) fn catch_up(
        &self,
        lock: &RepoLock<'_>,
        ledger: &Ledger<'_>,
        tip: Option<Tip>,
        known: Option<&Known<'_>>,
    ) -> Result<()> {
        let mut index = Index::create(self.repo.elf_dir(), lock)?;
        match self.advance(lock, &mut index, ledger, tip, known) {
            Err(error) if Index::is_damage(&error) => {
                drop(index);
                index = Index::recreate(self.repo.elf_dir(), lock)?;
                self.fill(lock, &mut index, ledger, tip)?;
            }
            result => result?,
        }
        self.checkpoint(lock, &index);
        Ok(())
    }

    /// Rebuilds the index in place, in one transaction.
    ///
    /// # Errors
    /// When the disk refuses, or the ledger cannot be read.
    pub fn rebuild(&self, lock: &RepoLock<'_>) -> Result<()> {
        let ledger = self.ledger();
        let tip = ledger.tip()?;
        let mut index = Index::create(self.repo.elf_dir(), lock)?;
        if let Err(error) = self.fill(lock, &mut index, &ledger, tip) {
            if !Index::is_damage(&error) {
                return Err(error);
            }
            drop(index);
            index = Index::recreate(self.repo.elf_dir(), lock)?;
            self.fill(lock, &mut index, &ledger, tip)?;
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

    fn advance(
        &self,
        lock: &RepoLock<'_>,
        index: &mut Index,
        ledger: &Ledger<'_>,
        tip: Option<Tip>,
        known: Option<&Known<'_>>,
    ) -> Result<()> {
        let stamp = index.stamp()?;
        let target = stamp_of(ledger, tip);
        if stamp.as_ref() == Some(&target) {
            return Ok(());
        }
        let old = stamp.as_ref().and_then(|stamp| Oid::from_str(&stamp.tree).ok());
        let from = known.map(|known| known.base.map(|base| base.tree));
        let mut batch = match old {
            None if from != Some(None) => return self.fill(lock, index, ledger, tip),
            _ => index.begin(lock)?,
        };
        let applied = match known {
            Some(known) if from == Some(old) => put_all(&mut batch, ledger, known.entries),
            _ => self.apply(&mut batch, ledger, old, tip.map(|tip| tip.tree)),
        };
        match applied {
            Ok(()) if !batch.is_incomplete() => batch.commit(&target),
            // The old tree may be gone after a gc, and files that share an id need the whole picture.
            Ok(()) | Err(Error::Git { .. }) => {
                batch.rollback()?;
                self.fill(lock, index, ledger, tip)
            }
            Err(error) => Err(error),
        }
    }

    /// Fills an index from nothing, in one transaction.
    pub(super) fn fill(
        &self,
        lock: &RepoLock<'_>,
        index: &mut Index,
        ledger: &Ledger<'_>,
        tip: Option<Tip>,
    ) -> Result<()> {
        index.prepare_rebuild(lock)?;
        let mut batch = index.begin(lock)?;
        batch.clear()?;
        self.apply(&mut batch, ledger, None, tip.map(|tip| tip.tree))?;
        batch.commit(&stamp_of(ledger, tip))
    }

    /// Applies the difference of two trees: events, records, and the records that only their events touched.
    fn apply(&self, batch: &mut Batch<'_>, ledger: &Ledger<'_>, old: Option<Oid>, new: Option<Oid>) -> Result<()> {
        let mut done = 0;
        let mut each = |change: Change| {
            done += 1;
            if done >= REPORT_FROM && done % REPORT_EVERY == 0 {
                self.voice.progress("indexing", done, 0);
            }
            apply_change(batch, ledger, &change)
        };
        let result = ledger
            .changes(old, new, &|name| name == "events", &mut each)
            .and_then(|()| ledger.changes(old, new, &|name| name != "events", &mut each));
        self.voice.progress("indexing", 0, 0);
        result?;
        put_touched(batch, ledger)
    }
}

fn stamp_of(ledger: &Ledger<'_>, tip: Option<Tip>) -> Stamp {
    let text = |oid: Option<Oid>| oid.map(|oid| oid.to_string()).unwrap_or_default();
    Stamp {
        ref_name: ledger.name().to_owned(),
        tip: text(tip.map(|tip| tip.commit)),
        tree: text(tip.map(|tip| tip.tree)),
    }
}

fn apply_change(batch: &mut Batch<'_>, ledger: &Ledger<'_>, change: &Change) -> Result<()> {
    let Some(item) = change.new else { return batch.remove(&change.path) };
    if change.old.is_some() {
        batch.remove(&change.path)?;
    }
    put_file(batch, ledger, &change.path, item)
}

fn put_file(batch: &mut Batch<'_>, ledger: &Ledger<'_>, path: &str, item: Item) -> Result<()> {
    let blob = item.oid.to_string();
    match ledger.record_at(path, item) {
        Ok(record) => batch.put(path, &blob, record),
        Err(error @ Error::Invalid { .. }) => {
            let id = path.rsplit('/').next().and_then(Id::of_file_name);
            batch.put_misfit(path, id, &blob, &error.to_string())
        }
        Err(error) => Err(error),
    }
}

fn put_all(batch: &mut Batch<'_>, ledger: &Ledger<'_>, entries: &[Entry]) -> Result<()> {
    let (events, records): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.record.kind == Kind::Event);
    for entry in events.into_iter().chain(records) {
        batch.put(&entry.record.path(), &entry.blob().to_string(), entry.record.clone())?;
    }
    put_touched(batch, ledger)
}

fn put_touched(batch: &mut Batch<'_>, ledger: &Ledger<'_>) -> Result<()> {
    for (_, path, blob) in batch.touched()? {
        let oid = Oid::from_str(&blob).map_err(|source| Error::Git { doing: "read a blob id".into(), source })?;
        let record = Record::parse(&ledger.blob(oid)?)?;
        batch.put(&path, &blob, record)?;
    }
    Ok(())
}
