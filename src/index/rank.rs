//! The order of what was found: a sum that can be explained.
//!
//! SQLite's full-text index names the candidates; here each of them is scored from its text, so that a form of a word can count
//! less than the word, which bm25 of a boolean expression cannot say (a rare form would count more). What is known beside
//! the text moves the score by a few percent: it orders equals, and never lifts a record over a much better text.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::query_text::Term;
use super::words;
use crate::record::Time;

/// What an inflection of a word counts, and what a corrected word counts; the word as typed counts 1.
pub(super) const FORM: f64 = 0.7;
pub(super) const CORRECTION: f64 = 0.8;
/// What an occurrence counts in title, body, tags, domain and among the parts of identifiers.
const FIELDS: [f64; 5] = [2.0, 1.0, 1.0, 1.0, 1.0];
/// The constants of bm25: how soon repetition stops to count, and how much length does.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// Power of the share of the query that a record covers, by weight of the words.
const COVERAGE: i32 = 4;
/// Words of a body that count beside the different ones it has, when the score asks how much else it says.
const FOCUS: f64 = 17.5;
/// Words of a record of middling length: about the mean of 15,000 lessons of public repositories.
const MIDDLING: f64 = 70.0;
/// Share that having every word as typed adds.
const TYPED: f64 = 0.5;
/// Shares that what is known beside the text adds to or takes from a score.
const DOMAIN: f64 = 0.03;
const PATH: f64 = 0.03;
const EVIDENCE: f64 = 0.04;
const GOLDEN: f64 = 0.03;
const RECENCY: f64 = 0.02;
const SCOPE: f64 = 0.01;
/// Days after which the share for recency is half.
const HALF_LIFE: f64 = 180.0;
const DAY: f64 = 86_400e6;

/// A record that may be a hit, and what the score needs of it.
#[derive(Debug, Default)]
pub(super) struct Candidate {
    pub title: String,
    pub body: String,
    pub tags: String,
    pub domain: String,
    pub parts: String,
    pub paths: String,
    pub scope: String,
    pub golden: bool,
    pub validated: f64,
    pub violated: f64,
    /// Microseconds since 1970.
    pub created: f64,
}

/// What the scores of one search have in common.
#[derive(Debug)]
pub(super) struct Ranking<'a> {
    terms: &'a [Term],
    /// For each variant of each term how much it tells: its inverse document frequency times its weight.
    weights: Vec<Vec<f64>>,
    fields: Vec<[Vec<String>; 5]>,
    now: f64,
}

/// A score and what it is made of.
#[derive(Debug)]
pub(super) struct Score {
    pub sum: f64,
    /// What the words count by themselves.
    pub text: f64,
    pub parts: Map<String, Json>,
}

impl Score {
    /// Returns the words that were found, the most telling ones first.
    pub fn found(&self) -> Vec<&str> {
        let words = self.parts.get("words").and_then(Json::as_array).into_iter().flatten();
        let mut words: Vec<_> = words.map(|word| (word["score"].as_f64(), word["typed"].as_str())).collect();
        words.sort_by(|a, b| b.0.unwrap_or_default().total_cmp(&a.0.unwrap_or_default()));
        words.into_iter().filter_map(|(_, word)| word).collect()
    }
}

/// Returns how much a word tells that occurs in `frequency` of `records` (the formula of bm25, kept above 0).
pub(super) fn telling(frequency: f64, records: f64) -> f64 {
    (1.0 + (records - frequency + 0.5).max(0.0) / (frequency + 0.5)).ln()
}

impl<'a> Ranking<'a> {
    /// Reads the candidates; `tells` has the value of [`telling`] for each variant of each term.
    pub fn new(terms: &'a [Term], tells: &[Vec<f64>], candidates: &[Candidate], now: Time) -> Self {
        let fields: Vec<_> = candidates
            .iter()
            .map(|c| [&c.title, &c.body, &c.tags, &c.domain, &c.parts].map(|text| words::words(text)))
            .collect();
        let weigh = |(term, tells): (&Term, &Vec<f64>)| {
            term.variants.iter().zip(tells).map(|(variant, tells)| variant.weight * tells).collect()
        };
        Self { terms, weights: terms.iter().zip(tells).map(weigh).collect(), fields, now: float(now.micros()) }
    }

    /// Scores a candidate by its place in the list that [`Ranking::new`] was given.
    pub fn score(&self, at: usize, candidate: &Candidate) -> Score {
        let fields = &self.fields[at];
        let norm = K1 * (1.0 - B + B * length(fields) / MIDDLING);
        let mut places: [HashMap<&str, Vec<usize>>; 5] = Default::default();
        for (places, field) in places.iter_mut().zip(fields) {
            for (place, word) in field.iter().enumerate() {
                places.entry(word).or_default().push(place);
            }
        }
        let (mut text, mut covered, mut whole) = (0.0, 0.0, 0.0);
        let mut all_typed = true;
        let mut matched = Vec::new();
        for (term, weights) in self.terms.iter().zip(&self.weights) {
            let (mut best, mut by, mut is_typed) = (0.0, None, false);
            for (variant, weight) in term.variants.iter().zip(weights) {
                let times: f64 = (0..fields.len())
                    .map(|i| FIELDS[i] * occurrences(&variant.words, variant.prefix, &places[i], &fields[i]))
                    .sum();
                is_typed |= times > 0.0 && variant.weight >= 1.0;
                let value = weight * times * (K1 + 1.0) / (times + norm);
                if value > best {
                    (best, by) = (value, Some(variant));
                }
            }
            all_typed &= is_typed;
            let most = weights.iter().copied().fold(0.0, f64::max);
            whole += most;
            text += best;
            if let Some(variant) = by {
                covered += most;
                matched.push(json!({
                    "typed": term.typed, "found": variant.words.join(" "), "weight": variant.weight, "score": rounded(best),
                }));
            }
        }
        let coverage = if whole > 0.0 { covered / whole } else { 0.0 };
        let known = self.known(candidate);
        let typed = if all_typed { TYPED } else { 0.0 };
        let factor = 1.0 + typed + known.iter().map(|(_, share)| share).sum::<f64>();
        let focus = (MIDDLING / (FOCUS + count(places[1].len()))).sqrt();
        let sum = text * coverage.powi(COVERAGE) * focus * factor;
        let mut parts = Map::new();
        parts.insert("words".into(), Json::from(matched));
        parts.insert("text".into(), Json::from(rounded(text)));
        parts.insert("coverage".into(), Json::from(rounded(coverage)));
        parts.insert("focus".into(), Json::from(rounded(focus)));
        parts.insert("typed".into(), Json::from(typed));
        parts.extend(known.map(|(name, share)| (name.to_owned(), Json::from(rounded(share)))));
        Score { sum, text, parts }
    }

    /// Returns the shares of what is known beside the text.
    fn known(&self, candidate: &Candidate) -> [(&'static str, f64); 6] {
        let typed = |word: &String| self.terms.iter().any(|term| term.variants[0].words.contains(word));
        let when = |is: bool, share: f64| if is { share } else { 0.0 };
        let judged = candidate.validated + candidate.violated;
        let age = ((self.now - candidate.created) / DAY).max(0.0);
        [
            ("domain", when(words::words(&candidate.domain).iter().any(typed), DOMAIN)),
            ("path", when(words::words(&candidate.paths).iter().any(typed), PATH)),
            ("evidence", EVIDENCE * (candidate.validated - candidate.violated) / (judged + 2.0)),
            ("golden", when(candidate.golden, GOLDEN)),
            ("recency", RECENCY * (-age / HALF_LIFE).exp2()),
            ("scope", when(candidate.scope == "codebase", SCOPE)),
        ]
    }
}

/// Counts how often words follow each other in a field.
fn occurrences(words: &[String], prefix: bool, places: &HashMap<&str, Vec<usize>>, field: &[String]) -> f64 {
    let Some((last, before)) = words.split_last() else { return 0.0 };
    if !prefix && before.is_empty() {
        return count(places.get(last.as_str()).map_or(0, Vec::len));
    }
    let fits = |window: &&[String]| {
        let (end, start) = window.split_last().expect("a window is not empty");
        start == before && if prefix { end.starts_with(last) } else { end == last }
    };
    count(field.windows(words.len()).filter(fits).count())
}

fn length(fields: &[Vec<String>; 5]) -> f64 {
    // The parts of identifiers are no further text.
    count(fields[..4].iter().map(Vec::len).sum())
}

/// Six digits say enough, and print alike everywhere.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[allow(clippy::cast_precision_loss, reason = "counts and times far below 2^53")]
fn count(value: usize) -> f64 {
    value as f64
}

#[allow(clippy::cast_precision_loss, reason = "microseconds stay below 2^53 until the year 2255")]
pub(super) fn float(value: i64) -> f64 {
    value as f64
}
