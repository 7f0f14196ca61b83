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
//! On a branch that is checked out, the worktrees are kept in step (`checkout`).
//!
//! A kill leaves temporary files and at most a `.lock` that is the same inode as one of them: [`Ledger::heal`] removes both.
//!
//! [`Ledger::heal`]: crate::ledger::Ledger::heal

mod checkout;
mod child;
mod filter;
mod find;
mod mend;
mod objects;
mod prune;
mod read;
mod refs;
mod sign;
mod split;
mod tree;

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use git2::{ObjectType, Oid};

pub use checkout::place;
pub use filter::FIELD as FILTER_FIELD;
pub use sign::failure as signing_failure;
pub use tree::{Change, Content, Item};

use checkout::Checkouts;

use crate::config::IN_TREE;
use crate::error::{Doing, Error, Result};
use crate::lock::RepoLock;
use crate::record::{Id, Kind, Record};
use crate::repo::{self, Identity, Repo};
use crate::sys::{self, Flush};

/// Says what the ledger's ref is, to whoever finds it with plain git.
pub const README: &str = include_str!("README.md");
/// Says what `memory/` is, to whoever finds it in a branch.
const README_IN_TREE: &str = include_str!("README_IN_TREE.md");
/// Name of the file that says on which ref a memory is that was here.
pub const MOVED: &str = "MOVED";
/// The directory of the records on the current branch.
pub const DIR: &str = "memory";

/// A ledger in an open repository.
pub struct Ledger<'r> {
    repo: &'r Repo,
    git: &'r git2::Repository,
    name: String,
    /// Records are below `memory/` on HEAD; paths and trees are those below it everywhere but in a commit.
    in_tree: bool,
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
    /// The tree that has the records: the commit's own, or that of `memory/` in it; empty where there is none.
    pub tree: Oid,
}

/// A file to be added.
pub struct NewFile<'a> {
    pub path: String,
    pub text: &'a str,
}

/// A commit to be made.
pub struct NewCommit<'a> {
    pub base: Option<Tip>,
    pub files: &'a [NewFile<'a>],
    pub message: &'a str,
    /// A further parent: the history of a memory that moves here.
    pub also: Option<Oid>,
    /// Set for the commits of a migration, which alone may write to a ref that the memory has left.
    pub moves: bool,
    /// How long to wait for a git that is moving a checked-out branch right now.
    pub patience: Duration,
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
            in_tree: name == IN_TREE,
            scratch: repo.elf_dir().join("tmp"),
            flush: Flush::of(common),
            checked: RefCell::default(),
            torn: RefCell::default(),
            filters: filter::Filters::default(),
            signs: false,
        }
    }

    /// Names the records below `memory/` on a branch that is not the current one.
    pub fn in_branch(repo: &'r Repo, branch: &str) -> Self {
        Self { in_tree: true, ..Self::new(repo, branch) }
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

    /// Returns the name of a tree without entries, which needs no object.
    pub fn empty_tree(&self) -> Oid {
        repo::object_id(self.git, ObjectType::Tree, b"")
    }

    /// Reads where the ref points; `None` when there is no memory yet.
    ///
    /// # Errors
    /// When the ref, or the commit it names, cannot be read.
    pub fn tip(&self) -> Result<Option<Tip>> {
        self.tip_id()?.map(|commit| self.tip_at(commit)).transpose()
    }

    /// Reads where a commit has its records.
    ///
    /// # Errors
    /// When it cannot be read, or has something else in the place of `memory/`.
    pub fn tip_at(&self, commit: Oid) -> Result<Tip> {
        Ok(Tip { commit, tree: self.records_of(self.commit_at(commit)?.tree_id())? })
    }

    /// Finds the records' tree in a commit's tree.
    ///
    /// # Errors
    /// When `memory` is no directory there, or an object cannot be read.
    pub fn records_of(&self, root: Oid) -> Result<Oid> {
        if !self.in_tree {
            return Ok(root);
        }
        match self.tree_at(root)?.as_ref().and_then(|tree| tree.get_name(DIR)) {
            None => Ok(self.empty_tree()),
            Some(entry) if entry.kind() == Some(ObjectType::Tree) => Ok(entry.id()),
            Some(entry) => Err(Error::Refused {
                what: format!("{DIR} on the current branch is no directory (mode {:o})", entry.filemode()),
                hint: "move it out of the way, or keep the memory elsewhere: git config elf.ref refs/elf/memory".into(),
            }),
        }
    }

    /// Tells whether the records are below `memory/` on the current branch.
    pub fn is_in_tree(&self) -> bool {
        self.in_tree
    }

    /// Returns the path of a record's file in a commit.
    pub fn path_of(&self, record: &Record) -> String {
        self.prefixed(&self.place_of(record))
    }

    fn prefixed(&self, path: &str) -> String {
        if self.in_tree { format!("{DIR}/{path}") } else { path.to_owned() }
    }

    /// Returns the full name of the branch or ref that a commit moves; `None` when HEAD is detached.
    ///
    /// # Errors
    /// When HEAD cannot be read.
    pub fn branch(&self) -> Result<Option<String>> {
        if self.name != IN_TREE {
            return Ok(Some(self.name.clone()));
        }
        let head = self.git.find_reference("HEAD").doing(|| "read HEAD".into())?;
        Ok(head.symbolic_target().ok().flatten().map(str::to_owned))
    }

    /// Reads the commit that the ref names, without looking at the commit itself.
    ///
    /// # Errors
    /// When the ref cannot be read.
    pub fn tip_id(&self) -> Result<Option<Oid>> {
        refs::value_of(self.git, &self.name)
    }

    /// Lists what differs between two trees, equal subtrees skipped, in the order of paths; `None` stands for the empty tree.
    /// Only directories at the root whose name `wanted` accepts are looked into; strays at the root count when it accepts the
    /// empty name.
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

    /// Removes what a process of ours that died under the lock has left: temporary files, and the ref's lock when it is the
    /// same inode as one of them. Returns what was healed.
    pub fn heal(&self, _lock: &RepoLock<'_>) -> Vec<String> {
        let elsewhere = objects::other_disk(self.git);
        let locks = || self.locks();
        [&self.scratch, &elsewhere].into_iter().flat_map(|scratch| refs::heal(scratch, &locks)).collect()
    }

    /// Lists the locks of git that a commit takes.
    fn locks(&self) -> Vec<PathBuf> {
        let common = self.git.commondir();
        let mut locks = vec![common.join(format!("{}.lock", self.name))];
        for worktree in self.repo.worktrees() {
            locks.push(checkout::lock_of(&worktree.index()));
            locks.push(worktree.git_dir.join("HEAD.lock"));
            locks.extend(worktree.branch().map(|branch| common.join(format!("{branch}.lock"))));
        }
        locks
    }

    /// Adds files in one commit on `base` and moves the ref to it. When this returns [`Published::At`], all of it is durable.
    ///
    /// # Errors
    /// [`Error::RefLocked`] when somebody else held the ref's lock for a second; otherwise what the disk or libgit2 says. The
    /// ref has not moved, or its move is not known to be durable: either way the files must be offered again.
    pub fn commit(&self, _lock: &RepoLock<'_>, commit: &NewCommit<'_>, who: &Identity) -> Result<Published> {
        let NewCommit { base, message, .. } = *commit;
        self.refuse_foreign(base)?;
        if !commit.moves {
            self.refuse_moved(base)?;
        }
        let branch = self.branch()?;
        let checkouts = match &branch {
            Some(branch) if !branch.starts_with("refs/heads/") => None,
            branch => Some(Checkouts::of(self.repo, branch.as_deref(), &self.scratch, commit.patience)?),
        };
        let root = base.map(|tip| Ok::<_, Error>(self.commit_at(tip.commit)?.tree_id())).transpose()?;
        let parents: Vec<_> = base.map(|tip| tip.commit).into_iter().chain(commit.also).collect();
        let files = self.with_readme(base, commit.files)?;
        let mut batch = objects::build(self.git, root, &parents, &files, &self.filtered(&files)?, message, who)?;
        if self.signs {
            self.sign(&mut batch, &parents, message, who)?;
        }
        let place = objects::Place::new(self.git, &self.scratch)?;
        let value = refs::prepare_value(&self.scratch, batch.commit)?;
        prune::wait_until_over(self.repo, prune::PATIENCE)?;
        place.write(&batch, &value, self.flush)?;
        let name = branch.as_deref().unwrap_or("HEAD");
        let dir = if branch.is_some() { self.git.commondir() } else { self.git.path() };
        let edit = refs::Edit {
            git: self.git,
            dir,
            name,
            lock_path: dir.join(format!("{name}.lock")),
            old: base.map(|tip| tip.commit),
            new: batch.commit,
            who,
            message: message.lines().next().unwrap_or_default(),
            flush: self.flush,
        };
        let is_safe = || !prune::is_at_work(self.repo) && place.has_all(self.git, &batch);
        let moved = match &checkouts {
            None => edit.run(&value, &mut prune::Guarded { with: &mut refs::Nothing, is_safe: &is_safe })?,
            Some(checkouts) => {
                checkouts.place(&files)?;
                let moved = checkouts.keep_in_step(&batch.entries, |steps| {
                    edit.run(&value, &mut prune::Guarded { with: steps, is_safe: &is_safe })
                })?;
                if moved && branch.is_some() {
                    checkouts.append_reflogs(&edit.reflog_line());
                }
                moved
            }
        };
        if !moved {
            return Ok(Published::Moved);
        }
        if !is_safe() {
            prune::wait_until_over(self.repo, prune::PATIENCE_AFTER)?;
            place.write(&batch, &value, self.flush)?;
        }
        Ok(Published::At(Tip { commit: batch.commit, tree: self.records_of(batch.tree)? }))
    }

    /// Gives files their paths in a commit, and adds the constant README where there is none.
    fn with_readme<'f>(&self, base: Option<Tip>, files: &[NewFile<'f>]) -> Result<Vec<NewFile<'f>>> {
        let mut all: Vec<_> =
            files.iter().map(|file| NewFile { path: self.prefixed(&file.path), text: file.text }).collect();
        let is_new = match base {
            None => true,
            Some(tip) => self.in_tree && self.tree_at(tip.tree)?.is_none(),
        };
        if is_new {
            let text = if self.in_tree { README_IN_TREE } else { README };
            all.push(NewFile { path: self.prefixed("README.md"), text });
        }
        Ok(all)
    }

    /// Waits for a `git gc` that may yet remove what the ledger has only just got.
    ///
    /// # Errors
    /// [`Error::Deferred`] when it goes on.
    pub fn wait_for_gc(&self, _lock: &RepoLock<'_>) -> Result<()> {
        prune::wait_until_over(self.repo, prune::PATIENCE)
    }

    /// Brings a blob of the ledger to disk again whose object is torn; its text came from the spool.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn restore(&self, _lock: &RepoLock<'_>, text: &str) -> Result<()> {
        objects::Place::new(self.git, &self.scratch)?.restore(text.as_bytes(), self.flush)
    }

    /// Makes records of a commit durable that somebody else committed: git leaves loose objects unsynced.
    ///
    /// # Errors
    /// When an object cannot be read, or the disk refuses.
    pub fn make_durable(&self, lock: &RepoLock<'_>, tip: Tip, records: &[(Kind, Id)]) -> Result<()> {
        let mut oids = vec![tip.commit, self.commit_at(tip.commit)?.tree_id(), tip.tree];
        for (kind, id) in records {
            let mut tree = tip.tree;
            for name in Record::leaf(*kind, *id).split('/') {
                let here = self.tree_at(tree)?;
                let Some(entry) = here.as_ref().and_then(|here| here.get_name(name)) else { break };
                tree = entry.id();
                oids.push(tree);
            }
            oids.extend(self.files_at(tip.tree, *kind, *id)?.into_iter().map(|(_, blob)| blob));
        }
        oids.sort_unstable();
        oids.dedup();
        let mut files = Vec::new();
        for oid in oids {
            match File::open(self.loose_path(oid)) {
                Ok(file) => files.push(file),
                // In a pack, which git has synced.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).doing(|| format!("make {oid} durable")),
            }
        }
        let handles: Vec<_> = files.iter().collect();
        sys::flush_all(&handles, self.flush).doing(|| "make the objects of a commit durable".into())?;
        // A commit that is no longer on the branch needs no ref.
        if self.tip_id()? == Some(tip.commit) { self.sync_ref(lock) } else { Ok(()) }
    }

    /// Makes the present value of the ref durable, for records that were found in it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync_ref(&self, _lock: &RepoLock<'_>) -> Result<()> {
        let (dir, name) = match self.branch()? {
            Some(branch) => (self.git.commondir(), branch),
            None => (self.git.path(), IN_TREE.to_owned()),
        };
        refs::sync(dir, &name, self.flush)
    }

    /// Deletes the ref, if it still points to `tip`. git keeps the commits until it collects garbage.
    ///
    /// # Errors
    /// When the ref moved, a worktree has it checked out, or the disk refuses.
    pub fn delete(&self, _lock: &RepoLock<'_>, tip: Tip) -> Result<()> {
        if self.in_tree {
            return Err(Error::Refused {
                what: format!("this memory is the directory {DIR} of your branch"),
                hint: "remove it there, with git".into(),
            });
        }
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

    /// Refuses a ref that the memory has left.
    fn refuse_moved(&self, base: Option<Tip>) -> Result<()> {
        let Some(to) = base.map_or(Ok(None), |tip| self.moved_to(tip.tree))? else { return Ok(()) };
        Err(Error::Refused {
            what: format!("the memory has moved from {} to {to}", self.name),
            hint: format!("git elf init --ref {to} follows it; what waits is committed there"),
        })
    }

    /// Refuses a ref that holds something else than a memory, as a branch named by mistake, or by a stranger's `.elf.toml`.
    fn refuse_foreign(&self, base: Option<Tip>) -> Result<()> {
        // A directory of the branch is the user's, and hand-written files in it are welcome.
        let Some(tip) = base.filter(|_| !self.in_tree) else { return Ok(()) };
        let Some(tree) = self.tree_at(tip.tree)? else { return Ok(()) };
        let readme = repo::object_id(self.git, ObjectType::Blob, README.as_bytes());
        let is_ours = |entry: git2::TreeEntry<'_>| {
            entry.name().is_ok_and(|name| name == "README.md" || name == MOVED || Kind::of_dir(name).is_some())
        };
        if tree.get_name("README.md").is_some_and(|entry| entry.id() == readme) || tree.iter().all(is_ours) {
            return Ok(());
        }
        Err(Error::Refused {
            what: format!("{} holds files that are no memory of git-elf", self.name),
            hint: "choose another ref: git config elf.ref refs/elf/memory".into(),
        })
    }

    /// Refuses a branch that some worktree has checked out: its files and index would be left behind.
    fn refuse_checked_out(&self) -> Result<()> {
        let used = self.repo.worktrees().into_iter().find(|worktree| worktree.uses(&self.name));
        let Some(worktree) = used else { return Ok(()) };
        Err(Error::Refused {
            what: format!("{} is checked out in {}", self.name, worktree.root.display()),
            hint: "check another branch out there".into(),
        })
    }
}
