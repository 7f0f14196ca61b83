//! Hooks as files: where they belong, whose they are, and the one rename that changes them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::owner::{Owner, shown};
use super::{Form, Hook, Placed, State, block, standing};
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

/// A text to write, and the permissions of the file that it replaces.
type Content = Option<(Vec<u8>, Option<fs::Permissions>)>;

/// What has to be done to have a hook in place.
struct Plan {
    /// Where our hook is afterwards, or what is in its way.
    path: PathBuf,
    /// What the hook's state is afterwards.
    state: State,
    /// `None` when nothing has to be written.
    content: Content,
}

pub(super) fn install(repo: &Repo, hook: Hook, program: Option<&str>) -> Placed {
    let directory = Directory::of(repo);
    placed(&directory, hook, directory.plan(repo, hook, program), |path, plan| {
        plan.map_or(Ok(()), |(text, permissions)| write(path, &text, permissions))
    })
}

/// Says what [`install`] would leave, and changes nothing.
pub(super) fn inspect(repo: &Repo, hook: Hook, program: Option<&str>) -> Placed {
    let directory = Directory::of(repo);
    placed(&directory, hook, directory.plan(repo, hook, program), |_, _| Ok(()))
}

fn placed(
    directory: &Directory,
    hook: Hook,
    plan: Result<Plan>,
    carry_out: impl FnOnce(&Path, Content) -> Result<()>,
) -> Placed {
    let (path, state) = match plan {
        Ok(Plan { path, state, content }) => {
            let done = carry_out(&path, content);
            (path, done.map_or_else(State::Failed, |()| state))
        }
        Err(error) => (directory.path.join(hook.name()), State::Failed(error)),
    };
    Placed { hook, place: path.display().to_string(), state }
}

/// Finds the directory that git runs hooks from: `core.hooksPath`, relative to where git runs hooks, else `hooks` in the common
/// dir.
pub(super) fn directory(repo: &Repo) -> PathBuf {
    match configured(repo) {
        Some(path) => repo.workdir().unwrap_or(repo.git().path()).join(path),
        None => repo.common_dir().join("hooks"),
    }
}

/// Returns `core.hooksPath`.
pub(super) fn configured(repo: &Repo) -> Option<PathBuf> {
    let path = repo.git().config().and_then(|config| config.get_path("core.hooksPath")).ok();
    path.filter(|path| !path.as_os_str().is_empty())
}

/// Lists files with a marker of ours in the hooks directory, be it the one that git uses or not, under the hook's name or one
/// that another program gave it (lefthook adds `.old`).
pub(super) fn traces(repo: &Repo, hook: Hook) -> Vec<PathBuf> {
    let directories = [Directory::of(repo), Directory::private(repo)];
    let mut found: Vec<_> = directories.iter().flat_map(|directory| traces_in(&directory.path, hook)).collect();
    found.sort();
    found.dedup();
    found
}

/// Lists files with a marker of ours in a directory.
pub(super) fn traces_in(directory: &Path, hook: Hook) -> Vec<PathBuf> {
    let is_trace = |entry: &fs::DirEntry| {
        entry.file_name().to_string_lossy().starts_with(hook.name())
            && matches!(present(&entry.path()), Ok(Present::Script(text, _)) if block::is_marked(&text))
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(is_trace).map(|entry| entry.path()).collect()
}

/// Takes a hook out wherever another program put it: of the hooks directory, of the one that git uses when `core.hooksPath` is
/// not set, since it may have been set since, and of those that [`install`] chose earlier.
pub(super) fn uninstall(repo: &Repo, hook: Hook) -> Vec<Placed> {
    let mut directories = vec![Directory::of(repo), Directory::private(repo)];
    directories.extend(standing::places(repo).into_iter().map(|path| Directory::at(repo, path)));
    let mut seen: Vec<PathBuf> = Vec::new();
    directories.retain(|directory| {
        let real = resolved(&directory.path);
        let is_new = !seen.contains(&real);
        seen.push(real);
        is_new
    });
    let place = |path: &Path| path.display().to_string();
    let mut found = Vec::new();
    for directory in directories.iter().filter(|directory| directory.site != Site::Outside) {
        for path in traces_in(&directory.path, hook) {
            let state = take_out(&path).unwrap_or_else(State::Failed);
            found.push(Placed { hook, place: place(&path), state });
        }
    }
    if let Some(file) = standing::caller(repo, &directories[0].path, hook) {
        let state = State::Called { file: shown(repo, &file) };
        found.push(Placed { hook, place: place(&file), state });
    }
    if found.is_empty() {
        found.push(Placed { hook, place: place(&directories[0].path.join(hook.name())), state: State::Absent });
    }
    found
}

fn take_out(path: &Path) -> Result<State> {
    let Present::Script(hook, permissions) = present(path)? else { return Ok(State::Absent) };
    if block::is_whole(&hook) {
        sys::unlink(path).doing(|| format!("remove {}", path.display()))?;
        return Ok(State::Removed(Form::File));
    }
    let Some(without) = block::remove(&hook) else {
        return Err(Error::Refused {
            what: format!("a marker of git-elf in {} has lost its other half", path.display()),
            hint: "take the lines of git-elf out by hand".into(),
        });
    };
    write(path, &without, Some(permissions))?;
    Ok(State::Removed(Form::Block))
}

impl Directory {
    fn of(repo: &Repo) -> Self {
        Self::at(repo, directory(repo))
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

    fn plan(&self, repo: &Repo, hook: Hook, program: Option<&str>) -> Result<Plan> {
        let mut path = self.path.join(hook.name());
        let block = block::text(hook, program.filter(|_| self.site == Site::Private));
        let text = script(&path).map(|(text, _)| text);
        let owner = Owner::of(&path, text.as_deref().unwrap_or_default());
        if !text.as_deref().is_some_and(block::is_marked)
            && let Some(file) = standing::caller(repo, &self.path, hook)
        {
            return Ok(Plan { state: State::Called { file: shown(repo, &file) }, path, content: None });
        }
        let refused = |path: PathBuf, why: &str, text: Option<&[u8]>| {
            let edit = Some(owner.edit(repo, hook, &path, text));
            Ok(Plan { state: State::Refused { why: why.to_owned(), edit }, path, content: None })
        };
        if self.path.exists() && !self.path.is_dir() {
            // `/dev/null` is how hooks are switched off.
            let state =
                State::Refused { why: "core.hooksPath is no directory, so git runs no hooks".into(), edit: None };
            return Ok(Plan { state, path, content: None });
        }
        if let Some(why) = owner.refusal() {
            return refused(path, why, text.as_deref());
        }
        if self.site == Site::Outside {
            let why = "core.hooksPath is outside of this repository, and other repositories may use it";
            return refused(path, why, text.as_deref());
        }
        path = owner.guest(&path).unwrap_or(path);
        let (script, permissions) = match present(&path)? {
            Present::Nothing => {
                let content = Some((block::whole(&block), None));
                return Ok(Plan { path, state: State::Installed(Form::File), content });
            }
            Present::Foreign(why) => return refused(path, why, text.as_deref()),
            Present::Script(script, permissions) => (script, permissions),
        };
        if let Some(why) = unfit(&script, &permissions) {
            let mut plan = refused(path, why, Some(&script))?;
            if let State::Refused { edit: Some(edit), .. } = &mut plan.state
                && !is_executable(&permissions)
            {
                edit.how.push_str(", and make it executable");
            }
            return Ok(plan);
        }
        let form = if block::is_whole(&script) { Form::File } else { Form::Block };
        let was_there = block::is_marked(&script);
        let with = block::insert(&script, &block);
        if with == script {
            return Ok(Plan { path, state: State::Kept(form), content: None });
        }
        let state = if was_there { State::Updated(form) } else { State::Installed(form) };
        Ok(Plan { path, state, content: Some((with, Some(permissions))) })
    }
}

/// Says why a block cannot go into a hook.
fn unfit(hook: &[u8], permissions: &fs::Permissions) -> Option<&'static str> {
    if !is_executable(permissions) {
        Some("the hook that is there is not executable, so git does not run it")
    } else if !block::is_shell(hook) {
        Some("the hook that is there is no sh script")
    } else if block::is_marked(hook) && block::remove(hook).is_none() {
        Some("a marker of git-elf in it has lost its other half; take it out by hand")
    } else {
        None
    }
}

fn is_executable(permissions: &fs::Permissions) -> bool {
    permissions.mode() & 0o111 != 0
}

/// Reads what git or another program would run, links followed: its text, and whether it is executable.
pub(super) fn script(path: &Path) -> Option<(Vec<u8>, bool)> {
    let meta = fs::metadata(path).ok().filter(|meta| meta.is_file() && meta.len() <= SIZE_MAX)?;
    Some((fs::read(path).ok()?, is_executable(&meta.permissions())))
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
