//! Removing stale locks, one at a time, under the repository lock.
//!
//! Between a survey and a removal somebody may have removed the lock and taken it anew, and unlinking the new one would
//! give two holders. So nothing is unlinked by its own name:
//!
//! 1. look whether the name still stands for what the survey saw: device, inode, modification time and size;
//! 2. rename it, exclusively, to a name in the same directory that nobody else uses;
//! 3. look again at what was renamed. If it is something else, it gets its name back, unless somebody has that by now;
//! 4. unlink it. A directory may hold the pid file of its protocol and nothing else.
//!
//! Everything happens through a handle below the common dir ([`Beneath`]); no link is followed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::RepoLock;
use super::survey::{self, Found, LEGACY_FILE, LEGACY_PID, Verdict};
use crate::error::{Doing, Error, Result};
use crate::fault;
use crate::repo::Repo;
use crate::sys::{Beneath, Seen, Sort};

/// How a removal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// Somebody else removed it.
    Gone,
    /// It was left as it is, or put back; why.
    Refused(String),
}

/// Removes a lock that a survey under the same repository lock found stale. Anything else is refused, and so is what the
/// file system refuses.
pub fn clean(repo: &Repo, _lock: &RepoLock<'_>, found: &Found) -> Removal {
    if found.verdict != Verdict::Stale {
        return Removal::Refused(format!("it is {}", found.verdict.name()));
    }
    remove(repo.common_dir(), found, &mut || {}).unwrap_or_else(|error| Removal::Refused(error.to_string()))
}

/// `between` runs after the first look, where a test takes the place of somebody quick.
fn remove(common: &Path, found: &Found, between: &mut dyn FnMut()) -> io::Result<Removal> {
    let (dir, name) = match Beneath::open(common)?.parent(&found.path) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removal::Gone),
        Err(error) => return Err(error),
    };
    match dir.look(&name)? {
        None => return Ok(Removal::Gone),
        Some(seen) if seen != found.seen => return Ok(Removal::Refused("it changed since it was looked at".into())),
        Some(_) if name == LEGACY_FILE && survey::is_flocked(&dir, &name) => {
            return Ok(Removal::Refused("somebody has it locked".into()));
        }
        Some(_) => {}
    }
    between();
    let aside =
        OsString::from(format!("{}{}-{:012x}.lock", survey::ASIDE, std::process::id(), fastrand::u64(..1 << 48)));
    match dir.rename(&name, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removal::Gone),
        Err(error) => return Err(error),
    }
    fault!("lock-aside");
    match dir.look(&aside)? {
        Some(seen) if seen == found.seen => {}
        _ => return Ok(put_back(&dir, &aside, &name, "somebody else took it in that moment")),
    }
    if found.seen.sort == Sort::Dir {
        return remove_dir(&dir, &aside, &name);
    }
    dir.unlink(&aside)?;
    Ok(Removal::Removed)
}

fn remove_dir(dir: &Beneath, aside: &OsStr, name: &OsStr) -> io::Result<Removal> {
    let inner = dir.enter(Path::new(aside))?;
    let names = inner.list()?;
    let is_pid_file =
        |name: &OsString| name == LEGACY_PID && matches!(inner.look(name), Ok(Some(Seen { sort: Sort::File, .. })));
    if !names.iter().all(is_pid_file) {
        return Ok(put_back(dir, aside, name, "it holds files that its protocol does not know"));
    }
    names.iter().try_for_each(|name| inner.unlink(name))?;
    dir.rmdir(aside)?;
    Ok(Removal::Removed)
}

fn put_back(dir: &Beneath, aside: &OsStr, name: &OsStr, why: &str) -> Removal {
    match dir.rename(aside, name) {
        Ok(()) => Removal::Refused(why.to_owned()),
        Err(error) => {
            let aside = aside.display();
            Removal::Refused(format!("{why}; it is kept as {aside}, since it could not get its name back: {error}"))
        }
    }
}

/// Finds the lock that a user means: a path below the common dir, as the survey prints it, after `.git/`, or absolute.
///
/// # Errors
/// [`Error::Refused`] for a path that leaves the common dir, leads through a link, or is no lock of the survey.
pub fn named<'f>(repo: &Repo, locks: &'f [Found], path: &Path) -> Result<&'f Found> {
    let refused = |why: &str| Error::Refused {
        what: format!("{}: {why}; nothing was removed", path.display()),
        hint: "git elf locks lists the locks by their path below .git".into(),
    };
    let common = repo.common_dir();
    let real = std::fs::canonicalize(common).unwrap_or_else(|_| common.to_owned());
    let relative = if path.is_absolute() {
        let below = path.strip_prefix(common).or_else(|_| path.strip_prefix(&real));
        below.map_err(|_| refused("it is outside this repository's .git"))?
    } else {
        path.strip_prefix(".git").unwrap_or(path)
    };
    // `components` would forgive `./` and `//`; the handle forgives nothing.
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(refused("a path with .. is not followed"));
    }
    let top = Beneath::open(common).doing(|| format!("open {}", common.display()))?;
    let relative: PathBuf = relative.components().collect();
    let (dir, name) = top.parent(&relative).map_err(|error| refused(&error.to_string()))?;
    match dir.look(&name).doing(|| format!("look at {}", path.display()))? {
        None => Err(refused("there is no such file")),
        Some(Seen { sort: Sort::Link, .. }) => Err(refused("it is a symbolic link")),
        Some(_) => locks.iter().find(|found| found.path == relative).ok_or_else(|| refused("it is no lock")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::Duration;

    use super::*;

    fn stage(common: &Path, path: &str) -> Found {
        let (dir, name) = Beneath::open(common).unwrap().parent(Path::new(path)).unwrap();
        let seen = dir.look(&name).unwrap().unwrap();
        let (age, path) = (Duration::from_secs(900), PathBuf::from(path));
        Found { path, verdict: Verdict::Stale, reason: String::new(), age, size: seen.size, holder: None, seen }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_changed_since_the_survey_stays() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("index.lock")).unwrap();
        let found = stage(dir.path(), "index.lock");
        fs::remove_file(dir.path().join("index.lock")).unwrap();
        assert_eq!(remove(dir.path(), &found, &mut || {}).unwrap(), Removal::Gone);
        File::create(dir.path().join("index.lock")).unwrap();
        assert!(matches!(remove(dir.path(), &found, &mut || {}).unwrap(), Removal::Refused(_)));
        assert_eq!(names(dir.path()), ["index.lock"]);
    }

    #[test]
    fn what_is_swapped_in_at_the_last_moment_gets_its_name_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.lock");
        File::create(&path).unwrap();
        let found = stage(dir.path(), "index.lock");
        let mut swap = || {
            fs::rename(&path, dir.path().join("index")).unwrap();
            File::create(&path).unwrap();
        };
        let removal = remove(dir.path(), &found, &mut swap).unwrap();
        assert_eq!(removal, Removal::Refused("somebody else took it in that moment".into()));
        assert_eq!(names(dir.path()), ["index", "index.lock"]);
        let mut vanish = || fs::remove_file(&path).unwrap();
        let found = stage(dir.path(), "index.lock");
        assert_eq!(remove(dir.path(), &found, &mut vanish).unwrap(), Removal::Gone);
    }

    #[test]
    fn a_link_swapped_in_for_the_directory_or_the_lock_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let common = dir.path().join("common");
        for path in ["common/refs/heads", "victim"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        File::create(common.join("refs/heads/main.lock")).unwrap();
        File::create(dir.path().join("victim/main.lock")).unwrap();
        let found = stage(&common, "refs/heads/main.lock");
        fs::rename(common.join("refs/heads"), common.join("refs/away")).unwrap();
        std::os::unix::fs::symlink("../../victim", common.join("refs/heads")).unwrap();
        assert!(remove(&common, &found, &mut || {}).is_err());
        assert_eq!(names(&dir.path().join("victim")), ["main.lock"]);
        let path = common.join("index.lock");
        File::create(&path).unwrap();
        let found = stage(&common, "index.lock");
        let mut swap = || {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("../victim/main.lock", &path).unwrap();
        };
        assert!(matches!(remove(&common, &found, &mut swap).unwrap(), Removal::Refused(_)));
        assert_eq!(names(&dir.path().join("victim")), ["main.lock"]);
        assert!(path.is_symlink(), "it is back under its name");
    }

    #[test]
    fn a_directory_lock_goes_only_with_what_its_protocol_knows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("claude-lock.dir");
        fs::create_dir(&path).unwrap();
        File::create(path.join("pid")).unwrap();
        File::create(path.join("precious")).unwrap();
        let found = stage(dir.path(), "claude-lock.dir");
        assert!(matches!(remove(dir.path(), &found, &mut || {}).unwrap(), Removal::Refused(_)));
        assert_eq!(names(&path), ["pid", "precious"]);
        fs::remove_file(path.join("precious")).unwrap();
        let found = stage(dir.path(), "claude-lock.dir");
        assert_eq!(remove(dir.path(), &found, &mut || {}).unwrap(), Removal::Removed);
        assert!(names(dir.path()).is_empty());
    }
}
