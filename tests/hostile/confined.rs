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

#[test]
fn nothing_outside_of_the_repository_is_touched() {
    if !has_tool("strace") {
        return;
    }
    let lab = Lab::new();
    let (root, victim) = (lab.sandbox.root().canonicalize().unwrap(), lab.sandbox.root().join("victim"));
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("keep"), "precious\n").unwrap();
    traps(&lab, &victim);
    // Every path that may be named, besides the repository itself: what a program of this system reads to start, and what
    // git reads to be configured.
    let allowed = [
        "/lib",
        "/usr",
        "/etc/ld.so",
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
        "/etc/ssl",
        "/nix/store",
        "/bin",
        "/proc/sys",
    ];
    let home = root.join("home");
    let repo = root.join("repo");
    let program = crate::support::elf_program().canonicalize().unwrap();
    let mut strange = BTreeSet::new();
    let mut seen = 0;
    let verbs: [&[&str]; 12] = [
        &["record", "failure", "x", "--path", "../../victim", "--set", "source=/etc/shadow"],
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
    for args in verbs {
        let trace = lab.sandbox.root().join("trace");
        let mut command = lab.sandbox.command("strace");
        command.args(["-f", "-qq", "-s", "4096", "-e", CALLS, "-o"]).arg(&trace).arg(&program).args(args);
        lab.sandbox.run(command);
        for line in fs::read_to_string(&trace).unwrap().lines() {
            seen += 1;
            let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
            let name = call.split('(').next().unwrap_or_default();
            if matches!(name, "connect" | "socket" | "bind" | "sendto") {
                strange.insert(format!("{args:?}: {call}"));
            }
            let paths = call.split('"').skip(1).step_by(2).take(if name.starts_with("exec") { 1 } else { 2 });
            for path in paths.filter(|path| path.starts_with('/') || path.contains("..")) {
                let inside = [&repo, &home].iter().any(|dir| Path::new(path).starts_with(dir));
                // git and libgit2 look for the repository upwards, and resolve the path to it.
                let above = repo.starts_with(path.trim_end_matches('/')) || root.join(".git") == Path::new(path);
                let known = allowed.iter().any(|known| path.starts_with(known)) || Path::new(path) == program;
                if !(inside || above || known) || path.contains("victim") || path.contains("/../") {
                    strange.insert(format!("{args:?}: {call}"));
                }
            }
        }
    }
    if seen == 0 {
        eprintln!("SKIPPED: strace traces nothing here");
        return;
    }
    assert!(seen > 500, "strace saw only {seen} calls");
    assert!(strange.is_empty(), "{strange:#?}");
    assert_eq!(fs::read_to_string(victim.join("keep")).unwrap(), "precious\n");
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
    symlink(victim, lab.sandbox.repo().join("memory")).unwrap();
    symlink(victim, lab.sandbox.repo().join("failures")).unwrap();
}
