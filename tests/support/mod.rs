//! Real git repositories in temporary directories, with an environment that nothing leaks into.

#![allow(dead_code, reason = "each test file uses its part")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

/// The program under test.
pub fn elf_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_git-elf"))
}

/// The object format that the whole suite is to run in: `ELF_TEST_OBJECT_FORMAT=sha256 cargo test`; git's default when unset.
pub fn object_format() -> Option<String> {
    std::env::var("ELF_TEST_OBJECT_FORMAT").ok().filter(|format| !format.is_empty())
}

/// Hexadecimal digits of an object name in the repositories of the tests.
pub fn object_name_length() -> usize {
    if object_format().as_deref() == Some("sha256") { 64 } else { 40 }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Fails the test unless the command ended with this status.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    pub fn line(&self) -> &str {
        self.out.trim_end_matches('\n')
    }

    /// Parses every line of stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Vec<Json> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }
}

/// A directory with its own HOME and one repository, `repo`.
pub struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    /// Makes a repository with one commit on `main`.
    pub fn new() -> Self {
        Self::started(Self::empty())
    }

    /// As [`Sandbox::new`], on the file system of `parent`.
    pub fn new_in(parent: &Path) -> Self {
        Self::started(Self::in_dir(tempfile::tempdir_in(parent).unwrap()))
    }

    fn started(sandbox: Self) -> Self {
        sandbox.git(["init", "-q", "-b", "main", "."]).ok();
        sandbox.write("README", "hello\n");
        sandbox.git(["add", "README"]).ok();
        sandbox.git(["commit", "-q", "-m", "first"]).ok();
        sandbox
    }

    /// Makes an empty directory `repo` and a HOME with an identity.
    pub fn empty() -> Self {
        Self::in_dir(tempfile::tempdir().unwrap())
    }

    /// As [`Sandbox::empty`], in memory where the machine has a file system for that: for tests that copy a lot and ask nothing
    /// of the disk.
    pub fn empty_in_memory() -> Self {
        Self::in_dir(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    /// As [`Sandbox::new`] and [`Sandbox::empty_in_memory`].
    pub fn new_in_memory() -> Self {
        Self::started(Self::empty_in_memory())
    }

    fn in_dir(dir: tempfile::TempDir) -> Self {
        std::fs::create_dir(dir.path().join("repo")).unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        let sandbox = Self { dir };
        sandbox.git(["config", "--global", "user.name", "A U Thor"]).ok();
        sandbox.git(["config", "--global", "user.email", "author@example.org"]).ok();
        sandbox
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub fn elf_dir(&self) -> PathBuf {
        self.repo().join(".git/elf")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.repo().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Prepares any command in the repository with a clean environment; our program is first on its PATH.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let ours = elf_program().parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(self.repo())
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env("PATH", format!("{ours}:{path}"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        if let Some(format) = object_format() {
            command.env("GIT_DEFAULT_HASH", format);
        }
        command
    }

    pub fn run(&self, mut command: Command) -> Ran {
        Ran::of(command.output().unwrap())
    }

    pub fn git<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        let mut command = self.command("git");
        command.args(args);
        self.run(command)
    }

    pub fn elf<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        self.run(self.elf_command(args))
    }

    pub fn elf_command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut command = self.command(elf_program());
        command.args(args);
        command
    }

    /// Runs our program with text on stdin.
    pub fn elf_with_input<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I, input: &str) -> Ran {
        use std::io::Write;
        let mut command = self.elf_command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let _ = writer.join();
        Ran::of(output)
    }

    /// Records a failure and returns its id.
    pub fn record(&self, title: &str) -> String {
        self.elf(["record", "failure", "--title", title]).ok().line().to_owned()
    }

    /// Returns the ids that `list` shows.
    pub fn listed(&self) -> Vec<String> {
        self.elf(["list", "--json"]).ok().json().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the paths in the ledger's tree.
    pub fn tree(&self) -> Vec<String> {
        let ran = self.git(["ls-tree", "-r", "--name-only", "refs/elf/memory"]);
        ran.out.lines().map(str::to_owned).collect()
    }
}
