//! `git elf init`: hooks, and how to share. Recording needs none of it.

use serde_json::{Map, Value as Json, json};

use super::agents::{agents_json, failed_agent, tell_agents};
use super::{Context, Done, Outcome, open_silently};
use crate::config::{IN_TREE, checked_ref};
use crate::error::{Error, Result};
use crate::install::{self, AgentPlan, Agents, Hook, Placed, Remote, RemoteState, State};
use crate::repo::Repo;
use crate::store::Store;

/// Install the hooks, and tell git how to fetch the memory
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf init\n  git elf init --ref refs/heads/memory\n  git elf init --in-tree\n  git elf init --agents\n  git elf init --pre-commit"
)]
pub struct Args {
    /// Keep the memory on this ref: refs/elf/NAME or refs/heads/NAME (sets elf.ref)
    #[arg(long = "ref", value_name = "REF")]
    name: Option<String>,
    /// Keep records as files below memory/ on the current branch, to be reviewed like code (--ref HEAD)
    #[arg(long, conflicts_with = "name")]
    in_tree: bool,
    /// Have a hook pre-commit too, which says what went wrong before in the staged files and never stops a commit
    #[arg(long)]
    pre_commit: bool,
    /// Tell coding agents about the memory, in AGENTS.md and CLAUDE.md; with `=claude` add hooks to .claude/settings.json too
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "any", value_parser = ["any", "claude"])]
    agents: Option<String>,
    /// Print one JSON object: {"ref","records","hooks","remotes","agents"}
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let (mut selected, mut left) = (None, None);
        // A refusal leaves everything as it is.
        let agents = self.agents.as_deref().map(|which| {
            let which = if which == "claude" { Agents::Claude } else { Agents::Any };
            install::plan_agents(&Repo::open()?, which)
        });
        let agents = agents.transpose()?;
        if let Some(name) = self.name.or(self.in_tree.then(|| IN_TREE.into())).map(checked_ref).transpose()? {
            let repo = Repo::open()?;
            if name == IN_TREE && repo.workdir().is_none() {
                return Err(Error::Refused {
                    what: "a bare repository has no working tree to keep records in".into(),
                    hint: "git elf init --ref refs/heads/memory makes a branch for them".into(),
                }
                .into());
            }
            // An invalid elf.ref is mended here, so that the store need not open before.
            left = open_silently().ok().and_then(|store| left_behind(&store, &name));
            selected = install::select_ref(&repo, &name)?.then_some(name);
        }
        let store = open_silently()?;
        let ledger_ref = store.config().ledger_ref.clone();
        let asked: &[Hook] = if self.pre_commit { &[Hook::PreCommit] } else { &[] };
        // Two of us at once would both find a refspec missing and add it.
        let (hooks, remotes) = store.locked("init", |_| {
            Ok((install::install(store.repo(), asked)?, install::share(store.repo(), &ledger_ref)))
        })?;
        let agents = agents.map(AgentPlan::carry_out).unwrap_or_default();
        let records = count(&store)?;
        if self.json {
            let shared = remotes.as_deref().unwrap_or_default();
            let mut object = report(&ledger_ref, records, &hooks, shared);
            object.insert("agents".into(), agents_json(&agents));
            context.out.json(&object)?;
        } else {
            if let Some(name) = &selected {
                context.out.line(&format!("elf.ref is now {name}"))?;
            }
            for hook in &hooks {
                tell_hook(context, hook)?;
            }
            for remote in remotes.as_deref().unwrap_or_default() {
                tell_remote(context, remote)?;
            }
            tell_agents(context, &agents)?;
            tell_memory(context, &store, &ledger_ref, records)?;
        }
        context.out.flush()?;
        complain(&hooks);
        if let Some((name, count)) = left {
            let records = if count == 1 { "record file stays" } else { "record files stay" };
            talk!("elf: {count} {records} on {name}; git elf migrate moves them instead: git elf migrate -h");
        }
        if let Err(error) = &remotes {
            talk!("elf: the remotes were left alone: {error}");
        }
        if let Some(error) = failed_agent(agents) {
            return Err(error.into());
        }
        let is_shared = remotes.is_ok_and(|remotes| remotes.iter().any(|remote| remote.state == RemoteState::Added));
        match all_failed(hooks) {
            Some(error) if selected.is_none() && !is_shared => Err(error.into()),
            _ => Ok(Done::Well),
        }
    }
}

/// Returns the ref that has records now, and how many files, when another one is selected; `None` when they have moved there.
fn left_behind(store: &Store, selected: &str) -> Option<(String, u64)> {
    let ledger = store.ledger();
    let tip = ledger.tip().ok().flatten()?;
    if ledger.name() == selected || ledger.moved_to(tip.tree).ok().flatten().is_some() {
        return None;
    }
    Some((ledger.name().to_owned(), count(store).ok()?)).filter(|(_, count)| *count > 0)
}

/// Says on stderr what was not done, and what to add by hand.
fn complain(hooks: &[Placed]) {
    for placed in hooks {
        let name = placed.hook.name();
        match &placed.state {
            State::Refused { why, edit } => {
                talk!("elf: {name} was left alone: {why} ({})", placed.place);
                if let Some(edit) = edit {
                    talk!("     to have it, add this to {}, {}:", edit.file, edit.how);
                    // Each by itself, so that it is printed as it is to be pasted.
                    for line in edit.text.lines() {
                        talk!("{line}");
                    }
                }
            }
            State::Failed(error) => talk!("elf: {name}: {error}"),
            _ => {}
        }
    }
}

/// Returns an error when nothing but errors came of the hooks.
fn all_failed(hooks: Vec<Placed>) -> Option<Error> {
    let mut last = None;
    for placed in hooks {
        match placed.state {
            State::Failed(error) => last = Some(error),
            _ => return None,
        }
    }
    last
}

/// Describes hooks for JSON.
pub fn hooks_json(hooks: &[Placed]) -> Json {
    let one = |placed: &Placed| {
        let (state, form, why, edit) = match &placed.state {
            State::Installed(form) => ("installed", Some(form), None, None),
            State::Updated(form) => ("updated", Some(form), None, None),
            State::Kept(form) => ("kept", Some(form), None, None),
            State::Removed(form) => ("removed", Some(form), None, None),
            State::Absent => ("absent", None, None, None),
            State::Called { .. } => ("called", None, None, None),
            State::Refused { why, edit } => ("refused", None, Some(why.clone()), edit.as_ref()),
            State::Failed(error) => ("failed", None, Some(error.to_string()), None),
        };
        json!({
            "hook": placed.hook.name(),
            "state": state,
            "form": form.map(|form| form.name()),
            "place": placed.place,
            "why": why,
            "file": edit.map(|edit| &edit.file),
            "line": edit.map(|edit| &edit.text),
        })
    };
    hooks.iter().map(one).collect()
}

/// Counts the record files of the ledger.
pub fn count(store: &Store) -> Result<u64> {
    store.ledger().tip()?.map_or(Ok(0), |tip| store.count_new(None, tip.tree))
}

fn report(ledger_ref: &str, records: u64, hooks: &[Placed], remotes: &[Remote]) -> Map<String, Json> {
    let remote = |remote: &Remote| {
        let (state, why) = match remote.state {
            RemoteState::Added => ("added", None),
            RemoteState::Kept => ("kept", None),
            RemoteState::Skipped(why) => ("skipped", Some(why)),
        };
        json!({"remote": remote.name, "fetch": remote.refspec, "state": state, "why": why})
    };
    let mut object = Map::new();
    object.insert("ref".into(), json!(ledger_ref));
    object.insert("records".into(), json!(records));
    object.insert("hooks".into(), hooks_json(hooks));
    object.insert("remotes".into(), remotes.iter().map(remote).collect());
    object
}

fn tell_hook(context: &mut Context, placed: &Placed) -> Result<(), std::io::Error> {
    let what = match &placed.state {
        State::Installed(_) => "installed",
        State::Updated(_) => "updated",
        State::Kept(_) => "kept as it is",
        State::Called { file } => {
            return context.out.line(&format!("{} is called from a line of yours in {file}", placed.hook.name()));
        }
        _ => return Ok(()),
    };
    context.out.line(&format!("{} hook {what}: {}", placed.hook.name(), placed.place))
}

fn tell_remote(context: &mut Context, remote: &Remote) -> Result<(), std::io::Error> {
    let name = &remote.name;
    let line = match remote.state {
        RemoteState::Added => format!("git fetch {name} now brings its memory to {}", target(&remote.refspec)),
        RemoteState::Kept => format!("git fetch {name} brings its memory already, to {}", target(&remote.refspec)),
        RemoteState::Skipped(why) => format!("remote {name} was left alone: {why}"),
    };
    context.out.line(&line)
}

fn target(refspec: &str) -> &str {
    refspec.rsplit(':').next().unwrap_or_default().trim_end_matches('*')
}

fn tell_memory(context: &mut Context, store: &Store, ledger_ref: &str, records: u64) -> Result<(), std::io::Error> {
    let out = &mut context.out;
    if store.ledger().is_in_tree() {
        let files = if records == 1 { "record file" } else { "record files" };
        out.line(&format!("The memory is below memory/ on the current branch: {records} {files}."))?;
        out.line("  commit git elf flush, or your own commit of memory/")?;
        out.line("  read   git grep WORD -- memory")?;
        out.line("  share  git push and git pull, as code")?;
        return out.line("  undo   git elf uninstall");
    }
    let exists = store.ledger().tip_id().is_ok_and(|tip| tip.is_some());
    out.line("")?;
    if exists {
        let files = if records == 1 { "record file" } else { "record files" };
        out.line(&format!("The memory is on {ledger_ref}: {records} {files}."))?;
    } else {
        out.line(&format!("The memory will be on {ledger_ref}; the first git elf record creates it."))?;
    }
    let remotes = store.repo().git().remotes().ok();
    let remote = remotes.as_ref().and_then(|names| names.iter().find_map(|name| name.ok().flatten()));
    out.line(&format!("  read   git show {ledger_ref}:README.md"))?;
    out.line(&format!("         git grep WORD {ledger_ref}"))?;
    out.line(&format!("  share  git push {} {ledger_ref}", remote.unwrap_or("REMOTE")))?;
    out.line("  undo   git elf uninstall")?;
    out.line("  or keep it on the current branch: git elf init --in-tree")
}
