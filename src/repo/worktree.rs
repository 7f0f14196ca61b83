//! The worktrees of a repository: where a branch is checked out, and what is under way there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Repo;

/// A worktree whose directory is there.
#[derive(Clone, Debug)]
pub struct Worktree {
    /// Where its HEAD and index are: `.git`, or `.git/worktrees/NAME`.
    pub git_dir: PathBuf,
    /// Where its files are.
    pub root: PathBuf,
}

/// What git leaves in a git directory while an operation waits for its user, and what to call it (git's wt-status.c,
/// `wt_status_get_state`).
const OPERATIONS: [(&str, &str); 7] = [
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase or am"),
    ("MERGE_HEAD", "a merge"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("sequencer", "a cherry-pick or revert"),
    ("BISECT_START", "a bisect"),
];

impl Repo {
    /// Lists the worktrees whose directories are there, the main one first; a bare repository has no main one.
    pub fn worktrees(&self) -> Vec<Worktree> {
        let common = self.common_dir();
        let main = if self.git().is_worktree() { git2::Repository::open(common).ok() } else { None };
        let main = main.as_ref().unwrap_or(self.git());
        let main = main.workdir().map(|root| Worktree { git_dir: common.to_owned(), root: root.to_owned() });
        let linked = fs::read_dir(common.join("worktrees")).into_iter().flatten().flatten();
        let linked = linked.filter_map(|entry| {
            let git_dir = entry.path();
            // `<root>/.git`, absolute or relative to this directory (gitrepository-layout(5)).
            let link = fs::read(git_dir.join("gitdir")).ok()?;
            let root = git_dir.join(OsStr::from_bytes(link.trim_ascii_end())).parent()?.to_owned();
            Some(Worktree { git_dir, root })
        });
        main.into_iter().chain(linked).filter(|worktree| worktree.root.is_dir()).collect()
    }

    /// Returns the worktree that we are in; `None` in a bare repository.
    pub fn worktree(&self) -> Option<Worktree> {
        Some(Worktree { git_dir: self.git().path().to_owned(), root: self.workdir()?.to_owned() })
    }
}

impl Worktree {
    /// Returns the full name of the branch that HEAD names, born or not.
    pub fn branch(&self) -> Option<String> {
        let head = fs::read_to_string(self.git_dir.join("HEAD")).ok()?;
        Some(head.strip_prefix("ref:")?.trim().to_owned())
    }

    /// Tells whether moving a branch concerns this worktree: it is checked out here, or is being rebased or bisected.
    pub fn uses(&self, branch: &str) -> bool {
        let says =
            |file: &str, name: &str| fs::read_to_string(self.git_dir.join(file)).is_ok_and(|text| text.trim() == name);
        self.branch().as_deref() == Some(branch)
            || says("rebase-merge/head-name", branch)
            || says("rebase-apply/head-name", branch)
            || says("BISECT_START", branch.strip_prefix("refs/heads/").unwrap_or(branch))
    }

    /// Says what waits here for its user, as "a rebase"; `None` when nothing does.
    pub fn operation(&self) -> Option<&'static str> {
        OPERATIONS.iter().find(|(file, _)| self.git_dir.join(file).exists()).map(|(_, name)| *name)
    }

    /// Returns the index that git reads here, behind a link if it is one.
    pub fn index(&self) -> PathBuf {
        let index = self.git_dir.join("index");
        fs::canonicalize(&index).unwrap_or(index)
    }

    /// Tells whether a message was opened in an editor since HEAD last moved: somebody may be writing a commit.
    pub fn has_open_message(&self) -> bool {
        let time = |file: &str| fs::metadata(self.git_dir.join(file)).and_then(|meta| meta.modified()).ok();
        time("COMMIT_EDITMSG").is_some_and(|message| time("logs/HEAD").is_none_or(|moved| message > moved))
    }

    /// Tells whether a path is this worktree's git directory.
    pub fn is_at(&self, git_dir: &Path) -> bool {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        real(&self.git_dir) == real(git_dir)
    }
}
