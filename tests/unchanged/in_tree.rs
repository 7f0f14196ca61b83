//! A user who commits, amends and rebases on the branch on which four agents record.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Mode, Site};
use crate::support::{Ran, elf_program};

const WRITERS: usize = 4;
const RECORDS: usize = 50;

struct User<'a>(&'a Site);

impl User<'_> {
    #[track_caller]
    fn does(&self, script: &str) -> String {
        let ran = self.0.sh(&self.0.repo(), &format!("set -e\n{script}"));
        assert_eq!(ran.status, 0, "{script}: {}{}", ran.out, ran.err);
        ran.out.trim_end().to_owned()
    }

    /// One round: what is staged stays staged, an amend amends the user's commit, and a commit has the user's files alone.
    fn round(&self, i: usize) {
        self.does(&format!("echo {i} >f{i}; git add f{i}; git commit -q -m 'user {i}'"));
        let parent = self.does("git rev-parse HEAD~1");
        assert_eq!(self.does("git log -1 --format=%s"), format!("user {i}"));
        self.does(&format!("echo more >>f{i}; git commit -q -a --amend -m 'user {i}, amended'"));
        assert_eq!(self.does("git rev-parse HEAD~1"), parent, "the amend rewrote another commit");
        assert_eq!(self.does("git show --format=%s --name-only"), format!("user {i}, amended\n\nf{i}"));
        match i % 4 {
            0 => {
                self.does(&format!("echo staged >s{i}; git add s{i}; git elf flush"));
                assert_eq!(self.does("git diff --cached --name-only"), format!("s{i}"));
                self.does(&format!("git commit -q -m 'staged {i}'"));
                assert_eq!(self.does("git show --format= --name-only"), format!("s{i}"));
            }
            1 => drop(self.does("git -c advice.skippedCherryPicks=false rebase -q --no-ff HEAD~2")),
            2 => {
                let edit = "GIT_SEQUENCE_EDITOR='sed -i -e 1h -e 1d -e 2G'";
                self.does(&format!(
                    "echo {i} >g{i}; git add g{i}; git commit -q -m 'more {i}'; {edit} git rebase -q -i HEAD~2"
                ));
            }
            _ => drop(self.does("git add memory; git commit -q --allow-empty -m 'records, by hand'")),
        }
    }
}

#[test]
fn records_and_the_commits_of_a_user_get_along_on_one_branch() {
    let site = Site::with_memory(Mode::Head);
    site.reset();
    let writing = AtomicUsize::new(WRITERS);
    let user = User(&site);
    let mut rounds = 0;
    let ids: Vec<_> = thread::scope(|scope| {
        let (site, writing) = (&site, &writing);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let record = |i| {
                        let mut command = site.command(elf_program(), &site.repo());
                        command.args(["record", "failure", &format!("writer {writer}, record {i}")]);
                        Ran::of(command.output().unwrap())
                    };
                    let ran: Vec<_> = (0..RECORDS).map(record).collect();
                    writing.fetch_sub(1, Ordering::Relaxed);
                    ran
                })
            })
            .collect();
        while writing.load(Ordering::Relaxed) > 0 || rounds < 8 {
            user.round(rounds);
            rounds += 1;
        }
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).map(|ran| ran.ok().line().to_owned()).collect()
    });
    user.does("git elf flush");
    let ids: BTreeSet<_> = ids.into_iter().collect();
    assert_eq!(ids.len(), WRITERS * RECORDS);
    let tree = user.does("git ls-tree -r --name-only HEAD memory");
    let committed = tree.lines().filter_map(|path| path.rsplit('/').next()?.get(..16).map(str::to_owned));
    let committed: BTreeSet<_> = committed.filter(|id| !id.contains('.')).collect();
    assert_eq!(ids.difference(&committed).count(), 0, "of {} records some are in no commit", ids.len());
    assert_eq!(user.does("git elf list --json | wc -l"), ids.len().to_string());
    assert_eq!(user.does("git status --porcelain"), "", "after {rounds} rounds");
    let subjects = user.does("git log --format=%s v1..");
    for i in 0..rounds {
        assert!(subjects.lines().any(|line| line == format!("user {i}, amended")), "the commit of round {i} is gone");
    }
    user.does("git elf check; git fsck --strict --no-dangling");
}
