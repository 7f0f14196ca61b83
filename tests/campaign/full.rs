//! A disk without space, without inodes, or gone read-only.

use super::{Disk, Memory, run};

/// Records until it fails; returns what the last one said.
fn until_it_fails(memory: &mut Memory) -> crate::support::Ran {
    for _ in 0..3000 {
        let title = memory.title();
        // Text that zlib cannot make small.
        // Short words: one long random string would be taken for a secret.
        let word = || std::iter::repeat_with(fastrand::lowercase).take(9).chain([' ']).collect::<String>();
        let body: String = std::iter::repeat_with(word).take(2_000).collect();
        let ran = memory.sandbox.elf(["record", "observation", &title, "-m", &body, "--json"]);
        if memory.take(&title, &ran).is_none() {
            return ran;
        }
    }
    panic!("3,000 records did not fill the disk");
}

/// What must hold while the disk is full, and once there is space again.
fn fill_up(what: &str, disk: &Disk, reserve: &dyn Fn(), release: &dyn Fn()) {
    let mut memory = Memory::of(disk.sandbox(&[]));
    memory.record(&[]);
    reserve();
    let failed = until_it_fails(&mut memory);
    assert_eq!(failed.status, 1, "{what}: {failed:?}");
    assert!(failed.err.contains("No space left on device"), "{what} does not say why: {failed:?}");
    assert!(failed.err.contains("free some space"), "{what} does not say what to do: {failed:?}");
    // Several more attempts: none is acknowledged without being kept, and readers do not die of it.
    for _ in 0..5 {
        let title = memory.title();
        let ran = memory.sandbox.elf(["record", "observation", &title, "--json"]);
        memory.take(&title, &ran);
        memory.figures.faults += 1;
    }
    let listed = memory.sandbox.elf(["list", "--json"]);
    assert_eq!(listed.status, 0, "list fails on {what}: {listed:?}");
    let search = memory.sandbox.elf(["search", "lesson"]);
    assert_eq!(search.status, 0, "search fails on {what}: {search:?}");
    let queued = memory.waiting().len();
    release();
    memory.settle(&format!("{what}, space again"));
    memory.sandbox.elf(["check"]).ok();
    memory.plain_git(what);
    let count = memory.acknowledged.len();
    eprintln!("CAMPAIGN {what}: {queued} waited in the spool");
    memory.figures.print(what, count);
}

#[test]
fn a_full_disk_loses_nothing_and_the_queue_drains_when_there_is_space() {
    let Some(disk) = Disk::new("ext4", "12M", &["-F", "-m", "0", "-b", "4096"]) else { return };
    let ballast = disk.mount_point().join("ballast");
    let reserve = || std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    fill_up("a full disk", &disk, &reserve, &|| std::fs::remove_file(&ballast).unwrap());
}

#[test]
fn a_disk_without_inodes_loses_nothing_and_the_queue_drains_when_there_are_some() {
    let Some(disk) = Disk::new("ext4", "64M", &["-F", "-m", "0", "-N", "700"]) else { return };
    let ballast = disk.mount_point().join("ballast");
    let reserve = || {
        std::fs::create_dir(&ballast).unwrap();
        (0..300).for_each(|i| std::fs::write(ballast.join(i.to_string()), "").unwrap());
    };
    fill_up("no inodes", &disk, &reserve, &|| std::fs::remove_dir_all(&ballast).unwrap());
}

#[test]
fn a_read_only_file_system_is_named_and_the_record_is_printed_to_take_elsewhere() {
    let Some(disk) = Disk::new("ext4", "16M", &["-F"]) else { return };
    let mut memory = Memory::of(disk.sandbox(&[]));
    memory.record(&[]);
    memory.record(&["--no-wait"]);
    let point = disk.mount_point();
    let remount = |how: &str| run("mount", &["-o", &format!("remount,{how}"), point.to_str().unwrap()]).ok();
    remount("ro");
    let ran = memory.sandbox.elf(["record", "observation", "elsewhere"]).exits(1);
    assert!(ran.err.contains("Read-only file system"), "{ran:?}");
    assert_eq!(ran.json()[0]["title"], "elsewhere", "the record is not handed back: {ran:?}");
    let listed = memory.sandbox.elf(["list", "--json"]);
    assert_eq!(listed.status, 0, "list fails on a read-only file system: {listed:?}");
    assert!(!listed.json().is_empty(), "list shows nothing on a read-only file system: {listed:?}");
    remount("rw");
    memory.settle("a read-only file system");
    let taken = memory.sandbox.elf_with_input(["import", "--from", "jsonl", "-"], &ran.out);
    assert_eq!(taken.status, 0, "{taken:?}");
    memory.settle("the import of what was handed back");
}
