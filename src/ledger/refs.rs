//! Moving the ref: compare-and-swap on a loose ref file, durable when it returns.
//!
//! libgit2 can lock a ref but not fsync it, and it rewrites a whole reflog for one line; so the file protocol of git itself
//! (lockfile.h, files-backend.c) is spoken here: `<ref>.lock` is taken exclusively, the reflog is appended under it, and the
//! lock is renamed onto the ref.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{ErrorCode, Oid, Repository};

use crate::error::{Doing, Error, Result};
use crate::fault;
use crate::record::Time;
use crate::repo::Identity;
use crate::sys::{self, Flush, Prepared};

/// How long somebody else may hold the ref's lock.
const PATIENCE: Duration = Duration::from_secs(1);
const REF_PREFIX: &str = "ref-";

/// Writes the new value of the ref to a file of its own, to be flushed with the objects.
pub(super) fn prepare_value(scratch: &Path, commit: Oid) -> Result<Prepared> {
    sys::create_dir(scratch).doing(|| format!("create {}", scratch.display()))?;
    sys::prepare(scratch, REF_PREFIX, format!("{commit}\n").as_bytes(), 0o666)
        .doing(|| "write the new value of the ref".into())
}

/// Reads what a ref points to; `None` when it is absent.
pub(super) fn value_of(git: &Repository, name: &str) -> Result<Option<Oid>> {
    refuse_foreign(git.commondir(), Path::new(name), VALUE_MAX)?;
    match git.refname_to_id(name) {
        Ok(oid) => Ok(Some(oid)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error).doing(|| format!("read {name}")),
    }
}

/// Longest file of a ref that is read, in bytes; it holds one object name.
const VALUE_MAX: u64 = 4096;

/// Refuses a ref, or a reflog, that is a symbolic link or below one, since it would be read and written somewhere else, and what
/// is no file at all. `refs` and `logs/refs` themselves may be links, as git-new-workdir made them.
fn refuse_foreign(common: &Path, name: &Path, limit: u64) -> Result<()> {
    let mut path = common.to_owned();
    let mut below = false;
    for part in name {
        path.push(part);
        let Some(meta) = Some(()).filter(|()| below).and_then(|()| fs::symlink_metadata(&path).ok()) else {
            below |= part == "refs";
            continue;
        };
        let what = if meta.is_symlink() {
            "is a symbolic link"
        } else if !meta.is_file() && !meta.is_dir() {
            "is neither a file nor a directory"
        } else if meta.is_file() && meta.len() > limit {
            "is too large for a ref"
        } else {
            continue;
        };
        return Err(Error::Refused {
            what: format!("{} {what}, and is not read or written", path.display()),
            hint: "look who made it, and move it out of the way; records that wait are kept".into(),
        });
    }
    Ok(())
}

/// One move of the ref.
pub(super) struct Edit<'a> {
    pub git: &'a Repository,
    /// Where the ref's file is: the common dir, or a worktree's git directory for a detached HEAD.
    pub dir: &'a Path,
    pub name: &'a str,
    pub lock_path: PathBuf,
    pub old: Option<Oid>,
    pub new: Oid,
    pub who: &'a Identity,
    pub message: &'a str,
    pub flush: Flush,
}

/// What goes with a move of the ref, between its lock and its flush.
pub(super) trait Beside {
    /// Is done when it is certain that the ref has the old value; `false` leaves the ref where it is.
    fn before(&mut self) -> Result<bool>;
    /// Is done when the ref has the new value, which is not yet durable.
    fn after(&mut self);
}

/// For a ref that nothing else follows.
pub(super) struct Nothing;

impl Beside for Nothing {
    fn before(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn after(&mut self) {}
}

/// The ref's lock file, removed on drop unless it became the ref.
struct RefLock<'a>(Option<&'a Path>);

impl Drop for RefLock<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = sys::unlink(path);
        }
    }
}

impl Edit<'_> {
    /// Moves the ref; `false` when it no longer has the old value, or what goes with it cannot be done now.
    pub fn run(&self, value: &Prepared, with: &mut dyn Beside) -> Result<bool> {
        self.take_lock(value)?;
        let lock = RefLock(Some(&self.lock_path));
        fault!("ref-locked");
        if value_of(self.git, self.name)? != self.old {
            return Ok(false);
        }
        if !with.before()? {
            return Ok(false);
        }
        self.put(value, lock, with).map(|()| true)
    }

    /// Moves a ref whose present value is torn; `false` when it no longer is, as `still_torn` finds under the ref's lock.
    pub fn replace_torn(&self, value: &Prepared, still_torn: impl FnOnce() -> Result<bool>) -> Result<bool> {
        sys::sync_file(value.file()).doing(|| format!("make {} durable", self.name))?;
        self.take_lock(value)?;
        let lock = RefLock(Some(&self.lock_path));
        if !still_torn()? {
            return Ok(false);
        }
        self.put(value, lock, &mut Nothing).map(|()| true)
    }

    fn put(&self, value: &Prepared, mut lock: RefLock<'_>, with: &mut dyn Beside) -> Result<()> {
        let doing = || format!("update {}", self.name);
        let target = self.dir.join(self.name);
        self.append_reflog().doing(|| format!("write the reflog of {}", self.name))?;
        fault!("reflog-written");
        value.rename_link(&self.lock_path, &target).doing(doing)?;
        lock.0 = None;
        fault!("ref-renamed");
        with.after();
        sys::sync_file(value.file()).doing(|| format!("make {} durable", self.name))?;
        if self.flush == Flush::Each {
            sync_parents(&target, self.dir).doing(doing)?;
        }
        fault!("ref-synced");
        Ok(())
    }

    fn take_lock(&self, value: &Prepared) -> Result<()> {
        refuse_foreign(self.git.commondir(), Path::new(self.name), VALUE_MAX)?;
        refuse_foreign(self.git.commondir(), &Path::new("logs").join(self.name), u64::MAX)?;
        let parent = self.lock_path.parent().expect("a ref has a directory");
        let start = Instant::now();
        loop {
            match value.link_to(&self.lock_path) {
                Ok(()) => return Ok(()),
                // pack-refs may remove an empty directory at any time.
                Err(error) if error.kind() == io::ErrorKind::NotFound && start.elapsed() < PATIENCE => {
                    sys::create_dir(parent).doing(|| format!("create {}", parent.display()))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if start.elapsed() >= PATIENCE {
                        return Err(Error::RefLocked { path: self.lock_path.display().to_string() });
                    }
                    std::thread::sleep(Duration::from_millis(fastrand::u64(1..20)));
                }
                Err(error) => return Err(error).doing(|| format!("create {}", self.lock_path.display())),
            }
        }
    }

    /// Appends one line, as git does; git creates no reflog for refs outside its own hierarchies, so it is created here.
    fn append_reflog(&self) -> io::Result<()> {
        let path = self.dir.join("logs").join(self.name);
        sys::create_dir(path.parent().expect("a reflog has a directory"))?;
        sys::append(&path, self.reflog_line().as_bytes())
    }

    /// Returns the line for the reflog (gitrepository-layout(5), `logs/`).
    pub fn reflog_line(&self) -> String {
        let old = self.old.map_or_else(|| "0".repeat(self.new.to_string().len()), |old| old.to_string());
        let seconds = Time::now().micros().div_euclid(1_000_000);
        format!("{old} {} {} {seconds} +0000\t{}\n", self.new, self.who, self.message)
    }
}

/// Makes the present value of a ref durable, loose or packed.
pub(super) fn sync(common: &Path, name: &str, flush: Flush) -> Result<()> {
    let doing = || format!("make {name} durable");
    let (loose, packed) = (common.join(name), common.join("packed-refs"));
    // Only "no such file" (or a directory, for names below this one) means that the ref is packed.
    let (path, file) = match File::open(&loose) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).doing(doing),
        Ok(file) if !loose.is_dir() => (loose, file),
        _ => {
            let file = File::open(&packed).doing(doing)?;
            (packed, file)
        }
    };
    sys::sync_file(&file).doing(doing)?;
    if flush == Flush::Each {
        sync_parents(&path, common).doing(doing)?;
    }
    Ok(())
}

fn sync_parents(path: &Path, top: &Path) -> io::Result<()> {
    for dir in path.ancestors().skip(1) {
        sys::sync_dir(dir)?;
        if dir == top {
            break;
        }
    }
    Ok(())
}

/// Removes temporary files of a dead holder, and those of git's locks that are one of them under another name.
///
/// Only a holder of the repository lock writes to `scratch`, so under that lock everything in it is a leftover.
pub(super) fn heal(scratch: &Path, lock_paths: &dyn Fn() -> Vec<PathBuf>) -> Vec<String> {
    let mut healed = Vec::new();
    // Whatever a link leads to is not ours to clean.
    if !fs::symlink_metadata(scratch).is_ok_and(|meta| meta.is_dir()) {
        return healed;
    }
    let Ok(entries) = fs::read_dir(scratch) else { return healed };
    let mut locks = None;
    for entry in entries.flatten() {
        let path = entry.path();
        let locks = locks.get_or_insert_with(lock_paths);
        let inode = sys::links(&path);
        for lock_path in locks.iter().filter(|lock| inode.is_some() && sys::links(lock) == inode) {
            if sys::unlink(lock_path).is_ok() {
                healed.push(format!("removed {}, left by a git-elf that died", lock_path.display()));
            }
        }
        let _ = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir_all(&path)
        } else {
            sys::unlink(&path)
        };
    }
    healed
}
