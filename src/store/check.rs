//! Comparing spool, ledger and index, file by file.

use super::Store;
use crate::error::Result;
use crate::index::{Difference, Index, compare};

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    pub records: u64,
    pub events: u64,
    /// Files of the ledger that are no records, with the reason; ids that stand for two files are among them.
    pub malformed: Vec<(String, String)>,
    /// How the index differs from the ledger.
    pub differences: Vec<Difference>,
    /// What SQLite says of the database.
    pub integrity: Vec<String>,
    /// Spool entries that could not be read and were put aside.
    pub bad_entries: Vec<String>,
    /// Records that wait in the spool.
    pub pending: usize,
    /// What was mended.
    pub fixed: Vec<String>,
}

impl Report {
    /// Tells whether nothing needs anybody.
    pub fn is_clean(&self) -> bool {
        self.malformed.is_empty()
            && self.differences.is_empty()
            && self.integrity.is_empty()
            && self.bad_entries.is_empty()
            && self.pending == 0
    }
}

impl Store {
    /// Compares the three stores; with `fix` the index is made again when it differs. The ledger's content is never touched.
    ///
    /// # Errors
    /// When the lock stays taken, or the ledger cannot be read.
    pub fn check(&self, fix: bool) -> Result<Report> {
        let mut report = Report::default();
        if self.ledger().tip_id()?.is_none() && !self.repo.elf_dir().is_dir() {
            return Ok(report);
        }
        self.locked("check", |lock| {
            let drained = self.drain(lock, Vec::new(), &mut |_, _| {});
            if let Err(error) = drained {
                self.say(&format!("queued records could not be committed: {error}"));
            }
            let ledger = self.ledger();
            let tip = ledger.tip()?;
            self.catch_up(lock, &ledger, tip, None)?;
            let mut expected = Index::in_memory()?;
            self.fill(lock, &mut expected, &ledger, tip, None)?;
            self.compare_index(lock, &expected, &mut report)?;
            if fix && !(report.differences.is_empty() && report.integrity.is_empty()) {
                let count = report.differences.len() + report.integrity.len();
                self.rebuild(lock)?;
                report.differences.clear();
                report.integrity.clear();
                self.compare_index(lock, &expected, &mut report)?;
                report.fixed.push(format!("made the index again, which had {count} differences"));
            }
            let counts = expected.counts()?;
            let count = |key: &str| counts.get(key).and_then(serde_json::Value::as_u64).unwrap_or_default();
            report.records = count("records");
            report.events = count("events");
            report.malformed = expected.misfits()?;
            report.bad_entries = self.spool.bad();
            report.pending = self.spool.len();
            Ok(())
        })?;
        Ok(report)
    }

    fn compare_index(&self, lock: &crate::lock::RepoLock<'_>, expected: &Index, report: &mut Report) -> Result<()> {
        let actual = Index::create(self.repo.elf_dir(), lock)?;
        match actual.integrity().and_then(|problems| {
            report.integrity = problems;
            actual.full_text_integrity(lock)
        }) {
            Ok(()) => {}
            Err(error) => report.integrity.push(error.to_string()),
        }
        match compare(&actual, expected) {
            Ok(differences) => report.differences = differences,
            Err(error) if Index::is_damage(&error) => report.integrity.push(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
