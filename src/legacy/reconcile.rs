//! The original wrote most entries twice, to a file and to a row: here the two become one again.

use std::collections::HashMap;

use super::entry::{Entry, plain};
use crate::record::Kind;

/// Most rows that are compared with one file: a stranger may name the same file in every row.
const CANDIDATES: usize = 64;

/// Unites files and rows, and says which stood alone.
///
/// A file and a row are the same entry when they are in the same place (the file that a row names, the number in a heading) or
/// have the same title and domain, and one's text is the beginning of the other's. In the same place with the same title they are one
/// also when somebody changed the text of either; then both texts are kept.
pub(super) fn unite(files: Vec<Entry>, rows: Vec<Entry>, notes: &mut Vec<String>, has_rows: bool) -> Vec<Entry> {
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        for place in places_of(row) {
            let list = places.entry(place).or_default();
            if list.len() < CANDIDATES {
                list.push(at);
            }
        }
    }
    let mut left: Vec<Option<Entry>> = rows.into_iter().map(Some).collect();
    let mut united = Vec::new();
    for file in files {
        let candidates = places_of(&file).into_iter().filter_map(|place| places.get(&place)).flatten();
        let scored = candidates.filter_map(|at| {
            let score = likeness(&file, left[*at].as_ref()?)?;
            Some((score, std::cmp::Reverse(*at)))
        });
        if let Some((score, std::cmp::Reverse(at))) = scored.max() {
            let row = left[at].take().expect("a taken row has no likeness");
            if score == 1 {
                notes.push(format!(
                    "{}: differs from {}; both texts are in the record, the file's first",
                    file.origin, row.origin
                ));
            }
            united.push(both(file, row));
            continue;
        }
        // The original keeps no row of a golden rule.
        if has_rows && file.rule.is_none() {
            notes.push(format!("{}: a file without a row in index.db", file.origin));
        }
        united.push(file);
    }
    for row in left.into_iter().flatten() {
        if has_file(&row) {
            notes.push(format!("{}: a row without a file", row.origin));
        }
        united.push(row);
    }
    united
}

/// Tells whether the original writes a file for an entry of this kind, too.
fn has_file(row: &Entry) -> bool {
    matches!(
        row.kind,
        Kind::Failure | Kind::Success | Kind::Observation | Kind::Heuristic | Kind::Decision | Kind::Spike
    )
}

/// Lists the names under which a file finds its row.
fn places_of(entry: &Entry) -> Vec<String> {
    let kind = entry.kind;
    let mut places = vec![format!("{kind} title {:?} {:?}", caseless(&entry.title), entry.domain)];
    match (&entry.file, entry.number, entry.rule) {
        (_, _, Some(_)) => places.clear(),
        (Some(file), Some(number), _) => places.push(format!("{kind} {number} {file}")),
        (None, Some(number), _) => places.push(format!("{kind} {number}")),
        (Some(file), None, _) => places.push(format!("{kind} {file}")),
        (None, None, _) => {}
    }
    places
}

fn caseless(text: &str) -> String {
    plain(text).to_lowercase()
}

/// Tells how surely a file and a row are the same entry; `None` when they are not.
fn likeness(file: &Entry, row: &Entry) -> Option<u8> {
    let titles = begins(&caseless(&file.title), &caseless(&row.title));
    let placed = file.file == row.file && file.number == row.number;
    let texts = row.sections.iter().all(|(heading, text)| {
        let same = file.sections.iter().find(|(known, _)| known == heading);
        same.is_none_or(|(_, known)| begins(&plain(known), &plain(text)) || is_list(heading))
    });
    match (placed, titles, texts) {
        (true, true, true) => Some(4),
        (true, false, true) if row.sections.iter().any(|section| file.sections.contains(section)) => Some(3),
        (false, true, true) => Some(2),
        // Somebody edited the file, or the row.
        (true, true, false) => Some(1),
        _ => None,
    }
}

/// Lists are written with commas in a row, and with one item a line in a file.
fn is_list(heading: &str) -> bool {
    matches!(heading, "Resources" | "Tests")
}

/// Tells whether one text is the beginning of the other; one that was cut may end in dots.
fn begins(a: &str, b: &str) -> bool {
    let cut = |text: &str| text.trim_end_matches(['.', '…', ' ']).to_owned();
    let (a, b) = (cut(a), cut(b));
    a.starts_with(&b) || b.starts_with(&a)
}

/// Unites a file and its row: the text of the file, unless that is the one that was cut, and the state of the row, since
/// only rows were kept up to date.
fn both(file: Entry, row: Entry) -> Entry {
    let (mut sections, mut others) = (file.sections, Vec::new());
    for (heading, text) in row.sections {
        match sections.iter_mut().find(|(known, _)| *known == heading) {
            Some(_) if is_list(&heading) => {}
            Some((_, known)) if begins(&plain(known), &plain(&text)) => *known = fuller(std::mem::take(known), text),
            Some(_) => others.push((format!("{heading} in index.db").trim().to_owned(), text)),
            None => sections.push((heading, text)),
        }
    }
    sections.append(&mut others);
    let mut keys = row.keys;
    keys.extend(file.keys);
    let mut seen = std::collections::HashSet::new();
    keys.retain(|(key, _)| seen.insert(*key));
    let mut tags = file.tags;
    for tag in row.tags {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    // The file keeps what was stated first; the row's is that, moved by what was counted.
    let counted = row.held != 0 || row.failed != 0;
    let confidence = if counted { file.confidence.or(row.confidence) } else { row.confidence.or(file.confidence) };
    Entry {
        title: fuller(file.title, row.title),
        domain: file.domain.or(row.domain),
        tags,
        paths: if file.paths.is_empty() { row.paths } else { file.paths },
        sections,
        created: row.created.or(file.created),
        keys,
        confidence,
        withdrawn: file.withdrawn || row.withdrawn,
        golden: file.golden || row.golden,
        origin: file.origin,
        rule: file.rule,
        file: file.file,
        ..row
    }
}

/// Returns the file's text, unless the row's goes on where it ends.
fn fuller(file: String, row: String) -> String {
    let (known, more) = (plain(&file), plain(&row));
    if more.len() > known.len() && more.starts_with(&known) { row } else { file }
}

/// Makes one of entries that say the same, and of a golden rule and the heuristic that it was made of. What was counted for
/// either is added up.
pub(super) fn merge(entries: Vec<Entry>, notes: &mut Vec<String>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::new();
    let mut same: HashMap<(Kind, String, Option<String>, String), usize> = HashMap::new();
    let mut titled: HashMap<String, usize> = HashMap::new();
    let (rules, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.rule.is_some());
    for entry in others.into_iter().chain(rules) {
        let key = (entry.kind, caseless(&entry.title), entry.domain.clone(), plain(&entry.body()));
        if let Some(first) = same.get(&key) {
            notes.push(format!("{}: says the same as {}, and is one with it", entry.origin, kept[*first].origin));
            add(&mut kept[*first], entry);
            continue;
        }
        if entry.rule.is_some() {
            let made_of =
                [caseless(&entry.title), first_paragraph(&entry)].iter().find_map(|title| titled.get(title)).copied();
            if let Some(first) = made_of.filter(|at| kept[*at].rule.is_none()) {
                notes.push(format!("{}: was promoted from {}, and is one with it", entry.origin, kept[first].origin));
                let more = entry.body();
                if !plain(&kept[first].body()).contains(&plain(&more)) {
                    kept[first].section("Golden rule", &more);
                }
                add(&mut kept[first], entry);
                continue;
            }
        } else if entry.kind == Kind::Heuristic {
            titled.entry(caseless(&entry.title)).or_insert(kept.len());
        }
        same.insert(key, kept.len());
        kept.push(entry);
    }
    kept
}

fn first_paragraph(entry: &Entry) -> String {
    let text = entry.sections.first().map_or("", |(_, text)| text.as_str());
    caseless(text.split("\n\n").next().unwrap_or_default())
}

fn add(kept: &mut Entry, other: Entry) {
    kept.held = kept.held.saturating_add(other.held);
    kept.failed = kept.failed.saturating_add(other.failed);
    kept.golden |= other.golden;
    kept.withdrawn &= other.withdrawn;
    kept.rule = kept.rule.or(other.rule);
    kept.created = [kept.created, other.created].into_iter().flatten().min();
    kept.updated = kept.updated.max(other.updated);
    let known: Vec<_> = kept.keys.iter().map(|(key, _)| *key).collect();
    kept.keys.extend(other.keys.into_iter().filter(|(key, _)| !known.contains(key)));
}
