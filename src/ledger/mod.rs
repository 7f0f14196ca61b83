//! The ledger: a git ref whose commits hold one immutable markdown file for each record. It is the truth.
//!
//! Protocol of a commit, under the repository lock (steps 5 to 8 of docs/durability.md):
//!
//! 1. libgit2 builds blobs, trees and one commit in memory (`objects`); nothing touches the object database yet.
//! 2. The objects are written under temporary names beside a file with the new value of the ref, and flushed together.
//!    An object that exists already is read back: sound, it is flushed with the others; torn, it is replaced.
//! 3. The objects are renamed into place.
//! 4. The ref's `.lock` is taken by linking the prepared file to it; the old value is compared; the reflog is written; the
//!    lock is renamed onto the ref and fsynced (`refs`).
//!
//! A kill leaves temporary files and at most a `.lock` that is the same inode as one of them: [`Ledger::heal`] removes both.
//!
//! [`Ledger::heal`]: crate::ledger::Ledger::heal

mod child;
mod filter;
mod mend;
mod objects;
mod read;
mod refs;
mod sign;
mod tree;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;

use git2::{ObjectType, Oid};

pub use filter::FIELD as FILTER_FIELD;
pub use sign::failure as signing_failure;
pub use tree::{Change, Item};

use crate::error::{Doing, Error, Result};
use crate::lock::RepoLock;
use crate::record::{Id, Kind, Record, field};
use crate::repo::{Identity, Repo};
use crate::sys::Flush;

/// Says what the ledger's ref is, to whoever finds it with plain git.
pub const README: &str = include_str!("README.md");

/// A ledger in an open repository.
pub struct Ledger<'r> {
    repo: &'r Repo,
    git: &'r git2::Repository,
    name: String,
    scratch: PathBuf,
    flush: Flush,
    /// Objects whose loose file was found whole, or is none.
    checked: RefCell<HashSet<Oid>>,
    /// Loose files that were found torn while a tip was mended.
    torn: RefCell<Vec<Oid>>,
    filters: filter::Filters,
    /// Whether commits are signed.
    signs: bool,
}

/// Where the ledger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    pub commit: Oid,
    pub tree: Oid,
}

/// A file to be added.
pub struct NewFile<'a> {
    pub path: String,
    pub text: &'a str,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Published {
    /// The ref points to this commit, durably.
    At(Tip),
    /// The ref moved meanwhile: nothing was changed; read the tip and build again.
    Moved,
}

impl<'r> Ledger<'r> {
    /// Names the ledger of a repository; nothing is read yet.
    pub fn new(repo: &'r Repo, name: &str) -> Self {
        let common = repo.common_dir();
        Self {
            repo,
            git: repo.git(),
            name: name.to_owned(),
            scratch: repo.elf_dir().join("tmp"),
            flush: Flush::of(common),
            checked: RefCell::default(),
            torn: RefCell::default(),
            filters: filter::Filters::default(),
            signs: false,
        }
    }

    /// Says whether commits are signed; they are not, unless told so.
    #[must_use]
    pub fn signing(mut self, signs: bool) -> Self {
        self.signs = signs;
        self
    }

    /// Returns the full name of the ref.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads where the ref points; `None` when there is no memory yet.
    ///
    /// # Errors
    /// When the ref, or the commit it names, cannot be read.
    pub fn tip(&self) -> Result<Option<Tip>> {
        let Some(commit) = self.tip_id()? else { return Ok(None) };
        Ok(Some(Tip { commit, tree: self.commit_at(commit)?.tree_id() }))
    }

    /// Reads the commit that the ref names, without looking at the commit itself.
    ///
    /// # Errors
    /// When the ref cannot be read.
    pub fn tip_id(&self) -> Result<Option<Oid>> {
        refs::value_of(self.git, &self.name)
    }

    /// Tells whether the tree has a file for this id: one look-up along the shards, whatever the slug.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn contains(&self, tree: Oid, kind: Kind, id: Id) -> Result<bool> {
        Ok(self.find(tree, kind, id)?.is_some())
    }

    /// Finds the file of an id: its path and blob.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn find(&self, tree: Oid, kind: Kind, id: Id) -> Result<Option<(String, Oid)>> {
        Ok(self.files_at(tree, kind, id)?.into_iter().next())
    }

    /// Lists the paths of all files that bear an id, of whatever kind; more than one is a mistake.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn files_of(&self, tree: Oid, id: Id) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for kind in Kind::ALL {
            paths.extend(self.files_at(tree, kind, id)?.into_iter().map(|(path, _)| path));
        }
        Ok(paths)
    }

    /// Tells whether a record's file, of whatever kind, is this blob.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn holds(&self, tree: Oid, id: Id, blob: Oid) -> Result<bool> {
        for kind in Kind::ALL {
            for (path, found) in self.files_at(tree, kind, id)? {
                if found == blob || self.hash_at(&path, found)? == Some(blob) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn files_at(&self, tree: Oid, kind: Kind, id: Id) -> Result<Vec<(String, Oid)>> {
        let leaf = Record::leaf(kind, id);
        let mut tree = self.tree_at(tree)?;
        for name in leaf.split('/') {
            let entry = tree.get_name(name).filter(|entry| entry.kind() == Some(ObjectType::Tree));
            let Some(child) = entry.map(|entry| entry.id()) else { return Ok(Vec::new()) };
            tree = self.tree_at(child)?;
        }
        let bears = |name: &str| Id::of_file_name(name) == Some(id);
        let named = tree.iter().filter_map(|entry| Some((entry.name().ok()?.to_owned(), entry.id())));
        Ok(named.filter(|(name, _)| bears(name)).map(|(name, oid)| (format!("{leaf}/{name}"), oid)).collect())
    }

    /// Lists what differs between two trees, equal subtrees skipped, in the order of paths; `None` stands for the empty tree.
    /// Only directories and files at the root whose name `wanted` accepts are looked into.
    ///
    /// # Errors
    /// When an object cannot be read, and whatever `each` returns.
    pub fn changes(
        &self,
        old: Option<Oid>,
        new: Option<Oid>,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        tree::changes(self, old, new, wanted, each)
    }

    /// Reads a record's file: plain, of bounded size, in the place that its kind and id say.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the file is no record; anything else when the object cannot be read.
    pub fn record_at(&self, path: &str, item: Item) -> Result<Record> {
        if item.mode != objects::BLOB_MODE {
            return Err(Error::invalid("file", format!("is no plain file (mode {:o})", item.mode)));
        }
        let size = self.size_of(item.oid)?;
        // A filter may make it larger; the text is measured too.
        let limit = if self.may_filter() { 2 * field::FILE_MAX } else { field::FILE_MAX };
        if size > limit {
            return Err(Error::invalid("file", format!("has {size} bytes (limit: {})", field::FILE_MAX)));
        }
        let record = Record::parse(&self.text_at(path, item.oid)?)?;
        let (leaf, name) = path.rsplit_once('/').unwrap_or(("", path));
        if leaf != Record::leaf(record.kind, record.id) || Id::of_file_name(name) != Some(record.id) {
            return Err(Error::invalid(
                "file",
                format!("stands in the wrong place: its kind and id say {}", record.path()),
            ));
        }
        Ok(record)
    }

    /// Removes what a process of ours that died under the lock has left: temporary files, and the ref's lock when it is the
    /// same inode as one of them. Returns what was healed.
    pub fn heal(&self, _lock: &RepoLock<'_>) -> Vec<String> {
        let elsewhere = objects::other_disk(self.git);
        [&self.scratch, &elsewhere].into_iter().flat_map(|scratch| refs::heal(scratch, &self.lock_path())).collect()
    }

    /// Adds files in one commit on `base` and moves the ref to it. When this returns [`Published::At`], all of it is durable.
    ///
    /// # Errors
    /// [`Error::RefLocked`] when somebody else held the ref's lock for a second; otherwise what the disk or libgit2 says. The
    /// ref has not moved, or its move is not known to be durable: either way the files must be offered again.
    pub fn commit(
        &self,
        _lock: &RepoLock<'_>,
        base: Option<Tip>,
        files: &[NewFile<'_>],
        message: &str,
        who: &Identity,
    ) -> Result<Published> {
        self.refuse_checked_out()?;
        self.refuse_foreign(base)?;
        let mut batch = objects::build(self.git, base, files, &self.filtered(files)?, message, who)?;
        if self.signs {
            self.sign(&mut batch, base, message, who)?;
        }
        let place = objects::Place::new(self.git, &self.scratch)?;
        let value = refs::prepare_value(&self.scratch, batch.commit)?;
        place.write(&batch, &value, self.flush)?;
        let edit = refs::Edit {
            git: self.git,
            name: &self.name,
            lock_path: self.lock_path(),
            old: base.map(|tip| tip.commit),
            new: batch.commit,
            who,
            message: message.lines().next().unwrap_or_default(),
            flush: self.flush,
        };
        let moved = edit.run(&value)?;
        Ok(if moved { Published::At(Tip { commit: batch.commit, tree: batch.tree }) } else { Published::Moved })
    }

    /// Brings a blob of the ledger to disk again whose object is torn; its text came from the spool.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn restore(&self, _lock: &RepoLock<'_>, text: &str) -> Result<()> {
        objects::Place::new(self.git, &self.scratch)?.restore(text.as_bytes(), self.flush)
    }

    /// Makes the present value of the ref durable, for records that were found in it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync_ref(&self, _lock: &RepoLock<'_>) -> Result<()> {
        refs::sync(self.git.commondir(), &self.name, self.flush)
    }

    /// Deletes the ref, if it still points to `tip`. git keeps the commits until it collects garbage.
    ///
    /// # Errors
    /// When the ref moved, a worktree has it checked out, or the disk refuses.
    pub fn delete(&self, _lock: &RepoLock<'_>, tip: Tip) -> Result<()> {
        self.refuse_checked_out()?;
        let doing = || format!("delete {}", self.name);
        let mut reference = self.git.find_reference(&self.name).doing(doing)?;
        if reference.target() != Some(tip.commit) {
            return Err(Error::Refused { what: format!("{} has moved meanwhile", self.name), hint: String::new() });
        }
        // libgit2 compares the value it read with the present one, under the ref's lock.
        reference.delete().doing(doing)
    }

    fn lock_path(&self) -> PathBuf {
        self.git.commondir().join(format!("{}.lock", self.name))
    }

    /// Refuses a ref that holds something else than a memory, as a branch named by mistake, or by a stranger's `.elf.toml`.
    fn refuse_foreign(&self, base: Option<Tip>) -> Result<()> {
        let Some(tip) = base else { return Ok(()) };
        let tree = self.tree_at(tip.tree)?;
        let readme =
            Oid::hash_object(ObjectType::Blob, README.as_bytes()).expect("hashing bytes in memory does not fail");
        let is_ours = |entry: git2::TreeEntry<'_>| {
            entry.name().is_ok_and(|name| name == "README.md" || Kind::of_dir(name).is_some())
        };
        if tree.get_name("README.md").is_some_and(|entry| entry.id() == readme) || tree.iter().all(is_ours) {
            return Ok(());
        }
        Err(Error::Refused {
            what: format!("{} holds files that are no memory of git-elf", self.name),
            hint: "choose another ref: git config elf.ref refs/elf/memory".into(),
        })
    }

    /// Refuses a branch that some worktree has checked out: its files and index would fall behind.
    fn refuse_checked_out(&self) -> Result<()> {
        if !self.name.starts_with("refs/heads/") {
            return Ok(());
        }
        let common = self.git.commondir();
        let worktrees = std::fs::read_dir(common.join("worktrees")).into_iter().flatten().flatten();
        let heads = std::iter::once(common.join("HEAD")).chain(worktrees.map(|dir| dir.path().join("HEAD")));
        for head in heads {
            let text = std::fs::read_to_string(&head).unwrap_or_default();
            if text.strip_prefix("ref: ").map(str::trim) == Some(&self.name) && !self.git.is_bare() {
                return Err(Error::Refused {
                    what: format!("{} is checked out, and a ledger's branch must not be", self.name),
                    hint: "check another branch out there, or git config elf.ref refs/elf/memory".into(),
                });
            }
        }
        Ok(())
    }
}
