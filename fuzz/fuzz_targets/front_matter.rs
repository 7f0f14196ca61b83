//! Any bytes as a record's file: what is accepted has one text, survives export and import, and stands where its id says.
#![no_main]

use git_elf::record::{Draft, Record};
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::parse(bytes) else { return };
    let text = record.to_text();
    // A file of another layout may grow beyond the limit when it is written again; nobody writes it again.
    if record.check_size().is_err() {
        return;
    }
    let again = Record::parse(text.as_bytes()).expect("what was written is read");
    assert_eq!(again.to_text(), text);
    assert!(record.path().starts_with(&Record::leaf(record.kind, record.id)));
    let line = Json::Object(record.to_json()).to_string();
    let imported = Draft::from_json(&line).and_then(Draft::finish).expect("what was exported is imported");
    assert_eq!(imported.to_text(), text);
});
