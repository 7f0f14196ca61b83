//! Beside other hook managers, the real ones: both theirs and ours run, whoever came first; what they do to ours is said on one
//! line; and taking ours out leaves theirs to the byte.
//!
//! husky and lefthook come from npm and pre-commit from PyPI, once for a build directory; git-lfs is Debian's. Without them, or
//! without a network, their cases are skipped and stderr says so, unless `ELF_TEST_REQUIRE_MANAGERS` is set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::hooks::script;
use crate::support::{Ran, Sandbox};

/// What npm installs.
const NPM: [&str; 2] = ["husky@9.1.7", "lefthook@2.2.2"];
/// What pip installs.
const PIP: &str = "pre-commit==4.7.0";

/// Directories that managers write hooks to, relative to the working tree.
const HOOK_DIRS: [&str; 5] = [".git/hooks", ".husky", ".husky/_", ".githooks", "../shared-hooks"];

type Step = &'static [&'static str];

/// Another program that makes hooks.
struct Manager {
    name: &'static str,
    /// A command that only works where the manager is.
    needs: Step,
    /// Tracked files that tell it to note each commit and push in `theirs`.
    files: &'static [(&'static str, &'static str)],
    /// Commands that install it beside whatever is there.
    install: &'static [Step],
    /// Commands that install it again, by force.
    again: &'static [Step],
    /// What is said after `install` when our hooks were there, and after `again`; nothing when they still run.
    said: [&'static str; 2],
    /// How many additions init prints when theirs are there.
    edits: usize,
}

const SH: &str = "#!/bin/sh\n";
const LEFTHOOK: &str = "post-commit:\n  jobs:\n    - run: echo post-commit >>theirs\npre-push:\n  jobs:\n    - run: (echo pre-push; cat) >>theirs\n      use_stdin: true\n";
const PRE_COMMIT: &str = "repos:\n- repo: local\n  hooks:\n  - {id: a, name: a, entry: sh -c 'echo post-commit >>theirs', language: system, stages: [post-commit], always_run: true, pass_filenames: false}\n  - {id: b, name: b, entry: sh -c 'echo pre-push $PRE_COMMIT_LOCAL_BRANCH >>theirs', language: system, stages: [pre-push], always_run: true, pass_filenames: false}\n";
const PYTHON: &str = "#!/usr/bin/env python3\nimport os, subprocess, sys\nname = os.path.basename(sys.argv[0])\nopen('theirs', 'a').write(name + '\\n')\nif name == 'pre-push':\n    subprocess.call('cat >>theirs', shell=True)\n";

/// A husky hook, a hook in a tracked directory, and so on: the same two lines of sh.
const POST_COMMIT: &str = "echo post-commit >>theirs\n";
const PRE_PUSH: &str = "echo pre-push >>theirs\ncat >>theirs\n";

const BYPASSED: &str = "bypasses the hooks post-commit and pre-push of git-elf; next: git elf init";

/// Every manager; the cases, each with an order, are at the end of this file.
const MANAGERS: [Manager; 11] = [
    Manager {
        name: "husky",
        needs: &["husky"],
        files: &[(".husky/post-commit", POST_COMMIT), (".husky/pre-push", PRE_PUSH)],
        install: &[&["husky"]],
        again: &[&["husky"]],
        said: ["core.hooksPath=.husky/_ (husky) bypasses", ""],
        edits: 2,
    },
    Manager {
        name: "lefthook",
        needs: &["lefthook", "version"],
        files: &[("lefthook.yml", LEFTHOOK)],
        install: &[&["lefthook", "install"]],
        again: &[&["lefthook", "install", "-f"]],
        said: ["lefthook renamed the hooks post-commit and pre-push of git-elf to .old and does not run them", ""],
        edits: 2,
    },
    Manager {
        name: "lefthook in core.hooksPath",
        needs: &["lefthook", "version"],
        files: &[("lefthook.yml", LEFTHOOK)],
        install: &[&["git", "config", "core.hooksPath", ".githooks"], &["lefthook", "install", "-f"]],
        again: &[&["lefthook", "install", "-f"]],
        said: ["core.hooksPath=.githooks bypasses", ""],
        edits: 2,
    },
    Manager {
        name: "pre-commit",
        needs: &["pre-commit", "--version"],
        files: &[(".pre-commit-config.yaml", PRE_COMMIT)],
        install: &[&["pre-commit", "install", "-t", "post-commit", "-t", "pre-push"]],
        again: &[&["pre-commit", "install", "-f", "-t", "post-commit", "-t", "pre-push"]],
        said: [
            "pre-commit renamed the hooks post-commit and pre-push of git-elf to .legacy and runs them there",
            "pre-commit replaced the hooks",
        ],
        edits: 0,
    },
    Manager {
        name: "git-lfs",
        needs: &["git", "lfs", "version"],
        files: &[(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text lockable\n")],
        install: &[&["git", "lfs", "install", "--force"]],
        again: &[&["git", "lfs", "update", "--force"]],
        said: [
            "git-lfs replaced the hooks post-commit and pre-push of git-elf; next: git elf init",
            "git-lfs replaced the hooks",
        ],
        edits: 0,
    },
    Manager {
        name: "Python",
        needs: &["python3", "--version"],
        files: &[],
        install: &[&["hand", ".git/hooks", PYTHON]],
        again: &[&["hand", ".git/hooks", PYTHON]],
        said: [
            "another program replaced the hooks",
            "the hooks post-commit and pre-push no longer call git-elf; next: git elf init",
        ],
        edits: 2,
    },
    Manager {
        name: "sh that ends in exec",
        needs: &["true"],
        files: &[],
        install: &[&[
            "hand",
            ".git/hooks",
            "#!/bin/sh\nset -eu\necho $(basename \"$0\") >>theirs\nexec sh -c 'cat >>theirs'",
        ]],
        again: &[&["hand", ".git/hooks", "#!/bin/sh\nexec true\n"]],
        said: ["another program replaced the hooks", "another program replaced the hooks"],
        edits: 0,
    },
    Manager {
        name: "sh that exits early",
        needs: &["true"],
        files: &[],
        install: &[&[
            "hand",
            ".git/hooks",
            "#!/bin/bash -e\necho $(basename \"$0\") >>theirs\n# an old editor\r\ncat >>theirs; exit 0\nexit 1",
        ]],
        again: &[&["hand", ".git/hooks", "#!/bin/sh"]],
        said: ["another program replaced the hooks", "another program replaced the hooks"],
        edits: 0,
    },
    Manager {
        name: "core.hooksPath inside, relative",
        needs: &["true"],
        files: &[],
        install: &[&["git", "config", "core.hooksPath", ".githooks"], &["hand", ".githooks", ""]],
        again: &[&["git", "config", "core.hooksPath", ".other"]],
        said: ["core.hooksPath=.githooks bypasses", "core.hooksPath=.other bypasses"],
        edits: 0,
    },
    Manager {
        name: "core.hooksPath inside, absolute",
        needs: &["true"],
        files: &[],
        install: &[&["sh", "-c", "git config core.hooksPath \"$PWD/.githooks\""], &["hand", ".githooks", ""]],
        again: &[&["hand", ".githooks", ""]],
        said: [BYPASSED, "another program replaced the hooks"],
        edits: 0,
    },
    Manager {
        name: "core.hooksPath outside",
        needs: &["true"],
        files: &[],
        install: &[&["git", "config", "core.hooksPath", "../shared-hooks"], &["hand", "../shared-hooks", ""]],
        again: &[&["hand", "../shared-hooks", ""]],
        said: ["core.hooksPath=../shared-hooks bypasses", "no longer call git-elf"],
        edits: 2,
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    TheirsFirst,
    OursFirst,
}

/// Returns the PATH with the managers on it; `Err` says why there are none.
fn path() -> &'static Result<String, String> {
    static PATH: OnceLock<Result<String, String>> = OnceLock::new();
    PATH.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("managers-{}-{}", NPM.join("-"), PIP));
        let bins = [cache.join("node_modules/.bin"), cache.join("venv/bin")];
        let npm = |dir: &Path| {
            let mut npm = Command::new("npm");
            npm.args(["install", "--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
                .arg(dir)
                .args(NPM);
            ran(npm)
        };
        let venv = |dir: &Path| {
            let mut python = Command::new("python3");
            python.args(["-m", "venv"]).arg(dir.join("venv"));
            ran(python)?;
            let mut pip = Command::new(dir.join("venv/bin/pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check", PIP]);
            ran(pip)
        };
        let mut complaints = Vec::new();
        for (bin, make) in [(&bins[0], &npm as &dyn Fn(&Path) -> Result<(), String>), (&bins[1], &venv)] {
            let done = bin.join(".complete");
            if done.exists() {
                continue;
            }
            fs::create_dir_all(&cache).unwrap();
            match make(&cache) {
                Ok(()) => fs::write(done, "").unwrap(),
                Err(complaint) => complaints.push(complaint),
            }
        }
        if complaints.is_empty() || std::env::var_os("ELF_TEST_REQUIRE_MANAGERS").is_none() {
            for complaint in &complaints {
                eprintln!("not installed: {complaint}");
            }
            let dirs = bins.iter().map(|bin| bin.display().to_string());
            return Ok(dirs.collect::<Vec<_>>().join(":"));
        }
        Err(complaints.join("\n"))
    })
}

fn ran(mut command: Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{name}: {}", Ran::of(output).err.trim())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// A repository with a remote and a manager in it.
struct Site {
    sandbox: Sandbox,
    manager: &'static Manager,
    /// Files that were added to by hand, as init said.
    edited: Vec<PathBuf>,
}

impl Site {
    fn new(manager: &'static Manager) -> Self {
        let site = Self { sandbox: Sandbox::new(), manager, edited: Vec::new() };
        site.sandbox.remote();
        for (name, text) in manager.files {
            site.sandbox.write(name, text);
        }
        site.sandbox.git(["add", "."]).ok();
        site.sandbox.git(["commit", "-q", "--allow-empty", "-m", "set up"]).ok();
        site
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &format!("{}:", crate::support::elf_program().parent().unwrap().display()))
    }

    fn run_with(&self, args: &[&str], ours: &str) -> Ran {
        let mut command = self.sandbox.command(args[0]);
        let theirs = path().as_ref().unwrap();
        command.env("PATH", format!("{ours}{theirs}:{}", std::env::var("PATH").unwrap()));
        // pre-commit's own cache, and no colours.
        command.env("PRE_COMMIT_HOME", self.sandbox.root().join("pre-commit")).env("NO_COLOR", "1");
        command.args(&args[1..]);
        self.sandbox.run(command)
    }

    fn elf(&self, args: &[&str]) -> Ran {
        self.run(&[&["git-elf"], args].concat())
    }

    fn carry_out(&self, steps: &[Step]) {
        for step in steps {
            match step {
                ["hand", dir, text] => {
                    for (name, plain) in [("post-commit", POST_COMMIT), ("pre-push", PRE_PUSH)] {
                        let plain = format!("{SH}{plain}");
                        let text = if text.is_empty() { plain.as_str() } else { text };
                        script(&self.sandbox.repo().join(dir).join(name), text);
                    }
                }
                step => drop(self.run(step).ok()),
            }
        }
    }

    /// Runs init and adds exactly what it says; returns how many additions there were.
    fn init(&mut self) -> usize {
        let said = self.elf(&["init"]).ok().err;
        let mut lines = said.lines().peekable();
        let mut count = 0;
        while let Some(line) = lines.next() {
            let Some(rest) = line.trim_start().strip_prefix("to have it, add this to ") else { continue };
            let (file, how) = rest.strip_suffix(':').unwrap().split_once(", ").unwrap();
            let mut added = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("elf: ")) {
                added.push_str(line);
                added.push('\n');
            }
            self.add(&self.sandbox.repo().join(file), how, &added);
            count += 1;
        }
        count
    }

    fn add(&mut self, file: &Path, how: &str, added: &str) {
        let text = fs::read_to_string(file).unwrap_or_default();
        let first = text.split_inclusive('\n').next().filter(|line| line.starts_with("#!")).map_or(0, str::len);
        let new = match how {
            "a new executable file" => return script(file, added),
            "beside what lefthook has already" => text + added,
            "below its first line" | "near its top" | "at its top" => {
                format!("{}{added}{}", &text[..first], &text[first..])
            }
            other => panic!("nobody told the test what this means: {other}"),
        };
        fs::write(file, new).unwrap();
        if !self.edited.contains(&file.to_owned()) {
            self.edited.push(file.to_owned());
        }
    }

    /// Makes a commit with a lesson and a file, pushes it, and fails unless each hook of both sides ran once.
    #[track_caller]
    fn both_run(&self, lesson: &str) {
        let name = format!("{} {lesson}", self.manager.name);
        let _ = fs::remove_file(self.sandbox.repo().join("theirs"));
        let file = format!("{lesson}.bin");
        self.sandbox.write(&file, lesson);
        self.run(&["git", "add", &file]).ok();
        self.run(&["git", "commit", "-q", "-m", &format!("x\n\nElf-Failure: {lesson}")]).ok();
        let found = self.elf(&["list", "--json"]).ok().json();
        assert_eq!(
            found.iter().filter(|row| row["title"] == lesson).count(),
            1,
            "{name}: our post-commit ran: {found:?}"
        );
        let pushed = self.run(&["git", "push", "-q", "origin", "main"]).ok();
        let lacks = pushed.err.matches("origin lacks").count() + pushed.out.matches("origin lacks").count();
        assert_eq!(lacks, 1, "{name}: our pre-push ran once: {pushed:?}");
        if self.manager.name == "git-lfs" {
            let mode = fs::metadata(self.sandbox.repo().join(&file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o222, 0, "{name}: their post-commit made the lockable file read-only");
            let objects = self.run(&["find", "../remote.git/lfs/objects", "-type", "f"]).ok().out;
            let oid = self.run(&["git", "lfs", "ls-files", "--long", "--include", &file]).ok().out;
            assert!(objects.contains(&oid[..64]), "{name}: their pre-push sent the file: {objects}");
        } else {
            let theirs = fs::read_to_string(self.sandbox.repo().join("theirs")).unwrap_or_default();
            let count = |word: &str| theirs.lines().filter(|line| line.starts_with(word)).count();
            assert_eq!((count("post-commit"), count("pre-push")), (1, 1), "{name}: theirs ran: {theirs}");
            assert!(theirs.contains("refs/heads/main"), "{name}: their pre-push was told what is pushed: {theirs}");
        }
        // A memory that is not sound is stopped, whatever else is in the way.
        let sound = self.run(&["git", "rev-parse", "refs/elf/memory"]).ok();
        self.sandbox.edit_memory(&[("failures/0/0/nonsense.md", "nonsense")]);
        let pushed = self.run(&["git", "push", "-q", "origin", "refs/elf/memory"]);
        assert_ne!(pushed.status, 0, "{name}: {pushed:?}");
        assert!(format!("{pushed:?}").contains("nonsense.md"), "{name}: {pushed:?}");
        self.run(&["git", "update-ref", "refs/elf/memory", sound.line()]).ok();
    }

    /// Makes a commit and pushes it where git-elf is not installed, and fails unless theirs run as if nobody had added anything.
    #[track_caller]
    fn theirs_run_alone(&self) {
        let name = self.manager.name;
        let _ = fs::remove_file(self.sandbox.repo().join("theirs"));
        self.sandbox.write("alone.bin", "alone");
        self.run_with(&["git", "add", "alone.bin"], "").ok();
        self.run_with(&["git", "commit", "-q", "-m", "x\n\nElf-Failure: nobody"], "").ok();
        self.run_with(&["git", "push", "-q", "origin", "main"], "").ok();
        let theirs = fs::read_to_string(self.sandbox.repo().join("theirs")).unwrap_or_default();
        assert!(theirs.contains("post-commit") && theirs.contains("refs/heads/main"), "{name}: {theirs}");
    }

    /// Fails unless the next command says this on one short line of stderr; an empty text stands for nothing at all.
    #[track_caller]
    fn says(&self, words: &str, when: &str) {
        let name = format!("{} {when}", self.manager.name);
        let ran = self.elf(&["list", "--json"]).ok();
        if words.is_empty() {
            return assert_eq!(ran.err, "", "{name}");
        }
        assert_eq!(ran.err.lines().count(), 1, "{name}: {}", ran.err);
        assert!(ran.err.contains(words) && ran.err.starts_with("elf: "), "{name}: {}", ran.err);
        assert!(ran.err.contains("git elf init") && ran.err.len() < 200, "{name}: {}", ran.err);
        assert_eq!(self.elf(&["search", "nothing"]).ok().err, ran.err, "{name}: every command says it");
        for silent in [&["hook", "post-commit"][..], &["doctor"]] {
            assert_eq!(self.elf(silent).err, "", "{name}: {silent:?} does not");
        }
        if !words.contains("runs them there") {
            let found = self.elf(&["doctor"]).out;
            assert!(
                found.lines().filter(|line| line.contains("hooks:")).all(|line| !line.starts_with("ok")),
                "{name}: {found}"
            );
        }
    }

    /// Returns all hooks and what belongs to them, with their modes.
    fn hooks(&self) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        for dir in HOOK_DIRS {
            for entry in fs::read_dir(self.sandbox.repo().join(dir)).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), format!("{dir}/{}", entry.file_name().display()));
                if path.is_file() && path.extension().is_none_or(|end| end != "sample") {
                    let mode = fs::metadata(&path).unwrap().permissions().mode();
                    found.insert(name, (mode, fs::read(path).unwrap()));
                }
            }
        }
        found
    }
}

#[track_caller]
fn case(manager: &'static Manager, order: Order) {
    // Alone, for comparison.
    let alone = Site::new(manager);
    alone.carry_out(manager.install);
    let mut site = Site::new(manager);
    if order == Order::OursFirst {
        assert_eq!(site.init(), 0, "{}", manager.name);
        site.says("", "before theirs");
        if manager.name == "git-lfs" {
            let refused = site.run(&["git", "lfs", "install"]);
            assert!(refused.status != 0 && format!("{refused:?}").contains("Hook already exists"), "{refused:?}");
        }
        site.carry_out(manager.install);
        site.says(manager.said[0], "after theirs");
    } else {
        site.carry_out(manager.install);
    }
    assert_eq!(site.init(), manager.edits, "{} {order:?}", manager.name);
    site.says("", "after init");
    let found = site.elf(&["doctor"]).out;
    let is_well = |line: &&str| line.contains("hooks:") && line.starts_with("ok");
    assert_eq!(found.lines().filter(is_well).count(), 2, "{}: {found}", manager.name);
    site.both_run("first");
    if manager.edits > 0 {
        site.theirs_run_alone();
    }
    assert_eq!(site.init(), 0, "{}: twice is once", manager.name);
    site.both_run("second");
    for site in [&site, &alone] {
        site.carry_out(manager.again);
    }
    site.says(manager.said[1], "after theirs again");
    if manager.said[1].is_empty() {
        site.both_run("third");
    }
    let edited: BTreeMap<_, _> = site.edited.iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    let said = site.elf(&["uninstall"]).ok();
    site.says("", "after uninstall");
    for (file, text) in &edited {
        assert_eq!(&fs::read(file).unwrap(), text, "{}: what the user added is the user's", manager.name);
        let calls = String::from_utf8_lossy(text).contains("git-elf hook");
        let name = file.file_name().unwrap().display().to_string();
        assert_eq!(said.out.contains(&format!("{name} still calls git-elf")), calls, "{}: {said:?}", manager.name);
    }
    let mut expected = alone.hooks();
    for (name, file) in site.hooks() {
        let path = site.sandbox.repo().join(&name);
        let is_edited = edited.keys().any(|file| file.canonicalize().unwrap() == path.canonicalize().unwrap());
        let theirs = expected.remove(&name);
        assert!(is_edited || theirs.as_ref() == Some(&file), "{} {order:?}: {name} differs", manager.name);
    }
    assert!(expected.is_empty(), "{} {order:?}: missing {:?}", manager.name, expected.keys());
}

/// Runs a case, or says why not.
#[track_caller]
fn beside(name: &str, order: Order) {
    let manager = MANAGERS.iter().find(|manager| manager.name == name).unwrap();
    path().as_ref().unwrap_or_else(|complaint| panic!("{complaint}"));
    let probe = Site::new(manager);
    let mut needs = probe.sandbox.command("sh");
    needs.env("PATH", format!("{}:{}", path().as_ref().unwrap(), std::env::var("PATH").unwrap()));
    needs.args([
        "-c",
        &format!(
            "command -v {} && {}",
            manager.needs[0],
            if manager.needs.len() > 1 { manager.needs.join(" ") } else { ":".into() }
        ),
    ]);
    let found = probe.sandbox.run(needs);
    if found.status != 0 {
        assert!(std::env::var_os("ELF_TEST_REQUIRE_MANAGERS").is_none(), "{name} is not here: {}", found.err);
        return eprintln!("skipped: {name} is not here: {}", found.err.trim());
    }
    case(manager, order);
}

/// What uninstall has to find, and what it has to leave.
#[test]
fn a_hook_with_our_block_comes_back_to_the_byte_wherever_it_was_moved() {
    let originals = [
        "#!/bin/sh\nexit 0",
        "#!/bin/sh\n# from another system\r\nexit 0\r\n",
        "#!/bin/bash -e\n\n\ntrue\n\n",
        "#!/bin/sh",
    ];
    for original in originals {
        for (suffix, directory) in
            [(".old", ".git/hooks"), (".legacy", ".git/hooks"), (".bak", ".githooks"), ("", "hooks.d")]
        {
            let sandbox = Sandbox::new();
            if directory != ".git/hooks" {
                sandbox.git(["config", "core.hooksPath", directory]).ok();
            }
            let hook = sandbox.repo().join(directory).join("pre-push");
            script(&hook, original);
            sandbox.elf(["init"]).ok();
            assert_ne!(fs::read(&hook).unwrap(), original.as_bytes());
            let moved = hook.with_file_name(format!("pre-push{suffix}"));
            fs::rename(&hook, &moved).unwrap();
            // Whatever core.hooksPath says by then.
            sandbox.git(["config", "core.hooksPath", "elsewhere"]).ok();
            sandbox.elf(["uninstall"]).ok();
            assert_eq!(fs::read(&moved).unwrap(), original.as_bytes(), "{directory} {suffix} {original:?}");
            let left: Vec<_> =
                fs::read_dir(hook.parent().unwrap()).unwrap().flatten().map(|entry| entry.file_name()).collect();
            assert!(!left.iter().any(|name| name == "post-commit"), "ours alone is gone: {left:?}");
            assert!(!sandbox.elf_dir().join("init").exists());
        }
    }
}

#[test]
fn a_repository_without_init_or_with_hooks_in_place_is_told_nothing() {
    let sandbox = Sandbox::new();
    sandbox.git(["config", "core.hooksPath", "elsewhere"]).ok();
    assert_eq!(sandbox.elf(["list"]).ok().err, "", "nobody asked for hooks");
    sandbox.elf(["init"]).ok();
    assert_eq!(sandbox.elf(["list"]).ok().err, "");
    sandbox.git(["config", "--unset", "core.hooksPath"]).ok();
    let ran = sandbox.elf(["list"]).ok();
    let said = "elf: core.hooksPath is not set any more, so git does not run the hooks post-commit and pre-push of git-elf; next: git elf init\n";
    assert_eq!(ran.err, said);
    sandbox.elf(["init"]).ok();
    let hook = sandbox.repo().join(".git/hooks/post-commit");
    let text = fs::read_to_string(&hook).unwrap();
    for (change, said) in [
        (&(|| fs::remove_file(&hook).unwrap()) as &dyn Fn(), "the hook post-commit of git-elf is gone from"),
        (&|| fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).unwrap(), "is not executable"),
        (&|| script(&hook, &format!("{text}echo mine\n")), ""),
        (&|| script(&hook, "#!/bin/sh\n"), "another program replaced the hook post-commit of git-elf; next"),
    ] {
        change();
        let ran = sandbox.elf(["record", "failure", "x", "--json"]).ok();
        assert!(ran.err.contains(said) && ran.err.len() < 200, "{}", ran.err);
        assert_eq!(ran.err.lines().count(), usize::from(!said.is_empty()), "{}", ran.err);
        assert_eq!(ran.json().len(), 1, "stdout stays data");
        script(&hook, &text);
        assert_eq!(sandbox.elf(["list"]).ok().err, "");
    }
    sandbox.git(["config", "core.hooksPath", "/dev/null"]).ok();
    let said =
        "elf: core.hooksPath=/dev/null bypasses the hooks post-commit and pre-push of git-elf; next: git elf init\n";
    assert_eq!(sandbox.elf(["list"]).ok().err, said);
    let ran = sandbox.elf(["init"]).ok();
    assert!(ran.err.contains("git runs no hooks") && !ran.err.contains("add this"), "{}", ran.err);
    assert_eq!(sandbox.elf(["list"]).ok().err, "", "whoever switched hooks off is told once");
    sandbox.git(["config", "--unset", "core.hooksPath"]).ok();
    assert_eq!(sandbox.elf(["list"]).ok().err, "", "and they are still there");
    sandbox.elf(["init"]).ok();
    fs::remove_file(&hook).unwrap();
    sandbox.git(["config", "core.hooksPath", &"日本/".repeat(40)]).ok();
    let ran = sandbox.elf(["list"]).ok();
    assert!(ran.err.contains("core.hooksPath=…") && ran.err.len() < 200, "a long path is cut: {}", ran.err);
}

#[test]
fn the_comparison_costs_a_few_calls_and_no_process() {
    if Command::new("strace").arg("-V").output().is_err() {
        return eprintln!("skipped: strace is not installed");
    }
    let sandbox = Sandbox::new();
    sandbox.record("one");
    let calls = || {
        let log = sandbox.root().join("strace.log");
        let mut strace = sandbox.command("strace");
        strace.args(["-f", "-qq", "-e", "signal=none", "-e", "trace=%file,%desc,%process", "-o"]).arg(&log);
        strace.arg(crate::support::elf_program()).args(["list", "-n", "1"]);
        sandbox.run(strace).ok();
        let text = fs::read_to_string(log).unwrap();
        let processes = text.lines().filter(|line| line.contains("execve(") || line.contains("fork(")).count();
        assert_eq!(processes, 1, "only git-elf itself: {text}");
        text.lines().count()
    };
    sandbox.elf(["list"]).ok();
    let before = calls();
    sandbox.elf(["init"]).ok();
    let after = calls();
    assert!(after <= before + 20, "{before} calls without hooks, {after} with");
}

#[test]
fn what_init_printed_is_the_users_to_add_and_to_remove() {
    let sandbox = Sandbox::new();
    let hook = sandbox.repo().join(".git/hooks/post-commit");
    let python = "#!/usr/bin/env python3\n";
    script(&hook, python);
    sandbox.elf(["init"]).ok();
    assert_eq!(sandbox.elf(["list"]).ok().err, "", "whoever does not add the line is not told again and again");
    script(&hook, &format!("{python}# git-elf hook post-commit\n"));
    sandbox.elf(["list"]).ok();
    script(&hook, python);
    assert_eq!(sandbox.elf(["list"]).ok().err, "", "a comment calls nothing");
    script(&hook, &format!("{python}import os; os.system('git-elf hook post-commit')\n"));
    assert_eq!(sandbox.elf(["list"]).ok().err, "");
    script(&hook, python);
    let ran = sandbox.elf(["list"]).ok();
    assert_eq!(ran.err, "elf: the hook post-commit no longer calls git-elf; next: git elf init\n");
    sandbox.elf(["init"]).ok();
    assert_eq!(sandbox.elf(["list"]).ok().err, "");
}

#[test]
fn a_worktree_in_which_husky_was_not_run_is_told_to_run_it() {
    let sandbox = Sandbox::new();
    sandbox.git(["config", "core.hooksPath", ".husky/_"]).ok();
    for name in ["post-commit", "pre-push"] {
        script(&sandbox.repo().join(".husky/_").join(name), "#!/usr/bin/env sh\n. \"${0%/*}/h\"\n");
        sandbox.write(&format!(".husky/{name}"), &format!("git-elf hook {name}\n"));
    }
    sandbox.write(".husky/_/.gitignore", "*");
    sandbox.git(["add", "."]).ok();
    sandbox.git(["commit", "-q", "--no-verify", "-m", "husky"]).ok();
    let ran = sandbox.elf(["init"]).ok();
    assert!(ran.out.contains("post-commit is called from a line of yours in .husky/post-commit"), "{}", ran.out);
    let linked = sandbox.root().join("linked");
    sandbox.git(["worktree", "add", "-q", linked.to_str().unwrap()]).ok();
    let list = |dir: &Path| {
        let mut list = sandbox.elf_command(["list"]);
        list.current_dir(dir);
        sandbox.run(list).ok().err
    };
    assert_eq!(list(&sandbox.repo()), "");
    assert!(list(&linked).contains("husky has not been run in this working tree"), "{}", list(&linked));
    assert!(list(&linked).ends_with("next: npx husky\n"));
}

macro_rules! beside {
    ($($test:ident: $name:literal, $order:ident;)*) => {
        $(#[test] fn $test() { beside($name, Order::$order); })*
        #[test]
        fn no_manager_is_forgotten() {
            let cases = [$(($name, Order::$order)),*];
            for manager in &MANAGERS {
                for order in [Order::TheirsFirst, Order::OursFirst] {
                    assert!(cases.contains(&(manager.name, order)), "{} {order:?} is not tested", manager.name);
                }
            }
            assert_eq!(cases.len(), 2 * MANAGERS.len());
        }
    };
}

beside! {
    after_husky: "husky", TheirsFirst;
    before_husky: "husky", OursFirst;
    after_lefthook: "lefthook", TheirsFirst;
    before_lefthook: "lefthook", OursFirst;
    after_lefthook_in_a_directory_of_its_own: "lefthook in core.hooksPath", TheirsFirst;
    before_lefthook_in_a_directory_of_its_own: "lefthook in core.hooksPath", OursFirst;
    after_pre_commit: "pre-commit", TheirsFirst;
    before_pre_commit: "pre-commit", OursFirst;
    after_git_lfs: "git-lfs", TheirsFirst;
    before_git_lfs: "git-lfs", OursFirst;
    after_a_python_hook: "Python", TheirsFirst;
    before_a_python_hook: "Python", OursFirst;
    after_a_hook_that_ends_in_exec: "sh that ends in exec", TheirsFirst;
    before_a_hook_that_ends_in_exec: "sh that ends in exec", OursFirst;
    after_a_hook_that_exits_early: "sh that exits early", TheirsFirst;
    before_a_hook_that_exits_early: "sh that exits early", OursFirst;
    after_hooks_in_the_working_tree: "core.hooksPath inside, relative", TheirsFirst;
    before_hooks_in_the_working_tree: "core.hooksPath inside, relative", OursFirst;
    after_hooks_at_an_absolute_path: "core.hooksPath inside, absolute", TheirsFirst;
    before_hooks_at_an_absolute_path: "core.hooksPath inside, absolute", OursFirst;
    after_hooks_that_other_repositories_share: "core.hooksPath outside", TheirsFirst;
    before_hooks_that_other_repositories_share: "core.hooksPath outside", OursFirst;
}
