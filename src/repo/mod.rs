//! The repository git-elf works in: opened as git would, or refused.
//!
//! Everything of ours lives in `<common dir>/elf`, shared by all worktrees. The environment (`GIT_DIR`, `GIT_WORK_TREE`,
//! `GIT_CEILING_DIRECTORIES`, `GIT_CONFIG_GLOBAL` …) counts as it does for git.

mod ask;
mod main_line;
mod settings;
mod work;
mod worktree;

use std::path::{Path, PathBuf};
use std::process::Command;

use git2::{ObjectFormat, ObjectType, Oid, RepositoryOpenFlags};

pub use ask::Changed;
pub use main_line::MainLine;
pub use settings::Settings;
pub use work::WorkAtHand;
pub use worktree::Worktree;

use crate::error::{Doing, Error, Result};
use crate::sys::{self, Sharing};

/// Variables by which a caller of git sends objects or refs elsewhere.
const DETOURS: [&str; 2] = ["GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"];

/// An open repository and the directories that matter here.
pub struct Repo {
    git: git2::Repository,
    elf_dir: PathBuf,
}

/// Who the user is, as in a commit.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    pub email: String,
}

/// What HEAD was when a lesson was learned.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub commit: Option<String>,
    pub branch: Option<String>,
}

impl Repo {
    /// Opens the repository that git would use here.
    ///
    /// # Errors
    /// [`Error::NotARepository`] where git finds none; [`Error::Refused`] for formats that libgit2 cannot read.
    pub fn open() -> Result<Self> {
        sys::allow_extensions();
        Self::wrap(git2::Repository::open_from_env().and_then(without_detours))
    }

    /// Opens the repository at `path`, whatever the environment says.
    ///
    /// # Errors
    /// As [`Repo::open`].
    pub fn open_at(path: &Path) -> Result<Self> {
        sys::allow_extensions();
        Self::wrap(git2::Repository::open(path))
    }

    fn wrap(opened: std::result::Result<git2::Repository, git2::Error>) -> Result<Self> {
        let git = opened.map_err(refusal)?;
        obey(&git)?;
        // `.git` may be a link, and SQLite follows none of a path that must not lead elsewhere.
        let common = git.commondir();
        let elf_dir = common.canonicalize().unwrap_or_else(|_| common.to_owned()).join("elf");
        Ok(Self { git, elf_dir })
    }

    /// Returns libgit2's handle.
    pub fn git(&self) -> &git2::Repository {
        &self.git
    }

    /// Returns the directory shared by all worktrees: `.git` of the main one.
    pub fn common_dir(&self) -> &Path {
        self.git.commondir()
    }

    /// Returns `<common dir>/elf`, where lock, spool and index live.
    pub fn elf_dir(&self) -> &Path {
        &self.elf_dir
    }

    /// Creates our directory where it is missing.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn create_elf_dir(&self) -> Result<()> {
        sys::create_dir(&self.elf_dir).doing(|| format!("create {}", self.elf_dir.display()))
    }

    /// Returns the root of the working tree; `None` in a bare repository.
    pub fn workdir(&self) -> Option<&Path> {
        self.git.workdir()
    }

    /// Reads git's configuration.
    ///
    /// # Errors
    /// When a file of it cannot be read or parsed.
    pub fn settings(&self) -> Result<Settings> {
        Settings::load(&self.git)
    }

    /// Returns the user's identity as git would write it in a commit.
    ///
    /// # Errors
    /// [`Error::NoIdentity`] naming the setting that is missing.
    pub fn identity(&self) -> Result<Identity> {
        let settings = self.settings()?;
        let find = |variables: &[&str], keys: &[&str], missing: &'static str| {
            let env = variables.iter().find_map(|name| std::env::var(name).ok());
            env.or_else(|| keys.iter().find_map(|key| settings.get(key)))
                .map(|value| without_crud(&value))
                .filter(|value| !value.is_empty())
                .ok_or(Error::NoIdentity { missing })
        };
        Ok(Identity {
            name: find(&["GIT_AUTHOR_NAME"], &["author.name", "user.name"], "user.name")?,
            email: match find(&["GIT_AUTHOR_EMAIL"], &["author.email", "user.email"], "user.email") {
                Err(missing) => find(&["EMAIL"], &[], "user.email").map_err(|_| missing)?,
                found => found?,
            },
        })
    }

    /// Returns HEAD's commit and branch; both absent where they are not known, as on an unborn branch.
    pub fn head(&self) -> Head {
        let Ok(head) = self.git.head() else { return Head::default() };
        let branch = head.is_branch().then(|| head.shorthand().ok().map(str::to_owned)).flatten();
        Head { commit: head.target().map(|oid| oid.to_string()), branch }
    }

    /// Starts a git command in this repository, for what libgit2 lacks.
    pub fn command(&self) -> Command {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(self.git.path());
        git
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

/// Drops what git drops from names and addresses: angle brackets, line breaks, and leading and trailing punctuation.
/// (git's ident.c, `strbuf_addstr_without_crud`.)
fn without_crud(text: &str) -> String {
    let crud =
        |c: char| c.is_ascii_control() || matches!(c, ' ' | '.' | ',' | ':' | ';' | '<' | '>' | '"' | '\\' | '\'');
    text.trim_matches(crud).chars().filter(|c| !matches!(c, '\n' | '\r' | '<' | '>' | '\0')).collect()
}

/// Returns the remote that has promised what is missing in a partial clone; `None` in a whole one.
pub fn promisor(git: &git2::Repository) -> Option<String> {
    let config = git.config().ok()?.snapshot().ok()?;
    // The older way of git; today it marks the remote.
    if let Ok(name) = config.get_string("extensions.partialclone") {
        return Some(name);
    }
    let mut entries = config.entries(Some("remote\\..*\\.promisor")).ok()?;
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.name().ok().and_then(|name| name.strip_prefix("remote.")?.strip_suffix(".promisor"));
        if let Some(name) = name.filter(|_| config.get_bool(entry.name().unwrap_or_default()).unwrap_or(false)) {
            return Some(name.to_owned());
        }
    }
    None
}

/// Names an object in the format of a repository.
pub fn object_id(git: &git2::Repository, kind: ObjectType, bytes: &[u8]) -> Oid {
    Oid::hash_object_ext(kind, bytes, git.object_format()).expect("hashing bytes in memory does not fail")
}

/// Reads a whole object name: 40 hexadecimal digits are SHA-1, 64 are SHA-256.
///
/// libgit2 takes the beginning of a name, too, and fills it up with zeros; a name that was cut is no name here.
///
/// # Errors
/// When the text is anything else.
pub fn parse_oid(text: &str) -> std::result::Result<Oid, git2::Error> {
    match text.len() {
        40 => Oid::from_str_ext(text, ObjectFormat::Sha1),
        64 => Oid::from_str_ext(text, ObjectFormat::Sha256),
        length => Err(git2::Error::from_str(&format!("an object name has 40 or 64 digits, not {length}"))),
    }
}

/// Opens a repository anew when the environment sends objects or refs elsewhere: `GIT_OBJECT_DIRECTORY`, as in a hook that runs
/// before a push is accepted (git-receive-pack(1), "Quarantine environment"), and `GIT_NAMESPACE`.
///
/// The memory's ref is in the common directory, so what it leads to has to be there as well: what goes to a quarantine
/// vanishes with it. Commands of git ignore the namespace too, but for those that serve a remote (gitnamespaces(7)).
fn without_detours(git: git2::Repository) -> std::result::Result<git2::Repository, git2::Error> {
    if DETOURS.iter().all(|name| std::env::var_os(name).is_none()) {
        return Ok(git);
    }
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
    let plain = git2::Repository::open_ext(git.path(), flags, &[] as &[&std::ffi::OsStr])?;
    if let Some(workdir) = git.workdir() {
        plain.set_workdir(workdir, false)?;
    }
    // What is pushed can be read all the same.
    if let Some(quarantine) = std::env::var("GIT_OBJECT_DIRECTORY").ok().filter(|dir| Path::new(dir).is_dir()) {
        plain.odb()?.add_disk_alternate(&quarantine)?;
    }
    Ok(plain)
}

/// Does what the repository's configuration asks of everybody: refuses refs that libgit2 cannot read, before anything is written,
/// and shares what will be.
fn obey(git: &git2::Repository) -> Result<()> {
    let config = git.config().and_then(|mut config| config.snapshot()).doing(|| "read git's configuration".into())?;
    match config.get_str("extensions.refstorage") {
        Ok(format) if !format.eq_ignore_ascii_case("files") => Err(Error::Refused {
            what: format!(
                "this repository cannot be opened: it keeps its refs as {format}, which libgit2 does not read"
            ),
            hint: "git refs migrate --ref-format=files".into(),
        }),
        _ => {
            let shared = config.get_str("core.sharedrepository").ok().and_then(Sharing::parse);
            shared.unwrap_or(Sharing::Umask).apply();
            Ok(())
        }
    }
}

fn refusal(error: git2::Error) -> Error {
    let message = error.message().to_owned();
    if error.code() == git2::ErrorCode::NotFound {
        return Error::NotARepository { reason: "not a git repository (or any of the parent directories)".into() };
    }
    if message.contains("unsupported extension") {
        let hint = "git config --get-regexp '^extensions' shows it; plain git goes on working here";
        return Error::Refused { what: format!("this repository cannot be opened: {message}"), hint: hint.into() };
    }
    Error::Git { doing: "open the repository".into(), source: error }
}
