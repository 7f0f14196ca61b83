//! Deleting a memory, when the user has said how many records that is.

use std::fs;
use std::io;

use git2::Oid;

use super::{Store, news};
use crate::error::{Doing, Error, Result};
use crate::index::Index;

/// What was deleted, and what was kept.
#[derive(Debug)]
pub struct Erased {
    /// The last commit of the ledger, which git keeps until it collects garbage.
    pub tip: Option<Oid>,
    pub files: u64,
    /// Spool entries that could not be read; nobody knows what they are, so they stay.
    pub bad: usize,
}

impl Store {
    /// Deletes ledger ref, index, spool and temporary files, if the ledger has exactly `expected` record files. What waits in
    /// the spool is committed first, so it counts. The lock file stays: deleting it would let two processes hold it.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the right number; nothing is deleted then. When the lock stays taken or the disk refuses.
    pub fn erase(&self, expected: u64) -> Result<Erased> {
        self.locked("uninstall", |lock| {
            self.drain(lock, Vec::new(), &mut |_, _| {})?;
            let ledger = self.ledger();
            let tip = ledger.tip()?;
            let files = tip.map_or(Ok(0), |tip| self.count_new(None, tip.tree))?;
            if files != expected {
                let problem = format!("{expected} is not the number of files in {}, which has {files}", ledger.name());
                return Err(Error::invalid("delete-memory", format!("{problem}; nothing was deleted")));
            }
            if let Some(tip) = tip {
                ledger.delete(lock, tip)?;
            }
            Index::delete(&self.index_dir, lock)?;
            let bad = self.spool.bad().len();
            let spool = self.spool.bad_dir();
            // Only while empty: an entry that arrives now is a new memory.
            let _ = fs::remove_dir(&spool);
            let _ = spool.parent().map(fs::remove_dir);
            let _ = fs::remove_dir_all(self.repo.elf_dir().join(news::DIR));
            if let Err(error) = fs::remove_dir_all(self.repo.elf_dir().join("tmp"))
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error).doing(|| "remove elf/tmp".to_owned());
            }
            Ok(Erased { tip: tip.map(|tip| tip.commit), files, bad })
        })
    }
}
