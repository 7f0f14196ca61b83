//! `git elf torture`: a stress test on the disk of the user.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::output::{Output, Speaker};
use super::{Context, Done, Outcome};
use crate::error::{Doing, Error, Result};
use crate::repo::Repo;
use crate::store::Voice;
use crate::torture::{Parent, Plan, Report, parent_for, run};

/// Findings of one kind that are printed; `--json` has all of them.
const SHOWN: usize = 20;

/// Let a crowd of processes write, read and die in a repository that is thrown away
///
/// It is made beside this repository, on the same disk, and removed afterwards. Exit 3 when a record that was acknowledged is
/// missing or there twice, or when anything else that is promised was not kept; the directory is then kept and named.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf torture --kill\n  git elf torture --writers 100 --seconds 60 --json")]
pub struct Args {
    /// Processes that write at the same time
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    writers: u16,
    /// Processes that read at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=1000))]
    readers: u16,
    /// Linked worktrees beside the main one
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=100))]
    worktrees: u16,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=604_800))]
    seconds: u32,
    /// Kill a writer every 20 to 50 ms
    #[arg(long)]
    kill: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let voice = Speaker::new();
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&interrupted)).doing(|| "watch for signals".into())?;
        }
        let plan = Plan {
            program: std::env::current_exe().doing(|| "find this program".into())?,
            parent: parent(&voice)?,
            writers: self.writers.into(),
            readers: self.readers.into(),
            worktrees: self.worktrees.into(),
            duration: Duration::from_secs(self.seconds.into()),
            kill: self.kill,
        };
        let report = run(&plan, &interrupted, &voice)?;
        for complaint in &report.complaints {
            voice.say(complaint);
        }
        if let Some(kept) = &report.kept {
            voice.say(&format!("kept for you to look into: {}", kept.display()));
        }
        if self.json {
            context.out.json(&report.to_json())?;
        } else {
            print(&mut context.out, &report).doing(|| "print".into())?;
        }
        Ok(if !report.faults().is_empty() {
            Done::Problems
        } else if interrupted.load(Ordering::Relaxed) {
            Done::Interrupted
        } else {
            Done::Well
        })
    }
}

fn parent(voice: &dyn Voice) -> Result<std::path::PathBuf> {
    let repo = match Repo::open() {
        Ok(repo) => Some(repo),
        Err(Error::NotARepository { .. }) => None,
        Err(error) => return Err(error),
    };
    let parent = parent_for(repo.as_ref())?;
    if let Parent::Elsewhere(path, reason) = &parent {
        voice.say(&format!("{reason}; so this runs in {}, which may be another disk", path.display()));
    }
    Ok(parent.path().to_owned())
}

fn print(out: &mut Output, report: &Report) -> std::io::Result<()> {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let Report { seconds, writers, readers, worktrees, .. } = report;
    let disk = &report.file_system;
    out.line(&format!("{seconds:.1} s, {writers} writers, {readers} readers, {worktrees} worktrees, {disk}"))?;
    let rows = [
        ("acknowledged", format!("{} ({} committed, {} queued)", report.acknowledged, report.committed, report.queued)),
        ("found", report.found.to_string()),
        ("missing", report.missing.len().to_string()),
        ("duplicated", report.duplicated.len().to_string()),
        ("killed", format!("{} writers, which left {} more records", report.killed, report.unacknowledged)),
        ("writes failed", report.writes_failed.to_string()),
        ("reads", format!("{}, {} failed", report.reads, report.reads_failed)),
        ("user's commits", format!("{}, {} failed", report.user_commits, report.user_commits_failed)),
        ("git maintenance", format!("{}, {} failed", report.maintenance, report.maintenance_failed)),
        ("drains", format!("{} commits of the ledger", report.drains)),
        ("rate", format!("{:.1} records a second", report.per_second())),
        ("latency", format!("p50 {:.1} ms, p99 {:.1} ms", ms(report.p50), ms(report.p99))),
    ];
    for (name, value) in rows {
        out.line(&format!("{name:<16}{value}"))?;
    }
    for (heading, lines) in [
        ("missing", &report.missing),
        ("duplicated", &report.duplicated),
        ("in the user's commits", &report.user_findings),
        ("git elf check", &report.check_findings),
        ("git fsck", &report.fsck_findings),
    ] {
        for line in lines.iter().take(SHOWN) {
            out.line(&format!("  {heading}: {line}"))?;
        }
    }
    let faults = report.faults();
    out.line(&if faults.is_empty() { "nothing was lost".to_owned() } else { format!("broken: {}", faults.join(", ")) })
}
