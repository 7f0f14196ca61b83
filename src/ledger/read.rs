//! Reading objects, with a look at loose files before libgit2 meets them.
//!
//! libgit2 never returns from a loose object that lacks its end (1.9.7): it asks zlib for more output for ever. So each loose
//! file is inflated once here, and a torn one is an error.

use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use flate2::read::ZlibDecoder;
use git2::{Commit, ErrorCode, ObjectType, Oid, Tree};

use super::Ledger;
use crate::error::{Doing, Error, Result};
use crate::record::field;
use crate::repo;
use crate::sys;

/// Longest head of a loose object, in bytes: the longest kind, a number of 64 bits, and two more.
const HEAD_MAX: u64 = 32;
/// Most bytes of an object that are hashed to see whether it is intact.
const INTACT_MAX: u64 = 64 * 1024 * 1024;

impl Ledger<'_> {
    /// Reads a commit.
    pub(super) fn commit_at(&self, oid: Oid) -> Result<Commit<'_>> {
        self.refuse_torn(oid)?;
        self.found(oid, "commit", self.git.find_commit(oid))
    }

    /// Reads a tree; `None` for the one without entries, which need not be there (and which libgit2 knows in SHA-1 only).
    pub(super) fn tree_at(&self, oid: Oid) -> Result<Option<Tree<'_>>> {
        if oid == self.empty_tree() {
            return Ok(None);
        }
        self.refuse_torn(oid)?;
        self.found(oid, "tree", self.git.find_tree(oid)).map(Some)
    }

    /// Reads the bytes of a blob; libgit2 compares them with its name.
    ///
    /// # Errors
    /// When the object is missing, torn or unreadable.
    pub fn blob(&self, oid: Oid) -> Result<Vec<u8>> {
        self.refuse_torn(oid)?;
        let blob = self.found(oid, "object", self.git.find_blob(oid))?;
        Ok(blob.content().to_vec())
    }

    /// Reads the size of a blob without reading it.
    pub(super) fn size_of(&self, oid: Oid) -> Result<usize> {
        // A few kilobytes may stand for gigabytes, so a loose object says its size before anything of it is unpacked.
        if let Some(size) = self.loose_size(oid).filter(|size| *size > field::FILE_MAX) {
            return Ok(size);
        }
        self.refuse_torn(oid)?;
        let header = self.git.odb().and_then(|odb| odb.read_header(oid));
        self.found(oid, "object", header).map(|(size, _)| size)
    }

    /// Tells whether a tree is here and sound.
    pub fn is_readable(&self, tree: Oid) -> bool {
        self.tree_at(tree).is_ok()
    }

    /// Tells an object that a remote has promised from one that is lost.
    fn found<T>(&self, oid: Oid, kind: &str, found: std::result::Result<T, git2::Error>) -> Result<T> {
        if found.as_ref().is_err_and(|error| error.code() == ErrorCode::NotFound)
            && let Some(remote) = repo::promisor(self.git)
        {
            return Err(Error::Promised { oid: oid.to_string(), name: self.name.clone(), remote });
        }
        found.doing(|| format!("read the {kind} {oid}"))
    }

    fn refuse_torn(&self, oid: Oid) -> Result<()> {
        if self.checked.borrow().contains(&oid) {
            return Ok(());
        }
        let doing = || format!("read the object {oid}");
        match sys::open_own(&self.loose_path(oid)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing(doing),
            Ok(file) => {
                let whole = io::copy(&mut ZlibDecoder::new(BufReader::new(file)), &mut io::sink());
                whole.map_err(|error| Error::Git {
                    doing: doing(),
                    source: git2::Error::from_str(&format!("its file is torn ({error})")),
                })?;
            }
        }
        self.checked.borrow_mut().insert(oid);
        Ok(())
    }

    /// Reads the size that the head of a loose file states, `kind SP size NUL` (gitformat-loose(5)).
    fn loose_size(&self, oid: Oid) -> Option<usize> {
        let mut head = Vec::new();
        let file = sys::open_own(&self.loose_path(oid)).ok()?;
        ZlibDecoder::new(BufReader::new(file)).take(HEAD_MAX).read_to_end(&mut head).ok()?;
        let head = std::str::from_utf8(head.split(|byte| *byte == 0).next()?).ok()?;
        head.split_once(' ')?.1.parse().ok()
    }

    /// Tells whether a loose file holds what its name says, whatever kind of object that is. One that is too large to look at
    /// counts as intact.
    pub(super) fn is_intact(&self, oid: Oid) -> bool {
        let mut bytes = Vec::new();
        let Ok(file) = sys::open_own(&self.loose_path(oid)) else { return false };
        if ZlibDecoder::new(BufReader::new(file)).take(INTACT_MAX).read_to_end(&mut bytes).is_err() {
            return false;
        }
        let Some(end) = bytes.iter().position(|byte| *byte == 0) else { return false };
        let kind =
            std::str::from_utf8(&bytes[..end]).ok().and_then(|head| ObjectType::from_str(head.split(' ').next()?));
        let hashed = kind.map(|kind| repo::object_id(self.git, kind, &bytes[end + 1..]));
        hashed == Some(oid) || bytes.len() as u64 == INTACT_MAX
    }

    pub(super) fn loose_path(&self, oid: Oid) -> PathBuf {
        let name = oid.to_string();
        self.git.commondir().join("objects").join(&name[..2]).join(&name[2..])
    }
}
