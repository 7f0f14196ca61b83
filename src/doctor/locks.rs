//! Lock files of git that look as if their process had died.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Age from which a lock file is named: git holds one for moments, except while an editor is open.
const OLD: Duration = Duration::from_secs(5 * 60);

/// Lists `*.lock` in the common dir itself, below `refs` and in each worktree's directory, that are older than five minutes:
/// the path relative to the common dir, and the age.
pub(super) fn old(common_dir: &Path) -> Vec<(String, Duration)> {
    let mut found = Vec::new();
    collect(common_dir, false, &mut found);
    collect(&common_dir.join("refs"), true, &mut found);
    for worktree in fs::read_dir(common_dir.join("worktrees")).into_iter().flatten().flatten() {
        collect(&worktree.path(), false, &mut found);
    }
    found.sort();
    let name = |path: &Path| path.strip_prefix(common_dir).unwrap_or(path).display().to_string();
    found.into_iter().map(|(path, age)| (name(&path), age)).collect()
}

fn collect(dir: &Path, deep: bool, found: &mut Vec<(std::path::PathBuf, Duration)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() && deep {
            collect(&path, deep, found);
        }
        let age = meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        let is_lock = meta.is_file() && path.extension().is_some_and(|extension| extension == "lock");
        found.extend(age.filter(|age| is_lock && *age > OLD).map(|age| (path, age)));
    }
}
