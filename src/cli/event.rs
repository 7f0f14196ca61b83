//! `git elf validate`, `violate`, `breach` and `sight`: evidence about one record, each an event of its own.

use serde_json::{Map, json};

use super::record::{allowed, sign};
use super::{Context, Done, Outcome, open_store};
use crate::error::{Error, Result};
use crate::record::{Draft, Id, Kind, Record, Time, Verb, live_events};
use crate::store::{Receipt, Store};

/// What every event takes.
#[derive(clap::Args)]
pub struct Common {
    /// Why, in at most 2,000 characters
    #[arg(long, short = 'm', value_name = "TEXT", allow_hyphen_values = true)]
    note: Option<String>,
    /// Accept what a rule of the secret scan finds; the record keeps which rule
    #[arg(long, value_name = "RULE")]
    allow_secret: Vec<String>,
    /// Print one JSON object for each event: {"id","target","state","commit"}
    #[arg(long)]
    pub json: bool,
}

/// What evidence about one record takes.
#[derive(clap::Args)]
struct About {
    /// Id, or an unambiguous beginning
    id: String,
    /// Take back the newest event of this sort that is in force; it needs the lock and is never queued
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

/// Say that a lesson held
#[derive(clap::Args)]
#[command(
    visible_alias = "confirm",
    after_help = "Example:\n  git elf validate 7k3v9 --note \"held in the migration\"\n  git elf validate 7k3v9 --undo"
)]
pub struct ValidateArgs {
    #[command(flatten)]
    about: About,
}

/// Say that a rule failed: its confidence falls
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf violate 7k3v9 --note \"wrong on btrfs\"\n  git elf violate 7k3v9 --undo")]
pub struct ViolateArgs {
    #[command(flatten)]
    about: About,
}

/// Say that somebody broke a rule: accountability, the confidence stays
///
/// Three breaches of one rule in seven days are a warning, five a probation, ten a crisis: `git elf stats` lists them.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf breach 7k3v9 --note \"pushed without the check\" --agent builder\n  git elf breach 7k3v9 --undo"
)]
pub struct BreachArgs {
    #[command(flatten)]
    about: About,
}

/// Say that the same thing was seen again
///
/// A failure with an error text is known again by itself: `git elf record failure --error-file` counts it.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf sight 7k3v9 --note \"on the new host, too\"\n  git elf sight 7k3v9 --undo")]
pub struct SightArgs {
    #[command(flatten)]
    about: About,
}

impl ValidateArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        self.about.run(context, "validate", Verb::Validates)
    }
}

impl ViolateArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        self.about.run(context, "violate", Verb::Violates)
    }
}

impl BreachArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        self.about.run(context, "breach", Verb::Breaches)
    }
}

impl SightArgs {
    pub fn run(self, context: &mut Context) -> Outcome {
        self.about.run(context, "sight", Verb::Sights)
    }
}

impl About {
    fn run(self, context: &mut Context, name: &str, verb: Verb) -> Outcome {
        let store = open_store()?;
        let id = record_id(&store, &self.id)?;
        let saying = Saying { store: &store, agent: self.agent, common: &self.common };
        if self.undo {
            let receipts = store.amend(name, || {
                let newest =
                    in_force(&store, id, verb)?.pop().map(|event| saying.event(Verb::Retracts, event.id, None));
                newest.map_or_else(|| Err(none_in_force(id, verb)), |event| Ok(vec![event?]))
            })?;
            return self.common.print(context, &receipts);
        }
        let event = saying.event(verb, id, None)?;
        let receipts = store.record(name, std::slice::from_ref(&event), !self.no_wait)?;
        let receipts: Vec<_> = std::iter::once(event).zip(receipts).collect();
        self.common.print(context, &receipts)
    }
}

/// Returns the events of one sort about a record or an event that nothing undoes, oldest first.
pub fn in_force(store: &Store, id: Id, verb: Verb) -> Result<Vec<Record>> {
    let events = store.read(|index| index.events_of(id))?;
    let live = live_events(&events).into_iter();
    Ok(live.filter(|event| event.verb() == Some(verb) && event.target() == Some(id)).cloned().collect())
}

/// Says that there is nothing to take back.
pub fn none_in_force(id: Id, verb: Verb) -> Error {
    match verb {
        Verb::Promotes => Error::invalid("id", format!("{id} is no golden rule")),
        _ => Error::invalid("id", format!("nothing {} {id} that could be taken back", verb.name())),
    }
}

/// Who says something, and where.
pub struct Saying<'a> {
    pub store: &'a Store,
    pub agent: Option<String>,
    pub common: &'a Common,
}

impl Saying<'_> {
    /// Makes an event about a record or an event.
    pub fn event(&self, verb: Verb, target: Id, by: Option<Id>) -> Result<Record> {
        self.event_at(None, verb, target, by)
    }

    /// As [`Saying::event`], at a time.
    pub fn event_at(&self, time: Option<Time>, verb: Verb, target: Id, by: Option<Id>) -> Result<Record> {
        let mut draft = Draft::event(verb, target);
        draft.put_some("note", self.common.note.clone());
        draft.put_some("by", by.map(|by| by.to_string()));
        draft.put_some("created", time.map(|time| time.to_string()));
        sign(&mut draft, self.store, self.agent.clone())?;
        draft.finish_allowing(&allowed(self.store, &self.common.allow_secret)?)
    }
}

impl Common {
    /// Returns the rules of the secret scan that were named.
    pub fn allowed_rules(&self) -> &[String] {
        &self.allow_secret
    }

    /// Prints the ids of events, and on stderr what became of each.
    pub fn print(&self, context: &mut Context, receipts: &[(Record, Receipt)]) -> Outcome {
        for (event, receipt) in receipts {
            print_event(context, event, receipt, self.json)?;
            if !self.json {
                context.out.flush()?;
                talk!("{}: {}; git elf retract {} takes it back", receipt.state.name(), event.title, receipt.id);
            }
        }
        Ok(Done::Well)
    }
}

/// Prints the id of an event, or its object.
pub fn print_event(context: &mut Context, event: &Record, receipt: &Receipt, json: bool) -> std::io::Result<()> {
    if !json {
        return context.out.line(receipt.id.as_str());
    }
    let target = event.target().map(|target| target.to_string()).unwrap_or_default();
    let mut object = Map::new();
    object.insert("id".into(), json!(receipt.id.as_str()));
    object.insert("target".into(), json!(target));
    object.insert("state".into(), json!(receipt.state.name()));
    object.insert("commit".into(), json!(receipt.commit));
    context.out.json(&object)
}

/// Resolves an id that must be a record, not an event.
pub fn record_id(store: &Store, typed: &str) -> Result<Id> {
    let id = store.resolve(typed)?;
    if store.written(id)?.kind == Kind::Event {
        return Err(Error::invalid("id", format!("{id} is an event; only git elf retract takes events")));
    }
    Ok(id)
}
