//! The write transaction.
//!
//! Events go first, then records (each is folded with the events that are in by then), then the records that only an event
//! touched: [`Batch::touched`] names them and their blobs, and the caller, who can read the ledger, puts them again.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::Value as Json;

use super::{Stamp, about, words};
use crate::error::{Doing, Result};
use crate::lock::RepoLock;
use crate::record::{Id, Kind, Record, fold};

/// A write transaction on the index; rolled back on drop.
pub struct Batch<'a> {
    pub(super) transaction: Transaction<'a>,
    touched: BTreeSet<Id>,
    /// Fingerprints of which a record was put or removed.
    pub(super) regrouped: BTreeSet<String>,
    incomplete: bool,
}

/// How many undo-of-undo steps are followed from an event to its record.
const CHAIN_MAX: usize = 64;

impl<'a> Batch<'a> {
    pub(super) fn begin(conn: &'a mut Connection, _lock: &'a RepoLock<'_>) -> Result<Self> {
        Self::begin_unlocked(conn)
    }

    pub(super) fn begin_unlocked(conn: &'a mut Connection) -> Result<Self> {
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.doing(|| "begin a write transaction".into())?;
        Ok(Self { transaction, touched: BTreeSet::new(), regrouped: BTreeSet::new(), incomplete: false })
    }

    /// Empties every table, for a rebuild in this same transaction.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn clear(&mut self) -> Result<()> {
        self.transaction
            .execute_batch(
                "DELETE FROM stamp; DELETE FROM record; DELETE FROM event; DELETE FROM misfit; DELETE FROM pending;
                 DELETE FROM about; DELETE FROM sighting; INSERT INTO words (words) VALUES ('delete-all')",
            )
            .doing(|| "empty the tables".into())
    }

    /// Adds or replaces the row of a file. A second file with the same id is noted as a misfit.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put(&mut self, path: &str, blob: &str, record: Record) -> Result<()> {
        if let Some(other) = self.path_of(record.id)?.filter(|other| other != path) {
            if precedence(&other) < precedence(path) {
                return self.put_misfit(path, Some(record.id), blob, &format!("has the same id as {other}"));
            }
            self.incomplete = true;
            return Ok(());
        }
        if record.kind == Kind::Event {
            self.put_event(path, blob, &record)
        } else {
            self.put_record(path, blob, record)
        }
    }

    fn put_event(&mut self, path: &str, blob: &str, event: &Record) -> Result<()> {
        let target = event.target().expect("an event has a target");
        let mut statement = self
            .transaction
            .prepare_cached(
                "INSERT INTO event (id, target, created, path, blob, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET target = ?2, created = ?3, path = ?4, blob = ?5, text = ?6",
            )
            .doing(|| "prepare a statement".into())?;
        statement
            .execute(params![event.id.as_str(), target.as_str(), event.created.micros(), path, blob, event.to_text()])
            .doing(|| format!("write the row of event {}", event.id))?;
        self.touched.insert(target);
        Ok(())
    }

    fn put_record(&mut self, path: &str, blob: &str, record: Record) -> Result<()> {
        let id = record.id;
        let events = events_about(&self.transaction, id)?;
        let folded = fold(record, &events);
        self.put_sighting(&folded)?;
        let record = &folded.record;
        let mut front = folded.to_json();
        front.shift_remove("body");
        let doing = || format!("write the row of {id}");
        let rowid = self.forget(id)?;
        // Never "INSERT OR REPLACE": it opens a savepoint, at which FTS5 writes its whole buffer out, a segment a record.
        let sql = if rowid.is_some() {
            "UPDATE record SET id = ?2, kind = ?3, state = ?4, golden = ?5, created = ?6, path = ?7, blob = ?8, domain = ?9,
             author = ?10, agent = ?11, title = ?12, tags = ?13, paths = ?14, front = ?15, body = ?16, parts = ?17, learned = ?18 WHERE rowid = ?1"
        } else {
            "INSERT INTO record (rowid, id, kind, state, golden, created, path, blob, domain, author, agent, title, tags,
             paths, front, body, parts, learned) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
        };
        let mut statement = self.transaction.prepare_cached(sql).doing(doing)?;
        let parts = words::identifiers([&record.title, &record.body]);
        let list = |items: &[String]| Json::from(items.to_vec()).to_string();
        statement
            .execute(params![
                rowid,
                id.as_str(),
                record.kind.name(),
                folded.state.name(),
                folded.golden,
                record.created.micros(),
                path,
                blob,
                record.domain,
                record.author,
                record.agent,
                record.title,
                list(&record.tags),
                list(&record.paths),
                Json::Object(front).to_string(),
                record.body,
                parts,
                record.commit,
            ])
            .doing(doing)?;
        let rowid = rowid.unwrap_or_else(|| self.transaction.last_insert_rowid());
        let mut statement = self
            .transaction
            .prepare_cached(
                "INSERT INTO words (rowid, title, body, tags, domain, parts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .doing(doing)?;
        statement
            .execute(params![rowid, record.title, record.body, list(&record.tags), record.domain, parts])
            .doing(doing)?;
        about::note(&self.transaction, rowid, &record.paths)?;
        self.touched.remove(&id);
        Ok(())
    }

    /// Takes a record's words out of the full-text index, which needs the values it was given, and its globs out of theirs;
    /// returns the row's number.
    fn forget(&self, id: Id) -> Result<Option<i64>> {
        let doing = || format!("update the words of {id}");
        let mut statement = self.transaction.prepare_cached("SELECT rowid FROM record WHERE id = ?1").doing(doing)?;
        let rowid: Option<i64> = statement.query_row([id.as_str()], |row| row.get(0)).optional().doing(doing)?;
        if let Some(rowid) = rowid {
            about::forget(&self.transaction, rowid)?;
            self.transaction
                .execute(
                    "INSERT INTO words (words, rowid, title, body, tags, domain, parts)
                     SELECT 'delete', rowid, title, body, tags, domain, parts FROM record WHERE rowid = ?1",
                    [rowid],
                )
                .doing(doing)?;
        }
        Ok(rowid)
    }

    /// Notes a file that is no record, so that `check` can name it without reading the ledger again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_misfit(&mut self, path: &str, id: Option<Id>, blob: &str, problem: &str) -> Result<()> {
        self.transaction
            .execute(
                "INSERT OR REPLACE INTO misfit (path, id, blob, problem) VALUES (?1, ?2, ?3, ?4)",
                params![path, id.as_ref().map(Id::as_str), blob, problem],
            )
            .map(drop)
            .doing(|| format!("note {path}"))
    }

    /// Removes the row of a file that is no longer in the tree.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove(&mut self, path: &str) -> Result<()> {
        let doing = || format!("remove the row of {path}");
        self.transaction.execute("DELETE FROM misfit WHERE path = ?1", [path]).doing(doing)?;
        let id = path.rsplit('/').next().and_then(Id::of_file_name);
        let Some(id) = id else { return Ok(()) };
        if self.path_of(id)?.as_deref() != Some(path) {
            return Ok(());
        }
        let target: Option<String> = self
            .transaction
            .query_row("DELETE FROM event WHERE id = ?1 RETURNING target", [id.as_str()], |row| row.get(0))
            .optional()
            .doing(doing)?;
        self.touched.extend(target.and_then(|target| target.parse::<Id>().ok()));
        self.forget(id)?;
        self.transaction.execute("DELETE FROM record WHERE id = ?1", [id.as_str()]).doing(doing)?;
        self.remove_sighting(id)?;
        self.touched.remove(&id);
        let others: i64 = self
            .transaction
            .query_row("SELECT count(*) FROM misfit WHERE id = ?1", [id.as_str()], |row| row.get(0))
            .doing(doing)?;
        self.incomplete |= others > 0;
        Ok(())
    }

    /// Lists the rows that come from the spool: its name, and the record's id and path.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pending(&self) -> Result<Vec<(String, Id, String)>> {
        let doing = || "read what waits".to_owned();
        let mut statement = self.transaction.prepare("SELECT name, id, path FROM pending").doing(doing)?;
        let rows =
            statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))).doing(doing)?;
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>().doing(doing)?;
        rows.into_iter().map(|(name, id, path)| Ok((name, id.parse()?, path))).collect()
    }

    /// Adds the row of a record that waits in the spool under `name`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_pending(&mut self, name: &str, path: &str, blob: &str, record: Record) -> Result<()> {
        let id = record.id;
        self.transaction
            .execute("INSERT OR REPLACE INTO pending (name, id, path) VALUES (?1, ?2, ?3)", [name, id.as_str(), path])
            .doing(|| format!("note {path}"))?;
        self.put(path, blob, record)
    }

    /// Removes the row of a record that no longer waits, or that the ledger has now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove_pending(&mut self, name: &str, path: &str) -> Result<()> {
        self.transaction
            .execute("DELETE FROM pending WHERE name = ?1", [name])
            .doing(|| format!("remove the note of {path}"))?;
        self.remove(path)
    }

    fn path_of(&self, id: Id) -> Result<Option<String>> {
        let mut statement = self
            .transaction
            .prepare_cached("SELECT path FROM record WHERE id = ?1 UNION ALL SELECT path FROM event WHERE id = ?1")
            .doing(|| "prepare a statement".into())?;
        statement.query_row([id.as_str()], |row| row.get(0)).optional().doing(|| format!("look {id} up"))
    }

    /// Returns the records whose events changed and that have not been put since: id, path and blob.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn touched(&mut self) -> Result<Vec<(Id, String, String)>> {
        let mut found = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let Some(root) = self.root_of(id)? else { continue };
            let row = self
                .transaction
                .query_row("SELECT path, blob FROM record WHERE id = ?1", [root.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
                .doing(|| format!("look {root} up"))?;
            found.extend(row.map(|(path, blob)| (root, path, blob)));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Follows undo events down to the record that they are about in the end.
    fn root_of(&self, id: Id) -> Result<Option<Id>> {
        let mut at = id;
        for _ in 0..CHAIN_MAX {
            let target: Option<String> = self
                .transaction
                .query_row("SELECT target FROM event WHERE id = ?1", [at.as_str()], |row| row.get(0))
                .optional()
                .doing(|| format!("look {at} up"))?;
            match target {
                None => return Ok(Some(at)),
                Some(target) => at = target.parse()?,
            }
        }
        Ok(None)
    }

    /// Tells whether only a rebuild gives the right result: files that share an id changed their order.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Counts sightings together, stamps the index and commits.
    ///
    /// # Errors
    /// When the disk refuses; nothing is changed then.
    pub fn commit(mut self, stamp: &Stamp) -> Result<()> {
        self.regroup()?;
        let doing = || "commit".to_owned();
        self.transaction
            .execute(
                "INSERT OR REPLACE INTO stamp (one, ref, tip, tree, pending) VALUES (1, ?1, ?2, ?3, ?4)",
                [&stamp.ref_name, &stamp.tip, &stamp.tree, &stamp.pending],
            )
            .doing(doing)?;
        self.transaction.commit().doing(doing)
    }

    /// Takes everything back.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn rollback(self) -> Result<()> {
        self.transaction.rollback().doing(|| "roll back".into())
    }
}

/// Orders files that share an id: the first wins, in the order in which a rebuild meets them, so that the result does not
/// depend on the order of arrival.
fn precedence(path: &str) -> (bool, &str) {
    (!path.starts_with("events/"), path)
}

/// Reads the events about a record, and those about these events.
pub(super) fn events_about(conn: &Connection, id: Id) -> Result<Vec<Record>> {
    let doing = || format!("read the events of {id}");
    let mut statement = conn.prepare_cached("SELECT text FROM event WHERE target = ?1 ORDER BY id").doing(doing)?;
    let mut events: Vec<Record> = Vec::new();
    let mut seen = BTreeSet::from([id]);
    let mut next = vec![id];
    while let Some(target) = next.pop() {
        let texts = statement.query_map([target.as_str()], |row| row.get::<_, String>(0)).doing(doing)?;
        for text in texts.collect::<rusqlite::Result<Vec<_>>>().doing(doing)? {
            let event = Record::parse(text.as_bytes())?;
            if seen.insert(event.id) {
                next.push(event.id);
                events.push(event);
            }
        }
    }
    Ok(events)
}
