//! Whether a failure was seen before.
//!
//! Both questions are asked without waiting: an answer that is behind costs nothing, since records of one failure are counted
//! together wherever they are read.

use super::Store;
use crate::error::Result;
use crate::index::{Index, Seen};
use crate::record::{Id, Record, Time};

impl Store {
    /// Returns what is known about a failure with this fingerprint; with `fresh` after what waits was committed, if that needs
    /// no waiting.
    pub fn seen(&self, fingerprint: &str, fresh: bool) -> Seen {
        // Whoever records has a record to make durable, whatever the index says.
        self.glance(fresh, |index| index.seen(fingerprint)).unwrap_or_default()
    }

    /// Returns the record that is shown for this one, and how often it was seen; `None` when that is not known yet. `fresh` is as
    /// in [`Store::seen`].
    pub fn sighted(&self, id: Id, fresh: bool) -> Option<(Id, u64)> {
        let (shown, row) = self.glance(fresh, |index| {
            let shown = index.shown_for(id)?;
            Ok((shown, index.get(shown)?))
        })?;
        Some((shown, row?.0.get("sighted")?.as_u64()?))
    }

    fn glance<T>(&self, fresh: bool, ask: impl FnOnce(&Index) -> Result<T>) -> Option<T> {
        if fresh {
            return self.read_at_once(ask).ok();
        }
        let index = Index::read(self.index_dir()).ok().flatten()?;
        ask(&index).ok()
    }

    /// Returns the records that count as sightings of this one, as they were written, each with the events about it.
    ///
    /// # Errors
    /// When the index or a record cannot be read.
    pub fn sightings(&self, id: Id) -> Result<Vec<(Record, Vec<Record>)>> {
        let found = self.read(|index| {
            let ids = index.sightings_of(id)?;
            ids.into_iter().map(|id| Ok((id, index.events_of(id)?))).collect::<Result<Vec<_>>>()
        })?;
        found.into_iter().map(|(id, events)| Ok((self.written(id)?, events))).collect()
    }

    /// Returns the first time after every sighting of this record, when that is still to come: a retraction covers what was
    /// recorded until then, also when the clock of another machine is ahead.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn after_sightings(&self, id: Id) -> Result<Option<Time>> {
        let last = self.read(|index| {
            let ids = index.sightings_of(id)?;
            let rows = ids.into_iter().map(|id| index.get(id)).collect::<Result<Vec<_>>>()?;
            let times = rows.into_iter().flatten().filter_map(|row| row.text("created").parse::<Time>().ok());
            Ok(times.max())
        })?;
        Ok(last.map(Time::next).filter(|time| *time > Time::now()))
    }
}
