//! Damage to the index: the answers stay right, and nothing is lost, since the ledger is the truth.
//!
//! SQLite notices a changed byte only where it breaks the structure of a page. What changes the file leaves a trace in its times,
//! which the index compares with what it noted; what does not (decay of the medium) is for `git elf check`, which compares
//! every row with the ledger.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::Memory;

const RECORDS: usize = 60;

/// A memory whose records have a word in common and one of their own.
fn filled(wal_limit: &str) -> Memory {
    let mut memory = Memory::new();
    memory.sandbox.git(["config", "elf.walLimit", wal_limit]).ok();
    let line = |i: usize| {
        format!(
            "{{\"kind\":\"failure\",\"title\":\"Title {i:02} common\",\"summary\":\"Body of own{i:02}, again common.\"}}\n"
        )
    };
    let input: String = (0..RECORDS).map(line).collect();
    assert_eq!(memory.sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &input).status, 0);
    memory.record(&[]);
    memory.sandbox.elf(["check"]).ok();
    memory
}

impl Memory {
    fn file(&self, suffix: &str) -> PathBuf {
        self.sandbox.elf_dir().join(format!("index.{suffix}"))
    }

    /// Asks for everything there is to know; rows in the order of ids, without scores.
    fn answers(&self) -> Result<Vec<Vec<Json>>, String> {
        let mut answers = Vec::new();
        for args in [
            &["list", "--json"][..],
            &["search", "common", "--limit", "1000", "--json"],
            &["search", "own17", "--json"],
            &["list", "--kind", "failure", "--json"],
        ] {
            let ran = self.sandbox.elf(args);
            if ran.status != 0 {
                return Err(format!("{args:?}: {ran:?}"));
            }
            let mut rows = ran.json();
            for row in &mut rows {
                row.as_object_mut().unwrap().remove("score");
            }
            rows.sort_by_key(|row| row["id"].to_string());
            answers.push(rows);
        }
        Ok(answers)
    }

    /// Fails unless every answer is the expected one.
    #[track_caller]
    fn answers_are(&self, expected: &[Vec<Json>], doing: &str) {
        match self.answers() {
            Ok(answers) => {
                for (answer, expected) in answers.iter().zip(expected) {
                    let wrong = expected.iter().filter(|row| !answer.contains(row)).count();
                    assert!(answer == expected, "{wrong} of {} rows are wrong after {doing}", expected.len());
                }
            }
            Err(error) => panic!("no answer after {doing}: {error}"),
        }
    }
}

fn flip(path: &std::path::Path, random: &mut fastrand::Rng) -> String {
    let mut bytes = fs::read(path).unwrap();
    let at = random.usize(..bytes.len());
    let bit = random.u8(..8);
    bytes[at] ^= 1 << bit;
    // In place, as a stray program would: another inode would be noticed more easily.
    fs::write(path, bytes).unwrap();
    format!("bit {bit} of byte {at}")
}

fn damage(wal_limit: &str, suffix: &str, count: usize) {
    let mut memory = filled(wal_limit);
    let expected = memory.answers().unwrap();
    assert_eq!(expected[1].len(), RECORDS);
    let mut random = fastrand::Rng::with_seed(0xDA7A);
    for nth in 0..count {
        let path = memory.file(suffix);
        let size = fs::metadata(&path).unwrap().len();
        assert!(size > 50_000, "index.{suffix} has only {size} bytes: there is nothing to damage");
        let what = if nth % 4 == 3 {
            let at = random.u64(..size);
            fs::File::options().write(true).open(&path).unwrap().set_len(at).unwrap();
            format!("index.{suffix} cut to {at} of {size} bytes")
        } else {
            format!("index.{suffix}, {}", flip(&path, &mut random))
        };
        memory.figures.faults += 1;
        memory.answers_are(&expected, &what);
        // Something to write, so that the log has content again, or the database.
        if nth % 10 == 9 || fs::metadata(&path).map_or(0, |meta| meta.len()) <= 50_000 {
            memory.sandbox.elf(["check", "--fix"]).ok();
            fs::remove_file(memory.file("db")).unwrap();
            memory.answers_are(&expected, "a removed index.db");
        }
    }
    memory.settle("all damage");
    memory.sandbox.elf(["check"]).ok();
    memory.figures.print(&format!("index.{suffix}"), memory.acknowledged.len());
}

#[test]
fn a_damaged_database_never_gives_a_wrong_answer() {
    damage("1", "db", 60);
}

#[test]
fn a_damaged_log_never_gives_a_wrong_answer() {
    damage("100m", "db-wal", 60);
}

#[test]
#[ignore = "two minutes: 200 offsets each"]
fn long_damage_of_the_index() {
    damage("1", "db", 200);
    damage("100m", "db-wal", 200);
    decay(200);
}

/// Decay changes no times, so it is staged by noting the damaged file as ours.
fn decay(count: usize) {
    let memory = filled("1");
    let expected = memory.answers().unwrap();
    let mut random = fastrand::Rng::with_seed(0xDECA);
    let (mut wrong, mut refused) = (0, 0);
    for _ in 0..count {
        let path = memory.file("db");
        let what = flip(&path, &mut random);
        let meta = fs::metadata(&path).unwrap();
        let note = format!(
            "{} {} {}.{:09} {}.{:09}",
            meta.ino(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec()
        );
        fs::write(memory.file("seal"), format!("{note:<119}\n")).unwrap();
        match memory.answers() {
            Ok(answers) => wrong += usize::from(answers != expected),
            Err(_) => refused += 1,
        }
        let fixed = memory.sandbox.elf(["check", "--fix"]);
        assert_eq!(fixed.status, 0, "check --fix after decay in {what}: {fixed:?}");
        memory.answers_are(&expected, &format!("check --fix after decay in {what}"));
    }
    eprintln!(
        "CAMPAIGN decay of the medium: {count} bits, {wrong} wrong answers, {refused} refused, 0 after check --fix"
    );
}

#[test]
fn decay_of_the_medium_is_mended_by_check() {
    decay(40);
}

#[test]
fn a_removed_log_loses_nothing() {
    for wal_limit in ["1", "100m"] {
        let mut memory = filled(wal_limit);
        memory.record(&[]);
        let expected = memory.answers().unwrap();
        fs::remove_file(memory.file("db-wal")).unwrap();
        memory.answers_are(&expected, "a removed log");
        memory.settle("a removed log");
    }
}

#[test]
fn a_directory_a_link_or_a_stranger_in_place_of_the_index_is_never_followed_or_written() {
    for suffix in ["db", "db-wal", "db-shm", "seal"] {
        let mut memory = filled("1");
        let expected = memory.answers().unwrap();
        let path = memory.file(suffix);
        let remove = || {
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(&path).unwrap();
            } else {
                drop(fs::remove_file(&path));
            }
        };
        remove();
        fs::create_dir(&path).unwrap();
        memory.answers_are(&expected, &format!("a directory in place of index.{suffix}"));

        let target = memory.sandbox.root().join("somebody's.db");
        let own = rusqlite::Connection::open(&target).unwrap();
        own.execute_batch("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)").unwrap();
        drop(own);
        let before = (fs::read(&target).unwrap(), fs::metadata(&target).unwrap().mtime_nsec());
        remove();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        memory.answers_are(&expected, &format!("a link in place of index.{suffix}"));
        memory.record(&[]);
        memory.sandbox.elf(["check", "--fix"]).ok();
        let after = (fs::read(&target).unwrap(), fs::metadata(&target).unwrap().mtime_nsec());
        assert!(before == after, "the file behind index.{suffix} was written");

        let expected = memory.answers().unwrap();
        remove();
        fs::copy(&target, &path).unwrap();
        memory.answers_are(&expected, &format!("a foreign database in place of index.{suffix}"));
        memory.settle(&format!("strangers in place of index.{suffix}"));
        memory.sandbox.elf(["check"]).ok();
    }
}
