//! Other users of the machine, without accounts: a process of root takes over a number that nobody has.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ran, Sandbox, elf_program};

/// The group that some of them share.
pub const GROUP: u32 = 54_000;

/// Somebody.
pub struct User {
    pub id: u32,
    umask: &'static str,
    home: PathBuf,
    program: PathBuf,
}

/// Tells whether this process can become somebody else.
pub fn are_possible() -> bool {
    rustix::process::getuid().is_root() && Command::new("setpriv").arg("--version").output().is_ok()
}

impl User {
    /// Makes a user with a HOME and an identity, who can run our program wherever it was built.
    pub fn new(s: &Sandbox, id: u32, umask: &'static str) -> Self {
        fs::set_permissions(s.root(), Permissions::from_mode(0o755)).unwrap();
        let program = s.root().join("bin/git-elf");
        if !program.exists() {
            fs::create_dir(s.root().join("bin")).unwrap();
            // By another process: a child of this one that another thread is just starting would keep the copy open for writing.
            assert!(Command::new("cp").arg(elf_program()).arg(&program).status().unwrap().success());
        }
        let home = s.root().join(format!("home-{id}"));
        fs::create_dir(&home).unwrap();
        fs::write(home.join(".gitconfig"), format!("[user]\nname = User {id}\nemail = {id}@example.org\n")).unwrap();
        chown(&home, Some(id), Some(id)).unwrap();
        Self { id, umask, home, program }
    }

    /// Lets this user's git open what others own.
    pub fn trusts(self, dir: &Path) -> Self {
        let path = self.home.join(".gitconfig");
        let text = fs::read_to_string(&path).unwrap() + &format!("[safe]\ndirectory = {}\n", dir.display());
        fs::write(path, text).unwrap();
        self
    }

    fn command(&self, s: &Sandbox, program: &Path, args: &[&str]) -> Command {
        let mut command = s.command("setpriv");
        let (id, group) = (self.id.to_string(), GROUP.to_string());
        command.args(["--reuid", &id, "--regid", &id, "--groups", &group, "--inh-caps=-all"]);
        command.args(["sh", "-c", &format!("umask {}; exec \"$@\"", self.umask), "sh"]).arg(program).args(args);
        command.env("HOME", &self.home);
        command
    }

    pub fn elf_command(&self, s: &Sandbox, args: &[&str]) -> Command {
        self.command(s, &self.program, args)
    }

    pub fn elf(&self, s: &Sandbox, args: &[&str]) -> Ran {
        s.run(self.elf_command(s, args))
    }

    pub fn git(&self, s: &Sandbox, args: &[&str]) -> Ran {
        s.run(self.command(s, Path::new("git"), args))
    }

    pub fn listed(&self, s: &Sandbox) -> usize {
        self.elf(s, &["list", "--json", "--limit", "1000"]).ok().json().len()
    }
}
