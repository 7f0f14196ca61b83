//! Looking into a tree: is an id there, what does a file hold.

use git2::{ObjectType, Oid, Tree};

use super::{Item, Ledger, MOVED, objects};
use crate::error::{Error, Result};
use crate::record::{Id, Kind, Record, field};

impl Ledger<'_> {
    /// Tells whether the tree has a file for this id: one look-up along the shards, whatever the slug.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn contains(&self, tree: Oid, kind: Kind, id: Id) -> Result<bool> {
        Ok(self.find(tree, kind, id)?.is_some())
    }

    /// Finds the file of an id: its path and blob.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn find(&self, tree: Oid, kind: Kind, id: Id) -> Result<Option<(String, Oid)>> {
        Ok(self.files_at(tree, kind, id)?.into_iter().next())
    }

    /// Lists the paths of all files that bear an id, of whatever kind; more than one is a mistake.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn files_of(&self, tree: Oid, id: Id) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for kind in Kind::ALL {
            paths.extend(self.files_at(tree, kind, id)?.into_iter().map(|(path, _)| path));
        }
        Ok(paths)
    }

    /// Tells whether a record's file, of whatever kind, is this blob.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn holds(&self, tree: Oid, id: Id, blob: Oid) -> Result<bool> {
        for kind in Kind::ALL {
            for (path, found) in self.files_at(tree, kind, id)? {
                if found == blob || self.hash_at(&path, found)? == Some(blob) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Lists the files in the leaves of an id, of whatever kind: the ids that they bear, and their paths.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn neighbours(&self, tree: Oid, id: Id) -> Result<Vec<(Id, String)>> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let leaf = Record::leaf(kind, id);
            let Some(tree) = self.directory_at(tree, &leaf)? else { continue };
            let names = tree.iter().filter_map(|entry| entry.name().ok().map(str::to_owned));
            found.extend(names.filter_map(|name| Some((Id::of_file_name(&name)?, format!("{leaf}/{name}")))));
        }
        Ok(found)
    }

    pub(super) fn files_at(&self, tree: Oid, kind: Kind, id: Id) -> Result<Vec<(String, Oid)>> {
        let leaf = Record::leaf(kind, id);
        let Some(tree) = self.directory_at(tree, &leaf)? else { return Ok(Vec::new()) };
        let bears = |name: &str| Id::of_file_name(name) == Some(id);
        let named = tree.iter().filter_map(|entry| Some((entry.name().ok()?.to_owned(), entry.id())));
        Ok(named.filter(|(name, _)| bears(name)).map(|(name, oid)| (format!("{leaf}/{name}"), oid)).collect())
    }

    fn directory_at(&self, tree: Oid, path: &str) -> Result<Option<Tree<'_>>> {
        let Some(mut tree) = self.tree_at(tree)? else { return Ok(None) };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let entry = tree.get_name(name).filter(|entry| entry.kind() == Some(ObjectType::Tree));
            let Some(child) = entry.map(|entry| entry.id()) else { return Ok(None) };
            let Some(below) = self.tree_at(child)? else { return Ok(None) };
            tree = below;
        }
        Ok(Some(tree))
    }

    /// Reads a record's file: plain, of bounded size, in the place that its kind and id say.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the file is no record; anything else when the object cannot be read.
    pub fn record_at(&self, path: &str, item: Item) -> Result<Record> {
        // A filter may make it larger; the text is measured too.
        let limit = if self.may_filter() { 2 * field::FILE_MAX } else { field::FILE_MAX };
        if item.mode != objects::BLOB_MODE || self.size_of(item.oid)? > limit {
            let problem = match item.mode {
                objects::BLOB_MODE => {
                    format!("has {} bytes (limit: {})", self.size_of(item.oid)?, field::FILE_MAX)
                }
                mode => format!("is no plain file (mode {mode:o})"),
            };
            return Err(Error::invalid("file", problem));
        }
        let record = Record::parse(&self.text_at(path, item.oid)?)?;
        let (leaf, name) = path.rsplit_once('/').unwrap_or(("", path));
        if leaf != Record::leaf(record.kind, record.id) || Id::of_file_name(name) != Some(record.id) {
            return Err(Error::invalid(
                "file",
                format!("stands in the wrong place: its kind and id say {}", record.path()),
            ));
        }
        Ok(record)
    }

    /// Reads a plain file that is not larger than a record may be; `None` for anything else, which is not read.
    ///
    /// # Errors
    /// When the object cannot be read.
    pub fn small_blob(&self, item: Item) -> Result<Option<Vec<u8>>> {
        if item.mode != objects::BLOB_MODE || self.size_of(item.oid)? > field::FILE_MAX {
            return Ok(None);
        }
        self.blob(item.oid).map(Some)
    }

    /// Finds the file at a path below the records' tree.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn file_at(&self, tree: Oid, path: &str) -> Result<Option<Item>> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(tree) = self.directory_at(tree, directory)? else { return Ok(None) };
        let entry = tree.get_name(name).filter(|entry| entry.kind() == Some(ObjectType::Blob));
        Ok(entry.map(|entry| Item { oid: entry.id(), mode: entry.filemode() }))
    }

    /// Reads where the memory of this tree has gone; `None` when it is here.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn moved_to(&self, tree: Oid) -> Result<Option<String>> {
        let Some(item) = self.file_at(tree, MOVED)? else { return Ok(None) };
        let text = self.small_blob(item)?.unwrap_or_default();
        let to = String::from_utf8_lossy(&text).trim().to_owned();
        Ok((!to.is_empty() && to != self.name()).then_some(to))
    }
}
