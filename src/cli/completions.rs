//! `git elf completions`: scripts for shells.

use clap::Command;
use clap_complete::Shell;

use super::{Context, Done, Outcome};

/// What git's own bash completion calls for `git elf`; clap's function wants the words of `git-elf`.
const THROUGH_GIT: &str = r#"
_git_elf() {
    local at=1
    while [[ ${COMP_WORDS[at]} != elf ]]; do ((at++ < COMP_CWORD)) || return; done
    local -a words=("${COMP_WORDS[@]:at+1}")
    local cword=$((COMP_CWORD - at))
    local -a COMP_WORDS=(git-elf "${words[@]}")
    local COMP_CWORD=$cword
    _git__elf git-elf "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
}
"#;

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf completions bash > ~/.local/share/bash-completion/completions/git-elf")]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut visible(&super::command()), "git-elf", &mut script);
        if self.shell == Shell::Bash {
            // clap_complete 4.6 names a verb in one way where it is defined and in another where it is looked up, when the
            // program's name has a `-`.
            let text = String::from_utf8_lossy(&script).replace("git__subcmd__elf__subcmd__", "git__elf__subcmd__");
            script = (text + THROUGH_GIT).into_bytes();
        }
        context.out.own(&script)?;
        Ok(Done::Well)
    }
}

/// Leaves the verbs out that people do not type.
fn visible(all: &Command) -> Command {
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    Command::new("git-elf").disable_help_subcommand(true).subcommands(verbs)
}
