//! Agents that record in the background, in the main worktree and in a linked one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::site::Site;
use crate::support::{Ran, elf_program};

const AGENTS: usize = 4;
/// Between two records of an agent.
const PAUSE: Duration = Duration::from_millis(20);

/// What the agents have done in the present copy of the repository.
#[derive(Default)]
struct Work {
    acknowledged: Vec<String>,
    failed: Vec<String>,
}

/// Four agents for the whole table; between operations they pause, so that the copy can be replaced.
pub struct Agents<'a> {
    site: &'a Site,
    /// Held by each agent while it records; false while they pause.
    go: RwLock<bool>,
    over: AtomicBool,
    work: Mutex<Work>,
}

/// Lets the threads end when the table panics, too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> Agents<'a> {
    /// Runs `table` with agents that wait for their start.
    pub fn with(site: &'a Site, table: impl FnOnce(&Self)) {
        let agents = Self { site, go: RwLock::new(false), over: AtomicBool::new(false), work: Mutex::default() };
        thread::scope(|scope| {
            let _over = Over(&agents.over);
            for number in 0..AGENTS {
                let agents = &agents;
                scope.spawn(move || agents.record(number));
            }
            table(&agents);
        });
    }

    /// Starts the agents, waits for the first record, and returns how many records were acknowledged by then.
    pub fn start(&self) -> usize {
        *self.work.lock().unwrap() = Work::default();
        *self.go.write().unwrap() = true;
        let start = Instant::now();
        loop {
            let work = self.work.lock().unwrap();
            if !work.acknowledged.is_empty() || !work.failed.is_empty() {
                return work.acknowledged.len();
            }
            drop(work);
            assert!(start.elapsed() < Duration::from_secs(120), "the agents do not record");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until no agent works, and returns the ids that were acknowledged, and what went wrong.
    pub fn stop(&self) -> (Vec<String>, Vec<String>) {
        *self.go.write().unwrap() = false;
        let work = std::mem::take(&mut *self.work.lock().unwrap());
        (work.acknowledged, work.failed)
    }

    fn record(&self, number: usize) {
        let mut count = 0;
        while !self.over.load(Ordering::Relaxed) {
            let go = self.go.read().unwrap();
            if !*go {
                drop(go);
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            count += 1;
            let dir = if number.is_multiple_of(2) { self.site.repo() } else { self.site.linked() };
            let title = format!("agent {number}, record {count}");
            let mut command = self.site.command(elf_program(), &dir);
            command.args(["record", "observation", &title]);
            if count % 4 == 0 {
                command.arg("--no-wait");
            }
            let ran = Ran::of(command.output().unwrap());
            let mut work = self.work.lock().unwrap();
            match ran.status {
                0 => work.acknowledged.push(ran.line().to_owned()),
                status => work.failed.push(format!("{title} ended with {status}: {}", ran.err)),
            }
            drop((work, go));
            // Two cores are to be left to git, too.
            thread::sleep(PAUSE);
        }
    }
}
