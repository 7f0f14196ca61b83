//! What of ours is in a repository, looked at and not changed.

use std::path::Path;

use super::{Form, Hook, Placed, Remote, RemoteState, State, files, git_config, is_wanted, program, sharing, standing};
use crate::error::Result;
use crate::repo::Repo;

/// What of ours is in a repository, as [`super::install`] and [`super::share`] would find it.
#[derive(Debug)]
pub struct Survey {
    /// Version of the git on the PATH; `None` when its answer could not be read.
    pub git: Option<(u32, u32)>,
    /// The oldest version of git that is supported.
    pub oldest_git: (u32, u32),
    /// Which form of hooks this git runs: in its configuration, or as files.
    pub form: Form,
    pub hooks: Vec<SeenHook>,
    /// The remotes, with the state that `share` would leave.
    pub remotes: Vec<Remote>,
    /// Something that only init puts in is, or was, there.
    pub is_initialised: bool,
}

/// A hook, and what else is known about its place.
#[derive(Debug)]
pub struct SeenHook {
    /// The state that `install` would leave: `Installed` says that the hook is missing, `Updated` that it differs.
    pub placed: Placed,
    /// A marker of ours is in the file that git runs.
    pub is_marked: bool,
    /// What became of it since init, when git does not reach it any more.
    pub lost: Option<String>,
    /// Files with a marker of ours that git does not run: of another directory, or renamed.
    pub strays: Vec<String>,
}

/// Looks for everything that init puts into a repository.
///
/// # Errors
/// When git cannot be asked.
pub fn survey(repo: &Repo, ledger_ref: &str) -> Result<Survey> {
    let git = git_config::git_version(repo)?;
    let form = if git_config::has_config_hooks(repo)? { Form::Config } else { Form::File };
    let mut hooks = Vec::new();
    for hook in Hook::ALL {
        if is_wanted(repo, hook)? {
            hooks.push(see(repo, hook, form)?);
        }
    }
    let remotes = sharing::inspect(repo, ledger_ref)?;
    let is_ours = |hook: &SeenHook| {
        hook.is_marked
            || !hook.strays.is_empty()
            || matches!(hook.placed.state, State::Kept(_) | State::Updated(_) | State::Called { .. })
    };
    let is_initialised = standing::is_remembered(repo)
        || hooks.iter().any(is_ours)
        || remotes.iter().any(|remote| remote.state == RemoteState::Kept)
        || sharing::has_selected(repo)?;
    Ok(Survey { git, oldest_git: git_config::OLDEST, form, hooks, remotes, is_initialised })
}

fn see(repo: &Repo, hook: Hook, form: Form) -> Result<SeenHook> {
    let program = program();
    let placed = if form == Form::Config {
        let (key, expected) = (hook.key("command"), hook.command(program.as_deref()));
        let command = git_config::values(repo, &key)?;
        let is_current = command == [expected] && git_config::values(repo, &hook.key("event"))? == [hook.name()];
        let state = match (command.is_empty(), is_current) {
            (true, _) => State::Installed(Form::Config),
            (_, true) => State::Kept(Form::Config),
            (_, false) => State::Updated(Form::Config),
        };
        Placed { hook, place: key, state }
    } else {
        files::inspect(repo, hook, program.as_deref())
    };
    let (marked, strays): (Vec<_>, Vec<_>) =
        files::traces(repo, hook).into_iter().partition(|path| path == Path::new(&placed.place));
    Ok(SeenHook {
        is_marked: !marked.is_empty(),
        lost: standing::lost_one(repo, hook),
        strays: strays.iter().map(|path| path.display().to_string()).collect(),
        placed,
    })
}
