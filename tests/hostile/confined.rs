//! What the program touches: nothing outside of the repository but what it is configured to read, and no network.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Lab, has_tool};

/// System calls that name a file or reach another machine.
const CALLS: &str = "trace=open,openat,openat2,creat,stat,lstat,newfstatat,statx,access,faccessat,faccessat2,unlink,unlinkat,\
     rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,truncate,chmod,fchmodat,chown,fchownat,\
     readlink,readlinkat,execve,execveat,connect,socket,bind,sendto";

/// Besides the repository: what a program of this system reads to start, and git to be configured.
const ALLOWED: [&str; 18] = [
    "/lib",
    "/usr",
    "/bin",
    "/nix/store",
    "/etc/ld.so",
    "/etc/gitattributes",
    "/etc/gitconfig",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/proc/self",
    "/proc/locks",
    "/proc/mounts",
    "/proc/filesystems",
    "/sys/fs",
    "/sys/devices/system/cpu",
    "/dev/null",
    "/dev/urandom",
];

#[test]
fn nothing_outside_of_the_repository_is_touched() {
    if !has_tool("strace") {
        return;
    }
    let lab = Lab::new();
    let victim = lab.sandbox.root().canonicalize().unwrap().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("keep"), "precious\n").unwrap();
    traps(&lab, &victim);
    // A program that follows a link is seen: otherwise nothing below would say anything.
    let link = lab.sandbox.elf_dir().join("healed.log");
    let (seen, strange) = traced(&lab, Path::new("cat"), &[link.to_str().unwrap()]);
    if seen == 0 {
        eprintln!("SKIPPED: strace traces nothing here");
        return;
    }
    assert!(!strange.is_empty(), "cat was not seen to follow a link");
    let verbs: [&[&str]; 12] = [
        &["record", "failure", "x", "--path", "victim", "--set", "source=/etc/shadow"],
        &["list"],
        &["search", "x"],
        &["show", "0123456789abcdef"],
        &["log"],
        &["export"],
        &["check"],
        &["check", "--fix"],
        &["validate", "0123456789abcdef"],
        &["edit", "0123456789abcdef", "--title", "y"],
        &["stats"],
        &["hook", "post-commit"],
    ];
    let program = crate::support::elf_program().canonicalize().unwrap();
    for args in verbs {
        let (seen, strange) = traced(&lab, &program, args);
        assert!(seen > 20, "strace saw only {seen} calls of {args:?}");
        assert!(strange.is_empty(), "{args:?}: {strange:#?}");
    }
    assert_eq!(fs::read_to_string(victim.join("keep")).unwrap(), "precious\n");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1, "something was made outside");
}

/// Runs a program under strace; returns how many calls were seen, and those that lead out.
fn traced(lab: &Lab, program: &Path, args: &[&str]) -> (usize, BTreeSet<String>) {
    let root = lab.sandbox.root().canonicalize().unwrap();
    let trace = root.join("trace");
    let mut command = lab.sandbox.command("strace");
    command.args(["-f", "-qq", "-y", "-s", "4096", "-e", CALLS, "-o"]).arg(&trace).arg(program).args(args);
    lab.sandbox.run(command);
    let text = fs::read_to_string(&trace).unwrap_or_default();
    let calls = text.lines().map(|line| line.split_once(' ').map_or(line, |(_, call)| call.trim_start()));
    let strange = calls.filter(|call| leads_out(call, &root, program)).map(str::to_owned).collect();
    (text.lines().count(), strange)
}

fn leads_out(call: &str, root: &Path, program: &Path) -> bool {
    let name = call.split('(').next().unwrap_or_default();
    if matches!(name, "connect" | "socket" | "bind" | "sendto") {
        return true;
    }
    let repo = root.join("repo");
    let named = call.split('"').skip(1).step_by(2).take(if name.starts_with("exec") { 1 } else { 2 });
    // What a name led to in the end, links followed: strace adds it to the descriptor that is returned.
    let result = call.rsplit_once(" = ").map_or("", |(_, result)| result);
    let resolved = result.split_once('<').and_then(|(_, path)| path.split_once('>')).map(|(path, _)| path);
    // /proc/self is a link to the process's own number.
    let resolved = resolved.filter(|_| !call.contains("\"/proc/self/"));
    let mut paths = named.chain(resolved).filter(|path| path.starts_with('/') || path.contains(".."));
    paths.any(|path| {
        let inside = [&repo, &root.join("home")].iter().any(|dir| Path::new(path).starts_with(dir));
        // git and libgit2 look for the repository upwards, and resolve the path to it.
        let above = repo.starts_with(path.trim_end_matches('/'));
        let known = ALLOWED.iter().any(|known| path.starts_with(known)) || Path::new(path) == program;
        !(inside || above || known) || path.contains("/../")
    })
}

/// Everything that could lead out, without keeping the verbs from working.
fn traps(lab: &Lab, victim: &Path) {
    let keep = victim.join("keep");
    lab.plant_record(
        "failures",
        "0123456789abcdef",
        super::file("0123456789abcdef", "failure", "source = \"../victim/keep\"").as_bytes(),
    );
    let leads_out = lab.blob(keep.to_str().unwrap().as_bytes());
    lab.plant("failures/0/1/2", &[(super::LINK, b"0120000000000000-x.md", &leads_out)]);
    lab.plant("", &[(super::LINK, b"spikes", &leads_out), (super::FILE, b"..", &leads_out)]);
    let elf = lab.sandbox.elf_dir();
    for name in ["spool/0000000000000000-x.md", "index.db-journal", "healed.log"] {
        symlink(&keep, elf.join(name)).unwrap();
    }
    for name in ["index.db-wal", "index.seal"] {
        let _ = fs::remove_file(elf.join(name));
        symlink(&keep, elf.join(name)).unwrap();
    }
    symlink(victim, lab.sandbox.repo().join("memory")).unwrap();
    symlink(victim, lab.sandbox.repo().join("failures")).unwrap();
}
