//! Evidence, and what is done about many records at once.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::support::{Ran, Sandbox};

fn recorded(sandbox: &Sandbox, args: &[&str]) -> String {
    sandbox.elf([&["record"], args].concat()).ok().line().to_owned()
}

fn shown(sandbox: &Sandbox, id: &str) -> Json {
    sandbox.elf(["show", "--json", id]).ok().json().remove(0)
}

/// How many commits the memory has.
fn commits(sandbox: &Sandbox) -> usize {
    sandbox.git(["rev-list", "--count", "refs/elf/memory"]).ok().line().parse().unwrap()
}

fn import(sandbox: &Sandbox, lines: &[Json]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &text).ok();
}

/// A time so many hours ago.
fn ago(hours: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    git_elf::record::Time::from_seconds(i64::try_from(now - hours * 3600).unwrap()).unwrap().to_string()
}

#[test]
fn every_sort_of_evidence_takes_a_note_and_is_taken_back() {
    let sandbox = Sandbox::new();
    let id = recorded(&sandbox, &["heuristic", "Lock first"]);
    for (verb, key) in [
        ("validate", "validated"),
        ("confirm", "validated"),
        ("violate", "violated"),
        ("breach", "breached"),
        ("sight", "sighted"),
    ] {
        for _ in 0..2 {
            sandbox.elf([verb, &id, "--note", "seen by me"]).ok();
        }
        assert_eq!(shown(&sandbox, &id)[key], 2, "{verb}");
        let undone = sandbox.elf([verb, &id, "--undo", "--json", "--note", "a slip"]).ok().json().remove(0);
        assert_eq!(undone["state"], "committed");
        assert_eq!(shown(&sandbox, &id)[key], 1, "{verb} --undo takes one back");
        sandbox.elf([verb, &id, "--undo"]).ok();
        assert_eq!(shown(&sandbox, &id)[key], 0, "{verb}");
        let ran = sandbox.elf([verb, &id, "--undo"]).exits(2);
        assert!(ran.err.contains("that could be taken back"), "{}", ran.err);
    }
    let history = sandbox.elf(["show", "--history", &id]).ok().out;
    for part in ["sights: seen by me", "retracts: a slip", "(undone)"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    sandbox.elf(["retract", &id, "--note", "gone"]).ok();
    sandbox.elf(["retract", &id]).ok();
    assert_eq!(shown(&sandbox, &id)["state"], "retracted");
    sandbox.elf(["retract", "--undo", &id]).ok();
    assert_eq!(shown(&sandbox, &id)["state"], "active", "every retraction is taken back");
    sandbox.elf(["retract", "--undo", &id]).exits(2);
    sandbox.elf(["validate", &id, "--undo", "--no-wait"]).exits(2);
}

#[test]
fn rules_that_are_broken_often_are_at_a_level() {
    let sandbox = Sandbox::new();
    let stats = || sandbox.elf(["stats", "--json"]).ok().json().remove(0)["breaches"].clone();
    assert_eq!(stats(), json!({"days": 7, "times": 0, "rules": []}));
    assert!(sandbox.elf(["stats"]).ok().out.contains("  rules: none\n"));
    let rules: Vec<_> = (0..5).map(|n| recorded(&sandbox, &["heuristic", &format!("Rule {n}")])).collect();
    let breach = |rule: &str, at: String, n: usize| json!({"kind":"event","title":"breaches","verb":"breaches","target":rule,"created":at,"note":format!("{n}")});
    let mut lines = Vec::new();
    for (rule, times) in rules.iter().zip([2, 3, 5, 10, 12]) {
        lines.extend((0..times).map(|n| breach(rule, ago(24 + 12 * n as u64), n)));
    }
    // A week and an hour ago: too long.
    lines.extend((20..40).map(|n| breach(&rules[0], ago(7 * 24 + 1), n)));
    import(&sandbox, &lines);
    let levels = |breaches: &Json| {
        let rules = breaches["rules"].as_array().unwrap();
        rules
            .iter()
            .map(|rule| (rule["level"].clone(), rule["times"].clone(), rule["title"].clone()))
            .collect::<Vec<_>>()
    };
    let expected = |level: &str, times: usize, title: &str| (json!(level), json!(times), json!(title));
    let found = stats();
    assert_eq!(found["times"], 32);
    assert_eq!(
        levels(&found),
        [
            expected("crisis", 12, "Rule 4"),
            expected("crisis", 10, "Rule 3"),
            expected("probation", 5, "Rule 2"),
            expected("warning", 3, "Rule 1")
        ]
    );
    let text = sandbox.elf(["stats"]).ok().out;
    assert!(text.contains(&format!("    probation 5 {} Rule 2\n", rules[2])), "{text}");
    // What is taken back does not count, nor does a rule that no longer holds.
    sandbox.elf(["breach", "--undo", &rules[3]]).ok();
    sandbox.elf(["breach", "--undo", &rules[1]]).ok();
    sandbox.elf(["retract", &rules[4]]).ok();
    assert_eq!(levels(&stats()), [expected("probation", 9, "Rule 3"), expected("probation", 5, "Rule 2")]);
}

#[test]
fn heuristics_that_have_earned_it_are_listed_with_the_figures() {
    let sandbox = Sandbox::new();
    let eligible = |args: &[&str]| sandbox.elf([&["promote", "--eligible"], args].concat()).ok();
    assert!(eligible(&[]).err.contains("no heuristic is left to promote"));
    let rule = |title: &str, confidence: &str, held: usize, failed: usize| {
        let id = recorded(&sandbox, &["heuristic", title, "--confidence", confidence]);
        let event =
            |verb: &str, n: usize| json!({"kind":"event","title":verb,"verb":verb,"target":id,"note":format!("{n}")});
        let held = (0..held).map(|n| event("validates", n));
        import(&sandbox, &held.chain((0..failed).map(|n| event("violates", n))).collect::<Vec<_>>());
        id
    };
    rule("Few", "1", 9, 0);
    rule("Shaky", "0", 10, 0);
    let ran = eligible(&[]);
    assert_eq!(ran.out, "");
    assert!(
        ran.err.contains("the nearest is") && ran.err.contains("Shaky: confidence 0.7143 is below 0.9"),
        "{}",
        ran.err
    );
    rule("Ten to one", "1", 10, 1);
    let ran = eligible(&[]);
    assert!(ran.err.contains("Ten to one: violated 1 times"), "{}", ran.err);
    let earned = rule("Earned", "0.7", 10, 0);
    let text = eligible(&[]).out;
    assert!(text.contains("Earned\n  confidence 0.9143 (at least 0.9), validated 10"), "(2.8 + 10) / 14: {text}");
    let earned_too = rule("Eleven to one", "1", 11, 1);
    let strong = rule("Strong", "high", 12, 0);
    let rows = eligible(&["--json"]).json();
    let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    let mut expected = vec![earned, earned_too, strong.clone()];
    expected.sort();
    assert_eq!(ids, expected);
    let text = eligible(&[]).out;
    assert!(
        text.contains("confidence 0.9625 (at least 0.9), validated 12 (at least 10), never violated")
            && text.contains("violated 1 (more than 10 to 1)"),
        "{text}"
    );
    assert_eq!(shown(&sandbox, &strong)["golden"], false, "it only lists");
    let before = commits(&sandbox);
    sandbox.elf([vec!["promote".to_owned()], ids.clone(), ids].concat()).ok();
    assert_eq!(commits(&sandbox), before + 1, "several are one commit, each once");
    assert_eq!(eligible(&["--json"]).out, "");
    sandbox.elf(["promote", "--eligible", &strong]).exits(2);
    sandbox.elf(["promote"]).exits(2);
}

/// Four records of two agents: two failures and a heuristic of `builder`, one success of `tester`.
fn mixed(sandbox: &Sandbox) -> [String; 4] {
    [
        recorded(sandbox, &["failure", "One", "--agent", "builder"]),
        recorded(sandbox, &["failure", "Two", "--agent", "builder"]),
        recorded(sandbox, &["heuristic", "Three", "--agent", "builder"]),
        recorded(sandbox, &["success", "Four", "--agent", "tester"]),
    ]
}

#[test]
fn a_selection_is_retracted_in_one_commit_or_shown() {
    let sandbox = Sandbox::new();
    let [one, two, three, four] = mixed(&sandbox);
    let before = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out;
    let ran = sandbox.elf(["retract", "--agent", "builder", "--dry-run"]).ok();
    for id in [&one, &two, &three] {
        assert!(ran.out.contains(id.as_str()), "{}", ran.out);
    }
    assert!(!ran.out.contains(&four) && ran.err.contains("would retract 3 records; nothing was changed"), "{ran:?}");
    let rows = sandbox.elf(["retract", "--since", "1 hour ago", "--dry-run", "--json"]).ok().json();
    assert_eq!(rows.len(), 4);
    for args in
        [&["retract"][..], &["retract", "--dry-run"], &["retract", &one, "--agent", "builder"], &["retract", "-"]]
    {
        sandbox.elf(args).exits(2);
    }
    assert_eq!(sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out, before, "nothing was changed so far");

    sandbox.elf(["retract", &two]).ok();
    let count = commits(&sandbox);
    let ran = sandbox.elf(["retract", "--agent", "builder", "--since", "1 hour ago", "--note", "a loop ran wild"]).ok();
    assert_eq!(ran.out.lines().count(), 2, "what is retracted already is not selected: {}", ran.out);
    assert!(ran.err.contains("committed: 2 retracted") && ran.err.contains("--undo"), "{}", ran.err);
    assert_eq!(commits(&sandbox), count + 1);
    assert_eq!(sandbox.listed(), [four]);
    // The ids that were printed take it back.
    sandbox.elf_with_input(["retract", "-"], &ran.out).ok();
    assert_eq!(sandbox.listed().len(), 3);
    let ran = sandbox.elf(["retract", "--agent", "nobody"]).ok();
    assert!(ran.err.contains("no active record was selected"), "{}", ran.err);
    sandbox.elf(["check"]).ok();
}

#[test]
fn ids_are_read_from_what_list_prints() {
    let sandbox = Sandbox::new();
    let [one, two, three, four] = mixed(&sandbox);
    let list = sandbox.elf(["list", "--kind", "failure"]).ok().out;
    let before = commits(&sandbox);
    let ran = sandbox.elf_with_input(["retract", "-", "--by", &four], &format!("{list}\n{list}")).ok();
    assert_eq!(ran.out.lines().count(), 2, "each once");
    assert_eq!(commits(&sandbox), before + 1);
    assert_eq!(shown(&sandbox, &one)["superseded_by"], json!(four));
    // One id that is wrong leaves all as it was.
    for wrong in ["zzzzzzzz", "x", &four] {
        sandbox.elf_with_input(["retract", "-", "--by", &four], &format!("{three}\n{wrong}\n")).exits(2);
    }
    assert_eq!(sandbox.listed(), [four, three]);
    sandbox.elf_with_input(["retract", "--undo", "-"], &list).ok();
    assert_eq!(shown(&sandbox, &two)["state"], "active");
    assert_eq!(sandbox.listed().len(), 4);
}

#[test]
fn a_selection_takes_the_sightings_that_an_agent_added_and_leaves_those_of_others() {
    let sandbox = Sandbox::new();
    let error = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nValueError: bad\n";
    let fails = |agent: &str, wait: &str| {
        let args = ["record", "failure", "Fails", "--error-file", "-", "--agent", agent, wait];
        sandbox.elf_with_input(args, error).ok().line().to_owned()
    };
    let first = fails("tester", "--no-wait");
    fails("builder", "--no-wait");
    assert_eq!(shown(&sandbox, &first)["sighted"], 2);
    let ran = sandbox.elf(["retract", "--agent", "builder", "--dry-run"]).ok();
    assert!(ran.out.contains("[sighting]"), "{}", ran.out);
    sandbox.elf(["retract", "--agent", "builder"]).ok();
    let row = shown(&sandbox, &first);
    assert_eq!((&row["sighted"], &row["state"]), (&json!(1), &json!("active")));
}

/// Runs `review` with an editor that is this shell script; `$1` is the file.
fn review(sandbox: &Sandbox, script: &str, args: &[&str]) -> Ran {
    let editor = sandbox.root().join("editor");
    std::fs::write(&editor, format!("#!/bin/sh\n{script}\n")).unwrap();
    let mut command = sandbox.elf_command([&["review"], args].concat());
    command.env("GIT_EDITOR", format!("sh '{}'", editor.display())).env("TMPDIR", sandbox.root());
    sandbox.run(command)
}

/// The list that was kept, which the message names.
fn kept(sandbox: &Sandbox) -> Vec<PathBuf> {
    let files = std::fs::read_dir(sandbox.root()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect()
}

#[test]
fn a_review_does_what_the_list_says_in_one_commit() {
    let sandbox = Sandbox::new();
    let [one, two, three, four] = mixed(&sandbox);
    let before = commits(&sandbox);
    let script = format!(
        "case $1 in *.md) sed -i 's/^title = .*/title = \"Corrected\"/' \"$1\"; exit;; esac
         cp \"$1\" '{seen}'
         sed -i -e 's/^keep {one}/retract {one}/' -e 's/^keep {two}/e {two}/' -e 's/^keep {three}/p {three}/' -e '/{four}/d' \"$1\"",
        seen = sandbox.root().join("seen").display(),
    );
    let ran = review(&sandbox, &script, &[]).ok();
    let seen = std::fs::read_to_string(sandbox.root().join("seen")).unwrap();
    let lines: Vec<_> = seen.lines().take(4).collect();
    assert_eq!(
        lines,
        [
            format!("keep {one} failure One"),
            format!("keep {two} failure Two"),
            format!("keep {three} heuristic Three"),
            format!("keep {four} success Four")
        ]
    );
    for word in ["keep", "retract", "promote", "edit", "confirm"] {
        assert!(seen.contains(&format!("# {}, {word} ID", &word[..1])), "{seen}");
    }
    assert_eq!(commits(&sandbox), before + 1);
    assert_eq!(ran.out.lines().count(), 3);
    assert!(ran.err.contains("retract 1, promote 1, edit 1"), "{}", ran.err);
    assert_eq!(shown(&sandbox, &one)["state"], "retracted");
    assert_eq!(shown(&sandbox, &two)["title"], "Corrected");
    assert_eq!(shown(&sandbox, &three)["golden"], true);
    assert_eq!(shown(&sandbox, &four)["state"], "active");
    assert_eq!(kept(&sandbox), Vec::<PathBuf>::new());
    let ran = review(&sandbox, &format!("echo 'c {}' > \"$1\"", &three[..6]), &["--agent", "builder", "--json"]).ok();
    assert_eq!(ran.json()[0]["target"], json!(three));
    assert_eq!(shown(&sandbox, &three)["validated"], 1);
    sandbox.elf(["check"]).ok();
}

#[test]
fn a_list_that_is_wrong_changes_nothing_and_is_kept() {
    let sandbox = Sandbox::new();
    let [one, two, three, four] = mixed(&sandbox);
    let old = recorded(&sandbox, &["failure", "Not listed", "--agent", "other"]);
    let before = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out;
    let good = format!("retract {one}\n");
    for (wrong, says) in [
        (format!("drop {two}"), "line 2: \"drop\" is none of keep, retract"),
        ("retract".to_owned(), "retract has no id"),
        ("retract zzzzzzzz".to_owned(), "is not in the list"),
        (format!("retract {old}"), "is not in the list"),
        (format!("keep {one}"), "is in the list twice"),
        (format!("promote {two}"), "only a heuristic becomes a golden rule"),
        (format!("edit {three}"), "the editor ended with"),
    ] {
        let script = format!("case $1 in *.md) exit 1;; esac\nprintf '%s\\n' '{}' '{wrong}' > \"$1\"", good.trim());
        let ran = review(&sandbox, &script, &["--agent", "builder"]);
        assert!(matches!(ran.status, 1 | 2), "{wrong}: {ran:?}");
        assert!(ran.err.contains(says), "{wrong}: {}", ran.err);
        assert!(ran.err.contains("nothing was changed"), "{wrong}: {}", ran.err);
        let files = kept(&sandbox);
        assert_eq!(files.len(), 1, "{wrong}");
        assert!(ran.err.contains(&files[0].display().to_string()), "{wrong}: {}", ran.err);
        assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), format!("{good}{wrong}\n"));
        std::fs::remove_file(&files[0]).unwrap();
    }
    assert_eq!(sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out, before);
    // The kept list, corrected, is what is done next.
    let list = sandbox.root().join("list");
    std::fs::write(&list, format!("{good}confirm {four}\n")).unwrap();
    sandbox.elf(["review", "--todo", list.to_str().unwrap()]).ok();
    assert_eq!(
        (shown(&sandbox, &one)["state"].clone(), shown(&sandbox, &four)["validated"].clone()),
        (json!("retracted"), json!(1))
    );
}

#[test]
fn a_review_without_an_answer_changes_nothing() {
    let sandbox = Sandbox::new();
    let ran = review(&sandbox, "exit 1", &[]).ok();
    assert!(ran.err.contains("nothing arrived since 7 days ago"), "{}", ran.err);
    mixed(&sandbox);
    let before = sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out;
    for script in [": > \"$1\"", "true", "sed -i d \"$1\"", "sed -i 's/^keep/#/' \"$1\""] {
        let ran = review(&sandbox, script, &[]).ok();
        assert!(ran.err.contains("nothing to do"), "{script}: {}", ran.err);
    }
    for script in ["exit 1", "rm \"$1\""] {
        assert_eq!(review(&sandbox, script, &[]).status, 1, "{script}");
    }
    let mut command = sandbox.elf_command(["review"]);
    command.env_remove("GIT_EDITOR").env_remove("VISUAL").env_remove("EDITOR").env("TERM", "xterm");
    let ran = sandbox.run(command).exits(1);
    assert!(ran.err.contains("no editor is set") && ran.err.contains("hint: "), "{}", ran.err);
    assert_eq!(sandbox.git(["rev-parse", "refs/elf/memory"]).ok().out, before);
}

#[test]
fn a_hostile_title_asks_for_nothing() {
    let sandbox = Sandbox::new();
    let victim = recorded(&sandbox, &["failure", "Victim"]);
    for title in [
        format!("x\u{2028}retract {victim}"),
        format!("x\u{b}retract {victim}\u{1b}[31m"),
        format!("\u{85}retract {victim}"),
    ] {
        sandbox.elf(["record", "success", &title]).ok();
    }
    let seen = sandbox.root().join("seen");
    review(&sandbox, &format!("cp \"$1\" '{}'", seen.display()), &[]).ok();
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("\\u{2028}retract") && !seen.contains(['\u{2028}', '\u{b}', '\u{1b}', '\u{85}']), "{seen}");
    assert_eq!(seen.lines().filter(|line| line.starts_with("keep ")).count(), 4);
    assert_eq!(shown(&sandbox, &victim)["state"], "active");
}
