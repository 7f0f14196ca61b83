//! Institutional memory for a git repository.
//!
//! The rooms, low to high; a room imports only from rooms above it in this list (`tests/architecture.rs` proves it).
//! `src/mcp` is a second program, `git-elf-mcp`, behind the feature `mcp`; it runs `git-elf`.

/// Kinds of failure, exit codes, hints.
pub mod error;
/// Durable writes, temporary files, flushing; the only `unsafe`.
pub mod sys;
/// What a record is: kinds, ids, limits, file format, folding. Pure.
pub mod record;
/// Opens the repository or refuses; the common dir; who the user is.
pub mod repo;
/// git config, `.elf.toml` and defaults, resolved once.
pub mod config;
/// The repository lock and the proof of holding it.
pub mod lock;
/// One file for each record that is not yet durable in the ledger.
pub mod spool;
/// The truth: tree edits, commit, durable flush, ref.
pub mod ledger;
/// The cache: SQLite schema, writing, searching.
pub mod index;
/// A memory of the original system: its markdown and its database, as records.
pub mod legacy;
/// The one write path: record, drain, catch up, check; joins spool, ledger and index.
pub mod store;
/// Hooks and git configuration: put in, found again, taken out exactly.
pub mod install;
/// What is wrong around a memory, or could become so, and what to do about it.
pub mod doctor;
/// A stress test in a repository that is thrown away: a crowd of processes, and what plain git finds afterwards.
pub mod torture;
/// One file a verb; the only room that prints.
pub mod cli;
