//! Asking git itself, for what it does best: blame, renames, what is staged. In bounded time, and with paths as they are.

use std::ffi::OsString;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use git2::Oid;

use super::{Repo, parse_oid};
use crate::error::{Doing, Error, Result};

/// Earlier names of one file that are looked for.
const NAMES_MAX: usize = 20;
/// How long the history is searched for them.
const FOLLOW: Duration = Duration::from_millis(1500);
/// How long a blame may take.
const BLAME: Duration = Duration::from_secs(10);
/// Renames among staged files are found in at most so many pairs of them squared (git-diff(1), `-l`).
const RENAME_LIMIT: &str = "-l200";
/// Longest complaint of git that is repeated, in characters.
const SAID_MAX: usize = 300;

/// A path that a commit changes, and the one that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub path: OsString,
    pub was: Option<OsString>,
}

/// What git printed, and whether that is all.
struct Answer {
    out: Vec<u8>,
    is_whole: bool,
    said: String,
}

impl Repo {
    /// Lists the names that a file had before, the newest first, as far as they are found in time.
    ///
    /// # Errors
    /// When git does not start.
    pub fn earlier_names(&self, path: &Path) -> Result<Vec<OsString>> {
        let mut git = self.asking();
        git.args(["log", "--follow", "-M", "--diff-filter=R", "--name-status", "-z", "--format="])
            .arg(format!("-n{NAMES_MAX}"))
            .arg("--")
            .arg(path);
        let answer = ask(git, FOLLOW)?;
        Ok(changes(&answer.out).into_iter().filter_map(|change| change.was).collect())
    }

    /// Returns the last commit that changed a file, in HEAD's history; `None` when none did, or none was found in time.
    ///
    /// # Errors
    /// When git does not start.
    pub fn last_change(&self, path: &Path) -> Result<Option<Oid>> {
        let mut git = self.asking();
        git.args(["rev-list", "-1", "HEAD", "--"]).arg(path);
        let answer = ask(git, FOLLOW)?;
        Ok(parse_oid(String::from_utf8_lossy(&answer.out).trim()).ok())
    }

    /// Returns the commit that a line of a file is from; `None` when it is not committed yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what git says, as about a file that has fewer lines.
    pub fn blame(&self, path: &Path, line: u32, at: Option<&str>) -> Result<Option<Oid>> {
        let mut git = self.asking();
        git.args(["blame", "--porcelain", "-L"]).arg(format!("{line},{line}"));
        git.args(at).arg("--").arg(path);
        let answer = ask(git, BLAME)?;
        let bad = |why: &str| Error::invalid("line", format!("{line} of {}: {why}", path.display()));
        if !answer.is_whole {
            return Err(bad(if answer.said.is_empty() { "git blame took too long" } else { &answer.said }));
        }
        let name = answer.out.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let commit = std::str::from_utf8(name).ok().and_then(|name| parse_oid(name).ok());
        let commit = commit.ok_or_else(|| bad("git blame named no commit"))?;
        Ok(Some(commit).filter(|commit| !commit.is_zero()))
    }

    /// Lists what is staged in the index that git uses, `GIT_INDEX_FILE` included. Neither it nor the network is touched.
    ///
    /// # Errors
    /// When git does not start, fails or takes longer than `patience`.
    pub fn staged(&self, patience: Duration) -> Result<Vec<Changed>> {
        let mut git = self.asking();
        git.env("GIT_NO_LAZY_FETCH", "1");
        git.args(["diff", "--cached", "--name-status", "-z", "-M", RENAME_LIMIT]);
        git.args(["--no-ext-diff", "--no-textconv", "--no-relative", "--no-color", "--"]);
        let answer = ask(git, patience)?;
        if !answer.is_whole {
            let why = if answer.said.is_empty() { "it took too long".into() } else { answer.said };
            return Err(Error::Problems { what: format!("git diff --cached: {why}") });
        }
        Ok(changes(&answer.out))
    }

    /// Prepares a question to git, at the root of the working tree, whose paths are no patterns.
    fn asking(&self) -> Command {
        let mut git = self.command();
        git.args(["--literal-pathspecs", "--no-optional-locks"]);
        if let Some(root) = self.workdir() {
            git.current_dir(root).env("GIT_WORK_TREE", root);
        }
        git
    }
}

/// Runs git, for at most `patience`; what it printed by then counts.
fn ask(mut git: Command, patience: Duration) -> Result<Answer> {
    let doing = || "run git".to_owned();
    let mut said = tempfile::tempfile().doing(doing)?;
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said.try_clone().doing(doing)?);
    let mut child = git.spawn().doing(doing)?;
    let mut pipe = child.stdout.take().expect("it is piped");
    let out = Arc::new(Mutex::new(Vec::new()));
    let (end, ended) = mpsc::channel();
    let filled = Arc::clone(&out);
    std::thread::spawn(move || {
        let mut chunk = [0; 8192];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => filled.lock().unwrap_or_else(PoisonError::into_inner).extend(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = end.send(());
    });
    let in_time = ended.recv_timeout(patience).is_ok();
    if !in_time {
        let _ = child.kill();
    }
    let status = child.wait().doing(doing)?;
    let mut text = Vec::new();
    said.rewind().and_then(|()| said.read_to_end(&mut text)).doing(doing)?;
    let text = String::from_utf8_lossy(&text);
    let said = text.lines().last().unwrap_or_default().trim_start_matches("fatal: ").chars().take(SAID_MAX).collect();
    let out = std::mem::take(&mut *out.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Answer { out, is_whole: in_time && status.success(), said })
}

/// Reads what `--name-status -z` prints: a letter and a path, or two where one was renamed or copied.
fn changes(out: &[u8]) -> Vec<Changed> {
    let name = |bytes: &[u8]| OsString::from_vec(bytes.to_owned());
    let mut words = out.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let mut found = Vec::new();
    while let Some(status) = words.next() {
        let Some(first) = words.next() else { break };
        if status.starts_with(b"R") || status.starts_with(b"C") {
            let Some(second) = words.next() else { break };
            found.push(Changed { path: name(second), was: Some(name(first)) });
        } else {
            found.push(Changed { path: name(first), was: None });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_cut_off_gives_what_is_whole() {
        let change = |path: &str, was: Option<&str>| Changed { path: path.into(), was: was.map(Into::into) };
        let text = b"M\0a b\0R090\0old\nname\0new\0A\0R100\0D\0";
        assert_eq!(changes(text), [change("a b", None), change("new", Some("old\nname")), change("R100", None)]);
        assert_eq!(changes(b"R100\0old\0"), []);
    }
}
