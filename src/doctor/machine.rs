//! The file system, its free space, and lock files on it.

use super::{Finding, Level, locks};
use crate::store::Store;
use crate::sys::{FileSystem, Space};

/// Least free bytes: some hundred times what a rebuild of a small index and a pack of a large import take.
const BYTES_MIN: u64 = 100_000_000;
/// Least free inodes: a record takes up to a dozen for a moment.
const INODES_MIN: u64 = 1_000;

pub(super) fn findings(store: &Store) -> Vec<Finding> {
    let common_dir = store.repo().common_dir();
    let mut findings = vec![file_system(&FileSystem::of(common_dir))];
    findings.push(match Space::of(common_dir) {
        Ok(space) => free(space),
        Err(error) => Finding::new(Level::Warn, "disk", format!("cannot ask for free space: {error}"), ""),
    });
    let old = locks::old(common_dir);
    if old.is_empty() {
        findings.push(Finding::ok("locks", "no lock file of git is older than 5 minutes"));
    } else {
        let what = "lock files of git are older than 5 minutes: a git process waits there, or one died";
        let next = "if no git process is at work in this repository, delete these files below its git directory";
        let line = |(name, age): (String, std::time::Duration)| format!("{name}, {} minutes old", age.as_secs() / 60);
        findings.push(Finding::new(Level::Problem, "locks", what, next).with(old.into_iter().map(line).collect()));
    }
    findings
}

fn file_system(fs: &FileSystem) -> Finding {
    if !fs.is_network {
        return Finding::ok("file-system", format!("the memory is on a local file system ({})", fs.name));
    }
    Finding::new(
        Level::Warn,
        "file-system",
        format!(
            "the memory is on {}, which machines may share: untried, and its locks may not reach across them",
            fs.name
        ),
        "give each machine a clone of its own, and share through a remote",
    )
}

fn free(space: Space) -> Finding {
    let megabytes = space.bytes / 1_000_000;
    let inodes = space.inodes.map(|inodes| format!(" and {inodes} inodes")).unwrap_or_default();
    let what = format!("{megabytes} MB{inodes} are free");
    if space.bytes < BYTES_MIN || space.inodes.is_some_and(|inodes| inodes < INODES_MIN) {
        return Finding::new(Level::Problem, "disk", what, "free some space before a record is refused");
    }
    Finding::ok("disk", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_space_or_too_few_inodes_is_a_problem() {
        for (bytes, inodes, level) in [
            (200_000_000, Some(2_000), Level::Ok),
            (200_000_000, None, Level::Ok),
            (99_999_999, Some(2_000), Level::Problem),
            (200_000_000, Some(999), Level::Problem),
        ] {
            assert_eq!(free(Space { bytes, inodes }).level, level, "{bytes} {inodes:?}");
        }
    }
}
