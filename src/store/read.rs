//! Answering questions.
//!
//! A reader takes no lock and waits for nobody. It compares the index with the ref and looks whether the spool is empty. When
//! either is behind it tries the lock once and catches up; when the lock is taken it answers from what is there and says how
//! much is not visible yet. Only where there is no index at all it waits, for an index and not for the lock.

use super::catch_up::Unreadable;
use super::{Spoken, Store};
use crate::error::{Doing, Error, Result};
use crate::index::{Filter, Index, Row, Stamp};
use crate::ledger::{Ledger, Tip};
use crate::lock::{LockFile, Outcome, RepoLock, Waiter};
use crate::record::{Id, Record};
use crate::repo::parse_oid;

/// Why the newest records may be missing in an answer.
const HELD: &str = "another process holds the lock";
const UNWRITABLE: &str = "nothing can be written here";

/// What became of an attempt to bring the index up to date.
enum Refreshed {
    Yes,
    /// Somebody else holds the lock.
    Busy,
    /// This process may not write here.
    Unwritable,
}

/// Waits for an index that was filled, whoever fills it: among many writers a reader may not get the lock in time.
struct Appearing<'a>(Spoken<'a>);

impl Waiter for Appearing<'_> {
    fn unneeded(&mut self) -> bool {
        let index = Index::read(&self.0.0.index_dir).ok().flatten();
        index.is_some_and(|index| is_filled(&index))
    }

    fn waiting(&mut self, holder: &str) {
        self.0.waiting(holder);
    }
}

/// What the index has to say to be current.
pub(super) struct Present {
    /// The ledger's tip; on the current branch the tree of `memory/`. Empty when there is no record.
    state: String,
    /// What waits and is shown.
    pending: String,
    waiting: usize,
}

impl Present {
    /// Tells whether there is no memory, and none to come.
    pub fn has_nothing(&self) -> bool {
        self.state.is_empty() && self.waiting == 0
    }
}

impl Store {
    /// Answers a question from an index that is as current as can be had without waiting.
    ///
    /// # Errors
    /// Whatever `ask` returns; damage of the index is mended and the question asked once more.
    pub fn read<T>(&self, mut ask: impl FnMut(&Index) -> Result<T>) -> Result<T> {
        let answer = match self.with_promised(|| self.current().and_then(|index| ask(&index))) {
            Err(error) if Index::is_damage(&error) => self
                .locked("rebuild", |lock| self.rebuild(lock))
                .and_then(|()| self.current())
                .and_then(|index| ask(&index)),
            answer => answer,
        };
        match answer {
            // A repository of somebody else, a read-only disk: the ledger says it all, at some 30 µs a record.
            Err(error) if error.is_unwritable() || Index::is_unwritable(&error) => {
                ask(&self.with_promised(|| self.index_in_memory())?)
            }
            answer => answer,
        }
    }

    /// Answers a question without a word and without waiting, from what can be read at once: for hooks.
    ///
    /// # Errors
    /// Whatever `ask` returns, and when the index cannot be read.
    pub(super) fn read_at_once<T>(&self, ask: impl FnOnce(&Index) -> Result<T>) -> Result<T> {
        let present = self.present()?;
        let index = Index::read(&self.index_dir).ok().flatten();
        if let Some(index) = index.filter(|index| self.is_stamped_with(index, &present)) {
            return ask(&index);
        }
        if !present.has_nothing() {
            self.create_places()?;
            self.refresh_if_free()?;
        }
        match Index::read(&self.index_dir)? {
            Some(index) => ask(&index),
            None => ask(&Index::in_memory()?),
        }
    }

    /// Returns the records that a filter lets through, newest first.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn list(&self, filter: &Filter) -> Result<Vec<Row>> {
        self.read(|index| index.rows(filter))
    }

    /// Opens the index, brought up to date if that needs no waiting.
    fn current(&self) -> Result<Index> {
        let present = match self.present() {
            Err(Error::Git { .. }) if !self.ledger().is_in_tree() => {
                self.locked("mend", |lock| self.refresh(lock))?;
                self.present()?
            }
            present => present?,
        };
        let pending = present.waiting;
        let index = Index::read(&self.index_dir);
        match index {
            Ok(Some(index)) if self.is_current(&index, &present) => return Ok(index),
            // No memory, and none to come: a question must not leave traces.
            Ok(None) if present.has_nothing() && !self.ledger().may_be_lost() => return Index::in_memory(),
            Ok(Some(index)) if is_filled(&index) => {
                drop(index);
                match self.refresh_if_free() {
                    Ok(Refreshed::Yes) => {}
                    Ok(Refreshed::Busy) => self.say_behind(pending, HELD),
                    Ok(Refreshed::Unwritable) => self.say_behind(pending, UNWRITABLE),
                    // A full disk: what is there is still an answer.
                    Err(error @ Error::Sql { .. }) if !Index::is_damage(&error) => {
                        self.say(&format!("the index is behind the ledger: {error}"));
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => match self.obtain_index() {
                Err(error) if error.is_unwritable() => {
                    let index = Index::read_unsealed(&self.index_dir)?;
                    let index = index.filter(|index| self.has_state(index, &present)).ok_or(error)?;
                    if pending > 0 {
                        self.say_behind(pending, UNWRITABLE);
                    }
                    return Ok(index);
                }
                result => result?,
            },
        }
        // A holder that found it damaged may have emptied it meanwhile: that is no answer.
        if let Some(index) = Index::read(&self.index_dir)?.filter(is_filled) {
            return Ok(index);
        }
        self.obtain_index()?;
        Index::read(&self.index_dir)?.ok_or_else(|| Error::Problems {
            what: "the index cannot be read right after it was written: git elf check".into(),
        })
    }

    /// Waits until there is an index: made here under the lock, or by somebody else meanwhile.
    fn obtain_index(&self) -> Result<()> {
        self.create_places()?;
        let mut file = LockFile::open(self.repo.elf_dir())?;
        let patience = self.config.lock_timeout;
        match file.hold("index", patience, &mut Appearing(Spoken(self)), |lock| self.refresh(lock))? {
            Outcome::Done(()) => Ok(()),
            Outcome::Unneeded => {
                let pending = self.spool.len();
                if pending > 0 {
                    self.say_behind(pending, HELD);
                }
                Ok(())
            }
            Outcome::Busy => Err(file.taken(patience)),
        }
    }

    /// Looks where ledger and spool stand, without reading what is in them.
    pub(super) fn present(&self) -> Result<Present> {
        let ledger = self.ledger();
        let text = |oid: Option<git2::Oid>| oid.map(|oid| oid.to_string()).unwrap_or_default();
        if !ledger.is_in_tree() {
            let waiting = self.spool.len();
            return Ok(Present { state: text(ledger.tip_id()?), pending: String::new(), waiting });
        }
        // HEAD moves with each commit of the user's; the index with each change below `memory/`.
        let tree = ledger.tip()?.map(|tip| tip.tree).filter(|tree| *tree != ledger.empty_tree());
        Ok(Present { state: text(tree), pending: self.spool.digest()?, waiting: self.spool.len() })
    }

    /// Tells whether an index says what the ledger says, and nothing waits that could be committed.
    pub(super) fn is_current(&self, index: &Index, present: &Present) -> bool {
        (present.waiting == 0 || self.config.waits_for_flush()) && self.is_stamped_with(index, present)
    }

    fn is_stamped_with(&self, index: &Index, present: &Present) -> bool {
        let stamp = index.stamp().ok().flatten();
        stamp.is_some_and(|stamp| stamp.pending == present.pending && self.says_state(&stamp, present))
    }

    /// Tells whether an index says what the ledger says, whatever waits beside it.
    pub(super) fn has_state(&self, index: &Index, present: &Present) -> bool {
        index.stamp().ok().flatten().is_some_and(|stamp| self.says_state(&stamp, present))
    }

    fn says_state(&self, stamp: &Stamp, present: &Present) -> bool {
        let empty = || self.ledger().empty_tree().to_string();
        let state = if self.config.is_in_tree() { &stamp.tree } else { &stamp.tip };
        let is_same = *state == present.state || present.state.is_empty() && *state == empty();
        is_same && stamp.ref_name == self.config.ledger_ref
    }

    fn refresh_if_free(&self) -> Result<Refreshed> {
        let mut file = match LockFile::open(self.repo.elf_dir()) {
            Err(error) if error.is_unwritable() => return Ok(Refreshed::Unwritable),
            file => file?,
        };
        match file.try_lock("index")? {
            None => Ok(Refreshed::Busy),
            Some(lock) => self.refresh(&lock).map(|()| Refreshed::Yes),
        }
    }

    /// Builds an index from the ledger alone, where none on the disk can be read and none written.
    fn index_in_memory(&self) -> Result<Index> {
        let ledger = self.ledger();
        let tip = ledger.tip()?;
        let mut index = Index::in_memory()?;
        self.fill_in_memory(&mut index, &self.goal(&ledger, tip, Unreadable::IsNoted)?)?;
        let pending = self.spool.len();
        if pending > 0 && !ledger.is_in_tree() {
            self.say_behind(pending, UNWRITABLE);
        }
        Ok(index)
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
        match self.catch_up(lock, &self.goal(ledger, tip, Unreadable::Stops)?) {
            Err(Error::Git { .. }) => {
                self.mend(lock, ledger)?;
                self.catch_up(lock, &self.goal(ledger, ledger.tip()?, Unreadable::IsNoted)?)
            }
            done => done,
        }
    }

    fn say_behind(&self, pending: usize, why: &str) {
        if self.said_behind.replace(true) {
            return;
        }
        let records = match pending {
            // The ref has moved and nothing waits: an import, or a fetch, that the index does not have yet.
            0 => "the newest records are".to_owned(),
            1 => "1 record is".to_owned(),
            _ => format!("{pending} records are"),
        };
        self.say(&format!("{records} not visible yet: {why}"));
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
            let oid = parse_oid(&blob).doing(|| "read a blob id".into())?;
            return Record::parse(&self.with_promised(|| self.ledger().text_at(&path, oid))?);
        }
        Err(Error::NotFound { id: id.to_string() })
    }
}

/// Tells whether an index was filled since it was made or emptied: the stamp comes with the rows.
fn is_filled(index: &Index) -> bool {
    matches!(index.stamp(), Ok(Some(_)))
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
