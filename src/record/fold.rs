//! From a record and the events about it to what is known now.
//!
//! The result depends on the set of events alone, never on their order of arrival, so uniting two ledgers is the set union of
//! their files. An event that targets an event undoes it. For every key the `sets` event with the greatest (time, id) wins.

use std::collections::{HashMap, HashSet};

use toml::{Table, Value};

use super::{Id, Kind, Record, Time, Verb};
use crate::error::{Error, Result};

/// Weight of the stated confidence against one observation each: 4 pseudo-observations.
pub const PRIOR_WEIGHT: f64 = 4.0;

/// Whether a record still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    Active,
    /// Retracted in favour of another record.
    Superseded,
    Retracted,
}

impl Lifecycle {
    /// Returns the word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Superseded => "superseded",
            Self::Retracted => "retracted",
        }
    }
}

/// A record as it is known now.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// The record with its edits applied; the file itself never changes.
    pub record: Record,
    pub state: Lifecycle,
    pub superseded_by: Option<Id>,
    /// Since when it is retracted or superseded.
    pub retracted: Option<Time>,
    pub golden: bool,
    pub validated: u32,
    pub violated: u32,
    pub breached: u32,
    pub sighted: u32,
    /// Mean of the posterior, rounded to four digits; `None` for kinds without a confidence.
    pub confidence: Option<f64>,
    /// Tells whether any edit applies.
    pub edited: bool,
}

/// Computes the present state of `record` from the events about it (and the events about those).
pub fn fold(record: Record, events: &[Record]) -> Folded {
    let id = record.id;
    let mut folded = Folded {
        record,
        state: Lifecycle::Active,
        superseded_by: None,
        retracted: None,
        golden: false,
        validated: 0,
        violated: 0,
        breached: 0,
        sighted: 0,
        confidence: None,
        edited: false,
    };
    let live = live_events(events);
    for event in live.iter().filter(|event| event.target() == Some(id)) {
        match event.verb() {
            Some(Verb::Validates) => folded.validated += 1,
            Some(Verb::Violates) => folded.violated += 1,
            Some(Verb::Breaches) => folded.breached += 1,
            Some(Verb::Sights) => folded.sighted += 1,
            Some(Verb::Promotes) => folded.golden = folded.record.kind == Kind::Heuristic,
            Some(Verb::Sets) => {
                if let Some(edited) = with_edit(&folded.record, event) {
                    folded.record = edited;
                    folded.edited = true;
                }
            }
            Some(Verb::Retracts) => {
                folded.retracted = folded.retracted.or(Some(event.created));
                folded.superseded_by = event.own_text("by").and_then(|by| by.parse().ok());
                folded.state =
                    if folded.superseded_by.is_some() { Lifecycle::Superseded } else { Lifecycle::Retracted };
            }
            None => {}
        }
    }
    folded.confidence = posterior(&folded);
    folded
}

/// Returns the mean of a Beta posterior whose prior has the stated confidence as its mean and [`PRIOR_WEIGHT`] as its weight:
/// (4c + validated) / (4 + validated + violated). (Beta-binomial conjugacy; Gelman et al., Bayesian Data Analysis, 2.4.)
fn posterior(folded: &Folded) -> Option<f64> {
    let stated = folded.record.own.get("confidence")?.as_float()?;
    let (held, failed) = (f64::from(folded.validated), f64::from(folded.violated));
    let mean = (PRIOR_WEIGHT * stated + held) / (PRIOR_WEIGHT + held + failed);
    Some((mean * 10_000.0).round() / 10_000.0)
}

/// Returns the events that no live event undoes, oldest first.
///
/// Events that undo each other in a circle are all void: nobody can write one by accident.
pub fn live_events(events: &[Record]) -> Vec<&Record> {
    let known: HashSet<Id> = events.iter().map(|event| event.id).collect();
    let undoes = |event: &Record| event.target().filter(|target| known.contains(target));
    let mut undecided: HashMap<Id, usize> = HashMap::new();
    for target in events.iter().filter_map(undoes) {
        *undecided.entry(target).or_default() += 1;
    }
    let by_id: HashMap<Id, &Record> = events.iter().map(|event| (event.id, event)).collect();
    let mut ready: Vec<Id> = known.iter().copied().filter(|id| !undecided.contains_key(id)).collect();
    let mut undone: HashSet<Id> = HashSet::new();
    let mut live = Vec::new();
    while let Some(id) = ready.pop() {
        let event = by_id[&id];
        let is_live = !undone.contains(&id);
        if is_live {
            live.push(event);
        }
        if let Some(target) = undoes(event) {
            if is_live {
                undone.insert(target);
            }
            let left = undecided.get_mut(&target).expect("counted above");
            *left -= 1;
            if *left == 0 {
                ready.push(target);
            }
        }
    }
    live.sort_by_key(|event| (event.created, event.id));
    live
}

/// Applies one edit event; `None` when it would not make a valid record of this kind.
fn with_edit(record: &Record, event: &Record) -> Option<Record> {
    edited(record, event.own_text("key")?, event.own.get("value"), &event.body).ok()
}

/// Returns the record with one key set to `value`, or its body to `body` when the key is `body`. An empty text removes the key.
///
/// # Errors
/// [`Error::Invalid`] when the result would break a limit, or the key is one that never changes.
pub fn edited(record: &Record, key: &str, value: Option<&Value>, body: &str) -> Result<Record> {
    if matches!(key, "id" | "kind" | "created" | "author") {
        return Err(Error::invalid(key, "cannot be set: it is part of what the record is"));
    }
    let mut table: Table = record.front().into_iter().collect();
    let mut text = record.body.clone();
    match value {
        _ if key == "body" => body.clone_into(&mut text),
        Some(Value::String(text)) if text.is_empty() => drop(table.remove(key)),
        Some(value) => drop(table.insert(key.to_owned(), value.clone())),
        None => return Err(Error::invalid("value", "is missing")),
    }
    Record::from_table(table, text)
}

#[cfg(test)]
mod tests {
    use super::super::Draft;
    use super::*;

    fn at(seconds: i64, mut draft: Draft) -> Record {
        draft.put("created", Time::from_seconds(seconds).unwrap().to_string());
        draft.finish().unwrap()
    }

    fn rule() -> Record {
        at(0, Draft::new(Kind::Heuristic, "Lock first"))
    }

    fn sets(seconds: i64, target: Id, key: &str, value: &str) -> Record {
        let mut draft = Draft::event(Verb::Sets, target);
        draft.put("key", key);
        draft.put("value", value);
        at(seconds, draft)
    }

    #[test]
    fn confidence_is_the_mean_of_the_posterior() {
        let rule = rule();
        let events: Vec<_> = [Verb::Validates, Verb::Validates, Verb::Violates, Verb::Breaches]
            .into_iter()
            .map(|verb| at(1, Draft::event(verb, rule.id)))
            .collect();
        let folded = fold(rule, &events);
        // (4 × 0.7 + 2) / (4 + 3): a breach does not count.
        assert_eq!(folded.confidence, Some(0.6857));
        assert_eq!((folded.validated, folded.violated, folded.breached), (2, 1, 1));
    }

    #[test]
    fn the_latest_edit_wins_in_any_order_of_arrival() {
        let rule = rule();
        let (old, new) = (sets(1, rule.id, "title", "old"), sets(2, rule.id, "title", "new"));
        for events in [[old.clone(), new.clone()], [new, old]] {
            assert_eq!(fold(rule.clone(), &events).record.title, "new");
        }
    }

    #[test]
    fn an_edit_that_breaks_a_limit_is_ignored() {
        let rule = rule();
        let events = [sets(1, rule.id, "title", ""), sets(2, rule.id, "confidence", "2"), sets(3, rule.id, "id", "x")];
        assert_eq!(fold(rule.clone(), &events).record, rule);
    }

    #[test]
    fn undoing_an_undo_brings_the_event_back() {
        let rule = rule();
        let promoted = at(1, Draft::event(Verb::Promotes, rule.id));
        let undone = at(2, Draft::event(Verb::Retracts, promoted.id));
        let again = at(3, Draft::event(Verb::Retracts, undone.id));
        assert!(fold(rule.clone(), std::slice::from_ref(&promoted)).golden);
        assert!(!fold(rule.clone(), &[promoted.clone(), undone.clone()]).golden);
        assert!(fold(rule, &[again, undone, promoted]).golden);
    }

    #[test]
    fn a_circle_of_undos_is_void_and_ends() {
        let rule = rule();
        let (a, b) = (Id::random().unwrap(), Id::random().unwrap());
        let circle: Vec<_> = [(a, b), (b, a)]
            .into_iter()
            .map(|(id, target)| {
                let mut draft = Draft::event(Verb::Retracts, target);
                draft.put("id", id.as_str());
                draft.finish().unwrap()
            })
            .collect();
        assert!(live_events(&circle).is_empty());
        assert_eq!(fold(rule, &circle).state, Lifecycle::Active);
    }

    #[test]
    fn a_successor_makes_superseded() {
        let rule = rule();
        let by = Id::random().unwrap();
        let mut draft = Draft::event(Verb::Retracts, rule.id);
        draft.put("by", by.as_str());
        let folded = fold(rule, &[at(1, draft)]);
        assert_eq!((folded.state, folded.superseded_by), (Lifecycle::Superseded, Some(by)));
    }
}
