//! Power cuts on real file systems.
//!
//! ext4 and xfs are shut down by ioctl without writing their journal out: what was not flushed is gone, as after a cut. For
//! btrfs, which has no such call, the writers are stopped and the image is copied as it is at that moment; the copy is
//! mounted instead. `git pack-refs` runs with `core.fsync=all`: by git's default packed-refs is not synced, and a cut soon after
//! leaves it empty, with every ref in it. What was acknowledged is noted outside the file system.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use super::{Disk, Memory};
use crate::support::{Ran, Sandbox};

const WRITERS: usize = 30;

/// Ends a file system at once: `EXT4_IOC_SHUTDOWN` and `XFS_IOC_GOINGDOWN` have the same number and flag (fs/ext4/ext4.h,
/// fs/xfs/libxfs/xfs_fs.h).
#[expect(unsafe_code, reason = "no safe wrapper of this ioctl")]
fn shut_down(mount_point: &Path) {
    const GOING_DOWN: libc::c_ulong = 0x8004_587d;
    const NO_LOG_FLUSH: u32 = 2;
    let dir = File::open(mount_point).unwrap();
    let flags: u32 = NO_LOG_FLUSH;
    // SAFETY: the descriptor is open, and the kernel reads one u32 from a pointer that is valid during the call.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), GOING_DOWN, &raw const flags) };
    assert_eq!(result, 0, "shutting down: {}", std::io::Error::last_os_error());
}

/// Sends a signal to a child of ours that was not waited for yet.
#[expect(unsafe_code, reason = "std can only kill")]
fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: kill(2) takes two integers; the pid belongs to a child that is not reaped while it is in the set.
    unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), signal) };
}

/// Writers that record until they are told to end.
#[derive(Default)]
struct Writers {
    end: AtomicBool,
    /// From now on, what ends well may have been told so by a file system that is going down: an fsync under way returns 0 once
    /// the journal has thrown its transaction away. Nobody is told anything after a power cut, so it is not counted.
    cut: AtomicBool,
    /// Held for writing, nobody starts a process.
    gate: RwLock<()>,
    running: Mutex<BTreeSet<u32>>,
    /// Title, and what was printed, of every record that ended with 0.
    acknowledged: Mutex<Vec<(String, Ran)>>,
}

impl Writers {
    fn run(&self, sandbox: &Sandbox, writer: usize, cut: usize) {
        for nth in 0.. {
            let title = format!("cut {cut} writer {writer} lesson {nth}");
            let mut command = sandbox.elf_command(["record", "observation", &title, "-m", "A body.", "--json"]);
            if nth % 5 == 4 {
                command.arg("--no-wait");
            }
            let packs = writer == 0 && nth % 4 == 3;
            if packs {
                command = sandbox.command("git");
                command.args(["pack-refs", "--all"]);
            }
            let gate = self.gate.read().unwrap();
            if self.end.load(Ordering::SeqCst) {
                return;
            }
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let Ok(mut child) = child else { return };
            self.running.lock().unwrap().insert(child.id());
            drop(gate);
            // The output is small and stays in the pipe; the pid is forgotten before it is free to be another's.
            while child.try_wait_unreaped() {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.running.lock().unwrap().remove(&child.id());
            let ran = Ran::of(child.wait_with_output().unwrap());
            if ran.status == 0 && !packs && !self.cut.load(Ordering::SeqCst) {
                self.acknowledged.lock().unwrap().push((title, ran));
            }
        }
    }

    /// Lets no process start any more and sends a signal to those that run.
    fn stop(&self, how: libc::c_int) {
        let gate = self.gate.write().unwrap();
        self.end.store(true, Ordering::SeqCst);
        drop(gate);
        self.send(how);
    }

    fn send(&self, how: libc::c_int) {
        self.running.lock().unwrap().iter().for_each(|pid| signal(*pid, how));
    }
}

trait Unreaped {
    fn try_wait_unreaped(&mut self) -> bool;
}

impl Unreaped for std::process::Child {
    /// Tells whether the child still runs, and leaves it to be waited for.
    #[expect(unsafe_code, reason = "std has no wait that leaves the child")]
    fn try_wait_unreaped(&mut self) -> bool {
        // SAFETY: an all-zero siginfo_t is valid, and waitid(2) fills it during the call alone.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: as above; the id is that of a child of this process.
        let result = unsafe { libc::waitid(libc::P_PID, self.id(), &raw mut info, options) };
        // SAFETY: waitid succeeded, so the field of SIGCHLD is set, or is still zero when nobody ended.
        result == 0 && unsafe { info.si_pid() } == 0
    }
}

#[derive(Clone, Copy)]
enum Cut {
    ShutDown,
    CopyOfTheImage,
}

fn cuts(kind: &'static str, size: &str, options: &[&str], how: Cut, git_fsync: &str, count: usize) {
    let Some(disk) = Disk::new(kind, size, options) else { return };
    let mut memory = Memory::of(disk.sandbox(&[("elf.lockTimeout", "3"), ("core.fsync", git_fsync)]));
    memory.record(&[]);
    let mut torn = 0;
    let mut random = fastrand::Rng::with_seed(0xE1F);
    for cut in 0..count {
        let writers = Writers::default();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (writers, sandbox) = (&writers, &memory.sandbox);
                scope.spawn(move || writers.run(sandbox, writer, cut));
            }
            std::thread::sleep(Duration::from_millis(random.u64(300..1500)));
            match how {
                Cut::ShutDown => {
                    writers.cut.store(true, Ordering::SeqCst);
                    shut_down(&disk.mount_point());
                    writers.stop(libc::SIGKILL);
                }
                Cut::CopyOfTheImage => {
                    writers.stop(libc::SIGSTOP);
                    std::thread::sleep(Duration::from_millis(50));
                    disk.copy_image();
                    writers.send(libc::SIGKILL);
                }
            }
        });
        for (title, ran) in writers.acknowledged.into_inner().unwrap() {
            memory.take(&title, &ran);
        }
        disk.umount();
        if matches!(how, Cut::CopyOfTheImage) {
            fs::rename(disk.copy(), disk.image()).unwrap();
        }
        disk.mount(&disk.image()).ok();
        memory.figures.faults += 1;
        let doing = format!("power cut {cut} on {kind}");
        let state = format!("{doing}: {:?}", state_of(&memory.sandbox));
        // A git that is cut or killed leaves its own lock, which it asks the user to remove. Ours must work beside it.
        let left_by_git =
            ["packed-refs.lock", "packed-refs.new"].map(|name| memory.sandbox.repo().join(".git").join(name));
        // The lock that pack-refs takes to remove the loose ref is empty, and so it is not ours, which has its value before it has
        // its name. A foreign lock is not ours to remove; records wait in the queue until the user does.
        let pruning = memory.sandbox.repo().join(".git/refs/elf/memory.lock");
        if fs::metadata(&pruning).is_ok_and(|meta| meta.len() == 0) {
            memory.record(&["--no-wait"]);
            fs::remove_file(pruning).unwrap();
        }
        memory.next(&state);
        for path in left_by_git {
            drop(fs::remove_file(path));
        }
        // Records that were under way may be torn; nobody was told that they were kept.
        torn += memory.clear_bad(&state);
        memory.verify(&state);
        memory.sandbox.elf(["check"]).ok();
        memory.plain_git(&state);
        // Made again from the ledger, the index says the same.
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(memory.sandbox.elf_dir().join(format!("index.db{suffix}")));
        }
        memory.verify(&format!("{state}, index made again"));
    }
    eprintln!("CAMPAIGN power cut {kind}: {torn} entries that nobody was told of were torn and put aside");
    memory.figures.print(&format!("power cut {kind}"), memory.acknowledged.len());
}

/// What the first look after a cut finds, for the message of a failure.
fn state_of(sandbox: &Sandbox) -> Vec<String> {
    let git_dir = sandbox.repo().join(".git");
    let size = |name: &str| fs::metadata(git_dir.join(name)).map_or("absent".into(), |meta| meta.len().to_string());
    let refs = ["refs/elf/memory", "packed-refs", "logs/refs/elf/memory", "elf/index.db", "elf/index.db-wal"];
    let sizes = refs.into_iter().map(|name| format!("{name}: {}", size(name)));
    let left = fs::read_dir(git_dir.join("elf/tmp")).into_iter().flatten().count();
    sizes.chain([format!("{left} files in elf/tmp")]).collect()
}

impl Disk {
    fn copy(&self) -> std::path::PathBuf {
        self.image().with_extension("copy")
    }

    /// Copies the image as it is, its holes too.
    fn copy_image(&self) {
        let (from, to) = (self.image(), self.copy());
        super::run("cp", &["--sparse=always", from.to_str().unwrap(), to.to_str().unwrap()]).ok();
    }
}

#[test]
fn a_power_cut_on_ext4_loses_nothing_that_was_acknowledged() {
    cuts("ext4", "256M", &["-F"], Cut::ShutDown, "all", 4);
}

#[test]
fn a_power_cut_on_xfs_loses_nothing_that_was_acknowledged() {
    cuts("xfs", "400M", &[], Cut::ShutDown, "all", 4);
}

#[test]
fn a_power_cut_on_btrfs_loses_nothing_that_was_acknowledged() {
    cuts("btrfs", "256M", &[], Cut::CopyOfTheImage, "all", 2);
}

/// By git's default a cut soon after pack-refs leaves packed-refs empty and the loose ref removed: the ledger's tip is gone,
/// its objects are not.
#[test]
#[ignore = "four minutes: 40 cuts"]
fn long_power_cuts_after_pack_refs_without_fsync() {
    cuts("xfs", "400M", &[], Cut::ShutDown, "committed,-loose-object", 20);
    cuts("ext4", "256M", &["-F"], Cut::ShutDown, "committed,-loose-object", 20);
}

/// The state of the row above without the cut: the next record must not begin a second history that hides the first.
#[test]
fn a_ledger_whose_packed_ref_was_lost_is_found_again() {
    let mut memory = Memory::new();
    memory.record(&[]);
    memory.sandbox.git(["pack-refs", "--all"]).ok();
    let main = memory.sandbox.git(["rev-parse", "main"]).ok();
    fs::write(memory.sandbox.repo().join(".git/packed-refs"), "").unwrap();
    memory.sandbox.git(["update-ref", "refs/heads/main", main.line()]).ok();
    memory.settle("a packed-refs that a power cut left empty");
}

#[test]
#[ignore = "five minutes: 50 cuts"]
fn long_power_cuts_on_ext4() {
    cuts("ext4", "2G", &["-F"], Cut::ShutDown, "all", 50);
}

#[test]
#[ignore = "five minutes: 50 cuts"]
fn long_power_cuts_on_xfs() {
    cuts("xfs", "2G", &[], Cut::ShutDown, "all", 50);
}

#[test]
#[ignore = "five minutes: 50 cuts"]
fn long_power_cuts_on_btrfs() {
    cuts("btrfs", "1G", &[], Cut::CopyOfTheImage, "all", 50);
}
