//! Records that count as one: see [`sighting`].
//!
//! Each record is put as if it stood alone, and its fingerprint is noted. Before the batch is committed every group that changed
//! is counted anew from the table `sighting`, so that the result is the same whatever came in which order and batch.
//!
//! [`sighting`]: crate::record::sighting

use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value as Json};

use super::{Batch, Index};
use crate::error::{Doing, Result};
use crate::record::sighting::{Member, Place, Tally, fingerprint_of, places};
use crate::record::{Folded, Id, Time};

/// The state of a record that counts as a sighting of another one.
const SIGHTING: &str = "sighting";

/// What is known about a failure with a certain fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The record that is shown, when it holds.
    pub shown: Option<Id>,
    /// The last retraction of a record with this fingerprint, in microseconds since 1970.
    pub retracted: Option<i64>,
}

/// One row of the table.
struct Noted {
    member: Member,
    state: String,
    shown: Option<String>,
}

impl Batch<'_> {
    /// Notes the fingerprint of a record that was just put as if it stood alone.
    pub(super) fn put_sighting(&mut self, folded: &Folded) -> Result<()> {
        let id = folded.record.id;
        self.remove_sighting(id)?;
        let Some(fingerprint) = fingerprint_of(&folded.record) else { return Ok(()) };
        let doing = || format!("note the fingerprint of {id}");
        let mut statement = self
            .transaction
            .prepare_cached(
                "INSERT INTO sighting (id, fingerprint, created, retracted, state, validated, violated, breached, sighted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .doing(doing)?;
        let own = Tally::of(folded);
        statement
            .execute(params![
                id.as_str(),
                fingerprint,
                folded.record.created.micros(),
                folded.retracted.map(Time::micros),
                folded.state.name(),
                own.validated,
                own.violated,
                own.breached,
                own.sighted,
            ])
            .doing(doing)?;
        self.regrouped.insert(fingerprint.to_owned());
        Ok(())
    }

    /// Forgets the fingerprint of a record that is put anew or goes.
    pub(super) fn remove_sighting(&mut self, id: Id) -> Result<()> {
        let doing = || format!("forget the fingerprint of {id}");
        let mut statement =
            self.transaction.prepare_cached("DELETE FROM sighting WHERE id = ?1 RETURNING fingerprint").doing(doing)?;
        let fingerprint: Option<String> =
            statement.query_row([id.as_str()], |row| row.get(0)).optional().doing(doing)?;
        self.regrouped.extend(fingerprint);
        Ok(())
    }

    /// Counts every group that changed.
    pub(super) fn regroup(&mut self) -> Result<()> {
        for fingerprint in std::mem::take(&mut self.regrouped) {
            let noted = self.noted(&fingerprint)?;
            let members: Vec<_> = noted.iter().map(|noted| noted.member.clone()).collect();
            for (noted, place) in noted.iter().zip(places(&members)) {
                // The row of a sighting changes with what it is a sighting of alone.
                if place.shown == noted.member.id || noted.shown.as_deref() != Some(place.shown.as_str()) {
                    self.put_place(noted, place)?;
                }
            }
        }
        Ok(())
    }

    fn noted(&self, fingerprint: &str) -> Result<Vec<Noted>> {
        let doing = || "read the sightings".to_owned();
        let mut statement = self
            .transaction
            .prepare_cached(
                "SELECT id, created, retracted, validated, violated, breached, sighted, state, shown FROM sighting
                 WHERE fingerprint = ?1",
            )
            .doing(doing)?;
        let rows = statement.query_map([fingerprint], |row| {
            let own =
                Tally { validated: row.get(3)?, violated: row.get(4)?, breached: row.get(5)?, sighted: row.get(6)? };
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, own, row.get(7)?, row.get(8)?))
        });
        let mut noted = Vec::new();
        for row in rows.doing(doing)? {
            let (id, created, retracted, own, state, shown) = row.doing(doing)?;
            let member = Member { id: id.parse()?, created, retracted, own };
            noted.push(Noted { member, state, shown });
        }
        Ok(noted)
    }

    fn put_place(&self, noted: &Noted, place: Place) -> Result<()> {
        let id = noted.member.id;
        let doing = || format!("write the row of {id}");
        let mut statement = self.transaction.prepare_cached("SELECT front FROM record WHERE id = ?1").doing(doing)?;
        let front: String = statement.query_row([id.as_str()], |row| row.get(0)).doing(doing)?;
        let mut front: Map<String, Json> =
            serde_json::from_str(&front).map_err(|_| rusqlite::Error::InvalidQuery).doing(doing)?;
        let is_shown = place.shown == id;
        let state = if is_shown { noted.state.as_str() } else { SIGHTING };
        for (key, count) in [
            ("validated", place.tally.validated),
            ("violated", place.tally.violated),
            ("breached", place.tally.breached),
            ("sighted", place.tally.sighted),
        ] {
            front.insert(key.into(), Json::from(count));
        }
        front.insert("state".into(), Json::from(state));
        front.shift_remove("sighting_of");
        if !is_shown {
            front.insert("sighting_of".into(), Json::from(place.shown.as_str()));
        }
        let mut statement =
            self.transaction.prepare_cached("UPDATE record SET front = ?2, state = ?3 WHERE id = ?1").doing(doing)?;
        statement.execute(params![id.as_str(), Json::Object(front).to_string(), state]).doing(doing)?;
        let mut statement =
            self.transaction.prepare_cached("UPDATE sighting SET shown = ?2 WHERE id = ?1").doing(doing)?;
        statement.execute([id.as_str(), place.shown.as_str()]).map(drop).doing(doing)
    }
}

impl Index {
    /// Returns what is known about a failure with this fingerprint.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn seen(&self, fingerprint: &str) -> Result<Seen> {
        let doing = || "look a fingerprint up".to_owned();
        let shown: Option<String> = self
            .conn
            .query_row(
                "SELECT id FROM sighting WHERE fingerprint = ?1 AND shown = id AND state = 'active'
                 ORDER BY created DESC, id DESC LIMIT 1",
                [fingerprint],
                |row| row.get(0),
            )
            .optional()
            .doing(doing)?;
        let retracted: Option<i64> = self
            .conn
            .query_row("SELECT max(retracted) FROM sighting WHERE fingerprint = ?1", [fingerprint], |row| row.get(0))
            .doing(doing)?;
        let shown = shown.map(|id| id.parse()).transpose()?;
        Ok(Seen { shown, retracted })
    }

    /// Returns the record that is shown for this one; itself for all but sightings.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn shown_for(&self, id: Id) -> Result<Id> {
        let doing = || format!("look {id} up");
        let mut statement = self.conn.prepare_cached("SELECT shown FROM sighting WHERE id = ?1").doing(doing)?;
        let shown: Option<String> =
            statement.query_row([id.as_str()], |row| row.get(0)).optional().doing(doing)?.flatten();
        shown.map_or(Ok(id), |shown| shown.parse())
    }

    /// Returns the records that count as sightings of this one, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sightings_of(&self, id: Id) -> Result<Vec<Id>> {
        let doing = || format!("read the sightings of {id}");
        let mut statement = self
            .conn
            .prepare_cached("SELECT id FROM sighting WHERE shown = ?1 AND id <> ?1 ORDER BY created, id")
            .doing(doing)?;
        let ids = statement.query_map([id.as_str()], |row| row.get::<_, String>(0)).doing(doing)?;
        ids.collect::<rusqlite::Result<Vec<_>>>().doing(doing)?.iter().map(|id| id.parse()).collect()
    }
}
