//! What a session of a coding agent began with, so that its end can tell whether work was done and nothing was recorded.
//!
//! `elf/sessions` has a file for each session: when it began, HEAD, and what `git status` said. A second file says that the agent
//! was reminded; it is made exclusively, so that there is one reminder a session, however many ask at once. The names are hashes, since
//! a session's id comes from outside. Old sessions go when another one begins.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use git2::{ObjectType, Oid};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::error::{Doing, Result};
use crate::index::Filter;
use crate::record::Time;
use crate::repo::object_id;
use crate::sys::Beneath;

/// Files that are kept; a session has two at most.
const FILES_MAX: usize = 100;
/// Seconds after which a session is forgotten: 30 days.
const AGE_MAX: i64 = 30 * 24 * 3600;
/// Largest file, in bytes.
const SIZE_MAX: u64 = 4096;
/// Seconds before changes that nobody committed count as work: a first edit is no lesson yet.
const CHANGES_AGE: i64 = 10 * 60;
/// Most commits that are looked at for one of this session.
const COMMITS_MAX: usize = 1000;

/// What was done in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Commits were made.
    Commits,
    /// Files were changed, and not committed.
    Changes,
}

/// What a session began with.
#[derive(Serialize, Deserialize)]
struct Began {
    /// Microseconds since 1970.
    at: i64,
    commit: Option<String>,
    /// A hash of what `git status` said; none where it could not be asked.
    changes: Option<String>,
}

impl Store {
    /// Notes what a session begins with; a session that goes on keeps its beginning.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn begin_session(&self, id: &str) -> Result<()> {
        let doing = || "write elf/sessions".to_owned();
        self.repo.create_elf_dir()?;
        let sessions =
            Beneath::open(self.repo.elf_dir()).and_then(|dir| dir.make(Path::new("sessions"))).doing(doing)?;
        prune(&sessions, Time::now().micros() / 1_000_000).doing(doing)?;
        let name = self.session(id);
        if sessions.look(&name).doing(doing)?.is_some() {
            return Ok(());
        }
        let began = Began { at: Time::now().micros(), commit: self.repo.head().commit, changes: self.changes() };
        let text = serde_json::to_vec(&began).expect("numbers and texts have a JSON form");
        match sessions.create(&name, &text) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created.doing(doing),
        }
    }

    /// Returns the work of a session that has recorded nothing, once a session; `None` for one whose beginning is not known.
    ///
    /// # Errors
    /// When the file system or git refuses.
    pub fn unrecorded_work(&self, id: &str) -> Result<Option<Work>> {
        let doing = || "read elf/sessions".to_owned();
        let sessions = match Beneath::open(self.repo.elf_dir()).and_then(|dir| dir.enter(Path::new("sessions"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.doing(doing)?,
        };
        let name = self.session(id);
        let reminded: OsString = [name.as_os_str(), OsStr::new("-reminded")].iter().copied().collect();
        if sessions.look(&name).doing(doing)?.is_none() || sessions.look(&reminded).doing(doing)?.is_some() {
            return Ok(None);
        }
        let text = sessions.read(&name, SIZE_MAX).doing(doing)?;
        let Ok(began) = serde_json::from_slice::<Began>(&text) else { return Ok(None) };
        let Some(work) = self.work_since(&began)? else { return Ok(None) };
        if self.has_recorded_since(&began)? {
            return Ok(None);
        }
        match sessions.create(&reminded, b"") {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            created => created.doing(doing).map(|()| Some(work)),
        }
    }

    /// Removes what is known of all sessions.
    pub fn forget_sessions(&self) {
        let Ok(elf) = Beneath::open(self.repo.elf_dir()) else { return };
        if let Ok(sessions) = elf.enter(Path::new("sessions")) {
            for name in sessions.list().unwrap_or_default() {
                let _ = sessions.unlink(&name);
            }
        }
        let _ = elf.rmdir(OsStr::new("sessions"));
    }

    /// Returns the name of a session's file.
    fn session(&self, id: &str) -> OsString {
        object_id(self.repo.git(), ObjectType::Blob, id.as_bytes()).to_string().into()
    }

    /// Hashes what `git status` says; git's own locks are not taken for that.
    fn changes(&self) -> Option<String> {
        let mut git = self.repo.command();
        git.current_dir(self.repo.workdir()?);
        git.args(["--no-optional-locks", "status", "--porcelain=v1", "-z", "--ignore-submodules=all"]);
        let output = git.output().ok().filter(|output| output.status.success())?;
        Some(object_id(self.repo.git(), ObjectType::Blob, &output.stdout).to_string())
    }

    fn work_since(&self, began: &Began) -> Result<Option<Work>> {
        if self.has_committed_since(began)? {
            return Ok(Some(Work::Commits));
        }
        let age = (Time::now().micros() - began.at) / 1_000_000;
        if age < CHANGES_AGE || began.changes.is_none() {
            return Ok(None);
        }
        Ok(self.changes().filter(|changes| Some(changes) != began.changes.as_ref()).map(|_| Work::Changes))
    }

    /// Looks for a commit that this user made since, among those that HEAD has got since: a pull brings commits of others.
    fn has_committed_since(&self, began: &Began) -> Result<bool> {
        let doing = || "walk the commits of this session".to_owned();
        let Some(head) = self.repo.head().commit.filter(|head| Some(head) != began.commit.as_ref()) else {
            return Ok(false);
        };
        let email = self.repo.identity()?.email;
        let git = self.repo.git();
        let mut walk = git.revwalk().doing(doing)?;
        walk.push(crate::repo::parse_oid(&head).doing(doing)?).doing(doing)?;
        if let Some(commit) = began.commit.as_deref().and_then(|commit| crate::repo::parse_oid(commit).ok()) {
            // It may be gone, after a rebase and a gc.
            let _ = walk.hide(commit);
        }
        let is_ours = |oid: Oid| {
            git.find_commit(oid).is_ok_and(|commit| {
                let committer = commit.committer();
                committer.when().seconds() >= began.at / 1_000_000 && committer.email_bytes() == email.as_bytes()
            })
        };
        Ok(walk.take(COMMITS_MAX).flatten().any(is_ours))
    }

    /// Tells whether this user, and this agent where both are named, has recorded something since, be it a word about a record.
    fn has_recorded_since(&self, began: &Began) -> Result<bool> {
        // A lesson in a commit's message has the commit's time, which is in seconds.
        let since = Time::from_seconds(began.at / 1_000_000);
        let author = self.repo.identity()?.to_string();
        let is_ours = |agent: &str| agent.is_empty() || self.config.agent.as_deref().is_none_or(|ours| ours == agent);
        let filter = Filter { since, author: Some(author.clone()), all: true, ..Filter::default() };
        if self.list(&filter)?.iter().any(|row| is_ours(row.text("agent"))) {
            return Ok(true);
        }
        let events = self.read(|index| index.events(since, None))?;
        let by_us = |event: &crate::record::Record| event.author.as_deref() == Some(author.as_str());
        Ok(events.iter().any(|event| by_us(event) && is_ours(event.agent.as_deref().unwrap_or_default())))
    }
}

/// Removes what is old, and the oldest of what is too much.
fn prune(sessions: &Beneath, now: i64) -> io::Result<()> {
    let mut files = Vec::new();
    for name in sessions.list()? {
        if let Some(seen) = sessions.look(&name)? {
            files.push((seen.modified, name));
        }
    }
    files.sort();
    let many = files.len().saturating_sub(FILES_MAX);
    for (at, (modified, name)) in files.iter().enumerate() {
        if at < many || now - modified.0 > AGE_MAX {
            sessions.unlink(name)?;
        }
    }
    Ok(())
}
