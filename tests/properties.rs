//! What holds for any input: the properties of the fuzz targets in `fuzz/`, with few cases, so that every run tries some.

use std::collections::HashMap;

use git_elf::index::{Filter, Index, Stamp};
use git_elf::legacy;
use git_elf::record::{Draft, Id, Kind, Record, Time, Verb, excerpt, fingerprint, harvest, trailers};
use git_elf::store::Update;
use proptest::prelude::*;
use serde_json::Value as Json;

const FILE: &str = "+++\nid = \"6aqsg8x6vck8d86r\"\nkind = \"heuristic\"\ntitle = \"Take the lock\"\ndomain = \"db\"\ntags = [\"a\"]\n\
    created = \"2026-11-24T08:02:42.475375Z\"\npaths = [\"src/lock.rs\"]\nconfidence = 0.85\nown = { deep = [1, 2.5] }\n+++\n\nText.\n";
const LINE: &str =
    r#"{"kind":"failure","title":"T","tags":"a,b","severity":3,"x":{"$float":"nan"},"y":[1,{"z":null}],"summary":"s"}"#;
const MESSAGE: &str = "Fix\n\nElf-Domain: db\nElf-Failure: It grew\n without end\nElf-Severity: high\nElf-Validates: 6aqsg8x6vck8d86r held\n";
const OLD: &str = "# ADR-1: Old way\n\n**Date**: 2026-01-02\n**Domain**: db\n**Severity**: 3\n\n---\n\n## Summary\n\nText.\n\n## Context\n\nC\n\n\
    ## H-1: Lock first\n\n**Confidence**: 0.85\n**Source**: failure\n\nAlways.\n\n---\n\n## 1. Ask\n> Ask first.\n\n**Why:** Cheap.\n**Promoted:** 2026-01-02 (x)\n";
/// Places of the original's markdown, one for each of its formats.
const PLACES: [&str; 5] =
    ["failures/20260102_a.md", "heuristics/db.md", "decisions/a.md", "spikes/2026-01-02-a.md", "golden-rules.md"];
const PUSH: &str = "refs/elf/memory aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa refs/elf/memory 0000000000000000000000000000000000000000\n";

const ERROR: &str = include_str!("../fuzz/corpus/fingerprint/mixed");

/// A text with some of it cut out and something put in, a few times: most stay almost right.
fn around(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        "[-+ a-z0-9\"=\\[\\]{}.:,#\\n]{0,12}".prop_map(String::into_bytes),
        any::<String>().prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..8),
        Just(b"\n+++\n".to_vec()),
        (1..200_usize).prop_map(|n| b"[".repeat(n)),
        "(inf|nan|-0\\.0|1e[0-9]{1,3}|[0-9]{15,25}|[0-9]{4}-[0-9]{2}-[0-9]{2})".prop_map(String::into_bytes),
    ];
    proptest::collection::vec((any::<prop::sample::Index>(), 0..6_usize, part), 0..4).prop_map(move |edits| {
        let mut bytes = text.as_bytes().to_vec();
        for (at, cut, part) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, part);
        }
        bytes
    })
}

/// What was accepted is read back from its file, and from its line of an export.
fn survives(record: &Record) -> Result<(), TestCaseError> {
    let text = record.to_text();
    if record.check_size().is_err() {
        return Ok(());
    }
    let again = Record::parse(text.as_bytes()).map_err(|error| TestCaseError::fail(format!("{error}: {text:?}")))?;
    prop_assert_eq!(again.to_text(), text.clone());
    let line = Json::Object(record.to_json()).to_string();
    let imported = Draft::from_json(&line).and_then(Draft::finish);
    let imported = imported.map_err(|error| TestCaseError::fail(format!("{error}: {line}")))?;
    prop_assert_eq!(imported.to_text(), text);
    Ok(())
}

/// Failures of two fingerprints and events about them or about each other, at times that meet.
fn crowd() -> impl Strategy<Value = Vec<Record>> {
    let failures = proptest::collection::vec((0..8_i64, 0..3_usize), 2..7);
    let events = proptest::collection::vec((0..8_i64, any::<prop::sample::Index>(), 0..6_usize), 0..12);
    (failures, events).prop_map(|(failures, events)| {
        let put = |records: &mut Vec<Record>, time: i64, mut draft: Draft| {
            let n = records.len().to_string();
            draft.put("id", Id::derived(&["crowd", &n]).as_str());
            draft.put("created", Time::from_seconds(time).unwrap().to_string());
            records.push(draft.finish().unwrap());
        };
        let mut records = Vec::new();
        for (time, group) in failures {
            let mut draft = Draft::new(Kind::Failure, "T");
            draft.put_some("fingerprint", (group > 0).then(|| format!("v1:{group:032x}")));
            put(&mut records, time, draft);
        }
        for (time, target, verb) in events {
            let target = records[target.index(records.len())].id;
            let verb =
                [Verb::Retracts, Verb::Retracts, Verb::Sights, Verb::Validates, Verb::Breaches, Verb::Sets][verb];
            let mut draft = Draft::event(verb, target);
            if verb == Verb::Sets {
                draft.put("key", "fingerprint");
                draft.put("value", if time % 2 == 0 { String::new() } else { format!("v1:{:032x}", 1) });
            }
            put(&mut records, time, draft);
        }
        records
    })
}

/// Does to an index what catching up with a ledger does; `removed` goes first.
fn apply(index: &mut Index, all: &HashMap<Id, Record>, removed: &[&Record], records: &[&Record]) {
    let mut batch = index.begin_in_memory().unwrap();
    for record in removed {
        batch.remove(&record.path()).unwrap();
    }
    let (events, rest): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.kind == Kind::Event);
    for record in events.into_iter().chain(rest) {
        batch.put(&record.path(), "blob", record.clone()).unwrap();
    }
    for (id, path, blob) in batch.touched().unwrap() {
        batch.put(&path, &blob, all[&id].clone()).unwrap();
    }
    batch.commit(&Stamp::default()).unwrap();
}

fn dumped(index: &Index) -> String {
    let mut out = Vec::new();
    index.dump(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_file_is_a_record_that_survives_or_none(bytes in around(FILE)) {
        if let Ok(record) = Record::parse(&bytes) {
            survives(&record)?;
        }
    }

    #[test]
    fn any_line_is_a_record_that_survives_or_none(bytes in around(LINE)) {
        let draft = std::str::from_utf8(&bytes).ok().and_then(|line| Draft::from_json(line).ok());
        if let Some(mut draft) = draft {
            draft.derive_id();
            if let Ok(record) = draft.finish() {
                survives(&record)?;
            }
        }
    }

    #[test]
    fn any_commit_message_says_the_same_twice(bytes in around(MESSAGE)) {
        if let Ok(trailers) = trailers(&String::from_utf8_lossy(&bytes)) {
            let resolve = |typed: &str| Id::normalise(typed).and_then(|id| id.parse());
            let said = || harvest(&trailers, &[], "A <a@b>", Time::from_seconds(7).unwrap(), &resolve).records;
            prop_assert_eq!(said(), said());
            said().iter().try_for_each(survives)?;
        }
    }

    #[test]
    fn any_line_of_a_push_is_taken_apart_without_loss(bytes in around(PUSH)) {
        for update in Update::read(&bytes[..], &|update: &Update| update.is_memory("refs/elf/memory")).unwrap() {
            let line = format!("{} {} {} {}", update.local_ref, update.local, update.remote_ref, update.remote);
            prop_assert_eq!(Update::parse(&line), Some(update));
        }
    }

    #[test]
    fn any_file_of_the_original_is_records_that_survive_or_none(bytes in around(OLD)) {
        for place in PLACES {
            for entry in legacy::entries_of(place, &bytes).unwrap_or_default() {
                if let Ok(record) = entry.finish(&[]) {
                    survives(&record)?;
                }
            }
        }
    }

    #[test]
    fn any_order_of_arrival_gives_the_index_that_a_rebuild_gives(
        records in crowd(),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 20),
        batches in proptest::collection::vec(1..5_usize, 20),
        gone in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let all: HashMap<_, _> = records.iter().map(|record| (record.id, record.clone())).collect();
        let mut rest: Vec<_> = records.iter().collect();
        let mut steps = Index::in_memory().unwrap();
        let mut at = order.iter().cycle();
        for size in batches.iter().cycle() {
            let mut some = Vec::new();
            while some.len() < *size && !rest.is_empty() {
                some.push(rest.swap_remove(at.next().unwrap().index(rest.len())));
            }
            if some.is_empty() {
                break;
            }
            apply(&mut steps, &all, &[], &some);
        }
        let mut at_once = Index::in_memory().unwrap();
        apply(&mut at_once, &all, &[], &records.iter().collect::<Vec<_>>());
        prop_assert_eq!(dumped(&steps), dumped(&at_once));
        // What goes leaves what was never there.
        let mut gone: Vec<_> = gone.iter().map(|at| at.index(records.len())).collect();
        gone.sort_unstable();
        gone.dedup();
        let removed: Vec<_> = gone.iter().map(|at| &records[*at]).collect();
        apply(&mut steps, &all, &removed, &[]);
        let mut without = Index::in_memory().unwrap();
        let left: Vec<_> = records.iter().filter(|record| removed.iter().all(|gone| gone.id != record.id)).collect();
        apply(&mut without, &all, &[], &left);
        prop_assert_eq!(dumped(&steps), dumped(&without));
    }

    #[test]
    fn any_error_text_has_one_fingerprint_or_none(near in around(ERROR), far in any::<String>()) {
        let roots = ["/repo".to_owned()];
        for text in [String::from_utf8_lossy(&near).into_owned(), far] {
            let found = fingerprint::of_error(&text, &roots);
            prop_assert!(found.as_deref().is_none_or(fingerprint::is_computed));
            prop_assert_eq!(&fingerprint::of_error(&text.replace('\n', "\r\n"), &roots), &found);
            if let Some(trace) = fingerprint::of_trace(&text, &roots) {
                prop_assert_eq!(Some(trace), found);
            }
            prop_assert!(excerpt::fenced(&text).len() <= text.len() * 2 + 200);
        }
    }

    #[test]
    fn any_search_is_no_error(typed in ".{0,200}", operators in "[-\"*()^:+{} a-zA-Z]{0,60}") {
        let index = Index::in_memory().unwrap();
        for typed in [typed, operators] {
            index.search(&typed, &Filter::default()).unwrap();
            index.search("x", &Filter { path: Some(typed), ..Filter::default() }).unwrap();
        }
    }
}

/// What was found once.
#[test]
fn found_before() {
    let file = |more: &str| FILE.replace("own = ", &format!("{more}\nown = "));
    for more in [
        "summary = \"s\"",
        "x = { \"$datetime\" = \"2026-01-01T00:00:00Z\" }",
        "x = { \"$table\" = { a = 1 } }",
        "x = 1.7976931348623157e308",
        "y = 0.1000000000000000055511151231257827",
    ] {
        survives(&Record::parse(file(more).as_bytes()).unwrap()).unwrap();
    }
    for ends in ["\r\r\n", "\r", "\r\n\r\n", "\n\r"] {
        survives(&Record::parse(FILE.replace("Text.\n", &format!("Text.{ends}")).as_bytes()).unwrap()).unwrap();
    }
    // A default that was not written is not added by an import.
    let record = Record::parse(FILE.replace("confidence = 0.85\n", "").as_bytes()).unwrap();
    survives(&record).unwrap();
    for reserved in ["golden", "score", "state", "body", "history"] {
        assert_eq!(Record::parse(file(&format!("{reserved} = 1")).as_bytes()).unwrap_err().field(), Some(reserved));
    }
    let deep = format!("{{\"kind\":\"failure\",\"title\":\"T\",\"x\":{}{}}}", "[".repeat(100), "]".repeat(100));
    assert_eq!(Draft::from_json(&deep).unwrap().finish().unwrap_err().field(), Some("x"));
    let words = "word ".repeat(5_000);
    for typed in [words.clone(), words.replace(' ', "* "), words.replace("word", "-word"), format!("\"{words}\"")] {
        Index::in_memory().unwrap().search(&typed, &Filter::default()).unwrap();
    }
}
