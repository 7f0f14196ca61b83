//! How long writers waited: one sample for each drain that changed the ledger.
//!
//! A sample is written in the transaction that brings the index up to date, so it costs no fsync and no transaction of its
//! own. The newest [`KEPT`] stay. Samples are no part of what the index says about the ledger: a rebuild leaves them, and the
//! dump has none of them.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::{Batch, Index};
use crate::error::{Doing, Result};
use crate::record::Time;

/// Most samples that are kept.
pub const KEPT: i64 = 1_000;

/// What one drain did, and how long it kept others waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub at: Time,
    pub verb: String,
    /// From the first attempt at the lock to the lock.
    pub waited: Duration,
    /// From the lock to the transaction that writes this.
    pub held: Duration,
    /// Records that it committed.
    pub records: u64,
    /// The longest time that one of the drained spool entries had waited; `None` when they were handed over directly.
    pub oldest: Option<Duration>,
}

/// What samples say together.
#[derive(Clone, Debug, PartialEq)]
pub struct Contention {
    pub drains: u64,
    /// When the earliest of them was taken.
    pub since: Time,
    pub wait_p50: Duration,
    pub wait_p99: Duration,
    pub hold_max: Duration,
    /// The verb that held the lock for `hold_max`.
    pub hold_max_verb: String,
    pub oldest_max: Option<Duration>,
    pub records_mean: f64,
    pub records_max: u64,
}

impl Contention {
    /// Sums samples up; `None` when there are none.
    pub fn of(samples: &[Sample]) -> Option<Self> {
        let longest = samples.iter().max_by_key(|sample| sample.held)?;
        let mut waits: Vec<_> = samples.iter().map(|sample| sample.waited).collect();
        waits.sort_unstable();
        let records: u64 = samples.iter().map(|sample| sample.records).sum();
        #[expect(clippy::cast_precision_loss, reason = "a mean of at most a thousand counts")]
        let records_mean = records as f64 / samples.len() as f64;
        Some(Self {
            drains: samples.len().try_into().unwrap_or(u64::MAX),
            since: samples.iter().map(|sample| sample.at).min()?,
            wait_p50: percentile(&waits, 50)?,
            wait_p99: percentile(&waits, 99)?,
            hold_max: longest.held,
            hold_max_verb: longest.verb.clone(),
            oldest_max: samples.iter().filter_map(|sample| sample.oldest).max(),
            records_mean,
            records_max: samples.iter().map(|sample| sample.records).max()?,
        })
    }
}

/// Picks a percentile by the nearest-rank method: the smallest value that at least `percent` in a hundred do not exceed, the
/// one at rank ⌈percent / 100 × n⌉ of n in ascending order (en.wikipedia.org/wiki/Percentile#The_nearest-rank_method).
fn percentile(ascending: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (percent * ascending.len()).div_ceil(100).max(1);
    ascending.get(rank - 1).copied()
}

impl Batch<'_> {
    /// Adds a sample and drops those beyond the newest `KEPT`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn note_drain(&self, sample: &Sample) -> Result<()> {
        let doing = || "note how long the lock was waited for".to_owned();
        self.transaction
            .execute(
                "INSERT INTO drain (at, verb, wait_us, hold_us, records, oldest_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    sample.at.micros(),
                    sample.verb,
                    micros(sample.waited),
                    micros(sample.held),
                    i64::try_from(sample.records).unwrap_or(i64::MAX),
                    sample.oldest.map(micros),
                ],
            )
            .doing(doing)?;
        let last = self.transaction.last_insert_rowid();
        self.transaction.execute("DELETE FROM drain WHERE n <= ?1", [last - KEPT]).map(drop).doing(doing)
    }
}

impl Index {
    /// Reads the samples since an instant, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn samples(&self, since: Option<Time>) -> Result<Vec<Sample>> {
        let doing = || "read how long the lock was waited for".to_owned();
        let mut statement = self
            .conn
            .prepare("SELECT at, verb, wait_us, hold_us, records, oldest_us FROM drain WHERE at >= ?1 ORDER BY n")
            .doing(doing)?;
        let rows = statement
            .query_map([since.map_or(i64::MIN, Time::micros)], |row| {
                Ok(Sample {
                    at: Time::from_micros(row.get(0)?).ok_or(rusqlite::Error::InvalidQuery)?,
                    verb: row.get(1)?,
                    waited: duration(row.get(2)?),
                    held: duration(row.get(3)?),
                    records: row.get::<_, i64>(4)?.try_into().unwrap_or(0),
                    oldest: row.get::<_, Option<i64>>(5)?.map(duration),
                })
            })
            .doing(doing)?;
        rows.collect::<rusqlite::Result<_>>().doing(doing)
    }

    /// Returns when the write-ahead log was last put back into the database; `None` when that never happened.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_checkpoint(&self) -> Result<Option<Time>> {
        let at = self.conn.query_row("SELECT at FROM checkpoint", [], |row| row.get(0)).optional();
        Ok(at.doing(|| "read when the last checkpoint was".into())?.and_then(Time::from_micros))
    }
}

fn micros(duration: Duration) -> i64 {
    duration.as_micros().try_into().unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Stamp;
    use crate::lock::LockFile;

    fn sample(number: u64) -> Sample {
        Sample {
            at: Time::from_micros(i64::try_from(number).unwrap()).unwrap(),
            verb: format!("verb-{number}"),
            waited: Duration::from_millis(number),
            held: Duration::from_millis(1_000 - number),
            records: number,
            oldest: number.is_multiple_of(2).then(|| Duration::from_secs(number)),
        }
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let ms = |numbers: &[u64]| numbers.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
        let known = ms(&[15, 20, 35, 40, 50]);
        for (percent, expected) in [(5, 15), (30, 20), (40, 20), (50, 35), (99, 50), (100, 50)] {
            assert_eq!(percentile(&known, percent), Some(Duration::from_millis(expected)), "{percent}");
        }
        assert_eq!(percentile(&[], 50), None);
        let hundred: Vec<_> = ms(&(1..=100).collect::<Vec<_>>());
        assert_eq!(percentile(&hundred, 99), Some(Duration::from_millis(99)));
    }

    #[test]
    fn samples_are_summed_up() {
        assert_eq!(Contention::of(&[]), None);
        let sum = Contention::of(&(1..=4).map(sample).collect::<Vec<_>>()).unwrap();
        assert_eq!((sum.drains, sum.records_max, sum.hold_max_verb.as_str()), (4, 4, "verb-1"));
        assert_eq!((sum.wait_p50, sum.wait_p99), (Duration::from_millis(2), Duration::from_millis(4)));
        assert_eq!((sum.hold_max, sum.oldest_max), (Duration::from_millis(999), Some(Duration::from_secs(4))));
        assert!((sum.records_mean - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn the_newest_thousand_stay_and_a_rebuild_leaves_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LockFile::open(dir.path()).unwrap();
        let lock = file.try_lock("test").unwrap().unwrap();
        let mut index = Index::create(dir.path(), &lock).unwrap();
        let stamp = Stamp { ref_name: "refs/elf/memory".into(), ..Stamp::default() };
        let batch = index.begin(&lock).unwrap();
        for number in 1..=1_003 {
            batch.note_drain(&sample(number % 1_000)).unwrap();
        }
        batch.commit(&stamp).unwrap();
        let samples = index.samples(None).unwrap();
        assert_eq!(samples.len(), 1_000);
        assert_eq!((samples[0].verb.as_str(), samples[999].verb.as_str()), ("verb-4", "verb-3"));
        assert_eq!(samples[0], sample(4), "read back as written");
        assert_eq!(index.samples(Time::from_micros(990)).unwrap().len(), 10);
        let mut batch = index.begin(&lock).unwrap();
        batch.clear().unwrap();
        batch.commit(&stamp).unwrap();
        assert_eq!(index.samples(None).unwrap().len(), 1_000);
        let mut dump = Vec::new();
        index.dump(&mut dump).unwrap();
        assert!(!String::from_utf8(dump).unwrap().contains("verb-"), "samples are no part of the dump");
    }

    #[test]
    fn a_checkpoint_leaves_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LockFile::open(dir.path()).unwrap();
        let lock = file.try_lock("test").unwrap().unwrap();
        let mut index = Index::create(dir.path(), &lock).unwrap();
        let before = Time::now();
        index.checkpoint(&lock, u64::MAX).unwrap();
        assert_eq!(index.last_checkpoint().unwrap(), None, "below the limit nothing is done or noted");
        index.checkpoint(&lock, 0).unwrap();
        assert_eq!(index.wal_size(), 0);
        let first = index.last_checkpoint().unwrap().unwrap();
        assert!(before <= first && first <= Time::now());
        let reader = Index::read(dir.path()).unwrap().unwrap();
        let reading = reader.conn.execute_batch("BEGIN; SELECT * FROM stamp");
        reading.unwrap();
        let batch = index.begin(&lock).unwrap();
        batch.note_drain(&sample(1)).unwrap();
        batch.commit(&Stamp::default()).unwrap();
        index.checkpoint(&lock, 0).unwrap();
        assert!(index.wal_size() > 0, "a reader keeps the log");
        assert_eq!(index.last_checkpoint().unwrap(), Some(first), "one that was not completed is not noted");
    }
}
