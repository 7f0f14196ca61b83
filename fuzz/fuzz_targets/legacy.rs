//! Any bytes, the first a digit that chooses one, as each of the original's markdown files: what is accepted can be read back from its file, with the same id.
#![no_main]

use git_elf::legacy;
use git_elf::record::Record;
use libfuzzer_sys::fuzz_target;

const PLACES: [&str; 5] =
    ["failures/20260102_a.md", "heuristics/db.md", "decisions/a.md", "spikes/2026-01-02-a.md", "golden-rules.md"];

fuzz_target!(|bytes: &[u8]| {
    let Some((place, bytes)) = bytes.split_first() else { return };
    let place = PLACES[usize::from(place.wrapping_sub(b'0')) % PLACES.len()];
    for entry in legacy::entries_of(place, bytes).unwrap_or_default() {
        let Ok(record) = entry.finish(&[]) else { continue };
        let text = record.to_text();
        let again = Record::parse(text.as_bytes()).expect("what was written is read");
        assert_eq!(again.to_text(), text);
        assert_eq!(entry.finish(&[]).expect("it was accepted before").id, record.id);
    }
});
