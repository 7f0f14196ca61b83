//! Harvesting the lessons of a commit, for the post-commit hook.
//!
//! What a commit says is put into the spool and the lock is tried once: nothing here waits. A commit without trailers costs
//! reading it and the last line of HEAD's reflog. What replaced another commit (an amend, a reword, a squash) also withdraws
//! what the other one said and this one does not; what is said again is restored.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use git2::{Commit, Oid};

use super::Store;
use crate::error::{Doing, Error, Result};
use crate::record::{Harvest, Id, Kind, Record, Time, Verb, WITHDRAWN, amended, harvest, live_events, trailers};
use crate::repo::parse_oid;

/// Longest end of a reflog that is read for its last line.
const LINE_MAX: u64 = 16 * 1024;

/// Longest commit message whose trailers are read, in bytes. Commits come from anybody, by a rebase or a cherry-pick.
const MESSAGE_MAX: usize = 256 * 1024;

/// Steps that put a commit in the place of another, in HEAD's reflog: `commit (amend): …`, `rebase (reword): …`.
const REPLACING: [&str; 6] = ["amend", "reword", "edit", "fixup", "squash", "continue"];

/// What a commit says, who says it, and when.
struct Said {
    /// The trailers, as git sees them: those of the last paragraph.
    trailers: Vec<(String, String)>,
    /// What would be trailers if the paragraph were the last. A squash joins messages, so that trailers end up above the last
    /// paragraph, and the message says so still.
    paragraphs: Vec<Vec<(String, String)>>,
    author: String,
    date: Time,
    /// Rules of the secret scan whose findings are accepted.
    allowed: Vec<String>,
}

impl Store {
    /// Puts what HEAD's commit says into the memory and drains what waits, with one attempt at the lock. Returns the trailers
    /// that could not be taken, with the reason.
    ///
    /// # Errors
    /// When the commit cannot be read or the spool cannot be written. A busy lock is no error: its holder drains.
    pub fn harvest_head(&self) -> Result<Vec<Error>> {
        let commit = match self.repo.git().head().and_then(|head| head.peel_to_commit()) {
            Ok(commit) => commit,
            Err(error) if matches!(error.code(), git2::ErrorCode::UnbornBranch | git2::ErrorCode::NotFound) => {
                return self.drain_once().map(|()| Vec::new());
            }
            Err(error) => return Err(error).doing(|| "read HEAD".into()),
        };
        let new = Said::by(&commit, &self.config.allow_secret)?;
        let replaced: Vec<_> = self
            .replaced_by(&commit)
            .iter()
            .filter_map(|old| Some((old.id(), Said::by(old, &self.config.allow_secret).ok()?)))
            .collect();
        if new.trailers.is_empty() && replaced.iter().all(|(_, said)| said.paragraphs.is_empty()) {
            return self.drain_once().map(|()| Vec::new());
        }
        let resolve = |typed: &str| self.resolve_at_once(typed);
        let harvest = new.harvest(&resolve);
        let (known, mut records): (Vec<_>, Vec<_>) =
            harvest.records.iter().cloned().partition(|record| self.is_known(record.kind, record.id));
        let date = Time::from_seconds(commit.time().seconds()).unwrap_or(new.date);
        let committer = identity(&commit.committer());
        let step = |old: Option<Oid>| format!("{} {}", old.map(|old| old.to_string()).unwrap_or_default(), commit.id());
        for (old, said) in &replaced {
            let mut gone = said.everything(&resolve);
            gone.retain(|record| {
                self.is_known(record.kind, record.id)
                    && !has(&harvest.records, record.id)
                    && new.withdraws(record.id, said, &resolve)
            });
            records.extend(amended(&gone, &[], &|_| Vec::new(), &step(Some(*old)), &committer, date)?);
        }
        let restore = |id| self.withdrawn_by(id);
        records.extend(amended(&[], &known, &restore, &step(None), &committer, date)?);
        self.record_at_once("hook", &records)?;
        Ok(harvest.rejected)
    }

    /// Returns the ids of the records that the trailers of a commit make.
    pub(super) fn said_by(&self, commit: Oid) -> Vec<Id> {
        let said = self.repo.git().find_commit(commit).doing(|| "read a commit".into());
        let said = said.and_then(|commit| Said::by(&commit, &self.config.allow_secret));
        let no_events = |typed: &str| Err(Error::NotFound { id: typed.to_owned() });
        said.map(|said| said.everything(&no_events).iter().map(|record| record.id).collect()).unwrap_or_default()
    }

    fn drain_once(&self) -> Result<()> {
        if self.spool.is_empty() || self.config.drain_signs() {
            return Ok(());
        }
        self.drain_if_free("hook", Duration::ZERO).map(drop)
    }

    /// Tells whether a record is in the ledger or on its way. One that cannot be looked up counts as new: the drain sorts it out.
    fn is_known(&self, kind: Kind, id: Id) -> bool {
        let ledger = self.ledger();
        let tip = ledger.tip().ok().flatten();
        tip.is_some_and(|tip| ledger.contains(tip.tree, kind, id).unwrap_or(false))
            || !self.spool.find(id.as_str()).is_empty()
    }

    /// Lists the events in force by which an amend withdrew a record.
    fn withdrawn_by(&self, id: Id) -> Vec<Id> {
        let mut events = self.read_at_once(|index| index.events_of(id)).unwrap_or_default();
        let waiting = self.spool.list().unwrap_or_default().entries.into_iter().map(|entry| entry.record);
        events.extend(waiting.filter(|record| record.kind == Kind::Event));
        events.sort_by_key(|event| event.id);
        events.dedup_by_key(|event| event.id);
        let withdraws = |event: &&Record| {
            event.verb() == Some(Verb::Retracts)
                && event.target() == Some(id)
                && event.own_text("note") == Some(WITHDRAWN)
        };
        live_events(&events).into_iter().filter(withdraws).map(|event| event.id).collect()
    }

    /// Finds the commits that HEAD's newest step replaced.
    fn replaced_by(&self, commit: &Commit<'_>) -> Vec<Commit<'_>> {
        let git = self.repo.git();
        let Some((old, action)) = self.last_step(commit.id()) else { return Vec::new() };
        // A step from the parent is a commit of its own, whatever git calls it.
        if !REPLACING.contains(&step_of(&action)) || commit.parent_ids().any(|parent| parent == old) {
            return Vec::new();
        }
        let mut replaced = vec![old];
        if matches!(step_of(&action), "squash" | "fixup") {
            // The commit that was melted in is named by the last line of git's list of steps that are done.
            let done = std::fs::read_to_string(git.path().join("rebase-merge/done")).unwrap_or_default();
            let melted =
                done.lines().last().and_then(|line| line.split(' ').find_map(|word| git.revparse_single(word).ok()));
            replaced.extend(melted.and_then(|object| object.peel_to_commit().ok()).map(|commit| commit.id()));
        }
        replaced.into_iter().filter_map(|oid| git.find_commit(oid).ok()).collect()
    }

    /// Reads the newest line of HEAD's reflog: where HEAD was and what was done. `None` when it does not lead to `new`.
    fn last_step(&self, new: Oid) -> Option<(Oid, String)> {
        let text = end_of(&self.repo.git().path().join("logs/HEAD")).ok()?;
        let line = text.trim_end().rsplit('\n').next()?;
        let (ids, action) = line.split_once('\t')?;
        let mut ids = ids.split(' ').map(parse_oid);
        let old = ids.next()?.ok()?;
        (ids.next()?.ok()? == new).then(|| (old, action.to_owned()))
    }
}

impl Said {
    fn by(commit: &Commit<'_>, allowed: &[String]) -> Result<Self> {
        let message = commit.message_bytes();
        if message.len() > MESSAGE_MAX {
            return Err(Error::invalid(
                "message",
                format!("has {} bytes, so its trailers are not read (limit: {MESSAGE_MAX})", message.len()),
            ));
        }
        let message = String::from_utf8_lossy(message).into_owned();
        let author = commit.author();
        let date = Time::from_seconds(author.when().seconds())
            .ok_or_else(|| Error::invalid("created", "the author date is outside the years -9999 to 9999"))?;
        let paragraphs = message.split("\n\n").map(|paragraph| trailers(&format!("x\n\n{}\n", paragraph.trim())));
        let mut paragraphs = paragraphs.collect::<Result<Vec<_>>>()?;
        paragraphs.retain(|trailers| !trailers.is_empty());
        Ok(Self {
            trailers: trailers(&message)?,
            paragraphs,
            author: identity(&author),
            date,
            allowed: allowed.to_vec(),
        })
    }

    fn harvest(&self, resolve: &dyn Fn(&str) -> Result<Id>) -> Harvest {
        harvest(&self.trailers, &self.allowed, &self.author, self.date, resolve)
    }

    /// Returns what all paragraphs say, those included that are no trailers to git.
    fn everything(&self, resolve: &dyn Fn(&str) -> Result<Id>) -> Vec<Record> {
        let mut records = self.harvest(resolve).records;
        for trailers in &self.paragraphs {
            records.extend(harvest(trailers, &self.allowed, &self.author, self.date, resolve).records);
        }
        records.sort_by_key(|record| record.id);
        records.dedup_by_key(|record| record.id);
        records
    }

    /// Tells whether what `old` said under this id is no longer said. What is said again by another author, or at another
    /// date, has a new id that takes the place of this one.
    fn withdraws(&self, id: Id, old: &Self, resolve: &dyn Fn(&str) -> Result<Id>) -> bool {
        let says = |trailers: &[(String, String)]| {
            has(&harvest(trailers, &old.allowed, &old.author, old.date, resolve).records, id)
        };
        says(&self.trailers) || !self.paragraphs.iter().any(|paragraph| says(paragraph))
    }
}

/// Returns the word in parentheses before the colon; what stands before it may be anything (`GIT_REFLOG_ACTION`).
fn step_of(action: &str) -> &str {
    let head = action.split(": ").next().unwrap_or_default();
    head.rsplit_once('(').and_then(|(_, step)| step.strip_suffix(')')).unwrap_or_default()
}

fn has(records: &[Record], id: Id) -> bool {
    records.iter().any(|record| record.id == id)
}

fn identity(signature: &git2::Signature<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{} <{}>", text(signature.name_bytes()), text(signature.email_bytes()))
}

fn end_of(path: &std::path::Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LINE_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LINE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::step_of;

    #[test]
    fn the_step_is_read_whatever_started_it() {
        for (action, step) in [
            ("commit (amend): a (reword): b", "amend"),
            ("rebase (squash): # a", "squash"),
            ("pull --rebase=interactive (reword): x", "reword"),
            ("commit: mention (amend)", ""),
            ("commit (initial): x", "initial"),
        ] {
            assert_eq!(step_of(action), step, "{action}");
        }
    }
}
