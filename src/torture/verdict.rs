//! The figures of a run, and what is wrong with them.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::crowd::{Acknowledged, MARK};

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub seconds: f64,
    pub writers: usize,
    pub readers: usize,
    /// The main one included.
    pub worktrees: usize,
    pub file_system: String,
    /// Records of which a process said that they are durable, events included.
    pub acknowledged: usize,
    pub committed: u64,
    pub queued: u64,
    /// Acknowledged records that the ledger has.
    pub found: usize,
    /// Acknowledged records that the ledger has not, by title or id.
    pub missing: Vec<String>,
    /// Ids and titles that the ledger has twice.
    pub duplicated: Vec<String>,
    /// Records that the ledger has and nobody acknowledged: writers that were killed.
    pub unacknowledged: usize,
    pub killed: u64,
    /// Processes that did not end by themselves within a minute.
    pub hung: u64,
    pub writes_failed: u64,
    pub reads: u64,
    pub reads_failed: u64,
    pub user_commits: u64,
    pub user_commits_failed: u64,
    /// Files in the user's commits that are not the user's, and user's commits that are not in the history.
    pub user_findings: Vec<String>,
    /// How often git packed refs and collected garbage meanwhile.
    pub maintenance: u64,
    pub maintenance_failed: u64,
    /// Commits of the ledger.
    pub drains: u64,
    pub p50: Duration,
    pub p99: Duration,
    /// What `git elf check` found afterwards.
    pub check_findings: Vec<String>,
    /// What `git fsck --strict` found afterwards.
    pub fsck_findings: Vec<String>,
    /// What the first processes said that failed.
    pub complaints: Vec<String>,
    /// The directory, when it was kept for somebody to look into.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// Says what must not happen and did; nothing means that every promise was kept.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |count: usize, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        fault(self.missing.len(), "acknowledged and missing");
        fault(self.duplicated.len(), "duplicated");
        fault(number(self.user_commits_failed), "commits of the user failed");
        fault(self.user_findings.len(), "findings in the user's commits");
        fault(number(self.reads_failed), "reads failed");
        fault(number(self.hung), "processes hung");
        fault(self.check_findings.len(), "findings of git elf check");
        fault(self.fsck_findings.len(), "findings of git fsck");
        fault(usize::from(self.acknowledged == 0), "run in which nothing was acknowledged");
        faults
    }

    /// Returns acknowledged records for each second.
    pub fn per_second(&self) -> f64 {
        let count = u32::try_from(self.acknowledged).map_or(f64::INFINITY, f64::from);
        if self.seconds > 0.0 { count / self.seconds } else { 0.0 }
    }

    /// Returns the report as one JSON object.
    pub fn to_json(&self) -> Map<String, Json> {
        let ms = |time: Duration| json!(tenths(time.as_secs_f64() * 1000.0));
        let pairs = [
            ("acknowledged", json!(self.acknowledged)),
            ("found", json!(self.found)),
            ("missing", json!(self.missing)),
            ("duplicated", json!(self.duplicated)),
            ("unacknowledged", json!(self.unacknowledged)),
            ("committed", json!(self.committed)),
            ("queued", json!(self.queued)),
            ("killed", json!(self.killed)),
            ("hung", json!(self.hung)),
            ("writes_failed", json!(self.writes_failed)),
            ("reads", json!(self.reads)),
            ("reads_failed", json!(self.reads_failed)),
            ("user_commits", json!(self.user_commits)),
            ("user_commits_failed", json!(self.user_commits_failed)),
            ("user_findings", json!(self.user_findings)),
            ("maintenance", json!(self.maintenance)),
            ("maintenance_failed", json!(self.maintenance_failed)),
            ("drains", json!(self.drains)),
            ("per_second", json!(tenths(self.per_second()))),
            ("p50_ms", ms(self.p50)),
            ("p99_ms", ms(self.p99)),
            ("writers", json!(self.writers)),
            ("readers", json!(self.readers)),
            ("worktrees", json!(self.worktrees)),
            ("file_system", json!(self.file_system)),
            ("seconds", json!(tenths(self.seconds))),
            ("check_findings", json!(self.check_findings)),
            ("fsck_findings", json!(self.fsck_findings)),
            ("complaints", json!(self.complaints)),
            ("faults", json!(self.faults())),
            ("kept", json!(self.kept)),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A record as it stands in the ledger.
#[derive(Clone, Debug)]
pub(super) struct Filed {
    pub id: String,
    pub title: String,
}

/// What a comparison yields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub found: usize,
    pub missing: Vec<String>,
    pub duplicated: Vec<String>,
    pub unacknowledged: usize,
}

/// Compares what was acknowledged with what the ledger has.
pub(super) fn compare(acknowledged: &[Acknowledged], filed: &[Filed]) -> Comparison {
    let mut duplicated = Vec::new();
    let mut by_id: HashMap<&str, &str> = HashMap::new();
    let mut titles: HashSet<&str> = HashSet::new();
    for Filed { id, title } in filed {
        if by_id.insert(id, title).is_some() {
            duplicated.push(id.clone());
        }
        if title.starts_with(MARK) && !titles.insert(title) {
            duplicated.push(title.clone());
        }
    }
    let mut handed_out: HashSet<&str> = HashSet::new();
    let mut found = 0;
    let mut missing = Vec::new();
    for Acknowledged { id, title } in acknowledged {
        if let Some(id) = id.as_deref()
            && !handed_out.insert(id)
        {
            duplicated.push(id.to_owned());
        }
        let there = match (id.as_deref(), title.as_deref()) {
            (Some(id), Some(title)) => by_id.get(id) == Some(&title),
            (Some(id), None) => by_id.contains_key(id),
            (None, title) => title.is_some_and(|title| titles.contains(title)),
        };
        if there {
            found += 1;
        } else {
            missing.push(title.clone().or_else(|| id.clone()).unwrap_or_default());
        }
    }
    Comparison { found, missing, duplicated, unacknowledged: filed.len().saturating_sub(found) }
}

/// Returns the time that this share (in percent) of the times does not exceed; nearest rank.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Report {
        Report { acknowledged: 3, found: 3, ..Report::default() }
    }

    fn acknowledged(id: Option<&str>, title: Option<&str>) -> Acknowledged {
        Acknowledged { id: id.map(str::to_owned), title: title.map(str::to_owned) }
    }

    fn filed(pairs: &[(&str, &str)]) -> Vec<Filed> {
        pairs.iter().map(|(id, title)| Filed { id: (*id).into(), title: (*title).into() }).collect()
    }

    #[test]
    fn every_broken_promise_is_a_fault_and_nothing_else_is() {
        assert_eq!(sound().faults(), Vec::<String>::new());
        let one = || vec!["x".to_owned()];
        let broken = [
            Report { missing: one(), ..sound() },
            Report { duplicated: one(), ..sound() },
            Report { user_commits_failed: 1, ..sound() },
            Report { user_findings: one(), ..sound() },
            Report { reads_failed: 1, ..sound() },
            Report { hung: 1, ..sound() },
            Report { check_findings: one(), ..sound() },
            Report { fsck_findings: one(), ..sound() },
            Report::default(),
        ];
        for report in broken {
            assert_eq!(report.faults().len(), 1, "{report:?}");
        }
        let usual = Report { killed: 9, unacknowledged: 2, queued: 1, writes_failed: 1, ..sound() };
        assert_eq!(usual.faults(), Vec::<String>::new());
    }

    #[test]
    fn a_lost_a_doubled_and_an_altered_record_are_noticed() {
        let said = [
            acknowledged(Some("a"), Some("torture 1")),
            acknowledged(None, Some("torture 2")),
            acknowledged(Some("e"), None),
        ];
        let whole = filed(&[("a", "torture 1"), ("b", "torture 2"), ("e", "validates"), ("k", "torture 9")]);
        let expected = Comparison { found: 3, unacknowledged: 1, ..Comparison::default() };
        assert_eq!(compare(&said, &whole), expected, "a killed writer may have left one that nobody acknowledged");

        for lost in 0..3 {
            let mut rest = whole.clone();
            rest.remove(lost);
            assert_eq!(compare(&said, &rest).missing.len(), 1, "without {}", whole[lost].title);
        }
        let mut altered = whole.clone();
        altered[0].title = "torture 3".into();
        assert_eq!(compare(&said, &altered).missing, ["torture 1"]);

        let twice = [whole.clone(), filed(&[("a", "validates")])].concat();
        assert_eq!(compare(&said, &twice).duplicated, ["a"]);
        let twice = [whole.clone(), filed(&[("c", "torture 2")])].concat();
        assert_eq!(compare(&said, &twice).duplicated, ["torture 2"]);
        let handed_out_twice = [&said[..], &said[..1]].concat();
        assert_eq!(compare(&handed_out_twice, &whole).duplicated, ["a"]);
    }

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
