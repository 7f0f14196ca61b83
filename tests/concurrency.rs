//! Many processes at once, processes that hang, and files that disappear between commands.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use git_elf::index::Index;
use git_elf::lock::{LockFile, Outcome, Silent};
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value as Json;

use crate::faults::overwrite;
use crate::support::{Ran, Sandbox, elf_program};

/// A machine that is busy with other tests is no reason to give up waiting.
fn patient() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.git(["config", "elf.lockTimeout", "300"]).ok();
    sandbox
}

/// Starts all commands, lets them run at the same moment, and waits for all.
fn together(sandbox: &Sandbox, commands: &[(PathBuf, Vec<String>)]) -> Vec<Ran> {
    let (gate, opener) = std::io::pipe().unwrap();
    let children: Vec<_> = commands
        .iter()
        .map(|(dir, args)| {
            // The shell waits until nobody holds the other end of the pipe.
            let mut command = sandbox.command("sh");
            command.args(["-c", "read -r line; exec \"$@\" </dev/null", "sh"]).arg(elf_program()).args(args);
            command.current_dir(dir).stdin(gate.try_clone().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    drop(opener);
    children.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap())).collect()
}

fn record_args(title: &str) -> Vec<String> {
    ["record", "failure", "--title", title].map(str::to_owned).to_vec()
}

fn spool(sandbox: &Sandbox) -> Vec<String> {
    let names = fs::read_dir(sandbox.elf_dir().join("spool")).into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "bad")
        .collect()
}

fn commits(sandbox: &Sandbox) -> u32 {
    sandbox.git(["rev-list", "--count", "refs/elf/memory"]).ok().line().parse().unwrap()
}

/// Fails unless `ids`, and nothing else, is in the list, in the ledger and in the index, once each, and all is sound.
#[track_caller]
fn assert_everywhere(sandbox: &Sandbox, ids: &[String]) {
    let expected: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(expected.len(), ids.len(), "two writers were given one id");
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let expected = sorted(ids.to_vec());
    assert_eq!(sorted(sandbox.listed()), expected, "list");
    let tree = sandbox.tree();
    let tree =
        tree.iter().filter(|path| path.contains('/')).map(|path| path.rsplit('/').next().unwrap()[..16].to_owned());
    assert_eq!(sorted(tree.collect()), expected, "ledger");
    let index =
        Connection::open_with_flags(sandbox.elf_dir().join("index.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = index.prepare("SELECT id FROM record").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<Vec<String>, _>>().unwrap();
    assert_eq!(sorted(rows), expected, "index");
    assert!(spool(sandbox).is_empty(), "{:?}", spool(sandbox));
    sandbox.git(["fsck", "--strict"]).ok();
    sandbox.elf(["check"]).ok();
}

/// A hundred agents that finish at the same moment: in plain git, nearly all of them would fail on a lock.
#[test]
fn a_hundred_simultaneous_writers_lose_nothing() {
    let sandbox = patient();
    let commands: Vec<_> = (0..100).map(|i| (sandbox.repo(), record_args(&format!("lesson {i}")))).collect();
    let ids: Vec<_> = together(&sandbox, &commands).into_iter().map(|ran| ran.ok().line().to_owned()).collect();
    assert_everywhere(&sandbox, &ids);
}

/// The whole spool becomes one commit. One commit a writer would make a hundred writers wait for a hundred flushes.
#[test]
fn writers_that_waited_together_share_a_commit() {
    let sandbox = patient();
    fs::create_dir_all(sandbox.elf_dir()).unwrap();
    let mut file = LockFile::open(&sandbox.elf_dir()).unwrap();
    let lock = file.try_lock("test").unwrap().unwrap();
    let children: Vec<_> = (0..100)
        .map(|i| {
            let mut command = sandbox.elf_command(record_args(&format!("lesson {i}")));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    while spool(&sandbox).len() < 100 {
        std::thread::yield_now();
    }
    drop(lock);
    let ids: Vec<_> =
        children.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap()).ok().line().to_owned()).collect();
    assert!(commits(&sandbox) <= 2, "{} commits", commits(&sandbox));
    assert_everywhere(&sandbox, &ids);
}

/// Agents work in worktrees of their own; the memory is one.
#[test]
fn thirty_worktrees_share_one_memory() {
    let sandbox = patient();
    let mut commands = Vec::new();
    for i in 0..30 {
        let dir = sandbox.root().join(format!("tree{i}"));
        sandbox.git(["worktree", "add", "-q", "--detach", dir.to_str().unwrap()]).ok();
        commands.extend((0..3).map(|j| (dir.clone(), record_args(&format!("lesson {i}.{j}")))));
    }
    let ids: Vec<_> = together(&sandbox, &commands).into_iter().map(|ran| ran.ok().line().to_owned()).collect();
    assert_everywhere(&sandbox, &ids);
    for (dir, _) in commands.iter().step_by(3) {
        assert!(!dir.join("elf").exists());
        assert_eq!(fs::read_dir(sandbox.repo().join(".git/worktrees")).unwrap().count(), 30);
    }
    let mut list = sandbox.elf_command(["list", "--json"]);
    list.current_dir(&commands[0].0);
    assert_eq!(sandbox.run(list).ok().json().len(), 90, "another worktree sees all of it");
}

/// A script that reads while others write must never meet an error, half a line, or talk among the data.
#[test]
fn readers_among_writers_get_json_and_nothing_else() {
    let sandbox = patient();
    for i in 0..5 {
        sandbox.record(&format!("lesson before {i}"));
    }
    let read: Vec<String> = ["search", "--json", "--limit", "100", "lesson"].map(str::to_owned).to_vec();
    let commands: Vec<_> = (0..30)
        .flat_map(|i| [(sandbox.repo(), record_args(&format!("lesson {i}"))), (sandbox.repo(), read.clone())])
        .collect();
    let mut ids = sandbox.listed();
    for (ran, (_, args)) in together(&sandbox, &commands).into_iter().zip(&commands) {
        let ran = ran.ok();
        if args[0] == "search" {
            let rows = ran.json();
            assert!(rows.len() >= 5, "a reader missed records that were there before it began: {rows:?}");
            assert!(rows.iter().all(|row| row["id"].is_string() && row["score"].is_number()), "{rows:?}");
        } else {
            ids.push(ran.line().to_owned());
        }
    }
    assert_everywhere(&sandbox, &ids);
}

/// Silence while waiting looks like a hang; the message says whom to look at.
#[test]
fn a_writer_that_waits_says_for_whom_and_then_commits() {
    let sandbox = patient();
    sandbox.record("first");
    let mut file = LockFile::open(&sandbox.elf_dir()).unwrap();
    let lock = file.try_lock("rebuild").unwrap().unwrap();
    let mut command = sandbox.elf_command(["record", "failure", "second", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    let holder = format!("pid {} (git elf rebuild", std::process::id());
    assert!(said.contains(&holder), "{said:?} does not name {holder:?}");
    drop(lock);
    let ran = Ran::of(child.wait_with_output().unwrap()).ok();
    assert_eq!(ran.json()[0]["state"], "committed");
    assert_eq!(sandbox.listed().len(), 2);
}

fn queued(ran: Ran) -> String {
    let ran = ran.ok();
    let receipt = ran.json().remove(0);
    assert_eq!((&receipt["state"], &receipt["commit"]), (&Json::from("queued"), &Json::Null), "{receipt}");
    receipt["id"].as_str().unwrap().to_owned()
}

/// An agent must not fail because another one is slow: what it learned is durable in the spool and follows later.
#[test]
fn a_lock_that_stays_taken_queues_the_record() {
    let sandbox = Sandbox::new();
    let first = sandbox.record("first");
    let mut file = LockFile::open(&sandbox.elf_dir()).unwrap();
    let lock = file.try_lock("test").unwrap().unwrap();
    let second = queued(sandbox.git(["-c", "elf.lockTimeout=1", "elf", "record", "failure", "second", "--json"]));
    sandbox.git(["config", "elf.lockTimeout", "1"]).ok();
    let third = queued(sandbox.elf(["record", "failure", "third", "--json"]));
    let reader = sandbox.elf(["list", "--json"]).ok();
    assert_eq!(reader.json().len(), 1, "a reader answers from what is there");
    assert!(reader.err.contains("2 records are not visible yet"), "{}", reader.err);
    drop(lock);
    sandbox.git(["config", "elf.lockTimeout", "300"]).ok();
    assert_everywhere(&sandbox, &[first, second, third]);
}

/// The next writer commits what the one before had to queue.
#[test]
fn the_next_writer_commits_what_was_queued() {
    let sandbox = patient();
    let first = queued(sandbox.elf(["record", "failure", "first", "--json", "--no-wait"]));
    assert_eq!(spool(&sandbox).len(), 1);
    let second = sandbox.record("second");
    assert_eq!(commits(&sandbox), 1);
    assert_everywhere(&sandbox, &[first, second]);
}

/// Starts a foreign process that holds the lock until it is killed.
fn foreign_holder(sandbox: &Sandbox) -> Child {
    let mut command = sandbox.command("sh");
    command.args(["-c", "exec 9>>.git/elf/lock; flock 9; echo held; exec sleep 600"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"held\n");
    child
}

/// A lock that outlives its holder would block a repository until somebody deletes a file.
#[test]
fn a_killed_holder_leaves_no_lock_behind() {
    let sandbox = patient();
    let first = sandbox.record("first");
    let mut holder = foreign_holder(&sandbox);
    let second = queued(sandbox.git(["-c", "elf.lockTimeout=0", "elf", "record", "failure", "second", "--json"]));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let ran = sandbox.elf(["record", "failure", "third"]).ok();
    assert!(!ran.err.contains("waiting for the lock"), "{}", ran.err);
    assert_everywhere(&sandbox, &[first, second, ran.line().to_owned()]);
}

fn stopped_at(sandbox: &Sandbox, point: &str) -> (Child, Pid) {
    let mut command = sandbox.elf_command(["record", "failure", "stopped"]);
    let child = command.env("ELF_FAULT", format!("{point}:stop")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let child = child.unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{point}: {status:?}");
    (child, pid)
}

/// A laptop that sleeps, a debugger, Ctrl-Z: the others queue, and the holder finishes its work when it goes on.
#[test]
fn a_stopped_holder_delays_nobody_for_long_and_loses_nothing() {
    for point in ["spool-listed", "objects-written", "object-renamed", "ref-renamed", "ref-synced", "index-written"] {
        let sandbox = patient();
        let first = sandbox.record("first");
        let (child, pid) = stopped_at(&sandbox, point);
        let second = queued(sandbox.git(["-c", "elf.lockTimeout=0.1", "elf", "record", "failure", "second", "--json"]));
        assert!(sandbox.listed().contains(&first), "{point}: readers go on");
        kill_process(pid, Signal::CONT).unwrap();
        let stopped = Ran::of(child.wait_with_output().unwrap()).ok().line().to_owned();
        assert_everywhere(&sandbox, &[first, second, stopped]);
    }
}

/// Killed while it is stopped: the same as any other death, and the stopped one's own record is in the spool.
#[test]
fn a_holder_that_is_killed_while_stopped_blocks_nobody() {
    let sandbox = patient();
    let first = sandbox.record("first");
    let (mut child, _) = stopped_at(&sandbox, "ref-locked");
    child.kill().unwrap();
    child.wait().unwrap();
    let second = sandbox.record("second");
    let ids = sandbox.listed();
    assert_eq!(ids.len(), 3);
    assert!(ids.contains(&first) && ids.contains(&second));
    assert_everywhere(&sandbox, &ids);
}

fn index_files(sandbox: &Sandbox) -> [PathBuf; 3] {
    ["index.db", "index.db-wal", "index.db-shm"].map(|name| sandbox.elf_dir().join(name))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
}

/// Whoever tidies up files that look like a cache loses nothing and needs no flag.
#[test]
fn any_file_of_the_index_may_be_deleted_between_commands() {
    let sandbox = patient();
    let mut ids = vec![sandbox.record("lesson 0"), sandbox.record("lesson 1")];
    for subset in 1..8_u32 {
        let delete = || {
            for (bit, path) in index_files(&sandbox).iter().enumerate() {
                if subset & (1 << bit) != 0 {
                    remove(path);
                }
            }
        };
        delete();
        let ran = sandbox.elf(["search", "--json", "--limit", "100", "lesson"]).ok();
        assert_eq!((ran.json().len(), ran.err.as_str()), (ids.len(), ""), "{subset:03b}: search");
        delete();
        let ran = sandbox.elf(["list", "--json"]).ok();
        assert_eq!((ran.json().len(), ran.err.as_str()), (ids.len(), ""), "{subset:03b}: list");
        delete();
        ids.push(sandbox.record(&format!("lesson {subset}")));
        delete();
        ids.push(sandbox.record(&format!("lesson {subset} again")));
        assert_everywhere(&sandbox, &ids);
    }
}

/// Deletes or damages the index, and expects the same answers as before without a word on stderr.
fn damaged(sandbox: &Sandbox, case: &str, keep_log: bool, damage: impl Fn(&Path)) {
    let [database, log, shared] = index_files(sandbox);
    for ask in [vec!["list", "--json"], vec!["search", "--json", "--limit", "100", "lesson"], vec!["record"]] {
        // A checkpoint, so that the damage is to the content and not to an empty file.
        if let Ok(conn) = Connection::open(&database) {
            let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        let before = sandbox.listed();
        if !keep_log {
            remove(&log);
            remove(&shared);
        }
        damage(&database);
        if ask == ["record"] {
            let new = sandbox.record("lesson of the damaged");
            let mut now = sandbox.listed();
            assert!(now.contains(&new), "{case}");
            now.retain(|id| *id != new);
            assert_eq!(now, before, "{case}: after record");
        } else {
            let ran = sandbox.elf(&ask).ok();
            assert_eq!(ran.json().len(), before.len(), "{case}: {ask:?}");
            assert_eq!(ran.err, "", "{case}: {ask:?}");
        }
        assert_eq!(sandbox.elf(["list"]).ok().err, "", "{case}: afterwards");
    }
}

/// A disk that loses bytes, a tool that overwrites files: the index is a cache, so no damage to it is the user's business.
#[test]
fn a_damaged_index_is_mended_in_silence() {
    let sandbox = patient();
    for i in 0..12 {
        sandbox.record(&format!("lesson {i}"));
    }
    for keep_log in [false, true] {
        for length in [0_usize, 1, 15, 16, 99, 100, 512, 4096, 5000, 20_000] {
            damaged(&sandbox, &format!("cut to {length}, log kept: {keep_log}"), keep_log, |path| {
                let bytes = fs::read(path).unwrap();
                overwrite(path, &bytes[..length.min(bytes.len() - 1)]);
            });
        }
        damaged(&sandbox, &format!("zeros, log kept: {keep_log}"), keep_log, |path| {
            overwrite(path, &vec![0; fs::read(path).unwrap().len()]);
        });
        damaged(&sandbox, &format!("text, log kept: {keep_log}"), keep_log, |path| overwrite(path, &[b'x'; 10_000]));
    }
    for byte in [0, 5, 16, 18, 19, 20, 21, 24, 28, 32, 40, 44, 47, 56, 60, 63, 68, 71, 92, 96, 100, 101, 105] {
        damaged(&sandbox, &format!("bit flipped in byte {byte}"), false, |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[byte] ^= 1;
            overwrite(path, &bytes);
        });
    }
}

/// An index of a later version, of another program, or no file at all.
#[test]
fn a_foreign_index_is_replaced_in_silence() {
    let sandbox = patient();
    for i in 0..3 {
        sandbox.record(&format!("lesson {i}"));
    }
    let sql = |text: &'static str| {
        // A command that did not need what was broken left it so; then there is nothing to break.
        move |path: &Path| drop(Connection::open(path).unwrap().execute_batch(text))
    };
    damaged(&sandbox, "later version", true, sql("PRAGMA user_version = 99"));
    damaged(&sandbox, "other application", true, sql("PRAGMA application_id = 77"));
    damaged(&sandbox, "table gone", true, sql("DROP TABLE IF EXISTS event"));
    damaged(&sandbox, "column gone", true, sql("ALTER TABLE record RENAME COLUMN title TO headline"));
    damaged(&sandbox, "stranger's database", false, |path| {
        remove(path);
        let stranger = Connection::open(path).unwrap();
        stranger
            .execute_batch(
                "PRAGMA application_id = 77; CREATE TABLE record (id, mine); INSERT INTO record VALUES (1, 2)",
            )
            .unwrap();
    });
    damaged(&sandbox, "directory", false, |path| {
        remove(path);
        fs::create_dir_all(path.join("full")).unwrap();
    });
    damaged(&sandbox, "dangling link", false, |path| {
        remove(path);
        std::os::unix::fs::symlink("nowhere", path).unwrap();
    });
}

fn dump(sandbox: &Sandbox) -> String {
    let mut bytes = Vec::new();
    Index::read(&sandbox.elf_dir()).unwrap().unwrap().dump(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// If the index knew anything that the ledger does not, deleting it would lose that.
#[test]
fn a_rebuilt_index_says_what_the_grown_one_said() {
    let sandbox = patient();
    let rule = sandbox.elf(["record", "heuristic", "Measure first", "--confidence", "high"]).ok().line().to_owned();
    let old = sandbox.record("Old lesson");
    let new = sandbox.elf(["record", "decision", "New", "--set", "context=x", "--tags", "a,b", "--path", "src/*"]).ok();
    let new = new.line().to_owned();
    sandbox.elf(["validate", &rule, "--note", "held"]).ok();
    let violated = sandbox.elf(["violate", &rule, "--no-wait"]).ok().line().to_owned();
    sandbox.elf(["breach", &rule]).ok();
    sandbox.elf(["promote", &rule]).ok();
    sandbox.elf(["retract", &old, "--by", &new]).ok();
    sandbox.elf(["retract", &violated]).ok();
    let _ = sandbox.elf(["edit", &new, "--title", "Newer"]);
    sandbox.elf(["promote", "--undo", &rule]).ok();
    for i in 0..20 {
        sandbox.elf(["record", "success", "--no-wait", &format!("batch {i}")]).ok();
    }
    sandbox.elf(["list"]).ok();
    let grown = dump(&sandbox);
    assert!(grown.lines().count() > 28, "{grown}");
    for path in index_files(&sandbox) {
        remove(&path);
    }
    sandbox.elf(["list"]).ok();
    assert_eq!(dump(&sandbox), grown);
}

/// Everything of the user's own that a command could disturb.
fn state(sandbox: &Sandbox) -> Vec<(&'static str, Vec<u8>)> {
    let git = sandbox.repo().join(".git");
    let ask = |args: &[&str]| {
        let mut all = vec!["--no-optional-locks"];
        all.extend(args);
        sandbox.git(all).ok().out.into_bytes()
    };
    vec![
        ("HEAD", fs::read(git.join("HEAD")).unwrap()),
        ("index", fs::read(git.join("index")).unwrap()),
        ("status", ask(&["status", "--porcelain=v2", "--branch", "--untracked-files=all"])),
        ("staged", ask(&["diff", "--cached"])),
        ("unstaged", ask(&["diff"])),
        ("stash", ask(&["stash", "list"])),
        ("branches", ask(&["for-each-ref", "refs/heads", "refs/tags", "refs/stash"])),
        ("reflog", ask(&["reflog"])),
        ("config", fs::read(git.join("config")).unwrap()),
    ]
}

/// Half-done work of the user's is sacred: no command of ours stages, unstages or commits any of it.
#[test]
fn no_command_touches_the_users_work() {
    let sandbox = Sandbox::new();
    let id = sandbox.elf(["record", "heuristic", "Measure first"]).ok().line().to_owned();
    let other = sandbox.record("other");
    sandbox.write("stashed", "s\n");
    sandbox.git(["add", "stashed"]).ok();
    sandbox.git(["stash", "-q"]).ok();
    for name in ["gone", "changed"] {
        sandbox.write(name, "text\n");
    }
    sandbox.git(["add", "."]).ok();
    sandbox.git(["commit", "-q", "-m", "more"]).ok();
    sandbox.git(["rm", "-q", "--cached", "gone"]).ok();
    sandbox.write("staged", "a\n");
    sandbox.git(["add", "staged"]).ok();
    sandbox.write("staged", "b\n");
    sandbox.write("changed", "changed\n");
    sandbox.write("intended", "i\n");
    sandbox.git(["add", "-N", "intended"]).ok();
    sandbox.write("untracked", "u\n");
    let before = state(&sandbox);
    let table = [
        vec!["record", "failure", "it broke"],
        vec!["record", "failure", "it broke again", "--no-wait"],
        vec!["list"],
        vec!["search", "broke"],
        vec!["show", &id],
        vec!["show", &id, "--history"],
        vec!["validate", &id],
        vec!["violate", &id],
        vec!["breach", &id],
        vec!["promote", &id],
        vec!["promote", &id, "--undo"],
        vec!["edit", &id, "--title", "Measure twice"],
        vec!["retract", &other],
        vec!["check"],
        vec!["stats"],
        vec!["log"],
        vec!["export"],
        vec!["hook", "post-commit"],
        vec!["help"],
        vec!["no such verb"],
    ];
    for args in table {
        sandbox.elf(&args);
        for ((what, now), (_, was)) in state(&sandbox).into_iter().zip(&before) {
            assert_eq!(
                String::from_utf8_lossy(&now),
                String::from_utf8_lossy(was),
                "git elf {args:?} changed the user's {what}"
            );
        }
    }
}

/// git never removes a lock file that it does not own, and neither do we: the record waits in the spool instead.
#[test]
fn a_foreign_lock_on_the_ref_queues_the_record_and_stays() {
    let sandbox = patient();
    let first = sandbox.record("first");
    let lock = sandbox.repo().join(".git/refs/elf/memory.lock");
    overwrite(&lock, b"");
    let ran = sandbox.elf(["record", "failure", "second", "--json"]);
    assert!(ran.err.contains("refs/elf/memory.lock"), "the message names the file: {}", ran.err);
    let second = queued(ran);
    let reader = sandbox.elf(["list", "--json"]).ok();
    assert_eq!(reader.json().len(), 1);
    assert!(reader.err.contains("memory.lock"), "{}", reader.err);
    assert!(lock.exists(), "a lock of somebody else was removed");
    remove(&lock);
    let third = sandbox.record("third");
    assert_everywhere(&sandbox, &[first, second, third]);
}

/// git packs refs and prunes objects whenever it likes.
#[test]
fn packing_refs_and_collecting_garbage_between_records_change_nothing() {
    let sandbox = patient();
    let mut ids = Vec::new();
    for i in 0..4 {
        ids.push(sandbox.record(&format!("one {i}")));
        sandbox.git(["pack-refs", "--all"]).ok();
        ids.push(sandbox.elf(["record", "failure", "--no-wait", &format!("two {i}")]).ok().line().to_owned());
        sandbox.git(["gc", "-q", "--prune=now"]).ok();
        ids.push(sandbox.record(&format!("three {i}")));
        sandbox.git(["reflog", "expire", "--expire=now", "--all"]).ok();
        sandbox.git(["repack", "-q", "-a", "-d"]).ok();
    }
    assert_everywhere(&sandbox, &ids);
    assert_eq!(commits(&sandbox), 8, "a queued record is committed with the next one");
}

/// Several git processes that pack refs and collect garbage while writers run.
#[test]
fn maintenance_among_writers_loses_nothing() {
    let sandbox = patient();
    let mut ids = vec![sandbox.record("first")];
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Either may fail on a lock that a writer holds; that is git's business.
                sandbox.git(["pack-refs", "--all"]);
                sandbox.git(["gc", "-q"]);
            }
        });
        for round in 0..4 {
            let commands: Vec<_> =
                (0..5).map(|i| (sandbox.repo(), record_args(&format!("lesson {round}.{i}")))).collect();
            ids.extend(together(&sandbox, &commands).into_iter().map(|ran| ran.ok().line().to_owned()));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    sandbox.elf(["list"]).ok();
    assert_everywhere(&sandbox, &ids);
}

/// `git gc --prune=now` gives no grace to objects that no ref names yet; it works, and takes none of ours.
#[test]
fn a_gc_without_grace_among_writers_removes_nothing_of_theirs() {
    let sandbox = patient();
    let mut ids = vec![sandbox.record("first")];
    std::thread::scope(|scope| {
        let record = |writer: u32| {
            (0..10)
                .map(|i| {
                    sandbox.elf(["record", "failure", &format!("writer {writer}, record {i}")]).ok().line().to_owned()
                })
                .collect::<Vec<_>>()
        };
        let writers: Vec<_> = (0..4).map(|writer| scope.spawn(move || record(writer))).collect();
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            sandbox.git(["gc", "-q", "--prune=now"]).ok();
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        ids.extend(writers.into_iter().flat_map(|writer| writer.join().unwrap()));
    });
    sandbox.elf(["list"]).ok();
    assert_everywhere(&sandbox, &ids);
    sandbox.git(["gc", "-q", "--prune=now"]).ok();
}

/// Somebody prunes right between the objects and the ref that names them.
#[test]
fn objects_that_are_pruned_before_the_ref_names_them_are_written_again() {
    for point in ["object-renamed", "ref-locked"] {
        let sandbox = patient();
        let first = sandbox.record("first");
        let (child, pid) = stopped_at(&sandbox, point);
        let before = sandbox.git(["count-objects"]).ok().out;
        sandbox.git(["prune", "--expire=now"]).ok();
        assert_ne!(sandbox.git(["count-objects"]).ok().out, before, "{point}: nothing was pruned");
        kill_process(pid, Signal::CONT).unwrap();
        let stopped = Ran::of(child.wait_with_output().unwrap()).ok().line().to_owned();
        assert_everywhere(&sandbox, &[first, stopped]);
    }
}

/// A long gc keeps nobody waiting, and one that spares what is new keeps nobody from committing.
#[test]
fn records_wait_in_the_spool_while_a_gc_without_grace_runs() {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (args, state) in [(&["gc", "--prune=now"][..], "queued"), (&["gc", "-q"], "committed")] {
        let sandbox = patient();
        let first = sandbox.record("first");
        let mut gc = sandbox.command("sh");
        gc.args(["-c", "read -r line"]).args(args).stdin(Stdio::piped());
        let mut gc = gc.spawn().unwrap();
        fs::write(sandbox.repo().join(".git/gc.pid"), format!("{} {}", gc.id(), host.trim())).unwrap();
        let ran = sandbox.elf(["record", "failure", "second", "--json"]).ok();
        assert_eq!(ran.json()[0]["state"], state, "{args:?}: {}", ran.err);
        assert_eq!(ran.err.contains("git gc"), state == "queued", "{}", ran.err);
        gc.kill().unwrap();
        gc.wait().unwrap();
        let second = ran.json()[0]["id"].as_str().unwrap().to_owned();
        sandbox.elf(["list"]).ok();
        assert_everywhere(&sandbox, &[first, second]);
    }
}

/// An import-sized hold of the lock by the library does not outlive it.
#[test]
fn the_lock_is_free_again_when_its_holder_returns() {
    let sandbox = patient();
    sandbox.record("first");
    let mut file = LockFile::open(&sandbox.elf_dir()).unwrap();
    for _ in 0..2 {
        let held = file.hold("test", std::time::Duration::ZERO, &mut Silent, |_| {
            Ok(queued(sandbox.git(["-c", "elf.lockTimeout=0", "elf", "record", "failure", "x", "--json"])))
        });
        assert!(matches!(held, Ok(Outcome::Done(_))));
    }
    assert_eq!(sandbox.listed().len(), 3);
}
