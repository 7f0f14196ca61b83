//! `git elf doctor`: everything that `check` finds, and everything around the memory that can be wrong.

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value as Json, json};

use super::output::Output;
use super::{Context, Done, Outcome, check, open_silently};
use crate::doctor::{Finding, Level, examine, unchecked};
use crate::error::{Doing, Result};
use crate::store::{Report, Store};

/// Names that are printed for each finding; `--json` has all of them.
const SHOWN: usize = 20;

/// Look at the memory and everything around it: hooks, remotes, locks, waits, disk
///
/// Exit 3 when something needs you. Nothing is changed but what every command does: records that wait are committed, and the
/// index is brought up to date.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf doctor\n  git elf doctor --json")]
pub struct Args {
    /// Print one JSON object: {"problems","warnings","findings"}
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_silently()?;
        let mut findings = compared(&store);
        findings.extend(examine(&store));
        // Stable: within a level the order is that of the questions.
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
        let (problems, warnings) = (count(Level::Problem), count(Level::Warn));
        if self.json {
            let mut object = Map::new();
            object.insert("problems".into(), json!(problems));
            object.insert("warnings".into(), json!(warnings));
            object.insert("findings".into(), findings.iter().map(as_json).collect());
            context.out.json(&object)?;
        } else {
            findings.iter().try_for_each(|finding| print(&mut context.out, finding))?;
            let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
            context.out.line(&format!("{}, {}", plural(problems, "problem"), plural(warnings, "warning")))?;
        }
        Ok(if problems == 0 { Done::Well } else { Done::Problems })
    }
}

/// Runs the comparison of `git elf check`, which also drains the spool and catches up.
fn compared(store: &Store) -> Vec<Finding> {
    let report = match store.check(false) {
        Ok(report) => report,
        Err(error) => return vec![unchecked(store, &error)],
    };
    let found = |(heading, lines, next): (&str, Vec<String>, &str)| {
        (!lines.is_empty()).then(|| Finding::new(Level::Problem, "check", heading, next).with(lines))
    };
    let mut findings: Vec<_> = check::findings(&report).into_iter().filter_map(found).collect();
    if findings.is_empty() {
        let Report { records, events, .. } = report;
        findings.push(Finding::ok("check", format!("ledger and index agree: {records} records, {events} events")));
    }
    findings
}

fn print(out: &mut Output, finding: &Finding) -> Result<()> {
    let doing = || "print".to_owned();
    let style = match finding.level {
        Level::Problem => AnsiColor::Red.on_default().bold(),
        Level::Warn => AnsiColor::Yellow.on_default().bold(),
        Level::Info | Level::Ok => Style::new(),
    };
    let (level, what) = (format!("{:<7}", finding.level.name()), format!("  {}: {}", finding.topic, finding.what));
    out.styled(&[(style, &level), (Style::new(), &what)]).doing(doing)?;
    let indent = " ".repeat(9);
    for detail in finding.details.iter().take(SHOWN) {
        out.line(&format!("{indent}{detail}")).doing(doing)?;
    }
    if finding.details.len() > SHOWN {
        let more = finding.details.len() - SHOWN;
        out.line(&format!("{indent}… and {more} more: git elf doctor --json")).doing(doing)?;
    }
    if !finding.next.is_empty() {
        out.line(&format!("{indent}next: {}", finding.next)).doing(doing)?;
    }
    Ok(())
}

fn as_json(finding: &Finding) -> Json {
    json!({
        "level": finding.level.name(),
        "topic": finding.topic,
        "what": finding.what,
        "next": (!finding.next.is_empty()).then_some(&finding.next),
        "details": finding.details,
    })
}
