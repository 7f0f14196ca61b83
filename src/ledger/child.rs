//! Running git for what libgit2 lacks: signing and filters. Either may ask a program of the user's that never answers.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use flate2::read::ZlibDecoder;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often a child is looked at.
const PAUSE: Duration = Duration::from_millis(5);
/// Longest explanation that is repeated, in characters.
const SAID_MAX: usize = 300;

/// How a child ended, and what it wrote.
pub(super) struct Ended {
    pub status: ExitStatus,
    pub out: Vec<u8>,
    /// Its complaint, on one line.
    pub said: String,
}

/// Runs a command with `input`; `None` when it took longer than `patience` and was killed with all that it started.
///
/// Input and output are files: a pipe would stay open in whatever the command leaves behind, such as an agent for keys. With a
/// terminal the command stays in our process group, so that it may ask there.
pub(super) fn run(mut command: Command, input: &[u8], patience: Duration, terminal: bool) -> io::Result<Option<Ended>> {
    let mut stdin = tempfile::tempfile()?;
    stdin.write_all(input)?;
    stdin.rewind()?;
    let (mut out, mut said) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(stdin).stdout(out.try_clone()?).stderr(said.try_clone()?);
    if !terminal {
        command.process_group(0);
    }
    let mut child = command.spawn()?;
    let Some(status) = wait(&mut child, patience, terminal)? else { return Ok(None) };
    Ok(Some(Ended { status, out: whole(&mut out)?, said: one_line(&whole(&mut said)?) }))
}

fn wait(child: &mut Child, patience: Duration, terminal: bool) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= patience {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = if terminal { kill_process(pid, Signal::KILL) } else { kill_process_group(pid, Signal::KILL) };
            }
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

fn whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    words.join("; ").chars().take(SAID_MAX).collect()
}

/// Reads the content of a loose object that git wrote to a directory of ours: what follows `kind SP size NUL`.
pub(super) fn loose_content(objects: &Path, name: &str) -> io::Result<Vec<u8>> {
    let name = name.trim();
    let (dir, rest) = name.split_at_checked(2).ok_or_else(|| io::Error::other("git named no object"))?;
    let mut bytes = Vec::new();
    ZlibDecoder::new(File::open(objects.join(dir).join(rest))?).read_to_end(&mut bytes)?;
    let start = bytes.iter().position(|byte| *byte == 0).ok_or_else(|| io::Error::other("git wrote no object"))?;
    Ok(bytes.split_off(start + 1))
}
