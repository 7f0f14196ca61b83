//! Whether git still reaches the hooks that init put in.
//!
//! Another program may have dropped, renamed or bypassed them since, and git says nothing about a hook that it does not run. So
//! init writes down, in `elf/init`, where each hook is, and each command compares: two hooks are read, and no process is
//! started. What is in git's configuration needs no such care.
//!
//! The file has a line for each hook, with tabs: its name; a word; who made the hook that git runs; and the place of ours, or of
//! what is in its way. The word is `runs`, `asked` (somebody was told what to add), `calls` (and has added it) or `-` (not to be
//! compared). The first command that sees the addition turns `asked` into `calls` in place: both have five letters, so neither a
//! concurrent `uninstall`, which removes the file, nor `init`, which replaces it, is undone. Without the file nothing is compared.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::owner::Owner;
use super::{Form, Hook, Placed, State, block, files};
use crate::error::{Doing, Result};
use crate::repo::Repo;
use crate::sys;

/// More than three lines with the longest paths that there are.
const SIZE_MAX: usize = 4 * 4096;
/// Longest path that is repeated, in bytes; a line stays below 200 bytes with it.
const SHOWN_MAX: usize = 60;

/// What init left, and what was seen of it since.
struct Known {
    hook: Hook,
    how: How,
    /// Where the word for it begins in the file.
    at: u64,
    /// Who made the hook that git ran.
    owner: String,
    place: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Runs,
    Asked,
    Calls,
}

/// How git gets to our hook.
enum Reach {
    /// Our text is in a file that runs.
    Ours(PathBuf),
    /// A line of the user's calls us.
    Called(PathBuf),
    Nowhere,
}

/// Why git does not get to our hook, or gets to it in another place.
#[derive(Debug, PartialEq, Eq)]
enum Loss {
    /// git runs hooks from another directory now.
    Bypassed {
        by: String,
    },
    /// As it was before somebody set `core.hooksPath`.
    Unset,
    /// The suffix that ours has now.
    Renamed {
        by: &'static str,
        suffix: String,
        runs: bool,
    },
    Replaced {
        by: &'static str,
    },
    /// The line of the user's that called us is gone.
    Silenced,
    Disabled,
    /// husky makes its scripts in each working tree, and git tracks none of them.
    Unmade,
    Removed {
        from: String,
    },
}

/// Writes down where each hook is.
pub(super) fn remember(repo: &Repo, placed: &[Placed]) -> Result<()> {
    let directory = files::directory(repo);
    let mut text = Vec::new();
    for one in placed {
        let (word, place) = match &one.state {
            State::Installed(Form::Config) | State::Updated(Form::Config) | State::Kept(Form::Config) => ("-", ""),
            State::Installed(_) | State::Updated(_) | State::Kept(_) => ("runs", one.place.as_str()),
            State::Called { .. } => ("calls", one.place.as_str()),
            State::Refused { .. } => ("asked", one.place.as_str()),
            State::Removed(_) | State::Absent | State::Failed(_) => continue,
        };
        let is_plain = directory.to_str().is_some_and(|path| !path.contains(char::is_control));
        let (word, place) = if is_plain { (word, place) } else { ("-", "") };
        let owner = owner_in(&directory, one.hook).name();
        text.extend(format!("{}\t{word}\t{owner}\t{place}\n", one.hook.name()).into_bytes());
    }
    if text.is_empty() {
        return Ok(());
    }
    let path = file(repo);
    let doing = || format!("write {}", path.display());
    sys::prepare(repo.elf_dir(), ".init-", &text, 0o644).and_then(|mut new| new.rename_to(&path)).doing(doing)
}

/// Forgets that init was run.
pub(super) fn forget(repo: &Repo) {
    let _ = sys::unlink(&file(repo));
}

/// Tells whether init was run, so that a missing hook can be told from a repository without hooks.
pub(super) fn is_remembered(repo: &Repo) -> bool {
    file(repo).exists()
}

/// Tells whether init has put a hook in, or has said how.
pub(super) fn knows(repo: &Repo, hook: Hook) -> bool {
    known(repo).iter().any(|known| known.hook == hook)
}

/// Lists the directories that hooks were installed in.
pub(super) fn places(repo: &Repo) -> Vec<PathBuf> {
    known(repo).iter().filter_map(|known| known.place.parent().map(Path::to_owned)).collect()
}

/// Returns the file with a line of the user's that starts us, if git gets there, or will when husky has been run.
pub(super) fn caller(repo: &Repo, directory: &Path, hook: Hook) -> Option<PathBuf> {
    match reach(repo, directory, hook) {
        Reach::Called(file) => Some(file),
        Reach::Nowhere if owner_in(directory, hook) == Owner::Husky => {
            let calls = |file: &PathBuf| files::script(file).is_some_and(|(text, _)| calls(&text, hook));
            Owner::Husky.files(repo, &directory.join(hook.name())).into_iter().find(calls)
        }
        Reach::Ours(_) | Reach::Nowhere => None,
    }
}

/// Says on one line which hooks git does not reach any more, why, and what to run; `None` when there are none.
pub fn lost(repo: &Repo) -> Option<String> {
    let directory = files::directory(repo);
    let known = known(repo);
    let mut lost = known.iter().filter_map(|known| Some((known.hook.name(), loss(repo, &directory, known)?)));
    let (hook, loss) = lost.next()?;
    let (same, others): (Vec<_>, Vec<_>) = lost.partition(|(_, other)| *other == loss);
    let mut names = vec![hook];
    names.extend(same.iter().map(|(name, _)| *name));
    let last = names.pop().expect("it has at least one");
    let line = if names.is_empty() {
        loss.say(&format!("hook {last}"), false)
    } else {
        loss.say(&format!("hooks {} and {last}", names.join(", ")), true)
    };
    let others: Vec<_> = others.iter().map(|(name, _)| *name).collect();
    Some(if others.is_empty() { line } else { format!("{line} ({} too)", others.join(" and ")) })
}

/// As [`lost`], of one hook.
pub(super) fn lost_one(repo: &Repo, hook: Hook) -> Option<String> {
    let known = known(repo).into_iter().find(|known| known.hook == hook)?;
    let loss = loss(repo, &files::directory(repo), &known)?;
    Some(loss.say(&format!("hook {}", hook.name()), false))
}

impl Loss {
    fn say(&self, what: &str, many: bool) -> String {
        let (them, are) = if many { ("them", "are") } else { ("it", "is") };
        match self {
            Self::Bypassed { by } => format!("{by} bypasses the {what} of git-elf; next: git elf init"),
            Self::Unset => format!(
                "core.hooksPath is not set any more, so git does not run the {what} of git-elf; next: git elf init"
            ),
            Self::Renamed { by, suffix, runs: false } => {
                format!("{by} renamed the {what} of git-elf to {suffix} and does not run {them}; next: git elf init")
            }
            Self::Renamed { by, suffix, runs: true } => {
                format!("{by} renamed the {what} of git-elf to {suffix} and runs {them} there; git elf init takes note")
            }
            Self::Silenced => {
                format!("the {what} no longer call{} git-elf; next: git elf init", if many { "" } else { "s" })
            }
            Self::Replaced { by } => format!("{by} replaced the {what} of git-elf; next: git elf init"),
            Self::Disabled => {
                format!("the {what} of git-elf {are} not executable, so git does not run {them}; next: git elf init")
            }
            Self::Unmade => {
                format!("husky has not been run in this working tree, so git does not run the {what}; next: npx husky")
            }
            Self::Removed { from } => format!("the {what} of git-elf {are} gone from {from}; next: git elf init"),
        }
    }
}

fn loss(repo: &Repo, directory: &Path, known: &Known) -> Option<Loss> {
    let hook = known.hook;
    let runs = directory.join(hook.name());
    let owner = || owner_in(directory, hook);
    match reach(repo, directory, hook) {
        // pre-commit renames what it finds and goes on running it: nothing is lost, but it is not where it was.
        Reach::Ours(path) if known.how == How::Runs && path != known.place && known.place == runs => {
            return Some(Loss::Renamed { by: owner().name(), suffix: suffix(&path), runs: true });
        }
        Reach::Ours(_) => return None,
        Reach::Called(_) => {
            if known.how == How::Asked {
                // Where it cannot be written down, only doctor will notice that the line is gone again.
                let _ = note_call(repo, hook);
            }
            return None;
        }
        Reach::Nowhere => {}
    }
    let configured = files::configured(repo);
    // A relative one leads to another directory in each worktree, and nobody has changed anything there.
    let is_here = known.place.parent().is_some_and(|parent| {
        parent == directory || configured.as_ref().is_some_and(|path| path.is_relative() && parent.ends_with(path))
    });
    let found = files::script(&directory.join(hook.name()));
    if is_here && found.is_none() && owner() == Owner::Husky && known.how != How::Asked {
        return Some(Loss::Unmade);
    }
    let is_unchanged = is_here && known.owner == owner().name();
    match known.how {
        // Nobody has added what init printed, which is the user's to decide.
        How::Asked if is_unchanged => return None,
        How::Calls if is_unchanged => return Some(Loss::Silenced),
        How::Runs | How::Asked | How::Calls => {}
    }
    if !is_here {
        let by = match configured {
            Some(path) => {
                let husky = if owner() == Owner::Husky { " (husky)" } else { "" };
                format!("core.hooksPath={}{husky}", shortened(&path))
            }
            None => return Some(Loss::Unset),
        };
        return Some(Loss::Bypassed { by });
    }
    if found.as_ref().is_some_and(|(text, _)| block::is_marked(text)) {
        return Some(Loss::Disabled);
    }
    if let Some(path) = files::traces_in(directory, hook).first() {
        return Some(Loss::Renamed { by: owner().name(), suffix: suffix(path), runs: false });
    }
    Some(match found {
        Some(_) => Loss::Replaced { by: owner().name() },
        None => Loss::Removed { from: shortened(directory) },
    })
}

fn reach(repo: &Repo, directory: &Path, hook: Hook) -> Reach {
    let path = directory.join(hook.name());
    let Some((text, is_executable)) = files::script(&path) else { return Reach::Nowhere };
    if !is_executable {
        return Reach::Nowhere;
    }
    if block::remove(&text).is_some() {
        return Reach::Ours(path);
    }
    if calls(&text, hook) {
        return Reach::Called(path);
    }
    let owner = Owner::of(&path, &text);
    let guest = owner.guest(&path);
    for file in owner.files(repo, &path) {
        let Some((text, is_executable)) = files::script(&file) else { continue };
        let is_guest = guest.as_ref() == Some(&file);
        if is_guest && is_executable && block::remove(&text).is_some() {
            return Reach::Ours(file);
        }
        if (is_executable || !is_guest) && calls(&text, hook) {
            return Reach::Called(file);
        }
    }
    Reach::Nowhere
}

/// Tells whether a script or a configuration file has the line that init prints. What is commented out does not count.
fn calls(text: &[u8], hook: Hook) -> bool {
    let call = format!("git-elf hook {}", hook.name());
    String::from_utf8_lossy(text).lines().any(|line| !line.trim_start().starts_with('#') && line.contains(&call))
}

fn owner_in(directory: &Path, hook: Hook) -> Owner {
    let path = directory.join(hook.name());
    let text = files::script(&path).map(|(text, _)| text);
    Owner::of(&path, text.as_deref().unwrap_or_default())
}

/// Turns `asked` into `calls`, in the very file that was read.
fn note_call(repo: &Repo, hook: Hook) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(file(repo))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    match parse(&text).into_iter().find(|known| known.hook == hook && known.how == How::Asked) {
        Some(known) => file.write_all_at(b"calls", known.at),
        None => Ok(()),
    }
}

fn known(repo: &Repo) -> Vec<Known> {
    let text = sys::read_small(&file(repo), SIZE_MAX).unwrap_or_default();
    parse(&String::from_utf8(text).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Known> {
    let mut at = 0_usize;
    let one = |line: &str| {
        let start = at;
        at += line.len();
        let mut fields = line.trim_end_matches('\n').splitn(4, '\t');
        let name = fields.next()?;
        let hook = Hook::ALL.into_iter().find(|hook| hook.name() == name)?;
        let how = match fields.next()? {
            "runs" => How::Runs,
            "asked" => How::Asked,
            "calls" => How::Calls,
            _ => return None,
        };
        let owner = fields.next()?.to_owned();
        Some(Known { hook, how, at: (start + name.len() + 1) as u64, owner, place: PathBuf::from(fields.next()?) })
    };
    text.split_inclusive('\n').filter_map(one).collect()
}

fn file(repo: &Repo) -> PathBuf {
    repo.elf_dir().join("init")
}

/// Returns what another program added to the name of our hook.
fn suffix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let known = Hook::ALL.into_iter().find_map(|hook| name.strip_prefix(hook.name()).map(str::to_owned));
    known.unwrap_or_else(|| name.into_owned())
}

fn shortened(path: &Path) -> String {
    let text: String = path.to_string_lossy().chars().filter(|c| !c.is_control()).collect();
    if text.len() <= SHOWN_MAX {
        return text;
    }
    let start = text.char_indices().map(|(at, _)| at).find(|at| text.len() - at <= SHOWN_MAX);
    format!("…{}", &text[start.unwrap_or(text.len())..])
}
