//! Which records are about a file: their globs, found by the part before the first wildcard.
//!
//! A glob can only cover a file whose path, or one of its directories, is that part. So a file of n directories costs n + 2
//! look-ups, however many records there are. What covers what is SQLite's GLOB, as for the filter by path.

use rusqlite::{Connection, params};

use super::{Index, Row};
use crate::error::{Doing, Result};
use crate::record::{Id, Kind};

/// Most globs with one part before the wildcard that are looked at.
const MOST: i64 = 2_000;

/// A record that has to do with a file: one of its globs covers it, or it was learned where a line is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covering {
    pub row: i64,
    /// Empty when no glob led to it.
    pub glob: String,
    pub kind: String,
    /// Microseconds since 1970.
    pub created: i64,
}

/// Returns the directory that everything a glob covers is in, or the whole of it when it has no wildcard.
pub fn fixed_part(glob: &str) -> &str {
    match glob.find(['*', '?', '[']) {
        None => glob,
        Some(at) => glob[..at].rfind('/').map_or("", |slash| &glob[..slash]),
    }
}

/// Notes the globs of a row.
pub(super) fn note(conn: &Connection, row: i64, globs: &[String]) -> Result<()> {
    let doing = || "note what a record is about".to_owned();
    if globs.is_empty() {
        return Ok(());
    }
    let mut put =
        conn.prepare_cached("INSERT OR IGNORE INTO about (fixed, glob, row) VALUES (?1, ?2, ?3)").doing(doing)?;
    globs.iter().try_for_each(|glob| put.execute(params![fixed_part(glob), glob, row]).map(drop).doing(doing))
}

/// Forgets the globs of a row.
pub(super) fn forget(conn: &Connection, row: i64) -> Result<()> {
    let doing = || "forget what a record is about".to_owned();
    let mut remove = conn.prepare_cached("DELETE FROM about WHERE row = ?1").doing(doing)?;
    remove.execute([row]).map(drop).doing(doing)
}

impl Covering {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { row: row.get(0)?, glob: row.get(1)?, kind: row.get(2)?, created: row.get(3)? })
    }
}

impl Index {
    /// Returns the active records of these kinds, or of all, that are about a file or a directory it is in.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn covering(&self, path: &str, kinds: &[Kind]) -> Result<Vec<Covering>> {
        let mut found = Vec::new();
        let directories = path.match_indices('/').map(|(at, _)| &path[..at]);
        let mut parts: Vec<_> = std::iter::once("").chain(directories).chain([path]).collect();
        parts.dedup();
        // The nearest first: what is left out of many is what covers most.
        for part in parts.into_iter().rev() {
            let condition = "about.fixed = ?1 AND (?2 GLOB about.glob OR ?2 GLOB about.glob || '/*')";
            found.extend(self.about(condition, part, path, kinds)?);
        }
        Ok(found)
    }

    /// Returns the active records that are about something in a directory; all that are about any file for the empty path.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn below(&self, directory: &str) -> Result<Vec<Covering>> {
        if directory.is_empty() {
            return self.about("about.fixed >= ?1 AND ?2 = ''", "", "", &[]);
        }
        // `0` is the character after the slash.
        let condition =
            "about.fixed >= ?1 || '/' AND about.fixed < ?1 || '0' AND ?2 = ?1 OR about.fixed = ?1 AND about.glob <> ?2";
        self.about(condition, directory, directory, &[])
    }

    fn about(&self, condition: &str, part: &str, path: &str, kinds: &[Kind]) -> Result<Vec<Covering>> {
        let doing = || format!("look up what is known about {path}");
        let kinds: Vec<_> = kinds.iter().map(|kind| format!("'{}'", kind.name())).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!("AND record.kind IN ({})", kinds.join(", ")) };
        let sql = format!(
            "SELECT about.row, about.glob, record.kind, record.created FROM about JOIN record ON record.rowid = about.row
             WHERE ({condition}) AND record.state = 'active' {kinds} LIMIT {MOST}"
        );
        let mut statement = self.conn.prepare_cached(&sql).doing(doing)?;
        let rows = statement.query_map([part, path], Covering::read).doing(doing)?;
        rows.collect::<rusqlite::Result<_>>().doing(doing)
    }

    /// Returns the active records that were learned at a commit.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn learned_at(&self, commit: &str) -> Result<Vec<Covering>> {
        self.found(
            "SELECT rowid, '', kind, created FROM record
             WHERE learned = ?1 AND learned IS NOT NULL AND state = 'active' ORDER BY created DESC LIMIT ?2",
            commit,
        )
    }

    /// Returns the active record with an id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn active(&self, id: Id) -> Result<Option<Covering>> {
        let sql = "SELECT rowid, '', kind, created FROM record WHERE id = ?1 AND state = 'active' LIMIT ?2";
        self.found(sql, id.as_str()).map(|mut found| found.pop())
    }

    fn found(&self, sql: &str, value: &str) -> Result<Vec<Covering>> {
        let doing = || format!("look {value} up");
        let mut statement = self.conn.prepare_cached(sql).doing(doing)?;
        let rows = statement.query_map(params![value, MOST], Covering::read).doing(doing)?;
        rows.collect::<rusqlite::Result<_>>().doing(doing)
    }

    /// Returns a record by the number of its row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn row(&self, row: i64) -> Result<Row> {
        let doing = || "read a record".to_owned();
        let mut statement = self.conn.prepare_cached("SELECT front, body FROM record WHERE rowid = ?1").doing(doing)?;
        statement.query_row([row], Row::read).doing(doing)
    }

    /// Waits for other connections no longer than this.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn hurry(&self, patience: std::time::Duration) -> Result<()> {
        self.conn.busy_timeout(patience).doing(|| "set a time limit".into())
    }
}

#[cfg(test)]
mod tests {
    use super::fixed_part;

    #[test]
    fn the_part_before_a_wildcard_ends_at_a_directory() {
        for (glob, part) in [
            ("src/lock.rs", "src/lock.rs"),
            ("src/*.rs", "src"),
            ("src/a*/b", "src"),
            ("src/[ab]/c", "src"),
            ("*.rs", ""),
            ("a?", ""),
            ("src", "src"),
        ] {
            assert_eq!(fixed_part(glob), part, "{glob}");
        }
    }
}
