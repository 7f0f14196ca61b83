//! `git elf completions`: scripts for shells.

use super::{Context, Done, Outcome};

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf completions bash > ~/.local/share/bash-completion/completions/git-elf")]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "git-elf", &mut script);
        context.out.raw(&script)?;
        Ok(Done::Well)
    }
}
