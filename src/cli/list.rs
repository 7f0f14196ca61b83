//! `git elf list`: records, newest first.

use anstyle::{AnsiColor, Style};
use serde_json::Value as Json;

use super::filter::FilterArgs;
use super::output::Output;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Result};
use crate::index::Row;
use crate::record::{Kind, fingerprint};
use crate::store::Store;

/// List records, newest first
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf list --kind failure --domain db --since \"2 weeks ago\"\n  git elf list --json --path src/lock.rs"
)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Print comma-separated values, with a line of names
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let scope = self.filter.scope();
        let filter = self.filter.resolve(store.repo(), None)?;
        let rows = store.list_within(&filter, scope)?;
        if self.csv {
            return print_csv(&mut context.out, &rows);
        }
        for row in &rows {
            print_row(&mut context.out, &store, row, self.json)?;
        }
        Ok(Done::Well)
    }
}

/// The keys that every record has, in the order of the JSON, and the confidence of those that have one.
const COLUMNS: [&str; 16] = [
    "id",
    "kind",
    "title",
    "domain",
    "tags",
    "created",
    "author",
    "agent",
    "paths",
    "confidence",
    "golden",
    "validated",
    "violated",
    "breached",
    "state",
    "body",
];

/// Prints records as RFC 4180 says, but for the line ends, which are those of the system's other tools.
fn print_csv(out: &mut Output, rows: &[Row]) -> Outcome {
    out.line(&COLUMNS.join(","))?;
    for row in rows {
        let cells = COLUMNS.map(|column| {
            let text = match row.0.get(column) {
                None | Some(Json::Null) => String::new(),
                Some(Json::String(text)) => text.clone(),
                Some(Json::Array(_)) => row.list(column).join(","),
                Some(other) => other.to_string(),
            };
            if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
        });
        out.text(&cells.join(","))?;
    }
    Ok(Done::Well)
}

/// Returns how often a failure was seen; `None` for a record that nothing but its id tells from others.
pub fn times_seen(row: &Row) -> Option<u64> {
    let is_counted = row.text("kind") == Kind::Failure.name() && fingerprint::is_computed(row.text("fingerprint"));
    // What waits is not counted yet.
    row.0.get("sighted").and_then(Json::as_u64).filter(|_| is_counted).map(|times| times.max(1))
}

/// Prints one record on one line: id, kind, domain, title, and where it was learned if that is not merged.
pub fn print_row(out: &mut Output, store: &Store, row: &Row, json: bool) -> Result<()> {
    let doing = || "print".to_owned();
    if json {
        return out.json(&row.0).doing(doing);
    }
    let golden = if row.is("golden") { "*" } else { " " };
    let state = match row.text("state") {
        "active" => String::new(),
        state => format!(" [{state}]"),
    };
    let reach = store.say_reach(row).map(|reach| format!(" [{reach}]")).unwrap_or_default();
    let domain = match row.text("domain") {
        "" => String::new(),
        domain => format!("{domain}: "),
    };
    let seen =
        times_seen(row).filter(|times| *times > 1).map(|times| format!(" (seen {times} times)")).unwrap_or_default();
    let rest = format!(" {golden}{:<11} {domain}{}{seen}{state}{reach}", row.text("kind"), row.text("title"));
    out.styled(&[(AnsiColor::Yellow.on_default(), row.text("id")), (Style::new(), &rest)]).doing(doing)
}
