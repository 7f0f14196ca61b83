//! git's configuration as git itself sees it: files, and what a caller passed on with `git -c key=value`.
//!
//! git hands the latter over in the environment, which libgit2 does not read.

use crate::error::{Doing, Error, Result};

/// A snapshot of the configuration.
pub struct Settings {
    files: git2::Config,
    /// Names in lower case with their values; later ones win.
    given: Vec<(String, String)>,
}

impl Settings {
    pub(super) fn load(git: &git2::Repository) -> Result<Self> {
        let files = git.config().and_then(|mut config| config.snapshot());
        let mut given = given_in_the_environment();
        for (name, _) in &mut given {
            name.make_ascii_lowercase();
        }
        Ok(Self { files: files.doing(|| "read git's configuration".into())?, given })
    }

    /// Returns the value of a key whose name has no subsection.
    pub fn get(&self, key: &str) -> Option<String> {
        let key = key.to_ascii_lowercase();
        let given = self.given.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        given.or_else(|| self.files.get_string(&key).ok())
    }

    /// Returns the value of a key in a subsection, whose name keeps its case.
    pub fn get_of(&self, section: &str, subsection: &str, key: &str) -> Option<String> {
        let name = format!("{section}.{subsection}.{key}");
        let given = self.given.iter().rev().find(|(given, _)| given.eq_ignore_ascii_case(&name));
        given.map(|(_, value)| value.clone()).or_else(|| self.files.get_string(&name).ok())
    }
}

impl Settings {
    /// Reads a key that is on or off, as git does; off when it is not set.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the value is neither.
    pub fn is_on(&self, key: &str) -> Result<bool> {
        let name = key.to_ascii_lowercase();
        let given = self.given.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| value.as_str());
        let read = match given {
            Some(value) => git2::Config::parse_bool(value),
            None => self.files.get_bool(&name),
        };
        match read {
            Ok(on) => Ok(on),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(false),
            Err(error) => Err(Error::invalid(key, format!("is neither true nor false: {}", error.message()))),
        }
    }

    /// Returns all values of a key that may be set several times, those of the files first.
    pub fn all(&self, key: &str) -> Vec<String> {
        let key = key.to_ascii_lowercase();
        let mut values = Vec::new();
        if let Ok(entries) = self.files.multivar(&key, None) {
            // An entry without a value, or one that is not UTF-8, is no name of anything.
            let _ = entries.for_each(|entry| values.extend(entry.value().ok().map(str::to_owned)));
        }
        values.extend(self.given.iter().filter(|(name, _)| *name == key).map(|(_, value)| value.clone()));
        values
    }
}

/// Reads `GIT_CONFIG_COUNT` with its numbered keys and values, then `GIT_CONFIG_PARAMETERS`, which wins (git-config(1)).
fn given_in_the_environment() -> Vec<(String, String)> {
    let read = |name: &str| std::env::var(name).ok();
    let count = read("GIT_CONFIG_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0_u16);
    let numbered = (0..count)
        .filter_map(|i| Some((read(&format!("GIT_CONFIG_KEY_{i}"))?, read(&format!("GIT_CONFIG_VALUE_{i}"))?)));
    numbered.chain(read("GIT_CONFIG_PARAMETERS").map(|text| parameters(&text)).unwrap_or_default()).collect()
}

/// Splits `'key'='value'` (git 2.31 and later) and `'key=value'` (before), quoted as by git's quote.c.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut given = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars();
    let mut quoted = false;
    let mut split = None;
    loop {
        match chars.next() {
            Some('\'') => quoted = !quoted,
            Some('\\') if !quoted => word.extend(chars.next()),
            Some('=') if !quoted && split.is_none() => split = Some(word.len()),
            end @ (None | Some(' ')) if !quoted || end.is_none() => {
                let at = split.take().map(|at| (at, at)).or_else(|| word.find('=').map(|at| (at, at + 1)));
                if let Some((key, value)) = at {
                    given.push((word[..key].to_owned(), word[value..].to_owned()));
                } else if !word.is_empty() {
                    given.push((word.clone(), "true".to_owned()));
                }
                word.clear();
                if end.is_none() {
                    return given;
                }
            }
            Some(c) => word.push(c),
            None => unreachable!("the end of the text is handled above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_git_config_parameters_are_read() {
        let given = parameters(r"'elf.lockTimeout'='1' 'elf.agent=it'\''s = me' 'elf.flag'");
        let pairs: Vec<_> = given.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("elf.lockTimeout", "1"), ("elf.agent", "it's = me"), ("elf.flag", "true")]);
    }
}
