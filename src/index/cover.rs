//! Which records are about a file: their globs, kept by what stands before the first wildcard.
//!
//! A glob covers a file when it matches the file's path or that of a directory above it; `*` matches slashes too, as in SQLite's
//! GLOB. The stem of such a glob is the file's path or a directory above it, so a file of depth d is looked up under d + 1
//! stems, however many records there are.

use rusqlite::{Connection, params};

use super::Index;
use crate::error::{Doing, Result};

/// What in a glob stands for other letters.
const WILD: [char; 3] = ['*', '?', '['];

/// Most records under one stem: a file that hundreds of lessons name is told nothing by the oldest of them.
const EACH_MAX: i64 = 200;

/// A record that is about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The record's row.
    pub(super) row: i64,
    /// Position of the path in the list that was asked about.
    pub path: usize,
    /// The glob that covers it.
    pub glob: String,
    /// Directories between the glob's stem and the file: 0 names the file itself.
    pub distance: usize,
}

/// Returns what stands before the first wildcard of a glob, up to a slash; the whole of one that has none.
fn stem(glob: &str) -> &str {
    match glob.find(WILD) {
        None => glob.trim_end_matches('/'),
        Some(wild) => glob[..wild].rsplit_once('/').map_or("", |(directory, _)| directory),
    }
}

/// Notes the globs of a row.
pub(super) fn put(conn: &Connection, row: i64, globs: &[String]) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare_cached("INSERT INTO cover (stem, record, glob) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
    globs.iter().try_for_each(|glob| statement.execute(params![stem(glob), row, glob]).map(drop))
}

/// Forgets the globs of a row, which still has them.
pub(super) fn remove(conn: &Connection, row: i64) -> rusqlite::Result<()> {
    let paths: String = conn.query_row("SELECT paths FROM record WHERE rowid = ?1", [row], |row| row.get(0))?;
    let globs: Vec<String> = serde_json::from_str(&paths).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let mut statement = conn.prepare_cached("DELETE FROM cover WHERE stem = ?1 AND record = ?2 AND glob = ?3")?;
    globs.iter().try_for_each(|glob| statement.execute(params![stem(glob), row, glob]).map(drop))
}

impl Index {
    /// Finds the active records whose globs cover any of the files, whose paths are relative to the root; under each stem the
    /// newest 200 in order of arrival.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn covering(&self, paths: &[String]) -> Result<Vec<Covered>> {
        let doing = || "look paths up".to_owned();
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT cover.record, glob FROM cover JOIN record ON record.rowid = cover.record
                 WHERE stem = ?1 AND record.state = 'active'
                   AND (glob NOT GLOB '*[*?[]*' OR ?2 GLOB glob OR ?2 GLOB glob || '/*')
                 ORDER BY cover.record DESC LIMIT ?3",
            )
            .doing(doing)?;
        let mut found = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            for (distance, stem) in above(path).enumerate() {
                let rows = statement.query_map(params![stem, path, EACH_MAX], |row| {
                    Ok(Covered { row: row.get(0)?, path: at, glob: row.get(1)?, distance })
                });
                found.extend(rows.doing(doing)?.collect::<rusqlite::Result<Vec<_>>>().doing(doing)?);
            }
        }
        Ok(found)
    }
}

/// Returns a path and every directory above it, the root, which is empty, included.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path.trim_end_matches('/')), |path| {
        (!path.is_empty()).then(|| path.rsplit_once('/').map_or("", |(directory, _)| directory))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_kept_under_what_stands_before_its_wildcard() {
        for (glob, expected) in [
            ("src/lock.rs", "src/lock.rs"),
            ("src/", "src"),
            ("src/*.rs", "src"),
            ("src/lo*.rs", "src"),
            ("*.rs", ""),
            ("a/b[cd]/e", "a"),
        ] {
            assert_eq!(stem(glob), expected, "{glob}");
        }
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a/b/c", "a/b", "a", ""]);
    }
}
