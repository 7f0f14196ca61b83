//! The logical content of an index, independent of row numbers and page layout.

use std::collections::BTreeMap;
use std::io::Write;

use rusqlite::types::Value;

use super::Index;
use crate::error::{Doing, Result};

/// The tables and their columns in the order of the dump.
const TABLES: [(&str, &str); 6] = [
    ("stamp", "SELECT ref, ref, tip, tree, pending FROM stamp"),
    (
        "record",
        "SELECT id, path, blob, kind, state, golden, created, domain, author, agent, title, tags, paths, front, body, parts, learned FROM record ORDER BY id",
    ),
    (
        "about",
        "SELECT record.id, path, group_concat(fixed || ' ' || glob, ',' ORDER BY glob) FROM about LEFT JOIN record ON record.rowid = row GROUP BY row ORDER BY record.id",
    ),
    ("event", "SELECT id, path, blob, target, created, text FROM event ORDER BY id"),
    (
        "sighting",
        "SELECT sighting.id, record.path, fingerprint, sighting.created, retracted, sighting.state, validated, violated, breached, sighted, shown FROM sighting JOIN record USING (id) ORDER BY sighting.id",
    ),
    ("misfit", "SELECT path, path, blob, id, problem FROM misfit ORDER BY path"),
];

/// How one row of an index differs from what the ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The index has a row, and the ledger has no such file.
    RowWithoutFile { id: String, path: String },
    /// The ledger has a file that the index has no row for.
    FileWithoutRow { id: String, path: String },
    /// The row is of another blob, or says something else than the file.
    Differs { id: String, path: String },
}

/// (table, id) → (path, line).
type Lines = BTreeMap<(&'static str, String), (String, String)>;

impl Index {
    /// Writes every row as one line, ordered by id. Two indexes of one ledger give the same bytes.
    ///
    /// # Errors
    /// When the database cannot be read or `out` refuses.
    pub fn dump(&self, out: &mut dyn Write) -> Result<()> {
        self.each_line(&mut |table, _, _, line| writeln!(out, "{table}\t{line}").doing(|| "write the dump".into()))
    }

    fn each_line(&self, each: &mut dyn FnMut(&'static str, String, String, &str) -> Result<()>) -> Result<()> {
        for (table, sql) in TABLES {
            let doing = || format!("read the table {table}");
            let mut statement = self.conn.prepare(sql).doing(doing)?;
            let columns = statement.column_count();
            let mut rows = statement.query([]).doing(doing)?;
            while let Some(row) = rows.next().doing(doing)? {
                let values =
                    (0..columns).map(|i| row.get::<_, Value>(i)).collect::<rusqlite::Result<Vec<_>>>().doing(doing)?;
                let text = |value: &Value| if let Value::Text(text) = value { text.clone() } else { String::new() };
                each(table, text(&values[0]), text(&values[1]), &format!("{values:?}"))?;
            }
        }
        Ok(())
    }

    fn lines(&self) -> Result<Lines> {
        let mut lines = BTreeMap::new();
        self.each_line(&mut |table, id, path, line| {
            if table != "stamp" {
                lines.insert((table, id), (path, line.to_owned()));
            }
            Ok(())
        })?;
        Ok(lines)
    }
}

/// Lists how `actual` differs from `expected`, which was just made from the ledger.
///
/// # Errors
/// When either cannot be read.
pub fn compare(actual: &Index, expected: &Index) -> Result<Vec<Difference>> {
    let mut have = actual.lines()?;
    let mut differences = Vec::new();
    for (key, (path, line)) in expected.lines()? {
        let id = key.1.clone();
        match have.remove(&key) {
            None => differences.push(Difference::FileWithoutRow { id, path }),
            Some((_, other)) if other != line => differences.push(Difference::Differs { id, path }),
            Some(_) => {}
        }
    }
    differences.extend(have.into_iter().map(|((_, id), (path, _))| Difference::RowWithoutFile { id, path }));
    Ok(differences)
}
