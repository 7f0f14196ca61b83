//! Hooks and git configuration.
