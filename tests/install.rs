//! `install.sh`, without a build: a stand-in for cargo hands over the program under test.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ran, elf_program};

/// What install.sh uses besides git, cargo and the compiler; POSIX has all of it but mktemp.
const TOOLS: [&str; 16] = [
    "sh", "cat", "chmod", "cp", "dirname", "grep", "ln", "mkdir", "mktemp", "mv", "rm", "rmdir", "sed", "sort", "tail",
    "env",
];

struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// Makes a HOME without anything and a PATH with the basic tools alone.
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(machine.bin()).unwrap();
        std::fs::create_dir(machine.home()).unwrap();
        for tool in TOOLS {
            machine.lend(tool);
        }
        machine
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Puts a tool of this machine on the PATH.
    fn lend(&self, tool: &str) -> &Self {
        let path = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&path).map(|dir| dir.join(tool)).find(|file| file.is_file());
        symlink(found.unwrap_or_else(|| panic!("{tool} is not on PATH")), self.bin().join(tool)).unwrap();
        self
    }

    /// Puts a script on the PATH.
    fn script(&self, name: &str, text: &str) -> &Self {
        let path = self.bin().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Puts a cargo on the PATH that has built the program under test already.
    fn cargo(&self) -> &Self {
        let json = format!(r#"{{"executable":"{}"}}"#, elf_program().display());
        let server = format!(r#"{{"executable":"{}"}}"#, env!("CARGO_BIN_EXE_git-elf-mcp"));
        let build = format!("echo '{json}'; case $* in *'--features mcp'*) echo '{server}';; esac");
        self.script("cargo", &format!("case $1 in --version) echo 'cargo 1.99.0 (x)';; build) {build};; esac"))
    }

    fn install(&self, args: &[&str], prefix: Option<&Path>) -> Ran {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("PATH", self.bin()).env("HOME", self.home());
        if let Some(prefix) = prefix {
            command.env("PREFIX", prefix);
        }
        Ran::of(command.output().unwrap())
    }
}

/// Lists files and directories below `dir`.
fn below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(below(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn the_script_is_portable_shell() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh");
    Ran::of(Command::new("sh").arg("-n").arg(&script).output().unwrap()).ok();
    let text = std::fs::read_to_string(script).unwrap();
    // What it prints or writes out is another matter.
    let mut parts = text.split("<<'END'");
    let mut code = parts.next().unwrap_or_default().to_owned();
    code.extend(parts.map(|part| part.split_once("\nEND\n").expect("a here-document ends").1));
    for word in ["[[", "local ", "function ", "pipefail", "<<<", "$'"] {
        let used = code.lines().any(|line| !line.contains('#') && line.trim_start().starts_with(word));
        assert!(!used, "{word} is no POSIX shell");
    }
}

#[test]
fn each_missing_tool_is_named_with_the_way_to_get_it() {
    let machine = Machine::new();
    let ran = machine.install(&[], None).exits(1);
    assert!(ran.err.contains("git is not installed") && ran.err.contains("apt-get install git"), "{}", ran.err);
    machine.lend("git");
    let ran = machine.install(&[], None).exits(1);
    assert!(ran.err.contains("cargo is not installed") && ran.err.contains("https://rustup.rs"), "{}", ran.err);
    machine.script("cargo", "echo 'cargo 1.99.0 (x)'");
    let ran = machine.install(&[], None).exits(1);
    assert!(ran.err.contains("no C compiler") && ran.err.contains("build-essential"), "{}", ran.err);
    assert_eq!(below(&machine.home()), Vec::<String>::new(), "a refusal leaves nothing behind");
}

#[test]
fn a_cargo_that_is_too_old_or_not_on_path_is_explained() {
    let machine = Machine::new();
    machine.lend("git").lend("cc").script("cargo", "echo 'cargo 1.63.0 (x)'");
    let ran = machine.install(&[], None).exits(1);
    let needed = env!("CARGO_PKG_RUST_VERSION");
    assert!(ran.err.contains("cargo 1.63 is too old") && ran.err.contains(needed), "{}", ran.err);
    machine.script("cargo", "echo 'no default toolchain' >&2; exit 1");
    let ran = machine.install(&[], None).exits(1);
    assert!(ran.err.contains("no default toolchain") && ran.err.contains("rustup default stable"), "{}", ran.err);
    std::fs::remove_file(machine.bin().join("cargo")).unwrap();
    std::fs::create_dir(machine.home().join(".cargo")).unwrap();
    std::fs::write(machine.home().join(".cargo/env"), "").unwrap();
    let ran = machine.install(&[], None).exits(1);
    assert!(ran.err.contains(r#". "$HOME/.cargo/env""#), "{}", ran.err);
}

#[test]
fn a_compiler_without_headers_and_a_failed_build_show_what_was_said() {
    let machine = Machine::new();
    machine.lend("git").cargo().script("cc", "echo 'stdio.h: not found' >&2; exit 1");
    let ran = machine.install(&[], None).exits(1);
    assert!(ran.err.contains("stdio.h: not found") && ran.err.contains("build-essential"), "{}", ran.err);
    machine.script("cc", "exit 0");
    machine
        .script("cargo", "case $1 in --version) echo 'cargo 1.99.0 (x)';; *) echo 'error: E0001' >&2; exit 101;; esac");
    let ran = machine.install(&[], None).exits(1);
    assert!(ran.err.contains("error: E0001") && ran.err.contains("the build failed"), "{}", ran.err);
}

#[test]
fn installing_twice_and_uninstalling_leaves_everything_else_alone() {
    let machine = Machine::new();
    machine.lend("git").cargo().script("cc", "exit 0");
    let prefix = machine.dir.path().join("a prefix");
    std::fs::create_dir_all(prefix.join("share/man/man1")).unwrap();
    std::fs::write(prefix.join("share/man/man1/other.1"), "mine").unwrap();
    let before = below(&prefix);

    let ran = machine.install(&[], Some(&prefix)).ok();
    assert!(ran.out.contains("success     setup: git-elf is installed"), "the first lesson is found: {}", ran.out);
    assert!(ran.out.contains(&format!("export PATH=\"{}/bin:$PATH\"", prefix.display())), "{}", ran.out);
    assert!(prefix.join("share/man/man1/git-elf-record.1").is_file());
    let first = below(&prefix);

    // An upgrade removes what only the older version had.
    let list = prefix.join("share/git-elf/installed");
    std::fs::write(prefix.join("share/man/man1/git-elf-gone.1"), "old").unwrap();
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, format!("{text}share/man/man1/git-elf-gone.1\n../../outside\n")).unwrap();
    std::fs::write(machine.dir.path().join("outside"), "mine").unwrap();
    machine.install(&[], Some(&prefix)).ok();
    assert_eq!(below(&prefix), first);

    let ran = machine.install(&["--uninstall"], Some(&prefix)).ok();
    assert!(ran.out.contains(&format!("removed {}/bin/git-elf", prefix.display())), "{}", ran.out);
    assert_eq!(below(&prefix), before);
    assert!(machine.dir.path().join("outside").exists(), "a list that somebody edited reaches nothing outside");
    assert_eq!(below(&machine.home()), Vec::<String>::new());
    let ran = machine.install(&["--uninstall"], Some(&prefix)).exits(1);
    assert!(ran.err.contains("nothing to remove"), "{}", ran.err);
}

#[test]
fn the_mcp_server_comes_when_asked_stays_on_upgrades_and_goes_with_the_rest() {
    let machine = Machine::new();
    machine.lend("git").cargo().script("cc", "exit 0");
    let server = machine.home().join(".local/bin/git-elf-mcp");
    machine.install(&[], None).ok();
    assert!(!server.exists(), "nobody asked for it");
    let ran = machine.install(&["--mcp"], None).ok();
    assert!(server.is_file() && ran.out.contains("bin/git-elf-mcp; git elf mcp -h"), "{}", ran.out);
    machine.install(&[], None).ok();
    assert!(server.is_file(), "an upgrade keeps it");
    machine.install(&["--uninstall"], None).ok();
    let left: Vec<_> = below(&machine.home()).into_iter().filter(|path| Path::new(path).is_file()).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn bash_completes_options_and_what_follows_git_elf() {
    let machine = Machine::new();
    machine.lend("git").cargo().script("cc", "exit 0");
    machine.install(&[], None).ok();
    let file = machine.home().join(".local/share/bash-completion/completions/git-elf");
    let script = format!(
        "source '{}'
         COMP_WORDS=(git-elf record --ag) COMP_CWORD=2; _git__elf git-elf --ag record; echo \"${{COMPREPLY[*]}}\"
         COMP_WORDS=(git -C . elf record --ag) COMP_CWORD=5; _git_elf; echo \"${{COMPREPLY[*]}}\"
         COMP_WORDS=(git elf sea) COMP_CWORD=2; _git_elf; echo \"${{COMPREPLY[*]}}\"",
        file.display()
    );
    let ran = Ran::of(Command::new("bash").args(["--norc", "-c", &script]).output().unwrap()).ok();
    assert_eq!(ran.out, "--agent\n--agent\nsearch\n", "{}", ran.err);
}

#[test]
fn help_and_wrong_arguments() {
    let machine = Machine::new();
    let ran = machine.install(&["--help"], None).ok();
    assert!(ran.out.contains("--uninstall") && ran.out.contains("PREFIX"), "{}", ran.out);
    machine.install(&["--frobnicate"], None).exits(2);
    machine.install(&["--uninstall", "x"], None).exits(2);
}
