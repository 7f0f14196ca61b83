//! Files for coding agents: written into what is there, taken out to the byte, and never followed out of the repository. And the
//! hooks of an agent's session, which may remind it once and must never be in its way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::support::{Ran, Sandbox};

const FILES: [&str; 3] = ["AGENTS.md", "CLAUDE.md", ".claude/settings.json"];

/// Returns everything in the working tree: links, permissions and contents.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let meta = fs::symlink_metadata(&path).unwrap();
            let what = if meta.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                if name != ".git" {
                    dirs.push(path);
                }
                "directory".to_owned()
            } else {
                format!("{:o} {:?}", meta.permissions().mode(), fs::read(&path).unwrap())
            };
            found.insert(name, what);
        }
    }
    found
}

impl Sandbox {
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.repo().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns how often our block is in a file.
    fn blocks(&self, name: &str) -> usize {
        self.text(name).matches(">>> git-elf >>>").count()
    }
}

#[test]
fn both_files_are_written_once_and_go_again() {
    let sandbox = Sandbox::new();
    let before = tree(&sandbox.repo());
    let said = sandbox.elf(["init", "--agents"]).ok().out;
    assert!(said.contains("AGENTS.md: written") && said.contains("CLAUDE.md: written"), "{said}");
    assert!(said.contains("yours to commit"), "{said}");
    assert!(!sandbox.repo().join(".claude").exists(), "nobody asked for hooks");
    assert!(sandbox.text("AGENTS.md").len() < 1024 && sandbox.blocks("CLAUDE.md") == 1);
    assert_eq!(sandbox.git(["diff", "--cached", "--name-only"]).ok().out, "", "nothing is staged");
    let written = tree(&sandbox.repo());
    assert!(sandbox.elf(["init", "--agents"]).ok().out.contains("AGENTS.md: kept as it is"));
    assert_eq!(tree(&sandbox.repo()), written, "twice is once");
    sandbox.elf(["init"]).ok();
    assert_eq!(tree(&sandbox.repo()), written, "a plain init leaves them");
    let said = sandbox.elf(["uninstall"]).ok().out;
    assert!(said.contains("AGENTS.md: removed; nothing else was in it"), "{said}");
    assert_eq!(tree(&sandbox.repo()), before);
}

#[test]
fn every_command_in_the_block_is_one() {
    let sandbox = Sandbox::new();
    let help = sandbox.elf(["help"]).ok().out;
    sandbox.elf(["init", "--agents"]).ok();
    let text = sandbox.text("AGENTS.md");
    let verbs: Vec<_> = text.split("`git elf ").skip(1).map(|rest| rest.split([' ', '`']).next().unwrap()).collect();
    assert!(verbs.len() >= 9, "{verbs:?}");
    for verb in verbs.into_iter().filter(|verb| *verb != "-h") {
        assert!(help.contains(verb), "git elf {verb} is not in the help");
    }
}

#[test]
fn what_was_there_is_there_again_to_the_byte() {
    let settings = "{\r\n\t\"permissions\": {\"allow\": [\"Bash(ls)\"]},\r\n\t\"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"theirs\"}]}]}\r\n}";
    for (name, files) in [
        ("all", &[("AGENTS.md", "# Rules\n"), ("CLAUDE.md", "Be brief.\n"), (".claude/settings.json", "{}\n")][..]),
        ("no end", &[("AGENTS.md", "# Rules"), ("CLAUDE.md", "Be brief."), (".claude/settings.json", "{\"a\":1}")]),
        ("windows", &[("AGENTS.md", "\u{feff}# Rules\r\nx\r\n"), (".claude/settings.json", settings)]),
        ("empty", &[("AGENTS.md", ""), ("CLAUDE.md", "\n"), (".claude/settings.json", "{\n  \"hooks\": {\n  }\n}")]),
        ("beside", &[(".claude/commands/x.md", "mine\n"), (".claude/settings.local.json", "{}")]),
    ] {
        let sandbox = Sandbox::new();
        for (file, text) in files {
            sandbox.write(file, text);
            fs::set_permissions(sandbox.repo().join(file), fs::Permissions::from_mode(0o640)).unwrap();
        }
        let before = tree(&sandbox.repo());
        sandbox.elf(["init", "--agents=claude"]).ok();
        let written = tree(&sandbox.repo());
        for file in FILES {
            assert_ne!(before.get(file), written.get(file), "{name}: {file}");
            let mode = fs::metadata(sandbox.repo().join(file)).unwrap().permissions().mode() & 0o777;
            assert!(mode == 0o640 || !before.contains_key(file), "{name}: {file} {mode:o}");
        }
        let merged: Json =
            serde_json::from_str(&sandbox.text(FILES[2])).unwrap_or_else(|error| panic!("{name}: {error}"));
        for event in ["SessionStart", "Stop"] {
            assert!(merged["hooks"][event].to_string().contains("git-elf hook"), "{name}: {merged}");
        }
        sandbox.elf(["init", "--agents=claude"]).ok();
        assert_eq!(tree(&sandbox.repo()), written, "{name}: twice is once");
        sandbox.elf(["uninstall"]).ok();
        assert_eq!(tree(&sandbox.repo()), before, "{name}");
    }
}

#[test]
fn what_was_written_around_it_stays_and_an_older_block_is_replaced() {
    let sandbox = Sandbox::new();
    sandbox.write("AGENTS.md", "# Rules\n");
    sandbox.elf(["init", "--agents=claude"]).ok();
    let text = sandbox.text("AGENTS.md");
    let older = text.replace("git elf search WORDS", "git elf find WORDS").replace("# Rules\n", "# Rules\nmore\n");
    sandbox.write("AGENTS.md", &format!("{older}below\n"));
    assert!(
        sandbox.elf(["init", "--agents"]).ok().out.contains("AGENTS.md: the block of git-elf was brought up to date")
    );
    assert_eq!(sandbox.text("AGENTS.md"), text.replace("# Rules\n", "# Rules\nmore\n") + "below\n");
    let added = sandbox.text(FILES[2]).replacen('{', "{\n  \"model\": \"x\",", 1);
    sandbox.write(FILES[2], &added);
    let ran = sandbox.elf(["uninstall", "--json"]).ok().json().remove(0);
    let states: Vec<_> = ran["agents"].as_array().unwrap().iter().map(|file| &file["state"]).collect();
    assert_eq!(states, ["removed", "deleted", "removed"], "{ran}");
    assert_eq!(sandbox.text("AGENTS.md"), "# Rules\nmore\nbelow\n");
    let left: Json = serde_json::from_str(&sandbox.text(FILES[2])).unwrap();
    assert_eq!((&left["model"], left.get("hooks")), (&json!("x"), None), "{left}");
}

#[test]
fn an_agent_gets_the_block_once() {
    for (name, agents, claude, expected) in [
        ("import", Some("# Rules\n"), Some("@AGENTS.md\n"), "CLAUDE.md: it brings AGENTS.md in by itself"),
        ("import and more", None, Some("# Mine\n@./AGENTS.md\nmore\n"), "CLAUDE.md: it brings AGENTS.md in by itself"),
        ("link", Some("# Rules\n"), None, "CLAUDE.md: it is a link to the other"),
        ("dangling link", None, None, "CLAUDE.md: it is a link to the other"),
        ("link the other way", None, Some("# Rules\n"), "AGENTS.md: it is a link to the other"),
    ] {
        let sandbox = Sandbox::new();
        for (file, text) in [("AGENTS.md", agents), ("CLAUDE.md", claude)] {
            if let Some(text) = text {
                sandbox.write(file, text);
            }
        }
        match name {
            "link" | "dangling link" => symlink("AGENTS.md", sandbox.repo().join("CLAUDE.md")).unwrap(),
            "link the other way" => symlink("./CLAUDE.md", sandbox.repo().join("AGENTS.md")).unwrap(),
            _ => {}
        }
        let before = tree(&sandbox.repo());
        let said = sandbox.elf(["init", "--agents"]).ok().out;
        assert!(said.contains(expected), "{name}: {said}");
        let own = if name == "link the other way" { "CLAUDE.md" } else { "AGENTS.md" };
        assert_eq!(sandbox.blocks(own), 1, "{name}");
        if name.starts_with("import") {
            assert_eq!(sandbox.blocks("CLAUDE.md"), 0, "{name}");
        }
        sandbox.elf(["uninstall"]).ok();
        assert_eq!(tree(&sandbox.repo()), before, "{name}");
    }
    // An import that came later makes the second block superfluous.
    let sandbox = Sandbox::new();
    sandbox.write("CLAUDE.md", "# Mine\n");
    sandbox.elf(["init", "--agents"]).ok();
    sandbox.write("CLAUDE.md", &format!("@AGENTS.md\n{}", sandbox.text("CLAUDE.md")));
    sandbox.elf(["init", "--agents"]).ok();
    assert_eq!(sandbox.text("CLAUDE.md"), "@AGENTS.md\n# Mine\n");
}

#[test]
fn a_refusal_says_why_and_changes_nothing() {
    type Prepare = fn(&Sandbox, &Path);
    let cases: &[(&str, Prepare, &str)] = &[
        ("link outside", |s, victim| symlink(victim.join("file"), s.repo().join("AGENTS.md")).unwrap(), "AGENTS.md"),
        ("link up", |s, _| symlink("../victim/file", s.repo().join("CLAUDE.md")).unwrap(), "CLAUDE.md"),
        ("link to nothing", |s, victim| symlink(victim.join("new"), s.repo().join("AGENTS.md")).unwrap(), "AGENTS.md"),
        ("link to another", |s, _| symlink("README", s.repo().join("AGENTS.md")).unwrap(), "AGENTS.md"),
        (
            "two links",
            |s, _| {
                symlink("CLAUDE.md", s.repo().join("AGENTS.md")).unwrap();
                symlink("AGENTS.md", s.repo().join("CLAUDE.md")).unwrap();
            },
            "AGENTS.md",
        ),
        ("directory that is a link", |s, victim| symlink(victim, s.repo().join(".claude")).unwrap(), FILES[2]),
        ("directory", |s, _| fs::create_dir(s.repo().join("AGENTS.md")).unwrap(), "AGENTS.md"),
        (
            "pipe",
            |s, _| drop(Ran::of(Command::new("mkfifo").arg(s.repo().join("CLAUDE.md")).output().unwrap()).ok()),
            "CLAUDE.md",
        ),
        ("huge", |s, _| s.write("AGENTS.md", &"x".repeat(2 << 20)), "AGENTS.md"),
        ("comments", |s, _| s.write(FILES[2], "{\n  // mine\n  \"a\": 1\n}\n"), FILES[2]),
        ("no JSON", |s, _| s.write(FILES[2], "{\"a\": }"), FILES[2]),
        ("no object", |s, _| s.write(FILES[2], "{\"hooks\": 3}"), FILES[2]),
        ("half a block", |s, _| s.write("CLAUDE.md", "<!-- >>> git-elf >>> -->\nno end\n"), "CLAUDE.md"),
    ];
    for (name, prepare, file) in cases {
        let sandbox = Sandbox::new();
        let victim = sandbox.root().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("file"), "theirs").unwrap();
        prepare(&sandbox, &victim);
        let before = (tree(&sandbox.root().join("victim")), sandbox.git(["status", "--porcelain"]).out);
        let ran = sandbox.elf(["init", "--agents=claude"]).exits(1);
        assert!(
            ran.err.contains(&format!("{file} was left alone")) && ran.err.contains("hint: "),
            "{name}: {}",
            ran.err
        );
        assert!(!sandbox.repo().join(".git/hooks/post-commit").exists(), "{name}: not even hooks");
        sandbox.elf(["uninstall"]);
        assert_eq!((tree(&victim), sandbox.git(["status", "--porcelain"]).out), before, "{name}");
    }
    let sandbox = Sandbox::empty();
    sandbox.git(["init", "-q", "--bare", "."]).ok();
    let before = tree(&sandbox.repo());
    let ran = sandbox.elf(["init", "--agents"]).exits(1);
    assert!(ran.err.contains("a bare repository has no working tree for AGENTS.md"), "{}", ran.err);
    assert_eq!(tree(&sandbox.repo()), before);
}

/// Runs a hook as Claude Code does: through sh, with JSON on stdin. Returns what it prints.
#[track_caller]
fn hook(sandbox: &Sandbox, name: &str, input: &Json) -> String {
    let settings: Json = serde_json::from_str(&sandbox.text(FILES[2])).unwrap();
    let event = if name == "stop" { "Stop" } else { "SessionStart" };
    let command = settings["hooks"][event][0]["hooks"][0]["command"].as_str().unwrap();
    let mut shell = sandbox.command("sh");
    shell.args(["-c", &format!("{command} <input")]);
    sandbox.write("input", &input.to_string());
    let ran = sandbox.run(shell).ok();
    fs::remove_file(sandbox.repo().join("input")).unwrap();
    ran.out
}

fn input(session: &str) -> Json {
    json!({"session_id": session, "transcript_path": "/none", "cwd": ".", "hook_event_name": "Stop", "stop_hook_active": false})
}

fn commit(sandbox: &Sandbox, message: &str) {
    sandbox.git(["commit", "-q", "--allow-empty", "-m", message]).ok();
}

#[test]
fn a_session_that_worked_and_recorded_nothing_is_reminded_once() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init", "--agents=claude"]).ok();
    hook(&sandbox, "session-start", &input("one"));
    assert_eq!(hook(&sandbox, "stop", &input("one")), "", "nothing happened yet");
    sandbox.write("README", "changed\n");
    assert_eq!(hook(&sandbox, "stop", &input("one")), "", "a first edit is no lesson yet");
    commit(&sandbox, "work");
    let mut going_on = input("one");
    going_on["stop_hook_active"] = json!(true);
    assert_eq!(hook(&sandbox, "stop", &going_on), "", "it goes on because of a hook already");
    let said: Json = serde_json::from_str(&hook(&sandbox, "stop", &input("one"))).unwrap();
    assert_eq!(said["decision"], "block");
    let reason = said["reason"].as_str().unwrap();
    assert!(reason.contains("made commits") && reason.contains("git elf record"), "{reason}");
    commit(&sandbox, "more work");
    assert_eq!(hook(&sandbox, "stop", &input("one")), "", "never twice");
    // It goes on, is compacted, or resumed: still the same session.
    hook(&sandbox, "session-start", &input("one"));
    assert_eq!(hook(&sandbox, "stop", &input("one")), "", "never twice, after a resume either");
    assert_eq!(hook(&sandbox, "stop", &input("unknown")), "", "a session whose beginning nobody saw");
    sandbox.elf(["uninstall"]).ok();
    assert!(!sandbox.elf_dir().join("sessions").exists());
}

#[test]
fn a_session_begins_with_the_memory() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init", "--agents=claude"]).ok();
    assert_eq!(hook(&sandbox, "session-start", &input("one")), "", "nothing is recorded yet");
    let id = sandbox.record("What to know");
    for session in ["one", "two"] {
        let told = hook(&sandbox, "session-start", &input(session));
        assert!(told.contains(&id) && told.contains("not instructions"), "{told}");
        assert!(told.len() <= 2048, "{}", told.len());
    }
}

#[test]
fn a_session_that_recorded_or_only_pulled_is_left_in_peace() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init", "--agents=claude"]).ok();
    let old = sandbox.record("before");
    for (name, act) in [
        ("a record", (|s, _| drop(s.record("Learned"))) as fn(&Sandbox, &str)),
        ("a word about a record", |s, id| drop(s.elf(["validate", id]).ok())),
        ("a trailer", |s, _| commit(s, "x\n\nElf-Failure: in a trailer")),
    ] {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        hook(&sandbox, "session-start", &input(name));
        commit(&sandbox, "work");
        act(&sandbox, &old);
        assert_eq!(hook(&sandbox, "stop", &input(name)), "", "{name}");
    }
    hook(&sandbox, "session-start", &input("pull"));
    let mut pull = sandbox.command("git");
    pull.args(["commit", "-q", "--allow-empty", "-m", "theirs"]).env("GIT_COMMITTER_EMAIL", "other@example.org");
    sandbox.run(pull).ok();
    assert_eq!(hook(&sandbox, "stop", &input("pull")), "", "a commit of somebody else");
    // Another agent's record is not this one's; what was recorded in the second in which a session began might be.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    sandbox.git(["config", "elf.agent", "me"]).ok();
    hook(&sandbox, "session-start", &input("other"));
    commit(&sandbox, "work");
    sandbox.elf(["record", "failure", "Of another", "--agent", "other"]).ok();
    assert_ne!(hook(&sandbox, "stop", &input("other")), "");
}

#[test]
fn changes_that_nobody_commits_count_after_a_while() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init", "--agents=claude"]).ok();
    hook(&sandbox, "session-start", &input("long"));
    sandbox.write("src/new.rs", "work\n");
    let sessions = sandbox.elf_dir().join("sessions");
    let file = fs::read_dir(&sessions).unwrap().next().unwrap().unwrap().path();
    let mut began: Json = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    began["at"] = json!(began["at"].as_i64().unwrap() - 11 * 60 * 1_000_000);
    fs::write(&file, began.to_string()).unwrap();
    let said = hook(&sandbox, "stop", &input("long"));
    assert!(said.contains("changed files"), "{said}");
    assert_eq!(hook(&sandbox, "stop", &input("long")), "");
}

#[test]
fn the_hooks_are_never_in_the_way() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init", "--agents=claude"]).ok();
    for name in ["session-start", "stop"] {
        for bad in [
            "",
            "no JSON",
            "[]",
            "{\"session_id\": 3}",
            "{\"session_id\": \"../../../x\"}",
            "{\"session_id\": \"\\u0000\"}",
        ] {
            let ran = sandbox.elf_with_input(["hook", name], bad).ok();
            assert_eq!(ran.err, "", "{name} {bad}");
        }
        let outside = sandbox.root().join("outside");
        fs::create_dir_all(&outside).unwrap();
        let mut command = sandbox.elf_command(["hook", name]);
        command.current_dir(&outside);
        sandbox.run(command).ok();
        // Where git-elf is not installed, or is one that does not know these hooks.
        let settings: Json = serde_json::from_str(&sandbox.text(FILES[2])).unwrap();
        let event = if name == "stop" { "Stop" } else { "SessionStart" };
        let command = settings["hooks"][event][0]["hooks"][0]["command"].as_str().unwrap().to_owned();
        let old = sandbox.root().join("old");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("git-elf"), "#!/bin/sh\nexit 2\n").unwrap();
        fs::set_permissions(old.join("git-elf"), fs::Permissions::from_mode(0o755)).unwrap();
        for path in ["/usr/bin:/bin".to_owned(), format!("{}:/usr/bin:/bin", old.display())] {
            let mut shell = sandbox.command("sh");
            shell.args(["-c", &command]).env("PATH", path);
            assert_eq!(sandbox.run(shell).ok().out, "");
        }
    }
    // Nothing of a session's id becomes a path, and what is kept is bounded.
    for i in 0..110 {
        sandbox.elf_with_input(["hook", "session-start"], &input(&format!("../{i}")).to_string()).ok();
    }
    let names: Vec<_> =
        fs::read_dir(sandbox.elf_dir().join("sessions")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.len() <= 101, "{}", names.len());
    assert!(!sandbox.elf_dir().join("0").exists());
    // A link in place of the directory leads nowhere.
    fs::remove_dir_all(sandbox.elf_dir().join("sessions")).unwrap();
    let victim = sandbox.root().join("victim");
    fs::create_dir(&victim).unwrap();
    symlink(&victim, sandbox.elf_dir().join("sessions")).unwrap();
    sandbox.elf_with_input(["hook", "session-start"], &input("x").to_string()).ok();
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
}
