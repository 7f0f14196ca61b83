//! `git elf flush`: commit the records that wait on the current branch.

use serde_json::{Map, json};

use super::{Context, Done, Outcome, open_store};
use crate::error::Error;
use crate::store::Flushed;

/// Commit the records that wait below memory/
///
/// Where the memory is on the current branch (elf.ref is HEAD), records wait as files until you ask for a commit. The commit holds
/// them and nothing else; what you have staged stays staged.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf flush && git push")]
pub struct Args {
    /// Take records of worktrees that are gone to this branch, whatever branch they had
    #[arg(long)]
    adopt: bool,
    /// Print {"committed","commit","elsewhere"}
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let flushed = store.flush(self.adopt).map_err(|error| match error {
            Error::Deferred { what } => Error::Refused {
                what: format!("{what}; nothing was committed"),
                hint: "run git elf flush again when that is over; the records wait".into(),
            },
            error => error,
        })?;
        if self.json {
            context.out.json(&as_json(&flushed))?;
            return Ok(Done::Well);
        }
        let records = |count: usize| format!("{count} {}", if count == 1 { "record" } else { "records" });
        for (branch, count) in &flushed.elsewhere {
            context.out.line(&format!("committed {} of a worktree that is gone to {branch}", records(*count)))?;
        }
        match (flushed.committed, flushed.tip) {
            (0, _) | (_, None) => context.out.line("no record waits here")?,
            (count, Some(tip)) => context.out.line(&format!("committed {} in {tip}", records(count)))?,
        }
        Ok(Done::Well)
    }
}

fn as_json(flushed: &Flushed) -> Map<String, serde_json::Value> {
    let elsewhere = flushed.elsewhere.iter().map(|(branch, count)| json!({"branch": branch, "committed": count}));
    let mut object = Map::new();
    object.insert("committed".into(), json!(flushed.committed));
    let commit = flushed.tip.filter(|_| flushed.committed > 0).map(|tip| tip.to_string());
    object.insert("commit".into(), json!(commit));
    object.insert("elsewhere".into(), elsewhere.collect());
    object
}
