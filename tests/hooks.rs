//! Hooks: put in, taken out to the byte, harvesting, and never in the way of the user's git.

#![allow(clippy::disallowed_methods, reason = "a test's own files need not be atomic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Ran, Sandbox, elf_program};

const SHIM: &str = "#!/bin/sh\nif test \"$1\" = --git-dir && test \"$3\" = version; then set -- version; fi\nif test \"$1\" = version; then echo 'git version 2.54.0'; exit; fi\nexec REAL \"$@\"\n";

pub(crate) fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Sandbox {
    fn hook(&self, name: &str) -> PathBuf {
        self.repo().join(".git/hooks").join(name)
    }

    fn hook_text(&self, name: &str) -> String {
        fs::read_to_string(self.hook(name)).unwrap()
    }

    /// Makes an empty bare repository and names it `origin`.
    pub(crate) fn remote(&self) -> PathBuf {
        let path = self.root().join("remote.git");
        self.git(["init", "-q", "--bare", path.to_str().unwrap()]).ok();
        self.git(["remote", "add", "origin", path.to_str().unwrap()]).ok();
        path
    }

    fn commit(&self, message: &str) -> Ran {
        self.git(["commit", "-q", "--allow-empty", "-m", message]).ok()
    }

    /// Returns (id, kind, title, state) of every record, oldest first.
    fn all(&self) -> Vec<[String; 4]> {
        let mut rows: Vec<_> = self.elf(["list", "--all", "--json"]).ok().json();
        rows.reverse();
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| ["id", "kind", "title", "state"].map(|key| text(row, key))).collect()
    }

    fn state_of(&self, title: &str) -> String {
        let all = self.all();
        let found: Vec<_> = all.iter().filter(|row| row[2] == title).collect();
        assert_eq!(found.len(), 1, "{title} in {all:?}");
        found[0][3].clone()
    }

    /// Puts a commit with these files on the ledger's ref, as a hand edit would.
    pub(crate) fn edit_memory(&self, files: &[(&str, &str)]) {
        let index = self.root().join("memory-index");
        let git = |args: &[&str]| {
            let mut command = self.command("git");
            command.env("GIT_INDEX_FILE", &index).args(args);
            self.run(command).ok().line().to_owned()
        };
        git(&["read-tree", "refs/elf/memory"]);
        for (name, text) in files {
            let file = self.root().join("blob");
            fs::write(&file, text).unwrap();
            let blob = git(&["hash-object", "-w", file.to_str().unwrap()]);
            git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{name}")]);
        }
        let tree = git(&["write-tree"]);
        let commit = git(&["commit-tree", &tree, "-p", "refs/elf/memory", "-m", "by hand"]);
        git(&["update-ref", "refs/elf/memory", &commit]);
    }
}

#[test]
fn a_fresh_hook_is_ours_alone_and_leaves_no_trace() {
    let sandbox = Sandbox::new();
    let ran = sandbox.elf(["init"]).ok();
    assert!(ran.out.contains("git show refs/elf/memory:README.md"), "{}", ran.out);
    let texts = ["post-commit", "pre-push"].map(|name| sandbox.hook_text(name));
    assert!(texts[0].starts_with("#!/bin/sh\n# >>> git-elf") && texts[0].contains(elf_program().to_str().unwrap()));
    let mode = fs::metadata(sandbox.hook("post-commit")).unwrap().permissions().mode();
    assert_eq!(mode & 0o100, 0o100, "git runs it");
    let again = sandbox.elf(["init", "--json"]).ok().json();
    assert_eq!(again[0]["hooks"][0]["state"], "kept");
    assert_eq!(["post-commit", "pre-push"].map(|name| sandbox.hook_text(name)), texts, "twice is once");
    let config = sandbox.git(["config", "--local", "--list"]).ok().out;
    sandbox.elf(["uninstall"]).ok();
    assert!(!sandbox.hook("post-commit").exists() && !sandbox.hook("pre-push").exists());
    assert_eq!(sandbox.git(["config", "--local", "--list"]).ok().out, config, "without a remote nothing is configured");
    sandbox.elf(["uninstall"]).ok();
}

#[test]
fn an_existing_hook_still_runs_and_comes_back_to_the_byte() {
    for original in [
        "#!/bin/sh\nset -eu\necho mine >>ran\nexit 0\n",
        "#!/bin/bash -e\necho mine >>ran\nexec true",
        "#!/usr/bin/env sh\necho mine >>ran; test -z \"${elf_refs-}\"\nexit 3\n",
    ] {
        let sandbox = Sandbox::new();
        script(&sandbox.hook("post-commit"), original);
        fs::set_permissions(sandbox.hook("post-commit"), fs::Permissions::from_mode(0o750)).unwrap();
        sandbox.elf(["init"]).ok();
        let with = sandbox.hook_text("post-commit");
        sandbox.elf(["init"]).ok();
        assert_eq!(sandbox.hook_text("post-commit"), with);
        sandbox.commit("x\n\nElf-Success: harvested in spite of exit and exec");
        assert_eq!(fs::read_to_string(sandbox.repo().join("ran")).unwrap(), "mine\n", "{with}");
        assert_eq!(sandbox.all().len(), 1);
        sandbox.elf(["uninstall"]).ok();
        assert_eq!(sandbox.hook_text("post-commit"), original);
        let mode = fs::metadata(sandbox.hook("post-commit")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o750, "the mode is the user's");
    }
}

#[test]
fn an_older_block_is_replaced_in_place() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    let ours = sandbox.hook_text("post-commit");
    script(&sandbox.hook("post-commit"), &ours.replace(elf_program().to_str().unwrap(), "/old/git-elf"));
    let report = sandbox.elf(["init", "--json"]).ok().json();
    assert_eq!(report[0]["hooks"][0]["state"], "updated");
    assert_eq!(sandbox.hook_text("post-commit"), ours);
}

#[test]
fn what_is_not_a_running_sh_script_is_left_alone_and_the_line_is_printed() {
    let refused = |prepare: &dyn Fn(&Sandbox)| {
        let sandbox = Sandbox::new();
        prepare(&sandbox);
        let before = fs::read(sandbox.hook("post-commit")).ok();
        let ran = sandbox.elf(["init"]).ok();
        assert!(ran.err.contains("git-elf hook post-commit"), "{}", ran.err);
        assert_eq!(fs::read(sandbox.hook("post-commit")).ok(), before);
        sandbox.elf(["uninstall"]).ok();
        assert_eq!(fs::read(sandbox.hook("post-commit")).ok(), before);
    };
    refused(&|sandbox| script(&sandbox.hook("post-commit"), "#!/usr/bin/env python3\nprint()\n"));
    refused(&|sandbox| script(&sandbox.hook("post-commit"), "#!/bin/sh\ncall_lefthook run post-commit\n"));
    refused(&|sandbox| {
        script(&sandbox.hook("post-commit"), "#!/bin/sh\n");
        fs::set_permissions(sandbox.hook("post-commit"), fs::Permissions::from_mode(0o644)).unwrap();
    });
    refused(&|sandbox| {
        script(&sandbox.root().join("elsewhere"), "#!/bin/sh\n");
        fs::create_dir_all(sandbox.hook("x").parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(sandbox.root().join("elsewhere"), sandbox.hook("post-commit")).unwrap();
    });
    refused(&|sandbox| {
        sandbox.git(["config", "core.hooksPath", ".husky/_"]).ok();
    });
}

#[test]
fn hooks_path_is_honoured_inside_and_refused_outside() {
    let sandbox = Sandbox::new();
    sandbox.git(["config", "core.hooksPath", ".githooks"]).ok();
    fs::create_dir(sandbox.repo().join("sub")).unwrap();
    let mut init = sandbox.elf_command(["init"]);
    init.current_dir(sandbox.repo().join("sub"));
    sandbox.run(init).ok();
    let text = fs::read_to_string(sandbox.repo().join(".githooks/post-commit")).unwrap();
    assert!(!text.contains(elf_program().to_str().unwrap()), "a tracked hook names no path of this machine: {text}");
    sandbox.commit("x\n\nElf-Success: found on the PATH");
    assert_eq!(sandbox.all().len(), 1);
    sandbox.git(["config", "--unset", "core.hooksPath"]).ok();
    sandbox.elf(["init"]).ok();
    sandbox.git(["config", "core.hooksPath", ".githooks"]).ok();
    sandbox.elf(["uninstall"]).ok();
    assert!(!sandbox.repo().join(".githooks/post-commit").exists());
    assert!(!sandbox.hook("post-commit").exists(), "what was installed before core.hooksPath was set goes too");

    let outside = sandbox.root().join("shared-hooks");
    for path in [outside.to_str().unwrap(), "../shared-hooks", ".githooks/../../shared-hooks"] {
        sandbox.git(["config", "core.hooksPath", path]).ok();
        let ran = sandbox.elf(["init"]).ok();
        assert!(
            ran.err.contains("git-elf hook post-commit") && ran.err.contains("git-elf hook pre-push"),
            "{}",
            ran.err
        );
        assert!(!outside.exists());
    }
}

#[test]
fn a_git_that_knows_config_hooks_gets_those_and_no_files() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    let real = sandbox.run({
        let mut which = sandbox.command("sh");
        which.args(["-c", "command -v git"]);
        which
    });
    script(&sandbox.root().join("bin/git"), &SHIM.replace("REAL", real.line()));
    let modern = |args: &[&str]| {
        let mut command = sandbox.elf_command(args);
        let path = format!("{}:{}", sandbox.root().join("bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path);
        sandbox.run(command).ok()
    };
    for expected in ["installed", "kept"] {
        let report = modern(&["init", "--json"]).json();
        assert_eq!(
            (&report[0]["hooks"][0]["form"], &report[0]["hooks"][0]["state"]),
            (&"config".into(), &expected.into())
        );
    }
    assert!(!sandbox.hook("post-commit").exists(), "never both forms");
    let get = |key: &str| sandbox.git(["config", "--get-all", key]);
    assert_eq!(get("hook.elf-post-commit.event").ok().line(), "post-commit");
    assert_eq!(get("hook.elf-pre-push.event").ok().line(), "pre-push");
    // git runs `sh -c 'COMMAND "$@"' COMMAND ARGS`.
    let run = |key: &str, args: &[&str], path: &str| {
        let line = get(key).ok().line().to_owned();
        assert!(!line.contains('\n'));
        let line =
            if path.is_empty() { line.replace(elf_program().to_str().unwrap(), "/nowhere/git-elf") } else { line };
        let mut sh = sandbox.command("/bin/sh");
        sh.args(["-c", &format!("{line} \"$@\""), &line]).args(args);
        if path.is_empty() {
            sh.env("PATH", "/nowhere");
        }
        sandbox.run(sh)
    };
    sandbox.git(["-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "x\n\nElf-Success: y"]).ok();
    assert_eq!(run("hook.elf-post-commit.command", &[], "").ok().err, "", "a missing binary is no failure");
    assert!(sandbox.all().is_empty());
    run("hook.elf-post-commit.command", &[], "as it is").ok();
    assert_eq!(sandbox.all().len(), 1);
    let ran = run("hook.elf-pre-push.command", &["origin", "url"], "as it is").ok();
    assert!(ran.err.contains("origin lacks 1 record "), "{}", ran.err);

    modern(&["uninstall"]);
    assert_eq!(get("hook.elf-post-commit.command").status, 1);
    assert!(!fs::read_to_string(sandbox.repo().join(".git/config")).unwrap().contains("elf"));
    modern(&["init"]);
    sandbox.elf(["init"]).ok();
    assert_eq!(get("hook.elf-post-commit.command").status, 1, "an older git gets files, and not both");
    assert!(sandbox.hook("post-commit").exists());
}

#[test]
fn every_kind_of_trailer_is_harvested_and_git_prints_nothing_extra() {
    let sandbox = Sandbox::new();
    let plain = sandbox.git(["commit", "--allow-empty", "-m", "plain"]).ok();
    sandbox.elf(["init"]).ok();
    let rule = sandbox.elf(["record", "heuristic", "Check the lock"]).ok().line().to_owned();
    let message = format!(
        "Subject\n\nElf-Domain: db\nElf-Failure: WAL grew\nElf-Severity: high\nElf-Tags: wal, sqlite\nElf-Heuristic: Checkpoint\nElf-Success: It held\nElf-Decision: Use WAL\nElf-Validates: {} held here",
        &rule[..8]
    );
    let ran = sandbox.git(["commit", "--allow-empty", "-m", &message]).ok();
    assert_eq!((ran.out.lines().count(), ran.err.as_str()), (plain.out.lines().count(), plain.err.as_str()));
    let rows = sandbox.elf(["list", "--json", "--domain", "db"]).ok().json();
    assert_eq!(rows.len(), 4, "{rows:?}");
    let failure = rows.iter().find(|row| row["kind"] == "failure").unwrap();
    assert_eq!((&failure["severity"], &failure["tags"]), (&4.into(), &serde_json::json!(["wal", "sqlite"])));
    assert_eq!(sandbox.elf(["show", "--json", &rule]).ok().json()[0]["validated"], 1);
    let bad = sandbox.git(["commit", "-q", "--allow-empty", "-m", "x\n\nElf-Failure: y\nElf-Severity: 9"]).ok();
    assert_eq!(bad.err.lines().count(), 1, "one line, and the commit is made: {}", bad.err);
    assert!(bad.err.contains("severity"), "{}", bad.err);
}

#[test]
fn an_amend_keeps_retracts_and_restores() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    let amend = |message: &str| {
        let ran = sandbox.git(["commit", "-q", "--amend", "--allow-empty", "-m", message]).ok();
        assert_eq!(ran.err, "");
    };
    sandbox.commit("x\n\nElf-Failure: one\nElf-Success: two");
    amend("reworded\n\nElf-Failure: one\nElf-Success: two");
    assert_eq!(sandbox.tree().iter().filter(|path| path.starts_with("events/")).count(), 0, "nothing changed");
    amend("x\n\nElf-Failure: one");
    assert_eq!((sandbox.state_of("one"), sandbox.state_of("two")), ("active".into(), "retracted".into()));
    amend("nothing at all");
    assert_eq!(sandbox.state_of("one"), "retracted");
    amend("x\n\nElf-Failure: one\nElf-Success: two");
    assert_eq!((sandbox.state_of("one"), sandbox.state_of("two")), ("active".into(), "active".into()));
    let tip = sandbox.git(["rev-parse", "refs/elf/memory"]).out;
    sandbox.elf(["hook", "post-commit"]).ok();
    assert_eq!(sandbox.git(["rev-parse", "refs/elf/memory"]).out, tip, "running the hook twice changes nothing");
    sandbox.elf(["check"]).ok();
}

#[test]
fn rebase_and_cherry_pick_make_no_second_record() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    sandbox.git(["branch", "other"]).ok();
    for name in ["a", "b", "c"] {
        sandbox.write(name, name);
        sandbox.git(["add", name]).ok();
        sandbox.commit(&format!("{name}\n\nElf-Failure: lesson {name}"));
    }
    let before = sandbox.all();
    assert_eq!(before.len(), 3);
    sandbox.git(["checkout", "-q", "other"]).ok();
    sandbox.commit("base");
    sandbox.git(["cherry-pick", "main"]).ok();
    sandbox.git(["checkout", "-q", "main"]).ok();
    let rebase = |todo: &str, editor: &str| {
        let mut git = sandbox.command("git");
        git.env("GIT_EDITOR", editor).env("GIT_SEQUENCE_EDITOR", todo).args(["rebase", "-q", "-i", "other~1"]);
        sandbox.run(git).ok();
    };
    rebase("true", "true");
    assert_eq!(sandbox.all(), before);
    rebase("sed -i 1s/pick/reword/", "sed -i 's/lesson a/lesson A/'");
    assert_eq!((sandbox.state_of("lesson a"), sandbox.state_of("lesson A")), ("retracted".into(), "active".into()));
    rebase("sed -i 2s/pick/squash/", "true");
    assert_eq!(sandbox.state_of("lesson A"), "active");
    let b: Vec<_> = sandbox.all().into_iter().filter(|row| row[2] == "lesson b" && row[3] == "active").collect();
    assert_eq!(b.len(), 1, "what was melted in is said once: {:?}", sandbox.all());
    rebase("sed -i 2s/pick/fixup/", "true");
    assert_eq!(sandbox.state_of("lesson c"), "retracted", "a fixup drops the message");
    rebase("sed -i 1s/pick/edit/", "true");
    sandbox.write("a", "changed");
    sandbox.git(["add", "a"]).ok();
    sandbox.git(["commit", "-q", "--amend", "-m", "no lesson"]).ok();
    sandbox.git(["rebase", "--continue"]).ok();
    assert_eq!(sandbox.state_of("lesson A"), "retracted");
    assert_eq!(sandbox.git(["status", "--porcelain"]).out, "");
    sandbox.elf(["check"]).ok();
}

#[test]
fn two_clones_harvest_one_commit_to_the_same_bytes() {
    let sandbox = Sandbox::new();
    sandbox.git(["commit", "-q", "--allow-empty", "-m", "x\n\nElf-Failure: shared\nElf-Tags: a,b"]).ok();
    let clone = sandbox.root().join("clone");
    sandbox.git(["clone", "-q", ".", clone.to_str().unwrap()]).ok();
    sandbox.elf(["hook", "post-commit"]).ok();
    let mut hook = sandbox.elf_command(["hook", "post-commit"]);
    hook.current_dir(&clone).env("ELF_AGENT", "another");
    sandbox.run(hook).ok();
    let list = |dir: &str| sandbox.git(["-C", dir, "ls-tree", "-r", "refs/elf/memory"]).ok().out;
    assert_eq!(list("."), list(clone.to_str().unwrap()));
    assert!(list(".").contains("shared"));
}

#[test]
fn a_busy_lock_costs_a_commit_no_time_and_loses_nothing() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    let lock = fs::OpenOptions::new().write(true).open(sandbox.elf_dir().join("lock")).unwrap();
    let mut lock = fd_lock::RwLock::new(lock);
    let held = lock.write().unwrap();
    let start = Instant::now();
    assert_eq!(sandbox.commit("x\n\nElf-Failure: queued\nElf-Validates: 0123456789abcdef").err.lines().count(), 1);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(sandbox.tree().is_empty());
    let spooled = fs::read_dir(sandbox.elf_dir().join("spool")).unwrap().flatten();
    assert_eq!(spooled.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "md")).count(), 1);
    drop(held);
    sandbox.commit("a commit without trailers drains");
    assert_eq!(sandbox.tree().len(), 2, "the record and the README: {:?}", sandbox.tree());
}

/// Lists calls that wait or lock, of one post-commit as the hook's file starts it.
fn waits_of_post_commit(sandbox: &Sandbox) -> Vec<String> {
    let log = sandbox.root().join("strace.log");
    let mut strace = sandbox.command("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(&log);
    let waiting =
        "flock,fcntl,nanosleep,clock_nanosleep,poll,ppoll,select,pselect6,epoll_wait,epoll_pwait,pause,rt_sigtimedwait";
    strace.args(["-e", &format!("trace={waiting}")]).arg(elf_program()).args(["hook", "post-commit"]);
    sandbox.run(strace).ok();
    let text = fs::read_to_string(log).unwrap();
    let calls = text.lines().filter_map(|line| Some(line.split_once(' ')?.1.trim_start().to_owned()));
    // Rust looks once whether descriptors 0 to 2 are open, and does not wait for them; F_GETFD and the like neither.
    let is_quick = |call: &String| {
        (call.starts_with("poll(") && call.contains("], 3, 0)"))
            || (call.starts_with("fcntl(") && !call.contains("SETLK"))
            || call.contains("F_SETLK,")
            || call.contains("F_OFD_SETLK,")
            || call.contains("LOCK_UN")
            || call.starts_with("+++")
    };
    calls.filter(|call| !is_quick(call)).collect()
}

#[test]
fn a_commit_never_waits_whoever_holds_the_lock() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return eprintln!("skipped: strace is not installed");
    }
    let sandbox = Sandbox::new();
    sandbox.record("creates everything");
    assert_eq!(waits_of_post_commit(&sandbox), Vec::<String>::new(), "with nothing to do the lock is not even tried");
    let lock = fs::OpenOptions::new().write(true).open(sandbox.elf_dir().join("lock")).unwrap();
    let mut lock = fd_lock::RwLock::new(lock);
    let held = lock.write().unwrap();
    assert_eq!(waits_of_post_commit(&sandbox), Vec::<String>::new(), "nor is it when somebody else holds it");
    let one_attempt = |lock: &str| {
        let calls = waits_of_post_commit(&sandbox);
        assert_eq!(calls.len(), 1, "{lock}: {calls:#?}");
        assert!(calls[0].starts_with("flock(") && calls[0].contains("LOCK_EX|LOCK_NB"), "{lock}: {calls:?}");
    };
    sandbox.elf(["record", "failure", "waits in the spool", "--no-wait"]).ok();
    one_attempt("held, a record waits");
    sandbox.commit("x\n\nElf-Failure: a lesson");
    one_attempt("held, a lesson to keep");
    drop(held);
    one_attempt("free, both to be committed");
    assert_eq!(sandbox.listed().len(), 3);
}

#[test]
fn a_missing_binary_stops_nobody() {
    let sandbox = Sandbox::new();
    sandbox.remote();
    sandbox.elf(["init"]).ok();
    for name in ["post-commit", "pre-push"] {
        script(
            &sandbox.hook(name),
            &sandbox.hook_text(name).replace(elf_program().to_str().unwrap(), "/nowhere/git-elf"),
        );
    }
    let git = |args: &[&str]| {
        let mut command = sandbox.command("git");
        command.env("PATH", std::env::var("PATH").unwrap()).args(args);
        sandbox.run(command).ok()
    };
    assert_eq!(git(&["commit", "-q", "--allow-empty", "-m", "x\n\nElf-Failure: y"]).err, "");
    git(&["push", "-q", "origin", "main"]);
    assert!(sandbox.tree().is_empty());
}

#[test]
fn init_makes_fetch_bring_the_memory_and_push_stays_as_it_was() {
    let sandbox = Sandbox::new();
    let remote = sandbox.remote();
    let config = fs::read(sandbox.repo().join(".git/config")).unwrap();
    sandbox.elf(["init"]).ok();
    sandbox.elf(["init"]).ok();
    let fetch = sandbox.git(["config", "--get-all", "remote.origin.fetch"]).out;
    assert_eq!(fetch.lines().count(), 2, "{fetch}");
    assert_eq!(sandbox.git(["config", "--get-all", "remote.origin.push"]).status, 1);
    sandbox.git(["fetch"]).ok();
    sandbox.record("shared");
    sandbox.git(["push", "-q", "origin", "main", "refs/elf/memory"]).ok();
    sandbox.git(["update-ref", "-d", "refs/elf/remotes/origin/memory"]).ok();
    sandbox.git(["fetch", "-q"]).ok();
    let of = |name: &str| sandbox.git(["rev-parse", name]).ok().out;
    assert_eq!(of("refs/elf/remotes/origin/memory"), of("refs/elf/memory"));
    assert!(remote.exists());
    sandbox.elf(["uninstall"]).ok();
    assert_eq!(fs::read(sandbox.repo().join(".git/config")).unwrap(), config);
}

#[test]
fn a_push_warns_of_records_that_the_remote_lacks() {
    let sandbox = Sandbox::new();
    sandbox.remote();
    sandbox.elf(["init"]).ok();
    assert_eq!(sandbox.git(["push", "-q", "origin", "main"]).ok().err, "");
    sandbox.record("one");
    sandbox.record("two");
    sandbox.commit("more");
    let ran = sandbox.git(["push", "-q", "origin", "main"]).ok();
    assert_eq!(ran.err, "elf: origin lacks 2 records of this memory: git push origin refs/elf/memory\n");
    let url = format!("file://{}", sandbox.root().join("remote.git").display());
    let ran = sandbox.git(["push", "-q", &url, "HEAD:refs/heads/by-url"]).ok();
    assert!(ran.err.contains("that repository lacks 2") && !ran.err.contains("file:"), "{}", ran.err);
    assert_eq!(sandbox.git(["push", "-q", "origin", "refs/elf/memory"]).ok().err, "");
    sandbox.record("three");
    sandbox.commit("more");
    let ran = sandbox.git(["push", "-q", "origin", "main", "HEAD:refs/heads/x y"]);
    assert_ne!(ran.status, 0, "git itself refuses such a name: {}", ran.err);
    let ran = sandbox.git(["push", "-q", "origin", "main"]).ok();
    assert!(ran.err.contains("lacks 1 record of"), "{}", ran.err);
    sandbox.git(["config", "elf.push", "off"]).ok();
    assert_eq!(sandbox.git(["push", "-q", "origin", "HEAD:x"]).ok().err, "");
    // An up-to-date push, and a local ref with spaces.
    assert_eq!(sandbox.git(["push", "-q", "origin", "HEAD:x"]).ok().err, "");
    sandbox.git(["push", "-q", "origin", "HEAD@{1 second ago}:refs/heads/y"]).ok();
    assert_eq!(sandbox.git(["push", "-q", "origin", ":refs/elf/memory"]).ok().err, "", "a deletion is the user's");
}

#[test]
fn a_memory_that_is_not_sound_is_not_pushed() {
    let sandbox = Sandbox::new();
    sandbox.remote();
    sandbox.elf(["init"]).ok();
    let id = sandbox.record("sound");
    let sound = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().line().to_owned();
    let path = sandbox.tree().into_iter().find(|path| path.contains(&id)).unwrap();
    let text = sandbox.git(["show", &format!("refs/elf/memory:{path}")]).ok().out;
    let leaf = path.rsplit_once('/').unwrap().0;
    let conflict = format!("{text}<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n");
    for (name, content, problem) in [
        ("failures/0/0/nonsense.md", "nonsense", "nonsense.md"),
        (path.as_str(), conflict.as_str(), "conflict markers"),
        (&format!("{leaf}/{id}-again.md"), text.as_str(), "has the id of"),
    ] {
        sandbox.edit_memory(&[(name, content)]);
        for refs in ["refs/elf/memory", "refs/elf/memory:refs/heads/m", "refs/elf/memory^{commit}:refs/elf/copy"] {
            let ran = sandbox.git(["push", "-q", "origin", refs]).exits(1);
            assert!(ran.err.contains(problem) && ran.err.contains("hint:"), "{problem}: {}", ran.err);
        }
        sandbox.git(["push", "-q", "origin", "main"]).ok();
        sandbox.git(["update-ref", "refs/elf/memory", &sound]).ok();
    }
    assert_eq!(sandbox.git(["push", "-q", "origin", "refs/elf/memory"]).ok().err, "");
    let quoted = sandbox.elf(["record", "failure", "x", "-m", "Title\n=======\n<<<<<<< is fine alone"]).ok();
    assert_eq!(quoted.line().len(), 16);
    sandbox.git(["push", "-q", "origin", "refs/elf/memory"]).ok();
}

#[test]
fn an_existing_pre_push_hook_reads_the_same_stdin() {
    let sandbox = Sandbox::new();
    sandbox.remote();
    sandbox.elf(["init"]).ok();
    let record =
        "#!/bin/sh\nset -eu\ncat >\"$GIT_DIR_FOR_TEST/$1\"; printf '%s' \"${elf_refs-}\" >>\"$GIT_DIR_FOR_TEST/$1\"\n";
    let seen = |sandbox: &Sandbox, refs: &[&str]| {
        let mut git = sandbox.command("git");
        git.env("GIT_DIR_FOR_TEST", sandbox.root()).args(["push", "-q", "origin"]).args(refs);
        sandbox.run(git).ok();
        fs::read_to_string(sandbox.root().join("origin")).unwrap()
    };
    let pushes: [&[&str]; 3] =
        [&["main", "HEAD:refs/heads/x"], &["main"], &["HEAD@{1 second ago}:refs/heads/s", "main:z"]];
    script(&sandbox.hook("pre-push"), record);
    let alone = pushes.map(|refs| seen(&sandbox, refs));
    sandbox.git(["push", "-q", "--no-verify", "origin", ":main", ":x", ":s", ":z"]).ok();
    for shell in ["#!/bin/sh", "#!/bin/bash"] {
        script(&sandbox.hook("pre-push"), &record.replace("#!/bin/sh", shell));
        sandbox.elf(["init"]).ok();
        assert!(sandbox.hook_text("pre-push").contains(">>> git-elf"));
        assert_eq!(pushes.map(|refs| seen(&sandbox, refs)), alone);
        sandbox.git(["push", "-q", "--no-verify", "origin", ":main", ":x", ":s", ":z"]).ok();
    }
    assert_eq!(alone[1], "", "an up-to-date push has an empty stdin");
    assert!(alone[2].contains("1 second ago"), "{alone:?}");
}

#[test]
fn a_large_push_fits_through_the_block() {
    let line = format!("refs/heads/{} {} refs/heads/x {}\n", "n".repeat(80), "1".repeat(40), "0".repeat(40));
    for shell in ["sh", "bash"] {
        let sandbox = Sandbox::new();
        script(&sandbox.hook("pre-push"), &format!("#!/usr/bin/env {shell}\nset -eu\nexec wc -l\n"));
        sandbox.elf(["init"]).ok();
        let mut hook = sandbox.command(sandbox.hook("pre-push"));
        let input = sandbox.root().join("input");
        fs::write(&input, line.repeat(5000)).unwrap();
        hook.args(["origin", "url"]).stdin(fs::File::open(&input).unwrap());
        assert_eq!(sandbox.run(hook).ok().line().trim(), "5000");
    }
}

#[test]
fn linked_worktrees_bare_repositories_and_unborn_branches_work() {
    let sandbox = Sandbox::new();
    let linked = sandbox.root().join("linked");
    sandbox.git(["worktree", "add", "-q", linked.to_str().unwrap()]).ok();
    let mut init = sandbox.elf_command(["init"]);
    init.current_dir(&linked);
    sandbox.run(init).ok();
    assert!(sandbox.hook("post-commit").exists(), "one hook for all worktrees");
    let linked = linked.to_str().unwrap();
    sandbox.git(["-C", linked, "commit", "-q", "--allow-empty", "-m", "x\n\nElf-Failure: from a worktree"]).ok();
    sandbox.git(["-C", linked, "commit", "-q", "--amend", "--allow-empty", "-m", "x"]).ok();
    assert_eq!(sandbox.state_of("from a worktree"), "retracted");

    let empty = Sandbox::empty();
    empty.elf(["init"]).exits(1);
    empty.git(["init", "-q", "-b", "main", "."]).ok();
    empty.elf(["init"]).ok();
    empty.elf(["hook", "post-commit"]).ok();
    empty.commit("first\n\nElf-Failure: at the root");
    empty.git(["commit", "-q", "--amend", "--allow-empty", "-m", "nothing"]).ok();
    assert_eq!(empty.state_of("at the root"), "retracted");

    let bare = Sandbox::empty();
    bare.git(["init", "-q", "--bare", "."]).ok();
    bare.elf(["init"]).ok();
    assert!(bare.repo().join("hooks/post-commit").exists());
    bare.elf(["uninstall"]).ok();
    assert!(!bare.repo().join("hooks/post-commit").exists());
}

#[test]
fn hooks_never_fail_for_reasons_of_ours() {
    let sandbox = Sandbox::new();
    sandbox.remote();
    sandbox.elf(["init"]).ok();
    sandbox.record("one");
    sandbox.git(["config", "elf.lockTimeout", "nonsense"]).ok();
    let ran = sandbox.commit("x\n\nElf-Failure: y");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    let ran = sandbox.git(["push", "-q", "origin", "main"]).ok();
    assert!(ran.err.contains("the push goes on"), "{}", ran.err);
    sandbox.git(["config", "--unset", "elf.lockTimeout"]).ok();
    sandbox.git(["config", "--global", "--remove-section", "user"]).ok();
    let mut commit = sandbox.command("git");
    commit.envs([("GIT_COMMITTER_NAME", "C"), ("GIT_COMMITTER_EMAIL", "c@example.org")]);
    commit.args(["commit", "-q", "--allow-empty", "--author", "A <a@example.org>", "-m", "x\n\nElf-Failure: nameless"]);
    let ran = sandbox.run(commit).ok();
    assert!(ran.err.lines().count() <= 1, "{}", ran.err);
    sandbox.git(["config", "--global", "user.name", "A U Thor"]).ok();
    sandbox.git(["config", "--global", "user.email", "author@example.org"]).ok();
    assert!(sandbox.all().iter().any(|row| row[2] == "nameless"), "it was queued, not lost");
    let mut outside = sandbox.elf_command(["hook", "post-commit"]);
    outside.current_dir("/");
    sandbox.run(outside).ok();
    let lock = fs::OpenOptions::new().write(true).open(sandbox.elf_dir().join("lock")).unwrap();
    let mut lock = fd_lock::RwLock::new(lock);
    let held = lock.write().unwrap();
    sandbox.elf(["record", "failure", "waits", "--no-wait"]).ok();
    let ran = sandbox.git(["-c", "elf.push=off", "push", "-q", "origin", "HEAD:w"]).ok();
    assert_eq!(ran.err, "", "a push without memory has nothing to wait for");
    let ran = sandbox.git(["push", "-q", "origin", "refs/elf/memory"]).ok();
    assert!(ran.err.contains("another process holds the lock"), "{}", ran.err);
    drop(held);
}

#[test]
fn init_selects_a_ref_and_uninstall_unselects_its_own() {
    let sandbox = Sandbox::new();
    sandbox.remote();
    sandbox.elf(["init", "--ref", "refs/tags/x"]).exits(2);
    assert!(!sandbox.hook("post-commit").exists(), "an invalid ref changes nothing");
    sandbox.elf(["init", "--ref", "refs/elf/notes"]).ok();
    sandbox.elf(["record", "failure", "x"]).ok();
    sandbox.git(["rev-parse", "--verify", "refs/elf/notes"]).ok();
    let fetch = sandbox.git(["config", "--get-all", "remote.origin.fetch"]).out;
    assert!(fetch.contains("+refs/elf/notes*:refs/elf/remotes/origin/notes*"), "{fetch}");
    let ran = sandbox.elf(["uninstall"]).ok();
    assert!(ran.out.contains("refs/elf/notes with 1 record file"), "{}", ran.out);
    assert_eq!(sandbox.git(["config", "--get-regexp", "elf"]).out, "");
    sandbox.git(["config", "elf.ref", "refs/elf/mine"]).ok();
    sandbox.elf(["init"]).ok();
    sandbox.elf(["uninstall"]).ok();
    assert_eq!(sandbox.git(["config", "elf.ref"]).line(), "refs/elf/mine", "the user's own stays");
}

#[test]
fn the_memory_goes_only_when_its_size_is_named() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    let id = sandbox.record("one");
    sandbox.elf(["validate", &id]).ok();
    let ran = sandbox.elf(["uninstall"]).ok();
    assert!(ran.out.contains("refs/elf/memory with 2 record files"), "{}", ran.out);
    sandbox.elf(["init"]).ok();
    for wrong in ["0", "1", "3"] {
        let ran = sandbox.elf(["uninstall", "--delete-memory", wrong]).exits(2);
        assert!(ran.err.contains("which has 2") && !ran.err.contains("--delete-memory 2"), "{}", ran.err);
        assert!(sandbox.hook("post-commit").exists(), "a wrong number changes nothing");
    }
    assert_eq!(sandbox.listed().len(), 1);
    sandbox.elf(["uninstall", "--delete-memory", "2"]).ok();
    assert!(sandbox.tree().is_empty());
    let left: Vec<_> = fs::read_dir(sandbox.elf_dir()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["lock"]);
    assert!(!sandbox.hook("post-commit").exists());
    assert!(sandbox.listed().is_empty());
    sandbox.record("a new memory begins");
    assert_eq!(sandbox.listed().len(), 1);
}
