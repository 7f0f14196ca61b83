//! Accountability: which rules were broken how often of late.

use std::collections::BTreeSet;

use super::Store;
use crate::error::Result;
use crate::index::Row;
use crate::record::{Id, Time, Verb, live_events};

/// Days that are looked back, as the original did.
pub const BREACH_DAYS: i64 = 7;
/// Breaches of one rule in that time from which each level holds, the gravest first. Numbers and names are the original's.
pub const BREACH_LEVELS: [(u64, &str); 3] = [(10, "crisis"), (5, "probation"), (3, "warning")];

/// A rule that was broken of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breached {
    pub id: Id,
    pub title: String,
    /// Breaches in the last [`BREACH_DAYS`] that nobody took back.
    pub times: u64,
}

impl Breached {
    /// Returns the level that so many breaches make; `None` below the first.
    pub fn level(&self) -> Option<&'static str> {
        BREACH_LEVELS.iter().find(|(from, _)| self.times >= *from).map(|(_, level)| *level)
    }
}

impl Store {
    /// Lists what was broken in the last [`BREACH_DAYS`] and still holds, most often first.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn breached(&self) -> Result<Vec<Breached>> {
        let day = 24 * 60 * 60 * 1_000_000;
        let since = Time::from_micros(Time::now().micros() - BREACH_DAYS * day).expect("a week ago is a time");
        let mut breached = self.read(|index| {
            let recent = index.events(Some(since), None)?;
            let targets: BTreeSet<Id> = recent
                .iter()
                .filter(|event| event.verb() == Some(Verb::Breaches))
                .filter_map(crate::record::Record::target)
                .collect();
            let mut breached = Vec::new();
            for id in targets {
                let events = index.events_of(id)?;
                let counts = live_events(&events).into_iter().filter(|event| {
                    event.verb() == Some(Verb::Breaches) && event.target() == Some(id) && event.created >= since
                });
                let times = counts.count() as u64;
                let row = index.get(id)?.filter(|row| row.text("state") == "active");
                let title = row.as_ref().map(|row: &Row| row.text("title").to_owned());
                breached.extend(title.filter(|_| times > 0).map(|title| Breached { id, title, times }));
            }
            Ok(breached)
        })?;
        breached.sort_by(|a, b| (b.times, a.id).cmp(&(a.times, b.id)));
        Ok(breached)
    }
}
