//! Any error text: it has one fingerprint or none, whatever its line ends are, and a body that quotes its trace has the same.
#![no_main]

use git_elf::record::{excerpt, fingerprint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let roots = ["/repo".to_owned()];
    let found = fingerprint::of_error(&text, &roots);
    assert!(found.as_deref().is_none_or(fingerprint::is_computed));
    assert_eq!(fingerprint::of_error(&text.replace('\n', "\r\n"), &roots), found);
    if let Some(trace) = fingerprint::of_trace(&text, &roots) {
        assert_eq!(Some(trace), found);
    }
    excerpt::fenced(&text);
});
