//! The directory that is thrown away: a repository, its linked worktrees, a HOME.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{Doing, Error, Result};
use crate::repo::Repo;
use crate::sys;

/// What the directory's name begins with.
const PREFIX: &str = ".git-elf-torture-";

/// Where the throw-away directory goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Parent {
    /// On the file system that was asked about.
    Here(PathBuf),
    /// In the system's directory for temporary files, which may be on another file system, for this reason.
    Elsewhere(PathBuf, String),
}

impl Parent {
    /// Returns the directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::Here(path) | Self::Elsewhere(path, _) => path,
        }
    }
}

/// Finds a directory on the disk of the repository, outside of it and of every other; without a repository the current one.
///
/// # Errors
/// When there is no current directory.
pub fn parent_for(repo: Option<&Repo>) -> Result<Parent> {
    let Some(repo) = repo else {
        let here = std::env::current_dir().doing(|| "find the current directory".into())?;
        return Ok(match usable(&here, None) {
            Ok(()) => Parent::Here(here),
            Err(reason) => Parent::Elsewhere(std::env::temp_dir(), reason),
        });
    };
    let disk = sys::links(repo.common_dir()).map(|(device, _)| device);
    let mut reasons = Vec::new();
    // The worktree's root is not the common directory's parent when it is a linked one, or when that directory is elsewhere.
    let roots = [repo.workdir(), Some(repo.common_dir()), repo.common_dir().parent()];
    for parent in roots.into_iter().flatten().filter_map(Path::parent) {
        match usable(parent, disk) {
            Ok(()) => return Ok(Parent::Here(parent.to_owned())),
            Err(reason) => reasons.push(reason),
        }
    }
    reasons.dedup();
    Ok(Parent::Elsewhere(std::env::temp_dir(), reasons.join("; ")))
}

/// Tells whether a directory may be made here, on this disk, without anybody's `git status` showing it.
fn usable(parent: &Path, disk: Option<u64>) -> std::result::Result<(), String> {
    let shown = parent.display();
    if disk.is_some() && sys::links(parent).map(|(device, _)| device) != disk {
        return Err(format!("{shown} is on another file system"));
    }
    if git2::Repository::discover(parent).is_ok() {
        return Err(format!("{shown} belongs to a repository"));
    }
    match directory_in(parent) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn directory_in(parent: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)
}

/// The directory, removed on drop.
pub(super) struct Site {
    dir: TempDir,
    worktrees: Vec<PathBuf>,
}

impl Site {
    /// Makes a repository with one commit, and linked worktrees.
    pub fn make(parent: &Path, linked: usize) -> Result<Self> {
        let dir = directory_in(parent).doing(|| format!("create a directory in {}", parent.display()))?;
        // git resolves links in the paths that it prints; so do we, to compare them.
        let root = dir.path().canonicalize().doing(|| format!("find {}", dir.path().display()))?;
        remove_on_abort(&root);
        let worktrees =
            std::iter::once(root.join("main")).chain((1..=linked).map(|i| root.join(format!("linked-{i}"))));
        let site = Self { dir, worktrees: worktrees.collect() };
        for dir in [site.main().to_owned(), site.home()] {
            fs::create_dir(&dir).doing(|| format!("create {}", dir.display()))?;
        }
        site.git(["init", "-q", "-b", "main", "."])?;
        for (key, value) in [
            ("user.name", "Torture"),
            ("user.email", "torture@example.invalid"),
            ("commit.gpgSign", "false"),
            // Maintenance is done by a loop of its own; in the background it would outlive the directory.
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("gc.autoDetach", "false"),
            // git's own pack-refs may hold the branch's lock for longer than the 100 ms that git waits for it.
            ("core.filesRefLockTimeout", "10000"),
        ] {
            site.git(["config", key, value])?;
        }
        site.git(["commit", "-q", "--allow-empty", "-m", "first"])?;
        for path in &site.worktrees[1..] {
            let name = path.file_name().unwrap_or_default();
            site.git([OsStr::new("worktree"), "add".as_ref(), "-q".as_ref(), "-b".as_ref(), name, path.as_ref()])?;
        }
        Ok(site)
    }

    /// Returns the main worktree.
    pub fn main(&self) -> &Path {
        &self.worktrees[0]
    }

    /// Returns the worktree for the process of this number.
    pub fn worktree(&self, number: usize) -> &Path {
        &self.worktrees[number % self.worktrees.len()]
    }

    /// Returns the number of worktrees, the main one included.
    pub fn worktrees(&self) -> usize {
        self.worktrees.len()
    }

    /// Returns a name in the directory, outside of the repository.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.file("home")
    }

    /// Prepares a process in a worktree. It has our environment without what git, we and a user's set-up put there, and it is
    /// a process group of its own, so that Ctrl-C on the terminal reaches us alone.
    pub fn command(&self, program: impl AsRef<OsStr>, dir: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if (text.starts_with("GIT_") && text != "GIT_EXEC_PATH") || text.starts_with("ELF_") || text == "EMAIL" {
                command.env_remove(&name);
            }
        }
        command
            .current_dir(dir)
            .env("HOME", self.home())
            .env_remove("XDG_CONFIG_HOME")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    /// Runs git in the main worktree and returns what it prints.
    ///
    /// # Errors
    /// When git does not run, or ends with another status than 0.
    pub fn git<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Vec<u8>> {
        let mut command = self.command("git", self.main());
        command.args(args);
        let output = command.output().doing(|| "run git".into())?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::Problems { what: format!("git {} failed: {}", args.join(" "), said.trim()) })
    }

    /// Opens a file in the directory, outside of the repository, for reading and appending.
    pub fn log(&self, name: &str) -> Result<File> {
        let path = self.file(name);
        let file = File::options().read(true).append(true).create(true).open(&path);
        file.doing(|| format!("create {}", path.display()))
    }

    /// Removes the directory.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn remove(self) -> Result<()> {
        let path = self.dir.path().to_owned();
        self.dir.close().doing(|| format!("remove {}", path.display()))
    }

    /// Leaves the directory where it is and returns its path.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}

/// Sees to it that the directory is removed by a panic that ends the process without unwinding, as in a release build.
fn remove_on_abort(root: &Path) {
    if cfg!(panic = "abort") {
        let root = root.to_owned();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            // Processes that still run may add files meanwhile.
            for _ in 0..50 {
                if fs::remove_dir_all(&root).is_ok() || !root.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_goes_beside_the_repository_and_never_into_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let repo = root.join("repo");
        git2::Repository::init(&repo).unwrap();
        let parent = parent_for(Some(&Repo::open_at(&repo).unwrap())).unwrap();
        assert_eq!(parent, Parent::Here(root.clone()));

        let inner = repo.join("inner");
        git2::Repository::init(&inner).unwrap();
        let parent = parent_for(Some(&Repo::open_at(&inner).unwrap())).unwrap();
        assert!(
            matches!(&parent, Parent::Elsewhere(_, reason) if reason.contains("belongs to a repository")),
            "{parent:?}"
        );
    }

    #[test]
    fn a_site_that_fails_half_way_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::make(dir.path(), 1).unwrap();
        assert!(site.git(["no-such-verb"]).is_err());
        drop(site);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
