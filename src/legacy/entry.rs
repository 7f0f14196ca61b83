//! One thing that the original system remembered, from wherever it stood, and how it becomes a record.

use toml::Value;

use crate::error::Result;
use crate::record::{Draft, Id, Kind, PRIOR_WEIGHT, Record, Time, Verb, field};

/// Stated for a rule of golden-rules.md: the original promoted above a confidence of 0.9 (its own golden-rules.md says so).
pub(super) const GOLDEN_CONFIDENCE: f64 = 0.9;
/// The key of a record that says where it stood.
pub const ORIGIN_KEY: &str = "elf_origin";

/// What a file or a row says, or both together.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it stands: a path below the memory, with the number of its heading, or a table and a row.
    pub origin: String,
    pub kind: Kind,
    /// The id of the row, and the number in the heading of a file.
    pub(super) number: Option<i64>,
    /// The number in golden-rules.md.
    pub(super) rule: Option<i64>,
    /// The path below the memory, as a file has it or as a row names it.
    pub(super) file: Option<String>,
    pub(super) title: String,
    pub(super) domain: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) paths: Vec<String>,
    /// Heading and text; the first heading is empty.
    pub(super) sections: Vec<(String, String)>,
    pub(super) created: Option<Time>,
    pub(super) updated: Option<Time>,
    /// Keys of the kind, and keys of the original that are kept.
    pub(super) keys: Vec<(&'static str, Value)>,
    pub(super) confidence: Option<f64>,
    /// How often it held and failed.
    pub(super) held: i64,
    pub(super) failed: i64,
    pub(super) golden: bool,
    /// Tells whether the original had withdrawn it.
    pub(super) withdrawn: bool,
    pub(super) superseded_by: Option<i64>,
}

impl Entry {
    pub(super) fn new(kind: Kind, origin: String, title: &str) -> Self {
        Self {
            origin,
            kind,
            number: None,
            rule: None,
            file: None,
            title: title.trim().to_owned(),
            domain: None,
            tags: Vec::new(),
            paths: Vec::new(),
            sections: Vec::new(),
            created: None,
            updated: None,
            keys: Vec::new(),
            confidence: None,
            held: 0,
            failed: 0,
            golden: false,
            withdrawn: false,
            superseded_by: None,
        }
    }

    /// Adds a text below a heading, unless it is empty.
    pub(super) fn section(&mut self, heading: &str, text: &str) {
        let text = trimmed(text);
        if !text.is_empty() {
            self.sections.push((heading.to_owned(), text.to_owned()));
        }
    }

    /// Sets a key of the kind or of the original.
    pub(super) fn key(&mut self, key: &'static str, value: impl Into<Value>) {
        self.keys.push((key, value.into()));
    }

    pub(super) fn domain(&mut self, domain: &str) {
        self.domain = Some(domain.trim().to_owned()).filter(|domain| !domain.is_empty());
    }

    /// Takes the tags of a text with commas, each once.
    pub(super) fn tags(&mut self, tags: &str) {
        for tag in tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            if !self.tags.iter().any(|known| known == tag) {
                self.tags.push(tag.to_owned());
            }
        }
    }

    /// Says how it stood: words that the kind does not know are kept beside.
    pub(super) fn status(&mut self, said: &str) {
        let word = said.trim().to_lowercase();
        let known = match (self.kind, word.as_str()) {
            (_, "") | (Kind::Invariant, "active") => return,
            (Kind::Experiment, "completed" | "success" | "promoted") => "succeeded",
            (Kind::Experiment, "killed" | "cancelled" | "archived") => "abandoned",
            (Kind::Decision, "deprecated" | "rejected") | (Kind::Invariant, "deprecated") => {
                self.withdrawn = true;
                ""
            }
            (_, word) => word,
        };
        if !self.chosen("status", known) || known != word {
            self.key("elf_status", said.trim());
        }
    }

    /// Sets a key that takes one of a few words, where this is one of them.
    pub(super) fn chosen(&mut self, key: &'static str, word: &str) -> bool {
        let fits = self.kind.key(key).is_some_and(|known| field::check(known, word.into()).is_ok());
        if fits {
            self.key(key, word);
        }
        fits
    }

    /// Returns the markdown.
    pub(super) fn body(&self) -> String {
        let mut body = String::new();
        for (heading, text) in &self.sections {
            if !body.is_empty() {
                body.push_str("\n\n");
            }
            if !heading.is_empty() {
                body.push_str(&format!("## {heading}\n\n"));
            }
            body.push_str(text);
        }
        body
    }

    /// Returns what the confidence is after what was counted: the same sum as for events that are recorded here.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts are far below 2^52, and a wrong one gives a wrong mean, not a crash"
    )]
    fn prior(&self) -> Option<f64> {
        let stated = self.confidence?;
        let (held, failed) = (self.held.max(0) as f64, self.failed.max(0) as f64);
        let mean = (PRIOR_WEIGHT * stated + held) / (PRIOR_WEIGHT + held + failed);
        Some(if held + failed == 0.0 { stated } else { (mean * 10_000.0).round() / 10_000.0 })
    }

    /// Makes the record, whose id its content determines.
    ///
    /// # Errors
    /// As [`Draft::finish_allowing`].
    pub fn finish(&self, allowed: &[String]) -> Result<Record> {
        let (title, whole) = one_line(&self.title);
        let mut draft = Draft::new(self.kind, &title);
        draft.put_some("domain", self.domain.as_deref());
        draft.put_list("tags", &self.tags);
        draft.put("created", self.created.unwrap_or_else(unknown_time).to_string());
        let mut body = if whole { self.title.clone() } else { String::new() };
        let listed = field::paths(&self.paths).is_ok();
        if listed {
            draft.put_list("paths", &self.paths);
        }
        for text in [self.body(), if listed { String::new() } else { format!("## Files\n\n{}", list(&self.paths)) }] {
            if !body.is_empty() && !text.is_empty() {
                body.push_str("\n\n");
            }
            body.push_str(&text);
        }
        draft.body(body);
        draft.put_some("confidence", self.prior());
        for (key, value) in &self.keys {
            draft.put(key, value.clone());
        }
        if self.held != 0 || self.failed != 0 {
            let (held, failed) = match self.kind {
                Kind::Assumption => ("verified_count", "challenged_count"),
                _ => ("times_validated", "times_violated"),
            };
            draft.put(held, self.held);
            draft.put(failed, self.failed);
        }
        draft.put(ORIGIN_KEY, self.origin.as_str());
        draft.derive_id();
        draft.finish_allowing(allowed)
    }

    /// Makes an event about the record of this entry.
    ///
    /// # Errors
    /// As [`Draft::finish_allowing`].
    pub(super) fn event(&self, verb: Verb, target: Id, by: Option<Id>, allowed: &[String]) -> Result<Record> {
        let mut draft = Draft::event(verb, target);
        draft.put("created", self.updated.or(self.created).unwrap_or_else(unknown_time).to_string());
        draft.put_some("by", by.map(|id| id.as_str().to_owned()));
        draft.put(ORIGIN_KEY, self.origin.as_str());
        draft.derive_id();
        draft.finish_allowing(allowed)
    }
}

/// Stands for a time that nothing tells, so that every import of it is the same.
fn unknown_time() -> Time {
    Time::from_seconds(0).expect("1970 is a time")
}

/// Writes a list as markdown.
pub(super) fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n")
}

/// Removes empty lines around a text, and white space at its end.
pub(super) fn trimmed(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.len() - text.trim_start().len();
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    &text[line..]
}

/// Makes one line of at most 500 characters of a title, and tells whether the whole has to be kept elsewhere.
fn one_line(title: &str) -> (String, bool) {
    if field::title(title).is_ok() {
        return (title.to_owned(), false);
    }
    let line = title.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut short: String = line.chars().take(field::TITLE_MAX - 1).collect();
    if short.chars().count() < line.chars().count() {
        short.truncate(short.rfind(' ').filter(|at| *at > 0).unwrap_or(short.len()));
    }
    short.push('…');
    // Nothing but white space stays an empty title, which is refused with its limit; so does a NUL.
    if line.is_empty() { (String::new(), false) } else { (short, true) }
}

/// Reads a date, or a date and a time in UTC as SQLite and Python write them.
pub(super) fn time(text: &str) -> Option<Time> {
    let text = text.trim();
    let date = text.get(..10)?;
    if text.len() == 10 {
        return format!("{date}T00:00:00Z").parse().ok();
    }
    let rest = text.get(11..)?;
    let zoned = rest.ends_with(['Z', 'z']) || rest.contains(['+', '-']);
    format!("{date}T{rest}{}", if zoned { "" } else { "Z" }).parse().ok()
}

/// Reads the date at the beginning of a text.
pub(super) fn date(text: &str) -> Option<Time> {
    text.trim().get(..10).and_then(time)
}

/// Brings a text to the form in which two are compared: white space is one space.
pub(super) fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
