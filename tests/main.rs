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
mod corpus;
mod docs;
mod first_use;
mod hooks;
mod install;
mod support;
mod verbs;
