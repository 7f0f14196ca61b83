//! What git itself has to know to fetch a memory: one fetch refspec for each remote, and the ledger's ref.
//!
//! The refspec is a glob, because with an exact one plain `git fetch` fails as long as the remote has no memory. There is
//! never a push refspec: it would change what plain `git push` sends. Tracking refs stand apart from the local ref, so no
//! fetch can overwrite it.

use super::git_config;
use crate::error::{Doing, Result};
use crate::repo::Repo;

/// The ref that `git elf init --ref` set, so that uninstall knows its own value from the user's.
const INIT_REF: &str = "elf.initRef";
/// Why a remote that would overwrite the ledger is left alone.
const OVERWRITES: &str = "it fetches over the memory itself; exclude it: fetch = ^refs/elf/*";

/// What was done about one remote.
#[derive(Debug)]
pub struct Remote {
    pub name: String,
    pub refspec: String,
    pub state: RemoteState,
}

/// How a remote was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteState {
    Added,
    Kept,
    /// It fetches over every ref, the ledger's included, or it fetches nothing by itself.
    Skipped(&'static str),
}

/// Names the ref that says what a remote's memory was when it was last seen.
pub fn tracking_ref(ledger_ref: &str, remote: &str) -> String {
    match (ledger_ref.strip_prefix("refs/elf/"), ledger_ref.strip_prefix("refs/heads/")) {
        (Some(name), _) => format!("refs/elf/remotes/{remote}/{name}"),
        (_, Some(name)) => format!("refs/remotes/{remote}/{name}"),
        _ => format!("refs/elf/remotes/{remote}/memory"),
    }
}

impl Remote {
    /// Tells whether a plain fetch from it replaces the ledger.
    pub fn overwrites(&self) -> bool {
        self.state == RemoteState::Skipped(OVERWRITES)
    }
}

/// Says what [`install`] would do, and changes nothing. A ledger on a branch needs no refspec.
pub(super) fn inspect(repo: &Repo, ledger_ref: &str) -> Result<Vec<Remote>> {
    if !ledger_ref.starts_with("refs/elf/") {
        return Ok(Vec::new());
    }
    let one = |name: String| {
        let refspec = format!("+{ledger_ref}*:{}*", tracking_ref(ledger_ref, &name));
        let present = git_config::values(repo, &fetch_key(&name))?;
        let state = if present.is_empty() {
            RemoteState::Skipped("it has no fetch refspec of its own")
        } else if present.iter().any(|known| excludes(known, ledger_ref)) {
            RemoteState::Skipped("the memory is excluded from what it fetches")
        } else if present.iter().any(|known| covers(known, ledger_ref)) {
            RemoteState::Skipped(OVERWRITES)
        } else if present.contains(&refspec) {
            RemoteState::Kept
        } else {
            RemoteState::Added
        };
        Ok(Remote { name, refspec, state })
    };
    remotes(repo)?.into_iter().map(one).collect()
}

/// Adds the refspec to every remote.
pub(super) fn install(repo: &Repo, ledger_ref: &str) -> Result<Vec<Remote>> {
    let remotes = inspect(repo, ledger_ref)?;
    for remote in remotes.iter().filter(|remote| remote.state == RemoteState::Added) {
        git_config::add(repo, &fetch_key(&remote.name), &remote.refspec)?;
    }
    Ok(remotes)
}

/// Tells whether init has selected a ref here.
pub(super) fn has_selected(repo: &Repo) -> Result<bool> {
    Ok(!git_config::values(repo, INIT_REF)?.is_empty())
}

/// Removes our refspecs, of whatever ref below `refs/elf/`, and says which.
pub(super) fn uninstall(repo: &Repo) -> Result<Vec<Remote>> {
    let mut removed = Vec::new();
    for name in remotes(repo)? {
        let key = fetch_key(&name);
        for refspec in git_config::values(repo, &key)? {
            if is_ours(&refspec, &name) && git_config::remove(repo, &key, &refspec)? {
                removed.push(Remote { name: name.clone(), refspec, state: RemoteState::Added });
            }
        }
    }
    Ok(removed)
}

/// Sets `elf.ref`, and remembers that it was us.
pub(super) fn select_ref(repo: &Repo, name: &str) -> Result<bool> {
    let changed = git_config::set(repo, "elf.ref", name)?;
    if changed {
        git_config::set(repo, INIT_REF, name)?;
    }
    Ok(changed)
}

/// Unsets `elf.ref` when it still has the value that init gave it.
pub(super) fn unselect_ref(repo: &Repo) -> Result<Option<String>> {
    let ours = git_config::values(repo, INIT_REF)?;
    let Some(name) = ours.last() else { return Ok(None) };
    let is_ours = git_config::values(repo, "elf.ref")? == [name.as_str()];
    git_config::unset(repo, INIT_REF)?;
    Ok((is_ours && git_config::unset(repo, "elf.ref")?).then(|| name.clone()))
}

fn remotes(repo: &Repo) -> Result<Vec<String>> {
    let names = repo.git().remotes().doing(|| "list the remotes".into())?;
    Ok(names.iter().filter_map(|name| name.ok().flatten().map(str::to_owned)).collect())
}

fn fetch_key(remote: &str) -> String {
    format!("remote.{remote}.fetch")
}

fn is_ours(refspec: &str, remote: &str) -> bool {
    let Some((name, _)) = refspec.strip_prefix('+').and_then(|rest| rest.split_once("*:")) else { return false };
    name.starts_with("refs/elf/") && refspec == format!("+{name}*:{}*", tracking_ref(name, remote))
}

/// Tells whether a fetch refspec writes to the ledger's ref, as in a `clone --mirror`.
fn covers(refspec: &str, ledger_ref: &str) -> bool {
    refspec.split_once(':').is_some_and(|(_, target)| matches(target, ledger_ref))
}

/// Tells whether a negative refspec keeps the ledger's ref out of a fetch.
fn excludes(refspec: &str, ledger_ref: &str) -> bool {
    refspec.strip_prefix('^').is_some_and(|pattern| matches(pattern, ledger_ref))
}

/// Matches a name with a pattern of at most one `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_refspec_is_known_and_no_other() {
        assert!(is_ours("+refs/elf/memory*:refs/elf/remotes/origin/memory*", "origin"));
        assert!(is_ours("+refs/elf/a/b*:refs/elf/remotes/o/a/b*", "o"));
        for other in [
            "+refs/elf/memory:refs/elf/remotes/origin/memory",
            "refs/elf/memory*:refs/elf/remotes/origin/memory*",
            "+refs/elf/memory*:refs/elf/remotes/other/memory*",
            "+refs/heads/*:refs/remotes/origin/*",
        ] {
            assert!(!is_ours(other, "origin"), "{other}");
        }
        assert!(covers("+refs/*:refs/*", "refs/elf/memory"));
        assert!(!covers("+refs/elf/memory*:refs/elf/remotes/origin/memory*", "refs/elf/memory"));
        assert!(!covers("^refs/elf/*", "refs/elf/memory"));
        assert!(excludes("^refs/elf/*", "refs/elf/memory") && excludes("^refs/elf/memory", "refs/elf/memory"));
        assert!(!excludes("^refs/heads/*", "refs/elf/memory") && !excludes("refs/elf/*", "refs/elf/memory"));
    }
}
