//! The history of `memory/` as a history of its own: as if each commit had had that directory alone.

use std::collections::HashMap;

use git2::{Commit, ObjectType, Oid, Sort};

use super::Ledger;
use crate::error::{Doing, Result};

impl Ledger<'_> {
    /// Rewrites the history that leads to `tip`, so that the records' tree is the root. Commits that changed nothing there are
    /// left out; authors, dates and messages stay. The new commits are not durable yet. `None` when no commit had records.
    ///
    /// # Errors
    /// When an object cannot be read or written.
    pub fn split(&self, tip: Oid) -> Result<Option<Oid>> {
        let doing = || "read the history of the records".to_owned();
        let mut walk = self.git.revwalk().doing(doing)?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE).doing(doing)?;
        walk.push(tip).doing(doing)?;
        // Of each commit the one that stands for it, if any.
        let mut stands_for: HashMap<Oid, Option<Oid>> = HashMap::new();
        for oid in walk {
            let oid = oid.doing(doing)?;
            let commit = self.git.find_commit(oid).doing(doing)?;
            let tree = self.records_of(commit.tree_id())?;
            let mut parents = Vec::new();
            for parent in commit.parent_ids() {
                let new = stands_for.get(&parent).copied().flatten();
                parents.extend(new.filter(|new| !parents.contains(new)));
            }
            let new = match parents[..] {
                [] if tree == self.empty_tree() => None,
                [parent] if self.git.find_commit(parent).doing(doing)?.tree_id() == tree => Some(parent),
                _ => Some(self.rewritten(&commit, tree, &parents)?),
            };
            stands_for.insert(oid, new);
        }
        Ok(stands_for.remove(&tip).flatten())
    }

    fn rewritten(&self, old: &Commit<'_>, tree: Oid, parents: &[Oid]) -> Result<Oid> {
        let doing = || "write the history of the records".to_owned();
        let message = String::from_utf8_lossy(old.message_bytes());
        let odb = self.git.odb().doing(doing)?;
        if tree == self.empty_tree() {
            odb.write(ObjectType::Tree, b"").doing(doing)?;
        }
        let tree = self.git.find_tree(tree).doing(doing)?;
        let parents = parents.iter().map(|oid| self.git.find_commit(*oid)).collect::<std::result::Result<Vec<_>, _>>();
        let parents = parents.doing(doing)?;
        let parents: Vec<_> = parents.iter().collect();
        let text = self.git.commit_create_buffer(&old.author(), &old.committer(), &message, &tree, &parents);
        odb.write(ObjectType::Commit, &text.doing(doing)?).doing(doing)
    }
}
