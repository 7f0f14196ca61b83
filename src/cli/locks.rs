//! `git elf locks`: what is locked in this repository, by whom, and what a dead process left.

use std::path::PathBuf;

use serde_json::{Map, json};

use super::output::{Output, Speaker};
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Result};
use crate::lock::{self, Found, Removal, Verdict};
use crate::store::{Store, Voice};

/// List the locks in this repository, and remove those that a dead process left
///
/// A lock is stale when it is older than elf.staleLockAge (300 s), its holder is dead and no process works in the repository.
/// `ours` are never deleted, `live` and `unknown` are never touched.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf locks\n  git elf locks --clean")]
pub struct Args {
    /// Remove the stale ones
    #[arg(long)]
    clean: bool,
    /// Print one JSON object a lock
    #[arg(long)]
    json: bool,
    /// Only these, as they are listed
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let mut locks = self.chosen(&store)?;
        let mut removals: Vec<Option<Removal>> = vec![None; locks.len()];
        if self.clean && locks.iter().any(|found| found.verdict == Verdict::Stale) {
            (locks, removals) = store.locked("locks", |lock| {
                // Looked at again: what the first survey saw may be gone, or have a holder by now.
                let locks = self.chosen(&store)?;
                let stale = |found: &Found| found.verdict == Verdict::Stale;
                let clean = |found: &Found| stale(found).then(|| lock::clean(store.repo(), lock, found));
                let removals = locks.iter().map(clean).collect();
                Ok((locks, removals))
            })?;
        }
        let shown = locks.iter().zip(&removals);
        if self.json {
            for (found, removal) in shown {
                context.out.json(&as_json(found, removal.as_ref()))?;
            }
        } else {
            print(&mut context.out, shown)?;
        }
        let mut done = Done::Well;
        for (found, removal) in locks.iter().zip(&removals) {
            if let Some(Removal::Refused(why)) = removal {
                Speaker::new().say(&format!("{} was not removed: {why}", found.path.display()));
                done = Done::Refused;
            }
        }
        Ok(done)
    }

    fn chosen(&self, store: &Store) -> Result<Vec<Found>> {
        let all = lock::survey(store.repo(), store.config().stale_lock_age)?;
        if self.paths.is_empty() {
            return Ok(all);
        }
        let named = self.paths.iter().map(|path| lock::named(store.repo(), &all, path).cloned());
        named.collect()
    }
}

fn print<'a>(out: &mut Output, locks: impl Iterator<Item = (&'a Found, &'a Option<Removal>)>) -> Result<()> {
    let mut any = false;
    for (found, removal) in locks {
        if !any {
            out.line("verdict  age       size  holder   path").doing(|| "print".into())?;
        }
        any = true;
        let verdict = match removal {
            Some(Removal::Removed) => "removed",
            Some(Removal::Gone) => "gone",
            Some(Removal::Refused(_)) => "refused",
            None => found.verdict.name(),
        };
        let holder = found.holder.map_or("-".into(), |pid| pid.to_string());
        let path = found.path.to_string_lossy();
        let (age, reason) = (age(found), &found.reason);
        let line = format!("{verdict:<7}  {age:<6}  {size:>6}  {holder:<7}  {path}  ({reason})", size = found.size);
        out.line(&line).doing(|| "print".into())?;
    }
    if any { Ok(()) } else { out.line("no locks").doing(|| "print".into()) }
}

fn age(found: &Found) -> String {
    let seconds = found.age.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn as_json(found: &Found, removal: Option<&Removal>) -> Map<String, serde_json::Value> {
    let mut object = Map::new();
    object.insert("path".into(), json!(found.path.to_string_lossy()));
    object.insert("verdict".into(), json!(found.verdict.name()));
    object.insert("reason".into(), json!(found.reason));
    object.insert("age".into(), json!(found.age.as_secs()));
    object.insert("size".into(), json!(found.size));
    object.insert("holder".into(), json!(found.holder));
    object.insert("removed".into(), json!(removal == Some(&Removal::Removed)));
    object
}
