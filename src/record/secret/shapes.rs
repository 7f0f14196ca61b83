//! Tokens that give themselves away: what issuers put in front of them, and the few that show by their structure.

use super::looks::{is_filler, is_prose, is_random};

/// Longest part of a token that is looked at, in bytes; more does not change the verdict and would cost time.
const TAIL_MAX: usize = 300;

/// Bytes that a token is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Hex,
    /// Hexadecimal digits and `-`, as a UUID.
    HexDash,
    /// Upper case and digits.
    Upper,
    UpperDash,
    Alnum,
    /// Letters, digits, `_` and `-`.
    Word,
    /// As `Word`, and `.`.
    Dotted,
    /// Base64 of either alphabet.
    Base64,
    /// What the path of a URL has.
    Path,
}

impl Class {
    const fn has(self, byte: u8) -> bool {
        let word = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match self {
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::HexDash => byte.is_ascii_hexdigit() || byte == b'-',
            Self::UpperDash => byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-',
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Word => word,
            Self::Dotted => word || byte == b'.',
            Self::Base64 => word || matches!(byte, b'+' | b'/' | b'=' | b'%'),
            Self::Path => word || matches!(byte, b'.' | b'/' | b'+' | b'=' | b'%' | b'@' | b'~'),
        }
    }
}

/// A token that begins with a fixed text.
struct Shape {
    rule: &'static str,
    prefix: &'static str,
    class: Class,
    /// Fewest bytes after the prefix.
    least: usize,
    /// Most bytes after the prefix, and a letter or digit must not follow; 0 for any number.
    most: usize,
    /// Whether a letter or digit before the prefix makes it something else.
    edge: bool,
}

/// A prefix that says enough wherever it stands.
const fn plain(rule: &'static str, prefix: &'static str, class: Class, least: usize) -> Shape {
    Shape { rule, prefix, class, least, most: 0, edge: false }
}

/// A short prefix: it has to begin a word.
const fn word(rule: &'static str, prefix: &'static str, class: Class, least: usize) -> Shape {
    Shape { rule, prefix, class, least, most: 0, edge: true }
}

/// A short prefix of a token whose length is known.
const fn exact(rule: &'static str, prefix: &'static str, class: Class, least: usize, most: usize) -> Shape {
    Shape { rule, prefix, class, least, most, edge: true }
}

use Class::{Alnum, Base64, Dotted, Hex, HexDash, Path, Upper, UpperDash, Word};

/// Sources: the issuers' documentation and the rule catalogues of gitleaks, detect-secrets and GitHub's secret scanning. Lengths
/// are a little below what is issued today, since issuers change them.
const SHAPES: [Shape; 212] = [
    word("adobe-key", "p8e-", Alnum, 32),
    plain("age-key", "AGE-SECRET-KEY-1", Upper, 40),
    plain("age-key", "AGE-SECRET-KEY-PQ-1", Upper, 40),
    exact("airtable-token", "pat", Dotted, 70, 90),
    exact("alibaba-key", "LTAI", Alnum, 12, 24),
    plain("anthropic-key", "sk-ant-", Word, 20),
    plain("anyscale-key", "esecret_", Alnum, 20),
    word("artifactory-token", "AKCp", Alnum, 60),
    word("artifactory-token", "cmVmd", Alnum, 55),
    plain("atlassian-token", "ATATT3", Base64, 60),
    plain("atlassian-token", "ATCTT3", Base64, 60),
    plain("atlassian-token", "ATBB", Alnum, 28),
    exact("aws-access-key", "AKIA", Upper, 16, 16),
    exact("aws-access-key", "ASIA", Upper, 16, 16),
    exact("aws-access-key", "ABIA", Upper, 16, 16),
    exact("aws-access-key", "ACCA", Upper, 16, 16),
    exact("aws-access-key", "A3T", Upper, 17, 17),
    word("aws-bedrock-key", "ABSK", Base64, 80),
    plain("aws-bedrock-key", "bedrock-api-key-", Base64, 20),
    plain("aws-mws-key", "amzn.mws.", Word, 30),
    plain("azure-key", "AccountKey=", Base64, 40),
    plain("azure-key", "SharedAccessKey=", Base64, 40),
    plain("azure-key", "SharedAccessSignature=", Path, 40),
    plain("azure-key", "sig=", Base64, 43),
    plain("braintree-token", "access_token$production$", Alnum, 12),
    word("buildkite-token", "bkua_", Hex, 36),
    plain("circleci-token", "CCIPAT_", Word, 36),
    word("clickhouse-key", "4b1d", Alnum, 38),
    plain("clojars-token", "CLOJARS_", Alnum, 40),
    plain("cloudflare-key", "v1.0-", Word, 100),
    plain("cloudflare-key", "cfut_", Alnum, 36),
    plain("cloudflare-key", "cfat_", Alnum, 36),
    plain("cloudflare-key", "cfk_", Alnum, 36),
    plain("contentful-token", "CFPAT-", Word, 36),
    exact("crates-io-token", "cio", Alnum, 32, 33),
    exact("databricks-token", "dapi", Hex, 32, 32),
    exact("databricks-token", "dose", Hex, 32, 32),
    plain("definednetworking-token", "dnkey-", Word, 60),
    word("deno-token", "ddp_", Alnum, 36),
    plain("digitalocean-token", "dop_v1_", Hex, 40),
    plain("digitalocean-token", "doo_v1_", Hex, 40),
    plain("digitalocean-token", "dor_v1_", Hex, 40),
    plain("discord-webhook", "discord.com/api/webhooks/", Path, 60),
    plain("discord-webhook", "discordapp.com/api/webhooks/", Path, 60),
    plain("docker-token", "dckr_pat_", Word, 20),
    plain("docker-token", "dckr_oat_", Word, 20),
    plain("doppler-token", "dp.pt.", Alnum, 40),
    plain("doppler-token", "dp.st.", Dotted, 40),
    plain("doppler-token", "dp.ct.", Alnum, 40),
    plain("doppler-token", "dp.sa.", Alnum, 40),
    plain("doppler-token", "dp.scim.", Alnum, 40),
    plain("doppler-token", "dp.audit.", Alnum, 40),
    word("dropbox-token", "sl.", Word, 100),
    plain("duffel-token", "duffel_test_", Base64, 40),
    plain("duffel-token", "duffel_live_", Base64, 40),
    plain("dynatrace-token", "dt0c01.", Dotted, 60),
    plain("dynatrace-token", "dt0s01.", Dotted, 60),
    plain("dynatrace-token", "dt0s16.", Dotted, 60),
    word("easypost-key", "EZAK", Alnum, 50),
    word("easypost-key", "EZTK", Alnum, 50),
    exact("elevenlabs-key", "sk_", Hex, 48, 48),
    word("facebook-token", "EAAM", Alnum, 90),
    word("facebook-token", "EAAC", Alnum, 90),
    word("facebook-token", "EAAB", Alnum, 90),
    word("facebook-token", "EAACEdEose0cBA", Alnum, 10),
    plain("figma-token", "figd_", Word, 36),
    plain("flutterwave-key", "FLWSECK_TEST-", Word, 12),
    plain("flutterwave-key", "FLWSECK-", Word, 32),
    plain("fly-token", "fo1_", Word, 40),
    plain("fly-token", "fm1a_", Base64, 80),
    plain("fly-token", "fm1r_", Base64, 80),
    plain("fly-token", "fm2_", Base64, 80),
    plain("frameio-token", "fio-u-", Base64, 60),
    plain("github-token", "ghp_", Alnum, 30),
    plain("github-token", "gho_", Alnum, 30),
    plain("github-token", "ghu_", Alnum, 30),
    plain("github-token", "ghs_", Alnum, 30),
    plain("github-token", "ghr_", Alnum, 30),
    plain("github-token", "github_pat_", Word, 36),
    word("github-token", "v1.", Hex, 40),
    plain("gitlab-token", "glpat-", Dotted, 20),
    plain("gitlab-token", "gldt-", Dotted, 20),
    plain("gitlab-token", "glft-", Dotted, 20),
    plain("gitlab-token", "glrt-", Dotted, 20),
    plain("gitlab-token", "glrtr-", Dotted, 20),
    plain("gitlab-token", "glptt-", Dotted, 20),
    plain("gitlab-token", "glcbt-", Dotted, 20),
    plain("gitlab-token", "glimt-", Dotted, 20),
    plain("gitlab-token", "gloas-", Dotted, 20),
    plain("gitlab-token", "glsoat-", Dotted, 20),
    plain("gitlab-token", "glagent-", Dotted, 20),
    plain("gitlab-token", "glffct-", Dotted, 20),
    plain("gitlab-token", "glwt-", Dotted, 20),
    plain("gitlab-token", "GR1348941", Word, 20),
    plain("gitlab-token", "_gitlab_session=", Alnum, 32),
    plain("google-key", "AIza", Word, 33),
    plain("google-key", "GOCSPX-", Word, 20),
    plain("google-key", "ya29.", Dotted, 20),
    word("google-key", "1//0", Word, 30),
    exact("google-key", "GOOG", Upper, 20, 60),
    plain("grafana-token", "glsa_", Word, 36),
    plain("grafana-token", "glc_", Base64, 32),
    word("grafana-token", "eyJrIjoi", Base64, 60),
    word("groq-key", "gsk_", Alnum, 40),
    plain("harness-token", "pat.", Dotted, 60),
    plain("harness-token", "sat.", Dotted, 60),
    plain("heroku-key", "HRKU-", Word, 30),
    word("hubspot-token", "pat-na1-", Word, 32),
    word("hubspot-token", "pat-eu1-", Word, 32),
    word("huggingface-token", "hf_", Alnum, 30),
    plain("huggingface-token", "api_org_", Alnum, 30),
    plain("infracost-key", "ico-", Alnum, 32),
    word("intra42-secret", "s-s4t2ud-", Hex, 60),
    word("intra42-secret", "s-s4t2af-", Hex, 60),
    word("json-web-token", "ZXlK", Base64, 40),
    plain("langsmith-key", "lsv2_", Word, 36),
    word("launchdarkly-key", "sdk-", HexDash, 36),
    word("launchdarkly-key", "api-", HexDash, 36),
    plain("linear-key", "lin_api_", Alnum, 32),
    plain("linear-key", "lin_oauth_", Alnum, 32),
    word("lob-key", "live_", Hex, 35),
    exact("mailgun-key", "key-", Alnum, 32, 32),
    plain("mapbox-token", "sk.eyJ", Dotted, 60),
    plain("mapbox-token", "pk.eyJ", Dotted, 60),
    plain("microsoft-teams-webhook", ".webhook.office.com/webhookb2/", Path, 60),
    word("netlify-token", "nfp_", Alnum, 36),
    plain("new-relic-key", "NRAK-", Alnum, 27),
    plain("new-relic-key", "NRII-", Word, 32),
    plain("new-relic-key", "NRJS-", Hex, 19),
    plain("new-relic-key", "NRRA-", Hex, 40),
    word("notion-token", "secret_", Alnum, 40),
    plain("notion-token", "ntn_", Alnum, 40),
    plain("npm-token", "npm_", Alnum, 30),
    word("nuget-key", "oy2", Alnum, 43),
    exact("octopus-key", "API-", Upper, 25, 27),
    word("onepassword-key", "A3-", UpperDash, 32),
    plain("onepassword-key", "ops_eyJ", Base64, 60),
    word("openai-key", "sk-", Word, 20),
    plain("openshift-token", "sha256~", Word, 43),
    plain("perplexity-key", "pplx-", Alnum, 40),
    plain("pinecone-key", "pcsk_", Word, 36),
    plain("plaid-token", "access-sandbox-", Word, 36),
    plain("plaid-token", "access-development-", Word, 36),
    plain("plaid-token", "access-production-", Word, 36),
    plain("planetscale-token", "pscale_tkn_", Path, 30),
    plain("planetscale-token", "pscale_pw_", Path, 30),
    plain("planetscale-token", "pscale_oauth_", Path, 30),
    plain("postman-key", "PMAK-", Word, 50),
    plain("prefect-token", "pnu_", Alnum, 36),
    plain("pulumi-token", "pul-", Hex, 40),
    plain("pypi-token", "pypi-AgE", Word, 40),
    plain("readme-token", "rdme_", Alnum, 60),
    word("render-key", "rnd_", Alnum, 24),
    plain("replicate-token", "r8_", Alnum, 36),
    plain("rubygems-token", "rubygems_", Hex, 40),
    plain("scalingo-token", "tk-us-", Word, 40),
    plain("sendgrid-key", "SG.", Dotted, 40),
    plain("sendinblue-key", "xkeysib-", Word, 60),
    plain("sendinblue-key", "xsmtpsib-", Word, 60),
    plain("sentry-token", "sntrys_", Base64, 40),
    plain("sentry-token", "sntryu_", Hex, 40),
    plain("shippo-token", "shippo_live_", Hex, 32),
    plain("shippo-token", "shippo_test_", Hex, 32),
    plain("shopify-token", "shpat_", Hex, 24),
    plain("shopify-token", "shpca_", Hex, 24),
    plain("shopify-token", "shppa_", Hex, 24),
    plain("shopify-token", "shpss_", Hex, 24),
    plain("shopify-token", "shpua_", Hex, 24),
    plain("slack-token", "xoxb-", Word, 16),
    plain("slack-token", "xoxp-", Word, 16),
    plain("slack-token", "xoxa-", Word, 12),
    plain("slack-token", "xoxr-", Word, 12),
    plain("slack-token", "xoxs-", Word, 12),
    plain("slack-token", "xoxo-", Word, 12),
    plain("slack-token", "xoxc-", Word, 16),
    plain("slack-token", "xoxd-", Base64, 16),
    plain("slack-token", "xoxe-", Word, 16),
    plain("slack-token", "xoxe.xox", Word, 16),
    plain("slack-token", "xapp-", Word, 16),
    plain("slack-token", "xwfp-", Word, 16),
    plain("slack-webhook", "hooks.slack.com/", Path, 30),
    plain("snyk-token", "snyk_uat.", Dotted, 20),
    word("sonar-token", "squ_", Hex, 36),
    word("sonar-token", "sqp_", Hex, 36),
    word("sonar-token", "sqa_", Hex, 36),
    plain("sourcegraph-token", "sgp_", Word, 40),
    word("square-token", "EAAA", Word, 50),
    plain("square-token", "sq0atp-", Word, 20),
    plain("square-token", "sq0csp-", Word, 20),
    plain("square-token", "sq0idp-", Word, 20),
    plain("stripe-key", "sk_live_", Alnum, 16),
    plain("stripe-key", "sk_test_", Alnum, 16),
    plain("stripe-key", "rk_live_", Alnum, 16),
    plain("stripe-key", "rk_test_", Alnum, 16),
    plain("stripe-key", "whsec_", Base64, 24),
    plain("supabase-key", "sbp_", Hex, 40),
    plain("supabase-key", "sb_secret_", Word, 20),
    plain("tailscale-key", "tskey-", Word, 20),
    plain("tavily-key", "tvly-", Word, 24),
    plain("trello-token", "ATTA", Alnum, 60),
    exact("twilio-key", "SK", Hex, 32, 32),
    exact("twilio-key", "AC", Hex, 32, 32),
    plain("twitter-token", "AAAAAAAAAAAAAAAAAAAA", Base64, 40),
    plain("typeform-token", "tfp_", Dotted, 40),
    plain("vault-token", "hvs.", Word, 24),
    plain("vault-token", "hvb.", Word, 24),
    plain("vault-token", "hvr.", Word, 24),
    exact("vault-token", "s.", Alnum, 24, 24),
    plain("vercel-token", "vercel_blob_rw_", Word, 24),
    word("xai-key", "xai-", Alnum, 60),
    plain("yandex-key", "AQVN", Word, 35),
    word("yandex-key", "y0_", Word, 50),
];

/// Where the shapes with a first byte begin in [`NEXT`]; `NONE` where there are none.
const HEAD: [u8; 256] = chains().0;
const NEXT: [u8; SHAPES.len()] = chains().1;
const NONE: u8 = u8::MAX;

#[expect(clippy::cast_possible_truncation, reason = "there are fewer shapes than 255, or this does not compile")]
const fn chains() -> ([u8; 256], [u8; SHAPES.len()]) {
    assert!(SHAPES.len() < NONE as usize);
    let (mut head, mut next) = ([NONE; 256], [NONE; SHAPES.len()]);
    let mut i = SHAPES.len();
    while i > 0 {
        i -= 1;
        let first = SHAPES[i].prefix.as_bytes()[0] as usize;
        next[i] = head[first];
        head[first] = i as u8;
    }
    (head, next)
}

/// Finds a token that begins at `at`: its rule and its end.
pub(super) fn at(text: &[u8], at: usize) -> Option<(&'static str, usize)> {
    let mut next = HEAD[usize::from(text[at])];
    while next != NONE {
        let shape = &SHAPES[usize::from(next)];
        if let Some(end) = shape.matches(text, at) {
            return Some((shape.rule, end));
        }
        next = NEXT[usize::from(next)];
    }
    match text[at] {
        b'B' => private_key(text, at),
        b'P' => text[at..].starts_with(b"PuTTY-User-Key-File-").then_some(("private-key", at + 20)),
        b'b' => text[at..].starts_with(b"b3BlbnNzaC1rZXktdjE").then_some(("private-key", at + 19)),
        b'e' => json_web_token(text, at),
        b'M' | b'N' | b'O' => discord(text, at),
        b'0'..=b'9' => numbered(text, at),
        b'.' | b'-' | b'Q' | b'_' => inside(text, at),
        _ => None,
    }
}

impl Shape {
    fn matches(&self, text: &[u8], at: usize) -> Option<usize> {
        let prefix = self.prefix.as_bytes();
        // The second byte decides nearly always; this is asked at every byte of a text.
        if text.get(at + 1) != prefix.get(1) || !text[at..].starts_with(prefix) || (self.edge && !begins(text, at)) {
            return None;
        }
        let start = at + prefix.len();
        let length = run(text, start, self.class);
        let end = start + length;
        let fits = length >= self.least && (self.most == 0 || (length <= self.most && ends(text, end)));
        let body = &text[start..end];
        let prose = matches!(self.class, Word | Dotted | Base64 | Path) && is_prose(body);
        (fits && !is_filler(body) && !prose).then_some(end)
    }
}

/// Counts the bytes of a class from `start` on, at most [`TAIL_MAX`].
fn run(text: &[u8], start: usize, class: Class) -> usize {
    let tail = &text[start.min(text.len())..(start + TAIL_MAX).min(text.len())];
    tail.iter().position(|byte| !class.has(*byte)).unwrap_or(tail.len())
}

/// Tells whether a word may begin at `at`.
fn begins(text: &[u8], at: usize) -> bool {
    at == 0 || !text[at - 1].is_ascii_alphanumeric()
}

fn ends(text: &[u8], end: usize) -> bool {
    text.get(end).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

/// The first line of a private key: `BEGIN`, maybe the kind, `PRIVATE KEY` (RFC 7468, RFC 9580, RFC 4716).
fn private_key(text: &[u8], at: usize) -> Option<(&'static str, usize)> {
    const NAMES: [&[u8]; 2] = [b"PRIVATE KEY", b"Static key"];
    let before = &text[..at];
    let line = &text[at..(at + 80).min(text.len())];
    if !line.starts_with(b"BEGIN ") || !(before.ends_with(b"--") || before.ends_with(b"-- ")) {
        return None;
    }
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or(line);
    let end_of =
        |name: &[u8]| line.windows(name.len()).position(|found| found == name).map(|start| at + start + name.len());
    let found = NAMES.into_iter().find_map(end_of);
    let ssh2 = || line.starts_with(b"BEGIN SSH2 ENCRYPTED PRIVATE").then_some(at + 29);
    found.or_else(ssh2).map(|end| ("private-key", end))
}

/// `header.payload.signature`, each base64 of the URL alphabet; the header begins with `{"` (RFC 7519).
fn json_web_token(text: &[u8], at: usize) -> Option<(&'static str, usize)> {
    if !text[at..].starts_with(b"eyJ") || !begins(text, at) {
        return None;
    }
    let header = at + run(text, at, Word);
    let payload = header + 1 + run(text, header + 1, Word);
    let found = text.get(header) == Some(&b'.') && header - at >= 10 && payload - header > 10;
    found
        .then(|| if text.get(payload) == Some(&b'.') { payload + 1 + run(text, payload + 1, Word) } else { payload })
        .filter(|end| !is_filler(&text[at..*end]))
        .map(|end| ("json-web-token", end))
}

/// `id.time.signature` of a Discord bot: the id is base64 of a number and begins with M, N or O.
fn discord(text: &[u8], at: usize) -> Option<(&'static str, usize)> {
    if !begins(text, at) {
        return None;
    }
    let first = at + run(text, at, Word);
    let second = first + 1 + run(text, first + 1, Word);
    let third = second + 1 + run(text, second + 1, Word);
    let dots = text.get(first) == Some(&b'.') && text.get(second) == Some(&b'.');
    let fits = (23..=28).contains(&(first - at)) && second - first == 7 && (27..=45).contains(&(third - second - 1));
    (dots && fits && is_token(&text[at..third])).then_some(("discord-token", third))
}

/// `number:secret` of a Telegram bot, `number|secret` of a Facebook application.
fn numbered(text: &[u8], at: usize) -> Option<(&'static str, usize)> {
    if !begins(text, at) {
        return None;
    }
    let number = text[at..].iter().take(18).position(|byte| !byte.is_ascii_digit())?;
    let start = at + number + 1;
    let length = run(text, start, Word);
    let rule = match text.get(at + number) {
        Some(b':') if (6..=16).contains(&number) && (33..=37).contains(&length) => "telegram-token",
        Some(b'|' | b'%') if (15..=17).contains(&number) && (27..=42).contains(&length) => "facebook-token",
        _ => return None,
    };
    is_token(&text[start..start + length]).then_some((rule, start + length))
}

/// Tells whether a text of the right structure is a token after all: of both cases, no name and no stand-in.
fn is_token(text: &[u8]) -> bool {
    let both = text.iter().any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase);
    both && !is_filler(text) && !is_prose(text)
}

/// Tokens whose mark stands in their middle. `at` is where the mark begins.
fn inside(text: &[u8], at: usize) -> Option<(&'static str, usize)> {
    let rest = &text[at..];
    let before = |length: usize, class: Class| {
        let start = at.checked_sub(length)?;
        text[start..at].iter().all(|byte| class.has(*byte)).then_some(start)
    };
    let tail = |mark: &str| run(text, at + mark.len(), Base64);
    if rest.starts_with(b".atlasv1.") && before(10, Alnum).is_some() && tail(".atlasv1.") >= 40 {
        return Some(("terraform-token", at + 9 + tail(".atlasv1.")));
    }
    if rest.starts_with(b"-us") && before(32, Hex).is_some() && rest.get(3).is_some_and(u8::is_ascii_digit) {
        return Some(("mailchimp-key", at + 4));
    }
    if rest.starts_with(b"Q~") && before(4, Dotted).is_some() && text[at - 1].is_ascii_digit() {
        let length = run(text, at + 2, Path);
        return (length >= 31 && is_random(&text[at + 2..at + 2 + length])).then_some(("azure-key", at + 2 + length));
    }
    if rest.starts_with(b"_mmk") && before(36, Word).is_some() && ends(text, at + 4) {
        return Some(("maxmind-key", at + 4));
    }
    None
}

/// The rules of this table, for the documentation and for `--allow-secret`.
pub(super) fn rules() -> impl Iterator<Item = &'static str> {
    const OTHERS: [&str; 7] = [
        "private-key",
        "json-web-token",
        "discord-token",
        "telegram-token",
        "terraform-token",
        "mailchimp-key",
        "maxmind-key",
    ];
    SHAPES.iter().map(|shape| shape.rule).chain(OTHERS)
}
