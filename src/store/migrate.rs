//! Moving a memory to another ref, in whatever form either has it.
//!
//! Every file goes over as it is, so ids, dates and events stay; the history goes over as a parent of the commit that brings the
//! files. What the new ref had already stays beside them: two memories are united by the union of their files. The old ref
//! keeps its files and gets one more, `MOVED`, that names the new one: a clone that still uses it is told so and writes
//! nothing there any more. In this order, so that a kill leaves the old one in force, or both complete.

use git2::Oid;

use super::Store;
use crate::config::checked_ref;
use crate::error::{Doing, Error, Result};
use crate::ledger::{Content, Ledger, MOVED, NewCommit, NewFile, Published, Tip};
use crate::lock::RepoLock;
use crate::sys;

/// How often a ref that somebody else keeps moving is tried.
const ATTEMPTS: u32 = 10;

/// What a migration did.
#[derive(Debug)]
pub struct Migrated {
    pub from: String,
    pub to: String,
    /// Files that are new on the new ref.
    pub files: usize,
    /// Paths that are no text of a record's size, and stay where they are.
    pub left: Vec<String>,
    pub commit: Oid,
}

impl Store {
    /// Copies the memory to `to` with its history, and runs `select` when it is durable there; then the old ref says where the
    /// memory went.
    ///
    /// # Errors
    /// [`Error::Deferred`] while a branch that is concerned is in use; [`Error::Refused`] when there is nothing to move.
    pub fn migrate(&self, to: &str, select: impl FnOnce() -> Result<()>) -> Result<Migrated> {
        let to = checked_ref(to.to_owned())?;
        self.repo.identity()?;
        let from = self.config.ledger_ref.clone();
        if from == to {
            return Err(Error::Refused { what: format!("the memory is on {to} already"), hint: String::new() });
        }
        self.locked("migrate", |lock| {
            let old = self.ledger();
            if old.is_in_tree() {
                self.keep(lock, &old, Vec::new(), &mut |_, _| {})?;
            }
            self.commit_spool(lock, &old, Vec::new(), &mut |_, _| {})?;
            let Some(tip) = self.healed_tip(lock, &old)? else {
                return Err(Error::Refused {
                    what: format!("there is no memory on {from} yet"),
                    hint: format!("git elf init --ref {to} uses that ref from the start"),
                });
            };
            let history = if old.is_in_tree() { old.split(tip.commit)? } else { Some(tip.commit) };
            // The new commits were written one by one and none was flushed.
            sys::sync_all(self.repo.common_dir()).doing(|| "make the history durable".into())?;
            let new = Ledger::new(&self.repo, &to).signing(self.config.signs);
            let (commit, files, left) = self.bring(lock, &old, tip, &new, history)?;
            select()?;
            self.say_moved(lock, &old, &to)?;
            Ok(Migrated { from, to, files, left, commit })
        })
    }

    /// Commits the files of `old` on `new`, with `history` as a parent.
    fn bring(
        &self,
        lock: &RepoLock<'_>,
        old: &Ledger<'_>,
        tip: Tip,
        new: &Ledger<'_>,
        history: Option<Oid>,
    ) -> Result<(Oid, usize, Vec<String>)> {
        let (mut texts, mut left) = (Vec::new(), Vec::new());
        old.changes(None, Some(tip.tree), &|_| true, &mut |change| {
            let text = match change.new {
                None => return Ok(()),
                // What a filter hides is moved as text: the new ref may have another one.
                Some(Content::File(item)) => match old.small_blob(item)?.map(|_| old.text_at(&change.path, item.oid)) {
                    Some(Ok(text)) => String::from_utf8(text).ok(),
                    None | Some(Err(Error::Invalid { .. })) => None,
                    Some(Err(error)) => return Err(error),
                },
                Some(Content::Stray(_)) => None,
            };
            match text {
                Some(text) => texts.push((change.path, text)),
                None => left.push(change.path),
            }
            Ok(())
        })?;
        let message = format!("elf: move the memory here from {}\n", old.name());
        let patience = self.config.lock_timeout;
        for _ in 0..ATTEMPTS {
            let base = new.tip()?;
            let mut files = Vec::new();
            for (path, text) in &texts {
                if base.map_or(Ok(None), |base| new.file_at(base.tree, path))?.is_none() {
                    files.push(NewFile { path: path.clone(), text });
                }
            }
            let count = files.len();
            let here = format!("{}\n", new.name());
            if base.map_or(Ok(None), |base| new.moved_to(base.tree))?.is_some() {
                files.push(NewFile { path: MOVED.into(), text: &here });
            }
            let commit = NewCommit { base, files: &files, message: &message, also: history, moves: true, patience };
            if let Published::At(at) = new.commit(lock, &commit, &self.repo.identity()?)? {
                return Ok((at.commit, count, left));
            }
        }
        Err(Error::RefLocked { path: new.name().to_owned() })
    }

    fn say_moved(&self, lock: &RepoLock<'_>, old: &Ledger<'_>, to: &str) -> Result<()> {
        let text = format!("{to}\n");
        let message = format!("elf: the memory has moved to {to}\n");
        let patience = self.config.lock_timeout;
        for _ in 0..ATTEMPTS {
            let files = [NewFile { path: MOVED.into(), text: &text }];
            let commit =
                NewCommit { base: old.tip()?, files: &files, message: &message, also: None, moves: true, patience };
            if let Published::At(_) = old.commit(lock, &commit, &self.repo.identity()?)? {
                return Ok(());
            }
        }
        Err(Error::RefLocked { path: old.name().to_owned() })
    }
}
