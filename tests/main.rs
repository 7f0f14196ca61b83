//! All integration tests, one binary. `architecture` fails when a file beside this one is missing from the list.

mod architecture;
mod concurrency;
mod faults;
mod first_use;
mod power_cut;
mod support;
mod titles;
