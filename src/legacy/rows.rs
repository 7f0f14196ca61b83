//! From a row of the original's database to an entry.

use std::collections::HashMap;
use std::path::Path;

use super::database::Row;
use super::entry::{Entry, list, time};
use super::markdown::{source, topic};
use crate::error::{Error, Result};
use crate::record::{Kind, field};

/// The cycles of each experiment.
pub(super) type Cycles<'a> = HashMap<i64, Vec<&'a Row>>;

/// Finds the cycles among all rows.
pub(super) fn cycles(all: &[Row]) -> Cycles<'_> {
    let mut cycles = Cycles::new();
    for row in all.iter().filter(|row| row.table == "cycles") {
        if let Some(experiment) = row.whole("experiment_id") {
            cycles.entry(experiment).or_default().push(row);
        }
    }
    cycles
}

/// Makes the entry of a row; `None` for tables whose rows say something about others.
pub(super) fn entry(row: &Row, cycles: &Cycles<'_>) -> Result<Option<Entry>> {
    let (kind, title) = match row.table {
        "learnings" => (learned(row)?, "title"),
        "heuristics" => (Kind::Heuristic, "rule"),
        "decisions" => (Kind::Decision, "title"),
        "assumptions" => (Kind::Assumption, "assumption"),
        "invariants" => (Kind::Invariant, "statement"),
        "spike_reports" => (Kind::Spike, "title"),
        "experiments" => (Kind::Experiment, "name"),
        _ => return Ok(None),
    };
    let mut entry = Entry::new(kind, row.origin(), &row.text(title));
    entry.number = Some(row.id);
    entry.domain(&row.text("domain"));
    entry.tags(&row.text("tags"));
    entry.created = time(&row.text("created_at"));
    entry.updated = time(&row.text("updated_at"));
    if row.table == "learnings" {
        // The number of a lesson stands in no file.
        entry.number = None;
        entry.file = file_of(&row.text("filepath"));
        if let Some(severity) = row.whole("severity") {
            entry.key("severity", severity);
        }
        entry.section("", &row.text("summary"));
        return Ok(Some(entry));
    }
    match kind {
        Kind::Heuristic => heuristic(&mut entry, row),
        Kind::Decision => decision(&mut entry, row),
        Kind::Assumption => assumption(&mut entry, row),
        Kind::Invariant => invariant(&mut entry, row),
        Kind::Spike => spike(&mut entry, row),
        _ => experiment(&mut entry, row, cycles),
    }
    Ok(Some(entry))
}

fn learned(row: &Row) -> Result<Kind> {
    match row.text("type").as_str() {
        "event" => Err(Error::invalid("type", "\"event\" is no type of the original")),
        name => name.parse(),
    }
}

/// Returns the directory and the name of a file, whatever stands before them.
fn file_of(path: &str) -> Option<String> {
    let path = Path::new(path);
    let dir = path.parent()?.file_name()?.to_str()?;
    Some(format!("{dir}/{}", path.file_name()?.to_str()?))
}

/// Keeps columns of the original under their own names, where they say something.
fn keep(entry: &mut Entry, row: &Row, columns: &[&'static str]) {
    for column in columns {
        let text = row.text(column);
        if let Some(number) = row.whole(column).filter(|_| column.ends_with("_count") || *column == "cycles_run") {
            if number != 0 {
                entry.key(column, number);
            }
        } else if !text.is_empty() {
            entry.key(column, text);
        }
    }
}

/// Sets a key that takes one of a few words, and keeps any other word beside it.
fn choose(entry: &mut Entry, row: &Row, column: &'static str, beside: &'static str) {
    let word = row.text(column).trim().to_lowercase();
    if !word.is_empty() && !entry.chosen(column, &word) {
        entry.key(beside, word);
    }
}

/// Splits a text with commas.
fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn heuristic(entry: &mut Entry, row: &Row) {
    entry.file = entry.domain.as_ref().map(|domain| format!("heuristics/{domain}.md"));
    entry.confidence = row.real("confidence");
    entry.held = row.whole("times_validated").unwrap_or_default();
    entry.failed = row.whole("times_violated").unwrap_or_default();
    entry.golden = row.whole("is_golden").is_some_and(|golden| golden != 0);
    source(entry, &row.text("source_type"));
    entry.section("", &row.text("explanation"));
}

fn decision(entry: &mut Entry, row: &Row) {
    entry.status(&row.text("status"));
    entry.superseded_by = row.whole("superseded_by");
    entry.paths = split(&row.text("files_touched"));
    let sections = [
        ("Context", "context"),
        ("Options", "options_considered"),
        ("Decision", "decision"),
        ("Rationale", "rationale"),
    ];
    for (heading, column) in sections {
        entry.section(heading, &row.text(column));
    }
    entry.section("Tests", &list(&split(&row.text("tests_added"))));
}

fn assumption(entry: &mut Entry, row: &Row) {
    entry.confidence = row.real("confidence");
    entry.held = row.whole("verified_count").unwrap_or_default();
    entry.failed = row.whole("challenged_count").unwrap_or_default();
    entry.status(&row.text("status"));
    entry.section("", &row.text("context"));
    let source = row.text("source");
    if field::line("source", &source, field::NAME_MAX).is_err() {
        entry.section("Source", &source);
    } else if !source.trim().is_empty() {
        entry.key("source", source.trim());
    }
    keep(entry, row, &["last_verified_at"]);
}

fn invariant(entry: &mut Entry, row: &Row) {
    entry.status(&row.text("status"));
    choose(entry, row, "scope", "elf_scope");
    choose(entry, row, "severity", "elf_severity");
    entry.section("", &row.text("rationale"));
    let code = row.text("validation_code");
    if !code.trim().is_empty() && !entry.chosen("check", &code) {
        entry.section("Check", &code);
    }
    keep(entry, row, &["validation_type", "violation_count", "last_validated_at", "last_violated_at"]);
}

fn spike(entry: &mut Entry, row: &Row) {
    topic(entry, &row.text("topic"));
    for (heading, column) in [("Question", "question"), ("Findings", "findings"), ("Gotchas", "gotchas")] {
        entry.section(heading, &row.text(column));
    }
    entry.section("Resources", &list(&split(&row.text("resources"))));
    if let Some(minutes) = row.whole("time_invested_minutes") {
        entry.key("minutes", minutes);
    }
    keep(entry, row, &["access_count"]);
    if let Some(score) = row.real("usefulness_score").filter(|score| *score != 0.0) {
        entry.key("usefulness_score", score);
    }
}

fn experiment(entry: &mut Entry, row: &Row, cycles: &Cycles<'_>) {
    entry.status(&row.text("status"));
    entry.section("Hypothesis", &row.text("hypothesis"));
    let mut result = String::new();
    for cycle in cycles.get(&row.id).into_iter().flatten() {
        result.push_str(&format!("### Cycle {}\n\n", cycle.text("cycle_number")));
        for column in ["try_summary", "break_summary", "analysis", "learning_extracted"] {
            let text = cycle.text(column);
            if !text.trim().is_empty() {
                result.push_str(&format!("{}\n\n", text.trim()));
            }
        }
    }
    entry.section("Result", &result);
    keep(entry, row, &["cycles_run", "folder_path"]);
}
