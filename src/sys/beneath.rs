//! A directory handle that cannot be left.
//!
//! A path is resolved below the handle, one component after the other, and every link on the way is an error: what a
//! stranger plants below a repository (`..`, an absolute path, a symbolic link in place of a directory) leads nowhere. Linux
//! resolves in one step (openat2(2) with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS` and `RESOLVE_NO_MAGICLINKS`). Where the
//! kernel or a sandbox does not know that call, each component is opened without following links. Operations take one
//! name in the opened directory, so that nothing can be exchanged between the check and the act but the name itself.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Deepest path that is followed upwards.
#[cfg(target_os = "linux")]
const DEPTH_MAX: usize = 4096;

/// An open directory.
#[derive(Debug)]
pub struct Beneath {
    dir: OwnedFd,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    File,
    Dir,
    Link,
    Other,
}

/// What is known of a name without following it: enough to tell whether it is still the same file, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub sort: Sort,
    pub device: u64,
    pub inode: u64,
    /// Last change of the content: seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
    pub size: u64,
    /// The user that made it.
    pub owner: u32,
}

impl Beneath {
    /// Opens the directory at the top, which is the caller's own: links are followed.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn open(top: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { dir: rustix::fs::open(top, flags, Mode::empty())? })
    }

    /// Opens a directory below this one. An empty path is this one.
    ///
    /// # Errors
    /// `InvalidInput` for an absolute path and for empty, `.` and `..` components, `ELOOP` or `ENOTDIR` for a link on the
    /// way or at the end, and whatever else the kernel says.
    pub fn enter(&self, path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Ok(Self { dir: self.dir.try_clone()? });
        }
        components(path)?;
        let opened = match by_kernel(&self.dir, path) {
            // EAGAIN: something was renamed meanwhile, and the kernel could not be sure.
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::AGAIN) => by_steps(&self.dir, path),
            opened => opened.map_err(io::Error::from),
        };
        Ok(Self { dir: opened? })
    }

    /// Opens the directory that holds the last component of a path, and returns that component.
    ///
    /// # Errors
    /// As [`Beneath::enter`].
    pub fn parent(&self, path: &Path) -> io::Result<(Self, OsString)> {
        components(path)?;
        let name = path.file_name().ok_or_else(|| outside(path))?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.enter(parent)?, name))
    }

    /// Returns the handle itself.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Lists the names in the directory, sorted.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn list(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Looks at a name without following it; `None` when there is nothing.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn look(&self, name: &OsStr) -> io::Result<Option<Seen>> {
        one(name)?;
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Seen::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// `ELOOP` for a link, `InvalidInput` for anything else that is no regular file, and whatever the kernel says.
    pub fn file(&self, name: &OsStr) -> io::Result<File> {
        one(name)?;
        // Without NONBLOCK a FIFO in place of the file would hang us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.dir, name, flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"))
    }

    /// Reads the first `limit` bytes of a regular file.
    ///
    /// # Errors
    /// As [`Beneath::file`].
    pub fn read(&self, name: &OsStr, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(name)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Gives a file or directory another name in the same directory, which nothing may have yet.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the new name, `Unsupported` where the system cannot rename without replacing, and
    /// whatever the kernel says.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        one(from)?;
        one(to)?;
        match rename_exclusively(&self.dir, from, to) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => self.rename_by_link(from, to),
            renamed => Ok(renamed?),
        }
    }

    /// The way of file systems that cannot rename without replacing: a hard link is exclusive, too. Directories have none.
    fn rename_by_link(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        if self.look(from)?.is_some_and(|seen| seen.sort != Sort::File) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        rustix::fs::linkat(&self.dir, from, &self.dir, to, AtFlags::empty())?;
        self.unlink(from)
    }

    /// Removes a name that is no directory.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn unlink(&self, name: &OsStr) -> io::Result<()> {
        one(name)?;
        Ok(rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn rmdir(&self, name: &OsStr) -> io::Result<()> {
        one(name)?;
        Ok(rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR)?)
    }
}

impl Seen {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        clippy::cast_possible_wrap,
        reason = "the kernel's types differ between systems"
    )]
    fn of(stat: &rustix::fs::Stat) -> Self {
        let sort = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Sort::File,
            FileType::Directory => Sort::Dir,
            FileType::Symlink => Sort::Link,
            _ => Sort::Other,
        };
        Self {
            sort,
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            size: stat.st_size as u64,
            owner: stat.st_uid,
        }
    }
}

/// Goes up from the directory at `path` by `..` until `visit` says that it found what it looked for, or the top is reached.
///
/// `visit` gets (device, inode) of each directory and a path by which it can be reached while the call lasts. Identities
/// are misled neither by links nor by another process's view of the mounts.
///
/// # Errors
/// Whatever the kernel or `visit` say.
#[cfg(target_os = "linux")]
pub fn climb(path: &Path, mut visit: impl FnMut((u64, u64), &Path) -> io::Result<bool>) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = rustix::fs::open(path, flags, Mode::empty())?;
    for _ in 0..DEPTH_MAX {
        let here = identity(&dir)?;
        if visit(here, &Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()))? {
            return Ok(true);
        }
        let up = rustix::fs::openat(&dir, "..", flags, Mode::empty())?;
        if identity(&up)? == here {
            return Ok(false);
        }
        dir = up;
    }
    Ok(false)
}

/// Returns (device, inode) of a directory, links followed.
///
/// # Errors
/// Whatever the kernel says.
pub fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(target_os = "linux")]
fn identity(dir: &OwnedFd) -> io::Result<(u64, u64)> {
    let seen = Seen::of(&rustix::fs::fstat(dir)?);
    Ok((seen.device, seen.inode))
}

/// Splits a path that can only lead downwards.
fn components(path: &Path) -> io::Result<Vec<&OsStr>> {
    let parts: Vec<_> = path.as_os_str().as_bytes().split(|byte| *byte == b'/').map(OsStr::from_bytes).collect();
    parts.iter().try_for_each(|part| one(part)).map_err(|_| outside(path))?;
    Ok(parts)
}

/// Accepts the name of something in this directory.
fn one(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(outside(Path::new(name)));
    }
    Ok(())
}

fn outside(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} does not lead below the directory", path.display()))
}

#[cfg(target_os = "linux")]
fn by_kernel(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve)
}

#[cfg(not(target_os = "linux"))]
fn by_kernel(_dir: &OwnedFd, _path: &Path) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

fn by_steps(dir: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = dir.try_clone()?;
    for name in components(path)? {
        here = rustix::fs::openat(here.as_fd(), name, flags, Mode::empty())?;
    }
    Ok(here)
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_exclusively(dir: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    rustix::fs::renameat_with(dir, from, dir, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_exclusively(_dir: &OwnedFd, _from: &OsStr, _to: &OsStr) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Makes `top/a/b/file`, a directory `victim` beside `top`, and links of every sort in `top`.
    fn stage() -> tempfile::TempDir {
        let stage = tempfile::tempdir().unwrap();
        let top = stage.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::create_dir_all(top.join(".git")).unwrap();
        std::fs::create_dir_all(stage.path().join("victim/inner")).unwrap();
        File::create(top.join("a/b/file")).unwrap();
        File::create(stage.path().join("victim/file")).unwrap();
        symlink("../victim", top.join("out")).unwrap();
        symlink("a", top.join("within")).unwrap();
        symlink(stage.path().join("victim"), top.join("absolute")).unwrap();
        symlink("/proc/self/cwd", top.join("magic")).unwrap();
        symlink("../../../victim/file", top.join("a/b/link")).unwrap();
        stage
    }

    const ESCAPES: [&str; 19] = [
        "..",
        "../victim",
        "a/../../victim",
        ".git/../../victim",
        "a/b/../../../victim",
        "/",
        "/tmp",
        "/proc/self/cwd",
        "out",
        "out/inner",
        "within/b/../../../victim",
        "within",
        "within/b",
        "absolute",
        "absolute/inner",
        "magic",
        "magic/src",
        "a/b/link",
        "a/b/file",
    ];

    #[test]
    fn both_ways_open_what_is_below_and_nothing_else() {
        let stage = stage();
        let top = Beneath::open(&stage.path().join("top")).unwrap();
        for good in ["a", "a/b", ".git"] {
            #[cfg(target_os = "linux")]
            by_kernel(&top.dir, Path::new(good)).unwrap();
            by_steps(&top.dir, Path::new(good)).unwrap();
            top.enter(Path::new(good)).unwrap();
        }
        for escape in ESCAPES {
            let path = Path::new(escape);
            assert!(by_kernel(&top.dir, path).is_err(), "the kernel opened {escape}");
            assert!(by_steps(&top.dir, path).is_err(), "the steps opened {escape}");
            assert!(top.enter(path).is_err(), "{escape}");
        }
        for odd in ["", ".", "./a", "a/", "a//b", "a/.", "a/./b"] {
            assert!(by_steps(&top.dir, Path::new(odd)).is_err(), "the steps opened {odd:?}");
            assert!(top.enter(Path::new(odd)).is_err() || odd.is_empty(), "{odd:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn magic_links_of_proc_lead_nowhere() {
        let top = Beneath::open(Path::new("/proc/self")).unwrap();
        top.enter(Path::new("task")).unwrap();
        for escape in ["cwd", "root", "root/tmp", "cwd/src", "exe", "fd/0"] {
            assert!(by_kernel(&top.dir, Path::new(escape)).is_err(), "the kernel opened {escape}");
            assert!(by_steps(&top.dir, Path::new(escape)).is_err(), "the steps opened {escape}");
        }
        assert!(top.file(OsStr::new("exe")).is_err());
    }

    #[test]
    fn operations_take_one_name_and_follow_nothing() {
        let stage = stage();
        let top = Beneath::open(&stage.path().join("top")).unwrap();
        let (dir, name) = top.parent(Path::new("a/b/file")).unwrap();
        assert_eq!(dir.list().unwrap(), ["file", "link"]);
        assert_eq!(dir.look(&name).unwrap().unwrap().sort, Sort::File);
        assert_eq!(dir.look(OsStr::new("link")).unwrap().unwrap().sort, Sort::Link);
        assert_eq!(dir.look(OsStr::new("none")).unwrap(), None);
        for name in ["..", ".", "", "../b/file", "/tmp", "x/y"].map(OsStr::new) {
            assert!(dir.look(name).is_err() && dir.file(name).is_err() && dir.unlink(name).is_err(), "{name:?}");
            assert!(dir.rmdir(name).is_err() && dir.rename(name, OsStr::new("z")).is_err(), "{name:?}");
            assert!(dir.rename(OsStr::new("file"), name).is_err(), "{name:?}");
        }
        assert!(dir.read(OsStr::new("link"), 10).is_err(), "a link is not read");
        assert!(top.read(OsStr::new("a"), 10).is_err(), "a directory is not read");
        assert!(top.parent(Path::new("out/file")).is_err());
        dir.unlink(OsStr::new("link")).unwrap();
        assert!(stage.path().join("victim/file").exists(), "the link went, not what it names");
        dir.unlink(&name).unwrap();
        top.enter(Path::new("a")).unwrap().rmdir(OsStr::new("b")).unwrap();
        assert!(!stage.path().join("top/a/b").exists());
    }

    #[test]
    fn renaming_never_replaces() {
        let stage = stage();
        let dir = Beneath::open(&stage.path().join("top/a/b")).unwrap();
        let names = ["file", "other", "third"].map(OsStr::new);
        dir.rename(names[0], names[1]).unwrap();
        File::create(stage.path().join("top/a/b/file")).unwrap();
        assert_eq!(dir.rename(names[0], names[1]).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(dir.rename_by_link(names[0], names[1]).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        dir.rename_by_link(names[0], names[2]).unwrap();
        assert_eq!(dir.list().unwrap(), ["link", "other", "third"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_is_found_below_another_by_identity() {
        let stage = stage();
        let top = stage.path().join("top");
        let wanted = identity_of(&top).unwrap();
        let below = |path: &Path| climb(path, |here, _| Ok(here == wanted)).unwrap();
        assert!(below(&top.join("a/b")) && below(&top));
        assert!(!below(&stage.path().join("victim")) && !below(Path::new("/")));
        assert!(!below(&top.join("out")), "a link is what it leads to");
        let found = climb(&top.join("a/b"), |_, at| Ok(at.join("victim").exists()));
        assert!(found.unwrap(), "the path leads to the directory that is visited");
    }
}
