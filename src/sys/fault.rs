//! Crash points and a journal of file operations, for the tests.
//!
//! `ELF_FAULT=NAME` kills the process at the named point, `ELF_FAULT=NAME:N` at its N-th passage; `ELF_FAULT=NAME:stop` stops
//! it there until it is continued. `ELF_FAULT_JOURNAL=FILE` appends one line for each file operation, from which a test
//! rebuilds what a power cut would have left.
//! `ELF_FAULT_FS=network` makes every directory look as if it were on a network file system.

#[cfg(feature = "fault")]
mod on {
    use std::collections::HashMap;
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::sync::{LazyLock, Mutex};

    static PASSED: LazyLock<Mutex<HashMap<&'static str, u32>>> = LazyLock::new(Mutex::default);

    /// Kills or stops the process when `ELF_FAULT` names this point.
    pub fn point(name: &'static str) {
        let Ok(wanted) = std::env::var("ELF_FAULT") else { return };
        let (wanted, nth) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        if wanted != name {
            return;
        }
        let (nth, signal) =
            if nth == "stop" { ("1", rustix::process::Signal::STOP) } else { (nth, rustix::process::Signal::KILL) };
        let mut passed = PASSED.lock().expect("no thread panics while counting");
        let count = passed.entry(name).or_insert(0);
        *count += 1;
        if nth.parse() == Ok(*count) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
        }
    }

    /// Tells whether directories are to look as if they were on a network file system.
    pub fn is_network() -> bool {
        std::env::var_os("ELF_FAULT_FS").is_some_and(|name| name == "network")
    }

    /// Appends one operation; `content` is what an inode holds when it is flushed.
    pub fn journal(op: &str, ino: u64, paths: &[&std::path::Path], content: Option<&[u8]>) {
        let Ok(journal) = std::env::var("ELF_FAULT_JOURNAL") else { return };
        let mut line = format!("{op}\t{ino}");
        for path in paths {
            let _ = write!(line, "\t{}", path.display());
        }
        if let Some(bytes) = content {
            line.push('\t');
            for byte in bytes {
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(journal) {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

#[cfg(feature = "fault")]
pub use on::{is_network, journal, point};

/// Does nothing: the journal exists in test builds only.
#[cfg(not(feature = "fault"))]
pub fn journal(_op: &str, _ino: u64, _paths: &[&std::path::Path], _content: Option<&[u8]>) {}
