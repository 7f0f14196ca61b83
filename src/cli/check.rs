//! `git elf check`: ledger, index and spool compared file by file.

use serde_json::{Map, json};

use super::output::Output;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Result};
use crate::index::Difference;
use crate::store::Report;

/// Paths that are printed for each finding; `--json` has all of them.
const SHOWN: usize = 20;

/// Compare the ledger with the index and the spool
///
/// Exit 3 when something needs attention. The ledger is the truth: --fix makes the index again and never edits a record.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf check\n  git elf check --fix")]
pub struct Args {
    /// Mend what derives from the ledger
    #[arg(long)]
    fix: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let report = store.check(self.fix)?;
        if self.json {
            context.out.json(&as_json(&report))?;
        } else {
            print(&mut context.out, &report)?;
        }
        Ok(if report.is_clean() { Done::Well } else { Done::Problems })
    }
}

/// The findings in the order of the report: heading, lines, what to do.
pub fn findings(report: &Report) -> Vec<(&'static str, Vec<String>, &'static str)> {
    let of =
        |wanted: fn(&Difference) -> Option<String>| report.differences.iter().filter_map(wanted).collect::<Vec<_>>();
    vec![
        (
            "rows without a file",
            of(|d| if let Difference::RowWithoutFile { path, .. } = d { Some(path.clone()) } else { None }),
            "git elf check --fix makes the index again",
        ),
        (
            "files without a row",
            of(|d| if let Difference::FileWithoutRow { path, .. } = d { Some(path.clone()) } else { None }),
            "git elf check --fix makes the index again",
        ),
        (
            "rows that differ from their file",
            of(|d| if let Difference::Differs { path, .. } = d { Some(path.clone()) } else { None }),
            "git elf check --fix makes the index again",
        ),
        ("damage of the index", report.integrity.clone(), "git elf check --fix makes the index again"),
        (
            "malformed files in the ledger",
            report.malformed.iter().map(|(path, problem)| format!("{path}: {problem}")).collect(),
            "correct these files on the ledger's ref with git; they are never changed here",
        ),
        (
            "records with a secret",
            report.secrets.iter().map(|(id, problem)| format!("{id}: {problem}")).collect(),
            "change the secret where it is used, since git keeps what was recorded; when it is none: git config --add elf.allowSecret RULE",
        ),
        (
            "spool entries that cannot be read",
            report.bad_entries.clone(),
            "look into them in spool/bad below .git/elf, record again what they say, then remove them",
        ),
        (
            "worktrees that are gone, with records that wait",
            report.orphans.clone(),
            "git elf flush commits them to their branch, if nobody has it checked out; git elf flush --adopt to this one",
        ),
    ]
}

fn print(out: &mut Output, report: &Report) -> Result<()> {
    let doing = || "print".to_owned();
    for fixed in &report.fixed {
        out.line(&format!("fixed: {fixed}")).doing(doing)?;
    }
    for (heading, lines, next) in findings(report).into_iter().filter(|(_, lines, _)| !lines.is_empty()) {
        out.line(&format!("{}: {heading}", lines.len())).doing(doing)?;
        for line in lines.iter().take(SHOWN) {
            out.line(&format!("  {line}")).doing(doing)?;
        }
        if lines.len() > SHOWN {
            out.line(&format!("  … and {} more: git elf check --json", lines.len() - SHOWN)).doing(doing)?;
        }
        out.line(&format!("  next: {next}")).doing(doing)?;
    }
    if !report.taken_back.is_empty() {
        out.line(&format!("{}: records that were taken back with git", report.taken_back.len())).doing(doing)?;
        for path in report.taken_back.iter().take(SHOWN) {
            out.line(&format!("  {path}")).doing(doing)?;
        }
        out.line("  nothing is wrong with that; git reflog has the commits").doing(doing)?;
    }
    if report.pending > 0 && report.waits {
        let line = format!("{}: records that wait for git elf flush, or for your commit of memory/", report.pending);
        out.line(&line).doing(doing)?;
    } else if report.pending > 0 {
        let line = format!("{}: records that wait in the spool and could not be committed now", report.pending);
        out.line(&line).doing(doing)?;
    }
    let verdict = if report.is_clean() { "ledger, index and spool agree" } else { "see above" };
    out.line(&format!("{} records, {} events: {verdict}", report.records, report.events)).doing(doing)
}

fn as_json(report: &Report) -> Map<String, serde_json::Value> {
    let mut object = Map::new();
    object.insert("clean".into(), json!(report.is_clean()));
    object.insert("records".into(), json!(report.records));
    object.insert("events".into(), json!(report.events));
    for (heading, lines, _) in findings(report) {
        object.insert(heading.replace(' ', "_"), json!(lines));
    }
    object.insert("taken_back".into(), json!(report.taken_back));
    object.insert("pending".into(), json!(report.pending));
    object.insert("fixed".into(), json!(report.fixed));
    object
}
