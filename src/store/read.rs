//! Answering questions.
//!
//! A reader takes no lock and waits for nobody. It compares the index with the ref and looks whether the spool is empty. When
//! either is behind it tries the lock once and catches up; when the lock is taken it answers from what is there and says how
//! much is not visible yet. Only where there is no index at all it waits, for an index and not for the lock.

use super::catch_up::{Goal, Unreadable};
use super::{Spoken, Store};
use crate::error::{Doing, Error, Result};
use crate::index::{Filter, Index, Row};
use crate::ledger::{Ledger, Tip};
use crate::lock::{LockFile, Outcome, RepoLock, Waiter};
use crate::record::{Id, Record};

/// Waits for an index that was filled, whoever fills it: among many writers a reader may not get the lock in time.
struct Appearing<'a>(Spoken<'a>);

impl Waiter for Appearing<'_> {
    fn unneeded(&mut self) -> bool {
        let index = Index::read(self.0.0.repo.elf_dir()).ok().flatten();
        index.is_some_and(|index| matches!(index.stamp(), Ok(Some(_))))
    }

    fn waiting(&mut self, holder: &str) {
        self.0.waiting(holder);
    }
}

impl Store {
    /// Answers a question from an index that is as current as can be had without waiting.
    ///
    /// # Errors
    /// Whatever `ask` returns; damage of the index is mended and the question asked once more.
    pub fn read<T>(&self, mut ask: impl FnMut(&Index) -> Result<T>) -> Result<T> {
        match self.current().and_then(|index| ask(&index)) {
            Err(error) if Index::is_damage(&error) => {
                self.locked("rebuild", |lock| self.rebuild(lock))?;
                ask(&self.current()?)
            }
            answer => answer,
        }
    }

    /// Answers a question without a word and without waiting, from what can be read at once: for hooks.
    ///
    /// # Errors
    /// Whatever `ask` returns, and when the index cannot be read.
    pub(super) fn read_at_once<T>(&self, ask: impl FnOnce(&Index) -> Result<T>) -> Result<T> {
        let tip = self.ledger().tip_id()?.map(|oid| oid.to_string()).unwrap_or_default();
        let index = Index::read(self.repo.elf_dir()).ok().flatten();
        if let Some(index) = index.filter(|index| self.is_current(index, &tip)) {
            return ask(&index);
        }
        if !tip.is_empty() {
            self.repo.create_elf_dir()?;
            self.refresh_if_free()?;
        }
        match Index::read(self.repo.elf_dir())? {
            Some(index) => ask(&index),
            None => ask(&Index::in_memory()?),
        }
    }

    /// Returns the records that a filter lets through, newest first.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn list(&self, filter: &Filter) -> Result<Vec<Row>> {
        self.read(|index| {
            let mut rows = Vec::new();
            index.list(filter, &mut |row| {
                rows.push(row);
                Ok(())
            })?;
            Ok(rows)
        })
    }

    /// Opens the index, brought up to date if that needs no waiting.
    fn current(&self) -> Result<Index> {
        let tip = match self.ledger().tip_id() {
            Err(Error::Git { .. }) => {
                self.locked("mend", |lock| self.refresh(lock))?;
                self.ledger().tip_id()?
            }
            tip => tip?,
        };
        let tip = tip.map(|oid| oid.to_string()).unwrap_or_default();
        let pending = self.spool.len();
        let index = Index::read(self.repo.elf_dir());
        match index {
            Ok(Some(index)) if pending == 0 && self.is_current(&index, &tip) => return Ok(index),
            // No memory, and none to come: a question must not leave traces.
            Ok(None) if pending == 0 && tip.is_empty() && !self.ledger().may_be_lost() => return Index::in_memory(),
            Ok(Some(index)) => {
                drop(index);
                match self.refresh_if_free() {
                    Ok(true) => {}
                    Ok(false) => self.say_behind(pending),
                    // A full disk: what is there is still an answer.
                    Err(error @ Error::Sql { .. }) if !Index::is_damage(&error) => {
                        self.say(&format!("the index is behind the ledger: {error}"));
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => match self.obtain_index() {
                Err(error) if error.is_unwritable() => {
                    return Index::read_unsealed(self.repo.elf_dir())?.ok_or(error);
                }
                result => result?,
            },
        }
        Index::read(self.repo.elf_dir())?.ok_or_else(|| Error::Problems {
            what: "the index cannot be read right after it was written: git elf check".into(),
        })
    }

    /// Waits until there is an index: made here under the lock, or by somebody else meanwhile.
    fn obtain_index(&self) -> Result<()> {
        self.repo.create_elf_dir()?;
        let mut file = LockFile::open(self.repo.elf_dir())?;
        let patience = self.config.lock_timeout;
        match file.hold("index", patience, &mut Appearing(Spoken(self)), |lock| self.refresh(lock))? {
            Outcome::Done(()) => Ok(()),
            Outcome::Unneeded => {
                let pending = self.spool.len();
                if pending > 0 {
                    self.say_behind(pending);
                }
                Ok(())
            }
            Outcome::Busy => Err(file.taken(patience)),
        }
    }

    pub(super) fn is_current(&self, index: &Index, tip: &str) -> bool {
        let stamp = index.stamp().ok().flatten();
        stamp.is_some_and(|stamp| stamp.tip == tip && stamp.ref_name == self.config.ledger_ref)
    }

    fn refresh_if_free(&self) -> Result<bool> {
        let mut file = match LockFile::open(self.repo.elf_dir()) {
            Err(error) if error.is_unwritable() => return Ok(false),
            file => file?,
        };
        match file.try_lock("index")? {
            None => Ok(false),
            Some(lock) => self.refresh(&lock).map(|()| true),
        }
    }

    /// Drains the spool and brings the index up to date.
    pub(super) fn refresh(&self, lock: &RepoLock<'_>) -> Result<()> {
        if !self.spool.is_empty() {
            match self.drain(lock, Vec::new(), &mut |_, _| {}) {
                Ok(_) => {}
                // The question can be answered all the same.
                Err(error) => self.say(&format!("queued records could not be committed: {error}")),
            }
        }
        let ledger = self.ledger();
        let tip = self.healed_tip(lock, &ledger)?;
        self.follow(lock, &ledger, tip)
    }

    /// Brings the index up to date with a tip that may turn out to be torn.
    pub(super) fn follow(&self, lock: &RepoLock<'_>, ledger: &Ledger<'_>, tip: Option<Tip>) -> Result<()> {
        match self.catch_up(lock, &Goal { ledger, tip, known: None, unreadable: Unreadable::Stops }) {
            Err(Error::Git { .. }) => {
                self.mend(lock, ledger)?;
                self.catch_up(lock, &Goal { ledger, tip: ledger.tip()?, known: None, unreadable: Unreadable::IsNoted })
            }
            done => done,
        }
    }

    fn say_behind(&self, pending: usize) {
        if self.said_behind.replace(true) {
            return;
        }
        let records = match pending {
            // The ref has moved and nothing waits: an import, or a fetch, that the index does not have yet.
            0 => "the newest records are".to_owned(),
            1 => "1 record is".to_owned(),
            _ => format!("{pending} records are"),
        };
        self.say(&format!("{records} not visible yet: another process holds the lock"));
    }

    /// Turns what somebody typed into the id of a record or event, waiting ones included.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no id, [`Error::NotFound`] and [`Error::Ambiguous`].
    pub fn resolve(&self, typed: &str) -> Result<Id> {
        let prefix = Id::normalise(typed)?;
        let waiting = self.waiting_ids(&prefix);
        let found = self.read(|index| index.ids_with_prefix(&prefix))?;
        only_one(typed, waiting, found)
    }

    /// As [`Store::resolve`], from what can be read at once: for hooks.
    pub(super) fn resolve_at_once(&self, typed: &str) -> Result<Id> {
        let prefix = Id::normalise(typed)?;
        let waiting = self.waiting_ids(&prefix);
        let found = self.read_at_once(|index| index.ids_with_prefix(&prefix))?;
        only_one(typed, waiting, found)
    }

    /// Finds waiting ids. Whoever wants to know whether an id exists asks the spool before the index: a drain fills the index
    /// before it empties the spool, so in the other order a record that is drained in between would be in neither.
    fn waiting_ids(&self, prefix: &str) -> Vec<Id> {
        self.spool.find(prefix).iter().map(|record| record.id).collect()
    }

    /// Reads a record as it was written, from the ledger or from the spool.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the object cannot be read.
    pub fn written(&self, id: Id) -> Result<Record> {
        // Before the index, as in `waiting_ids`.
        if let Some(waiting) = self.spool.find(id.as_str()).pop() {
            return Ok(waiting);
        }
        if let Some((path, blob)) = self.read(|index| index.file_of(id))? {
            let oid = git2::Oid::from_str(&blob).doing(|| "read a blob id".into())?;
            return Record::parse(&self.ledger().text_at(&path, oid)?);
        }
        Err(Error::NotFound { id: id.to_string() })
    }
}

fn only_one(typed: &str, mut waiting: Vec<Id>, found: Vec<Id>) -> Result<Id> {
    waiting.extend(found);
    waiting.sort_unstable();
    waiting.dedup();
    match waiting[..] {
        [id] => Ok(id),
        [] => Err(Error::NotFound { id: typed.to_owned() }),
        _ => Err(Error::Ambiguous {
            prefix: typed.to_owned(),
            candidates: waiting.iter().map(ToString::to_string).collect(),
        }),
    }
}
