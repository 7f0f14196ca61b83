//! Real lessons: what goes in comes out and is found again. Skips visibly where the corpus is not there.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::support::Sandbox;

/// Lessons that the test takes; `benches/ratios.rs` takes all.
const SLICE: usize = 3_000;
const PHRASES: usize = 200;

pub fn corpus(limit: usize) -> Option<Vec<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/lessons.jsonl.gz");
    let Ok(file) = File::open(&path) else {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    };
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    Some(lines.take(limit).map(Result::unwrap).collect())
}

/// Splits into words as people see them.
fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

#[test]
fn lessons_are_imported_listed_and_found_by_phrases() {
    let Some(lines) = corpus(SLICE) else { return };
    let sandbox = Sandbox::new();
    let file = sandbox.root().join("lessons.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let import = || sandbox.elf(["import", "--from", "jsonl", file.to_str().unwrap()]).ok().out;
    assert_eq!(import(), format!("imported {} , already there 0, rejected 0\n", lines.len()).replace(" ,", ","));
    assert_eq!(import(), format!("imported 0, already there {}, rejected 0\n", lines.len()));
    sandbox.git(["fsck", "--strict"]).ok();
    sandbox.elf(["check"]).ok();

    let rows = sandbox.elf(["list", "--json"]).ok().json();
    let mut titles: Vec<_> = rows.iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect();
    let lessons: Vec<Json> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut expected: Vec<_> = lessons.iter().map(|lesson| lesson["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    expected.sort();
    assert_eq!(titles, expected);
    let created: HashSet<_> = rows
        .iter()
        .map(|row| row["created"].as_str().unwrap().parse::<git_elf::record::Time>().unwrap().micros())
        .collect();
    for lesson in &lessons {
        let time: git_elf::record::Time = lesson["created"].as_str().unwrap().parse().unwrap();
        assert!(created.contains(&time.micros()), "created is kept: {time}");
    }

    // Phrases of three words that occur in at most ten records; each must lead back to its record.
    let mut seen: HashMap<[String; 3], HashSet<usize>> = HashMap::new();
    for (i, lesson) in lessons.iter().enumerate() {
        for window in words(lesson["summary"].as_str().unwrap()).windows(3) {
            seen.entry([0, 1, 2].map(|j| window[j].to_lowercase())).or_default().insert(i);
        }
    }
    let mut phrases: Vec<_> = seen.into_iter().filter(|(_, records)| records.len() <= 10).collect();
    phrases.sort_by(|a, b| a.0.cmp(&b.0));
    let step = (phrases.len() / PHRASES).max(1);
    for (phrase, records) in phrases.iter().step_by(step).take(PHRASES) {
        let query = format!("\"{}\"", phrase.join(" "));
        let found = sandbox.elf(["search", "--json", &query]).ok().json();
        let titles: HashSet<_> = found.iter().map(|row| row["title"].as_str().unwrap()).collect();
        for record in records {
            assert!(titles.contains(lessons[*record]["title"].as_str().unwrap()), "{query} finds record {record}");
        }
    }
}
