//! Any bytes as a line of an import: what is accepted can be read back from its file, and imports again as itself.
#![no_main]

use git_elf::record::{Draft, Record};
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;

fuzz_target!(|bytes: &[u8]| {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    let Ok(mut draft) = Draft::from_json(line) else { return };
    draft.derive_id();
    let Ok(record) = draft.finish() else { return };
    let text = record.to_text();
    let again = Record::parse(text.as_bytes()).expect("what was written is read");
    assert_eq!(again.to_text(), text);
    let line = Json::Object(record.to_json()).to_string();
    let imported = Draft::from_json(&line).and_then(Draft::finish).expect("what was exported is imported");
    assert_eq!(imported.to_text(), text);
});
