//! A memory of the original system (bash and Python), read as what it is: files and a database that a stranger wrote.
//!
//! The original kept most entries twice, in a markdown file and in a row of `index.db`, which could drift apart. [`read`]
//! takes both, unites them, and makes records whose ids come from their content, with the events that say what the original
//! knew beyond that: golden rules, withdrawn decisions, violations.
//!
//! Links are not followed, sizes are bounded, and SQLite sees a private copy. What cannot be taken is named; it hides nothing else.
//!
//! [`read`]: crate::legacy::read

mod database;
mod entry;
mod markdown;
mod reconcile;
mod rows;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use crate::error::{Doing, Error, Result};
use crate::record::field::FILE_MAX;
use crate::record::{Draft, Id, Kind, Record, Verb, field};
use crate::sys::{Beneath, Sort};

use database::Row;
pub use entry::{Entry, ORIGIN_KEY};

/// Largest file that holds many entries, in bytes.
const COLLECTION_MAX: u64 = 16 * 1024 * 1024;
/// Directories of the markdown, each entry in a file of its own.
const DIRS: [(&str, Kind); 5] = [
    ("failures", Kind::Failure),
    ("successes", Kind::Success),
    ("observations", Kind::Observation),
    ("decisions", Kind::Decision),
    ("spikes", Kind::Spike),
];
const RULES: &str = "golden-rules.md";

/// What a memory of the original becomes.
#[derive(Debug, Default)]
pub struct Memory {
    /// Records, each with where it stood; then the events about them.
    pub records: Vec<(String, Record)>,
    pub events: Vec<(String, Record)>,
    /// What stood alone or twice, for people.
    pub notes: Vec<String>,
    /// What was not taken, by name.
    pub refused: Vec<(String, Error)>,
}

/// Reads the memory in a directory, or in `memory` below it. `allowed` are rules of the secret scan whose findings are accepted.
///
/// # Errors
/// When the directory cannot be read, or holds nothing of the original.
pub fn read(dir: &Path, allowed: &[String]) -> Result<Memory> {
    let doing = || format!("read {}", dir.display());
    let mut top = Beneath::open(dir).doing(doing)?;
    if !is_memory(&top).doing(doing)? {
        let inner = top.enter(Path::new("memory")).ok();
        top = match inner {
            Some(inner) if is_memory(&inner).doing(doing)? => inner,
            _ => {
                return Err(Error::Refused {
                    what: format!("{} has nothing of the original system: no index.db, no failures/", dir.display()),
                    hint: "name its directory memory".to_owned(),
                });
            }
        };
    }
    let mut memory = Memory::default();
    let files = memory.files(&top);
    let rows = match database::read(&top) {
        Ok(rows) => rows,
        Err(error) => {
            memory.refused.push(("index.db".to_owned(), error));
            None
        }
    };
    if rows.is_none() {
        memory.notes.push("index.db: no rows; what only the database knew is not here".to_owned());
    }
    let has_rows = rows.is_some();
    let rows = rows.unwrap_or_default();
    memory.refused.extend(rows.refused);
    let mut from_rows = Vec::new();
    let cycles = rows::cycles(&rows.rows);
    for row in &rows.rows {
        match rows::entry(row, &cycles) {
            Ok(entry) => from_rows.extend(entry),
            Err(error) => memory.refused.push((row.origin(), error)),
        }
    }
    let united = reconcile::unite(files, from_rows, &mut memory.notes, has_rows);
    let entries = reconcile::merge(united, &mut memory.notes);
    memory.finish(&entries, &rows.rows, allowed);
    Ok(memory)
}

fn is_memory(dir: &Beneath) -> io::Result<bool> {
    for name in ["index.db", RULES, "heuristics"].into_iter().chain(DIRS.map(|(name, _)| name)) {
        if dir.look(OsStr::new(name))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the text of one file apart: `place` is its path below the memory.
///
/// # Errors
/// When the text is not UTF-8, has a NUL byte, or is none of the original's files.
pub fn entries_of(place: &str, bytes: &[u8]) -> Result<Vec<Entry>> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error::invalid("file", format!("is not UTF-8: {error}")))?;
    field::text("file", text, usize::MAX)?;
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    if place == RULES {
        return Ok(markdown::golden_rules(place, &text));
    }
    let (dir, name) = place.split_once('/').unwrap_or((place, ""));
    if dir == "heuristics" {
        return Ok(markdown::heuristics(place, name.strip_suffix(".md").unwrap_or(name), &text));
    }
    let kind = DIRS.iter().find(|(known, _)| *known == dir).map(|(_, kind)| *kind);
    let mut entry = match kind {
        Some(Kind::Decision) => markdown::decision(place, &text)?,
        Some(Kind::Spike) => markdown::spike(place, &text)?,
        Some(kind) => {
            let mut entry = markdown::lesson(kind, place, &text)?;
            entry.file = Some(place.to_owned());
            entry
        }
        None => return Err(Error::invalid("file", "is in no directory of the original")),
    };
    // A date in the name is as good as one in the text.
    entry.created = entry.created.or_else(|| entry::date(name)).or_else(|| {
        let day = name.get(..8).filter(|day| day.bytes().all(|byte| byte.is_ascii_digit()))?;
        entry::date(&format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]))
    });
    Ok(vec![entry])
}

impl Memory {
    /// Reads all markdown.
    fn files(&mut self, top: &Beneath) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (dir, _) in DIRS.iter().chain(&[("heuristics", Kind::Heuristic)]) {
            if let Err(error) = self.directory(top, dir, &mut entries) {
                self.refused.push(((*dir).to_owned(), error));
            }
        }
        if matches!(top.look(OsStr::new(RULES)), Ok(Some(_))) {
            self.file(top, OsStr::new(RULES), RULES, &mut entries);
        }
        entries
    }

    fn directory(&mut self, top: &Beneath, name: &str, entries: &mut Vec<Entry>) -> Result<()> {
        let doing = || format!("read {name}");
        if top.look(OsStr::new(name)).doing(doing)?.is_none() {
            return Ok(());
        }
        let dir = top.enter(Path::new(name)).doing(doing)?;
        for leaf in dir.list().doing(doing)? {
            let shown = leaf.to_string_lossy();
            let is_text = Path::new(&leaf).extension().is_some_and(|extension| extension == "md");
            let about = shown.eq_ignore_ascii_case("README.md") || shown.eq_ignore_ascii_case("TEMPLATE.md");
            let is_dir = matches!(dir.look(&leaf), Ok(Some(seen)) if seen.sort == Sort::Dir);
            if is_text && !about && !is_dir {
                self.file(&dir, &leaf, &format!("{name}/{shown}"), entries);
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: &Beneath, leaf: &OsStr, place: &str, entries: &mut Vec<Entry>) {
        let many = place == RULES || place.starts_with("heuristics/");
        let limit = if many { COLLECTION_MAX } else { FILE_MAX as u64 };
        let read = dir.read(leaf, limit + 1).doing(|| "read it".to_owned()).and_then(|bytes| {
            if bytes.len() as u64 > limit {
                return Err(Error::invalid("file", format!("has more than {limit} bytes")));
            }
            entries_of(place, &bytes)
        });
        match read {
            Ok(found) => {
                if found.is_empty() {
                    self.notes.push(format!("{place}: no entry in it"));
                }
                entries.extend(found);
            }
            Err(error) => self.refused.push((place.to_owned(), error)),
        }
    }

    /// Makes the records, then the events, which need their ids.
    fn finish(&mut self, entries: &[Entry], rows: &[Row], allowed: &[String]) {
        let mut ids: Vec<Option<Id>> = Vec::new();
        for entry in entries {
            match entry.finish(allowed) {
                Ok(record) => {
                    ids.push(Some(record.id));
                    self.records.push((entry.origin.clone(), record));
                }
                Err(error) => {
                    ids.push(None);
                    self.refused.push((entry.origin.clone(), error));
                }
            }
        }
        let known = || entries.iter().zip(&ids).filter_map(|(entry, id)| Some((entry, (*id)?)));
        let decisions: HashMap<i64, Id> = known()
            .filter(|(entry, _)| entry.kind == Kind::Decision)
            .filter_map(|(entry, id)| Some((entry.number?, id)))
            .collect();
        let mut events = Vec::new();
        for (entry, id) in known() {
            if entry.golden {
                events.push((entry.origin.clone(), entry.event(Verb::Promotes, id, None, allowed)));
            }
            let by = entry.superseded_by.and_then(|number| decisions.get(&number)).copied().filter(|by| *by != id);
            if entry.withdrawn || by.is_some() {
                events.push((entry.origin.clone(), entry.event(Verb::Retracts, id, by, allowed)));
            }
        }
        let rules: HashMap<i64, Id> = known().filter_map(|(entry, id)| Some((entry.rule?, id))).collect();
        let names: HashMap<String, Id> =
            known().filter(|(entry, _)| entry.golden).map(|(entry, id)| (entry::plain(&entry.title), id)).collect();
        for row in rows.iter().filter(|row| row.table == "violations") {
            let numbered = row.whole("rule_id").and_then(|rule| rules.get(&rule));
            match names.get(&entry::plain(&row.text("rule_name"))).or(numbered) {
                Some(rule) => events.push((row.origin(), breach(row, *rule, allowed))),
                None => self.notes.push(format!("{}: not taken, its golden rule is not here", row.origin())),
            }
        }
        for (origin, event) in events {
            match event {
                Ok(event) => self.events.push((origin, event)),
                Err(error) => self.refused.push((origin, error)),
            }
        }
    }
}

/// Makes the event that somebody broke a golden rule.
fn breach(row: &Row, rule: Id, allowed: &[String]) -> Result<Record> {
    let mut draft = Draft::event(Verb::Breaches, rule);
    let time = entry::time(&row.text("violation_date")).ok_or_else(|| {
        Error::invalid("violation_date", format!("{} is no time", field::quoted(&row.text("violation_date"))))
    })?;
    draft.put("created", time.to_string());
    draft.put_some("note", Some(row.text("description")).filter(|note| !note.is_empty()));
    draft.put_some("session", Some(row.text("session_id")).filter(|session| !session.is_empty()));
    draft.put(ORIGIN_KEY, row.origin());
    draft.derive_id();
    draft.finish_allowing(allowed)
}
