//! One bad spool entry among good ones: it must not keep anybody's lesson from the ledger.

use std::fs;
use std::path::PathBuf;

use super::{Memory, no_strace};
use crate::support::Ran;

/// Queues 30 lessons and returns the path of the tenth.
fn queued(memory: &mut Memory) -> PathBuf {
    memory.record(&[]);
    for _ in 0..30 {
        memory.record(&["--no-wait"]);
    }
    let mut names = memory.waiting();
    names.sort();
    assert_eq!(names.len(), 30);
    memory.sandbox.elf_dir().join("spool").join(&names[9])
}

fn id_of(path: &std::path::Path) -> String {
    path.file_name().unwrap().to_str().unwrap()[..16].to_owned()
}

/// Fails unless the drain named the entry and committed the 29 others.
#[track_caller]
fn others_are_committed(memory: &mut Memory, bad: &std::path::Path, drained: &Ran) {
    let name = bad.file_name().unwrap().to_str().unwrap();
    assert!(drained.err.contains(name), "the bad entry is not named: {drained:?}");
    memory.acknowledged.remove(&id_of(bad));
    let tree = memory.sandbox.tree().join("\n");
    let missing: Vec<_> = memory.acknowledged.keys().filter(|id| !tree.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "one bad entry kept {missing:?} from the ledger");
}

#[test]
fn a_malformed_entry_is_put_aside_and_named_and_the_others_are_committed() {
    for text in ["", "+++\nid = \"half", "not a record at all\n"] {
        let mut memory = Memory::new();
        let bad = queued(&mut memory);
        fs::write(&bad, text).unwrap();
        let drained = memory.sandbox.elf(["record", "observation", "drains", "--json"]).ok();
        others_are_committed(&mut memory, &bad, &drained);
        let check = memory.sandbox.elf(["check"]).exits(3);
        assert!(check.out.contains(&id_of(&bad)), "check does not name the entry: {check:?}");
        let kept = memory.sandbox.elf_dir().join("spool/bad").join(bad.file_name().unwrap());
        assert_eq!(fs::read_to_string(&kept).unwrap(), text, "the entry was changed or deleted");
        fs::remove_file(kept).unwrap();
        memory.sandbox.elf(["check"]).ok();
        memory.settle("a malformed entry");
    }
}

#[test]
fn an_entry_that_cannot_be_read_stays_and_the_others_are_committed() {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    let bad = queued(&mut memory);
    let bad = bad.canonicalize().unwrap();
    let id = id_of(&bad);
    let options = ["-o", "/dev/null", "-P", bad.to_str().unwrap(), "-e", "inject=openat,statx:error=EIO"];
    let acknowledged = memory.acknowledged.clone();
    let drained = memory.sandbox.run(memory.traced(&options, &["record", "observation", "drains", "--json"])).ok();
    others_are_committed(&mut memory, &bad, &drained);
    assert!(drained.err.contains("Input/output error"), "the reason is not named: {drained:?}");
    let check = memory.sandbox.run(memory.traced(&options, &["check"])).exits(3);
    let text = format!("{}{}", check.out, check.err);
    assert!(text.contains(&id), "check does not name the entry: {check:?}");
    // The disk recovers: the entry was acknowledged as queued, and arrives.
    memory.acknowledged = acknowledged;
    memory.settle("an entry that could not be read for a while");
}

#[test]
fn a_directory_in_place_of_an_entry_is_put_aside_and_the_others_are_committed() {
    let mut memory = Memory::new();
    let bad = queued(&mut memory);
    fs::remove_file(&bad).unwrap();
    fs::create_dir(&bad).unwrap();
    let drained = memory.sandbox.elf(["record", "observation", "drains", "--json"]).ok();
    others_are_committed(&mut memory, &bad, &drained);
    let check = memory.sandbox.elf(["check"]).exits(3);
    assert!(check.out.contains(&id_of(&bad)), "check does not name it: {check:?}");
    fs::remove_dir(memory.sandbox.elf_dir().join("spool/bad").join(bad.file_name().unwrap())).unwrap();
    memory.settle("a directory in the spool");
}

#[test]
fn an_entry_whose_id_is_taken_is_put_aside_and_named_and_the_others_are_committed() {
    let mut memory = Memory::new();
    let bad = queued(&mut memory);
    // The same record with another body, under the name that its content asks for.
    let text = fs::read_to_string(&bad).unwrap().replace("A body.", "Another body.");
    let file = memory.sandbox.root().join("text");
    fs::write(&file, &text).unwrap();
    let blob = memory.sandbox.git(["hash-object", "--no-filters", file.to_str().unwrap()]).ok();
    let rival = bad.with_file_name(format!("{}-{}.md", id_of(&bad), blob.line()));
    fs::write(&rival, text).unwrap();
    let drained = memory.sandbox.elf(["record", "observation", "drains", "--json"]).ok();
    let tree = memory.sandbox.tree().join("\n");
    let missing: Vec<_> = memory.acknowledged.keys().filter(|id| !tree.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "an id that was taken kept {missing:?} from the ledger");
    assert!(drained.err.contains(&id_of(&bad)), "the id is not named: {drained:?}");
    let check = memory.sandbox.elf(["check"]).exits(3);
    assert!(check.out.contains(&id_of(&bad)), "check does not name it: {check:?}");
    assert_eq!(memory.waiting().len(), 1, "exactly one of the two is put aside");
}
