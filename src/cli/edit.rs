//! `git elf edit`: correct a record through events; its file and its history stay.

use std::io::IsTerminal;

use toml::Value;

use super::record::{allowed, read_text, sign};
use super::{Context, Done, Outcome, editor, open_store};
use crate::error::{Error, Result};
use crate::record::{Draft, Id, Kind, Record, Time, Verb, edited, field, fold, typed_value};
use crate::store::Store;

/// Correct a record; what it said before stays readable in `show --history`
///
/// Without options, $EDITOR opens on the whole record. It needs the lock and is never queued: exit 4 when the lock stayed taken.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf edit 7k3v9 --title \"WAL grew to 2 GB\" --set severity=critical\n  git elf edit 7k3v9 --set domain=\n  git elf edit 7k3v9"
)]
pub struct Args {
    /// Id, or an unambiguous beginning
    id: String,
    /// The new title
    #[arg(long, value_name = "TITLE", allow_hyphen_values = true)]
    title: Option<String>,
    /// A paragraph of the new body
    #[arg(short = 'm', long = "message", aliases = ["body", "summary", "explanation"], value_name = "BODY", allow_hyphen_values = true)]
    message: Vec<String>,
    /// Read the new body from a file, or from stdin with `-`
    #[arg(short = 'F', long = "file", alias = "body-file", value_name = "FILE", conflicts_with = "message")]
    file: Option<String>,
    /// The new domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// The new tags, comma-separated
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
    /// A new value for a key; an empty one removes it
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Accept what a rule of the secret scan finds; the record keeps which rule
    #[arg(long, value_name = "RULE")]
    allow_secret: Vec<String>,
    /// The coding agent that edits (default: ELF_AGENT, elf.agent)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Print one JSON object for each event: {"id","target","key","commit"}
    #[arg(long)]
    json: bool,
}

/// One change: a key and its value, or the body.
pub struct Edit {
    key: String,
    value: Option<Value>,
    body: String,
}

impl Args {
    pub fn run(mut self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let id = store.resolve(&self.id)?;
        if store.written(id)?.kind == Kind::Event {
            return Err(Error::invalid("id", format!("{id} is an event; git elf retract takes it back")).into());
        }
        // Typed values and the body are known before the lock is taken; an editor may stay open for hours.
        let body = match self.file.take() {
            Some(file) => Some(read_text(&file)?),
            None if self.message.is_empty() => None,
            None => Some(self.message.join("\n\n")),
        };
        let typed = body.is_some()
            || self.title.is_some()
            || self.domain.is_some()
            || self.tags.is_some()
            || !self.set.is_empty();
        let edits = if typed {
            self.typed(store.written(id)?.kind, body)?
        } else if std::io::stdin().is_terminal() {
            edits_by_hand(&store, id)?
        } else {
            return Err(
                Error::invalid("edit", "nothing to change: give --title, -m, -F, --domain, --tags or --set").into()
            );
        };
        let first = store.read(|index| index.shown_for(id))?;
        if first != id {
            talk!("{id} is a sighting of {first}; what is shown is changed by git elf edit {first}");
        }
        let allowed = allowed(&store, &self.allow_secret)?;
        let written = store.amend("edit", || edit_events(&store, id, &edits, self.agent.as_deref(), &allowed))?;
        for (event, receipt) in written {
            if self.json {
                let mut object = serde_json::Map::new();
                object.insert("id".into(), event.id.as_str().into());
                object.insert("target".into(), id.as_str().into());
                object.insert("key".into(), event.own_text("key").into());
                object.insert("commit".into(), receipt.commit.clone().into());
                context.out.json(&object)?;
            } else {
                context.out.line(event.id.as_str())?;
            }
        }
        Ok(Done::Well)
    }

    fn typed(&self, kind: Kind, body: Option<String>) -> Result<Vec<Edit>> {
        let mut edits = Vec::new();
        let mut push = |key: &str, typed: &str| {
            // An empty value removes the key, whatever its shape.
            let (key, value) =
                if typed.is_empty() { (key.to_owned(), Value::from("")) } else { typed_value(kind, key, typed)? };
            edits.push(Edit { key, value: Some(value), body: String::new() });
            Ok(())
        };
        for (key, typed) in [("title", &self.title), ("domain", &self.domain), ("tags", &self.tags)] {
            typed.as_ref().map_or(Ok(()), |typed| push(key, typed))?;
        }
        for pair in &self.set {
            let (key, typed) = pair
                .split_once('=')
                .ok_or_else(|| Error::invalid("set", format!("{} is not KEY=VALUE", field::quoted(pair))))?;
            push(key, typed)?;
        }
        edits.extend(body.map(|body| Edit { key: "body".into(), value: None, body }));
        Ok(edits)
    }
}

/// Makes the events, under the lock, from what the record says now.
pub fn edit_events(
    store: &Store,
    id: Id,
    edits: &[Edit],
    agent: Option<&str>,
    allowed: &[String],
) -> Result<Vec<Record>> {
    let history = store.read(|index| index.events_of(id))?;
    // An edit must win over every earlier one even when this machine's clock is behind.
    let mut time = history.iter().map(|event| event.created.next()).fold(Time::now(), Time::max);
    let mut record = fold(store.written(id)?, &history).record;
    let mut events = Vec::new();
    for edit in edits {
        let changed = edited(&record, &edit.key, edit.value.as_ref(), &edit.body)?;
        if changed == record {
            continue;
        }
        record = changed;
        let mut draft = Draft::event(Verb::Sets, id);
        draft.put("key", edit.key.as_str());
        draft.put_some("value", edit.value.clone());
        draft.put("created", time.to_string());
        draft.body(edit.body.clone());
        sign(&mut draft, store, agent.map(str::to_owned))?;
        events.push(draft.finish_allowing(allowed)?);
        time = time.next();
    }
    Ok(events)
}

/// Lets the user change the record's text, and finds out what changed.
pub fn edits_by_hand(store: &Store, id: Id) -> Result<Vec<Edit>> {
    let history = store.read(|index| index.events_of(id))?;
    let before = fold(store.written(id)?, &history).record;
    let after = Record::parse(editor::edit(store.repo(), &before.to_text())?.as_bytes())?;
    let (old, new) = (before.front(), after.front());
    let mut edits: Vec<Edit> = Vec::new();
    for (key, value) in &new {
        if old.iter().all(|pair| pair != &(key.clone(), value.clone())) {
            edits.push(Edit { key: key.clone(), value: Some(value.clone()), body: String::new() });
        }
    }
    for (key, _) in old.iter().filter(|(key, _)| new.iter().all(|(other, _)| other != key)) {
        edits.push(Edit { key: key.clone(), value: Some(Value::from("")), body: String::new() });
    }
    if before.body != after.body {
        edits.push(Edit { key: "body".into(), value: None, body: after.body });
    }
    Ok(edits)
}
