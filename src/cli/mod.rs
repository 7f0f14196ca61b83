//! The command line: one file a verb, each with its arguments and its `run`.

/// Prints a line on stderr, escaped.
macro_rules! talk {
    ($($arg:tt)*) => {
        $crate::cli::output::talk(&format!($($arg)*))
    };
}

mod agents;
mod check;
mod completions;
mod context;
mod doctor;
mod edit;
mod editor;
mod error_file;
mod event;
mod export;
mod filter;
mod flush;
mod help;
mod hook;
mod import;
mod init;
mod list;
mod lock;
mod locks;
mod log;
mod manual;
mod mcp;
mod migrate;
mod output;
mod promote;
mod record;
mod retract;
mod review;
mod search;
mod session;
mod show;
mod stats;
mod torture;
mod uninstall;
mod why;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::{Map, json};

pub use output::escaped;
use output::{Output, Speaker};

use crate::error::Error;
use crate::install;
use crate::record::secret::redacted;
use crate::store::{Store, Voice};

/// The memory of a git repository: record what was learned, find it again.
#[derive(Parser)]
#[command(name = "git-elf", bin_name = "git elf", version, override_help = help::TEXT, disable_help_subcommand = true)]
#[command(after_long_help = help::MANUAL, term_width = 0)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    Record(record::Args),
    List(list::Args),
    Search(search::Args),
    Context(context::Args),
    Show(show::Args),
    Why(why::Args),
    Edit(edit::Args),
    Log(log::Args),
    Validate(event::ValidateArgs),
    Violate(event::ViolateArgs),
    Breach(event::BreachArgs),
    Sight(event::SightArgs),
    Promote(promote::Args),
    Retract(retract::Args),
    Review(review::Args),
    Init(init::Args),
    Check(check::Args),
    Doctor(doctor::Args),
    Locks(locks::Args),
    Stats(stats::Args),
    Import(import::Args),
    Export(export::Args),
    Uninstall(uninstall::Args),
    Flush(flush::Args),
    #[command(hide = true)]
    Help(help::Args),
    #[command(hide = true)]
    Hook(hook::Args),
    #[command(hide = true)]
    Lock(lock::Args),
    #[command(hide = true)]
    Completions(completions::Args),
    #[command(hide = true)]
    Manual(manual::Args),
    Mcp(mcp::Args),
    Migrate(migrate::Args),
    #[command(hide = true)]
    Torture(torture::Args),
}

/// What every verb is given.
struct Context {
    out: Output,
}

/// Opens the memory of the repository we are in, and says on one line when git does not reach the hooks of init any more.
fn open_store() -> Result<Store, Error> {
    let store = open_silently()?;
    if let Some(line) = install::lost(store.repo()) {
        Speaker::new().say(&line);
    }
    Ok(store)
}

/// Opens the memory for those who look at the hooks themselves, and for the hooks.
fn open_silently() -> Result<Store, Error> {
    Store::open(Box::new(Speaker::new()))
}

/// How a verb that did its work ended.
enum Done {
    Well,
    /// A check found problems: exit 3.
    Problems,
    /// Part of the input was invalid: exit 2.
    Rejected,
    /// A signal ended it early: exit 130, as of a shell.
    Interrupted,
    /// Some of what was asked for was refused, and it was said: exit 1.
    Refused,
    /// A command was run and this is its status.
    Status(u8),
}

type Outcome = anyhow::Result<Done>;

/// Runs the program and returns its exit status.
pub fn main() -> ExitCode {
    let args = search::spell_out_exclusions(std::env::args_os().collect());
    let wants_json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => return help::explain(&usage, wants_json),
    };
    let mut context = Context { out: Output::new() };
    let outcome = dispatch(cli.verb, &mut context).and_then(|done| {
        context.out.flush()?;
        Ok(done)
    });
    match outcome {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::Problems) => ExitCode::from(3),
        Ok(Done::Rejected) => ExitCode::from(2),
        Ok(Done::Interrupted) => ExitCode::from(130),
        Ok(Done::Refused) => ExitCode::from(1),
        Ok(Done::Status(status)) => ExitCode::from(status),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // What was printed before the error is data that the reader may use.
            let _ = context.out.flush();
            complain(&error, wants_json);
            ExitCode::from(error.downcast_ref::<Error>().map_or(1, Error::exit_code))
        }
    }
}

fn dispatch(verb: Option<Verb>, context: &mut Context) -> Outcome {
    match verb {
        None => help::Args::default().run(context),
        Some(Verb::Help(args)) => args.run(context),
        Some(Verb::Record(args)) => args.run(context),
        Some(Verb::List(args)) => args.run(context),
        Some(Verb::Search(args)) => args.run(context),
        Some(Verb::Context(args)) => args.run(context),
        Some(Verb::Show(args)) => args.run(context),
        Some(Verb::Why(args)) => args.run(context),
        Some(Verb::Edit(args)) => args.run(context),
        Some(Verb::Log(args)) => args.run(context),
        Some(Verb::Validate(args)) => args.run(context),
        Some(Verb::Violate(args)) => args.run(context),
        Some(Verb::Breach(args)) => args.run(context),
        Some(Verb::Sight(args)) => args.run(context),
        Some(Verb::Promote(args)) => args.run(context),
        Some(Verb::Retract(args)) => args.run(context),
        Some(Verb::Review(args)) => args.run(context),
        Some(Verb::Init(args)) => args.run(context),
        Some(Verb::Check(args)) => args.run(context),
        Some(Verb::Doctor(args)) => args.run(context),
        Some(Verb::Locks(args)) => args.run(context),
        Some(Verb::Stats(args)) => args.run(context),
        Some(Verb::Import(args)) => args.run(context),
        Some(Verb::Export(args)) => args.run(context),
        Some(Verb::Uninstall(args)) => args.run(context),
        Some(Verb::Flush(args)) => args.run(context),
        Some(Verb::Hook(args)) => args.run(context),
        Some(Verb::Lock(args)) => args.run(context),
        Some(Verb::Completions(args)) => args.run(context),
        Some(Verb::Manual(args)) => args.run(context),
        Some(Verb::Mcp(args)) => args.run(context),
        Some(Verb::Migrate(args)) => args.run(context),
        Some(Verb::Torture(args)) => args.run(context),
    }
}

/// Says what went wrong and what to do, in words or as one JSON object.
fn complain(error: &anyhow::Error, wants_json: bool) {
    let known = error.downcast_ref::<Error>();
    // Our own errors name their cause; the others are chains.
    let text = known.map_or_else(|| format!("{error:#}"), ToString::to_string);
    // Whatever was refused may hold a secret, and so may the message about it.
    let text = redacted(&text);
    let hint = known.and_then(Error::hint);
    if wants_json {
        complain_in_json(&text, known.and_then(Error::field), hint.as_deref());
        return;
    }
    talk!("elf: {text}");
    if let Some(hint) = hint {
        talk!("hint: {hint}");
    }
}

fn complain_in_json(text: &str, field: Option<&str>, hint: Option<&str>) {
    let mut object = Map::new();
    object.insert("error".into(), json!(text));
    object.insert("field".into(), json!(field));
    object.insert("hint".into(), json!(hint));
    output::talk_json(&object);
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// Returns the definitions of all arguments, for completions and the manual.
fn command() -> clap::Command {
    Cli::command()
}
