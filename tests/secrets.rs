//! Secrets: refused before anything is written, named without being repeated, and allowed where somebody says so.
//!
//! No token stands in this file: each is put together when the test runs, so that no scanner of a host stops a push of it.

use std::io::Read;
use std::path::Path;

use fastrand::Rng;
use git_elf::record::secret;
use proptest::prelude::*;

use crate::support::{Ran, Sandbox};

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const DIGITS: &str = "0123456789";
const HEX: &str = "0123456789abcdef";

/// A shape of token: rule, and the recipe. In a recipe `{N:set}` is N random characters of a set: `a` letters and digits, `w` those and
/// `_-`, `b` base64, `h` hexadecimal, `U` upper case and digits, `l` lower case and digits, `d` digits, `u` upper case. `~` is nothing:
/// it keeps this file free of what looks like a token.
const SHAPES: [(&str, &str); 62] = [
    ("aws-access-key", "AK~IA{16:U}"),
    ("aws-access-key", "AS~IA{16:U}"),
    ("assigned-secret", "aws_secret_access_key = {40:b}"),
    ("github-token", "gh~p_{36:a}"),
    ("github-token", "gh~o_{36:a}"),
    ("github-token", "gh~s_{36:a}"),
    ("github-token", "github_~pat_{22:a}_{59:a}"),
    ("gitlab-token", "gl~pat-{20:w}"),
    ("slack-token", "xo~xb-{12:d}-{12:d}-{24:a}"),
    ("slack-token", "xo~xp-{11:d}-{11:d}-{11:d}-{32:h}"),
    ("slack-token", "xa~pp-1-A{10:U}-{13:d}-{64:h}"),
    ("slack-webhook", "https://hooks.~slack.com/services/T{8:U}/B{8:U}/{24:a}"),
    ("stripe-key", "sk_~live_{24:a}"),
    ("stripe-key", "rk_~live_{24:a}"),
    ("stripe-key", "wh~sec_{32:a}"),
    ("openai-key", "s~k-{48:a}"),
    ("openai-key", "s~k-proj-{74:w}T3~BlbkFJ{74:w}"),
    ("anthropic-key", "s~k-ant-api03-{93:w}AA"),
    ("google-key", "AI~za{35:w}"),
    ("google-key", "GO~CSPX-{28:w}"),
    ("google-key", "ya~29.{60:w}"),
    ("npm-token", "np~m_{36:a}"),
    ("pypi-token", "py~pi-AgEIcHlwaS5vcmc{70:w}"),
    ("crates-io-token", "ci~o{32:a}"),
    ("docker-token", "dckr_~pat_{27:w}"),
    ("huggingface-token", "h~f_{34:a}"),
    ("sendgrid-key", "S~G.{22:w}.{43:w}"),
    ("twilio-key", "S~K{32:h}"),
    ("mailgun-key", "ke~y-{32:h}"),
    ("mailchimp-key", "{32:h}-us~12"),
    ("digitalocean-token", "do~p_v1_{64:h}"),
    ("heroku-key", "HR~KU-{8:h}-{4:h}-{4:h}-{4:h}-{12:h}"),
    ("assigned-secret", "HEROKU_API_~KEY={8:h}-{4:h}-{4:h}-{4:h}-{12:h}"),
    ("shopify-token", "sh~pat_{32:h}"),
    ("square-token", "sq0~atp-{22:w}"),
    ("telegram-token", "{9:d}:A~A{33:w}"),
    ("discord-token", "M~{23:a}.{6:a}.{27:a}"),
    ("json-web-token", "ey~J{36:a}.ey~J{48:a}.{43:w}"),
    ("azure-key", "AccountKey~={86:b}=="),
    ("databricks-token", "da~pi{32:h}"),
    ("linear-key", "lin_~api_{40:a}"),
    ("notion-token", "nt~n_{11:d}{35:a}"),
    ("notion-token", "secr~et_{43:a}"),
    ("postman-key", "PM~AK-{24:h}-{34:h}"),
    ("terraform-token", "{14:a}.at~lasv1.{67:w}"),
    ("vault-token", "hv~s.{90:w}"),
    ("age-key", "AGE-SECRET-~KEY-1{58:U}"),
    ("private-key", "-----BEGIN RSA ~PRIVATE KEY-----"),
    ("private-key", "-----BEGIN OPENSSH ~PRIVATE KEY-----"),
    ("private-key", "-----BEGIN PGP ~PRIVATE KEY BLOCK-----"),
    ("private-key", "PuTTY-~User-Key-File-3: ssh-ed25519"),
    ("url-password", "postgres://app:{16:a}@db.example.org/app"),
    ("url-password", "https://deploy:{12:w}@git.example.org"),
    ("authorization-header", "Authorization: Bearer {40:a}"),
    ("authorization-header", "Authorization: Basic {24:b}"),
    ("netrc-password", "machine example.org login me password {16:a}"),
    ("assigned-secret", "password = \"{16:a}\""),
    ("assigned-secret", "\"api_key\": \"{32:l}\""),
    ("assigned-secret", "SECRET={40:h}"),
    ("assigned-secret", "export DB_PASSWORD='{20:w}'"),
    ("assigned-secret", "client_secret: {32:a}"),
    ("random-string", "{64:a}"),
];

fn token(recipe: &str, random: &mut Rng) -> String {
    let mut out = String::new();
    let mut rest = recipe;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (place, after) = after.split_once('}').unwrap();
        let (count, set) = place.split_once(':').unwrap();
        let set: Vec<char> = match set {
            "a" => [UPPER, LOWER, DIGITS].concat(),
            "w" => [UPPER, LOWER, DIGITS, "_-"].concat(),
            "b" => [UPPER, LOWER, DIGITS, "+/"].concat(),
            "h" => HEX.to_owned(),
            "U" => [UPPER, "234567"].concat(),
            "l" => [LOWER, DIGITS].concat(),
            "d" => DIGITS.to_owned(),
            _ => panic!("{set}"),
        }
        .chars()
        .collect();
        out.extend((0..count.parse::<usize>().unwrap()).map(|_| set[random.usize(..set.len())]));
        rest = after;
    }
    out.push_str(rest);
    out.replace('~', "")
}

/// Sixty tokens, every shape among them, from a fixed seed.
fn tokens() -> Vec<(&'static str, String)> {
    let mut random = Rng::with_seed(20);
    SHAPES.iter().map(|(rule, recipe)| (*rule, token(recipe, &mut random))).collect()
}

/// Reads every file below a directory and every object of its repository as one heap of bytes.
fn everything_in(sandbox: &Sandbox, dir: &Path) -> Vec<u8> {
    let mut heap = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                std::fs::File::open(path).unwrap().read_to_end(&mut heap).unwrap();
            }
        }
    }
    let mut objects = sandbox.command("git");
    objects.args(["cat-file", "--batch-all-objects", "--batch"]);
    heap.extend(objects.output().unwrap().stdout);
    heap
}

/// The part of a token that nobody may find: 12 bytes out of its middle.
fn core(token: &str) -> &str {
    let from = token.len().saturating_sub(14);
    &token[from..from + 12.min(token.len() - from)]
}

#[track_caller]
fn nowhere(heap: &[u8], token: &str) {
    let core = core(token).as_bytes();
    assert!(!heap.windows(core.len()).any(|window| window == core), "a part of a refused token was written");
}

#[track_caller]
fn refused(ran: Ran, rule: &str, token: &str) {
    let ran = ran.exits(2);
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains(core(token)), "{rule}: the message repeats the token: {text}");
    }
    assert!(ran.err.contains(rule), "the message does not name {rule}: {}", ran.err);
}

#[test]
fn every_token_is_refused_everywhere_and_written_nowhere() {
    let sandbox = Sandbox::new();
    let id = sandbox.record("A record to speak about");
    let tokens = tokens();
    assert!(tokens.len() >= 60);
    let mut lines = String::new();
    for (i, (rule, token)) in tokens.iter().enumerate() {
        refused(sandbox.elf(["record", "failure", "--title", &format!("Leaked {token}")]), rule, token);
        refused(sandbox.elf(["record", "failure", "x", "-m", &format!("First line\nthen {token} ")]), rule, token);
        refused(sandbox.elf(["record", "failure", "x", "--tags", &format!("a,{token}"), "--json"]), rule, token);
        let mut others = vec![
            sandbox.elf(["validate", &id, "--note", &format!("seen {token}")]),
            sandbox.elf(["edit", &id, "-m", token]),
            sandbox.elf(["record", "failure", "x", "--set", &format!("hint={token}")]),
            sandbox.elf(["record", "failure", "x", "--agent", token]),
        ];
        refused(others.swap_remove(i % others.len()), rule, token);
        let line = serde_json::json!({"kind": "failure", "title": format!("Line {i}"), "body": format!("a {token}")});
        lines.push_str(&format!("{line}\n{{\"kind\":\"success\",\"title\":\"Good line {i}\"}}\n"));
    }
    let ran = sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &lines).exits(2);
    assert_eq!(ran.line(), format!("imported {0}, already there 0, rejected {0}", tokens.len()));
    for (i, (rule, token)) in tokens.iter().enumerate() {
        let line = ran.err.lines().find(|line| line.starts_with(&format!("elf: line {}: ", 2 * i + 1)));
        assert!(line.is_some_and(|line| line.contains(rule)), "{rule}: {line:?}");
        assert!(!ran.err.contains(core(token)), "{rule}");
    }
    let heap = everything_in(&sandbox, &sandbox.repo().join(".git"));
    for (_, token) in &tokens {
        nowhere(&heap, token);
    }
    assert_eq!(sandbox.listed().len(), tokens.len() + 1);
}

#[test]
fn a_commit_with_a_secret_in_a_trailer_stands_and_nothing_of_it_is_recorded() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    let tokens = tokens();
    for (i, (rule, token)) in tokens.iter().enumerate() {
        let message = format!("x\n\nElf-Failure: {token}\nElf-Domain: db\nElf-Success: Kept {i}");
        let ran = sandbox.git(["commit", "-q", "--allow-empty", "-m", &message]).ok();
        assert!(ran.err.contains(rule), "{rule}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(!ran.err.contains(core(token)), "{rule}: {}", ran.err);
    }
    assert_eq!(sandbox.listed().len(), tokens.len(), "the other trailers are taken");
    let exported = sandbox.elf(["export"]).ok().out;
    let mut ours = everything_in(&sandbox, &sandbox.elf_dir());
    // The user's own commits have the tokens; what counts is what is reachable from the memory.
    let listed = sandbox.git(["rev-list", "--objects", "--no-object-names", "refs/elf/memory"]).ok().out;
    ours.clear();
    for object in listed.lines() {
        ours.extend(sandbox.git(["cat-file", "-p", object]).ok().out.into_bytes());
    }
    for name in ["index.db", "index.db-wal"] {
        ours.extend(std::fs::read(sandbox.elf_dir().join(name)).unwrap_or_default());
    }
    ours.extend(exported.into_bytes());
    for (_, token) in &tokens {
        nowhere(&ours, token);
    }
    assert!(std::fs::read_dir(sandbox.elf_dir().join("spool")).is_ok_and(|dir| dir.count() <= 1), "only bad/ is there");
}

#[test]
fn the_place_is_named_and_what_is_allowed_stays_allowed_everywhere() {
    let sandbox = Sandbox::new();
    let token = token("gh~p_{36:a}", &mut Rng::with_seed(3));
    let body = format!("One line.\n  é: {token}");
    let args = ["record", "failure", "A title", "-m", &body];
    let error = sandbox.elf([&args[..], &["--json"]].concat()).exits(2).err;
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    let text = error["error"].as_str().unwrap();
    assert!(text.contains("github-token in body at line 2, column 6"), "{text}");
    assert_eq!(error["field"], "body");
    assert!(error["hint"].as_str().unwrap().contains("--allow-secret github-token"), "{error}");
    let ran = sandbox.elf([&args[..], &["--allow-secret", "git-token"]].concat()).exits(2);
    assert!(ran.err.contains("allow-secret") && ran.err.contains("github-token"), "names the rules: {}", ran.err);
    refused(sandbox.elf([&args[..], &["--allow-secret", "npm-token"]].concat()), "github-token", &token);

    let id = sandbox.elf([&args[..], &["--allow-secret", "github-token"]].concat()).ok().line().to_owned();
    let shown = sandbox.elf(["show", &id, "--json"]).ok().json().remove(0);
    assert_eq!(shown["allow_secret"], serde_json::json!(["github-token"]));
    sandbox.elf(["check"]).ok();
    let exported = sandbox.elf(["export"]).ok().out;
    let other = Sandbox::new();
    other.elf_with_input(["import", "--from", "jsonl", "-"], &exported).ok();
    other.elf(["check"]).ok();
    sandbox.elf(["init"]).ok();
    sandbox.git(["init", "-q", "--bare", "../remote.git"]).ok();
    sandbox.git(["push", "-q", "../remote.git", "refs/elf/memory"]).ok();

    let by_config = Sandbox::new();
    by_config.git(["config", "--add", "elf.allowSecret", "npm-token"]).ok();
    by_config.git(["config", "--add", "elf.allowSecret", "github-token"]).ok();
    by_config.elf(args).ok();
    let unconfigured = Sandbox::new();
    let mut once = unconfigured.command("git");
    once.args(["-c", "elf.allowSecret=github-token", "elf"]).args(args);
    unconfigured.run(once).ok();
    by_config.git(["config", "elf.allowSecret", "no-such-rule", "npm-token"]).ok();
    let ran = by_config.elf(["list"]).exits(2);
    assert!(ran.err.contains("elf.allowSecret"), "{}", ran.err);
}

#[test]
fn stand_ins_and_words_about_secrets_are_no_secrets() {
    let sandbox = Sandbox::new();
    for text in [
        "The documented AKIA~IOSFODNN7EXAMPLE is fine",
        "password = changeme",
        "password: ${DB_PASSWORD}",
        "api_key: \"<your-api-key>\"",
        "SECRET=xxxxxxxxxxxxxxxxxxxx",
        "postgres://user:password@localhost/db and postgres://app:$PASSWORD@db",
        "Set gh~p_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx in the environment",
        "token = os.environ[\"TOKEN\"]; secret = getSecretFromVaultForUser()",
        "sk~-your-own-api-key-goes-here",
        "the commit 0123456789abcdef0123456789abcdef01234567 broke the token parser",
        "max_tokens: 4096, tokenizer=cl100k_base, key = 2024-01-15T10:20:30Z",
        "integrity sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
        "Authorization: Bearer <token>",
        "src/main/java/org/example/AbstractSingletonProxyFactoryBeanConfiguration.java",
    ] {
        let found = secret::scan(&text.replace('~', ""));
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    sandbox.elf(["record", "failure", "Do not log the Authorization header", "-m", "password = changeme"]).ok();
}

#[test]
fn a_secret_of_another_clone_is_named_by_check_and_stops_a_push() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init"]).ok();
    let id = sandbox.record("To be edited");
    let token = token("gl~pat-{20:w}", &mut Rng::with_seed(5));
    let path = sandbox.tree().into_iter().find(|path| path.contains(&id)).unwrap();
    let text = sandbox.git(["show", &format!("refs/elf/memory:{path}")]).ok().out;
    for edited in
        [text.replace("To be edited", &format!("Use {token}")), text.replacen("+++", &format!("+++\n# {token}"), 1)]
    {
        let index = sandbox.root().join("memory-index");
        let git = |args: &[&str]| {
            let mut command = sandbox.command("git");
            command.env("GIT_INDEX_FILE", &index).args(args);
            sandbox.run(command).ok().line().to_owned()
        };
        let before = git(&["rev-parse", "refs/elf/memory"]);
        let file = sandbox.root().join("blob");
        std::fs::write(&file, edited).unwrap();
        git(&["read-tree", "refs/elf/memory"]);
        let blob = git(&["hash-object", "-w", file.to_str().unwrap()]);
        git(&["update-index", "--cacheinfo", &format!("100644,{blob},{path}")]);
        let tree = git(&["write-tree"]);
        let commit = git(&["commit-tree", &tree, "-p", "refs/elf/memory", "-m", "by hand"]);
        git(&["update-ref", "refs/elf/memory", &commit]);

        let ran = sandbox.elf(["check"]).exits(3);
        assert!(ran.out.contains(&id) && ran.out.contains("gitlab-token"), "{}", ran.out);
        assert!(!ran.out.contains(core(&token)), "{}", ran.out);
        sandbox.git(["init", "-q", "--bare", "../remote.git"]).ok();
        let ran = sandbox.git(["push", "-q", "../remote.git", "refs/elf/memory"]).exits(1);
        assert!(ran.err.contains(&id) && ran.err.contains("gitlab-token") && ran.err.contains("column"), "{}", ran.err);
        assert!(!ran.err.contains(core(&token)), "{}", ran.err);
        git(&["config", "elf.allowSecret", "gitlab-token"]);
        sandbox.elf(["check"]).ok();
        git(&["config", "--unset", "elf.allowSecret"]);
        git(&["update-ref", "refs/elf/memory", &before]);
    }
}

#[test]
fn messages_about_other_mistakes_do_not_repeat_a_secret_either() {
    let sandbox = Sandbox::new();
    let token = token("github_~pat_{22:a}_{59:a}", &mut Rng::with_seed(6));
    for args in [
        vec!["record", &token, "x"],
        vec!["record", "failure", "x", "--severity", &token],
        vec!["record", "failure", "x", "--domain", &token],
        vec!["record", "failure", "x", "--tags", &token],
        vec!["record", "failure", "x", "--set", &token],
        vec!["record", "failure", "x", &token],
        vec!["show", &token],
        vec!["list", "--kind", &token],
        vec!["list", &token, "--json"],
        vec![&token],
    ] {
        let ran = sandbox.elf(&args);
        assert_ne!(ran.status, 0, "{args:?}");
        for part in [&token[..40], core(&token)] {
            assert!(!ran.err.contains(part) && !ran.out.contains(part), "{}{}", ran.out, ran.err);
        }
    }
}

/// False positives among 15,000 lessons that people wrote: none, where 5 are allowed.
#[test]
fn real_lessons_are_not_taken_for_secrets() {
    let Some(lines) = crate::corpus::corpus(usize::MAX) else { return };
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let lesson: serde_json::Value = serde_json::from_str(line).unwrap();
        for (key, value) in lesson.as_object().unwrap() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            found.extend(
                secret::scan(&text).iter().map(|f| format!("line {}: {} in {key} at {}", i + 1, f.rule, f.column)),
            );
        }
    }
    eprintln!("{} lessons, {} false positives: {found:#?}", lines.len(), found.len());
    assert!(found.len() <= 5, "{found:#?}");
}

#[test]
fn the_time_is_linear_in_the_text() {
    let parts = [
        "s~k-",
        "password=",
        "gh~p_a",
        "eyJ",
        "a:",
        "://a:b@",
        "x ",
        "-----BEGIN ",
        "1:",
        "Q~~",
        "machine login password ",
        "A1b-",
    ];
    for part in parts.map(|part| part.replace('~', "")).into_iter().chain(["a".into(), "=".into(), "\u{e9}".into()]) {
        let time = |bytes: usize| {
            let text = part.repeat(bytes / part.len());
            let start = cpu_time();
            secret::scan(&text);
            cpu_time() - start
        };
        // Sixteen times the text takes sixteen times as long, or 256 times when something is quadratic.
        let small = (0..3).map(|_| time(1 << 12)).min().unwrap();
        let large = (0..2).map(|_| time(1 << 16)).min().unwrap();
        // Below a tick of the scheduler nothing can be told.
        assert!(large < 100 * small.max(4_000_000), "{part:?}: {small} ns, then {large} ns");
    }
}

/// Nanoseconds that this thread has been running, whatever else the machine does; 0 where the system does not tell.
fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

#[test]
fn every_rule_is_documented() {
    let documented = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/secrets.md")).unwrap();
    for rule in secret::rules() {
        assert!(documented.contains(&format!("`{rule}`")), "docs/secrets.md has nothing about {rule}");
    }
}

proptest! {
    #[test]
    fn any_text_can_be_scanned_and_shown(text in "(\\PC|[-_=:/@. \"\n\u{e9}]|gh|p_|eyJ|key|BEGIN ){0,300}") {
        for finding in secret::scan(&text) {
            prop_assert!(finding.range.start < finding.range.end && finding.range.end <= text.len());
            prop_assert!(finding.line >= 1 && finding.column >= 1);
        }
        secret::redacted(&text);
    }
}

/// How often tokens of each shape are missed: `cargo test secrets::rates -- --ignored --nocapture`.
#[test]
#[ignore = "takes long; it is for whoever changes the tables"]
fn rates() {
    let mut random = Rng::with_seed(1);
    for (rule, recipe) in SHAPES {
        let missed = (0..2_000).filter(|_| secret::scan(&token(recipe, &mut random)).is_empty()).count();
        eprintln!("{rule:22} missed {missed} of 2000");
        assert!(missed <= 60, "{rule}: {recipe}");
    }
}
