//! The index: SQLite with WAL (a rollback journal on network file systems) and FTS5, a pure function of the ledger's tree.
//!
//! It is stamped with the ref, tip and tree that it was made from, so "is it current?" is one comparison. A write transaction
//! is always IMMEDIATE (an upgrade from read to write fails at once, whatever the timeout) and borrows the [`RepoLock`]. It may be
//! deleted at any time; nothing is ever written from it to the ledger.
//!
//! [`RepoLock`]: crate::lock::RepoLock

mod about;
mod contention;
mod dump;
mod fit;
mod forms;
mod full_text;
mod query_text;
mod rank;
mod reach;
mod schema;
mod seal;
mod search;
mod sighting;
mod words;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value as Json};

pub use about::{Covering, fixed_part};
pub use contention::{Contention, Sample};
pub use dump::{Difference, compare};
pub use fit::{Fit, Work, without_alike};
pub use reach::{Admitted, Findings, Learned, MainStamp, Mine};
pub use search::{Filter, Row};
pub use sighting::Seen;
pub use write::Batch;

use crate::error::{Doing, Error, Result};
use crate::lock::RepoLock;
use crate::record::Time;

/// Name of the database below our directory.
const FILE: &str = "index.db";

/// What an index was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    pub ref_name: String,
    pub tip: String,
    pub tree: String,
    /// A digest of the spool's names, where what waits there is shown; else empty.
    pub pending: String,
}

/// An open index.
pub struct Index {
    conn: Connection,
    path: PathBuf,
}

impl Index {
    /// Opens the index in `dir` for writing; one that is missing, foreign, old or broken becomes an empty one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn create(dir: &Path, _lock: &RepoLock<'_>) -> Result<Self> {
        let path = dir.join(FILE);
        Ok(Self { conn: schema::open_writer(&path)?, path })
    }

    /// Opens an index that was changed by somebody else, as it is; `None` when it was not, or cannot be opened.
    pub fn changed_by_others(dir: &Path, _lock: &RepoLock<'_>) -> Option<Self> {
        let path = dir.join(FILE);
        let exists = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
        if !exists || seal::read(&path) != seal::Seal::Broken {
            return None;
        }
        schema::open_as_it_is(&path).ok().map(|conn| Self { conn, path })
    }

    /// Accepts a file that somebody else touched without changing what it says.
    pub fn accept(&self, _lock: &RepoLock<'_>) {
        // Without the note the next command makes the index again, which is right too.
        let _ = seal::close(&self.path);
    }

    /// Opens the index in `dir` for reading, `query_only`; `None` when there is none that can be read.
    ///
    /// # Errors
    /// When the disk refuses, or the file is damaged ([`Index::is_damage`]).
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let conn = schema::open_reader(&path).doing(|| format!("read {}", path.display()))?;
        Ok(conn.map(|conn| Self { conn, path }))
    }

    /// As [`Index::read`], also when something else than us has changed the file: for where nothing can be written.
    ///
    /// # Errors
    /// As [`Index::read`].
    pub fn read_unsealed(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let conn = schema::open_unsealed(&path).doing(|| format!("read {}", path.display()))?;
        Ok(conn.map(|conn| Self { conn, path }))
    }

    /// Makes an empty index in memory.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn in_memory() -> Result<Self> {
        let conn = schema::open_memory().doing(|| "open in memory".into())?;
        Ok(Self { conn, path: PathBuf::new() })
    }

    /// Tells whether an error means that a rebuild is due.
    pub fn is_damage(error: &Error) -> bool {
        schema::is_damage(error)
    }

    /// Tells whether an error means that this process may not write the index, or what SQLite needs beside it.
    pub fn is_unwritable(error: &Error) -> bool {
        schema::is_unwritable(error)
    }

    /// Empties a damaged index in place and opens it again.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn recreate(dir: &Path, _lock: &RepoLock<'_>) -> Result<Self> {
        let path = dir.join(FILE);
        schema::discard(&path)?;
        Ok(Self { conn: schema::open_writer(&path)?, path })
    }

    /// Deletes the index. A reader that has it open keeps its answers; a writer needs the lock.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn delete(dir: &Path, _lock: &RepoLock<'_>) -> Result<()> {
        let path = dir.join(FILE);
        seal::remove(&path).doing(|| "remove the seal of the index".into())?;
        schema::SUFFIXES.into_iter().try_for_each(|suffix| {
            let file = schema::with_suffix(&path, suffix);
            crate::sys::unlink(&file).doing(|| format!("remove {}", file.display()))
        })
    }

    /// Reads what the index was made from; `None` when it is empty.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn stamp(&self) -> Result<Option<Stamp>> {
        self.conn
            .query_row("SELECT ref, tip, tree, pending FROM stamp", [], |row| {
                Ok(Stamp { ref_name: row.get(0)?, tip: row.get(1)?, tree: row.get(2)?, pending: row.get(3)? })
            })
            .optional()
            .doing(|| "read the stamp".into())
    }

    /// Begins a read transaction: the questions until it is dropped see one state, and SQLite locks the file once for all of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    #[allow(clippy::disallowed_methods, reason = "it reads only, and ends with the question")]
    fn snapshot(&self) -> Result<rusqlite::Transaction<'_>> {
        self.conn.unchecked_transaction().doing(|| "begin to read".into())
    }

    /// Begins the one write transaction, which cannot outlive the lock.
    ///
    /// # Errors
    /// When another connection writes for longer than the busy timeout of 10 s.
    pub fn begin<'a>(&'a mut self, lock: &'a RepoLock<'_>) -> Result<Batch<'a>> {
        Batch::begin(&mut self.conn, lock)
    }

    /// Begins a write transaction on an index in memory, which needs no lock.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn begin_in_memory(&mut self) -> Result<Batch<'_>> {
        assert!(self.path.as_os_str().is_empty(), "an index on the disk is written under the lock alone");
        Batch::begin_unlocked(&mut self.conn)
    }

    /// Prepares the connection for a rebuild: 64 MB of page cache, and a larger hash table for the full-text index.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn prepare_rebuild(&self, _lock: &RepoLock<'_>) -> Result<()> {
        self.conn
            .execute_batch("PRAGMA cache_size = -64000; INSERT INTO words (words, rank) VALUES ('hashsize', 8388608)")
            .doing(|| "prepare the rebuild".into())
    }

    /// Returns the size of the write-ahead log in bytes.
    pub fn wal_size(&self) -> u64 {
        std::fs::metadata(schema::with_suffix(&self.path, "-wal")).map_or(0, |meta| meta.len())
    }

    /// Moves the write-ahead log into the database and truncates it, when it is larger than `limit` bytes.
    ///
    /// Readers that are still on an older state make it a partial one; the next holder tries again. Its time is written just
    /// before, so that the same fsync takes it along, and taken back when it was not completed: no commit of the log waits for
    /// the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn checkpoint(&self, _lock: &RepoLock<'_>, limit: u64) -> Result<()> {
        if self.wal_size() <= limit {
            return Ok(());
        }
        let doing = || "checkpoint".to_owned();
        let before = self.last_checkpoint()?;
        self.note_checkpoint(Some(Time::now())).doing(doing)?;
        self.conn.busy_timeout(Duration::from_millis(50)).doing(doing)?;
        seal::open(&self.path).doing(doing)?;
        let is_partial = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        // Also after an error: part of the log may have been written, by us, and the log is still there.
        seal::close(&self.path).doing(doing)?;
        self.conn.busy_timeout(schema::BUSY_TIMEOUT).doing(doing)?;
        if is_partial.doing(doing)? {
            self.note_checkpoint(before).doing(doing)?;
        }
        Ok(())
    }

    fn note_checkpoint(&self, at: Option<Time>) -> rusqlite::Result<()> {
        match at {
            Some(at) => self.conn.execute("INSERT OR REPLACE INTO checkpoint (one, at) VALUES (1, ?1)", [at.micros()]),
            None => self.conn.execute("DELETE FROM checkpoint", []),
        }
        .map(drop)
    }

    /// Runs SQLite's own checks of the file and of the full-text index against its content.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn integrity(&self) -> Result<Vec<String>> {
        let doing = || "check the index".to_owned();
        let mut statement = self.conn.prepare("PRAGMA quick_check(20)").doing(doing)?;
        let found = statement.query_map([], |row| row.get::<_, String>(0)).doing(doing)?;
        let mut problems: Vec<String> = found.collect::<rusqlite::Result<_>>().doing(doing)?;
        problems.retain(|line| line != "ok");
        Ok(problems)
    }

    /// Compares the full-text index with the rows it was made from; this needs a writing connection.
    ///
    /// # Errors
    /// When it differs, or cannot be read.
    pub fn full_text_integrity(&self, _lock: &RepoLock<'_>) -> Result<()> {
        self.conn
            .execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)", [])
            .map(drop)
            .doing(|| "match the full-text index with the rows".into())
    }

    /// Reads back every setting that the promises depend on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn settings(&self) -> Result<Map<String, Json>> {
        const PRAGMAS: [&str; 13] = [
            "journal_mode",
            "synchronous",
            "busy_timeout",
            "temp_store",
            "cache_size",
            "wal_autocheckpoint",
            "trusted_schema",
            "query_only",
            "application_id",
            "user_version",
            "page_size",
            "page_count",
            "freelist_count",
        ];
        let mut settings = Map::new();
        for pragma in PRAGMAS {
            let value = self.conn.pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0));
            let value = match value.doing(|| format!("read pragma {pragma}"))? {
                rusqlite::types::Value::Integer(number) => Json::from(number),
                rusqlite::types::Value::Text(text) => Json::from(text),
                other => Json::from(format!("{other:?}")),
            };
            settings.insert(pragma.to_owned(), value);
        }
        let defensive = self.conn.db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE);
        settings.insert("defensive".into(), Json::from(defensive.doing(|| "read the defensive flag".into())?));
        Ok(settings)
    }
}
