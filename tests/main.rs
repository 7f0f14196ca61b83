//! All integration tests, one binary. `architecture` fails when a file beside this one is missing from the list.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive a power cut")]
#![allow(
    clippy::unused_self,
    clippy::type_complexity,
    clippy::cloned_ref_to_slice_refs,
    clippy::format_collect,
    reason = "tables and one-line helpers read better"
)]

mod agents;
mod architecture;
mod campaign;
mod checked_out;
mod concurrency;
mod context;
mod corpus;
mod docs;
mod doctor;
mod evidence;
mod faults;
mod first_use;
mod healing;
mod hooks;
mod hostile;
mod in_tree;
mod install;
mod legacy;
mod locks;
mod managers;
mod mcp;
mod power_cut;
mod properties;
mod reach;
mod search;
mod secrets;
mod shapes;
mod sightings;
mod signing;
mod support;
mod titles;
mod torture;
mod unchanged;
mod verbs;
mod why;
