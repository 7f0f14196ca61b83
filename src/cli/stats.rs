//! `git elf stats`: counts, sizes, and every setting that the promises depend on, as read back.

use serde_json::{Map, Value as Json, json};

use super::output::Output;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Result};

/// Show counts, sizes and the settings of the index as read back
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf stats\n  git elf stats --json")]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let (mut object, settings, wal) =
            store.read(|index| Ok((index.counts()?, index.settings()?, index.wal_size())))?;
        let size = |name: &str| std::fs::metadata(store.dir().join(name)).map_or(0, |meta| meta.len());
        object.insert("pending".into(), json!(store.spool().len()));
        object.insert("bad_entries".into(), json!(store.spool().bad().len()));
        object.insert("ref".into(), json!(store.config().ledger_ref));
        object.insert("tip".into(), json!(store.ledger().tip_id()?.map(|oid| oid.to_string())));
        object.insert(
            "bytes".into(),
            json!({"index": size("index.db"), "wal": wal, "wal_limit": store.config().wal_limit}),
        );
        object.insert("settings".into(), Json::Object(settings));
        if self.json {
            context.out.json(&object)?;
        } else {
            print(&mut context.out, &object, 0)?;
        }
        Ok(Done::Well)
    }
}

fn print(out: &mut Output, object: &Map<String, Json>, depth: usize) -> Result<()> {
    let indent = "  ".repeat(depth);
    for (key, value) in object {
        let line = match value {
            Json::Object(_) => format!("{indent}{key}"),
            Json::String(text) => format!("{indent}{key}: {text}"),
            other => format!("{indent}{key}: {other}"),
        };
        out.line(&line).doing(|| "print".into())?;
        if let Json::Object(inner) = value {
            print(out, inner, depth + 1)?;
        }
    }
    Ok(())
}
