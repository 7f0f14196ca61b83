//! The limits of every field, and the one place that enforces them.
//!
//! Nothing is clamped, truncated or replaced: a value out of range is an error that names the field, the value and the limit.

use toml::Value;

use super::{Id, Key, Shape, secret};
use crate::error::{Error, Result};

/// Longest title, in characters.
pub const TITLE_MAX: usize = 500;
/// Longest domain, in characters.
pub const DOMAIN_MAX: usize = 100;
/// Most tags of one record.
pub const TAGS_MAX: usize = 50;
/// Longest tag, in characters.
pub const TAG_MAX: usize = 50;
/// Most path globs of one record.
pub const PATHS_MAX: usize = 1000;
/// Longest path glob, in bytes: PATH_MAX of Linux.
pub const PATH_MAX: usize = 4096;
/// Longest agent, author, branch, source or fingerprint, in characters.
pub const NAME_MAX: usize = 500;
/// Largest record file, in bytes.
pub const FILE_MAX: usize = 256 * 1024;
/// Most of what a failing program printed that goes into a body, in bytes.
pub const ERROR_MAX: usize = 16 * 1024;

/// Deepest list or table inside a value of a record, itself counted. TOML and JSON parsers stop at 80 and 128.
pub const NESTING_MAX: usize = 32;

/// Accepts a title: 1 to 500 characters on one line.
///
/// # Errors
/// [`Error::Invalid`] with the limit.
pub fn title(text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid("title", format!("is empty (limit: 1 to {TITLE_MAX} characters)")));
    }
    line("title", text, TITLE_MAX)
}

/// Accepts one line of at most `max` characters.
///
/// # Errors
/// [`Error::Invalid`] with the field's name and limit.
pub fn line(field: &str, value: &str, max: usize) -> Result<()> {
    if value.contains(['\n', '\r']) {
        return Err(Error::invalid(field, format!("{} has a line break (limit: one line)", quoted(value))));
    }
    text(field, value, max)
}

/// Accepts text of at most `max` characters without NUL.
///
/// # Errors
/// [`Error::Invalid`] with the field's name and limit.
pub fn text(field: &str, value: &str, max: usize) -> Result<()> {
    if value.contains('\0') {
        return Err(Error::invalid(field, "has a NUL byte (limit: text)"));
    }
    let count = value.chars().count();
    if count > max {
        return Err(Error::invalid(field, format!("{} has {count} characters (limit: {max})", quoted(value))));
    }
    Ok(())
}

/// Brings a domain to its stored form (lower case, `-` for a space) and accepts 1 to 100 of `[a-z0-9._-]`.
///
/// # Errors
/// [`Error::Invalid`] with the limit.
pub fn domain(text: &str) -> Result<String> {
    let domain = text.to_lowercase().replace(' ', "-");
    let fits = (1..=DOMAIN_MAX).contains(&domain.chars().count());
    if !fits || !domain.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')) {
        return Err(Error::invalid(
            "domain",
            format!("{} is no domain (limit: 1 to {DOMAIN_MAX} of a-z 0-9 . _ -)", quoted(text)),
        ));
    }
    Ok(domain)
}

/// Accepts at most 50 tags of 1 to 50 characters on one line, without commas.
///
/// # Errors
/// [`Error::Invalid`] with the limit.
pub fn tags(tags: &[String]) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(Error::invalid("tags", format!("{} tags (limit: {TAGS_MAX})", tags.len())));
    }
    for tag in tags {
        if tag.trim().is_empty() || tag.contains(',') {
            return Err(Error::invalid(
                "tags",
                format!("{} is no tag (limit: 1 to {TAG_MAX} characters, no comma)", quoted(tag)),
            ));
        }
        line("tags", tag, TAG_MAX)?;
    }
    Ok(())
}

/// Accepts at most 1,000 globs relative to the repository's root.
///
/// # Errors
/// [`Error::Invalid`] with the limit.
pub fn paths(paths: &[String]) -> Result<()> {
    if paths.len() > PATHS_MAX {
        return Err(Error::invalid("paths", format!("{} paths (limit: {PATHS_MAX})", paths.len())));
    }
    for path in paths {
        let outside = path.starts_with('/') || path.split('/').any(|part| part == "..");
        if path.is_empty() || outside {
            return Err(Error::invalid(
                "paths",
                format!("{} is not relative to the repository's root (limit: no leading /, no ..)", quoted(path)),
            ));
        }
        if path.len() > PATH_MAX {
            return Err(Error::invalid(
                "paths",
                format!("{} has {} bytes (limit: {PATH_MAX})", quoted(path), path.len()),
            ));
        }
        text("paths", path, PATH_MAX)?;
    }
    Ok(())
}

/// Reads a value that was typed for one of a kind's own keys.
///
/// # Errors
/// [`Error::Invalid`] with the limit.
pub fn parse(key: &Key, typed: &str) -> Result<Value> {
    let named = |names: &[&str]| if names.is_empty() { String::new() } else { format!(", or {}", names.join(", ")) };
    let value = match &key.shape {
        Shape::Level { min, max, names } => {
            let level = names.iter().find(|(name, _)| *name == typed).map(|(_, level)| *level);
            let level = level.or_else(|| typed.parse().ok()).ok_or_else(|| {
                let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                Error::invalid(
                    key.name,
                    format!("{} is no whole number (limit: {min} to {max}{})", quoted(typed), named(&names)),
                )
            })?;
            Value::Integer(level)
        }
        Shape::Fraction { names } => {
            let fraction = names.iter().find(|(name, _)| *name == typed).map(|(_, fraction)| *fraction);
            let fraction = fraction.or_else(|| typed.parse().ok()).ok_or_else(|| {
                let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                Error::invalid(key.name, format!("{} is no number (limit: 0 to 1{})", quoted(typed), named(&names)))
            })?;
            Value::Float(fraction)
        }
        _ => Value::String(typed.to_owned()),
    };
    check(key, value)
}

/// Accepts a value read from a file for one of a kind's own keys; a whole number stands for a fraction too.
///
/// # Errors
/// [`Error::Invalid`] with the limit.
pub fn check(key: &Key, value: Value) -> Result<Value> {
    let name = key.name;
    match (&key.shape, &value) {
        (Shape::Level { min, max, .. }, Value::Integer(level)) if (min..=max).contains(&level) => {}
        (Shape::Level { min, max, names }, _) => {
            let names: Vec<_> = names.iter().map(|(name, level)| format!("{name}={level}")).collect();
            let names = if names.is_empty() { String::new() } else { format!("; {}", names.join(" ")) };
            let value = shown(&value);
            return Err(Error::invalid(name, format!("{value} is out of range (limit: {min} to {max}{names})")));
        }
        #[expect(clippy::cast_precision_loss, reason = "only 0 and 1 are accepted")]
        (Shape::Fraction { .. }, Value::Integer(whole @ 0..=1)) => return Ok(Value::Float(*whole as f64)),
        (Shape::Fraction { .. }, Value::Float(fraction)) if (0.0..=1.0).contains(fraction) => {}
        (Shape::Fraction { names }, _) => {
            let names: Vec<_> = names.iter().map(|(name, fraction)| format!("{name}={fraction}")).collect();
            let (value, names) = (shown(&value), names.join(" "));
            return Err(Error::invalid(name, format!("{value} is out of range (limit: 0 to 1; {names})")));
        }
        (Shape::Choice(choices), Value::String(word)) if choices.contains(&word.as_str()) => {}
        (Shape::Choice(choices), _) => {
            return Err(Error::invalid(name, format!("{} is none of {}", shown(&value), choices.join(", "))));
        }
        (Shape::Line(max), Value::String(value)) => line(name, value, *max)?,
        (Shape::Text(max), Value::String(value)) => text(name, value, *max)?,
        (Shape::Id, Value::String(id)) => {
            id.parse::<Id>()
                .map_err(|_| Error::invalid(name, format!("{} is no whole id of 16 characters", quoted(id))))?;
        }
        (Shape::Any, _) => {}
        (Shape::Line(_) | Shape::Text(_) | Shape::Id, _) => {
            return Err(Error::invalid(name, format!("{} is no text", shown(&value))));
        }
    }
    Ok(value)
}

/// Accepts a value whose lists and tables are at most 32 deep, so that every parser reads it back.
///
/// # Errors
/// [`Error::Invalid`] with the field's name and limit.
pub fn nesting(field: &str, value: &Value) -> Result<()> {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
            Value::Table(table) => left > 0 && table.values().all(|value| fits(value, left - 1)),
            _ => true,
        }
    }
    if fits(value, NESTING_MAX) {
        return Ok(());
    }
    Err(Error::invalid(field, format!("is nested too deep (limit: {NESTING_MAX} lists and tables)")))
}

/// Shows a value in a message, at most 60 characters of it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Quotes a value for a message, at most 60 characters of it; what looks like a secret is left out.
pub fn quoted(value: &str) -> String {
    let value = secret::redacted(value);
    match value.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}
