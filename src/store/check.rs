//! Comparing spool, ledger and index, file by file.

use git2::Oid;

use super::Store;
use super::catch_up::Unreadable;
use super::in_tree::Orphan;
use crate::error::Result;
use crate::index::{Difference, Index, compare};
use crate::ledger::Tip;
use crate::lock::RepoLock;
use crate::repo::parse_oid;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    pub records: u64,
    pub events: u64,
    /// Files of the ledger that are no records, with the reason; ids that stand for two files are among them.
    pub malformed: Vec<(String, String)>,
    /// Records that look as if they held a secret: id, and rules with positions.
    pub secrets: Vec<(String, String)>,
    /// How the index differs from the ledger.
    pub differences: Vec<Difference>,
    /// What SQLite says of the database.
    pub integrity: Vec<String>,
    /// Spool entries that could not be read and were put aside.
    pub bad_entries: Vec<String>,
    /// Records that wait in the spool.
    pub pending: usize,
    /// Set when what waits does so for a commit of the user's.
    pub waits: bool,
    /// What is left of worktrees that are gone.
    pub orphans: Vec<String>,
    /// Files that HEAD once had and that were taken back with git; nothing is wrong with that.
    pub taken_back: Vec<String>,
    /// What was mended.
    pub fixed: Vec<String>,
}

impl Report {
    /// Tells whether nothing needs anybody.
    pub fn is_clean(&self) -> bool {
        self.malformed.is_empty()
            && self.secrets.is_empty()
            && self.differences.is_empty()
            && self.integrity.is_empty()
            && self.bad_entries.is_empty()
            && self.orphans.is_empty()
            && (self.pending == 0 || self.waits)
    }
}

impl Store {
    /// Compares the three stores; with `fix` the index is made again when it differs. The ledger's content is never touched.
    ///
    /// # Errors
    /// When the lock stays taken, or the ledger cannot be read.
    pub fn check(&self, fix: bool) -> Result<Report> {
        self.with_promised(|| self.check_once(fix))
    }

    fn check_once(&self, fix: bool) -> Result<Report> {
        let mut report = Report::default();
        if self.ledger().tip_id()?.is_none() && !self.repo.elf_dir().is_dir() {
            return Ok(report);
        }
        self.locked("check", |lock| {
            if let Some(changed) = Index::changed_by_others(&self.index_dir, lock) {
                self.compare_changed(lock, &changed, &mut report)?;
                if report.differences.is_empty() && report.integrity.is_empty() {
                    changed.accept(lock);
                } else if !fix {
                    return self.count_rest(&changed, &mut report);
                }
            }
            let found = report.differences.len() + report.integrity.len();
            if let Err(error) = self.drain(lock, Vec::new(), &mut |_, _| {}) {
                self.say(&format!("queued records could not be committed: {error}"));
            }
            let ledger = self.ledger();
            self.follow(lock, &ledger, self.healed_tip(lock, &ledger)?)?;
            let mut expected = Index::in_memory()?;
            let goal = self.goal(&ledger, ledger.tip()?, Unreadable::IsNoted)?;
            self.fill(lock, &mut expected, &goal)?;
            if let Some(tip) = goal.tip {
                self.find_secrets(tip.tree, &mut report)?;
            }
            self.compare_index(lock, &expected, &mut report)?;
            let count = found + report.differences.len() + report.integrity.len();
            if fix && count == 0 {
                // The cache of the commit graph has nothing to be compared with, and is soon made anew.
                Index::create(&self.index_dir, lock)?.forget_findings(lock)?;
            }
            if fix && count > 0 {
                self.make_again(lock, &goal)?;
                self.compare_index(lock, &expected, &mut report)?;
                report.fixed.push(format!("made the index again, which had {count} differences"));
            }
            self.count_rest(&expected, &mut report)
        })?;
        Ok(report)
    }

    /// Compares an index that somebody else changed with the ledger as it was when the index was made.
    fn compare_changed(&self, lock: &RepoLock<'_>, changed: &Index, report: &mut Report) -> Result<()> {
        let ledger = self.ledger();
        let tip = self.healed_tip(lock, &ledger)?;
        let tree = changed.stamp().ok().flatten().and_then(|stamp| parse_oid(&stamp.tree).ok());
        let then =
            tip.map(|tip| Tip { tree: tree.filter(|tree| ledger.is_readable(*tree)).unwrap_or(tip.tree), ..tip });
        let mut expected = Index::in_memory()?;
        let goal = self.goal(&ledger, then, Unreadable::IsNoted)?;
        self.fill(lock, &mut expected, &goal)?;
        find_differences(lock, changed, &expected, report)
    }

    /// Counts records, and lists what is wrong beside the index.
    fn count_rest(&self, expected: &Index, report: &mut Report) -> Result<()> {
        let counts = expected.counts()?;
        let count = |key: &str| counts.get(key).and_then(serde_json::Value::as_u64).unwrap_or_default();
        report.records = count("records");
        report.events = count("events");
        report.malformed = expected.misfits()?;
        report.bad_entries = self.spool.bad();
        report.pending = self.spool.len();
        report.waits = self.config.waits_for_flush();
        if self.ledger().is_in_tree() {
            let ledger = self.ledger();
            report.taken_back = self.taken_back(&ledger, ledger.tip()?)?;
            report.orphans = self.orphans().iter().map(Orphan::describe).collect();
        }
        Ok(())
    }

    /// Looks for secrets in every record of the ledger. What cannot be read is in the report already.
    fn find_secrets(&self, tree: Oid, report: &mut Report) -> Result<()> {
        let ledger = self.ledger();
        ledger.changes(None, Some(tree), &|_| true, &mut |change| {
            if let Some(item) = change.new_file()
                && let Ok(record) = ledger.record_at(&change.path, item)
                && let Some(problem) = self.secret_in(&record, &ledger.blob(item.oid)?)
            {
                report.secrets.push((record.id.to_string(), problem));
            }
            Ok(())
        })
    }

    fn compare_index(&self, lock: &RepoLock<'_>, expected: &Index, report: &mut Report) -> Result<()> {
        let actual = Index::create(&self.index_dir, lock)?;
        find_differences(lock, &actual, expected, report)
    }
}

fn find_differences(lock: &RepoLock<'_>, actual: &Index, expected: &Index, report: &mut Report) -> Result<()> {
    report.integrity.clear();
    report.differences.clear();
    match actual.integrity().and_then(|problems| {
        report.integrity = problems;
        actual.full_text_integrity(lock)
    }) {
        Ok(()) => {}
        Err(error) => report.integrity.push(error.to_string()),
    }
    match compare(actual, expected) {
        Ok(differences) => report.differences = differences,
        Err(error) if Index::is_damage(&error) => report.integrity.push(error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(())
}
