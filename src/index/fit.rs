//! What fits the work at hand: records by the files that are worked on, by words, and by domain.
//!
//! Nobody typed this query, so no word has to occur. Words are cheap to be wrong about and files are not: a record about the very
//! file comes before any that shares words with the work. The look-ups are bounded, since this runs at the start of every
//! task: the rarest words are taken until together they occur in [`POSTINGS_MAX`] records, and the rest tells nothing.

use std::collections::{BTreeMap, HashMap};

use rusqlite::params;
use serde_json::Value as Json;

use super::query_text::{Term, Variant};
use super::rank::{self, Ranking, float};
use super::{Filter, Index, Row, fixed_part, words};
use crate::error::{Doing, Result};
use crate::record::Time;

/// Words that are looked up, the heaviest ones first.
const WORDS_MAX: usize = 40;
/// Records in which the words that are looked for occur, added up.
const POSTINGS_MAX: i64 = 4_000;
/// Share of all records above which a word tells nothing.
const COMMON: f64 = 20.0;
/// Candidates of each way of looking that are scored.
const POOL: usize = 100;
/// Shortest word that is looked for, in letters.
const SHORTEST: usize = 3;
/// What a match counts, from which the order is made; words count up to 1.
const FILE: f64 = 1.5;
const GLOB: f64 = 1.0;
const DOMAIN: f64 = 0.3;
/// What a directory further up takes from a match.
const STEP: f64 = 0.6;
/// Words of the rarest sort that a record shares with the work when they count half of what they can.
const HALF: f64 = 1.5;
/// Least fit that is shown: a few words that occur by chance are below.
const LEAST: f64 = 0.2;

/// What is worked on.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// What somebody is looking for, as typed for a search.
    pub query: Option<String>,
    /// Texts whose words hint at the work, each with what its words count.
    pub texts: Vec<(String, f64)>,
    /// Files, relative to the root, each with what it counts.
    pub paths: Vec<(String, f64)>,
    pub domain: Option<String>,
}

/// A record that fits, and why.
#[derive(Clone, Debug)]
pub struct Fit {
    pub row: Row,
    /// 0 to about 4.
    pub score: f64,
    pub why: Vec<String>,
    /// Ids of records that fit less well and whose titles differ by numbers alone.
    pub alike: Vec<String>,
}

#[derive(Default)]
struct Found {
    text: f64,
    words: Vec<String>,
    place: f64,
    glob: String,
}

impl Index {
    /// Returns the golden rules, the best confirmed first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn golden(&self) -> Result<Vec<Row>> {
        let doing = || "read the golden rules".to_owned();
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT front, body FROM record WHERE golden AND state = 'active'
                 ORDER BY json_extract(front, '$.confidence') DESC, json_extract(front, '$.validated') DESC, created DESC, id",
            )
            .doing(doing)?;
        let rows = statement.query_map([], Row::read).doing(doing)?;
        rows.collect::<rusqlite::Result<_>>().doing(doing)
    }

    /// Returns at most `limit` active records that fit the work, best first; golden rules are not among them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn fitting(&self, work: &Work, limit: usize) -> Result<Vec<Fit>> {
        let doing = || "look for what fits".to_owned();
        let _snapshot = self.snapshot()?;
        let mut found: BTreeMap<i64, Found> = BTreeMap::new();
        self.by_path(work, &mut found)?;
        self.by_query(work, limit, &mut found)?;
        self.by_words(work, &mut found).doing(doing)?;
        self.by_domain(work, limit, &mut found).doing(doing)?;
        let mut statement = self
            .conn
            .prepare_cached("SELECT front, body FROM record WHERE rowid = ?1 AND NOT golden AND state = 'active'")
            .doing(doing)?;
        let mut fits = Vec::new();
        for (number, found) in &found {
            let rows = statement.query_map([number], Row::read).doing(doing)?;
            for row in rows {
                fits.push(scored(row.doing(doing)?, work, found));
            }
        }
        fits.retain(|fit| fit.score >= LEAST);
        fits.sort_by(|a, b| {
            let order = b.score.total_cmp(&a.score).then_with(|| b.row.text("created").cmp(a.row.text("created")));
            order.then_with(|| a.row.text("id").cmp(b.row.text("id")))
        });
        let mut fits = without_alike(fits);
        fits.truncate(limit);
        Ok(fits)
    }

    fn by_path(&self, work: &Work, found: &mut BTreeMap<i64, Found>) -> Result<()> {
        for (path, weight) in &work.paths {
            for covering in self.covering(path, &[])? {
                let exact = if covering.glob == *path { FILE } else { GLOB };
                // A glob's fixed part has no slash at its end.
                let fixed = fixed_part(&covering.glob).len();
                let further = path[fixed..].matches('/').count() - usize::from(fixed > 0 && fixed < path.len());
                let place = weight * exact * STEP.powi(i32::try_from(further).unwrap_or(i32::MAX));
                let entry = found.entry(covering.row).or_default();
                if place > entry.place {
                    (entry.place, entry.glob) = (place, covering.glob);
                }
            }
        }
        Ok(())
    }

    fn by_query(&self, work: &Work, limit: usize, found: &mut BTreeMap<i64, Found>) -> Result<()> {
        let Some(query) = &work.query else { return Ok(()) };
        let hits = self.search_within(query, &Filter { limit: Some(limit), ..Filter::default() })?;
        let best = hits.first().and_then(|row| row.0.get("score")).and_then(Json::as_f64).unwrap_or(1.0);
        for row in hits {
            let score = row.0.get("score").and_then(Json::as_f64).unwrap_or_default();
            let number = self.row_of(row.text("id")).doing(|| "look a record up".to_owned())?;
            let entry = found.entry(number).or_default();
            // A typed query is what the work is: what answers it stands before what merely lies near.
            entry.text = 2.0 * if best > 0.0 { score / best } else { 1.0 };
            entry.words = vec![query.clone()];
        }
        Ok(())
    }

    fn by_words(&self, work: &Work, found: &mut BTreeMap<i64, Found>) -> rusqlite::Result<()> {
        let terms = self.telling_words(work)?;
        if terms.is_empty() {
            return Ok(());
        }
        let any = terms.iter().map(|(term, _)| term.variants[0].expression.as_str()).collect::<Vec<_>>().join(" OR ");
        let rows = self.matching(&any, POOL)?;
        let texts = rows.iter().map(|row| self.candidate(*row)).collect::<rusqlite::Result<Vec<_>>>()?;
        let (terms, tells): (Vec<Term>, Vec<Vec<f64>>) =
            terms.into_iter().map(|(term, tells)| (term, vec![tells])).unzip();
        let half = HALF * rank::telling(1.0, self.records()?);
        let ranking = Ranking::new(&terms, &tells, &texts, Time::now());
        for (at, row) in rows.iter().enumerate() {
            let score = ranking.score(at, &texts[at]);
            let entry = found.entry(*row).or_default();
            let text = score.text / (score.text + half);
            if text > entry.text {
                entry.text = text;
                entry.words = score.found().into_iter().take(3).map(str::to_owned).collect();
            }
        }
        Ok(())
    }

    /// Chooses the words of the texts that are worth a look, each with how much it tells.
    fn telling_words(&self, work: &Work) -> rusqlite::Result<Vec<(Term, f64)>> {
        let mut weights: BTreeMap<String, f64> = BTreeMap::new();
        for (text, weight) in &work.texts {
            let identifiers = words::identifiers([text, ""]);
            for word in words::words(text).into_iter().chain(words::words(&identifiers)) {
                let letters = word.chars().count();
                if letters >= SHORTEST && word.chars().any(char::is_alphabetic) {
                    // A word that is repeated counts more, and ever less so.
                    let sum = weights.entry(word).or_default();
                    *sum = sum.max(*weight) + if *sum > 0.0 { 0.1 * weight } else { 0.0 };
                }
            }
        }
        let mut heaviest: Vec<(String, f64)> = weights.into_iter().collect();
        heaviest.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| b.0.len().cmp(&a.0.len())).then(a.0.cmp(&b.0)));
        heaviest.truncate(WORDS_MAX);
        let records = self.records()?;
        let mut known = Vec::new();
        for (word, weight) in heaviest {
            let frequency = self.frequency(&word)?;
            if frequency > 0 && float(frequency) <= (records / COMMON).max(5.0) {
                known.push((frequency, word, weight));
            }
        }
        known.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let mut postings = 0;
        let rare = known.into_iter().take_while(|(frequency, _, _)| {
            postings += frequency;
            postings <= POSTINGS_MAX
        });
        Ok(rare
            .map(|(frequency, word, weight)| {
                let tells = rank::telling(float(frequency), records);
                (Term { typed: word.clone(), variants: vec![Variant::word(&word, weight)], is_plain: false }, tells)
            })
            .collect())
    }

    fn by_domain(&self, work: &Work, limit: usize, found: &mut BTreeMap<i64, Found>) -> rusqlite::Result<()> {
        let Some(domain) = &work.domain else { return Ok(()) };
        let mut statement = self.conn.prepare_cached(
            "SELECT rowid FROM record WHERE domain = ?1 AND state = 'active' ORDER BY created DESC, id DESC LIMIT ?2",
        )?;
        let rows = statement
            .query_map(params![domain, i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get::<_, i64>(0))?;
        for row in rows {
            found.entry(row?).or_default();
        }
        Ok(())
    }

    fn row_of(&self, id: &str) -> rusqlite::Result<i64> {
        self.conn.prepare_cached("SELECT rowid FROM record WHERE id = ?1")?.query_row([id], |row| row.get(0))
    }
}

fn scored(row: Row, work: &Work, found: &Found) -> Fit {
    let mut why = Vec::new();
    let mut sum = found.text + found.place;
    if found.place > 0.0 {
        why.push(found.glob.clone());
    }
    if work.domain.as_deref().is_some_and(|domain| domain == row.text("domain")) {
        sum += DOMAIN;
        why.push(format!("domain {}", row.text("domain")));
    }
    if found.text > 0.0 {
        why.push(found.words.join(" "));
    }
    let number = |key: &str| row.0.get(key).and_then(Json::as_f64);
    let (held, failed) = (number("validated").unwrap_or_default(), number("violated").unwrap_or_default());
    // What was confirmed comes before what nobody has tried, and that before what failed.
    let evidence = 1.0 + 0.2 * (held - failed) / (held + failed + 2.0);
    let confidence = 0.8 + 0.4 * number("confidence").unwrap_or(0.5);
    Fit { score: sum * evidence * confidence, why, row, alike: Vec::new() }
}

impl Fit {
    /// Takes a record that was not looked for.
    pub fn unasked(row: Row) -> Self {
        Self { row, score: 0.0, why: Vec::new(), alike: Vec::new() }
    }
}

/// Keeps the first of records of one kind whose titles have the same words, numbers and names with digits aside.
pub fn without_alike(fits: Vec<Fit>) -> Vec<Fit> {
    let mut kept: Vec<Fit> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for fit in fits {
        let mut key = fit.row.text("kind").to_owned();
        for word in words::words(fit.row.text("title")).iter().filter(|word| word.chars().all(char::is_alphabetic)) {
            key.push(' ');
            key.push_str(word);
        }
        match places.get(&key) {
            Some(place) if key.contains(' ') => kept[*place].alike.push(fit.row.text("id").to_owned()),
            _ => {
                places.insert(key, kept.len());
                kept.push(fit);
            }
        }
    }
    kept
}
