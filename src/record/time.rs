//! Instants, RFC 3339 in UTC, to the microsecond.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::field::quoted;
use crate::error::{Error, Result};

/// An instant in UTC with microsecond precision.
///
/// Microseconds, because events of one record are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Timestamp);

impl Time {
    /// Reads the system clock.
    pub fn now() -> Self {
        Self::from_micros(Timestamp::now().as_microsecond()).expect("the clock is within the years -9999 to 9999")
    }

    /// Returns the microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0.as_microsecond()
    }

    /// Builds an instant from microseconds since 1970; `None` outside the years -9999 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        Timestamp::from_microsecond(micros).ok().map(Self)
    }

    /// Builds an instant from seconds since 1970; `None` outside the years -9999 to 9999.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        Timestamp::from_second(seconds).ok().map(Self)
    }

    /// Returns the earliest instant after this one that the format can tell apart.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(SignedDuration::from_micros(1)).unwrap_or(self.0))
    }
}

impl FromStr for Time {
    type Err = Error;

    /// Accepts RFC 3339 with any offset; digits below a microsecond are rejected rather than dropped.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid("created", format!("{} {why}", quoted(text)));
        let time: Timestamp = text.parse().map_err(|_| bad("is no RFC 3339 time such as 2026-01-31T12:00:00Z"))?;
        if time.subsec_nanosecond() % 1000 != 0 {
            return Err(bad("has digits below a microsecond"));
        }
        Ok(Self(time))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
