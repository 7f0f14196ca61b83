//! Staying clear of a `git gc` that removes new objects.
//!
//! git finds out what is in use first and removes the rest later, and a grace of two weeks keeps it off what is just being
//! written. `git gc --prune=now` has no grace: objects that were placed meanwhile are gone, and the ref that moved onto them
//! stays. While it works its process id is in `gc.pid` (git's builtin/gc.c, `lock_repo_for_gc`). So a writer looks for it
//!
//! * before it looks what the ledger has, and before it places objects: a gc that goes on makes the records wait in the spool;
//! * under the ref's lock, right before it moves: a gc that has begun, or taken an object, sends it back to the start;
//! * after it has moved the ref: whoever begins later sees the new value. Whoever began in the milliseconds in between is
//!   waited for, however long that takes, and what is missing then is written again. Until then nobody else may take the records
//!   for committed, so the lock is held.
//!
//! `git prune` by itself leaves no such trace and is not seen.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::refs::Beside;
use crate::error::{Error, Result};
use crate::repo::Repo;
use crate::sys;

/// How long it is waited for while the records can wait instead: a small repository is done by then.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// How long it is waited for once the ref has moved: a gc that takes longer than this began later and has seen it.
pub(super) const PATIENCE_AFTER: Duration = Duration::from_secs(3600);
const STEP: Duration = Duration::from_millis(10);
const KEY: &str = "gc.pruneExpire";
/// Until then git itself believes a `gc.pid` of another machine (builtin/gc.c).
const BELIEVED: Duration = Duration::from_secs(12 * 3600);

/// Waits for a `git gc` that spares nothing new.
///
/// # Errors
/// [`Error::Deferred`] when it goes on for longer.
pub(super) fn wait_until_over(repo: &Repo, patience: Duration) -> Result<()> {
    let path = repo.common_dir().join("gc.pid");
    let start = Instant::now();
    while let Some(who) = at_work(&path, repo) {
        if start.elapsed() >= patience {
            return Err(Error::Deferred { what: format!("git gc removes unused objects, new ones too ({who})") });
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

/// Tells whether a `git gc` that spares nothing new works.
pub(super) fn is_at_work(repo: &Repo) -> bool {
    at_work(&repo.common_dir().join("gc.pid"), repo).is_some()
}

/// A move of the ref that does not happen when the objects may be gone.
pub(super) struct Guarded<'a> {
    pub with: &'a mut dyn Beside,
    pub is_safe: &'a dyn Fn() -> bool,
}

impl Beside for Guarded<'_> {
    fn before(&mut self) -> Result<bool> {
        if (self.is_safe)() { self.with.before() } else { Ok(false) }
    }

    fn after(&mut self) {
        self.with.after();
    }
}

/// Names a live `git gc` that spares nothing new; what cannot be found out counts as one.
fn at_work(path: &Path, repo: &Repo) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (pid, host) = text.trim().split_once(' ')?;
    let who = format!("pid {pid} on {host}");
    let here = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if here.trim() != host {
        let age = fs::metadata(path).and_then(|meta| meta.modified()).ok()?.elapsed().unwrap_or_default();
        return (age < BELIEVED).then_some(who);
    }
    let number = pid.parse().ok()?;
    if !sys::process_is_alive(number) {
        return None;
    }
    let Ok(command) = fs::read_to_string(format!("/proc/{number}/cmdline")) else { return Some(who) };
    let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
    let told = told(&command, &String::from_utf8_lossy(&environment));
    let configured = || repo.settings().ok().and_then(|settings| settings.get(KEY));
    told.or_else(configured).is_some_and(|value| !spares_what_is_new(&value)).then_some(who)
}

/// Returns what a command says of its grace: `--prune=`, else `-c gc.pruneExpire=`, else what the environment has in place of
/// configuration. There it is enough that the key occurs: such a value counts as none of grace.
fn told(command: &str, environment: &str) -> Option<String> {
    let words = || command.split('\0');
    let option = words().filter_map(|word| word.strip_prefix("--prune=")).next_back().map(str::to_owned);
    let own = || {
        let values = words().filter_map(|word| word.split_once('='));
        values.filter(|(key, _)| key.eq_ignore_ascii_case(KEY)).map(|(_, value)| value.to_owned()).next_back()
    };
    let inherited = || environment.to_ascii_lowercase().contains(&KEY.to_ascii_lowercase()).then(|| "now".to_owned());
    option.or_else(own).or_else(inherited)
}

/// Tells whether a value of `--prune` or `gc.pruneExpire` keeps what is being written now; a date may be of today.
fn spares_what_is_new(value: &str) -> bool {
    ["never", "false", "hour", "day", "week", "month", "year"]
        .iter()
        .any(|word| value.to_ascii_lowercase().contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_its_grace_in_three_ways() {
        for (command, environment, expected) in [
            ("git\0gc\0--prune=now", "", Some("now")),
            ("git\0gc\0--prune=now\0--prune=never", "", Some("never")),
            ("git\0-c\0gc.pruneexpire=now\0gc\0-q", "", Some("now")),
            ("git\0-c\0gc.pruneExpire=now\0gc\0--prune=never", "", Some("never")),
            ("git\0gc", "GIT_CONFIG_COUNT=1\0GIT_CONFIG_KEY_0=gc.pruneExpire\0GIT_CONFIG_VALUE_0=now", Some("now")),
            ("git\0gc", "GIT_CONFIG_PARAMETERS='gc.pruneexpire'='now'", Some("now")),
            ("git\0gc\0-q", "HOME=/", None),
        ] {
            assert_eq!(told(command, environment).as_deref(), expected, "{command:?} {environment:?}");
        }
    }

    #[test]
    fn only_a_grace_of_hours_is_one() {
        for (value, spares) in [
            ("now", false),
            ("all", false),
            ("5.minutes.ago", false),
            ("2026-11-24", false),
            ("2.weeks.ago", true),
            ("3 days", true),
            ("never", true),
        ] {
            assert_eq!(spares_what_is_new(value), spares, "{value}");
        }
    }
}
