//! Other programs' locks are looked at, never guessed about; a command runs under ours and nobody else does meanwhile.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value as Json;

use crate::support::{Ran, Sandbox};

/// Makes a repository in which no git works in the background.
fn quiet() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.git(["config", "--global", "maintenance.auto", "false"]).ok();
    sandbox.git(["config", "--global", "gc.auto", "0"]).ok();
    sandbox
}

fn make_old(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(3600);
    File::open(path).unwrap().set_modified(then).unwrap();
}

trait Locks {
    fn plant(&self, path: &str);
    fn locks(&self, args: &[&str]) -> Vec<Json>;
    fn verdict(&self, path: &str) -> String;
    fn has(&self, path: &str) -> bool;
    fn sh_under_lock(&self, script: &str) -> Ran;
    fn start(&self, args: &[&str]) -> Child;
}

impl Locks for Sandbox {
    /// Leaves an old, empty file below the common dir.
    fn plant(&self, path: &str) {
        let path = self.repo().join(".git").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(&path).unwrap();
        make_old(&path);
    }

    fn locks(&self, args: &[&str]) -> Vec<Json> {
        self.elf([&["locks", "--json"], args].concat()).ok().json()
    }

    fn verdict(&self, path: &str) -> String {
        let rows = self.locks(&[]);
        let row =
            rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path} is not listed: {rows:?}"));
        row["verdict"].as_str().unwrap().to_owned()
    }

    fn has(&self, path: &str) -> bool {
        self.repo().join(".git").join(path).symlink_metadata().is_ok()
    }

    fn sh_under_lock(&self, script: &str) -> Ran {
        self.elf(["lock", "--", "sh", "-c", script])
    }

    fn start(&self, args: &[&str]) -> Child {
        let mut command = self.elf_command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

const EVERYWHERE: [&str; 17] = [
    "HEAD.lock",
    "config.lock",
    "index.lock",
    "info/sparse-checkout.lock",
    "logs/refs/heads/main.lock",
    "modules/lib/deep/index.lock",
    "next-index-4194303.lock",
    "objects/info/commit-graphs/commit-graph-chain.lock",
    "objects/pack/multi-pack-index.lock",
    "packed-refs.lock",
    "refs/elf/memory.lock",
    "refs/heads/a/b/c.lock",
    "refs/remotes/origin/main.lock",
    "shallow.lock",
    "worktrees/linked/HEAD.lock",
    "worktrees/linked/index.lock",
    "worktrees/linked/refs/bisect/bad.lock",
];

#[test]
fn every_lock_that_a_dead_git_leaves_is_found_and_goes() {
    let sandbox = quiet();
    sandbox.git(["worktree", "add", "-q", "../linked"]).ok();
    fs::create_dir_all(sandbox.repo().join(".git/modules/lib/deep")).unwrap();
    fs::write(sandbox.repo().join(".git/modules/lib/deep/HEAD"), "ref: refs/heads/main\n").unwrap();
    for path in EVERYWHERE {
        sandbox.plant(path);
    }
    let rows = sandbox.locks(&[]);
    let paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(paths, EVERYWHERE);
    assert!(rows.iter().all(|row| row["verdict"] == "stale" && row["age"].as_u64() >= Some(3600)), "{rows:?}");
    let table = sandbox.elf(["locks"]).ok().out;
    assert!(table.contains("stale    60m          0  4194303  next-index-4194303.lock"), "{table}");
    assert!(sandbox.has("index.lock"), "looking changes nothing");

    let rows = sandbox.locks(&["--clean", "index.lock", ".git/worktrees/linked/index.lock"]);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["removed"] == true), "{rows:?}");
    assert_eq!(sandbox.locks(&[]).iter().filter(|row| row["verdict"] == "stale").count(), EVERYWHERE.len() - 2);
    sandbox.elf(["locks", "--clean"]).ok();
    let left = sandbox.locks(&[]);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&left[0]["path"], &left[0]["verdict"]), (&"elf/lock".into(), &"ours".into()));
    sandbox.git(["fsck", "--strict"]).ok();
    sandbox.git(["commit", "-q", "--allow-empty", "-m", "works again"]).ok();
}

#[test]
fn the_young_the_named_and_the_odd_stay() {
    let sandbox = quiet();
    let git_dir = sandbox.repo().join(".git");
    File::create(git_dir.join("HEAD.lock")).unwrap();
    assert_eq!(sandbox.verdict("HEAD.lock"), "unknown", "it is young");
    let future = SystemTime::now() + Duration::from_secs(86_400);
    File::open(git_dir.join("HEAD.lock")).unwrap().set_modified(future).unwrap();
    assert_eq!(sandbox.locks(&[])[0]["age"], 0, "a clock in the future proves nothing");

    sandbox.plant("index.lock");
    fs::write(git_dir.join("index~pid.lock"), format!("pid {}\n", std::process::id())).unwrap();
    make_old(&git_dir.join("index~pid.lock"));
    assert_eq!((sandbox.verdict("index.lock"), sandbox.verdict("index~pid.lock")), ("live".into(), "live".into()));

    sandbox.plant("victim");
    symlink("victim", git_dir.join("config.lock")).unwrap();
    assert_eq!(sandbox.verdict("config.lock"), "unknown");
    fs::create_dir(git_dir.join("shallow.lock")).unwrap();
    make_old(&git_dir.join("shallow.lock"));
    assert_eq!(sandbox.verdict("shallow.lock"), "unknown");

    sandbox.elf(["locks", "--clean"]).ok();
    for path in ["HEAD.lock", "index.lock", "index~pid.lock", "config.lock", "shallow.lock", "victim"] {
        assert!(sandbox.has(path), "{path} went");
    }
    fs::write(git_dir.join("index~pid.lock"), "pid 4194303\n").unwrap();
    make_old(&git_dir.join("index~pid.lock"));
    sandbox.elf(["locks", "--clean"]).ok();
    assert!(!sandbox.has("index.lock") && !sandbox.has("index~pid.lock"), "the holder is dead");

    sandbox.plant("index.lock");
    sandbox.git(["config", "--global", "elf.staleLockAge", "7200"]).ok();
    assert_eq!(sandbox.verdict("index.lock"), "unknown", "the configured age counts");
    for bad in ["0", "-1", "1e9", "soon"] {
        sandbox.git(["config", "--global", "elf.staleLockAge", bad]).ok();
        let ran = sandbox.elf(["locks"]).exits(2);
        assert!(ran.err.contains("elf.staleLockAge"), "{}", ran.err);
    }
}

#[test]
fn a_path_that_leads_elsewhere_is_refused_and_nothing_goes() {
    let sandbox = quiet();
    for path in ["index.lock", "refs/heads/x.lock"] {
        sandbox.plant(path);
    }
    let victim = sandbox.root().join("victim");
    fs::create_dir(&victim).unwrap();
    File::create(victim.join("index.lock")).unwrap();
    make_old(&victim.join("index.lock"));
    let git_dir = sandbox.repo().join(".git");
    symlink(&victim, git_dir.join("worktrees")).unwrap();
    symlink(&victim, git_dir.join("refs/tags/out")).unwrap();
    symlink("index.lock", git_dir.join("HEAD.lock")).unwrap();
    let absolute = victim.join("index.lock").display().to_string();
    for bad in [
        ".git/../../victim/index.lock",
        "../victim/index.lock",
        "refs/../index.lock",
        "worktrees/index.lock",
        "refs/tags/out/index.lock",
        "HEAD.lock",
        "HEAD",
        "config",
        "none.lock",
        "/etc/passwd",
        "/",
        absolute.as_str(),
    ] {
        let ran = sandbox.elf(["locks", "--clean", "index.lock", bad]).exits(1);
        assert!(sandbox.has("index.lock") && sandbox.has("HEAD.lock"), "{bad}: {}", ran.err);
    }
    sandbox.elf(["locks", "--clean"]).ok();
    assert!(victim.join("index.lock").exists() && sandbox.has("HEAD.lock"));
    assert!(!sandbox.has("index.lock") && !sandbox.has("refs/heads/x.lock"));
    sandbox.plant("index.lock");
    let full = git_dir.canonicalize().unwrap().join("index.lock").display().to_string();
    sandbox.elf(["locks", "--clean", &full]).ok();
    assert!(!sandbox.has("index.lock"));
}

#[test]
fn the_index_lock_of_a_commit_whose_hook_is_slow_is_never_removed() {
    let sandbox = quiet();
    let hooks = sandbox.repo().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    let hook = hooks.join("pre-commit");
    fs::write(&hook, "#!/bin/sh\ntouch \"$STARTED\"\nwhile ! test -e \"$GO\"; do sleep 0.05; done\n").unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.write("a", "a\n");
    sandbox.git(["add", "a"]).ok();
    let (started, go) = (sandbox.root().join("started"), sandbox.root().join("go"));
    // From elsewhere, by variables alone: neither working directory nor command line say where it works.
    let ways: [&[(&str, &str)]; 2] = [&[], &[("GIT_DIR", ".git"), ("GIT_WORK_TREE", ".")]];
    for variables in ways {
        let mut commit = sandbox.command("git");
        commit.args(["commit", "-q", "--allow-empty", "-a", "-m", "slow"]).env("STARTED", &started).env("GO", &go);
        for (name, value) in variables {
            commit.env(name, sandbox.repo().join(value));
        }
        if !variables.is_empty() {
            commit.current_dir("/");
        }
        let mut commit = commit.spawn().unwrap();
        wait_for(&started);
        let lock = sandbox.repo().join(".git/index.lock");
        make_old(&lock);
        assert_eq!(sandbox.verdict("index.lock"), "unknown");
        let ran = sandbox.elf(["locks", "--clean", "index.lock"]).ok();
        assert!(ran.out.contains("works in this repository"), "{}", ran.out);
        assert!(lock.exists(), "a live lock was removed");
        File::create(&go).unwrap();
        assert!(commit.wait().unwrap().success());
        fs::remove_file(&go).unwrap();
        fs::remove_file(&started).unwrap();
    }
}

#[test]
fn the_index_lock_of_a_commit_that_was_killed_goes() {
    let sandbox = quiet();
    let hook = sandbox.repo().join(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nkill -KILL $PPID\n").unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(sandbox.git(["commit", "-q", "--allow-empty", "-a", "-m", "dies"]).status, -1);
    fs::remove_file(&hook).unwrap();
    assert!(sandbox.git(["add", "."]).err.contains("index.lock"));
    assert_eq!(sandbox.verdict("index.lock"), "unknown", "too young to tell");
    make_old(&sandbox.repo().join(".git/index.lock"));
    sandbox.elf(["locks", "--clean"]).ok();
    sandbox.git(["commit", "-q", "--allow-empty", "-a", "-m", "lives"]).ok();
}

#[test]
fn every_key_of_the_list_is_documented() {
    let sandbox = quiet();
    sandbox.plant("index.lock");
    let documented = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).unwrap();
    let section = documented.split("## locks").nth(1).unwrap().split("\n## ").next().unwrap();
    for key in sandbox.locks(&[])[0].as_object().unwrap().keys() {
        assert!(section.contains(&format!("`{key}`")), "{key}");
    }
}

/// Runs git where it waits for input, asks for a verdict, and lets git end.
fn verdict_while_git_runs(sandbox: &Sandbox, lock: &str, place: &Path, args: &[&str]) -> String {
    let mut git = sandbox.command("git");
    git.args(args).args(["cat-file", "--batch"]).current_dir(place);
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let verdict = sandbox.verdict(lock);
    drop(git.stdin.take());
    assert!(git.wait().unwrap().success());
    verdict
}

#[test]
fn git_at_work_in_any_worktree_protects_all_locks() {
    let sandbox = quiet();
    sandbox.git(["worktree", "add", "-q", "../linked"]).ok();
    sandbox.git(["worktree", "add", "-q", "../moved/away"]).ok();
    fs::create_dir(sandbox.repo().join("below")).unwrap();
    let root = sandbox.root().to_owned();
    fs::rename(root.join("moved/away"), root.join("moved/here")).unwrap();
    symlink("repo", root.join("alias")).unwrap();
    sandbox.plant("packed-refs.lock");
    let git_dir = sandbox.repo().join(".git").display().to_string();
    let by_option = format!("--git-dir={git_dir}");
    let cases: [(&str, &[&str]); 9] = [
        ("repo", &[]),
        ("repo/below", &[]),
        ("repo/.git/refs", &[]),
        ("alias", &[]),
        ("linked", &[]),
        ("moved/here", &[]),
        ("home", &["--git-dir", &git_dir]),
        ("home", &[&by_option]),
        ("home", &["--git-dir=../repo/.git"]),
    ];
    for (place, args) in cases {
        let verdict = verdict_while_git_runs(&sandbox, "packed-refs.lock", &root.join(place), args);
        assert_eq!(verdict, "unknown", "git runs in {place} with {args:?}");
        assert_eq!(sandbox.verdict("packed-refs.lock"), "stale", "and then it has ended");
    }
    let other = quiet();
    let verdict = {
        let mut git = other.command("git");
        let mut git = git.args(["cat-file", "--batch"]).stdin(Stdio::piped()).spawn().unwrap();
        let verdict = sandbox.verdict("packed-refs.lock");
        drop(git.stdin.take());
        git.wait().unwrap();
        verdict
    };
    assert_eq!(verdict, "stale", "git in another repository is no reason");
}

#[test]
fn the_main_worktree_of_a_git_directory_elsewhere_is_found() {
    let sandbox = quiet();
    let root = sandbox.root().to_owned();
    sandbox.git(["init", "-q", "--separate-git-dir", "../store"]).ok();
    sandbox.git(["worktree", "add", "-q", "../linked"]).ok();
    File::create(root.join("store/index.lock")).unwrap();
    make_old(&root.join("store/index.lock"));
    let verdict = || {
        let mut locks = sandbox.elf_command(["locks", "--json"]);
        locks.current_dir(root.join("linked"));
        sandbox.run(locks).ok().json()[0]["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict(), "stale");
    let mut git = sandbox.command("git");
    let mut git = git.args(["cat-file", "--batch"]).stdin(Stdio::piped()).spawn().unwrap();
    assert_eq!(verdict(), "unknown");
    drop(git.stdin.take());
    git.wait().unwrap();
}

#[test]
fn locks_of_older_scripts_are_judged_by_their_own_protocol() {
    let sandbox = quiet();
    let git_dir = sandbox.repo().join(".git");
    sandbox.plant("claude-lock");
    let mut lock = fd_lock::RwLock::new(File::open(git_dir.join("claude-lock")).unwrap());
    let held = lock.write().unwrap();
    assert_eq!(sandbox.verdict("claude-lock"), "live");
    assert_eq!(sandbox.locks(&[])[0]["holder"], std::process::id());
    sandbox.elf(["locks", "--clean"]).ok();
    assert!(sandbox.has("claude-lock"));
    drop(held);
    drop(lock);
    assert_eq!(sandbox.verdict("claude-lock"), "stale");

    let directory = git_dir.join("claude-lock.dir");
    fs::create_dir(&directory).unwrap();
    assert_eq!(sandbox.verdict("claude-lock.dir"), "unknown", "it is young");
    fs::write(directory.join("pid"), std::process::id().to_string()).unwrap();
    make_old(&directory);
    assert_eq!(sandbox.verdict("claude-lock.dir"), "live");
    fs::write(directory.join("pid"), "4194303\n").unwrap();
    fs::write(directory.join("notes"), "mine").unwrap();
    make_old(&directory);
    let ran = sandbox.elf(["locks", "--clean"]).exits(1);
    assert!(ran.err.contains("claude-lock.dir was not removed"), "{}", ran.err);
    assert!(sandbox.has("claude-lock.dir/notes") && sandbox.has("claude-lock.dir/pid") && !sandbox.has("claude-lock"));
    fs::remove_file(directory.join("notes")).unwrap();
    make_old(&directory);
    sandbox.elf(["locks", "--clean"]).ok();
    assert!(!sandbox.has("claude-lock.dir"));
}

#[test]
fn of_two_cleaners_exactly_one_removes_the_lock() {
    let sandbox = quiet();
    for round in 0..15 {
        let directory = sandbox.repo().join(".git/claude-lock.dir");
        fs::create_dir(&directory).unwrap();
        make_old(&directory);
        sandbox.plant("index.lock");
        let cleaners = [sandbox.start(&["locks", "--clean", "--json"]), sandbox.start(&["locks", "--clean", "--json"])];
        let mut removed = 0;
        for cleaner in cleaners {
            let rows = Ran::of(cleaner.wait_with_output().unwrap()).ok().json();
            removed += rows.iter().filter(|row| row["removed"] == true).count();
        }
        assert_eq!(removed, 2, "round {round}: each lock once");
        assert!(!sandbox.has("claude-lock.dir") && !sandbox.has("index.lock"));
    }
}

#[test]
fn a_cleaner_that_is_killed_leaves_what_the_next_one_finds() {
    let sandbox = quiet();
    sandbox.plant("refs/heads/x.lock");
    let mut killed = sandbox.elf_command(["locks", "--clean"]);
    killed.env("ELF_FAULT", "lock-aside");
    assert_eq!(sandbox.run(killed).status, -1);
    assert!(!sandbox.has("refs/heads/x.lock"));
    assert_eq!(sandbox.git(["for-each-ref"]).ok().out.lines().count(), 1, "git takes it for no ref");
    let rows = sandbox.locks(&["--clean"]);
    assert!(rows[1]["path"].as_str().unwrap().starts_with("refs/heads/.elf-stale-"), "{rows:?}");
    assert_eq!(rows[1]["removed"], true);
}

#[test]
fn thirty_commits_in_one_checkout_all_succeed() {
    let sandbox = quiet();
    for i in 0..30 {
        sandbox.write(&format!("f{i}"), "x\n");
    }
    let commits: Vec<_> = (0..30)
        .map(|i| {
            let script = format!("git add f{i} && git commit -qm {i} && test -z \"$(git status -s f{i})\"");
            sandbox.start(&["lock", "--timeout", "300", "--", "sh", "-c", &script])
        })
        .collect();
    for commit in commits {
        Ran::of(commit.wait_with_output().unwrap()).ok();
    }
    assert_eq!(sandbox.git(["rev-list", "--count", "HEAD"]).line(), "31");
    assert_eq!(sandbox.git(["ls-files"]).out.lines().count(), 31);
}

#[test]
fn git_elf_inside_does_not_wait_for_its_ancestor() {
    let sandbox = quiet();
    sandbox.git(["config", "elf.lockTimeout", "60"]).ok();
    sandbox.elf(["init"]).ok();
    let start = Instant::now();
    let ran = sandbox.elf(["lock", "--", "git", "elf", "record", "failure", "direct", "--json"]).ok();
    assert_eq!(ran.json()[0]["state"], "committed");
    let nested = ["lock", "--", "git", "elf", "lock", "--", "git", "elf", "record", "failure", "nested", "--json"];
    assert_eq!(sandbox.elf(nested).ok().json()[0]["state"], "committed");
    let script = "for i in 1 2 3 4 5 6; do git elf record failure p$i --json & done; wait";
    let ran = sandbox.sh_under_lock(script).ok();
    assert_eq!(ran.json().iter().filter(|row| row["state"] == "committed").count(), 6, "{}", ran.out);
    // Through git, and through a program that closes what it inherited.
    sandbox.sh_under_lock("git commit -q --allow-empty -m 'x\n\nElf-Failure: by a trailer'").ok();
    let closing = "exec 100>&-; git elf record failure closed --json";
    let ran = sandbox.elf(["lock", "--", "bash", "-c", closing]).ok();
    assert_eq!(ran.json()[0]["state"], "committed");
    assert_eq!(sandbox.tree().iter().filter(|path| path.starts_with("failures/")).count(), 10);
    assert!(start.elapsed() < Duration::from_secs(50), "somebody waited for the lock");
    let pending = fs::read_dir(sandbox.elf_dir().join("spool")).unwrap();
    assert_eq!(pending.flatten().filter(|entry| entry.file_name() != "bad").count(), 0);
    sandbox.elf(["check"]).ok();
}

#[test]
fn nesting_ends_somewhere() {
    let sandbox = quiet();
    let nest = |depth: usize| {
        let mut words: Vec<_> = ["lock", "--", "git", "elf"].into_iter().cycle().take(4 * depth).collect();
        words.extend(["record", "failure", "deep"]);
        sandbox.elf(words)
    };
    nest(8).ok();
    assert!(nest(9).exits(1).err.contains("nested"));
}

#[test]
fn the_lock_ends_with_the_command_not_with_its_children() {
    let sandbox = quiet();
    let go = sandbox.root().join("go");
    let script = format!(
        "(while ! test -e '{0}'; do sleep 0.05; done; git elf record failure late --json >'{0}.out') >/dev/null 2>&1 &",
        go.display()
    );
    sandbox.sh_under_lock(&script).ok();
    sandbox.elf(["lock", "--timeout", "0", "--", "true"]).ok();
    // What stayed behind has a token that no longer counts: it waits like everybody.
    let held = sandbox.repo().join("held");
    let mut holder = sandbox.start(&["lock", "--", "sh", "-c", "touch held; while test -e held; do sleep 0.05; done"]);
    wait_for(&held);
    File::create(&go).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    let out = sandbox.root().join("go.out");
    assert_eq!(fs::read_to_string(&out).unwrap_or_default(), "", "two holders");
    fs::remove_file(&held).unwrap();
    holder.wait().unwrap();
    let start = Instant::now();
    while !fs::read_to_string(&out).unwrap().contains("committed") {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_lock_inside_that_outlives_the_command_still_excludes_everybody() {
    let sandbox = quiet();
    let held = sandbox.repo().join("held");
    let inner = "touch held; while test -e held; do sleep 0.05; done";
    let script = format!("git elf lock -- sh -c '{inner}' >/dev/null 2>&1 & while ! test -e held; do sleep 0.05; done");
    sandbox.sh_under_lock(&script).ok();
    sandbox.elf(["lock", "--timeout", "0.2", "--", "true"]).exits(4);
    fs::remove_file(&held).unwrap();
    sandbox.elf(["lock", "--timeout", "30", "--", "true"]).ok();
}

#[test]
fn killing_the_lender_leaves_the_lock_to_the_command() {
    let sandbox = quiet();
    let (held, recorded) = (sandbox.repo().join("held"), sandbox.repo().join("recorded"));
    let script = "touch held; while test -e held; do sleep 0.05; done; git elf record failure inside --json >recorded.new; \
                  mv recorded.new recorded; while test -e recorded; do sleep 0.05; done";
    let mut lender = sandbox.start(&["lock", "--", "sh", "-c", script]);
    wait_for(&held);
    lender.kill().unwrap();
    lender.wait().unwrap();
    sandbox.elf(["lock", "--timeout", "0.2", "--", "true"]).exits(4);
    fs::remove_file(&held).unwrap();
    wait_for(&recorded);
    assert!(fs::read_to_string(&recorded).unwrap().contains("committed"));
    sandbox.elf(["lock", "--timeout", "0.2", "--", "true"]).exits(4);
    fs::remove_file(&recorded).unwrap();
    sandbox.elf(["lock", "--timeout", "30", "--", "true"]).ok();
}

#[test]
fn the_exit_status_is_the_commands() {
    let sandbox = quiet();
    sandbox.sh_under_lock("exit 7").exits(7);
    sandbox.sh_under_lock("kill -TERM $$").exits(143);
    sandbox.sh_under_lock("kill -KILL $$").exits(137);
    sandbox.elf(["lock", "--", "no-such-program"]).exits(127);
    sandbox.elf(["lock", "--", "/etc/passwd"]).exits(126);
    sandbox.elf(["lock"]).exits(2);
    sandbox.elf(["lock", "--timeout", "-1", "--", "true"]).exits(2);
    let mut input = sandbox.command("sh");
    input.args(["-c", "echo through | git elf lock -- cat"]);
    assert_eq!(sandbox.run(input).ok().out, "through\n");
    let lock = fs::OpenOptions::new().write(true).open(sandbox.elf_dir().join("lock")).unwrap();
    let mut lock = fd_lock::RwLock::new(lock);
    let held = lock.write().unwrap();
    let ran = sandbox.elf(["lock", "--timeout", "0.1", "--", "touch", "ran"]).exits(4);
    assert!(ran.err.contains("stayed taken") && !sandbox.repo().join("ran").exists(), "{}", ran.err);
    sandbox.git(["config", "elf.lockTimeout", "0.1"]).ok();
    sandbox.sh_under_lock("touch ran").exits(4);
    drop(held);
    sandbox.sh_under_lock("touch ran").ok();
}

#[test]
fn a_token_that_does_not_count_is_ignored() {
    let (sandbox, other) = (quiet(), quiet());
    other.record("makes the lock file");
    sandbox.record("makes the lock file");
    let ran = sandbox.sh_under_lock("printf %s \"$ELF_LOCK\"").ok();
    let finished = ran.out;
    assert!(finished.len() > 20);
    let text = fs::read_to_string(sandbox.elf_dir().join("lock")).unwrap();
    let words: Vec<_> = text.split_whitespace().collect();
    let held = sandbox.repo().join("held");
    let mut holder = sandbox.start(&["lock", "--", "sh", "-c", "touch held; while test -e held; do sleep 0.05; done"]);
    wait_for(&held);
    for stale in [&finished, "", ",", ";", ",,;,", "3", "100", "lent:", "x\n", words[0], words[2], &"9,".repeat(1000)] {
        let mut command = sandbox.elf_command(["lock", "--timeout", "0", "--", "true"]);
        command.env("ELF_LOCK", stale);
        sandbox.run(command).exits(4);
        let mut elsewhere = sandbox.elf_command(["record", "failure", "elsewhere", "--json"]);
        elsewhere.current_dir(other.repo()).env("ELF_LOCK", stale);
        assert_eq!(sandbox.run(elsewhere).ok().json()[0]["state"], "committed");
    }
    // The real token, seen from another repository, and inside that one's own lock.
    let text = fs::read_to_string(sandbox.elf_dir().join("lock")).unwrap();
    let token = text.trim_end().rsplit("lent:").next().unwrap().to_owned();
    let mut both = other.elf_command(["lock", "--", "sh", "-c"]);
    let there = sandbox.repo().display().to_string();
    both.arg(format!("git elf record failure here --json && git -C '{there}' elf record failure there --json"));
    both.env("ELF_LOCK", &token);
    let rows = other.run(both).ok().json();
    assert!(rows.len() == 2 && rows.iter().all(|row| row["state"] == "committed"), "{rows:?}");
    assert!(!other.elf_dir().join("lock.2").exists());
    fs::remove_file(&held).unwrap();
    holder.wait().unwrap();
}

#[test]
fn cleaning_works_inside_a_command_under_the_lock() {
    let sandbox = quiet();
    sandbox.plant("index.lock");
    sandbox.sh_under_lock("git elf locks --clean && git commit -q --allow-empty -m x").ok();
    let rows = sandbox.sh_under_lock("git elf locks --json").ok().json();
    assert!(rows[0]["reason"].as_str().unwrap().starts_with("held: git elf lock"), "{rows:?}");
    assert_eq!(sandbox.locks(&[])[0]["reason"], "free");
}
