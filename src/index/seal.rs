//! Tells a database file that only we wrote from one that something else has changed.
//!
//! SQLite notices a changed byte only where it breaks the structure of a page: one in a title or in the full-text index gives
//! wrong answers without a word. But `index.db` itself is written in few places (creation, reset, checkpoint), all of them
//! under the repository lock, and everything else goes to the log, whose frames have checksums. So after each of these
//! the file's inode, size and times are noted beside it, and a file that does not match its note is made again.
//!
//! Decay of the medium changes no times; `git elf check` compares every row with the ledger and finds that. A kill between
//! a checkpoint and the note costs one rebuild.

use std::io::Result;
use std::path::{Path, PathBuf};

use crate::sys;

/// Length of the note. It is fixed, so that writing it again needs no space on a full disk.
const LEN: usize = 120;

fn note_of(path: &Path) -> PathBuf {
    path.with_extension("seal")
}

/// Tells whether the database is as we left it. Two system calls more than opening it.
pub(super) fn holds(path: &Path) -> bool {
    let now = sys::identity(path).map(line);
    now.is_some() && now == sys::read_small(&note_of(path), LEN).ok()
}

/// Notes the present state of the database, which a holder of the repository lock just wrote.
pub(super) fn put(path: &Path) -> Result<()> {
    let Some(now) = sys::identity(path) else { return Ok(()) };
    let note = note_of(path);
    sys::overwrite(&note, &line(now)).or_else(|_| {
        // A directory or a link in its place: never followed, never deleted.
        let aside = path.with_extension(format!("seal.unreadable-{:08x}", fastrand::u32(..)));
        std::fs::rename(&note, aside)?;
        sys::overwrite(&note, &line(now))
    })
}

/// Removes the note with its database.
pub(super) fn remove(path: &Path) -> Result<()> {
    sys::unlink(&note_of(path))
}

fn line(now: sys::Identity) -> Vec<u8> {
    let sys::Identity { inode, size, modified: (modified, modified_ns), changed: (changed, changed_ns) } = now;
    let text = format!("{inode} {size} {modified}.{modified_ns:09} {changed}.{changed_ns:09}");
    format!("{text:<width$}\n", width = LEN - 1).into_bytes()
}
