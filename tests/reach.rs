//! Where a record was learned: merged, yours, unmerged or unknown, in every shape of history; and the filter by it.

use std::path::Path;
use std::process::Command;

use crate::support::{Ran, Sandbox};

/// What scripts begin with: `c` commits, `r TITLE` records and prints nothing.
const PRELUDE: &str = "set -e; c() { git commit -q --allow-empty -m \"${1-$RANDOM$RANDOM}\"; }; r() { git elf record failure \"$1\" >/dev/null 2>&1; };";

fn bash(sandbox: &Sandbox, script: &str) {
    let mut command = sandbox.command("bash");
    command.arg("-c").arg(format!("{PRELUDE} {script}"));
    sandbox.run(command).ok();
}

fn elf_in(sandbox: &Sandbox, dir: &Path, args: &[&str]) -> Ran {
    let mut command: Command = sandbox.elf_command(args);
    command.current_dir(dir);
    sandbox.run(command)
}

/// Returns `title:reach …` in the order of titles, as seen from a directory.
fn seen(sandbox: &Sandbox, dir: &str, args: &[&str]) -> String {
    let rows = elf_in(sandbox, &sandbox.repo().join(dir), &[&["list", "--json"], args].concat()).ok().json();
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    let mut labels: Vec<_> = rows.iter().map(|row| format!("{}:{}", text(row, "title"), text(row, "reach"))).collect();
    labels.sort();
    labels.join(" ")
}

/// A name, a script, and what is then seen from which directories.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    ("on main", "r a; c; r b", &[(".", "a:merged b:merged")]),
    (
        "in a linked worktree",
        "r m; git worktree add -q ../w -b w; cd ../w; c; r a",
        &[(".", "a:unmerged m:merged"), ("../w", "a:yours m:merged")],
    ),
    ("merged", "git checkout -q -b w; c; r a; git checkout -q main; c; git merge -q --no-edit w", &[(".", "a:merged")]),
    (
        "merged elsewhere, and seen from a branch",
        "git worktree add -q ../w -b w; (cd ../w; c; r a); git checkout -q -b own; c; r o; git branch -q -f main w",
        &[(".", "a:merged o:yours"), ("../w", "a:merged o:unmerged")],
    ),
    (
        "one branch on another",
        "git checkout -q -b low; c; r low; git worktree add -q ../w -b high; cd ../w; c; r high; git -C ../repo checkout -q main",
        &[("../w", "high:yours low:yours"), (".", "high:unmerged low:yours")],
    ),
    (
        "amended and rebased away: HEAD of this worktree was there",
        "git worktree add -q ../o; git checkout -q -b w; c; r a; git commit -q --amend --allow-empty -m y; c; r b; git rebase -q --root --no-ff",
        &[(".", "a:yours b:yours"), ("../o", "a:unmerged b:unmerged")],
    ),
    (
        "squashed, and edited to where it is now",
        "git checkout -q -b w; c; r a; r b; git checkout -q main; git branch -q -D w; c squash; git reflog expire --expire=now --all; git elf edit $(git elf list --json | grep '\"b\"' | cut -d'\"' -f4) --set commit=$(git rev-parse HEAD)",
        &[(".", "a:unmerged b:merged")],
    ),
    ("detached", "git checkout -q --detach; c; r a; git checkout -q main", &[(".", "a:yours")]),
    (
        "detached, seen from another worktree",
        "git worktree add -q --detach ../w; cd ../w; c; r a",
        &[(".", "a:unmerged"), ("../w", "a:yours")],
    ),
    (
        "the main line was rewritten",
        "git checkout -q -b other; c; r o; git checkout -q main; c; r a; c; r b; git elf list >/dev/null; git worktree add -q ../w -b w main; git reset -q --hard HEAD~2; c new; r n",
        &[("../w", "a:yours b:yours n:merged o:unmerged"), (".", "a:yours b:yours n:merged o:yours")],
    ),
    ("on no branch that is main", "git branch -q -m main topic; r a; c", &[(".", "a:yours")]),
    (
        "the main line is what the configuration says",
        "git checkout -q -b trunk; c; r t; git checkout -q main; c; r m; git config elf.mainBranch refs/heads/trunk; git worktree add -q --detach ../w main~1",
        &[("../w", "m:unmerged t:merged"), (".", "m:yours t:merged")],
    ),
    (
        "the main line is what the remote's HEAD says, local or not",
        "git branch -q -m main dev; git clone -q . ../clone; cd ../clone; c; r local; git checkout -q -b main; c; r m; git checkout -q --detach dev~1; git reflog expire --expire=now --all",
        &[("../clone", "local:merged m:unmerged")],
    ),
    (
        "fetched, not pulled",
        "git clone -q . ../clone; c; cd ../clone; r x; git elf edit $(git elf list --json | cut -d'\"' -f4) --set commit=$(git -C ../repo rev-parse HEAD); git elf list >/dev/null; git fetch -q",
        &[("../clone", "x:merged")],
    ),
    (
        "nothing is known of a commit that is not here",
        "r x; git elf edit $(git elf list --json | cut -d'\"' -f4) --set commit=$(git rev-parse HEAD | tr 0-9a-f a-f0-9)",
        &[(".", "x:unknown")],
    ),
    (
        "nothing is known of what names no commit",
        "git elf init >/dev/null; c $'x\\n\\nElf-Failure: said'; git elf list >/dev/null",
        &[(".", "said:unknown")],
    ),
    (
        "shallow: what is beyond the end is not known, and may be merged",
        "r old; c; c; r new; git checkout -q -b w; c; r w; git checkout -q main; git clone -q --depth 1 --no-single-branch \"file://$PWD\" ../clone; cd ../clone; git fetch -q origin refs/elf/memory:refs/elf/memory",
        &[("../clone", "new:merged old:unknown w:unmerged")],
    ),
    (
        "no longer shallow",
        "r old; c; c; git clone -q --depth 1 \"file://$PWD\" ../clone; cd ../clone; git fetch -q origin refs/elf/memory:refs/elf/memory; git elf list >/dev/null; git fetch -q --unshallow",
        &[("../clone", "old:merged")],
    ),
    (
        "bare",
        "r a; git clone -q --bare . ../bare; git -C ../bare fetch -q ../repo refs/elf/memory:refs/elf/memory",
        &[("../bare", "a:merged")],
    ),
    (
        "clocks that ran backwards",
        "r a; for i in 1 2 3 4 5 6 7 8 9; do GIT_COMMITTER_DATE=\"@$((1000000000 - i * 1000)) +0000\" c; done; git worktree add -q ../w -b w main~9; git elf list >/dev/null; GIT_COMMITTER_DATE='@2000000000 +0000' c; r b",
        &[("../w", "a:merged b:merged")],
    ),
    (
        "files on the current branch reach as far as their files",
        "git elf init --in-tree >/dev/null; r a; git elf flush 2>/dev/null >/dev/null; git checkout -q -b w; r b; git elf flush 2>/dev/null >/dev/null; r waits",
        &[(".", "a:merged b:yours waits:yours")],
    ),
    (
        "files on the current branch, squashed",
        "git elf init --in-tree >/dev/null; git checkout -q -b w; r b; git elf flush 2>/dev/null >/dev/null; git checkout -q main; git merge -q --squash w; c squash; git checkout -q w",
        &[(".", "b:merged")],
    ),
];

#[test]
fn every_worktree_sees_how_far_each_record_reaches() {
    let mut wrong = Vec::new();
    for (name, script, places) in CASES {
        let sandbox = Sandbox::new();
        bash(&sandbox, script);
        for round in ["at first", "with what was kept"] {
            for (dir, expected) in *places {
                let labels = seen(&sandbox, dir, &[]);
                if labels != *expected {
                    wrong.push(format!("{name}, {round}, in {dir}: {labels}, not {expected}"));
                }
                let of = |wanted: &[&str]| {
                    let kept = expected.split(' ').filter(|label| wanted.iter().any(|reach| label.ends_with(reach)));
                    kept.collect::<Vec<_>>().join(" ")
                };
                let is_shallow = name.starts_with("shallow");
                let names_none = name.starts_with("nothing is known") || name.starts_with("squashed");
                for (scope, wanted) in [("merged", &[":merged"][..]), ("mine", &[":merged", ":yours", ":unknown"])] {
                    let labels = seen(&sandbox, dir, &["--reach", scope]);
                    if labels != of(wanted) {
                        wrong.push(format!("{name}, {round}, --reach {scope} in {dir}: {labels} of {expected}"));
                    }
                }
                assert!(is_shallow || names_none || !expected.contains("unknown"), "{name}");
            }
        }
        if !name.contains("bare") {
            sandbox.elf(["check"]).ok();
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_filter_comes_before_the_limit() {
    let sandbox = Sandbox::new();
    bash(&sandbox, "r mine; git worktree add -q ../w -b w; cd ../w; c; for i in 1 2 3; do r theirs; done");
    assert_eq!(seen(&sandbox, ".", &["--reach", "mine", "-n", "1"]), "mine:merged");
    assert_eq!(seen(&sandbox, ".", &["-n", "1"]), "theirs:unmerged");
    bash(&sandbox, "r 'theirs and mine'");
    let found = sandbox.elf(["search", "--reach", "mine", "-n", "1", "theirs"]).ok();
    assert!(found.out.contains("theirs and mine"), "{}", found.out);
    let found = sandbox.elf(["search", "--json", "theirs"]).ok().json();
    assert!(found.len() == 4 && found.iter().all(|row| row["reach"].is_string()), "{found:?}");
}

#[test]
fn text_says_what_is_not_merged_and_whose_it_is() {
    let sandbox = Sandbox::new();
    bash(
        &sandbox,
        "r m; git worktree add -q ../w -b w; cd ../w; c; r w; git checkout -q -b v; c; r v; git checkout -q w; git branch -q -D v",
    );
    let there = sandbox.repo().join("../w");
    let line = |ran: &Ran, title: &str| {
        let is_it = |line: &&str| line.split(" [").next().unwrap().ends_with(&format!(" {title}"));
        ran.out
            .lines()
            .find(is_it)
            .unwrap_or_default()
            .split(" [")
            .nth(1)
            .map(|end| end.trim_end_matches(']').to_owned())
    };
    let here = sandbox.elf(["list"]).ok();
    let other = elf_in(&sandbox, &there, &["search", "w"]).ok();
    assert_eq!(line(&here, "m"), None);
    assert_eq!(line(&here, "w").as_deref(), Some("unmerged (branch w)"));
    assert_eq!(line(&here, "v").as_deref(), Some("unmerged (branch v, gone)"));
    assert_eq!(line(&other, "w").as_deref(), Some("yours"));
    let ids = sandbox.elf(["list", "--json"]).ok().json();
    let of = |title: &str| ids.iter().find(|row| row["title"] == title).unwrap()["id"].as_str().unwrap().to_owned();
    assert!(sandbox.elf(["show", &of("m")]).ok().out.contains("\nreach: merged\n"));
    assert!(sandbox.elf(["show", &of("v")]).ok().out.contains("\nreach: unmerged (branch v, gone)\n"));
    assert_eq!(sandbox.elf(["show", "--json", &of("w")]).ok().json()[0]["reach"], "unmerged");
}

#[test]
fn a_question_keeps_what_it_found_out_and_a_deleted_index_loses_nothing() {
    let sandbox = Sandbox::new();
    // More commits than are asked for one by one.
    bash(
        &sandbox,
        "git worktree add -q ../w -b w; for i in $(seq 40); do c; r \"m$i\"; done; cd ../w; for i in $(seq 40); do c; r \"w$i\"; done",
    );
    let first = seen(&sandbox, ".", &[]);
    assert_eq!((first.matches(":merged").count(), first.matches(":unmerged").count()), (40, 40), "{first}");
    let kept = || {
        let conn = rusqlite::Connection::open(sandbox.elf_dir().join("index.db")).unwrap();
        conn.query_row("SELECT count(*) FROM learned", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(kept(), 80);
    bash(&sandbox, "git merge -q --no-edit w");
    assert!(!seen(&sandbox, ".", &[]).contains(":unmerged"), "what is new on the main line is walked");
    bash(&sandbox, "git reset -q --hard HEAD~1; git reflog expire --expire=now --all");
    assert_eq!(seen(&sandbox, ".", &[]), first, "what was kept of another main line does not count");
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(sandbox.elf_dir().join(name));
    }
    assert_eq!(seen(&sandbox, ".", &[]), first);
    sandbox.elf(["check"]).ok();
}

#[test]
fn a_branch_that_is_far_behind_is_right_whatever_was_kept_of_it() {
    let sandbox = Sandbox::new();
    // Far enough for a walk that is worth keeping, on most machines; the labels are the same where it is not.
    let stream = "for i in $(seq 4000); do printf 'commit refs/heads/main\\ncommitter A <a@e> %s +0000\\ndata 1\\nx\\n' $((1700000000 + i)); \
        test $i -gt 1 || echo 'from refs/heads/main^0'; echo; done | git fast-import --quiet; git reset -q --hard";
    bash(&sandbox, &format!("git worktree add -q ../w -b w; {stream}; r m; (cd ../w; c; r w1)"));
    let ask = |expected: &str| {
        for args in [&[][..], &["--reach", "mine"], &[]] {
            let wanted = expected.split(' ').filter(|label| args.is_empty() || !label.ends_with(":unmerged"));
            assert_eq!(seen(&sandbox, "../w", args), wanted.collect::<Vec<_>>().join(" "), "{args:?}");
        }
    };
    ask("m:merged w1:yours");
    bash(&sandbox, "cd ../w; c; r w2");
    ask("m:merged w1:yours w2:yours");
    bash(&sandbox, "c; r n; git worktree add -q ../o -b o; (cd ../o; c; r o)");
    ask("m:merged n:merged o:unmerged w1:yours w2:yours");
    bash(&sandbox, "git merge -q --no-edit w~1");
    ask("m:merged n:merged o:unmerged w1:merged w2:yours");
    bash(
        &sandbox,
        "git reset -q --hard HEAD~1; git -C ../w checkout -q --detach main~100; git -C ../w reflog expire --expire=now --all",
    );
    ask("m:merged n:merged o:unmerged w1:unmerged w2:unmerged");
}

#[test]
fn a_main_branch_that_is_no_name_is_refused() {
    let sandbox = Sandbox::new();
    for bad in ["a..b", "refs/tags/x", ""] {
        let mut command = sandbox.command("git");
        command.args(["-c", &format!("elf.mainBranch={bad}"), "elf", "list"]);
        let ran = sandbox.run(command).exits(2);
        assert!(ran.err.contains("elf.mainBranch"), "{bad}: {}", ran.err);
    }
}
