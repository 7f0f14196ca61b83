//! What is being worked on here, as far as git knows: the branch, what has changed, and the last commits.

use std::cell::{Cell, RefCell};

use git2::{Delta, DiffDelta, DiffFormat, DiffOptions, Repository};

use super::Repo;

/// Changed files that are told, and letters of their lines.
const FILES_MAX: usize = 200;
const LINES_MAX: usize = 65_536;
/// A file of more bytes counts by its name alone.
const FILE_MAX: i64 = 524_288;
/// Commits that are told, and that are looked at for them.
const COMMITS: usize = 3;
const COMMITS_MAX: usize = 20;

/// What is worked on; each part is empty where git knows nothing.
#[derive(Clone, Debug, Default)]
pub struct WorkAtHand {
    /// The branch's short name.
    pub branch: String,
    /// Files with staged or unstaged changes, and new ones that are staged, relative to the root.
    pub changed: Vec<String>,
    /// Their added and removed lines.
    pub lines: String,
    /// Files of the last commits, without the changed ones.
    pub recent: Vec<String>,
    /// Subjects of the last commits.
    pub subjects: Vec<String>,
}

impl Repo {
    /// Finds out what is worked on in this worktree, but for what is below the directory `without`. Whatever cannot be read is
    /// left out: these are hints.
    pub fn work_at_hand(&self, without: &str) -> WorkAtHand {
        let mut work = WorkAtHand { branch: self.head().branch.unwrap_or_default(), ..WorkAtHand::default() };
        // Hints must not cost the answer: a tree that cannot be read gives none.
        let _ = changes(self.git(), without, &mut work);
        let _ = last_commits(self.git(), without, &mut work);
        work
    }
}

fn changes(git: &Repository, without: &str, work: &mut WorkAtHand) -> Result<(), git2::Error> {
    if git.is_bare() {
        return Ok(());
    }
    let head = git.head().and_then(|head| head.peel_to_tree()).ok();
    let mut options = DiffOptions::new();
    options.context_lines(0).max_size(FILE_MAX).ignore_submodules(true).skip_binary_check(false).update_index(false);
    let diff = git.diff_tree_to_workdir_with_index(head.as_ref(), Some(&mut options))?;
    let files = diff.deltas().filter(|delta| delta.status() != Delta::Untracked);
    let paths = files.filter_map(|delta| path_of(&delta, without));
    work.changed.extend(paths.take(FILES_MAX));
    let (lines, count) = (RefCell::new(String::new()), Cell::new(0));
    // Returning false ends the walk with an error, which is no failure here.
    let _ = diff.print(DiffFormat::Patch, |delta, _, line| {
        match line.origin() {
            '+' | '-' if path_of(&delta, without).is_some() => {
                if let Ok(text) = std::str::from_utf8(line.content()) {
                    lines.borrow_mut().push_str(text);
                }
            }
            'F' => count.set(count.get() + 1),
            _ => {}
        }
        lines.borrow().len() < LINES_MAX && count.get() <= FILES_MAX
    });
    work.lines = lines.into_inner();
    Ok(())
}

fn last_commits(git: &Repository, without: &str, work: &mut WorkAtHand) -> Result<(), git2::Error> {
    let mut next = git.head()?.peel_to_commit().ok();
    let mut told = 0;
    for _ in 0..COMMITS_MAX {
        let Some(commit) = next.filter(|_| told < COMMITS) else { break };
        let parent = commit.parent(0).ok();
        let mut counts = true;
        // The first commit of all brings every file, which says nothing.
        if let Some(before) = parent.as_ref().map(git2::Commit::tree).transpose()? {
            let diff = git.diff_tree_to_tree(Some(&before), Some(&commit.tree()?), None)?;
            let paths: Vec<String> = diff.deltas().filter_map(|delta| path_of(&delta, without)).collect();
            counts = !paths.is_empty() || diff.deltas().len() == 0;
            for path in paths {
                if work.recent.len() < FILES_MAX && !work.changed.contains(&path) && !work.recent.contains(&path) {
                    work.recent.push(path);
                }
            }
        }
        if counts {
            work.subjects.extend(commit.summary().ok().flatten().map(str::to_owned));
            told += 1;
        }
        next = parent;
    }
    Ok(())
}

/// Returns the path of a file; `None` for one that does not count.
fn path_of(delta: &DiffDelta<'_>, without: &str) -> Option<String> {
    let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
    let path = file.path()?;
    if !without.is_empty() && path.starts_with(without) { None } else { Some(path.to_str()?.to_owned()) }
}
