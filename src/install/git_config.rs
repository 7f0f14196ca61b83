//! git's local configuration, written and read back by git itself, which keeps comments and the order of what is there.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};
use crate::repo::Repo;

/// How long another writer of the configuration may hold its lock.
const PATIENCE: Duration = Duration::from_secs(1);
/// First version of git that runs hooks named in its configuration.
const CONFIG_HOOKS: (u32, u32) = (2, 54);

/// First version of git whose `git config` has `--fixed-value`, without which [`remove`] would take other values along.
pub(super) const OLDEST: (u32, u32) = (2, 30);

/// Asks the git on the PATH for its version; `None` when its answer has none.
///
/// # Errors
/// When git cannot be started.
pub(super) fn git_version(repo: &Repo) -> Result<Option<(u32, u32)>> {
    let output = repo.command().arg("version").output().doing(|| "run git version".into())?;
    Ok(version(&String::from_utf8_lossy(&output.stdout)))
}

/// Tells whether the git on the PATH runs hooks named in its configuration.
///
/// # Errors
/// When git cannot be started.
pub(super) fn has_config_hooks(repo: &Repo) -> Result<bool> {
    Ok(git_version(repo)?.is_some_and(|version| version >= CONFIG_HOOKS))
}

/// Reads `git version 2.54.0.rc1.windows.1 (…)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("git version ")?.split(['.', '-', ' ']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Reads every value of a key in the repository's own configuration.
pub(super) fn values(repo: &Repo, key: &str) -> Result<Vec<String>> {
    let output = run(repo, &["--null", "--get-all", key])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => Ok(text.split_terminator('\0').map(str::to_owned).collect()),
        // The key is not there.
        Some(1) => Ok(Vec::new()),
        _ => Err(refusal(&output, key)),
    }
}

/// Sets a key to one value and reads it back; `false` when it had that value.
pub(super) fn set(repo: &Repo, key: &str, value: &str) -> Result<bool> {
    if values(repo, key)? == [value] {
        return Ok(false);
    }
    change(repo, key, &["--replace-all", key, value])?;
    if values(repo, key)? == [value] { Ok(true) } else { Err(unread(key)) }
}

/// Adds a value to a key and reads it back; `false` when it was there.
pub(super) fn add(repo: &Repo, key: &str, value: &str) -> Result<bool> {
    let has = |values: &[String]| values.iter().any(|known| known == value);
    if has(&values(repo, key)?) {
        return Ok(false);
    }
    change(repo, key, &["--add", key, value])?;
    if has(&values(repo, key)?) { Ok(true) } else { Err(unread(key)) }
}

/// Removes a key; `false` when it was not there.
pub(super) fn unset(repo: &Repo, key: &str) -> Result<bool> {
    if values(repo, key)?.is_empty() {
        return Ok(false);
    }
    change(repo, key, &["--unset-all", key]).map(|()| true)
}

/// Removes one value of a key; `false` when it was not there.
pub(super) fn remove(repo: &Repo, key: &str, value: &str) -> Result<bool> {
    if !values(repo, key)?.iter().any(|known| known == value) {
        return Ok(false);
    }
    change(repo, key, &["--fixed-value", "--unset-all", key, value]).map(|()| true)
}

/// Writes, and waits a little for another writer: git itself gives up at once.
fn change(repo: &Repo, key: &str, args: &[&str]) -> Result<()> {
    let start = Instant::now();
    loop {
        let output = run(repo, args)?;
        if output.status.success() {
            return Ok(());
        }
        let is_locked = String::from_utf8_lossy(&output.stderr).contains("could not lock config file");
        if !is_locked || start.elapsed() >= PATIENCE {
            return Err(refusal(&output, key));
        }
        std::thread::sleep(Duration::from_millis(fastrand::u64(1..50)));
    }
}

fn run(repo: &Repo, args: &[&str]) -> Result<Output> {
    let mut git = repo.command();
    git.env("LC_ALL", "C").args(["config", "--local"]).args(args);
    git.output().doing(|| "run git config".into())
}

fn refusal(output: &Output, key: &str) -> Error {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Error::Refused { what: format!("git config refused {key}: {said}"), hint: String::new() }
}

fn unread(key: &str) -> Error {
    Error::Refused { what: format!("{key} does not have the value that was just written to it"), hint: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_vendor_are_read() {
        for (text, expected) in [
            ("git version 2.54.0\n", Some((2, 54))),
            ("git version 2.54.0.rc1", Some((2, 54))),
            ("git version 2.39.5 (Apple Git-154)", Some((2, 39))),
            ("git version 2.47.3.windows.1", Some((2, 47))),
            ("git version 3.0-rc2", Some((3, 0))),
            ("git version unknown", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
        assert!(version("git version 2.100.1").unwrap() >= CONFIG_HOOKS);
        assert!(version("git version 2.53.9").unwrap() < CONFIG_HOOKS);
    }
}
