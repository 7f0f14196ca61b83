//! What the holder of the lock mends before it works, and how that is told.
//!
//! Every healing is said in one line on stderr and kept as a line of `healed.log` in our directory.

use std::fs;

use git2::Oid;

use super::Store;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::ledger::{Ledger, Tip};
use crate::lock::RepoLock;
use crate::record::Time;
use crate::repo::{Identity, parse_oid};
use crate::sys;

/// Name of the log below our directory: one line for each healing, RFC 3339 time, tab, text.
pub const HEALED: &str = "healed.log";
/// Size above which the log starts anew, in bytes.
const HEALED_MAX: u64 = 64 * 1024;

impl Store {
    /// Removes what a dead holder left, and returns the ledger's tip, mended when a power cut tore it.
    ///
    /// # Errors
    /// When the tip cannot be read and is not torn, or when nothing sound is known.
    pub(super) fn healed_tip(&self, lock: &RepoLock<'_>, ledger: &Ledger<'_>) -> Result<Option<Tip>> {
        for healed in ledger.heal(lock) {
            self.tell_healed(&healed);
        }
        self.spool.sweep(lock);
        if ledger.is_in_tree() {
            // The branch is the user's to mend.
            return ledger.tip();
        }
        match ledger.tip() {
            Err(Error::Git { .. }) => self.mend(lock, ledger).and_then(|_| ledger.tip()),
            Ok(None) if ledger.may_be_lost() => self.mend(lock, ledger).and_then(|_| ledger.tip()),
            tip => tip,
        }
    }

    /// Mends a torn tip; returns whether there was something to mend.
    pub(super) fn mend(&self, lock: &RepoLock<'_>, ledger: &Ledger<'_>) -> Result<bool> {
        if ledger.is_in_tree() {
            return Ok(false);
        }
        // Mending must not wait until somebody has told git a name; it is for one line of the reflog.
        let nobody = || Identity { name: "git-elf".into(), email: "git-elf@localhost".into() };
        let who = self.repo.identity().unwrap_or_else(|_| nobody());
        let healed = ledger.mend(lock, self.stamped_tip(), &who)?;
        if let Some(healed) = &healed {
            self.tell_healed(healed);
        }
        Ok(healed.is_some())
    }

    /// Returns the commit that the index was made from, which may be the newest one that is known.
    fn stamped_tip(&self) -> Option<Oid> {
        let stamp = Index::read(&self.index_dir).ok()??.stamp().ok()??;
        parse_oid(&stamp.tip).ok().filter(|_| stamp.ref_name == self.config.ledger_ref)
    }

    pub(super) fn tell_healed(&self, what: &str) {
        self.say(what);
        let path = self.repo.elf_dir().join(HEALED);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > HEALED_MAX) {
            let _ = sys::unlink(&path);
        }
        let line = format!("{}\t{}\n", Time::now(), what.replace(['\n', '\t'], " "));
        // The log is for people; that it cannot be written is no reason to stop.
        let _ = sys::append(&path, line.as_bytes());
    }
}
