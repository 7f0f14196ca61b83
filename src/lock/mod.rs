//! The repository lock: one holder at a time among all processes and worktrees.
//!
//! It is an advisory lock (flock through `fd-lock`) on `<common dir>/elf/lock`. The kernel frees it when the holder dies, so
//! it cannot go stale, and the file is never deleted: unlinking it while somebody waits would give two holders. Its text
//! (`pid verb since`) serves messages only, unless it says that the lock is lent: `git elf lock -- CMD` runs a command under
//! it, and the git-elf commands inside are not to wait for the lock that their ancestor holds. They take an inner lock
//! instead; the protocol is in `chain.rs`.
//!
//! Waiting is exponential back-off with full jitter (delay uniform in 0 … min(cap, base·2ⁿ); M. Brooker, "Exponential
//! Backoff And Jitter", 2015) from 1 ms to a cap of 64 ms, which falls for those who have waited long.
//!
//! Lock order, everywhere: repository lock, then git's own ref and index locks, then a SQLite write transaction. A write
//! transaction borrows the [`RepoLock`], so it cannot outlive it:
//!
//! ```
//! # fn test(dir: &std::path::Path) -> Result<(), git_elf::error::Error> {
//! let mut file = git_elf::lock::LockFile::open(dir)?;
//! let lock = file.try_lock("test")?.expect("free");
//! let mut index = git_elf::index::Index::create(dir, &lock)?;
//! let transaction = index.begin(&lock)?;
//! transaction.rollback()?;
//! drop(lock);
//! # Ok(()) }
//! # test(tempfile::tempdir().unwrap().path()).unwrap();
//! ```
//!
//! Dropping the lock while the transaction is alive does not compile:
//!
//! ```compile_fail,E0505
//! # fn test(dir: &std::path::Path) -> Result<(), git_elf::error::Error> {
//! let mut file = git_elf::lock::LockFile::open(dir)?;
//! let lock = file.try_lock("test")?.expect("free");
//! let mut index = git_elf::index::Index::create(dir, &lock)?;
//! let transaction = index.begin(&lock)?;
//! drop(lock);
//! transaction.rollback()?;
//! # Ok(()) }
//! # test(tempfile::tempdir().unwrap().path()).unwrap();
//! ```
//!
//! Neither does a transaction, a commit or a drain without one:
//!
//! ```compile_fail,E0061
//! # fn test(dir: &std::path::Path) -> Result<(), git_elf::error::Error> {
//! let mut file = git_elf::lock::LockFile::open(dir)?;
//! let lock = file.try_lock("test")?.expect("free");
//! let mut index = git_elf::index::Index::create(dir, &lock)?;
//! let transaction = index.begin()?;
//! transaction.rollback()?;
//! drop(lock);
//! # Ok(()) }
//! # test(tempfile::tempdir().unwrap().path()).unwrap();
//! ```
//!
//! ```compile_fail,E0061
//! # fn test(store: &git_elf::store::Store) -> Result<(), git_elf::error::Error> {
//! store.drain(Vec::new(), &mut |_, _| {})?;
//! # Ok(()) }
//! ```
//!
//! ```compile_fail,E0061
//! # fn test(ledger: &git_elf::ledger::Ledger, who: &git_elf::repo::Identity) -> Result<(), git_elf::error::Error> {
//! ledger.commit(None, &[], "message", who)?;
//! # Ok(()) }
//! ```
//!
//! [`RepoLock`]: crate::lock::RepoLock

mod chain;
mod clean;
mod lend;
mod processes;
mod survey;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fd_lock::{RwLock, RwLockWriteGuard};

pub use clean::{Removal, clean, named};
pub use lend::Ended;
pub use survey::{Found, Verdict, mover_at, survey, sweeper_at};

use crate::error::{Doing, Error, Result};
use crate::sys;

const BASE: Duration = Duration::from_millis(1);
const CAP: Duration = Duration::from_millis(64);
/// The cap for those who have waited a second or more, and three seconds or more: in a crowd they get the lock sooner.
const CAPS_LATER: [(Duration, Duration); 2] =
    [(Duration::from_secs(3), Duration::from_millis(4)), (Duration::from_secs(1), Duration::from_millis(16))];
/// Time after which a waiter says once who holds the lock.
const SAY_AFTER: Duration = Duration::from_millis(300);

/// The lock file, open; inside `git elf lock` those of the inner locks, too.
pub struct LockFile {
    dir: PathBuf,
    /// The tokens of the locks that are lent to this process.
    tokens: Vec<String>,
    /// One more than tokens: all but the last are lent, or it is the first.
    rungs: Vec<RwLock<File>>,
}

/// Proof that this process holds the repository lock.
pub struct RepoLock<'f> {
    guard: RwLockWriteGuard<'f, File>,
    dir: &'f Path,
    /// The tokens on whose strength it is held.
    tokens: &'f [String],
    verb: String,
    waited: Duration,
    since: Instant,
}

/// How a wait for the lock ended.
pub enum Outcome<T> {
    /// The lock was held for the work.
    Done(T),
    /// The waiter found that there is nothing left to do.
    Unneeded,
    /// The deadline passed.
    Busy,
}

/// What a waiter can do between two attempts.
pub trait Waiter {
    /// Tells whether the work has been done by somebody else meanwhile.
    fn unneeded(&mut self) -> bool {
        false
    }

    /// Is called once, after 300 ms, with the text of the holder.
    fn waiting(&mut self, _holder: &str) {}
}

/// Waits without a word.
pub struct Silent;

impl Waiter for Silent {}

impl LockFile {
    /// Opens the lock file in `dir`, creating it where it is missing.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(dir: &Path) -> Result<Self> {
        let tokens = chain::given(dir);
        let rungs = (0..=tokens.len()).map(|rung| chain::open(dir, rung)).collect::<Result<_>>()?;
        Ok(Self { dir: dir.to_owned(), tokens, rungs })
    }

    /// Tries once, without waiting; `None` when somebody else holds the lock.
    ///
    /// # Errors
    /// When the file system cannot lock.
    pub fn try_lock(&mut self, verb: &str) -> Result<Option<RepoLock<'_>>> {
        let Self { dir, tokens, rungs } = self;
        for (rung, file) in rungs.iter_mut().enumerate().rev() {
            let tokens = &tokens[..rung];
            if !chain::all_stand(dir, tokens) {
                continue;
            }
            match file.try_write() {
                Ok(guard) => {
                    // Only under this rung can none of the tokens disappear any more.
                    if !chain::all_stand(dir, tokens) {
                        continue;
                    }
                    if !chain::take_over(dir, rung, &guard, verb)? {
                        return Ok(None);
                    }
                    return Ok(Some(RepoLock {
                        guard,
                        dir,
                        tokens,
                        verb: verb.to_owned(),
                        waited: Duration::ZERO,
                        since: Instant::now(),
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => {
                    return Err(error).doing(|| format!("lock {}", dir.join(chain::file_name(rung)).display()));
                }
            }
        }
        // The first rung needs no token, so one of the branches above was taken.
        Ok(None)
    }

    /// Waits at most `patience` for the lock and runs `work` under it.
    ///
    /// # Errors
    /// When the file system cannot lock, and whatever `work` returns.
    pub fn hold<T>(
        &mut self,
        verb: &str,
        patience: Duration,
        waiter: &mut dyn Waiter,
        work: impl FnOnce(&RepoLock<'_>) -> Result<T>,
    ) -> Result<Outcome<T>> {
        let start = Instant::now();
        let mut said = false;
        let mut ceiling = BASE;
        loop {
            if let Some(mut lock) = self.try_lock(verb)? {
                lock.waited = start.elapsed();
                return work(&lock).map(Outcome::Done);
            }
            let Some(left) = patience.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(Outcome::Busy);
            };
            if start.elapsed() >= SAY_AFTER && !said {
                said = true;
                waiter.waiting(&self.holder());
            }
            let delay = ceiling.mul_f64(fastrand::f64()).min(left);
            std::thread::sleep(delay);
            let later = CAPS_LATER.iter().find(|(waited, _)| start.elapsed() >= *waited);
            ceiling = (ceiling * 2).min(later.map_or(CAP, |(_, cap)| *cap));
            if waiter.unneeded() {
                return Ok(Outcome::Unneeded);
            }
        }
    }

    /// Returns the error of a command that needs the lock and did not get it.
    pub fn taken(&self, waited: Duration) -> Error {
        Error::LockTaken { holder: self.holder(), waited_ms: waited.as_millis() }
    }

    /// Describes the holder from the text of the file, which may be of an earlier one.
    pub fn holder(&self) -> String {
        let rung = (0..self.rungs.len()).rev().find(|rung| chain::all_stand(&self.dir, &self.tokens[..*rung]));
        match chain::holder(&self.dir, rung.unwrap_or_default()) {
            Some((pid, what)) => format!("pid {pid} ({what})"),
            // Somebody who is no git-elf: the system may know who.
            None => match sys::links(&self.dir.join(chain::file_name(0)))
                .and_then(|(_, inode)| processes::flock_holders(inode).pop())
            {
                Some(pid) => format!("pid {pid} (no git-elf)"),
                None => "another process".to_owned(),
            },
        }
    }
}

impl RepoLock<'_> {
    /// Returns what the lock was taken for.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// Returns how long it was waited for.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns for how long it has been held.
    pub fn held(&self) -> Duration {
        self.since.elapsed()
    }

    /// Returns the descriptor that carries the lock.
    pub fn file(&self) -> &File {
        &self.guard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_waits_says_so_and_gives_up() {
        struct Notes(Vec<String>);
        impl Waiter for Notes {
            fn waiting(&mut self, holder: &str) {
                self.0.push(holder.to_owned());
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (LockFile::open(dir.path()).unwrap(), LockFile::open(dir.path()).unwrap());
        let lock = first.try_lock("test").unwrap().unwrap();
        let mut notes = Notes(Vec::new());
        let outcome = second.hold("other", Duration::from_secs(3), &mut notes, |_| Ok(())).unwrap();
        assert!(matches!(outcome, Outcome::Busy));
        assert_eq!(notes.0.len(), 1, "the holder is named once");
        assert!(
            notes.0[0].contains(&format!("pid {} (git elf test", std::process::id())),
            "{notes:?}",
            notes = notes.0
        );
        drop(lock);
        assert!(second.try_lock("other").unwrap().is_some());
    }
}
