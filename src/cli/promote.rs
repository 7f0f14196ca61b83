//! `git elf promote`: golden rules, and which heuristics have earned it.

use serde_json::{Map, Value as Json, json};

use super::event::{Common, Saying, in_force, none_in_force, record_id};
use super::{Context, Done, Outcome, open_store};
use crate::error::{Error, Result};
use crate::index::{Filter, Row};
use crate::record::{Id, Kind, Verb};
use crate::store::Store;

/// Least confidence of a heuristic that has earned it; this and the next two are the original's.
const CONFIDENCE: f64 = 0.9;
/// Fewest times that it held.
const VALIDATED: u64 = 10;
/// Where it failed, it held more than this many times as often.
const RATIO: u64 = 10;

/// Make heuristics golden rules, or list those that have earned it
///
/// A heuristic has earned it with a confidence of at least 0.9, when it held at least 10 times and never failed, or held more than 10
/// times as often as it failed. The list changes nothing, and any heuristic can be promoted.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf promote --eligible\n  git elf promote 7k3v9 2b8mq\n  git elf promote 7k3v9 --undo"
)]
pub struct Args {
    /// Ids, or unambiguous beginnings
    #[arg(value_name = "ID", required_unless_present = "eligible")]
    ids: Vec<String>,
    /// List the heuristics that have earned it, with the figures, and promote nothing
    #[arg(long, conflicts_with_all = ["ids", "undo", "note", "no_wait", "agent"])]
    eligible: bool,
    /// Take the promotion back; it needs the lock and is never queued
    #[arg(long, conflicts_with = "no_wait")]
    undo: bool,
    /// The coding agent that says so (default: ELF_AGENT, elf.agent)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Queue it without waiting for the lock
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        if self.eligible {
            return list_eligible(context, &store, self.common.json);
        }
        let mut ids = Vec::new();
        for typed in &self.ids {
            let id = heuristic(&store, record_id(&store, typed)?)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let saying = Saying { store: &store, agent: self.agent, common: &self.common };
        if self.undo {
            // Needs the promotions that are in force, so it is never queued.
            let receipts = store.amend("promote", || {
                let mut undone = Vec::new();
                for id in &ids {
                    let promotions = in_force(&store, *id, Verb::Promotes)?;
                    if promotions.is_empty() {
                        return Err(none_in_force(*id, Verb::Promotes));
                    }
                    for event in promotions {
                        undone.push(saying.event(Verb::Retracts, event.id, None)?);
                    }
                }
                Ok(undone)
            })?;
            return self.common.print(context, &receipts);
        }
        let events = ids.iter().map(|id| saying.event(Verb::Promotes, *id, None)).collect::<Result<Vec<_>>>()?;
        let receipts = if events.len() > 1 && !self.no_wait {
            store.amend("promote", || Ok(events))?
        } else {
            let receipts = store.record("promote", &events, !self.no_wait)?;
            events.into_iter().zip(receipts).collect()
        };
        self.common.print(context, &receipts)
    }
}

/// Accepts the id of a heuristic.
pub fn heuristic(store: &Store, id: Id) -> Result<Id> {
    match store.written(id)?.kind {
        Kind::Heuristic => Ok(id),
        kind => {
            let problem = format!("{id} is a {kind} (limit: only a heuristic becomes a golden rule)");
            Err(Error::invalid("id", problem))
        }
    }
}

/// What a heuristic has, against what it takes.
struct Figures {
    confidence: f64,
    validated: u64,
    violated: u64,
}

impl Figures {
    fn of(row: &Row) -> Self {
        let count = |key: &str| row.0.get(key).and_then(Json::as_u64).unwrap_or_default();
        let confidence = row.0.get("confidence").and_then(Json::as_f64).unwrap_or_default();
        Self { confidence, validated: count("validated"), violated: count("violated") }
    }

    /// Says what is missing; empty when it has earned it.
    fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        if self.confidence < CONFIDENCE {
            lacks.push(format!("confidence {} is below {CONFIDENCE}", self.confidence));
        }
        if self.validated < VALIDATED {
            lacks.push(format!("validated {} times of {VALIDATED}", self.validated));
        }
        if self.violated > 0 && self.validated <= RATIO.saturating_mul(self.violated) {
            lacks.push(format!(
                "violated {} times, which takes more than {RATIO} times as many validations",
                self.violated
            ));
        }
        lacks
    }

    fn earned(&self) -> String {
        let violated = match self.violated {
            0 => "never violated".to_owned(),
            times => format!("violated {times} (more than {RATIO} to 1)"),
        };
        format!(
            "confidence {} (at least {CONFIDENCE}), validated {} (at least {VALIDATED}), {violated}",
            self.confidence, self.validated
        )
    }
}

fn list_eligible(context: &mut Context, store: &Store, json: bool) -> Outcome {
    let rows = store.list(&Filter { kinds: vec![Kind::Heuristic], ..Filter::default() })?;
    let mut rows: Vec<_> = rows.iter().filter(|row| !row.is("golden")).map(|row| (Figures::of(row), row)).collect();
    // The nearest first: what lacks least, then what held most.
    rows.sort_by(|(a, _), (b, _)| {
        let order = a.lacks().len().cmp(&b.lacks().len()).then(b.validated.cmp(&a.validated));
        order.then(b.confidence.total_cmp(&a.confidence))
    });
    let eligible: Vec<_> = rows.iter().filter(|(figures, _)| figures.lacks().is_empty()).collect();
    for (figures, row) in &eligible {
        if json {
            let mut object = Map::new();
            for key in ["id", "title", "confidence", "validated", "violated"] {
                object.insert(key.into(), row.0.get(key).cloned().unwrap_or_else(|| json!(null)));
            }
            context.out.json(&object)?;
        } else {
            context.out.line(&format!("{} {}", row.text("id"), row.text("title")))?;
            context.out.line(&format!("  {}", figures.earned()))?;
        }
    }
    context.out.flush()?;
    match (eligible.len(), rows.first()) {
        (0, None) => talk!("no heuristic is left to promote"),
        (0, Some((figures, row))) => {
            let (id, title) = (row.text("id"), row.text("title").replace('\n', " "));
            talk!("none has earned it yet; the nearest is {id} {title}: {}", figures.lacks().join("; "));
        }
        (_, _) if json => {}
        _ => talk!("git elf promote ID... makes them golden rules"),
    }
    Ok(Done::Well)
}
