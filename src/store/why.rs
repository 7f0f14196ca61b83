//! Why a file is as it is: what was learned about it under this name or an earlier one, or where one of its lines is from.
//!
//! The globs of records say which files they are about. git says what a file was called before, and which commit a line is from;
//! a lesson belongs to a line when it was learned at that commit, when the commit's message told it, or, less surely,
//! when it was learned right before: whoever finds something out records it and then commits.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use git2::Oid;
use serde_json::Value as Json;

use super::Store;
use crate::error::{Doing, Error, Result};
use crate::index::{Covering, Index, Row, fixed_part};
use crate::record::Kind;

/// Records whose evidence is looked at before they are put in order.
const WEIGHED: usize = 500;
/// Staged files that are looked at.
const STAGED_MAX: usize = 500;
/// Time for the index, once git has said what is staged.
const LOOKING: Duration = Duration::from_millis(60);
/// What speaks up before a commit: what went wrong, and what must hold.
const WARNING: [Kind; 2] = [Kind::Failure, Kind::Invariant];

/// A file or directory, and perhaps a line of it, that somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Relative to the root of the working tree.
    pub path: PathBuf,
    pub line: Option<u32>,
}

/// What is known about the staged files.
#[derive(Debug, Default)]
pub struct Warnings {
    /// The first of them.
    pub rows: Vec<Row>,
    pub total: usize,
}

/// How a record has to do with a file, the surest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tie {
    /// A glob, or a directory.
    Covers,
    /// Learned right before a line was committed.
    Before,
    /// By its former name.
    Former,
    /// By its name.
    Names,
    /// Learned at the commit of a line.
    Line,
}

struct Match {
    tie: Tie,
    /// Length of what its glob has before a wildcard.
    fixed: usize,
    found: Covering,
    why: Vec<String>,
}

/// The matches of one question, by the number of the row.
#[derive(Default)]
struct Matches(HashMap<i64, Match>);

impl Spot {
    fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl Store {
    /// Reads `PATH` or `PATH:LINE`, from where we are. A file whose name ends like that wins; a column behind the line is let be.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a path that leads out of the working tree, and for line 0.
    pub fn spot(&self, typed: &OsStr) -> Result<Spot> {
        let path = self.beneath(Path::new(typed))?;
        if self.is_here(&path) {
            return Ok(Spot { path, line: None });
        }
        let Some((first, number)) = numbered(typed) else { return Ok(Spot { path, line: None }) };
        let (mut path, mut line) = (self.beneath(Path::new(&first))?, number);
        if !self.is_here(&path)
            && let Some((second, number)) = numbered(&first)
        {
            (path, line) = (self.beneath(Path::new(&second))?, number);
        }
        if line == 0 {
            return Err(Error::invalid("line", "0 is none: lines are counted from 1"));
        }
        Ok(Spot { path, line: Some(line) })
    }

    /// Returns what was learned about files, best first, each with its reach and with `why`: what led to it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a file that neither the working tree nor HEAD's history has, or a line that it does not have.
    pub fn why(&self, spots: &[Spot], limit: usize) -> Result<Vec<Row>> {
        let mut facts = Vec::new();
        for spot in spots {
            facts.push(self.facts(spot)?);
        }
        self.read(|index| {
            let mut matches = Matches::default();
            for (spot, facts) in spots.iter().zip(&facts) {
                let whose = if spots.len() > 1 { format!("{}: ", spot.name()) } else { String::new() };
                // What a record names need not be there yet; what a pattern covers may be mistyped.
                let is_named = |found: &Covering| found.glob == spot.name();
                self.collect(index, spot, facts, &whose, &mut matches)?;
                if !facts.is_known && !matches.0.values().any(|one| is_named(&one.found)) {
                    return Err(Error::invalid(
                        "path",
                        format!("{} is neither in the working tree nor in HEAD's history", spot.path.display()),
                    ));
                }
            }
            let horizon = self.horizon(index)?;
            let mut rows = matches.best(index, limit)?;
            rows.iter_mut().try_for_each(|row| horizon.label(row))?;
            Ok(rows)
        })
    }

    /// Returns the failures and invariants about what is staged, at most `limit`. With `at_once` it takes no lock, waits for
    /// nobody and answers from the index as it is.
    ///
    /// # Errors
    /// When git cannot say what is staged within `patience`, or the index cannot be read.
    pub fn warnings(&self, limit: usize, patience: Duration, at_once: bool) -> Result<Warnings> {
        let mut staged = self.repo.staged(patience)?;
        if staged.is_empty() {
            return Ok(Warnings::default());
        }
        staged.truncate(STAGED_MAX);
        let look = |index: &Index| {
            let begun = Instant::now();
            let mut matches = Matches::default();
            for changed in &staged {
                if begun.elapsed() > LOOKING {
                    break;
                }
                let name = changed.path.to_string_lossy();
                matches.about(index, &name, &format!("{name}: "), &WARNING)?;
                if let Some(was) = &changed.was {
                    matches.formerly(index, &was.to_string_lossy(), &format!("{name}: "), &WARNING)?;
                }
            }
            let total = matches.0.len();
            Ok(Warnings { rows: matches.best(index, limit)?, total })
        };
        if !at_once {
            return self.read(look);
        }
        let Some(index) = Index::read(&self.index_dir)? else { return Ok(Warnings::default()) };
        index.hurry(LOOKING)?;
        look(&index)
    }

    /// Asks git about a file, before the index is opened.
    fn facts(&self, spot: &Spot) -> Result<Facts> {
        let git = self.repo.git();
        let is_there = self.in_worktree(&spot.path);
        let in_head = self.in_head(&spot.path);
        let is_directory = match (self.repo.workdir(), is_there) {
            (Some(root), true) => root.join(&spot.path).symlink_metadata().is_ok_and(|meta| meta.is_dir()),
            _ => in_head == Some(git2::ObjectType::Tree),
        };
        if is_directory {
            if let Some(line) = spot.line {
                return Err(Error::invalid("line", format!("{line}: {} is a directory", spot.path.display())));
            }
            return Ok(Facts { is_known: true, is_directory, ..Facts::default() });
        }
        let is_born = git.head().is_ok();
        let gone = if is_born && !is_there && in_head.is_none() { self.repo.last_change(&spot.path)? } else { None };
        let is_known = is_there || in_head.is_some() || gone.is_some();
        let mut facts = Facts { is_known, ..Facts::default() };
        if !is_born || !is_known {
            return Ok(facts);
        }
        facts.former =
            self.repo.earlier_names(&spot.path)?.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if let Some(line) = spot.line {
            let at = match gone {
                // What deleted it does not have it any more; what came before does.
                Some(commit) => Some(format!("{commit}^")),
                None if is_there => None,
                None => Some("HEAD".into()),
            };
            facts.line = Some(self.origin(&spot.path, line, at.as_deref())?);
        }
        Ok(facts)
    }

    fn origin(&self, path: &Path, line: u32, at: Option<&str>) -> Result<Origin> {
        let git = self.repo.git();
        let Some(commit) = self.repo.blame(path, line, at)? else {
            let head = git.head().and_then(|head| head.peel_to_commit()).doing(|| "read HEAD".into())?;
            return Ok(Origin { line, commit: None, before: vec![head.id()] });
        };
        let before = git.find_commit(commit).map(|commit| commit.parent_ids().collect()).unwrap_or_default();
        Ok(Origin { line, commit: Some(commit), before })
    }

    fn collect(&self, index: &Index, spot: &Spot, facts: &Facts, whose: &str, matches: &mut Matches) -> Result<()> {
        let name = spot.name();
        if let Some(Origin { line, commit, before }) = &facts.line {
            let short = |oid: &Oid| oid.to_string()[..10].to_owned();
            if let Some(commit) = commit {
                for found in index.learned_at(&commit.to_string())? {
                    matches.add(Tie::Line, 0, found, format!("{whose}commit {} of line {line}", short(commit)));
                }
                for id in self.said_by(*commit) {
                    if let Some(found) = index.active(id)? {
                        let why = format!("{whose}message of commit {} of line {line}", short(commit));
                        matches.add(Tie::Line, 0, found, why);
                    }
                }
            }
            for before in before {
                let why = match commit {
                    Some(commit) => {
                        format!("{whose}commit {} before {} of line {line}", short(before), short(commit))
                    }
                    None => format!("{whose}commit {} before line {line}, not committed yet", short(before)),
                };
                for found in index.learned_at(&before.to_string())? {
                    matches.add(Tie::Before, 0, found, why.clone());
                }
            }
        }
        matches.about(index, &name, whose, &[])?;
        if facts.is_directory {
            for found in index.below(&name)? {
                let why = format!("{whose}path {}", found.glob);
                matches.add(Tie::Covers, fixed_part(&found.glob).len(), found, why);
            }
        }
        facts.former.iter().try_for_each(|former| matches.formerly(index, former, whose, &[]))
    }

    /// Tells whether a file, directory or link is in the working tree or in HEAD.
    fn is_here(&self, path: &Path) -> bool {
        self.in_worktree(path) || self.in_head(path).is_some()
    }

    fn in_worktree(&self, path: &Path) -> bool {
        self.repo.workdir().is_some_and(|root| root.join(path).symlink_metadata().is_ok())
    }

    fn in_head(&self, path: &Path) -> Option<git2::ObjectType> {
        let tree = self.repo.git().head().ok()?.peel_to_tree().ok()?;
        tree.get_path(path).ok()?.kind()
    }

    /// Returns a path relative to the root of the working tree; in a bare repository what was typed is.
    fn beneath(&self, typed: &Path) -> Result<PathBuf> {
        let outside = || Error::invalid("path", format!("{} is outside of the working tree", typed.display()));
        let Some(root) = self.repo.workdir() else {
            return normal(typed).filter(|path| path.is_relative()).ok_or_else(outside);
        };
        let doing = || "find out where we are".to_owned();
        let root = root.canonicalize().doing(doing)?;
        let path = normal(&std::env::current_dir().doing(doing)?.join(typed)).ok_or_else(outside)?;
        if let Ok(inside) = path.strip_prefix(&root) {
            return Ok(inside.to_owned());
        }
        // By way of a link; the last part may be one that git tracks.
        let real = path.ancestors().skip(1).find_map(|above| {
            let rest = path.strip_prefix(above).ok()?;
            Some(above.canonicalize().ok()?.join(rest))
        });
        let whole = path.canonicalize().ok();
        let inside =
            [real, whole].into_iter().flatten().find_map(|path| Some(path.strip_prefix(&root).ok()?.to_owned()));
        inside.ok_or_else(outside)
    }
}

/// What git says about a file.
#[derive(Default)]
struct Facts {
    is_known: bool,
    is_directory: bool,
    former: Vec<String>,
    line: Option<Origin>,
}

/// Where a line is from.
struct Origin {
    line: u32,
    /// `None` when it is not committed yet.
    commit: Option<Oid>,
    /// What was there when it was written.
    before: Vec<Oid>,
}

impl Matches {
    /// Adds the records that are about a file by its name.
    fn about(&mut self, index: &Index, name: &str, whose: &str, kinds: &[Kind]) -> Result<()> {
        for found in index.covering(name, kinds)? {
            let tie = if found.glob == name { Tie::Names } else { Tie::Covers };
            let why = format!("{whose}path {}", found.glob);
            self.add(tie, fixed_part(&found.glob).len(), found, why);
        }
        Ok(())
    }

    /// Adds the records that are about a file by a former name, unless they are about it anyway.
    fn formerly(&mut self, index: &Index, name: &str, whose: &str, kinds: &[Kind]) -> Result<()> {
        for found in index.covering(name, kinds)? {
            if self.0.contains_key(&found.row) {
                continue;
            }
            let tie = if found.glob == name { Tie::Former } else { Tie::Covers };
            self.add(tie, fixed_part(&found.glob).len(), found, format!("{whose}was {name}"));
        }
        Ok(())
    }

    fn add(&mut self, tie: Tie, fixed: usize, found: Covering, why: String) {
        let new = Match { tie, fixed, found, why: Vec::new() };
        let one = self.0.entry(new.found.row).or_insert(new);
        (one.tie, one.fixed) = (one.tie, one.fixed).max((tie, fixed));
        if !one.why.contains(&why) {
            one.why.push(why);
        }
    }

    /// Returns the best of them as records: the surest first, then failures and invariants, then by weight.
    fn best(self, index: &Index, limit: usize) -> Result<Vec<Row>> {
        let mut matches: Vec<_> = self.0.into_values().collect();
        let warns = |kind: &str| WARNING.iter().any(|warning| warning.name() == kind);
        let rough = |one: &Match| (one.tie, one.fixed, warns(&one.found.kind));
        matches.sort_by(|a, b| rough(b).cmp(&rough(a)).then(b.found.created.cmp(&a.found.created)));
        matches.truncate(WEIGHED.max(limit));
        let mut rows = Vec::new();
        for one in matches {
            rows.push((index.row(one.found.row)?, one));
        }
        let fine = |(row, one): &(Row, Match)| (rough(one), weight(row), one.found.created, one.found.row);
        rows.sort_by_key(|row| std::cmp::Reverse(fine(row)));
        rows.truncate(limit);
        let with_reasons = |(mut row, one): (Row, Match)| {
            row.0.insert("why".into(), Json::from(one.why));
            row
        };
        Ok(rows.into_iter().map(with_reasons).collect())
    }
}

/// Weighs how bad it is, and then how much speaks for it.
fn weight(row: &Row) -> (i64, bool, i64) {
    let count = |key: &str| row.0.get(key).and_then(Json::as_i64).unwrap_or_default();
    let severity = match row.text("severity") {
        "error" => 4,
        "warning" => 3,
        "info" => 1,
        _ => count("severity"),
    };
    (severity, row.is("golden"), count("validated") + count("sighted") - count("violated"))
}

/// Takes the number off the end of `TEXT:NUMBER`, with or without a colon behind it.
fn numbered(text: &OsStr) -> Option<(OsString, u32)> {
    let bytes = text.as_bytes();
    let bytes = bytes.strip_suffix(b":").unwrap_or(bytes);
    let colon = bytes.iter().rposition(|byte| *byte == b':').filter(|at| *at > 0)?;
    let number = std::str::from_utf8(&bytes[colon + 1..]).ok()?;
    let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten()?;
    Some((OsString::from_vec(bytes[..colon].to_owned()), number))
}

/// Takes `.` and `..` out of a path without looking at the disk; `None` when it leads above its root.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !parts.pop() {
                    return None;
                }
            }
            part => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_stands_behind_the_last_colon() {
        for (typed, expected) in [
            ("a.rs:12", Some(("a.rs", 12))),
            ("a.rs:12:", Some(("a.rs", 12))),
            ("a.rs:12:5", Some(("a.rs:12", 5))),
            ("a:b:3", Some(("a:b", 3))),
            ("a.rs:", None),
            ("a.rs:x", None),
            (":3", None),
            ("a.rs:99999999999", None),
            ("a.rs:+1", None),
        ] {
            let expected = expected.map(|(path, line)| (OsString::from(path), line));
            assert_eq!(numbered(OsStr::new(typed)), expected, "{typed}");
        }
    }

    #[test]
    fn a_path_is_made_plain_without_leaving_its_root() {
        for (path, expected) in
            [("a/./b/../c", Some("a/c")), ("..", None), ("a/../..", None), ("./", Some("")), ("/a/..", Some("/"))]
        {
            assert_eq!(normal(Path::new(path)), expected.map(PathBuf::from), "{path}");
        }
    }
}
