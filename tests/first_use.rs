//! What a newcomer does in the first minute.

use crate::support::Sandbox;

#[test]
fn recording_needs_no_set_up_and_is_found_again() {
    let sandbox = Sandbox::new();
    let ran =
        sandbox.elf(["record", "failure", "WAL grew", "-m", "No checkpoint.", "--domain", "DB", "--tags", "a,b"]).ok();
    let id = ran.line().to_owned();
    assert_eq!(id.len(), 16, "stdout is the id alone: {}", ran.out);
    assert!(ran.err.contains("git show refs/elf/memory:failures/"), "how to read it with plain git: {}", ran.err);
    let found = sandbox.elf(["search", "--json", "checkpoint"]).ok().json();
    assert_eq!((found[0]["id"].as_str(), found[0]["domain"].as_str()), (Some(id.as_str()), Some("db")));
    assert!(found[0]["score"].as_f64().unwrap() > 0.0);
    sandbox.git(["fsck", "--strict"]).ok();
}

#[test]
fn a_question_leaves_no_trace_in_a_repository_without_a_memory() {
    let sandbox = Sandbox::new();
    for args in
        [vec!["list"], vec!["search", "x"], vec!["stats"], vec!["log"], vec!["check"], vec!["doctor"], vec!["export"]]
    {
        sandbox.elf(args).ok();
    }
    assert!(!sandbox.elf_dir().exists());
}
