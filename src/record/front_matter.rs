//! The file format: TOML front matter between `+++` lines, a blank line, markdown.
//!
//! Written with LF and a fixed order of keys, every value on one line, so that one record has one text and a `+++` inside a
//! value cannot end the front matter. CRLF is accepted on reading. Unknown keys are kept, after the known ones.

use std::borrow::Cow;

use toml::{Table, Value};

use super::{Id, Kind, Time, Verb, field, json};
use crate::error::{Error, Result};

const FENCE: &str = "+++";
/// Longest slug, in characters.
const SLUG_MAX: usize = 40;

/// One lesson, or one event about a lesson, as it stands in its file.
///
/// Built by [`Record::from_table`] alone, which checks every limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub id: Id,
    pub kind: Kind,
    pub title: String,
    pub domain: Option<String>,
    pub tags: Vec<String>,
    pub created: Time,
    /// `Name <email>` of who recorded it.
    pub author: Option<String>,
    /// The coding agent that recorded it.
    pub agent: Option<String>,
    /// HEAD when it was recorded.
    pub commit: Option<String>,
    /// The branch then checked out.
    pub branch: Option<String>,
    /// Globs, relative to the repository's root, of the files that it is about.
    pub paths: Vec<String>,
    /// Where it came from; for a heuristic this is one of its own keys.
    pub source: Option<String>,
    pub fingerprint: Option<String>,
    /// The keys that belong to the kind.
    pub own: Table,
    /// Keys that this version does not know.
    pub extra: Table,
    /// Markdown, LF, without the final newline of the file.
    pub body: String,
}

impl Record {
    /// Reads a record's file.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field, the value and the limit; `file` when the text as a whole is no record.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > field::FILE_MAX {
            return Err(Error::invalid("file", format!("has {} bytes (limit: {})", bytes.len(), field::FILE_MAX)));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| Error::invalid("file", format!("is not UTF-8: {error}")))?;
        let text = with_lf(text.strip_prefix('\u{feff}').unwrap_or(text));
        let (front, body) = text
            .strip_prefix("+++\n")
            .and_then(split_at_fence)
            .ok_or_else(|| Error::invalid("file", "has no front matter between two lines of +++"))?;
        let table: Table = front.parse().map_err(|error: toml::de::Error| {
            Error::invalid("file", format!("front matter is no TOML: {}", error.message()))
        })?;
        let body = body.strip_prefix('\n').unwrap_or(body);
        Self::from_table(table, body.strip_suffix('\n').unwrap_or(body).to_owned())
    }

    /// Checks every key and limit of a record that somebody wrote out in full.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field, the value and the limit.
    pub fn from_table(mut table: Table, body: String) -> Result<Self> {
        let kind: Kind = take_text(&mut table, "kind")?.ok_or_else(|| missing("kind"))?.parse()?;
        let mut own = Table::new();
        for key in kind.keys() {
            match table.remove(key.name) {
                Some(value) => drop(own.insert(key.name.to_owned(), field::check(key, value)?)),
                None if key.required => return Err(missing(key.name)),
                None => {}
            }
        }
        let record = Self {
            id: take_text(&mut table, "id")?.ok_or_else(|| missing("id"))?.parse()?,
            kind,
            title: take_text(&mut table, "title")?.ok_or_else(|| missing("title"))?,
            domain: take_text(&mut table, "domain")?.map(|domain| field::domain(&domain)).transpose()?,
            tags: take_list(&mut table, "tags")?,
            created: take_time(&mut table)?,
            author: take_text(&mut table, "author")?,
            agent: take_text(&mut table, "agent")?,
            commit: take_text(&mut table, "commit")?,
            branch: take_text(&mut table, "branch")?,
            paths: take_list(&mut table, "paths")?,
            source: take_text(&mut table, "source")?,
            fingerprint: take_text(&mut table, "fingerprint")?,
            own,
            extra: table,
            body: with_lf(&body).into_owned(),
        };
        record.check()?;
        Ok(record)
    }

    fn check(&self) -> Result<()> {
        field::title(&self.title)?;
        field::tags(&self.tags)?;
        field::paths(&self.paths)?;
        for (name, value) in [
            ("author", &self.author),
            ("agent", &self.agent),
            ("branch", &self.branch),
            ("source", &self.source),
            ("fingerprint", &self.fingerprint),
        ] {
            if let Some(value) = value {
                field::line(name, value, field::NAME_MAX)?;
            }
        }
        if let Some(commit) = &self.commit
            && !(matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(Error::invalid("commit", format!("{} is no whole object name", field::quoted(commit))));
        }
        field::text("body", &self.body, field::FILE_MAX)?;
        for (key, value) in self.own.iter().chain(&self.extra) {
            field::nesting(key, value)?;
        }
        if let Some(key) = self.extra.keys().find(|key| json::is_reserved(key)) {
            return Err(Error::invalid(key, "cannot be a key of a record: it is what readers add to one"));
        }
        if self.kind == Kind::Event {
            self.check_event()?;
        }
        Ok(())
    }

    /// Accepts a record that is to be written: its file must not be larger than what is read back.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the limit.
    pub fn check_size(&self) -> Result<()> {
        let size = self.to_text().len();
        if size > field::FILE_MAX {
            return Err(Error::invalid("body", format!("makes a file of {size} bytes (limit: {})", field::FILE_MAX)));
        }
        Ok(())
    }

    fn check_event(&self) -> Result<()> {
        let has = |key: &str| self.own.contains_key(key);
        match self.verb() {
            Some(Verb::Sets) if !has("key") => Err(missing("key")),
            Some(Verb::Sets) if !has("value") && self.own_text("key") != Some("body") => Err(missing("value")),
            Some(Verb::Sets | Verb::Retracts) => Ok(()),
            _ if has("by") => Err(Error::invalid("by", "belongs to the verb retracts alone")),
            _ => Ok(()),
        }
    }

    /// Returns the text of the file; the same record always gives the same bytes.
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(400 + self.body.len());
        out.push_str("+++\n");
        for (key, value) in self.front() {
            out.push_str(&front_line(&key, &value));
        }
        out.push_str("+++\n");
        if !self.body.is_empty() {
            out.push('\n');
            out.push_str(&self.body);
            out.push('\n');
        }
        out
    }

    /// Lists the front matter in the order of the file.
    pub fn front(&self) -> Vec<(String, Value)> {
        let mut front = vec![
            ("id".to_owned(), Value::from(self.id.as_str())),
            ("kind".to_owned(), Value::from(self.kind.name())),
            ("title".to_owned(), Value::from(self.title.as_str())),
        ];
        let list = |items: &[String]| (!items.is_empty()).then(|| Value::from(items.to_vec()));
        let text = |item: &Option<String>| item.clone().map(Value::from);
        for (key, value) in [
            ("domain", text(&self.domain)),
            ("tags", list(&self.tags)),
            ("created", Some(Value::from(self.created.to_string()))),
            ("author", text(&self.author)),
            ("agent", text(&self.agent)),
            ("commit", text(&self.commit)),
            ("branch", text(&self.branch)),
            ("paths", list(&self.paths)),
            ("source", text(&self.source)),
            ("fingerprint", text(&self.fingerprint)),
        ] {
            front.extend(value.map(|value| (key.to_owned(), value)));
        }
        let own =
            self.kind.keys().iter().filter_map(|key| Some((key.name.to_owned(), self.own.get(key.name)?.clone())));
        front.extend(own);
        front.extend(self.extra.iter().map(|(key, value)| (key.clone(), value.clone())));
        front
    }

    /// Returns where the file stands in the ledger: `<kind>s/a/b/c/<id>-<slug>.md`, below the ledger's prefix.
    ///
    /// Three levels of one base32 digit keep every tree object small up to millions of records: a leaf holds 30 files at a
    /// million, and a new record rewrites about 3 KB of trees at any size.
    pub fn path(&self) -> String {
        let slug = slug(&self.title);
        let dash = if slug.is_empty() { "" } else { "-" };
        format!("{}/{}{dash}{slug}.md", Self::leaf(self.kind, self.id), self.id)
    }

    /// Returns the directory that holds the file of this id, whatever its slug.
    pub fn leaf(kind: Kind, id: Id) -> String {
        let id = id.as_str();
        format!("{}/{}/{}/{}", kind.dir(), &id[..1], &id[1..2], &id[2..3])
    }

    /// Returns what an event says; `None` for other kinds.
    pub fn verb(&self) -> Option<Verb> {
        self.own_text("verb").and_then(|verb| verb.parse().ok())
    }

    /// Returns what an event is about; `None` for other kinds.
    pub fn target(&self) -> Option<Id> {
        self.own_text("target").and_then(|target| target.parse().ok())
    }

    /// Returns the text of one of the kind's own keys.
    pub fn own_text(&self, key: &str) -> Option<&str> {
        self.own.get(key).and_then(Value::as_str)
    }
}

/// Brings line ends to LF: a carriage return before a line feed, or before the end, where the file gets a line feed, is part of one,
/// however often it is repeated.
fn with_lf(text: &str) -> Cow<'_, str> {
    if !text.contains('\r') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for (i, line) in text.split('\n').enumerate() {
        out.push_str(if i == 0 { "" } else { "\n" });
        out.push_str(line.trim_end_matches('\r'));
    }
    Cow::Owned(out)
}

fn split_at_fence(text: &str) -> Option<(&str, &str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end_matches('\n') == FENCE {
            return Some((&text[..at], &text[at + line.len()..]));
        }
        at += line.len();
    }
    None
}

fn missing(key: &str) -> Error {
    Error::invalid(key, "is missing")
}

fn take_text(table: &mut Table, key: &str) -> Result<Option<String>> {
    match table.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Error::invalid(key, format!("{} is no text", field::shown(&other)))),
    }
}

fn take_list(table: &mut Table, key: &str) -> Result<Vec<String>> {
    let bad = |value: &Value| Error::invalid(key, format!("{} is no list of text", field::shown(value)));
    match table.remove(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| bad(item))).collect()
        }
        Some(other) => Err(bad(&other)),
    }
}

fn take_time(table: &mut Table) -> Result<Time> {
    match table.remove("created") {
        None => Err(missing("created")),
        Some(Value::String(text)) => text.parse(),
        // People write TOML's own date-times by hand.
        Some(Value::Datetime(time)) => time.to_string().parse(),
        Some(other) => Err(Error::invalid("created", format!("{} is no time", field::shown(&other)))),
    }
}

/// Makes the readable part of a file name: ASCII letters and digits of the title, at most 40 characters of whole words, may
/// be empty.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for word in title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if slug.is_empty() {
            slug = word.chars().take(SLUG_MAX).collect();
        } else if slug.len() + 1 + word.len() <= SLUG_MAX {
            slug.push('-');
            slug.push_str(word);
        } else {
            break;
        }
    }
    slug.make_ascii_lowercase();
    slug
}

/// Writes one line of front matter.
pub(super) fn front_line(key: &str, value: &Value) -> String {
    let mut line = String::new();
    push_key(&mut line, key);
    line.push_str(" = ");
    push_value(&mut line, value);
    line.push('\n');
    line
}

fn push_key(out: &mut String, key: &str) {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { out.push_str(key) } else { push_text(out, key) }
}

/// Writes a TOML basic string: JSON's escapes are a subset of TOML's, but TOML also wants DEL escaped.
fn push_text(out: &mut String, text: &str) {
    let json = serde_json::to_string(text).expect("text is always JSON");
    out.push_str(&json.replace('\u{7f}', "\\u007F"));
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => push_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Table(table) => {
            out.push('{');
            for (i, (key, value)) in table.iter().enumerate() {
                out.push_str(if i == 0 { " " } else { ", " });
                push_key(out, key);
                out.push_str(" = ");
                push_value(out, value);
            }
            out.push_str(" }");
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "+++\nid = \"0123456789abcdef\"\nkind = \"failure\"\ntitle = \"It broke\"\ntags = [\"a\", \"b\"]\n\
         created = \"2026-01-31T12:00:00Z\"\nseverity = 4\nfuture = { deep = [1, 2.5, true] }\n+++\n\nWhy.\n";

    #[test]
    fn a_record_is_the_same_after_a_round_trip_unknown_keys_included() {
        let record = Record::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(record.to_text(), TEXT);
        assert_eq!(record.path(), "failures/0/1/2/0123456789abcdef-it-broke.md");
        assert_eq!(record.body, "Why.");
    }

    #[test]
    fn crlf_is_accepted_and_lf_is_written() {
        let record = Record::parse(TEXT.replace('\n', "\r\n").as_bytes()).unwrap();
        assert_eq!(record.to_text(), TEXT);
    }

    #[test]
    fn a_fence_inside_a_value_does_not_end_the_front_matter() {
        let mut record = Record::parse(TEXT.as_bytes()).unwrap();
        record.extra.insert("odd key".into(), Value::from("a\n+++\nb\u{7f}"));
        record.body = "\n+++\n\nx\n".into();
        assert_eq!(Record::parse(record.to_text().as_bytes()).unwrap(), record);
    }

    #[test]
    fn every_limit_names_the_field() {
        for (from, to, field) in [
            ("severity = 4", "severity = 9", "severity"),
            ("severity = 4", "severity = \"high\"", "severity"),
            ("It broke", "", "title"),
            ("\"a\", \"b\"", "\"a,b\"", "tags"),
            ("2026-01-31T12:00:00Z", "yesterday", "created"),
            ("failure", "failures", "kind"),
            ("0123456789abcdef", "0123", "id"),
        ] {
            let error = Record::parse(TEXT.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(error.field(), Some(field), "{error}");
        }
    }

    #[test]
    fn slugs_are_short_ascii_or_empty() {
        assert_eq!(slug("  Don't: use `mv` -- ever!  "), "don-t-use-mv-ever");
        assert_eq!(slug("日本語"), "");
        assert_eq!(slug(&"word ".repeat(100)), "word-word-word-word-word-word-word-word");
        assert_eq!(slug(&"x".repeat(100)).len(), 40);
    }
}
