//! `git elf stats`: counts, sizes, waits, and every setting that the promises depend on, as read back.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::output::Output;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Result};
use crate::index::Contention;
use crate::record::Time;
use crate::store::{BREACH_DAYS, Breached};

/// Show counts, sizes, waits for the lock, rules that were broken, and the settings of the index as read back
///
/// A rule that was broken three times in seven days is listed as a warning, five times as a probation, ten times as a crisis.
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
        let (mut object, settings, samples) =
            store.read(|index| Ok((index.counts()?, index.settings()?, index.samples(None)?)))?;
        let (checkpointed, wal) = store.read(|index| Ok((index.last_checkpoint()?, index.wal_size())))?;
        let size = |name: &str| std::fs::metadata(store.dir().join(name)).map_or(0, |meta| meta.len());
        object.insert("pending".into(), json!(store.spool().len()));
        object.insert("oldest_pending_ms".into(), json!(store.spool().longest_wait().map(milliseconds)));
        object.insert("bad_entries".into(), json!(store.spool().bad().len()));
        object.insert("ref".into(), json!(store.config().ledger_ref));
        object.insert("tip".into(), json!(store.ledger().tip_id()?.map(|oid| oid.to_string())));
        object.insert(
            "bytes".into(),
            json!({"index": size("index.db"), "wal": wal, "wal_limit": store.config().wal_limit}),
        );
        object.insert("checkpointed".into(), json!(checkpointed.map(|time: Time| time.to_string())));
        object.insert("contention".into(), contention(Contention::of(&samples).as_ref()));
        object.insert("breaches".into(), breaches(&store.breached()?));
        object.insert("settings".into(), Json::Object(settings));
        if self.json {
            context.out.json(&object)?;
        } else {
            print(&mut context.out, &object, 0)?;
        }
        Ok(Done::Well)
    }
}

/// Describes what was broken in the last days, and which rules are at a level.
fn breaches(breached: &[Breached]) -> Json {
    let rules = breached.iter().filter_map(|rule| {
        let level = rule.level()?;
        Some(json!({"level": level, "times": rule.times, "id": rule.id.as_str(), "title": rule.title}))
    });
    json!({
        "days": BREACH_DAYS,
        "times": breached.iter().map(|rule| rule.times).sum::<u64>(),
        "rules": rules.collect::<Vec<_>>(),
    })
}

/// Describes the drains that were sampled; every figure but the count is null when there was none.
fn contention(sum: Option<&Contention>) -> Json {
    json!({
        "drains": sum.map_or(0, |sum| sum.drains),
        "since": sum.map(|sum| sum.since.to_string()),
        "wait_p50_ms": sum.map(|sum| milliseconds(sum.wait_p50)),
        "wait_p99_ms": sum.map(|sum| milliseconds(sum.wait_p99)),
        "hold_max_ms": sum.map(|sum| milliseconds(sum.hold_max)),
        "hold_max_verb": sum.map(|sum| &sum.hold_max_verb),
        "oldest_max_ms": sum.and_then(|sum| sum.oldest_max).map(milliseconds),
        "records_mean": sum.map(|sum| (sum.records_mean * 100.0).round() / 100.0),
        "records_max": sum.map(|sum| sum.records_max),
    })
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn print(out: &mut Output, object: &Map<String, Json>, depth: usize) -> Result<()> {
    let indent = "  ".repeat(depth);
    for (key, value) in object {
        let line = match value {
            Json::String(text) => format!("{indent}{key}: {text}"),
            Json::Array(items) if items.is_empty() => format!("{indent}{key}: none"),
            Json::Object(_) | Json::Array(_) => format!("{indent}{key}"),
            other => format!("{indent}{key}: {other}"),
        };
        out.line(&line).doing(|| "print".into())?;
        if let Json::Object(inner) = value {
            print(out, inner, depth + 1)?;
        }
        for item in value.as_array().into_iter().flatten().filter_map(Json::as_object) {
            let words: Vec<_> =
                item.values().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
            out.line(&format!("{indent}  {}", words.join(" "))).doing(|| "print".into())?;
        }
    }
    Ok(())
}
