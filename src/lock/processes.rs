//! Who is at work in a repository.
//!
//! git keeps no descriptor on `index.lock` while a hook runs, so open files prove nothing by themselves. A process counts when
//! it has a file of the git directory open, or when it is git (or a program with `git` in its name) and works in the
//! repository: by its working directory, its command line, or the variables with which git names a repository. git-elf itself
//! does not count: it takes git's locks under the repository lock only, and so does the cleaning of locks.
//!
//! Only Linux tells all this. What cannot be looked into makes the answer "not known", never "nobody"; except for processes of
//! users that made none of the locks, and so hold none.

use std::path::PathBuf;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Users {
    Nobody,
    /// A process that counts, in words.
    Somebody(String),
    /// Why it is not known.
    NotKnown(String),
}

/// What belongs to one repository.
#[derive(Debug)]
pub(super) struct Places {
    /// The directory shared by all worktrees.
    pub common: PathBuf,
    /// Roots of worktrees, and git directories that lie elsewhere.
    pub roots: Vec<PathBuf>,
}

#[cfg(target_os = "linux")]
pub(super) use linux::{mover, sweeper, users};

/// Says that it is not known.
#[cfg(not(target_os = "linux"))]
pub(super) fn users(_places: &Places, _owners: &std::collections::HashSet<u32>) -> Users {
    Users::NotKnown("this system does not tell what other processes do".into())
}

/// Says that it is not known.
#[cfg(not(target_os = "linux"))]
pub(super) fn mover(_places: &Places, _has_message: bool) -> Users {
    Users::NotKnown("this system does not tell what other processes do".into())
}

/// Says that it is not known.
#[cfg(not(target_os = "linux"))]
pub(super) fn sweeper(_places: &Places) -> Users {
    Users::NotKnown("this system does not tell what other processes do".into())
}

/// Returns the processes that hold or await a lock on a file, by flock(2) or fcntl(2).
///
/// The inode alone is compared: some file systems show another device number here than stat(2) does. A wrong match
/// spares a lock that could go.
#[cfg(target_os = "linux")]
pub(super) fn flock_holders(inode: u64) -> Vec<u32> {
    let text = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    text.lines().filter_map(|line| linux::flock_line(line, inode)).collect()
}

/// Knows none.
#[cfg(not(target_os = "linux"))]
pub(super) fn flock_holders(_inode: u64) -> Vec<u32> {
    Vec::new()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashSet;
    use std::ffi::{OsStr, OsString};
    use std::fs;
    use std::io;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use super::{Places, Users};
    use crate::sys;

    /// Options of git that take the next word.
    const WITH_VALUE: [&[u8]; 7] =
        [b"-C", b"-c", b"--git-dir", b"--work-tree", b"--namespace", b"--exec-path", b"--config-env"];
    /// Commands of git that move the branch that is checked out, or check another one out.
    const MOVERS: [&[u8]; 12] = [
        b"am",
        b"bisect",
        b"checkout",
        b"cherry-pick",
        b"commit",
        b"merge",
        b"pull",
        b"rebase",
        b"reset",
        b"revert",
        b"stash",
        b"switch",
    ];
    /// Commands of git that take files away, some of them directory by directory.
    const SWEEPERS: [&[u8]; 6] = [b"checkout", b"clean", b"reset", b"sparse-checkout", b"stash", b"switch"];
    /// Commands of git that run long and write no commit message.
    const OTHERS: [&[u8]; 14] = [
        b"blame",
        b"cat-file",
        b"clone",
        b"diff",
        b"elf",
        b"fetch",
        b"fsmonitor--daemon",
        b"gc",
        b"grep",
        b"log",
        b"maintenance",
        b"push",
        b"show",
        b"status",
    ];
    /// Longest file `.git` that is read.
    const LINK_MAX: u64 = 8192;
    /// Variables by which a git process is told where it works.
    const VARIABLES: [&[u8]; 5] =
        [b"GIT_DIR", b"GIT_COMMON_DIR", b"GIT_WORK_TREE", b"GIT_INDEX_FILE", b"GIT_OBJECT_DIRECTORY"];

    /// Looks at every process of this machine that can be seen; `owners` are the users that made the locks in question.
    pub fn users(places: &Places, owners: &HashSet<u32>) -> Users {
        let scan = match Scan::new(places, owners) {
            Ok(scan) => scan,
            Err(error) => return Users::NotKnown(format!("the repository's directories cannot be read: {error}")),
        };
        let mut not_known = None;
        let processes = match fs::read_dir("/proc") {
            Ok(entries) => entries.flatten(),
            Err(error) => return Users::NotKnown(format!("/proc cannot be read: {error}")),
        };
        let mut seen_self = false;
        for entry in processes {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if pid == std::process::id() {
                seen_self = true;
                continue;
            }
            match scan.process(pid, &entry.path()) {
                Users::Nobody => {}
                Users::NotKnown(why) => not_known = Some(why),
                somebody @ Users::Somebody(_) => return somebody,
            }
        }
        match not_known {
            Some(why) => Users::NotKnown(why),
            None if seen_self => Users::Nobody,
            None => Users::NotKnown("/proc does not show this process".into()),
        }
    }

    /// Looks for git that moves a branch, or is about to. With a commit message open that can be under any name (an alias), so
    /// only what never writes one is let through. A process that cannot be looked into is no reason to wait for ever.
    pub fn mover(places: &Places, has_message: bool) -> Users {
        git_with(places, &|verb| MOVERS.contains(&verb) || (has_message && !OTHERS.contains(&verb)))
    }

    /// Looks for git that removes files from a working tree.
    pub fn sweeper(places: &Places) -> Users {
        git_with(places, &|verb| SWEEPERS.contains(&verb))
    }

    fn git_with(places: &Places, wanted: &dyn Fn(&[u8]) -> bool) -> Users {
        let owners = HashSet::new();
        let Ok(scan) = Scan::new(places, &owners) else { return Users::Nobody };
        let Ok(entries) = fs::read_dir("/proc") else { return Users::NotKnown("/proc cannot be read".into()) };
        for entry in entries.flatten() {
            let proc = entry.path();
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if !fs::read(proc.join("comm")).is_ok_and(|name| name.starts_with(b"git")) {
                continue;
            }
            let words = words(&fs::read(proc.join("cmdline")).unwrap_or_default());
            if verb(&words).is_some_and(wanted) && scan.works_here(&proc, &words).unwrap_or(false) {
                return Users::Somebody(format!("pid {pid} ({})", shown(&words)));
            }
        }
        Users::Nobody
    }

    struct Scan<'a> {
        tops: HashSet<(u64, u64)>,
        paths: Vec<PathBuf>,
        common: PathBuf,
        owners: &'a HashSet<u32>,
    }

    impl<'a> Scan<'a> {
        fn new(places: &Places, owners: &'a HashSet<u32>) -> io::Result<Self> {
            let common = fs::canonicalize(&places.common)?;
            let mut tops = HashSet::from([sys::identity_of(&common)?]);
            let mut paths = vec![common.clone()];
            // A root that is gone holds nobody.
            for root in places.roots.iter().filter_map(|root| fs::canonicalize(root).ok()) {
                tops.insert(sys::identity_of(&root)?);
                paths.push(root);
            }
            Ok(Self { tops, paths, common, owners })
        }

        fn process(&self, pid: u32, proc: &Path) -> Users {
            let name = match fs::read(proc.join("comm")) {
                Ok(name) => String::from_utf8_lossy(&name).trim_end().to_owned(),
                Err(error) if is_gone(&error) => return Users::Nobody,
                Err(error) => return Users::NotKnown(format!("process {pid} cannot be looked at: {error}")),
            };
            let words = words(&fs::read(proc.join("cmdline")).unwrap_or_default());
            let program = words.first().map(|word| base_name(word)).unwrap_or_default();
            if name == "git-elf" || program == b"git-elf" || takes_no_lock(&words) {
                return Users::Nobody;
            }
            let is_git = name.contains("git") || program.windows(3).any(|part| part == b"git");
            let what = if words.is_empty() { name } else { shown(&words) };
            let judged = if is_git { self.works_here(proc, &words) } else { Ok(false) };
            match judged.and_then(|works| Ok(works || self.has_files_open(proc)?)) {
                Ok(true) => Users::Somebody(format!("pid {pid} ({what})")),
                Ok(false) => Users::Nobody,
                Err(error) if is_gone(&error) => Users::Nobody,
                Err(_) if user_of(proc).is_some_and(|user| !self.owners.contains(&user)) => Users::Nobody,
                Err(error) => Users::NotKnown(format!("process {pid} ({what}) cannot be looked into: {error}")),
            }
        }

        /// Tells whether a git process works in the repository.
        fn works_here(&self, proc: &Path, words: &[OsString]) -> io::Result<bool> {
            let directory = proc.join("cwd");
            if self.is_here(&directory, true)? {
                return Ok(true);
            }
            let named = |value: &[u8]| self.leads_here(&directory.join(OsStr::from_bytes(value)));
            if words.iter().skip(1).any(|word| named(after_equals(word.as_bytes()))) {
                return Ok(true);
            }
            let environment = fs::read(proc.join("environ"))?;
            Ok(environment.split(|byte| *byte == 0).any(|pair| {
                let value = VARIABLES.iter().find_map(|name| pair.strip_prefix(*name)?.strip_prefix(b"="));
                value.is_some_and(named)
            }))
        }

        /// Tells whether a directory lies in the repository or, with `look_for_links`, in a worktree of it that nobody told us
        /// of: one that was moved, or the main one of a git directory that stands elsewhere.
        fn is_here(&self, directory: &Path, look_for_links: bool) -> io::Result<bool> {
            sys::climb(directory, |here, at| {
                Ok(self.tops.contains(&here) || (look_for_links && self.is_linked_here(at)?))
            })
        }

        /// Tells whether `.git` in a directory leads here (gitrepository-layout(5)).
        fn is_linked_here(&self, root: &Path) -> io::Result<bool> {
            let link = root.join(".git");
            let target = match fs::metadata(&link) {
                Ok(meta) if meta.is_dir() => link,
                Ok(meta) if meta.is_file() && meta.len() <= LINK_MAX => {
                    let text = fs::read(&link)?;
                    let Some(target) = text.trim_ascii_end().strip_prefix(b"gitdir: ") else { return Ok(false) };
                    root.join(OsStr::from_bytes(target))
                }
                Ok(_) => return Ok(false),
                Err(error) if leads_nowhere(&error) => return Ok(false),
                Err(error) => return Err(error),
            };
            match self.is_here(&target, false) {
                Err(error) if leads_nowhere(&error) => Ok(false),
                answer => answer,
            }
        }

        fn has_files_open(&self, proc: &Path) -> io::Result<bool> {
            for entry in fs::read_dir(proc.join("fd"))? {
                let Ok(target) = fs::read_link(entry?.path()) else { continue };
                // Our own files: whoever runs under `git elf lock` has the lock open.
                if target.strip_prefix(&self.common).is_ok_and(|rest| !rest.starts_with("elf")) {
                    return Ok(true);
                }
            }
            Ok(false)
        }

        fn leads_here(&self, path: &Path) -> bool {
            // An index file need not exist yet; its directory does.
            let real = fs::canonicalize(path).ok().or_else(|| fs::canonicalize(path.parent()?).ok());
            real.is_some_and(|real| self.paths.iter().any(|top| real.starts_with(top)))
        }
    }

    /// The process ended while it was looked at, or is a zombie or a thread of the kernel.
    fn is_gone(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
    }

    /// Reads the user with whose rights a process makes files; the owner of /proc/PID is root for a process that may not be
    /// traced.
    fn user_of(proc: &Path) -> Option<u32> {
        let status = fs::read_to_string(proc.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().nth(3)?.parse().ok()
    }

    fn leads_nowhere(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    fn words(cmdline: &[u8]) -> Vec<OsString> {
        let text = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
        if text.is_empty() {
            return Vec::new();
        }
        text.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
    }

    fn shown(words: &[OsString]) -> String {
        let text: Vec<_> = words.iter().take(4).map(|word| word.to_string_lossy()).collect();
        text.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect()
    }

    fn base_name(word: &OsStr) -> &[u8] {
        word.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    fn after_equals(word: &[u8]) -> &[u8] {
        word.splitn(2, |byte| *byte == b'=').nth(1).unwrap_or(word)
    }

    /// Tells whether this is git that waits for git-elf, `git [options] elf …`, or the daemon that watches a worktree for
    /// git-status: it runs as long as the user is logged in and never writes to the repository.
    fn takes_no_lock(words: &[OsString]) -> bool {
        verb(words).is_some_and(|verb| verb == b"elf" || verb == b"fsmonitor--daemon")
    }

    /// Returns what git was asked to do; `None` for another program.
    fn verb(words: &[OsString]) -> Option<&[u8]> {
        let mut words = words.iter().map(|word| word.as_bytes());
        let program = words.next()?;
        if program.rsplit(|byte| *byte == b'/').next() != Some(b"git") {
            return None;
        }
        while let Some(word) = words.next() {
            if WITH_VALUE.contains(&word) {
                words.next();
            } else if !word.starts_with(b"-") {
                return Some(word);
            }
        }
        None
    }

    /// Reads a line of /proc/locks (proc_locks(5)): `1: [->] FLOCK ADVISORY WRITE pid major:minor:inode start end`.
    pub fn flock_line(line: &str, inode: u64) -> Option<u32> {
        let words: Vec<_> = line.split_whitespace().filter(|word| *word != "->").collect();
        let (pid, file) = (words.get(4)?, words.get(5)?);
        (file.rsplit(':').next()?.parse() == Ok(inode)).then(|| pid.parse().ok()).flatten()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn git_that_waits_for_git_elf_is_told_from_git_at_work() {
            let of = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
            for wrapper in [
                "git elf locks --clean",
                "/usr/bin/git -C x -c a=b --no-pager elf record",
                "git --git-dir x elf",
                "git fsmonitor--daemon run --detach",
            ] {
                assert!(takes_no_lock(&of(wrapper)), "{wrapper}");
            }
            for other in ["git commit -m elf", "git -C elf status", "git", "vim elf", "git -c elf gc", "git log elf"] {
                assert!(!takes_no_lock(&of(other)), "{other}");
            }
        }

        #[test]
        fn the_user_of_a_process_is_the_one_whose_files_it_makes() {
            use std::os::unix::fs::MetadataExt;
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(user_of(Path::new("/proc/self")), Some(fs::metadata(dir.path()).unwrap().uid()));
        }

        #[test]
        fn lines_of_proc_locks_are_read_with_and_without_an_arrow() {
            let held = "1: FLOCK  ADVISORY  WRITE 794 fe:00:10068131 0 EOF";
            assert_eq!(flock_line(held, 10_068_131), Some(794));
            assert_eq!(flock_line(held, 1_006_813), None);
            assert_eq!(flock_line("1: -> FLOCK  ADVISORY  WRITE 7 fe:00:5 0 EOF", 5), Some(7));
            assert_eq!(flock_line("", 5), None);
        }
    }
}
