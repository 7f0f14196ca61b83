//! How many tokens a text costs a language model: an estimate that does not fall below what models count.
//!
//! Models split text in different ways, and their vocabularies have some hundred thousand entries, too many to carry. So this is
//! an upper bound by classes of characters, measured against the public vocabularies cl100k_base and o200k_base
//! (github.com/openai/tiktoken) on 30,000 titles and texts, and on random strings of ten alphabets:
//!
//! | characters | tokens |
//! |---|---|
//! | one of the 3,700 commonest words of lessons that both vocabularies have whole, in lower case | 1; 2 where it does not follow white space, since `/loc` may be a token |
//! | other runs of letters | 0.65 a letter, rounded up; 1 more for a capital in front, 1 a letter in a run of capitals |
//! | digits, punctuation, control characters | 1 each |
//! | a space before a letter | 0 |
//! | other white space | 1 each |
//! | everything that is not ASCII | 1 a byte of its UTF-8 |
//!
//! On lessons this is about 1.8 times what the vocabularies count.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Chosen by frequency from 15,000 lessons, among the words that are one token with and without a space before them.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("common_words.txt").split_ascii_whitespace().collect());

/// Returns the most tokens that a text may cost.
pub fn at_most(text: &str) -> usize {
    let mut tokens = 0;
    let mut rest = text;
    let mut is_apart = true;
    while let Some(first) = rest.chars().next() {
        let (cost, length) = if first.is_ascii_alphabetic() {
            let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            (letters(&rest[..length], is_apart), length)
        } else {
            let before_letter = first == ' ' && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic());
            (if before_letter { 0 } else { first.len_utf8() }, first.len_utf8())
        };
        tokens += cost;
        rest = &rest[length..];
        is_apart = first.is_ascii_whitespace();
    }
    tokens
}

/// Counts a run of letters, which a capital after a small letter divides; `is_apart` when white space stands before it.
fn letters(run: &str, is_apart: bool) -> usize {
    let mut tokens = 0;
    let mut rest = run;
    while !rest.is_empty() {
        let capitals = rest.bytes().take_while(u8::is_ascii_uppercase).count();
        let small = rest[capitals..].bytes().take_while(u8::is_ascii_lowercase).count();
        let word = &rest[capitals..capitals + small];
        tokens += capitals + if COMMON.contains(word) { 2 - usize::from(is_apart) } else { (small * 13).div_ceil(20) };
        rest = &rest[capitals + small..];
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_costs_more_than_is_said() {
        let vocabularies = [tiktoken_rs::cl100k_base_singleton(), tiktoken_rs::o200k_base_singleton()];
        let count = |text: &str| vocabularies.map(|vocabulary| vocabulary.encode_ordinary(text).len());
        let real = |text: &str| count(text).into_iter().max().unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for alphabet in [
            "abcdefghijklmnopqrstuvwxyz",
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            "0123456789abcdefghjkmnpqrstvwxyz",
            "0123456789abcdef",
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/",
            "!@#$%^&*(){}[];:'\"|\\<>,.?/~`_-+= \n\t",
            "абвгдежзийклмнопрстуфхцчшщъыьэюя ",
            "的一是不了人我在有他这为之大来以个中上们龘靐齉",
            "😀🚀🧨👩💻🏳🌈\u{200d}\u{fe0f}",
        ] {
            let alphabet: Vec<char> = alphabet.chars().collect();
            for _ in 0..200 {
                let text: String =
                    (0..random.usize(26..200)).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
                assert!(at_most(&text) >= real(&text), "{text:?}: {} < {}", at_most(&text), real(&text));
            }
        }
        for text in ["regex: s/locations/captures", "src/cli/context/tokens.rs:12"] {
            assert!(at_most(text) >= real(text), "{text:?}");
        }
        for word in COMMON.iter() {
            for text in [(*word).to_owned(), format!(" {word}"), format!("{}{}", word[..1].to_uppercase(), &word[1..])]
            {
                assert!(at_most(&text) >= real(&text), "{text:?}");
            }
        }
    }
}
