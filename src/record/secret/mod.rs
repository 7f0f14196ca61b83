//! Finding secrets in text before it is written anywhere.
//!
//! Three tables decide: `shapes` has tokens that their prefix or structure gives away, `context` what a name, a URL or a header
//! around it gives away, and `looks` tells random text from words and from stand-ins. There is no regular expression: compiling
//! the 221 of a well-known catalogue costs a thousand times what recording a lesson does.
//!
//! The time is linear: one pass over the text, and a bounded look forward and backward at each byte.

mod context;
mod looks;
mod shapes;

use std::borrow::Cow;
use std::ops::Range;

use toml::{Table, Value};

use super::Record;
use crate::error::{Error, Result};

/// The key that keeps which rules were allowed for a record, so that a finding is accepted once and for all.
pub const ALLOWED_KEY: &str = "allow_secret";

/// Keys whose values cannot be a secret: they are checked to be ids, object names, times and words.
const HARMLESS: [&str; 7] = ["id", "kind", "created", "commit", "target", "by", ALLOWED_KEY];

/// Something that looks like a secret. It says where, never what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static str,
    /// Bytes of the text.
    pub range: Range<usize>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// Finds what looks like a secret, in the order of the text.
pub fn scan(text: &str) -> Vec<Finding> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    let mut word_end = 0;
    while at < bytes.len() {
        let mut hit = shapes::at(bytes, at).map(|(rule, end)| (rule, at..end));
        if hit.is_none() && at >= word_end {
            let length = context::word_length(&bytes[at..]);
            word_end = at + length.max(1);
            if length > 0 {
                hit = context::at(bytes, at..at + length);
            }
        }
        match hit {
            Some((rule, range)) => {
                at = range.end.max(at + 1);
                found.push((rule, range));
            }
            None => at += 1,
        }
    }
    located(text, found)
}

/// Adds lines and columns, in one pass.
fn located(text: &str, found: Vec<(&'static str, Range<usize>)>) -> Vec<Finding> {
    let (mut line, mut column, mut seen) = (1, 1, 0);
    let mut located = Vec::with_capacity(found.len());
    for (rule, range) in found {
        for byte in &text.as_bytes()[seen..range.start] {
            // Only the first byte of a character counts.
            match byte {
                b'\n' => (line, column) = (line + 1, 1),
                0x80..=0xbf => {}
                _ => column += 1,
            }
        }
        seen = range.start;
        located.push(Finding { rule, range, line, column });
    }
    located
}

/// Finds secrets in every value of a record that is about to be written, and in its keys: field and finding.
pub fn in_parts(table: &Table, body: &str) -> Vec<(String, Finding)> {
    let mut found = Vec::new();
    for (key, value) in table.iter().filter(|(key, _)| !HARMLESS.contains(&key.as_str())) {
        in_value(key, key, value, &mut found);
    }
    // An edit keeps the name and the value of what it sets apart.
    if let (Some(Value::String(key)), Some(value)) = (table.get("key"), table.get("value"))
        && found.is_empty()
    {
        in_value("value", key, value, &mut found);
    }
    found.extend(scan(body).into_iter().map(|finding| ("body".to_owned(), finding)));
    found
}

fn in_value(field: &str, key: &str, value: &Value, found: &mut Vec<(String, Finding)>) {
    match value {
        Value::String(text) => {
            let before = found.len();
            found.extend(scan(text).into_iter().map(|finding| (field.to_owned(), finding)));
            // The key may be what gives the value away: `--set password=…`.
            let lead = key.len() + "=".len();
            if found.len() == before
                && let Some(finding) = scan(&format!("{key}={text}")).into_iter().next()
            {
                let in_text = finding.range.start >= lead && finding.line == 1;
                let column = if in_text { finding.column - key.chars().count() - 1 } else { finding.column };
                found.push((field.to_owned(), Finding { column, ..finding }));
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                in_value(&format!("{field}[{i}]"), key, item, found);
            }
        }
        Value::Table(table) => {
            for (key, value) in table {
                in_value(&format!("{field}.{key}"), key, value, found);
            }
        }
        _ => found.extend(scan(key).into_iter().map(|finding| (field.to_owned(), finding))),
    }
}

/// Lists the rules that a record carries as allowed.
pub fn allowed_by(table: &Table) -> Vec<&str> {
    let list = table.get(ALLOWED_KEY).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Refuses a record with a finding that nobody allowed, and notes in it which rules were.
///
/// # Errors
/// [`Error::Secret`] with every finding that is not allowed.
pub(super) fn admit(table: &mut Table, body: &str, allowed: &[String]) -> Result<()> {
    let found = in_parts(table, body);
    if found.is_empty() {
        return Ok(());
    }
    let carried = allowed_by(table);
    let is_allowed = |rule: &str| carried.contains(&rule) || allowed.iter().any(|allowed| allowed == rule);
    let refused: Vec<_> = found.iter().filter(|(_, finding)| !is_allowed(finding.rule)).cloned().collect();
    if !refused.is_empty() {
        return Err(error(&refused));
    }
    let mut rules: Vec<String> = found.iter().map(|(_, finding)| finding.rule.to_owned()).collect();
    rules.extend(carried.into_iter().map(str::to_owned));
    rules.sort_unstable();
    rules.dedup();
    table.insert(ALLOWED_KEY.to_owned(), rules.into());
    Ok(())
}

/// Refuses a text with any finding.
///
/// # Errors
/// [`Error::Secret`] with every finding.
pub(super) fn refuse(field: &str, text: &str) -> Result<()> {
    let found: Vec<_> = scan(text).into_iter().map(|finding| (field.to_owned(), finding)).collect();
    if found.is_empty() { Ok(()) } else { Err(error(&found)) }
}

impl Record {
    /// Finds what looks like a secret in a record that somebody else may have written, but for the rules that it carries as
    /// allowed or that `allowed` names: field and finding.
    pub fn secrets(&self, allowed: &[String]) -> Vec<(String, Finding)> {
        let mut found = in_parts(&self.front().into_iter().collect(), &self.body);
        let carried = allowed_by(&self.extra);
        found.retain(|(_, finding)| {
            !carried.contains(&finding.rule) && !allowed.iter().any(|allowed| allowed == finding.rule)
        });
        found
    }
}

/// Says what was found, without repeating it.
fn error(found: &[(String, Finding)]) -> Error {
    let (field, first) = &found[0];
    Error::Secret {
        field: redacted(field.split(['[', '.']).next().unwrap_or(field)).into_owned(),
        rule: first.rule,
        places: places(found),
    }
}

/// Lists rules and positions, at most five.
pub fn places(found: &[(String, Finding)]) -> String {
    let place = |(field, finding): &(String, Finding)| {
        format!("{} in {} at line {}, column {}", finding.rule, redacted(field), finding.line, finding.column)
    };
    let places: Vec<_> = found.iter().take(5).map(place).collect();
    let more = if found.len() > 5 { format!(" and {} more", found.len() - 5) } else { String::new() };
    format!("{}{more}", places.join("; "))
}

/// Replaces what looks like a secret by the name of its rule: for whatever is printed about input that was refused.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let found = scan(text);
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for finding in found {
        // A token is ASCII, but what was cut at a limit may end inside a character.
        let end = (finding.range.end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
        let start = (0..=finding.range.start).rev().find(|start| text.is_char_boundary(*start)).unwrap_or(0).max(at);
        out.push_str(&text[at..start]);
        out.push_str(&format!("[{}]", finding.rule));
        at = end;
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

/// Lists the rules, sorted.
pub fn rules() -> Vec<&'static str> {
    let mut rules: Vec<_> = shapes::rules().chain(context::RULES).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Accepts names of rules.
///
/// # Errors
/// [`Error::Invalid`] with all names.
pub fn checked_rules(field: &str, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let known = rules();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Error::invalid(
            field,
            format!("{} is no rule (limit: {})", super::field::quoted(name), known.join(", ")),
        )),
    }
}
