//! git's own behaviour is unchanged: every operation of a table ends the same way, and leaves the same things behind, with our hooks
//! installed and agents recording in the background as without git-elf.
//!
//! `UNCHANGED=WORD cargo test --test tests unchanged::git_is` runs the operations alone whose name contains a word.
//!
//! Each operation runs in a copy of one prepared repository, at one path and with pinned dates, so that even object names are equal.

mod agents;
mod in_tree;
mod operations;
mod seen;
mod site;

use std::sync::OnceLock;

use agents::Agents;
use operations::OPERATIONS;
use seen::Seen;
use site::Site;

/// Where the memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// On `refs/elf/memory`, where nobody sees it.
    Ref,
    /// On a branch that no worktree has checked out.
    Branch,
    /// On a branch that a linked worktree has checked out.
    CheckedOut,
    /// Below `memory/`, on the branch that is checked out.
    Head,
}

impl Mode {
    /// What the user types to get it; in the repository, once.
    fn set_up(self) -> &'static str {
        match self {
            Self::Ref => "git elf init --pre-commit",
            Self::Branch => "git elf init --pre-commit --ref refs/heads/memory && git elf record failure first",
            Self::CheckedOut => {
                "git elf init --ref refs/heads/memory && git elf record failure first && git worktree add -q ../memory-wt memory"
            }
            Self::Head => "git elf init --in-tree",
        }
    }

    /// Half of the modes meet hooks of the user, into which ours are put as a block; the others have files of ours.
    fn keeps_own_hooks(self) -> bool {
        matches!(self, Self::Branch | Self::Head)
    }

    /// Returns a line of a part as it is compared; `None` for what a user of git-elf sees of the memory in this mode.
    fn seen(self, part: &str, line: &str) -> Option<String> {
        let has = |marks: &[&str]| marks.iter().any(|mark| line.contains(mark));
        // The name of a shared index is that of its content, with the files' times.
        if part == "names in .git" && (["elf", "hooks"].contains(&line) || line.starts_with("sharedindex.")) {
            return None;
        }
        match self {
            // No lock of ours may be left when nobody records.
            _ if part == "locks in .git" => Some(line.to_owned()),
            Self::Ref if has(&["refs/elf/"]) => None,
            Self::Branch | Self::CheckedOut if has(&["heads/memory", "origin/memory", "memory -> ", "memory-wt"]) => {
                None
            }
            // Records are untracked files here, and git says so.
            Self::Head
                if line.is_empty()
                    || has(&["memory/", "untracked", "Untracked", "nothing to commit", "git add <file>"]) =>
            {
                None
            }
            // What the user commits or stashes may have records in it, and the commit another name.
            Self::Head if !["tree", "index", "files"].contains(&part) => Some(without_names_of_objects(line)),
            _ => Some(line.to_owned()),
        }
    }
}

fn without_names_of_objects(line: &str) -> String {
    let is_name = |word: &&str| word.len() >= 7 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = line.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    words
        .map(|word| if is_name(&word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) { "NAME " } else { word })
        .collect()
}

/// What plain git does, found out once for all modes.
fn plain() -> &'static [Seen] {
    static PLAIN: OnceLock<Vec<Seen>> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let site = Site::plain();
        OPERATIONS
            .iter()
            .map(|(_, script)| {
                site.reset();
                site.run(script)
            })
            .collect()
    })
}

/// Runs the whole table in a mode and fails with everything that differs.
fn unchanged(mode: Mode) {
    let only = std::env::var("UNCHANGED").ok();
    let plain = plain();
    let site = Site::with_memory(mode);
    let mut wrong = Vec::new();
    let mut overlapped = 0;
    Agents::with(&site, |agents| {
        for ((name, script), plain) in OPERATIONS.iter().zip(plain) {
            if only.as_ref().is_some_and(|only| !name.contains(only)) {
                continue;
            }
            site.reset();
            let before = agents.start();
            let mut seen = site.run_only(script);
            let (acknowledged, failed) = agents.stop();
            overlapped += acknowledged.len() - before;
            site.describe(&mut seen);
            let mut complaints = plain.differences(&seen, mode);
            complaints.extend(failed);
            complaints.extend(site.faults(mode, &acknowledged));
            wrong.extend(complaints.into_iter().map(|complaint| format!("{name}: {complaint}")));
        }
    });
    assert!(wrong.is_empty(), "{mode:?}: {} things differ from plain git:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        only.is_some() || overlapped > OPERATIONS.len(),
        "the agents hardly recorded anything while git worked: {overlapped}"
    );
}

#[test]
fn git_is_unchanged_with_the_memory_on_its_own_ref() {
    unchanged(Mode::Ref);
}

#[test]
fn git_is_unchanged_with_the_memory_on_a_branch() {
    unchanged(Mode::Branch);
}

#[test]
fn git_is_unchanged_with_the_memory_on_a_branch_that_is_checked_out() {
    unchanged(Mode::CheckedOut);
}

#[test]
fn git_is_unchanged_with_the_memory_on_the_current_branch() {
    unchanged(Mode::Head);
}

#[test]
fn hooks_that_disturb_git_are_found_out() {
    let script = "echo x >a; g commit -q -a -m x";
    let site = Site::plain();
    site.reset();
    let plain = site.run(script);
    site.reset();
    assert_eq!(plain.differences(&site.run(script), Mode::Ref), [""; 0]);
    for (hook, part) in [
        ("echo said", "stderr"),
        ("echo x >x", "status"),
        ("echo x >x; git add x", "index"),
        ("git commit -q --amend -m y --no-verify", "refs"),
        ("git stash list >.git/trace", "names in .git"),
        ("mkdir -p .git/refs/elf; : >.git/refs/elf/x.lock", "locks in .git"),
    ] {
        site.reset();
        site.hook("post-commit", &format!("test -z \"$AGAIN\" || exit 0; export AGAIN=1; {hook}"));
        let differences = site.run(script);
        let differences = plain.differences(&differences, Mode::Ref);
        assert!(differences.iter().any(|difference| difference.starts_with(part)), "{hook}: {differences:?}");
    }
}
