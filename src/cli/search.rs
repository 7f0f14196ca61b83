//! `git elf search`: full-text search, best first.

use std::ffi::OsString;

use serde_json::Value as Json;

use super::filter::FilterArgs;
use super::list::print_row;
use super::output::Output;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Result};
use crate::index::Row;

/// Records that are printed when `--limit` does not say otherwise.
const LIMIT: usize = 20;

/// Find records by their words, best first
///
/// All words must occur, or inflections of them; when no record has all of them, slips of the keyboard are taken back, and at
/// last records with any of them are shown. `"a phrase"` must occur as it is, `-word` must not, `pre*` stands for every word
/// that begins so.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf search wal checkpoint\n  git elf search '\"index.lock\" -windows' --kind failure --json\n  git elf search --explain merge conflict\n  git elf search -- -word"
)]
pub struct Args {
    /// Words, "phrases", -exclusions, prefixes*
    #[arg(value_name = "QUERY", required = true)]
    query: Vec<String>,
    /// Leave out records with this word or phrase; `-WORD` in the query is the same
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    without: Vec<String>,
    /// Show what each score is made of
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Print one JSON object a line, with its score (higher is better)
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let scope = self.filter.scope();
        let filter = self.filter.resolve(store.repo(), Some(LIMIT))?;
        let without = self.without.iter().map(|word| format!(" -\"{}\"", word.replace('"', " ")));
        let query = self.query.join(" ") + &without.collect::<String>();
        for mut row in store.select(&filter, scope, |index, filter| index.search(&query, filter))? {
            let parts = row.0.shift_remove("explain").filter(|_| self.explain);
            if let (true, Some(parts)) = (self.json, &parts) {
                row.0.insert("explain".into(), parts.clone());
            }
            print_row(&mut context.out, &store, &row, self.json)?;
            if let (false, Some(parts)) = (self.json, &parts) {
                explain(&mut context.out, &row, parts)?;
            }
        }
        Ok(Done::Well)
    }
}

/// Prints the sum behind a score: a line for each word that was found, and one for what follows from them.
fn explain(out: &mut Output, row: &Row, parts: &Json) -> Result<()> {
    let number = |value: &Json| value.as_f64().unwrap_or_default();
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for word in parts["words"].as_array().into_iter().flatten() {
        let (typed, found, weight) = (text(&word["typed"]), text(&word["found"]), number(&word["weight"]));
        let form = if weight < 1.0 { format!("{typed} as {found}, weight {weight}") } else { typed };
        lines.push(format!("{:>9.3}  {form}", number(&word["score"])));
    }
    lines.push(format!("{:>9.3}  to the fourth: share of the query", number(&parts["coverage"])));
    lines.push(format!("{:>9.3}  times: how short the record is", number(&parts["focus"])));
    for name in ["typed", "domain", "path", "evidence", "golden", "recency", "scope"] {
        if number(&parts[name]) != 0.0 {
            lines.push(format!("{:>+9.3}  {name}", number(&parts[name])));
        }
    }
    lines.push(format!("{:>9.3}  score", number(&row.0["score"])));
    for line in lines {
        out.line(&format!("    {line}")).doing(|| "print".into())?;
    }
    Ok(())
}

/// Turns the words of the command line that exclude (`-word`) into options, since a word that begins with a dash would be
/// taken for a misspelt one. `-h`, `-n` and `-n5` keep their meaning.
pub fn spell_out_exclusions(args: Vec<OsString>) -> Vec<OsString> {
    if args.get(1).is_none_or(|verb| verb != "search") {
        return args;
    }
    let mut literal = false;
    let spell = |arg: OsString| {
        literal |= arg == "--";
        let word = arg.to_str().and_then(|arg| arg.strip_prefix('-')).filter(|word| !literal && !word.starts_with('-'));
        let is_option =
            |word: &str| word == "h" || word.strip_prefix('n').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        match word.filter(|word| !word.is_empty() && !is_option(word)) {
            Some(word) => format!("--without={word}").into(),
            None => arg,
        }
    };
    args.into_iter().map(spell).collect()
}
