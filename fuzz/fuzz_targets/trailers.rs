//! Any commit message: what its trailers say is the same each time, and can be read back from its file.
#![no_main]

use git_elf::record::{Id, Record, Time, harvest, trailers};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let message = String::from_utf8_lossy(bytes);
    let Ok(trailers) = trailers(&message) else { return };
    let date = Time::from_seconds(1_700_000_000).expect("a time of this century");
    let resolve = |typed: &str| Id::normalise(typed).and_then(|id| id.parse());
    let said = || harvest(&trailers, &[], "A <a@example.org>", date, &resolve).records;
    let texts: Vec<_> = said().iter().map(Record::to_text).collect();
    assert_eq!(texts, said().iter().map(Record::to_text).collect::<Vec<_>>());
    for text in texts {
        assert_eq!(Record::parse(text.as_bytes()).expect("what was written is read").to_text(), text);
    }
});
