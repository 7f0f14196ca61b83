//! Lending the lock to a command, and the text of the lock files that says so.
//!
//! `git elf lock -- CMD` runs CMD under the repository lock, and every git-elf inside CMD must work without waiting for it.
//! So the lock is a ladder of files: rung 0 is `elf/lock`, rung 1 `elf/lock.1`, and so on, none of them ever deleted. Who
//! holds rung n may *lend* it: a random token goes into the text of the rung and, after those of the rungs above, into
//! the variable `ELF_LOCK` of CMD. Then
//!
//! * **inside**: a process whose `ELF_LOCK` names the tokens of rungs 0 … n takes rung n+1, verifies *under it* that all those
//!   tokens still stand, and is the holder. The inside of CMD serializes itself by rung n+1, and can lend that in turn.
//! * **outside**: a process that gets rung n and finds a token in its text takes rung n+1 too before it removes the token, so
//!   no work of the inside is under way; when rung n+1 is taken, rung n is given back and counts as taken.
//!
//! A token therefore never disappears while somebody works on its strength, and once it is gone it never comes back.
//! This is why there are never two holders: not when the lender is killed, not when CMD leaves children behind that know
//! the token, and not when the variable is stale, forged or of another repository: such a token stands in no text.
//!
//! CMD inherits the descriptor of the rung, so that the plain git commands in it stay alone when the lender is killed: the
//! kernel frees the lock when the last process that has the descriptor is gone. When CMD ends in the usual way, the lender
//! unlocks explicitly, which frees it for everybody who inherited it, whatever CMD left running. The descriptor is no
//! part of the proof: Node, Python and sudo close inherited descriptors, and their children are inside all the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fd_lock::RwLock;

use crate::error::{Doing, Error, Result};
use crate::record::Time;
use crate::sys;

/// The variable that tells the inside which rungs are lent: their tokens, separated by commas; other repositories' after `;`.
pub(super) const VARIABLE: &str = "ELF_LOCK";
/// Most rungs that can be lent, each inside the other.
pub(super) const LENT_MAX: usize = 8;
/// Longest text that is read.
const TEXT_MAX: usize = 256;
/// What stands before the token in the text.
const MARK: &str = "lent:";

/// Names the file of a rung.
pub(super) fn file_name(rung: usize) -> String {
    if rung == 0 { "lock".to_owned() } else { format!("lock.{rung}") }
}

/// Opens the file of a rung, creating it where it is missing.
pub(super) fn open(dir: &Path, rung: usize) -> Result<RwLock<File>> {
    let path = dir.join(file_name(rung));
    let doing = || format!("open {}", path.display());
    let file = sys::open_or_create(&path).doing(doing)?;
    if !file.metadata().doing(doing)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")).doing(doing);
    }
    Ok(RwLock::new(file))
}

/// Makes a token that nobody had before.
pub(super) fn new_token() -> Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| Error::Io { doing: "get random bits".into(), source: io::Error::other(error.to_string()) })?;
    Ok(u128::from_le_bytes(bits).to_string())
}

/// Reads the tokens that this process was given, and keeps those that stand in the texts of `dir` without a gap.
pub(super) fn given(dir: &Path) -> Vec<String> {
    let Ok(text) = std::env::var(VARIABLE) else { return Vec::new() };
    text.split(';').map(|group| standing(dir, group)).max_by_key(Vec::len).unwrap_or_default()
}

/// Composes the variable for a command: these tokens, and those of other repositories as they were given.
pub(super) fn variable(dir: &Path, tokens: &[&str]) -> String {
    let others = std::env::var(VARIABLE).unwrap_or_default();
    let others = others.split(';').filter(|group| !group.is_empty() && standing(dir, group).is_empty());
    let ours = tokens.join(",");
    std::iter::once(ours.as_str()).chain(others.take(LENT_MAX)).collect::<Vec<_>>().join(";")
}

fn standing(dir: &Path, group: &str) -> Vec<String> {
    let mut tokens: Vec<_> = group.split(',').map(str::to_owned).take(LENT_MAX).collect();
    let count = tokens.iter().enumerate().take_while(|(rung, token)| stands(dir, *rung, token)).count();
    tokens.truncate(count);
    tokens
}

/// Tells whether all of the rungs are still lent as the tokens say.
pub(super) fn all_stand(dir: &Path, tokens: &[String]) -> bool {
    tokens.iter().enumerate().all(|(rung, token)| stands(dir, rung, token))
}

fn stands(dir: &Path, rung: usize, token: &str) -> bool {
    let file = sys::open_own(&dir.join(file_name(rung)));
    file.is_ok_and(|file| token_in(&text_of(&file)) == Some(token))
}

/// Writes the text of a holder into the rung that it just locked; `false` when somebody still works inside a command
/// that an earlier holder had lent the rung to.
pub(super) fn take_over(dir: &Path, rung: usize, file: &File, verb: &str) -> Result<bool> {
    if token_in(&text_of(file)).is_none() {
        // The text is decoration here: a full disk must not keep anybody from the lock.
        let _ = write(file, &text(verb));
        return Ok(true);
    }
    if rung < LENT_MAX {
        let mut inner = open(dir, rung + 1)?;
        let guard = match inner.try_write() {
            Ok(guard) => guard,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).doing(|| format!("lock {}", file_name(rung + 1))),
        };
        if !take_over(dir, rung + 1, &guard, verb)? {
            return Ok(false);
        }
        end(dir, rung, file, verb)?;
        drop(guard);
        return Ok(true);
    }
    end(dir, rung, file, verb).map(|()| true)
}

/// Removes a token; the caller holds the rung and the one below it.
fn end(dir: &Path, rung: usize, file: &File, verb: &str) -> Result<()> {
    let doing = || format!("write {}", dir.join(file_name(rung)).display());
    // Once it is empty no token stands; the rest is decoration.
    file.set_len(0).doing(doing)?;
    let _ = write(file, &text(verb));
    Ok(())
}

/// Writes a token into the text of a rung.
pub(super) fn lend(dir: &Path, rung: usize, file: &File, verb: &str, token: &str) -> Result<()> {
    write(file, &format!("{} {MARK}{token}", text(verb)))
        .doing(|| format!("write {}", dir.join(file_name(rung)).display()))
}

/// Writes over the whole text at once. Its length is fixed: truncating a file costs a tenth of a record.
fn write(file: &File, text: &str) -> io::Result<()> {
    let padding = TEXT_MAX.saturating_sub(text.len());
    file.write_all_at(format!("{text}{}", "\n".repeat(padding)).as_bytes(), 0)
}

fn text(verb: &str) -> String {
    format!("{} {verb} {}", std::process::id(), Time::now())
}

fn text_of(file: &File) -> String {
    let mut bytes = [0; TEXT_MAX];
    let mut length = 0;
    while let Ok(count @ 1..) = file.read_at(&mut bytes[length..], length as u64) {
        length += count;
    }
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// Finds the token of a complete text: one that ends its line.
fn token_in(text: &str) -> Option<&str> {
    text.strip_suffix('\n')?
        .split_whitespace()
        .find_map(|word| word.strip_prefix(MARK))
        .filter(|token| !token.is_empty())
}

/// Describes the holder of a rung from its text, which may be of an earlier one.
pub(super) fn holder(dir: &Path, rung: usize) -> Option<(u32, String)> {
    let text = text_of(&sys::open_own(&dir.join(file_name(rung))).ok()?);
    let mut words = text.split_whitespace();
    let (pid, verb, since) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    if token_in(&text).is_some() && !sys::process_is_alive(pid) && rung < LENT_MAX {
        // Whoever works inside is the reason that it is still taken.
        return holder(dir, rung + 1);
    }
    // A text whose process is gone is of an earlier holder, and this one is no git-elf.
    sys::process_is_alive(pid).then(|| (pid, format!("git elf {verb}, since {since}")))
}

#[cfg(test)]
mod tests {
    use super::super::LockFile;
    use super::*;

    /// What a process inside a command has: the tokens in its environment.
    fn inside(dir: &Path, tokens: &str) -> LockFile {
        let tokens = standing(dir, tokens);
        let rungs = (0..=tokens.len()).map(|rung| open(dir, rung).unwrap()).collect();
        LockFile { dir: dir.to_owned(), tokens, rungs }
    }

    #[test]
    fn a_token_stays_while_somebody_works_on_its_strength_and_then_never_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        // A lender that was killed: its token stands, and the kernel freed the rung.
        let lender = File::create(dir.join("lock")).unwrap();
        lend(dir, 0, &lender, "lock", "t0").unwrap();
        let (mut first, mut second, mut outside) = (inside(dir, "t0"), inside(dir, "t0"), inside(dir, "other"));
        let working = first.try_lock("record").unwrap().unwrap();
        assert!(second.try_lock("record").unwrap().is_none(), "the inside takes turns");
        assert!(outside.try_lock("record").unwrap().is_none(), "two holders");
        drop(working);
        let holder = outside.try_lock("record").unwrap().unwrap();
        assert!(first.try_lock("record").unwrap().is_none(), "two holders");
        drop(holder);
        // The token is gone, so what was inside is outside now.
        let holder = second.try_lock("record").unwrap().unwrap();
        assert!(holder.tokens.is_empty() && first.try_lock("record").unwrap().is_none());
    }

    #[test]
    fn a_rung_that_is_lent_in_turn_keeps_those_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for (rung, token) in ["t0", "t1"].iter().enumerate() {
            lend(dir, rung, &File::create(dir.join(file_name(rung))).unwrap(), "lock", token).unwrap();
        }
        let (mut deep, mut outside) = (inside(dir, "t0,t1"), inside(dir, ""));
        let working = deep.try_lock("record").unwrap().unwrap();
        assert_eq!(working.tokens.len(), 2);
        assert!(outside.try_lock("record").unwrap().is_none(), "two holders");
        drop(working);
        drop(outside.try_lock("record").unwrap().unwrap());
        assert!(standing(dir, "t0,t1").is_empty());
        for rung in 0..2 {
            let text = std::fs::read_to_string(dir.join(file_name(rung))).unwrap();
            assert_eq!(token_in(&text), None, "{text}");
        }
    }

    #[test]
    fn only_a_complete_text_has_a_token() {
        assert_eq!(token_in("7 lock 2026-11-24T08:00:00Z lent:abc\n"), Some("abc"));
        for text in ["7 lock 2026-11-24T08:00:00Z lent:ab", "7 lock 2026-11-24T08:00:00Z\n", "lent:\n", "", "\n"] {
            assert_eq!(token_in(text), None, "{text:?}");
        }
    }
}
