//! Record ids.

use std::fmt;
use std::str::FromStr;

use git2::{ObjectType, Oid};

use super::field::quoted;
use crate::error::{Error, Result};

/// Crockford's base32 digits (<https://www.crockford.com/base32.html>), lower case: no i, l, o or u.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Identifies a record for ever: 80 bits as 16 characters of lower-case Crockford base32.
///
/// At a million records the chance that any two random ids collide is below 1e-12 (n²/2^81).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// Number of characters of a whole id.
    pub const LEN: usize = 16;
    /// Fewest characters that commands accept as a prefix, as git does for object names.
    pub const MIN_PREFIX: usize = 4;

    /// Draws a random id from the operating system.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn random() -> Result<Self> {
        let mut bits = [0; 10];
        getrandom::fill(&mut bits).map_err(|error| Error::Io {
            doing: "draw a random id".into(),
            source: std::io::Error::other(error.to_string()),
        })?;
        Ok(Self::from_bits(bits))
    }

    /// Derives an id from content: the first 80 bits of the SHA-1 that git gives a blob of `parts`, joined by NUL.
    ///
    /// Only for records that are a pure function of their source, so that two clones make the same one.
    pub fn derived(parts: &[&str]) -> Self {
        let oid = Oid::hash_object(ObjectType::Blob, parts.join("\0").as_bytes());
        let oid = oid.expect("hashing bytes in memory does not fail");
        Self::from_bits(oid.as_bytes()[..10].try_into().expect("an object id has at least 20 bytes"))
    }

    fn from_bits(bits: [u8; 10]) -> Self {
        let value = bits.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
        Self(std::array::from_fn(|i| DIGITS[(value >> (75 - 5 * i) & 31) as usize]))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("ids are ASCII")
    }

    /// Brings what a person typed to the form of an id or of a prefix: lower case, `o` for 0, `i` and `l` for 1.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is shorter than [`Id::MIN_PREFIX`], longer than [`Id::LEN`] or has another character.
    pub fn normalise(text: &str) -> Result<String> {
        let digits: String = text
            .chars()
            .map(|c| match c.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                c => c,
            })
            .collect();
        let fits = (Self::MIN_PREFIX..=Self::LEN).contains(&digits.len());
        if !fits || !digits.bytes().all(|b| DIGITS.contains(&b)) {
            return Err(Error::invalid(
                "id",
                format!(
                    "{} is no id: {} to {} characters of 0-9 a-z without i, l, o, u",
                    quoted(text),
                    Self::MIN_PREFIX,
                    Self::LEN
                ),
            ));
        }
        Ok(digits)
    }

    /// Reads the id at the start of a file name such as `<id>-<slug>.md`.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let head = name.get(..Self::LEN)?;
        let rest = &name[Self::LEN..];
        (rest.starts_with('-') || rest.starts_with('.')).then(|| Self::exact(head)).flatten()
    }

    /// Tells whether a byte is a digit of an id.
    pub fn has_digit(byte: u8) -> bool {
        DIGITS.contains(&byte)
    }

    /// Accepts an id in its canonical form only.
    fn exact(text: &str) -> Option<Self> {
        let bytes: [u8; 16] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|b| DIGITS.contains(b)).then_some(Self(bytes))
    }
}

impl FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::exact(text).ok_or_else(|| {
            Error::invalid("id", format!("{} is not 16 characters of lower-case Crockford base32", quoted(text)))
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_typing_mistakes() {
        let id = Id::random().unwrap();
        assert_eq!(id.as_str().parse::<Id>().unwrap(), id);
        assert_eq!(Id::normalise("OIL0abcd").unwrap(), "0110abcd");
        assert!(Id::normalise("abc").is_err(), "three characters match too much");
        assert!(Id::normalise("abcu").is_err(), "u is no digit");
    }

    #[test]
    fn derived_ids_depend_on_every_part() {
        assert_eq!(Id::derived(&["a", "b"]), Id::derived(&["a", "b"]));
        assert_ne!(Id::derived(&["a", "b"]), Id::derived(&["ab"]));
    }

    #[test]
    fn file_names_carry_the_id() {
        let id = Id::derived(&["x"]);
        assert_eq!(Id::of_file_name(&format!("{id}.md")), Some(id));
        assert_eq!(Id::of_file_name(&format!("{id}-slug.md")), Some(id));
        assert_eq!(Id::of_file_name(&format!("{id}slug.md")), None);
        assert_eq!(Id::of_file_name("README.md"), None);
    }
}
