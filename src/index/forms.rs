//! Other forms of a word that is looked for: its inflections, and what it may be a slip of.
//!
//! Both are made from the word and then looked up in the index's own vocabulary. That needs no second index, which would make
//! every write and every rebuild dearer; it costs some hundred look-ups, and only where the words as typed find too little.

use std::collections::BTreeSet;

/// Letters of the shortest word that has other forms: those of shorter ones are mostly other words.
const SHORTEST: usize = 4;
/// Letters of the longest word that is corrected: the look-ups grow with the length.
const LONGEST: usize = 32;

/// Tells whether other forms of a folded word may be looked for: it has letters alone, and enough of them.
pub(super) fn is_plain(word: &str) -> bool {
    let letters = word.chars().count();
    (SHORTEST..=LONGEST).contains(&letters) && word.chars().all(char::is_alphabetic)
}

/// Endings that are taken off, and what comes in their place.
const ENDINGS: [(&str, &str); 14] = [
    ("ies", "y"),
    ("ied", "y"),
    ("es", ""),
    ("s", ""),
    ("ing", ""),
    ("ing", "e"),
    ("ed", ""),
    ("ed", "e"),
    ("er", ""),
    ("er", "e"),
    ("ers", ""),
    ("ers", "e"),
    ("ly", ""),
    ("d", ""),
];

/// Returns possible inflections of an English word, without the word. Most of them are no words; the vocabulary tells.
pub(super) fn inflections(word: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for stem in stems(word) {
        for ending in ["", "s", "es", "ed", "d", "ing", "er", "ers", "ly"] {
            found.insert(format!("{stem}{ending}"));
        }
        if let Some(short) = stem.strip_suffix('e') {
            found.extend(["ing", "ed", "er", "ers"].map(|ending| format!("{short}{ending}")));
        }
        if let Some(short) = stem.strip_suffix('y') {
            found.extend(["ies", "ied", "ier"].map(|ending| format!("{short}{ending}")));
        }
        let mut end = stem.chars().rev();
        if let (Some(last), Some(before)) = (end.next(), end.next())
            && !"aeiouywx".contains(last)
            && "aeiouy".contains(before)
        {
            found.extend(["ing", "ed", "er", "ers"].map(|ending| format!("{stem}{last}{ending}")));
        }
    }
    found.remove(word);
    found
}

fn stems(word: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::from([word.to_owned()]);
    for (ending, instead) in ENDINGS {
        let Some(stem) = word.strip_suffix(ending) else { continue };
        if stem.chars().count() < 3 || (ending == "s" && word.ends_with("ss")) {
            continue;
        }
        found.insert(format!("{stem}{instead}"));
        let mut end = stem.chars().rev();
        if let (Some(last), true) = (end.next(), instead.is_empty())
            && end.next() == Some(last)
        {
            found.insert(stem[..stem.len() - last.len_utf8()].to_owned());
        }
    }
    found
}

/// Returns every text that is one slip away: a letter left out, added, changed, or two swapped.
///
/// Letters that come in are those of the Latin alphabet and the word's own.
pub(super) fn slips(word: &str) -> BTreeSet<String> {
    let letters: Vec<char> = word.chars().collect();
    let alphabet: BTreeSet<char> = ('a'..='z').chain(letters.iter().copied()).collect();
    let mut found = BTreeSet::new();
    for at in 0..=letters.len() {
        let (head, tail) = letters.split_at(at);
        let mut add = |middle: &[char], rest: &[char]| {
            found.insert(head.iter().chain(middle).chain(rest).collect::<String>());
        };
        for c in &alphabet {
            add(&[*c], tail);
        }
        if let [_, rest @ ..] = tail {
            add(&[], rest);
            for c in &alphabet {
                add(&[*c], rest);
            }
        }
        if let [a, b, rest @ ..] = tail {
            add(&[*b, *a], rest);
        }
    }
    found.remove(word);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_leads_to_another() {
        for (typed, written) in [
            ("locks", "locked"),
            ("locked", "locking"),
            ("merge", "merging"),
            ("merging", "merged"),
            ("query", "queries"),
            ("queries", "query"),
            ("stopped", "stop"),
            ("stop", "stopping"),
            ("crashes", "crash"),
            ("pass", "passes"),
        ] {
            assert!(inflections(typed).contains(written), "{typed} does not lead to {written}");
        }
        assert!(!inflections("pass").contains("pas"));
    }

    #[test]
    fn one_slip_is_taken_back() {
        for typed in ["chekpoint", "checkkpoint", "chackpoint", "chekcpoint", "xheckpoint", "checkpoin"] {
            assert!(slips(typed).contains("checkpoint"), "{typed}");
        }
        assert!(!slips("checkpoint").contains("checkpoint"));
    }
}
