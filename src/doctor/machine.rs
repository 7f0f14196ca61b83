//! The file system, its free space, and lock files on it.

use super::{Finding, Level};
use crate::lock::{self, Verdict};
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
    findings.push(left_locks(store));
    findings
}

/// Names the locks that are older than `elf.staleLockAge` and that no live process is known to hold.
fn left_locks(store: &Store) -> Finding {
    let age = store.config().stale_lock_age;
    let found = match lock::survey(store.repo(), age) {
        Ok(found) => found,
        Err(error) => return Finding::failed("locks", &error),
    };
    let is_left = |found: &&lock::Found| matches!(found.verdict, Verdict::Stale | Verdict::Unknown) && found.age > age;
    let line = |found: &lock::Found| {
        format!("{}, {} minutes old, {}", found.path.display(), found.age.as_secs() / 60, found.verdict.name())
    };
    let left: Vec<_> = found.iter().filter(is_left).map(line).collect();
    if left.is_empty() {
        return Finding::ok("locks", format!("no lock is older than {} seconds without a live holder", age.as_secs()));
    }
    let what = "locks are old and nobody is known to hold them: a process waits there, or one died";
    let next = "git elf locks says what is known; git elf locks --clean removes what is proven stale";
    Finding::new(Level::Problem, "locks", what, next).with(left)
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
