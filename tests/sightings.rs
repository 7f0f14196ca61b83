//! One failure that is hit many times is one record.

use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::support::{Ran, Sandbox};

const ERROR: &str = "Traceback (most recent call last):\n  File \"/srv/app/db.py\", line 12, in connect\nTimeoutError: no answer after 30 s from 0x7f12ab\n";

/// The same error, from another run at another place.
fn again(run: usize) -> String {
    ERROR
        .replace("/srv/app", &format!("/home/u{run}/app"))
        .replace("12,", &format!("{run},"))
        .replace("0x7f12ab", "0xbee")
}

fn record(sandbox: &Sandbox, title: &str, error: &str, args: &[&str]) -> Ran {
    let args = [&["record", "failure", title, "--error-file", "-"], args].concat();
    sandbox.elf_with_input(args, error)
}

/// What `list` says: id, how often it was seen.
fn listed(sandbox: &Sandbox) -> Vec<(String, u64)> {
    let rows = sandbox.elf(["list", "--json"]).ok().json();
    rows.iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row["sighted"].as_u64().unwrap())).collect()
}

/// Writes the union of several trees as the memory, with plain git.
fn unite(sandbox: &Sandbox, tips: &[String]) {
    let index = sandbox.root().join("union-index");
    let git = |args: &[&str]| {
        let mut command = sandbox.command("git");
        command.args(args).env("GIT_INDEX_FILE", &index);
        sandbox.run(command).ok().line().to_owned()
    };
    for tip in tips {
        let entries = git(&["ls-tree", "-r", tip]);
        let mut command = sandbox.command("git");
        command.args(["update-index", "--index-info"]).env("GIT_INDEX_FILE", &index).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{entries}\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    let tree = git(&["write-tree"]);
    let parents: Vec<&str> = tips.iter().flat_map(|tip| ["-p", tip]).collect();
    let commit = git(&[&["commit-tree", "-m", "unite", &tree], &parents[..]].concat());
    git(&["update-ref", "refs/elf/memory", &commit]);
}

#[test]
fn a_second_sighting_is_counted_and_the_first_record_named() {
    let sandbox = Sandbox::new();
    let first = record(&sandbox, "No database", ERROR, &["-m", "It was down.", "--domain", "db"]).ok();
    assert!(!first.err.contains("seen"), "{}", first.err);
    let id = first.line().to_owned();
    let second = record(&sandbox, "Timeout again", &again(2), &["-m", "On the new host."]).ok();
    assert_eq!(second.line(), id);
    assert!(second.err.contains("seen 2 times"), "{}", second.err);
    let third = record(&sandbox, "No database", &again(3), &["--json"]).ok().json().remove(0);
    assert_eq!((&third["id"], &third["sighted"], &third["state"]), (&json!(id), &json!(3), &json!("committed")));
    assert_ne!(third["recorded"], json!(id));
    assert!(sandbox.tree().contains(&third["path"].as_str().unwrap().to_owned()), "{third}");

    assert_eq!(listed(&sandbox), [(id.clone(), 3)]);
    let shown = sandbox.elf(["show", "--history", &id]).ok().out;
    for part in ["seen 3 times", "It was down.\n\n```\nTraceback", "sights: Timeout again", "On the new host."] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let row = sandbox.elf(["search", "--json", "database"]).ok().json().remove(0);
    assert_eq!((&row["sighted"], &row["body"].as_str().unwrap().contains("line 12, in connect")), (&json!(3), &true));
    // Another failure is another record.
    let other = record(&sandbox, "No database", &ERROR.replace("in connect", "in close"), &[]).ok();
    assert_ne!(other.line(), id);
    sandbox.elf(["check"]).ok();
}

#[test]
fn a_body_with_a_trace_is_known_again_and_prose_is_not() {
    let sandbox = Sandbox::new();
    let body = |text: &str| sandbox.elf(["record", "failure", "It failed", "-m", text]).ok().line().to_owned();
    let first = body(&format!("It failed so:\n\n{ERROR}\nNo idea."));
    assert_eq!(body(&format!("And again:\n\n{}", again(7))), first);
    assert_eq!(record(&sandbox, "Once more", &again(8), &[]).ok().line(), first, "one failure, however it is told");
    let prose = body("It timed out in connect.");
    assert_ne!(body("It timed out in connect."), prose, "prose is never counted together");
    assert_eq!(listed(&sandbox).len(), 3);
    let shown = sandbox.elf(["show", "--json", &prose]).ok().json().remove(0);
    assert_eq!((&shown["sighted"], shown.get("fingerprint")), (&json!(0), None));
}

#[test]
fn new_makes_a_record_that_stands_by_itself() {
    let sandbox = Sandbox::new();
    let first = record(&sandbox, "First", ERROR, &[]).ok().line().to_owned();
    let new = record(&sandbox, "Another cause", ERROR, &["--new"]).ok().line().to_owned();
    assert_ne!(new, first);
    assert_eq!(record(&sandbox, "Third", ERROR, &[]).ok().line(), first, "what comes later counts for the first");
    let mut seen = listed(&sandbox);
    seen.sort();
    let mut expected = vec![(first, 2), (new, 0)];
    expected.sort();
    assert_eq!(seen, expected);
    sandbox.elf(["check"]).ok();
}

#[test]
fn invalid_errors_are_refused_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    record(&sandbox, "Empty", " \n", &[]).exits(2);
    let ran =
        record(&sandbox, "Leaks", &format!("{ERROR}password = \"hunter2-correct-horse\"\nAKIAQYLPMN5HHHFPZ4XE\n"), &[]);
    assert!(ran.exits(2).err.contains("looks like a secret"));
    sandbox.elf_with_input(["record", "success", "x", "--error-file", "-"], ERROR).exits(2);
    sandbox.elf_with_input(["record", "failure", "x", "--error-file", "-", "-F", "-"], ERROR).exits(2);
    sandbox.elf(["record", "failure", "x", "--error-file", "absent"]).exits(1);
    // A secret is refused in what would only be a sighting, too.
    record(&sandbox, "First", ERROR, &[]).ok();
    record(&sandbox, "Second", ERROR, &["-m", "key AKIAQYLPMN5HHHFPZ4XE"]).exits(2);
    assert_eq!(listed(&sandbox).len(), 1);
    assert_eq!(listed(&sandbox)[0].1, 1);
}

#[test]
fn a_log_of_any_length_and_bytes_is_taken_with_both_its_ends() {
    let sandbox = Sandbox::new();
    let mut log = b"starting \xff\xfe\x00\n".to_vec();
    log.extend((0..200_000).flat_map(|n| format!("line {n} of the \x1b[31mlog\x1b[0m ``` \n").into_bytes()));
    log.extend(ERROR.as_bytes());
    std::fs::write(sandbox.repo().join("log"), log).unwrap();
    let id = sandbox.elf(["record", "failure", "Long", "--error-file", "log"]).ok().line().to_owned();
    let row = sandbox.elf(["show", "--json", &id]).ok().json().remove(0);
    let body = row["body"].as_str().unwrap();
    assert!(body.len() < 17_000 && body.contains("bytes left out"), "{} bytes", body.len());
    assert!(body.starts_with("````\nstarting ") && body.ends_with("0x7f12ab\n````"), "{body}");
    assert_eq!(record(&sandbox, "Short", &again(1), &[]).ok().line(), id, "the trace in the log is what counts");
}

#[test]
fn twelve_writers_at_once_leave_one_record_with_twelve_sightings() {
    for no_wait in [false, true] {
        let sandbox = Sandbox::new();
        let children: Vec<_> = (0..12)
            .map(|n| {
                let name = format!("error-{n}");
                std::fs::write(sandbox.root().join(&name), again(n)).unwrap();
                let mut command = sandbox.elf_command(["record", "failure", "Hit at once", "--error-file"]);
                command.arg(sandbox.root().join(&name)).args(no_wait.then_some("--no-wait"));
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let printed: Vec<_> =
            children.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap()).ok()).collect();
        let seen = listed(&sandbox);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].1, 12, "no_wait: {no_wait}");
        for ran in printed {
            let shown = sandbox.elf(["show", "--json", ran.line()]).ok().json().remove(0);
            assert_eq!(shown["id"], json!(seen[0].0), "every id that was printed leads to the one record");
        }
        sandbox.elf(["check"]).ok();
        std::fs::remove_file(sandbox.elf_dir().join("index.db")).unwrap();
        assert_eq!(listed(&sandbox), seen, "an index made again says the same");
    }
}

#[test]
fn twelve_ledgers_united_file_by_file_have_one_record_with_twelve_sightings() {
    let here = Sandbox::new();
    let mut tips = Vec::new();
    let mut ids = Vec::new();
    for n in 0..12 {
        let other = Sandbox::new();
        ids.push(record(&other, &format!("Clone {n}"), &again(n), &[]).ok().line().to_owned());
        assert_eq!(listed(&other), [(ids[n].clone(), 1)]);
        let from = other.repo().display().to_string();
        here.git(["fetch", "-q", &from, &format!("refs/elf/memory:refs/others/{n}")]).ok();
        tips.push(here.git(["rev-parse", &format!("refs/others/{n}")]).ok().line().to_owned());
    }
    // In any order, and in steps: an index that is brought up to date says what one made anew says.
    unite(&here, &tips[6..]);
    assert_eq!(listed(&here), [(ids[6].clone(), 6)]);
    unite(&here, &tips);
    assert_eq!(listed(&here), [(ids[0].clone(), 12)]);
    assert_eq!(here.tree().iter().filter(|path| path.starts_with("failures/")).count(), 12, "no file is lost");
    here.elf(["check"]).ok();
    let log = here.elf(["log"]).ok().out;
    assert_eq!(log.matches(&format!("(a sighting of {})", ids[0])).count(), 11, "{log}");
    let line = here.elf(["list"]).ok().out;
    assert!(line.contains("Clone 0 (seen 12 times)"), "{line}");
    let shown = here.elf(["show", &ids[11]]).ok();
    assert!(shown.out.contains(&format!("failure {}", ids[0])) && shown.out.contains("seen 12 times"), "{}", shown.out);
    assert!(shown.err.contains(&format!("{} is a sighting of {}", ids[11], ids[0])), "{}", shown.err);
    assert_eq!(record(&here, "Again", &again(99), &[]).ok().line(), ids[0]);
    assert_eq!(listed(&here), [(ids[0].clone(), 13)]);
    // Evidence about a sighting counts for what is shown; taking the sighting back takes it away.
    here.elf(["validate", &ids[3]]).ok();
    let row = here.elf(["show", "--json", &ids[0]]).ok().json().remove(0);
    assert_eq!((&row["validated"], &row["sighted"]), (&json!(1), &json!(13)));
    here.elf(["retract", &ids[3]]).ok();
    let row = here.elf(["show", "--json", &ids[0]]).ok().json().remove(0);
    assert_eq!((&row["validated"], &row["sighted"], &row["state"]), (&json!(0), &json!(12), &json!("active")));
    here.elf(["check"]).ok();
}

#[test]
fn a_failure_that_comes_back_after_its_retraction_is_a_new_record() {
    let sandbox = Sandbox::new();
    let first = record(&sandbox, "First", ERROR, &[]).ok().line().to_owned();
    record(&sandbox, "Second", ERROR, &[]).ok();
    let retraction = sandbox.elf(["retract", &first, "-m", "fixed"]).ok().line().to_owned();
    assert_eq!(listed(&sandbox), []);
    let back = record(&sandbox, "It is back", ERROR, &[]).ok().line().to_owned();
    assert_ne!(back, first);
    assert_eq!(listed(&sandbox), [(back.clone(), 1)]);
    record(&sandbox, "And again", ERROR, &[]).ok();
    assert_eq!(listed(&sandbox), [(back, 2)]);
    sandbox.elf(["retract", &retraction]).ok();
    assert_eq!(listed(&sandbox), [(first, 4)], "undoing the retraction joins them");
    sandbox.elf(["check"]).ok();
}

#[test]
fn clocks_that_are_ahead_neither_hide_a_failure_nor_keep_one() {
    let sandbox = Sandbox::new();
    let id = record(&sandbox, "First", ERROR, &[]).ok().line().to_owned();
    let fingerprint = sandbox.elf(["show", "--json", &id]).ok().json()[0]["fingerprint"].as_str().unwrap().to_owned();
    let import = |line: String| sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &line).ok();
    let hour = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap() + 3600;
    let hour = git_elf::record::Time::from_seconds(hour).unwrap().to_string();
    let mut first = id;
    for (ahead, counts) in
        [(hour.as_str(), true), ("2090-01-01T00:00:00Z", false), ("9999-12-30T22:00:00.999999Z", false)]
    {
        // Another machine's clock is ahead: its sighting goes with the retraction of what is shown.
        import(json!({"kind":"failure","title":"Ahead","created":ahead,"fingerprint":fingerprint}).to_string());
        assert_eq!(listed(&sandbox).len(), 1);
        sandbox.elf(["retract", &listed(&sandbox)[0].0]).ok();
        assert_eq!(listed(&sandbox), [], "{ahead}");
        // The retraction is ahead by now: what comes back is seen all the same.
        let back = record(&sandbox, "Back", ERROR, &[]).ok().line().to_owned();
        assert_ne!(back, first);
        assert_eq!(listed(&sandbox), [(back.clone(), u64::from(counts))], "{ahead}");
        if !counts {
            record(&sandbox, "Back once more", ERROR, &[]).ok();
            assert_eq!(listed(&sandbox).len(), 2, "{ahead}: rather twice than not at all");
            sandbox.elf(["retract", "--since", "1 hour ago"]).ok();
        }
        first = back;
    }
    sandbox.elf(["check"]).ok();
}

#[test]
fn an_import_and_a_trailer_are_counted_by_the_fingerprint_they_name_and_by_nothing_else() {
    let sandbox = Sandbox::new();
    let lines: Vec<_> =
        (0..3).map(|n| json!({"kind":"failure","title":format!("Old {n}"),"body":ERROR}).to_string()).collect();
    sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &lines.join("\n")).ok();
    assert_eq!(listed(&sandbox).len(), 3, "an import keeps what was apart apart");
    let id = record(&sandbox, "First", ERROR, &[]).ok().line().to_owned();
    let fingerprint = sandbox.elf(["show", "--json", &id]).ok().json()[0]["fingerprint"].as_str().unwrap().to_owned();
    for free in ["wal", "v1:short"] {
        for title in ["a", "b"] {
            sandbox.elf(["record", "failure", title, "--set", &format!("fingerprint={free}")]).ok();
        }
    }
    assert_eq!(listed(&sandbox).len(), 8, "free text of the user's counts nothing together");
    let exported = sandbox.elf(["export"]).ok().out;
    let other = Sandbox::new();
    other.elf_with_input(["import", "--from", "jsonl", "-"], &exported).ok();
    assert_eq!(listed(&other), listed(&sandbox));
    sandbox.elf(["init"]).ok();
    sandbox
        .git([
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            &format!("Fix\n\nElf-Failure: Seen in a commit\nElf-Fingerprint: {fingerprint}\n"),
        ])
        .ok();
    let seen = listed(&sandbox);
    assert_eq!(seen.len(), 8, "{seen:?}");
    assert!(seen.iter().any(|(_, times)| *times == 2), "{seen:?}");
    // A record that was counted wrongly is taken out by its own fingerprint.
    let sighting =
        sandbox.elf(["log", "--json"]).ok().json().into_iter().find(|row| row.get("sighting_of").is_some()).unwrap();
    sandbox.elf(["edit", sighting["id"].as_str().unwrap(), "--set", "fingerprint="]).ok();
    assert_eq!(listed(&sandbox).len(), 9);
    sandbox.elf(["check"]).ok();
}

#[test]
fn a_flood_of_one_failure_is_one_record() {
    let sandbox = Sandbox::new();
    let id = record(&sandbox, "First", ERROR, &[]).ok().line().to_owned();
    let fingerprint = sandbox.elf(["show", "--json", &id]).ok().json()[0]["fingerprint"].as_str().unwrap().to_owned();
    let line =
        |n: usize| json!({"kind":"failure","title":format!("Flood {n}"),"fingerprint":fingerprint}).to_string() + "\n";
    let flood: String = (0..2_000).map(line).collect();
    sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &flood).ok();
    assert_eq!(listed(&sandbox), [(id.clone(), 2_001)]);
    assert_eq!(record(&sandbox, "Again", ERROR, &[]).ok().line(), id);
    sandbox.elf(["retract", &id]).ok();
    assert_eq!(listed(&sandbox), []);
    sandbox.elf(["check"]).ok();
}

#[test]
fn records_on_the_current_branch_are_counted_before_they_are_committed() {
    let sandbox = Sandbox::new();
    sandbox.elf(["init", "--in-tree"]).ok();
    let id = record(&sandbox, "First", ERROR, &[]).ok().line().to_owned();
    assert_eq!(record(&sandbox, "Second", &again(2), &[]).ok().line(), id);
    assert_eq!(listed(&sandbox), [(id.clone(), 2)]);
    sandbox.elf(["flush"]).ok();
    assert_eq!(listed(&sandbox), [(id, 2)]);
    assert!(Path::new(&sandbox.repo()).join("memory").is_dir());
    sandbox.elf(["check"]).ok();
}
