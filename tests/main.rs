//! All integration tests, one binary. `architecture` fails when a file beside this one is missing from the list.

mod architecture;
mod docs;
mod first_use;
mod install;
mod support;
