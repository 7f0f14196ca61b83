//! `git elf uninstall`: takes out what `git elf init` put in. The memory stays unless its size is named.

use std::io;

use serde_json::{Map, json};

use super::agents::{agents_json, failed_agent, tell_agents};
use super::init::{count, hooks_json};
use super::{Context, Done, Outcome, open_silently};
use crate::install::{self, State};
use crate::store::{Erased, Store};

/// Take out what `git elf init` put in; the memory stays
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf uninstall")]
pub struct Args {
    /// Delete the memory too; N is the number of its record files, as a proof that you mean it
    #[arg(long, value_name = "N")]
    delete_memory: Option<u64>,
    /// Print one JSON object: {"ref","records","hooks","remotes","agents","deleted"}
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_silently()?;
        let repo = store.repo();
        let ledger_ref = store.config().ledger_ref.clone();
        // First, since a wrong number must leave everything as it is.
        let erased = self.delete_memory.map(|files| store.erase(files)).transpose()?;
        let hooks = install::uninstall(repo)?;
        let agents = install::remove_agents(repo)?;
        store.forget_sessions();
        let remotes = install::unshare(repo)?;
        let unselected = install::unselect_ref(repo)?;
        let records = count(&store)?;
        if self.json {
            let mut object = Map::new();
            object.insert("ref".into(), json!(ledger_ref));
            object.insert("records".into(), json!(records));
            object.insert("hooks".into(), hooks_json(&hooks));
            let remotes = remotes.iter().map(|remote| json!({"remote": remote.name, "fetch": remote.refspec}));
            object.insert("remotes".into(), remotes.collect());
            object.insert("agents".into(), agents_json(&agents));
            object.insert("deleted".into(), json!(erased.as_ref().map(|erased| erased.files)));
            context.out.json(&object)?;
        } else {
            for placed in &hooks {
                let name = placed.hook.name();
                match &placed.state {
                    State::Removed(_) => context.out.line(&format!("{name} hook removed: {}", placed.place))?,
                    State::Called { file } => context.out.line(&format!(
                        "What you added to {file} still calls git-elf for {name}; take it out by hand"
                    ))?,
                    _ => {}
                }
            }
            tell_agents(context, &agents)?;
            for remote in &remotes {
                context.out.line(&format!("git fetch {} no longer brings its memory", remote.name))?;
            }
            if let Some(name) = unselected {
                context.out.line(&format!("elf.ref is no longer {name}"))?;
            }
            if let Some(erased) = &erased {
                tell_erased(context, &ledger_ref, erased)?;
            } else {
                tell_what_stays(context, &store, records)?;
            }
        }
        context.out.flush()?;
        let failed = hooks.into_iter().find_map(|placed| match placed.state {
            State::Failed(error) => Some(error),
            _ => None,
        });
        let failed = failed.or_else(|| failed_agent(agents));
        failed.map_or(Ok(Done::Well), |error| Err(error.into()))
    }
}

fn tell_what_stays(context: &mut Context, store: &Store, records: u64) -> anyhow::Result<()> {
    let mut stays = Vec::new();
    if store.ledger().tip_id()?.is_some() {
        let files = if records == 1 { "record file" } else { "record files" };
        stays.push(format!("{} with {records} {files}", store.config().ledger_ref));
    }
    if store.dir().exists() {
        stays.push(store.dir().display().to_string());
    }
    let line = if stays.is_empty() {
        "Nothing of git-elf is left here.".to_owned()
    } else {
        format!("What stays: {}", stays.join(", and "))
    };
    Ok(context.out.line(&line)?)
}

fn tell_erased(context: &mut Context, ledger_ref: &str, erased: &Erased) -> io::Result<()> {
    let files = if erased.files == 1 { "record file" } else { "record files" };
    context.out.line(&format!("{ledger_ref} with {} {files} was deleted, and the index", erased.files))?;
    if let Some(tip) = erased.tip {
        context.out.line(&format!(
            "Its last commit was {tip}; git update-ref {ledger_ref} {tip} brings it back until git gc"
        ))?;
    }
    if erased.bad > 0 {
        context.out.line(&format!("spool/bad keeps {} entries that could not be read", erased.bad))?;
    }
    Ok(())
}
