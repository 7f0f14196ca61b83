//! Every shape of repository that git knows, and everything that a caller of git may set: the memory works, or says why not
//! before it writes.

mod environment;
mod in_hooks;
mod matrix;
mod readers;
mod removal;
mod sharing;
mod users;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Ran, Sandbox, elf_program};

/// Where somebody stands, and what is set there.
pub struct Place {
    pub dir: PathBuf,
    pub vars: Vec<(String, OsString)>,
}

impl Place {
    /// Reads `DIR VAR=VALUE …`; `DIR` is relative to `repo`, and `@` stands for the sandbox.
    pub fn parse(sandbox: &Sandbox, text: &str) -> Self {
        let text = text.replace('@', sandbox.root().to_str().unwrap());
        let mut words = text.split(' ');
        let dir = sandbox.repo().join(words.next().unwrap());
        let vars = words.map(|word| word.split_once('=').unwrap()).map(|(key, value)| (key.to_owned(), value.into()));
        Self { dir, vars: vars.collect() }
    }

    pub fn at(dir: PathBuf) -> Self {
        Self { dir, vars: Vec::new() }
    }

    pub fn command<S: AsRef<OsStr>>(&self, s: &Sandbox, program: impl AsRef<OsStr>, args: &[S]) -> Command {
        let mut command = s.command(program);
        command.args(args).current_dir(&self.dir).envs(self.vars.iter().map(|(key, value)| (key, value)));
        command
    }

    pub fn elf(&self, s: &Sandbox, args: &[&str]) -> Ran {
        s.run(self.command(s, elf_program(), args))
    }

    pub fn git(&self, s: &Sandbox, args: &[&str]) -> Ran {
        s.run(self.command(s, "git", args))
    }

    /// Asks git for a path, as bytes.
    fn path(&self, s: &Sandbox, args: &[&str]) -> PathBuf {
        let output = self.command(s, "git", &[&["rev-parse"], args].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout).to_owned();
        self.dir.join(OsString::from_vec(text))
    }

    pub fn common_dir(&self, s: &Sandbox) -> PathBuf {
        self.path(s, &["--git-common-dir"])
    }

    /// Everything of the user's that recording must leave alone.
    pub fn state(&self, s: &Sandbox) -> Vec<String> {
        let asked = |args: &[&str]| self.git(s, args).out;
        let index = std::fs::read(self.path(s, &["--git-path", "index"])).unwrap_or_default();
        vec![
            asked(&["--no-optional-locks", "status", "--porcelain", "-uall", "--ignored"]),
            asked(&["symbolic-ref", "-q", "HEAD"]),
            asked(&["rev-parse", "-q", "--verify", "HEAD"]),
            asked(&["for-each-ref", "--exclude=refs/elf/**"]),
            asked(&["config", "--list", "--local"]),
            format!("{index:02x?}"),
        ]
    }
}

/// Runs a script with bash in `repo`; `false` when it says that the machine cannot make this shape.
pub fn make(sandbox: &Sandbox, script: &str) -> bool {
    let mut bash = sandbox.command("bash");
    bash.args(["-euc", &script.replace('@', sandbox.root().to_str().unwrap())]);
    let ran = sandbox.run(bash);
    assert!(matches!(ran.status, 0 | 77), "{script}\n{}{}", ran.out, ran.err);
    ran.status == 0
}

/// Records from all places at once, reads everywhere, and looks whether plain git and the user see what they should.
pub fn live(sandbox: &Sandbox, places: &[Place], name: &str) {
    let s = sandbox;
    let (first, last) = (&places[0], &places[places.len() - 1]);
    let before: Vec<_> = places.iter().map(|place| place.state(s)).collect();

    let writers: Vec<_> = (0..4)
        .map(|i| {
            let title = format!("Lesson {i} about parsnips");
            let mut record = places[i % places.len()].command(s, elf_program(), &["record", "failure", &title]);
            record.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut ids: Vec<_> =
        writers.into_iter().map(|writer| Ran::of(writer.wait_with_output().unwrap()).ok().line().to_owned()).collect();
    ids.sort();

    let listed = |place: &Place| {
        let rows = place.elf(s, &["list", "--json"]).ok().json();
        let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    for place in places {
        assert_eq!(listed(place), ids, "{name}: all worktrees share one memory");
        let found = place.elf(s, &["search", "parsnips", "--json"]).ok().json();
        assert_eq!(found.len(), 4, "{name}: what was recorded is found");
        let shown = place.elf(s, &["show", &ids[0]]).ok();
        assert!(shown.out.contains("about parsnips"), "{name}: {}", shown.out);
        place.elf(s, &["check"]).ok();
        place.elf(s, &["doctor"]).ok();
    }
    last.elf(s, &["breach", &ids[1]]).ok();

    let after: Vec<_> = places.iter().map(|place| place.state(s)).collect();
    assert_eq!(after, before, "{name}: HEAD, refs, index, configuration and working tree are the user's");

    first.git(s, &["fsck", "--strict"]).ok();
    let files = first.git(s, &["ls-tree", "-r", "--full-tree", "--name-only", "refs/elf/memory"]).ok().out;
    for id in &ids {
        let bears = |file: &&str| file.rsplit('/').next().unwrap().starts_with(id.as_str());
        let file = files.lines().find(bears).unwrap_or_else(|| panic!("{name}: {files}"));
        let text = first.git(s, &["show", &format!("refs/elf/memory:{file}")]).ok().out;
        assert!(text.contains("about parsnips"), "{name}: plain git reads it: {text}");
    }
    assert_eq!(
        first.git(s, &["grep", "-c", "parsnips", "refs/elf/memory", "--", ":/"]).ok().out.lines().count(),
        4,
        "{name}"
    );
    assert_eq!(left_behind(&first.common_dir(s)), Vec::<PathBuf>::new(), "{name}: nothing is left behind");

    if first.git(s, &["config", "extensions.preciousObjects"]).status != 0 {
        first.git(s, &["gc", "-q", "--prune=now"]).ok();
    }
    let one_more = last.elf(s, &["record", "heuristic", "Peel parsnips"]).ok();
    ids.push(one_more.line().to_owned());
    ids.sort();
    assert_eq!(listed(first), ids, "{name}: a gc changes nothing");
    first.elf(s, &["check"]).ok();

    first.elf(s, &["init"]).ok();
    // Not every shape lets its user commit: a bare one, a hook that refuses, an index that is locked.
    if first.git(s, &["commit", "-q", "--allow-empty", "-m", "Look\n\nElf-Failure: Trailing parsnips\n"]).status == 0 {
        let found = last.elf(s, &["search", "trailing", "--json"]).ok().json();
        assert_eq!(found.len(), 1, "{name}: a commit brings the lessons of its trailers");
    }
    first.elf(s, &["uninstall"]).ok();
}

/// Lists locks, spool entries and temporary files.
fn left_behind(common: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    let mut dirs = vec![common.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let is_temporary = dir.ends_with("elf/tmp") || dir.ends_with("elf/spool") || dir.ends_with("elf/spool/bad");
            let is_lock = entry.file_name().as_bytes().ends_with(b".lock");
            if is_lock || (is_temporary && !kind.is_dir()) {
                left.push(path);
            } else if kind.is_dir() {
                dirs.push(path);
            }
        }
    }
    left
}
