//! The `git-elf` program: `git elf …` finds it on the PATH.

use std::process::ExitCode;

fn main() -> ExitCode {
    git_elf::cli::main()
}
