//! Kinds of failure, their exit codes, and what to do next.
//!
//! Every room below `cli` returns [`Error`]. It names the thing and the reason; [`Error::hint`] names the next command to
//! run and never spells out a destructive one.
//!
//! [`Error`]: crate::error::Error
//! [`Error::hint`]: crate::error::Error::hint

use std::io;

/// The result of every fallible function in the rooms below `cli`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what did not happen and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value outside what a field allows; nothing was written.
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },

    /// What looks like a secret; nothing was written. It is never repeated.
    #[error("looks like a secret: {places}; not recorded")]
    Secret { field: String, rule: &'static str, places: String },

    /// No repository at the place asked for, or one that git itself would not open.
    #[error("{reason}")]
    NotARepository { reason: String },

    /// git does not know who the user is.
    #[error("git does not know who you are: {missing} is not set")]
    NoIdentity { missing: &'static str },

    /// An operation this program declines, with the way out.
    #[error("{what}")]
    Refused { what: String, hint: String },

    /// The ledger's branch is in use; what is queued is committed when it no longer is.
    #[error("{what}")]
    Deferred { what: String },

    /// No record with this id or prefix.
    #[error("no record has the id {id}")]
    NotFound { id: String },

    /// A prefix that several records share.
    #[error("id {prefix} is ambiguous: {}", candidates.join(", "))]
    Ambiguous { prefix: String, candidates: Vec<String> },

    /// The repository lock stayed taken until the deadline.
    #[error("the lock stayed taken for {waited_ms} ms by {holder}")]
    LockTaken { holder: String, waited_ms: u128 },

    /// git could not sign a commit of the ledger; nothing was committed.
    #[error("signing failed: {reason}")]
    Signing { reason: String },

    /// Somebody else holds git's own lock on the ledger's ref.
    #[error("{path} exists: another git process is updating the ref, or one died there")]
    RefLocked { path: String },

    /// A check found something that the user has to look at.
    #[error("{what}")]
    Problems { what: String },

    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },

    /// libgit2 refused.
    #[error("cannot {doing}: {}", source.message())]
    Git {
        doing: String,
        #[source]
        source: git2::Error,
    },

    /// An object that a partial clone left with its remote; it is neither lost nor torn.
    #[error("the object {oid} of {name} is not here: this is a partial clone, and {remote} should have it")]
    Promised { oid: String, name: String, remote: String },

    /// The SQLite index refused; the ledger is not affected.
    #[error("index: cannot {doing}: {}", sqlite_message(source))]
    Sql {
        doing: String,
        #[source]
        source: rusqlite::Error,
    },
}

impl Error {
    /// Builds a field error; `problem` states the value and the limit.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// Returns the process exit status: 1 it did not happen, 2 invalid input, 3 a check found problems, 4 lock taken.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid { .. } | Self::Secret { .. } | Self::NotFound { .. } | Self::Ambiguous { .. } => 2,
            Self::Problems { .. } => 3,
            Self::LockTaken { .. } => 4,
            _ => 1,
        }
    }

    /// Names the field at fault, where one is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } | Self::Secret { field, .. } => Some(field),
            Self::NotFound { .. } | Self::Ambiguous { .. } => Some("id"),
            _ => None,
        }
    }

    /// Says what to run or change next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotARepository { .. } => "run this inside a git repository, or make one with `git init`".into(),
            Self::NoIdentity { missing } => format!("git config --global {missing} \"…\""),
            Self::Refused { hint, .. } if !hint.is_empty() => hint.clone(),
            Self::Deferred { .. } => "the records wait; the next git elf command after it commits them".into(),
            Self::Signing { .. } => {
                "git elf doctor says more; git -c commit.gpgSign=false elf list commits what waits without a signature"
                    .into()
            }
            Self::Secret { rule, .. } => {
                format!(
                    "take it out; when it is none: --allow-secret {rule}, or git config --add elf.allowSecret {rule}"
                )
            }
            Self::NotFound { .. } => "git elf list shows what there is; git elf search WORDS finds it".into(),
            Self::Ambiguous { .. } => "give more characters of the id".into(),
            Self::Promised { name, remote, .. } => format!("git fetch --refetch --no-filter {remote} {name}"),
            Self::LockTaken { .. } => {
                "try again when the holder is done; git config elf.lockTimeout SECONDS waits longer".into()
            }
            Self::RefLocked { .. } => {
                "git elf locks says whether a process that died left it; queued records are kept".into()
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space and run the command again".into()
            }
            Self::Git { source, .. } if source.code() == git2::ErrorCode::Owner => {
                "git config --global --add safe.directory PATH, if you trust the owner".into()
            }
            _ => return None,
        })
    }

    /// Tells whether the operating system refused because of permissions or a read-only file system.
    pub fn is_unwritable(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem))
    }
}

/// Says what SQLite said, without the statement.
fn sqlite_message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// Adds "cannot …" to the errors of libraries.
pub trait Doing<T> {
    /// Wraps the error with what was being done.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: what(), source })
    }
}

impl<T> Doing<T> for std::result::Result<T, rustix::io::Errno> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::Io { doing: what(), source: errno.into() })
    }
}

impl<T> Doing<T> for std::result::Result<T, git2::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Git { doing: what(), source })
    }
}

impl<T> Doing<T> for std::result::Result<T, rusqlite::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Sql { doing: what(), source })
    }
}
