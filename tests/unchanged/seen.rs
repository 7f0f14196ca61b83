//! What an operation printed and left behind, and how two of them differ.

use std::collections::BTreeMap;
use std::path::Path;

use super::Mode;
use crate::support::Ran;

/// Lines that are shown of each difference.
const SHOWN: usize = 8;

/// An operation, seen from outside: named lists of lines.
pub struct Seen {
    parts: BTreeMap<String, Vec<String>>,
}

impl Seen {
    pub fn of(ran: Ran, root: &Path) -> Self {
        let mut parts = BTreeMap::new();
        parts.insert("exit status".to_owned(), vec![ran.status.to_string()]);
        parts.insert("stdout".to_owned(), lines(&ran.out, root));
        parts.insert("stderr".to_owned(), lines(&ran.err, root));
        Self { parts }
    }

    pub fn describe(&mut self, ran: &Ran, root: &Path) {
        let mut part = String::new();
        for line in lines(&ran.out, root) {
            match line.strip_prefix("## ") {
                Some(name) => name.clone_into(&mut part),
                None => self.parts.get_mut(&part).unwrap_or_else(|| panic!("{part}")).push(line),
            }
            self.parts.entry(part.clone()).or_default();
        }
    }

    /// Lists the parts of `other`, seen in this mode, that are not as here.
    pub fn differences(&self, other: &Self, mode: Mode) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, ours) in &self.parts {
            if name == "own hooks that ran" && !mode.keeps_own_hooks() {
                continue;
            }
            let seen =
                |lines: &[String]| -> Vec<String> { lines.iter().filter_map(|line| mode.seen(name, line)).collect() };
            let (ours, theirs) = (seen(ours), seen(&other.parts[name]));
            if ours != theirs {
                let only = |a: &[String], b: &[String]| {
                    let lines = a.iter().filter(|line| !b.contains(line)).take(SHOWN);
                    lines.fold(String::new(), |all, line| all + "\n    " + line)
                };
                let (gone, new) = (only(&ours, &theirs), only(&theirs, &ours));
                differences.push(format!("{name}\n  only without:{gone}\n  only with:{new}"));
            }
        }
        differences
    }
}

fn lines(text: &str, root: &Path) -> Vec<String> {
    text.replace(root.to_str().unwrap(), "ROOT").lines().map(str::to_owned).collect()
}
