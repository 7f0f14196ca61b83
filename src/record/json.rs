//! Records as JSON objects, one a line: the raw record for export and import, the folded one for readers.

use serde_json::{Map, Number, Value as Json, json};
use toml::{Table, Value};

use super::{Draft, Folded, Record, field};
use crate::error::{Error, Result};

/// What readers add to a record: what events make of it, and its place in an answer. An import ignores these keys, since events
/// carry the state.
const FOLDED: [&str; 12] = [
    "golden",
    "validated",
    "violated",
    "breached",
    "sighted",
    "state",
    "superseded_by",
    "sighting_of",
    "score",
    "explain",
    "reach",
    "why",
];

/// Tells whether a name in the JSON of a record can be no key of its file.
pub(super) fn is_reserved(key: &str) -> bool {
    FOLDED.contains(&key) || matches!(key, "history" | "body")
}

impl Record {
    /// Returns the record as written, for `export`; [`Draft::from_json`] reads it back without loss.
    pub fn to_json(&self) -> Map<String, Json> {
        let mut json: Map<_, _> = self.front().into_iter().map(|(key, value)| (key, json_of_toml(value))).collect();
        json.insert("body".into(), Json::from(self.body.as_str()));
        json
    }
}

impl Folded {
    /// Returns the record as it is known now, every common key present.
    pub fn to_json(&self) -> Map<String, Json> {
        let record = &self.record;
        let mut json = Map::new();
        for (key, value) in [
            ("id", json!(record.id.as_str())),
            ("kind", json!(record.kind.name())),
            ("title", json!(record.title)),
            ("domain", json!(record.domain)),
            ("tags", json!(record.tags)),
            ("created", json!(record.created.to_string())),
            ("author", json!(record.author)),
            ("agent", json!(record.agent)),
            ("commit", json!(record.commit)),
            ("branch", json!(record.branch)),
            ("paths", json!(record.paths)),
            ("body", json!(record.body)),
        ] {
            json.insert(key.into(), value);
        }
        for (key, value) in record.front() {
            json.entry(key).or_insert_with(|| json_of_toml(value));
        }
        if let Some(confidence) = self.confidence {
            json.insert("confidence".into(), json!(confidence));
        }
        for (key, value) in [
            ("golden", json!(self.golden)),
            ("validated", json!(self.validated)),
            ("violated", json!(self.violated)),
            ("breached", json!(self.breached)),
            ("sighted", json!(self.sighted)),
            ("state", json!(self.state.name())),
        ] {
            json.insert(key.into(), value);
        }
        if let Some(by) = self.superseded_by {
            json.insert("superseded_by".into(), json!(by.as_str()));
        }
        json
    }
}

impl Draft {
    /// Reads one line of JSON: the keys of the front matter, and `body` (or `summary`) for the markdown.
    ///
    /// A key whose value is null counts as absent.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no JSON object, or its kind is missing or unknown.
    pub fn from_json(line: &str) -> Result<Self> {
        let json: Map<String, Json> = serde_json::from_str(line)
            .map_err(|error| Error::invalid("line", format!("is no JSON object: {error}")))?;
        let mut table = Table::new();
        let mut body = None;
        for (key, value) in json {
            match (key.as_str(), value) {
                (_, Json::Null) => {}
                ("body", Json::String(text)) => body = Some(text),
                ("body", other) => return Err(Error::invalid("body", format!("{} is no text", shortened(&other)))),
                (folded, _) if FOLDED.contains(&folded) => {}
                (_, value) => drop(table.insert(key, toml_of_json(value)?)),
            }
        }
        if let Some(Value::String(tags)) = table.get("tags") {
            let tags: Vec<_> = tags.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
            table.insert("tags".into(), tags.into());
        }
        // Beside a body it is a key like any other.
        if let (None, Some(Value::String(summary))) = (&body, table.get("summary")) {
            body = Some(summary.clone());
            table.remove("summary");
        }
        Self::from_table(table, body.unwrap_or_default())
    }
}

/// Marks a TOML value that JSON has no form for.
const DATETIME: &str = "$datetime";
const FLOAT: &str = "$float";
/// Marks a table that would be taken for one of these marks.
const TABLE: &str = "$table";

/// Shows a value in a message.
fn shortened(value: &Json) -> String {
    match value {
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
        Json::String(text) => field::quoted(text),
        other => other.to_string(),
    }
}

fn is_mark(key: &str) -> bool {
    matches!(key, DATETIME | FLOAT | TABLE)
}

/// Converts without loss: date-times and the floats that JSON lacks become objects with a `$` key.
pub fn json_of_toml(value: Value) -> Json {
    match value {
        Value::String(text) => Json::from(text),
        Value::Integer(number) => Json::from(number),
        Value::Boolean(flag) => Json::from(flag),
        Value::Float(number) => {
            Number::from_f64(number).map_or_else(|| json!({ FLOAT: number.to_string() }), Json::Number)
        }
        Value::Datetime(time) => json!({ DATETIME: time.to_string() }),
        Value::Array(items) => items.into_iter().map(json_of_toml).collect(),
        Value::Table(table) => {
            let object = table.into_iter().map(|(key, value)| (key, json_of_toml(value)));
            let object = Json::Object(object.collect());
            let looks_marked =
                object.as_object().is_some_and(|object| object.len() == 1 && object.keys().all(|key| is_mark(key)));
            if looks_marked { json!({ TABLE: object }) } else { object }
        }
    }
}

/// Converts back what [`json_of_toml`] wrote, and any JSON that TOML has a form for.
///
/// # Errors
/// [`Error::Invalid`] for a number beyond 64 bits or a null inside a list.
pub fn toml_of_json(value: Json) -> Result<Value> {
    let bad = |what: &Json| Error::invalid("value", format!("{} cannot be stored", shortened(what)));
    Ok(match value {
        Json::Null => return Err(bad(&value)),
        Json::Bool(flag) => Value::Boolean(flag),
        Json::String(text) => Value::String(text),
        Json::Number(ref number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(float)) if number.is_f64() => Value::Float(float),
            _ => return Err(bad(&value)),
        },
        Json::Array(items) => Value::Array(items.into_iter().map(toml_of_json).collect::<Result<_>>()?),
        Json::Object(mut object) => {
            if object.len() == 1
                && let Some(Json::Object(plain)) = object.get_mut(TABLE)
            {
                return table_of_json(std::mem::take(plain));
            }
            if let Some(text) = object.get(DATETIME).and_then(Json::as_str).filter(|_| object.len() == 1) {
                return text.parse().map(Value::Datetime).map_err(|_| bad(&Json::from(text)));
            }
            if let Some(text) = object.get(FLOAT).and_then(Json::as_str).filter(|_| object.len() == 1) {
                return text.parse().map(Value::Float).map_err(|_| bad(&Json::from(text)));
            }
            return table_of_json(object);
        }
    })
}

fn table_of_json(object: Map<String, Json>) -> Result<Value> {
    let given = object.into_iter().filter(|(_, value)| !value.is_null());
    Ok(Value::Table(given.map(|(key, value)| Ok((key, toml_of_json(value)?))).collect::<Result<Table>>()?))
}
