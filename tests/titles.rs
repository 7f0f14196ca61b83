//! What goes in comes out: titles of every sort, and limits that refuse without leaving a trace.

use std::collections::BTreeSet;
use std::path::PathBuf;

use git_elf::record::{Draft, Kind, Record, field};
use git_elf::repo::Repo;
use git_elf::store::{State, Store, Voice};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::faults::files;
use crate::support::{Ran, Sandbox};

/// Titles that have broken somebody's tool before.
const AWKWARD: [&str; 36] = [
    "-",
    "--",
    "-m",
    "--help",
    "--title=x",
    "-- -rf",
    "CON",
    "NUL",
    "aux.md",
    "COM1",
    "lpt9.txt",
    ".",
    "..",
    "../../etc/passwd",
    "/",
    "\\",
    "a/b\\c",
    "'",
    "\"",
    "\"\"\"",
    "'''",
    "`id`",
    "$(id)",
    "${HOME}",
    "%PATH%",
    "+++",
    "+++ title",
    "[table]",
    "key = 1",
    "\\u0041",
    "שלום עולם",
    "\u{202e}txt.exe",
    "👩‍👩‍👧‍👦 🇪🇺",
    "e\u{301}\u{323}\u{308}",
    "\u{feff}bom",
    "tab\there",
];

fn awkward() -> Vec<String> {
    let mut titles: Vec<_> = AWKWARD.map(str::to_owned).to_vec();
    // Every control character but the three that no title can have.
    titles.extend((1..0x20_u8).chain([0x7f]).filter(|b| !b"\n\r".contains(b)).map(|b| format!("a{}b", char::from(b))));
    titles.extend(
        ["\u{85}", "\u{9b}31m", "\u{2028}", "\u{2029}", "\u{fffd}", "\u{10ffff}", "\u{e000}"].map(|c| format!("x{c}")),
    );
    titles.extend(["x", "é", "漢", "👍", "\u{301}"].map(|c| c.repeat(field::TITLE_MAX)));
    titles.extend(
        [" leading", "trailing ", "  both  ", "a  b", "<b>html</b>", "#1", "*golden*", "{\"json\": 1}"]
            .map(str::to_owned),
    );
    titles
}

/// Returns 1,000 titles, the same ones every time.
fn thousand() -> Vec<String> {
    let mut titles = awkward();
    let mut runner = TestRunner::deterministic();
    let anything =
        proptest::collection::vec(any::<char>(), 1..=60).prop_map(|chars| chars.into_iter().collect::<String>());
    let ascii = "[ -~]{1,80}";
    let long = proptest::collection::vec(any::<char>(), 400..=field::TITLE_MAX)
        .prop_map(|chars| chars.into_iter().collect::<String>());
    let controls = "[\\x01-\\x1f\\x7f-\\x9fa\"'\\\\-]{1,40}";
    let marks = "[a\\u{300}-\\u{36f}\\u{200b}-\\u{200f}\\u{202a}-\\u{202e}\\u{5d0}-\\u{5ea}\\u{627}-\\u{64a}]{1,60}";
    let title = prop_oneof![anything, ascii, long, controls, marks]
        .prop_filter("no title", |title: &String| !title.contains(['\n', '\r', '\0']) && !title.trim().is_empty());
    while titles.len() < 1000 {
        titles.push(title.new_tree(&mut runner).unwrap().current());
    }
    titles
}

struct Quiet;

impl Voice for Quiet {
    fn say(&self, line: &str) {
        panic!("nothing to say: {line}");
    }
    fn progress(&self, _what: &str, _done: u64, _total: u64) {}
}

fn store(sandbox: &Sandbox) -> Store {
    sandbox.git(["config", "user.name", "A U Thor"]).ok();
    sandbox.git(["config", "user.email", "author@example.org"]).ok();
    sandbox.git(["config", "elf.lockTimeout", "300"]).ok();
    Store::of(Repo::open_at(&sandbox.repo()).unwrap(), Box::new(Quiet)).unwrap()
}

fn sorted(mut titles: Vec<String>) -> Vec<String> {
    titles.sort();
    titles
}

/// Reads the titles of all records from the ledger's files.
fn in_ledger(store: &Store) -> Vec<String> {
    let ledger = store.ledger();
    let mut titles = Vec::new();
    ledger
        .changes(None, Some(ledger.tip().unwrap().unwrap().tree), &|_| true, &mut |change| {
            let name = change.path.rsplit('/').next().unwrap();
            assert!(name.is_ascii() && name.len() <= 60, "a file name that some system cannot have: {name}");
            titles.push(ledger.record_at(&change.path, change.new_file().unwrap())?.title);
            Ok(())
        })
        .unwrap();
    titles
}

/// A title that comes out changed is a lesson that cannot be found by the words it was written with.
#[test]
fn a_thousand_titles_go_in_and_come_out_equal() {
    let sandbox = Sandbox::new();
    let store = store(&sandbox);
    let titles = thousand();
    assert_eq!(titles.len(), 1000);
    let typed = awkward().len() + 80;
    for title in &titles[..typed] {
        sandbox.elf(["record", "failure", "--no-wait", &format!("--title={title}")]).ok();
    }
    let records: Vec<_> =
        titles[typed..].iter().map(|title| Draft::new(Kind::Failure, title).finish().unwrap()).collect();
    for batch in records.chunks(100) {
        let receipts = store.record("record", batch, true).unwrap();
        assert!(receipts.iter().all(|receipt| receipt.state == State::Committed));
    }
    let listed = sandbox.elf(["list", "--json"]).ok().json();
    let listed = listed.iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sorted(listed), sorted(titles.clone()));
    assert_eq!(sorted(in_ledger(&store)), sorted(titles));
    sandbox.git(["fsck", "--strict"]).ok();
}

proptest! {
    /// The text of a file is the only copy of a lesson: whatever is accepted has to be read back as it was.
    #[test]
    fn a_record_is_read_back_from_its_text(title in any::<String>(), body in any::<String>(), extra in any::<String>()) {
        let mut draft = Draft::new(Kind::Success, &title);
        draft.body(body);
        draft.put("odd", extra);
        if let Ok(record) = draft.finish() {
            prop_assert_eq!(Record::parse(record.to_text().as_bytes()).unwrap(), record);
        }
    }
}

/// Two people may learn the same on one day; neither is the other's duplicate.
#[test]
fn equal_titles_on_one_day_are_two_records() {
    let sandbox = Sandbox::new();
    let ids = [sandbox.record("It broke"), sandbox.record("It broke")];
    assert_ne!(ids[0], ids[1]);
    assert_eq!(sorted(sandbox.listed()), sorted(ids.to_vec()));
}

fn refused(sandbox: &Sandbox, before: &[PathBuf], args: &[&str], input: Option<&str>, field: &str, says: &[&str]) {
    let ran: Ran = match input {
        Some(input) => sandbox.elf_with_input(args, input),
        None => sandbox.elf(args),
    };
    let shown: Vec<_> = args.iter().map(|arg| arg.chars().take(40).collect::<String>()).collect();
    assert_eq!(ran.status, 2, "{shown:?}: {}{}", ran.out, ran.err);
    assert_eq!(ran.out, "", "{shown:?}");
    assert!(ran.err.starts_with(&format!("elf: {field}: ")), "{shown:?} does not name {field}: {}", ran.err);
    for text in says {
        assert!(ran.err.contains(text), "{shown:?} does not say {text:?}: {}", ran.err);
    }
    assert_eq!(files(&sandbox.repo().join(".git")), before, "{shown:?} left a trace");
    assert!(!sandbox.elf_dir().exists(), "{shown:?} left a trace");
}

/// A value that is clamped or cut in silence is a lesson that says something else than its author.
#[test]
fn each_limit_is_refused_by_name_and_without_a_trace() {
    let sandbox = Sandbox::new();
    let before = files(&sandbox.repo().join(".git"));
    let long = |count: usize| "x".repeat(count);
    let tags = (0..51).map(|i| format!("t{i}")).collect::<Vec<_>>().join(",");
    let name = long(field::NAME_MAX + 1);
    let set = |key: &str, value: &str| format!("{key}={value}");
    let paths: Vec<_> = (0..=field::PATHS_MAX).map(|i| format!("--path=p{i}")).collect();
    let mut many_paths = vec!["record", "failure", "t"];
    many_paths.extend(paths.iter().map(String::as_str));

    let title = long(field::TITLE_MAX + 1);
    let (domain, tag, path) = (long(field::DOMAIN_MAX + 1), long(field::TAG_MAX + 1), long(field::PATH_MAX + 1));
    let print = set("fingerprint", &name);
    let (topic, check, key) = (set("topic", &long(201)), set("check", &long(2001)), set(&long(101), "x"));
    let cases: Vec<(Vec<&str>, &str, Vec<&str>)> = vec![
        (vec!["bug", "t"], "kind", vec!["\"bug\"", "failure, success"]),
        (vec!["event", "t"], "kind", vec!["event", "validate"]),
        (vec!["failure"], "title", vec!["missing", "1 to 500"]),
        (vec!["failure", ""], "title", vec!["empty", "1 to 500"]),
        (vec!["failure", "  \t "], "title", vec!["empty", "1 to 500"]),
        (vec!["failure", &title], "title", vec!["\"xxxx", "501", "limit: 500"]),
        (vec!["failure", "a\nb"], "title", vec!["\"a\\nb\"", "one line"]),
        (vec!["failure", "a\rb"], "title", vec!["\"a\\rb\"", "one line"]),
        (vec!["failure", "t", "--domain", &domain], "domain", vec!["\"xxxx", "1 to 100"]),
        (vec!["failure", "t", "--domain", ""], "domain", vec!["\"\"", "1 to 100"]),
        (vec!["failure", "t", "--domain", "a/b"], "domain", vec!["\"a/b\"", "a-z 0-9 . _ -"]),
        (vec!["failure", "t", "--tags", &tags], "tags", vec!["51 tags", "limit: 50"]),
        (vec!["failure", "t", "--tags", &tag], "tags", vec!["\"xxxx", "51", "limit: 50"]),
        (vec!["failure", "t", "--tags", "a\nb"], "tags", vec!["\"a\\nb\"", "one line"]),
        (vec!["failure", "t", "--path", ""], "paths", vec!["\"\"", "relative"]),
        (vec!["failure", "t", "--path", "/etc"], "paths", vec!["\"/etc\"", "no leading /"]),
        (vec!["failure", "t", "--path", "a/../../b"], "paths", vec!["\"a/../../b\"", "no .."]),
        (vec!["failure", "t", "--path", &path], "paths", vec!["\"xxxx", "4097 bytes", "limit: 4096"]),
        (vec!["failure", "t", "--agent", &name], "agent", vec!["\"xxxx", "501", "limit: 500"]),
        (vec!["failure", "t", "--agent", "a\nb"], "agent", vec!["\"a\\nb\"", "one line"]),
        (vec!["failure", "t", "--source", &name], "source", vec!["\"xxxx", "501", "limit: 500"]),
        (vec!["failure", "t", "--set", &print], "fingerprint", vec!["\"xxxx", "501", "limit: 500"]),
        (vec!["failure", "t", "--severity", "0"], "severity", vec!["0", "1 to 5"]),
        (vec!["failure", "t", "--severity", "6"], "severity", vec!["6", "1 to 5"]),
        (vec!["failure", "t", "--severity", "urgent"], "severity", vec!["\"urgent\"", "1 to 5", "critical"]),
        (vec!["success", "t", "--severity", "3"], "severity", vec!["\"3\"", "success", "failure, invariant"]),
        (vec!["invariant", "t", "--severity", "3"], "severity", vec!["3", "error, warning, info"]),
        (vec!["heuristic", "t", "--confidence", "1.1"], "confidence", vec!["1.1", "0 to 1"]),
        (vec!["heuristic", "t", "--confidence", "-0.1"], "confidence", vec!["-0.1", "0 to 1"]),
        (vec!["heuristic", "t", "--confidence", "NaN"], "confidence", vec!["0 to 1"]),
        (vec!["heuristic", "t", "--confidence", "sure"], "confidence", vec!["\"sure\"", "0 to 1", "high"]),
        (vec!["failure", "t", "--confidence", "1"], "confidence", vec!["\"1\"", "failure", "heuristic, assumption"]),
        (vec!["heuristic", "t", "--source", "rumour"], "source", vec!["\"rumour\"", "failure, success, observation"]),
        (vec!["decision", "t", "--set", "status=maybe"], "status", vec!["\"maybe\"", "proposed, accepted, superseded"]),
        (vec!["invariant", "t", "--set", "scope=world"], "scope", vec!["\"world\"", "codebase, module"]),
        (vec!["invariant", "t", "--set", &check], "check", vec!["\"xxxx", "2001", "limit: 2000"]),
        (vec!["spike", "t", "--set", &topic], "topic", vec!["\"xxxx", "201", "limit: 200"]),
        (vec!["spike", "t", "--set", "minutes=-1"], "minutes", vec!["-1", "0 to 1000000"]),
        (vec!["failure", "t", "--set", "id=0123456789abcdef"], "id", vec!["cannot be set"]),
        (vec!["failure", "t", "--set", "nothing"], "set", vec!["\"nothing\"", "KEY=VALUE"]),
        (vec!["failure", "t", "--set", &key], "set", vec!["\"xxxx", "1 to 100"]),
    ];
    for (args, field, says) in cases {
        let args: Vec<_> = std::iter::once("record").chain(args).collect();
        refused(&sandbox, &before, &args, None, field, &says);
    }
    refused(&sandbox, &before, &many_paths, None, "paths", &["1001 paths", "limit: 1000"]);
    let from_stdin = ["record", "failure", "t", "-F", "-"];
    refused(&sandbox, &before, &from_stdin, Some("a\0b"), "body", &["NUL"]);
    refused(&sandbox, &before, &from_stdin, Some(&long(field::FILE_MAX + 1)), "body", &["limit: 262144"]);
    refused(&sandbox, &before, &from_stdin, Some(&long(field::FILE_MAX - 10)), "body", &["limit: 262144"]);
}

/// A NUL cannot be typed, but a program that links the library can hand one over.
#[test]
fn a_nul_in_any_text_is_refused_by_name() {
    let refusal = |key: &str| {
        let mut draft = Draft::new(Kind::Failure, if key == "title" { "a\0b" } else { "t" });
        match key {
            "title" => {}
            "body" => draft.body("a\0b"),
            "tags" | "paths" => draft.put_list(key, &["a\0b".to_owned()]),
            _ => draft.put(key, "a\0b"),
        }
        draft.finish().unwrap_err()
    };
    for key in ["title", "body", "tags", "paths", "author", "agent", "branch", "source", "fingerprint", "domain"] {
        assert_eq!(refusal(key).field(), Some(key));
    }
}

/// The longest of everything is accepted: a limit that is off by one refuses what the manual allows.
#[test]
fn the_limits_themselves_are_accepted() {
    let sandbox = Sandbox::new();
    let long = |count: usize| "x".repeat(count);
    let tags = (0..field::TAGS_MAX).map(|i| format!("{i:0>50}")).collect::<Vec<_>>().join(",");
    let (title, domain, path, name) =
        (long(field::TITLE_MAX), long(field::DOMAIN_MAX), long(field::PATH_MAX), long(field::NAME_MAX));
    sandbox
        .elf(["record", "failure", &title, "--domain", &domain, "--tags", &tags, "--path", &path, "--agent", &name])
        .ok();
    let row = sandbox.elf(["list", "--json"]).ok().json().remove(0);
    assert_eq!(row["title"].as_str(), Some(title.as_str()));
    let distinct: BTreeSet<_> = row["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    assert_eq!(distinct.len(), field::TAGS_MAX);
    for (args, key, value) in [
        (["record", "failure", "low", "--severity", "1"], "severity", serde_json::json!(1)),
        (["record", "failure", "high", "--severity", "critical"], "severity", serde_json::json!(5)),
        (["record", "heuristic", "never", "--confidence", "0"], "confidence", serde_json::json!(0.0)),
        (["record", "heuristic", "ever", "--confidence", "1"], "confidence", serde_json::json!(1.0)),
    ] {
        let id = sandbox.elf(args).ok().line().to_owned();
        let row = sandbox.elf(["show", "--json", &id]).ok().json().remove(0);
        assert_eq!(row[key].as_f64(), value.as_f64(), "{args:?}");
    }
}
