//! What is merged, what is yours, and what is neither: records by where they were learned.
//!
//! A record is `merged` when the commit that it was learned at is on the main line, `yours` when HEAD leads to that commit or
//! HEAD of this worktree was there (its reflog says so, after an amend or a rebase too), else `unmerged`. Where records are
//! files on the current branch, the file decides and not the commit.

use std::collections::HashSet;

use super::Store;
use super::graph::Graph;
use crate::error::Result;
use crate::index::{Admitted, Filter, Findings, Index, Mine, Row};
use crate::lock::LockFile;
use crate::record::Id;
use crate::repo::MainLine;

/// Where a record was learned, as seen from this worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On the main line.
    Merged,
    /// On the way to HEAD, or where HEAD of this worktree was.
    Yours,
    /// Here, on another branch or on none.
    Unmerged,
    /// It names no commit, or one that this clone does not have.
    Unknown,
}

/// Which records a question is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// On the main line alone.
    Merged,
    /// All but those that are known to be unmerged work of others.
    Mine,
    #[default]
    All,
}

/// Tells of records how far they reach, for one question.
pub struct Horizon<'a>(Seen<'a>);

enum Seen<'a> {
    Commits(Box<Graph<'a>>),
    /// Records on the current branch that the main line does not have.
    Files(HashSet<Id>),
}

impl Scope {
    /// Tells whether a scope lets through what reaches so far.
    pub fn has(self, reach: Reach) -> bool {
        match self {
            Self::Merged => reach == Reach::Merged,
            Self::Mine => reach != Reach::Unmerged,
            Self::All => true,
        }
    }
}

impl Reach {
    /// Returns the word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Yours => "yours",
            Self::Unmerged => "unmerged",
            Self::Unknown => "unknown",
        }
    }
}

impl Store {
    /// Asks for the records in a filter's scope, and labels each with its reach.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn select(
        &self,
        filter: &Filter,
        scope: Scope,
        mut ask: impl FnMut(&Index, &Filter) -> Result<Vec<Row>>,
    ) -> Result<Vec<Row>> {
        self.read_within(|index, horizon| {
            let mut rows = ask(index, &horizon.narrow(filter, scope)?)?;
            rows.iter_mut().try_for_each(|row| horizon.label(row))?;
            Ok(rows)
        })
    }

    /// Answers a question that needs to know how far records reach.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_within<T>(&self, mut ask: impl FnMut(&Index, &Horizon<'_>) -> Result<T>) -> Result<T> {
        let (answer, findings, mine) = self.read(|index| {
            let horizon = self.horizon(index)?;
            Ok((ask(index, &horizon)?, horizon.findings()?, horizon.mine()))
        })?;
        if findings.is_some() || mine.is_some() {
            // A cache: whoever asks next finds it out again.
            let _ = self.keep_findings(findings.as_ref(), mine.as_ref());
        }
        Ok(answer)
    }

    /// Returns the records that a filter and a scope let through, newest first, each with its reach.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn list_within(&self, filter: &Filter, scope: Scope) -> Result<Vec<Row>> {
        self.select(filter, scope, Index::rows)
    }

    /// Looks where HEAD and the main line are, for one question to `index`.
    ///
    /// # Errors
    /// When git's configuration or the index cannot be read.
    pub fn horizon<'a>(&'a self, index: &'a Index) -> Result<Horizon<'a>> {
        let main = self.repo.main_line(self.config.main_branch.as_deref())?;
        let seen = if self.ledger().is_in_tree() {
            Seen::Files(self.files_of_mine(&main)?)
        } else {
            Seen::Commits(Box::new(Graph::new(self, index, main)?))
        };
        Ok(Horizon(seen))
    }

    /// Says in a word or two how far a labelled record reaches; `None` where there is nothing to say, as of what is merged.
    pub fn say_reach(&self, row: &Row) -> Option<String> {
        match row.text("reach") {
            "yours" => Some("yours".into()),
            "unmerged" => Some(match row.text("branch") {
                "" => "unmerged".into(),
                branch if self.has_branch(branch) => format!("unmerged (branch {branch})"),
                branch => format!("unmerged (branch {branch}, gone)"),
            }),
            "unknown" if !row.text("commit").is_empty() => Some("unknown, its commit is not here".into()),
            _ => None,
        }
    }

    fn has_branch(&self, name: &str) -> bool {
        let mut known = self.branches.borrow_mut();
        known.get(name).copied().unwrap_or_else(|| *known.entry(name.to_owned()).or_insert(self.repo.has_branch(name)))
    }

    /// Lists the records on the current branch, or waiting for it, that no tip of the main line has.
    fn files_of_mine(&self, main: &MainLine) -> Result<HashSet<Id>> {
        let ledger = self.ledger();
        let here = ledger.tip()?.map(|tip| tip.tree);
        let mut new: Option<HashSet<Id>> = None;
        let olds = main.tips.iter().map(|tip| ledger.tip_at(*tip).map(|tip| Some(tip.tree)));
        let olds = olds.collect::<Result<Vec<_>>>()?;
        for old in if olds.is_empty() { vec![None] } else { olds } {
            let (mut added, mut removed) = (HashSet::new(), HashSet::new());
            ledger.changes(old, here, &|name| !name.is_empty(), &mut |change| {
                let id = change.path.rsplit('/').next().and_then(Id::of_file_name);
                match (change.old.is_some(), change.new.is_some()) {
                    (false, true) => added.extend(id),
                    (true, false) => removed.extend(id),
                    _ => {}
                }
                Ok(())
            })?;
            added.retain(|id| !removed.contains(id));
            new = Some(new.map_or(added.clone(), |new| &new & &added));
        }
        let mut new = new.unwrap_or_default();
        new.extend(self.spool.list().unwrap_or_default().entries.iter().map(|entry| entry.record.id));
        Ok(new)
    }

    /// Keeps what was found out, if the lock is free.
    fn keep_findings(&self, findings: Option<&Findings>, mine: Option<&Mine>) -> Result<()> {
        let mut file = LockFile::open(self.repo.elf_dir())?;
        let Some(lock) = file.try_lock("index")? else { return Ok(()) };
        let mut index = Index::create(&self.index_dir, &lock)?;
        let Some(stamp) = index.stamp()? else { return Ok(()) };
        let now = index.main_stamp()?;
        let mut batch = index.begin(&lock)?;
        findings.map_or(Ok(()), |findings| batch.keep_findings(now.as_ref(), findings))?;
        mine.map_or(Ok(()), |mine| batch.keep_mine(mine))?;
        batch.commit(&stamp)?;
        index.checkpoint(&lock, self.config.wal_limit)
    }
}

impl Horizon<'_> {
    /// Tells how far a record reaches.
    ///
    /// # Errors
    /// When the graph or the index cannot be read.
    pub fn reach(&self, row: &Row) -> Result<Reach> {
        match &self.0 {
            Seen::Files(yours) => {
                let is_mine = row.text("id").parse::<Id>().is_ok_and(|id| yours.contains(&id));
                Ok(if is_mine { Reach::Yours } else { Reach::Merged })
            }
            Seen::Commits(graph) => graph.reach(row.text("commit")),
        }
    }

    /// Adds the key `reach` to a record, behind its branch.
    ///
    /// # Errors
    /// As [`Horizon::reach`].
    pub fn label(&self, row: &mut Row) -> Result<()> {
        let reach = self.reach(row)?;
        let at = row.0.keys().position(|key| key == "branch").map_or(row.0.len(), |at| at + 1);
        row.0.shift_insert(at, "reach".into(), reach.name().into());
        Ok(())
    }

    /// Labels a record; `None` when it is not in a scope.
    ///
    /// # Errors
    /// As [`Horizon::reach`].
    pub fn admit(&self, mut row: Row, scope: Scope) -> Result<Option<Row>> {
        let reach = self.reach(&row)?;
        self.label(&mut row)?;
        Ok(scope.has(reach).then_some(row))
    }

    /// Returns a filter that lets through what is in a scope.
    ///
    /// # Errors
    /// As [`Horizon::reach`].
    pub fn narrow(&self, filter: &Filter, scope: Scope) -> Result<Filter> {
        let admitted = match (&self.0, scope) {
            (_, Scope::All) | (Seen::Files(_), Scope::Mine) => None,
            (Seen::Files(yours), Scope::Merged) => {
                Some(Admitted { hidden: Some(yours.iter().map(ToString::to_string).collect()), ..Admitted::default() })
            }
            (Seen::Commits(graph), scope) => Some(graph.admitted(scope == Scope::Mine)?),
        };
        Ok(Filter { admitted, ..filter.clone() })
    }

    /// Returns what was found out and is worth keeping.
    fn findings(&self) -> Result<Option<Findings>> {
        match &self.0 {
            Seen::Files(_) => Ok(None),
            Seen::Commits(graph) => graph.findings(),
        }
    }

    /// Returns what HEAD leads to, when that took long to find out.
    fn mine(&self) -> Option<Mine> {
        match &self.0 {
            Seen::Files(_) => None,
            Seen::Commits(graph) => graph.mine(),
        }
    }
}
