//! `git elf import --from elf`: a memory of the original system.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::{BATCH, BATCH_BYTES, Batch, Place, Tally, commit};
use crate::cli::{Context, Outcome};
use crate::error::Result;
use crate::index::Filter;
use crate::legacy::{self, Memory, ORIGIN_KEY};
use crate::record::secret::redacted;
use crate::record::{Kind, Record};
use crate::store::Store;

pub(super) fn run(store: &Store, context: &mut Context, dir: &Path, allowed: &[String], wants_json: bool) -> Outcome {
    let memory = legacy::read(dir, allowed)?;
    for note in &memory.notes {
        talk!("elf: {}", redacted(note));
    }
    let mut more = Map::new();
    more.insert("read".into(), Json::Object(count(&memory)));
    more.insert("notes".into(), memory.notes.iter().map(|note| redacted(note)).collect());
    let mut tally = Tally::default();
    tally.rejected.extend(memory.refused.into_iter().map(|(origin, error)| (Place::Entry(origin), error)));
    let known = known(store)?;
    let (changed, records): (Vec<_>, Vec<_>) = memory.records.into_iter().partition(|(_, record)| {
        identity(record)
            .is_some_and(|identity| known.others.contains(&identity) && !known.ids.contains(record.id.as_str()))
    });
    for (origin, _) in &changed {
        talk!("elf: {}", redacted(&format!("{origin}: changed since it was imported; the record here stays as it is")));
    }
    tally.present += changed.len();
    let skipped: HashSet<_> = changed.iter().map(|(_, record)| record.id).collect();
    let events = memory.events.into_iter().filter(|(_, event)| event.target().is_none_or(|id| !skipped.contains(&id)));
    let result = take(store, records, &mut tally).and_then(|()| {
        let mut about = Tally::default();
        take(store, events, &mut about)?;
        tally.rejected.append(&mut about.rejected);
        more.insert("events".into(), json!({"imported": about.imported, "present": about.present}));
        Ok(())
    });
    store.report("importing", 0);
    result?;
    if !wants_json {
        let read = more["read"].as_object().expect("it was put in above");
        let counts: Vec<_> = read.iter().map(|(name, count)| format!("{name} {count}")).collect();
        talk!("elf: read {}", counts.join(", "));
    }
    tally.tell(context, wants_json, more)
}

/// Counts what was read: records of each kind, the golden rules among them, and events.
fn count(memory: &Memory) -> Map<String, Json> {
    let mut counts = Map::new();
    for kind in Kind::ALL {
        let number = memory.records.iter().filter(|(_, record)| record.kind == kind).count();
        if number > 0 {
            counts.insert(kind.name().to_owned(), json!(number));
        }
    }
    counts.insert("events".into(), json!(memory.events.len()));
    counts
}

/// What the memory here has from an original.
struct Known {
    ids: HashSet<String>,
    others: HashSet<Identity>,
}

/// What stays the same when the original changes what it says or counts: kind, title, place and time.
type Identity = [String; 4];

fn identity(record: &Record) -> Option<Identity> {
    let origin = record.extra.get(ORIGIN_KEY)?.as_str()?;
    Some([record.kind.name().to_owned(), record.title.clone(), origin.to_owned(), record.created.to_string()])
}

fn known(store: &Store) -> Result<Known> {
    let mut known = Known { ids: HashSet::new(), others: HashSet::new() };
    for row in store.list(&Filter { all: true, ..Filter::default() })? {
        let origin = row.text(ORIGIN_KEY);
        if !origin.is_empty() {
            known.ids.insert(row.text("id").to_owned());
            known.others.insert(["kind", "title", ORIGIN_KEY, "created"].map(|key| row.text(key).to_owned()));
        }
    }
    Ok(known)
}

/// Writes records, a batch at a time.
fn take(store: &Store, records: impl IntoIterator<Item = (String, Record)>, tally: &mut Tally) -> Result<()> {
    let mut batch = Batch::default();
    for (origin, record) in records {
        batch.bytes += record.body.len();
        batch.derived.insert(record.id);
        batch.records.push((Place::Entry(origin), record));
        if batch.records.len() == BATCH || batch.bytes >= BATCH_BYTES {
            commit(store, std::mem::take(&mut batch), tally)?;
        }
    }
    commit(store, batch, tally)
}
