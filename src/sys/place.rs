//! Putting new directories and files below a directory handle that cannot be left.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::Beneath;
use super::fault::journal;
use super::file::{Prepared, inode};

impl Beneath {
    /// Opens a directory below this one, and makes what is missing of the way there.
    ///
    /// # Errors
    /// As [`Beneath::enter`]: a link on the way is an error, and nothing is made behind it.
    pub fn make(&self, path: &Path) -> io::Result<Self> {
        match self.enter(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            entered => return entered,
        }
        let mut here = self.enter(Path::new(""))?;
        for name in path {
            match rustix::fs::mkdirat(here.fd(), name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            here = here.enter(Path::new(name))?;
        }
        Ok(here)
    }

    /// Gives a prepared file a name in this directory that nothing may have yet; its temporary name goes when it is dropped.
    ///
    /// Where the two are on different file systems, or links are not known, the content is written again under a hidden name
    /// beside the new one, and renamed.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name, and whatever else the kernel says.
    pub fn put(&self, name: &OsStr, file: &Prepared, bytes: &[u8]) -> io::Result<()> {
        self.look(name)?.map_or(Ok(()), |_| Err(io::Error::from(io::ErrorKind::AlreadyExists)))?;
        match rustix::fs::linkat(CWD, file.path(), self.fd(), name, AtFlags::empty()) {
            Ok(()) => {
                journal("link", inode(file.file()).unwrap_or(0), &[Path::new(name)], None);
                Ok(())
            }
            Err(Errno::XDEV | Errno::PERM | Errno::NOTSUP | Errno::MLINK | Errno::NOSYS) => self.create(name, bytes),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives a name new content whole, durable before it replaces what was there. A link is replaced, never followed.
    ///
    /// # Errors
    /// Whatever the kernel says; what was there stays.
    pub fn replace(&self, name: &OsStr, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
        self.look(name)?;
        self.write_hidden(name, bytes, |file, hidden| {
            if let Some(mode) = mode {
                rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
            }
            Ok(rustix::fs::renameat(self.fd(), hidden, self.fd(), name)?)
        })
    }

    /// Makes a file whole, durable, under a name that nothing may have yet.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name, and whatever else the kernel says.
    pub fn create(&self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        self.write_hidden(name, bytes, |_, hidden| self.rename(hidden, name))
    }

    /// Writes a file under a hidden name, and lets `give` give it another.
    fn write_hidden(
        &self,
        name: &OsStr,
        bytes: &[u8],
        give: impl FnOnce(&File, &OsStr) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".elf-{}", std::process::id()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(self.fd(), &hidden, flags, Mode::from_raw_mode(0o666))?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| give(&file, &hidden));
        if written.is_err() {
            let _ = self.unlink(&hidden);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sys;

    #[test]
    fn files_and_directories_are_made_below_and_never_replace() {
        let stage = tempfile::tempdir().unwrap();
        let (top, victim) = (stage.path().join("top"), stage.path().join("victim"));
        fs::create_dir(&top).unwrap();
        fs::create_dir(&victim).unwrap();
        symlink("../victim", top.join("out")).unwrap();
        let below = Beneath::open(&top).unwrap();
        let dir = below.make(Path::new("a/b")).unwrap();
        let file = sys::prepare(stage.path(), "tmp-", b"text", 0o666).unwrap();
        dir.put(OsStr::new("x"), &file, b"text").unwrap();
        assert_eq!(dir.put(OsStr::new("x"), &file, b"text").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        dir.create(OsStr::new("y"), b"more").unwrap();
        assert_eq!(dir.create(OsStr::new("y"), b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        dir.replace(OsStr::new("y"), b"more", Some(0o600)).unwrap();
        Beneath::open(&victim).unwrap().create(OsStr::new("kept"), b"kept").unwrap();
        symlink(victim.join("kept"), top.join("a/b/link")).unwrap();
        dir.replace(OsStr::new("link"), b"new", None).unwrap();
        assert_eq!(fs::read_to_string(victim.join("kept")).unwrap(), "kept");
        assert_eq!(dir.list().unwrap(), ["link", "x", "y"], "nothing hidden is left");
        drop(file);
        assert_eq!(fs::read_to_string(top.join("a/b/x")).unwrap(), "text");
        assert_eq!(fs::read_to_string(top.join("a/b/y")).unwrap(), "more");
        for escape in ["out", "out/c", "../victim/c", "a/../../victim/c"] {
            assert!(below.make(Path::new(escape)).is_err(), "{escape}");
        }
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    }
}
