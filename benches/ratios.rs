//! Whole-process times as ratios against a baseline in the same run: `cargo bench --bench ratios [-- NAME…]`.
//!
//! The baseline is `examples/hello.rs`, built with the same flags, unless a row says otherwise. Each pair is run in turn
//! (A B A B …), so a machine whose speed drifts slows both; medians are reported. Absolute times do not transfer to another
//! machine; ratios mostly do. The corpus of real lessons is used where it is there.

#![allow(clippy::disallowed_methods, reason = "files of a bench need not be atomic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "made-up words and printed figures"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 31;

fn elf() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_git-elf"))
}

struct Bench {
    dir: tempfile::TempDir,
    hello: PathBuf,
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
        let hello = elf().parent().expect("a program is in a directory").join("examples/hello");
        Self {
            dir: tempfile::Builder::new().prefix("elf-bench-").tempdir_in(target_dir()).expect("a directory"),
            hello,
        }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, repo: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(repo)
            .env("HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn repo(&self, name: &str) -> PathBuf {
        let repo = self.dir.path().join(name);
        fs::create_dir(&repo).expect("a new name");
        self.git(&repo, &["init", "-q", "-b", "main", "."]);
        self.git(&repo, &["config", "user.name", "A U Thor"]);
        self.git(&repo, &["config", "user.email", "author@example.org"]);
        self.git(&repo, &["commit", "-q", "--allow-empty", "-m", "first"]);
        repo
    }

    fn git(&self, repo: &Path, args: &[&str]) {
        assert!(self.command("git", repo).args(args).status().expect("git runs").success(), "git {args:?}");
    }

    fn elf(&self, repo: &Path, args: &[&str]) {
        assert!(self.command(elf(), repo).args(args).status().expect("it runs").success(), "git elf {args:?}");
    }

    /// A repository whose ledger has this many made-up records.
    fn filled(&self, records: usize) -> PathBuf {
        let repo = self.repo(&format!("filled-{records}"));
        let file = self.dir.path().join("records.jsonl");
        let mut out = std::io::BufWriter::new(fs::File::create(&file).expect("a new file"));
        let mut random = fastrand::Rng::with_seed(7);
        for i in 0..records {
            let mut body = String::new();
            for _ in 0..40 {
                let _ = write!(body, "w{} ", (random.f64() * random.f64() * 20_000.0) as u32);
            }
            writeln!(out, "{{\"kind\":\"failure\",\"title\":\"lesson {i} about needle{i}\",\"created\":\"2026-01-01T00:00:00Z\",\"body\":\"{body}\"}}")
                .expect("disk space");
        }
        drop(out);
        self.elf(&repo, &["import", "--from", "jsonl", file.to_str().expect("UTF-8")]);
        self.git(&repo, &["repack", "-adq"]);
        repo
    }
}

fn target_dir() -> PathBuf {
    elf().parent().expect("a program is in a directory").to_owned()
}

fn time(run: &mut dyn FnMut()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Runs two things in turn and prints both medians and their ratio.
fn compare(what: &str, rounds: usize, ours: &mut dyn FnMut(), baseline: &mut dyn FnMut(), target: &str) {
    ours();
    baseline();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        a.push(time(ours));
        b.push(time(baseline));
    }
    let (a, b) = (median(a), median(b));
    println!("{what:<52} {:>9.2} ms {:>9.2} ms {:>7.2}   {target}", ms(a), ms(b), a.as_secs_f64() / b.as_secs_f64());
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let bench = Bench::new();
    println!("{:<52} {:>12} {:>12} {:>7}   target", "what", "ours", "baseline", "ratio");
    for (name, run) in
        [("record", record as fn(&Bench)), ("writers", writers), ("hook", hook), ("scale", scale), ("import", import)]
    {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run(&bench);
        }
    }
}

fn record(bench: &Bench) {
    let repo = bench.repo("record");
    let plain = bench.repo("plain");
    let mut hello = || drop(bench.command(&bench.hello, &repo).status());
    compare(
        "record / hello",
        ROUNDS,
        &mut || bench.elf(&repo, &["record", "failure", "a title", "-m", "a body"]),
        &mut hello,
        "<= 4.5",
    );
    let mut number = 0;
    compare(
        "record / git add + git commit",
        ROUNDS,
        &mut || bench.elf(&repo, &["record", "failure", "a title", "-m", "a body"]),
        &mut || {
            number += 1;
            fs::write(plain.join(format!("{number}.md")), "a body\n").expect("disk space");
            bench.git(&plain, &["add", "."]);
            bench.git(&plain, &["commit", "-q", "-m", "a title"]);
        },
        "<= 0.40",
    );
    compare(
        "record --no-wait / hello",
        ROUNDS,
        &mut || bench.elf(&repo, &["record", "failure", "t", "--no-wait"]),
        &mut hello,
        "<= 2.5",
    );
}

fn writers(bench: &Bench) {
    let repo = bench.repo("writers");
    let hundred = |program: &Path, args: &[&str]| {
        let children: Vec<_> =
            (0..100).map(|_| bench.command(program, &repo).args(args).spawn().expect("it starts")).collect();
        for mut child in children {
            assert!(child.wait().expect("it ends").success());
        }
    };
    compare(
        "100 simultaneous records / 100 hellos",
        5,
        &mut || hundred(elf(), &["record", "failure", "a title"]),
        &mut || hundred(&bench.hello, &[]),
        "",
    );
}

fn hook(bench: &Bench) {
    let repo = bench.repo("hook");
    bench.elf(&repo, &["record", "failure", "a title"]);
    let mut hello = || drop(bench.command(&bench.hello, &repo).status());
    compare(
        "hook post-commit, nothing to do / hello",
        ROUNDS,
        &mut || bench.elf(&repo, &["hook", "post-commit"]),
        &mut hello,
        "<= 3",
    );
    compare(
        "list -n 1 (is the index current?) / hello",
        ROUNDS,
        &mut || bench.elf(&repo, &["list", "-n", "1"]),
        &mut hello,
        "<= 2.5",
    );
}

fn scale(bench: &Bench) {
    for records in [1_000, 100_000] {
        let repo = bench.filled(records);
        let mut hello = || drop(bench.command(&bench.hello, &repo).status());
        let label = |what: &str| format!("{what}, {records} records / hello");
        compare(
            &label("search, one hit"),
            ROUNDS,
            &mut || bench.elf(&repo, &["search", "needle777"]),
            &mut hello,
            "<= 4",
        );
        compare(&label("list -n 1"), ROUNDS, &mut || bench.elf(&repo, &["list", "-n", "1"]), &mut hello, "<= 2.5");
        compare(
            &label("record"),
            ROUNDS,
            &mut || bench.elf(&repo, &["record", "failure", "a title"]),
            &mut hello,
            "flat",
        );
        let rebuild = time(&mut || {
            for name in ["index.db", "index.db-wal", "index.db-shm"] {
                let _ = fs::remove_file(repo.join(".git/elf").join(name));
            }
            bench.elf(&repo, &["search", "needle777"]);
        });
        println!("{:<52} {:>9.2} us a record   <= 30", label("rebuild"), rebuild.as_secs_f64() * 1e6 / records as f64);
    }
}

/// Imports the corpus, and has git itself import the same files as one commit.
fn import(bench: &Bench) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/lessons.jsonl.gz");
    let Ok(file) = fs::File::open(&corpus) else {
        println!("import: SKIPPED, {} is not there", corpus.display());
        return;
    };
    let lessons = bench.dir.path().join("lessons.jsonl");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the corpus is readable");
    fs::write(&lessons, &text).expect("disk space");
    let first = bench.repo("import-0");
    let args = ["import", "--from", "jsonl", lessons.to_str().expect("UTF-8")];
    bench.elf(&first, &args);
    let stream = bench.dir.path().join("stream");
    fs::write(&stream, fast_import_stream(&first)).expect("disk space");
    let mut number = 0;
    let mut fresh = |kind: &str| {
        number += 1;
        bench.repo(&format!("{kind}-{number}"))
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let repo = fresh("import-ours");
        ours.push(time(&mut || bench.elf(&repo, &args)));
        let repo = fresh("import-git");
        theirs.push(time(&mut || {
            let input = fs::File::open(&stream).expect("just written");
            let status = bench.command("git", &repo).args(["fast-import", "--quiet"]).stdin(input).status();
            assert!(status.expect("git runs").success());
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let what = format!("import of {} lessons / git fast-import", text.lines().count());
    println!(
        "{what:<52} {:>9.2} ms {:>9.2} ms {:>7.2}   <= 5",
        ms(ours),
        ms(theirs),
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}

/// Turns a ledger's files into a stream for `git fast-import`.
fn fast_import_stream(repo: &Path) -> Vec<u8> {
    let git = |args: &[&str]| Command::new("git").current_dir(repo).args(args).output().expect("git runs").stdout;
    let listing = git(&["ls-tree", "-r", "refs/elf/memory"]);
    let mut batch = Command::new("git")
        .current_dir(repo)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut ask = batch.stdin.take().expect("piped");
    let mut answer = BufReader::new(batch.stdout.take().expect("piped"));
    let mut out = b"commit refs/heads/x\ncommitter A <a@example.org> 1700000000 +0000\ndata 1\nx\n".to_vec();
    for line in String::from_utf8(listing).expect("our paths are ASCII").lines() {
        let (meta, path) = line.split_once('\t').expect("ls-tree prints a tab");
        let oid = meta.rsplit(' ').next().expect("ls-tree prints an object name");
        writeln!(ask, "{oid}").expect("git reads");
        let mut head = String::new();
        answer.read_line(&mut head).expect("git answers");
        let size: usize = head.trim().rsplit(' ').next().and_then(|size| size.parse().ok()).expect("a size");
        let mut data = vec![0; size + 1];
        answer.read_exact(&mut data).expect("git answers");
        write!(out, "M 100644 inline {path}\ndata {size}\n").expect("memory");
        out.extend_from_slice(&data);
    }
    drop(ask);
    batch.wait().expect("git ends");
    out
}
