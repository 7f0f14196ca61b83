//! What a program printed when it failed, for `git elf record failure --error-file`.

use std::collections::VecDeque;
use std::io::Read;

use crate::error::{Doing, Error, Result};
use crate::record::fingerprint;
use crate::repo::Repo;

/// Bytes that are read from the beginning, and again from the end, of what may be a log of any length.
const END_MAX: usize = 512 * 1024;

/// Reads a file, or stdin for `-`, without the colours in it. What is no UTF-8 is replaced, since programs print anything.
///
/// # Errors
/// When it cannot be read, or nothing is in it.
pub fn read(file: &str) -> Result<String> {
    let doing = || format!("read {file}");
    let bytes = if file == "-" {
        ends(std::io::stdin().lock()).doing(doing)?
    } else {
        ends(std::fs::File::open(file).doing(doing)?).doing(doing)?
    };
    let text = fingerprint::plain(&String::from_utf8_lossy(&bytes));
    if text.trim().is_empty() {
        return Err(Error::invalid("error-file", format!("{file} has no text in it")));
    }
    Ok(text)
}

/// Reads the beginning and the end of a stream of any length.
fn ends(mut input: impl Read) -> std::io::Result<Vec<u8>> {
    let limit = u64::try_from(END_MAX).expect("a small number");
    let mut head = Vec::new();
    input.by_ref().take(limit).read_to_end(&mut head)?;
    let mut tail: VecDeque<u8> = VecDeque::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut left_out = 0;
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        tail.extend(&buffer[..read]);
        let excess = tail.len().saturating_sub(END_MAX);
        left_out += excess;
        tail.drain(..excess);
    }
    if left_out > 0 {
        head.extend_from_slice(format!("\n[… {left_out} bytes left out …]\n").as_bytes());
    }
    head.extend(tail);
    Ok(head)
}

/// Returns the directories below which a path is told apart: those of this worktree, as git and as the system name it.
pub fn roots(repo: &Repo) -> Vec<String> {
    let Some(workdir) = repo.workdir() else { return Vec::new() };
    let mut roots = vec![workdir.to_string_lossy().trim_end_matches('/').to_owned()];
    if let Ok(real) = workdir.canonicalize() {
        roots.push(real.to_string_lossy().into_owned());
    }
    roots.retain(|root| !root.is_empty());
    roots.dedup();
    roots
}
