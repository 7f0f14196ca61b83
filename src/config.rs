//! Configuration: git config, `.elf.toml` and defaults, resolved once per command.

use std::time::Duration;

use serde::Deserialize;

use crate::error::{Doing, Error, Result};
use crate::record::secret;
use crate::repo::Repo;

/// The ref that holds the ledger when nothing is configured.
pub const DEFAULT_REF: &str = "refs/elf/memory";
/// The value of `elf.ref` that keeps records below `memory/` on the current branch.
pub const IN_TREE: &str = "HEAD";

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// `elf.ref`: the ledger's ref, `refs/elf/…` or `refs/heads/…`; or `HEAD`, the current branch.
    pub ledger_ref: String,
    /// `elf.commit`: when records on the current branch are committed.
    pub commit: Commit,
    /// `elf.lockTimeout`, in seconds: how long to wait for the repository lock. Default 10 s.
    pub lock_timeout: Duration,
    /// `elf.staleLockAge`, in seconds: a lock of git that is younger is never called stale. Default 300 s.
    pub stale_lock_age: Duration,
    /// `elf.walLimit`, in bytes: size of the index's write-ahead log above which it is checkpointed. Default 256 KiB.
    pub wal_limit: u64,
    /// `elf.push`: what pre-push does about records that the remote lacks.
    pub push: Push,
    /// `elf.mainBranch`: the branch that merged means; found out when it is not set.
    pub main_branch: Option<String>,
    /// `ELF_AGENT`, else `elf.agent`, else `ELF_CLIENT`: the name of the coding agent that records.
    pub agent: Option<String>,
    /// `commit.gpgSign`: whether git signs commits, and so the ledger's.
    pub signs: bool,
    /// `elf.allowSecret`, any number of times: rules of the secret scan whose findings are accepted.
    pub allow_secret: Vec<String>,
}

/// When records on the current branch are committed; on any other ref they always are, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// By `git elf flush`, or by the user's own commit of the files.
    Flush,
    /// At once: for repositories that are nothing but a memory.
    Immediate,
}

/// What pre-push does about records that the remote lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Says how many there are.
    Warn,
    /// Says nothing.
    Off,
}

/// `.elf.toml` at the root of the worktree. It is untrusted, so it can select the ref and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tracked {
    r#ref: Option<String>,
}

/// Returns the value of a variable that says something.
fn named(variable: Result<String, std::env::VarError>) -> Option<String> {
    variable.ok().filter(|name| !name.is_empty())
}

impl Config {
    /// Reads the configuration of a repository.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key and what it accepts.
    pub fn load(repo: &Repo) -> Result<Self> {
        let settings = repo.settings()?;
        let get = |key: &str| settings.get(key);
        let allow_secret = settings.all("elf.allowSecret");
        secret::checked_rules("elf.allowSecret", &allow_secret)?;
        let ledger_ref = match get("elf.ref") {
            Some(name) => name,
            None => tracked_ref(repo)?.unwrap_or_else(|| DEFAULT_REF.to_owned()),
        };
        Ok(Self {
            ledger_ref: checked_ref(ledger_ref)?,
            commit: match get("elf.commit").as_deref() {
                None | Some("flush") => Commit::Flush,
                Some("immediate") => Commit::Immediate,
                Some(other) => {
                    return Err(Error::invalid("elf.commit", format!("{other:?} is none of flush, immediate")));
                }
            },
            lock_timeout: get("elf.lockTimeout")
                .map_or(Ok(Duration::from_secs(10)), |text| seconds("elf.lockTimeout", &text))?,
            stale_lock_age: match get("elf.staleLockAge") {
                None => Duration::from_secs(300),
                Some(text) => seconds("elf.staleLockAge", &text).and_then(at_least_a_second)?,
            },
            wal_limit: get("elf.walLimit").map_or(Ok(256 * 1024), |text| bytes("elf.walLimit", &text))?,
            push: match get("elf.push").as_deref() {
                None | Some("warn") => Push::Warn,
                Some("off") => Push::Off,
                Some(other) => return Err(Error::invalid("elf.push", format!("{other:?} is none of warn, off"))),
            },
            main_branch: get("elf.mainBranch").map(|name| branch("elf.mainBranch", &name)).transpose()?,
            agent: named(std::env::var("ELF_AGENT"))
                .or_else(|| get("elf.agent"))
                .or_else(|| named(std::env::var("ELF_CLIENT"))),
            allow_secret,
            signs: settings.is_on("commit.gpgSign")?,
        })
    }

    /// Tells whether the records are below `memory/` on the current branch.
    pub fn is_in_tree(&self) -> bool {
        self.ledger_ref == IN_TREE
    }

    /// Tells whether a drain makes a commit that has to be signed.
    pub fn drain_signs(&self) -> bool {
        self.signs && !self.waits_for_flush()
    }

    /// Tells whether records wait below `memory/` for a commit that the user asks for.
    pub fn waits_for_flush(&self) -> bool {
        self.is_in_tree() && self.commit == Commit::Flush
    }
}

/// Returns the ref that `.elf.toml` names; `None` without such a file.
///
/// # Errors
/// When the file is not one that may be read, or sets anything else.
pub fn tracked_ref(repo: &Repo) -> Result<Option<String>> {
    const LIMIT: u64 = 4096;
    let Some(path) = repo.workdir().map(|root| root.join(".elf.toml")) else { return Ok(None) };
    // A symlink or a huge file in a repository somebody else wrote is not followed and not read.
    let Ok(meta) = std::fs::symlink_metadata(&path) else { return Ok(None) };
    if !meta.is_file() || meta.len() > LIMIT {
        return Err(Error::invalid(".elf.toml", format!("is no regular file of at most {LIMIT} bytes")));
    }
    let text = std::fs::read(&path).doing(|| "read .elf.toml".into())?;
    let text =
        String::from_utf8(text).map_err(|error| Error::invalid(".elf.toml", format!("is not UTF-8: {error}")))?;
    let tracked: Tracked = toml::from_str(&text)
        .map_err(|error| Error::invalid(".elf.toml", format!("{} (only `ref` may be set)", error.message())))?;
    Ok(tracked.r#ref)
}

/// Accepts the refs that can hold a ledger.
///
/// # Errors
/// [`Error::Invalid`] saying which refs can.
pub fn checked_ref(name: String) -> Result<String> {
    if name == IN_TREE {
        return Ok(name);
    }
    let allowed = name.starts_with("refs/elf/") || name.starts_with("refs/heads/");
    if !allowed || !git2::Reference::is_valid_name(&name) || name.starts_with("refs/elf/remotes/") {
        return Err(Error::invalid("elf.ref", format!("{name:?} is none of refs/elf/NAME, refs/heads/NAME and HEAD")));
    }
    Ok(name)
}

/// Reads the name of a branch, short or whole.
fn branch(key: &str, name: &str) -> Result<String> {
    let short = name.strip_prefix("refs/heads/").unwrap_or(name);
    if short.starts_with("refs/") || !git2::Reference::is_valid_name(&format!("refs/heads/{short}")) {
        return Err(Error::invalid(key, format!("{name:?} is no name of a branch")));
    }
    Ok(short.to_owned())
}

/// Reads a number of seconds, at most a day.
///
/// # Errors
/// [`Error::Invalid`] naming the key and the limits.
pub fn seconds(key: &str, text: &str) -> Result<Duration> {
    let limit = 24.0 * 3600.0;
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=limit).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(Error::invalid(key, format!("{text:?} is no number of seconds (limit: 0 to {limit})"))),
    }
}

/// Younger locks belong to commands that are just starting.
fn at_least_a_second(age: Duration) -> Result<Duration> {
    if age < Duration::from_secs(1) {
        return Err(Error::invalid("elf.staleLockAge", format!("{} is less than 1 second", age.as_secs_f64())));
    }
    Ok(age)
}

/// Reads a size with git's suffixes: k, m and g.
fn bytes(key: &str, text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = match lower.char_indices().last() {
        Some((at, 'k')) => (&lower[..at], 1 << 10),
        Some((at, 'm')) => (&lower[..at], 1 << 20),
        Some((at, 'g')) => (&lower[..at], 1 << 30),
        _ => (lower.as_str(), 1),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| Error::invalid(key, format!("{text:?} is no size in bytes (k, m and g are understood)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_limits() {
        assert_eq!(bytes("k", "256k").unwrap(), 262_144);
        assert!(bytes("k", "-1").is_err());
        assert!(seconds("s", "1e9").is_err());
        assert_eq!(seconds("s", "0.5").unwrap(), Duration::from_millis(500));
    }

    #[test]
    fn only_refs_that_can_hold_a_ledger_are_accepted() {
        for good in ["refs/elf/memory", "refs/heads/memory", "HEAD"] {
            assert!(checked_ref(good.into()).is_ok());
        }
        for bad in ["refs/tags/x", "memory", "refs/elf/a..b", "refs/elf/remotes/origin/memory"] {
            assert!(checked_ref(bad.into()).is_err(), "{bad}");
        }
    }
}
