//! Reads the rows of a stranger's `index.db`: plain tables alone, one row at a time, nothing of its schema runs.
//!
//! SQLite gets a private copy. The file of the original is neither locked nor rolled back nor checkpointed, and a link or a
//! pipe in its place is not opened. A rollback journal beside it is not used: it can name other files, which SQLite deletes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::error::{Doing, Error, Result};
use crate::record::field::FILE_MAX;
use crate::sys::Beneath;

/// Largest database, and largest log of one, in bytes.
const DATABASE_MAX: u64 = 256 * 1024 * 1024;
/// Longest text of a column, and longest row, in bytes: a record and what SQLite keeps beside it.
const ROW_MAX: i32 = 320 * 1024;
/// Most rows of a table.
const ROWS_MAX: usize = 100_000;
/// Most bytes of all rows together: rows of a damaged file can share their pages.
const SUM_MAX: usize = 512 * 1024 * 1024;
/// First bytes of a rollback journal that is in use (sqlite.org/fileformat.html, 3).
const HOT_JOURNAL: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// The tables that are looked at, with the columns of each; what is missing is empty.
const TABLES: [(&str, &[&str]); 9] = [
    ("learnings", &["type", "filepath", "title", "summary", "tags", "domain", "severity", "created_at", "updated_at"]),
    (
        "heuristics",
        &[
            "domain",
            "rule",
            "explanation",
            "source_type",
            "confidence",
            "times_validated",
            "times_violated",
            "is_golden",
            "created_at",
            "updated_at",
        ],
    ),
    (
        "decisions",
        &[
            "title",
            "context",
            "options_considered",
            "decision",
            "rationale",
            "files_touched",
            "tests_added",
            "status",
            "domain",
            "superseded_by",
            "created_at",
            "updated_at",
        ],
    ),
    (
        "assumptions",
        &[
            "assumption",
            "context",
            "source",
            "confidence",
            "status",
            "domain",
            "verified_count",
            "challenged_count",
            "last_verified_at",
            "created_at",
            "updated_at",
        ],
    ),
    (
        "invariants",
        &[
            "statement",
            "rationale",
            "domain",
            "scope",
            "validation_type",
            "validation_code",
            "severity",
            "status",
            "violation_count",
            "last_validated_at",
            "last_violated_at",
            "created_at",
            "updated_at",
        ],
    ),
    (
        "spike_reports",
        &[
            "title",
            "topic",
            "question",
            "findings",
            "gotchas",
            "resources",
            "time_invested_minutes",
            "domain",
            "tags",
            "usefulness_score",
            "access_count",
            "created_at",
            "updated_at",
        ],
    ),
    ("experiments", &["name", "hypothesis", "status", "cycles_run", "folder_path", "created_at", "updated_at"]),
    ("cycles", &["experiment_id", "cycle_number", "try_summary", "break_summary", "analysis", "learning_extracted"]),
    ("violations", &["rule_id", "rule_name", "violation_date", "description", "session_id"]),
];

/// A value of a row.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Whole(i64),
    Real(f64),
    Text(String),
}

/// A row of a known table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub table: &'static str,
    pub id: i64,
    cells: HashMap<&'static str, Cell>,
}

/// What a database holds.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub rows: Vec<Row>,
    /// Rows and tables that cannot be taken, by name.
    pub refused: Vec<(String, Error)>,
}

impl Row {
    /// Returns a text; a number is written out, and what is absent is empty.
    pub fn text(&self, column: &str) -> String {
        match self.cells.get(column) {
            Some(Cell::Text(text)) => text.clone(),
            Some(Cell::Whole(number)) => number.to_string(),
            Some(Cell::Real(number)) => number.to_string(),
            None => String::new(),
        }
    }

    /// Returns a whole number.
    pub fn whole(&self, column: &str) -> Option<i64> {
        match self.cells.get(column)? {
            Cell::Whole(number) => Some(*number),
            Cell::Text(text) => text.trim().parse().ok(),
            Cell::Real(_) => None,
        }
    }

    /// Returns a number.
    #[expect(clippy::cast_precision_loss, reason = "a confidence, or a score that is kept to be read")]
    pub fn real(&self, column: &str) -> Option<f64> {
        match self.cells.get(column)? {
            Cell::Whole(number) => Some(*number as f64),
            Cell::Real(number) => Some(*number),
            Cell::Text(text) => text.trim().parse().ok(),
        }
    }

    /// Returns where it stands, for people.
    pub fn origin(&self) -> String {
        format!("index.db {} {}", self.table, self.id)
    }
}

/// Reads `index.db` of a memory; `None` when there is none.
///
/// # Errors
/// When the database as a whole cannot be read: nothing of it is taken then.
pub(super) fn read(memory: &Beneath) -> Result<Option<Rows>> {
    let doing = || "copy index.db".to_owned();
    let name = OsStr::new("index.db");
    if memory.look(name).doing(doing)?.is_none() {
        return Ok(None);
    }
    let journal = OsStr::new("index.db-journal");
    if memory.look(journal).doing(doing)?.is_some() && memory.read(journal, 8).is_ok_and(|head| head == HOT_JOURNAL) {
        return Err(Error::invalid(
            "index.db",
            "was being written when its writer died (index.db-journal); open it once with sqlite3, then import again",
        ));
    }
    let private = tempfile::tempdir().doing(doing)?;
    let copied = private.path().join("index.db");
    copy(memory, name, &copied).doing(doing)?;
    let log = OsStr::new("index.db-wal");
    let has_log = memory.look(log).doing(doing)?.is_some_and(|seen| seen.size > 0);
    if has_log {
        copy(memory, log, &private.path().join("index.db-wal")).doing(doing)?;
    }
    let rows = open(&copied, has_log).and_then(|conn| all(&conn));
    rows.map(Some).map_err(|error| Error::invalid("file", format!("is no database that can be read: {error}")))
}

fn copy(memory: &Beneath, name: &OsStr, to: &Path) -> io::Result<()> {
    let mut source = memory.file(name)?.take(DATABASE_MAX + 1);
    if io::copy(&mut source, &mut File::create_new(to)?)? > DATABASE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {DATABASE_MAX} bytes")));
    }
    Ok(())
}

/// Opens the copy. With a log it has to be writable, since SQLite makes the log's index beside it.
fn open(path: &Path, has_log: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = if has_log {
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)?
    } else {
        let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?
    };
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, ROW_MAX)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    conn.execute_batch(
        "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA query_only = ON",
    )?;
    Ok(conn)
}

fn all(conn: &Connection) -> rusqlite::Result<Rows> {
    let mut found = Rows::default();
    let mut left = SUM_MAX;
    for (table, columns) in TABLES {
        // Views and virtual tables run what somebody else wrote; a table without row ids is not the original's.
        let plain: Option<String> = conn
            .query_row(
                "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND wr = 0 AND name = ?1",
                [table],
                |row| row.get(0),
            )
            .optional()?;
        if plain.is_none() {
            continue;
        }
        if let Err(error) = rows(conn, table, columns, &mut left, &mut found) {
            found.refused.push((format!("index.db {table}"), sql(error)));
        }
    }
    Ok(found)
}

fn sql(source: rusqlite::Error) -> Error {
    Error::invalid("row", format!("cannot be read: {source}"))
}

fn rows(
    conn: &Connection,
    table: &'static str,
    wanted: &[&'static str],
    left: &mut usize,
    found: &mut Rows,
) -> rusqlite::Result<()> {
    // Generated columns are not in this list, so nothing is computed.
    let mut statement = conn.prepare("SELECT lower(name) FROM pragma_table_info(?1)")?;
    let has: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let columns: Vec<_> = wanted.iter().copied().filter(|name| has.iter().any(|known| known == name)).collect();
    if columns.is_empty() {
        return Ok(());
    }
    let mut ids = Vec::new();
    let mut statement =
        conn.prepare(&format!("SELECT _rowid_ FROM main.{table} ORDER BY _rowid_ LIMIT {}", ROWS_MAX + 1))?;
    let mut listing = statement.query([])?;
    let mut problem = None;
    loop {
        match listing.next() {
            Ok(Some(row)) => ids.push(row.get::<_, i64>(0)?),
            Ok(None) => break,
            Err(error) => {
                problem = Some(sql(error));
                break;
            }
        }
    }
    if ids.len() > ROWS_MAX {
        ids.truncate(ROWS_MAX);
        problem = Some(Error::invalid("table", format!("has more than {ROWS_MAX} rows; the others were not taken")));
    }
    found.refused.extend(problem.map(|problem| (format!("index.db {table}"), problem)));
    let mut statement = conn.prepare(&format!("SELECT {} FROM main.{table} WHERE _rowid_ = ?1", columns.join(", ")))?;
    for id in ids {
        let row = statement.query_row([id], |row| Ok(cells(row, &columns)));
        let cells = row.unwrap_or_else(|error| Err(sql(error)));
        match cells {
            Ok((cells, size)) if size <= *left => {
                *left -= size;
                found.rows.push(Row { table, id, cells });
            }
            Ok(_) => {
                let problem = Error::invalid("index.db", format!("has more than {SUM_MAX} bytes in its rows"));
                found.refused.push((format!("index.db {table} {id} and what follows"), problem));
                return Ok(());
            }
            Err(error) => found.refused.push((format!("index.db {table} {id}"), error)),
        }
    }
    Ok(())
}

type Cells = HashMap<&'static str, Cell>;

/// Takes the values of a row out, and how many bytes they have.
fn cells(row: &rusqlite::Row<'_>, columns: &[&'static str]) -> Result<(Cells, usize)> {
    let mut cells = HashMap::new();
    let mut size = 0;
    for (at, column) in columns.iter().enumerate() {
        let cell = match row.get_ref(at).map_err(sql)? {
            ValueRef::Null => continue,
            ValueRef::Integer(number) => Cell::Whole(number),
            ValueRef::Real(number) => Cell::Real(number),
            ValueRef::Blob(_) => return Err(Error::invalid(*column, "is no text (limit: text)")),
            ValueRef::Text(bytes) => {
                if bytes.len() > FILE_MAX {
                    let problem = format!("has {} bytes (limit: {FILE_MAX})", bytes.len());
                    return Err(Error::invalid(*column, problem));
                }
                let text = std::str::from_utf8(bytes)
                    .map_err(|error| Error::invalid(*column, format!("is not UTF-8: {error}")))?;
                if text.contains('\0') {
                    return Err(Error::invalid(*column, "has a NUL byte (limit: text)"));
                }
                size += text.len();
                Cell::Text(text.to_owned())
            }
        };
        cells.insert(*column, cell);
    }
    Ok((cells, size))
}
