//! The stores as they are after a check: what waits, how the index is set, who waited for the lock, what was healed.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::{Finding, Level};
use crate::error::{Error, Result};
use crate::index::{Contention, Index};
use crate::ledger::signing_failure;
use crate::record::Time;
use crate::store::{HEALED, Store};
use crate::sys::{self, FileSystem};

/// How far back waits are looked at.
const LATELY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most lines of the healing log that are shown, and most bytes of it that are read.
const HEALED_MAX: usize = 20;
const HEALED_BYTES: u64 = 64 * 1024;

pub(super) fn findings(store: &Store) -> Vec<Finding> {
    let mut findings = vec![spool(store)];
    match index(store) {
        Ok(of_index) => findings.extend(of_index),
        Err(error) => {
            findings.push(Finding { next: "git elf check --fix".into(), ..Finding::failed("index", &error) });
        }
    }
    findings.extend(healed(&store.dir().join(HEALED)));
    findings
}

/// Describes why a check could not be made. For a ledger that cannot be read it says where to find an earlier state.
pub fn unchecked(store: &Store, error: &Error) -> Finding {
    let found = Finding::failed("check", error);
    if store.ledger().tip().is_ok() {
        return found;
    }
    let name = &store.config().ledger_ref;
    let next = format!(
        "git fsck says what is damaged; logs/{name} below the git directory has the earlier commits of the ref"
    );
    let stamp = Index::read(store.index_dir()).ok().flatten().and_then(|index| index.stamp().ok().flatten());
    let known = stamp.filter(|stamp| stamp.ref_name == *name && !stamp.tip.is_empty());
    let details = known.map(|stamp| format!("the index was made from commit {}", stamp.tip)).into_iter().collect();
    Finding { next, details, ..found }
}

fn spool(store: &Store) -> Finding {
    match store.spool().len() {
        0 => Finding::ok("spool", "no record waits"),
        count if store.config().waits_for_flush() => {
            let records = if count == 1 { "record waits" } else { "records wait" };
            Finding::ok("spool", format!("{count} {records} for git elf flush, or for your commit of memory/"))
        }
        count => {
            let age = store.spool().longest_wait().unwrap_or_default().as_secs();
            let records = if count == 1 { "record waits" } else { "records wait" };
            let what = format!("{count} {records} in the spool and could not be committed, for up to {age} s");
            if let Some((reason, since)) = signing_failure(store.repo()).filter(|_| store.config().signs) {
                let what = format!("{what}: signing failed {} s ago: {reason}", since.as_secs());
                let next = "mend what commit.gpgSign asks for; signing is tried again after a minute, or when gpg.* or user.* change";
                return Finding::new(Level::Problem, "spool", what, next);
            }
            Finding::new(Level::Problem, "spool", what, "git elf check says why; they are kept until that is mended")
        }
    }
}

fn index(store: &Store) -> Result<Vec<Finding>> {
    let Some(index) = Index::read(store.index_dir())? else { return Ok(Vec::new()) };
    let is_network = FileSystem::of(store.index_dir()).is_network;
    let since =
        i64::try_from(LATELY.as_micros()).ok().and_then(|lately| Time::from_micros(Time::now().micros() - lately));
    Ok(vec![
        settings(&index.settings()?, is_network),
        log_size(index.wal_size(), store.config().wal_limit),
        waits(Contention::of(&index.samples(since)?).as_ref(), store.config().lock_timeout),
    ])
}

fn settings(settings: &Map<String, Json>, is_network: bool) -> Finding {
    let mut wrong = Vec::new();
    for (name, expected) in [("defensive", json!(true)), ("trusted_schema", json!(0)), ("query_only", json!(1))] {
        if settings.get(name) != Some(&expected) {
            wrong.push(format!("{name} is not {expected}"));
        }
    }
    let mode = settings.get("journal_mode").and_then(Json::as_str).unwrap_or_default();
    if (mode == "wal") == is_network {
        wrong.push(format!("journal_mode is {mode}"));
    }
    if wrong.is_empty() {
        return Finding::ok("index", format!("the index is set as it should be (journal_mode {mode})"));
    }
    let next = "close other programs that have the index open, then git elf check";
    Finding::new(Level::Problem, "index", "settings of the index are not those it needs", next).with(wrong)
}

fn log_size(size: u64, limit: u64) -> Finding {
    let what = format!("the index's log has {size} bytes (elf.walLimit {limit})");
    if size <= limit {
        return Finding::ok("wal", what);
    }
    let next = "a reader that is still open keeps it; when that has ended, the next git elf record puts it back";
    Finding::new(Level::Warn, "wal", what, next)
}

fn waits(sum: Option<&Contention>, timeout: Duration) -> Finding {
    let Some(sum) = sum else { return Finding::ok("waits", "nobody wrote in the last 7 days") };
    let (wait, hold) = (sum.wait_p99.as_secs_f64(), sum.hold_max.as_secs_f64());
    let seconds = timeout.as_secs_f64();
    let what = format!("in 7 days 99 of 100 waits for the lock took at most {wait:.3} s (elf.lockTimeout {seconds} s)");
    if timeout.is_zero() || sum.wait_p99 * 2 <= timeout {
        return Finding::ok("waits", what);
    }
    let verb = &sum.hold_max_verb;
    let next = format!(
        "git elf {verb} held it longest, {hold:.3} s: see git elf stats; git config elf.lockTimeout SECONDS waits longer"
    );
    Finding::new(Level::Warn, "waits", what, next)
}

/// Reads what was healed lately: lines of an RFC 3339 time, a tab and a text, the newest last.
fn healed(path: &Path) -> Option<Finding> {
    let text = tail(path)?;
    let lines: Vec<_> = text.lines().rev().filter_map(healed_line).take(HEALED_MAX).collect();
    let (at, _) = lines.first()?;
    let things = if lines.len() == 1 { "thing was" } else { "things were" };
    let what = format!("{} {things} healed without asking, the last at {at}", lines.len());
    let details = lines.iter().map(|(at, text)| format!("{at} {text}")).collect();
    Some(Finding::new(Level::Info, "healed", what, "nothing needs to be done").with(details))
}

fn healed_line(line: &str) -> Option<(Time, &str)> {
    let (at, text) = line.split_once('\t')?;
    let at: std::result::Result<Time, Error> = at.parse();
    Some((at.ok()?, text))
}

fn tail(path: &Path) -> Option<String> {
    let mut file = sys::open_own(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(HEALED_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(HEALED_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Sample;

    fn waited(seconds: u64) -> Option<Contention> {
        let sample = Sample {
            at: Time::now(),
            verb: "import".into(),
            waited: Duration::from_secs(seconds),
            held: Duration::from_secs(3),
            records: 1,
            oldest: None,
        };
        Contention::of(&[sample])
    }

    #[test]
    fn waits_beyond_half_of_the_timeout_are_a_warning() {
        let timeout = Duration::from_secs(10);
        assert_eq!(waits(None, timeout).level, Level::Ok);
        assert_eq!(waits(waited(5).as_ref(), timeout).level, Level::Ok);
        let long = waits(waited(6).as_ref(), timeout);
        assert_eq!(long.level, Level::Warn);
        assert!(long.next.contains("git elf import held it longest, 3.000 s"), "{}", long.next);
        assert_eq!(waits(waited(1).as_ref(), Duration::ZERO).level, Level::Ok, "who does not wait does not wait long");
    }

    #[test]
    fn a_log_beyond_its_limit_is_a_warning() {
        assert_eq!(log_size(10, 10).level, Level::Ok);
        assert_eq!(log_size(11, 10).level, Level::Warn);
    }

    #[test]
    fn journal_modes_are_judged_by_the_file_system() {
        let with = |mode: &str| {
            let pairs = [("defensive", json!(true)), ("trusted_schema", json!(0)), ("query_only", json!(1))];
            let mut map: Map<_, _> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            map.insert("journal_mode".into(), json!(mode));
            map
        };
        for (mode, is_network, level) in [
            ("wal", false, Level::Ok),
            ("delete", false, Level::Problem),
            ("wal", true, Level::Problem),
            ("delete", true, Level::Ok),
        ] {
            assert_eq!(settings(&with(mode), is_network).level, level, "{mode} {is_network}");
        }
    }

    #[test]
    fn the_newest_lines_of_the_healing_log_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("healed.log");
        assert_eq!(healed(&path), None);
        let lines: Vec<_> = (0..30).map(|n| format!("2026-01-01T00:00:{n:02}Z\tremoved {n}")).collect();
        #[allow(clippy::disallowed_methods, reason = "a file of a test need not survive a power cut")]
        std::fs::write(&path, format!("{}\nno time\tx\n\n", lines.join("\n"))).unwrap();
        let found = healed(&path).unwrap();
        assert_eq!((found.level, found.details.len()), (Level::Info, 20));
        assert_eq!(found.details[0], "2026-01-01T00:00:29Z removed 29");
    }
}
