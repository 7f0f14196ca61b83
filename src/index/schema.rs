//! Tables, versions, and how an index that is missing, old, foreign or broken becomes a fresh one.
//!
//! The index is a cache, so a version that is not ours, an application id that is not ours and damage have one answer: empty it
//! in place with SQLite's own reset, which readers see as a transaction, and fill it from the ledger. A database file is never
//! deleted or renamed while it may be open somewhere; only what SQLite cannot reset (a directory, a symlink) is moved aside.
//!
//! The journal is a write-ahead log, except on network file systems: its shared memory needs one machine
//! (sqlite.org/wal.html#overview, disadvantage 2). There it is a rollback journal, for which readers and writers wait for each
//! other for a moment, and which needs nothing but SQLite's own file locks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::seal::{self, Seal};
use crate::error::{Doing, Error, Result};
use crate::sys::{self, FileSystem};

/// `ELF1`, so that `file` and a stranger's database can be told apart.
const APPLICATION_ID: i32 = 0x454C_4631;
/// How long a connection waits for another one.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// One step for each version of the schema; step n makes version n + 1 of version n, inside one transaction.
const MIGRATIONS: [&str; 6] = [
    "
CREATE TABLE stamp (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ref TEXT NOT NULL, tip TEXT NOT NULL, tree TEXT NOT NULL
) STRICT;
CREATE TABLE record (
    rowid INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    golden INTEGER NOT NULL,
    created INTEGER NOT NULL,
    path TEXT NOT NULL,
    blob TEXT NOT NULL,
    domain TEXT,
    author TEXT,
    agent TEXT,
    title TEXT NOT NULL,
    tags TEXT NOT NULL,
    paths TEXT NOT NULL,
    front TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX record_created ON record (created, id);
CREATE TABLE event (
    id TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    created INTEGER NOT NULL,
    path TEXT NOT NULL,
    blob TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX event_target ON event (target);
CREATE INDEX event_created ON event (created, id);
CREATE TABLE misfit (
    path TEXT PRIMARY KEY,
    id TEXT,
    blob TEXT NOT NULL,
    problem TEXT NOT NULL
) STRICT;
CREATE INDEX misfit_id ON misfit (id);
CREATE VIRTUAL TABLE words USING fts5 (
    title, body, tags, domain,
    content = 'record', content_rowid = 'rowid', tokenize = 'unicode61 remove_diacritics 2'
);
",
    "
CREATE TABLE drain (
    n INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    verb TEXT NOT NULL,
    wait_us INTEGER NOT NULL,
    hold_us INTEGER NOT NULL,
    records INTEGER NOT NULL,
    oldest_us INTEGER
) STRICT;
CREATE TABLE checkpoint (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at INTEGER NOT NULL
) STRICT;
",
    "
ALTER TABLE stamp ADD COLUMN pending TEXT NOT NULL DEFAULT '';
CREATE TABLE pending (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    path TEXT NOT NULL
) STRICT;
",
    // Without a stamp the index is filled again, which fills the new column.
    "
DELETE FROM stamp; DELETE FROM record; DELETE FROM event; DELETE FROM misfit; DELETE FROM pending;
DROP TABLE words;
ALTER TABLE record ADD COLUMN parts TEXT NOT NULL DEFAULT '';
CREATE VIRTUAL TABLE words USING fts5 (
    title, body, tags, domain, parts,
    content = 'record', content_rowid = 'rowid', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE INDEX record_domain ON record (domain, created, id);
CREATE INDEX record_golden ON record (golden) WHERE golden;
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, row);
",
    // What is on the main line is a cache of the commit graph: it outlives the rows that it was asked for. Without a stamp the
    // rows are filled again, which fills the new column and the last table.
    "
ALTER TABLE record ADD COLUMN learned TEXT;
CREATE INDEX record_learned ON record (learned) WHERE learned IS NOT NULL;
CREATE TABLE main_line (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    tips TEXT NOT NULL,
    tree TEXT NOT NULL
) STRICT;
CREATE TABLE learned (
    id TEXT PRIMARY KEY,
    merged INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE mine (
    worktree TEXT PRIMARY KEY,
    head TEXT NOT NULL,
    tips TEXT NOT NULL,
    commits TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE about (
    fixed TEXT NOT NULL,
    glob TEXT NOT NULL,
    row INTEGER NOT NULL,
    PRIMARY KEY (fixed, glob, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX about_row ON about (row);
DELETE FROM stamp;
",
    // Likewise. A failure with a computed fingerprint, what is said of it alone, and the record that is shown for it.
    "
DELETE FROM stamp; DELETE FROM record; DELETE FROM event; DELETE FROM misfit; DELETE FROM pending;
INSERT INTO words (words) VALUES ('delete-all');
CREATE TABLE sighting (
    id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    created INTEGER NOT NULL,
    retracted INTEGER,
    state TEXT NOT NULL,
    validated INTEGER NOT NULL,
    violated INTEGER NOT NULL,
    breached INTEGER NOT NULL,
    sighted INTEGER NOT NULL,
    shown TEXT
) STRICT;
CREATE INDEX sighting_fingerprint ON sighting (fingerprint);
CREATE INDEX sighting_shown ON sighting (shown);
",
];

/// Opens a database and sets what every connection has in common.
fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    configure(&conn)?;
    Ok(conn)
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Plans that do not depend on bound values: otherwise a statement is planned again for each of them.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Checkpoints happen under the repository lock alone, above a size; one at every close would cost three fsyncs a command.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0")
}

/// Suffixes of the files that belong to a database: itself, its write-ahead log and that log's shared memory, its rollback
/// journal. They belong together: an old journal beside a new database would be rolled back into it.
pub(super) const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Opens an index for reading; `None` when there is none that this version can read, or somebody else has changed it.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Option<Connection>> {
    match seal::read(path) {
        Seal::Broken => Ok(None),
        _ if seal::is_kept(path) => open_query_only(path),
        _ => open_unsealed(path),
    }
}

/// As [`open_reader`], whoever has changed it; `None` also when its tables are not exactly ours.
pub(super) fn open_unsealed(path: &Path) -> rusqlite::Result<Option<Connection>> {
    match open_query_only(path)? {
        Some(conn) if has_our_schema(&conn)? => Ok(Some(conn)),
        _ => Ok(None),
    }
}

fn open_query_only(path: &Path) -> rusqlite::Result<Option<Connection>> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() && meta.len() > 0 => {}
        _ => return Ok(None),
    }
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.execute_batch("PRAGMA query_only = ON")?;
    Ok(is_current(&conn)?.then_some(conn))
}

fn is_current(conn: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    Ok(number("application_id")? == APPLICATION_ID && usize::try_from(number("user_version")?) == Ok(MIGRATIONS.len()))
}

/// Tells whether a database that somebody else may have made has our tables and nothing beside them: a view in the place of a
/// table would answer with whatever it computes, for as long as it likes, and triggers would run when we write.
fn has_our_schema(conn: &Connection) -> rusqlite::Result<bool> {
    let schema = |conn: &Connection| {
        let mut statement = conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name, type")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get(3)?))
        })?;
        rows.collect::<rusqlite::Result<Vec<(String, String, String, Option<String>)>>>()
    };
    Ok(schema(conn)? == schema(&open_memory()?)?)
}

/// Opens an index for writing, whatever state it is in; the caller holds the repository lock.
pub(super) fn open_writer(path: &Path) -> Result<Connection> {
    let doing = || format!("open {}", path.display());
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => {
            let opened = match seal::read(path) {
                Seal::Whole if seal::is_kept(path) => open_or_migrate(path),
                Seal::Whole => open_as_it_is(path),
                Seal::UnderWay => finish_checkpoint(path),
                Seal::Broken => Err(rusqlite::Error::InvalidQuery),
            };
            match opened {
                Err(error) if !is_environment(&error) => {}
                result => return result.doing(doing),
            }
            match reset(path).and_then(|()| open_or_migrate(path)) {
                Err(error) if is_environment(&error) => return Err(error).doing(doing),
                Err(_) => move_aside(path)?,
                Ok(conn) => {
                    seal::close(path).doing(doing)?;
                    return Ok(conn);
                }
            }
        }
        Ok(_) => move_aside(path)?,
        Err(_) => {}
    }
    let conn = open_or_migrate(path).doing(doing)?;
    seal::close(path).doing(doing)?;
    Ok(conn)
}

/// Opens an index whose last checkpoint died, and does it again: as long as the log is there, nothing is missing.
fn finish_checkpoint(path: &Path) -> rusqlite::Result<Connection> {
    if fs::metadata(with_suffix(path, "-wal")).map_or(0, |log| log.len()) == 0 {
        return Err(rusqlite::Error::InvalidQuery);
    }
    let conn = open_or_migrate(path)?;
    conn.busy_timeout(Duration::from_millis(50))?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // Without the note the next holder makes the index again.
    let _ = seal::close(path);
    Ok(conn)
}

/// Opens an index that somebody else may have changed, to see what they changed.
pub(super) fn open_as_it_is(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open_or_migrate(path)?;
    conn.execute_batch("PRAGMA cell_size_check = ON")?;
    if has_our_schema(&conn)? { Ok(conn) } else { Err(rusqlite::Error::InvalidQuery) }
}

/// Builds an index in memory, to compare another one with.
pub(super) fn open_memory() -> rusqlite::Result<Connection> {
    let mut conn = Connection::open_in_memory()?;
    configure(&conn)?;
    migrate(&mut conn)?;
    Ok(conn)
}

fn open_or_migrate(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite gives its log and its shared memory the mode of the database, so that is right from the start.
    let _ = sys::create_shared(path);
    let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    if FileSystem::of(path.parent().unwrap_or(path)).is_network {
        // Without the log, NORMAL may leave a damaged database after a power cut (sqlite.org/pragma.html#pragma_synchronous).
        conn.execute_batch("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL")?;
    } else {
        conn.pragma_update(None, "journal_mode", "WAL")?;
    }
    // A header of an unknown format makes SQLite refuse to write, in a file that can be written: damage, not permissions.
    if conn.is_readonly("main")? && fs::OpenOptions::new().write(true).open(path).is_ok() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    migrate(&mut conn)?;
    Ok(conn)
}

/// Brings an empty or older schema to the present version; fails for one that is foreign or newer.
fn migrate(conn: &mut Connection) -> rusqlite::Result<()> {
    if is_current(conn)? {
        return Ok(());
    }
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let from = match (number("application_id")?, usize::try_from(number("user_version")?)) {
        (0, Ok(0)) if tables == 0 => 0,
        (APPLICATION_ID, Ok(version)) if version <= MIGRATIONS.len() => version,
        _ => return Err(rusqlite::Error::InvalidQuery),
    };
    for step in &MIGRATIONS[from..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    let version = i32::try_from(MIGRATIONS.len()).expect("a handful of versions");
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

/// Empties a database of any content, broken ones included (sqlite.org/c3ref/c_dbconfig_defensive.html, RESET_DATABASE).
fn reset(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // Reads the schema, so that SQLite knows about the log; what it says of a broken file does not matter here.
    let _ = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
    let emptied = conn.execute_batch("VACUUM");
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false)?;
    emptied
}

/// Moves what SQLite cannot open or reset out of the way, without following or deleting it.
fn move_aside(path: &Path) -> Result<()> {
    let mark = format!("{:08x}", fastrand::u32(..));
    for suffix in SUFFIXES {
        let from = with_suffix(path, suffix);
        if fs::symlink_metadata(&from).is_ok() {
            let to = with_suffix(path, &format!("{suffix}.unreadable-{mark}"));
            fs::rename(&from, &to).doing(|| format!("move {} aside", from.display()))?;
        }
    }
    Ok(())
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Tells errors of the machine (a full disk, permissions, a lock) from a file that is no index of ours.
fn is_environment(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied, ReadOnly};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked | DiskFull | OutOfMemory | PermissionDenied | ReadOnly)
    )
}

/// Tells whether an error means that the index cannot be written, or read without writing.
pub(super) fn is_unwritable(error: &Error) -> bool {
    use ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    let Error::Sql { source, .. } = error else { return false };
    matches!(source.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
}

/// Tells whether an error means that the index itself is damaged, so that a rebuild mends it.
pub(super) fn is_damage(error: &Error) -> bool {
    let Error::Sql { source, .. } = error else { return false };
    match source {
        rusqlite::Error::SqliteFailure(failure, _) => {
            !is_environment(source) && failure.code != ErrorCode::OperationInterrupted
        }
        rusqlite::Error::QueryReturnedNoRows => false,
        _ => true,
    }
}

/// Empties whatever database is at `path`, or moves it aside; the caller holds the repository lock.
pub(super) fn discard(path: &Path) -> Result<()> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    if is_file && reset(path).is_ok() { Ok(()) } else { move_aside(path) }
}
