//! A stress test that anybody can run on their own disk: a crowd of processes in a repository that is thrown away.
//!
//! Protocol. `site` makes the repository with linked worktrees, in a directory of its own and with an environment that
//! nothing leaks into. `crowd` lets writers, readers, a user with plain git and git's own maintenance loop there, each step of
//! theirs a process of its own, and notes what each process acknowledged. With [`Plan::kill`] a writer is killed every 20 to
//! 50 ms. When the time is over, everything ends by itself, and `audit` compares what was acknowledged with what plain git
//! finds in the ledger. `verdict` holds the figures and says what is wrong with them.
//!
//! The crowd shares nothing with the program under test but its command line: what a process wrote is what it printed, and
//! what the ledger holds is what `git cat-file` prints.
//!
//! [`Plan::kill`]: crate::torture::Plan::kill

mod audit;
mod crowd;
mod site;
mod slot;
mod verdict;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use site::{Parent, parent_for};
pub use verdict::Report;

use crate::error::Result;
use crate::store::Voice;
use crowd::Crowd;
use site::Site;

/// How often the clock, the signals and the progress are looked at.
const TICK: Duration = Duration::from_millis(50);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program under test.
    pub program: PathBuf,
    /// The directory in which the throw-away one is made.
    pub parent: PathBuf,
    /// Processes that write at the same time.
    pub writers: usize,
    /// Processes that read at the same time.
    pub readers: usize,
    /// Linked worktrees beside the main one.
    pub worktrees: usize,
    /// How long new processes are started.
    pub duration: Duration,
    /// Whether writers are killed.
    pub kill: bool,
}

/// Runs the plan until its time is over or `interrupted` becomes true, and returns what came of it.
///
/// The directory is removed, unless the report has faults: then it is kept and [`Report::kept`] names it.
///
/// # Errors
/// When the repository cannot be made or examined; the directory is removed then, too.
pub fn run(plan: &Plan, interrupted: &AtomicBool, voice: &dyn Voice) -> Result<Report> {
    let site = Site::make(&plan.parent, plan.worktrees)?;
    let crowd = Crowd::new(plan, &site)?;
    let start = Instant::now();
    let tally = crowd.run(|acknowledged| {
        let elapsed = start.elapsed();
        // The first report must not be 0 of 0, which ends it.
        voice.progress(
            &format!("{acknowledged} acknowledged, seconds:"),
            elapsed.as_secs(),
            plan.duration.as_secs().max(1),
        );
        std::thread::sleep(TICK.min(plan.duration.saturating_sub(elapsed)));
        start.elapsed() < plan.duration && !interrupted.load(Ordering::Relaxed)
    });
    voice.progress("", 0, 0);
    let elapsed = start.elapsed();
    let mut report = audit::examine(plan, &site, &tally?, elapsed)?;
    if report.faults().is_empty() {
        site.remove()?;
    } else {
        report.kept = Some(site.keep());
    }
    Ok(report)
}
