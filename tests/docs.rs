//! The documents say what the program does.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Sandbox;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the verbs that the help groups: the first word of an indented line, and the words after a bar.
fn verbs() -> Vec<String> {
    let help = Sandbox::new().elf(["help"]).ok().out;
    let known = help.lines().skip_while(|line| *line != "everyday").take_while(|line| *line != "example");
    let mut verbs = Vec::new();
    for line in known.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let two_columns = line.split("  ").map(str::trim).filter(|part| !part.is_empty());
        for part in two_columns.take(2) {
            let names = part.split('|').map(|side| side.split_whitespace().next().unwrap_or_default());
            verbs.extend(names.filter(|name| is_verb(name)).map(str::to_owned));
        }
    }
    verbs.sort();
    verbs.dedup();
    assert!(verbs.len() >= 15, "the help names only {verbs:?}");
    verbs
}

fn is_verb(name: &str) -> bool {
    let enumeration = read("src/cli/mod.rs");
    let title: String = name[..1].to_uppercase() + name.get(1..).unwrap_or_default();
    enumeration.contains(&format!("    {title}("))
}

/// Returns the documents: README.md, CHANGELOG.md and docs/*.md.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    found.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    assert!(found.len() >= 6);
    found
}

/// Writes a number as the documents do: 1,000.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[test]
fn the_readme_names_every_verb() {
    let readme = read("README.md");
    for verb in verbs() {
        assert!(readme.contains(&format!("git elf {verb}")), "README.md does not say what git elf {verb} does");
    }
}

#[test]
fn the_help_fits_into_what_an_agent_sees() {
    let sandbox = Sandbox::new();
    for args in [vec![], vec!["-h"], vec!["help"]] {
        let ran = sandbox.elf(&args).ok();
        assert!(ran.out.len() <= 2048, "git elf {args:?} prints {} bytes", ran.out.len());
    }
}

#[test]
fn every_verb_explains_itself_with_an_example() {
    let sandbox = Sandbox::new();
    for verb in verbs() {
        let ran = sandbox.elf([verb.as_str(), "-h"]).ok();
        assert!(ran.out.contains("Example:\n  git elf "), "git elf {verb} -h has no example:\n{}", ran.out);
    }
}

#[test]
fn every_configuration_key_is_documented() {
    let source = read("src/config.rs");
    let documented = read("docs/configuration.md");
    let mut keys: Vec<_> =
        source.match_indices("get(\"elf.").map(|(at, _)| source[at + 5..].split('"').next().unwrap()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert!(keys.len() >= 5, "found only {keys:?}");
    for key in keys {
        assert!(documented.contains(&format!("`{key}`")), "docs/configuration.md has nothing about {key}");
        assert!(read("README.md").contains(&format!("`{key}`")), "README.md does not name {key}");
    }
    for line in source.lines().filter(|line| line.contains("std::env::var(\"")) {
        let name = line.split("var(\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(documented.contains(name), "docs/configuration.md has nothing about {name}");
    }
}

#[test]
fn every_limit_is_documented() {
    let source = read("src/record/field.rs");
    let documented = read("docs/format.md");
    let mut count = 0;
    for line in source.lines() {
        let Some((name, rest)) = line.strip_prefix("pub const ").and_then(|line| line.split_once(": usize = ")) else {
            continue;
        };
        let value: usize =
            rest.trim_end_matches(';').split('*').map(|factor| factor.trim().parse::<usize>().unwrap()).product();
        let row = documented.lines().find(|line| line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("docs/format.md has no row for {name}"));
        assert!(row.contains(&grouped(value)), "docs/format.md says something else than {name} = {value}: {row}");
        count += 1;
    }
    assert!(count >= 8, "found only {count} limits");
}

#[test]
fn every_kind_and_its_own_keys_are_documented() {
    use git_elf::record::{Kind, Shape, Verb};
    let documented = read("docs/format.md");
    for kind in Kind::ALL {
        let row = documented.lines().find(|line| line.starts_with(&format!("| `{kind}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/format.md has no row for {kind}"));
        for key in kind.keys() {
            assert!(row.contains(&format!("`{}`", key.name)), "{kind}: {} is not documented", key.name);
            let words: Vec<String> = match &key.shape {
                Shape::Choice(_) if kind == Kind::Event => Vec::new(),
                Shape::Choice(words) => words.iter().map(ToString::to_string).collect(),
                Shape::Level { min, max, names } => {
                    let ends = [*min, *max].map(|end| grouped(usize::try_from(end).unwrap()));
                    ends.into_iter().chain(names.iter().map(|(name, level)| format!("{name}={level}"))).collect()
                }
                Shape::Fraction { names } => names.iter().map(|(name, value)| format!("{name}={value}")).collect(),
                Shape::Line(max) | Shape::Text(max) => vec![grouped(*max)],
                Shape::Id | Shape::Any => Vec::new(),
            };
            for word in words {
                assert!(row.contains(&word), "{kind}.{}: {word} is not documented", key.name);
            }
            if let Some(default) = key.default {
                assert!(row.contains(&format!("default {default}")), "{kind}.{}: default {default}", key.name);
            }
        }
        for section in kind.sections() {
            assert!(row.contains(section), "{kind}: the section {section} is not documented");
        }
    }
    for verb in Verb::ALL {
        assert!(documented.contains(&format!("| `{}` |", verb.name())), "the verb {} is not documented", verb.name());
    }
}

#[test]
fn every_exit_code_and_json_key_is_documented() {
    let documented = read("docs/json.md");
    let sandbox = Sandbox::new();
    let id = sandbox.record("Documented");
    let mut rows = sandbox.elf(["search", "--json", "documented"]).ok().json();
    rows.extend(sandbox.elf(["record", "heuristic", "x", "--json"]).ok().json());
    rows.extend(sandbox.elf(["validate", &id, "--json"]).ok().json());
    let stats = sandbox.elf(["stats", "--json"]).ok().json().remove(0);
    let doctor = sandbox.elf(["doctor", "--json"]).ok().json().remove(0);
    rows.extend([stats["contention"].clone(), stats["bytes"].clone(), stats, doctor["findings"][0].clone(), doctor]);
    for row in rows {
        for key in row.as_object().unwrap().keys() {
            assert!(documented.contains(&format!("`{key}`")), "docs/json.md has nothing about {key}");
        }
    }
    for code in 0..=4 {
        assert!(documented.contains(&format!("| {code} |")), "docs/json.md has nothing about exit status {code}");
    }
}

#[test]
fn every_relative_link_leads_to_a_file() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let file = target.split('#').next().unwrap();
            let path = document.parent().unwrap_or(Path::new("")).join(file);
            assert!(path.exists(), "{}: {target} leads nowhere", document.display());
        }
    }
}
