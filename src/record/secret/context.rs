//! Secrets that only their surroundings give away: a name such as `password` before them, a URL around them.

use std::ops::Range;

use super::looks::{JUMPY, Look, contains, is_filler, is_prose, is_random, is_sequence, stands_in};

/// Rules of this file, in the order in which they are tried.
pub(super) const RULES: [&str; 5] =
    ["url-password", "authorization-header", "netrc-password", "assigned-secret", "random-string"];

/// Longest name that is looked at, in bytes, from its end.
const NAME_MAX: usize = 64;
/// Longest value that is looked at, in bytes.
const VALUE_MAX: usize = 256;
/// Longest gap between a name and its value, in bytes: quotes, brackets, a separator, spaces.
const GAP_MAX: usize = 40;
/// Shortest value after a name and a space alone, in bytes.
const UNSEPARATED_MIN: usize = 16;
/// Shortest string that is suspicious without any context, in bytes. A random one of letters and digits has 190 bits.
const BARE_MIN: usize = 32;

/// Parts of names that say that a secret follows; compared without case and without `_`, `-` and `.`.
const SECRET_NAMES: [&str; 22] = [
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authkey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "licensekey",
    "licencekey",
    "credential",
    "accountkey",
    "sharedkey",
    "storagekey",
    "connectionstring",
    "webhookurl",
    "sessionid",
];
/// Ends of names that say so too.
const SECRET_ENDS: [&str; 6] = ["pwd", "pass", "key", "auth", "creds", "psk"];
/// Parts of names that look like those above and are none.
const HARMLESS_NAMES: [&str; 9] =
    ["publickey", "pubkey", "cachekey", "sortkey", "hashkey", "primarykey", "foreignkey", "partitionkey", "tokenizer"];
/// Services whose keys have no shape of their own: any random value under their name is one.
const SERVICES: [&str; 60] = [
    "adafruit",
    "adobe",
    "airtable",
    "algolia",
    "alibaba",
    "artifactory",
    "asana",
    "atlassian",
    "beamer",
    "bitbucket",
    "bittrex",
    "cloudflare",
    "codecov",
    "cohere",
    "coinbase",
    "confluent",
    "contentful",
    "datadog",
    "discord",
    "droneci",
    "dropbox",
    "etsy",
    "facebook",
    "fastly",
    "finicity",
    "finnhub",
    "flickr",
    "freshbooks",
    "heroku",
    "hubspot",
    "intercom",
    "jira",
    "confluence",
    "kraken",
    "kucoin",
    "launchdarkly",
    "linkedin",
    "looker",
    "mailgun",
    "mailchimp",
    "mapbox",
    "mattermost",
    "meraki",
    "messagebird",
    "netlify",
    "newrelic",
    "nytimes",
    "okta",
    "plaid",
    "privateai",
    "rapidapi",
    "sendbird",
    "sentry",
    "snyk",
    "sonar",
    "squarespace",
    "sumo",
    "twitch",
    "twitter",
    "zendesk",
];
/// Passwords that everybody writes in examples; compared without case.
const STOCK_PASSWORDS: [&str; 22] = [
    "pass",
    "passwd",
    "password",
    "pw",
    "pwd",
    "secret",
    "token",
    "user",
    "username",
    "me",
    "test",
    "foo",
    "bar",
    "admin",
    "root",
    "guest",
    "postgres",
    "mysql",
    "x-oauth-basic",
    "hunter2",
    "p",
    "x",
];

/// Finds a secret that begins with the word at `at`: its rule and where it stands.
pub(super) fn at(text: &[u8], word: Range<usize>) -> Option<(&'static str, Range<usize>)> {
    let rest = &text[word.end..];
    if rest.starts_with(b"://") {
        return url_password(text, word.end + 3).map(|range| (RULES[0], range));
    }
    let name = &text[word.end.saturating_sub(NAME_MAX).max(word.start)..word.end];
    if let Some(range) = authorization(text, name, word.end) {
        return Some((RULES[1], range));
    }
    if let Some(range) = netrc(text, name, word.end) {
        return Some((RULES[2], range));
    }
    if let Some(range) = assigned(text, name, word.end) {
        return Some((RULES[3], range));
    }
    bare(text, word.start).map(|range| (RULES[4], range))
}

/// Returns the length of the word at the start: letters, digits, `_`, `-` and `.`, and bytes of other scripts.
pub(super) fn word_length(text: &[u8]) -> usize {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || *byte >= 0x80;
    text.iter().position(|byte| !part(byte)).unwrap_or(text.len())
}

/// `scheme://user:password@host`.
fn url_password(text: &[u8], start: usize) -> Option<Range<usize>> {
    let end = start + VALUE_MAX.min(text.len() - start);
    let stops =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'?' | b'"' | b'\'' | b'<' | b'>' | b'`');
    let length = text[start..end].iter().position(stops).unwrap_or(end - start);
    let authority = &text[start..start + length];
    let at = authority.iter().rposition(|byte| *byte == b'@')?;
    let colon = authority[..at].iter().position(|byte| *byte == b':')?;
    let password = start + colon + 1..start + at;
    (password.len() >= 3 && !is_stock(&text[password.clone()])).then_some(password)
}

/// `Authorization: Basic …`, `Authorization: Bearer …`, and `Bearer …` alone.
fn authorization(text: &[u8], name: &[u8], end: usize) -> Option<Range<usize>> {
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    let bearer = is("bearer");
    if !(bearer || is("basic") || is("token") || is("negotiate") || is("ssws")) || text.get(end) != Some(&b' ') {
        return None;
    }
    let before = &text[end.saturating_sub(NAME_MAX)..end - name.len()];
    let in_header = contains(&before.to_ascii_lowercase(), b"authorization");
    let value = end + 1..end + 1 + value_length(&text[end + 1..]);
    let found = &text[value.clone()];
    let random = is_random(found) && found.len() >= 16;
    // Base64 of `name:password` is short, and few words have a capital inside.
    let basic = is("basic") && in_header && found.len() >= 8 && found[1..].iter().any(u8::is_ascii_uppercase);
    let known = [b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==" as &[u8], b"dXNlcjpwYXNz", b"dXNlcjpwYXNzd29yZA=="].contains(&found);
    (((bearer || in_header) && random) || (basic && !known && !is_filler(found))).then_some(value)
}

/// `machine HOST login USER password SECRET`, and `curl -u USER:SECRET`.
fn netrc(text: &[u8], name: &[u8], end: usize) -> Option<Range<usize>> {
    let space = |byte: &u8| byte.is_ascii_whitespace();
    if name == b"password" && text.get(end).is_some_and(space) {
        let before = &text[end.saturating_sub(VALUE_MAX)..end - name.len()];
        let start = end + 1;
        let value = start
            ..start + text[start..].iter().take(VALUE_MAX).position(space).unwrap_or(VALUE_MAX.min(text.len() - start));
        let fits = contains(before, b"login ") && value.len() >= 4 && !is_stock(&text[value.clone()]);
        return (fits && contains(before, b"machine ") && !is_name(&text[value.clone()])).then_some(value);
    }
    if matches!(name, b"-u" | b"--user") && text.get(end) == Some(&b' ') {
        let line = text[end.saturating_sub(VALUE_MAX)..end].rsplit(|byte| *byte == b'\n').next()?;
        let quotes = text[end + 1..].iter().take(1).filter(|byte| matches!(byte, b'"' | b'\'')).count();
        let start = end + 1 + quotes;
        let stops = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`');
        let length = text[start..].iter().take(VALUE_MAX).position(stops).unwrap_or(VALUE_MAX.min(text.len() - start));
        let colon = text[start..start + length].iter().position(|byte| *byte == b':')?;
        let password = start + colon + 1..start + length;
        let found = &text[password.clone()];
        return (contains(line, b"curl") && found.len() >= 4 && !is_stock(found) && !is_name(found))
            .then_some(password);
    }
    None
}

/// `NAME = "value"` and its relatives, where the name speaks of a secret and the value is random.
fn assigned(text: &[u8], name: &[u8], end: usize) -> Option<Range<usize>> {
    // Nearly every word of a text is followed by a space and another word: no need to look at it.
    let (first, separated) = value_after(text, end, name)?;
    if !separated && first.len() < UNSEPARATED_MIN {
        return None;
    }
    let kind = Name::of(name)?;
    let mut at = end;
    // A second round for what stands between: `api_key: str = "…"`.
    for _ in 0..2 {
        let (value, separated) = value_after(text, at, name)?;
        if kind.fits(&text[value.clone()], separated) {
            return Some(value);
        }
        at = value.end;
    }
    None
}

/// What a name says about the value after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    /// Speaks of a secret.
    Secret,
    /// May: `key` is also that of a map, and a hash is no secret.
    Maybe,
}

impl Name {
    fn of(name: &[u8]) -> Option<Self> {
        let mut plain = [0; NAME_MAX];
        let mut length = 0;
        for byte in name.iter().filter(|byte| !matches!(byte, b'_' | b'-' | b'.')) {
            plain[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        let plain = &plain[..length];
        if HARMLESS_NAMES.iter().any(|word| contains(plain, word.as_bytes())) {
            return None;
        }
        if SECRET_NAMES.iter().any(|word| contains(plain, word.as_bytes())) {
            return Some(Self::Secret);
        }
        let ends = SECRET_ENDS.iter().any(|word| plain.ends_with(word.as_bytes()));
        (ends || SERVICES.iter().any(|word| contains(plain, word.as_bytes()))).then_some(Self::Maybe)
    }

    fn fits(self, value: &[u8], separated: bool) -> bool {
        let plausible = is_random(value) && !is_name(value);
        match (self, separated) {
            (Self::Secret, true) => plausible,
            (Self::Maybe, true) => plausible && value.len() >= 15,
            // `the token Xk29…`: words follow such a name everywhere, so there must be no doubt.
            (Self::Secret, false) => plausible && value.len() >= UNSEPARATED_MIN && is_mixed(value),
            (Self::Maybe, false) => false,
        }
    }
}

/// What may stand between a name and its value besides separators and quotes.
const FILL: [&[u8]; 3] = [b"is ", b"was ", b"value"];

/// Finds the value after a name: a separator, maybe quotes, and then the value itself. The flag says whether there was a separator.
fn value_after(text: &[u8], end: usize, name: &[u8]) -> Option<(Range<usize>, bool)> {
    let gap = &text[end..(end + GAP_MAX).min(text.len())];
    let mut separated = name.starts_with(b"-");
    let mut length = 0;
    while let Some(byte) = gap.get(length) {
        let rest = &gap[length..];
        let quoted = matches!(rest.get(1), Some(b'"' | b'\''));
        length += match byte {
            b'=' | b':' | b'>' | b'|' => {
                separated = true;
                1
            }
            b' ' | b'\t' | b'?' | b'"' | b'\'' | b'`' | b'\\' | b'[' | b']' | b'(' | b')' => 1,
            b',' if length > 0 && matches!(gap[length - 1], b'"' | b'\'') => {
                separated = true;
                1
            }
            b'\n' if separated => 1,
            // Prefixes of texts in programs: b"…", f"…", @"…".
            b'b' | b'f' | b'r' | b'u' | b'L' | b'@' | b'$' if quoted => 1,
            _ => match FILL.iter().find(|word| length > 0 && rest.starts_with(word)) {
                Some(word) => {
                    separated |= word.ends_with(b" ");
                    word.len()
                }
                None => break,
            },
        };
    }
    if length == 0 || end + length >= text.len() {
        return None;
    }
    let start = end + length;
    let rest = &text[start..];
    let quote = text.get(start - 1).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    let length = match quote {
        Some(quote) => rest
            .iter()
            .take(VALUE_MAX)
            .position(|byte| byte == quote || *byte == b'\n')
            .unwrap_or_else(|| value_length(rest)),
        None => value_length(rest),
    };
    (length > 0).then_some((start..start + length, separated))
}

/// Returns the length of a value without quotes.
fn value_length(text: &[u8]) -> usize {
    let stops = |byte: &u8| {
        byte.is_ascii_whitespace()
            || matches!(
                byte,
                b'"' | b'\''
                    | b'`'
                    | b'<'
                    | b'>'
                    | b','
                    | b';'
                    | b'('
                    | b')'
                    | b'['
                    | b']'
                    | b'{'
                    | b'}'
                    | b'|'
                    | b'\\'
            )
    };
    let text = &text[..text.len().min(VALUE_MAX)];
    let length = text.iter().position(stops).unwrap_or(text.len());
    let end = text[..length].iter().rposition(|byte| !matches!(byte, b'.' | b':' | b'!' | b'?'));
    end.map_or(0, |end| end + 1)
}

/// A long random string of upper case, lower case and digits without any context.
fn bare(text: &[u8], start: usize) -> Option<Range<usize>> {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=');
    let rest = &text[start..text.len().min(start + VALUE_MAX)];
    let found = &rest[..rest.iter().position(|byte| !part(byte)).unwrap_or(rest.len())];
    // Checksums for package managers name their algorithm, public keys of SSH theirs; parts of URLs are often random.
    let public = [b"sha" as &[u8], b"AAAAB3", b"AAAAC3", b"AAAAE2"].iter().any(|start| found.starts_with(start));
    let harmless = public || text[..start].last().is_some_and(|byte| b"/#@+.".contains(byte));
    if found.len() < BARE_MIN || harmless || is_filler(found) || is_sequence(found) {
        return None;
    }
    let look = Look::of(found);
    let random = is_mixed(found)
        && look.part_length < JUMPY
        && look.wordy <= 0.4
        && look.entropy >= 4.2
        && look.symbols * 8 <= look.length;
    random.then_some(start..start + found.len())
}

/// Tells whether a text has several of upper case, lower case and digits each.
fn is_mixed(text: &[u8]) -> bool {
    let look = Look::of(text);
    [look.lower, look.upper, look.digits].iter().all(|count| *count >= 3)
}

/// Tells whether a value is code or a stand-in: `${TOKEN}`, `os.environ`, `config.api_key`, a path, a URL.
fn is_name(value: &[u8]) -> bool {
    let code: [&[u8]; 12] =
        [b"${", b"$(", b"{{", b"%s", b"%(", b"://", b"::", b"->", b"()", b"environ", b"process.env", b"secrets."];
    value.first().is_some_and(|byte| matches!(byte, b'$' | b'<' | b'%' | b'&' | b'*' | b'~'))
        || code.iter().any(|part| contains(value, part))
        || is_prose(value)
        || (value.contains(&b' ') && Look::of(value).wordy > 0.4)
        || is_filler(value)
}

/// Tells whether a password is one that everybody writes in examples.
fn is_stock(password: &[u8]) -> bool {
    let lower = password.to_ascii_lowercase();
    let stand_in = |byte: &u8| matches!(byte, b'$' | b'<' | b'{' | b'[' | b'%' | b'*' | b'(');
    STOCK_PASSWORDS.iter().any(|word| lower == word.as_bytes())
        || lower.iter().any(stand_in)
        || stands_in(password)
        || (password.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_'))
}
