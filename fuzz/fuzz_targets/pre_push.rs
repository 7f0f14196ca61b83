//! Any bytes as what git writes to a pre-push hook: a line is taken apart without loss, or it is none.
#![no_main]

use git_elf::store::Update;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for update in Update::read(bytes, &|update| update.is_memory("refs/elf/memory")).expect("reading from memory does not fail") {
        assert!(update.is_memory("refs/elf/memory"));
        let line = format!("{} {} {} {}", update.local_ref, update.local, update.remote_ref, update.remote);
        assert_eq!(Update::parse(&line), Some(update));
    }
});
