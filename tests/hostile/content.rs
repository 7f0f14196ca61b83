//! What a record's file may say, and what events may do to each other.

use super::{Lab, bounded, each, file};

const ID: &str = "0123456789abcdef";

type Text = fn() -> Vec<u8>;

#[test]
fn a_file_that_is_no_record_is_named_and_the_others_stay() {
    if !bounded() {
        return;
    }
    let cases: [(&str, (Text, &str)); 38] = [
        ("nothing", (|| Vec::new(), "no front matter")),
        ("NUL", (|| with("x = \"a\0b\""), "TOML")),
        ("NUL in the body", (|| body("a\0b"), "NUL")),
        ("NUL, escaped", (|| with("agent = \"a\\u0000b\""), "NUL")),
        ("no UTF-8", (|| [&with("")[..], b"\xff\xfe"].concat(), "UTF-8")),
        ("half a character", (|| [&with("")[..], b"\xe2\x82"].concat(), "UTF-8")),
        ("UTF-16", (|| text().encode_utf16().flat_map(u16::to_le_bytes).collect(), "no front matter")),
        ("256 KiB and a byte", (|| body(&"x".repeat(262_144)), "limit: 262144")),
        ("256 KiB of brackets", (|| with(&format!("x = {}", "[".repeat(261_000))), "TOML")),
        (
            "256 KiB of closed brackets",
            (|| with(&format!("x = {}{}", "[".repeat(130_000), "]".repeat(130_000))), "TOML"),
        ),
        ("256 KiB of braces", (|| with(&format!("x = {}", "{a=".repeat(85_000))), "TOML")),
        ("256 KiB of dots", (|| with(&format!("{}a = 1", "a.".repeat(130_000))), "TOML")),
        ("a heading of 256 KiB of dots", (|| with(&format!("[{}a]\nx = 1", "a.".repeat(130_000))), "TOML")),
        ("256 KiB of tables of tables", (|| with(&"[[a]]\n[[a.b]]\n".repeat(18_000)), "file")),
        ("lists 33 deep", (|| with(&format!("x = {}{}", "[".repeat(33), "]".repeat(33))), "limit: 32")),
        ("tables 33 deep", (|| with(&format!("{}z = 1", "a.".repeat(33))), "limit: 32")),
        ("a key twice", (|| with("agent = \"a\"\nagent = \"b\""), "TOML")),
        ("an integer of 100,000 digits", (|| with(&format!("severity = {}", "9".repeat(100_000))), "TOML")),
        ("an integer beyond 64 bits", (|| with("severity = 9223372036854775808"), "TOML")),
        ("a severity of the other end", (|| with("severity = -9223372036854775808"), "severity")),
        ("a day that is none", (|| with("x = 2026-02-31"), "TOML")),
        ("a time that is none", (|| dated("2026-01-01T25:00:00Z"), "created")),
        ("a year before Christ", (|| dated("-20260-01-01T00:00:00Z"), "created")),
        ("a year of five digits", (|| dated("12026-01-01T00:00:00Z"), "created")),
        ("a time without a zone", (|| dated("2026-01-01T00:00:00"), "created")),
        ("nanoseconds", (|| dated("2026-01-01T00:00:00.000000001Z"), "microsecond")),
        ("a confidence that is no number", (|| rule("confidence = nan"), "confidence")),
        ("a confidence without end", (|| rule("confidence = inf"), "confidence")),
        ("a confidence below nothing", (|| rule("confidence = -0.0001"), "confidence")),
        ("a confidence of 1e400", (|| rule("confidence = 1e400"), "0123456789abcdef")),
        ("an id that is another's", (|| text().replace(ID, "zzzzzzzzzzzzzzzz").into(), "wrong place")),
        ("an id that is none", (|| text().replace(ID, "../../../../etc").into(), "id")),
        ("a kind that is another", (|| text().replace("failure", "spike").into(), "wrong place")),
        ("a kind that is none", (|| text().replace("failure", "../x").into(), "kind")),
        ("a title of two lines", (|| text().replace("\"T\"", "\"a\\nb\"").into(), "line break")),
        ("a path that leaves", (|| with("paths = [\"../../etc/passwd\"]"), "paths")),
        ("a key of the readers", (|| with("state = \"active\""), "state")),
        ("a commit that is an option", (|| with("commit = \"--upload-pack=x\""), "commit")),
    ];
    each(cases, |case, (text, named)| {
        let lab = Lab::new();
        lab.plant_record("failures", ID, &text());
        if case.starts_with("a confidence") {
            lab.plant_record("heuristics", ID, &text());
        }
        lab.case(case, named);
    });
}

#[test]
fn extremes_that_are_allowed_are_read_and_written() {
    if !bounded() {
        return;
    }
    let cases: [(&str, Text); 9] = [
        ("lists 32 deep", || with(&format!("x = {}{}", "[".repeat(32), "]".repeat(32)))),
        ("20,000 keys", || with(&(0..20_000).map(|n| format!("k{n}=1\n")).collect::<String>())),
        ("the year 9999", || dated("9999-12-30T22:00:00.999999Z")),
        ("the year 0000", || dated("0000-01-01T00:00:00Z")),
        ("a year before Christ", || dated("-009999-01-02T02:00:00Z")),
        ("an offset", || dated("2026-01-01T00:00:00+23:59")),
        ("numbers at their ends", || {
            with(
                "a = 9223372036854775807\nb = -9223372036854775808\nc = 1e308\nd = -0.0\ne = nan\nf = -inf\ng = 5e-324",
            )
        }),
        ("every control character", || {
            with(&format!(
                "agent = \"{}\"",
                (1..32).filter(|n| ![10, 13].contains(n)).map(|n| format!("\\u{n:04x}")).collect::<String>()
            ))
        }),
        ("a body of fences", || body(&"+++\n".repeat(60_000))),
    ];
    each(cases, |case, text| {
        let lab = Lab::new();
        lab.plant_record("failures", ID, &text());
        lab.works(case);
        assert!(lab.elf(&["show", "--json", ID]).out.contains(ID), "{case}");
        assert!(lab.findings().contains("\"clean\":true"), "{case}: {}", super::head(&lab.findings()));
        // What is exported is the same record in another repository.
        let exported = lab.elf(&["export"]);
        assert_eq!(exported.status, 0, "{case}");
        let other = Lab::new();
        let import = other.sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &exported.out);
        assert_eq!(import.status, 0, "{case}: {}", import.err);
        let line = |lab: &Lab| lab.elf(&["export"]).out.lines().find(|line| line.contains(ID)).unwrap().to_owned();
        assert_eq!(line(&other), line(&lab), "{case}");
    });
}

#[test]
fn events_that_go_in_circles_end() {
    if !bounded() {
        return;
    }
    let cases: [(&str, fn(&Lab)); 7] = [
        ("an event about itself", |lab| event(lab, 1, &name(1), "retracts", "")),
        ("two that undo each other", |lab| ring(lab, 2)),
        ("a ring of 300", |lab| ring(lab, 300)),
        ("a chain of 300 undone undos", |lab| {
            events(
                lab,
                (1..300).map(|n| (n, if n == 1 { lab.good.clone() } else { name(n - 1) }, "sights", String::new())),
            );
        }),
        ("records that supersede each other", |lab| {
            lab.plant_record("failures", ID, &with(""));
            event(lab, 1, ID, "retracts", &format!("by = \"{ID}\"\ncreated = \"9000-01-01T00:00:00Z\""));
        }),
        ("an event about nothing", |lab| event(lab, 1, "zzzzzzzzzzzzzzzz", "validates", "")),
        ("edits of what must not change", |lab| {
            let good = lab.good.clone();
            for (n, key) in ["id", "kind", "created", "author", "body", "golden", "title"].iter().enumerate() {
                event(lab, n, &good, "sets", &format!("key = \"{key}\"\nvalue = [[1], {{ a = 1 }}]"));
            }
        }),
    ];
    each(cases, |case, plant| {
        let lab = Lab::new();
        plant(&lab);
        lab.works(case);
        let findings = lab.findings();
        assert!(findings.contains("\"damage_of_the_index\":[]"), "{case}: {findings}");
        for list in ["rows_without_a_file", "files_without_a_row", "rows_that_differ_from_their_file"] {
            assert!(findings.contains(&format!("\"{list}\":[]")), "{case}: {findings}");
        }
        assert!(lab.elf(&["show", "--history", &lab.good]).out.contains("recorded"), "{case}");
    });
}

/// 10,000 here; as many as the limit says in the long form.
#[test]
fn many_events_about_one_record_are_folded_in_time() {
    if bounded() {
        many_events(10_000);
    }
}

#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_events_about_one_record_are_folded_in_time() {
    if bounded() {
        many_events(100_000);
    }
}

fn many_events(count: usize) {
    let lab = Lab::new();
    events(&lab, (0..count).map(|n| (n, lab.good.clone(), "sets", format!("key = \"k{}\"\nvalue = {n}", n % 50))));
    lab.works("many events");
    assert!(lab.findings().contains("\"clean\":true"));
}

#[test]
fn gigantic_or_escaping_commits_of_the_memory_are_read_past() {
    if !bounded() {
        return;
    }
    let cases: [(&str, &[u8]); 4] = [
        ("50 MB of message", &vec![b'x'; 50 << 20]),
        ("escapes", b"\x1b]0;title\x07\x9b31m\n"),
        ("no UTF-8", b"\xff\xfe\xfd"),
        ("trailers", b"x\n\nElf-Failure: from the memory itself\n"),
    ];
    for (case, message) in cases {
        let lab = Lab::new();
        lab.sandbox.git(["config", "user.name", "\x1b[31mA\u{202e}"]).ok();
        lab.publish(&lab.root(), message);
        lab.works(case);
        assert!(lab.findings().contains("\"clean\":true"), "{case}");
    }
}

#[test]
fn a_commit_message_of_trailers_is_taken_or_refused_in_time() {
    if !bounded() {
        return;
    }
    let many = |line: &str, bytes: usize| format!("x\n\nElf-Failure: T\n{}", line.repeat(bytes / line.len()));
    let cases = [
        ("200 KB of keys", (many("Elf-Key: v\n", 200_000), "")),
        ("200 KB of bad keys", (many("Elf-Validates: ?\n", 200_000), "is no id")),
        ("1 MB of keys", (many("Elf-Key: v\n", 1_000_000), "limit: 262144")),
        ("1 MB of paragraphs", (many("\n\nElf-Key: v", 1_000_000), "limit: 262144")),
        ("200 KB of paragraphs", (many("\n\nElf-Key: v", 200_000), "")),
        ("200 KB of folded lines", (many(" Elf-Key: v\n", 200_000), "limit: 500")),
    ];
    each(cases, |case, (message, said)| {
        let lab = Lab::new();
        let commit = lab.feed(&["commit-tree", "HEAD^{tree}", "-p", "HEAD"], message.as_bytes());
        lab.feed(&["update-ref", "HEAD", String::from_utf8(commit).unwrap().trim()], b"");
        let ran = lab.elf(&["hook", "post-commit"]);
        assert!(ran.status == 0 && ran.err.contains(said), "{case}: {}", super::head(&ran.err));
        lab.works(case);
    });
}

fn text() -> String {
    file(ID, "failure", "")
}

fn with(more: &str) -> Vec<u8> {
    file(ID, "failure", more).into_bytes()
}

fn rule(more: &str) -> Vec<u8> {
    file(ID, "heuristic", more).into_bytes()
}

fn body(body: &str) -> Vec<u8> {
    text().replace("Body.", body).into_bytes()
}

fn dated(time: &str) -> Vec<u8> {
    text().replace("2026-01-01T00:00:00Z", time).into_bytes()
}

/// Names the n-th event.
fn name(n: usize) -> String {
    format!("{:0>3}{n:013}", n % 10)
}

fn event(lab: &Lab, n: usize, target: &str, verb: &str, more: &str) {
    events(lab, [(n, target.to_owned(), verb_of(verb), more.to_owned())]);
}

fn verb_of(verb: &str) -> &'static str {
    ["retracts", "validates", "sets", "sights"].into_iter().find(|known| *known == verb).unwrap()
}

fn ring(lab: &Lab, length: usize) {
    events(lab, (0..length).map(|n| (n, name((n + 1) % length), "retracts", String::new())));
}

/// Adds events in one commit: number, target, verb, and other keys.
fn events(lab: &Lab, events: impl IntoIterator<Item = (usize, String, &'static str, String)>) {
    let mut stream = b"commit refs/elf/memory\ncommitter A <a@b> 0 +0000\ndata 0\nfrom refs/elf/memory^0\n".to_vec();
    for (n, target, verb, more) in events {
        let id = name(n);
        let created = if more.contains("created") { "" } else { "created = \"2026-02-01T00:00:00Z\"" };
        let text = format!(
            "+++\nid = \"{id}\"\nkind = \"event\"\ntitle = \"t\"\ntarget = \"{target}\"\nverb = \"{verb}\"\n{created}\n{more}\n+++\n"
        );
        let path = format!("events/{}/{}/{}/{id}-t.md", &id[..1], &id[1..2], &id[2..3]);
        stream.extend_from_slice(format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len()).as_bytes());
    }
    lab.feed(&["fast-import", "--quiet", "--force"], &stream);
}
