//! `git elf import`: many records from elsewhere, in a few commits.

mod elf;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value as Json, json};

use super::record::allowed;
use super::{Context, Done, Outcome, open_store};
use crate::error::{Doing, Error, Result};
use crate::record::secret::redacted;
use crate::record::{Draft, Id, Record, field};
use crate::store::Store;

/// Records of one commit: enough to spread its cost, few enough to bound memory and the time the lock is held.
const BATCH: usize = 4_000;
/// Bytes of input after which a batch is committed, however few records it has.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// Longest line that is read: the largest record, every byte of it escaped.
const LINE_MAX: usize = 6 * field::FILE_MAX + 4096;

/// Import records, each of them once
///
/// Importing the same again adds nothing. What breaks a limit is named and skipped, and the exit status is 2.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf import --from jsonl lessons.jsonl\n  git elf export | git -C ../other elf import --from jsonl -\n  git elf import --from elf ~/.claude/emergent-learning/memory"
)]
pub struct Args {
    /// jsonl: one object a line with kind, title and the keys of a record, body or summary for the markdown; elf: a memory of the
    /// original system in bash and Python, its files and its index.db
    #[arg(long, value_name = "FORMAT", value_parser = ["jsonl", "elf"])]
    from: String,
    /// jsonl: a file, or `-` for stdin; elf: a directory
    #[arg(value_name = "FILE|DIR")]
    file: String,
    /// Accept what a rule of the secret scan finds; the record keeps which rule
    #[arg(long, value_name = "RULE")]
    allow_secret: Vec<String>,
    /// Print {"imported","present","rejected"}; elf adds {"events","read","notes"}
    #[arg(long)]
    json: bool,
}

/// Where a record came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Line(usize),
    Entry(String),
}

#[derive(Default)]
struct Tally {
    imported: usize,
    present: usize,
    rejected: Vec<(Place, Error)>,
    lines: u64,
}

/// Records on their way, with the place each came from.
#[derive(Default)]
struct Batch {
    records: Vec<(Place, Record)>,
    /// Bytes of their lines.
    bytes: usize,
    /// Ids that come from the content: such a record is the one that is there.
    derived: HashSet<Id>,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        store.repo().identity()?;
        let allowed = allowed(&store, &self.allow_secret)?;
        if self.from == "elf" {
            return elf::run(&store, context, self.file.as_ref(), &allowed, self.json);
        }
        let input: Box<dyn Read> = match self.file.as_str() {
            "-" => Box::new(std::io::stdin()),
            file => Box::new(File::open(file).doing(|| format!("read {file}"))?),
        };
        let tally = import(&store, BufReader::with_capacity(1 << 16, input), &allowed);
        store.report("importing", 0);
        tally?.tell(context, self.json, Map::new())
    }
}

impl Place {
    fn json(&self) -> (String, Json) {
        match self {
            Self::Line(line) => ("line".to_owned(), json!(line)),
            Self::Entry(entry) => ("entry".to_owned(), json!(redacted(entry))),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Entry(entry) => write!(f, "{entry}"),
        }
    }
}

impl Tally {
    /// Says what was refused and how much was taken; `more` are further keys of the JSON.
    fn tell(mut self, context: &mut Context, json: bool, more: Map<String, Json>) -> Outcome {
        self.rejected.sort_by(|a, b| a.0.cmp(&b.0));
        for (place, error) in &self.rejected {
            talk!("elf: {}", redacted(&format!("{place}: {error}")));
        }
        let rejected = self.rejected.len();
        if json {
            let mut object = Map::new();
            object.insert("imported".into(), json!(self.imported));
            object.insert("present".into(), json!(self.present));
            let rows = self.rejected.iter().map(|(place, error)| {
                let (key, place) = place.json();
                json!({key: place, "error": redacted(&error.to_string()), "field": error.field()})
            });
            object.insert("rejected".into(), rows.collect());
            object.extend(more);
            context.out.json(&object)?;
        } else {
            let (imported, present) = (self.imported, self.present);
            context.out.line(&format!("imported {imported}, already there {present}, rejected {rejected}"))?;
        }
        Ok(if rejected == 0 { Done::Well } else { Done::Rejected })
    }
}

fn import(store: &Store, mut input: impl BufRead, allowed: &[String]) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut batch = Batch::default();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let limit = u64::try_from(LINE_MAX).expect("a small number");
        let read = input.by_ref().take(limit).read_until(b'\n', &mut line).doing(|| "read the input".into())?;
        if read == 0 {
            break;
        }
        if read == LINE_MAX && line.last() != Some(&b'\n') {
            skip_line(&mut input)?;
            tally
                .rejected
                .push((Place::Line(number), Error::invalid("line", format!("is longer than {LINE_MAX} bytes"))));
            continue;
        }
        match parse(&line, &mut batch.derived, allowed) {
            Ok(Some(record)) => {
                batch.bytes += line.len();
                batch.records.push((Place::Line(number), record));
            }
            Ok(None) => {}
            Err(error) => tally.rejected.push((Place::Line(number), error)),
        }
        if batch.records.len() == BATCH || batch.bytes >= BATCH_BYTES {
            commit(store, std::mem::take(&mut batch), &mut tally)?;
        }
    }
    commit(store, batch, &mut tally)?;
    Ok(tally)
}

fn parse(line: &[u8], derived: &mut HashSet<Id>, allowed: &[String]) -> Result<Option<Record>> {
    let text = std::str::from_utf8(line).map_err(|error| Error::invalid("line", format!("is not UTF-8: {error}")))?;
    let text = text.trim().trim_start_matches('\u{feff}');
    if text.is_empty() {
        return Ok(None);
    }
    let mut draft = Draft::from_json(text)?;
    let derives = draft.derive_id();
    let record = draft.finish_allowing(allowed)?;
    if derives {
        derived.insert(record.id);
    }
    Ok(Some(record))
}

fn skip_line(input: &mut impl BufRead) -> Result<()> {
    input.skip_until(b'\n').map(drop).doing(|| "read the input".into())
}

fn commit(store: &Store, batch: Batch, tally: &mut Tally) -> Result<()> {
    if batch.records.is_empty() {
        return Ok(());
    }
    let count = batch.records.len();
    let places: std::collections::HashMap<Id, Place> =
        batch.records.iter().map(|(place, record)| (record.id, place.clone())).collect();
    let entries = batch.records.into_iter().map(|(_, record)| store.spool().direct(record)).collect();
    let drained = store.locked("import", |lock| {
        store.drain(lock, entries, &mut |record, error| {
            if batch.derived.contains(&record.id) {
                tally.present += 1;
            } else {
                let place = places.get(&record.id).cloned().unwrap_or(Place::Line(0));
                tally.rejected.push((place, Error::invalid(error.field().unwrap_or("id"), error.to_string())));
            }
        })
    })?;
    tally.imported += drained.imported;
    tally.present += drained.present;
    tally.lines += u64::try_from(count).expect("a batch is small");
    store.report("importing", tally.lines);
    Ok(())
}
