//! Getting what a partial clone left with its remote.
//!
//! git fetches a missing object when it meets one. So does a question here, but all at once, outside of the lock, and by git's
//! own process, so that credentials and proxies work as the user set them up. A writer never does: its commit needs no old
//! blobs, and the index catches up with the next question.

use std::io::Write;
use std::process::{Command, Stdio};

use super::Store;
use crate::error::{Doing, Error, Result};

/// How often something is found missing below what was just fetched; our layout has five levels of trees.
const ROUNDS: u32 = 8;

impl Store {
    /// Runs `work`, and runs it again after fetching when a partial clone lacks something. The lock must not be held.
    ///
    /// # Errors
    /// Whatever `work` returns; [`Error::Promised`] when the remote cannot be reached.
    pub(super) fn with_promised<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        match work() {
            Err(Error::Promised { oid, name, remote }) => {
                let fetched = self.fetch_promised(&name, &remote);
                if let Err(error) = &fetched {
                    self.say(&format!("{remote} could not be asked: {error}"));
                }
                if fetched.unwrap_or(false) { work() } else { Err(Error::Promised { oid, name, remote }) }
            }
            done => done,
        }
    }

    /// Fetches what is missing of a ref; `false` when nothing could be.
    fn fetch_promised(&self, name: &str, remote: &str) -> Result<bool> {
        // The switch by which git itself is kept from fetching (git(1)).
        if std::env::var("GIT_NO_LAZY_FETCH").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false")) {
            return Ok(false);
        }
        for round in 0..ROUNDS {
            let mut list = self.repo().command();
            list.args(["rev-list", "--objects", "--missing=print", name, "--"]);
            let listed = run(&mut list, &[])?;
            let missing: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix('?')).collect();
            if missing.is_empty() {
                return Ok(round > 0);
            }
            if round == 0 {
                self.say(&format!("fetching what this partial clone left with {remote}"));
            }
            // As git's promisor-remote.c does it.
            let mut fetch = self.repo().command();
            fetch.args([
                "-c",
                "fetch.negotiationAlgorithm=noop",
                "fetch",
                remote,
                "--no-tags",
                "--no-write-fetch-head",
            ]);
            fetch.args(["--recurse-submodules=no", "--filter=blob:none", "--quiet", "--stdin"]);
            run(&mut fetch, (missing.join("\n") + "\n").as_bytes())?;
        }
        Ok(true)
    }
}

/// Runs git with text on its stdin and returns what it prints.
fn run(git: &mut Command, input: &[u8]) -> Result<String> {
    let doing = || "run git".to_owned();
    let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().doing(doing)?;
    // git reads all of it before it prints.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input));
    let output = child.wait_with_output().doing(doing)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Problems { what: said.trim().to_owned() });
    }
    written.doing(doing)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
