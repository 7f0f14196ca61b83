//! Sightings: records of one failure, told by their fingerprint, count as one.
//!
//! Nobody can know, without waiting for everybody else, that a failure was recorded before: twelve writers may hit it at once,
//! and twelve clones may record it before they unite. So each may write a record of its own, and they are counted as one
//! wherever records are read. The result depends on the set of records and events alone:
//!
//! * The first of a group by (created, id) is shown, and its recording is the first sighting.
//! * Every later one is a sighting of it. Evidence about a sighting counts for the record that is shown.
//! * A retraction of the record that is shown covers what was recorded until then. What is recorded later is a new record: the
//!   failure came back. Undoing the retraction joins them again.
//! * A sighting that is itself retracted does not count, and stands by itself as what it is, retracted.

use super::{Folded, Id, Kind, Record, fingerprint};

/// Returns what makes a failure known again: a fingerprint that was computed, not typed.
pub fn fingerprint_of(record: &Record) -> Option<&str> {
    let is_failure = record.kind == Kind::Failure;
    record.fingerprint.as_deref().filter(|text| is_failure && fingerprint::is_computed(text))
}

/// How often something was said of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub validated: u32,
    pub violated: u32,
    pub breached: u32,
    pub sighted: u32,
}

impl Tally {
    /// Returns what a folded record says of itself.
    pub fn of(folded: &Folded) -> Self {
        let Folded { validated, violated, breached, sighted, .. } = *folded;
        Self { validated, violated, breached, sighted }
    }

    /// Counts the recording as a sighting.
    fn with_recording(self) -> Self {
        Self { sighted: self.sighted.saturating_add(1), ..self }
    }

    fn add(&mut self, other: Self) {
        self.validated = self.validated.saturating_add(other.validated);
        self.violated = self.violated.saturating_add(other.violated);
        self.breached = self.breached.saturating_add(other.breached);
        self.sighted = self.sighted.saturating_add(other.sighted);
    }
}

/// One record of a group.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: Id,
    /// Microseconds since 1970, as in the index.
    pub created: i64,
    /// Since when it is retracted, likewise.
    pub retracted: Option<i64>,
    pub own: Tally,
}

/// Where a record of a group went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The record that is shown for it, which may be itself.
    pub shown: Id,
    /// What is said of it: of a record that is shown, its sightings included.
    pub tally: Tally,
}

/// Finds out which records of a group are shown, and what is said of them; in the order of `members`.
pub fn places(members: &[Member]) -> Vec<Place> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|i| (members[*i].created, members[*i].id));
    let mut places: Vec<Place> =
        members.iter().map(|member| Place { shown: member.id, tally: member.own.with_recording() }).collect();
    let mut first: Option<usize> = None;
    for i in order {
        let member = &members[i];
        match first.filter(|first| members[*first].retracted.is_none_or(|since| member.created <= since)) {
            None => first = Some(i),
            Some(_) if member.retracted.is_some() => {}
            Some(first) => {
                let seen = places[i].tally;
                places[first].tally.add(seen);
                places[i] = Place { shown: members[first].id, tally: member.own };
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(digit: char, created: i64, retracted: Option<i64>) -> Member {
        let id = digit.to_string().repeat(Id::LEN).parse().unwrap();
        Member { id, created, retracted, own: Tally::default() }
    }

    /// (digit of the id, created, retracted since, digit of what is shown for it, how often that was seen)
    type Case = (char, i64, Option<i64>, char, u32);

    #[test]
    fn the_first_is_shown_and_a_retraction_ends_what_it_covers() {
        let cases: [(&str, &[Case]); 6] = [
            ("the earliest is shown", &[('b', 2, None, 'a', 3), ('a', 1, None, 'a', 3), ('c', 3, None, 'a', 3)]),
            ("the id decides at one time", &[('b', 1, None, 'a', 2), ('a', 1, None, 'a', 2)]),
            ("what came before goes with it", &[('a', 1, Some(5), 'a', 2), ('b', 5, None, 'a', 2)]),
            ("what came later is new", &[('a', 1, Some(5), 'a', 1), ('b', 6, None, 'b', 2), ('c', 7, None, 'b', 2)]),
            (
                "a retracted sighting does not count",
                &[('a', 1, None, 'a', 2), ('b', 2, Some(9), 'b', 1), ('c', 3, None, 'a', 2)],
            ),
            ("it came back twice", &[('a', 1, Some(2), 'a', 1), ('b', 3, Some(4), 'b', 1), ('c', 5, None, 'c', 1)]),
        ];
        for (name, case) in cases {
            let members: Vec<_> = case.iter().map(|(id, created, gone, ..)| member(*id, *created, *gone)).collect();
            let places = places(&members);
            for ((id, .., shown, seen), place) in case.iter().zip(&places) {
                assert!(place.shown.as_str().starts_with(*shown), "{name}: {id} is shown as {}", place.shown);
                let first = members.iter().position(|member| member.id == place.shown).unwrap();
                assert_eq!(places[first].tally.sighted, *seen, "{name}: {id}");
            }
        }
    }

    #[test]
    fn evidence_about_a_sighting_counts_for_what_is_shown() {
        let mut members = [member('a', 1, None), member('b', 2, None)];
        members[0].own.sighted = 3;
        members[1].own = Tally { validated: 1, violated: 2, breached: 4, sighted: u32::MAX };
        let tally = places(&members)[0].tally;
        assert_eq!(tally, Tally { validated: 1, violated: 2, breached: 4, sighted: u32::MAX });
    }
}
