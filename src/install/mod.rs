//! Hooks and git configuration: put in, found again, taken out exactly.
//!
//! A hook of ours has one of two forms, never both. From git 2.54 on it is named in the repository's configuration
//! (`hook.elf-post-commit.command`); before, it is a file of its own in the hooks directory, or a marked block in a sh hook
//! that is there already. Where neither is safe nothing is touched, and what to add by hand is returned.
//! Both forms start the binary that installed them, else the one on the PATH, and succeed without either.
//!
//! Doing any of it twice changes nothing, and [`uninstall`] takes out what [`install`] put in, to the byte.
//!
//! [`install`]: crate::install::install
//! [`uninstall`]: crate::install::uninstall

mod agents;
mod block;
mod files;
mod git_config;
mod guide;
mod json_text;
mod owner;
mod settings;
mod sharing;
mod standing;
mod survey;

pub use agents::{AgentFile, AgentState, Agents, Plan as AgentPlan, plan_agents, remove_agents};
pub use owner::Edit;
pub use sharing::{Remote, RemoteState, tracking_ref};
pub use standing::lost;
pub use survey::{SeenHook, Survey, survey};

use crate::error::{Error, Result};
use crate::repo::Repo;

/// A hook that git-elf uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    PostCommit,
    PrePush,
    /// Only where somebody has asked for it.
    PreCommit,
}

/// Where a hook of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `hook.elf-….command` in the repository's configuration.
    Config,
    /// A file that is ours alone.
    File,
    /// A marked block in somebody else's hook.
    Block,
}

/// What became of a hook.
#[derive(Debug)]
pub enum State {
    Installed(Form),
    /// It was there, with another text.
    Updated(Form),
    /// It was there, byte for byte.
    Kept(Form),
    /// Our text, and nothing else, was taken out.
    Removed(Form),
    /// There was nothing of ours.
    Absent,
    /// Somebody starts us from a line of their own; it was left alone.
    Called {
        file: String,
    },
    /// Nothing was touched; somebody has to add the text by hand, where there is a place for it.
    Refused {
        why: String,
        edit: Option<Edit>,
    },
    /// The machine refused.
    Failed(Error),
}

/// A hook, its place, and what became of it.
#[derive(Debug)]
pub struct Placed {
    pub hook: Hook,
    /// A path, or the name of a configuration key.
    pub place: String,
    pub state: State,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PostCommit, Self::PrePush, Self::PreCommit];

    /// Tells whether init puts it in without being asked.
    pub fn is_usual(self) -> bool {
        self != Self::PreCommit
    }

    /// Returns git's name of the hook.
    pub fn name(self) -> &'static str {
        match self {
            Self::PostCommit => "post-commit",
            Self::PrePush => "pre-push",
            Self::PreCommit => "pre-commit",
        }
    }

    /// Returns the block with a placeholder for our binary.
    fn template(self) -> &'static str {
        match self {
            Self::PostCommit => include_str!("../../hooks/post-commit"),
            Self::PrePush => include_str!("../../hooks/pre-push"),
            Self::PreCommit => include_str!("../../hooks/pre-commit"),
        }
    }

    fn key(self, variable: &str) -> String {
        format!("hook.elf-{}.{variable}", self.name())
    }

    /// Returns the command of the configuration's form: git appends `"$@"`, so it ends in the call of a function. Only
    /// status 1 is a verdict; a binary that cannot run must not stop anybody.
    fn command(self, program: Option<&str>) -> String {
        let program = program.map_or_else(|| "''".to_owned(), block::quoted);
        let name = self.name();
        format!(
            "elf() {{ p={program}; test -x \"$p\" || p=$(command -v git-elf) || return 0; \"$p\" hook {name} \"$@\"; test $? -ne 1; }}; elf"
        )
    }
}

impl Form {
    /// Returns the word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::File => "file",
            Self::Block => "block",
        }
    }
}

/// Installs the usual hooks, and those that were asked for now or before, in the form that the git on the PATH runs, and takes out
/// the other form.
///
/// # Errors
/// When git cannot be asked. What is wrong with one hook is part of the result.
pub fn install(repo: &Repo, asked: &[Hook]) -> Result<Vec<Placed>> {
    let mut hooks = Vec::new();
    for hook in Hook::ALL {
        if asked.contains(&hook) || is_wanted(repo, hook)? {
            hooks.push(hook);
        }
    }
    let placed = put_in(repo, &hooks)?;
    // The hooks are in place without it; only who asks later whether they still are needs it.
    let _ = standing::remember(repo, &placed);
    Ok(placed)
}

/// Tells whether a hook is to be there: a usual one, or one that somebody has asked for.
fn is_wanted(repo: &Repo, hook: Hook) -> Result<bool> {
    Ok(hook.is_usual()
        || standing::knows(repo, hook)
        || !files::traces(repo, hook).is_empty()
        || !git_config::values(repo, &hook.key("command"))?.is_empty())
}

fn put_in(repo: &Repo, hooks: &[Hook]) -> Result<Vec<Placed>> {
    let program = program();
    if !git_config::has_config_hooks(repo)? {
        for hook in hooks {
            remove_config(repo, *hook)?;
        }
        return Ok(hooks.iter().map(|hook| files::install(repo, *hook, program.as_deref())).collect());
    }
    let one = |hook: Hook| {
        let state = install_config(repo, hook, program.as_deref()).and_then(|state| {
            // Only when the new form is in place: a hook that runs twice is better than one that does not run.
            let removed = files::uninstall(repo, hook);
            let failed = removed.into_iter().find_map(|placed| match placed.state {
                State::Failed(error) => Some(error),
                _ => None,
            });
            failed.map_or(Ok(state), Err)
        });
        Placed { hook, place: hook.key("command"), state: state.unwrap_or_else(State::Failed) }
    };
    Ok(hooks.iter().copied().map(one).collect())
}

/// Takes all hooks out, in whatever form they are there.
///
/// # Errors
/// When git cannot be asked. What is wrong with one hook is part of the result.
pub fn uninstall(repo: &Repo) -> Result<Vec<Placed>> {
    let mut placed = Vec::new();
    for hook in Hook::ALL {
        if remove_config(repo, hook)? {
            placed.push(Placed { hook, place: hook.key("command"), state: State::Removed(Form::Config) });
        }
        placed.extend(files::uninstall(repo, hook));
    }
    standing::forget(repo);
    Ok(placed)
}

/// Adds the fetch refspec of the memory to every remote.
///
/// # Errors
/// When git's configuration cannot be changed.
pub fn share(repo: &Repo, ledger_ref: &str) -> Result<Vec<Remote>> {
    sharing::install(repo, ledger_ref)
}

/// Removes our fetch refspecs and says which.
///
/// # Errors
/// When git's configuration cannot be changed.
pub fn unshare(repo: &Repo) -> Result<Vec<Remote>> {
    sharing::uninstall(repo)
}

/// Sets `elf.ref`; `false` when it had that value.
///
/// # Errors
/// When git's configuration cannot be changed.
pub fn select_ref(repo: &Repo, name: &str) -> Result<bool> {
    sharing::select_ref(repo, name)
}

/// Unsets `elf.ref` if it has the value that [`select_ref`] gave it, which is returned.
///
/// # Errors
/// When git's configuration cannot be changed.
pub fn unselect_ref(repo: &Repo) -> Result<Option<String>> {
    sharing::unselect_ref(repo)
}

fn install_config(repo: &Repo, hook: Hook, program: Option<&str>) -> Result<State> {
    let was_there = !git_config::values(repo, &hook.key("command"))?.is_empty();
    // The event comes last: a command without an event is inert, an event without a command is an error to git.
    let command = git_config::set(repo, &hook.key("command"), &hook.command(program))?;
    let event = git_config::set(repo, &hook.key("event"), hook.name())?;
    Ok(match (was_there, command || event) {
        (_, false) => State::Kept(Form::Config),
        (true, true) => State::Updated(Form::Config),
        (false, true) => State::Installed(Form::Config),
    })
}

fn remove_config(repo: &Repo, hook: Hook) -> Result<bool> {
    let event = git_config::unset(repo, &hook.key("event"))?;
    let command = git_config::unset(repo, &hook.key("command"))?;
    Ok(event || command)
}

/// Returns the path of the running binary, where a hook can name it.
fn program() -> Option<String> {
    let path = std::env::current_exe().ok()?.into_os_string().into_string().ok()?;
    (!path.chars().any(char::is_control)).then_some(path)
}
