//! `git elf retract`: what no longer holds, one record or all that an agent wrote.

use std::io::Read;

use super::event::{Common, Saying, in_force, none_in_force, print_event, record_id};
use super::filter::resolve_since;
use super::list::print_row;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Error, Result};
use crate::index::{Filter, Row};
use crate::record::{Id, Record, Verb};
use crate::store::{State, Store};

/// Bytes of the longest list of ids that is read: some three million ids.
const LIST_MAX: u64 = 64 * 1024 * 1024;

/// Say that records no longer hold; they stay readable
///
/// Several are retracted in one commit, which needs the lock: exit 4 when it stayed taken, and nothing was changed.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf retract 7k3v9 --note \"fixed upstream\"\n  git elf retract 7k3v9 --by 2b8mq\n  git elf retract --agent builder --since yesterday --dry-run\n  git elf search \"old api\" | git elf retract - --note \"api removed\"\n  git elf retract 7k3v9 --undo"
)]
pub struct Args {
    /// Ids, or unambiguous beginnings; an event's id takes that event back; `-` reads one a line from stdin, its first word
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Instead of ids: the active records of this coding agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Instead of ids: the active records since then: anything that `git log --since` takes
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The record that replaces them
    #[arg(long, value_name = "NEW")]
    by: Option<String>,
    /// Print what would be retracted, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take retractions back: the records hold again
    #[arg(long, conflicts_with_all = ["by", "no_wait", "agent", "since", "dry_run"])]
    undo: bool,
    /// Queue it without waiting for the lock
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let by = self.by.as_deref().map(|by| record_id(&store, by)).transpose()?;
        let targets = self.targets(&store)?;
        if let Some(itself) = by.filter(|by| targets.contains(by)) {
            return Err(Error::invalid("by", format!("{itself} cannot supersede itself")).into());
        }
        if self.dry_run {
            return self.rehearse(context, &store, &targets);
        }
        let saying = Saying { store: &store, agent: None, common: &self.common };
        let make = || targets.iter().map(|target| retraction(&saying, *target, by)).collect::<Result<Vec<_>>>();
        let written = if self.undo {
            store.amend("retract", || undone(&saying, &targets))?
        } else if targets.is_empty() {
            Vec::new()
        } else if targets.len() == 1 || self.no_wait {
            let events = make()?;
            let receipts = store.record("retract", &events, !self.no_wait)?;
            events.into_iter().zip(receipts).collect()
        } else {
            store.amend("retract", make)?
        };
        if let [_] = &written[..] {
            return self.common.print(context, &written);
        }
        for (event, receipt) in &written {
            print_event(context, event, receipt, self.common.json)?;
        }
        context.out.flush()?;
        let waits = written.iter().any(|(_, receipt)| receipt.state == State::Queued);
        let state = if waits { "queued" } else { "committed" };
        match (written.len(), self.undo) {
            (0, _) => talk!("no active record was selected; nothing was changed"),
            (count, false) => talk!("{state}: {count} retracted; git elf retract --undo ID... takes it back"),
            (count, true) => talk!("{state}: {count} retractions taken back"),
        }
        Ok(Done::Well)
    }

    /// Finds what is meant, each once, in the order in which it was named.
    fn targets(&self, store: &Store) -> Result<Vec<Id>> {
        let selects = self.agent.is_some() || self.since.is_some();
        match (self.ids.is_empty(), selects) {
            (true, false) => Err(Error::invalid(
                "id",
                "is missing: name records, or `-` to read ids from stdin, or select them by --agent or --since",
            )),
            (false, true) => Err(Error::invalid(
                "id",
                "and a selection cannot be combined: --agent and --since choose the records themselves (ELF_AGENT says who retracts)",
            )),
            (true, true) => self.selected(store),
            (false, false) => {
                let mut typed = Vec::new();
                for id in &self.ids {
                    if id == "-" { typed.extend(ids_of_stdin()?) } else { typed.push(id.clone()) }
                }
                let mut targets = Vec::new();
                let mut seen = std::collections::HashSet::new();
                for id in typed {
                    let id = store.resolve(&id)?;
                    if seen.insert(id) {
                        targets.push(id);
                    }
                }
                Ok(targets)
            }
        }
    }

    fn selected(&self, store: &Store) -> Result<Vec<Id>> {
        let since = self.since.as_deref().map(|since| resolve_since(store.repo(), since)).transpose()?;
        // Sightings too: each is a record that somebody wrote, and is taken away alone.
        let filter = Filter { agent: self.agent.clone(), since, sightings: true, ..Filter::default() };
        let mut rows = store.list(&filter)?;
        rows.retain(|row| matches!(row.text("state"), "active" | "sighting"));
        let chosen: std::collections::HashSet<_> =
            rows.iter().filter(|row| row.text("state") == "active").map(|row| row.text("id").to_owned()).collect();
        let is_covered = |row: &Row| chosen.contains(row.text("sighting_of"));
        rows.iter().filter(|row| !is_covered(row)).map(|row| row.text("id").parse()).collect()
    }

    fn rehearse(&self, context: &mut Context, store: &Store, targets: &[Id]) -> Outcome {
        for id in targets {
            let row = match store.read(|index| index.get(*id))? {
                Some(row) => row,
                None => Row(store.written(*id)?.to_json()),
            };
            print_row(&mut context.out, store, &row, self.common.json)?;
        }
        context.out.flush()?;
        talk!("would retract {}; nothing was changed", counted(targets.len()));
        Ok(Done::Well)
    }
}

fn counted(records: usize) -> String {
    if records == 1 { "1 record".to_owned() } else { format!("{records} records") }
}

/// Makes the event that retracts a record, or takes an event back.
pub fn retraction(saying: &Saying<'_>, target: Id, by: Option<Id>) -> Result<Record> {
    let time = saying.store.after_sightings(target)?;
    saying.event_at(time, Verb::Retracts, target, by)
}

/// Makes the events that take back every retraction of these in force.
fn undone(saying: &Saying<'_>, targets: &[Id]) -> Result<Vec<Record>> {
    let mut events = Vec::new();
    for target in targets {
        let retractions = in_force(saying.store, *target, Verb::Retracts)?;
        if retractions.is_empty() {
            return Err(none_in_force(*target, Verb::Retracts));
        }
        for event in retractions {
            events.push(saying.event(Verb::Retracts, event.id, None)?);
        }
    }
    Ok(events)
}

/// Reads ids, one a line: the first word, as `list` and `search` print them.
fn ids_of_stdin() -> Result<Vec<String>> {
    let mut text = String::new();
    std::io::stdin().take(LIST_MAX + 1).read_to_string(&mut text).doing(|| "read ids from stdin".into())?;
    if text.len() as u64 > LIST_MAX {
        return Err(Error::invalid("id", format!("stdin has more than {LIST_MAX} bytes")));
    }
    let ids: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    if ids.is_empty() {
        return Err(Error::invalid("id", "is missing: stdin has no ids"));
    }
    Ok(ids)
}
