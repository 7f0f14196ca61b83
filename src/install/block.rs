//! Our text inside somebody's hook. Pure: bytes in, bytes out.
//!
//! A block stands right below the shebang line, so that a later `exit` or `exec` cannot skip it, and it ends without one. It
//! begins and ends with a marker line. [`remove`] is the exact inverse of [`insert`], whatever version of the block is there.

use super::Hook;

const BEGIN: &[u8] = b"# >>> git-elf ";
const END: &[u8] = b"# <<< git-elf ";
/// What stands above the block in a file that is ours alone.
const SHEBANG: &[u8] = b"#!/bin/sh\n";
/// Shells that read POSIX sh.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ksh", "ash", "mksh"];

/// Returns the block of a hook; `program` is the shell word that names our binary.
pub(super) fn text(hook: Hook, program: Option<&str>) -> Vec<u8> {
    let word = program.map_or_else(|| "''".to_owned(), quoted);
    hook.template().replace("@GIT_ELF@", &word).into_bytes()
}

/// Returns a whole hook that is ours alone.
pub(super) fn whole(block: &[u8]) -> Vec<u8> {
    [SHEBANG, block].concat()
}

/// Tells whether nothing but our text is in a hook.
pub(super) fn is_whole(hook: &[u8]) -> bool {
    find(hook).is_some() && remove(hook).as_deref() == Some(SHEBANG)
}

/// Tells whether a marker of ours is in a hook, be the block complete or not.
pub(super) fn is_marked(hook: &[u8]) -> bool {
    lines(hook).any(|(_, line)| line.starts_with(BEGIN) || line.starts_with(END))
}

/// Puts the block below the shebang line, or in the place of an older one.
pub(super) fn insert(hook: &[u8], block: &[u8]) -> Vec<u8> {
    if let Some((start, end)) = find(hook) {
        let block = if hook[..end].ends_with(b"\n") { block } else { without_newline(block) };
        return [&hook[..start], block, &hook[end..]].concat();
    }
    match hook.iter().position(|byte| *byte == b'\n') {
        Some(newline) => [&hook[..=newline], block, &hook[newline + 1..]].concat(),
        // A shebang line that nothing ends: our last line takes over that lack, and `remove` gives it back.
        None => [hook, b"\n", without_newline(block)].concat(),
    }
}

/// Takes our block out; `None` when there is none that is complete.
pub(super) fn remove(hook: &[u8]) -> Option<Vec<u8>> {
    let (start, end) = find(hook)?;
    let mut before = &hook[..start];
    if !hook[..end].ends_with(b"\n") {
        before = without_newline(before);
    }
    Some([before, &hook[end..]].concat())
}

/// Tells whether the first line names a shell that reads POSIX sh.
pub(super) fn is_shell(hook: &[u8]) -> bool {
    let line = hook.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(command) = line.strip_prefix(b"#!").and_then(|line| std::str::from_utf8(line).ok()) else { return false };
    if command.contains('\r') {
        return false;
    }
    let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let mut words = command.split_whitespace();
    let mut name = words.next().map(base);
    if name.as_deref() == Some("env") {
        name = words.find(|word| !word.starts_with('-') && !word.contains('=')).map(base);
    }
    name.is_some_and(|name| SHELLS.contains(&name.as_str()))
}

/// Quotes a word for sh.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Finds our block: from the start of its first line to the end of its last.
fn find(hook: &[u8]) -> Option<(usize, usize)> {
    let (start, _) = lines(hook).find(|(_, line)| line.starts_with(BEGIN))?;
    let (last, line) = lines(hook).find(|(at, line)| *at > start && line.starts_with(END))?;
    Some((start, last + line.len()))
}

/// Lists the lines with their positions, line ends included.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    text.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        at += line.len();
        (at - line.len(), line)
    })
}

fn without_newline(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\n").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_and_leaves_the_same_bytes() {
        for hook in Hook::ALL {
            let block = text(hook, Some("/opt/it's/git-elf"));
            for original in [
                &b"#!/bin/sh\nset -eu\nexec true\n"[..],
                b"#!/bin/sh",
                b"#!/bin/sh\n\n",
                b"#!/bin/bash -e\n\xff\nno end",
            ] {
                let with = insert(original, &block);
                assert!(is_marked(&with));
                assert_eq!(insert(&with, &block), with, "twice is once");
                assert_eq!(remove(&with).unwrap(), original);
                let older = insert(original, &text(hook, None));
                assert_eq!(insert(&older, &block), with, "an older block is replaced in place");
            }
        }
    }

    #[test]
    fn a_file_of_ours_is_known_whatever_the_version_and_somebody_elses_is_not() {
        let ours = whole(&text(Hook::PostCommit, Some("/old/git-elf")));
        assert!(is_whole(&ours));
        assert!(!is_whole(&[&ours[..], b"echo mine\n"].concat()));
        assert!(!is_whole(b"#!/bin/sh\n"));
        assert!(remove(b"#!/bin/sh\n# >>> git-elf post-commit >>>\nno end\n").is_none());
    }

    #[test]
    fn only_shells_that_read_posix_sh_are_accepted() {
        for shell in
            ["#!/bin/sh", "#!/bin/bash -e", "#! /usr/bin/env bash", "#!/usr/bin/env -S dash -u", "#!/bin/ksh\n"]
        {
            assert!(is_shell(shell.as_bytes()), "{shell}");
        }
        for other in ["", "echo", "#!/usr/bin/env python3", "#!/usr/bin/perl\n", "#!/bin/sh\r\n", "#!/usr/bin/fish"] {
            assert!(!is_shell(other.as_bytes()), "{other}");
        }
    }
}
