//! Anything typed as a search: never an error of SQLite.
#![no_main]

use std::sync::OnceLock;

use git_elf::index::{Filter, Index};
use git_elf::lock::LockFile;
use git_elf::record::{Draft, Kind};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static INDEX: OnceLock<Index> = const { OnceLock::new() };
}

/// Makes an index in memory with two records.
fn filled() -> Index {
    let dir = tempfile::tempdir().expect("a directory for the lock");
    let mut file = LockFile::open(dir.path()).expect("a lock");
    let lock = file.try_lock("fuzz").expect("a lock").expect("nobody else has it");
    let mut index = Index::in_memory().expect("memory");
    let mut batch = index.begin(&lock).expect("a transaction");
    for title in ["The WAL grew to 20 MB", "Don't hold the lock \"twice\""] {
        let mut draft = Draft::new(Kind::Failure, title);
        draft.body("checkpoint\non close");
        let record = draft.finish().expect("a record");
        batch.put(&record.path(), "0000", record).expect("a row");
    }
    let stamp = git_elf::index::Stamp::default();
    batch.commit(&stamp).expect("a commit");
    index
}

fuzz_target!(|bytes: &[u8]| {
    let typed = String::from_utf8_lossy(bytes);
    INDEX.with(|index| {
        let filter = Filter { path: Some(typed.to_string()), ..Filter::default() };
        let index = index.get_or_init(filled);
        index.search(&typed, &Filter::default()).expect("a search");
        index.search(&typed, &filter).expect("a search by path");
    });
});
