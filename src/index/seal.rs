//! Tells a database file that only we wrote from one that something else has changed.
//!
//! SQLite notices a changed byte only where it breaks the structure of a page: one in a title or in the full-text index gives
//! wrong answers without a word. But `index.db` itself is written in few places (creation, reset, checkpoint), all of them
//! under the repository lock, and everything else goes to the log, whose frames have checksums. So after each of these
//! the file's inode, size and times are noted beside it, and a file that does not match its note is made again.
//!
//! While a checkpoint runs the note says so, and readers trust the file: SQLite itself keeps them right as long as the log is
//! there. A checkpoint that died is done again by the next holder. Decay of the medium changes no times; `git elf check` compares every row
//! with the ledger and finds that. Without a log (on network file systems) every transaction changes the file, and nothing
//! is compared.

use std::io::Result;
use std::path::{Path, PathBuf};

use crate::sys::{self, FileSystem};

/// Length of the note. It is fixed, so that writing it again needs no space on a full disk.
const LEN: usize = 120;

/// What the note says about a database file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// The file is as we left it.
    Whole,
    /// A checkpoint is under way, or died.
    UnderWay,
    /// Something else has changed the file, or there is no note.
    Broken,
}

/// Tells whether there is a note at all: on network file systems there is none, and every database counts as whole.
pub(super) fn is_kept(database: &Path) -> bool {
    !FileSystem::of(database.parent().unwrap_or(database)).is_network
}

/// Compares a database with its note. Three system calls more than opening it.
pub(super) fn read(database: &Path) -> Seal {
    if FileSystem::of(database.parent().unwrap_or(database)).is_network {
        return Seal::Whole;
    }
    match (sys::read_small(&note_of(database), LEN), sys::identity(database)) {
        (Ok(note), _) if note == under_way() => Seal::UnderWay,
        (Ok(note), Some(now)) if note == line(now) => Seal::Whole,
        _ => Seal::Broken,
    }
}

/// Notes that a checkpoint begins.
pub(super) fn open(database: &Path) -> Result<()> {
    put(database, &under_way())
}

/// Notes the present state of the database, which a holder of the repository lock just wrote.
pub(super) fn close(database: &Path) -> Result<()> {
    sys::identity(database).map_or(Ok(()), |now| put(database, &line(now)))
}

/// Removes the note with its database.
pub(super) fn remove(database: &Path) -> Result<()> {
    sys::unlink(&note_of(database))
}

fn put(database: &Path, note: &[u8]) -> Result<()> {
    let path = note_of(database);
    sys::overwrite(&path, note).or_else(|_| {
        // A directory or a link in its place: never followed, never deleted.
        let aside = database.with_extension(format!("seal.unreadable-{:08x}", fastrand::u32(..)));
        std::fs::rename(&path, aside)?;
        sys::overwrite(&path, note)
    })
}

fn note_of(database: &Path) -> PathBuf {
    database.with_extension("seal")
}

fn line(now: sys::Identity) -> Vec<u8> {
    let sys::Identity { inode, size, modified: (modified, modified_ns), changed: (changed, changed_ns) } = now;
    padded(&format!("{inode} {size} {modified}.{modified_ns:09} {changed}.{changed_ns:09}"))
}

fn under_way() -> Vec<u8> {
    padded("checkpoint under way")
}

fn padded(text: &str) -> Vec<u8> {
    format!("{text:<width$}\n", width = LEN - 1).into_bytes()
}
