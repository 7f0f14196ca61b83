//! Signed memories, and records that pass git's filters: with keys and filters that are thrown away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Ran, Sandbox};

/// Tells whether a program is there; says so when it is not.
fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// Lines for an import.
fn lines(title: &str, count: usize) -> String {
    let lines: Vec<_> = (0..count).map(|i| format!("{{\"kind\":\"failure\",\"title\":\"{title} {i}\"}}")).collect();
    lines.join("\n")
}

impl Sandbox {
    fn set(&self, key: &str, value: &str) {
        self.git(["config", key, value]).ok();
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn signs_with_ssh(&self) {
        let key = self.root().join("key");
        let mut keygen = self.command("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key);
        self.run(keygen).ok();
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let allowed = self.root().join("allowed");
        fs::write(&allowed, format!("author@example.org {public}")).unwrap();
        self.set("commit.gpgSign", "true");
        self.set("gpg.format", "ssh");
        self.set("user.signingKey", key.to_str().unwrap());
        self.set("gpg.ssh.allowedSignersFile", allowed.to_str().unwrap());
    }

    fn all_commits_are_signed(&self) {
        for commit in self.git(["rev-list", "refs/elf/memory"]).ok().out.lines() {
            self.git(["verify-commit", commit]).ok();
        }
        self.git(["fsck", "--strict"]).ok();
    }

    fn waiting(&self) -> usize {
        let dir = fs::read_dir(self.elf_dir().join("spool"));
        dir.map_or(0, |dir| dir.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(".md")).count())
    }
}

#[test]
fn memories_are_signed_with_ssh_one_by_one_and_in_bulk() {
    if !has("ssh-keygen") {
        return;
    }
    let sandbox = Sandbox::new();
    let unsigned = sandbox.record("Before signing was on");
    sandbox.signs_with_ssh();
    let ids = [sandbox.record("Signed"), sandbox.record("Signed as well: \u{e9}")];
    let lines = lines("Line", 100);
    sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &lines).ok();
    sandbox.elf(["edit", &ids[0], "--title", "Signed and edited"]).ok();
    let signed = sandbox.git(["rev-list", "refs/elf/memory", "-n", "4"]).ok().out;
    for commit in signed.lines() {
        sandbox.git(["verify-commit", commit]).ok();
    }
    sandbox.git(["fsck", "--strict"]).ok();
    sandbox.elf(["check"]).ok();
    assert_eq!(sandbox.listed().len(), 103);
    assert!(sandbox.listed().contains(&unsigned));
    let left = fs::read_dir(sandbox.elf_dir().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "the private object directory is gone");

    let mut once = sandbox.command("git");
    once.args(["-c", "commit.gpgSign=false", "elf", "record", "failure", "Unsigned once"]);
    sandbox.run(once).ok();
    sandbox.git(["verify-commit", "refs/elf/memory"]).exits(1);
}

#[test]
fn memories_are_signed_with_gpg_in_the_first_commit_too() {
    if !has("gpg") {
        return;
    }
    let sandbox = Sandbox::new();
    // The agent's socket needs a short path.
    let home = tempfile::Builder::new().prefix("g").tempdir_in("/tmp").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = |args: &[&str]| {
        let mut gpg = sandbox.command("gpg");
        gpg.env("GNUPGHOME", home.path()).args(["--batch", "--quiet"]).args(args);
        sandbox.run(gpg)
    };
    gpg(&["--passphrase", "", "--quick-generate-key", "A U Thor <author@example.org>", "ed25519", "sign", "never"])
        .ok();
    sandbox.set("commit.gpgSign", "yes");
    let git = |args: &[&str]| {
        let mut git = sandbox.command("git");
        git.env("GNUPGHOME", home.path()).args(args);
        sandbox.run(git)
    };
    let ran = git(&["elf", "record", "failure", "The first record"]).ok();
    assert!(ran.err.contains("committed"), "{}", ran.err);
    git(&["verify-commit", "refs/elf/memory"]).ok();
    sandbox.elf(["check"]).ok();
    let mut end = sandbox.command("gpgconf");
    end.env("GNUPGHOME", home.path()).args(["--kill", "all"]);
    let _ = end.output();
}

#[test]
fn a_signer_that_fails_queues_and_is_not_asked_again_for_a_minute() {
    if !has("ssh-keygen") {
        return;
    }
    let sandbox = Sandbox::new();
    let asked = sandbox.root().join("asked");
    let signer =
        sandbox.script("signer", &format!("#!/bin/sh\necho x >>'{}'\necho no key here >&2\nexit 1\n", asked.display()));
    sandbox.set("commit.gpgSign", "true");
    sandbox.set("gpg.program", signer.to_str().unwrap());
    let times_asked = || fs::read_to_string(&asked).unwrap_or_default().lines().count();
    let queued = |ran: Ran| {
        let ran = ran.ok();
        assert!(ran.err.contains("queued, since signing failed: "), "{}", ran.err);
        assert!(ran.err.contains("no key here"), "the signer's reason is repeated: {}", ran.err);
    };
    queued(sandbox.elf(["record", "failure", "Waits 1"]));
    queued(sandbox.elf(["record", "failure", "Waits 2"]));
    assert_eq!((times_asked(), sandbox.waiting()), (1, 2));
    sandbox.git(["rev-parse", "--verify", "-q", "refs/elf/memory"]).exits(1);
    let ran = sandbox.elf(["doctor"]);
    assert!(ran.out.contains("signing failed") && ran.out.contains("no key here"), "{}", ran.out);

    // A minute later.
    let state = fs::File::options().write(true).open(sandbox.elf_dir().join("signing-failed")).unwrap();
    state.set_modified(SystemTime::now() - Duration::from_secs(61)).unwrap();
    drop(state);
    queued(sandbox.elf(["record", "failure", "Waits 3"]));
    assert_eq!((times_asked(), sandbox.waiting()), (2, 3));

    // Another configuration is tried at once.
    sandbox.signs_with_ssh();
    let id = sandbox.record("Signed");
    assert_eq!(sandbox.waiting(), 0);
    assert_eq!(sandbox.listed().len(), 4);
    sandbox.elf(["show", &id]).ok();
    sandbox.all_commits_are_signed();
    assert!(!sandbox.elf_dir().join("signing-failed").exists());
}

#[test]
fn a_signer_that_hangs_is_given_up_and_a_hook_does_not_even_ask() {
    if !has("ssh-keygen") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    let pid = sandbox.root().join("pid");
    let signer = sandbox.script("signer", &format!("#!/bin/sh\nsleep 600 &\necho $! >'{}'\nwait\n", pid.display()));
    sandbox.set("gpg.program", signer.to_str().unwrap());

    // The user's own commit is not signed, the memory is: only we would ask the signer.
    let mut commit = sandbox.command("git");
    commit.args([
        "-c",
        "commit.gpgSign=true",
        "commit",
        "-q",
        "--no-gpg-sign",
        "--allow-empty",
        "-m",
        "x\n\nElf-Failure: From a hook",
    ]);
    let ran = sandbox.run(commit).ok();
    assert_eq!(ran.err, "");
    assert!(!pid.exists(), "the hook asked the signer");
    assert_eq!(sandbox.waiting(), 1);

    sandbox.set("commit.gpgSign", "true");
    let start = Instant::now();
    let ran = sandbox.elf(["record", "failure", "Waits"]).ok();
    let took = start.elapsed();
    assert!(ran.err.contains("queued, since signing failed: the signer did not answer for 5 s"), "{}", ran.err);
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(60), "{took:?}");
    let sleeper = fs::read_to_string(&pid).unwrap();
    let state = || fs::read_to_string(format!("/proc/{}/stat", sleeper.trim())).unwrap_or_default();
    let lives = || !state().is_empty() && !state().contains(") Z ");
    // It has to be scheduled once more to die.
    let asked = Instant::now();
    while lives() && asked.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!lives(), "what the signer started is killed too: {}", state());
    assert_eq!(sandbox.waiting(), 2);

    sandbox.signs_with_ssh();
    sandbox.elf(["list"]).ok();
    assert_eq!((sandbox.waiting(), sandbox.listed().len()), (0, 2));
    sandbox.all_commits_are_signed();
}

impl Sandbox {
    /// Sets a filter for all records: `openssl` with another salt each time, or letters turned by thirteen.
    fn filters(&self, clean: &str, smudge: &str) {
        fs::create_dir_all(self.repo().join(".git/info")).unwrap();
        fs::write(self.repo().join(".git/info/attributes"), "*.md filter=hide\n").unwrap();
        self.set("filter.hide.clean", clean);
        self.set("filter.hide.smudge", smudge);
        self.set("filter.hide.required", "true");
    }

    /// Reads all objects that git knows.
    fn objects(&self) -> String {
        self.git(["cat-file", "--batch-all-objects", "--batch", "--unordered"]).ok().out
    }
}

const ENCRYPT: &str = "openssl enc -aes-256-cbc -pbkdf2 -pass pass:thrown-away";

#[test]
fn records_go_through_the_filter_and_come_back() {
    let rot13 = "tr a-zA-Z n-za-mN-ZA-M".to_owned();
    for (clean, smudge) in [(ENCRYPT.to_owned(), format!("{ENCRYPT} -d")), (rot13.clone(), rot13)] {
        if !has(clean.split(' ').next().unwrap()) {
            continue;
        }
        let sandbox = Sandbox::new();
        let before = sandbox.record("Written before the filter");
        sandbox.filters(&clean, &smudge);
        let ran = sandbox.elf(["record", "heuristic", "Quokkas hide", "-m", "A wombat in the body."]).ok();
        let id = ran.line().to_owned();
        let path = format!("heuristics/{}/{}/{}/{id}.md", &id[..1], &id[1..2], &id[2..3]);
        assert!(ran.err.contains(&format!("git show refs/elf/memory:{path}")), "{}", ran.err);
        assert!(sandbox.tree().contains(&path));
        let lines = lines("Numbat", 5);
        let import = || sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &lines).ok().out;
        assert_eq!(import(), "imported 5, already there 0, rejected 0\n");
        assert_eq!(import(), "imported 0, already there 5, rejected 0\n");
        sandbox.elf(["validate", &id, "-m", "A bilby agrees."]).ok();
        let event = sandbox.elf(["edit", &id, "--set", "domain=animals"]).ok().line().to_owned();

        // Nor are the words of titles in messages, paths and the reflog.
        let log = fs::read_to_string(sandbox.repo().join(".git/logs/refs/elf/memory")).unwrap();
        let objects = sandbox.objects() + &log;
        for word in ["A wombat", "A bilby", "Quokkas", "quokkas", "Numbat", "numbat"] {
            assert!(!objects.contains(word), "{word} is in the object database");
        }
        for word in ["wombat", "quokkas", "before", "numbat"] {
            assert!(!sandbox.elf(["search", word]).ok().out.is_empty(), "{word} is not found");
        }
        sandbox.elf(["check"]).ok();
        fs::remove_file(sandbox.elf_dir().join("index.db")).unwrap();
        let shown = sandbox.elf(["show", &id, "--json"]).ok().json().remove(0);
        assert_eq!((shown["domain"].as_str(), shown["validated"].as_i64()), (Some("animals"), Some(1)));
        assert_eq!(shown["body"], "A wombat in the body.");
        assert!(sandbox.elf(["show", &before]).ok().out.contains("before the filter"));
        sandbox.elf(["retract", &event]).ok();
        sandbox.elf(["check"]).ok();
        sandbox.git(["fsck", "--strict"]).ok();

        // Without the key the others are read, and this is said of each.
        sandbox.set("filter.hide.smudge", "false");
        fs::remove_file(sandbox.elf_dir().join("index.db")).unwrap();
        assert_eq!(sandbox.listed(), [before]);
        let ran = sandbox.elf(["check"]).exits(3);
        assert!(ran.out.contains("unreadable here") && ran.out.contains(&id), "{}", ran.out);
        sandbox.set("filter.hide.smudge", &smudge);
        sandbox.elf(["check", "--fix"]).ok();
        assert_eq!(sandbox.listed().len(), 7);
    }
}

#[test]
fn a_filter_that_fails_queues_the_record_in_plain_text_and_loses_nothing() {
    let sandbox = Sandbox::new();
    sandbox.filters("false", "cat");
    let ran = sandbox.elf(["record", "failure", "Waits", "-m", "A potoroo."]).ok();
    assert!(ran.err.contains("queued") && ran.err.contains("filter"), "{}", ran.err);
    assert_eq!(sandbox.waiting(), 1);
    assert!(!sandbox.objects().contains("potoroo"));
    sandbox.filters("tr a-z b-za", "tr b-za a-z");
    assert_eq!(sandbox.elf(["search", "potoroo"]).ok().out.lines().count(), 1);
    assert_eq!(sandbox.waiting(), 0);
    assert!(!sandbox.objects().contains("potoroo"));
}

#[test]
fn an_entry_that_was_committed_through_a_filter_is_not_committed_again() {
    if !has("openssl") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.filters(ENCRYPT, &format!("{ENCRYPT} -d"));
    sandbox.elf(["record", "failure", "Once", "--no-wait"]).ok();
    let spool = sandbox.elf_dir().join("spool");
    let entry = fs::read_dir(&spool).unwrap().flatten().find(|entry| entry.path().is_file()).unwrap();
    let (path, text) = (entry.path(), fs::read(entry.path()).unwrap());
    sandbox.elf(["list"]).ok();
    let tip = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out;
    // As a kill between the ref and the spool leaves it, and as a power cut brings the name back.
    for left in [&text[..], b""] {
        fs::write(&path, left).unwrap();
        sandbox.elf(["list"]).ok();
        assert_eq!(sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out, tip);
        assert_eq!((sandbox.waiting(), fs::read_dir(spool.join("bad")).unwrap().count()), (0, 0));
    }
    sandbox.elf(["check"]).ok();
}

#[test]
fn on_the_current_branch_a_flush_is_signed_and_the_branch_s_own_filter_applies() {
    if !has("ssh-keygen") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.signs_with_ssh();
    let rot13 = "tr a-zA-Z n-za-mN-ZA-M";
    sandbox.set("filter.hide.clean", rot13);
    sandbox.set("filter.hide.smudge", rot13);
    sandbox.set("filter.hide.required", "true");
    sandbox.write(".gitattributes", "memory/** filter=hide\n");
    sandbox.git(["add", ".gitattributes"]).ok();
    sandbox.git(["commit", "-qm", "attributes"]).ok();
    sandbox.elf(["init", "--in-tree"]).ok();
    let ours = sandbox.record("flushed words");
    sandbox.elf(["flush"]).ok();
    sandbox.git(["verify-commit", "HEAD"]).ok();
    assert_eq!(sandbox.git(["status", "--porcelain"]).ok().out, "");
    let theirs = sandbox.record("committed words");
    sandbox.git(["add", "memory"]).ok();
    sandbox.git(["commit", "-qm", "mine"]).ok();
    assert_eq!(sandbox.waiting(), 0, "both are in a commit");
    for (id, title) in [(ours, "flushed words"), (theirs, "committed words")] {
        assert_eq!(sandbox.elf(["show", "--json", &id]).ok().json()[0]["title"], title);
        let found = sandbox.elf(["search", title, "--json"]).ok().json();
        assert_eq!(found[0]["id"], id.as_str());
        let files = sandbox.git(["ls-files", "memory"]).ok().out;
        let path = files.lines().find(|path| path.contains(&id)).unwrap();
        assert!(!path.contains("words"), "{path}");
        let stored = sandbox.git(["cat-file", "blob", &format!("HEAD:{path}")]).ok().out;
        assert!(!stored.contains("words") && stored.contains("jbeqf"), "{stored}");
    }
    sandbox.elf(["check"]).ok();
    // A signer that fails stops the flush; what waits is kept.
    sandbox.set("gpg.ssh.program", "false");
    let late = sandbox.record("late");
    sandbox.elf(["flush"]).exits(1);
    sandbox.git(["config", "--unset", "gpg.ssh.program"]).ok();
    sandbox.elf(["flush"]).ok();
    assert!(sandbox.listed().contains(&late));
    sandbox.elf(["check"]).ok();
}

#[test]
fn what_a_worktree_left_behind_goes_through_the_filter_without_a_word_of_its_title() {
    let sandbox = Sandbox::new();
    sandbox.filters("tr a-zA-Z n-za-mN-ZA-M", "tr a-zA-Z n-za-mN-ZA-M");
    sandbox.elf(["init", "--in-tree"]).ok();
    sandbox.git(["worktree", "add", "-q", "-b", "side", "../wt"]).ok();
    let mut record = sandbox.elf_command(["record", "failure", "hidden words"]);
    record.current_dir(sandbox.root().join("wt"));
    let id = sandbox.run(record).ok().line().to_owned();
    sandbox.git(["worktree", "remove", "--force", "../wt"]).ok();
    sandbox.elf(["flush"]).ok();
    let commit = sandbox.git(["show", "side"]).ok().out;
    assert!(commit.contains(&id) && !commit.contains("words"), "{commit}");
}
