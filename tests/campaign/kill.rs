//! A kill at any system call: out-of-memory killers, impatient users and supervisors send SIGKILL whenever they like.

use super::{Memory, TELLING, no_strace, spread, with_input};

/// How many positions of a name are killed.
#[derive(Clone, Copy)]
struct Depth {
    /// Of a system call that changes something.
    telling: usize,
    /// Of any other.
    other: usize,
}

const SHORT: Depth = Depth { telling: 6, other: 1 };
const LONG: Depth = Depth { telling: usize::MAX, other: usize::MAX };

impl Memory {
    /// Lists (name, position) for every kill of a command.
    fn plan(&self, args: &[&str], input: &str, depth: Depth) -> Vec<(String, usize)> {
        let plan = self.calls(args, input).into_iter().flat_map(|(name, count)| {
            let most = if TELLING.contains(&name.as_str()) { depth.telling } else { depth.other };
            let positions = if most == 1 { vec![count] } else { spread(count, most) };
            positions.into_iter().map(move |at| (name.clone(), at))
        });
        plan.collect()
    }

    /// Runs a command and kills it as it enters the `at`-th call of `name`. Returns what it printed.
    fn killed(&mut self, name: &str, at: usize, args: &[&str], input: &str) -> crate::support::Ran {
        let inject = format!("inject={name}:signal=SIGKILL:when={at}");
        let mut command = self.traced(&["-o", "/dev/null", "-e", &inject], args);
        with_input(&mut command, input);
        self.figures.faults += 1;
        let ran = self.sandbox.run(command);
        self.figures.survived += usize::from(ran.status == 0);
        ran
    }
}

fn record(depth: Depth) {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    let options = ["-m", "Said before the kill.", "--json"];
    let plan = memory.plan(&[&["record", "observation", "counted"], &options[..]].concat(), "", depth);
    for (nth, (name, at)) in plan.into_iter().enumerate() {
        if nth % 3 == 0 {
            memory.record(&["--no-wait"]);
        }
        let title = memory.title();
        let ran = memory.killed(&name, at, &[&["record", "observation", &title], &options[..]].concat(), "");
        memory.take(&title, &ran);
        let doing = format!("a kill of record at {name} {at}");
        memory.settle(&doing);
        if nth % 25 == 24 {
            memory.plain_git(&doing);
        }
    }
    memory.plain_git("all kills of record");
    memory.figures.print("kill record", memory.acknowledged.len());
}

/// The first record of a repository makes ledger, spool and index.
fn first_record(depth: Depth) {
    if no_strace() {
        return;
    }
    let args = ["record", "observation", "the first", "--json"];
    let plan = Memory::new().plan(&args, "", depth);
    let (mut faults, mut acknowledged) = (0, 0);
    for (name, at) in plan {
        let mut memory = Memory::new();
        let ran = memory.killed(&name, at, &args, "");
        memory.take("the first", &ran);
        memory.settle(&format!("a kill of the first record at {name} {at}"));
        memory.sandbox.git(["commit", "-q", "--allow-empty", "-m", "x"]).ok();
        faults += 1;
        acknowledged += memory.acknowledged.len();
    }
    eprintln!("CAMPAIGN kill first record: {faults} faults, {acknowledged} acknowledged, 0 lost");
}

fn import(depth: Depth) {
    if no_strace() {
        return;
    }
    let line = |i: usize| format!("{{\"kind\":\"failure\",\"title\":\"imported {i:03}\",\"summary\":\"Body {i}\"}}\n");
    let input: String = (0..300).map(line).collect();
    let args = ["import", "--from", "jsonl", "-"];
    let mut first = Memory::new();
    first.record(&[]);
    let plan = first.plan(&args, &input, depth);
    let (mut faults, mut acknowledged) = (0, 0);
    for (nth, (name, at)) in plan.into_iter().enumerate() {
        let mut memory = Memory::new();
        memory.record(&[]);
        memory.record(&["--no-wait"]);
        memory.killed(&name, at, &args, &input);
        let doing = format!("a kill of import at {name} {at}");
        memory.settle(&doing);
        let again = memory.sandbox.elf_with_input(args, &input);
        assert_eq!(again.status, 0, "the same import again after {doing}: {again:?}");
        let imported = memory.sandbox.listed().len() - memory.acknowledged.len();
        assert_eq!(imported, 300, "records of an import that was repeated after {doing}");
        if nth % 10 == 9 {
            memory.plain_git(&doing);
        }
        memory.verify(&doing);
        faults += 1;
        acknowledged += memory.acknowledged.len();
    }
    eprintln!("CAMPAIGN kill import: {faults} faults, {acknowledged} acknowledged, 0 lost");
}

fn check_fix(depth: Depth) {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    // A row that the ledger does not have, so that there is something to fix.
    let spoil = |memory: &Memory| {
        let path = memory.sandbox.elf_dir().join("index.db");
        let index = rusqlite::Connection::open(path).unwrap();
        index.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        index.execute("UPDATE record SET title = 'spoilt'", []).unwrap();
    };
    spoil(&memory);
    let args = ["check", "--fix"];
    let plan = memory.plan(&args, "", depth);
    for (nth, (name, at)) in plan.into_iter().enumerate() {
        memory.record(&["--no-wait"]);
        spoil(&memory);
        memory.killed(&name, at, &args, "");
        let doing = format!("a kill of check --fix at {name} {at}");
        let again = memory.sandbox.elf(args);
        assert_eq!(again.status, 0, "check --fix again after {doing}: {again:?}");
        memory.settle(&doing);
        if nth % 25 == 24 {
            memory.plain_git(&doing);
        }
    }
    memory.figures.print("kill check --fix", memory.acknowledged.len());
}

fn hooks(depth: Depth) {
    if no_strace() {
        return;
    }
    let mut memory = Memory::new();
    memory.record(&[]);
    let commit = |memory: &mut Memory| {
        let title = memory.title();
        let message = format!("work\n\nElf-Failure: {title}\nElf-Domain: db\n");
        memory.sandbox.git(["commit", "-q", "--allow-empty", "-m", &message]).ok();
        title
    };
    let count = |memory: &Memory, title: &str| {
        memory.sandbox.elf(["list", "--json"]).ok().json().iter().filter(|row| row["title"] == title).count()
    };
    commit(&mut memory);
    let args = ["hook", "post-commit"];
    for (name, at) in memory.plan(&args, "", depth) {
        let title = commit(&mut memory);
        memory.killed(&name, at, &args, "");
        let doing = format!("a kill of post-commit at {name} {at}");
        memory.settle(&doing);
        memory.sandbox.elf(args).ok();
        assert_eq!(count(&memory, &title), 1, "{title}, harvested again after {doing}");
    }
    let args = ["hook", "pre-push", "origin", "/nowhere"];
    memory.record(&["--no-wait"]);
    let input = pushed_line(&memory);
    for (name, at) in memory.plan(&args, &input, depth) {
        memory.record(&["--no-wait"]);
        let input = pushed_line(&memory);
        memory.killed(&name, at, &args, &input);
        memory.settle(&format!("a kill of pre-push at {name} {at}"));
    }
    memory.plain_git("all kills of the hooks");
    memory.figures.print("kill hooks", memory.acknowledged.len());
}

/// The line that git gives to pre-push for the ledger.
fn pushed_line(memory: &Memory) -> String {
    let tip = memory.sandbox.git(["rev-parse", "refs/elf/memory"]).ok();
    format!("refs/elf/memory {} refs/elf/memory {}\n", tip.line(), "0".repeat(40))
}

#[test]
fn a_killed_record_loses_nothing_that_was_acknowledged() {
    record(SHORT);
}

#[test]
fn a_killed_first_record_leaves_a_repository_that_can_be_recorded_in() {
    first_record(Depth { telling: 3, other: 1 });
}

#[test]
fn a_killed_import_can_be_repeated_and_doubles_nothing() {
    import(Depth { telling: 2, other: 1 });
}

#[test]
fn a_killed_check_loses_nothing_and_the_next_one_mends_the_index() {
    check_fix(Depth { telling: 3, other: 1 });
}

#[test]
fn a_killed_hook_leaves_git_usable_and_its_lessons_arrive_once() {
    hooks(Depth { telling: 3, other: 1 });
}

#[test]
#[ignore = "an hour: every system call of every command"]
fn long_kill_everywhere() {
    record(LONG);
    first_record(LONG);
    check_fix(LONG);
    hooks(LONG);
    import(Depth { telling: 40, other: 3 });
}
