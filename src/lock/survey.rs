//! A survey of every lock below the common dir: who holds it, and whether anybody can.
//!
//! A lock is *stale* only when all of this holds: it is older than `elf.staleLockAge`; the process it names, if it names
//! one, is dead; nobody holds a flock on it; and no process works in the repository (`processes`). It is *live* when the
//! process that holds it is known and alive. Everything else is *unknown*, and our own lock files are *ours*: they are never
//! deleted. Age is taken from the modification time; a time in the future counts as age 0.
//!
//! The walk goes through [`Beneath`], so a link in place of a directory hides what is behind it instead of leading there.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fd_lock::RwLock;

use super::chain;
use super::processes::{self, Places, Users};
use crate::error::{Doing, Result};
use crate::repo::{Repo, Worktree};
use crate::sys::{self, Beneath, Seen, Sort};

/// The flock file of older scripts.
pub(super) const LEGACY_FILE: &str = "claude-lock";
/// The directory that older scripts make as a lock where there is no flock.
pub(super) const LEGACY_DIR: &str = "claude-lock.dir";
/// The only thing that such a directory holds.
pub(super) const LEGACY_PID: &str = "pid";
/// What the names start with that stale locks get before they are removed. It ends with `.lock`, so that neither git takes it
/// for a ref nor a survey overlooks it when the process that removes it is killed.
pub(super) const ASIDE: &str = ".elf-stale-";
/// Directories of a git directory that hold locks at their top.
const FLAT: [&str; 5] = ["info", "objects", "objects/info", "objects/info/commit-graphs", "objects/pack"];
/// Directories that hold locks at any depth.
const DEEP: [&str; 2] = ["refs", "logs"];
/// Deepest nesting of directories that is walked.
const DEPTH_MAX: usize = 64;

/// What can be said of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of git-elf itself: never deleted.
    Ours,
    /// The process that holds it is alive.
    Live,
    /// Left by a process that is gone.
    Stale,
    /// Nobody can tell, so nobody may touch it.
    Unknown,
}

impl Verdict {
    /// Returns the word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

/// A lock that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path below the common dir.
    pub path: PathBuf,
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: String,
    pub age: Duration,
    pub size: u64,
    /// The process that holds it or held it, where that can be known.
    pub holder: Option<u32>,
    pub(super) seen: Seen,
}

/// Looks for locks in a repository and judges each.
///
/// # Errors
/// When the common dir cannot be read.
pub fn survey(repo: &Repo, stale_age: Duration) -> Result<Vec<Found>> {
    let common = repo.common_dir();
    let top = Beneath::open(common).doing(|| format!("open {}", common.display()))?;
    let mut walk = Walk { paths: Vec::new() };
    walk.git_dir(&top, Path::new(""), 0);
    walk.paths.sort();
    let owner = |path: &PathBuf| top.parent(path).and_then(|(dir, name)| dir.look(&name)).ok()?.map(|seen| seen.owner);
    let owners = walk.paths.iter().filter_map(owner).collect();
    let mut judge = Judge { repo, stale_age, owners, users: OnceCell::new() };
    Ok(walk.paths.into_iter().filter_map(|path| judge.look(&top, path)).collect())
}

/// Collects the paths of locks.
struct Walk {
    paths: Vec<PathBuf>,
}

impl Walk {
    fn git_dir(&mut self, dir: &Beneath, at: &Path, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        for name in dir.list().unwrap_or_default() {
            if is_lock(&name) || name == LEGACY_FILE || name == LEGACY_DIR {
                self.paths.push(at.join(&name));
            }
        }
        for sub in FLAT {
            self.locks_in(dir, sub, at);
        }
        for sub in DEEP {
            if let Ok(inner) = dir.enter(Path::new(sub)) {
                self.deep(&inner, &at.join(sub), depth + 1);
            }
        }
        if at.as_os_str().is_empty() {
            self.ours(dir);
        }
        if let Ok(worktrees) = dir.enter(Path::new("worktrees")) {
            self.each(&worktrees, &at.join("worktrees"), |walk, inner, at| walk.git_dir(inner, at, depth + 1));
        }
        if let Ok(modules) = dir.enter(Path::new("modules")) {
            self.modules(&modules, &at.join("modules"), depth + 1);
        }
    }

    fn ours(&mut self, dir: &Beneath) {
        let Ok(elf) = dir.enter(Path::new("elf")) else { return };
        let names = elf.list().unwrap_or_default().into_iter();
        let is_rung = |name: &OsString| name == "lock" || name.as_bytes().starts_with(b"lock.");
        self.paths.extend(names.filter(is_rung).map(|name| Path::new("elf").join(name)));
    }

    fn locks_in(&mut self, dir: &Beneath, sub: &str, at: &Path) {
        let Ok(inner) = dir.enter(Path::new(sub)) else { return };
        let names = inner.list().unwrap_or_default().into_iter();
        self.paths.extend(names.filter(|name| is_lock(name)).map(|name| at.join(sub).join(name)));
    }

    fn deep(&mut self, dir: &Beneath, at: &Path, depth: usize) {
        let names = dir.list().unwrap_or_default();
        self.paths.extend(names.iter().filter(|name| is_lock(name)).map(|name| at.join(name)));
        if depth < DEPTH_MAX {
            self.each(dir, at, |walk, inner, at| walk.deep(inner, at, depth + 1));
        }
    }

    /// Submodules have names with slashes, so their git directories stand at any depth; `HEAD` tells them.
    fn modules(&mut self, dir: &Beneath, at: &Path, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        self.each(dir, at, |walk, inner, at| {
            if matches!(inner.look(OsStr::new("HEAD")), Ok(Some(_))) {
                walk.git_dir(inner, at, depth + 1);
            } else {
                walk.modules(inner, at, depth + 1);
            }
        });
    }

    fn each(&mut self, dir: &Beneath, at: &Path, mut visit: impl FnMut(&mut Self, &Beneath, &Path)) {
        for name in dir.list().unwrap_or_default() {
            if matches!(dir.look(&name), Ok(Some(seen)) if seen.sort == Sort::Dir) && !is_lock(&name) {
                // What is gone by now needs no survey.
                if let Ok(inner) = dir.enter(Path::new(&name)) {
                    visit(self, &inner, &at.join(&name));
                }
            }
        }
    }
}

fn is_lock(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".lock").is_some_and(|stem| !stem.is_empty())
}

/// Says what each lock is.
struct Judge<'a> {
    repo: &'a Repo,
    stale_age: Duration,
    /// The users that made the locks.
    owners: HashSet<u32>,
    /// Looked for once, and only when a lock depends on it.
    users: OnceCell<Users>,
}

impl Judge<'_> {
    fn look(&mut self, top: &Beneath, path: PathBuf) -> Option<Found> {
        let (dir, name) = top.parent(&path).ok()?;
        let seen = dir.look(&name).ok()??;
        let age = age(seen.modified);
        let mut found =
            Found { path, verdict: Verdict::Unknown, reason: String::new(), age, size: seen.size, holder: None, seen };
        if found.path.starts_with("elf") {
            self.judge_ours(&dir, &name, &mut found);
        } else {
            self.judge_other(&dir, &name, &mut found);
        }
        Some(found)
    }

    fn judge_ours(&self, dir: &Beneath, name: &OsStr, found: &mut Found) {
        found.verdict = Verdict::Ours;
        let rung = name.to_str().and_then(|name| name.strip_prefix("lock.")).and_then(|rung| rung.parse().ok());
        let held = processes::flock_holders(found.seen.inode);
        let text = chain::holder(self.repo.elf_dir(), rung.unwrap_or(0));
        if held.is_empty() && !is_flocked(dir, name) {
            found.reason = "free".into();
            return;
        }
        found.holder = held.first().copied().or(text.as_ref().map(|(pid, _)| *pid));
        found.reason = text.map_or_else(|| "held".into(), |(_, what)| format!("held: {what}"));
    }

    fn judge_other(&self, dir: &Beneath, name: &OsStr, found: &mut Found) {
        let is_directory_lock = name == LEGACY_DIR || name.as_bytes().starts_with(ASIDE.as_bytes());
        match found.seen.sort {
            Sort::File => {}
            Sort::Dir if is_directory_lock => {}
            Sort::Link => return found.reason = "a symbolic link, which no program leaves here".into(),
            Sort::Dir | Sort::Other => return found.reason = "no regular file".into(),
        }
        if let Some(pid) = processes::flock_holders(found.seen.inode).first() {
            (found.verdict, found.holder) = (Verdict::Live, Some(*pid));
            return found.reason = "its holder has it locked".into();
        }
        if name == LEGACY_FILE && is_flocked(dir, name) {
            found.verdict = Verdict::Live;
            return found.reason = "its holder has it locked".into();
        }
        found.holder = named_holder(dir, name, found.seen.sort);
        if let Some(pid) = found.holder
            && sys::process_is_alive(pid)
        {
            found.verdict = Verdict::Live;
            return found.reason = "its holder is alive".into();
        }
        if found.age <= self.stale_age {
            return found.reason = format!("not older than {} s", self.stale_age.as_secs_f64());
        }
        match self.users() {
            Users::Somebody(who) => found.reason = format!("{who} works in this repository"),
            Users::NotKnown(why) => found.reason.clone_from(why),
            Users::Nobody => {
                found.verdict = Verdict::Stale;
                found.reason = "no process works in this repository".into();
            }
        }
    }

    fn users(&self) -> &Users {
        self.users.get_or_init(|| processes::users(&places(self.repo), &self.owners))
    }
}

/// Names a git process that is about to move the branch of a worktree: a commit with its editor open, a rebase, a checkout.
/// Where the system does not tell, a message that was opened since HEAD moved counts.
pub fn mover_at(worktree: &Worktree) -> Option<String> {
    let places = Places { common: worktree.git_dir.clone(), roots: vec![worktree.root.clone()] };
    let has_message = worktree.has_open_message();
    match processes::mover(&places, has_message) {
        Users::Nobody => None,
        Users::Somebody(who) => Some(who),
        Users::NotKnown(_) => has_message.then(|| "somebody who may be writing a commit".to_owned()),
    }
}

/// Names a git process that takes files away in a worktree right now, and would stumble over a new one.
pub fn sweeper_at(worktree: &Worktree) -> Option<String> {
    let places = Places { common: worktree.git_dir.clone(), roots: vec![worktree.root.clone()] };
    if let Users::Somebody(who) = processes::sweeper(&places) { Some(who) } else { None }
}

/// Finds the roots of all worktrees: where a process may work on this repository.
fn places(repo: &Repo) -> Places {
    let common = repo.common_dir().to_owned();
    let mut roots: Vec<PathBuf> = repo.workdir().map(Path::to_owned).into_iter().collect();
    roots.push(repo.git().path().to_owned());
    if common.file_name() == Some(OsStr::new(".git")) {
        roots.extend(common.parent().map(Path::to_owned));
    }
    for name in Beneath::open(&common).and_then(|top| top.enter(Path::new("worktrees"))?.list()).unwrap_or_default() {
        let dir = common.join("worktrees").join(name);
        // `<worktree>/.git`, absolute or relative to this directory (gitrepository-layout(5)).
        if let Ok(text) = std::fs::read(dir.join("gitdir")) {
            let link = dir.join(OsStr::from_bytes(text.trim_ascii_end()));
            roots.extend(link.parent().map(Path::to_owned));
        }
    }
    Places { common, roots }
}

/// Finds the process that a lock names: in a file beside it (`core.lockfilePid` of git 2.54), in its own name
/// (`next-index-PID.lock` of git, and what we put aside), or in the directory that it is.
fn named_holder(dir: &Beneath, name: &OsStr, sort: Sort) -> Option<u32> {
    let text = name.to_str()?;
    let stem = text.strip_suffix(".lock").unwrap_or(text);
    if let Some(rest) = stem.strip_prefix(ASIDE) {
        return rest.split('-').next()?.parse().ok();
    }
    if let Some(pid) = stem.strip_prefix("next-index-") {
        return pid.parse().ok();
    }
    let bytes = if sort == Sort::Dir {
        dir.enter(Path::new(name)).and_then(|inner| inner.read(OsStr::new(LEGACY_PID), 64)).ok()?
    } else if stem.ends_with("~pid") {
        dir.read(name, 64).ok()?
    } else {
        dir.read(OsStr::new(&format!("{stem}~pid.lock")), 64).ok()?
    };
    String::from_utf8_lossy(&bytes).split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse().ok())
}

/// Tells whether somebody has a flock on a file. The shared lock that finds out is gone at once.
pub(super) fn is_flocked(dir: &Beneath, name: &OsStr) -> bool {
    let Ok(file) = dir.file(name) else { return false };
    RwLock::new(file).try_read().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn age((seconds, nanos): (i64, i64)) -> Duration {
    let modified = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(modified)
}
