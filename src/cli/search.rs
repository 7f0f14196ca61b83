//! `git elf search`: full-text search, best first.

use super::filter::FilterArgs;
use super::list::print_row;
use super::{Context, Done, Outcome, open_store};

/// Records that are printed when `--limit` does not say otherwise.
const LIMIT: usize = 20;

/// Find records by their words, best first
///
/// All words must occur; when no record has all of them, records with any of them are shown. `"a phrase"` must occur as it is,
/// `-word` must not, `pre*` stands for every word that begins so.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf search wal checkpoint\n  git elf search '\"index.lock\" -windows' --kind failure --json\n  git elf search -- -word"
)]
pub struct Args {
    /// Words, "phrases", -exclusions, prefixes*
    #[arg(value_name = "QUERY", required = true, num_args = 1.., allow_hyphen_values = false)]
    query: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Print one JSON object a line, with its score (higher is better)
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let filter = self.filter.resolve(store.repo(), Some(LIMIT))?;
        let query = self.query.join(" ");
        for row in store.read(|index| index.search(&query, &filter))? {
            print_row(&mut context.out, &row, self.json)?;
        }
        Ok(Done::Well)
    }
}
