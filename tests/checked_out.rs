//! The ledger's branch is checked out somewhere: whatever happens, that worktree's index, files and operations are the user's.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::faults::{STEPS_OF_A_CHECKOUT, points};
use crate::support::{Ran, Sandbox};

/// Where the memory is, and who has it checked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// `refs/heads/memory`, in a linked worktree.
    Branch,
    /// `HEAD`, in the main one.
    Head,
}

/// A repository with one record, and something staged where the memory is checked out.
struct Scene {
    sandbox: Sandbox,
    mode: Mode,
    first: String,
}

impl Scene {
    fn new(mode: Mode) -> Self {
        let sandbox = Sandbox::new();
        match mode {
            Mode::Branch => {
                sandbox.git(["config", "elf.ref", "refs/heads/memory"]).ok();
            }
            Mode::Head => {
                sandbox.elf(["init", "--in-tree"]).ok();
            }
        }
        let first = sandbox.record("first");
        match mode {
            Mode::Branch => sandbox.git(["worktree", "add", "-q", "../memory", "memory"]).ok(),
            Mode::Head => sandbox.elf(["flush"]).ok(),
        };
        let scene = Self { sandbox, mode, first };
        fs::write(scene.root().join("staged"), "mine\n").unwrap();
        scene.git(&["add", "staged"]).ok();
        scene
    }

    /// The worktree that has the branch.
    fn root(&self) -> PathBuf {
        match self.mode {
            Mode::Branch => self.sandbox.root().join("memory"),
            Mode::Head => self.sandbox.repo(),
        }
    }

    fn git_dir(&self) -> PathBuf {
        match self.mode {
            Mode::Branch => self.sandbox.repo().join(".git/worktrees/memory"),
            Mode::Head => self.sandbox.repo().join(".git"),
        }
    }

    fn git(&self, args: &[&str]) -> Ran {
        let mut command = self.sandbox.command("git");
        command.current_dir(self.root()).args(args);
        self.sandbox.run(command)
    }

    /// Commits what waits, as the mode does it.
    fn commit(&self) -> Ran {
        match self.mode {
            Mode::Branch => self.sandbox.elf(["list"]),
            Mode::Head => self.sandbox.elf(["flush"]),
        }
    }

    fn tip(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).ok().out
    }

    /// Asserts that everything is in order and exactly these records are there.
    #[track_caller]
    fn is_whole(&self, case: &str, expected: &BTreeSet<String>) {
        self.commit().ok();
        let status = self.git(&["status", "--porcelain"]).ok().out;
        assert_eq!(status, "A  staged\n", "{case}: what was staged is staged, and nothing else differs");
        assert_eq!(self.sandbox.listed().into_iter().collect::<BTreeSet<_>>(), *expected, "{case}");
        self.sandbox.elf(["check"]).ok();
        // git's own fsck misses trees that only a sparse index names.
        if case != "sparse index" {
            self.git(&["fsck", "--strict"]).ok();
        }
        let held = self.git(&["ls-files", "*.md"]).ok().out.lines().filter(|line| !line.ends_with("README.md")).count();
        assert_eq!(held, expected.len(), "{case}: each record is in the index");
        let files = self.git(&["ls-files", "--deleted", "--others"]).ok().out;
        assert_eq!(files, "", "{case}: each record is a file");
    }
}

#[test]
fn a_kill_at_any_step_leaves_no_staged_deletion_and_loses_nothing() {
    for mode in [Mode::Branch, Mode::Head] {
        for point in points().into_iter().chain(STEPS_OF_A_CHECKOUT.map(str::to_owned)) {
            let case = format!("{mode:?}, {point}");
            let scene = Scene::new(mode);
            let mut expected = BTreeSet::from([scene.first.clone()]);
            if mode == Mode::Head {
                expected.insert(scene.sandbox.record("second"));
            }
            let verb: &[&str] = if mode == Mode::Head { &["flush"] } else { &["record", "failure", "second"] };
            let mut command = scene.sandbox.elf_command(verb);
            command.env("ELF_FAULT", &point);
            let died = scene.sandbox.run(command);
            if died.status == 0 {
                assert!(!STEPS_OF_A_CHECKOUT.contains(&&*point), "{case}: the point was not passed");
                continue;
            }
            let status = scene.git(&["status", "--porcelain"]).ok().out;
            let deleted = |line: &&str| line.starts_with('D') || line.as_bytes().get(1) == Some(&b'D');
            assert_eq!(status.lines().find(deleted), None, "{case}: a record must not look deleted\n{status}");
            assert!(status.contains("A  staged"), "{case}: {status}");
            scene.commit().ok();
            let listed = scene.sandbox.listed();
            expected.extend(listed.iter().filter(|id| **id != scene.first).cloned());
            assert!(listed.len() <= 2, "{case}: never twice");
            scene.is_whole(&case, &expected);
        }
    }
}

#[test]
fn records_wait_while_an_operation_is_under_way_and_its_end_is_what_git_makes_it() {
    // Each leaves the branch in the middle of something; the second line ends it.
    let table: [(&str, &str, &str); 6] = [
        ("rebase", "git rebase -q side", "git rebase --abort"),
        ("merge", "git merge -q side", "git merge --abort"),
        ("cherry-pick", "git cherry-pick side", "git cherry-pick --abort"),
        ("revert", "git revert --no-edit :/ours", "git revert --abort"),
        ("bisect", "git bisect start && git bisect bad", "git bisect reset"),
        ("am", "git format-patch -q -1 --stdout side >../patch && git am -q ../patch", "git am --abort"),
    ];
    for mode in [Mode::Branch, Mode::Head] {
        let scene = Scene::new(mode);
        let sh = |script: &str| {
            let mut command = scene.sandbox.command("sh");
            command.current_dir(scene.root()).args(["-c", script]);
            scene.sandbox.run(command)
        };
        sh("git commit -qm mine && echo base >f && git add f && git commit -qm base && git checkout -qb side HEAD~1 &&
            echo theirs >f && git add f && git commit -qm theirs && git checkout -q - &&
            echo ours >f && git commit -qam ours && echo more >f && git commit -qam more")
        .ok();
        for (name, start, end) in table {
            sh(start);
            let before = scene.tip();
            let id = scene.sandbox.record(name);
            if mode == Mode::Head {
                let refused = scene.sandbox.elf(["flush"]).exits(1);
                assert!(refused.err.contains("under way"), "{name}: {}", refused.err);
            }
            assert_eq!(scene.tip(), before, "{mode:?}: nothing is committed during a {name}");
            sh(end).ok();
            scene.commit().ok();
            assert!(scene.sandbox.listed().contains(&id), "{mode:?}: {name}");
            assert_eq!(scene.git(&["status", "--porcelain"]).ok().out, "", "{mode:?}: after a {name}");
        }
        scene.sandbox.elf(["check"]).exits(if mode == Mode::Branch { 3 } else { 0 });
    }
}

#[test]
fn a_commit_whose_editor_is_open_succeeds() {
    for mode in [Mode::Branch, Mode::Head] {
        let scene = Scene::new(mode);
        let opened = scene.sandbox.root().join("opened");
        let editor = format!("touch '{0}'; while test -e '{0}'; do sleep 0.05; done; echo subject >", opened.display());
        let mut commit = scene.sandbox.command("git");
        commit
            .current_dir(scene.root())
            .arg("commit")
            .env("GIT_EDITOR", format!("sh -c '{}\"$1\"' -", editor.replace('\'', "\"")));
        let commit = commit.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !opened.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let id = scene.sandbox.record("meanwhile");
        if mode == Mode::Head {
            scene.sandbox.elf(["flush"]).exits(1);
        }
        fs::remove_file(&opened).unwrap();
        Ran::of(commit.wait_with_output().unwrap()).ok();
        scene.commit().ok();
        assert!(scene.sandbox.listed().contains(&id), "{mode:?}");
        assert_eq!(scene.git(&["log", "--format=%s", "--", "staged"]).ok().line(), "subject", "{mode:?}");
        // The user's own file is no record where a branch has nothing else.
        scene.sandbox.elf(["check"]).exits(if mode == Mode::Branch { 3 } else { 0 });
    }
}

#[test]
fn a_taken_index_lock_makes_records_wait() {
    for mode in [Mode::Branch, Mode::Head] {
        let scene = Scene::new(mode);
        let lock = scene.git_dir().join("index.lock");
        fs::write(&lock, "").unwrap();
        let id = scene.sandbox.record("waits");
        if mode == Mode::Head {
            scene.sandbox.elf(["flush"]).exits(1);
        }
        assert!(lock.exists(), "{mode:?}: a lock of others is not ours to remove");
        fs::remove_file(&lock).unwrap();
        scene.is_whole(&format!("{mode:?}"), &BTreeSet::from([scene.first.clone(), id]));
    }
}

#[test]
fn every_form_of_index_survives() {
    let table: [(&str, &str, &str); 6] = [
        ("split", "git config core.splitIndex true && git update-index --split-index", "ls .git/sharedindex.*"),
        ("version 4", "git update-index --index-version 4", "test $(od -An -j7 -N1 -tu1 .git/index) = 4"),
        (
            "untracked cache",
            "git update-index --force-untracked-cache",
            "git config core.untrackedCache keep && grep -q UNTR .git/index",
        ),
        (
            "sparse checkout",
            "mkdir d && echo x >d/x && git add d && git commit -qm d -- d && git sparse-checkout set --cone memory",
            "git ls-files -t d | grep -q ^S",
        ),
        (
            "sparse index",
            "mkdir d && echo x >d/x && git add d && git commit -qm d -- d && git sparse-checkout set --cone --sparse-index memory",
            "git ls-files --sparse d | grep -q ^d/$",
        ),
        (
            "fsmonitor",
            "printf '#!/bin/sh\\nexit 1\\n' >.git/fsm && chmod +x .git/fsm && git config core.fsmonitor .git/fsm && git update-index --fsmonitor",
            "grep -q FSMN .git/index",
        ),
    ];
    for (name, setup, still) in table {
        let scene = Scene::new(Mode::Head);
        let sh = |script: &str| {
            let mut command = scene.sandbox.command("sh");
            command.args(["-ec", script]);
            scene.sandbox.run(command)
        };
        sh(setup).ok();
        sh(still).ok();
        let mut expected = BTreeSet::from([scene.first.clone()]);
        for i in 0..3 {
            expected.insert(scene.sandbox.record(&format!("{name} {i}")));
            scene.sandbox.elf(["flush"]).ok();
        }
        sh(still).ok();
        scene.is_whole(name, &expected);
    }
}
