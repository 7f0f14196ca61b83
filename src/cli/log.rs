//! `git elf log`: what happened when, records and events alike.

use serde_json::{Value as Json, json};

use super::filter::resolve_since;
use super::show::describe;
use super::{Context, Done, Outcome};
use crate::index::{EventRow, Filter, Row};

/// Show what happened when: records and the events about them, newest first
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf log --since yesterday\n  git elf log -n 20 --json")]
pub struct Args {
    /// Only since then: anything that `git log --since` takes
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object a line, each as it stands in the ledger
    #[arg(long)]
    json: bool,
}

/// One line of the log.
enum Entry {
    Record(Row),
    Event(EventRow),
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = context.store()?;
        let since = self.since.map(|since| resolve_since(store.repo(), &since)).transpose()?;
        let filter = Filter { since, limit: self.limit, all: true, ..Filter::default() };
        let mut entries = store.read(|index| {
            let mut entries = Vec::new();
            index.list(&filter, &mut |row| {
                entries.push(Entry::Record(row));
                Ok(())
            })?;
            entries.extend(index.events(since, self.limit)?.into_iter().map(Entry::Event));
            Ok(entries)
        })?;
        entries.sort_by_cached_key(|entry| std::cmp::Reverse(entry.key()));
        entries.truncate(self.limit.unwrap_or(usize::MAX));
        for entry in entries {
            match entry {
                Entry::Record(row) if self.json => context.out.json(&row.0)?,
                Entry::Event(row) if self.json => {
                    let mut object = row.event.to_json();
                    object.insert("target".into(), json!(row.event.own.get("target").and_then(|id| id.as_str())));
                    context.out.json(&object)?;
                }
                Entry::Record(row) => {
                    let line = format!(
                        "{} {} {}: {}",
                        row.text("created"),
                        row.text("id"),
                        row.text("kind"),
                        context.out.shown_line(row.text("title"))
                    );
                    context.out.line(&line)?;
                }
                Entry::Event(row) => {
                    let target = row.event.own_text("target").unwrap_or_default();
                    let what = format!("{target} {}", describe(&row.event));
                    let line = format!("{} {} {}", row.event.created, row.event.id, context.out.shown_line(&what));
                    context.out.line(&line)?;
                }
            }
        }
        Ok(Done::Well)
    }
}

impl Entry {
    /// Orders by time; the text of a time does not sort, since its fraction has a variable length.
    fn key(&self) -> (i64, String) {
        match self {
            Self::Event(row) => (row.event.created.micros(), row.event.id.to_string()),
            Self::Record(row) => {
                let created = row.0.get("created").and_then(Json::as_str);
                let time = created.and_then(|text| text.parse::<crate::record::Time>().ok());
                (time.map_or(0, crate::record::Time::micros), row.text("id").to_owned())
            }
        }
    }
}
