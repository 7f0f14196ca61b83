//! Records on the current branch (`elf.ref` = `HEAD`): files below `memory/` that wait for a commit the user asks for.
//!
//! Nothing here commits behind the user's back: a commit of ours after theirs would make their `--amend` rewrite ours. So a
//! record is an entry of the spool, which is its durable copy, and a file in the working tree, which the user sees and may
//! commit or change. The index shows what waits beside what is committed.
//!
//! * An entry leaves the spool when a commit holds its id and that commit's objects were flushed: git leaves loose objects
//!   unsynced. The commit may be gone from the branch since; what the user took back is gone as code is, and not added again.
//! * A file that vanishes (`git clean`, `git stash -u`) is no deletion, and is not written again: its entry waits on.
//! * [`Store::flush`] commits what waits, from the file where it is still a record with that id, else from the spool.
//! * Each linked worktree has a spool of its own in the common dir, which survives the worktree. What is left of one that is
//!   gone goes to the branch it had, if nobody has that checked out.
//!
//! [`Store::flush`]: crate::store::Store::flush

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use git2::Oid;

use super::Store;
use super::catch_up::Unreadable;
use super::drain::Drained;
use crate::config::{Config, IN_TREE};
use crate::error::{Doing, Error, Result};
use crate::ledger::{self, Ledger, NewFile, Tip};
use crate::lock::{self, RepoLock};
use crate::record::{Id, Kind, Record, field};
use crate::repo::{Repo, Worktree};
use crate::spool::{Entry, Spool};
use crate::sys::{self, Beneath};

/// Directory of the spools of linked worktrees, below ours.
const WORKTREES: &str = "worktrees";
/// File that says which branch a worktree had when it last recorded.
const BRANCH: &str = "branch";
/// Most steps of HEAD that are searched for a commit that held an entry.
const REFLOG_MAX: usize = 500;
/// How long git is waited for that takes files away in the working tree.
const SWEEP: Duration = Duration::from_secs(1);
/// The clock of a reflog counts seconds, and may have been set back a little.
const SLACK: Duration = Duration::from_secs(60);

/// What a flush did.
#[derive(Debug, Default)]
pub struct Flushed {
    /// Records that are new in a commit on this branch.
    pub committed: usize,
    /// Records of worktrees that are gone, committed to the branches they had.
    pub elsewhere: Vec<(String, usize)>,
    pub tip: Option<Oid>,
}

/// The spool of a worktree that is gone.
#[derive(Debug)]
pub struct Orphan {
    pub worktree: String,
    pub branch: Option<String>,
    pub records: usize,
    dir: PathBuf,
}

/// Returns the spool and the directory of the index.
pub(super) fn places(repo: &Repo, config: &Config) -> Result<(Spool, PathBuf)> {
    let format = repo.git().object_format();
    if !config.is_in_tree() {
        return Ok((Spool::new(repo.elf_dir(), format), repo.elf_dir().to_owned()));
    }
    if repo.workdir().is_none() {
        return Err(Error::Refused {
            what: "elf.ref is HEAD, and a bare repository has no working tree to keep records in".into(),
            hint: "git config elf.ref refs/elf/memory".into(),
        });
    }
    if !repo.git().is_worktree() {
        return Ok((Spool::new(repo.elf_dir(), format), repo.elf_dir().to_owned()));
    }
    let git_dir = repo.git().path();
    Ok((Spool::new(&repo.elf_dir().join(WORKTREES).join(key(git_dir)?), format), git_dir.join("elf")))
}

/// Names a linked worktree, now and for ever: another one may get its name when it is gone, and then was made at another time.
fn key(git_dir: &Path) -> Result<String> {
    let name = git_dir.file_name().unwrap_or_default().to_string_lossy();
    // git writes this file once, when it makes the worktree.
    let made = fs::metadata(git_dir.join("commondir")).doing(|| format!("look into {}", git_dir.display()))?;
    Ok(format!("{name}-{:x}-{:x}", made.mtime(), made.mtime_nsec()))
}

impl Store {
    /// Makes the directories of the worktree's own spool and index, and notes its branch.
    pub(super) fn create_places(&self) -> Result<()> {
        self.repo.create_elf_dir()?;
        if self.index_dir == self.repo.elf_dir() {
            return Ok(());
        }
        let own = self.spool.dir().parent().expect("a spool is below a directory");
        sys::create_dir(own).doing(|| format!("create {}", own.display()))?;
        // Its parent is git's: without it the worktree is gone, and must not come back as an empty shell.
        sys::create_one_dir(&self.index_dir).doing(|| format!("create {}", self.index_dir.display()))?;
        let branch = self.ledger().branch().ok().flatten().unwrap_or_default();
        let note = own.join(BRANCH);
        if fs::read_to_string(&note).is_ok_and(|noted| noted == branch) {
            return Ok(());
        }
        let doing = || format!("write {}", note.display());
        sys::prepare(own, ".tmp-", branch.as_bytes(), 0o666).and_then(|mut file| file.rename_to(&note)).doing(doing)
    }

    /// Puts records into the working tree, where the current branch has the memory. A file that cannot be there is only worth
    /// a word: the spool has the record.
    pub(super) fn place(&self, records: &[Record]) {
        let Some(root) = self.repo.workdir().filter(|_| self.config.waits_for_flush()) else { return };
        // `git clean` and `git stash -u` fail when a directory that they empty gets a new file.
        let start = Instant::now();
        let worktree = self.repo.worktree();
        while start.elapsed() < SWEEP && worktree.as_ref().is_some_and(|here| lock::sweeper_at(here).is_some()) {
            std::thread::sleep(Duration::from_millis(fastrand::u64(5..30)));
        }
        let ledger = self.ledger();
        let texts: Vec<_> = records.iter().map(Record::to_text).collect();
        let files = records.iter().zip(&texts).map(|(record, text)| NewFile { path: ledger.path_of(record), text });
        if let Err(error) = ledger::place(root, &files.collect::<Vec<_>>(), self.spool.dir()) {
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            self.say(&format!("not in the working tree, but kept for git elf flush: {error}{hint}"));
        }
    }

    /// What the holder of the lock does in place of a commit: `direct` is queued, what a commit holds leaves the spool, and the
    /// index shows the rest.
    pub(super) fn keep(
        &self,
        lock: &RepoLock<'_>,
        ledger: &Ledger<'_>,
        direct: Vec<Entry>,
        reject: &mut dyn FnMut(&Record, &Error),
    ) -> Result<Drained> {
        self.create_places()?;
        let tip = self.healed_tip(lock, ledger)?;
        let listing = self.spool.list()?;
        self.put_malformed_aside(lock, ledger, tip, &listing)?;
        let mut drained = Drained { tip, waits: true, ..Drained::default() };
        let mut known: HashSet<_> = listing.entries.iter().map(|entry| (entry.record.id, entry.blob())).collect();
        let mut records = Vec::new();
        for entry in direct {
            let id = entry.record.id;
            let committed = tip.map_or(Ok(None), |tip| ledger.find(tip.tree, entry.record.kind, id))?;
            let same = committed.as_ref().is_some_and(|(_, blob)| *blob == entry.blob());
            if same || known.contains(&(id, entry.blob())) {
                drained.present += 1;
            } else if committed.is_some() || known.iter().any(|(other, _)| *other == id) {
                reject(&entry.record, &Error::invalid("id", format!("{id} stands for another record already")));
            } else {
                known.insert((id, entry.blob()));
                records.push(entry.record);
            }
        }
        let tickets = records.iter().map(|record| self.spool.put(record)).collect::<Result<Vec<_>>>()?;
        self.place(&records);
        tickets.iter().try_for_each(crate::spool::Ticket::sync)?;
        drained.imported = records.len();
        self.release(lock, ledger, tip, listing.entries)?;
        let goal = self.goal(ledger, tip, Unreadable::IsNoted)?;
        if let Err(error) = self.catch_up(lock, &goal) {
            self.say(&format!("the index is behind and the next command mends it: {error}"));
        }
        Ok(drained)
    }

    /// Removes the entries that a commit holds, of the branch or of HEAD's past, once that commit is durable.
    fn release(&self, lock: &RepoLock<'_>, ledger: &Ledger<'_>, tip: Option<Tip>, entries: Vec<Entry>) -> Result<()> {
        let mut rest = entries;
        let oldest = rest.iter().filter_map(Entry::waited).max();
        let past = oldest.map(|oldest| self.past_tips(ledger, SystemTime::now() - oldest - SLACK)).unwrap_or_default();
        for tip in tip.into_iter().chain(past) {
            if rest.is_empty() {
                break;
            }
            let mut held = Vec::new();
            let mut free = Vec::new();
            for entry in rest {
                let found = ledger.find(tip.tree, entry.record.kind, entry.record.id)?;
                if found.is_some() { held.push(entry) } else { free.push(entry) }
            }
            rest = free;
            if !held.is_empty() {
                ledger.make_durable(
                    lock,
                    tip,
                    &held.iter().map(|entry| (entry.record.kind, entry.record.id)).collect::<Vec<_>>(),
                )?;
                self.spool.remove(lock, &held)?;
            }
        }
        Ok(())
    }

    /// Lists where HEAD was since a moment, newest first; what can no longer be read is left out.
    fn past_tips(&self, ledger: &Ledger<'_>, since: SystemTime) -> Vec<Tip> {
        let since = since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let Ok(log) = self.repo.git().reflog("HEAD") else { return Vec::new() };
        let mut seen = HashSet::new();
        let steps = log.iter().take(REFLOG_MAX);
        let steps =
            steps.take_while(|step| u64::try_from(step.committer().when().seconds()).is_ok_and(|at| at >= since));
        steps
            .flat_map(|step| [step.id_new(), step.id_old()])
            .filter(|commit| !commit.is_zero() && seen.insert(*commit))
            .filter_map(|commit| ledger.tip_at(commit).ok())
            .collect()
    }

    /// Commits what waits on the current branch, in one commit that has nothing else; and what is left of worktrees that are
    /// gone on the branches they had. With `adopt` that is taken to this branch, too.
    ///
    /// # Errors
    /// [`Error::Deferred`] while the branch is in use; everything waits on then.
    pub fn flush(&self, adopt: bool) -> Result<Flushed> {
        self.repo.identity()?;
        self.locked("flush", |lock| {
            let ledger = self.ledger();
            if !ledger.is_in_tree() {
                let drained = self.drain(lock, Vec::new(), &mut |_, _| {})?;
                return Ok(Flushed {
                    committed: drained.committed,
                    tip: drained.tip.map(|tip| tip.commit),
                    ..Flushed::default()
                });
            }
            let here = ledger.branch()?;
            let mut elsewhere = Vec::new();
            for orphan in self.orphans() {
                if adopt || orphan.branch == here {
                    self.create_places()?;
                    self.spool.take_over(lock, &self.spool.another(&orphan.dir))?;
                    orphan.remove();
                } else if let Some(branch) = &orphan.branch
                    && self.commit_orphan(lock, &orphan, branch)?
                {
                    elsewhere.push((branch.clone(), orphan.records));
                }
            }
            // What the user committed is not ours to commit again, and what cannot be read must not stop the rest.
            self.keep(lock, &ledger, Vec::new(), &mut |_, _| {})?;
            let drained = self.commit_spool(lock, &ledger, Vec::new(), &mut |_, _| {})?;
            Ok(Flushed { committed: drained.committed, elsewhere, tip: drained.tip.map(|tip| tip.commit) })
        })
    }

    /// Lists the records that wait for a commit of the user's, as they were written.
    ///
    /// # Errors
    /// When the spool or the ledger cannot be read.
    pub fn waiting(&self) -> Result<Vec<Record>> {
        let ledger = self.ledger();
        if !ledger.is_in_tree() {
            return Ok(Vec::new());
        }
        let tree = ledger.tip()?.map(|tip| tip.tree);
        let mut waiting = Vec::new();
        for entry in self.spool.list()?.entries {
            if tree.map_or(Ok(None), |tree| ledger.find(tree, entry.record.kind, entry.record.id))?.is_none() {
                waiting.push(entry.record);
            }
        }
        Ok(waiting)
    }

    /// Lists what is left of worktrees that are gone.
    pub fn orphans(&self) -> Vec<Orphan> {
        let Ok(dirs) = fs::read_dir(self.repo.elf_dir().join(WORKTREES)) else { return Vec::new() };
        let live = fs::read_dir(self.repo.common_dir().join("worktrees")).into_iter().flatten().flatten();
        let live: HashSet<_> = live.filter_map(|entry| key(&entry.path()).ok()).collect();
        let dirs = dirs.flatten().filter(|entry| !live.contains(&*entry.file_name().to_string_lossy()));
        let mut orphans: Vec<_> = dirs
            .filter_map(|entry| {
                let dir = entry.path();
                let records = self.spool.another(&dir).len();
                let name = entry.file_name().to_string_lossy().into_owned();
                let worktree = name.rsplitn(3, '-').last().unwrap_or_default().to_owned();
                let branch = fs::read_to_string(dir.join(BRANCH)).ok().filter(|branch| !branch.is_empty());
                (records > 0).then_some(Orphan { worktree, branch, records, dir })
            })
            .collect();
        orphans.sort_by(|a, b| a.dir.cmp(&b.dir));
        orphans
    }

    /// Commits an orphan's records on its branch; `false` when somebody has that checked out, or it is gone.
    fn commit_orphan(&self, lock: &RepoLock<'_>, orphan: &Orphan, branch: &str) -> Result<bool> {
        let ledger = Ledger::in_branch(&self.repo, branch).signing(self.config.signs);
        let in_use = self.repo.worktrees().iter().any(|worktree: &Worktree| worktree.uses(branch));
        if in_use || ledger.tip_id()?.is_none() {
            return Ok(false);
        }
        let spool = self.spool.another(&orphan.dir);
        let listing = spool.list()?;
        self.commit_entries(lock, &ledger, &listing.entries)?;
        spool.remove(lock, &listing.entries)?;
        orphan.remove();
        Ok(true)
    }

    /// Takes over what waits in the spools of worktrees, which nothing else would look at when the memory is on a ref.
    pub(super) fn gather_worktrees(&self, lock: &RepoLock<'_>) -> Result<()> {
        let Ok(dirs) = fs::read_dir(self.repo.elf_dir().join(WORKTREES)) else { return Ok(()) };
        for dir in dirs.flatten() {
            self.spool.take_over(lock, &self.spool.another(&dir.path()))?;
            remove_empty(&dir.path());
        }
        Ok(())
    }

    /// Returns the text to commit for an entry: that of its file where it still is this record, else its own.
    pub(super) fn text_of<'e>(&self, ledger: &Ledger<'_>, entry: &'e Entry) -> std::borrow::Cow<'e, str> {
        // The working tree is that of the current branch, and says nothing about another one.
        let edited = self.repo.workdir().filter(|_| ledger.name() == IN_TREE).and_then(|root| {
            let path = ledger.path_of(&entry.record);
            let (dir, name) = Beneath::open(root).and_then(|top| top.parent(Path::new(&path))).ok()?;
            let limit = u64::try_from(field::FILE_MAX).ok()? + 1;
            let text = String::from_utf8(dir.read(&name, limit).ok()?).ok()?;
            let record = Record::parse(text.as_bytes()).ok()?;
            (text.len() <= field::FILE_MAX && (record.kind, record.id) == (entry.record.kind, entry.record.id))
                .then_some(text)
        });
        edited.map_or_else(|| entry.text.as_str().into(), Into::into)
    }

    /// Lists the records that HEAD once had and that no branch or tag has now: taken back by a reset or an amend.
    ///
    /// # Errors
    /// When an object that is still there cannot be read.
    pub(super) fn taken_back(&self, ledger: &Ledger<'_>, tip: Option<Tip>) -> Result<Vec<String>> {
        let Some(tip) = tip.filter(|_| ledger.is_in_tree()) else { return Ok(Vec::new()) };
        let git = self.repo.git();
        let doing = || "read HEAD's reflog".to_owned();
        let mut walk = git.revwalk().doing(doing)?;
        for past in self.past_tips(ledger, UNIX_EPOCH) {
            walk.push(past.commit).doing(doing)?;
        }
        walk.hide_glob("refs/*").doing(doing)?;
        walk.hide(tip.commit).doing(doing)?;
        let mut trees = HashSet::from([tip.tree]);
        let mut gone = Vec::new();
        for commit in walk.flatten().take(REFLOG_MAX) {
            let Ok(past) = ledger.tip_at(commit) else { continue };
            if !trees.insert(past.tree) {
                continue;
            }
            ledger.changes(Some(tip.tree), Some(past.tree), &|name| Kind::of_dir(name).is_some(), &mut |change| {
                let id = change.path.rsplit('/').next().and_then(Id::of_file_name);
                if let (None, Some(_), Some(id)) = (change.old, change.new, id)
                    && self.spool.find(id.as_str()).is_empty()
                    && ledger.files_of(tip.tree, id)?.is_empty()
                {
                    gone.push(change.path);
                }
                Ok(())
            })?;
        }
        gone.sort_unstable();
        gone.dedup();
        Ok(gone)
    }
}

impl Orphan {
    /// Says what is left, and for which branch.
    pub fn describe(&self) -> String {
        let records = if self.records == 1 { "record" } else { "records" };
        let branch = self.branch.as_deref().map_or("a detached HEAD", |name| name.trim_start_matches("refs/heads/"));
        format!("{} {records} of the worktree {}, which is gone, for {branch}", self.records, self.worktree)
    }

    fn remove(&self) {
        remove_empty(&self.dir);
    }
}

/// Removes the directory of a spool in which nothing waits.
fn remove_empty(dir: &Path) {
    // Only while empty, innermost first; what is left is looked at again.
    let spool = dir.join("spool");
    let _ = fs::remove_dir(spool.join("bad")).and_then(|()| fs::remove_dir(&spool));
    if !spool.exists() {
        let _ = sys::unlink(&dir.join(BRANCH));
        let _ = fs::remove_dir(dir);
    }
}
