//! What the holder of the lock does for everybody.

use std::collections::HashMap;

use git2::Oid;

use super::Store;
use super::catch_up::{Goal, Known, Unreadable};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fault;
use crate::ledger::{Ledger, NewFile, Published, Tip};
use crate::lock::RepoLock;
use crate::record::{Id, Record};
use crate::spool::{self, Entry};

/// Most titles that a commit message lists.
const LISTED_MAX: usize = 100;
/// How often a ref that somebody else keeps moving is tried.
const ATTEMPTS: u32 = 100;

/// What a drain did.
#[derive(Debug, Default)]
pub struct Drained {
    /// Records that are new in the ledger, from the spool and handed over directly.
    pub committed: usize,
    /// Those of them that were handed over directly.
    pub imported: usize,
    /// Records handed over directly that were there already, with the same content.
    pub present: usize,
    /// The ledger's tip afterwards.
    pub tip: Option<Tip>,
}

/// Entries sorted by what has to happen to them.
#[derive(Default)]
struct Sorted {
    new: Vec<Entry>,
    present: Vec<Entry>,
    /// Names of entries that cannot be read and are not needed: the ledger has what their names say.
    spent: Vec<String>,
}

impl Store {
    /// Commits every waiting record and `direct` in one commit, brings the index up to date and empties the spool.
    ///
    /// `reject` is told about each record of `direct` whose id stands for something else already. An entry that fails for
    /// its own reason never blocks the others.
    ///
    /// # Errors
    /// When the ledger could not be written; the entries stay in the spool then.
    pub fn drain(
        &self,
        lock: &RepoLock<'_>,
        direct: Vec<Entry>,
        reject: &mut dyn FnMut(&Record, &Error),
    ) -> Result<Drained> {
        // Configuration may have changed while this process waited.
        let config = Config::load(&self.repo)?;
        let ledger = Ledger::new(&self.repo, &config.ledger_ref).signing(config.signs);
        let mut direct = direct;
        for _ in 0..ATTEMPTS {
            let base = self.healed_tip(lock, &ledger)?;
            let sorted = match self.sort(lock, &ledger, base, &mut direct, reject) {
                Err(Error::Git { .. }) if self.mend(lock, &ledger)? => continue,
                sorted => sorted?,
            };
            fault!("spool-listed");
            let tip = match base {
                Some(tip) if sorted.new.is_empty() => tip,
                None if sorted.new.is_empty() => return Ok(Drained::default()),
                _ => match self.publish(lock, &ledger, base, &sorted.new)? {
                    Published::At(tip) => tip,
                    Published::Moved => {
                        direct = sorted.new.into_iter().filter(Entry::is_direct).collect();
                        continue;
                    }
                },
            };
            return self.finish(lock, &ledger, base, tip, &sorted);
        }
        Err(Error::RefLocked { path: ledger.name().to_owned() })
    }

    /// Reads the spool and compares each entry with the tree.
    fn sort(
        &self,
        lock: &RepoLock<'_>,
        ledger: &Ledger<'_>,
        base: Option<Tip>,
        direct: &mut Vec<Entry>,
        reject: &mut dyn FnMut(&Record, &Error),
    ) -> Result<Sorted> {
        let listing = self.spool.list()?;
        let mut sorted = Sorted::default();
        for (name, error) in &listing.malformed {
            // A power cut may bring the name of a removed entry back, without its content.
            if let (Some(tip), Error::Invalid { .. }) = (base, error)
                && let Some((id, blob)) = spool::promised(name)
                && ledger.holds(tip.tree, id, blob)?
            {
                sorted.spent.push(name.clone());
                continue;
            }
            self.say(&format!("spool/{name} cannot be read ({error}); it is kept, and git elf check names it"));
            self.spool.put_aside(lock, name, error)?;
        }
        let mut in_tree = Vec::new();
        for entry in listing.entries.iter().chain(direct.iter()) {
            in_tree.push(match base {
                Some(tip) => ledger.find(tip.tree, entry.record.kind, entry.record.id)?,
                None => None,
            });
        }
        let mut seen: HashMap<Id, Oid> = HashMap::new();
        for (entry, found) in listing.entries.into_iter().chain(direct.drain(..)).zip(in_tree) {
            let blob = entry.blob();
            // What a filter made of the text has another name; what counts is the text.
            let found = match found {
                Some((path, stored)) if stored != blob && ledger.says(&path, stored, &entry.text)? => {
                    sorted.present.push(entry);
                    continue;
                }
                found => found.map(|(_, blob)| blob),
            };
            let known = seen.get(&entry.record.id).copied().or(found);
            match known {
                None => {
                    seen.insert(entry.record.id, blob);
                    sorted.new.push(entry);
                }
                Some(known) if known == blob => {
                    if found.is_some() && !ledger.is_sound_blob(blob)? {
                        ledger.restore(lock, &entry.text)?;
                        self.tell_healed(&format!("wrote the torn object {blob} of {} again", entry.record.id));
                    }
                    sorted.present.push(entry);
                }
                Some(_) => {
                    let error = Error::invalid("id", format!("{} stands for another record already", entry.record.id));
                    match entry.spool_name() {
                        Some(name) => {
                            self.say(&format!(
                                "spool/{name} is put aside ({error}); it is kept, and git elf check names it"
                            ));
                            self.spool.put_aside(lock, name, &error)?;
                        }
                        None => reject(&entry.record, &error),
                    }
                }
            }
        }
        Ok(sorted)
    }

    fn publish(&self, lock: &RepoLock<'_>, ledger: &Ledger<'_>, base: Option<Tip>, new: &[Entry]) -> Result<Published> {
        let files: Vec<_> =
            new.iter().map(|entry| NewFile { path: ledger.path_of(&entry.record), text: &entry.text }).collect();
        let hidden = ledger.may_filter() && files.iter().any(|file| ledger.is_filtered(&file.path));
        let message = if hidden { format!("elf: record {}\n", counted(new.len())) } else { message(new) };
        ledger.commit(lock, base, &files, &message, &self.repo.identity()?)
    }

    fn finish(
        &self,
        lock: &RepoLock<'_>,
        ledger: &Ledger<'_>,
        base: Option<Tip>,
        tip: Tip,
        sorted: &Sorted,
    ) -> Result<Drained> {
        if sorted.new.is_empty() && !(sorted.present.is_empty() && sorted.spent.is_empty()) {
            // Somebody committed these and may have died before the ref was durable.
            ledger.sync_ref(lock)?;
        }
        let known = Known { base, entries: &sorted.new };
        // The index names the objects as they are stored, which a filter decides.
        let known = (!ledger.may_filter()).then_some(&known);
        let goal = Goal { ledger, tip: Some(tip), known, unreadable: Unreadable::Stops };
        if let Err(error) = self.catch_up(lock, &goal) {
            self.say(&format!("the index is behind and the next command mends it: {error}"));
        }
        fault!("index-written");
        self.spool.remove(lock, &sorted.new)?;
        self.spool.remove(lock, &sorted.present)?;
        self.spool.remove_spent(lock, &sorted.spent)?;
        let direct = |entries: &[Entry]| entries.iter().filter(|entry| entry.is_direct()).count();
        let (committed, imported) = (sorted.new.len(), direct(&sorted.new));
        Ok(Drained { committed, imported, present: direct(&sorted.present), tip: Some(tip) })
    }
}

fn counted(records: usize) -> String {
    if records == 1 { "1 memory".to_owned() } else { format!("{records} memories") }
}

/// Writes the commit message: the title of one record, or a list.
fn message(new: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let title: String = entry.record.title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{}: {title}", entry.record.kind)
    };
    if let [one] = new {
        return format!("elf: record {}\n", line(one));
    }
    let mut message = format!("elf: record {} memories\n\n", new.len());
    for entry in new.iter().take(LISTED_MAX) {
        message.push_str(&format!("- {}\n", line(entry)));
    }
    if new.len() > LISTED_MAX {
        message.push_str(&format!("… and {} more\n", new.len() - LISTED_MAX));
    }
    message
}
