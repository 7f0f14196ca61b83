//! What it costs to say how far records reach, and to warn of what is staged: `cargo bench --bench reach [-- WHAT RECORDS
//! COMMITS]`. WHAT is `labels` or `staged`, both by default.
//!
//! `labels`: 10,000 records on 50,000 commits, with merges, and 50 unmerged branches that a fifth of the records is on. What is added
//! is measured against the same question where there is no main line and HEAD is unborn, so that no graph is looked at.
//! `staged`: 100,000 records, each about a file of 2,000 or a pattern that covers some, and 10 staged files of 2,000, one of them renamed.
//! Whole processes are timed in turn with `examples/hello.rs`, and medians are printed.

#![allow(clippy::disallowed_methods, reason = "files of a bench need not be atomic")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 21;
const BRANCHES: usize = 50;
const BRANCH_COMMITS: usize = 20;

struct Bench {
    dir: tempfile::TempDir,
    elf: PathBuf,
}

impl Bench {
    fn new() -> Self {
        // `cargo bench` builds the program with the tests' crash points; what users run has none.
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--bin", "git-elf", "--example", "hello"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.expect("cargo runs").success(), "the programs do not build");
        let elf = PathBuf::from(env!("CARGO_BIN_EXE_git-elf"));
        let target = elf.parent().expect("a program is in a directory").to_owned();
        Self { dir: tempfile::Builder::new().prefix("elf-reach-").tempdir_in(target).expect("a directory"), elf }
    }

    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn git(&self, args: &[&str]) {
        assert!(self.command(Path::new("git"), args).status().expect("git runs").success(), "git {args:?}");
    }

    fn elf(&self, args: &[&str]) {
        assert!(self.command(&self.elf, args).status().expect("it runs").success(), "git elf {args:?}");
    }

    /// Runs a command in turn with hello and returns the medians of both.
    fn median(&self, args: &[&str]) -> (Duration, Duration) {
        let hello = self.elf.parent().expect("a directory").join("examples/hello");
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(time(&mut || self.elf(args)));
            floor.push(time(&mut || drop(self.command(&hello, &[]).status())));
        }
        let middle = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        (middle(ours), middle(floor))
    }

    fn init(&self) {
        self.git(&["init", "-q", "-b", "main", "."]);
        self.git(&["config", "user.name", "A U Thor"]);
        self.git(&["config", "user.email", "author@example.org"]);
    }

    fn fill(&self, records: usize, commits: usize) {
        self.init();
        let marks = self.dir.path().join("marks");
        let stream = self.dir.path().join("stream");
        let branches = history(commits);
        fs::write(&stream, branches.stream).expect("disk space");
        let export = format!("--export-marks={}", marks.display());
        let mut import = self.command(Path::new("git"), &["fast-import", "--quiet", &export]);
        import.stdin(fs::File::open(&stream).expect("just written"));
        assert!(import.status().expect("git runs").success());
        let text = fs::read_to_string(&marks).expect("git wrote it");
        let mut names = vec![String::new(); commits + BRANCHES * BRANCH_COMMITS + 1];
        for (mark, name) in text.lines().filter_map(|line| line.strip_prefix(':')?.split_once(' ')) {
            name.clone_into(&mut names[mark.parse::<usize>().expect("a number")]);
        }
        self.git(&["read-tree", "HEAD"]);
        let lines = self.dir.path().join("records.jsonl");
        let mut out = std::io::BufWriter::new(fs::File::create(&lines).expect("disk space"));
        let mut random = fastrand::Rng::with_seed(7);
        for i in 0..records {
            let (mark, branch) = if i % 5 == 0 {
                let at = random.usize(0..BRANCHES * BRANCH_COMMITS);
                (commits + 1 + at, format!("agent-{}", at / BRANCH_COMMITS))
            } else {
                (random.usize(1..=commits), "main".to_owned())
            };
            let commit = &names[mark];
            writeln!(out, "{{\"kind\":\"failure\",\"title\":\"lesson {i} about needle{i}\",\"created\":\"2026-01-01T00:00:00Z\",\"body\":\"about the cause\",\"commit\":\"{commit}\",\"branch\":\"{branch}\"}}").expect("disk space");
        }
        drop(out);
        self.elf(&["import", "--from", "jsonl", lines.to_str().expect("UTF-8")]);
    }
}

struct History {
    stream: Vec<u8>,
}

/// A main line with a merge every ten commits, and branches off its newest ones.
fn history(commits: usize) -> History {
    let mut out = String::new();
    let mut commit = |branch: &str, mark: usize, parents: &[usize]| {
        let time = 1_600_000_000 + mark * 60;
        let _ = write!(
            out,
            "commit refs/heads/{branch}\nmark :{mark}\ncommitter A <a@example.org> {time} +0000\ndata 1\nx\n"
        );
        for (i, parent) in parents.iter().enumerate() {
            let _ = writeln!(out, "{} :{parent}", if i == 0 { "from" } else { "merge" });
        }
        let _ = write!(out, "M 100644 inline f{}\ndata <<E\n{mark}\nE\n\n", mark % 50);
    };
    commit("main", 1, &[]);
    let (mut mark, mut tip) = (1, 1);
    while mark < commits {
        if mark.is_multiple_of(10) && mark + 3 <= commits {
            commit("side", mark + 1, &[tip]);
            commit("main", mark + 2, &[tip]);
            commit("main", mark + 3, &[mark + 2, mark + 1]);
            mark += 3;
        } else {
            mark += 1;
            commit("main", mark, &[tip]);
        }
        tip = mark;
    }
    for branch in 0..BRANCHES {
        let mut parent = commits - (branch * 10).min(commits - 1);
        for _ in 0..BRANCH_COMMITS {
            mark += 1;
            commit(&format!("agent-{branch}"), mark, &[parent]);
            parent = mark;
        }
    }
    History { stream: out.into_bytes() }
}

fn time(run: &mut dyn FnMut()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let numbers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let wants = |what: &str| args.iter().all(|arg| arg.parse::<usize>().is_ok()) || args.iter().any(|arg| arg == what);
    if wants("labels") {
        labels(numbers.first().copied().unwrap_or(10_000), numbers.get(1).copied().unwrap_or(50_000));
    }
    if wants("staged") {
        staged(numbers.first().copied().unwrap_or(100_000));
    }
}

/// Files of the repository in which something is staged.
const FILES: usize = 2_000;

fn staged(records: usize) {
    let bench = Bench::new();
    bench.init();
    let root = bench.dir.path();
    let file = |i: usize| format!("src/m{}/f{i}.rs", i % 40);
    for i in 0..FILES {
        let path = root.join(file(i));
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("disk space");
        fs::write(path, format!("{i}\n").repeat(50)).expect("disk space");
    }
    bench.git(&["add", "src"]);
    bench.git(&["commit", "-q", "-m", "x"]);
    let lines = root.join("records.jsonl");
    let mut out = std::io::BufWriter::new(fs::File::create(&lines).expect("disk space"));
    let mut random = fastrand::Rng::with_seed(7);
    let kinds = ["failure", "heuristic", "success", "invariant", "decision"];
    for i in 0..records {
        let (kind, at) = (kinds[i % kinds.len()], random.usize(0..FILES));
        let glob = match i % 10 {
            0 => format!("src/m{}/*", at % 40),
            1 => format!("src/m{}/f{}*.rs", at % 40, at / 10),
            _ => file(at),
        };
        writeln!(out, "{{\"kind\":\"{kind}\",\"title\":\"lesson {i}\",\"created\":\"2026-01-01T00:00:00Z\",\"body\":\"about the cause\",\"paths\":[\"{glob}\"]}}").expect("disk space");
    }
    drop(out);
    bench.elf(&["import", "--from", "jsonl", lines.to_str().expect("UTF-8")]);
    bench.git(&["mv", &file(0), "src/moved.rs"]);
    for i in 1..10 {
        fs::write(root.join(file(i * 7)), "changed\n").expect("disk space");
    }
    bench.git(&["add", "src"]);
    println!("{records} records about {FILES} files, 10 of them staged");
    println!("{:<48} {:>10} {:>10}   target", "what", "whole", "hello");
    for args in
        [&["why", "--staged"][..], &["hook", "pre-commit"], &["why", "src/m7/f7.rs"], &["why", "src/m5/f5.rs:20"]]
    {
        let (ours, hello) = bench.median(args);
        println!("{:<48} {:>7.2} ms {:>7.2} ms   <= 100 ms", args.join(" "), ms(ours), ms(hello));
    }
}

fn labels(records: usize, commits: usize) {
    let bench = Bench::new();
    bench.fill(records, commits);
    println!("{records} records, {commits} commits");
    println!("{:<48} {:>10} {:>10} {:>10}", "what", "whole", "hello", "added");
    let questions: [(&str, &[&str]); 4] = [
        ("list -n 20", &["list", "-n", "20"]),
        ("list, all of them", &["list"]),
        ("search, one hit", &["search", "needle77"]),
        ("search, every record a hit", &["search", "lesson"]),
    ];
    bench.git(&["symbolic-ref", "HEAD", "refs/heads/unborn"]);
    bench.git(&["config", "elf.mainBranch", "none"]);
    let without: Vec<_> = questions.iter().map(|(_, args)| bench.median(args).0).collect();
    bench.git(&["config", "--unset", "elf.mainBranch"]);
    bench.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    println!(
        "{:<48} {:>7.1} ms",
        "the first question, which walks the main line",
        ms(time(&mut || bench.elf(&["list", "--reach", "mine", "-n", "20"])))
    );
    for head in ["main", "agent-0", "agent-49"] {
        bench.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{head}")]);
        for ((name, args), without) in questions.iter().zip(&without) {
            for scope in ["all", "mine", "merged"] {
                let (ours, hello) = bench.median(&[args, &["--reach", scope][..]].concat());
                let what = format!("{name}, --reach {scope}, on {head}");
                println!("{what:<48} {:>7.2} ms {:>7.2} ms {:>+7.2} ms", ms(ours), ms(hello), ms(ours) - ms(*without));
            }
        }
    }
}
