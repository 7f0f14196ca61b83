//! What the hooks of a coding agent call: the memory at the beginning of its session, and one reminder at the end.
//!
//! The protocol is that of Claude Code: JSON on stdin, with `session_id`; what the first prints becomes part of the agent's context, and
//! the second prints a decision. An agent must never suffer from us: whatever fails is silent, and the exit status is 0, since 2
//! would stop it.

use std::io::{IsTerminal, Read};

use clap::Parser;
use serde_json::{Map, Value as Json, json};

use super::{Context, Done, open_silently};
use crate::error::Result;
use crate::store::Work;

/// Largest input that is read; it holds the agent's last message.
const INPUT_MAX: u64 = 4 << 20;

/// Prints what an agent should know, and notes where its session begins.
pub fn start(context: &mut Context) -> Done {
    let input = input();
    if let (Ok(store), Some(id)) = (open_silently(), session_id(&input)) {
        let _ = store.begin_session(id);
    }
    // As it is typed, so that a session is told what the user would be told.
    if let Ok(cli) = super::Cli::try_parse_from(["git-elf", "context"]) {
        let _ = super::dispatch(cli.verb, context);
    }
    Done::Well
}

/// Reminds an agent that has worked and recorded nothing, once a session.
pub fn stop(context: &mut Context) -> Done {
    let input = input();
    // The agent goes on because of a hook already, this one or another: asking again is how loops begin.
    let is_going_on = input.get("stop_hook_active").is_some_and(|active| *active != json!(false));
    let Some(id) = session_id(&input).filter(|_| !is_going_on) else { return Done::Well };
    if let Ok(Some(work)) = unrecorded(id) {
        let mut decision = Map::new();
        decision.insert("decision".into(), json!("block"));
        decision.insert("reason".into(), json!(reason(work)));
        let _ = context.out.json(&decision);
    }
    Done::Well
}

fn unrecorded(id: &str) -> Result<Option<Work>> {
    open_silently()?.unrecorded_work(id)
}

fn reason(work: Work) -> String {
    let done = match work {
        Work::Commits => "made commits",
        Work::Changes => "changed files",
    };
    format!(
        "This session {done} and recorded no lesson. If you understood a failure, decided something or found a rule that the next one \
         should know, record it now: git elf record failure|decision|heuristic \"TITLE\" -m \"WHY\" --domain AREA. If there is nothing \
         worth keeping, just finish. This is said once."
    )
}

fn session_id(input: &Map<String, Json>) -> Option<&str> {
    input.get("session_id").and_then(Json::as_str).filter(|id| !id.is_empty())
}

/// Reads the object on stdin; nothing where there is none.
fn input() -> Map<String, Json> {
    let stdin = std::io::stdin();
    let mut text = Vec::new();
    if stdin.is_terminal() || stdin.lock().take(INPUT_MAX).read_to_end(&mut text).is_err() {
        return Map::new();
    }
    serde_json::from_slice(&text).unwrap_or_default()
}
