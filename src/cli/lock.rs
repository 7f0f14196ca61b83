//! `git elf lock`: runs a command while this process holds the repository lock.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use super::{Context, Done, Outcome, open_store};
use crate::config;

/// Run a command under the repository lock
///
/// Scripts that take turns in one checkout put their git commands inside. git elf commands in there do not wait. The exit
/// status is the command's, 128 + N when signal N killed it, 126 or 127 when it cannot be run, 4 when the lock stayed taken.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf lock -- sh -c 'git add a && git commit -m \"Add a\"'")]
pub struct Args {
    /// Seconds to wait for the lock; elf.lockTimeout unless given
    #[arg(long, value_name = "S")]
    timeout: Option<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Args {
    pub fn run(self, _context: &mut Context) -> Outcome {
        let store = open_store()?;
        let patience = match &self.timeout {
            Some(text) => config::seconds("timeout", text)?,
            None => store.config().lock_timeout,
        };
        let (program, arguments) = self.command.split_first().expect("clap requires one word");
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(Done::Status(match store.run_locked(patience, &mut command)? {
            Ok(status) => code(status),
            Err(error) => {
                let text = format!("cannot run {}: {error}", program.display());
                talk!("elf: {text}");
                if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
            }
        }))
    }
}

/// Returns what a shell says of a command that ended.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
