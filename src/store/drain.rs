//! What the holder of the lock does for everybody.

use std::collections::HashMap;
use std::time::Duration;

use git2::Oid;

use super::Store;
use super::catch_up::{Known, Unreadable};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fault;
use crate::ledger::{Ledger, NewCommit, NewFile, Published, Tip};
use crate::lock::RepoLock;
use crate::record::{Id, Record};
use crate::spool::{self, Entry, Listing};

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
    /// Set when nothing was committed, since the user does that: what is new is queued.
    pub waits: bool,
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
        if config.waits_for_flush() {
            return self.keep(lock, &ledger, direct, reject);
        }
        if !ledger.is_in_tree() {
            self.gather_worktrees(lock)?;
        }
        self.commit_spool(lock, &ledger, direct, reject)
    }

    /// Commits the spool and `direct`, whatever the configuration says.
    pub(super) fn commit_spool(
        &self,
        lock: &RepoLock<'_>,
        ledger: &Ledger<'_>,
        mut direct: Vec<Entry>,
        reject: &mut dyn FnMut(&Record, &Error),
    ) -> Result<Drained> {
        for _ in 0..ATTEMPTS {
            // What is in the tree counts as committed below, and such a gc may not have seen it.
            ledger.wait_for_gc(lock)?;
            let base = self.healed_tip(lock, ledger)?;
            let sorted = match self.sort(lock, ledger, base, &mut direct, reject) {
                Err(Error::Git { .. }) if self.mend(lock, ledger)? => continue,
                sorted => sorted?,
            };
            fault!("spool-listed");
            let tip = match base {
                Some(tip) if sorted.new.is_empty() => tip,
                None if sorted.new.is_empty() => return Ok(Drained::default()),
                _ => match self.publish(lock, ledger, base, &sorted.new.iter().collect::<Vec<_>>())? {
                    Published::At(tip) => tip,
                    Published::Moved => {
                        direct = sorted.new.into_iter().filter(Entry::is_direct).collect();
                        continue;
                    }
                },
            };
            return self.finish(lock, ledger, base, tip, &sorted);
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
        let spent = self.put_malformed_aside(lock, ledger, base, &listing)?;
        let mut sorted = Sorted { spent, ..Sorted::default() };
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
                // A file on the user's branch may have been edited by hand since.
                Some(_) if ledger.is_in_tree() && found.is_some() => sorted.present.push(entry),
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

    /// Moves entries that cannot be read aside. Returns the names of those that the ledger has.
    pub(super) fn put_malformed_aside(
        &self,
        lock: &RepoLock<'_>,
        ledger: &Ledger<'_>,
        base: Option<Tip>,
        listing: &Listing,
    ) -> Result<Vec<String>> {
        let mut spent = Vec::new();
        for (name, error) in &listing.malformed {
            // A power cut may bring the name of a removed entry back, without its content.
            if let (Some(tip), Error::Invalid { .. }) = (base, error)
                && let Some((id, blob)) = spool::promised(name)
                && ledger.holds(tip.tree, id, blob)?
            {
                spent.push(name.clone());
                continue;
            }
            self.say(&format!("spool/{name} cannot be read ({error}); it is kept, and git elf check names it"));
            self.spool.put_aside(lock, name, error)?;
        }
        Ok(spent)
    }

    /// Commits entries of another spool to a ledger that is not ours, but laid out like it.
    pub(super) fn commit_entries(&self, lock: &RepoLock<'_>, ledger: &Ledger<'_>, entries: &[Entry]) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let base = ledger.tip()?;
            let mut new = Vec::new();
            for entry in entries {
                let (kind, id) = (entry.record.kind, entry.record.id);
                if base.map_or(Ok(None), |tip| ledger.find(tip.tree, kind, id))?.is_none() {
                    new.push(entry);
                }
            }
            if new.is_empty() {
                return ledger.sync_ref(lock);
            }
            if let Published::At(_) = self.publish(lock, ledger, base, &new)? {
                return Ok(());
            }
        }
        Err(Error::RefLocked { path: ledger.name().to_owned() })
    }

    fn publish(
        &self,
        lock: &RepoLock<'_>,
        ledger: &Ledger<'_>,
        base: Option<Tip>,
        new: &[&Entry],
    ) -> Result<Published> {
        let texts: Vec<_> = new.iter().map(|entry| self.text_of(ledger, entry)).collect();
        let files = new.iter().zip(&texts).map(|(entry, text)| NewFile { path: ledger.place_of(&entry.record), text });
        let files: Vec<_> = files.collect();
        let hidden = ledger.may_filter() && files.iter().any(|file| ledger.is_filtered(&file.path));
        let records: Vec<_> = new.iter().map(|entry| &entry.record).collect();
        let message = if hidden { format!("elf: record {}\n", counted(new.len())) } else { message(&records) };
        // Only a flush waits for git: everything else can leave it to the next command.
        let patience = if lock.verb() == "flush" { self.config.lock_timeout } else { Duration::ZERO };
        let commit = NewCommit { base, files: &files, message: &message, also: None, moves: false, patience };
        ledger.commit(lock, &commit, &self.repo.identity()?)
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
        let mut goal = self.goal(ledger, Some(tip), Unreadable::Stops)?;
        // Under a filter, the index names the objects as they are stored.
        if !ledger.is_in_tree() && !ledger.may_filter() {
            goal.known = Some(&known);
        }
        if let Err(error) = self.catch_up(lock, &goal) {
            self.say(&format!("the index is behind and the next command mends it: {error}"));
        }
        fault!("index-written");
        self.spool.remove(lock, &sorted.new)?;
        self.spool.remove(lock, &sorted.present)?;
        self.spool.remove_spent(lock, &sorted.spent)?;
        let direct = |entries: &[Entry]| entries.iter().filter(|entry| entry.is_direct()).count();
        let (committed, imported) = (sorted.new.len(), direct(&sorted.new));
        Ok(Drained { committed, imported, present: direct(&sorted.present), tip: Some(tip), waits: false })
    }
}

fn counted(records: usize) -> String {
    if records == 1 { "1 memory".to_owned() } else { format!("{records} memories") }
}

/// Writes the commit message: the title of one record, or a list.
fn message(new: &[&Record]) -> String {
    let line = |record: &Record| {
        let title: String = record.title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{}: {title}", record.kind)
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
