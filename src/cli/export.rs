//! `git elf export`: every record as it stands in the ledger, events included.

use super::output::Output;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Error, Result};
use crate::index::{Filter, Row};
use crate::ledger::{Change, Content};

/// Print every record, for another repository or for reading
///
/// jsonl has records and events as they were written; importing it into an empty repository gives the same ids, events and
/// states. markdown has the records as they are known now.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf export > memory.jsonl\n  git elf export --format markdown > MEMORY.md")]
pub struct Args {
    /// jsonl or markdown
    #[arg(long, default_value = "jsonl", value_parser = ["jsonl", "markdown"])]
    format: String,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        if self.format == "markdown" {
            let filter = Filter::default();
            let rows = store.list(&filter)?;
            rows.iter().try_for_each(|row| print_markdown(&mut context.out, row))?;
            return Ok(Done::Well);
        }
        // Brings what waits in the spool into the ledger first.
        store.read(|_| Ok(()))?;
        let ledger = store.ledger();
        let tree = ledger.tip()?.map(|tip| tip.tree);
        let mut skipped = 0;
        ledger.changes(None, tree, &|_| true, &mut |change: Change| {
            let problem = match change.new {
                None => return Ok(()),
                Some(Content::Stray(problem)) => problem,
                Some(Content::File(item)) => match ledger.record_at(&change.path, item) {
                    Ok(record) => return context.out.json(&record.to_json()).doing(|| "print".into()),
                    Err(error @ Error::Invalid { .. }) => error.to_string(),
                    Err(error) => return Err(error),
                },
            };
            skipped += 1;
            talk!("elf: skipped {}: {problem}", change.path);
            Ok(())
        })?;
        for record in store.waiting()? {
            context.out.json(&record.to_json())?;
        }
        Ok(if skipped == 0 { Done::Well } else { Done::Problems })
    }
}

fn print_markdown(out: &mut Output, row: &Row) -> Result<()> {
    let doing = || "print".to_owned();
    out.line(&format!("## {}", row.text("title"))).doing(doing)?;
    out.line("").doing(doing)?;
    let mut facts = vec![row.text("kind").to_owned(), row.text("id").to_owned(), row.text("created").to_owned()];
    facts.extend(["domain", "author", "agent"].iter().map(|key| row.text(key).to_owned()));
    facts.extend(row.list("tags").iter().map(|tag| format!("#{tag}")));
    facts.retain(|fact| !fact.is_empty());
    out.line(&format!("*{}*", facts.join(" · "))).doing(doing)?;
    if !row.text("body").is_empty() {
        out.line("").doing(doing)?;
        out.text(row.text("body")).doing(doing)?;
    }
    out.line("").doing(doing)
}
