//! Reading: filters, lists, look-ups. Every value is a bound parameter.

use rusqlite::{OptionalExtension, named_params, params};
use serde_json::{Map, Value as Json};

use super::reach::{Admitted, NO_COMMIT};
use super::{Index, write};
use crate::error::{Doing, Error, Result};
use crate::record::{Id, Kind, Record, Time};

/// Which records to return; the default is every active one.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Filter {
    pub kinds: Vec<Kind>,
    pub domain: Option<String>,
    /// All of them must be there.
    pub tags: Vec<String>,
    /// One of the tags is enough.
    pub any_tag: bool,
    pub golden: bool,
    /// Keys with their values, as they are printed; all of them must be there.
    pub values: Vec<(String, String)>,
    pub since: Option<Time>,
    /// A file or directory that one of the record's globs covers, or a glob that covers one of its paths.
    pub path: Option<String>,
    /// Part of `Name <email>`.
    pub author: Option<String>,
    pub agent: Option<String>,
    pub limit: Option<usize>,
    /// Includes what was retracted or superseded.
    pub all: bool,
    /// What a scope lets through; everything when it is `None`.
    pub admitted: Option<Admitted>,
    /// Includes the records that count as sightings of others.
    pub sightings: bool,
}

/// A record as readers see it: the JSON object of the command line.
#[derive(Clone, Debug)]
pub struct Row(pub Map<String, Json>);

impl Row {
    /// Returns the text of a key; empty when it is absent or no text.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Json::as_str).unwrap_or_default()
    }

    /// Tells whether a flag is set.
    pub fn is(&self, key: &str) -> bool {
        self.0.get(key).and_then(Json::as_bool).unwrap_or_default()
    }

    /// Returns the texts of a list.
    pub fn list(&self, key: &str) -> Vec<&str> {
        self.0.get(key).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
    }

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let front: String = row.get("front")?;
        let Ok(Json::Object(mut map)) = serde_json::from_str(&front) else {
            return Err(rusqlite::Error::InvalidQuery);
        };
        map.insert("body".into(), Json::from(row.get::<_, String>("body")?));
        Ok(Self(map))
    }
}

/// The conditions of a [`Filter`] on `record`; every parameter is bound, and null means "any".
pub(super) const CONDITIONS: &str = "(record.state = 'active' OR :all AND record.state <> 'sighting' OR :sightings)
    AND (:kinds IS NULL OR record.kind IN (SELECT value FROM json_each(:kinds)))
    AND (:domain IS NULL OR record.domain = :domain)
    AND (:since IS NULL OR record.created >= :since)
    AND (:author IS NULL OR instr(lower(record.author), lower(:author)) > 0)
    AND (:agent IS NULL OR record.agent = :agent)
    AND (:tags IS NULL OR CASE WHEN :any THEN EXISTS (SELECT 1 FROM json_each(:tags) AS want
        WHERE want.value IN (SELECT value FROM json_each(record.tags)))
      ELSE NOT EXISTS (SELECT 1 FROM json_each(:tags) AS want
        WHERE want.value NOT IN (SELECT value FROM json_each(record.tags))) END)
    AND (NOT :golden OR record.golden)
    AND (:values IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(:values) AS want
        WHERE NOT EXISTS (SELECT 1 FROM json_each(record.front) AS has
          WHERE has.key = want.value ->> 0 AND CAST(has.value AS TEXT) = want.value ->> 1)))
    AND (:admitted IS NULL OR CASE WHEN :hidden IS NOT NULL
      THEN record.id NOT IN (SELECT value FROM json_each(:hidden))
      ELSE (:cached AND EXISTS (SELECT 1 FROM learned WHERE learned.id = record.learned AND merged))
        OR ifnull(record.learned, :bare) IN (SELECT value FROM json_each(:admitted)) END)
    AND (:path IS NULL OR EXISTS (SELECT 1 FROM json_each(record.paths) AS has
        WHERE :path GLOB has.value OR has.value GLOB :path OR has.value GLOB :path || '/*' OR :path GLOB has.value || '/*'))";

impl Index {
    /// Returns records, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn list(&self, filter: &Filter, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let sql = format!(
            "SELECT front, body FROM record WHERE {CONDITIONS} AND :query IS NULL AND :literal IS NULL ORDER BY created DESC, id DESC LIMIT :limit"
        );
        let mut refused = None;
        let read = self.with_filter(&sql, filter, None, &mut |row| {
            each(Row::read(row)?).map_err(|error| {
                refused = Some(error);
                rusqlite::Error::InvalidQuery
            })
        });
        refused.map_or_else(|| read.doing(|| "list".to_owned()), Err)
    }

    /// As [`Index::list`], all at once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rows(&self, filter: &Filter) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.list(filter, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    pub(super) fn with_filter(
        &self,
        sql: &str,
        filter: &Filter,
        query: Option<(&str, &[String])>,
        each: &mut dyn FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let kinds = Json::from(filter.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>()).to_string();
        let tags = Json::from(filter.tags.clone()).to_string();
        let values = Json::from(
            filter.values.iter().map(|(key, value)| Json::from(vec![key.clone(), value.clone()])).collect::<Vec<_>>(),
        )
        .to_string();
        let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let list = |texts: &[String]| Json::from(texts.to_vec()).to_string();
        let admitted = filter.admitted.as_ref();
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(named_params! {
            ":all": filter.all,
            ":sightings": filter.sightings,
            ":kinds": (!filter.kinds.is_empty()).then_some(kinds),
            ":domain": filter.domain,
            ":since": filter.since.map(Time::micros),
            ":author": filter.author,
            ":agent": filter.agent,
            ":tags": (!filter.tags.is_empty()).then_some(tags),
            ":any": filter.any_tag,
            ":golden": filter.golden,
            ":values": (!filter.values.is_empty()).then_some(values),
            ":path": filter.path,
            ":admitted": admitted.map(|admitted| list(&admitted.commits())),
            ":hidden": admitted.and_then(|admitted| admitted.hidden.as_deref().map(list)),
            ":cached": admitted.is_some_and(|admitted| admitted.cached),
            ":bare": NO_COMMIT,
            ":query": query.map(|(expression, _)| expression),
            ":literal": query.map(|(_, literal)| Json::from(literal.to_vec()).to_string()),
            ":limit": limit,
        })?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        Ok(())
    }

    /// Returns one record.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn get(&self, id: Id) -> Result<Option<Row>> {
        let doing = || format!("look {id} up");
        let mut statement = self.conn.prepare_cached("SELECT front, body FROM record WHERE id = ?1").doing(doing)?;
        statement.query_row([id.as_str()], Row::read).optional().doing(doing)
    }

    /// Returns where a record's or an event's file stands: path and blob.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn file_of(&self, id: Id) -> Result<Option<(String, String)>> {
        self.conn
            .query_row(
                "SELECT path, blob FROM record WHERE id = ?1 UNION ALL SELECT path, blob FROM event WHERE id = ?1",
                [id.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .doing(|| format!("look {id} up"))
    }

    /// Returns at most ten ids of records and events that start with `prefix`, which is normalised.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn ids_with_prefix(&self, prefix: &str) -> Result<Vec<Id>> {
        let doing = || format!("look {prefix} up");
        let end = format!("{prefix}~");
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT id FROM record WHERE id >= ?1 AND id < ?2 UNION SELECT id FROM event WHERE id >= ?1 AND id < ?2 LIMIT 10",
            )
            .doing(doing)?;
        let ids = statement.query_map([prefix, &end], |row| row.get::<_, String>(0)).doing(doing)?;
        ids.collect::<rusqlite::Result<Vec<_>>>().doing(doing)?.iter().map(|id| id.parse()).collect()
    }

    /// Returns the events about a record, and those about these events.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_of(&self, id: Id) -> Result<Vec<Record>> {
        write::events_about(&self.conn, id)
    }

    /// Returns the newest events first, from `since` on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events(&self, since: Option<Time>, limit: Option<usize>) -> Result<Vec<Record>> {
        let doing = || "read the events".to_owned();
        let mut statement = self
            .conn
            .prepare("SELECT text FROM event WHERE ?1 IS NULL OR created >= ?1 ORDER BY created DESC, id DESC LIMIT ?2")
            .doing(doing)?;
        let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let texts =
            statement.query_map(params![since.map(Time::micros), limit], |row| row.get::<_, String>(0)).doing(doing)?;
        texts
            .collect::<rusqlite::Result<Vec<_>>>()
            .doing(doing)?
            .iter()
            .map(|text| Record::parse(text.as_bytes()))
            .collect()
    }

    /// Counts records by kind and state, events and misfits.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn counts(&self) -> Result<Map<String, Json>> {
        let doing = || "count".to_owned();
        let mut counts = Map::new();
        let mut group = |name: &str, sql: &str| -> std::result::Result<(), Error> {
            let mut statement = self.conn.prepare(sql).doing(doing)?;
            let rows = statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, Json::from(row.get::<_, i64>(1)?))))
                .doing(doing)?;
            counts.insert(name.to_owned(), Json::Object(rows.collect::<rusqlite::Result<_>>().doing(doing)?));
            Ok(())
        };
        group("kinds", "SELECT kind, count(*) FROM record GROUP BY kind ORDER BY kind")?;
        group("states", "SELECT state, count(*) FROM record GROUP BY state ORDER BY state")?;
        for (name, sql) in [
            ("records", "SELECT count(*) FROM record"),
            ("golden", "SELECT count(*) FROM record WHERE golden"),
            ("events", "SELECT count(*) FROM event"),
            ("misfits", "SELECT count(*) FROM misfit"),
        ] {
            let count: i64 = self.conn.query_row(sql, [], |row| row.get(0)).doing(doing)?;
            counts.insert(name.to_owned(), Json::from(count));
        }
        Ok(counts)
    }

    /// Lists the files that are no records, with what is wrong.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn misfits(&self) -> Result<Vec<(String, String)>> {
        let doing = || "read the misfits".to_owned();
        let mut statement = self.conn.prepare("SELECT path, problem FROM misfit ORDER BY path").doing(doing)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).doing(doing)?;
        rows.collect::<rusqlite::Result<_>>().doing(doing)
    }
}
