//! Modes of files in a repository that several users share (`core.sharedRepository`), as git's path.c computes them.
//!
//! Like umask(2), which it overrides, the setting is one of the process: a process works in one repository.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Directories hand their group on to what is made in them (git's `FORCE_DIR_SET_GID`).
const SETGID: u32 = 0o2000;
/// Marks a mode that replaces the one of the umask, in [`SHARING`].
const EXACT: u32 = 1 << 16;

static SHARING: AtomicU32 = AtomicU32::new(0);

/// Who else may use what this process creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Whoever the umask lets.
    Umask,
    /// Those of the umask, and these bits at least: 0660 for the group, 0664 for everybody to read.
    AtLeast(u32),
    /// These bits, whatever the umask says.
    Exactly(u32),
}

impl Sharing {
    /// Reads a value of `core.sharedRepository` (git-config(1)); `None` for one that git would refuse.
    pub fn parse(value: &str) -> Option<Self> {
        Some(match value.to_ascii_lowercase().as_str() {
            "umask" | "false" | "no" | "off" | "" => Self::Umask,
            "group" | "true" | "yes" | "on" => Self::AtLeast(0o660),
            "all" | "world" | "everybody" => Self::AtLeast(0o664),
            number => match u32::from_str_radix(number, 8).ok()? {
                0 => Self::Umask,
                1 => Self::AtLeast(0o660),
                2 => Self::AtLeast(0o664),
                mode if mode & 0o600 == 0o600 && mode <= 0o777 => Self::Exactly(mode & 0o666),
                _ => return None,
            },
        })
    }

    /// Makes this the rule for everything that the process creates from now on.
    pub fn apply(self) {
        let bits = match self {
            Self::Umask => 0,
            Self::AtLeast(bits) => bits,
            Self::Exactly(bits) => bits | EXACT,
        };
        SHARING.store(bits, Ordering::Relaxed);
    }

    fn current() -> Self {
        match SHARING.load(Ordering::Relaxed) {
            0 => Self::Umask,
            bits if bits & EXACT == 0 => Self::AtLeast(bits),
            bits => Self::Exactly(bits & 0o777),
        }
    }

    /// Computes the mode of a file or directory that was created with `mode`: what the owner may not, nobody may.
    fn of(self, mode: u32, is_dir: bool) -> u32 {
        let (Self::AtLeast(bits) | Self::Exactly(bits)) = self else { return mode };
        let mut tweak = if mode & 0o200 == 0 { bits & !0o222 } else { bits };
        if mode & 0o100 != 0 {
            tweak |= (tweak & 0o444) >> 2;
        }
        let kept = if matches!(self, Self::Exactly(_)) { mode & !0o777 } else { mode };
        let shared = kept | tweak;
        if is_dir { shared | SETGID | ((shared & 0o444) >> 2) } else { shared }
    }
}

/// Opens a file that this process just created to whom it is shared with; one of somebody else stays as it is.
///
/// # Errors
/// Whatever the kernel says.
pub fn share_file(file: &File) -> io::Result<()> {
    let sharing = Sharing::current();
    if sharing == Sharing::Umask {
        return Ok(());
    }
    let meta = file.metadata()?;
    let mode = meta.permissions().mode() & 0o7777;
    let shared = sharing.of(mode, meta.is_dir());
    if shared == mode {
        return Ok(());
    }
    match file.set_permissions(Permissions::from_mode(shared)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// As [`share_file`], by name: for a directory, or for a file that a library wrote.
///
/// # Errors
/// Whatever the kernel says.
pub fn share(path: &Path) -> io::Result<()> {
    if Sharing::current() == Sharing::Umask { Ok(()) } else { share_file(&File::open(path)?) }
}

/// Creates an empty file where there is none, with the mode of a shared repository: for libraries that take over the mode of what
/// they find.
///
/// # Errors
/// Whatever the kernel says.
pub fn create_shared(path: &Path) -> io::Result<()> {
    if Sharing::current() == Sharing::Umask {
        return Ok(());
    }
    match fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => share_file(&file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_that_git_gives() {
        // Value, mode that the umask left, whether it is a directory, what git makes of it.
        for (value, mode, is_dir, shared) in [
            ("umask", 0o600, false, 0o600),
            ("group", 0o600, false, 0o660),
            ("group", 0o644, false, 0o664),
            ("group", 0o400, false, 0o440),
            ("group", 0o444, false, 0o444),
            ("1", 0o700, true, 0o2770),
            ("true", 0o755, true, 0o2775),
            ("all", 0o600, false, 0o664),
            ("world", 0o400, false, 0o444),
            ("everybody", 0o700, true, 0o2775),
            ("2", 0o600, false, 0o664),
            ("0660", 0o644, false, 0o660),
            ("0640", 0o664, false, 0o640),
            ("0640", 0o444, false, 0o440),
            ("0600", 0o755, true, 0o2700),
        ] {
            let found = Sharing::parse(value).unwrap().of(mode, is_dir);
            assert_eq!(found, shared, "{value} {mode:o}: {found:o}, not {shared:o}");
        }
        assert_eq!(Sharing::parse("0400"), None, "the owner must be able to read and write");
        assert_eq!(Sharing::parse("sometimes"), None);
    }
}
