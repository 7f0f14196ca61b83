//! What a string looks like: random, made of words, or a stand-in for a secret.

/// Longest part of a string that is judged, in bytes; below 256, and more than any verdict needs.
const LOOK_MAX: usize = 128;

/// Parts of stand-ins, in lower case.
const STAND_INS: [&str; 17] = [
    "example",
    "xxxx",
    "****",
    "....",
    "____",
    "your",
    "placeholder",
    "redacted",
    "changeme",
    "change-me",
    "change_me",
    "replace",
    "dummy",
    "insert",
    "notreal",
    "not-real",
    "00000000",
];

/// Mean length of parts below which text of both cases is no program's name: those of random letters and digits have about 2, those
/// of names in programs 4.
pub(super) const JUMPY: f64 = 3.0;

/// Tells whether the part of a token after its prefix only stands in for one: `xxxx…`, `your-token-here`, the examples of
/// the issuers' documentation.
pub(super) fn is_filler(body: &[u8]) -> bool {
    let mut seen = [false; 256];
    let distinct = body.iter().filter(|byte| !std::mem::replace(&mut seen[usize::from(**byte)], true)).count();
    distinct < 5 || stands_in(body)
}

/// Tells whether text says itself that it only stands in for a secret. A random token has `yOuR` or `xXxX` now and then, so the
/// word has to be in one case but for its first letter.
pub(super) fn stands_in(text: &[u8]) -> bool {
    let written = |found: &[u8]| {
        let tail = || found[1..].iter().filter(|byte| byte.is_ascii_alphabetic());
        tail().all(u8::is_ascii_lowercase) || tail().all(u8::is_ascii_uppercase)
    };
    let begins = |word: &str, rest: &[u8]| {
        rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()) && written(found))
    };
    (0..text.len()).any(|at| {
        STAND_IN_STARTS[usize::from(text[at].to_ascii_lowercase())]
            && STAND_INS.iter().any(|word| begins(word, &text[at..]))
    })
}

/// The bytes that [`STAND_INS`] begin with.
const STAND_IN_STARTS: [bool; 256] = {
    let mut starts = [false; 256];
    let mut i = 0;
    while i < STAND_INS.len() {
        starts[STAND_INS[i].as_bytes()[0] as usize] = true;
        i += 1;
    }
    starts
};

/// Tells whether text with `-` and `_` reads as words: a name, not a token.
pub(super) fn is_prose(body: &[u8]) -> bool {
    let look = Look::of(body);
    look.digits == 0 && look.wordy > 0.6 && (look.upper == 0 || look.lower == 0 || look.part_length >= JUMPY)
}

/// Tells whether a value looks as if a machine, or a careful person, had made it up.
pub(super) fn is_random(value: &[u8]) -> bool {
    // The cheap questions first: a text may be made of nothing but names and values.
    value.len() >= 8 && Look::of(value).is_random() && !is_filler(value) && !is_sequence(value)
}

/// Tells whether most bytes follow the one before them: an alphabet, `1234567890`.
pub(super) fn is_sequence(text: &[u8]) -> bool {
    let steps = text.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count();
    steps * 2 > text.len()
}

/// Counts of what a string is made of.
pub(super) struct Look {
    pub length: usize,
    pub lower: usize,
    pub upper: usize,
    pub digits: usize,
    pub symbols: usize,
    /// Hexadecimal digits and `-` alone, as a hash or a UUID.
    pub hex: bool,
    /// Rows of digits.
    pub digit_groups: usize,
    /// Mean length of the parts: `camelCase` has two of 4.5.
    pub part_length: f64,
    /// Letters in parts of three and more that can be spoken.
    pub spoken: usize,
    /// Share of the bytes but `-`, `_`, `.`, `/` and space that belong to parts that can be spoken.
    pub wordy: f64,
    /// Shannon entropy, in bits a byte.
    pub entropy: f64,
}

impl Look {
    fn is_random(&self) -> bool {
        // A date and time has digits, two letters and an order that nobody would call random.
        if self.lower + self.upper < 3 {
            return false;
        }
        if self.hex {
            return self.length >= 16 && self.digits > 0 && self.entropy >= 2.5;
        }
        if self.entropy < 0.72 * f64::from(u32::try_from(self.length.min(64)).unwrap_or(64)).log2() {
            return false;
        }
        let both = self.lower > 0 && self.upper > 0;
        // A machine changes between upper and lower case all the time, a programmer once a word.
        let jumpy = both && self.part_length < JUMPY;
        if self.digits > 0 {
            let dense = if self.length >= 16 { 0.55 } else { 0.4 };
            let unlike_words = jumpy || self.digit_groups >= 4 || self.wordy <= dense;
            return unlike_words && (self.length >= 16 || both || self.symbols > 0 || self.digits >= 3);
        }
        (jumpy && self.length >= 12) || (self.length >= 16 && self.wordy <= 0.2 && self.spoken == 0)
    }

    /// Looks at the first [`LOOK_MAX`] bytes.
    pub fn of(text: &[u8]) -> Self {
        let text = &text[..text.len().min(LOOK_MAX)];
        let mut counts = [0_u8; 256];
        for byte in text {
            counts[usize::from(*byte)] += 1;
        }
        let (mut lower, mut upper, mut digits, mut symbols, mut separators, mut other) = (0, 0, 0, 0, 0, 0);
        let mut entropy = 0.0;
        for (byte, count) in (0..=u8::MAX).zip(counts).filter(|(_, count)| *count > 0) {
            let count = usize::from(count);
            entropy -= share(count, text.len()) * share(count, text.len()).log2();
            match byte {
                b'a'..=b'z' => lower += count,
                b'A'..=b'Z' => upper += count,
                b'0'..=b'9' => digits += count,
                _ if byte.is_ascii_punctuation() => symbols += count,
                _ => {}
            }
            separators += if matches!(byte, b'-' | b'_' | b'.' | b'/' | b' ') { count } else { 0 };
            other += if byte.is_ascii_hexdigit() || byte == b'-' { 0 } else { count };
        }
        let parts = Parts::of(text);
        Self {
            length: text.len(),
            lower,
            upper,
            digits,
            symbols,
            hex: other == 0,
            digit_groups: parts.digit_groups,
            part_length: share(parts.letters, parts.count),
            spoken: parts.spoken,
            wordy: share(parts.words, text.len() - separators),
            entropy,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a token has a few hundred bytes")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The letters of a text, in parts of one case each (the first may be a capital).
#[derive(Default)]
struct Parts {
    count: usize,
    letters: usize,
    digit_groups: usize,
    /// Letters in parts of at least three with a vowel and never more than three consonants in a row.
    spoken: usize,
    /// As `spoken`, but three letters count only when they stand alone: in random text they are nothing.
    words: usize,
}

impl Parts {
    fn of(text: &[u8]) -> Self {
        let mut parts = Self::default();
        let mut start = 0;
        while start < text.len() {
            let end = start + part_length(&text[start..]);
            let part = &text[start..end];
            if part[0].is_ascii_alphabetic() {
                parts.count += 1;
                parts.letters += part.len();
                if part.len() >= 3 && can_be_spoken(part) {
                    parts.spoken += part.len();
                    let joined = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
                    let alone = !joined(start.checked_sub(1).map(|before| &text[before])) && !joined(text.get(end));
                    parts.words += if part.len() >= 4 || alone { part.len() } else { 0 };
                }
            }
            let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
            parts.digit_groups += usize::from(digit(start) && !digit(end));
            start = end;
        }
        parts
    }
}

/// Returns the length of the first part: letters as in `word`, `Word` or `WORD`, or one other byte.
fn part_length(text: &[u8]) -> usize {
    let letters = |from: usize, case: fn(&u8) -> bool| text[from..].iter().take_while(|byte| case(byte)).count();
    match (text[0].is_ascii_alphabetic(), letters(0, u8::is_ascii_uppercase)) {
        (false, _) => 1,
        (true, 0) => letters(0, u8::is_ascii_lowercase),
        (true, 1) => 1 + letters(1, u8::is_ascii_lowercase),
        (true, capitals) => {
            // In `HTTPServer` the last capital begins the next word.
            let next = text.get(capitals).is_some_and(u8::is_ascii_lowercase);
            capitals - usize::from(next)
        }
    }
}

fn can_be_spoken(part: &[u8]) -> bool {
    let mut row = 0;
    let mut vowels = 0;
    for byte in part {
        if matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y') {
            (row, vowels) = (0, vowels + 1);
        } else {
            row += 1;
        }
        if row > 3 {
            return false;
        }
    }
    vowels > 0
}

pub(super) fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
