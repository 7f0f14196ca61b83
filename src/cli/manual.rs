//! `git elf manual`: man pages, made from the definitions that parse the command line.

use std::path::PathBuf;

use super::{Context, Done, Outcome};
use crate::error::Doing;

/// Write the man pages into a directory
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf manual ~/.local/share/man/man1")]
pub struct Args {
    /// Where git-elf.1 and git-elf-VERB.1 go
    dir: PathBuf,
}

impl Args {
    pub fn run(self, _context: &mut Context) -> Outcome {
        let doing = || format!("write man pages to {}", self.dir.display());
        std::fs::create_dir_all(&self.dir).doing(doing)?;
        clap_mangen::generate_to(super::command().disable_help_flag(true), &self.dir).doing(doing)?;
        Ok(Done::Well)
    }
}
