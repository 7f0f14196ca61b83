//! Signing the ledger's commits, where `commit.gpgSign` is set.
//!
//! git signs: `git commit-tree -S` in an object directory of its own that has nothing but the new root tree, with the real one beside
//! it to read from. The signed commit's bytes take the place of the unsigned one's in the batch, so everything stays as
//! durable as it is without a signature.
//!
//! A signer may wait for somebody who is not there. It gets [`PATIENCE`]; then nothing is committed, the records stay in the spool, and
//! signing is tried again after [`PAUSE`], or when its configuration has changed.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use git2::{ObjectType, Oid};

use super::objects::{Batch, loose_bytes};
use super::{Ledger, child};
use crate::error::{Doing, Error, Result};
use crate::repo::{Identity, Repo};
use crate::sys;

/// How long a signer may take without a terminal.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a signer may take that can ask on a terminal; the lock is held meanwhile.
const PATIENCE_ON_TERMINAL: Duration = Duration::from_secs(60);
/// How long signing is not tried after it failed.
pub const PAUSE: Duration = Duration::from_secs(60);
/// Name of the file below our directory that says why signing failed; its age says when.
const FAILED: &str = "signing-failed";

/// What signing depends on; when one of them changes it is tried at once.
const SETTINGS: [&str; 7] = [
    "gpg.format",
    "gpg.program",
    "user.signingkey",
    "user.email",
    "gpg.openpgp.program",
    "gpg.ssh.program",
    "gpg.x509.program",
];

/// Says why signing failed and how long ago; `None` when it did not, or works again.
pub fn failure(repo: &Repo) -> Option<(String, Duration)> {
    let path = repo.elf_dir().join(FAILED);
    let text = fs::read_to_string(&path).ok()?;
    let age = fs::metadata(&path).and_then(|meta| meta.modified()).ok()?;
    let age = SystemTime::now().duration_since(age).unwrap_or(PAUSE);
    Some((text.lines().next().unwrap_or_default().to_owned(), age))
}

impl Ledger<'_> {
    /// Signs the commit of a batch.
    ///
    /// # Errors
    /// [`Error::Signing`] when git could not sign, did not in time, or could not a short while ago.
    pub(super) fn sign(&self, batch: &mut Batch, parents: &[Oid], message: &str, who: &Identity) -> Result<()> {
        let path = self.repo.elf_dir().join(FAILED);
        let settings = self.settings_of_signing()?;
        if let Some((reason, age)) = failure(self.repo)
            && age < PAUSE
            && fs::read_to_string(&path).unwrap_or_default().lines().skip(1).eq(settings.lines())
        {
            let left = PAUSE.saturating_sub(age).as_secs() + 1;
            return Err(Error::Signing { reason: format!("{reason} (tried again in {left} s)") });
        }
        match self.signed(batch, parents, message, who) {
            Ok(bytes) => {
                let _ = sys::unlink(&path);
                batch.replace_commit(&bytes)
            }
            Err(Error::Signing { reason }) => {
                // What cannot be noted is tried again at once, which is slow and does no harm.
                let _ = sys::unlink(&path);
                let _ = sys::append(&path, format!("{}\n{settings}", reason.replace('\n', " ")).as_bytes());
                Err(Error::Signing { reason })
            }
            Err(error) => Err(error),
        }
    }

    fn settings_of_signing(&self) -> Result<String> {
        let settings = self.repo.settings()?;
        let mut all = format!("{:?}\n", std::env::var_os("GNUPGHOME"));
        for key in SETTINGS {
            all.push_str(&format!("{key}={}\n", settings.get(key).unwrap_or_default()));
        }
        Ok(all)
    }

    /// Has git make and sign the commit, and returns its bytes.
    fn signed(&self, batch: &Batch, parents: &[Oid], message: &str, who: &Identity) -> Result<Vec<u8>> {
        let doing = || "prepare a commit to be signed".to_owned();
        let private = Private::new(&self.scratch).doing(doing)?;
        private.put(batch.tree, &batch.content(batch.tree)?).doing(doing)?;
        let mut command = self.repo.command();
        command.args(["-c", "i18n.commitEncoding=UTF-8", "commit-tree", "-S"]).arg(batch.tree.to_string());
        for parent in parents {
            command.arg("-p").arg(parent.to_string());
        }
        let date = format!(
            "@{} +0000",
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
        );
        let objects = self.git.commondir().join("objects");
        command
            .args(["-F", "-"])
            .env("GIT_OBJECT_DIRECTORY", &private.0)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted(&objects))
            .envs([("GIT_AUTHOR_NAME", &who.name), ("GIT_COMMITTER_NAME", &who.name)])
            .envs([("GIT_AUTHOR_EMAIL", &who.email), ("GIT_COMMITTER_EMAIL", &who.email)])
            .envs([("GIT_AUTHOR_DATE", &date), ("GIT_COMMITTER_DATE", &date)]);
        let terminal = std::io::stdin().is_terminal();
        let patience = if terminal { PATIENCE_ON_TERMINAL } else { PATIENCE };
        let ended =
            child::run(command, message.as_bytes(), patience, terminal).doing(|| "run git commit-tree -S".into())?;
        let Some(ended) = ended else {
            return Err(Error::Signing { reason: format!("the signer did not answer for {} s", patience.as_secs()) });
        };
        if !ended.status.success() {
            let said = if ended.said.is_empty() { ended.status.to_string() } else { ended.said };
            return Err(Error::Signing { reason: said });
        }
        let name = String::from_utf8_lossy(&ended.out).into_owned();
        let bytes = child::loose_content(&private.0, &name).doing(|| "read the signed commit".into())?;
        let tree = format!("tree {}\n", batch.tree);
        let mut head = tree;
        for parent in parents {
            head.push_str(&format!("parent {parent}\n"));
        }
        if !bytes.starts_with(head.as_bytes()) || !contains(&bytes, b"\ngpgsig") {
            return Err(Error::Signing {
                reason: "git made a commit that is not the one asked for, or not signed".into(),
            });
        }
        Ok(bytes)
    }
}

/// An object directory that nobody else looks into; removed on drop, and by the next holder of the lock after a kill.
pub(super) struct Private(pub PathBuf);

impl Private {
    pub fn new(scratch: &Path) -> std::io::Result<Self> {
        let dir = scratch.join(format!("private-{}", std::process::id()));
        sys::create_dir(&dir)?;
        Ok(Self(dir))
    }

    fn put(&self, tree: Oid, content: &[u8]) -> std::io::Result<()> {
        let name = tree.to_string();
        let dir = self.0.join(&name[..2]);
        sys::create_dir(&dir)?;
        File::create(dir.join(&name[2..]))?.write_all(&loose_bytes(ObjectType::Tree, content)?)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a path for `GIT_ALTERNATE_OBJECT_DIRECTORIES`, which separates by colons and understands quotes (git(1)).
fn quoted(path: &Path) -> std::ffi::OsString {
    let text = path.to_string_lossy();
    if !text.contains(':') && !text.starts_with('"') {
        return path.as_os_str().to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).into()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
