//! What git tells a pre-push hook: which refs are pushed.

use std::io::{BufRead, BufReader, Read};

use git2::Oid;

use crate::error::{Doing, Result};
use crate::repo::parse_oid;

/// Longest line that is read, in bytes: two names of PATH_MAX and two object names, with room to spare.
const LINE_MAX: u64 = 16 * 1024;

/// One line that git writes to a pre-push hook.
#[derive(Debug, PartialEq, Eq)]
pub struct Update {
    pub local_ref: String,
    pub local: Oid,
    pub remote_ref: String,
    pub remote: Oid,
}

impl Update {
    /// Reads what git writes, and keeps the lines that `wanted` accepts. A line that is too long or is none of git's is left out.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn read(input: impl Read, wanted: &dyn Fn(&Self) -> bool) -> Result<Vec<Self>> {
        let doing = || "read the refs that are pushed".to_owned();
        let mut input = BufReader::new(input);
        let mut kept = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).doing(doing)? == 0 {
                return Ok(kept);
            }
            if line.pop_if(|last| *last == b'\n').is_none() {
                input.skip_until(b'\n').doing(doing)?;
                if line.len() as u64 == LINE_MAX {
                    continue;
                }
            }
            let update = Self::parse(&String::from_utf8_lossy(&line));
            kept.extend(update.filter(wanted));
        }
    }

    /// Reads `<local ref> <local oid> <remote ref> <remote oid>`, from the right: what was typed as the local ref may contain
    /// spaces (githooks(5)).
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.rsplitn(4, ' ');
        let remote = parse_oid(words.next()?).ok()?;
        let remote_ref = words.next()?.to_owned();
        let local = parse_oid(words.next()?).ok()?;
        Some(Self { local_ref: words.next()?.to_owned(), local, remote_ref, remote })
    }

    /// Tells whether a memory is pushed: the ledger, or what the remote keeps where memories are.
    pub fn is_memory(&self, ledger_ref: &str) -> bool {
        self.local_ref == ledger_ref || self.remote_ref == ledger_ref || self.remote_ref.starts_with("refs/elf/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_from_the_right() {
        for digits in [40, 64] {
            let (a, b) = ("a".repeat(digits), "0".repeat(digits));
            let update = Update::parse(&format!("HEAD@{{2 days ago}} {a} refs/elf/memory {b}")).unwrap();
            assert_eq!((update.local_ref.as_str(), update.remote.is_zero()), ("HEAD@{2 days ago}", true));
            assert!(update.is_memory("refs/heads/memory"));
            let deletion = Update::parse(&format!("(delete) {b} refs/heads/x {a}")).unwrap();
            assert!(deletion.local.is_zero() && !deletion.is_memory("refs/elf/memory"));
        }
        for none in ["", "a b c", "x abc refs/elf/memory abc"] {
            assert_eq!(Update::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_hides_no_other() {
        let (a, b) = ("a".repeat(40), "0".repeat(40));
        let good = format!("refs/elf/memory {a} refs/elf/memory {b}\n");
        let long = format!("{} {a} refs/elf/memory {b}\n", "x".repeat(100_000));
        let read =
            |text: String| Update::read(text.as_bytes(), &|update| update.is_memory("refs/elf/memory")).unwrap().len();
        assert_eq!(read(format!("{good}{long}\u{ff}\n\n{good}")), 2);
        assert_eq!(read(good.trim_end().to_owned()), 1, "the last line may lack its end");
    }
}
