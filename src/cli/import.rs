//! `git elf import`: many records from elsewhere, in a few commits.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, json};

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
/// Importing the same file again adds nothing. A line that breaks a limit is named and skipped, and the exit status is 2.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf import --from jsonl lessons.jsonl\n  git elf export | git -C ../other elf import --from jsonl -"
)]
pub struct Args {
    /// jsonl: one object a line with kind, title and the keys of a record; body or summary for the markdown
    #[arg(long, value_name = "FORMAT", value_parser = ["jsonl"])]
    from: String,
    /// A file, or `-` for stdin
    #[arg(value_name = "FILE")]
    file: String,
    /// Accept what a rule of the secret scan finds; the record keeps which rule
    #[arg(long, value_name = "RULE")]
    allow_secret: Vec<String>,
    /// Print {"imported","present","rejected"}
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Tally {
    imported: usize,
    present: usize,
    rejected: Vec<(usize, Error)>,
    lines: u64,
}

/// Records on their way, with the line each came from.
#[derive(Default)]
struct Batch {
    records: Vec<(usize, Record)>,
    /// Bytes of their lines.
    bytes: usize,
    /// Ids that come from the content: such a record is the one that is there.
    derived: HashSet<Id>,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        store.repo().identity()?;
        let input: Box<dyn Read> = match self.file.as_str() {
            "-" => Box::new(std::io::stdin()),
            file => Box::new(File::open(file).doing(|| format!("read {file}"))?),
        };
        let tally = import(&store, BufReader::with_capacity(1 << 16, input), &allowed(&store, &self.allow_secret)?);
        store.report("importing", 0);
        let tally = tally?;
        for (line, error) in &tally.rejected {
            talk!("elf: line {line}: {}", redacted(&error.to_string()));
        }
        let rejected = tally.rejected.len();
        if self.json {
            let mut object = Map::new();
            object.insert("imported".into(), json!(tally.imported));
            object.insert("present".into(), json!(tally.present));
            let rows = tally.rejected.iter();
            let rows = rows.map(
                |(line, error)| json!({"line": line, "error": redacted(&error.to_string()), "field": error.field()}),
            );
            object.insert("rejected".into(), rows.collect());
            context.out.json(&object)?;
        } else {
            context
                .out
                .line(&format!("imported {}, already there {}, rejected {rejected}", tally.imported, tally.present))?;
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
            tally.rejected.push((number, Error::invalid("line", format!("is longer than {LINE_MAX} bytes"))));
            continue;
        }
        match parse(&line, &mut batch.derived, allowed) {
            Ok(Some(record)) => {
                batch.bytes += line.len();
                batch.records.push((number, record));
            }
            Ok(None) => {}
            Err(error) => tally.rejected.push((number, error)),
        }
        if batch.records.len() == BATCH || batch.bytes >= BATCH_BYTES {
            commit(store, std::mem::take(&mut batch), &mut tally)?;
        }
    }
    commit(store, batch, &mut tally)?;
    tally.rejected.sort_by_key(|(line, _)| *line);
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
    let lines: std::collections::HashMap<Id, usize> =
        batch.records.iter().map(|(line, record)| (record.id, *line)).collect();
    let entries = batch.records.into_iter().map(|(_, record)| store.spool().direct(record)).collect();
    let drained = store.locked("import", |lock| {
        store.drain(lock, entries, &mut |record, error| {
            if batch.derived.contains(&record.id) {
                tally.present += 1;
            } else {
                let line = lines.get(&record.id).copied().unwrap_or_default();
                tally.rejected.push((line, Error::invalid(error.field().unwrap_or("id"), error.to_string())));
            }
        })
    })?;
    tally.imported += drained.imported;
    tally.present += drained.present;
    tally.lines += u64::try_from(count).expect("a batch is small");
    store.report("importing", tally.lines);
    Ok(())
}
