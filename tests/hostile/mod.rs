//! A repository is untrusted input. One line a case: what somebody put there, and what `check` says of it. After each of them
//! the verbs end by themselves within bounds, and the good records beside it are found, shown and recorded as before.

mod confined;
mod content;
mod files;
mod terminal;
mod trees;

use std::process::Command;

use crate::support::{Ran, Sandbox};

/// Address space of a command, in bytes.
const MEMORY: u64 = 1 << 30;
/// Seconds after which a command counts as hanging; the machine may be busy with other tests.
const PATIENCE: u32 = 120;

pub const FILE: &str = "100644";
pub const DIR: &str = "40000";
pub const LINK: &str = "120000";
pub const GITLINK: &str = "160000";
pub const PROGRAM: &str = "100755";

/// One entry of a tree: mode, name, object.
pub type Entry = (String, Vec<u8>, String);

/// A repository with good records, into which bad things are put.
pub struct Lab {
    pub sandbox: Sandbox,
    /// The id of a good record.
    pub good: String,
}

impl Lab {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        let good = sandbox.record("A good one about checkpoints");
        Self { sandbox, good }
    }

    pub fn feed(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        use std::io::Write;
        use std::process::Stdio;
        let mut command = self.sandbox.command("git");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "git {args:?}");
        output.stdout
    }

    fn oid(&self, args: &[&str], input: &[u8]) -> String {
        String::from_utf8(self.feed(args, input)).unwrap().trim().to_owned()
    }

    pub fn blob(&self, bytes: &[u8]) -> String {
        self.oid(&["hash-object", "-w", "--stdin"], bytes)
    }

    /// Writes a tree object as it is, whatever git thinks of it.
    pub fn tree(&self, entries: &[Entry]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, oid) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend((0..oid.len()).step_by(2).map(|at| u8::from_str_radix(&oid[at..at + 2], 16).unwrap()));
        }
        self.oid(&["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &bytes)
    }

    fn entries(&self, tree: &str) -> Vec<Entry> {
        let length = tree.len() / 2;
        let mut rest = &self.feed(&["cat-file", "tree", tree], b"")[..];
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').unwrap();
            let nul = rest.iter().position(|byte| *byte == 0).unwrap();
            let oid = rest[nul + 1..=nul + length].iter().map(|byte| format!("{byte:02x}")).collect();
            entries.push((String::from_utf8(rest[..space].to_vec()).unwrap(), rest[space + 1..nul].to_vec(), oid));
            rest = &rest[nul + 1 + length..];
        }
        entries
    }

    /// Returns the tree of the memory.
    pub fn root(&self) -> String {
        self.oid(&["rev-parse", "refs/elf/memory^{tree}"], b"")
    }

    fn with(&self, tree: Option<&str>, dir: &[&str], extra: &[Entry]) -> String {
        let mut entries = tree.map(|tree| self.entries(tree)).unwrap_or_default();
        match dir {
            [] => entries.extend_from_slice(extra),
            [first, rest @ ..] => {
                let at = entries.iter().position(|(mode, name, _)| mode == DIR && name == first.as_bytes());
                let below = at.map(|at| entries.remove(at).2);
                let child = self.with(below.as_deref(), rest, extra);
                entries.push((DIR.into(), first.as_bytes().to_vec(), child));
            }
        }
        let key = |entry: &Entry| [&entry.1[..], if entry.0 == DIR { b"/" } else { b"" }].concat();
        entries.sort_by_key(key);
        self.tree(&entries)
    }

    /// Adds entries to a directory of the memory and commits that with plain git.
    pub fn plant(&self, dir: &str, extra: &[(&str, &[u8], &str)]) {
        let extra: Vec<Entry> =
            extra.iter().map(|(mode, name, oid)| ((*mode).into(), name.to_vec(), (*oid).into())).collect();
        let dir: Vec<_> = dir.split('/').filter(|part| !part.is_empty()).collect();
        let tree = self.with(Some(&self.root()), &dir, &extra);
        self.publish(&tree, b"planted");
    }

    /// Commits a tree on the memory.
    pub fn publish(&self, tree: &str, message: &[u8]) {
        let commit = self.oid(&["commit-tree", tree, "-p", "refs/elf/memory"], message);
        self.feed(&["update-ref", "refs/elf/memory", &commit], b"");
    }

    /// Puts a file where its id says, whatever it says itself.
    pub fn plant_record(&self, kind: &str, id: &str, text: &[u8]) {
        let oid = self.blob(text);
        let leaf = format!("{kind}/{}/{}/{}", &id[..1], &id[1..2], &id[2..3]);
        self.plant(&leaf, &[(FILE, format!("{id}-x.md").as_bytes(), &oid)]);
    }

    /// Runs a verb with bounded memory and time.
    pub fn elf(&self, args: &[&str]) -> Ran {
        let mut command = self.sandbox.command("timeout");
        command.args(["-k", "1", &PATIENCE.to_string(), "prlimit", &format!("--as={MEMORY}")]);
        command.arg(crate::support::elf_program()).args(args);
        let ran = self.sandbox.run(command);
        let ended = (0..=4).contains(&ran.status);
        assert!(ended, "git elf {args:?} ended with {}:\n{}\n{}", ran.status, head(&ran.out), head(&ran.err));
        assert!(!ran.err.contains("panicked"), "git elf {args:?}: {}", head(&ran.err));
        ran
    }

    /// Says what `check` finds, as text of one line each.
    pub fn findings(&self) -> String {
        let ran = self.elf(&["check", "--json"]);
        assert!(ran.status == 0 || ran.status == 3, "{}", ran.err);
        ran.json()[0].to_string() + &ran.err
    }

    /// Fails unless the good record is found and shown, and a new one is recorded and found.
    #[track_caller]
    pub fn works(&self, case: &str) {
        let has = |args: &[&str], id: &str| {
            let ran = self.elf(args);
            assert_eq!(ran.status, 0, "{case}: git elf {args:?}: {}", head(&ran.err));
            assert!(
                ran.out.contains(id),
                "{case}: git elf {args:?} lacks {id}:\n{}\n{}",
                head(&ran.out),
                head(&ran.err)
            );
        };
        has(&["list", "--json"], &self.good);
        has(&["search", "checkpoints"], &self.good);
        has(&["show", &self.good], &self.good);
        has(&["log"], &self.good);
        let export = self.elf(&["export"]);
        assert!(export.status == 0 || export.status == 3, "{case}: {}", head(&export.err));
        assert!(export.out.contains(&self.good), "{case}: export lacks the good record");
        let fresh = self.elf(&["record", "success", "A fresh one"]);
        assert_eq!(fresh.status, 0, "{case}: {}", head(&fresh.err));
        assert!(fresh.err.contains("committed"), "{case}: {}", head(&fresh.err));
        has(&["list"], fresh.line());
        has(&["validate", &self.good], "");
    }

    /// Checks one case: `check` names it, and everything else goes on.
    #[track_caller]
    pub fn case(&self, case: &str, named: &str) {
        self.works(case);
        let findings = self.findings();
        assert!(findings.contains(named), "{case}: check says nothing of {named:?}:\n{}", head(&findings));
        // The index that grew step by step is the one that is made at once: nothing but the planted thing is found.
        for kind in
            ["rows_without_a_file", "files_without_a_row", "rows_that_differ_from_their_file", "damage_of_the_index"]
        {
            assert!(findings.contains(&format!("\"{kind}\":[]")), "{case}: {}", head(&findings));
        }
    }
}

/// Runs every case of a table, and says at the end which of them failed.
#[track_caller]
pub fn each<T>(cases: impl IntoIterator<Item = (&'static str, T)>, run: impl Fn(&str, T)) {
    let run = |(case, given)| {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(case, given)));
        ran.is_err().then_some(case)
    };
    let failed: Vec<_> = cases.into_iter().filter_map(run).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn head(text: &str) -> String {
    text.chars().take(3_000).collect()
}

/// Tells whether the tools that bound a command are here, and says so when they are not.
pub fn bounded() -> bool {
    has_tool("prlimit") && has_tool("timeout")
}

pub fn has_tool(name: &str) -> bool {
    let found = Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: {name} is not here");
    }
    found
}

/// A record's file with what a case wants to say in it.
pub fn file(id: &str, kind: &str, more: &str) -> String {
    format!(
        "+++\nid = \"{id}\"\nkind = \"{kind}\"\ntitle = \"T\"\ncreated = \"2026-01-01T00:00:00Z\"\n{more}\n+++\n\nBody.\n"
    )
}
