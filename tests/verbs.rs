//! One end-to-end test for each verb and each flag that matters.

use serde_json::{Value as Json, json};

use crate::support::Sandbox;

#[test]
fn every_kind_is_recorded_with_its_keys_and_defaults() {
    let sandbox = Sandbox::new();
    let cases: [(&str, &[&str], &[(&str, Json)]); 9] = [
        ("failure", &["--severity", "critical"], &[("severity", json!(5))]),
        ("success", &[], &[]),
        (
            "heuristic",
            &["--confidence", "high", "--source", "failure"],
            &[("confidence", json!(0.85)), ("source", json!("failure"))],
        ),
        (
            "decision",
            &["--set", "context=two locks", "--set", "status=proposed"],
            &[("status", json!("proposed")), ("body", json!("## Context\n\ntwo locks"))],
        ),
        ("assumption", &[], &[("confidence", json!(0.7)), ("status", json!("active"))]),
        (
            "invariant",
            &["--severity", "warning", "--set", "check=grep -r unsafe"],
            &[("scope", json!("codebase")), ("severity", json!("warning")), ("check", json!("grep -r unsafe"))],
        ),
        ("spike", &["--set", "minutes=90", "--set", "topic=WAL"], &[("minutes", json!(90)), ("topic", json!("WAL"))]),
        (
            "experiment",
            &["--set", "hypothesis=it is faster"],
            &[("status", json!("active")), ("body", json!("## Hypothesis\n\nit is faster"))],
        ),
        ("observation", &["--set", "ticket=A-1"], &[("ticket", json!("A-1"))]),
    ];
    for (kind, args, expected) in cases {
        let id = sandbox.elf([&["record", kind, "A title"], args].concat()).ok().line().to_owned();
        let shown = sandbox.elf(["show", "--json", &id]).ok().json().remove(0);
        assert_eq!(shown["kind"], kind);
        for (key, value) in expected {
            assert_eq!(&shown[*key], value, "{kind} {key}");
        }
    }
    assert_eq!(sandbox.listed().len(), 9);
}

#[test]
fn json_of_a_record_has_the_documented_shape() {
    let sandbox = Sandbox::new();
    let receipt = sandbox.elf(["record", "failure", "T", "--json"]).ok().json().remove(0);
    let keys: Vec<_> = receipt.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "state", "commit", "path"]);
    assert_eq!(receipt["state"], "committed");
    assert_eq!(receipt["commit"].as_str(), Some(sandbox.git(["rev-parse", "refs/elf/memory"]).ok().line()));
    assert!(sandbox.tree().contains(&receipt["path"].as_str().unwrap().to_owned()));
    let row = sandbox.elf(["list", "--json"]).ok().json().remove(0);
    for key in [
        "id",
        "kind",
        "title",
        "domain",
        "tags",
        "created",
        "author",
        "agent",
        "commit",
        "branch",
        "paths",
        "body",
        "severity",
        "golden",
        "validated",
        "violated",
        "breached",
        "state",
    ] {
        assert!(row.get(key).is_some(), "{key} is missing: {row}");
    }
    assert_eq!(row["commit"].as_str(), Some(sandbox.git(["rev-parse", "HEAD"]).ok().line()));
    assert_eq!(row["branch"], "main");
    assert_eq!(row["author"], "A U Thor <author@example.org>");
}

#[test]
fn filters_narrow_the_list() {
    let sandbox = Sandbox::new();
    let record = |args: &[&str]| sandbox.elf([&["record"], args].concat()).ok().line().to_owned();
    let a = record(&["failure", "a", "--domain", "db", "--tags", "x,y", "--path", "src/*.rs", "--agent", "claude"]);
    let b = record(&["heuristic", "b", "--domain", "ui", "--tags", "x", "--path", "docs/guide.md"]);
    let list = |args: &[&str]| {
        let rows = sandbox.elf([&["list", "--json"], args].concat()).ok().json();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), [b.clone(), a.clone()], "newest first");
    assert_eq!(list(&["--kind", "failure"]), [a.clone()]);
    assert_eq!(list(&["--domain", "DB"]), [a.clone()]);
    assert_eq!(list(&["--tag", "x", "--tag", "y"]), [a.clone()]);
    assert_eq!(list(&["--path", "src/lock.rs"]), [a.clone()]);
    assert_eq!(list(&["--path", "docs"]), [b.clone()]);
    assert_eq!(list(&["--agent", "claude"]), [a.clone()]);
    assert_eq!(list(&["--author", "thor"]).len(), 2);
    assert_eq!(list(&["--since", "1 hour ago"]).len(), 2);
    assert_eq!(list(&["--since", "2090-01-01"]).len(), 0);
    assert_eq!(list(&["--limit", "1"]), [b.clone()]);
    assert_eq!(
        sandbox.elf(["search", "--json", "a", "--kind", "heuristic"]).ok().json().len(),
        0,
        "no match is exit 0"
    );
}

#[test]
fn searches_take_phrases_prefixes_and_exclusions() {
    let sandbox = Sandbox::new();
    let plain = sandbox.record("the lock is taken, it waits");
    let typed = sandbox.elf(["record", "failure", "x", "-m", "so long as\nit waits: nothing"]).ok().line().to_owned();
    let found = |args: &[&str]| {
        let rows = sandbox.elf([&["search", "--json"], args].concat()).ok().json();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&["\"it waits:\""])[0], typed, "the phrase as typed comes first");
    assert_eq!(found(&["it", "waits", "-lock"]), [typed.clone()]);
    assert_eq!(found(&["waits", "--without", "nothing"]), [plain.clone()]);
    assert_eq!(found(&["noth*"]), [typed]);
    assert_eq!(found(&["lock", "absent"]), [plain], "no record has both words, so those with any");
    for odd in ["\"", "*", "AND", "(", "a:b", "--", "^x", "NEAR(a b)", "\u{1}"] {
        found(&["--", odd]);
    }
}

#[test]
fn evidence_is_folded_and_can_be_taken_back() {
    let sandbox = Sandbox::new();
    let id = sandbox.elf(["record", "heuristic", "Lock first"]).ok().line().to_owned();
    let show = || sandbox.elf(["show", "--json", &id]).ok().json().remove(0);
    sandbox.elf(["validate", &id[..6], "--note", "held"]).ok();
    sandbox.elf(["violate", &id]).ok();
    let breach = sandbox.elf(["breach", &id]).ok().line().to_owned();
    let row = show();
    assert_eq!((&row["validated"], &row["violated"], &row["breached"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(row["confidence"], json!(0.6333), "(4 × 0.7 + 1) / (4 + 2)");
    sandbox.elf(["retract", &breach]).ok();
    assert_eq!(show()["breached"], 0);
    sandbox.elf(["promote", &id]).ok();
    assert_eq!(show()["golden"], true);
    sandbox.elf(["promote", "--undo", &id]).ok();
    assert_eq!(show()["golden"], false);
    let ran = sandbox.elf(["promote", "--undo", &id]).exits(2);
    assert!(ran.err.contains("no golden rule"), "{}", ran.err);
    let failure = sandbox.record("x");
    sandbox.elf(["promote", &failure]).exits(2);
    let explained = sandbox.elf(["show", "--explain", &id]).ok();
    assert!(explained.out.contains("(4 × 0.7 + 1 validated) / (4 + 1 validated + 1 violated)"), "{}", explained.out);
    let history = sandbox.elf(["show", "--history", &id]).ok().out;
    assert!(
        history.contains("validates: held") && history.contains("breaches (A U Thor <author@example.org>) (undone)"),
        "{history}"
    );
}

#[test]
fn retracted_records_leave_the_list_and_stay_readable() {
    let sandbox = Sandbox::new();
    let (old, new) = (sandbox.record("old way"), sandbox.record("new way"));
    sandbox.elf(["retract", &old, "--by", &new]).ok();
    assert_eq!(sandbox.listed(), [new.clone()]);
    assert_eq!(sandbox.elf(["search", "--json", "way"]).ok().json().len(), 1);
    let all = sandbox.elf(["list", "--json", "--all"]).ok().json();
    let row = all.iter().find(|row| row["id"] == old.as_str()).unwrap();
    assert_eq!((&row["state"], &row["superseded_by"]), (&json!("superseded"), &json!(new)));
    sandbox.elf(["show", &old]).ok();
    sandbox.elf(["retract", &new, "--by", &new]).exits(2);
}

#[test]
fn edits_are_events_and_the_file_never_changes() {
    let sandbox = Sandbox::new();
    let id = sandbox.elf(["record", "failure", "WAL grew", "-m", "old body", "--domain", "db"]).ok().line().to_owned();
    let files = sandbox.tree();
    let edit = [
        "edit",
        &id,
        "--title",
        "WAL grew to 2 GB",
        "-m",
        "new body",
        "--set",
        "severity=high",
        "--set",
        "domain=",
        "--tags",
        "a, b",
    ];
    sandbox.elf(edit).ok();
    let row = sandbox.elf(["show", "--json", &id]).ok().json().remove(0);
    assert_eq!(
        (&row["title"], &row["body"], &row["severity"]),
        (&json!("WAL grew to 2 GB"), &json!("new body"), &json!(4))
    );
    assert_eq!((&row["domain"], &row["tags"]), (&Json::Null, &json!(["a", "b"])));
    assert!(files.iter().all(|file| sandbox.tree().contains(file)), "no file was renamed or removed");
    assert_eq!(sandbox.elf(["search", "--json", "old"]).ok().json().len(), 0, "the old words are gone from the index");
    assert_eq!(sandbox.elf(["search", "--json", "GB"]).ok().json().len(), 1);
    assert!(sandbox.elf(["show", "--history", &id]).ok().out.contains("recorded: WAL grew"));
    let commits = sandbox.git(["rev-list", "--count", "refs/elf/memory"]).ok().out;
    assert_eq!(commits.trim(), "2", "one edit is one commit");
    for (args, field) in [(["--set", "severity=9"], "severity"), (["--title", ""], "title"), (["--set", "id=x"], "id")]
    {
        let ran = sandbox.elf([&["edit", id.as_str(), "--json"], &args[..]].concat()).exits(2);
        let error: Json = serde_json::from_str(ran.err.trim()).unwrap();
        assert_eq!(error["field"], field, "{error}");
    }
    sandbox.elf(["edit", &id]).exits(2);
}

#[test]
fn a_later_edit_wins_even_when_the_clock_is_behind() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("first");
    let event = json!({"kind": "event", "title": "sets", "verb": "sets", "target": id, "key": "title", "value": "from the future", "created": "2099-01-01T00:00:00Z"});
    sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &event.to_string()).ok();
    assert_eq!(sandbox.elf(["show", "--json", &id]).ok().json()[0]["title"], "from the future");
    sandbox.elf(["edit", &id, "--title", "now"]).ok();
    assert_eq!(sandbox.elf(["show", "--json", &id]).ok().json()[0]["title"], "now");
}

#[test]
fn export_and_import_give_equal_ids_events_and_states() {
    let sandbox = Sandbox::new();
    let rule = sandbox
        .elf(["record", "heuristic", "Lock first", "-m", "body\n\n+++\ntail", "--set", "my key=1"])
        .ok()
        .line()
        .to_owned();
    let other = sandbox.record("tab\tand \u{1b}[31m \"quotes\" é 日本");
    sandbox.elf(["validate", &rule]).ok();
    let promoted = sandbox.elf(["promote", &rule]).ok().line().to_owned();
    sandbox.elf(["retract", &promoted]).ok();
    sandbox.elf(["edit", &other, "--title", "edited"]).ok();
    let exported = sandbox.elf(["export"]).ok().out;
    let second = Sandbox::new();
    let ran = second.elf_with_input(["import", "--from", "jsonl", "-"], &exported).ok();
    assert_eq!(ran.line(), "imported 6, already there 0, rejected 0");
    assert_eq!(second.elf(["export"]).ok().out, exported);
    let mut trees = [
        sandbox.git(["ls-tree", "-r", "refs/elf/memory"]).ok().out,
        second.git(["ls-tree", "-r", "refs/elf/memory"]).ok().out,
    ];
    assert_eq!(trees[0], trees[1], "the same blobs at the same paths");
    trees[0].clear();
    // Whether the commit they were learned at is here is no part of the records.
    let states = |s: &Sandbox| s.elf(["list", "--json", "--all"]).ok().out.replace("unknown", "merged");
    assert_eq!(states(&sandbox), states(&second));
    let again = second.elf_with_input(["import", "--from", "jsonl", "-"], &exported).ok();
    assert_eq!(again.line(), "imported 0, already there 6, rejected 0");
    assert!(sandbox.elf(["export", "--format", "markdown"]).ok().out.contains("## edited"));
}

#[test]
fn a_bad_line_of_an_import_is_named_and_the_others_go_in() {
    let sandbox = Sandbox::new();
    let input = "{\"kind\":\"failure\",\"title\":\"good\"}\n\nnot json\n{\"kind\":\"failure\",\"title\":\"x\",\"severity\":9}\n{\"kind\":\"nope\",\"title\":\"x\"}\n";
    let ran = sandbox.elf_with_input(["import", "--from", "jsonl", "-"], input).exits(2);
    assert_eq!(ran.line(), "imported 1, already there 0, rejected 3");
    for line in ["line 3", "line 4: severity", "line 5: kind"] {
        assert!(ran.err.contains(line), "{line} is missing: {}", ran.err);
    }
    let again = sandbox.elf_with_input(["import", "--from", "jsonl", "--json", "-"], input).exits(2).json().remove(0);
    assert_eq!((&again["imported"], &again["present"]), (&json!(0), &json!(1)));
    let taken = format!("{{\"kind\":\"success\",\"title\":\"another\",\"id\":\"{}\"}}", sandbox.listed()[0]);
    sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &taken).ok();
    let same_kind = taken.replace("success", "failure");
    let ran = sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &same_kind).exits(2);
    assert!(ran.err.contains("stands for another record"), "{}", ran.err);
}

#[test]
fn check_names_every_difference_and_fix_mends_the_index_alone() {
    let sandbox = Sandbox::new();
    let ids: Vec<_> = (0..4).map(|i| sandbox.record(&format!("title {i}"))).collect();
    sandbox.elf(["check"]).ok();
    let tip = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out;
    let database = rusqlite::Connection::open(sandbox.elf_dir().join("index.db")).unwrap();
    // The changes stay in the log, as those of a faulty version of ours would: a change of the file is mended without a word.
    database.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    database.execute("DELETE FROM record WHERE id = ?1", [&ids[0]]).unwrap();
    database.execute("UPDATE record SET title = 'tampered' WHERE id = ?1", [&ids[1]]).unwrap();
    database.execute("UPDATE record SET id = '0000000000000000' WHERE id = ?1", [&ids[2]]).unwrap();
    drop(database);
    let report = sandbox.elf(["check", "--json"]).exits(3).json().remove(0);
    assert_eq!(report["rows_without_a_file"].as_array().unwrap().len(), 1);
    assert_eq!(report["files_without_a_row"].as_array().unwrap().len(), 2);
    assert_eq!(report["rows_that_differ_from_their_file"].as_array().unwrap().len(), 1);
    assert!(sandbox.elf(["check"]).exits(3).out.contains("git elf check --fix"));
    sandbox.elf(["check", "--fix"]).ok();
    sandbox.elf(["check"]).ok();
    assert_eq!(sandbox.listed().len(), 4);
    assert_eq!(sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out, tip);
}

#[test]
fn check_names_malformed_files_duplicate_ids_and_bad_spool_entries() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("good");
    let good = sandbox.tree().into_iter().find(|path| path.contains(&id)).unwrap();
    let blob = sandbox.git(["rev-parse", &format!("refs/elf/memory:{good}")]).ok().line().to_owned();
    sandbox.write("broken.md", "no front matter");
    let broken = sandbox.git(["hash-object", "-w", "broken.md"]).ok().line().to_owned();
    let duplicate = good.replace("-good.md", "-twin.md");
    let index = sandbox.root().join("index");
    let git = |args: &[&str]| {
        let mut command = sandbox.command("git");
        sandbox.run({
            command.args(args).env("GIT_INDEX_FILE", &index);
            command
        })
    };
    git(&["read-tree", "refs/elf/memory"]).ok();
    git(&["update-index", "--add", "--cacheinfo", &format!("100644,{broken},failures/a/b/c/abc.md")]).ok();
    git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{duplicate}")]).ok();
    git(&["update-index", "--add", "--cacheinfo", &format!("120000,{blob},failures/link.md")]).ok();
    let tree = git(&["write-tree"]).ok().line().to_owned();
    let commit = sandbox.git(["commit-tree", "-p", "refs/elf/memory", "-m", "by hand", &tree]).ok().line().to_owned();
    sandbox.git(["update-ref", "refs/elf/memory", &commit]).ok();
    std::fs::write(sandbox.elf_dir().join("spool/torn.md"), "").unwrap();
    let report = sandbox.elf(["check", "--json"]).exits(3).json().remove(0);
    let malformed = report["malformed_files_in_the_ledger"].to_string();
    assert_eq!(report["malformed_files_in_the_ledger"].as_array().unwrap().len(), 3, "{malformed}");
    assert!(malformed.contains("failures/a/b/c/: holds 1 entry that is no part of a memory here"), "{malformed}");
    assert!(malformed.contains("abc.md"), "{malformed}");
    assert!(malformed.contains("has the same id as"), "{malformed}");
    assert!(malformed.contains("(a symbolic link)"), "{malformed}");
    assert_eq!(report["spool_entries_that_cannot_be_read"], json!(["torn.md"]));
    assert!(sandbox.elf_dir().join("spool/bad/torn.md").exists(), "put aside, not deleted");
    assert_eq!(sandbox.listed(), [id], "the good one is still there, once");
    sandbox.elf(["check", "--fix"]).exits(3);
}

#[test]
fn stats_reads_every_setting_back() {
    let sandbox = Sandbox::new();
    sandbox.record("x");
    let stats = sandbox.elf(["stats", "--json"]).ok().json().remove(0);
    let settings = &stats["settings"];
    for (key, value) in [
        ("journal_mode", json!("wal")),
        ("synchronous", json!(1)),
        ("busy_timeout", json!(10_000)),
        ("temp_store", json!(2)),
        ("trusted_schema", json!(0)),
        ("query_only", json!(1)),
        ("defensive", json!(true)),
        ("wal_autocheckpoint", json!(0)),
    ] {
        assert_eq!(settings[key], value, "{key}");
    }
    assert_eq!((&stats["records"], &stats["kinds"]["failure"], &stats["pending"]), (&json!(1), &json!(1), &json!(0)));
    assert!(sandbox.elf(["stats"]).ok().out.contains("journal_mode: wal"));
}

#[test]
fn log_tells_what_happened_in_order() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("x");
    sandbox.elf(["violate", &id, "-m", "not here"]).ok();
    let log = sandbox.elf(["log"]).ok().out;
    let lines: Vec<_> = log.lines().collect();
    assert!(lines[0].contains(&format!("{id} violates: not here")) && lines[1].ends_with("failure: x"), "{log}");
    assert_eq!(sandbox.elf(["log", "--json", "-n", "1"]).ok().json()[0]["verb"], "violates");
}

#[test]
fn bodies_come_from_paragraphs_files_and_stdin() {
    let sandbox = Sandbox::new();
    let body = |id: &str| sandbox.elf(["show", "--json", id]).ok().json()[0]["body"].as_str().unwrap().to_owned();
    let id = sandbox.elf(["record", "failure", "t", "-m", "one", "-m", "-two"]).ok();
    assert_eq!(body(id.line()), "one\n\n-two");
    sandbox.write("body.md", "from a file\r\nwith CRLF\n");
    let id = sandbox.elf(["record", "failure", "t", "-F", "body.md"]).ok();
    assert_eq!(body(id.line()), "from a file\nwith CRLF");
    let id = sandbox.elf_with_input(["record", "failure", "t", "--body-file", "-"], "from stdin").ok();
    assert_eq!(body(id.line()), "from stdin");
}

#[test]
fn an_id_may_be_cut_and_mistyped_digits_are_forgiven() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("x");
    sandbox.elf(["show", &id[..4].to_uppercase().replace('0', "O").replace('1', "L")]).ok();
    let ran = sandbox.elf(["show", "0000000000000000"]).exits(2);
    assert!(ran.err.contains("hint:"), "{}", ran.err);
    sandbox.elf(["show", "ab"]).exits(2);
}

#[test]
fn a_missing_identity_is_an_error_before_anything_is_written() {
    let sandbox = Sandbox::new();
    sandbox.git(["config", "--global", "--unset", "user.email"]).ok();
    let ran = sandbox.elf(["record", "failure", "x"]).exits(1);
    assert!(ran.err.contains("user.email") && ran.err.contains("git config --global"), "{}", ran.err);
    assert!(!sandbox.elf_dir().exists());
    let mut command = sandbox.elf_command(["record", "failure", "x"]);
    command.env("GIT_AUTHOR_EMAIL", "env@example.org");
    sandbox.run(command).ok();
}

#[test]
fn a_closed_pipe_is_no_error() {
    let sandbox = Sandbox::new();
    for i in 0..5 {
        sandbox.record(&format!("title {i}"));
    }
    let mut command = sandbox.command("sh");
    command.args(["-c", "for i in 1 2 3; do { git elf export; echo $? >status; } | true; cat status; done"]);
    assert_eq!(sandbox.run(command).ok().out, "0\n0\n0\n");
}

#[test]
fn outside_a_repository_the_answer_is_clear() {
    let sandbox = Sandbox::empty();
    let ran = sandbox.elf(["list"]).exits(1);
    assert!(ran.err.contains("not a git repository") && ran.err.contains("git init"), "{}", ran.err);
}

#[test]
fn a_ref_that_holds_something_else_is_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.git(["branch", "other"]).ok();
    sandbox.write(".elf.toml", "ref = \"refs/heads/other\"\n");
    let tip = sandbox.git(["rev-parse", "other"]).ok().out;
    let ran = sandbox.elf(["record", "failure", "x"]).ok();
    assert!(ran.err.contains("no memory of git-elf"), "{}", ran.err);
    assert_eq!(sandbox.git(["rev-parse", "other"]).ok().out, tip);
    sandbox.write(".elf.toml", "ref = \"refs/heads/memory\"\n");
    sandbox.record("y");
    assert_eq!(sandbox.listed().len(), 2, "the queued record went to the ref that is configured now");
    sandbox.write(".elf.toml", "lockTimeout = 1\n");
    sandbox.elf(["list"]).exits(2);
}

#[test]
fn completions_and_manual_come_from_the_same_definitions() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.elf(["completions", shell]).ok().out.contains("validate"), "{shell}");
    }
    let dir = sandbox.root().join("man");
    sandbox.elf(["manual", dir.to_str().unwrap()]).ok();
    let page = std::fs::read_to_string(dir.join("git-elf.1")).unwrap();
    for word in ["elf.lockTimeout", "record", "refs/elf/memory"] {
        assert!(page.replace("\\-", "-").contains(word), "{word}");
    }
    assert!(dir.join("git-elf-record.1").exists());
}
