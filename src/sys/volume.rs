//! Which file system a directory is on, and what is left of it.

use std::io;
use std::path::Path;

/// Magic numbers of statfs(2) with the names that stat(1) prints, and whether several machines share what is on it. The
/// numbers are from statfs(2), linux/magic.h and coreutils' src/stat.c, which also says which of them are remote. FUSE may
/// be anything (sshfs, a mount from a virtual machine's host), so it counts as shared; so do 9p and the cluster file systems.
#[cfg(target_os = "linux")]
const KNOWN: [(u64, &str, bool); 29] = [
    (0xEF53, "ext4", false),
    (0x5846_5342, "xfs", false),
    (0x9123_683E, "btrfs", false),
    (0x2FC1_2FC1, "zfs", false),
    (0xF2F5_2010, "f2fs", false),
    (0x0102_1994, "tmpfs", false),
    (0x8584_58F6, "ramfs", false),
    (0x794C_7630, "overlay", false),
    (0x4D44, "msdos", false),
    (0x2011_BAB0, "exfat", false),
    (0x7366_746E, "ntfs3", false),
    (0x6969, "nfs", true),
    (0x517B, "smb", true),
    (0xFF53_4D42, "cifs", true),
    (0xFE53_4D42, "smb2", true),
    (0x564C, "ncpfs", true),
    (0x0102_1997, "9p", true),
    (0x5346_414F, "afs", true),
    (0x6B41_4653, "kafs", true),
    (0x7375_7245, "coda", true),
    (0x00C3_6400, "ceph", true),
    (0x0BD0_0BD0, "lustre", true),
    (0x6573_5546, "fuse", true),
    (0x4750_4653, "gpfs", true),
    (0x0116_1970, "gfs2", true),
    (0x7461_636F, "ocfs2", true),
    (0xAAD7_AAEA, "panfs", true),
    (0x1983_0326, "fhgfs", true),
    (0x786F_4256, "vboxsf", true),
];

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// As stat(1) prints it; the magic number where it is not known.
    pub name: String,
    /// Several machines may see it, so neither flock(2) nor shared memory can be relied on between them.
    pub is_network: bool,
}

/// What is left on a file system for somebody who is not root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub bytes: u64,
    /// `None` where files are not counted, as on btrfs.
    pub inodes: Option<u64>,
}

impl FileSystem {
    /// Looks up what `dir` is on; one that is not known counts as local.
    pub fn of(dir: &Path) -> Self {
        #[cfg(feature = "fault")]
        if super::fault::is_network() {
            return Self { name: "network".into(), is_network: true };
        }
        #[cfg(target_os = "linux")]
        if let Ok(fs) = rustix::fs::statfs(dir) {
            // Signed and of 32 bits on some machines, so that cifs would be negative.
            let magic = u64::try_from(i128::from(fs.f_type) & 0xFFFF_FFFF).unwrap_or(0);
            return match KNOWN.iter().find(|(known, ..)| *known == magic) {
                Some((_, name, is_network)) => Self { name: (*name).to_owned(), is_network: *is_network },
                None => Self { name: format!("{magic:#x}"), is_network: false },
            };
        }
        let _ = dir;
        Self { name: "unknown".into(), is_network: false }
    }
}

impl Space {
    /// Asks how much is left where `dir` is (statvfs(3)).
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let fs = rustix::fs::statvfs(dir)?;
        Ok(Self { bytes: fs.f_bavail.saturating_mul(fs.f_frsize), inodes: (fs.f_files > 0).then_some(fs.f_favail) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_file_system_of_a_directory_is_looked_up() {
        assert_eq!(FileSystem::of(Path::new("/proc/self/nothing")).name, "unknown");
        assert_eq!(FileSystem::of(Path::new("/proc")), FileSystem { name: "0x9fa0".into(), is_network: false });
        let dir = tempfile::tempdir().unwrap();
        assert!(Space::of(dir.path()).unwrap().bytes > 0);
        for (at, (magic, ..)) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..at].iter().all(|(other, ..)| other != magic), "{magic:#x} is there twice");
        }
    }
}
