//! From what somebody asks to be written to a record.

use toml::{Table, Value};

use super::front_matter::front_line;
use super::{Id, Kind, Record, Time, Verb, field, secret};
use crate::error::{Error, Result};

/// Collects what is said about a record before it has an id.
#[derive(Clone, Debug)]
pub struct Draft {
    pub kind: Kind,
    table: Table,
    body: String,
    /// Tells whether somebody wrote it out in full already, so that what is absent is meant to be absent.
    whole: bool,
}

/// Keys that nobody may set by name: they are the identity or have their own way in.
const FIXED: [&str; 5] = ["id", "kind", "created", "author", secret::ALLOWED_KEY];

impl Draft {
    /// Starts a draft.
    pub fn new(kind: Kind, title: &str) -> Self {
        let mut table = Table::new();
        table.insert("kind".into(), kind.name().into());
        table.insert("title".into(), title.into());
        Self { kind, table, body: String::new(), whole: false }
    }

    /// Starts an event about `target`.
    pub fn event(verb: Verb, target: Id) -> Self {
        let mut draft = Self::new(Kind::Event, &format!("{} {target}", verb.name()));
        draft.put("verb", verb.name());
        draft.put("target", target.as_str());
        draft
    }

    /// Builds a draft from keys and values of any origin, such as a line of JSON. One that has an id and a time is a record
    /// that was written before, and gets no defaults.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the kind is missing or unknown.
    pub fn from_table(table: Table, body: String) -> Result<Self> {
        let kind = match table.get("kind") {
            Some(Value::String(kind)) => kind.parse()?,
            Some(other) => return Err(Error::invalid("kind", format!("{other} is no text"))),
            None => return Err(Error::invalid("kind", "is missing")),
        };
        let whole = table.contains_key("id") && table.contains_key("created");
        Ok(Self { kind, table, body, whole })
    }

    /// Sets a key to a value, replacing what was there.
    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.table.insert(key.to_owned(), value.into());
    }

    /// Sets a key when there is a value.
    pub fn put_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// Sets a list, unless it is empty.
    pub fn put_list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.put(key, items.to_vec());
        }
    }

    /// Sets the markdown.
    pub fn body(&mut self, body: impl Into<String>) {
        self.body = body.into();
    }

    /// Sets one of the kind's own keys, a section of its body, or any key of the user's, from what was typed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the value is out of range, or the key is one that cannot be set.
    pub fn set(&mut self, key: &str, typed: &str) -> Result<()> {
        let (name, value) = typed_value(self.kind, key, typed)?;
        if let Some(section) = self.kind.sections().iter().find(|section| section.eq_ignore_ascii_case(&name)) {
            let gap = if self.body.is_empty() { "" } else { "\n\n" };
            self.body.push_str(&format!("{gap}## {section}\n\n{typed}"));
        } else {
            self.table.insert(name, value);
        }
        Ok(())
    }

    /// Fills in the id, the time and the kind's defaults where they are missing, and checks every limit. There is no other way
    /// to a new record, so nothing that looks like a secret gets past here.
    ///
    /// # Errors
    /// [`Error::Secret`] naming rule and position; [`Error::Invalid`] naming the field, the value and the limit.
    pub fn finish(self) -> Result<Record> {
        self.finish_allowing(&[])
    }

    /// As [`Draft::finish`], with rules of the secret scan whose findings are accepted; the record carries those that were.
    ///
    /// # Errors
    /// As [`Draft::finish`].
    pub fn finish_allowing(mut self, allowed: &[String]) -> Result<Record> {
        // Before the limits, whose messages show the value.
        secret::admit(&mut self.table, &self.body, allowed)?;
        if !self.table.contains_key("id") {
            self.put("id", Id::random()?.as_str());
        }
        if !self.table.contains_key("created") {
            self.put("created", Time::now().to_string());
        }
        for key in self.kind.keys().iter().filter(|_| !self.whole) {
            if let Some(default) = key.default.filter(|_| !self.table.contains_key(key.name)) {
                self.table.insert(key.name.to_owned(), field::parse(key, default)?);
            }
        }
        let record = Record::from_table(self.table, self.body)?;
        record.check_size()?;
        Ok(record)
    }

    /// Gives the draft the id that its own content determines, unless it has one, so that a second import finds it again.
    ///
    /// Returns whether it did.
    pub fn derive_id(&mut self) -> bool {
        let derives = !self.table.contains_key("id");
        if derives {
            let mut keys: Vec<_> = self.table.iter().collect();
            keys.sort_by_key(|(key, _)| key.as_str());
            let front: String = keys.into_iter().map(|(key, value)| front_line(key, value)).collect();
            let id = Id::derived(&["import", &front, &self.body]);
            self.put("id", id.as_str());
        }
        derives
    }
}

/// Reads `key=value` as typed for a record of this kind: the key's canonical name and its checked value.
///
/// # Errors
/// [`Error::Invalid`] when the value is out of range, or the key is one that cannot be set.
pub fn typed_value(kind: Kind, key: &str, typed: &str) -> Result<(String, Value)> {
    if FIXED.contains(&key) || (kind == Kind::Event && kind.key(key).is_some()) {
        return Err(Error::invalid(key, "cannot be set: it is part of what the record is"));
    }
    if key.is_empty() || key.chars().count() > 100 || key.chars().any(char::is_control) {
        return Err(Error::invalid("set", format!("{} is no key (limit: 1 to 100 characters)", field::quoted(key))));
    }
    if let Some(own) = kind.key(key) {
        return Ok((key.to_owned(), field::parse(own, typed)?));
    }
    let list = || {
        Value::from(
            typed.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect::<Vec<_>>(),
        )
    };
    let value = match key {
        "tags" | "paths" => list(),
        "domain" => {
            // What is stored is in lower case, where a token is hard to tell.
            secret::refuse(key, typed)?;
            Value::from(field::domain(typed)?)
        }
        _ => Value::from(typed),
    };
    Ok((key.to_owned(), value))
}
