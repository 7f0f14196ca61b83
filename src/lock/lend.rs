//! Running a command under the lock; `chain` says why this is safe.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};

use rustix::io::FdFlags;

use super::{RepoLock, chain};
use crate::error::{Doing, Error, Result};
use crate::sys;

/// Lowest number of the descriptor that a command inherits: shell scripts use the small ones.
const DESCRIPTOR_MIN: i32 = 100;

/// How a command under the lock ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, or why it could not be started.
    pub status: io::Result<ExitStatus>,
    /// Whether nobody works inside any more, so that the lock is the lender's alone again. Otherwise the lock must not be
    /// used; it is free for others when the last of what the command left running is done with it.
    pub alone: bool,
}

impl RepoLock<'_> {
    /// Runs a command under the lock and lends the lock to every git-elf inside it.
    ///
    /// # Errors
    /// When the lock cannot be lent: the disk refuses the text, or commands are nested too deep. Nothing was run then.
    pub fn run(&self, verb: &str, command: &mut Command) -> Result<Ended> {
        let rung = self.tokens.len();
        if rung >= chain::LENT_MAX {
            let what = format!("git elf lock is nested {rung} times; that is the limit");
            return Err(Error::Refused { what, hint: String::new() });
        }
        let token = chain::new_token()?;
        chain::lend(self.dir, rung, self.file(), verb, &token)?;
        let tokens: Vec<&str> = self.tokens.iter().chain([&token]).map(String::as_str).collect();
        command.env(chain::VARIABLE, chain::variable(self.dir, &tokens));
        let shared = inheritable(self.file()).doing(|| "pass the lock on".into())?;
        let child = command.spawn();
        drop(shared);
        let status = child.and_then(|mut child| {
            sys::ignore_keyboard();
            child.wait()
        });
        // When the token cannot be removed, whoever comes next does it.
        Ok(Ended { status, alone: chain::take_over(self.dir, rung, self.file(), verb).unwrap_or(false) })
    }
}

/// Makes a second descriptor of the open file description, one that exec(2) does not close.
fn inheritable(file: &File) -> io::Result<OwnedFd> {
    let high = rustix::io::fcntl_dupfd_cloexec(file, DESCRIPTOR_MIN);
    // A low limit of open files: any number will do.
    let shared = high.or_else(|_| rustix::io::fcntl_dupfd_cloexec(file, 3))?;
    rustix::io::fcntl_setfd(&shared, FdFlags::empty())?;
    Ok(shared)
}
