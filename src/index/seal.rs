//! Noticing that somebody else wrote to the database file.
//!
//! SQLite checks its log but not its pages: a flipped bit in a text is answered as if it were true. In WAL mode the database
//! file changes at checkpoints alone, and those are ours, under the lock. So its size and modification time are noted beside it
//! after each, and a file that has others was changed by somebody else, or by a checkpoint that died: the index is made again.
//! Decay that leaves the time of the file as it was is not noticed here; `git elf check` compares every row.
//!
//! While a checkpoint runs, the note says so, and readers trust the file: SQLite itself keeps them right.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::schema::with_suffix;
use crate::sys::{self, FileSystem};

/// What the note says during a checkpoint.
const UNDER_WAY: &str = "checkpoint";

/// What the note says about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// The file is as our last checkpoint left it.
    Whole,
    /// A checkpoint is under way, or died.
    UnderWay,
    /// The file was changed by somebody else, or there is no note.
    Broken,
}

/// Compares a database file with its note. Without a write-ahead log every transaction changes the file, so on a network file
/// system nothing is compared.
pub(super) fn read(database: &Path) -> Seal {
    if FileSystem::of(database.parent().unwrap_or(database)).is_network {
        return Seal::Whole;
    }
    match fs::read_to_string(note(database)) {
        Ok(text) if text == UNDER_WAY => Seal::UnderWay,
        Ok(text) if Some(text.as_str()) == description(database).as_deref() => Seal::Whole,
        _ => Seal::Broken,
    }
}

/// Notes that a checkpoint begins.
pub(super) fn open(database: &Path) {
    put(database, UNDER_WAY);
}

/// Notes how the file is now.
pub(super) fn close(database: &Path) {
    if let Some(text) = description(database) {
        put(database, &text);
    }
}

/// Replaces the note. That it cannot be written costs a rebuild and nothing else, so errors are not reported.
fn put(database: &Path, text: &str) {
    let Some(dir) = database.parent() else { return };
    if let Ok(mut file) = sys::prepare(dir, ".seal-", text.as_bytes(), 0o666) {
        let _ = file.rename_to(&note(database));
    }
}

fn note(database: &Path) -> PathBuf {
    with_suffix(database, "-seal")
}

fn description(database: &Path) -> Option<String> {
    let meta = fs::symlink_metadata(database).ok().filter(fs::Metadata::is_file)?;
    Some(format!("{} {}.{:09}", meta.len(), meta.mtime(), meta.mtime_nsec()))
}
