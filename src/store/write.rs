//! Recording: spool, wait, acknowledge.

use std::time::Duration;

use super::{Spoken, Store};
use crate::error::{Error, Result};
use crate::fault;
use crate::lock::{LockFile, Outcome, Waiter};
use crate::record::{Id, Record};
use crate::spool::{Fate, Ticket};

/// How durable a record is when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In the ledger.
    Committed,
    /// In the spool; the next command commits it.
    Queued,
}

impl State {
    /// Returns the word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Queued => "queued",
        }
    }
}

/// What the writer of a record is told.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub id: Id,
    pub state: State,
    /// A commit of the ledger that has the record; `None` while it is queued.
    pub commit: Option<String>,
    /// Where its file stands, or will stand, in the ledger.
    pub path: String,
}

/// Waits for the lock with an eye on the own entries.
struct Watching<'a> {
    spoken: Spoken<'a>,
    tickets: &'a [Ticket],
}

impl Waiter for Watching<'_> {
    fn unneeded(&mut self) -> bool {
        if self.spoken.0.config.waits_for_flush() {
            return true;
        }
        self.tickets.iter().all(|ticket| matches!(ticket.fate(), Ok(Fate::Committed | Fate::Rejected)))
    }

    fn waiting(&mut self, holder: &str) {
        self.spoken.waiting(holder);
    }
}

impl Store {
    /// Makes records durable and says how. With `wait` false, or when the lock stays taken, they are queued.
    ///
    /// # Errors
    /// When not every record is known to be durable; none of them is lost where the spool could keep it.
    pub fn record(&self, verb: &str, records: &[Record], wait: bool) -> Result<Vec<Receipt>> {
        // Known before anything is written, as git does: a drain needs it, and so does whoever reads the history.
        self.repo.identity()?;
        self.create_places()?;
        let tickets = records.iter().map(|record| self.spool.put(record)).collect::<Result<Vec<_>>>()?;
        self.place(records);
        if wait {
            self.settle(verb, &tickets);
        }
        let states = tickets.iter().map(|ticket| self.acknowledge(ticket)).collect::<Result<Vec<_>>>()?;
        let ledger = self.ledger();
        let tip = ledger.tip_id().ok().flatten().map(|oid| oid.to_string());
        let receipt = |(record, state): (&Record, State)| Receipt {
            id: record.id,
            state,
            commit: tip.clone().filter(|_| state == State::Committed),
            path: ledger.path_of(record),
        };
        Ok(records.iter().zip(states).map(receipt).collect())
    }

    /// Drains the spool, or waits for somebody who does. What goes wrong is said; the entries stay and are queued.
    fn settle(&self, verb: &str, tickets: &[Ticket]) {
        let patience = self.config.lock_timeout;
        let mut waiter = Watching { spoken: Spoken(self), tickets };
        let drained = LockFile::open(self.repo.elf_dir()).and_then(|mut file| {
            file.hold(verb, patience, &mut waiter, |lock| self.drain(lock, Vec::new(), &mut |_, _| {}))
        });
        match drained {
            Ok(Outcome::Done(_) | Outcome::Unneeded) => {}
            Ok(Outcome::Busy) if self.config.waits_for_flush() => {}
            Ok(Outcome::Busy) => self.say("the lock stayed taken; queued, and the next git elf command commits it"),
            Err(error) => {
                let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
                let why = if matches!(error, Error::Signing { .. }) { "" } else { "the ledger could not be written: " };
                self.say(&format!("queued, since {why}{error}{hint}"));
            }
        }
    }

    fn acknowledge(&self, ticket: &Ticket) -> Result<State> {
        let mut fate = ticket.fate()?;
        if fate == Fate::Waiting {
            ticket.sync()?;
            fault!("queued");
            fate = ticket.fate()?;
        }
        match fate {
            Fate::Waiting => Ok(State::Queued),
            Fate::Committed => Ok(State::Committed),
            Fate::Rejected => Err(Error::Refused {
                what: "the record was put aside: its spool entry could not be read back".into(),
                hint: format!("look into {}", self.spool.bad_dir().display()),
            }),
        }
    }

    /// Writes records that depend on the state they change: drains first, then asks `make` for them, all under the lock. Never
    /// queued.
    ///
    /// # Errors
    /// [`Error::LockTaken`] when the lock stayed taken, whatever `make` returns, and when the ledger could not be written.
    pub fn amend(&self, verb: &str, make: impl FnOnce() -> Result<Vec<Record>>) -> Result<Vec<(Record, Receipt)>> {
        self.repo.identity()?;
        self.locked(verb, |lock| {
            self.drain(lock, Vec::new(), &mut |_, _| {})?;
            let records = make()?;
            let entries = records.iter().cloned().map(|record| self.spool.direct(record)).collect();
            let mut refused = None;
            let drained = self.drain(lock, entries, &mut |_, error| refused = Some(error.to_string()))?;
            if let Some(what) = refused {
                return Err(Error::Refused { what, hint: String::new() });
            }
            let ledger = self.ledger();
            let commit = drained.tip.map(|tip| tip.commit.to_string());
            let state = if drained.waits { State::Queued } else { State::Committed };
            let receipt = |record: Record| {
                let commit = commit.clone().filter(|_| state == State::Committed);
                let path = ledger.path_of(&record);
                let receipt = Receipt { id: record.id, state, commit, path };
                (record, receipt)
            };
            Ok(records.into_iter().map(receipt).collect())
        })
    }

    /// Makes records durable with one attempt at the lock, and drains what else waits: for hooks. A busy lock leaves the
    /// records to its holder; what keeps the ledger from being written is said.
    ///
    /// # Errors
    /// When a record could not be made durable in the spool.
    pub fn record_at_once(&self, verb: &str, records: &[Record]) -> Result<()> {
        if records.is_empty() && self.spool.is_empty() {
            return Ok(());
        }
        self.create_places()?;
        let tickets = records.iter().map(|record| self.spool.put(record)).collect::<Result<Vec<_>>>()?;
        if self.config.drain_signs() {
            // A signer may ask somebody, and the user's commit must not wait for the answer: the next command signs.
        } else if let Err(error) = self.drain_if_free(verb, Duration::ZERO)
            && !matches!(error, Error::Deferred { .. })
        {
            self.say(&format!("queued, since the ledger could not be written: {error}"));
        }
        tickets.iter().try_for_each(|ticket| self.acknowledge(ticket).map(drop))
    }

    /// Tries once to drain what is pending, without waiting: for hooks. Returns whether the lock was free.
    ///
    /// # Errors
    /// When the ledger could not be written; nothing is lost.
    pub fn drain_if_free(&self, verb: &str, patience: Duration) -> Result<bool> {
        if !self.repo.elf_dir().is_dir() {
            return Ok(true);
        }
        let mut file = LockFile::open(self.repo.elf_dir())?;
        let outcome =
            file.hold(verb, patience, &mut crate::lock::Silent, |lock| self.drain(lock, Vec::new(), &mut |_, _| {}))?;
        Ok(matches!(outcome, Outcome::Done(_)))
    }
}
