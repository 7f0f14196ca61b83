//! What is wrong around a memory, or could become so, and what to do about it.
//!
//! Each question is one function of a file below that returns findings; none of them changes anything, fails or waits. What
//! `git elf check` compares is not asked again here: [`examine`] is about the set-up, the machine and the state of the stores
//! as they are after a check.
//!
//! [`examine`]: crate::doctor::examine

mod machine;
mod memory;
mod setup;

pub use memory::unchecked;

use crate::error::Error;
use crate::store::Store;

/// How much a finding matters. Ordered: the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Looked at and found in order.
    Ok,
    /// Worth knowing.
    Info,
    /// Works, and may stop to.
    Warn,
    /// Needs the user.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What it is about, in one word.
    pub topic: &'static str,
    /// What was found, on one line.
    pub what: String,
    /// What to do, on one line; empty when there is nothing to do.
    pub next: String,
    /// Names, one a line.
    pub details: Vec<String>,
}

impl Level {
    /// Returns the word used in JSON and at the start of a line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    /// Builds a finding that needs somebody.
    pub fn new(level: Level, topic: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level, topic, what: what.into(), next: next.into(), details: Vec::new() }
    }

    /// Builds one about which there is nothing to do.
    pub fn ok(topic: &'static str, what: impl Into<String>) -> Self {
        Self::new(Level::Ok, topic, what, "")
    }

    /// Builds one about a question that could not be answered.
    pub fn failed(topic: &'static str, error: &Error) -> Self {
        let next = error.hint().unwrap_or_else(|| "mend that, then run git elf doctor again".into());
        Self::new(Level::Problem, topic, error.to_string(), next)
    }

    /// Adds names.
    #[must_use]
    pub fn with(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

/// Asks every question about a memory and what is around it.
pub fn examine(store: &Store) -> Vec<Finding> {
    [setup::findings(store), machine::findings(store), memory::findings(store)].concat()
}
