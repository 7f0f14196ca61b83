//! What people type finds what they mean, in an order that explains itself, and is never an error.

use git_elf::index::{Filter, Index, Stamp};
use git_elf::record::Draft;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};

use crate::support::Sandbox;

/// Makes an index in memory of records that are given as title, body and other keys.
fn index(records: &[(&str, &str, Json)]) -> Index {
    let mut index = Index::in_memory().unwrap();
    let mut batch = index.begin_in_memory().unwrap();
    for (title, body, more) in records {
        let mut line = json!({"kind": "failure", "title": title, "body": body, "created": "2026-01-01T00:00:00Z"});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let record = Draft::from_json(&line.to_string()).unwrap().finish().unwrap();
        batch.put(&format!("{}.md", record.id), "0", record).unwrap();
    }
    batch.commit(&Stamp::default()).unwrap();
    index
}

fn found(index: &Index, typed: &str) -> Vec<String> {
    let rows = index.search(typed, &Filter { limit: Some(20), ..Filter::default() }).unwrap();
    rows.iter().map(|row| row.text("title").to_owned()).collect()
}

#[test]
fn words_are_found_in_another_form_mistyped_and_inside_identifiers() {
    let index = index(&[
        ("one", "The parser reads parseHTTPRequest twice", json!({})),
        ("two", "Merging a branch kept stale conflicts", json!({})),
        ("three", "A crème brûlée in the checkpoint", json!({})),
        ("four", "get_user_name returns null", json!({})),
        ("five", "zebras", json!({})),
    ]);
    for (typed, titles) in [
        ("parseHTTPRequest", &["one"][..]),
        ("http request", &["one"]),
        ("parse_http_request", &["one"]),
        ("httprequest", &[]),
        ("merged conflict", &["two"]),
        ("merges conflicted", &["two"]),
        ("chekpoint", &["three"]),
        ("checkpiont creme", &["three"]),
        ("CRÈME brulee", &["three"]),
        ("getUserName", &["four"]),
        ("user_name", &["four"]),
        ("\"zebra\"", &[]),
        ("zebra -zebras", &[]),
        ("zebra", &["five"]),
        ("zeb*", &["five"]),
        ("zebras nowhere", &["five"]),
    ] {
        assert_eq!(found(&index, typed), titles, "{typed}");
    }
}

/// What is known beside the text orders equals, and lifts nothing over a record that says more of what was asked for.
#[test]
fn the_order_follows_the_text_first_and_then_what_is_known() {
    let filler = "and many other words that nobody asked for ".repeat(3);
    let index = index(&[
        ("plain", "the walrus sleeps", json!({})),
        ("in its domain", "the walrus sleeps", json!({"domain": "walrus"})),
        ("on its path", "the walrus sleeps", json!({"paths": ["src/walrus.rs"]})),
        ("another form", "walruses sleep", json!({"domain": "x"})),
        ("about it", &format!("walrus {filler}"), json!({})),
        ("walrus walrus", "walrus sleeps walrus", json!({})),
    ]);
    let titles = found(&index, "walrus sleeps");
    assert_eq!(titles[0], "walrus walrus", "{titles:?}");
    assert_eq!(titles[1], "in its domain", "{titles:?}");
    assert_eq!(titles[2..4], ["on its path", "plain"], "{titles:?}");
    assert_eq!(titles[4..], ["another form"], "all words occur, or forms of them: {titles:?}");
}

#[test]
fn evidence_and_a_golden_rule_come_before_their_equals() {
    let sandbox = Sandbox::new();
    let record = || sandbox.elf(["record", "heuristic", "otters hold hands"]).ok().line().to_owned();
    let ids = [record(), record(), record()];
    sandbox.elf(["validate", &ids[0]]).ok();
    sandbox.elf(["violate", &ids[1]]).ok();
    let rows = sandbox.elf(["search", "--json", "--explain", "otters"]).ok().json();
    let order: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(order, [&ids[0], &ids[2], &ids[1]]);
    // The score is the sum that is shown.
    for row in &rows {
        let part = |name: &str| row["explain"][name].as_f64().unwrap();
        let shares: f64 =
            ["typed", "domain", "path", "evidence", "golden", "recency", "scope"].iter().map(|name| part(name)).sum();
        let sum = part("text") * part("coverage").powi(4) * part("focus") * (1.0 + shares);
        assert!((sum - row["score"].as_f64().unwrap()).abs() < 1e-4, "{row}");
    }
    sandbox.elf(["promote", &ids[1]]).ok();
    sandbox.elf(["promote", &ids[1]]).ok();
    let text = sandbox.elf(["search", "--explain", "otter"]).ok().out;
    for says in ["otter as otters, weight 0.7", "share of the query", "evidence", "golden", "recency", "score"] {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
    assert!(sandbox.elf(["search", "--json", "otters"]).ok().json()[0]["explain"].is_null());
}

/// A search box takes what is pasted into it.
#[test]
fn a_thousand_random_queries_are_no_errors() {
    let index =
        index(&[("lock", "the index.lock is stale: parseHTTPRequest", json!({"domain": "git", "tags": ["a b"]}))]);
    let mut runner = TestRunner::deterministic();
    let anything =
        proptest::collection::vec(any::<char>(), 0..=60).prop_map(|chars| chars.into_iter().collect::<String>());
    let typed = prop_oneof![
        anything,
        "[ -~]{0,80}",
        "[-\"*()^:+{}~ a-zA-Z]{0,60}",
        "(-?\"?(lock|stael|INDEX|parseHttp|a_b|AND|OR|NOT|NEAR)[*\" ]{0,3}){0,8}",
        "[a\\u{300}-\\u{36f}\\u{200b}-\\u{200f}\\u{5d0}-\\u{5ea}\\u{900}-\\u{97f}\\x00\\n\" ]{0,40}",
    ];
    for _ in 0..1000 {
        let typed = typed.new_tree(&mut runner).unwrap().current();
        index.search(&typed, &Filter::default()).unwrap_or_else(|error| panic!("{typed:?}: {error:?}"));
    }
}
