//! What a record is: kinds, ids, limits, the file format, and how events change what is known. Pure: no I/O.
//!
//! A record is one immutable markdown file. A [`Draft`] is what somebody asks to be written; [`Draft::finish`] is the only
//! way from a draft to a [`Record`], and it rejects whatever is out of range with the field, the value and the limit.
//! Everything that changes later is an event, itself a record; [`fold`] computes the present state from both.
//!
//! [`Draft`]: crate::record::Draft
//! [`Draft::finish`]: crate::record::Draft::finish
//! [`Record`]: crate::record::Record
//! [`fold`]: crate::record::fold

mod draft;
pub mod excerpt;
pub mod field;
pub mod fingerprint;
mod fold;
mod front_matter;
mod id;
mod json;
mod kind;
pub mod secret;
pub mod sighting;
mod time;
mod trace;
mod trailer;

pub use draft::{Draft, typed_value};
pub use fold::{Folded, Lifecycle, PRIOR_WEIGHT, edited, fold, live_events};
pub use front_matter::Record;
pub use id::Id;
pub use json::{json_of_toml, toml_of_json};
pub use kind::{Key, Kind, Shape, Verb};
pub use time::Time;
pub use trailer::{Harvest, WITHDRAWN, amended, harvest, trailers};
