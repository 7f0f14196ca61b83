//! `git elf show`: whole records.

use anstyle::{AnsiColor, Style};
use serde_json::Value as Json;

use super::list::times_seen;
use super::output::Output;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Error, Result};
use crate::index::Row;
use crate::record::{Id, Kind, PRIOR_WEIGHT, Record, fold, live_events};
use crate::store::Store;

/// Show whole records
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf show 7k3v9\n  git elf show --history 7k3v9\n  git elf show --explain 7k3v9"
)]
pub struct Args {
    /// Ids, or unambiguous beginnings of at least 4 characters
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Add the events about each record, undone ones and overridden edits included
    #[arg(long)]
    history: bool,
    /// Show how the confidence comes about
    #[arg(long)]
    explain: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        for (i, typed) in self.ids.iter().enumerate() {
            let id = store.resolve(typed)?;
            let (mut row, events, id) = find_shown(&store, id)?;
            if row.text("kind") != Kind::Event.name() {
                store.read(|index| store.horizon(index)?.label(&mut row))?;
            }
            if self.json {
                let mut object = row.0;
                if self.history {
                    let sightings = store.sightings(id)?;
                    let sightings = sightings.iter().flat_map(|(record, events)| [record].into_iter().chain(events));
                    let events = events.iter().chain(sightings).map(|event| Json::Object(event.to_json())).collect();
                    object.insert("history".into(), Json::Array(events));
                }
                context.out.json(&object)?;
                continue;
            }
            if i > 0 {
                context.out.line("")?;
            }
            print(&mut context.out, &store, &row)?;
            if self.explain {
                let written = store.written(id)?;
                explain(&mut context.out, &row, &written)?;
            }
            if self.history {
                print_history(&mut context.out, &store.written(id)?, &events)?;
                for (record, events) in store.sightings(id)? {
                    print_events(&mut context.out, "sighted", &record, &events)?;
                }
            }
        }
        Ok(Done::Well)
    }
}

/// Finds a record; a sighting leads to the record that it counts for.
fn find_shown(store: &Store, id: Id) -> Result<(Row, Vec<Record>, Id)> {
    let (row, events) = find(store, id)?;
    let Ok(first) = row.text("sighting_of").parse() else { return Ok((row, events, id)) };
    talk!("{id} is a sighting of {first}, which is shown");
    let (row, events) = find(store, first)?;
    Ok((row, events, first))
}

/// Finds a record with its state, wherever it is; an event is shown as it was written.
pub fn find(store: &Store, id: Id) -> Result<(Row, Vec<Record>)> {
    // Before the index is read: a drain fills the index before it empties the spool.
    let waiting = store.spool().find(id.as_str()).pop();
    let mut found = store.read(|index| Ok((index.get(id)?, index.events_of(id)?)))?;
    found.1.sort_by_key(|event| (event.created, event.id));
    if let (Some(row), events) = found {
        return Ok((row, events));
    }
    let waits = waiting.is_some();
    let written = waiting.map_or_else(|| store.written(id), Ok)?;
    if written.kind == Kind::Event {
        return Ok((Row(written.to_json()), found.1));
    }
    if waits {
        return Ok((Row(fold(written, &found.1).to_json()), found.1));
    }
    Err(Error::NotFound { id: id.to_string() })
}

fn print(out: &mut Output, store: &Store, row: &Row) -> Result<()> {
    let doing = || "print".to_owned();
    let mut head = format!("{} {}", row.text("kind"), row.text("id"));
    if row.is("golden") {
        head.push_str(" golden");
    }
    if !matches!(row.text("state"), "active" | "") {
        head.push_str(&format!(" {}", row.text("state")));
    }
    out.styled(&[(AnsiColor::Yellow.on_default(), &head)]).doing(doing)?;
    out.styled(&[(Style::new().bold(), row.text("title"))]).doing(doing)?;
    let seen = times_seen(row);
    if let Some(times) = seen {
        let often = if times == 1 { "once".to_owned() } else { format!("{times} times") };
        out.line(&format!("seen {often}")).doing(doing)?;
    }
    for (key, value) in &row.0 {
        if matches!(key.as_str(), "id" | "kind" | "title" | "body" | "golden" | "state" | "score")
            || key == "sighted" && seen.is_some()
        {
            continue;
        }
        let text = match value {
            Json::Null | Json::Bool(false) => continue,
            Json::Number(number) if number.as_i64() == Some(0) && key.ends_with("ed") => continue,
            Json::Array(items) if items.is_empty() => continue,
            Json::String(_) if key == "reach" => store.say_reach(row).unwrap_or_else(|| row.text(key).to_owned()),
            Json::String(text) => text.clone(),
            Json::Array(_) => row.list(key).join(", "),
            other => other.to_string(),
        };
        out.line(&format!("{key}: {text}")).doing(doing)?;
    }
    if !row.text("body").is_empty() {
        out.line("").doing(doing)?;
        out.text(row.text("body")).doing(doing)?;
    }
    Ok(())
}

/// Shows the sum behind a folded confidence.
fn explain(out: &mut Output, row: &Row, written: &Record) -> Result<()> {
    let stated = written.own.get("confidence").and_then(toml::Value::as_float);
    let count = |key: &str| row.0.get(key).and_then(Json::as_u64).unwrap_or_default();
    let line = match stated {
        None => "no confidence: this kind does not state one".to_owned(),
        Some(stated) => format!(
            "confidence {} = ({PRIOR_WEIGHT} × {stated} + {held} validated) / ({PRIOR_WEIGHT} + {held} validated + {failed} violated)",
            row.0.get("confidence").unwrap_or(&Json::Null),
            held = count("validated"),
            failed = count("violated"),
        ),
    };
    out.line("").and_then(|()| out.line(&line)).doing(|| "print".into())
}

fn print_history(out: &mut Output, written: &Record, events: &[Record]) -> Result<()> {
    let doing = || "print".to_owned();
    out.line("").and_then(|()| out.line("history")).doing(doing)?;
    print_events(out, "recorded", written, events)
}

fn print_events(out: &mut Output, how: &str, written: &Record, events: &[Record]) -> Result<()> {
    let doing = || "print".to_owned();
    let live: Vec<Id> = live_events(events).iter().map(|event| event.id).collect();
    let line = format!("{} {} {how}: {}", written.created, written.id, written.title);
    out.line(&line).doing(doing)?;
    for event in events {
        let undone = if live.contains(&event.id) { "" } else { " (undone)" };
        let line = format!("{} {} {}{undone}", event.created, event.id, describe(event));
        out.line(&line).doing(doing)?;
    }
    Ok(())
}

/// Says in a few words what an event did.
pub fn describe(event: &Record) -> String {
    let verb = event.verb().map(crate::record::Verb::name).unwrap_or_default();
    let mut text = match (event.own_text("key"), event.own.get("value"), event.own_text("by")) {
        (Some("body"), _, _) => format!("{verb} body ({} characters)", event.body.chars().count()),
        (Some(key), Some(value), _) => format!("{verb} {key} = {value}"),
        (_, _, Some(by)) => format!("{verb}, superseded by {by}"),
        _ => verb.to_owned(),
    };
    if let Some(note) = event.own_text("note") {
        text.push_str(&format!(": {note}"));
    }
    if let Some(author) = &event.author {
        text.push_str(&format!(" ({author})"));
    }
    text
}
