//! `git elf why`: what was learned about files, about a line, or about what is staged.

use std::ffi::OsString;
use std::time::Duration;

use super::list::print_row;
use super::{Context, Done, Outcome, open_store};
use crate::error::Error;
use crate::index::Row;
use crate::store::{Store, Warnings};

/// Records that are printed when `--limit` does not say otherwise.
const LIMIT: usize = 20;
/// Lines that `--staged` prints at most.
const LINES: usize = 3;
/// Longest line of a warning, in characters.
const WIDTH: usize = 160;
/// How long git may take to say what is staged.
const PATIENCE: Duration = Duration::from_secs(10);

/// Show what was learned about files
///
/// A record counts when one of its globs covers the file or a former name of it; and with a line, when it was learned at the
/// commit that the line is from, in that commit's message, or right before.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf why src/lock.rs\n  git elf why src/lock.rs:120 --json\n  git elf why --staged"
)]
pub struct Args {
    /// Files or directories, each perhaps with a line
    #[arg(value_name = "PATH[:LINE]", required_unless_present = "staged")]
    paths: Vec<OsString>,
    /// Failures and invariants about what is staged, on three lines at most
    #[arg(long, conflicts_with = "paths")]
    staged: bool,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object a line, with what led to it
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        if self.staged {
            return self.warn(&store, context);
        }
        let spots = self.paths.iter().map(|typed| store.spot(typed)).collect::<Result<Vec<_>, Error>>()?;
        for row in store.why(&spots, self.limit.unwrap_or(LIMIT))? {
            print_row(&mut context.out, &store, &row, self.json)?;
            if !self.json {
                context.out.line(&format!("    {}", row.list("why").join("; ")))?;
            }
        }
        Ok(Done::Well)
    }

    fn warn(&self, store: &Store, context: &mut Context) -> Outcome {
        let found = store.warnings(self.limit.unwrap_or(if self.json { LIMIT } else { LINES }), PATIENCE, false)?;
        if self.json {
            found.rows.iter().try_for_each(|row| context.out.json(&row.0))?;
            return Ok(Done::Well);
        }
        for line in lines(&found) {
            context.out.line(&line)?;
        }
        Ok(Done::Well)
    }
}

/// Says what is known about staged files: three lines at most, the last of which counts what is left.
pub fn lines(found: &Warnings) -> Vec<String> {
    let shown = if found.total > LINES { LINES - 1 } else { LINES };
    let mut lines: Vec<_> = found.rows.iter().take(shown).map(line).collect();
    if found.total > lines.len() && !lines.is_empty() {
        lines.push(format!("{} more: git elf why --staged --json", found.total - lines.len()));
    }
    lines
}

fn line(row: &Row) -> String {
    let why = row.list("why");
    let why = why.first().copied().unwrap_or_default();
    let file = why.split(": path ").next().and_then(|why| why.split(": was ").next()).unwrap_or_default();
    let line = format!("{file}: {} {}: {}", row.text("kind"), row.text("id"), row.text("title"));
    if line.chars().count() <= WIDTH { line } else { line.chars().take(WIDTH - 1).chain(['…']).collect() }
}
