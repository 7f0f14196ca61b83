//! The prepared repository, copied to one path again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Mode;
use super::seen::Seen;
use crate::support::{Ran, Sandbox};

const PREPARE: &str = include_str!("prepare.sh");
const DESCRIBE: &str = include_str!("describe.sh");
/// Names every file that is, or ever was, in a commit of ours, in a working tree, or waits.
const EVERYWHERE: &str =
    "git log --all --reflog --name-only --format=; find . ../linked .git/elf -name '*.md'; ls -R .git/elf";
const PRELUDE: &str = include_str!("prelude.sh");

/// A directory with a template, and the copy of it in which an operation runs.
pub struct Site {
    sandbox: Sandbox,
}

/// One date for everything that git commits, so that object names are equal. Of today, since `git gc` forgets what is old.
fn date() -> &'static str {
    static DATE: OnceLock<String> = OnceLock::new();
    DATE.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        format!("@{} +0000", now - 3600)
    })
}

impl Site {
    /// A repository that knows nothing of git-elf.
    pub fn plain() -> Self {
        let sandbox = Sandbox::empty_in_memory();
        let site = Self { sandbox };
        fs::create_dir(site.copy()).unwrap();
        // Samples of hooks would only be copied.
        site.sandbox.git(["config", "--global", "init.templateDir", ""]).ok();
        site.sh(&site.copy(), PREPARE).ok();
        site.keep();
        site
    }

    /// The same repository after `git elf init`.
    pub fn with_memory(mode: Mode) -> Self {
        let site = Self::plain();
        site.reset();
        if !mode.keeps_own_hooks() {
            fs::remove_dir_all(site.repo().join(".git/hooks")).unwrap();
        }
        site.sh(&site.repo(), mode.set_up()).ok();
        site.keep();
        site
    }

    /// Puts a hook in place of the user's.
    pub fn hook(&self, name: &str, script: &str) {
        fs::write(self.repo().join(".git/hooks").join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
    }

    fn keep(&self) {
        let _ = fs::remove_dir_all(self.template());
        fs::rename(self.copy(), self.template()).unwrap();
    }

    fn copy(&self) -> PathBuf {
        self.sandbox.root().join("site")
    }

    fn template(&self) -> PathBuf {
        self.sandbox.root().join("template")
    }

    pub fn repo(&self) -> PathBuf {
        self.copy().join("repo")
    }

    pub fn linked(&self) -> PathBuf {
        self.copy().join("linked")
    }

    /// Puts a fresh copy in place: at the same path, since linked worktrees know theirs.
    pub fn reset(&self) {
        let _ = fs::remove_dir_all(self.copy());
        let mut copy = self.sandbox.command("cp");
        copy.args(["-a", "template", "site"]).current_dir(self.sandbox.root());
        self.sandbox.run(copy).ok();
        self.sandbox.git(["-C", self.repo().to_str().unwrap(), "status"]).ok();
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
        let mut command = self.sandbox.command(program);
        command.current_dir(dir);
        command
    }

    pub fn sh(&self, dir: &Path, script: &str) -> Ran {
        let mut command = self.command("sh", dir);
        command.args(["-c", script]).env("GIT_AUTHOR_DATE", date()).env("GIT_COMMITTER_DATE", date());
        command.env("GIT_EDITOR", ":").env("GIT_TERMINAL_PROMPT", "0").env("TERM", "dumb");
        self.sandbox.run(command)
    }

    /// Runs an operation and looks at what it left.
    pub fn run(&self, script: &str) -> Seen {
        let mut seen = self.run_only(script);
        self.describe(&mut seen);
        seen
    }

    pub fn run_only(&self, script: &str) -> Seen {
        Seen::of(self.sh(&self.repo(), &format!("{PRELUDE}{script}")), self.sandbox.root())
    }

    pub fn describe(&self, seen: &mut Seen) {
        let ran = self.sh(&self.repo(), DESCRIBE).ok();
        seen.describe(&ran, self.sandbox.root());
    }

    /// Says what the memory lacks of what was acknowledged, and what else is wrong.
    pub fn faults(&self, mode: Mode, acknowledged: &[String]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut sound = |program: &str, args: &[&str]| {
            let mut command = self.command(program, &self.repo());
            command.args(args);
            let ran = self.sandbox.run(command);
            if ran.status != 0 {
                faults.push(format!("{program} {args:?} ended with {}: {}{}", ran.status, ran.out, ran.err));
            }
            ran.out
        };
        let found = match mode {
            // Where the user switches branches, a worktree lists only the records of its own.
            Mode::Head => self.sh(&self.repo(), EVERYWHERE).out,
            _ => sound("git-elf", &["list", "--all", "--json"]),
        };
        sound("git-elf", &["check"]);
        let lost: Vec<_> = acknowledged.iter().filter(|id| !found.contains(*id)).collect();
        if !lost.is_empty() {
            faults.push(format!("{} of {} acknowledged records are lost: {lost:?}", lost.len(), acknowledged.len()));
        }
        faults
    }
}
