//! What is new to a reader since it last asked.
//!
//! A bookmark is the records' tree that the reader has seen, and the ids that waited beside it where waiting records are shown. New is
//! what the tree of now has beyond that one, so a lesson that a fetch brings counts as new whatever its date. Bookmarks are
//! files of `readers/`, written whole and without the lock: they are nobody else's. One whose tree is gone, as after a rewritten
//! history, counts as none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Store;
use crate::error::{Doing, Error, Result};
use crate::record::{Id, field};
use crate::repo::parse_oid;
use crate::sys;

/// Directory of the bookmarks.
pub(super) const DIR: &str = "readers";
/// Characters of a reader's name.
const NAME_MAX: usize = 100;
/// Bookmarks that are kept; the ones used longest ago go.
const KEPT: usize = 1_000;
/// Most bytes of a bookmark.
const BOOKMARK_MAX: usize = 16 * 1024 * 1024;

/// A place in the memory that a reader has reached.
#[derive(Debug)]
pub struct Bookmark {
    path: PathBuf,
    text: String,
}

impl Store {
    /// Returns what is new to a reader, `None` for everything, and the bookmark to keep once it was told.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no file can have, or when the ledger cannot be read.
    pub fn news(&self, reader: &str) -> Result<(Option<BTreeSet<Id>>, Bookmark)> {
        let path = self.repo.elf_dir().join(DIR).join(checked(reader)?);
        let ledger = self.ledger();
        let tree = ledger.tip()?.map_or_else(|| ledger.empty_tree(), |tip| tip.tree);
        let waiting: BTreeSet<Id> = if self.config.waits_for_flush() {
            self.spool.find("").iter().map(|record| record.id).collect()
        } else {
            BTreeSet::new()
        };
        let mut text = format!("{tree}\n");
        for id in &waiting {
            text.push_str(id.as_str());
            text.push('\n');
        }
        let bookmark = Bookmark { path, text };
        let seen = sys::read_small(&bookmark.path, BOOKMARK_MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(seen) = seen else { return Ok((None, bookmark)) };
        let mut lines = seen.lines();
        let Some(old) = lines.next().and_then(|line| parse_oid(line).ok()) else { return Ok((None, bookmark)) };
        let known: BTreeSet<Id> = lines.filter_map(|line| line.parse().ok()).collect();
        let mut new: BTreeSet<Id> = &waiting - &known;
        let read = ledger.changes(Some(old), Some(tree), &|directory| directory != "events", &mut |change| {
            let id = change.path.rsplit('/').next().and_then(Id::of_file_name);
            new.extend(id.filter(|id| change.old.is_none() && !known.contains(id)));
            Ok(())
        });
        Ok((read.is_ok().then_some(new), bookmark))
    }

    /// Keeps a reader's place, so that its next question goes on from there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_place(&self, bookmark: Bookmark) -> Result<()> {
        let Bookmark { path, text } = bookmark;
        let doing = || format!("write {}", path.display());
        self.repo.create_elf_dir()?;
        let dir = path.parent().expect("a bookmark is below a directory");
        sys::create_dir(dir).doing(doing)?;
        let written = sys::prepare(dir, ".tmp-", text.as_bytes(), 0o666);
        written.and_then(|mut new| new.rename_to(&path)).doing(doing)?;
        forget_oldest(dir);
        Ok(())
    }
}

/// Removes bookmarks that nobody has used for long, and what a killed command left.
fn forget_oldest(dir: &Path) {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> =
        files.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    if files.len() > KEPT {
        files.sort_unstable();
        for (_, path) in &files[..files.len() - KEPT] {
            let _ = sys::unlink(path);
        }
    }
}

fn checked(reader: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !reader.is_empty() && reader.len() <= NAME_MAX && !reader.starts_with('.') && reader.chars().all(is_plain) {
        return Ok(reader);
    }
    let what = format!(
        "{} is no name of 1 to {NAME_MAX} characters a-z A-Z 0-9 . _ - that begins with no dot",
        field::quoted(reader)
    );
    Err(Error::invalid("reader", what))
}
