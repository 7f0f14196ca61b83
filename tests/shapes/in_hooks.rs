//! Inside every hook of git, and wherever else git runs a command: the record goes to the right repository and is durable, and what
//! git was about to do ends as it would have without.

use super::make;
use crate::support::Sandbox;

/// What git runs, and what makes it run that: a hook's name, the repository that has the hook, a script in `repo`.
const HOOKS: [(&str, &str, &str); 45] = [
    ("pre-commit", ".", "echo a >a; git add a; git commit -qm a"),
    ("pre-commit", ".", "echo b >README; git commit -qam b"),
    ("pre-commit", ".", "echo b >README; echo c >c; git add c; git commit -qm b -- README"),
    ("pre-commit", ".", "echo b >README; git commit -q --amend --no-edit README"),
    ("pre-commit", ".", "git worktree add -q -b w ../w; cd ../w; echo b >README; git commit -qam b"),
    ("pre-commit", ".", "mkdir -p d/e; cd d/e; echo a >a; git add a; git commit -qm a"),
    ("pre-commit", ".", "cd ..; echo b >repo/README; git --git-dir=repo/.git --work-tree=repo commit -qam b"),
    ("pre-commit", "../u/.git/modules/sub", "cd ../u/sub; echo b >README; git commit -qam b"),
    ("prepare-commit-msg", ".", "git commit -q --allow-empty -m a"),
    ("commit-msg", ".", "git commit -q --allow-empty -m a"),
    ("post-commit", ".", "git commit -q --allow-empty -m a"),
    ("post-commit", ".", "git commit -q --allow-empty --amend -m a"),
    ("post-commit", ".", "git cherry-pick --allow-empty --keep-redundant-commits side"),
    ("post-commit", ".", "git revert --no-edit HEAD"),
    ("post-commit", ".", "git worktree add -q -b w ../w; cd ../w; echo b >README; git commit -qam b"),
    ("pre-merge-commit", ".", "git merge -q --no-ff --no-edit side"),
    ("post-merge", ".", "git merge -q --no-ff --no-edit side"),
    ("post-merge", ".", "git pull -q --no-rebase --no-edit origin side"),
    ("pre-rebase", ".", "git rebase -q side"),
    ("post-checkout", ".", "git rebase -q side"),
    ("post-rewrite", ".", "git rebase -q side"),
    ("post-commit", ".", "git rebase -q side"),
    ("reference-transaction", ".", "git rebase -q side"),
    ("post-rewrite", ".", "git commit -q --amend -m again"),
    ("post-checkout", ".", "git checkout -q side"),
    ("post-checkout", ".", "git worktree add -q -b w ../w"),
    ("post-index-change", ".", "echo a >a; git add a"),
    ("reference-transaction", ".", "git commit -q --allow-empty -m a"),
    ("reference-transaction", ".", "git branch x; git branch -D x; git pack-refs --all; git stash -q || true"),
    (
        "reference-transaction",
        ".",
        "git push -q origin main; git update-ref -d refs/remotes/origin/main; git fetch -q origin",
    ),
    ("applypatch-msg", ".", "git format-patch -q -1 side --stdout >../p; git am -q ../p"),
    ("pre-applypatch", ".", "git format-patch -q -1 side --stdout >../p; git am -q ../p"),
    ("post-applypatch", ".", "git format-patch -q -1 side --stdout >../p; git am -q ../p"),
    ("pre-push", ".", "git push -q origin main"),
    ("pre-push", ".", "git push -q origin :side || true"),
    (
        "pre-auto-gc",
        ".",
        "git config gc.auto 1; git config gc.autoDetach false; mkdir ../b; (cd ../b; seq 3000 | split -l 1 -a 4); ls -d ../b/* | git hash-object -w --stdin-paths >../o; git gc --auto -q",
    ),
    ("pre-receive", "../r.git", "git push -q origin main"),
    ("update", "../r.git", "git push -q origin main"),
    ("reference-transaction", "../r.git", "git push -q origin main"),
    ("post-receive", "../r.git", "git push -q origin main"),
    ("post-update", "../r.git", "git push -q origin main"),
    ("update", "../r.git", "git push -q --force origin side:main main:side"),
    ("post-receive", "../n", "git push -q ../n main:refs/heads/other"),
    ("push-to-checkout", "../n", "git push -q ../n main"),
    ("post-checkout", ".", "git sparse-checkout set --cone d; git sparse-checkout disable; git checkout -q side"),
];

/// Commands that are no hooks; `elf` is the script that records.
const CALLERS: [&str; 13] = [
    "git -c alias.note='!'\"$elf\" note",
    "git -c sequence.editor=: rebase -q -i --exec \"$elf\" HEAD~",
    "git -c core.editor=\"$elf\" commit -q --allow-empty --amend",
    "GIT_EDITOR=\"$elf\" git commit -q --allow-empty -m a -e",
    "GIT_SEQUENCE_EDITOR=\"$elf\" git rebase -q -i HEAD~",
    "git bisect start HEAD HEAD~2 && git bisect run \"$elf\" && git bisect reset",
    "git config filter.f.clean \"$elf %f && cat\"; echo 'x filter=f' >.gitattributes; echo x >x; git add x",
    "git config diff.t.textconv \"$elf; cat\"; echo 'README diff=t' >.gitattributes; echo y >README; git diff HEAD",
    "git config merge.m.driver \"$elf\"; echo 'README merge=m' >.git/info/attributes; git merge -q --no-edit conflicting",
    "git difftool -y -x \"$elf\" HEAD~2",
    "git config core.fsmonitor \"$elf; printf 't\\0/\\0'; :\"; git config core.fsmonitorHookVersion 2; git status",
    "git config credential.helper \"!$elf; :\"; echo url=https://example.org | git credential approve; printf 'url=https://example.org\\nusername=u\\npassword=p\\n' | git credential approve",
    "git for-each-ref --shell --format=\"$elf\" refs/heads/main | sh",
];

/// Makes `repo` with the branches `main`, `side` and `conflicting`, a bare remote, a second checkout and a submodule.
fn playground() -> Sandbox {
    let s = Sandbox::new_in_memory();
    let script = "
        git config --global protocol.file.allow always; git config --global advice.detachedHead false
        mkdir d; echo d >d/d; git add d; git commit -qm d
        git checkout -q -b side; echo s >s; git add s; git commit -qm side
        git checkout -q -b conflicting main; echo c >README; git commit -qam conflicting
        git checkout -q main; echo m >m; git add m; git commit -qm m; echo n >README; git commit -qam n
        git init -q -b main --bare ../r.git; git remote add origin ../r.git; git push -q origin main~:refs/heads/main side
        git clone -q . ../n; git -C ../n config receive.denyCurrentBranch updateInstead; git -C ../n reset -q --hard HEAD~
        git clone -q . ../u; git -C ../u submodule -q add @/r.git sub; git -C ../u commit -qm sub
        git elf record failure Before >../n1 2>&1";
    assert!(make(&s, script));
    s
}

fn copy_of(template: &Sandbox) -> Sandbox {
    let s = Sandbox::empty_in_memory();
    assert!(make(&s, &format!("cp -a {}/. ..", template.root().display())));
    s
}

/// Runs all cases, and fails when one of them did: a change in one place may break several.
fn each(cases: impl Iterator<Item = impl FnOnce()>) {
    let failed = cases.filter_map(|case| std::panic::catch_unwind(std::panic::AssertUnwindSafe(case)).err()).count();
    assert_eq!(failed, 0, "cases failed; they are above");
}

/// Runs a script, with dates that do not move, and returns its status and what it did to the user's things.
fn outcome(s: &Sandbox, script: &str, elf: &str) -> Vec<String> {
    let mut bash = s.command("bash");
    bash.args(["-c", script]).env("elf", elf);
    for name in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
        bash.env(name, "2026-01-02T03:04:05Z");
    }
    let ran = s.run(bash);
    let mut seen = vec![format!("status {}", ran.status)];
    for dir in [".", "../w", "../n", "../u/sub", "../r.git"] {
        let dir = s.repo().join(dir);
        if !dir.exists() {
            continue;
        }
        for args in [
            &["status", "--porcelain", "-uall"][..],
            &["ls-files", "-s"],
            &["for-each-ref", "--exclude=refs/elf/**"],
            &["symbolic-ref", "-q", "HEAD"],
            &["rev-parse", "-q", "--verify", "HEAD"],
            &["log", "--format=%H %s"],
        ] {
            let mut git = s.command("git");
            git.args(args).current_dir(&dir);
            seen.push(s.run(git).out);
        }
    }
    seen
}

/// Writes the script that git is to run: it leaves a line in `fired`, and records when it is told to.
fn script(s: &Sandbox, name: &str, records: bool) -> String {
    let path = s.root().join(format!("elf-{name}"));
    let root = s.root().display();
    let record = format!(
        "git elf record observation 'In {name}' >>{root}/ids 2>>{root}/said && git elf list --json >{root}/list 2>>{root}/said && git elf search observation >{root}/found 2>>{root}/said || echo failed >>{root}/said"
    );
    // What a hook must do beside that.
    let duty = if name == "push-to-checkout" { "git read-tree -u -m HEAD \"$1\"" } else { ":" };
    let text = format!("#!/bin/sh\necho {name} >>{root}/fired\n{}\n{duty}\n", if records { &record } else { ":" });
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn lines(s: &Sandbox, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(s.root().join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Looks whether every record that was acknowledged is in the memory of `dir`, and whether that is sound.
fn all_are_there(s: &Sandbox, dir: &str, case: &str) {
    let at = super::Place::parse(s, dir);
    let listed = at.elf(s, &["list", "--json", "--limit", "1000"]).ok().out;
    let ids = lines(s, "ids");
    assert_eq!(ids.len(), lines(s, "fired").len(), "{case}: every run records: {:?}", lines(s, "said"));
    assert!(lines(s, "said").iter().all(|line| line != "failed"), "{case}: {:?}", lines(s, "said"));
    for id in ids {
        assert!(listed.contains(&id), "{case}: {id} is in the memory of {dir}: {listed}");
    }
    at.elf(s, &["check"]).ok();
    at.git(s, &["fsck", "--strict"]).ok();
    at.git(s, &["gc", "-q", "--prune=now"]).ok();
    at.elf(s, &["check"]).ok();
}

fn compare(template: &Sandbox, case: &str, command: &str, hook: Option<(&str, &str)>) {
    let name = hook.map_or("caller", |(hook, _)| hook);
    let run = |records: bool| {
        let s = copy_of(template);
        let elf = script(&s, name, records);
        if let Some((hook, dir)) = hook {
            let dir = s.repo().join(dir);
            let hooks = if dir.join("HEAD").exists() { dir.join("hooks") } else { dir.join(".git/hooks") };
            std::fs::create_dir_all(&hooks).unwrap();
            std::fs::copy(&elf, hooks.join(hook)).unwrap();
        }
        let seen = outcome(&s, command, &elf);
        (s, seen)
    };
    let (without, expected) = run(false);
    assert!(!lines(&without, "fired").is_empty(), "{case}: git runs it: {}", expected[0]);
    let (with, seen) = run(true);
    let differ = seen.iter().zip(&expected).find(|(seen, expected)| seen != expected);
    assert_eq!(differ, None, "{case}: git ends as it would without");
    let dir = match hook {
        Some((_, "../u/.git/modules/sub")) => "../u/sub",
        Some((_, dir)) => dir,
        None => ".",
    };
    all_are_there(&with, dir, case);
}

#[test]
fn a_hook_can_record() {
    let template = playground();
    each(HOOKS.iter().map(|(hook, dir, command)| {
        let template = &template;
        move || compare(template, &format!("{hook} in {dir}: {command}"), command, Some((hook, dir)))
    }));
}

#[test]
fn whatever_git_runs_can_record() {
    let template = playground();
    each(CALLERS.iter().map(|command| {
        let template = &template;
        move || compare(template, command, command, None)
    }));
}

#[test]
fn what_is_recorded_while_a_push_is_refused_is_kept() {
    // git throws the quarantine away, with all objects that came; none of ours may be among them.
    for hook in ["pre-receive", "update"] {
        let s = playground();
        let elf = script(&s, hook, true);
        let refusing = std::fs::read_to_string(&elf).unwrap() + "exit 1\n";
        let path = s.root().join("r.git/hooks").join(hook);
        std::fs::write(&path, refusing).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(make(&s, "echo x >x; git add x; git commit -qm x; ! git push -q origin main refs/elf/memory"));
        all_are_there(&s, "../r.git", hook);
    }
}
