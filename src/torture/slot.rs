//! One process at a time, which another thread may kill.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM};

/// A place for a process. The handle is shared and not the process id, so that what is killed is never another process
/// that got the same id.
pub(super) struct Slot {
    running: Mutex<Option<Running>>,
    /// What the processes say on stderr: a file cannot fill up as a pipe does.
    log: File,
}

struct Running {
    child: Child,
    since: Instant,
    hung: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exit(i32),
    Killed,
    /// By a signal that was meant for us: between fork(2) and setpgid(2) a process still belongs to our group.
    Interrupted,
    /// It ran for too long and was killed therefore.
    Hung,
}

/// What a process did.
pub(super) struct Ended {
    pub end: End,
    pub out: String,
    /// What it said on stderr, unless it ended well.
    pub err: String,
    pub took: Duration,
}

impl Slot {
    /// Makes a place whose processes say what they have to say in `log`.
    pub fn new(log: File) -> Self {
        Self { running: Mutex::new(None), log }
    }

    /// Runs a process to its end, with `input` on its stdin.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, mut command: Command, input: Option<&str>) -> io::Result<Ended> {
        let said = self.log.metadata()?.len();
        command.stderr(self.log.try_clone()?);
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let since = Instant::now();
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        *self.lock() = Some(Running { child, since, hung: false });
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A process that was killed does not read to the end.
            let _ = stdin.write_all(input.as_bytes());
        }
        let mut out = Vec::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_end(&mut out)?;
        }
        // The end of its output is the end of the process, so the lock is not held for long.
        let mut running = self.lock();
        let (status, hung) = match running.take() {
            Some(mut running) => (running.child.wait()?, running.hung),
            None => unreachable!("only this function takes the process out"),
        };
        let took = since.elapsed();
        drop(running);
        let end = match status.signal() {
            Some(SIGKILL) if hung => End::Hung,
            Some(SIGKILL) => End::Killed,
            Some(SIGHUP | SIGINT | SIGTERM) => End::Interrupted,
            signal => End::Exit(status.code().unwrap_or(128 + signal.unwrap_or(0))),
        };
        let err = if end == End::Exit(0) { String::new() } else { self.log_from(said) };
        Ok(Ended { end, out: String::from_utf8_lossy(&out).into_owned(), err, took })
    }

    /// Kills the process that runs here, if there is one.
    pub fn kill(&self) {
        self.kill_if(|_| true);
    }

    /// Kills the process that runs here when it has run for longer than `limit`.
    pub fn kill_when_hung(&self, limit: Duration) {
        self.kill_if(|running| {
            running.hung |= running.since.elapsed() > limit;
            running.hung
        });
    }

    fn kill_if(&self, wanted: impl FnOnce(&mut Running) -> bool) {
        // Taken means that it is ending.
        let Ok(mut running) = self.running.try_lock() else { return };
        if let Some(running) = running.as_mut()
            && wanted(running)
        {
            let _ = running.child.kill();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_from(&self, start: u64) -> String {
        let mut text = Vec::new();
        let mut log = &self.log;
        let read = log.seek(SeekFrom::Start(start)).and_then(|_| log.take(4096).read_to_end(&mut text));
        if read.is_err() {
            return String::new();
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    #[test]
    fn what_was_printed_before_a_kill_is_kept_and_a_kill_is_told_from_a_hang() {
        let slot = Slot::new(tempfile::tempfile().unwrap());
        let ended = slot.run(shell("echo out; echo err >&2; exit 3"), None).unwrap();
        assert_eq!((ended.end, ended.out.as_str(), ended.err.as_str()), (End::Exit(3), "out\n", "err"));

        let until_it_runs = |kill: &(dyn Fn() + Sync)| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(300));
                    kill();
                });
                slot.run(shell("echo out; exec sleep 60"), None).unwrap()
            })
        };
        let ended = until_it_runs(&|| slot.kill());
        assert_eq!((ended.end, ended.out.as_str()), (End::Killed, "out\n"));
        let ended = until_it_runs(&|| slot.kill_when_hung(Duration::from_millis(1)));
        assert_eq!(ended.end, End::Hung);
    }
}
