//! Hooks as files: where they belong, whose they are, and the one rename that changes them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Form, Hook, Placed, State, block};
use crate::error::{Doing, Error, Result};
use crate::repo::Repo;
use crate::sys;

/// Mode of a new hook, before the umask.
const MODE: u32 = 0o755;
/// A hook larger than this is no script somebody wrote.
const SIZE_MAX: u64 = 1 << 20;

/// The hooks directory of a repository.
struct Directory {
    path: PathBuf,
    site: Site,
}

/// Whose a hooks directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    /// Below the common dir: this clone's alone.
    Private,
    /// In the working tree: other people get it too, so no path of this machine may get into it.
    Tracked,
    /// Somewhere else: other repositories use it.
    Outside,
}

/// What stands where a hook of ours would go.
enum Present {
    Nothing,
    /// A hook that can be read: its content and permissions.
    Script(Vec<u8>, fs::Permissions),
    /// Something that is not ours to change.
    Foreign(&'static str),
}

/// What has to be done to have a hook in place.
struct Plan {
    /// What the hook's state is afterwards.
    state: State,
    /// The new content; the permissions are those of the file that it replaces.
    content: Option<(Vec<u8>, Option<fs::Permissions>)>,
}

pub(super) fn install(repo: &Repo, hook: Hook, program: Option<&str>) -> Placed {
    let directory = Directory::of(repo);
    let path = directory.path.join(hook.name());
    let state = directory.plan(&path, hook, program).and_then(|plan| {
        plan.content.map_or(Ok(()), |(text, permissions)| write(&path, &text, permissions))?;
        Ok(plan.state)
    });
    Placed { hook, place: path.display().to_string(), state: state.unwrap_or_else(State::Failed) }
}

/// Says what [`install`] would leave, and changes nothing.
pub(super) fn inspect(repo: &Repo, hook: Hook, program: Option<&str>) -> Placed {
    let directory = Directory::of(repo);
    let path = directory.path.join(hook.name());
    let state = directory.plan(&path, hook, program).map(|plan| plan.state);
    Placed { hook, place: path.display().to_string(), state: state.unwrap_or_else(State::Failed) }
}

/// Lists files with a marker of ours in the hooks directory, be it the one that git uses or not, under the hook's name or one
/// that another program gave it (lefthook adds `.old`).
pub(super) fn traces(repo: &Repo, hook: Hook) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in [Directory::of(repo), Directory::private(repo)] {
        for entry in fs::read_dir(&directory.path).into_iter().flatten().flatten() {
            let is_named = entry.file_name().to_string_lossy().starts_with(hook.name());
            let is_marked =
                || matches!(present(&entry.path()), Ok(Present::Script(text, _)) if block::is_marked(&text));
            if is_named && is_marked() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Tells whether somebody starts us from a hook that is not ours to change, as the line that we print does.
pub(super) fn is_called(repo: &Repo, hook: Hook) -> bool {
    let directory = Directory::of(repo).path;
    let call = format!("git-elf hook {}", hook.name());
    let mut places = vec![directory.join(hook.name())];
    if is_husky(&directory) {
        places.extend(directory.parent().map(|dir| dir.join(hook.name())));
    }
    let text =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() <= SIZE_MAX).then(|| fs::read(path).ok());
    places.iter().filter_map(|path| text(path).flatten()).any(|text| String::from_utf8_lossy(&text).contains(&call))
}

/// Takes a hook out of the hooks directory, and out of the one that git uses when `core.hooksPath` is not set: it may have
/// been set since.
pub(super) fn uninstall(repo: &Repo, hook: Hook) -> Vec<Placed> {
    let mut directories = vec![Directory::of(repo), Directory::private(repo)];
    directories.dedup_by(|a, b| resolved(&a.path) == resolved(&b.path));
    let one = |directory: Directory| {
        let path = directory.path.join(hook.name());
        let state = directory.uninstall(&path).unwrap_or_else(State::Failed);
        Placed { hook, place: path.display().to_string(), state }
    };
    directories.into_iter().map(one).collect()
}

impl Directory {
    /// Finds the directory as git does: `core.hooksPath`, relative to where git runs hooks, else `hooks` in the common dir.
    fn of(repo: &Repo) -> Self {
        let configured = repo.git().config().and_then(|config| config.get_path("core.hooksPath")).ok();
        let path = match configured.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => repo.workdir().unwrap_or(repo.git().path()).join(path),
            None => return Self::private(repo),
        };
        Self::at(repo, path)
    }

    fn private(repo: &Repo) -> Self {
        Self::at(repo, repo.common_dir().join("hooks"))
    }

    fn at(repo: &Repo, path: PathBuf) -> Self {
        let real = resolved(&path);
        let is_below = |dir: &Path| real.starts_with(resolved(dir));
        let site = if is_below(repo.common_dir()) {
            Site::Private
        } else if repo.workdir().is_some_and(is_below) {
            Site::Tracked
        } else {
            Site::Outside
        };
        Self { path, site }
    }

    fn plan(&self, path: &Path, hook: Hook, program: Option<&str>) -> Result<Plan> {
        let refused = |why: &str| {
            let state = State::Refused { why: why.to_owned(), line: hook.line().to_owned() };
            Ok(Plan { state, content: None })
        };
        if self.site == Site::Outside {
            return refused("core.hooksPath is outside of this repository, and other repositories may use it");
        }
        if is_husky(&self.path) {
            return refused("husky makes this directory anew; add the line to the hook in .husky");
        }
        let block = block::text(hook, program.filter(|_| self.site == Site::Private));
        let (hook, permissions) = match present(path)? {
            Present::Nothing => {
                let content = Some((block::whole(&block), None));
                return Ok(Plan { state: State::Installed(Form::File), content });
            }
            Present::Foreign(why) => return refused(why),
            Present::Script(hook, permissions) => (hook, permissions),
        };
        if let Some(why) = unfit(&hook, &permissions) {
            return refused(why);
        }
        let form = if block::is_whole(&hook) { Form::File } else { Form::Block };
        let was_there = block::is_marked(&hook);
        let with = block::insert(&hook, &block);
        if with == hook {
            return Ok(Plan { state: State::Kept(form), content: None });
        }
        let state = if was_there { State::Updated(form) } else { State::Installed(form) };
        Ok(Plan { state, content: Some((with, Some(permissions))) })
    }

    fn uninstall(&self, path: &Path) -> Result<State> {
        if self.site == Site::Outside {
            return Ok(State::Absent);
        }
        let Present::Script(hook, permissions) = present(path)? else { return Ok(State::Absent) };
        if block::is_whole(&hook) {
            sys::unlink(path).doing(|| format!("remove {}", path.display()))?;
            return Ok(State::Removed(Form::File));
        }
        match block::remove(&hook) {
            Some(without) => {
                write(path, &without, Some(permissions))?;
                Ok(State::Removed(Form::Block))
            }
            None if block::is_marked(&hook) => Err(Error::Refused {
                what: format!("a marker of git-elf in {} has lost its other half", path.display()),
                hint: "take the lines of git-elf out by hand".into(),
            }),
            None => Ok(State::Absent),
        }
    }
}

/// Says why a block cannot go into a hook.
fn unfit(hook: &[u8], permissions: &fs::Permissions) -> Option<&'static str> {
    // Byte strings that the managers write into each hook they make.
    const MANAGERS: [(&[u8], &str); 3] = [
        (b"File generated by pre-commit", "pre-commit made this hook and makes it anew"),
        (b"call_lefthook", "lefthook made this hook and makes it anew"),
        (b"Overcommit", "overcommit made this hook and makes it anew"),
    ];
    let has = |word: &[u8]| hook.windows(word.len()).any(|window| window == word);
    if let Some((_, why)) = MANAGERS.iter().find(|(word, _)| has(word)) {
        Some(why)
    } else if permissions.mode() & 0o111 == 0 {
        Some("the hook that is there is not executable, so git does not run it")
    } else if !block::is_shell(hook) {
        Some("the hook that is there is no sh script")
    } else if block::is_marked(hook) && block::remove(hook).is_none() {
        Some("a marker of git-elf in it has lost its other half; take it out by hand")
    } else {
        None
    }
}

fn present(path: &Path) -> Result<Present> {
    let doing = || format!("read {}", path.display());
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::Nothing),
        Err(error) => return Err(error).doing(doing),
    };
    if meta.is_symlink() {
        return Ok(Present::Foreign("the hook that is there is a symbolic link"));
    }
    if !meta.is_file() || meta.len() > SIZE_MAX {
        return Ok(Present::Foreign("what is there is no script"));
    }
    Ok(Present::Script(fs::read(path).doing(doing)?, meta.permissions()))
}

/// Puts a hook into place whole; durable before it replaces one, since a power cut must not leave the user's hook empty.
fn write(path: &Path, text: &[u8], permissions: Option<fs::Permissions>) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let dir = path.parent().expect("a hook has a directory");
    sys::create_dir(dir).doing(doing)?;
    let mut file = sys::prepare(dir, ".git-elf-", text, MODE).doing(doing)?;
    if let Some(permissions) = permissions {
        file.file().set_permissions(permissions).doing(doing)?;
    }
    sys::sync_file(file.file()).doing(doing)?;
    file.rename_to(path).doing(doing)
}

/// Tells whether a directory is the one that husky writes its own wrappers to.
fn is_husky(dir: &Path) -> bool {
    dir.file_name().is_some_and(|name| name == "_")
        && dir.parent().and_then(Path::file_name).is_some_and(|name| name == ".husky")
}

/// Resolves links in the part of a path that exists, and `..` in the rest.
fn resolved(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut existing = path;
    loop {
        if let Ok(real) = existing.canonicalize() {
            let mut real = real;
            for part in rest.iter().rev() {
                match part {
                    std::path::Component::ParentDir => drop(real.pop()),
                    std::path::Component::CurDir => {}
                    part => real.push(part),
                }
            }
            return real;
        }
        let (Some(parent), Some(last)) = (existing.parent(), existing.components().next_back()) else {
            return path.to_owned();
        };
        rest.push(last);
        existing = parent;
    }
}
