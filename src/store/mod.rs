//! The one write path, and the way to an index that can be trusted.
//!
//! `record` → spool → lock → drain → ledger → index. The steps and what each guards against are in docs/durability.md; the
//! rooms below do not know each other, and this one joins them:
//!
//! * [`Store::record`] puts records into the spool and waits until they are durable: in the ledger, or queued.
//! * `drain` is what the holder of the lock does: one commit for the whole spool, then the index, then the spool is emptied.
//! * `catch_up` brings the index from the tree it was made from to the ledger's present one.
//! * `keep` is what it does where records live on the current branch: they wait as files there until [`Store::flush`].
//! * [`Store::read`] answers questions, after the index was compared with the ledger's ref.
//! * [`Store::select`] asks within a scope, and says of each record whether it is merged, yours or neither.
//! * [`Store::why`] and [`Store::warnings`] find what was learned about files, their lines, and what is staged.
//! * [`Store::harvest_head`] and [`Store::in_step`] are for hooks, which never wait long.
//!
//! [`Store::record`]: crate::store::Store::record
//! [`Store::flush`]: crate::store::Store::flush
//! [`Store::harvest_head`]: crate::store::Store::harvest_head
//! [`Store::in_step`]: crate::store::Store::in_step
//! [`Store::read`]: crate::store::Store::read
//! [`Store::select`]: crate::store::Store::select
//! [`Store::why`]: crate::store::Store::why
//! [`Store::warnings`]: crate::store::Store::warnings

mod breaches;
mod catch_up;
mod check;
mod drain;
mod erase;
mod graph;
mod harvest;
mod heal;
mod in_tree;
mod migrate;
mod news;
mod promised;
mod push;
mod reach;
mod read;
mod session;
mod sight;
mod update;
mod why;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

pub use breaches::{BREACH_DAYS, BREACH_LEVELS, Breached};
pub use check::Report;
pub use drain::Drained;
pub use erase::Erased;
pub use heal::HEALED;
pub use in_tree::Flushed;
pub use migrate::Migrated;
pub use push::InStep;
pub use reach::{Horizon, Reach, Scope};
pub use session::Work;
pub use update::Update;
pub use why::{Spot, Warnings};
pub use write::{Receipt, State};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::lock::{LockFile, Outcome, RepoLock, Waiter};
use crate::repo::Repo;
use crate::spool::Spool;
use crate::sys;

/// What the rooms have to say while they work; only `cli` prints.
pub trait Voice {
    /// Says one line.
    fn say(&self, line: &str);
    /// Reports that `done` of `total` are done; 0 of 0 ends the report.
    fn progress(&self, what: &str, done: u64, total: u64);
}

/// A repository's memory.
pub struct Store {
    repo: Repo,
    config: Config,
    spool: Spool,
    /// Where the index is: beside lock and spool, or with the worktree whose branch has the records.
    index_dir: PathBuf,
    voice: Box<dyn Voice>,
    /// Set when it was said that the index is behind: once a command is enough.
    said_behind: Cell<bool>,
    /// Which branches were looked up, and are there: a list may name one a thousand times.
    branches: RefCell<HashMap<String, bool>>,
}

impl Store {
    /// Opens the memory of the repository that git would use here. Nothing is written.
    ///
    /// # Errors
    /// When there is no repository, or its configuration is invalid.
    pub fn open(voice: Box<dyn Voice>) -> Result<Self> {
        Self::of(Repo::open()?, voice)
    }

    /// Opens the memory of a repository.
    ///
    /// # Errors
    /// When its configuration is invalid.
    pub fn of(repo: Repo, voice: Box<dyn Voice>) -> Result<Self> {
        refuse_links(repo.elf_dir())?;
        let config = Config::load(&repo)?;
        let (spool, index_dir) = in_tree::places(&repo, &config)?;
        Ok(Self { repo, config, spool, index_dir, voice, said_behind: Cell::new(false), branches: RefCell::default() })
    }

    /// Returns the repository.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// Returns the configuration as it was when the store was opened.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the spool.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Returns the ledger.
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger::new(&self.repo, &self.config.ledger_ref).signing(self.config.signs)
    }

    /// Returns where the index is.
    pub fn index_dir(&self) -> &Path {
        &self.index_dir
    }

    /// Returns where lock and spool are.
    pub fn dir(&self) -> PathBuf {
        self.repo.elf_dir().to_owned()
    }

    /// Runs `work` under the lock, waiting as long as `elf.lockTimeout` says.
    ///
    /// # Errors
    /// [`crate::error::Error::LockTaken`] when it stayed taken, and whatever `work` returns.
    pub fn locked<T>(&self, verb: &str, work: impl FnOnce(&RepoLock<'_>) -> Result<T>) -> Result<T> {
        self.locked_within(verb, self.config.lock_timeout, work)
    }

    /// Runs a command under the lock, waiting for it at most `patience`; what hooks left to the holder is drained at the end.
    ///
    /// # Errors
    /// [`crate::error::Error::LockTaken`] when it stayed taken; nothing was run then.
    pub fn run_locked(&self, patience: Duration, command: &mut Command) -> Result<io::Result<ExitStatus>> {
        self.locked_within("lock", patience, |lock| {
            let ended = lock.run("lock", command)?;
            if ended.alone
                && !self.spool.is_empty()
                && let Err(error) = self.drain(lock, Vec::new(), &mut |_, _| {})
            {
                self.say(&format!("queued records could not be committed: {error}"));
            }
            Ok(ended.status)
        })
    }

    fn locked_within<T>(
        &self,
        verb: &str,
        patience: Duration,
        work: impl FnOnce(&RepoLock<'_>) -> Result<T>,
    ) -> Result<T> {
        self.repo.create_elf_dir()?;
        let mut file = LockFile::open(self.repo.elf_dir())?;
        match file.hold(verb, patience, &mut Spoken(self), work)? {
            Outcome::Done(done) => Ok(done),
            Outcome::Unneeded | Outcome::Busy => Err(file.taken(patience)),
        }
    }

    /// Reports the progress of long work; 0 ends the report.
    pub fn report(&self, what: &str, done: u64) {
        self.voice.progress(what, done, 0);
    }

    fn say(&self, line: &str) {
        self.voice.say(line);
    }
}

/// Refuses directories of ours that are links: what is in them is read, written and cleaned, and would be somebody else's.
fn refuse_links(elf_dir: &Path) -> Result<()> {
    // Not joined with an empty name: a slash at the end would follow a link.
    let below = ["spool", "spool/bad", "tmp"].map(|name| elf_dir.join(name));
    for dir in [elf_dir.to_owned()].into_iter().chain(below) {
        sys::refuse_foreign_dir(&dir).map_err(|error| Error::Refused {
            what: format!("{} is not used: {error}", dir.display()),
            hint: "look who put it there, and move it out of the way; git-elf makes its own".into(),
        })?;
    }
    Ok(())
}

/// Waits for the lock and says who has it.
struct Spoken<'a>(&'a Store);

impl Waiter for Spoken<'_> {
    fn waiting(&mut self, holder: &str) {
        self.0.say(&format!("waiting for the lock, held by {holder}"));
    }
}
