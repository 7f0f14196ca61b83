//! Institutional memory for a git repository.
//!
//! The rooms, low to high; a room imports only from rooms above it in this list (`tests/architecture.rs` proves it).

/// Kinds of failure, exit codes, hints.
pub mod error;
/// What a record is: kinds, ids, limits, file format, folding. Pure.
pub mod record;
/// Durable writes, temporary files, flushing; the only `unsafe`.
pub mod sys;
