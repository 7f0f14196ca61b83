//! Whether the state of a memory is visible: waits, and everything around it that can be wrong.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value as Json;

use crate::support::{Ran, Sandbox};

/// Takes the repository lock as another program would, until the returned guard is dropped.
fn lock_file(sandbox: &Sandbox) -> fd_lock::RwLock<File> {
    fd_lock::RwLock::new(File::options().read(true).write(true).open(sandbox.elf_dir().join("lock")).unwrap())
}

fn database(sandbox: &Sandbox) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(sandbox.elf_dir().join("index.db")).unwrap();
    // A checkpoint of ours would be a change by somebody else.
    database.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    database.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    database
}

fn stats(sandbox: &Sandbox) -> Json {
    sandbox.elf(["stats", "--json"]).ok().json().remove(0)
}

/// Waits until the spool holds this many entries.
fn await_spool(sandbox: &Sandbox, count: usize) {
    let entries = || fs::read_dir(sandbox.elf_dir().join("spool")).unwrap().flatten();
    let is_entry = |name: &str| name != "bad" && !name.starts_with('.');
    while entries().filter(|entry| is_entry(&entry.file_name().to_string_lossy())).count() < count {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn stats_shows_how_long_writers_waited_and_for_whom() {
    let sandbox = Sandbox::new();
    let empty = stats(&sandbox);
    assert_eq!((&empty["contention"]["drains"], &empty["contention"]["wait_p50_ms"]), (&0.into(), &Json::Null));
    sandbox.record("creates everything");
    let start = Instant::now();
    let mut file = lock_file(&sandbox);
    let guard = file.write().unwrap();
    let writer = |number: usize| -> Child {
        let mut command = sandbox.elf_command(["record", "failure", &format!("waits {number}")]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let writers: Vec<Child> = (0..5).map(writer).collect();
    await_spool(&sandbox, 5);
    std::thread::sleep(Duration::from_millis(1_500));
    let waiting = stats(&sandbox);
    assert_eq!(waiting["pending"], 5, "the depth of the queue");
    assert!(waiting["oldest_pending_ms"].as_f64().unwrap() >= 1_000.0, "{waiting}");
    drop(guard);
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let total = start.elapsed().as_secs_f64() * 1_000.0;
    let after = stats(&sandbox);
    let contention = &after["contention"];
    assert_eq!((&after["pending"], &after["oldest_pending_ms"]), (&0.into(), &Json::Null));
    assert_eq!((&contention["drains"], &contention["records_max"]), (&2.into(), &5.into()), "{contention}");
    assert_eq!((&contention["records_mean"], &contention["hold_max_verb"]), (&3.0.into(), &"record".into()));
    for key in ["wait_p99_ms", "oldest_max_ms"] {
        let wait = contention[key].as_f64().unwrap();
        assert!((1_000.0..=total).contains(&wait), "{key} is {wait} of {total}");
    }
    assert!(contention["wait_p50_ms"].as_f64() < contention["wait_p99_ms"].as_f64(), "{contention}");
    let text = sandbox.elf(["stats"]).ok().out;
    assert!(text.contains("wait_p99_ms: ") && text.contains("records_max: 5"), "{text}");
}

#[test]
fn a_command_that_changes_nothing_leaves_no_sample() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("one");
    let line = sandbox.elf(["export"]).ok().out;
    let before = stats(&sandbox)["contention"].clone();
    for args in [vec!["list"], vec!["check"], vec!["show", &id]] {
        sandbox.elf(args).ok();
    }
    sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &line).ok();
    sandbox.elf(["check", "--fix"]).ok();
    assert_eq!(stats(&sandbox)["contention"], before);
}

#[test]
fn stats_shows_when_the_log_was_put_back() {
    let sandbox = Sandbox::new();
    sandbox.record("one");
    let before = stats(&sandbox);
    assert_eq!((&before["checkpointed"], &before["bytes"]["wal_limit"]), (&Json::Null, &262_144.into()));
    assert!(before["bytes"]["wal"].as_u64().unwrap() > 0);
    sandbox.git(["config", "elf.walLimit", "0"]).ok();
    sandbox.record("two");
    let after = stats(&sandbox);
    assert!(after["checkpointed"].as_str().unwrap().ends_with('Z'), "{after}");
    assert_eq!(after["bytes"]["wal"], 0);
}

#[test]
fn an_index_of_version_1_says_what_the_ledger_says_after_the_next_question() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("written by the ledger");
    let old = database(&sandbox);
    // A row that was filled by the older version lacks what the newer ones look at.
    old.execute_batch(
        "DROP TABLE drain; DROP TABLE checkpoint; DROP TABLE pending; ALTER TABLE stamp DROP COLUMN pending;
         PRAGMA user_version = 1; UPDATE record SET title = 'older'",
    )
    .unwrap();
    drop(old);
    sandbox.elf(["list"]).ok();
    assert_eq!(sandbox.elf(["show", "--json", &id]).ok().json()[0]["title"], "written by the ledger");
    let migrated = stats(&sandbox);
    assert!(migrated["settings"]["user_version"].as_i64().unwrap() > 1);
    assert_eq!(migrated["contention"]["drains"], 0);
    sandbox.record("after the migration");
    assert_eq!(stats(&sandbox)["contention"]["drains"], 1);
    assert_eq!(sandbox.elf(["search", "--json", "migration"]).ok().json().len(), 1);
    sandbox.elf(["check"]).ok();
}

#[test]
fn on_a_network_file_system_the_index_does_without_a_write_ahead_log() {
    let sandbox = Sandbox::new();
    let elf = |args: &[&str]| {
        let mut command = sandbox.elf_command(args);
        command.env("ELF_FAULT_FS", "network");
        sandbox.run(command).ok()
    };
    let wal = sandbox.elf_dir().join("index.db-wal");
    let first = elf(&["record", "failure", "recorded over the network"]).line().to_owned();
    assert!(!wal.exists());
    let stats = elf(&["stats", "--json"]).json().remove(0);
    assert_ne!(stats["settings"]["journal_mode"], "wal");
    assert_eq!((&stats["bytes"]["wal"], &stats["checkpointed"]), (&0.into(), &Json::Null));
    // Readers and writers at once: each waits for a moment, none fails.
    let mut writers: Vec<_> = (0..4)
        .map(|number| {
            let mut command = sandbox.elf_command(["record", "failure", &format!("network {number}")]);
            command.env("ELF_FAULT_FS", "network").stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for _ in 0..5 {
        elf(&["search", "network"]);
    }
    assert!(writers.iter_mut().all(|writer| writer.wait().unwrap().success()));
    elf(&["check"]);
    assert_eq!(elf(&["list", "--json"]).json().len(), 5);
    // The same index on a local file system, and back.
    sandbox.record("recorded locally");
    assert!(wal.exists());
    assert_eq!(self::stats(&sandbox)["settings"]["journal_mode"], "wal");
    sandbox.elf(["check"]).ok();
    elf(&["validate", &first]);
    assert!(!wal.exists());
    elf(&["check"]);
}

/// What `git elf doctor --json` said.
struct Diagnosis {
    status: i32,
    findings: Vec<Json>,
}

impl Diagnosis {
    fn of(ran: &Ran) -> Self {
        let object = ran.json().remove(0);
        let findings = object["findings"].as_array().unwrap().clone();
        let count = |level: &str| findings.iter().filter(|finding| finding["level"] == level).count();
        assert_eq!((&object["problems"], &object["warnings"]), (&count("problem").into(), &count("warn").into()));
        let order = ["problem", "warn", "info", "ok"];
        let rank = |finding: &Json| order.iter().position(|level| finding["level"] == *level).unwrap();
        assert!(findings.is_sorted_by_key(rank), "the worst comes first: {object}");
        assert_eq!(ran.status, if count("problem") > 0 { 3 } else { 0 }, "{object}");
        Self { status: ran.status, findings }
    }

    /// Returns the findings that need somebody, as `topic: what → next`.
    fn troubles(&self) -> Vec<String> {
        let is_trouble = |finding: &&Json| finding["level"] == "problem" || finding["level"] == "warn";
        let line = |finding: &Json| {
            let text =
                |key: &str| finding[key].as_str().unwrap_or_else(|| panic!("{key} is missing: {finding}")).to_owned();
            format!("{}: {} → {} {}", text("topic"), text("what"), text("next"), finding["details"])
        };
        self.findings.iter().filter(is_trouble).map(line).collect()
    }

    /// Fails unless exactly one finding needs somebody, has this status, and says all of these words.
    #[track_caller]
    fn is_only(&self, status: i32, words: &[&str]) {
        let troubles = self.troubles();
        assert_eq!((troubles.len(), self.status), (1, status), "{troubles:#?}");
        for word in words {
            assert!(troubles[0].contains(word), "{word:?} is missing: {}", troubles[0]);
        }
    }

    fn has(&self, level: &str, word: &str) -> bool {
        self.findings.iter().any(|finding| finding["level"] == level && finding.to_string().contains(word))
    }
}

fn doctor(sandbox: &Sandbox) -> Diagnosis {
    Diagnosis::of(&sandbox.elf(["doctor", "--json"]))
}

fn doctor_with(sandbox: &Sandbox, name: &str, value: &str) -> Diagnosis {
    let mut command = sandbox.elf_command(["doctor", "--json"]);
    command.env(name, value);
    Diagnosis::of(&sandbox.run(command))
}

/// Makes a remote `origin`, records one memory and runs init.
fn initialised() -> Sandbox {
    let sandbox = Sandbox::new();
    let remote = sandbox.root().join("remote.git");
    sandbox.git(["init", "-q", "--bare", remote.to_str().unwrap()]).ok();
    sandbox.git(["remote", "add", "origin", remote.to_str().unwrap()]).ok();
    sandbox.record("one");
    sandbox.elf(["init"]).ok();
    sandbox
}

fn make_old(path: &Path) {
    let file = File::options().append(true).create(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
}

#[test]
fn a_healthy_repository_has_no_findings_that_need_somebody() {
    let fresh = Sandbox::new();
    fresh.record("one");
    let found = doctor(&fresh);
    assert_eq!((found.status, found.troubles()), (0, vec![]));
    assert!(found.has("info", "hooks are not installed"), "recording needs no set-up, so this is no problem");
    let sandbox = initialised();
    let found = doctor(&sandbox);
    assert_eq!((found.status, found.troubles()), (0, vec![]));
    for word in [
        "post-commit is in place",
        "git fetch origin brings",
        "refs/elf/memory (the default)",
        "ledger and index agree: 1 records",
    ] {
        assert!(found.has("ok", word), "{word}");
    }
    let text = sandbox.elf(["doctor"]).ok().out;
    assert!(text.ends_with("0 problems, 0 warnings\n") && !text.contains("next:"), "{text}");
}

#[test]
fn doctor_says_where_the_ref_was_chosen() {
    let sandbox = Sandbox::new();
    sandbox.write(".elf.toml", "ref = \"refs/elf/team\"\n");
    assert!(doctor(&sandbox).has("ok", "refs/elf/team (ref in .elf.toml)"));
    sandbox.git(["config", "elf.ref", "refs/elf/mine"]).ok();
    assert!(doctor(&sandbox).has("ok", "refs/elf/mine (elf.ref in git's configuration)"));
}

#[test]
fn a_hook_that_was_edited_moved_removed_or_switched_off_is_a_problem() {
    let sandbox = initialised();
    let hook = sandbox.repo().join(".git/hooks/post-commit");
    let good = fs::read_to_string(&hook).unwrap();
    let restored = || {
        fs::write(&hook, &good).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(doctor(&sandbox).troubles(), Vec::<String>::new());
    };
    let edited = good.replace("exec git-elf", "exec other");
    fs::write(&hook, &edited).unwrap();
    doctor(&sandbox).is_only(3, &["hooks: the hook post-commit is not what", "→ git elf init"]);
    assert_eq!(fs::read_to_string(&hook).unwrap(), edited, "doctor changes nothing");
    sandbox.elf(["init"]).ok();
    restored();
    fs::remove_file(&hook).unwrap();
    doctor(&sandbox).is_only(3, &["the hook post-commit is missing", "→ git elf init"]);
    restored();
    sandbox.git(["remote", "remove", "origin"]).ok();
    fs::remove_dir_all(hook.parent().unwrap()).unwrap();
    let troubles = doctor(&sandbox).troubles();
    assert!(troubles.len() == 2 && troubles.iter().all(|line| line.contains("is missing")), "{troubles:#?}");
    sandbox.elf(["uninstall"]).ok();
    assert!(doctor(&sandbox).has("info", "hooks are not installed"), "after uninstall that is as it should be");
    sandbox.elf(["init"]).ok();
    restored();
    fs::rename(&hook, hook.with_extension("old")).unwrap();
    doctor(&sandbox).is_only(3, &["the hook post-commit has moved", "→ git elf init", "post-commit.old"]);
    fs::remove_file(hook.with_extension("old")).unwrap();
    restored();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).unwrap();
    doctor(&sandbox).is_only(3, &["post-commit does not work", "not executable", "then git elf init"]);
    restored();
    sandbox.git(["config", "core.hooksPath", ".githooks"]).ok();
    let troubles = doctor(&sandbox).troubles();
    assert!(troubles.len() == 2 && troubles.iter().all(|line| line.contains("has moved")), "{troubles:#?}");
    // A hook that is not ours, with the line that init prints.
    for name in ["post-commit", "pre-push"] {
        let text = format!("#!/usr/bin/env python3\nimport os; os.system('git-elf hook {name}')\n");
        sandbox.write(&format!(".githooks/{name}"), &text);
        fs::set_permissions(sandbox.repo().join(".githooks").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert!(doctor(&sandbox).has("ok", "from a line of yours"));
    assert_eq!(doctor(&sandbox).status, 0);
}

#[test]
fn hooks_in_git_s_configuration_are_compared_too() {
    let sandbox = initialised();
    let bin = sandbox.root().join("bin");
    fs::create_dir(&bin).unwrap();
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|dir| dir.join("git")).find(|file| file.is_file()).unwrap();
    let pretend = |version: &str| {
        let text = format!(
            "#!/bin/sh\ncase $* in *version) echo git version {version}; exit;; esac\nexec {} \"$@\"\n",
            real.display()
        );
        fs::write(bin.join("git"), text).unwrap();
        fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
        format!("{}:{path}", bin.display())
    };
    let path = pretend("2.54.1");
    let mut init = sandbox.elf_command(["init"]);
    init.env("PATH", &path);
    sandbox.run(init).ok();
    let found = doctor_with(&sandbox, "PATH", &path);
    assert!(found.troubles().is_empty() && found.has("ok", "post-commit is in place (config)"), "{:?}", found.findings);
    sandbox.git(["config", "hook.elf-post-commit.command", "true"]).ok();
    doctor_with(&sandbox, "PATH", &path).is_only(3, &["not what this git-elf installs", "→ git elf init"]);
    sandbox.git(["config", "--unset", "hook.elf-post-commit.command"]).ok();
    doctor_with(&sandbox, "PATH", &path).is_only(3, &["hook.elf-post-commit.command", "is missing"]);
    let old = Sandbox::new();
    doctor_with(&old, "PATH", &pretend("2.20.1")).is_only(3, &["git: git 2.20 is older than 2.30", "install git"]);
    doctor_with(&old, "PATH", "/nowhere").is_only(3, &["git: cannot run git version", "git is on the PATH"]);
}

#[test]
fn what_check_finds_is_found() {
    let sandbox = initialised();
    fs::write(sandbox.elf_dir().join("spool/torn.md"), "").unwrap();
    doctor(&sandbox).is_only(3, &["spool entries that cannot be read", "torn.md", "spool/bad"]);
    fs::remove_file(sandbox.elf_dir().join("spool/bad/torn.md")).unwrap();
    database(&sandbox).execute("UPDATE record SET author = 'tampered'", []).unwrap();
    doctor(&sandbox).is_only(3, &["rows that differ from their file", "→ git elf check --fix"]);
    let text = sandbox.elf(["doctor"]).exits(3).out;
    assert!(text.starts_with("problem  check: rows that differ"), "{text}");
    sandbox.elf(["check", "--fix"]).ok();
    assert_eq!(doctor(&sandbox).status, 0);
}

#[test]
fn a_ledger_that_cannot_be_read_is_a_problem_and_the_last_known_commit_is_named() {
    let sandbox = initialised();
    let tip = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().line().to_owned();
    let object = sandbox.repo().join(".git/objects").join(&tip[..2]).join(&tip[2..]);
    fs::remove_file(&object).unwrap();
    // Reading a directory fails as a failing disk does.
    fs::create_dir(&object).unwrap();
    let words = ["check: cannot read", "git fsck", "logs/refs/elf/memory", &tip];
    doctor(&sandbox).is_only(3, &words);
}

#[test]
fn a_tip_that_was_mended_is_told() {
    let sandbox = initialised();
    fs::write(sandbox.repo().join(".git/refs/elf/memory"), "").unwrap();
    sandbox.elf(["list"]).ok();
    assert!(doctor(&sandbox).has("info", "was torn and was set back"));
}

#[test]
fn an_identity_that_is_missing_is_a_problem_before_anybody_records() {
    let sandbox = initialised();
    sandbox.git(["config", "--global", "--unset", "user.email"]).ok();
    doctor(&sandbox).is_only(3, &["identity: git does not know who you are", "git config --global user.email"]);
}

#[test]
fn a_network_file_system_is_a_warning() {
    let sandbox = initialised();
    doctor_with(&sandbox, "ELF_FAULT_FS", "network")
        .is_only(0, &["file-system: the memory is on network", "a clone of its own"]);
}

#[test]
fn old_lock_files_of_git_are_named_and_young_ones_are_not() {
    let sandbox = initialised();
    let git_dir = sandbox.repo().join(".git");
    fs::write(git_dir.join("index.lock"), "").unwrap();
    assert_eq!(doctor(&sandbox).status, 0);
    sandbox.git(["worktree", "add", "-q", "--detach", "../tree"]).ok();
    for name in ["index.lock", "refs/heads/main.lock", "worktrees/tree/HEAD.lock"] {
        make_old(&git_dir.join(name));
    }
    let words = ["locks:", "index.lock, 10 minutes old", "refs/heads/main.lock", "worktrees/tree/HEAD.lock"];
    doctor(&sandbox).is_only(3, &words);
    assert!(git_dir.join("index.lock").exists(), "doctor removes nothing");
}

#[test]
fn records_that_cannot_be_committed_are_a_problem_with_the_lock_that_is_in_the_way() {
    let sandbox = initialised();
    let mut file = lock_file(&sandbox);
    let guard = file.write().unwrap();
    sandbox.elf(["record", "failure", "waits", "--no-wait"]).ok();
    sandbox.git(["config", "elf.lockTimeout", "0.1"]).ok();
    let found = doctor(&sandbox);
    assert_eq!((found.status, found.troubles().len()), (3, 2), "{:#?}", found.troubles());
    assert!(found.has("problem", "the lock stayed taken") && found.has("problem", "1 record waits"));
    drop(guard);
    assert_eq!(doctor(&sandbox).status, 0, "doctor drains as every command does");
}

#[test]
fn long_waits_of_the_last_week_are_a_warning() {
    let sandbox = initialised();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let add = |at: u128, wait_us: u32| {
        let sql = "INSERT INTO drain (at, verb, wait_us, hold_us, records) VALUES (?1, 'import', ?2, 7000000, 1)";
        database(&sandbox).execute(sql, (i64::try_from(at).unwrap(), wait_us)).unwrap();
    };
    add(now - 8 * 24 * 3_600 * 1_000_000, 9_000_000);
    assert_eq!(doctor(&sandbox).troubles(), Vec::<String>::new(), "that was more than a week ago");
    add(now, 6_000_000);
    doctor(&sandbox).is_only(0, &["waits:", "6.000 s", "git elf import held it longest, 7.000 s", "elf.lockTimeout"]);
}

#[test]
fn a_remote_whose_fetch_replaces_the_memory_is_a_problem() {
    let sandbox = initialised();
    sandbox.git(["config", "--unset-all", "remote.origin.fetch", "elf"]).ok();
    doctor(&sandbox).is_only(0, &["remote: git fetch origin does not bring its memory", "→ git elf init"]);
    sandbox.git(["config", "--replace-all", "remote.origin.fetch", "+refs/*:refs/*"]).ok();
    doctor(&sandbox).is_only(3, &["remote: git fetch origin replaces the memory", "^refs/elf/*"]);
    sandbox.git(["config", "--add", "remote.origin.fetch", "^refs/elf/*"]).ok();
    assert_eq!(doctor(&sandbox).status, 0, "the next step that it names mends it");
}

#[test]
fn what_was_healed_is_told() {
    let sandbox = initialised();
    fs::write(sandbox.elf_dir().join("healed.log"), "2026-01-31T12:00:00Z\tremoved a leftover\n").unwrap();
    let found = doctor(&sandbox);
    assert_eq!(found.status, 0);
    assert!(found.has("info", "2026-01-31T12:00:00Z removed a leftover"), "{:?}", found.findings);
    assert!(sandbox.elf(["doctor"]).ok().out.contains("info     healed: 1 thing was healed"));
}
