//! `git elf list`: records, newest first.

use anstyle::{AnsiColor, Style};

use super::filter::FilterArgs;
use super::output::Output;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Result};
use crate::index::Row;

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
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let filter = self.filter.resolve(store.repo(), None)?;
        let rows = store.list(&filter)?;
        for row in &rows {
            print_row(&mut context.out, row, self.json)?;
        }
        Ok(Done::Well)
    }
}

/// Prints one record on one line: id, kind, domain, title.
pub fn print_row(out: &mut Output, row: &Row, json: bool) -> Result<()> {
    let doing = || "print".to_owned();
    if json {
        return out.json(&row.0).doing(doing);
    }
    let golden = if row.is("golden") { "*" } else { " " };
    let state = match row.text("state") {
        "active" => String::new(),
        state => format!(" [{state}]"),
    };
    let domain = match row.text("domain") {
        "" => String::new(),
        domain => format!("{domain}: "),
    };
    let rest = format!(" {golden}{:<11} {domain}{}{state}", row.text("kind"), row.text("title"));
    out.styled(&[(AnsiColor::Yellow.on_default(), row.text("id")), (Style::new(), &rest)]).doing(doing)
}
