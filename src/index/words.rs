//! Words as the full-text index has them: runs of letters and digits, without case and diacritics.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Returns the words of a text, folded as FTS5's `unicode61 remove_diacritics 2` folds them.
pub(super) fn words(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || is_combining_mark(c);
    text.split(|c: char| !is_part(c)).map(fold).filter(|word| !word.is_empty()).collect()
}

fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    word.to_lowercase().nfd().filter(|c| !is_combining_mark(*c)).nfc().collect()
}

/// Returns the parts of an identifier: `parseHTTPRequest` has `parse`, `HTTP` and `Request`; a plain word has itself.
///
/// An underscore needs nothing of this: it separates words in the index as it is.
pub(super) fn parts(word: &str) -> Vec<&str> {
    let chars: Vec<(usize, char)> = word.char_indices().collect();
    let mut found = Vec::new();
    let mut start = 0;
    for i in 1..chars.len() {
        let (before, here) = (chars[i - 1].1, chars[i].1);
        let after_is_small = chars.get(i + 1).is_some_and(|(_, c)| c.is_lowercase());
        if here.is_uppercase() && (!before.is_uppercase() || after_is_small) {
            found.push(&word[start..chars[i].0]);
            start = chars[i].0;
        }
    }
    found.push(&word[start..]);
    found
}

/// Returns the parts of every identifier in the texts, each identifier once, for a column of their own: the words as written
/// stay what they are, and so do phrases.
pub(super) fn identifiers(texts: [&str; 2]) -> String {
    let mut out = String::new();
    let mut seen = HashSet::new();
    for word in texts.into_iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric())) {
        // Most words end here: an identifier has a capital after its first letter, and something that is none.
        let mut rest = word.chars().skip(1);
        if !rest.any(char::is_uppercase) || !word.chars().any(char::is_lowercase) {
            continue;
        }
        let found = parts(word);
        if found.len() > 1 && seen.insert(word) {
            for part in found {
                out.push_str(part);
                out.push(' ');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_fall_into_their_parts() {
        for (word, expected) in [
            ("parseHTTPRequest", "parse HTTP Request"),
            ("HTTPServer", "HTTP Server"),
            ("utf8Decoder", "utf8 Decoder"),
            ("plain", "plain"),
            ("HTTP", "HTTP"),
            ("Plain", "Plain"),
            ("éCole", "é Cole"),
        ] {
            assert_eq!(parts(word).join(" "), expected);
        }
        assert_eq!(identifiers(["Use readLine", "not readLine or get_line, HTTP"]), "read Line ");
    }

    #[test]
    fn words_are_folded_as_the_index_folds_them() {
        assert_eq!(
            words("Crème-brûlée, e\u{301}tat INDEX.lock a_b Ệ"),
            ["creme", "brulee", "etat", "index", "lock", "a", "b", "e"]
        );
    }
}
