//! From what people type to an FTS5 expression.
//!
//! Understood: words (all must occur), `"quoted phrases"`, `-word` and `-"a phrase"` (must not occur), `wor*` (prefix). Every term
//! is quoted for FTS5, so no input is a syntax error, and the expression is a bound parameter like any other.

use super::words;

/// A way in which a term may occur in a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The term as FTS5 takes it, quoted.
    pub(super) expression: String,
    /// Its words, folded, one after the other.
    pub(super) words: Vec<String>,
    /// The last word is the beginning of one.
    pub(super) prefix: bool,
    /// What it counts, 1 for what was typed.
    pub(super) weight: f64,
}

impl Variant {
    pub(super) fn word(word: &str, weight: f64) -> Self {
        Self { expression: quoted(word), words: vec![word.to_owned()], prefix: false, weight }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\0', " ").replace('"', "\"\""))
}

/// A term that is looked for: it occurs when one of its variants does.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub(super) typed: String,
    pub(super) variants: Vec<Variant>,
    /// A single word without quotes or star, which may have other forms.
    pub(super) is_plain: bool,
}

impl Term {
    fn expression(&self) -> String {
        let variants: Vec<&str> = self.variants.iter().map(|variant| variant.expression.as_str()).collect();
        if variants.len() == 1 { variants[0].to_owned() } else { format!("({})", variants.join(" OR ")) }
    }
}

/// A typed query, split into terms.
#[derive(Debug, Default, PartialEq)]
pub struct QueryText {
    pub(super) wanted: Vec<Term>,
    unwanted: Vec<String>,
    /// Wanted phrases as typed: the index knows neither case nor punctuation, and records that have them so come first.
    literal: Vec<String>,
}

impl QueryText {
    /// Splits what was typed; terms without a letter or digit are dropped, as the index has no words for them.
    pub fn parse(typed: &str) -> Self {
        let mut query = Self::default();
        let mut rest = typed.trim_start();
        while !rest.is_empty() {
            let (negated, term) = match rest.strip_prefix('-') {
                Some(term) => (true, term),
                None => (false, rest),
            };
            let (text, prefix, after) = if let Some(quoted) = term.strip_prefix('"') {
                let (phrase, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                if !negated && phrase.contains(char::is_alphanumeric) {
                    query.literal.push(phrase.to_owned());
                }
                (phrase, false, after)
            } else {
                let end = term.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(term.len());
                let (word, after) = term.split_at(end);
                (word.trim_end_matches('*'), word.ends_with('*'), after)
            };
            rest = after.trim_start();
            if text.chars().any(char::is_alphanumeric) {
                let expression = format!("{}{}", quoted(text), if prefix { "*" } else { "" });
                if negated {
                    query.unwanted.push(expression);
                } else {
                    query.wanted.push(wanted(text, expression, prefix, term.starts_with('"')));
                }
            }
        }
        query
    }

    /// Returns the expression that wants every term; `None` when there is nothing to look for.
    pub fn all(&self) -> Option<String> {
        self.join(" AND ")
    }

    /// Returns the expression that wants any term; `None` when it would not differ from [`QueryText::all`].
    pub fn any(&self) -> Option<String> {
        if self.wanted.len() < 2 { None } else { self.join(" OR ") }
    }

    /// Returns the phrases that are also looked for as typed.
    pub fn literal(&self) -> &[String] {
        &self.literal
    }

    fn join(&self, between: &str) -> Option<String> {
        if self.wanted.is_empty() {
            return None;
        }
        let wanted = self.wanted.iter().map(Term::expression).collect::<Vec<_>>().join(between);
        if self.unwanted.is_empty() {
            return Some(wanted);
        }
        Some(format!("({wanted}) NOT ({})", self.unwanted.join(" OR ")))
    }
}

/// Makes a term of what was typed; an identifier may also occur in its parts (`readLine` as `read_line`).
fn wanted(text: &str, expression: String, prefix: bool, is_quoted: bool) -> Term {
    let typed = Variant { expression, words: words::words(text), prefix, weight: 1.0 };
    let is_plain = !prefix && !is_quoted && typed.words.len() == 1;
    let mut variants = vec![typed];
    let parts = words::parts(text);
    if is_plain && parts.len() > 1 {
        let parts = parts.join(" ");
        variants.push(Variant { expression: quoted(&parts), words: words::words(&parts), prefix, weight: 1.0 });
    }
    Term { typed: text.to_owned(), variants, is_plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_type_words_phrases_prefixes_and_exclusions() {
        let all = |typed: &str| QueryText::parse(typed).all();
        assert_eq!(
            all("lock \"wal file\" -windows check*").unwrap(),
            r#"("lock" AND "wal file" AND "check"*) NOT ("windows")"#
        );
        assert_eq!(all("AND OR NOT (x").unwrap(), r#""AND" AND "OR" AND "NOT" AND "(x""#);
        assert_eq!(all("don't \"open").unwrap(), r#""don't" AND "open""#);
        assert_eq!(all("readLine x").unwrap(), r#"("readLine" OR "read Line") AND "x""#);
        assert_eq!(all(" -- * \"\" -x"), None);
    }
}
