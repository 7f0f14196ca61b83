//! Making a set of files durable.

use std::fs::File;
use std::io;
use std::path::Path;

use super::fault::journal;
use super::volume::FileSystem;

/// Says how a set of files becomes durable on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Write-out of all, wait, one fsync: ext2/3/4 and xfs, where one journal orders them.
    Batch,
    /// One fsync a file and a directory: everything else.
    Each,
}

impl Flush {
    /// Chooses by the file system of `dir`.
    pub fn of(dir: &Path) -> Self {
        match FileSystem::of(dir).name.as_str() {
            "ext4" | "xfs" => Self::Batch,
            _ => Self::Each,
        }
    }
}

/// Makes all `files` durable, or says that at least one is not.
///
/// # Errors
/// The first error of any write-out or fsync. The files must then be treated as lost, all of them.
pub fn flush_all(files: &[&File], how: Flush) -> io::Result<()> {
    let Some((last, rest)) = files.split_last() else { return Ok(()) };
    if how == Flush::Batch && !rest.is_empty() && write_out(files)? {
        for file in rest {
            log("flush", file);
        }
        return sync_file(last);
    }
    files.iter().try_for_each(|file| sync_file(file))
}

/// Makes everything on the file system of `dir` durable: for many files that were written one by one.
///
/// # Errors
/// Whatever the kernel says.
pub fn sync_all(dir: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::fs::syncfs(File::open(dir)?)?);
    #[cfg(not(target_os = "linux"))]
    return Ok(rustix::fs::sync());
}

/// Makes one file durable: fsync(2), `F_FULLFSYNC` on macOS.
///
/// # Errors
/// Whatever the kernel says; the data must then be treated as lost.
pub fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()?;
    log("fsync", file);
    Ok(())
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Whatever the kernel says.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    dir.sync_all()?;
    log("syncdir", &dir);
    Ok(())
}

fn log(op: &str, file: &File) {
    if cfg!(feature = "fault") {
        journal(op, super::inode(file).unwrap_or(0), &[], None);
    }
}

/// Starts write-out on every file, then waits for all; `false` where the kernel cannot.
#[cfg(target_os = "linux")]
fn write_out(files: &[&File]) -> io::Result<bool> {
    for flags in [
        libc::SYNC_FILE_RANGE_WRITE,
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER,
    ] {
        for file in files {
            if !sync_file_range(file, flags)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
fn write_out(_files: &[&File]) -> io::Result<bool> {
    Ok(false)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe wrapper of sync_file_range(2) in rustix")]
fn sync_file_range(file: &File, flags: libc::c_uint) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the call takes no pointers.
    if unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE) => Ok(false),
        _ => Err(error),
    }
}
