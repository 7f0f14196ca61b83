//! git, its hooks, the ledger's ref, the remotes, and who the user is.

use super::{Finding, Level};
use crate::config;
use crate::error::Error;
use crate::install::{Edit, Form, RemoteState, SeenHook, State, Survey, survey};
use crate::store::Store;

const INIT: &str = "git elf init";

pub(super) fn findings(store: &Store) -> Vec<Finding> {
    let mut findings = Vec::new();
    match survey(store.repo(), &store.config().ledger_ref) {
        Ok(survey) => {
            findings.push(git(&survey));
            findings.extend(hooks(&survey));
            findings.extend(remotes(&survey));
        }
        Err(error @ Error::Io { .. }) => {
            let next = "make sure that git is on the PATH";
            findings.push(Finding::new(Level::Problem, "git", error.to_string(), next));
        }
        Err(error) => findings.push(Finding::failed("git", &error)),
    }
    findings.push(ledger_ref(store));
    findings.push(match store.repo().identity() {
        Ok(identity) => Finding::ok("identity", format!("records are by {identity}")),
        Err(error) => Finding::failed("identity", &error),
    });
    findings
}

fn git(survey: &Survey) -> Finding {
    let form = match survey.form {
        Form::Config => "runs hooks from its configuration",
        Form::File | Form::Block => "runs hooks from files",
    };
    let (major, minor) = survey.oldest_git;
    match survey.git {
        None => Finding::new(
            Level::Warn,
            "git",
            "the git on the PATH does not say its version",
            format!("make sure that git {major}.{minor} or later comes first on the PATH"),
        ),
        Some((a, b)) if (a, b) < survey.oldest_git => Finding::new(
            Level::Problem,
            "git",
            format!("git {a}.{b} is older than {major}.{minor}"),
            format!("install git {major}.{minor} or later"),
        ),
        Some((a, b)) => Finding::ok("git", format!("git {a}.{b} {form}")),
    }
}

fn hooks(survey: &Survey) -> Vec<Finding> {
    let is_untouched = |hook: &SeenHook| matches!(hook.placed.state, State::Installed(_) | State::Refused { .. });
    if !survey.is_initialised && survey.hooks.iter().all(is_untouched) {
        let what = "the hooks are not installed: lessons in commit messages are not kept, and pushes are not checked";
        return vec![Finding::new(Level::Info, "hooks", what, format!("{INIT}, if you want them"))];
    }
    survey.hooks.iter().map(|hook| one_hook(hook, survey.is_initialised)).collect()
}

fn one_hook(hook: &SeenHook, is_initialised: bool) -> Finding {
    let (name, place) = (hook.placed.hook.name(), &hook.placed.place);
    let problem = |what: String, next: String| Finding::new(Level::Problem, "hooks", what, next);
    match &hook.placed.state {
        State::Kept(form) => Finding::ok("hooks", format!("{name} is in place ({})", form.name())),
        State::Installed(_) => {
            let found = problem(format!("the hook {name} is missing: {place}"), INIT.into());
            if hook.strays.is_empty() {
                return found;
            }
            let what = format!("the hook {name} has moved: git runs {place}, and ours is elsewhere");
            Finding { what, details: hook.strays.clone(), ..found }
        }
        State::Updated(_) => {
            let what = format!(
                "the hook {name} is not what this git-elf installs: edited, old, or of another binary: {place}"
            );
            problem(what, INIT.into())
        }
        State::Refused { why, .. } if hook.is_marked => {
            problem(format!("the hook {name} does not work: {why} ({place})"), format!("mend that, then {INIT}"))
        }
        State::Called { file } => Finding::ok("hooks", format!("{name} is called from a line of yours in {file}")),
        State::Refused { edit, .. } if hook.lost.is_some() => {
            let what = hook.lost.clone().unwrap_or_default();
            Finding { details: hook.strays.clone(), ..problem(what, addition(edit.as_ref())) }
        }
        State::Refused { why, edit } => {
            let level = if is_initialised { Level::Warn } else { Level::Info };
            Finding::new(level, "hooks", format!("no hook {name}: {why} ({place})"), addition(edit.as_ref()))
        }
        State::Failed(error) => Finding::failed("hooks", error),
        State::Removed(_) | State::Absent => Finding::ok("hooks", format!("{name}: nothing of git-elf")),
    }
}

/// Says what to do where a hook is not ours to change.
fn addition(edit: Option<&Edit>) -> String {
    match edit {
        Some(edit) => format!("{INIT} says what to add to {}", edit.file),
        None => format!("unset core.hooksPath, then {INIT}"),
    }
}

fn remotes(survey: &Survey) -> Vec<Finding> {
    let one = |remote: &crate::install::Remote| {
        let name = &remote.name;
        match remote.state {
            RemoteState::Kept => Finding::ok("remote", format!("git fetch {name} brings its memory")),
            RemoteState::Added => {
                let level = if survey.is_initialised { Level::Warn } else { Level::Info };
                Finding::new(level, "remote", format!("git fetch {name} does not bring its memory"), INIT)
            }
            RemoteState::Skipped(_) if remote.overwrites() => Finding::new(
                Level::Problem,
                "remote",
                format!(
                    "git fetch {name} replaces the memory with the one of {name}: what was recorded here would be lost"
                ),
                format!("git config --add remote.{name}.fetch '^refs/elf/*'"),
            ),
            RemoteState::Skipped(why) => Finding::new(Level::Info, "remote", format!("{name}: {why}"), ""),
        }
    };
    survey.remotes.iter().map(one).collect()
}

fn ledger_ref(store: &Store) -> Finding {
    let name = &store.config().ledger_ref;
    let is_in_git = store.repo().settings().is_ok_and(|settings| settings.get("elf.ref").is_some());
    let source = if is_in_git {
        "elf.ref in git's configuration"
    } else if config::tracked_ref(store.repo()).is_ok_and(|name| name.is_some()) {
        "ref in .elf.toml"
    } else {
        "the default"
    };
    Finding::ok("ref", format!("the memory is on {name} ({source})"))
}
