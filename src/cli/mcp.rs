//! `git elf mcp`: becomes the Model Context Protocol server, a program of its own.

use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::{Context, Outcome};
use crate::error::Error;

/// The program that is the server.
const PROGRAM: &str = "git-elf-mcp";

/// Serve this memory to an agent over the Model Context Protocol, on stdin and stdout
///
/// An MCP client starts it, in the repository: tools context, search, show, record, validate and violate. The server is the
/// program git-elf-mcp, which ./install.sh --mcp installs.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf mcp\n  claude mcp add elf -- git elf mcp")]
pub struct Args {}

impl Args {
    #[allow(clippy::unused_self, reason = "as every verb")]
    pub fn run(self, _context: &mut Context) -> Outcome {
        if io::stdin().is_terminal() {
            talk!("elf: waiting for an MCP client on stdin; a client starts this command by itself. Ctrl-C ends it");
        }
        let error = Command::new(program()).exec();
        let installed = error.kind() == io::ErrorKind::NotFound;
        let what = if installed {
            format!("{PROGRAM} is not installed: it is neither beside git-elf nor on the PATH")
        } else {
            format!("cannot run {PROGRAM}: {error}")
        };
        let hint =
            "./install.sh --mcp in a clone of git-elf installs it, as does cargo install --path . --features mcp"
                .into();
        Err(Error::Refused { what, hint }.into())
    }
}

/// Returns the server that was installed with this program, else the one on the PATH.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into())
}
