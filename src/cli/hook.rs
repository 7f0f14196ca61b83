//! `git elf hook`: what the installed hooks call. A hook never waits long, and no failure of our own stops the user's git.

use std::io::IsTerminal;
use std::time::Duration;

use super::output::Speaker;
use super::{Context, Done, Outcome, open_silently, session, why};
use crate::config::Push;
use crate::error::{Error, Result};
use crate::install::tracking_ref;
use crate::store::{InStep, Store, Update, Voice};

/// How long a push waits for the lock.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a commit waits for what is said about it.
const COMMIT_PATIENCE: Duration = Duration::from_millis(500);
/// Most flaws that are listed.
const LISTED_MAX: usize = 10;

/// What the installed hooks call
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    hook: Hook,
}

#[derive(clap::Subcommand)]
enum Hook {
    /// Keep the lessons in the new commit's trailers
    PostCommit {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Say what went wrong before, and what must hold, in the staged files
    PreCommit {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Check a memory that is pushed; git writes the refs to stdin
    PrePush {
        /// The remote's name, or its URL
        remote: Option<String>,
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Give a coding agent what it should know; its JSON comes on stdin
    SessionStart,
    /// Remind a coding agent that has worked and recorded nothing, once
    Stop,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        match self.hook {
            Hook::SessionStart => Ok(session::start(context)),
            Hook::Stop => Ok(session::stop(context)),
            Hook::PostCommit { .. } => {
                let harvested = open_silently().and_then(|store| store.harvest_head());
                let complaints = match harvested {
                    Ok(rejected) => rejected,
                    Err(error) => vec![error],
                };
                for error in complaints.into_iter().filter(|error| !matches!(error, Error::Deferred { .. })) {
                    say(&format!("post-commit: {error}"));
                }
                Ok(Done::Well)
            }
            Hook::PreCommit { .. } => {
                warn_of_staged();
                Ok(Done::Well)
            }
            Hook::PrePush { remote, rest } => {
                // Without a name git hands over the URL twice; it may hold a password, so it is not repeated.
                let remote = remote.filter(|name| rest.first() != Some(name));
                let checked = open_silently().and_then(|store| {
                    let memories = read_updates(&store);
                    check(&store, remote.as_deref(), &memories)
                });
                match checked {
                    Ok(None) => Ok(Done::Well),
                    Ok(Some(blocked)) => Err(blocked.into()),
                    Err(error) => {
                        say(&format!("the memory was not checked, the push goes on: {error}"));
                        Ok(Done::Well)
                    }
                }
            }
        }
    }
}

/// Warns about staged files. Whatever happens the commit goes on, and soon.
fn warn_of_staged() {
    std::thread::spawn(|| {
        std::thread::sleep(COMMIT_PATIENCE);
        std::process::exit(0);
    });
    // Whoever commits has other things to do than to hear why there is no warning.
    let found = open_silently().and_then(|store| store.warnings(3, COMMIT_PATIENCE, true));
    for line in why::lines(&found.unwrap_or_default()) {
        say(&line);
    }
}

/// Returns why the push must not go on; `Err` is a failure of our own, which is no reason.
fn check(store: &Store, remote: Option<&str>, memories: &[Update]) -> Result<Option<Error>> {
    let ledger_ref = store.config().ledger_ref.as_str();
    let in_tree = store.ledger().is_in_tree();
    // What is pushed is looked at first: it needs neither lock nor index.
    for update in memories.iter().filter(|update| !update.local.is_zero()) {
        if let Some(blocked) = check_pushed(store, update)? {
            return Ok(Some(blocked));
        }
    }
    // A push that has no memory in it is none of our business: it must neither wait for a writer nor stop.
    let in_step = if memories.is_empty() { InStep::Yes } else { store.in_step("hook", PATIENCE)? };
    match in_step {
        InStep::Yes => {}
        InStep::Busy => say("another process holds the lock; the index was not compared, the push goes on"),
        InStep::No => {
            return Ok(Some(Error::Refused {
                what: format!("the index still differs from {ledger_ref} after a catch-up; the push was stopped"),
                hint: "git elf check --fix makes the index again".into(),
            }));
        }
    }
    if memories.is_empty() && !in_tree && store.config().push == Push::Warn {
        warn_of_unshared(store, remote)?;
    }
    Ok(None)
}

fn check_pushed(store: &Store, update: &Update) -> Result<Option<Error>> {
    let Some(new) = store.tree_of(update.local)? else { return Ok(None) };
    let flaws = store.flaws(store.tree_of(update.remote).unwrap_or(None), new)?;
    if flaws.is_empty() {
        return Ok(None);
    }
    let mut what = format!("the memory in {} is not sound; the push was stopped:", update.local_ref);
    for (path, problem) in flaws.iter().take(LISTED_MAX) {
        what.push_str(&format!("\n  {path}: {problem}"));
    }
    if flaws.len() > LISTED_MAX {
        what.push_str(&format!("\n  … and {} more", flaws.len() - LISTED_MAX));
    }
    let name = &store.config().ledger_ref;
    if store.ledger().is_in_tree() {
        let hint = "mend these files and commit; git elf check says when they are sound".into();
        return Ok(Some(Error::Refused { what, hint }));
    }
    let hint = format!(
        "mend the files with plain git: git worktree add --detach ../memory {name}, edit and commit there, then git update-ref {name} HEAD there; git elf check says when it is sound"
    );
    Ok(Some(Error::Refused { what, hint }))
}

/// Says how many records a remote lacks, as far as the last fetch or push tells.
fn warn_of_unshared(store: &Store, remote: Option<&str>) -> Result<()> {
    let name = &store.config().ledger_ref;
    let Some(tip) = store.ledger().tip()? else { return Ok(()) };
    let seen = remote.and_then(|remote| store.repo().git().refname_to_id(&tracking_ref(name, remote)).ok());
    let seen = seen.and_then(|oid| store.tree_of(oid).ok().flatten());
    let count = store.count_new(seen, tip.tree)?;
    if count > 0 {
        let (who, remote) = remote.map_or(("that repository", "REPOSITORY"), |name| (name, name));
        let records = if count == 1 { "record" } else { "records" };
        say(&format!("{who} lacks {count} {records} of this memory: git push {remote} {name}"));
    }
    Ok(())
}

fn read_updates(store: &Store) -> Vec<Update> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Vec::new();
    }
    let ledger_ref = store.config().ledger_ref.as_str();
    let in_tree = store.ledger().is_in_tree();
    // On the current branch, a push that brings no records is about code alone.
    let records = |oid| store.tree_of(oid).ok().flatten();
    let is_memory =
        |update: &Update| update.is_memory(ledger_ref) || in_tree && records(update.local) != records(update.remote);
    Update::read(stdin.lock(), &is_memory).unwrap_or_else(|error| {
        say(&format!("the refs that are pushed could not be read: {error}"));
        Vec::new()
    })
}

fn say(line: &str) {
    Speaker::new().say(line);
}
