//! What `git elf init --agents` and `git elf uninstall` say about files in the working tree.

use std::io;

use serde_json::{Value as Json, json};

use super::Context;
use crate::error::Error;
use crate::install::{AgentFile, AgentState};

/// Says on a line each what became of the files.
pub fn tell_agents(context: &mut Context, files: &[AgentFile]) -> io::Result<()> {
    let mut is_written = false;
    for AgentFile { file, state } in files {
        let (what, writes) = match state {
            AgentState::Created => ("written", true),
            AgentState::Added => ("a block of git-elf was added", true),
            AgentState::Updated => ("the block of git-elf was brought up to date", true),
            AgentState::Kept => ("kept as it is", false),
            AgentState::Spared(why) => (*why, false),
            AgentState::Removed => ("what git-elf had added was taken out", true),
            AgentState::Deleted => ("removed; nothing else was in it", true),
            AgentState::Failed(_) => continue,
        };
        context.out.line(&format!("{file}: {what}"))?;
        is_written |= writes;
    }
    if is_written {
        context.out.line("  these files are yours to commit; nothing was staged")?;
    }
    Ok(())
}

/// Describes the files for JSON.
pub fn agents_json(files: &[AgentFile]) -> Json {
    let one = |AgentFile { file, state }: &AgentFile| {
        let (name, why) = match state {
            AgentState::Created => ("created", None),
            AgentState::Added => ("added", None),
            AgentState::Updated => ("updated", None),
            AgentState::Kept => ("kept", None),
            AgentState::Spared(why) => ("spared", Some((*why).to_owned())),
            AgentState::Removed => ("removed", None),
            AgentState::Deleted => ("deleted", None),
            AgentState::Failed(error) => ("failed", Some(error.to_string())),
        };
        json!({"file": file, "state": name, "why": why})
    };
    files.iter().map(one).collect()
}

/// Returns the first failure.
pub fn failed_agent(files: Vec<AgentFile>) -> Option<Error> {
    files.into_iter().find_map(|file| match file.state {
        AgentState::Failed(error) => Some(error),
        _ => None,
    })
}
