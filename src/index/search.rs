//! Reading: lists, full-text search, look-ups. Every value is a bound parameter.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, named_params, params};
use serde_json::{Map, Value as Json};

use super::query_text::{QueryText, Variant};
use super::rank::{self, Candidate, Ranking, float};
use super::{Index, forms, write};
use crate::error::{Doing, Error, Result};
use crate::record::{Id, Kind, Record, Time};

/// Weights of title, body, tags, domain and parts of identifiers in bm25 (sqlite.org/fts5.html#the_bm25_function), which
/// chooses the candidates.
const WEIGHTS: &str = "2.0, 1.0, 1.0, 1.0, 1.0";
/// Candidates that are scored for each expression, where fewer are asked for.
const POOL: usize = 200;
/// Hits that make other forms of the words superfluous, where fewer are asked for.
const ENOUGH: usize = 20;
/// Terms of the longest query whose words may have other forms.
const TERMS_MAX: usize = 32;
/// Records that may have a word which is first taken for a slip.
const RARE: i64 = 3;
/// Corrections of one word.
const CORRECTIONS_MAX: usize = 8;
/// Words of a phrase whose frequency is looked up.
const PHRASE_MAX: usize = 32;
/// A prefix tells as much as a word that one of so many records has.
const PREFIX_SHARE: f64 = 20.0;
/// Letters of a body that are scored; a match below them counts as the words of a query do that are missing.
const BODY_MAX: i64 = 65_536;

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

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let front: String = row.get("front")?;
        let Ok(Json::Object(mut map)) = serde_json::from_str(&front) else {
            return Err(rusqlite::Error::InvalidQuery);
        };
        map.insert("body".into(), Json::from(row.get::<_, String>("body")?));
        Ok(Self(map))
    }
}

/// The conditions of a [`Filter`] on `record`; every parameter is bound, and null means "any".
const CONDITIONS: &str = "(record.state = 'active' OR :all AND record.state <> 'sighting' OR :sightings)
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

    /// Returns records that match what was typed, best first, each with its score and, under `explain`, what it is made of.
    ///
    /// Records have all words; where these are fewer than asked for, a record may have inflections of them. Where there is
    /// none, words that are in no more than a few records may be slips of others, then every word may. Where there still is
    /// none, records have any of the words.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn search(&self, typed: &str, filter: &Filter) -> Result<Vec<Row>> {
        let doing = || "search".to_owned();
        let mut query = QueryText::parse(typed);
        let mut found = BTreeMap::new();
        let Some(expression) = query.all() else { return Ok(Vec::new()) };
        self.candidates(&expression, &query, filter, &mut found)?;
        let enough = filter.limit.unwrap_or(usize::MAX).min(ENOUGH);
        let may_vary = query.wanted.len() <= TERMS_MAX;
        if found.len() < enough && may_vary {
            self.inflect(&mut query).doing(doing)?;
            self.again(&query, filter, &mut found)?;
            for rare in [RARE, i64::MAX] {
                if found.is_empty() && self.correct(&mut query, rare).doing(doing)? {
                    self.again(&query, filter, &mut found)?;
                }
            }
        }
        if let (true, Some(expression)) = (found.is_empty(), query.any()) {
            self.candidates(&expression, &query, filter, &mut found)?;
        }
        self.ranked(&query, filter, &found)
    }

    fn again(&self, query: &QueryText, filter: &Filter, found: &mut BTreeMap<i64, i64>) -> Result<()> {
        let expression = query.all().expect("it has terms");
        self.candidates(&expression, query, filter, found)
    }

    /// Adds the inflections that occur in the index to every plain word.
    fn inflect(&self, query: &mut QueryText) -> rusqlite::Result<()> {
        for term in query.wanted.iter_mut().filter(|term| term.is_plain) {
            let word = term.variants[0].words[0].clone();
            if forms::is_plain(&word) {
                let known = self.known(forms::inflections(&word))?;
                term.variants.extend(known.iter().map(|(_, form)| Variant::word(form, rank::FORM)));
            }
        }
        Ok(())
    }

    /// Adds what plain words in at most `rare` records may be slips of, the most frequent ones; false when there is nothing.
    fn correct(&self, query: &mut QueryText, rare: i64) -> rusqlite::Result<bool> {
        let mut has_any = false;
        for term in query.wanted.iter_mut().filter(|term| term.is_plain) {
            let word = term.variants[0].words[0].clone();
            if !forms::is_plain(&word) || self.frequency(&word)? > rare {
                continue;
            }
            let mut known = self.known(forms::slips(&word))?;
            known.retain(|(_, slip)| term.variants.iter().all(|variant| variant.words != [slip.as_str()]));
            known.sort_unstable_by(|a, b| b.cmp(a));
            known.truncate(CORRECTIONS_MAX);
            has_any |= !known.is_empty();
            term.variants.extend(known.iter().map(|(_, slip)| Variant::word(slip, rank::CORRECTION)));
        }
        Ok(has_any)
    }

    /// Returns the words that occur, with the number of records that have them.
    fn known(&self, words: BTreeSet<String>) -> rusqlite::Result<Vec<(i64, String)>> {
        let mut found = Vec::new();
        for word in words {
            let frequency = self.frequency(&word)?;
            if frequency > 0 {
                found.push((frequency, word));
            }
        }
        Ok(found)
    }

    fn frequency(&self, word: &str) -> rusqlite::Result<i64> {
        let mut statement = self.conn.prepare_cached("SELECT doc FROM vocabulary WHERE term = ?1")?;
        statement.query_row([word], |row| row.get(0)).optional().map(Option::unwrap_or_default)
    }

    /// Adds the numbers of the rows that match best, each with the points that its quoted phrases have.
    fn candidates(
        &self,
        expression: &str,
        query: &QueryText,
        filter: &Filter,
        found: &mut BTreeMap<i64, i64>,
    ) -> Result<()> {
        let literal = query.literal();
        // Quoted phrases are compared as typed: one point for the same letters and punctuation, another for the same case.
        let as_typed = if literal.is_empty() {
            "0"
        } else {
            "(SELECT sum((instr(text, value) > 0) + (instr(lower(text), lower(value)) > 0)) FROM json_each(:literal),
              (SELECT replace(record.title || ' ' || record.body, char(10), ' ') AS text))"
        };
        let sql = format!(
            "SELECT record.rowid AS row, bm25(words, {WEIGHTS}) AS rank, {as_typed} AS typed
             FROM words JOIN record ON record.rowid = words.rowid
             WHERE words MATCH :query AND :literal IS NOT NULL AND {CONDITIONS}
             ORDER BY typed DESC, rank, record.created DESC LIMIT :limit"
        );
        let pool = Filter { limit: filter.limit.map(|limit| limit.max(POOL)), ..filter.clone() };
        self.with_filter(&sql, &pool, Some((expression, literal)), &mut |row| {
            found.insert(row.get("row")?, row.get("typed")?);
            Ok(())
        })
        .doing(|| "search".to_owned())
    }

    /// Scores candidates and returns the best as records.
    fn ranked(&self, query: &QueryText, filter: &Filter, found: &BTreeMap<i64, i64>) -> Result<Vec<Row>> {
        let doing = || "search".to_owned();
        let mut candidates = Vec::new();
        for (row, typed) in found {
            candidates.push((self.candidate(*row).doing(doing)?, *row, *typed));
        }
        let tells = self.tells(query).doing(doing)?;
        let (texts, rows): (Vec<_>, Vec<_>) =
            candidates.into_iter().map(|(text, row, typed)| (text, (row, typed))).unzip();
        let ranking = Ranking::new(&query.wanted, &tells, &texts, Time::now());
        let mut scored: Vec<_> = (0..rows.len()).map(|i| (i, ranking.score(i, &texts[i]))).collect();
        scored.sort_by(|(a, x), (b, y)| {
            let order = rows[*b].1.cmp(&rows[*a].1).then(y.sum.total_cmp(&x.sum));
            order.then(texts[*b].created.total_cmp(&texts[*a].created)).then(rows[*a].0.cmp(&rows[*b].0))
        });
        scored.truncate(filter.limit.unwrap_or(usize::MAX));
        let mut statement = self.conn.prepare_cached("SELECT front, body FROM record WHERE rowid = ?1").doing(doing)?;
        let mut best = Vec::new();
        for (i, score) in scored {
            let mut row = statement.query_row([rows[i].0], Row::read).doing(doing)?;
            row.0.insert("score".into(), Json::from(score.sum));
            let mut explain = score.parts;
            if !query.literal().is_empty() {
                explain.insert("phrases".into(), Json::from(rows[i].1));
            }
            row.0.insert("explain".into(), Json::Object(explain));
            best.push(row);
        }
        Ok(best)
    }

    fn candidate(&self, row: i64) -> rusqlite::Result<Candidate> {
        let mut statement = self.conn.prepare_cached(
            "SELECT title, substr(body, 1, ?2), tags, ifnull(domain, ''), parts, paths, golden, created,
             ifnull(json_extract(front, '$.validated'), 0), ifnull(json_extract(front, '$.violated'), 0),
             ifnull(json_extract(front, '$.scope'), '') FROM record WHERE rowid = ?1",
        )?;
        statement.query_row([row, BODY_MAX], |row| {
            Ok(Candidate {
                title: row.get(0)?,
                body: row.get(1)?,
                tags: row.get(2)?,
                domain: row.get(3)?,
                parts: row.get(4)?,
                paths: row.get(5)?,
                golden: row.get(6)?,
                created: float(row.get(7)?),
                validated: float(row.get(8)?),
                violated: float(row.get(9)?),
                scope: row.get::<_, rusqlite::types::Value>(10).map(|scope| match scope {
                    rusqlite::types::Value::Text(scope) => scope,
                    _ => String::new(),
                })?,
            })
        })
    }

    /// Returns how much each variant of each term tells.
    fn tells(&self, query: &QueryText) -> rusqlite::Result<Vec<Vec<f64>>> {
        // The highest number stands for their count: rows are rarely removed, and counting would read them all.
        let records: i64 = self.conn.query_row("SELECT ifnull(max(rowid), 0) FROM record", [], |row| row.get(0))?;
        let records = float(records);
        let frequency = |variant: &Variant| {
            if variant.prefix {
                return Ok(records / PREFIX_SHARE);
            }
            let frequencies = variant.words.iter().take(PHRASE_MAX).map(|word| self.frequency(word));
            let rarest = frequencies.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().min().unwrap_or_default();
            // What does not occur cannot be covered, and tells no more than the rarest word.
            Ok(float(rarest).max(1.0))
        };
        let mut tells = Vec::new();
        for term in &query.wanted {
            let frequencies = term.variants.iter().map(frequency).collect::<rusqlite::Result<Vec<f64>>>()?;
            // A form that is rarer than the word as typed tells no more for that.
            tells.push(frequencies.iter().map(|own| rank::telling(own.max(frequencies[0]), records)).collect());
        }
        Ok(tells)
    }

    fn with_filter(
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
