//! A memory of the original system comes over whole, once, and a stranger's one does no harm.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use git_elf::legacy;
use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::support::{Ran, Sandbox};

/// The tables as the original makes them, without what nothing here needs.
const SCHEMA: &str = "
CREATE TABLE learnings (id INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, filepath TEXT NOT NULL, title TEXT NOT NULL,
    summary TEXT, tags TEXT, domain TEXT, severity INTEGER DEFAULT 3, created_at DATETIME DEFAULT '2026-01-02 03:04:05', updated_at DATETIME);
CREATE TABLE heuristics (id INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, rule TEXT NOT NULL, explanation TEXT, source_type TEXT,
    source_id INTEGER, confidence REAL DEFAULT 0.5, times_validated INTEGER DEFAULT 0, times_violated INTEGER DEFAULT 0,
    is_golden INTEGER DEFAULT 0, created_at DATETIME DEFAULT '2026-01-02 03:04:05', updated_at DATETIME);
CREATE TABLE decisions (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, context TEXT NOT NULL, options_considered TEXT,
    decision TEXT NOT NULL, rationale TEXT NOT NULL, files_touched TEXT, tests_added TEXT, status TEXT DEFAULT 'accepted', domain TEXT,
    superseded_by INTEGER, created_at DATETIME DEFAULT '2026-01-02 03:04:05', updated_at DATETIME);
CREATE TABLE experiments (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, hypothesis TEXT, status TEXT DEFAULT 'active',
    cycles_run INTEGER DEFAULT 0, folder_path TEXT, created_at DATETIME DEFAULT '2026-01-02 03:04:05', updated_at DATETIME);
CREATE TABLE violations (id INTEGER PRIMARY KEY AUTOINCREMENT, rule_id INTEGER NOT NULL, rule_name TEXT NOT NULL,
    violation_date DATETIME DEFAULT '2026-02-03 04:05:06', description TEXT, session_id TEXT, acknowledged INTEGER DEFAULT 0);
";

/// A memory of the original beside a repository that takes it.
struct Old {
    sandbox: Sandbox,
}

impl Old {
    fn new() -> Self {
        let old = Self::without_rows();
        old.sql(SCHEMA);
        old
    }

    fn without_rows() -> Self {
        let old = Self { sandbox: Sandbox::new() };
        for dir in ["failures", "heuristics", "decisions", "spikes"] {
            fs::create_dir_all(old.dir().join(dir)).unwrap();
        }
        old
    }

    fn dir(&self) -> PathBuf {
        self.sandbox.root().join("old")
    }

    fn sql(&self, sql: &str) {
        Connection::open(self.dir().join("index.db")).unwrap().execute_batch(sql).unwrap();
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.dir().join(name), text).unwrap();
    }

    fn failure(&self, name: &str, title: &str, summary: &str) {
        let text = format!(
            "# {title}\n\n**Domain**: db\n**Severity**: 4\n**Tags**: a,b\n**Date**: 2026-01-02  # TIME-FIX-3: captured\n\n## Summary\n\n\
             {summary}\n\n## What Happened\n\n[Describe the failure in detail]\n\n## Related\n\n- **Experiments**:\n"
        );
        self.file(&format!("failures/{name}.md"), text);
    }

    fn learn(&self, name: &str, title: &str, summary: &str) {
        let conn = Connection::open(self.dir().join("index.db")).unwrap();
        let sql = "INSERT INTO learnings (type, filepath, title, summary, tags, domain, severity) VALUES ('failure', ?1, ?2, ?3, 'a,b', 'db', 4)";
        conn.execute(sql, [&format!("memory/failures/{name}.md"), title, summary]).unwrap();
    }

    fn import(&self) -> Ran {
        self.sandbox.elf(["import", "--from", "elf", self.dir().to_str().unwrap()])
    }

    fn rows(&self) -> Vec<Json> {
        self.sandbox.elf(["list", "--all", "--json"]).ok().json()
    }

    fn row(&self, title: &str) -> Json {
        let rows = self.rows();
        let mut found = rows.iter().filter(|row| row["title"] == title);
        let row = found.next().unwrap_or_else(|| panic!("{title} is not in {rows:?}")).clone();
        assert!(found.next().is_none(), "{title} is there twice");
        row
    }
}

/// The sample that the original's own scripts made.
fn sample() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/elf-sample/memory");
    let path = if path.exists() { path } else { PathBuf::from(std::env::var_os("ELF_TEST_SAMPLE")?) };
    Some(path)
}

#[test]
fn the_sample_comes_over_whole_and_once() {
    let Some(dir) = sample() else {
        eprintln!("SKIPPED: ../shared/elf-sample/memory is not there, and ELF_TEST_SAMPLE names no other place");
        return;
    };
    let sandbox = Sandbox::new();
    let import = || sandbox.elf(["import", "--from", "elf", dir.to_str().unwrap()]).ok();
    let first = import();
    assert_eq!(first.line(), "imported 133, already there 0, rejected 0");
    assert!(!first.err.contains("without"), "nothing of the sample stands alone: {}", first.err);
    assert_eq!(import().line(), "imported 0, already there 133, rejected 0");
    sandbox.elf(["check"]).ok();
    let rows = sandbox.elf(["list", "--json"]).ok().json();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        *kinds.entry(row["kind"].as_str().unwrap()).or_default() += 1;
    }
    // 45 heuristics and the 12 rules of golden-rules.md.
    let expected =
        [("assumption", 8), ("decision", 12), ("failure", 40), ("heuristic", 57), ("invariant", 8), ("spike", 8)];
    assert_eq!(kinds, BTreeMap::from(expected));
    assert_eq!(rows.iter().filter(|row| row["golden"] == true).count(), 14);

    // Every text of every row is in its record, and so is its time.
    let copy = sandbox.root().join("copy.db");
    fs::copy(dir.join("index.db"), &copy).unwrap();
    let conn = Connection::open(copy).unwrap();
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut compared = 0;
    for (kind, sql) in [
        ("failure", "SELECT title, summary, domain, created_at FROM learnings"),
        ("heuristic", "SELECT rule, explanation, domain, created_at FROM heuristics"),
        ("decision", "SELECT title, context, domain, created_at FROM decisions"),
        ("decision", "SELECT title, rationale, domain, created_at FROM decisions"),
        ("assumption", "SELECT assumption, context, domain, created_at FROM assumptions"),
        ("invariant", "SELECT statement, rationale, domain, created_at FROM invariants"),
        ("spike", "SELECT title, findings, domain, created_at FROM spike_reports"),
    ] {
        let mut statement = conn.prepare(sql).unwrap();
        let texts =
            statement.query_map([], |row| Ok([0, 1, 2, 3].map(|at| row.get::<_, String>(at).unwrap()))).unwrap();
        for [title, text, domain, created] in texts.map(Result::unwrap) {
            let row = rows.iter().find(|row| row["kind"] == kind && row["title"] == title.as_str());
            let row = row.unwrap_or_else(|| panic!("no {kind} {title}"));
            assert!(plain(row["body"].as_str().unwrap()).contains(&plain(&text)), "{title} lost text");
            assert_eq!(row["domain"], domain.as_str());
            assert_eq!(row["created"], format!("{}Z", created.replace(' ', "T")));
            compared += 1;
        }
    }
    assert_eq!(compared, 40 + 45 + 12 + 12 + 8 + 8 + 8);
}

/// What stands once, twice, cut or apart comes over once, and the longer text wins.
#[test]
fn files_and_rows_are_one_entry_where_they_say_the_same() {
    let long = "The log grew.  It grew\nmore.";
    #[rustfmt::skip]
    let cases: &[(&str, Option<&str>, &[&str], usize, &str, &str)] = &[
        ("both",                Some(long),            &[long],                    1, long,                     ""),
        ("spaces of a row",     Some(long),            &["The log grew. It grew more."], 1, long,               ""),
        ("row alone",           None,                  &[long],                    1, long,                     "a row without a file"),
        ("file alone",          Some(long),            &[],                        1, long,                     "a file without a row"),
        ("row cut",             Some(long),            &["The log gr"],            1, long,                     ""),
        ("row cut with dots",   Some(long),            &["The log gr..."],         1, long,                     ""),
        ("row empty",           Some(long),            &[""],                      1, long,                     ""),
        ("file cut",            Some("The log"),       &["The log grew."],         1, "The log grew.",          ""),
        ("row twice",           Some(long),            &[long, long],              1, long,                     "says the same as"),
        ("two rows, one file",  Some("Second."),       &["First.", "Second."],     2, "Second.",                "a row without a file"),
        ("file edited",         Some("One."),          &["Another."],              1, "One.\n\n## in index.db\n\nAnother.", "differs from"),
        ("two rows, file edited", Some("One."),        &["Another.", "Third."],    2, "One.\n\n## in index.db\n\nAnother.", "differs from"),
    ];
    for (case, file, rows, count, text, note) in cases {
        let old = Old::new();
        if let Some(file) = file {
            old.failure("20260102_log", "WAL: it grew", file);
        }
        rows.iter().for_each(|row| old.learn("20260102_log", "WAL: it grew", row));
        let ran = old.import().ok();
        assert_eq!(ran.line(), format!("imported {count}, already there 0, rejected 0"), "{case}");
        assert!(ran.err.contains(note), "{case}: {}", ran.err);
        assert!(
            !note.is_empty() || !ran.err.contains("without") && !ran.err.contains("same as"),
            "{case}: {}",
            ran.err
        );
        let found = old.rows();
        assert_eq!(found.iter().filter(|row| row["body"] == *text).count(), 1, "{case}: {found:?}");
        for row in &found {
            assert_eq!(
                (&row["severity"], &row["tags"], &row["domain"]),
                (&json!(4), &json!(["a", "b"]), &json!("db")),
                "{case}"
            );
        }
        let again = format!("imported 0, already there {count}, rejected 0");
        assert_eq!(old.import().ok().line(), again, "{case}");
    }
}

#[test]
fn two_clones_make_the_same_records() {
    let ids = || {
        let old = Old::new();
        old.failure("20260102_log", "It grew", "Much.");
        old.sql(
            "INSERT INTO heuristics (domain, rule, explanation, is_golden) VALUES ('db', 'Lock first', 'Always.', 1)",
        );
        old.import().ok();
        old.sandbox.elf(["export"]).ok().out
    };
    assert_eq!(ids(), ids());
}

#[test]
fn counters_are_a_prior_and_golden_rules_stay_golden() {
    let old = Old::new();
    old.file(
        "heuristics/db.md",
        "# Heuristics: db\n\n---\n\n## H-1: Lock first\n\n**Confidence**: 0.85\n**Source**: failure\n**Created**: 2026-01-02\n\nThe lock,\n\
         then SQLite.\n\n## H-9: is no heading\n\nbut text.\n\n---\n\n## H-2: Test it\n\n**Confidence**: 0.6\n**Source**: success\n**Created**: 2026-01-02\n\nText.\n\n---\n\n",
    );
    old.sql(
        "INSERT INTO heuristics (domain, rule, explanation, source_type, confidence, times_validated, times_violated, is_golden) VALUES
            ('db', 'Lock first', 'The lock,', 'failure', 0.95, 12, 0, 1), ('db', 'Test it', 'Text.', 'success', 0.7, 0, 0, 0),
            ('db', 'Alone', 'Row.', 'guess', 0.5, 1, 3, 0);
         INSERT INTO violations (rule_id, rule_name, description) VALUES (1, 'Ask first', 'did not ask'), (7, 'Nowhere', 'x');",
    );
    old.file(
        "golden-rules.md",
        "# Golden Rules\n\n---\n\n## 1. Ask first\n> Ask before you act.\n\n**Why:** It is cheap.\n**Promoted:** Initial setup\n**Validations:** Foundational\n\n---\n\n\
         # How Rules Become Golden\n\n1. Start\n\n## 2. Lock first\n> The lock, then SQLite.\n\n**Category:** db\n**Why:** Deadlocks.\n**Promoted:** 2025-12-01 (H-1)\n",
    );
    let ran = old.import().ok();
    assert_eq!(ran.line(), "imported 4, already there 0, rejected 0", "{}", ran.err);
    assert!(ran.err.contains("violations 2: not taken"), "{}", ran.err);
    let facts = |title: &str| {
        let row = old.row(title);
        ["confidence", "golden", "times_validated", "times_violated", "breached"].map(|key| row[key].clone())
    };
    // (4 × 0.85 + 12) / (4 + 12), from what the file stated first.
    assert_eq!(facts("Lock first"), [json!(0.9625), json!(true), json!(12), json!(0), json!(0)]);
    // Nothing was counted: the row is newer than the file.
    assert_eq!(facts("Test it"), [json!(0.7), json!(false), Json::Null, Json::Null, json!(0)]);
    // (4 × 0.5 + 1) / (4 + 1 + 3)
    assert_eq!(facts("Alone"), [json!(0.375), json!(false), json!(1), json!(3), json!(0)]);
    assert_eq!(facts("Ask first"), [json!(0.9), json!(true), Json::Null, Json::Null, json!(1)]);
    let body = old.row("Lock first")["body"].as_str().unwrap().to_owned();
    assert!(body.contains("## H-9: is no heading\n\nbut text.") && body.contains("Deadlocks."), "{body}");
    assert_eq!(old.row("Alone")["source_type"], "guess");
    assert_eq!(old.row("Ask first")["created"], "2025-12-01T00:00:00Z", "as old as the oldest rule with a date");
    assert_eq!(old.import().ok().line(), "imported 0, already there 4, rejected 0");
}

#[test]
fn decisions_keep_their_state_and_experiments_their_cycles() {
    let old = Old::new();
    old.sql(
        "INSERT INTO decisions (title, context, options_considered, decision, rationale, files_touched, tests_added, status, domain, superseded_by) VALUES
            ('Old way', 'C', 'A or B', 'A', 'R', 'src/a.rs, src/b.rs', 't1', 'superseded', 'db', 2), ('New way', 'C', '', 'B', 'R', '/etc/passwd', '', 'accepted', 'db', NULL),
            ('Dropped', 'C', '', 'B', 'R', '', '', 'Rejected', 'db', NULL);
         CREATE TABLE cycles (id INTEGER PRIMARY KEY, experiment_id INTEGER, cycle_number INTEGER, try_summary TEXT, analysis TEXT);
         INSERT INTO experiments (name, hypothesis, status, cycles_run) VALUES ('Try WAL', 'Faster', 'completed', 1);
         INSERT INTO cycles VALUES (1, 1, 1, 'Tried it', 'Held');",
    );
    old.file(
        "decisions/2026-01-02-old-way.md",
        "# ADR-1: Old way\n\n**Date**: 2026-01-02\n**Domain**: db\n**Status**: Accepted\n\n---\n\n## Context\n\nC\n\n## Options Considered\n\nA or B\n\n## Decision\n\nA\n\n\
         ## Rationale\n\nR\n\n## Files Touched\n\n- src/a.rs\n- src/b.rs\n\n## Tests Added\n\n- t1\n\n## Consequences\n\n- If context changes, this decision should be revisited\n- Ours.\n\n---\n\n**ID**: ADR-1\n**Created**: 2026-01-02\n",
    );
    old.import().ok();
    let (first, second, third) = (old.row("Old way"), old.row("New way"), old.row("Dropped"));
    assert_eq!((&first["state"], &first["superseded_by"]), (&json!("superseded"), &second["id"]));
    assert_eq!((&second["state"], &third["state"]), (&json!("active"), &json!("retracted")));
    assert_eq!(first["paths"], json!(["src/a.rs", "src/b.rs"]));
    assert_eq!(
        first["body"],
        "## Context\n\nC\n\n## Options\n\nA or B\n\n## Decision\n\nA\n\n## Rationale\n\nR\n\n## Tests\n\n- t1\n\n## Consequences\n\n- Ours."
    );
    assert!(second["body"].as_str().unwrap().ends_with("## Files\n\n- /etc/passwd"), "{second}");
    let experiment = old.row("Try WAL");
    assert_eq!((&experiment["status"], &experiment["elf_status"]), (&json!("succeeded"), &json!("completed")));
    assert_eq!(experiment["body"], "## Hypothesis\n\nFaster\n\n## Result\n\n### Cycle 1\n\nTried it\n\nHeld");
}

#[test]
fn an_entry_that_the_original_changed_since_is_not_there_twice() {
    let old = Old::new();
    old.sql("INSERT INTO heuristics (domain, rule, explanation) VALUES ('db', 'Lock first', 'Always.')");
    old.import().ok();
    old.sql("UPDATE heuristics SET times_validated = 3, is_golden = 1");
    let ran = old.import().ok();
    assert_eq!(ran.line(), "imported 0, already there 1, rejected 0");
    assert!(ran.err.contains("changed since it was imported"), "{}", ran.err);
    assert_eq!(old.rows().len(), 1);
}

/// Each of these stands beside one good failure, which goes in.
#[test]
fn what_is_broken_is_named_and_hides_nothing() {
    let key = ["AKIA", "ZQ3DLEXAVOWMTRKB"].concat();
    let row = |column: &str, value: &str| {
        format!("INSERT INTO learnings (type, filepath, title, {column}) VALUES ('failure', 'x', 'Bad', {value})")
    };
    #[rustfmt::skip]
    let cases: Vec<(&str, Box<dyn Fn(&Old)>, &str)> = vec![
        ("a link to a file", Box::new(|old| symlink("/etc/passwd", old.dir().join("failures/l.md")).unwrap()), "failures/l.md"),
        ("a link to a directory", Box::new(|old| symlink("/etc", old.dir().join("successes")).unwrap()), "successes"),
        ("a pipe", Box::new(|old| assert!(old.sandbox.run({ let mut c = old.sandbox.command("mkfifo"); c.arg(old.dir().join("failures/p.md")); c }).status == 0)), "failures/p.md"),
        ("no UTF-8", Box::new(|old| old.file("failures/u.md", b"# T\n\n\xff")), "failures/u.md"),
        ("a NUL", Box::new(|old| old.file("failures/n.md", "# T\n\n## Summary\n\na\0b")), "failures/n.md"),
        ("a huge file", Box::new(|old| old.file("failures/h.md", format!("# T\n\n{}", "x".repeat(300_000)))), "failures/h.md"),
        ("no heading", Box::new(|old| old.file("decisions/e.md", "")), "decisions/e.md"),
        ("a bad domain", Box::new(|old| old.file("failures/d.md", "# T\n\n**Domain**: a/b\n")), "failures/d.md"),
        ("a bad severity", Box::new(|old| old.file("failures/s.md", "# T\n\n**Severity**: 9\n")), "failures/s.md"),
        ("a secret in a file", Box::new({ let key = key.clone(); move |old| old.file("failures/k.md", format!("# T\n\n{key}\n")) }), "looks like a secret"),
        ("a secret in a row", Box::new({ let key = key.clone(); move |old| old.sql(&row("summary", &format!("'{key}'"))) }), "looks like a secret"),
        ("a huge row", Box::new(move |old| old.sql(&row("summary", "printf('%.*c', 2000000, 'x')"))), "index.db learnings 2"),
        ("a large row", Box::new(move |old| old.sql(&row("summary", "printf('%.*c', 262140, 'x')"))), "index.db learnings 2"),
        ("a NUL in a row", Box::new(move |old| old.sql(&row("summary", "'a' || char(0) || 'b'"))), "index.db learnings 2"),
        ("bytes in a row", Box::new(move |old| old.sql(&row("summary", "x'ff00'"))), "index.db learnings 2"),
        ("no UTF-8 in a row", Box::new(move |old| old.sql(&row("summary", "CAST(x'ff61' AS TEXT)"))), "index.db learnings 2"),
        ("an unknown type", Box::new(|old| old.sql("INSERT INTO learnings (type, filepath, title) VALUES ('event', 'x', 'Bad')")), "index.db learnings 2"),
        ("a confidence of 7", Box::new(|old| old.sql("INSERT INTO heuristics (domain, rule, confidence) VALUES ('db', 'r', 7.0)")), "index.db heuristics 1"),
    ];
    for (case, put, name) in &cases {
        let old = Old::new();
        old.failure("good", "A good one", "It is found.");
        old.learn("good", "A good one", "It is found.");
        put(&old);
        let ran = old.import().exits(2);
        assert_eq!(ran.line(), "imported 1, already there 0, rejected 1", "{case}: {}", ran.err);
        assert!(ran.err.contains(name) && !ran.err.contains(&key), "{case}: {}", ran.err);
        old.row("A good one");
        assert!(!old.sandbox.elf(["export"]).ok().out.contains("root:"), "{case}");
    }
}

/// What a database is, and what is taken of it beside one good file. Nothing in the source changes.
#[test]
fn a_strange_database_is_read_as_far_as_it_goes_and_never_touched() {
    let hot = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0, 0, 0];
    #[rustfmt::skip]
    let cases: Vec<(&str, Box<dyn Fn(&Old)>, i32, &str)> = vec![
        ("none", Box::new(|_| {}), 0, "index.db: no rows"),
        ("no database", Box::new(|old| old.file("index.db", "hello, I am a database, really, with many bytes of text in me")), 2, "index.db"),
        ("empty file", Box::new(|old| old.file("index.db", "")), 0, ""),
        ("a link", Box::new(|old| { old.file("else.db", ""); symlink("else.db", old.dir().join("index.db")).unwrap(); }), 2, "index.db"),
        ("other tables", Box::new(|old| old.sql("CREATE TABLE learnings (a, b); INSERT INTO learnings VALUES (1, 2)")), 0, ""),
        ("fewer columns", Box::new(|old| old.sql("CREATE TABLE heuristics (rule TEXT); INSERT INTO heuristics VALUES ('A rule alone')")), 0, "a row without"),
        ("a view", Box::new(|old| old.sql("CREATE VIEW learnings AS WITH RECURSIVE n(title) AS (SELECT 1 UNION ALL SELECT title + 1 FROM n) SELECT * FROM n")), 0, ""),
        ("a virtual table", Box::new(|old| old.sql("CREATE VIRTUAL TABLE heuristics USING fts5(rule); INSERT INTO heuristics VALUES ('x')")), 0, ""),
        ("a computed column", Box::new(|old| old.sql("CREATE TABLE heuristics (rule TEXT); INSERT INTO heuristics VALUES ('A rule alone'); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE heuristics (rule TEXT, explanation TEXT AS (hex(zeroblob(900000000))) VIRTUAL)'")), 0, "a row without"),
        ("without row ids", Box::new(|old| old.sql("CREATE TABLE heuristics (rule TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO heuristics VALUES ('x')")), 0, ""),
        ("a hot journal", Box::new(move |old| { old.sql(SCHEMA); old.file("index.db-journal", hot); }), 2, "index.db-journal"),
        ("a cold journal", Box::new(move |old| { old.sql(SCHEMA); old.file("index.db-journal", [0; 12]); }), 0, ""),
        ("a schema that lies", Box::new(|old| old.sql("CREATE TABLE heuristics (rule TEXT); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE heuristics (rule TEXT, a AS (' WHERE 1")), 2, "index.db"),
    ];
    for (case, make, status, said) in &cases {
        let old = Old::without_rows();
        old.failure("good", "A good one", "It is found.");
        make(&old);
        let before = files(&old.dir());
        let ran = old.import().exits(*status);
        assert!(ran.err.contains(said), "{case}: {}", ran.err);
        assert_eq!(files(&old.dir()), before, "{case} changed the source");
        old.row("A good one");
        if *said == "a row without" {
            old.row("A rule alone");
        }
    }
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn rows_that_are_still_in_the_log_are_read_too() {
    let old = Old::new();
    let conn = Connection::open(old.dir().join("index.db")).unwrap();
    conn.pragma_update(None, "journal_mode", "wal").unwrap();
    conn.execute("INSERT INTO heuristics (domain, rule) VALUES ('db', 'Only in the log')", []).unwrap();
    let before = files(&old.dir());
    old.import().ok();
    assert_eq!(files(&old.dir()), before);
    old.row("Only in the log");
}

#[test]
fn a_damaged_database_ends_in_records_or_refusals() {
    let old = Old::new();
    for n in 0..60 {
        old.learn(&format!("f{n}"), &format!("Title {n}"), &"text ".repeat(n * 20));
    }
    let whole = fs::read(old.dir().join("index.db")).unwrap();
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut taken = 0;
    for round in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..=round % 9 {
            let at = random(bytes.len());
            bytes[at] = u8::try_from(random(256)).unwrap();
        }
        if round % 5 == 0 {
            bytes.truncate(random(whole.len()));
        }
        old.file("index.db", &bytes);
        taken += legacy::read(&old.dir(), &[]).unwrap().records.len();
    }
    assert!(taken > 400, "damage to one page hid all the others: {taken}");
}

#[test]
fn a_directory_without_a_memory_is_refused_and_its_parent_is_not() {
    let old = Old::new();
    old.learn("x", "A good one", "Text.");
    let import = |dir: &Path| old.sandbox.elf(["import", "--from", "elf", dir.to_str().unwrap()]);
    assert!(import(&old.sandbox.repo()).exits(1).err.contains("nothing of the original"));
    import(&old.sandbox.root().join("nowhere")).exits(1);
    let parent = old.sandbox.root().join("framework");
    fs::create_dir(&parent).unwrap();
    fs::rename(old.dir(), parent.join("memory")).unwrap();
    assert_eq!(import(&parent).ok().line(), "imported 1, already there 0, rejected 0");
}

#[test]
fn the_json_says_what_was_read() {
    let old = Old::new();
    old.failure("a", "Alone", "Text.");
    let ran = old.sandbox.elf(["import", "--json", "--from", "elf", old.dir().to_str().unwrap()]).ok().json().remove(0);
    assert_eq!(
        ran,
        json!({"imported": 1, "present": 0, "rejected": [], "read": {"failure": 1, "events": 0},
            "notes": ["failures/a.md: a file without a row in index.db"], "events": {"imported": 0, "present": 0}})
    );
}

/// What query.py could select: each of these is a row of docs/from-elf.md.
#[test]
fn every_selection_of_the_original_has_its_place() {
    let old = Old::new();
    old.learn("a", "First", "One, \"two\"");
    old.sql(
        "UPDATE learnings SET tags = 'a'; INSERT INTO learnings (type, filepath, title, tags, domain) VALUES ('failure', 'y', 'Second', 'b', 'db');
         INSERT INTO heuristics (domain, rule, is_golden) VALUES ('db', 'Gold', 1), ('db', 'Iron', 0);
         INSERT INTO decisions (title, context, decision, rationale, status) VALUES ('Maybe', 'c', 'd', 'r', 'proposed'), ('Yes', 'c', 'd', 'r', 'accepted');
         INSERT INTO violations (rule_id, rule_name) VALUES (9, 'Gold');",
    );
    old.import().ok();
    let titles = |args: &[&str]| {
        let rows = old.sandbox.elf([&["list", "--json"], args].concat()).ok().json();
        let mut titles: Vec<_> = rows.iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect();
        titles.sort();
        titles.join(" ")
    };
    for (args, expected) in [
        (&["--tag", "a", "--tag", "b", "--any-tag"][..], "First Second"),
        (&["--tag", "a,b"], ""),
        (&["--golden"], "Gold"),
        (&["--kind", "decision", "--where", "status=proposed"], "Maybe"),
        (&["--where", "severity=4"], "First"),
        (&["--where", "severity=4", "--where", "tags=x"], ""),
    ] {
        assert_eq!(titles(args), expected, "{args:?}");
    }
    old.sandbox.elf(["list", "--where", "status"]).exits(2);
    let log = old.sandbox.elf(["log", "--verb", "breaches"]).ok().out;
    assert!(log.lines().count() == 1 && log.contains("breaches"), "{log}");
    let csv = old.sandbox.elf(["list", "--csv", "--where", "severity=4"]).ok().out;
    let lines: Vec<_> = csv.lines().collect();
    assert!(
        lines[0].starts_with("id,kind,title,domain,tags") && lines[1].ends_with(",active,\"One, \"\"two\"\"\""),
        "{csv}"
    );
}

/// The flags of query.py. Every one has a row that says something, and every command there has the options that it names.
#[test]
fn every_flag_of_the_original_has_a_row_that_holds() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/from-elf.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() > 30, "found only {} rows", rows.len());
    for row in &rows {
        assert!(row.len() == 2 && row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
    }
    for flag in [
        "context",
        "depth",
        "max-tokens",
        "domain",
        "tags",
        "recent",
        "type",
        "limit",
        "stats",
        "validate",
        "golden-rules",
        "decisions",
        "decision-status",
        "assumptions",
        "assumption-status",
        "min-confidence",
        "invariants",
        "invariant-status",
        "invariant-scope",
        "invariant-severity",
        "spikes",
        "experiments",
        "violations",
        "violation-days",
        "accountability-banner",
        "ceo-reviews",
        "timeout",
        "format json",
        "format csv",
        "format text",
        "base-path",
        "debug",
        "project-status",
        "project-only",
        "health-check",
        "verify-hooks",
    ] {
        let named = |cell: &str| {
            cell.split('`').any(|code| code == format!("--{flag}") || code.starts_with(&format!("--{flag} ")))
        };
        assert_eq!(rows.iter().filter(|row| named(row[0])).count(), 1, "--{flag}");
    }
    let sandbox = Sandbox::new();
    let mut checked = 0;
    for command in text.split('`').filter_map(|code| code.strip_prefix("git elf ")) {
        let command = command.split('\\').next().unwrap();
        let verb = command.split(' ').next().unwrap();
        let help = sandbox.elf([verb, "-h"]).ok().out;
        for option in command.split(' ').filter(|word| word.starts_with('-') && word.len() > 1) {
            assert!(help.contains(option), "git elf {verb} has no {option}");
            checked += 1;
        }
    }
    assert!(checked > 15, "found only {checked} options");
}
