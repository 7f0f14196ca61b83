//! All integration tests, one binary. `architecture` fails when a file beside this one is missing from the list.

#![allow(clippy::disallowed_methods, reason = "tests lay out files that nobody else reads meanwhile")]

mod architecture;
mod corpus;
mod first_use;
mod support;
mod verbs;
