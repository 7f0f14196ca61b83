//! The short help, what is said about a wrong command line, and the sections of the manual that no argument describes.

use std::process::ExitCode;

use super::{Context, Done, Outcome};
use crate::error::Error;
use crate::record::secret::redacted;

/// What `git elf`, `git elf -h` and `git elf help` print: below 2 KB, since some agents see no more.
pub const TEXT: &str = "\
git elf: the memory of this repository. Record what was learned, find it again.

everyday
  record KIND [TITLE] [-m BODY]  write a lesson; prints its id
    KIND: failure success heuristic decision assumption invariant spike experiment observation
  search WORDS                   find lessons: words, \"a phrase\", -without, pre*
  context                        what to know before a task
  list                           newest first; --kind --domain --path --since --reach
  show ID...                     whole records; an id may be cut to 4 characters
  why PATH[:LINE]... | --staged  what was learned about files, or what is staged
  edit ID                        correct a record; its history stays

evidence
  validate ID | violate ID       the lesson held | it failed
  breach ID | sight ID           somebody broke the rule | it was seen again
  promote ID... [--eligible]     make heuristics golden rules
  retract ID...|- [--by NEW]     it no longer holds
  review                         go through what arrived, in the editor

care
  init [--agents[=claude]]       hooks, and how to share; recording needs no set-up
  flush                          commit what waits, after init --in-tree
  check [--fix]                  compare ledger, index and spool
  doctor                         the same, and hooks, locks, disk
  locks [--clean]                who holds what; remove leftovers
  stats | log                    counts, waits, settings | what happened when
  import --from jsonl FILE|-     export [--format jsonl|markdown]
         --from elf DIR          a memory of ELF
  mcp                            serve agents over MCP
  uninstall                      take out what init put in

example
  git elf record failure \"WAL grew to 20 MB\" -m \"No checkpoint on close.\" --domain db --tags sqlite,wal
  git elf search \"wal checkpoint\"

git elf VERB -h explains a verb. Records are markdown files on the ref refs/elf/memory.
exit: 0 done  1 it did not happen  2 invalid input  3 a check found problems  4 the lock stayed taken
";

/// What the manual adds.
pub const MANUAL: &str = "\
Records are immutable markdown files on the ref refs/elf/memory, shared by all worktrees and invisible to git status. Exit \
status 0 of `git elf record` means that the record is durable: committed, or queued for the next command. An index in SQLite \
answers searches; it may be deleted at any time and rebuilds itself.

Configuration (git config): elf.ref, elf.commit (flush or immediate), elf.lockTimeout (seconds, 10), elf.staleLockAge (seconds, 300), elf.walLimit (bytes, 256k), elf.push (warn or off), \
elf.allowSecret, elf.mainBranch, elf.agent. Environment: ELF_AGENT names the coding agent that records.";

/// Print what this program, or one verb, can do
#[derive(clap::Args, Default)]
pub struct Args {
    verb: Option<String>,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let Some(name) = self.verb else {
            context.out.own(TEXT.as_bytes())?;
            return Ok(Done::Well);
        };
        let mut command = super::command();
        command.build();
        let Some(verb) = command.find_subcommand_mut(&name) else {
            return Err(Error::invalid("verb", format!("{name:?} is none; git elf -h lists them")).into());
        };
        let text = verb.render_help().to_string();
        context.out.own(text.as_bytes())?;
        Ok(Done::Well)
    }
}

/// Says what is wrong with a command line, or prints the help that was asked for.
pub fn explain(usage: &clap::Error, wants_json: bool) -> ExitCode {
    if !usage.use_stderr() {
        let _ = usage.print();
        return ExitCode::SUCCESS;
    }
    // `git elf --help` is the man page; `-h` is answered here.
    let text = usage.render().to_string().replace("'--help'", "'-h'");
    let text = redacted(&text);
    if wants_json {
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        super::complain_in_json(first, None, Some("git elf VERB -h explains a verb"));
    } else {
        talk!("{}", text.trim_end_matches('\n'));
    }
    ExitCode::from(2)
}
