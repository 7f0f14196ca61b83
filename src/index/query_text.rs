//! From what people type to an FTS5 expression.
//!
//! Understood: words (all must occur), `"quoted phrases"`, `-word` and `-"a phrase"` (must not occur), `wor*` (prefix). Every term
//! is quoted for FTS5, so no input is a syntax error, and the expression is a bound parameter like any other.

/// A typed query, split into terms.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct QueryText {
    wanted: Vec<String>,
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
                let text = text.replace('\0', " ").replace('"', "\"\"");
                let term = format!("\"{text}\"{}", if prefix { "*" } else { "" });
                if negated { query.unwanted.push(term) } else { query.wanted.push(term) }
            }
        }
        query
    }

    /// Returns the expression that wants every term; `None` when there is nothing to look for.
    pub fn all(&self) -> Option<String> {
        self.join(" ")
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
        let wanted = self.wanted.join(between);
        if self.unwanted.is_empty() {
            return Some(wanted);
        }
        Some(format!("({wanted}) NOT ({})", self.unwanted.join(" OR ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_type_words_phrases_prefixes_and_exclusions() {
        let all = |typed: &str| QueryText::parse(typed).all();
        assert_eq!(
            all("lock \"wal file\" -windows check*").unwrap(),
            r#"("lock" "wal file" "check"*) NOT ("windows")"#
        );
        assert_eq!(all("AND OR NOT (x").unwrap(), r#""AND" "OR" "NOT" "(x""#);
        assert_eq!(all("don't \"open").unwrap(), r#""don't" "open""#);
        assert_eq!(all(" -- * \"\" -x"), None);
    }
}
