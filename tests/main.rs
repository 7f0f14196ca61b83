//! All integration tests, one binary. `architecture` fails when a file beside this one is missing from the list.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive a power cut")]
#![allow(
    clippy::unused_self,
    clippy::type_complexity,
    clippy::cloned_ref_to_slice_refs,
    reason = "tables and one-line helpers read better"
)]

mod architecture;
mod campaign;
mod concurrency;
mod corpus;
mod docs;
mod doctor;
mod faults;
mod first_use;
mod healing;
mod hooks;
mod install;
mod locks;
mod power_cut;
mod secrets;
mod signing;
mod support;
mod titles;
mod torture;
mod verbs;
