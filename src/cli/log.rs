//! `git elf log`: what happened when, records and events alike.

use serde_json::{Map, Value as Json};

use super::filter::resolve_since;
use super::show::describe;
use super::{Context, Done, Outcome, open_store};
use crate::index::{Filter, Row};
use crate::record::{Record, Time, Verb};

/// Show what happened when: records and the events about them, newest first
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf log --since yesterday\n  git elf log -n 20 --json\n  git elf log --verb breaches --since \"7 days ago\""
)]
pub struct Args {
    /// Only since then: anything that `git log --since` takes
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events with this verb: validates, violates, breaches, sights, promotes, sets or retracts
    #[arg(long, value_name = "VERB")]
    verb: Option<String>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object a line, each as it stands in the ledger
    #[arg(long)]
    json: bool,
}

/// One line of the log.
struct Entry {
    time: i64,
    id: String,
    json: Map<String, Json>,
    line: String,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let since = self.since.map(|since| resolve_since(store.repo(), &since)).transpose()?;
        let verb = self.verb.as_deref().map(str::parse::<Verb>).transpose()?;
        let filter = Filter { since, limit: self.limit, all: true, sightings: true, ..Filter::default() };
        let mut entries = store.read(|index| {
            let mut entries = Vec::new();
            let Some(verb) = verb else {
                index.list(&filter, &mut |row| {
                    entries.push(Entry::of_record(row));
                    Ok(())
                })?;
                entries.extend(index.events(since, self.limit)?.iter().map(Entry::of_event));
                return Ok(entries);
            };
            let events = index.events(since, None)?;
            entries.extend(events.iter().filter(|event| event.verb() == Some(verb)).map(Entry::of_event));
            Ok(entries)
        })?;
        entries.sort_by(|a, b| (b.time, &b.id).cmp(&(a.time, &a.id)));
        for entry in entries.iter().take(self.limit.unwrap_or(usize::MAX)) {
            if self.json {
                context.out.json(&entry.json)?;
            } else {
                context.out.line(&entry.line)?;
            }
        }
        Ok(Done::Well)
    }
}

impl Entry {
    fn of_record(row: Row) -> Self {
        // The text of a time does not sort: its fraction has a variable length.
        let time = row.text("created").parse().map_or(0, Time::micros);
        let first = match row.text("sighting_of") {
            "" => String::new(),
            first => format!(" (a sighting of {first})"),
        };
        let line =
            format!("{} {} {}: {}{first}", row.text("created"), row.text("id"), row.text("kind"), row.text("title"));
        Self { time, id: row.text("id").to_owned(), line, json: row.0 }
    }

    fn of_event(event: &Record) -> Self {
        let target = event.own_text("target").unwrap_or_default();
        let line = format!("{} {} {target} {}", event.created, event.id, describe(event));
        Self { time: event.created.micros(), id: event.id.to_string(), line, json: event.to_json() }
    }
}
