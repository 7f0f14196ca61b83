//! Files in the working tree that tell coding agents about the memory: put in, found again, taken out exactly.
//!
//! They are the user's: nothing is staged or committed. All of them are looked at before the first is written, so that a refusal
//! leaves everything as it is. Nothing outside of the working tree is reached: a link is followed only to say that one of the two
//! texts is the other.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{guide, settings};
use crate::error::{Doing, Error, Result};
use crate::repo::Repo;
use crate::sys::{Beneath, Sort};

/// The text for every agent, and the one that Claude Code reads.
const TEXTS: [&str; 2] = ["AGENTS.md", "CLAUDE.md"];
const SETTINGS: &str = ".claude/settings.json";
/// A file larger than this was not written for an agent.
const SIZE_MAX: u64 = 1 << 20;

/// Which agents `init` is to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agents {
    /// Every agent that reads AGENTS.md or CLAUDE.md.
    Any,
    /// The same, and hooks of Claude Code.
    Claude,
}

/// A file for agents, and what became of it.
#[derive(Debug)]
pub struct AgentFile {
    /// Relative to the root of the working tree.
    pub file: &'static str,
    pub state: AgentState,
}

/// What became of a file for agents.
#[derive(Debug)]
pub enum AgentState {
    /// It was not there.
    Created,
    /// Our text was put into it.
    Added,
    /// Our text was there, with other words.
    Updated,
    /// Our text was there.
    Kept,
    /// It needs no text of ours.
    Spared(&'static str),
    /// Our text was taken out of it.
    Removed,
    /// It was ours alone, and is gone.
    Deleted,
    /// The machine, or what is there, refused.
    Failed(Error),
}

/// What has to be written to have the files in place.
#[derive(Debug)]
pub struct Plan {
    root: Beneath,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    file: &'static str,
    state: AgentState,
    /// The new content, and the permissions of what it replaces.
    content: Option<(Vec<u8>, Option<u32>)>,
}

/// What is there under a name.
enum Present {
    Nothing,
    /// The content, and the permissions.
    File(Vec<u8>, u32),
    /// One of the texts is a link to the other.
    LinkToOther,
}

/// Finds out what has to be written, and writes nothing.
///
/// # Errors
/// [`Error::Refused`] in a bare repository, and where a file cannot be touched, naming it and why.
pub fn plan_agents(repo: &Repo, agents: Agents) -> Result<Plan> {
    let Some(top) = repo.workdir() else {
        return Err(Error::Refused {
            what: "a bare repository has no working tree for AGENTS.md and CLAUDE.md".into(),
            hint: "git elf init --agents in a clone writes them there".into(),
        });
    };
    let root = Beneath::open(top).doing(|| format!("open {}", top.display()))?;
    let mut steps = Vec::new();
    for (file, other) in [(TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[0])] {
        steps.push(plan_text(&root, top, file, other)?);
    }
    if agents == Agents::Claude {
        steps.push(plan_settings(&root, top)?);
    }
    Ok(Plan { root, steps })
}

impl Plan {
    /// Writes the files.
    pub fn carry_out(self) -> Vec<AgentFile> {
        let Self { root, steps } = self;
        let one = |step: Step| {
            let written = step.content.map_or(Ok(()), |(text, mode)| write(&root, step.file, &text, mode));
            AgentFile { file: step.file, state: written.map_or_else(AgentState::Failed, |()| step.state) }
        };
        steps.into_iter().map(one).collect()
    }
}

/// Takes our text out of every file, and removes the files that hold nothing else.
///
/// # Errors
/// When the working tree cannot be opened. What is wrong with one file is part of the result.
pub fn remove_agents(repo: &Repo) -> Result<Vec<AgentFile>> {
    let Some(top) = repo.workdir() else { return Ok(Vec::new()) };
    let root = Beneath::open(top).doing(|| format!("open {}", top.display()))?;
    let mut found = Vec::new();
    for file in [TEXTS[0], TEXTS[1], SETTINGS] {
        match take_out(&root, top, file) {
            Ok(None) => {}
            Ok(Some(state)) => found.push(AgentFile { file, state }),
            Err(error) => found.push(AgentFile { file, state: AgentState::Failed(error) }),
        }
    }
    Ok(found)
}

fn plan_text(root: &Beneath, top: &Path, file: &'static str, other: &str) -> Result<Step> {
    let spared = |why| Ok(Step { file, state: AgentState::Spared(why), content: None });
    let (text, mode) = match present(root, top, file)? {
        Present::Nothing => {
            return Ok(Step { file, state: AgentState::Created, content: Some((guide::created(), None)) });
        }
        Present::LinkToOther => return spared("it is a link to the other"),
        Present::File(text, mode) => (text, mode),
    };
    // Claude Code puts the file in by itself; the text would be read twice.
    let is_importing = file == TEXTS[1] && guide::imports(&text, other);
    if is_importing {
        return match guide::remove(&text) {
            guide::Left::Text(without) => {
                Ok(Step { file, state: AgentState::Removed, content: Some((without, Some(mode))) })
            }
            _ => spared("it brings AGENTS.md in by itself"),
        };
    }
    let Some(with) = guide::insert(&text) else { return Err(torn(file)) };
    let state = match guide::remove(&text) {
        _ if with == text => AgentState::Kept,
        guide::Left::Same => AgentState::Added,
        _ => AgentState::Updated,
    };
    let content = (with != text).then_some((with, Some(mode)));
    Ok(Step { file, state, content })
}

fn plan_settings(root: &Beneath, top: &Path) -> Result<Step> {
    let file = SETTINGS;
    let Present::File(text, mode) = present(root, top, file)? else {
        let content = Some((settings::created().into_bytes(), None));
        return Ok(Step { file, state: AgentState::Created, content });
    };
    let text = String::from_utf8(text).map_err(|_| left_alone(file, "it is not UTF-8"))?;
    let with = settings::put_in(&text).map_err(|why| left_alone(file, &why))?;
    let state = match settings::take_out(&text) {
        _ if with == text => AgentState::Kept,
        Ok(settings::Left::Same) => AgentState::Added,
        _ => AgentState::Updated,
    };
    let content = (with != text).then(|| (with.into_bytes(), Some(mode)));
    Ok(Step { file, state, content })
}

fn take_out(root: &Beneath, top: &Path, file: &'static str) -> Result<Option<AgentState>> {
    let (text, mode) = match present(root, top, file) {
        Ok(Present::File(text, mode)) => (text, mode),
        // What we would not have written to has nothing of ours.
        Ok(_) | Err(Error::Refused { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let left = if file == SETTINGS {
        let Ok(text) = String::from_utf8(text) else { return Ok(None) };
        match settings::take_out(&text).map_err(|why| left_alone(file, &why))? {
            settings::Left::Same => return Ok(None),
            settings::Left::Text(text) => Some(text.into_bytes()),
            settings::Left::Nothing => None,
        }
    } else {
        match guide::remove(&text) {
            guide::Left::Same => return Ok(None),
            guide::Left::Torn => return Err(torn(file)),
            guide::Left::Text(text) => Some(text),
            guide::Left::Nothing => None,
        }
    };
    if let Some(text) = left {
        write(root, file, &text, Some(mode))?;
        return Ok(Some(AgentState::Removed));
    }
    let doing = || format!("remove {file}");
    let (dir, name) = root.parent(Path::new(file)).doing(doing)?;
    dir.unlink(&name).doing(doing)?;
    if let Some(parent) = Path::new(file).parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // It stays when something else is in it.
        let _ = root.rmdir(parent.as_os_str());
    }
    Ok(Some(AgentState::Deleted))
}

/// Looks at a file without following a link.
fn present(root: &Beneath, top: &Path, file: &'static str) -> Result<Present> {
    let doing = || format!("read {file}");
    let link = || left_alone(file, "a symbolic link is in its place");
    let (dir, name) = match root.parent(Path::new(file)) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::Nothing),
        // Its directory: a link, or no directory.
        Err(_) => return Err(left_alone(file, "its directory is a symbolic link, or none")),
    };
    let Some(seen) = dir.look(&name).doing(doing)? else { return Ok(Present::Nothing) };
    match seen.sort {
        Sort::File => {}
        Sort::Link => {
            let target = std::fs::read_link(top.join(file)).doing(doing)?;
            let target = target.strip_prefix(".").unwrap_or(&target);
            let other = TEXTS.into_iter().find(|text| *text != file && target == Path::new(text));
            // A link to a link would be nobody's text.
            let is_file = |name: &str| {
                root.look(OsStr::new(name)).is_ok_and(|seen| seen.is_none_or(|seen| seen.sort == Sort::File))
            };
            return other.filter(|other| is_file(other)).map(|_| Present::LinkToOther).ok_or_else(link);
        }
        Sort::Dir | Sort::Other => return Err(left_alone(file, "what is there is no file")),
    }
    if seen.size > SIZE_MAX {
        return Err(left_alone(file, "it is larger than 1 MiB"));
    }
    let text = dir.read(&name, SIZE_MAX).doing(doing)?;
    let mode = dir.file(&name).and_then(|file| file.metadata()).doing(doing)?.permissions().mode();
    Ok(Present::File(text, mode & 0o7777))
}

fn write(root: &Beneath, file: &str, text: &[u8], mode: Option<u32>) -> Result<()> {
    let doing = || format!("write {file}");
    let path = Path::new(file);
    let dir = root.make(path.parent().unwrap_or(Path::new(""))).doing(doing)?;
    let name = path.file_name().expect("a file for agents has a name");
    dir.replace(name, text, mode).doing(doing)
}

fn torn(file: &str) -> Error {
    left_alone(file, "a mark of git-elf in it has lost its other half; take the lines of git-elf out by hand")
}

fn left_alone(file: &str, why: &str) -> Error {
    Error::Refused {
        what: format!("{file} was left alone: {why}"),
        hint: format!("mend or move {file}, then run the command again"),
    }
}
