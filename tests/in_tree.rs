//! Records on the current branch: they wait for a commit that the user asks for, and stay what the user makes of them.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Ran, Sandbox};

fn in_tree() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.elf(["init", "--in-tree"]).ok();
    sandbox
}

fn sh(sandbox: &Sandbox, script: &str) -> Ran {
    let mut command = sandbox.command("sh");
    command.args(["-ec", script]);
    sandbox.run(command)
}

fn path_of(sandbox: &Sandbox, id: &str) -> String {
    let ran = sandbox.git(["ls-files", "-co", "--", "memory"]).ok();
    ran.out.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{id} is no file: {}", ran.out)).to_owned()
}

fn title(sandbox: &Sandbox, id: &str) -> String {
    sandbox.elf(["show", "--json", id]).ok().json()[0]["title"].as_str().unwrap().to_owned()
}

#[test]
fn a_record_is_a_file_at_once_and_committed_when_asked() {
    let sandbox = in_tree();
    let head = sandbox.git(["rev-parse", "HEAD"]).ok().out;
    let json = sandbox.elf(["record", "failure", "it broke", "--json"]).ok().json().remove(0);
    assert_eq!((json["state"].as_str(), json["commit"].as_str()), (Some("queued"), None));
    let id = json["id"].as_str().unwrap();
    assert_eq!(json["path"].as_str(), Some(path_of(&sandbox, id).as_str()));
    let event = sandbox.elf(["validate", id]).ok().line().to_owned();
    path_of(&sandbox, &event);
    assert_eq!(sandbox.git(["rev-parse", "HEAD"]).ok().out, head, "nothing is committed behind the user's back");
    let row = sandbox.elf(["search", "broke", "--json"]).ok().json().remove(0);
    assert_eq!((row["id"].as_str(), row["validated"].as_u64()), (Some(id), Some(1)), "what waits is found");
    sandbox.elf(["check"]).ok();
    sandbox.write("mine", "x");
    sandbox.git(["add", "mine"]).ok();
    let flushed = sandbox.elf(["flush", "--json"]).ok().json().remove(0);
    assert_eq!(flushed["committed"], 2);
    assert_eq!(sandbox.git(["status", "--porcelain"]).ok().out, "A  mine\n");
    let files = sandbox.git(["show", "--format=", "--name-only", "HEAD"]).ok().out;
    assert!(files.lines().all(|file| file.starts_with("memory/")), "the commit has records alone: {files}");
    assert_eq!(sandbox.elf(["flush"]).ok().line(), "no record waits here");
    assert_eq!(sandbox.listed(), [id]);
}

#[test]
fn the_users_own_commit_takes_what_waits_and_amend_amends_it() {
    let sandbox = in_tree();
    let id = sandbox.record("one");
    sandbox.write("code", "x");
    sandbox.git(["add", "."]).ok();
    sandbox.git(["commit", "-qm", "mine"]).ok();
    let other = sandbox.record("two");
    sandbox.git(["commit", "-q", "--amend", "-m", "amended"]).ok();
    assert_eq!(sandbox.git(["log", "--format=%s"]).ok().out, "amended\nfirst\n");
    let waiting = fs::read_dir(sandbox.elf_dir().join("spool")).unwrap().count();
    assert_eq!(waiting, 2, "the other one, and bad/: what a commit holds waits no longer");
    assert_eq!(sandbox.listed(), [other.as_str(), id.as_str()]);
    sandbox.elf(["check"]).ok();
}

#[test]
fn trailers_wait_in_the_spool_and_no_file_gets_in_the_way_of_a_rebase() {
    let sandbox = in_tree();
    sandbox.git(["commit", "-q", "--allow-empty", "-m", "x\n\nElf-Failure: learned here"]).ok();
    assert_eq!(sandbox.git(["status", "--porcelain"]).ok().out, "");
    let id = sandbox.listed().remove(0);
    sandbox.elf(["flush"]).ok();
    path_of(&sandbox, &id);
    // The pick of the first commit harvests what the pick of the second one brings as a file.
    sh(&sandbox, "git checkout -q -b new HEAD~2 && git commit -q --allow-empty -m base && git checkout -q main && git rebase -q new").ok();
    assert_eq!(sandbox.listed(), [id]);
    sandbox.elf(["check"]).ok();
}

#[test]
fn edits_by_hand_count_and_bad_ones_are_named_and_stop_a_push() {
    let sandbox = in_tree();
    sandbox.git(["init", "-q", "--bare", "../remote.git"]).ok();
    sandbox.git(["remote", "add", "origin", "../remote.git"]).ok();
    let id = sandbox.record("as written");
    let waiting = sandbox.repo().join(path_of(&sandbox, &id));
    let text = fs::read_to_string(&waiting).unwrap();
    fs::write(&waiting, text.replace("as written", "edited while it waits")).unwrap();
    sandbox.elf(["flush"]).ok();
    assert_eq!(title(&sandbox, &id), "edited while it waits");
    assert_eq!(sandbox.git(["status", "--porcelain"]).ok().out, "");
    let text = fs::read_to_string(&waiting).unwrap();
    fs::write(&waiting, text.replace("edited while it waits", "edited and committed")).unwrap();
    // A file made from another one, as from a template.
    let copy = text.replace(&id, "0123456789abcdef").replace("edited while it waits", "from a template");
    sandbox.write("memory/failures/0/1/2/0123456789abcdef-from-a-template.md", &copy);
    sandbox.git(["add", "memory"]).ok();
    sandbox.git(["commit", "-qm", "by hand"]).ok();
    assert_eq!(title(&sandbox, &id), "edited and committed");
    assert_eq!(title(&sandbox, "0123456789abcdef"), "from a template");
    sandbox.elf(["check"]).ok();
    sandbox.git(["push", "-q", "origin", "main"]).ok();
    for (what, bad) in [
        ("no front matter", "just words\n".to_owned()),
        ("a wrong id", text.replace(&id, "zzzzzzzzzzzzzzzz")),
        ("conflict markers", format!("<<<<<<< a\n{text}=======\n{text}>>>>>>> b\n")),
    ] {
        fs::write(&waiting, &bad).unwrap();
        sandbox.git(["commit", "-qam", what]).ok();
        let check = sandbox.elf(["check"]).exits(3);
        assert!(check.out.contains(&id), "{what}: {}", check.out);
        let push = sandbox.git(["push", "-q", "origin", "main"]).exits(1);
        assert!(push.err.contains(&id) && push.err.contains("stopped"), "{what}: {}", push.err);
        assert_eq!(sandbox.listed().len(), 1, "{what}: the others are there");
        sandbox.git(["reset", "-q", "--hard", "HEAD~1"]).ok();
    }
    sandbox.git(["push", "-q", "origin", "main"]).ok();
}

#[test]
fn a_file_that_vanishes_is_no_deletion() {
    for vanish in ["git clean -qfd", "git stash -qu", "rm -r memory"] {
        let sandbox = in_tree();
        let id = sandbox.record("waits");
        sh(&sandbox, vanish).ok();
        assert_eq!(sandbox.listed(), [id.as_str()], "{vanish}");
        assert!(
            !sandbox.repo().join("memory").exists(),
            "{vanish}: what the user took away does not come back by itself"
        );
        sandbox.elf(["flush"]).ok();
        path_of(&sandbox, &id);
        assert_eq!(sandbox.git(["status", "--porcelain"]).ok().out, "", "{vanish}");
    }
}

#[test]
fn what_is_taken_back_with_git_stays_away_and_is_named() {
    for (how, flush) in [("git reset -q --hard HEAD~1", true), ("git reset -q --hard HEAD~1", false)] {
        let sandbox = in_tree();
        let id = sandbox.record("a mistake");
        if flush {
            sandbox.elf(["flush"]).ok();
        } else {
            // No hook runs, so the entry still waits when the commit goes.
            sh(&sandbox, "git add memory && git -c core.hooksPath=/dev/null commit -qm mine").ok();
        }
        sh(&sandbox, how).ok();
        let check = sandbox.elf(["check"]).ok();
        assert_eq!(sandbox.listed(), [""; 0], "flush {flush}");
        assert!(check.out.contains("taken back") && check.out.contains(&id), "{}", check.out);
        sandbox.elf(["flush"]).ok();
        assert!(!sandbox.repo().join("memory").exists());
    }
}

#[test]
fn another_branch_has_other_records_and_what_waits_goes_with_the_worktree() {
    let sandbox = in_tree();
    let main = sandbox.record("on main");
    sandbox.elf(["flush"]).ok();
    sandbox.git(["checkout", "-q", "-b", "side", "HEAD~1"]).ok();
    assert_eq!(sandbox.listed(), [""; 0]);
    let waits = sandbox.record("made on side");
    sandbox.git(["checkout", "-q", "main"]).ok();
    assert_eq!(sandbox.listed(), [waits.as_str(), main.as_str()]);
    sandbox.elf(["flush"]).ok();
    sandbox.git(["checkout", "-q", "side"]).ok();
    assert_eq!(sandbox.listed(), [""; 0], "it went to the branch checked out when it was committed");
    sandbox.git(["checkout", "-q", "main"]).ok();
    sandbox.elf(["check"]).ok();
}

#[test]
fn records_of_a_worktree_that_is_gone_are_kept() {
    // What happened to the branch; whether the next flush in the main worktree finds a place; what adopting does.
    for (case, then, placed) in [
        ("free", "true", true),
        ("checked out elsewhere", "git worktree add -q ../other side", false),
        ("deleted", "git branch -qD side", false),
        ("checked out here", "git checkout -q side", true),
    ] {
        let sandbox = in_tree();
        sandbox.git(["worktree", "add", "-q", "-b", "side", "../wt"]).ok();
        let mut record = sandbox.elf_command(["record", "failure", "in a worktree"]);
        record.current_dir(sandbox.root().join("wt"));
        let id = sandbox.run(record).ok().line().to_owned();
        assert_eq!(sandbox.listed(), [""; 0], "{case}: it waits in its worktree, not here");
        sandbox.git(["worktree", "remove", "--force", "../wt"]).ok();
        sh(&sandbox, then).ok();
        let check = sandbox.elf(["check"]).exits(3);
        assert!(check.out.contains("1 record of the worktree wt, which is gone, for side"), "{case}: {}", check.out);
        sandbox.elf(["flush"]).ok();
        let on_side = || sandbox.git(["ls-tree", "-r", "--name-only", "side"]).out.contains(&id);
        assert_eq!(on_side(), placed, "{case}");
        if placed {
            sandbox.elf(["check"]).ok();
            continue;
        }
        sandbox.elf(["check"]).exits(3);
        sandbox.elf(["flush", "--adopt"]).ok();
        assert_eq!(sandbox.listed(), [id.as_str()], "{case}");
        path_of(&sandbox, &id);
        sandbox.elf(["check"]).ok();
    }
}

#[test]
fn a_link_in_place_of_the_directory_leads_nowhere() {
    for planted in ["memory", "memory/failures"] {
        let sandbox = in_tree();
        let victim = sandbox.root().join("victim");
        fs::create_dir(&victim).unwrap();
        let link = sandbox.repo().join(planted);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&victim, &link).unwrap();
        let ran = sandbox.elf(["record", "failure", "kept all the same"]).ok();
        assert!(ran.err.contains("link"), "{planted}: {}", ran.err);
        assert_eq!(sandbox.elf(["flush"]).exits(1).out, "", "{planted}");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "{planted}");
        fs::remove_file(&link).unwrap();
        sandbox.elf(["flush"]).ok();
        assert_eq!(sandbox.listed().len(), 1, "{planted}");
    }
}

#[test]
fn a_repository_that_is_nothing_but_a_memory_commits_at_once() {
    let sandbox = in_tree();
    sandbox.git(["config", "elf.commit", "immediate"]).ok();
    let json = sandbox.elf(["record", "failure", "now", "--json"]).ok().json().remove(0);
    assert_eq!(json["state"], "committed");
    assert_eq!(sandbox.git(["status", "--porcelain"]).ok().out, "");
    assert_eq!(sandbox.git(["log", "-1", "--format=%s"]).ok().line(), "elf: record failure: now");
    sandbox.elf(["check"]).ok();
}

#[test]
fn selecting_another_ref_says_what_stays_behind() {
    let sandbox = Sandbox::new();
    sandbox.record("left behind");
    let said = sandbox.elf(["init", "--in-tree"]).ok().err;
    assert!(said.contains("1 record file stays on refs/elf/memory; git elf migrate"), "{said}");
    sandbox.elf(["init", "--ref", "refs/elf/memory"]).ok();
    sandbox.elf(["migrate", "--ref", "HEAD"]).ok();
    let said = sandbox.elf(["init", "--in-tree"]).ok().err;
    assert!(!said.contains("stays"), "{said}");
}

#[test]
fn unborn_detached_and_bare() {
    let sandbox = Sandbox::empty();
    sandbox.git(["init", "-q", "-b", "main", "."]).ok();
    sandbox.elf(["init", "--in-tree"]).ok();
    let first = sandbox.record("before the first commit");
    sandbox.elf(["flush"]).ok();
    sandbox.git(["checkout", "-q", "--detach"]).ok();
    let second = sandbox.record("on no branch");
    sandbox.elf(["flush"]).ok();
    assert_eq!(sandbox.listed(), [second.as_str(), first.as_str()]);
    assert_eq!(sandbox.git(["status", "--porcelain"]).ok().out, "");
    assert!(sandbox.git(["reflog"]).ok().out.contains("elf: record failure: on no branch"));
    sandbox.elf(["check"]).ok();
    sandbox.git(["init", "-q", "--bare", "../bare.git"]).ok();
    let mut bare = sandbox.elf_command(["record", "failure", "x"]);
    bare.current_dir(sandbox.root().join("bare.git")).env("GIT_CONFIG_COUNT", "1");
    bare.env("GIT_CONFIG_KEY_0", "elf.ref").env("GIT_CONFIG_VALUE_0", "HEAD");
    let refused = sandbox.run(bare).exits(1);
    assert!(refused.err.contains("bare repository"), "{}", refused.err);
    let mut init = sandbox.elf_command(["init", "--in-tree"]);
    init.current_dir(sandbox.root().join("bare.git"));
    sandbox.run(init).exits(1);
    assert_eq!(sandbox.git(["-C", "../bare.git", "config", "elf.ref"]).out, "", "nothing was set");
}

#[test]
fn an_import_waits_too_and_is_there_once() {
    let sandbox = in_tree();
    let lines = "{\"kind\":\"failure\",\"title\":\"a\"}\n{\"kind\":\"success\",\"title\":\"b\"}\n";
    assert_eq!(
        sandbox.elf_with_input(["import", "--from", "jsonl", "-"], lines).ok().line(),
        "imported 2, already there 0, rejected 0"
    );
    assert_eq!(
        sandbox.elf_with_input(["import", "--from", "jsonl", "-"], lines).ok().line(),
        "imported 0, already there 2, rejected 0"
    );
    sandbox.elf(["flush"]).ok();
    assert_eq!(
        sandbox.elf_with_input(["import", "--from", "jsonl", "-"], lines).ok().line(),
        "imported 0, already there 2, rejected 0"
    );
    assert_eq!(sandbox.listed().len(), 2);
}

#[test]
fn a_memory_moves_between_all_modes_with_ids_events_and_history() {
    let refs = ["refs/elf/memory", "refs/heads/memory", "HEAD"];
    for from in refs {
        for to in refs.into_iter().filter(|to| *to != from) {
            let case = format!("{from} → {to}");
            let sandbox = Sandbox::new();
            sandbox.git(["config", "elf.ref", from]).ok();
            let ids = [sandbox.record("one"), sandbox.record("two")];
            sandbox.elf(["validate", &ids[0]]).ok();
            if from == "HEAD" {
                sandbox.elf(["flush"]).ok();
            }
            let waits = sandbox.elf(["record", "failure", "waits", "--no-wait"]).ok().line().to_owned();
            let export = |sandbox: &Sandbox| {
                let text = sandbox.elf(["export"]).ok().out;
                text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
            };
            let before = export(&sandbox);
            sandbox.elf(["migrate", "--ref", to]).ok();
            assert_eq!(export(&sandbox), before, "{case}");
            assert!(sandbox.listed().contains(&waits), "{case}");
            sandbox.elf(["check"]).ok();
            let log = sandbox.git(["log", "--format=%s", to]).ok().out;
            assert!(log.contains("elf: record"), "{case}: the history came along: {log}");
            let dir = if from == "HEAD" { "memory/" } else { "" };
            let moved = sandbox.git(["show", &format!("{from}:{dir}MOVED")]).ok().out;
            assert_eq!(moved, format!("{to}\n"), "{case}");
            // Another clone that has not followed writes nothing to the old ref, and loses nothing.
            let mut late = sandbox.elf_command(["record", "failure", "late"]);
            late.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "elf.ref").env("GIT_CONFIG_VALUE_0", from);
            let late = sandbox.run(late).ok();
            if from != "HEAD" {
                assert!(late.err.contains(&format!("has moved from {from} to {to}")), "{case}: {}", late.err);
            }
            assert!(sandbox.listed().contains(&late.line().to_owned()), "{case}: it went to the new one");
            assert_eq!(sandbox.git(["status", "--porcelain", "--", ".", ":!memory"]).ok().out, "", "{case}");
            sandbox.elf(["migrate", "--ref", from]).ok();
            assert_eq!(sandbox.listed().len(), 4, "{case}: and back");
            sandbox.elf(["check"]).ok();
        }
    }
}

#[test]
fn a_commit_without_files_needs_no_tree_object() {
    for format in ["sha1", "sha256"] {
        let sandbox = Sandbox::empty();
        sh(
            &sandbox,
            &format!(
                "git init -q -b main --object-format={format} . && echo x > f && git add f && git commit -qm first"
            ),
        )
        .ok();
        sandbox.elf(["init", "--in-tree"]).ok();
        let id = sandbox.record("kept");
        // git knows this tree by heart and writes none; libgit2 knows it in SHA-1 only.
        let script =
            "git commit-tree -m root $(git hash-object -t tree /dev/null) > ../root && git branch empty $(cat ../root)";
        sh(&sandbox, script).ok();
        let committed = sh(&sandbox, "git switch -q empty && git commit -q --allow-empty -m next").ok();
        assert_eq!((committed.out.as_str(), committed.err.as_str()), ("", ""), "{format}");
        assert_eq!(sandbox.listed(), [id.as_str()], "{format}");
        sandbox.elf(["flush"]).ok();
        sandbox.elf(["check"]).ok();
        let moved = sandbox.elf(["migrate", "--ref", "refs/elf/memory"]).ok();
        assert_eq!(sandbox.listed(), [id.as_str()], "{format}: {}", moved.err);
    }
}
