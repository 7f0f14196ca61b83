//! Walking trees: what differs between two of them, in time proportional to the difference.
//!
//! A tree may come from anybody. So the walk goes only where the layout has a place for records, `<kind>s/a/b/c/<id>…`, and
//! everything else in a directory becomes one line, a stray, whatever it is and however much there is of it. A few objects can
//! stand for billions of paths when every directory is the same object ten times; the layout has at most 338,251 directories,
//! and one that holds strays is read once, however often it stands somewhere.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use git2::{ObjectType, Oid};

use super::Ledger;
use crate::error::Result;
use crate::record::{Id, Kind};

/// Directories from the root to a file: kind, and three digits of the id.
const DEPTH: usize = 4;
/// Names of strays that are told, and how much of each.
const TOLD_MAX: usize = 3;
const NAME_MAX: usize = 80;

/// A file of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub oid: Oid,
    /// Git's file mode; a record is a plain file, `0o100644`.
    pub mode: i32,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A name that a record may have; whether it is one, its content says.
    File(Item),
    /// What is no part of the layout, with the reason; the path is that of the directory, with a slash.
    Stray(String),
}

/// One path that differs.
#[derive(Debug)]
pub struct Change {
    /// Path below the root; bytes that are not UTF-8 are replaced.
    pub path: String,
    pub old: Option<Content>,
    pub new: Option<Content>,
}

impl Change {
    /// Returns the file that is new, or has changed.
    pub fn new_file(&self) -> Option<Item> {
        if let Some(Content::File(item)) = self.new { Some(item) } else { None }
    }
}

/// Lists what differs. `wanted` chooses among the directories at the root; asked about the empty name, whether strays beside
/// them count.
pub(super) fn changes(
    ledger: &Ledger<'_>,
    old: Option<Oid>,
    new: Option<Oid>,
    wanted: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<()> {
    Walk { ledger, wanted, each, mixed: RefCell::default() }.compare(&mut String::new(), old, new, 0)
}

/// What a directory has a place for: the three digits of the ids in a leaf, nothing in the others.
type Place = [u8; 3];

/// The entries of one tree object.
#[derive(Default)]
struct Listing {
    fitting: HashMap<Place, Vec<(Rc<str>, Item)>>,
    /// Every entry in the order of the tree: what it fits, its name, and git's mode.
    all: Vec<(Option<Place>, Rc<str>, i32)>,
}

/// What of a tree counts at a path.
struct View {
    entries: Vec<(Rc<str>, Item)>,
    /// Path and reason.
    stray: Option<(String, String)>,
}

struct Walk<'a> {
    ledger: &'a Ledger<'a>,
    wanted: &'a dyn Fn(&str) -> bool,
    each: &'a mut dyn FnMut(Change) -> Result<()>,
    /// Trees with strays that were read: they may stand in many places.
    mixed: RefCell<HashMap<(Oid, bool), Rc<Listing>>>,
}

impl Walk<'_> {
    fn compare(&mut self, path: &mut String, old: Option<Oid>, new: Option<Oid>, depth: usize) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let (before, after) = (self.view(old, path, depth)?, self.view(new, path, depth)?);
        let stray_changed = before.stray != after.stray;
        if stray_changed && let Some((path, problem)) = before.stray {
            (self.each)(Change { path, old: Some(Content::Stray(problem)), new: None })?;
        }
        let mut was: HashMap<Rc<str>, Item> = before.entries.into_iter().collect();
        for (name, now) in after.entries {
            let was = was.remove(&name);
            if was != Some(now) {
                self.differ(path, &name, was, Some(now), depth)?;
            }
        }
        let mut gone: Vec<_> = was.into_iter().collect();
        gone.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        gone.into_iter().try_for_each(|(name, was)| self.differ(path, &name, Some(was), None, depth))?;
        match after.stray {
            Some((path, problem)) if stray_changed => {
                (self.each)(Change { path, old: None, new: Some(Content::Stray(problem)) })
            }
            _ => Ok(()),
        }
    }

    fn differ(
        &mut self,
        path: &mut String,
        name: &str,
        old: Option<Item>,
        new: Option<Item>,
        depth: usize,
    ) -> Result<()> {
        let length = path.len();
        if length > 0 {
            path.push('/');
        }
        path.push_str(name);
        if depth == DEPTH {
            let (old, new) = (old.map(Content::File), new.map(Content::File));
            (self.each)(Change { path: path.clone(), old, new })?;
        } else {
            self.compare(path, old.map(|item| item.oid), new.map(|item| item.oid), depth + 1)?;
        }
        path.truncate(length);
        Ok(())
    }

    fn view(&self, tree: Option<Oid>, path: &str, depth: usize) -> Result<View> {
        let Some(oid) = tree else { return Ok(View { entries: Vec::new(), stray: None }) };
        let listing = self.listing(oid, depth)?;
        let place = if depth == DEPTH { place_of(path) } else { Place::default() };
        let mut entries = listing.fitting.get(&place).cloned().unwrap_or_default();
        let mut count = listing.all.len() - entries.len();
        if depth == 0 {
            entries.retain(|(name, _)| (self.wanted)(name));
            if !(self.wanted)("") {
                count = 0;
            }
        }
        if count == 0 {
            return Ok(View { entries, stray: None });
        }
        self.mixed.borrow_mut().entry((oid, depth == DEPTH)).or_insert_with(|| Rc::clone(&listing));
        Ok(View { entries, stray: Some(stray(&listing, place, count, path)) })
    }

    fn listing(&self, oid: Oid, depth: usize) -> Result<Rc<Listing>> {
        if let Some(known) = self.mixed.borrow().get(&(oid, depth == DEPTH)).filter(|_| depth > 0) {
            return Ok(Rc::clone(known));
        }
        let mut listing = Listing::default();
        let Some(tree) = self.ledger.tree_at(oid)? else { return Ok(Rc::new(listing)) };
        let mut names: HashSet<Rc<str>> = HashSet::new();
        for entry in &tree {
            if depth == 0 && is_ours(entry.name_bytes()) {
                continue;
            }
            let is_tree = entry.kind() == Some(ObjectType::Tree);
            let name: Rc<str> = String::from_utf8_lossy(entry.name_bytes()).into();
            // A tree that was made by hand may have a name twice; git takes the first.
            let sound = name.as_bytes() == entry.name_bytes() && !name.contains(char::is_control);
            let place = if sound && names.insert(Rc::clone(&name)) { fitting(&name, is_tree, depth) } else { None };
            if let Some(place) = place {
                let item = Item { oid: entry.id(), mode: entry.filemode() };
                listing.fitting.entry(place).or_default().push((Rc::clone(&name), item));
            }
            listing.all.push((place, name, entry.filemode()));
        }
        Ok(Rc::new(listing))
    }
}

/// Says where an entry belongs; `None` for one that has no place at this depth.
fn fitting(name: &str, is_tree: bool, depth: usize) -> Option<Place> {
    match depth {
        0 => (is_tree && Kind::of_dir(name).is_some()).then(Place::default),
        DEPTH => Id::of_file_name(name).filter(|_| !is_tree).map(|id| {
            let id = id.as_str().as_bytes();
            [id[0], id[1], id[2]]
        }),
        _ => (is_tree && name.len() == 1 && Id::has_digit(name.as_bytes()[0])).then(Place::default),
    }
}

/// Reads the place of a leaf from its path, `<kind>s/a/b/c`.
fn place_of(path: &str) -> Place {
    let mut digits = path.rsplit('/').filter_map(|part| part.bytes().next());
    let (third, second, first) = (digits.next(), digits.next(), digits.next());
    [first, second, third].map(Option::unwrap_or_default)
}

fn told(name: &str, mode: i32) -> String {
    let sort = match mode {
        0o040_000 => " (a directory)",
        0o120_000 => " (a symbolic link)",
        0o160_000 => " (a submodule)",
        _ => "",
    };
    match name.char_indices().nth(NAME_MAX) {
        Some((end, _)) => format!("{:?}…{sort}", &name[..end]),
        None => format!("{name:?}{sort}"),
    }
}

/// Describes the strays of a directory in one line.
fn stray(listing: &Listing, place: Place, count: usize, path: &str) -> (String, String) {
    let strays = listing.all.iter().filter(|(fits, ..)| *fits != Some(place));
    let told: Vec<_> = strays.take(TOLD_MAX).map(|(_, name, mode)| told(name, *mode)).collect();
    let directory = if path.is_empty() { "./".to_owned() } else { format!("{path}/") };
    let more = if count > told.len() { format!(" and {} more", count - told.len()) } else { String::new() };
    let (entries, are) = if count == 1 { ("entry", "is") } else { ("entries", "are") };
    let problem = format!("holds {count} {entries} that {are} no part of a memory here: {}{more}", told.join(", "));
    (directory, problem)
}

/// Tells whether a name at the root says something about the ledger and is no record.
fn is_ours(name: &[u8]) -> bool {
    name == b"README.md" || name == super::MOVED.as_bytes()
}
