//! Lessons in commit messages: `Elf-…` trailers.
//!
//! A harvested record is a pure function of the trailer's text, the commit's author and the author date, its id included. It
//! names no commit, branch or agent. So amend, rebase, cherry-pick and two clones that harvest one commit make one record.
//!
//! `Elf-Failure: TITLE` (or another kind) starts a record; `Elf-Domain:`, `Elf-Tags:`, `Elf-Severity:` and the other keys of
//! the kind belong to the record above them, or to all records of the commit when they stand before the first.
//! `Elf-Validates: ID` and the other verbs are events.

use super::{Draft, Id, Kind, Record, Time, Verb};
use crate::error::{Doing, Error, Result};

/// The note of an event that withdraws what an amended commit no longer says.
pub const WITHDRAWN: &str = "the commit message no longer says so";

/// What one commit message says.
#[derive(Debug, Default)]
pub struct Harvest {
    pub records: Vec<Record>,
    /// Trailers that could not be taken, with the reason.
    pub rejected: Vec<Error>,
}

/// Reads our trailers of a commit message, as git does: those of its last paragraph.
///
/// # Errors
/// When libgit2 cannot read them.
pub fn trailers(message: &str) -> Result<Vec<(String, String)>> {
    let is_ours = |name: &str| name.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("elf-"));
    if !message.as_bytes().windows(4).any(|bytes| bytes.eq_ignore_ascii_case(b"elf-")) {
        return Ok(Vec::new());
    }
    let found = git2::message_trailers_strs(message).doing(|| "read the trailers".into())?;
    let ours = found.iter().filter(|(name, _)| is_ours(name));
    Ok(ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Keys and values as typed.
type Keys<'a> = Vec<(&'a str, &'a str)>;

/// Reads the trailers of a commit. `resolve` turns a typed id or prefix into the id of a record; `allowed` names rules of the
/// secret scan whose findings are accepted.
pub fn harvest(
    trailers: &[(String, String)],
    allowed: &[String],
    author: &str,
    date: Time,
    resolve: &dyn Fn(&str) -> Result<Id>,
) -> Harvest {
    let mut common: Keys<'_> = Vec::new();
    let mut lessons: Vec<(Kind, &str, Keys<'_>)> = Vec::new();
    let mut harvest = Harvest::default();
    for (name, value) in trailers {
        let Some(word) = strip_prefix(name) else { continue };
        let word = word.to_ascii_lowercase();
        let value = value.trim();
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == word && *kind != Kind::Event) {
            lessons.push((kind, value, Vec::new()));
        } else if let Some(verb) = Verb::ALL.into_iter().find(|verb| verb.name() == word && *verb != Verb::Sets) {
            match event(verb, value, allowed, author, date, resolve) {
                Ok(record) => harvest.records.push(record),
                Err(error) => harvest.rejected.push(error),
            }
        } else {
            let key = name.get("Elf-".len()..).unwrap_or_default();
            match lessons.last_mut() {
                Some((_, _, own)) => own.push((key, value)),
                None => common.push((key, value)),
            }
        }
    }
    for (kind, title, own) in lessons {
        let keys = common.iter().chain(&own).copied();
        match lesson(kind, title, keys, allowed, author, date) {
            Ok(record) => harvest.records.push(record),
            Err(error) => harvest.rejected.push(error),
        }
    }
    harvest
}

fn strip_prefix(name: &str) -> Option<&str> {
    let (prefix, word) = name.split_at_checked("Elf-".len())?;
    prefix.eq_ignore_ascii_case("Elf-").then_some(word)
}

fn lesson<'a>(
    kind: Kind,
    title: &str,
    keys: impl Iterator<Item = (&'a str, &'a str)>,
    allowed: &[String],
    author: &str,
    date: Time,
) -> Result<Record> {
    // A trailer that git folded over several lines is one title.
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut draft = Draft::new(kind, &title);
    let mut text = format!("{kind}: {title}");
    for (key, value) in keys {
        let key = key.to_ascii_lowercase();
        draft.set(&key, value)?;
        text.push_str(&format!("\n{key}: {value}"));
    }
    finish(draft, allowed, &["trailer", &text, author], author, date)
}

fn event(
    verb: Verb,
    value: &str,
    allowed: &[String],
    author: &str,
    date: Time,
    resolve: &dyn Fn(&str) -> Result<Id>,
) -> Result<Record> {
    let (target, note) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    let mut draft = Draft::event(verb, resolve(target)?);
    if !note.trim().is_empty() {
        draft.put("note", note.trim());
    }
    finish(draft, allowed, &["trailer", verb.name(), value, author], author, date)
}

fn finish(mut draft: Draft, allowed: &[String], parts: &[&str], author: &str, date: Time) -> Result<Record> {
    let date = date.to_string();
    let id = Id::derived(&[parts, &[date.as_str()]].concat());
    draft.put("id", id.as_str());
    draft.put("created", date);
    draft.put("author", author);
    draft.finish_allowing(allowed)
}

/// Returns what an amend changed: an event that retracts each record only the old message spoke of, and one that undoes an
/// earlier such event for each record that the new message speaks of again.
///
/// `step` names the amend (the old and the new commit), so that running the hook twice writes the same events.
pub fn amended(
    old: &[Record],
    new: &[Record],
    retracted_by: &dyn Fn(Id) -> Vec<Id>,
    step: &str,
    author: &str,
    date: Time,
) -> Result<Vec<Record>> {
    let has = |records: &[Record], id: Id| records.iter().any(|record| record.id == id);
    let withdrawn = old.iter().map(|record| record.id).filter(|id| !has(new, *id));
    let restored = new.iter().flat_map(|record| retracted_by(record.id));
    withdrawn
        .map(|target| (target, WITHDRAWN))
        .chain(restored.map(|target| (target, "the commit message says so again")))
        .map(|(target, note)| {
            let mut draft = Draft::event(Verb::Retracts, target);
            draft.put("note", note);
            finish(draft, &[], &["amend", step, target.as_str()], author, date)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: &str = "A <a@example.org>";

    fn run(trailers: &[(&str, &str)]) -> Harvest {
        let trailers: Vec<_> = trailers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        harvest(&trailers, &[], AUTHOR, Time::from_seconds(7).unwrap(), &|text| text.parse())
    }

    #[test]
    fn attributes_belong_to_the_lesson_above_them() {
        let harvest = run(&[
            ("Signed-off-by", "someone"),
            ("Elf-Domain", "db"),
            ("Elf-Failure", "WAL grew\n without bound"),
            ("Elf-Severity", "high"),
            ("elf-heuristic", "Checkpoint under the lock"),
            ("Elf-Tags", "wal, sqlite"),
        ]);
        assert!(harvest.rejected.is_empty(), "{:?}", harvest.rejected);
        let [failure, rule] = &harvest.records[..] else { panic!("two lessons") };
        assert_eq!((failure.title.as_str(), failure.domain.as_deref()), ("WAL grew without bound", Some("db")));
        assert_eq!(failure.own["severity"].as_integer(), Some(4));
        assert_eq!((rule.kind, &rule.tags[..]), (Kind::Heuristic, &["wal".to_owned(), "sqlite".to_owned()][..]));
        assert_eq!(rule.own["confidence"].as_float(), Some(0.7));
    }

    #[test]
    fn the_same_commit_gives_the_same_bytes_and_any_change_another_id() {
        let texts = |trailers: &[(&str, &str)]| run(trailers).records.iter().map(Record::to_text).collect::<Vec<_>>();
        let one = [("Elf-Failure", "x"), ("Elf-Severity", "2")];
        assert_eq!(texts(&one), texts(&one));
        assert_ne!(run(&one).records[0].id, run(&[("Elf-Failure", "x")]).records[0].id);
    }

    #[test]
    fn a_bad_trailer_does_not_block_the_others() {
        let harvest = run(&[("Elf-Failure", "x"), ("Elf-Severity", "9"), ("Elf-Success", "y"), ("Elf-Validates", "?")]);
        assert_eq!(harvest.records.len(), 1);
        assert_eq!(harvest.rejected.len(), 2);
    }
}
