//! Records through git's own filters, such as one that encrypts.
//!
//! Attributes for the ledger's paths come from `$GIT_DIR/info/attributes`, `core.attributesFile` and the system's file: its ref has no
//! working tree, and the files of whatever branch is checked out say nothing about it. git is asked with an empty working
//! tree, so that it sees those alone. Records on the current branch have a working tree, and its attributes count as for the user's
//! own files. Where none of them names a filter, nothing is started: that is a look at three files, or five.
//!
//! What is stored is the filter's output, so the object's name says nothing about the text. Two runs of a filter may differ; a record is
//! the same when its text is the same after the way back.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use git2::{ObjectType, Oid};

use super::sign::Private;
use super::{Ledger, NewFile, child};
use crate::error::{Doing, Error, Result};
use crate::record::{Kind, Record};
use crate::{repo, sys};

/// The field of errors about files that git's filter cannot turn back, as without the key.
pub const FIELD: &str = "filter";

/// How long a filter may take for one record.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest file of attributes that is looked into, in bytes; git's own limit is 100 MB.
const ATTRIBUTES_MAX: usize = 1 << 20;
/// The system's file, where git is installed as usual.
const SYSTEM: &str = "/etc/gitattributes";

/// What is known about filters, found once.
#[derive(Default)]
pub(super) struct Filters {
    /// Whether any may apply.
    possible: OnceCell<bool>,
    /// Whether one is set for the records of a kind, in the order of [`Kind::ALL`].
    kinds: OnceCell<Vec<bool>>,
}

impl Ledger<'_> {
    /// Returns what is stored for new files: their text, or what git's filter makes of it.
    ///
    /// # Errors
    /// When a filter fails; nothing was written then.
    pub(super) fn filtered<'f>(&self, files: &'f [NewFile<'_>]) -> Result<Vec<Cow<'f, [u8]>>> {
        let plain = || files.iter().map(|file| Cow::Borrowed(file.text.as_bytes())).collect();
        if !self.may_filter() {
            return Ok(plain());
        }
        let which = self.with_filter(files)?;
        let one = |(file, filters): (&'f NewFile<'_>, bool)| {
            if filters { self.clean(file).map(Cow::Owned) } else { Ok(Cow::Borrowed(file.text.as_bytes())) }
        };
        files.iter().zip(which).map(one).collect()
    }

    /// Tells whether a filter may apply to some path of the ledger.
    ///
    /// A filter is for hiding, or may be, so nothing of such a record goes where the filter does not: not into the message of the
    /// commit, and not into the path.
    pub fn may_filter(&self) -> bool {
        *self.filters.possible.get_or_init(|| self.attribute_files().iter().any(|path| names_a_filter(path)))
    }

    fn attribute_files(&self) -> Vec<PathBuf> {
        let settings = self.repo.settings().ok();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let configured = settings.and_then(|settings| settings.get("core.attributesFile")).map(|path| {
            match (path.strip_prefix("~/"), &home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => PathBuf::from(path),
            }
        });
        let standard = || {
            let xdg = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
            Some(xdg.or_else(|| Some(home.as_ref()?.join(".config")))?.join("git/attributes"))
        };
        let common = self.git.commondir().join("info/attributes");
        let of_tree = self.worktree().into_iter().flat_map(|root| ["", "memory"].map(|dir| root.join(dir)));
        let of_tree = of_tree.map(|dir| dir.join(".gitattributes"));
        [Some(common), configured.or_else(standard), Some(PathBuf::from(SYSTEM))]
            .into_iter()
            .flatten()
            .chain(of_tree)
            .collect()
    }

    /// Returns the working tree whose attributes count, where the records are in one.
    fn worktree(&self) -> Option<&Path> {
        self.repo.workdir().filter(|_| self.in_tree)
    }

    /// Asks git for which of the files a filter is set.
    fn with_filter(&self, files: &[NewFile<'_>]) -> Result<Vec<bool>> {
        let doing = || "ask git for filters".to_owned();
        let (mut command, _empty) = self.without_worktree()?;
        command.args(["check-attr", "-z", "--stdin", "filter"]);
        let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).chain([""]).collect();
        let paths = paths.join("\0");
        let out = output(command, paths.as_bytes(), "git check-attr").map_err(|reason| refused(&reason))?;
        // Path, attribute and value, each ended by NUL.
        let values = out.split(|byte| *byte == 0).skip(2).step_by(3);
        let set: Vec<_> = values.map(|value| !matches!(value, b"unspecified" | b"unset" | b"set" | b"")).collect();
        if set.len() < files.len() {
            return Err(std::io::Error::other("git answered less than it was asked")).doing(doing);
        }
        Ok(set)
    }

    fn clean(&self, file: &NewFile<'_>) -> Result<Vec<u8>> {
        let doing = || format!("filter {}", file.path);
        let private = Private::new(&self.scratch).doing(doing)?;
        let (mut command, _empty) = self.without_worktree()?;
        command
            .args(["hash-object", "-w", "--stdin", "--path"])
            .arg(&file.path)
            .env("GIT_OBJECT_DIRECTORY", &private.0);
        let out = output(command, file.text.as_bytes(), "git hash-object").map_err(|reason| refused(&reason))?;
        child::loose_content(&private.0, &String::from_utf8_lossy(&out)).doing(doing)
    }

    /// Reads a record's text, turned back by git's filter where one applies. A record that was written before the filter was set is
    /// read as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field [`FIELD`] when git's filter fails; anything else when the object cannot be read.
    pub fn text_at(&self, path: &str, oid: Oid) -> Result<Vec<u8>> {
        let stored = self.blob(oid)?;
        if !self.may_filter() {
            return Ok(stored);
        }
        let is_record = Record::parse(&stored).is_ok();
        if is_record && !self.is_filtered(path) {
            return Ok(stored);
        }
        let (mut command, _empty) = self.without_worktree()?;
        command.args(["cat-file", "--filters"]).arg(format!("--path={}", self.prefixed(path))).arg(oid.to_string());
        match output(command, b"", "git cat-file --filters") {
            Ok(text) if !is_record || Record::parse(&text).is_ok() => Ok(text),
            _ if is_record => Ok(stored),
            Ok(text) => Ok(text),
            Err(reason) => Err(Error::invalid(FIELD, format!("this file is unreadable here: {reason}"))),
        }
    }

    /// Returns where the file of a record goes below the records' tree. A path is seen by everybody, so where a filter hides the text
    /// it has no words of the title.
    pub fn place_of(&self, record: &Record) -> String {
        let path = record.path();
        if self.may_filter() && self.is_filtered(&path) {
            return format!("{}/{}.md", Record::leaf(record.kind, record.id), record.id);
        }
        path
    }

    /// Tells whether a filter is set for records of the same directory at the root, whatever their names.
    pub fn is_filtered(&self, path: &str) -> bool {
        let kinds = self.filters.kinds.get_or_init(|| {
            let paths: Vec<_> = Kind::ALL
                .iter()
                .map(|kind| self.prefixed(&format!("{}/0/0/0/{}.md", kind.dir(), "0".repeat(16))))
                .collect();
            let files: Vec<_> = paths.iter().map(|path| NewFile { path: path.clone(), text: "" }).collect();
            // When git does not answer, it is asked about each file instead.
            self.with_filter(&files).unwrap_or_else(|_| vec![true; files.len()])
        });
        let dir = path.split('/').next().unwrap_or_default();
        Kind::of_dir(dir).is_none_or(|kind| kinds[kind as usize])
    }

    /// Tells whether a file of the ledger says what a text says, as its bytes or after the way back through a filter.
    ///
    /// # Errors
    /// When the object cannot be read.
    pub fn says(&self, path: &str, stored: Oid, text: &str) -> Result<bool> {
        let blob = repo::object_id(self.git, ObjectType::Blob, text.as_bytes());
        if stored == blob {
            return Ok(true);
        }
        Ok(self.hash_at(path, stored)? == Some(blob))
    }

    /// Returns the name that the text of a filtered file has as a blob; `None` when no filter applies or it cannot be turned back.
    pub(super) fn hash_at(&self, path: &str, stored: Oid) -> Result<Option<Oid>> {
        if !self.may_filter() {
            return Ok(None);
        }
        match self.text_at(path, stored) {
            Ok(text) => Ok(Some(repo::object_id(self.git, ObjectType::Blob, &text))),
            Err(Error::Invalid { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts a git command that sees no attributes but those that belong to the repository or the user. The directory has to
    /// live as long as the command.
    fn without_worktree(&self) -> Result<(Command, tempfile::TempDir)> {
        let doing = || "prepare a filter".to_owned();
        sys::create_dir(&self.scratch).doing(doing)?;
        let empty = tempfile::Builder::new().prefix("elf-empty-").tempdir().doing(doing)?;
        let mut command = Command::new("git");
        let mut tree = OsString::from("--work-tree=");
        tree.push(empty.path());
        if let Some(root) = self.worktree() {
            command
                .arg("--git-dir")
                .arg(self.git.path())
                .arg("--work-tree")
                .arg(root)
                .current_dir(root)
                .env_remove("GIT_PREFIX");
            return Ok((command, empty));
        }
        command.arg("--git-dir").arg(self.git.path()).arg(tree).args(["-c", "core.bare=false"]);
        command.current_dir(empty.path()).env("GIT_INDEX_FILE", empty.path().join("index")).env_remove("GIT_PREFIX");
        Ok((command, empty))
    }
}

fn names_a_filter(path: &std::path::Path) -> bool {
    let Ok(meta) = fs::metadata(path) else { return false };
    // Too large to be looked into: git decides.
    meta.len() > ATTRIBUTES_MAX as u64
        || fs::read(path).is_ok_and(|text| text.windows(b"filter".len()).any(|word| word == b"filter"))
}

fn output(command: Command, input: &[u8], what: &str) -> std::result::Result<Vec<u8>, String> {
    match child::run(command, input, PATIENCE, false) {
        Err(error) => Err(format!("{what}: {error}")),
        Ok(None) => Err(format!("{what} did not end within {} s", PATIENCE.as_secs())),
        Ok(Some(ended)) if !ended.status.success() => Err(format!("{what} failed: {}", ended.said)),
        Ok(Some(ended)) => Ok(ended.out),
    }
}

fn refused(reason: &str) -> Error {
    Error::Refused {
        what: format!("git's filter did not take the record: {reason}"),
        hint: "git check-attr filter, and git config filter.NAME.clean, say which filter it is".into(),
    }
}
