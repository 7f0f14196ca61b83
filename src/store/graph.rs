//! The graph of commits, as far as one question needs it.
//!
//! The graph of commits is walked once: what was found out about the commits of records is kept in the index, with the tips
//! that it was found out for. When the main line has moved forward, what is new on it alone is walked. A question answers from
//! memory and then tries the lock once, if there is much to keep. Every worktree has its own HEAD: what is yours is a walk to where
//! its history meets the main line. When that takes long its end is kept, and is good for as long as both move forward: what
//! has been merged since counts as merged first.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use git2::{OdbLookupFlags, Oid, Repository, Revwalk};

use super::{Reach, Store};
use crate::error::{Doing, Result};
use crate::index::{Admitted, Findings, Index, Learned, MainStamp, Mine};
use crate::repo::{MainLine, object_id, parse_oid};

/// Commits that are asked for one by one; for more of them the main line is walked from its tip.
const FEW: usize = 32;
/// Commits found out that are worth a write to the index.
const WORTH_KEEPING: usize = 64;
/// Time after which whatever was found out is.
const SLOW: Duration = Duration::from_millis(5);
/// Most commits that are kept of a worktree: 200 KB of names.
const MINE_MAX: usize = 5_000;
/// Longest end of HEAD's reflog that is read, in bytes: some 2,500 steps.
const REFLOG_MAX: u64 = 512 * 1024;

/// The graph of commits, as far as it was walked.
pub(super) struct Graph<'a> {
    git: &'a Repository,
    index: &'a Index,
    main: MainLine,
    stamp: MainStamp,
    basis: Basis,
    examined: OnceCell<HashMap<Oid, bool>>,
    yours: OnceCell<HashSet<Oid>>,
    /// What took long to find out.
    slow: OnceCell<Mine>,
    begun: Instant,
}

/// What the cache is worth.
enum Basis {
    /// It was made for an older state of the main line; these commits are new on it.
    Cache { stamp: MainStamp, fresh: HashSet<Oid> },
    /// Nothing: the main line was rewritten, or nobody has looked yet.
    Nothing,
}

impl<'a> Graph<'a> {
    pub fn new(store: &'a Store, index: &'a Index, main: MainLine) -> Result<Self> {
        let begun = Instant::now();
        let git = store.repo.git();
        let tree = index.stamp()?.map(|stamp| stamp.tree).unwrap_or_default();
        let stamp = MainStamp { tips: tips_and_bounds(store, &main), tree };
        let cached = index.main_stamp()?;
        let basis = cached.and_then(|cached| basis(git, &main, &stamp, cached)).unwrap_or(Basis::Nothing);
        let (examined, yours, slow) = Default::default();
        Ok(Self { git, index, main, stamp, basis, examined, yours, slow, begun })
    }

    pub fn reach(&self, commit: &str) -> Result<Reach> {
        let Ok(oid) = parse_oid(commit) else { return Ok(Reach::Unknown) };
        Ok(if self.is_merged(commit, oid)? {
            Reach::Merged
        } else if self.yours()?.contains(&oid) {
            Reach::Yours
        } else if has(self.git, oid) {
            Reach::Unmerged
        } else {
            Reach::Unknown
        })
    }

    fn is_merged(&self, commit: &str, oid: Oid) -> Result<bool> {
        if self.main.tips.is_empty() {
            return Ok(false);
        }
        if let Basis::Cache { fresh, .. } = &self.basis {
            if fresh.contains(&oid) {
                return Ok(true);
            }
            if let Some(merged) = self.index.was_merged(commit)? {
                return Ok(merged);
            }
        }
        Ok(self.examined()?.get(&oid).copied().unwrap_or_default())
    }

    /// Finds out which of the commits that the cache does not know are on the main line.
    fn examined(&self) -> Result<&HashMap<Oid, bool>> {
        if let Some(examined) = self.examined.get() {
            return Ok(examined);
        }
        let is_cached = matches!(self.basis, Basis::Cache { .. });
        let commits = self.index.learned(if is_cached { Learned::Unseen } else { Learned::Any })?;
        let examined = self.examine(commits.iter().filter_map(|commit| parse_oid(commit).ok()).collect());
        Ok(self.examined.get_or_init(|| examined))
    }

    fn examine(&self, wanted: HashSet<Oid>) -> HashMap<Oid, bool> {
        let mut examined: HashMap<_, _> = wanted.iter().map(|oid| (*oid, false)).collect();
        let mut left: HashSet<_> = wanted.into_iter().filter(|oid| has(self.git, *oid)).collect();
        if let Basis::Cache { fresh, .. } = &self.basis {
            left.retain(|oid| {
                let is_fresh = fresh.contains(oid);
                examined.insert(*oid, is_fresh);
                !is_fresh
            });
        }
        if left.len() <= FEW {
            // What a walk that stops at the main line meets is off it, unless clocks were wrong: so each is asked once more.
            let off = walk(self.git, left.iter(), &self.main.tips).unwrap_or_else(|_| left.clone());
            for oid in left {
                examined
                    .insert(oid, !off.contains(&oid) || self.main.tips.iter().any(|tip| leads_to(self.git, *tip, oid)));
            }
            return examined;
        }
        // From the tips down, whatever the clocks said, until nothing is left to be found.
        for oid in steps(self.git, self.main.tips.iter(), &[]).into_iter().flatten().map_while(std::result::Result::ok)
        {
            if left.remove(&oid) {
                examined.insert(oid, true);
                if left.is_empty() {
                    break;
                }
            }
        }
        examined
    }

    /// Finds the commits that HEAD leads to and the main line does not, and those where HEAD of this worktree was. Some may be
    /// merged, which counts more.
    fn yours(&self) -> Result<&HashSet<Oid>> {
        if let Some(yours) = self.yours.get() {
            return Ok(yours);
        }
        let mut yours = reflog(self.git);
        if let Ok(head) = self.git.head().and_then(|head| head.peel_to_commit()) {
            yours.insert(head.id());
            if !self.main.tips.contains(&head.id()) {
                yours.extend(self.led_to(head.id())?);
            }
        }
        Ok(self.yours.get_or_init(|| yours))
    }

    /// Walks from HEAD to where it meets the main line, or to where HEAD of this worktree was when that was kept.
    fn led_to(&self, head: Oid) -> Result<HashSet<Oid>> {
        let begun = Instant::now();
        let doing = || "walk HEAD's history".to_owned();
        let worktree = self.git.path().strip_prefix(self.git.commondir()).unwrap_or(self.git.path());
        let worktree = worktree.to_string_lossy().into_owned();
        let kept = self.index.mine(&worktree)?.filter(|kept| self.went_forward(&kept.tips));
        let before = kept.as_ref().and_then(|kept| parse_oid(&kept.head).ok());
        let before =
            before.filter(|before| *before == head || has(self.git, *before) && leads_to(self.git, head, *before));
        let found = match (kept, before) {
            (Some(kept), Some(before)) => {
                let mut found = walk(self.git, [head].iter(), &[before]).doing(doing)?;
                found.extend(kept.commits.split_whitespace().filter_map(|name| parse_oid(name).ok()));
                found
            }
            _ => walk(self.git, [head].iter(), &self.main.tips).doing(doing)?,
        };
        if begun.elapsed() > SLOW && found.len() <= MINE_MAX {
            let commits: Vec<_> = found.iter().map(ToString::to_string).collect();
            let (head, tips, commits) = (head.to_string(), self.stamp.tips.clone(), commits.join(" "));
            let _ = self.slow.set(Mine { worktree, head, tips, commits });
        }
        Ok(found)
    }

    /// Tells whether the main line leads to all that it led to when its tips were these.
    fn went_forward(&self, tips: &str) -> bool {
        tips == self.stamp.tips || forward(self.git, &self.main, &self.stamp.tips, tips).is_some()
    }

    /// Returns what HEAD leads to, when that took long to find out.
    pub fn mine(&self) -> Option<Mine> {
        self.slow.get().cloned()
    }

    pub fn admitted(&self, mine: bool) -> Result<Admitted> {
        let mut commits = HashSet::new();
        let cached = match &self.basis {
            _ if self.main.tips.is_empty() => false,
            Basis::Nothing => false,
            Basis::Cache { fresh, .. } => {
                commits.extend(fresh.iter().copied());
                true
            }
        };
        if !self.main.tips.is_empty() && (!cached || !self.has_seen_all()) {
            commits.extend(self.examined()?.iter().filter(|(_, merged)| **merged).map(|(oid, _)| *oid));
        }
        if mine {
            commits.extend(self.yours()?.iter().copied());
            // The cache says of most that they are merged, and nothing more has to be known of those.
            let learned = self.index.learned(if cached { Learned::OffMain } else { Learned::Any })?;
            let left = learned.iter().filter_map(|commit| parse_oid(commit).ok()).filter(|oid| !commits.contains(oid));
            let absent: Vec<_> = left.filter(|oid| !has(self.git, *oid)).collect();
            commits.extend(absent);
        }
        let commits = commits.iter().map(ToString::to_string).collect();
        Ok(Admitted { cached, commits, without_commit: mine, hidden: None })
    }

    /// Tells whether the cache knows the commit of every record.
    fn has_seen_all(&self) -> bool {
        matches!(&self.basis, Basis::Cache { stamp, .. } if stamp.tree == self.stamp.tree && !stamp.tree.is_empty())
    }

    pub fn findings(&self) -> Result<Option<Findings>> {
        if self.main.tips.is_empty() {
            return Ok(None);
        }
        let examined = self.examined.get().map(|examined| examined.iter().collect::<Vec<_>>()).unwrap_or_default();
        let (base, fresh) = match &self.basis {
            Basis::Nothing if examined.is_empty() => return Ok(None),
            Basis::Nothing => (None, 0),
            Basis::Cache { stamp, fresh } => (Some(stamp.clone()), fresh.len()),
        };
        if base.is_some() && fresh + examined.len() <= WORTH_KEEPING && self.begun.elapsed() < SLOW {
            return Ok(None);
        }
        let mut commits: HashMap<_, _> = examined.into_iter().map(|(oid, merged)| (oid.to_string(), *merged)).collect();
        if let Basis::Cache { fresh, .. } = &self.basis {
            let learned = self.index.learned(Learned::Any)?;
            let is_fresh = |commit: &String| parse_oid(commit).is_ok_and(|oid| fresh.contains(&oid));
            commits.extend(learned.into_iter().filter(is_fresh).map(|commit| (commit, true)));
        }
        let mut stamp = self.stamp.clone();
        if self.examined.get().is_none() {
            // Not every record was asked for.
            stamp.tree = base.as_ref().map(|base| base.tree.clone()).unwrap_or_default();
        }
        if base.as_ref() == Some(&stamp) && commits.is_empty() {
            return Ok(None);
        }
        Ok(Some(Findings { base, stamp, commits: commits.into_iter().collect() }))
    }
}

/// Tells what a cache is worth that was made for `cached`; `None` when nothing.
fn basis(git: &Repository, main: &MainLine, stamp: &MainStamp, cached: MainStamp) -> Option<Basis> {
    if cached.tips == stamp.tips {
        return Some(Basis::Cache { stamp: cached, fresh: HashSet::new() });
    }
    let old = forward(git, main, &stamp.tips, &cached.tips)?;
    let fresh = walk(git, main.tips.iter(), &old).ok()?;
    Some(Basis::Cache { stamp: cached, fresh })
}

/// Returns the tips that the main line had, when all that it led to then it leads to now.
fn forward(git: &Repository, main: &MainLine, now: &str, then: &str) -> Option<Vec<Oid>> {
    let ((old, bounds), (_, bounds_now)) = (then.split_once('|')?, now.split_once('|')?);
    let old: Vec<_> = old.split_whitespace().map(parse_oid).collect::<std::result::Result<_, _>>().ok()?;
    let is_led_to = |old: &Oid| main.tips.iter().any(|tip| leads_to(git, *tip, *old));
    (bounds == bounds_now && old.iter().all(is_led_to)).then_some(old)
}

/// Names what decides which commits the main line reaches: its tips, and where a shallow clone ends.
fn tips_and_bounds(store: &Store, main: &MainLine) -> String {
    let tips: Vec<_> = main.tips.iter().map(ToString::to_string).collect();
    let bounds = std::fs::read(store.repo.common_dir().join("shallow")).unwrap_or_default();
    let bounds = if bounds.is_empty() {
        String::new()
    } else {
        object_id(store.repo.git(), git2::ObjectType::Blob, &bounds).to_string()
    };
    format!("{}|{bounds}", tips.join(" "))
}

/// Tells whether a commit is in this clone.
fn has(git: &Repository, oid: Oid) -> bool {
    git.odb().is_ok_and(|odb| odb.exists_ext(oid, OdbLookupFlags::NO_REFRESH))
}

/// Tells whether `descendant` leads to `ancestor`. It is exact, whatever the clocks said.
fn leads_to(git: &Repository, descendant: Oid, ancestor: Oid) -> bool {
    descendant == ancestor || git.graph_descendant_of(descendant, ancestor).unwrap_or_default()
}

/// Returns the commits that `from` leads to and `hidden` does not.
fn walk<'o>(
    git: &Repository,
    from: impl Iterator<Item = &'o Oid>,
    hidden: &[Oid],
) -> std::result::Result<HashSet<Oid>, git2::Error> {
    steps(git, from, hidden)?.collect()
}

fn steps<'r, 'o>(
    git: &'r Repository,
    from: impl Iterator<Item = &'o Oid>,
    hidden: &[Oid],
) -> std::result::Result<Revwalk<'r>, git2::Error> {
    let mut walk = git.revwalk()?;
    for oid in from {
        walk.push(*oid)?;
    }
    for oid in hidden {
        walk.hide(*oid)?;
    }
    Ok(walk)
}

/// Reads where HEAD of this worktree was, as far as its reflog goes back.
fn reflog(git: &Repository) -> HashSet<Oid> {
    let read = || {
        let mut file = File::open(git.path().join("logs/HEAD"))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(REFLOG_MAX)))?;
        let mut bytes = Vec::new();
        file.take(REFLOG_MAX).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes: Vec<u8> = read().unwrap_or_default();
    let names = bytes.split(|byte| *byte == b'\n').flat_map(|line| line.splitn(3, |byte| *byte == b' ').take(2));
    names.filter_map(|name| parse_oid(std::str::from_utf8(name).ok()?).ok()).filter(|oid| !oid.is_zero()).collect()
}
