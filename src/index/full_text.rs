//! Full-text search: what people type, step by step until something is found.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, params};
use serde_json::Value as Json;

use super::query_text::{QueryText, Variant};
use super::rank::{self, Candidate, Ranking, float};
use super::search::CONDITIONS;
use super::{Filter, Index, Row, forms};
use crate::error::{Doing, Result};
use crate::record::Time;

/// Weights of title, body, tags, domain and parts of identifiers in bm25 (sqlite.org/fts5.html#the_bm25_function), which
/// chooses the candidates.
const WEIGHTS: &str = "2.0, 1.0, 1.0, 1.0, 1.0";
/// Candidates that are scored for each expression, where fewer are asked for.
const POOL: usize = 200;
/// How many times more are ranked than are wanted, for the filter to take from.
const SPARE: usize = 3;
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

impl Index {
    /// Returns records that match what was typed, best first, each with its score and, under `explain`, what it is made of.
    ///
    /// Records have all words; where these are fewer than asked for, a record may have inflections of them. Where there is
    /// none, words that are in no more than 3 records may be slips of others, then every word may. Where there still is
    /// none, records have any of the words.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn search(&self, typed: &str, filter: &Filter) -> Result<Vec<Row>> {
        let _snapshot = self.snapshot()?;
        self.search_within(typed, filter)
    }

    /// As [`Index::search`], inside a read transaction.
    pub(super) fn search_within(&self, typed: &str, filter: &Filter) -> Result<Vec<Row>> {
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

    /// Returns about how many records there are.
    pub(super) fn records(&self) -> rusqlite::Result<f64> {
        // The highest number stands for their count: rows are rarely removed, and counting would read them all.
        self.conn.query_row("SELECT ifnull(max(rowid), 0) FROM record", [], |row| row.get(0)).map(float)
    }

    pub(super) fn frequency(&self, word: &str) -> rusqlite::Result<i64> {
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
        let doing = || "search".to_owned();
        let literal = query.literal();
        let pool = Filter { limit: filter.limit.map(|limit| limit.max(POOL)), ..filter.clone() };
        if let (true, Some(limit)) = (literal.is_empty(), pool.limit)
            && self.best_of(expression, &pool, limit, found).doing(doing)?
        {
            return Ok(());
        }
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
        self.with_filter(&sql, &pool, Some((expression, literal)), &mut |row| {
            found.insert(row.get("row")?, row.get("typed")?);
            Ok(())
        })
        .doing(doing)
    }

    /// As above, from the full-text index alone, which is much smaller than the rows: a row is read where it is among the best.
    /// False when the filter left too few of these, and there are more; nothing is added then.
    fn best_of(
        &self,
        expression: &str,
        filter: &Filter,
        limit: usize,
        found: &mut BTreeMap<i64, i64>,
    ) -> rusqlite::Result<bool> {
        let most = limit.saturating_mul(SPARE);
        let best = self.matching(expression, most)?;
        let rows = Json::from(best.clone()).to_string();
        let sql = format!(
            "SELECT rowid AS row FROM record WHERE rowid IN (SELECT value FROM json_each(:query)) AND :literal IS NOT NULL
             AND {CONDITIONS} LIMIT :limit"
        );
        let mut fit: BTreeSet<i64> = BTreeSet::new();
        self.with_filter(&sql, &Filter { limit: None, ..filter.clone() }, Some((&rows, &[])), &mut |row| {
            fit.insert(row.get("row")?);
            Ok(())
        })?;
        let is_enough = fit.len() >= limit || best.len() < most;
        if is_enough {
            found.extend(best.into_iter().filter(|row| fit.contains(row)).take(limit).map(|row| (row, 0)));
        }
        Ok(is_enough)
    }

    /// Returns the rows that match best by the full-text index alone, whatever their state.
    pub(super) fn matching(&self, expression: &str, limit: usize) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT rowid FROM words WHERE words MATCH ?1 AND rank MATCH 'bm25({WEIGHTS})' ORDER BY rank LIMIT ?2"
        ))?;
        let rows =
            statement.query_map(params![expression, i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))?;
        rows.collect()
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

    pub(super) fn candidate(&self, row: i64) -> rusqlite::Result<Candidate> {
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
        let records = self.records()?;
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
}
