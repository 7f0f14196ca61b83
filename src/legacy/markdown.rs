//! The markdown of the original's scripts. Every function takes any text: what does not look like theirs stays text.

use super::entry::{Entry, GOLDEN_CONFIDENCE, date, trimmed};
use crate::error::{Error, Result};
use crate::record::Kind;

/// Placeholders of the template for a failure, which nobody filled in.
const PLACEHOLDERS: [&str; 4] = [
    "[Describe the failure in detail]",
    "[What was the underlying issue?]",
    "[What were the consequences?]",
    "[What heuristic or practice would prevent this?]",
];
/// What the script for decisions writes below "Consequences" of each.
const CONSEQUENCES: [&str; 3] = [
    "- This decision establishes a pattern for future similar situations",
    "- Related architectural decisions should reference this ADR",
    "- If context changes, this decision should be revisited",
];
/// The last line of every spike.
const SPIKE_END: &str = "*This spike report captures research knowledge for future sessions.*";

/// Headings of the scripts, in their order, and the headings that their texts get.
type Headings = &'static [(&'static str, &'static str)];

const LESSON: Headings = &[
    ("Summary", ""),
    ("What Happened", "What Happened"),
    ("Root Cause", "Root Cause"),
    ("Impact", "Impact"),
    ("Prevention", "Prevention"),
    ("Related", "Related"),
];
const DECISION: Headings = &[
    ("Context", "Context"),
    ("Options Considered", "Options"),
    ("Decision", "Decision"),
    ("Rationale", "Rationale"),
    ("Files Touched", "Files"),
    ("Tests Added", "Tests"),
    ("Consequences", "Consequences"),
];
const SPIKE: Headings = &[
    ("Topic", "Topic"),
    ("Question", "Question"),
    ("Findings", "Findings"),
    ("Gotchas / Pitfalls", "Gotchas"),
    ("Resources Consulted", "Resources"),
];

/// A file with one entry, taken apart.
struct Page<'a> {
    heading: &'a str,
    facts: Vec<(String, &'a str)>,
    /// What stands before the first known heading, then each of these; empty ones are left out.
    sections: Vec<(&'static str, String)>,
}

impl<'a> Page<'a> {
    fn read(text: &'a str, headings: Headings) -> Result<Self> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("# "));
        let heading =
            lines.next().ok_or_else(|| Error::invalid("file", "has no heading; nothing was taken from it"))?;
        let mut page = Self { heading: heading[2..].trim(), facts: Vec::new(), sections: vec![("", String::new())] };
        let mut next = 0;
        let mut in_head = true;
        for line in lines {
            let found = line.strip_prefix("## ").and_then(|name| {
                headings[next..].iter().position(|(heading, _)| heading.eq_ignore_ascii_case(name.trim()))
            });
            if let Some(found) = found {
                page.sections.push((headings[next + found].1, String::new()));
                next += found + 1;
                in_head = false;
                continue;
            }
            if in_head {
                if let Some(fact) = fact(line) {
                    page.facts.push(fact);
                    continue;
                }
                if matches!(line.trim(), "" | "---") {
                    continue;
                }
                in_head = false;
            }
            let text = &mut page.sections.last_mut().expect("it starts with one").1;
            text.push_str(line);
            text.push('\n');
        }
        Ok(page)
    }

    fn fact(&self, name: &str) -> Option<&'a str> {
        self.facts.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    fn fill(&self, entry: &mut Entry) {
        entry.domain(self.fact("domain").unwrap_or_default());
        entry.tags(self.fact("tags").unwrap_or_default());
        entry.created = self.fact("date").and_then(date);
    }
}

/// Reads `**Key**: value` and `**Key:** value`.
fn fact(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim().strip_prefix("**")?.split_once("**")?;
    let (key, value) = match key.strip_suffix(':') {
        Some(key) => (key, value),
        None => (key, value.strip_prefix(':')?),
    };
    Some((key.to_lowercase(), value.trim()))
}

/// Reads a number after a prefix: `ADR-7` of `ADR-7: title`, and the rest.
fn numbered<'a>(text: &'a str, prefix: &str) -> Option<(i64, &'a str)> {
    let rest = text.strip_prefix(prefix)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    Some((rest[..digits].parse().ok()?, &rest[digits..]))
}

/// Returns the items of a markdown list.
fn items(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("- ").trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Reads a file of `failures/`, `successes/` or `observations/`.
pub(super) fn lesson(kind: Kind, path: &str, text: &str) -> Result<Entry> {
    let page = Page::read(text, LESSON)?;
    let mut entry = Entry::new(kind, path.to_owned(), page.heading);
    page.fill(&mut entry);
    if let Some(severity) = page.fact("severity").and_then(|severity| severity.parse::<i64>().ok()) {
        entry.key("severity", severity);
    }
    for (heading, text) in &page.sections {
        let unfilled = PLACEHOLDERS.contains(&text.trim())
            || (*heading == "Related"
                && text.lines().all(|line| line.trim().is_empty() || line.trim().ends_with("**:")));
        if !unfilled {
            entry.section(heading, text);
        }
    }
    Ok(entry)
}

/// Reads a file of `decisions/`.
pub(super) fn decision(path: &str, text: &str) -> Result<Entry> {
    let page = Page::read(text, DECISION)?;
    let (number, title) = match numbered(page.heading, "ADR-") {
        Some((number, rest)) => (Some(number), rest.trim_start_matches(':')),
        None => (None, page.heading),
    };
    let mut entry = Entry::new(Kind::Decision, path.to_owned(), title);
    entry.number = number;
    page.fill(&mut entry);
    entry.status(page.fact("status").unwrap_or_default());
    for (heading, text) in &page.sections {
        match *heading {
            "Files" => entry.paths = items(text),
            "Consequences" => {
                let own = |line: &&str| {
                    let end = fact(line).is_some_and(|(key, _)| key == "id" || key == "created");
                    !end && !CONSEQUENCES.contains(line) && line.trim() != "---"
                };
                entry.section(heading, &text.lines().filter(own).collect::<Vec<_>>().join("\n"));
            }
            _ => entry.section(heading, text),
        }
    }
    Ok(entry)
}

/// Reads a file of `spikes/`.
pub(super) fn spike(path: &str, text: &str) -> Result<Entry> {
    let page = Page::read(text, SPIKE)?;
    let title = page.heading.strip_prefix("Spike Report:").unwrap_or(page.heading);
    let mut entry = Entry::new(Kind::Spike, path.to_owned(), title);
    page.fill(&mut entry);
    entry.number = page.fact("id").and_then(|id| numbered(id, "SPIKE-")).map(|(number, _)| number);
    let invested = page.fact("time invested").and_then(|time| time.split(' ').next()?.parse::<i64>().ok());
    if let Some(minutes) = invested {
        entry.key("minutes", minutes);
    }
    for (heading, text) in &page.sections {
        let text = match text.trim_end().strip_suffix(SPIKE_END) {
            Some(text) => text.trim_end().strip_suffix("---").unwrap_or(text),
            None => text,
        };
        match *heading {
            "Topic" if !text.trim().is_empty() => topic(&mut entry, text),
            _ => entry.section(heading, text),
        }
    }
    Ok(entry)
}

/// Sets the topic of a spike; one that is no short line becomes a section.
pub(super) fn topic(entry: &mut Entry, text: &str) {
    let text = text.trim();
    if text.is_empty() || entry.chosen("topic", text) {
        return;
    }
    entry.section("Topic", text);
}

/// Reads `heuristics/<domain>.md`.
pub(super) fn heuristics(path: &str, domain: &str, text: &str) -> Vec<Entry> {
    let lines: Vec<&str> = text.lines().collect();
    // An explanation may hold a line that looks like a heading: only with its confidence below is it one.
    let begins = |at: usize| {
        let (number, title) = numbered(lines[at], "## H-")?;
        let title = title.strip_prefix(':')?;
        let below = lines[at + 1..].iter().find(|line| !line.trim().is_empty())?;
        fact(below).filter(|(key, _)| key == "confidence").map(|_| (number, title))
    };
    let starts: Vec<_> = (0..lines.len()).filter_map(|at| begins(at).map(|found| (at, found))).collect();
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([lines.len()]);
    let mut entries = Vec::new();
    for ((at, (number, title)), end) in starts.iter().zip(ends) {
        let mut entry = Entry::new(Kind::Heuristic, format!("{path} H-{number}"), title);
        entry.number = Some(*number);
        entry.file = Some(path.to_owned());
        entry.domain(domain);
        let rest = facts(&lines[at + 1..end], |key, value| match key {
            "confidence" => entry.confidence = value.parse().ok(),
            "source" => source(&mut entry, value),
            "created" => entry.created = date(value),
            _ => {}
        });
        entry.section("", without_rule(&rest));
        entries.push(entry);
    }
    entries
}

/// Says what a heuristic was learned from; words that are none of the three are kept beside.
pub(super) fn source(entry: &mut Entry, word: &str) {
    if !word.is_empty() && !entry.chosen("source", word) {
        entry.key("source_type", word);
    }
}

/// Reads `golden-rules.md`.
pub(super) fn golden_rules(path: &str, text: &str) -> Vec<Entry> {
    let lines: Vec<&str> = text.lines().collect();
    let mut entries = Vec::new();
    let begins = |line: &str| {
        let (number, rest) = numbered(line, "## ")?;
        rest.strip_prefix(". ").map(|title| (number, title.to_owned()))
    };
    for (at, line) in lines.iter().enumerate() {
        let Some((number, title)) = begins(line) else { continue };
        let below = &lines[at + 1..];
        let end = below.iter().position(|line| line.starts_with("# ") || begins(line).is_some()).unwrap_or(below.len());
        let mut entry = Entry::new(Kind::Heuristic, format!("{path} {number}"), &title);
        entry.rule = Some(number);
        entry.file = Some(path.to_owned());
        entry.golden = true;
        entry.confidence = Some(GOLDEN_CONFIDENCE);
        let mut text = String::new();
        for line in &below[..end] {
            match fact(line) {
                Some((key, value)) if key == "promoted" => {
                    entry.created = date(value);
                    entry.key("promoted", value);
                }
                Some((key, value)) if key == "validations" => entry.key("validations", value),
                Some((key, value)) if key == "category" => entry.tags(value),
                _ => {
                    text.push_str(line.strip_prefix("> ").unwrap_or(line));
                    text.push('\n');
                }
            }
        }
        entry.section("", without_rule(&text));
        entries.push(entry);
    }
    // Rules that were there at the set-up have no date: they are as old as the oldest that has one.
    let first = entries.iter().filter_map(|entry| entry.created).min();
    for entry in &mut entries {
        entry.created = entry.created.or(first);
    }
    entries
}

/// Hands out the facts at the head of an entry and returns the rest.
fn facts(lines: &[&str], mut each: impl FnMut(&str, &str)) -> String {
    let mut lines = lines.iter().peekable();
    while let Some(line) = lines.peek() {
        match fact(line) {
            Some((key, value)) => each(&key, value),
            None if line.trim().is_empty() => {}
            None => break,
        }
        lines.next();
    }
    lines.copied().collect::<Vec<_>>().join("\n")
}

/// Removes the rule that ends an entry.
fn without_rule(text: &str) -> &str {
    let text = trimmed(text);
    text.strip_suffix("---").filter(|rest| rest.is_empty() || rest.ends_with('\n')).unwrap_or(text)
}
