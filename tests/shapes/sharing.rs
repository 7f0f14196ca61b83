//! `core.sharedRepository`: two users write one memory, whatever their umask.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;

use super::users::{GROUP, User, are_possible};
use crate::support::{Ran, Sandbox};

/// Lists the modes of everything below a directory: of directories, and of files.
fn modes(dir: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut dirs, mut files) = (BTreeSet::new(), BTreeSet::new());
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mode = format!("{:o}", meta.mode() & 0o7777);
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            dirs.insert(mode);
        } else {
            files.insert(mode);
        }
    }
    (dirs, files)
}

/// A repository of the first user in a directory that the group may write; both trust it.
fn shared(value: &str, umasks: [&'static str; 2]) -> (Sandbox, [User; 2]) {
    let s = Sandbox::empty();
    let users = [(54_001, umasks[0]), (54_002, umasks[1])];
    let users = users.map(|(id, umask)| User::new(&s, id, umask).trusts(&s.repo()).trusts(&s.repo().join(".git")));
    chown(s.repo(), Some(users[0].id), Some(GROUP)).unwrap();
    fs::set_permissions(s.repo(), Permissions::from_mode(0o2770)).unwrap();
    users[0].git(&s, &["init", "-q", "-b", "main", &format!("--shared={value}"), "."]).ok();
    (s, users)
}

#[test]
fn two_users_write_one_memory() {
    if !are_possible() {
        return eprintln!("SKIPPED: only root can become two users");
    }
    for (value, umasks) in [
        ("group", ["077", "077"]),
        ("group", ["022", "077"]),
        ("true", ["000", "027"]),
        ("all", ["077", "022"]),
        ("0660", ["022", "077"]),
        ("0664", ["077", "077"]),
    ] {
        let (s, [a, b]) = shared(value, umasks);
        a.elf(&s, &["record", "failure", "By a"]).ok();
        b.elf(&s, &["record", "failure", "By b"]).ok();
        assert_eq!((a.listed(&s), b.listed(&s)), (2, 2), "{value} {umasks:?}: both read");

        a.elf(&s, &["record", "--no-wait", "failure", "Waits, by a"]).ok();
        assert_eq!(b.listed(&s), 3, "{value} {umasks:?}: b commits what a left");
        b.elf(&s, &["record", "--no-wait", "failure", "Waits, by b"]).ok();
        assert_eq!(a.listed(&s), 4, "{value} {umasks:?}: a commits what b left");

        let writers: Vec<_> = (0..8)
            .map(|i| {
                let mut record = [&a, &b][i % 2].elf_command(&s, &["record", "failure", &format!("At once {i}")]);
                record.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for writer in writers {
            Ran::of(writer.wait_with_output().unwrap()).ok();
        }
        let line = |i| format!("{{\"kind\":\"failure\",\"title\":\"Imported {i}\"}}");
        let lines = (0..100).map(line).collect::<Vec<_>>().join("\n");
        let path = s.repo().join("lines");
        for user in [&b, &a] {
            fs::write(&path, lines.replace("Imported", &format!("Imported by {}", user.id))).unwrap();
            user.elf(&s, &["import", "--from", "jsonl", "lines"]).ok();
        }
        assert_eq!((a.listed(&s), b.listed(&s)), (212, 212), "{value} {umasks:?}: a pack of one is read by the other");
        for user in [&a, &b] {
            user.elf(&s, &["check"]).ok();
            user.elf(&s, &["doctor"]).ok();
            user.git(&s, &["fsck", "--strict"]).ok();
            user.git(&s, &["gc", "-q"]).ok();
            user.elf(&s, &["record", "failure", "After a gc"]).ok();
        }
    }
}

#[test]
fn files_have_the_modes_that_git_gives_them() {
    if !are_possible() {
        return eprintln!("SKIPPED: only root can become two users");
    }
    for (value, umask) in [
        ("group", "077"),
        ("group", "022"),
        ("all", "077"),
        ("everybody", "027"),
        ("0660", "022"),
        ("0640", "000"),
        ("umask", "027"),
        ("umask", "022"),
    ] {
        let (s, [a, _]) = shared(value, [umask, umask]);
        a.elf(&s, &["record", "failure", "One"]).ok();
        a.elf(&s, &["record", "--no-wait", "failure", "Two"]).ok();
        let ours = s.repo().join(".git");
        let theirs = s.root().join("theirs");
        fs::create_dir(&theirs).unwrap();
        chown(&theirs, Some(a.id), Some(GROUP)).unwrap();
        fs::set_permissions(&theirs, Permissions::from_mode(0o2770)).unwrap();
        let path = theirs.to_str().unwrap();
        a.git(&s, &["init", "-q", "-b", "main", &format!("--shared={value}"), path]).ok();
        a.git(&s, &["-C", path, "commit", "-q", "--allow-empty", "-m", "x"]).ok();
        let theirs = theirs.join(".git");

        assert_eq!(modes(&ours.join("objects")), modes(&theirs.join("objects")), "{value} {umask}: objects");
        assert_eq!(modes(&ours.join("refs/elf")), modes(&theirs.join("refs/heads")), "{value} {umask}: refs");
        assert_eq!(modes(&ours.join("logs/refs/elf")), modes(&theirs.join("logs/refs/heads")), "{value} {umask}: logs");
        let (dirs, files) = modes(&ours.join("elf"));
        assert_eq!(dirs, modes(&theirs.join("refs")).0, "{value} {umask}: our directories");
        let file = format!("{:o}", theirs.join("logs/HEAD").metadata().unwrap().mode() & 0o7777);
        let odd: Vec<_> = files.into_iter().filter(|mode| *mode != file).collect();
        let is_right = odd.is_empty() || (value == "umask" && odd == ["644"]);
        assert!(is_right, "{value} {umask}: git's files have {file}, some of ours {odd:?}");
    }
}

#[test]
fn what_somebody_else_owns_is_refused_as_by_git_with_the_way_out() {
    if !are_possible() {
        return eprintln!("SKIPPED: only root can become two users");
    }
    let (s, [a, _]) = shared("group", ["022", "022"]);
    a.elf(&s, &["record", "failure", "One"]).ok();
    let stranger = User::new(&s, 54_003, "022");
    stranger.git(&s, &["status"]).exits(128);
    for args in [&["list"][..], &["record", "failure", "x"]] {
        let ran = stranger.elf(&s, args).exits(1);
        assert!(ran.err.contains("safe.directory"), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(s.repo().to_str().unwrap()), "{args:?} names the directory: {}", ran.err);
    }
}
