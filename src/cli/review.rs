//! `git elf review`: what arrived, as a list of things to do in the editor, like `git rebase -i`.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::edit::{Edit, edit_events, edits_by_hand};
use super::event::{Common, Saying, print_event};
use super::filter::resolve_since;
use super::list::times_seen;
use super::output::escaped_line;
use super::promote::heuristic;
use super::record::{allowed, read_text};
use super::retract::retraction;
use super::{Context, Done, Outcome, editor, open_store};
use crate::error::{Doing, Error, Result};
use crate::index::{Filter, Row};
use crate::record::{Id, Verb, field};
use crate::store::Store;

/// Go through what arrived, in the editor: keep, retract, promote, edit, confirm
///
/// The editor of git opens on one line for each active record, oldest first, and what its lines say when it closes is done in one
/// commit. A line that is not understood, or whose record is not in the list, leaves everything as it was, and the list is kept. It
/// needs the lock and is never queued: exit 4 when the lock stayed taken.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  git elf review\n  git elf review --since \"2 days ago\" --agent builder\n  git elf review --todo elf-review.txt"
)]
pub struct Args {
    /// Only what was recorded since then: anything that `git log --since` takes
    #[arg(long, value_name = "TIME", default_value = "7 days ago")]
    since: String,
    /// Only records of this coding agent
    #[arg(long, value_name = "NAME", conflicts_with = "todo")]
    agent: Option<String>,
    /// Do what a list says instead of opening the editor; `-` reads it from stdin
    #[arg(long, value_name = "FILE")]
    todo: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Keep,
    Retract,
    Promote,
    Edit,
    Confirm,
}

/// Words, their abbreviations, and what the list says of them.
const TASKS: [(&str, &str, Task, &str); 5] = [
    ("keep", "k", Task::Keep, "leave it as it is"),
    ("retract", "r", Task::Retract, "it does not hold"),
    ("promote", "p", Task::Promote, "make a heuristic a golden rule"),
    ("edit", "e", Task::Edit, "correct it in the editor, after this list and before anything is done"),
    ("confirm", "c", Task::Confirm, "it held"),
];

/// One line that asks for something.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    task: Task,
    id: Id,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let (text, file) = if let Some(file) = &self.todo {
            (read_text(file)?, None)
        } else {
            let rows = self.rows(&store)?;
            if rows.is_empty() {
                talk!("nothing arrived since {}", self.since);
                return Ok(Done::Well);
            }
            let (text, file) = editor::todo(store.repo(), &todo_of(&rows, &self.since))?;
            // What the editor shows is what may be asked for.
            let listed: HashSet<_> = rows.iter().map(|row| row.text("id").to_owned()).collect();
            if let Err(error) = steps(&text, &|typed| among(&listed, typed)) {
                return Err(kept(file, error).into());
            }
            (text, Some(file))
        };
        let done = self.apply(context, &store, &text);
        match (done, file) {
            (Err(error), Some(file)) => Err(kept(file, error).into()),
            (done, _) => Ok(done.map(|()| Done::Well)?),
        }
    }

    /// Lists what arrived, oldest first. Sightings come with the record that they count for.
    fn rows(&self, store: &Store) -> Result<Vec<Row>> {
        let since = resolve_since(store.repo(), &self.since)?;
        let mut rows = store.list(&Filter { since: Some(since), agent: self.agent.clone(), ..Filter::default() })?;
        rows.reverse();
        Ok(rows)
    }

    fn apply(&self, context: &mut Context, store: &Store, text: &str) -> Result<()> {
        let steps = steps(text, &|typed| store.resolve(typed))?;
        for step in &steps {
            match step.task {
                Task::Promote => drop(heuristic(store, step.id)?),
                _ => drop(super::event::record_id(store, step.id.as_str())?),
            }
        }
        let mut edits: Vec<(Id, Vec<Edit>)> = Vec::new();
        for step in steps.iter().filter(|step| step.task == Task::Edit) {
            edits.push((step.id, edits_by_hand(store, step.id)?));
        }
        let kept = steps.iter().filter(|step| step.task == Task::Keep).count();
        if kept == steps.len() {
            talk!("nothing to do; {kept} kept");
            return Ok(());
        }
        let allowed = allowed(store, self.common.allowed_rules())?;
        let saying = Saying { store, agent: None, common: &self.common };
        let written = store.amend("review", || {
            let mut events = Vec::new();
            for step in &steps {
                match step.task {
                    Task::Keep => {}
                    Task::Retract => events.push(retraction(&saying, step.id, None)?),
                    Task::Promote => events.push(saying.event(Verb::Promotes, step.id, None)?),
                    Task::Confirm => events.push(saying.event(Verb::Validates, step.id, None)?),
                    Task::Edit => {
                        let (_, edits) = edits.iter().find(|(id, _)| *id == step.id).expect("collected above");
                        events.extend(edit_events(store, step.id, edits, None, &allowed)?);
                    }
                }
            }
            Ok(events)
        })?;
        for (event, receipt) in &written {
            print_event(context, event, receipt, self.common.json).doing(|| "print".into())?;
        }
        context.out.flush().doing(|| "print".into())?;
        let counts: Vec<_> = TASKS
            .iter()
            .map(|(word, _, task, _)| (word, steps.iter().filter(|step| step.task == *task).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{word} {count}"))
            .collect();
        let waits = written.iter().any(|(_, receipt)| receipt.commit.is_none());
        let state = if waits { "queued" } else { "committed" };
        talk!("{state}: {}; git elf retract takes back each id that was printed", counts.join(", "));
        Ok(())
    }
}

/// Writes the list, with what can be done about each record.
fn todo_of(rows: &[Row], since: &str) -> String {
    let mut text = String::new();
    for row in rows {
        let seen = times_seen(row)
            .filter(|times| *times > 1)
            .map(|times| format!(" (seen {times} times)"))
            .unwrap_or_default();
        let title = escaped_line(row.text("title"));
        let _ = writeln!(text, "keep {} {} {title}{seen}", row.text("id"), row.text("kind"));
    }
    let _ = writeln!(text, "\n# {} recorded since {}, oldest first.\n#", rows.len(), escaped_line(since));
    for (word, letter, _, says) in TASKS {
        let _ = writeln!(text, "# {letter}, {word} ID = {says}");
    }
    text.push_str(
        "#\n# What stands after the id is for you to read. A line that is removed keeps its record,\n# and so does an empty file. \
         All is done in one commit, or nothing when a line is wrong.\n",
    );
    text
}

/// Reads the list; nothing that could be meant in two ways is accepted.
fn steps(text: &str, resolve: &dyn Fn(&str) -> Result<Id>) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut seen = HashSet::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |problem: String| Error::invalid(format!("line {}", number + 1), problem);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        let task =
            TASKS.iter().find(|(name, letter, ..)| word == *name || word == *letter).map(|(_, _, task, _)| *task);
        let task = task.ok_or_else(|| {
            let names: Vec<_> = TASKS.iter().map(|(name, ..)| *name).collect();
            wrong(format!("{} is none of {}", field::quoted(word), names.join(", ")))
        })?;
        let typed = words.next().ok_or_else(|| wrong(format!("{word} has no id")))?;
        let id = resolve(typed).map_err(|error| wrong(error.to_string()))?;
        if !seen.insert(id) {
            return Err(wrong(format!("{id} is in the list twice")));
        }
        steps.push(Step { task, id });
    }
    Ok(steps)
}

/// Finds the one record of the list that an id or its beginning means.
fn among(listed: &HashSet<String>, typed: &str) -> Result<Id> {
    let prefix = Id::normalise(typed)?;
    let mut found: Vec<_> = listed.iter().filter(|id| id.starts_with(&prefix)).cloned().collect();
    found.sort();
    match &found[..] {
        [id] => id.parse(),
        [] => Err(Error::Refused { what: format!("{} is not in the list", field::quoted(typed)), hint: String::new() }),
        _ => Err(Error::Ambiguous { prefix: typed.to_owned(), candidates: found }),
    }
}

/// Keeps the list of somebody whose work was not done, and says where.
fn kept(file: tempfile::NamedTempFile, error: Error) -> Error {
    let Ok((_, path)) = file.keep() else { return error };
    let hint = format!("the list is kept: correct it, then git elf review --todo {}", path.display());
    match error {
        Error::Invalid { field, problem } => {
            Error::Invalid { field, problem: format!("{problem}; nothing was changed; {hint}") }
        }
        error @ Error::LockTaken { .. } => {
            talk!("elf: nothing was changed; {hint}");
            error
        }
        other => Error::Refused { what: format!("{other}; nothing was changed"), hint },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "6aqsg8x6vck8d86r";
    const B: &str = "6aqt000000000000";

    fn read(text: &str) -> Result<Vec<Step>> {
        let listed = [A, B].map(str::to_owned).into();
        steps(text, &|typed| among(&listed, typed))
    }

    #[test]
    fn words_and_letters_mean_the_same() {
        for (word, letter, task, _) in TASKS {
            for typed in [word, letter] {
                let step = Step { task, id: A.parse().unwrap() };
                assert_eq!(read(&format!("\n# x\n  {typed}\t{A} failure retract me\n")).unwrap(), [step]);
            }
        }
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("r 6aqs x\nk 6aqt y").unwrap().len(), 2, "an id may be cut");
    }

    #[test]
    fn what_could_be_meant_in_two_ways_is_an_error() {
        for (text, says) in [
            (format!("drop {A}"), "line 1: \"drop\" is none of"),
            (format!("Retract {A}"), "is none of"),
            (A.to_owned(), "is none of"),
            ("keep".to_owned(), "keep has no id"),
            ("retract 6aq".to_owned(), "line 1:"),
            ("retract zzzz".to_owned(), "is not in the list"),
            (format!("keep {A}\n\nretract {A}"), "line 3: 6aqsg8x6vck8d86r is in the list twice"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let same = ["6aqs000000000000", "6aqs111111111111"].map(str::to_owned).into();
        assert!(steps("keep 6aqs", &|typed| among(&same, typed)).unwrap_err().to_string().contains("ambiguous"));
    }
}
