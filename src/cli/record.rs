//! `git elf record`: write one lesson.

use std::io::{IsTerminal, Read};

use serde_json::{Map, json};

use super::{Context, Done, Outcome, editor, error_file, open_store};
use crate::error::{Doing, Error, Result};
use crate::record::{Draft, Id, Kind, Record, Time, Verb, excerpt, field, fingerprint, secret, sighting};
use crate::store::{Receipt, State, Store};

/// Write a lesson and print its id
///
/// Exit status 0 means that the record is durable: committed to the ledger, or queued for the next command. A failure whose error was
/// seen before becomes a sighting of the first record of it, and that one's id is printed.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf record failure \"WAL grew to 20 MB\" -m \"No checkpoint on close.\" --domain db --severity high --tags sqlite,wal\n  git elf record decision \"One lock\" --set context=\"Two locks deadlocked\" --set decision=\"flock in .git\"\n  make > log 2>&1 || git elf record failure \"make fails\" --error-file log"
)]
pub struct Args {
    /// failure, success, heuristic, decision, assumption, invariant, spike, experiment or observation
    #[arg(value_name = "KIND")]
    kind: String,
    /// One line of 1 to 500 characters; without it $EDITOR opens on a terminal
    #[arg(value_name = "TITLE")]
    title: Option<String>,
    /// The title as an option, for titles that begin with a dash
    #[arg(long = "title", alias = "rule", value_name = "TITLE", conflicts_with = "title", allow_hyphen_values = true)]
    title_option: Option<String>,
    /// A paragraph of the body; several are separated by a blank line
    #[arg(short = 'm', long = "message", aliases = ["body", "summary", "explanation"], value_name = "BODY", allow_hyphen_values = true)]
    message: Vec<String>,
    /// Read the body from a file, or from stdin with `-`
    #[arg(short = 'F', long = "file", alias = "body-file", value_name = "FILE", conflicts_with = "message")]
    file: Option<String>,
    /// failure: what the program printed, from a file, or from stdin with `-`; it goes into the body, long text head and tail
    #[arg(long, value_name = "FILE")]
    error_file: Option<String>,
    /// Make a record of its own, even when the same error was seen before
    #[arg(long)]
    new: bool,
    /// Area, of a-z 0-9 . _ -
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// failure: 1 to 5, or low, medium, high, critical; invariant: error, warning, info
    #[arg(long, value_name = "LEVEL")]
    severity: Option<String>,
    /// heuristic, assumption: 0 to 1, or low, medium, high
    #[arg(long, value_name = "C", allow_hyphen_values = true)]
    confidence: Option<String>,
    /// Comma-separated, at most 50
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,
    /// A glob, relative to the repository's root, of files that it is about
    #[arg(long, value_name = "GLOB")]
    path: Vec<String>,
    /// Where it came from; heuristic: failure, success or observation
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Any other key of the kind, a section of its body, or a key of your own
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The coding agent that records (default: ELF_AGENT, elf.agent)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Accept what a rule of the secret scan finds; the record keeps which rule
    #[arg(long, value_name = "RULE")]
    allow_secret: Vec<String>,
    /// Queue it without waiting for the lock
    #[arg(long)]
    no_wait: bool,
    /// Print {"id","state","commit","path"}; for an error also "recorded" and "sighted"
    #[arg(long)]
    json: bool,
}

/// How far ahead a retraction may be for a record to be written after it, in microseconds: a day.
const AHEAD_MAX: i64 = 24 * 60 * 60 * 1_000_000;
/// Characters of an event's note.
const NOTE_MAX: usize = 2_000;

impl Args {
    pub fn run(mut self, context: &mut Context) -> Outcome {
        let kind: Kind = self.kind.parse()?;
        if kind == Kind::Event {
            return Err(Error::invalid(
                "kind",
                "event is written by validate, violate, breach, sight, promote, edit, retract and review",
            )
            .into());
        }
        if self.error_file.is_some() && kind != Kind::Failure {
            return Err(Error::invalid("error-file", format!("is no option of {kind} (limit: failure)")).into());
        }
        if self.error_file.as_deref() == Some("-") && self.file.as_deref() == Some("-") {
            return Err(Error::invalid("error-file", "and the body cannot both be read from stdin").into());
        }
        let store = open_store()?;
        let error = self.error_file.as_deref().map(error_file::read).transpose()?;
        let (title, said) = self.text(kind, &store)?;
        let allowed = allowed(&store, &self.allow_secret)?;
        let record = self.draft(kind, &title, &said, error.as_deref(), &store)?.finish_allowing(&allowed)?;
        let record = self.sighting(&store, record, &said, &allowed)?;
        let receipt = match store.record("record", std::slice::from_ref(&record), !self.no_wait) {
            Ok(mut receipts) => receipts.remove(0),
            Err(error) => {
                if error.is_unwritable() {
                    context.out.json(&record.to_json())?;
                    context.out.flush()?;
                }
                return Err(rescue(error).into());
            }
        };
        let sighted = sighted(&store, &record, &receipt);
        if self.json {
            context.out.json(&receipt_json(&receipt, sighted))?;
        } else {
            context.out.line(sighted.map_or(receipt.id, |(shown, _)| shown).as_str())?;
            context.out.flush()?;
            say_how_to_read(&store, &receipt);
            if let Some((shown, times @ 2..)) = sighted {
                talk!("seen {times} times: git elf show {shown}");
            }
        }
        Ok(Done::Well)
    }

    /// Returns an event that the failure was seen again, where it was seen before; else the record, which may be the first.
    fn sighting(&self, store: &Store, record: Record, said: &str, allowed: &[String]) -> Result<Record> {
        let Some(group) = sighting::fingerprint_of(&record) else { return Ok(record) };
        let seen = store.seen(group, !self.no_wait);
        let Some(first) = seen.shown else {
            return Ok(match seen.retracted {
                Some(retracted) if retracted >= record.created.micros() => came_back(record, retracted),
                _ => record,
            });
        };
        let mut draft = Draft::event(Verb::Sights, first);
        let note = [record.title.as_str(), said].join("\n\n");
        draft.put("note", shortened(note.trim_end()));
        sign(&mut draft, store, self.agent.clone())?;
        draft.finish_allowing(allowed)
    }

    fn text(&mut self, kind: Kind, store: &Store) -> Result<(String, String)> {
        let body = match self.file.take() {
            Some(file) => read_text(&file)?,
            None => self.message.join("\n\n"),
        };
        match self.title.take().or(self.title_option.take()) {
            Some(title) => Ok((title, body)),
            None if std::io::stdin().is_terminal() => editor::compose(store.repo(), kind, &body),
            None => Err(Error::invalid("title", format!("is missing (limit: 1 to {} characters)", field::TITLE_MAX))),
        }
    }

    fn draft(&self, kind: Kind, title: &str, said: &str, error: Option<&str>, store: &Store) -> Result<Draft> {
        let mut draft = Draft::new(kind, title);
        let block = error.map(excerpt::fenced);
        draft.body(match block {
            Some(block) if said.is_empty() => block,
            Some(block) => format!("{said}\n\n{block}"),
            None => said.to_owned(),
        });
        if kind == Kind::Failure && !self.new {
            let roots = error_file::roots(store.repo());
            let found = match error {
                Some(error) => fingerprint::of_error(error, &roots),
                None => fingerprint::of_trace(said, &roots),
            };
            draft.put_some("fingerprint", found);
        }
        if let Some(domain) = &self.domain {
            // As typed: what is stored is in lower case, where a token is hard to tell.
            draft.put("domain", domain.as_str());
        }
        let tags: Vec<_> = self.tags.iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
        draft.put_list("tags", &tags);
        draft.put_list("paths", &self.path);
        for (key, value) in [("severity", &self.severity), ("confidence", &self.confidence)] {
            let Some(value) = value else { continue };
            if kind.key(key).is_none() {
                return Err(Error::invalid(
                    key,
                    format!("{} is no key of {kind} (limit: {})", field::quoted(value), kinds_with(key)),
                ));
            }
            draft.set(key, value)?;
        }
        if let Some(source) = &self.source {
            draft.set("source", source)?;
        }
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| Error::invalid("set", format!("{} is not KEY=VALUE", field::quoted(pair))))?;
            draft.set(key, value)?;
        }
        sign(&mut draft, store, self.agent.clone())?;
        Ok(draft)
    }
}

/// Returns the rules of the secret scan whose findings are accepted: those of the command line and of the configuration.
pub fn allowed(store: &Store, given: &[String]) -> Result<Vec<String>> {
    secret::checked_rules("allow-secret", given)?;
    Ok([given, &store.config().allow_secret].concat())
}

/// Adds who, where and when.
pub fn sign(draft: &mut Draft, store: &Store, agent: Option<String>) -> Result<()> {
    draft.put("author", store.repo().identity()?.to_string());
    draft.put_some("agent", agent.or_else(|| store.config().agent.clone()));
    let head = store.repo().head();
    draft.put_some("commit", head.commit);
    draft.put_some("branch", head.branch);
    Ok(())
}

/// Reads a text file, or stdin for `-`.
pub fn read_text(file: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(field::FILE_MAX).expect("a small number") + 1;
    let read = if file == "-" {
        std::io::stdin().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.doing(|| format!("read {file}"))?;
    if bytes.len() > field::FILE_MAX {
        return Err(Error::invalid(
            "body",
            format!("{file} is larger than a record may be (limit: {} bytes)", field::FILE_MAX),
        ));
    }
    let text =
        String::from_utf8(bytes).map_err(|error| Error::invalid("body", format!("{file} is not UTF-8: {error}")))?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}

fn kinds_with(key: &str) -> String {
    let kinds: Vec<_> = Kind::ALL.iter().filter(|kind| kind.key(key).is_some()).map(|kind| kind.name()).collect();
    kinds.join(", ")
}

/// Returns the record of a failure that came back so that a retraction whose time is still to come does not cover it.
fn came_back(record: Record, retracted: i64) -> Record {
    let next = Time::from_micros(retracted.saturating_add(1));
    if let Some(created) = next.filter(|next| next.micros() - record.created.micros() <= AHEAD_MAX) {
        return Record { created, ..record };
    }
    // No clock is that wrong by accident; a true time and a record of its own are worth more than the count.
    Record { fingerprint: None, ..record }
}

/// Returns the record that is shown for a failure whose error is known again, and how often it was seen.
fn sighted(store: &Store, record: &Record, receipt: &Receipt) -> Option<(Id, u64)> {
    let about = match record.verb() {
        Some(_) => record.target().expect("an event has a target"),
        None => sighting::fingerprint_of(record).map(|_| record.id)?,
    };
    let is_committed = receipt.state == State::Committed;
    match store.sighted(about, is_committed) {
        Some((shown, times)) if is_committed => Some((shown, times)),
        // What is queued is not counted yet.
        Some((shown, times)) if record.verb().is_some() => Some((shown, times + 1)),
        _ => Some((about, 1)),
    }
}

/// Cuts a note to what an event takes, and marks it.
fn shortened(note: &str) -> String {
    match note.char_indices().nth(NOTE_MAX - 1) {
        Some((end, c)) if end + c.len_utf8() < note.len() => format!("{}…", &note[..end]),
        _ => note.to_owned(),
    }
}

fn receipt_json(receipt: &Receipt, sighted: Option<(Id, u64)>) -> Map<String, serde_json::Value> {
    let mut object = Map::new();
    object.insert("id".into(), json!(sighted.map_or(receipt.id, |(shown, _)| shown).as_str()));
    object.insert("state".into(), json!(receipt.state.name()));
    object.insert("commit".into(), json!(receipt.commit));
    object.insert("path".into(), json!(receipt.path));
    if let Some((_, times)) = sighted {
        object.insert("recorded".into(), json!(receipt.id.as_str()));
        object.insert("sighted".into(), json!(times));
    }
    object
}

fn say_how_to_read(store: &Store, receipt: &Receipt) {
    let name = &store.config().ledger_ref;
    match receipt.state {
        State::Committed => talk!("committed; plain git reads it: git show {name}:{}", receipt.path),
        State::Queued if store.config().waits_for_flush() => {
            talk!("waits in {}; git elf flush commits it, or your own commit of memory/", receipt.path);
        }
        State::Queued => talk!("queued, durable; the next git elf command commits it to {name}"),
    }
}

/// Adds the way out where nothing can be written.
fn rescue(error: Error) -> Error {
    if !error.is_unwritable() {
        return error;
    }
    Error::Refused {
        what: format!("{error}; the record was printed as a line of JSON instead"),
        hint: "git elf import --from jsonl - takes that line where the repository can be written".into(),
    }
}
