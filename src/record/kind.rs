//! The kinds of record, and what each says beyond the common keys.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// What sort of lesson a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Failure,
    Success,
    Heuristic,
    Decision,
    Assumption,
    Invariant,
    Spike,
    Experiment,
    Observation,
    Event,
}

/// Describes one key that belongs to a kind.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    /// Written when nothing is said; `None` leaves the key out.
    pub default: Option<&'static str>,
    pub required: bool,
}

/// Says which values a key takes.
#[derive(Debug)]
pub enum Shape {
    /// A whole number in a range, some of which have names.
    Level { min: i64, max: i64, names: &'static [(&'static str, i64)] },
    /// A number from 0 to 1, some of which have names.
    Fraction { names: &'static [(&'static str, f64)] },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// One line of at most this many characters.
    Line(usize),
    /// Text of at most this many characters.
    Text(usize),
    /// A record id.
    Id,
    /// Any TOML value: what a `sets` event writes.
    Any,
}

const fn key(name: &'static str, shape: Shape, default: Option<&'static str>) -> Key {
    Key { name, shape, default, required: false }
}

const fn required(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, default: None, required: true }
}

const CONFIDENCE: Key =
    key("confidence", Shape::Fraction { names: &[("low", 0.3), ("medium", 0.6), ("high", 0.85)] }, Some("0.7"));

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 10] = [
        Self::Failure,
        Self::Success,
        Self::Heuristic,
        Self::Decision,
        Self::Assumption,
        Self::Invariant,
        Self::Spike,
        Self::Experiment,
        Self::Observation,
        Self::Event,
    ];

    /// Returns the word used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Success => "success",
            Self::Heuristic => "heuristic",
            Self::Decision => "decision",
            Self::Assumption => "assumption",
            Self::Invariant => "invariant",
            Self::Spike => "spike",
            Self::Experiment => "experiment",
            Self::Observation => "observation",
            Self::Event => "event",
        }
    }

    /// Returns the directory of this kind in the ledger: the plural of its name.
    pub fn dir(self) -> &'static str {
        match self {
            Self::Failure => "failures",
            Self::Success => "successes",
            Self::Heuristic => "heuristics",
            Self::Decision => "decisions",
            Self::Assumption => "assumptions",
            Self::Invariant => "invariants",
            Self::Spike => "spikes",
            Self::Experiment => "experiments",
            Self::Observation => "observations",
            Self::Event => "events",
        }
    }

    /// Returns the kind whose directory this is.
    pub fn of_dir(dir: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.dir() == dir)
    }

    /// Returns the keys that this kind has beyond the common ones.
    pub fn keys(self) -> &'static [Key] {
        const FAILURE: &[Key] = &[key(
            "severity",
            Shape::Level { min: 1, max: 5, names: &[("low", 2), ("medium", 3), ("high", 4), ("critical", 5)] },
            Some("3"),
        )];
        const HEURISTIC: &[Key] =
            &[CONFIDENCE, key("source", Shape::Choice(&["failure", "success", "observation"]), None)];
        const DECISION: &[Key] =
            &[key("status", Shape::Choice(&["proposed", "accepted", "superseded"]), Some("accepted"))];
        const ASSUMPTION: &[Key] = &[
            CONFIDENCE,
            key("status", Shape::Choice(&["active", "verified", "challenged", "invalidated"]), Some("active")),
        ];
        const INVARIANT: &[Key] = &[
            key("scope", Shape::Choice(&["codebase", "module", "function", "runtime"]), Some("codebase")),
            key("severity", Shape::Choice(&["error", "warning", "info"]), Some("error")),
            key("check", Shape::Text(2000), None),
        ];
        const SPIKE: &[Key] = &[
            key("topic", Shape::Line(200), None),
            key("minutes", Shape::Level { min: 0, max: 1_000_000, names: &[] }, None),
        ];
        const EXPERIMENT: &[Key] =
            &[key("status", Shape::Choice(&["active", "succeeded", "failed", "abandoned"]), Some("active"))];
        const EVENT: &[Key] = &[
            required("target", Shape::Id),
            required("verb", Shape::Choice(&Verb::NAMES)),
            key("note", Shape::Text(2000), None),
            key("by", Shape::Id, None),
            key("key", Shape::Line(100), None),
            key("value", Shape::Any, None),
        ];
        match self {
            Self::Failure => FAILURE,
            Self::Heuristic => HEURISTIC,
            Self::Decision => DECISION,
            Self::Assumption => ASSUMPTION,
            Self::Invariant => INVARIANT,
            Self::Spike => SPIKE,
            Self::Experiment => EXPERIMENT,
            Self::Event => EVENT,
            Self::Success | Self::Observation => &[],
        }
    }

    /// Returns the description of one of this kind's own keys.
    pub fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().iter().find(|key| key.name == name)
    }

    /// Returns the headings that a body of this kind has.
    pub fn sections(self) -> &'static [&'static str] {
        match self {
            Self::Decision => &["Context", "Options", "Decision", "Rationale"],
            Self::Spike => &["Question", "Findings", "Gotchas", "Resources"],
            Self::Experiment => &["Hypothesis", "Criteria", "Result"],
            _ => &[],
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::invalid("kind", format!("{} is none of {}", super::field::quoted(text), names.join(", ")))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an event says about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// The lesson held.
    Validates,
    /// The rule failed: confidence falls.
    Violates,
    /// A rule was broken: accountability only.
    Breaches,
    /// The same thing was seen again.
    Sights,
    /// A heuristic becomes a golden rule.
    Promotes,
    /// A key, or the body, has a new value.
    Sets,
    /// The record no longer holds; with `by` it is superseded.
    Retracts,
}

impl Verb {
    /// The words, in the order of [`Verb::ALL`].
    pub const NAMES: [&'static str; 7] =
        ["validates", "violates", "breaches", "sights", "promotes", "sets", "retracts"];
    /// Every verb.
    pub const ALL: [Self; 7] =
        [Self::Validates, Self::Violates, Self::Breaches, Self::Sights, Self::Promotes, Self::Sets, Self::Retracts];

    /// Returns the word used in files.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl FromStr for Verb {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == text).ok_or_else(|| {
            Error::invalid("verb", format!("{} is none of {}", super::field::quoted(text), Self::NAMES.join(", ")))
        })
    }
}
