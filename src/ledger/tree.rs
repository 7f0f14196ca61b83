//! Walking trees: what differs between two of them, in time proportional to the difference.

use std::collections::HashMap;

use git2::{ObjectType, Oid, TreeEntry};

use super::Ledger;

use crate::error::{Error, Result};

/// Deepest directory that is looked into; our own layout has four levels.
const DEPTH_MAX: usize = 8;

/// A file of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub oid: Oid,
    /// Git's file mode; a record is a plain file, `0o100644`.
    pub mode: i32,
}

/// One path that differs.
#[derive(Debug)]
pub struct Change {
    /// Path below the root; bytes that are not UTF-8 are replaced.
    pub path: String,
    pub old: Option<Item>,
    pub new: Option<Item>,
}

pub(super) fn changes(
    ledger: &Ledger<'_>,
    old: Option<Oid>,
    new: Option<Oid>,
    wanted: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<()> {
    Walk { ledger, wanted, each }.compare(&mut String::new(), old, new, 0)
}

struct Walk<'a> {
    ledger: &'a Ledger<'a>,
    wanted: &'a dyn Fn(&str) -> bool,
    each: &'a mut dyn FnMut(Change) -> Result<()>,
}

impl Walk<'_> {
    fn compare(&mut self, path: &mut String, old: Option<Oid>, new: Option<Oid>, depth: usize) -> Result<()> {
        if old == new {
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err(Error::Problems { what: format!("{path} is nested deeper than {DEPTH_MAX} directories") });
        }
        let mut before = self.entries(old)?.into_iter().collect::<HashMap<_, _>>();
        for (name, now) in self.entries(new)? {
            let was = before.remove(&name);
            if was != Some(now) {
                self.differ(path, &name, was, Some(now), depth)?;
            }
        }
        let mut gone: Vec<_> = before.into_iter().collect();
        gone.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        gone.into_iter().try_for_each(|(name, was)| self.differ(path, &name, Some(was), None, depth))
    }

    fn differ(
        &mut self,
        path: &mut String,
        name: &str,
        old: Option<(Item, bool)>,
        new: Option<(Item, bool)>,
        depth: usize,
    ) -> Result<()> {
        if depth == 0 && (is_ours(name) || !(self.wanted)(name)) {
            return Ok(());
        }
        let length = path.len();
        if length > 0 {
            path.push('/');
        }
        path.push_str(name);
        let file = |side: Option<(Item, bool)>| side.filter(|(_, is_tree)| !is_tree).map(|(item, _)| item);
        let tree = |side: Option<(Item, bool)>| side.filter(|(_, is_tree)| *is_tree).map(|(item, _)| item.oid);
        if file(old) != file(new) {
            (self.each)(Change { path: path.clone(), old: file(old), new: file(new) })?;
        }
        self.compare(path, tree(old), tree(new), depth + 1)?;
        path.truncate(length);
        Ok(())
    }

    fn entries(&self, tree: Option<Oid>) -> Result<Vec<(String, (Item, bool))>> {
        let Some(oid) = tree else { return Ok(Vec::new()) };
        let Some(tree) = self.ledger.filled_tree(oid)? else { return Ok(Vec::new()) };
        let entry = |entry: TreeEntry<'_>| {
            let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
            let item = Item { oid: entry.id(), mode: entry.filemode() };
            (name, (item, entry.kind() == Some(ObjectType::Tree)))
        };
        Ok(tree.iter().map(entry).collect())
    }
}

/// Tells whether a name at the root says something about the ledger and is no record.
fn is_ours(name: &str) -> bool {
    name == "README.md" || name == super::MOVED
}
