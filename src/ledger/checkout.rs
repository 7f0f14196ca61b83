//! Keeping worktrees in step that have the ledger's branch checked out.
//!
//! The commit is built from the branch's tree, so nothing that the user has staged can get into it; and the user's index gets our
//! entries and nothing else. Protocol, between the flush of the objects and the move of the ref:
//!
//! 1. Nothing is done while a rebase, merge, cherry-pick, revert or bisect waits there, or while a commit is being written: its
//!    end would meet a branch that moved. The records wait too.
//! 2. The files are put into the working tree, below a handle that follows no link; what is there already stays as it is.
//! 3. The index is copied, and git puts our entries into the copy (`git update-index --index-info`), so that whatever
//!    extensions it has survive.
//! 4. Under the ref's lock, `index.lock` is taken, and the index compared with what was copied; when git changed it meanwhile, step
//!    3 again.
//! 5. The copy is renamed onto the index, then the ref is moved. A kill in between leaves our record staged, which harms
//!    nobody; in the other order it would leave it staged for deletion.
//! 6. `index.lock` is removed, before the ref is flushed. It is a second name of a file of ours, so that the next holder knows it after a kill.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use git2::Oid;

use super::NewFile;
use super::refs::Beside;
use crate::error::{Doing, Error, Result};
use crate::fault;
use crate::lock;
use crate::repo::{Repo, Worktree};
use crate::sys::{self, Beneath, Flush, Prepared};

/// How often an index that git keeps changing is copied; the last time its lock is taken first.
const ATTEMPTS: u32 = 4;
/// How long somebody else may hold `index.lock`.
const PATIENCE: Duration = Duration::from_secs(1);

/// The worktrees that a move of the branch concerns.
pub(super) struct Checkouts {
    worktrees: Vec<Worktree>,
    /// Where temporary files go; only the holder of the lock writes there.
    scratch: PathBuf,
    deadline: Instant,
}

impl Checkouts {
    /// Finds the worktrees that have `branch` checked out; that which we are in when HEAD is detached and `branch` is `None`.
    ///
    /// # Errors
    /// [`Error::Deferred`] when something is under way in one of them, or git is moving a branch there for longer than
    /// `patience`.
    pub fn of(repo: &Repo, branch: Option<&str>, scratch: &Path, patience: Duration) -> Result<Self> {
        let worktrees: Vec<_> = match branch {
            Some(branch) => repo.worktrees().into_iter().filter(|worktree| worktree.uses(branch)).collect(),
            None => repo.worktree().into_iter().collect(),
        };
        for worktree in &worktrees {
            if let Some(what) = worktree.operation() {
                return Err(Error::Deferred { what: format!("{what} is under way in {}", worktree.root.display()) });
            }
        }
        let checkouts = Self { worktrees, scratch: scratch.to_owned(), deadline: Instant::now() + patience };
        checkouts.wait_for_git()?;
        Ok(checkouts)
    }

    /// Waits for a commit, rebase or checkout that runs there: it would fail if the branch moved now.
    fn wait_for_git(&self) -> Result<()> {
        for worktree in &self.worktrees {
            while let Some(who) = lock::mover_at(worktree) {
                if Instant::now() >= self.deadline {
                    return Err(Error::Deferred { what: format!("{who} is at work in {}", worktree.root.display()) });
                }
                std::thread::sleep(Duration::from_millis(fastrand::u64(5..50)));
            }
        }
        Ok(())
    }

    /// Puts files into the working trees.
    pub fn place(&self, files: &[NewFile<'_>]) -> Result<()> {
        self.worktrees.iter().try_for_each(|worktree| place(&worktree.root, files, &self.scratch))
    }

    /// Puts `entries` into the indexes and runs `moves`, which moves the ref with the steps that it is given.
    pub fn keep_in_step(
        &self,
        entries: &[(String, Oid)],
        moves: impl Fn(&mut dyn Beside) -> Result<bool>,
    ) -> Result<bool> {
        for attempt in 1..=ATTEMPTS {
            let locks = if attempt == ATTEMPTS { self.lock_all()? } else { Vec::new() };
            let staged = self.worktrees.iter().map(|worktree| Staged::new(worktree, entries, &self.scratch));
            let staged = staged.collect::<Result<Vec<_>>>()?;
            fault!("index-copied");
            self.wait_for_git()?;
            let mut steps = Steps { checkouts: self, staged, locks, is_stale: false };
            let moved = moves(&mut steps)?;
            if !steps.is_stale {
                return Ok(moved);
            }
        }
        Err(Error::Deferred { what: "git keeps changing the index".into() })
    }

    /// Appends to HEAD's reflogs what git would.
    pub fn append_reflogs(&self, line: &str) {
        for worktree in &self.worktrees {
            let log = worktree.git_dir.join("logs/HEAD");
            // The ref has moved; HEAD's log is for people. Where there is none git keeps none.
            if log.is_file() {
                let _ = sys::append(&log, line.as_bytes());
            }
        }
    }

    fn lock_all(&self) -> Result<Vec<IndexLock>> {
        self.worktrees.iter().map(|worktree| IndexLock::take(worktree, &self.scratch)).collect()
    }
}

/// Steps 4 to 6. Other git commands fail while `index.lock` is there, so it is there for a few system calls only.
struct Steps<'a> {
    checkouts: &'a Checkouts,
    staged: Vec<Staged>,
    locks: Vec<IndexLock>,
    /// Set when an index was no longer what was copied.
    is_stale: bool,
}

impl Beside for Steps<'_> {
    fn before(&mut self) -> Result<bool> {
        if self.locks.is_empty() {
            self.locks = self.checkouts.lock_all()?;
        }
        fault!("index-locked");
        self.is_stale = !self.staged.iter().all(Staged::is_current);
        if !self.is_stale {
            self.staged.iter_mut().try_for_each(Staged::swap)?;
        }
        Ok(!self.is_stale)
    }

    fn after(&mut self) {
        self.locks.clear();
    }
}

/// Puts files into a working tree, whole and durable, without following a link; what is there already stays.
///
/// Temporary files go to `scratch`.
///
/// # Errors
/// [`Error::Refused`] naming the link or file that is in the way, and whatever the disk says.
pub fn place(root: &Path, files: &[NewFile<'_>], scratch: &Path) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let top = Beneath::open(root).doing(|| format!("open {}", root.display()))?;
    let mut placed = Vec::new();
    for file in files {
        let doing = || format!("write {}", root.join(&file.path).display());
        let path = Path::new(&file.path);
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().expect("a record's path ends in a name");
        let dir = match top.make(parent) {
            Ok(dir) => dir,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => {
                return Err(Error::Refused {
                    what: format!("{} leads through a link or a file in {}", file.path, root.display()),
                    hint: "records are kept in plain directories: move what is in the way".into(),
                });
            }
            Err(error) => return Err(error).doing(doing),
        };
        if dir.look(name).doing(doing)?.is_some() {
            continue;
        }
        let prepared = sys::prepare(scratch, ".tmp-", file.text.as_bytes(), 0o666).doing(doing)?;
        placed.push((dir, name, prepared, file.text));
    }
    let handles: Vec<_> = placed.iter().map(|(_, _, prepared, _)| prepared.file()).collect();
    sys::flush_all(&handles, Flush::of(root)).doing(|| "make the files of the working tree durable".into())?;
    for (dir, name, prepared, text) in &placed {
        match dir.put(name, prepared, text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => done.doing(|| format!("write {}", name.display()))?,
        }
    }
    Ok(())
}

/// git's lock on an index; removed on drop.
struct IndexLock {
    path: PathBuf,
    _file: Prepared,
}

impl IndexLock {
    fn take(worktree: &Worktree, scratch: &Path) -> Result<Self> {
        let path = lock_of(&worktree.index());
        let file = sys::prepare(scratch, "index-lock-", b"", 0o666).doing(|| "prepare the index's lock".into())?;
        let start = Instant::now();
        loop {
            match file.link_to(&path) {
                Ok(()) => return Ok(Self { path, _file: file }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if start.elapsed() >= PATIENCE {
                        return Err(Error::Deferred { what: format!("{} is taken", path.display()) });
                    }
                    std::thread::sleep(Duration::from_millis(fastrand::u64(1..20)));
                }
                Err(error) => return Err(error).doing(|| format!("create {}", path.display())),
            }
        }
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        let _ = sys::unlink(&self.path);
    }
}

/// Returns the name of git's lock on an index.
pub(super) fn lock_of(index: &Path) -> PathBuf {
    let mut path = index.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// A copy of an index with our entries in it.
struct Staged {
    index: PathBuf,
    copy: PathBuf,
    seen: Option<sys::Identity>,
    swapped: bool,
}

impl Staged {
    fn new(worktree: &Worktree, entries: &[(String, Oid)], scratch: &Path) -> Result<Self> {
        let index = worktree.index();
        let copy = scratch.join(format!("index-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        let seen = sys::identity(&index);
        let staged = Self { index, copy, seen, swapped: false };
        if staged.seen.is_some() {
            fs::copy(&staged.index, &staged.copy).doing(|| format!("copy {}", staged.index.display()))?;
        }
        staged.put(worktree, entries)?;
        Ok(staged)
    }

    fn put(&self, worktree: &Worktree, entries: &[(String, Oid)]) -> Result<()> {
        let mut lines = Vec::new();
        let mut paths = Vec::new();
        for (path, oid) in entries {
            lines.extend_from_slice(format!("100644 {oid} 0\t{path}\0").as_bytes());
            paths.extend_from_slice(format!("{path}\0").as_bytes());
        }
        self.git(worktree, &["update-index", "-z", "--index-info"], &lines)?;
        // With the files' times in it, commands that look at times alone see no change. Not every path is wanted there
        // (sparse checkouts), and the entries are right without.
        let refresh = ["add", "--refresh", "--pathspec-from-file=-", "--pathspec-file-nul"];
        let _ = self.git(worktree, &refresh, &paths);
        Ok(())
    }

    /// Runs git on the copy, without the user's hooks.
    fn git(&self, worktree: &Worktree, args: &[&str], input: &[u8]) -> Result<()> {
        let doing = || format!("put records into a copy of {}", self.index.display());
        let mut git = Command::new("git");
        for variable in ["GIT_PREFIX", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_INDEX_VERSION"] {
            git.env_remove(variable);
        }
        git.current_dir(&worktree.root)
            .arg("--git-dir")
            .arg(fs::canonicalize(&worktree.git_dir).doing(doing)?)
            .arg("--work-tree=.")
            .args(["--literal-pathspecs", "-c", "core.hooksPath=/dev/null"])
            .args(args)
            .env("GIT_INDEX_FILE", fs::canonicalize(&self.copy).unwrap_or_else(|_| self.copy.clone()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = git.spawn().doing(doing)?;
        let sent = child.stdin.take().expect("stdin is a pipe").write_all(input);
        let output = child.wait_with_output().doing(doing)?;
        if output.status.success() {
            return sent.doing(doing);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Refused { what: format!("cannot {}: {said}", doing()), hint: "git status says more".into() })
    }

    fn is_current(&self) -> bool {
        sys::identity(&self.index) == self.seen
    }

    fn swap(&mut self) -> Result<()> {
        sys::rename(&self.copy, &self.index).doing(|| format!("update {}", self.index.display()))?;
        self.swapped = true;
        fault!("index-swapped");
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.swapped {
            let _ = sys::unlink(&self.copy);
        }
    }
}
