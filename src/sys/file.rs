//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::fault::journal;
use super::{share, share_file};

/// Holds a complete file under a temporary name, and the descriptor that wrote it.
///
/// Dropping it removes the temporary name; the name it was linked or renamed to stays.
#[derive(Debug)]
pub struct Prepared {
    path: Option<PathBuf>,
    file: File,
}

/// Writes `bytes` to a new file in `dir` whose name starts with `prefix`, the process id and a random part.
///
/// The name tells later commands whose it was ([`process_is_alive`]). `mode` is subject to the umask.
///
/// # Errors
/// Whatever the kernel says about creating or writing; nothing is left behind.
pub fn prepare(dir: &Path, prefix: &str, bytes: &[u8], mode: u32) -> io::Result<Prepared> {
    let pid = std::process::id();
    loop {
        let path = dir.join(format!("{prefix}{pid}-{:012x}", fastrand::u64(..1 << 48)));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => {
                let mut prepared = Prepared { path: Some(path), file };
                share_file(&prepared.file)?;
                prepared.file.write_all(bytes)?;
                prepared.log("new", &[prepared.path()], Some(bytes));
                return Ok(prepared);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

impl Prepared {
    /// Takes charge of a file that a library wrote under a temporary name.
    ///
    /// # Errors
    /// Whatever the kernel says about opening it.
    pub fn adopt(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        share_file(&file)?;
        let prepared = Self { path: Some(path), file };
        if cfg!(feature = "fault") {
            prepared.log("new", &[prepared.path()], Some(&fs::read(prepared.path())?));
        }
        Ok(prepared)
    }

    /// Returns the open file, to flush it.
    pub fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().expect("a prepared file keeps its name until it is renamed")
    }

    fn log(&self, op: &str, paths: &[&Path], content: Option<&[u8]>) {
        if cfg!(feature = "fault") {
            journal(op, inode(&self.file).unwrap_or(0), paths, content);
        }
    }

    /// Renames the file to `target`, replacing what is there.
    ///
    /// # Errors
    /// Whatever the kernel says; the temporary name is then removed on drop.
    pub fn rename_to(&mut self, target: &Path) -> io::Result<()> {
        fs::rename(self.path(), target)?;
        self.log("rename", &[self.path(), target], None);
        self.path = None;
        Ok(())
    }

    /// Gives the file the second name `target`, which must not exist: an exclusive create whose content is complete.
    ///
    /// # Errors
    /// `AlreadyExists` when somebody else holds the name, else whatever the kernel says.
    pub fn link_to(&self, target: &Path) -> io::Result<()> {
        fs::hard_link(self.path(), target)?;
        self.log("link", &[target], None);
        Ok(())
    }

    /// Renames `from`, another name of this same file, to `target`.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn rename_link(&self, from: &Path, target: &Path) -> io::Result<()> {
        fs::rename(from, target)?;
        self.log("rename", &[from, target], None);
        Ok(())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = unlink(&path);
        }
    }
}

/// Removes a name; one that is already gone is success.
///
/// # Errors
/// Whatever else the kernel says.
pub fn unlink(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {
            journal("unlink", 0, &[path], None);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Renames a file that this process did not write.
///
/// # Errors
/// Whatever the kernel says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    if cfg!(feature = "fault") {
        journal("rename", links(to).map_or(0, |(_, inode)| inode), &[from, to], None);
    }
    Ok(())
}

/// Creates a directory and its parents; one that exists is success.
///
/// # Errors
/// Whatever the kernel says.
pub fn create_dir(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        // A disk that cannot say whether it exists: "File exists", which creating it would say, is no reason.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => create_dir(parent)?,
                _ => {}
            }
            create_one_dir(path)
        }
    }
}

/// Creates a directory whose parent is there; one that exists is success.
///
/// # Errors
/// Whatever the kernel says.
pub fn create_one_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => share(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a file for reading and writing, creating it where it is missing. A link is not followed.
///
/// # Errors
/// Whatever the kernel says.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A link in its place would be written to, and a pipe waited for.
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path)?;
    share_file(&file)?;
    Ok(file)
}

/// As [`create_dir`], for a directory that is ours alone: a symbolic link in its place is refused, wherever it leads.
///
/// # Errors
/// Whatever the kernel says.
pub fn create_own_dir(path: &Path) -> io::Result<()> {
    refuse_foreign_dir(path)?;
    create_dir(path)
}

/// Refuses a path that is there and is no directory itself.
///
/// # Errors
/// `NotADirectory` for a symbolic link and anything else that is no directory.
pub fn refuse_foreign_dir(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            Err(io::Error::new(io::ErrorKind::NotADirectory, "it is a symbolic link, which is not followed"))
        }
        Ok(meta) if !meta.is_dir() => Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no directory")),
        _ => Ok(()),
    }
}

/// Appends `bytes` in one write to a file that is created when missing. A link is not followed.
///
/// # Errors
/// Whatever the kernel says.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut file = options.open(path)?;
    share_file(&file)?;
    file.write_all(bytes)?;
    if cfg!(feature = "fault") {
        journal("append", inode(&file)?, &[path], Some(&fs::read(path)?));
    }
    Ok(())
}

/// Returns the inode number of an open file.
///
/// # Errors
/// Whatever `fstat` says.
pub fn inode(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

/// Returns (device, inode) of a path without following a link, or `None` when it does not exist.
pub fn links(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// What changes when a file is written, replaced or touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub inode: u64,
    pub size: u64,
    /// Seconds and nanoseconds of the last change of the content.
    pub modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of anything; no program can set it.
    pub changed: (i64, i64),
}

/// Returns the identity of a regular file; `None` when there is none. A link is not followed.
pub fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Identity {
        inode: meta.ino(),
        size: meta.len(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// Opens a file for reading that has to be a regular one. A link is not followed, and a pipe is not waited for.
///
/// # Errors
/// `InvalidInput` when it is something else, otherwise whatever the kernel says.
pub fn open_own(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
    }
}

/// Reads at most `limit` bytes of a file. A link is not followed.
///
/// # Errors
/// Whatever the kernel says.
pub fn read_small(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = open_own(path)?;
    let mut bytes = Vec::with_capacity(limit + 1);
    file.take(u64::try_from(limit).expect("a small number")).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes over the beginning of a file that is created when missing, without truncating it. A link is not followed.
///
/// # Errors
/// Whatever the kernel says.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut file = options.open(path)?;
    share_file(&file)?;
    file.write_all(bytes)
}

/// Tells whether a process with this id runs on this machine (in this pid namespace).
pub fn process_is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}
