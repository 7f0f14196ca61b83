//! `git elf validate`, `violate`, `breach`, `promote` and `retract`: evidence about records, each an event of its own.

use serde_json::{Map, json};

use super::record::{allowed, sign};
use super::{Context, Done, Outcome, open_store};
use crate::error::{Error, Result};
use crate::record::{Draft, Id, Kind, Record, Verb, live_events};
use crate::store::{Receipt, Store};

/// What every event takes.
#[derive(clap::Args)]
struct Common {
    /// Why, in at most 2,000 characters
    #[arg(long, short = 'm', value_name = "TEXT", allow_hyphen_values = true)]
    note: Option<String>,
    /// The coding agent that says so (default: ELF_AGENT, elf.agent)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Accept what a rule of the secret scan finds; the record keeps which rule
    #[arg(long, value_name = "RULE")]
    allow_secret: Vec<String>,
    /// Queue it without waiting for the lock
    #[arg(long)]
    no_wait: bool,
    /// Print one JSON object for each event: {"id","target","state","commit"}
    #[arg(long)]
    json: bool,
}

/// Say that a lesson held
#[derive(clap::Args)]
#[command(
    visible_alias = "confirm",
    after_help = "Example:\n  git elf validate 7k3v9 --note \"held in the migration\""
)]
pub struct ValidateArgs {
    /// Id, or an unambiguous beginning
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Say that a rule failed: its confidence falls
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf violate 7k3v9 --note \"wrong on btrfs\"")]
pub struct ViolateArgs {
    /// Id, or an unambiguous beginning
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Say that somebody broke a rule: accountability, the confidence stays
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf breach 7k3v9 --note \"pushed without the check\" --agent builder")]
pub struct BreachArgs {
    /// Id, or an unambiguous beginning
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Make a heuristic a golden rule
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf promote 7k3v9\n  git elf promote 7k3v9 --undo")]
pub struct PromoteArgs {
    /// Id, or an unambiguous beginning
    id: String,
    /// Take the promotion back
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    common: Common,
}

/// Say that records no longer hold; they stay readable
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf retract 7k3v9 --note \"fixed upstream\"\n  git elf retract 7k3v9 --by 2b8mq"
)]
pub struct RetractArgs {
    /// Ids, or unambiguous beginnings; an event's id takes that event back
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// The record that replaces them
    #[arg(long, value_name = "NEW")]
    by: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl ValidateArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        about_one(context, "validate", Verb::Validates, &self.id, self.common)
    }
}

impl ViolateArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        about_one(context, "violate", Verb::Violates, &self.id, self.common)
    }
}

impl BreachArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        about_one(context, "breach", Verb::Breaches, &self.id, self.common)
    }
}

impl PromoteArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let id = record_id(&store, &self.id)?;
        let kind = store.written(id)?.kind;
        if kind != Kind::Heuristic {
            return Err(Error::invalid(
                "id",
                format!("{id} is a {kind} (limit: only a heuristic becomes a golden rule)"),
            )
            .into());
        }
        if self.undo {
            // Needs the promotions that are in force, so it is never queued.
            let receipts = store.amend("promote", || {
                let events = store.read(|index| index.events_of(id))?;
                let promotions = live_events(&events).into_iter().filter(|event| event.verb() == Some(Verb::Promotes));
                let undone = promotions.map(|event| self.common.event(&store, Verb::Retracts, event.id, None));
                let undone = undone.collect::<Result<Vec<_>>>()?;
                if undone.is_empty() {
                    return Err(Error::invalid("id", format!("{id} is no golden rule")));
                }
                Ok(undone)
            })?;
            return self.common.print(context, &receipts);
        }
        let event = self.common.event(&store, Verb::Promotes, id, None)?;
        write(context, &store, "promote", vec![event], &self.common)
    }
}

impl RetractArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let by = self.by.as_deref().map(|by| record_id(&store, by)).transpose()?;
        let targets = self.ids.iter().map(|id| store.resolve(id)).collect::<Result<Vec<_>>>()?;
        if let Some(itself) = by.filter(|by| targets.contains(by)) {
            return Err(Error::invalid("by", format!("{itself} cannot supersede itself")).into());
        }
        let events = targets.iter().map(|target| self.common.event(&store, Verb::Retracts, *target, by));
        let events = events.collect::<Result<Vec<_>>>()?;
        write(context, &store, "retract", events, &self.common)
    }
}

impl Common {
    fn event(&self, store: &Store, verb: Verb, target: Id, by: Option<Id>) -> Result<Record> {
        let mut draft = Draft::event(verb, target);
        draft.put_some("note", self.note.clone());
        draft.put_some("by", by.map(|by| by.to_string()));
        sign(&mut draft, store, self.agent.clone())?;
        draft.finish_allowing(&allowed(store, &self.allow_secret)?)
    }

    fn print(&self, context: &mut Context, receipts: &[(Record, Receipt)]) -> Outcome {
        for (event, receipt) in receipts {
            let target = event.target().map(|target| target.to_string()).unwrap_or_default();
            if self.json {
                let mut object = Map::new();
                object.insert("id".into(), json!(receipt.id.as_str()));
                object.insert("target".into(), json!(target));
                object.insert("state".into(), json!(receipt.state.name()));
                object.insert("commit".into(), json!(receipt.commit));
                context.out.json(&object)?;
            } else {
                context.out.line(receipt.id.as_str())?;
                context.out.flush()?;
                talk!("{}: {}; git elf retract {} takes it back", receipt.state.name(), event.title, receipt.id);
            }
        }
        Ok(Done::Well)
    }
}

fn about_one(context: &mut Context, name: &str, verb: Verb, typed: &str, common: Common) -> Outcome {
    let store = open_store()?;
    let id = record_id(&store, typed)?;
    let event = common.event(&store, verb, id, None)?;
    write(context, &store, name, vec![event], &common)
}

/// Resolves an id that must be a record, not an event.
fn record_id(store: &Store, typed: &str) -> Result<Id> {
    let id = store.resolve(typed)?;
    if store.written(id)?.kind == Kind::Event {
        return Err(Error::invalid("id", format!("{id} is an event; only git elf retract takes events")));
    }
    Ok(id)
}

fn write(context: &mut Context, store: &Store, name: &str, events: Vec<Record>, common: &Common) -> Outcome {
    let receipts = store.record(name, &events, !common.no_wait)?;
    let receipts: Vec<_> = events.into_iter().zip(receipts).collect();
    common.print(context, &receipts)
}
