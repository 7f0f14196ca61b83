//! The main line: the branch that others build on, as far as this clone knows.

use git2::Oid;

use super::{Repo, Settings};
use crate::error::Result;

/// The branch that is merged into, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MainLine {
    /// Its short name; `None` when no branch can be told to be it.
    pub branch: Option<String>,
    /// The local branch and the remote's, as far as they exist; sorted, each once.
    pub tips: Vec<Oid>,
}

impl Repo {
    /// Finds the main line: the branch that is `configured`; else the one that the remote's HEAD names; else the first that exists
    /// of `init.defaultBranch`, `main` and `master`. The remote is `origin`, or the only one.
    ///
    /// What is on the local branch counts, and what is on that of the remote it follows: where several worktrees share a
    /// clone, a branch is merged before it is pushed.
    ///
    /// # Errors
    /// When git's configuration cannot be read.
    pub fn main_line(&self, configured: Option<&str>) -> Result<MainLine> {
        let settings = self.settings()?;
        let remote = self.main_remote();
        let head = || {
            let remote = remote.as_ref()?;
            let head = self.git.find_reference(&format!("refs/remotes/{remote}/HEAD")).ok()?;
            let target = head.symbolic_target().ok()??.to_owned();
            target.strip_prefix(&format!("refs/remotes/{remote}/")).map(str::to_owned)
        };
        let usual = || {
            let names = settings.get("init.defaultBranch").into_iter().chain(["main".into(), "master".into()]);
            names.into_iter().find(|name| !self.tips_of(&settings, name, remote.as_deref()).is_empty())
        };
        let branch = configured.map(str::to_owned).or_else(head).or_else(usual);
        let tips = branch.as_deref().map(|name| self.tips_of(&settings, name, remote.as_deref())).unwrap_or_default();
        Ok(MainLine { branch, tips })
    }

    /// Tells whether a branch is here, or was when the remote was last asked.
    pub fn has_branch(&self, name: &str) -> bool {
        let remotes = self.git.remotes().ok();
        let remotes = remotes.iter().flatten().filter_map(|name| name.ok().flatten());
        let exists = |name: String| self.git.refname_to_id(&name).is_ok();
        exists(format!("refs/heads/{name}"))
            || remotes.into_iter().any(|remote| exists(format!("refs/remotes/{remote}/{name}")))
    }

    fn main_remote(&self) -> Option<String> {
        let names = self.git.remotes().ok()?;
        let names: Vec<_> = names.iter().filter_map(|name| name.ok().flatten()).collect();
        let origin = names.iter().find(|name| **name == "origin");
        origin.or(names.first().filter(|_| names.len() == 1)).map(|name| (*name).to_owned())
    }

    fn tips_of(&self, settings: &Settings, branch: &str, remote: Option<&str>) -> Vec<Oid> {
        let followed = settings.get_of("branch", branch, "remote").filter(|name| name != ".");
        let remote = followed.as_deref().or(remote);
        let names =
            [Some(format!("refs/heads/{branch}")), remote.map(|remote| format!("refs/remotes/{remote}/{branch}"))];
        let commit = |name: String| {
            let reference = self.git.find_reference(&name).ok()?;
            reference.peel_to_commit().ok().map(|commit| commit.id())
        };
        let mut tips: Vec<_> = names.into_iter().flatten().filter_map(commit).collect();
        tips.sort_unstable();
        tips.dedup();
        tips
    }
}
