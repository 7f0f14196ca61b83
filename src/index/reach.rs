//! Which commits that records were learned at are known to be on the main line.
//!
//! It is a cache of the commit graph and not of the ledger: what it was made from is the main line's tips, written beside it.
//! It is written under the lock alone; who only reads computes what is missing.

use rusqlite::{OptionalExtension, params};

use super::{Batch, Index};
use crate::error::{Doing, Result};
use crate::lock::RepoLock;

/// What stands for the commit of a record that names none.
pub(super) const NO_COMMIT: &str = "-";

/// What the cache was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MainStamp {
    /// The tips of the main line, and what else decides which commits they reach.
    pub tips: String,
    /// The ledger's tree whose records had all been looked at.
    pub tree: String,
}

/// Which commits HEAD of a worktree led to, and the main line did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mine {
    /// The worktree's git directory, relative to the common one.
    pub worktree: String,
    pub head: String,
    /// As in [`MainStamp`].
    pub tips: String,
    /// Names of commits, separated by spaces.
    pub commits: String,
}

/// Which records a filter by reach lets through.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// What the cache says of a commit counts.
    pub cached: bool,
    /// Commits whose records are let through, whatever the cache says.
    pub commits: Vec<String>,
    /// Records that name no commit are let through.
    pub without_commit: bool,
    /// Where every record is in the working tree: those that are not let through. Nothing else counts then.
    pub hidden: Option<Vec<String>>,
}

/// What was found out about commits, to be kept.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What the cache was made from when this was found out; `None` replaces all of it.
    pub base: Option<MainStamp>,
    pub stamp: MainStamp,
    /// Commits with whether they are on the main line.
    pub commits: Vec<(String, bool)>,
}

/// Commits that records were learned at. The value is the least that the cache has to say of one to leave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Those that the cache says nothing of.
    Unseen = 0,
    /// Those that it does not say are on the main line.
    OffMain = 1,
    Any = 2,
}

impl Admitted {
    pub(super) fn commits(&self) -> Vec<String> {
        self.commits.iter().cloned().chain(self.without_commit.then(|| NO_COMMIT.to_owned())).collect()
    }
}

impl Index {
    /// Reads what the cache was made from.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn main_stamp(&self) -> Result<Option<MainStamp>> {
        self.conn
            .query_row("SELECT tips, tree FROM main_line", [], |row| {
                Ok(MainStamp { tips: row.get(0)?, tree: row.get(1)? })
            })
            .optional()
            .doing(|| "read what is merged".into())
    }

    /// Reads what was kept of a worktree.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn mine(&self, worktree: &str) -> Result<Option<Mine>> {
        self.conn
            .query_row("SELECT worktree, head, tips, commits FROM mine WHERE worktree = ?1", [worktree], |row| {
                Ok(Mine { worktree: row.get(0)?, head: row.get(1)?, tips: row.get(2)?, commits: row.get(3)? })
            })
            .optional()
            .doing(|| "read what is yours".into())
    }

    /// Tells what the cache says of a commit; `None` when nothing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn was_merged(&self, commit: &str) -> Result<Option<bool>> {
        let doing = || "look a commit up".to_owned();
        let mut statement = self.conn.prepare_cached("SELECT merged FROM learned WHERE id = ?1").doing(doing)?;
        statement.query_row([commit], |row| row.get(0)).optional().doing(doing)
    }

    /// Lists the commits that records were learned at.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn learned(&self, which: Learned) -> Result<Vec<String>> {
        let doing = || "list the commits".to_owned();
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT DISTINCT learned FROM record WHERE learned IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM learned WHERE id = record.learned AND merged >= ?1)",
            )
            .doing(doing)?;
        let commits = statement.query_map([which as i64], |row| row.get(0)).doing(doing)?;
        commits.collect::<rusqlite::Result<_>>().doing(doing)
    }

    /// Forgets what is known of the commit graph.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget_findings(&self, _lock: &RepoLock<'_>) -> Result<()> {
        self.conn
            .execute_batch("BEGIN IMMEDIATE; DELETE FROM main_line; DELETE FROM learned; DELETE FROM mine; COMMIT")
            .doing(|| "forget what is merged".into())
    }
}

impl Batch<'_> {
    /// Keeps what HEAD of a worktree leads to.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn keep_mine(&mut self, mine: &Mine) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO mine (worktree, head, tips, commits) VALUES (?1, ?2, ?3, ?4)";
        let values = [&mine.worktree, &mine.head, &mine.tips, &mine.commits];
        self.transaction.execute(sql, values).map(drop).doing(|| "note what is yours".into())
    }

    /// Keeps what was found out about commits, unless the cache was made from something else meanwhile.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn keep_findings(&mut self, now: Option<&MainStamp>, findings: &Findings) -> Result<()> {
        let doing = || "note what is merged".to_owned();
        if findings.base.is_some() && findings.base.as_ref() != now {
            return Ok(());
        }
        if findings.base.is_none() {
            self.transaction.execute("DELETE FROM learned", []).doing(doing)?;
        }
        let mut put = self
            .transaction
            .prepare_cached(
                "INSERT INTO learned (id, merged) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET merged = ?2",
            )
            .doing(doing)?;
        for (commit, merged) in &findings.commits {
            put.execute(params![commit, merged]).doing(doing)?;
        }
        self.transaction
            .execute(
                "INSERT OR REPLACE INTO main_line (one, tips, tree) VALUES (1, ?1, ?2)",
                [&findings.stamp.tips, &findings.stamp.tree],
            )
            .map(drop)
            .doing(doing)
    }
}
