//! The crowd: writers, readers, a user with plain git, git's maintenance, and somebody who kills.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::Plan;
use super::site::Site;
use super::slot::{End, Ended, Slot};
use crate::error::{Doing, Result};
use crate::sys;

/// What every title of ours begins with; no other title is unique.
pub(super) const MARK: &str = "torture ";
/// The directory with the user's files, the only one that the user's commits may touch.
pub(super) const USER_DIR: &str = "user/";
/// Longer than any process may take: the lock's deadline is 10 s.
const HUNG_AFTER: Duration = Duration::from_secs(60);
/// How often garbage is collected.
const GC_EVERY: Duration = Duration::from_secs(2);
/// Records of one import.
const BATCH: u64 = 5;
/// Records that a reader asks for.
const PAGE: &str = "50";
/// Complaints of one kind that are kept.
const SAMPLES: usize = 2;

/// A record of which a process said that it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// What `record` and `validate` print; an import prints none.
    pub id: Option<String>,
    /// Unique; an event has none.
    pub title: Option<String>,
}

/// What the crowd has seen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub acknowledged: Vec<Acknowledged>,
    pub committed: u64,
    pub queued: u64,
    pub killed: u64,
    pub hung: u64,
    pub writes_failed: u64,
    pub reads: u64,
    pub reads_failed: u64,
    pub user_commits: u64,
    pub user_commits_failed: u64,
    pub maintenance: u64,
    pub maintenance_failed: u64,
    /// Times of the `record` processes that acknowledged.
    pub latencies: Vec<Duration>,
    /// What the first processes said that failed.
    pub complaints: Vec<Complaint>,
}

/// What a process said that failed.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    what: String,
    end: End,
    said: String,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ended with {:?}: {}", self.what, self.end, self.said.replace('\n', " | "))
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.latencies.extend(other.latencies);
        for complaint in other.complaints {
            self.keep(complaint);
        }
        for (sum, count) in [
            (&mut self.committed, other.committed),
            (&mut self.queued, other.queued),
            (&mut self.killed, other.killed),
            (&mut self.hung, other.hung),
            (&mut self.writes_failed, other.writes_failed),
            (&mut self.reads, other.reads),
            (&mut self.reads_failed, other.reads_failed),
            (&mut self.user_commits, other.user_commits),
            (&mut self.user_commits_failed, other.user_commits_failed),
            (&mut self.maintenance, other.maintenance),
            (&mut self.maintenance_failed, other.maintenance_failed),
        ] {
            *sum += count;
        }
    }

    fn complain(&mut self, what: &str, ended: &Ended) {
        self.keep(Complaint { what: what.to_owned(), end: ended.end, said: ended.err.clone() });
    }

    fn keep(&mut self, complaint: Complaint) {
        let same = |other: &&Complaint| other.what == complaint.what && other.end == complaint.end;
        if self.complaints.iter().filter(same).count() < SAMPLES {
            self.complaints.push(complaint);
        }
    }
}

/// The processes that run at the same time, and the word to stop.
pub(super) struct Crowd<'a> {
    plan: &'a Plan,
    site: &'a Site,
    writers: Vec<Slot>,
    others: Vec<Slot>,
    stop: AtomicBool,
    acknowledged: AtomicU64,
}

/// Says stop when it is dropped, by a panic too: the threads of a scope are waited for.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> Crowd<'a> {
    /// Prepares a place for every process.
    ///
    /// # Errors
    /// When their logs cannot be created.
    pub fn new(plan: &'a Plan, site: &'a Site) -> Result<Self> {
        let slots = |name: &str, count: usize| -> Result<Vec<Slot>> {
            (0..count).map(|i| site.log(&format!("{name}-{i}.log")).map(Slot::new)).collect()
        };
        Ok(Self {
            plan,
            site,
            writers: slots("writer", plan.writers)?,
            // The readers, the user, and maintenance.
            others: slots("other", plan.readers + 2)?,
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
        })
    }

    /// Lets the crowd work for as long as `go_on`, which is called with the number of acknowledged records, returns true;
    /// then lets every process end.
    ///
    /// # Errors
    /// When processes cannot be started.
    pub fn run(&self, mut go_on: impl FnMut(u64) -> bool) -> Result<Tally> {
        let (user, maintenance) = (&self.others[self.plan.readers], &self.others[self.plan.readers + 1]);
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            // In this order: the watch lasts until the last process has ended, whatever happens here.
            let _ended = Stop(&ended);
            let _stop = Stop(&self.stop);
            let mut loops = Vec::new();
            for (number, slot) in self.writers.iter().enumerate() {
                loops.push(scope.spawn(move || self.write(number, slot)));
            }
            for (number, slot) in self.others[..self.plan.readers].iter().enumerate() {
                loops.push(scope.spawn(move || self.read(number, slot)));
            }
            loops.push(scope.spawn(|| self.commit(user)));
            loops.push(scope.spawn(|| self.pack_refs(maintenance)));
            scope.spawn(|| self.watch(&ended));
            if self.plan.kill {
                scope.spawn(|| self.kill());
            }
            while go_on(self.acknowledged.load(Ordering::Relaxed)) && !self.is_over() {}
            self.stop.store(true, Ordering::Relaxed);
            let mut sum = Tally::default();
            let mut failed = None;
            for each in loops {
                match each.join() {
                    Ok(Ok(tally)) => sum.add(tally),
                    Ok(Err(error)) => failed = Some(error),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            failed.map_or(Ok(sum), Err)
        })
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn elf(&self, number: usize, args: &[&str]) -> Command {
        let mut command = self.site.command(&self.plan.program, self.site.worktree(number));
        command.args(args);
        command
    }

    /// Runs git in the main worktree, once more when a signal that was meant for us has ended it.
    fn git(&self, slot: &Slot, args: &[&str]) -> Result<Ended> {
        loop {
            let mut git = self.site.command("git", self.site.main());
            git.args(args);
            let ended = self.start(slot, git, None)?;
            if ended.end != End::Interrupted {
                return Ok(ended);
            }
        }
    }

    /// Runs a process; one that cannot even be started ends the whole run.
    fn start(&self, slot: &Slot, command: Command, input: Option<&str>) -> Result<Ended> {
        let program = command.get_program().to_string_lossy().into_owned();
        slot.run(command, input)
            .doing(|| format!("run {program}"))
            .inspect_err(|_| self.stop.store(true, Ordering::Relaxed))
    }

    fn write(&self, number: usize, slot: &Slot) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut known = None;
        for n in 0.. {
            if self.is_over() {
                break;
            }
            // Each writer at another step: imports need the lock for themselves, and in a row they would wait for each other.
            let step = (n + number as u64) % 16;
            match (step, &known) {
                (5, _) => self.import(&mut tally, number, n, slot)?,
                (11, Some(id)) => {
                    let id: &String = id;
                    self.say(&mut tally, number, slot, &["validate", id, "--json"], None)?;
                }
                _ => known = self.record(&mut tally, number, n, slot)?.or(known),
            }
        }
        Ok(tally)
    }

    /// Records one lesson, every fifth writer without waiting; returns the id that was acknowledged.
    fn record(&self, tally: &mut Tally, number: usize, n: u64, slot: &Slot) -> Result<Option<String>> {
        let kind = ["failure", "success", "heuristic", "observation"][usize::try_from(n % 4).unwrap_or(0)];
        let title = format!("{MARK}{number:03}-{n:06}");
        let long = "a line of the body\n".repeat(400);
        let mut args = vec!["record", kind, title.as_str(), "--json"];
        if number % 5 == 4 {
            args.push("--no-wait");
        }
        if n % 8 == 7 {
            args.extend(["-m", long.as_str()]);
        }
        self.say(tally, number, slot, &args, Some(&title))
    }

    /// Runs a verb that prints one receipt as JSON, and notes it.
    fn say(
        &self,
        tally: &mut Tally,
        number: usize,
        slot: &Slot,
        args: &[&str],
        title: Option<&str>,
    ) -> Result<Option<String>> {
        let ended = self.start(slot, self.elf(number, args), None)?;
        if !Self::has_ended(tally, args[0], &ended) {
            return Ok(None);
        }
        let Some(receipt) = receipt(&ended.out) else {
            // A process that was killed may have printed nothing; one that ended well owes a line.
            if ended.end == End::Exit(0) {
                tally.writes_failed += 1;
                tally.complain(args[0], &ended);
            }
            return Ok(None);
        };
        *(if receipt.queued { &mut tally.queued } else { &mut tally.committed }) += 1;
        if title.is_some() && ended.end == End::Exit(0) {
            tally.latencies.push(ended.took);
        }
        self.acknowledge(tally, Acknowledged { id: Some(receipt.id.clone()), title: title.map(str::to_owned) });
        Ok(Some(receipt.id))
    }

    fn import(&self, tally: &mut Tally, number: usize, n: u64, slot: &Slot) -> Result<()> {
        let titles: Vec<_> = (0..BATCH).map(|i| format!("{MARK}{number:03}-{n:06}-{i}")).collect();
        let lines = titles.iter().map(|title| format!("{}\n", json!({"kind": "observation", "title": title})));
        let ended = self.start(
            slot,
            self.elf(number, &["import", "--from", "jsonl", "-", "--json"]),
            Some(&lines.collect::<String>()),
        )?;
        if !Self::has_ended(tally, "import", &ended) || !ended.out.ends_with('\n') {
            return Ok(());
        }
        let said: Json = serde_json::from_str(&ended.out).unwrap_or_default();
        if said["imported"] != BATCH {
            // Every title is new, so anything else is no acknowledgement of all.
            tally.writes_failed += 1;
            tally.complain("import", &ended);
            return Ok(());
        }
        for title in titles {
            tally.committed += 1;
            self.acknowledge(tally, Acknowledged { id: None, title: Some(title) });
        }
        Ok(())
    }

    /// Counts how a writer ended; tells whether what it printed is worth a look.
    fn has_ended(tally: &mut Tally, what: &str, ended: &Ended) -> bool {
        match ended.end {
            End::Exit(0) | End::Interrupted => return true,
            End::Killed => {
                tally.killed += 1;
                return true;
            }
            End::Hung => tally.hung += 1,
            End::Exit(_) => tally.writes_failed += 1,
        }
        tally.complain(what, ended);
        false
    }

    fn acknowledge(&self, tally: &mut Tally, what: Acknowledged) {
        tally.acknowledged.push(what);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self, number: usize, slot: &Slot) -> Result<Tally> {
        let mut tally = Tally::default();
        let questions: [&[&str]; 2] = [&["search", "--json", MARK], &["list", "--json", "-n", PAGE]];
        while !self.is_over() {
            for args in questions {
                let ended = self.start(slot, self.elf(number, args), None)?;
                if ended.end == End::Interrupted {
                    continue;
                }
                tally.reads += 1;
                let valid = || ended.out.lines().all(|line| matches!(serde_json::from_str(line), Ok(Json::Object(_))));
                if ended.end != End::Exit(0) || !valid() {
                    tally.reads_failed += 1;
                    tally.complain(args[0], &ended);
                }
            }
        }
        Ok(tally)
    }

    /// Commits as a user does, with plain git in the main worktree, and collects garbage now and then.
    ///
    /// Not at the same time: `git gc` removes object directories that have become empty, and a `git add` that is about to
    /// write there fails, whatever we do.
    fn commit(&self, slot: &Slot) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut collected = Instant::now();
        let dir = self.site.main().join(USER_DIR);
        sys::create_dir(&dir).doing(|| format!("create {}", dir.display()))?;
        for n in 0_u64.. {
            if self.is_over() {
                break;
            }
            let path = dir.join(format!("notes-{}", n % 100));
            sys::append(&path, format!("note {n}\n").as_bytes()).doing(|| format!("write {}", path.display()))?;
            let message = format!("note {n}");
            let mut done = true;
            for args in [&["add", USER_DIR][..], &["commit", "-q", "-m", &message]] {
                let ended = self.git(slot, args)?;
                done = ended.end == End::Exit(0);
                if !done {
                    tally.complain(&format!("git {}", args[0]), &ended);
                    break;
                }
            }
            *(if done { &mut tally.user_commits } else { &mut tally.user_commits_failed }) += 1;
            if collected.elapsed() > GC_EVERY {
                self.maintain(&mut tally, slot, &["gc", "-q"])?;
                collected = Instant::now();
            }
        }
        Ok(tally)
    }

    /// Packs refs now and then.
    fn pack_refs(&self, slot: &Slot) -> Result<Tally> {
        let mut tally = Tally::default();
        loop {
            self.pause(Duration::from_millis(fastrand::u64(300..1500)));
            if self.is_over() {
                return Ok(tally);
            }
            self.maintain(&mut tally, slot, &["pack-refs", "--all"])?;
        }
    }

    fn maintain(&self, tally: &mut Tally, slot: &Slot, args: &[&str]) -> Result<()> {
        let ended = self.git(slot, args)?;
        tally.maintenance += 1;
        if ended.end != End::Exit(0) {
            tally.maintenance_failed += 1;
            tally.complain(&format!("git {}", args[0]), &ended);
        }
        Ok(())
    }

    fn pause(&self, time: Duration) {
        let mut left = time;
        while !self.is_over() && !left.is_zero() {
            let step = left.min(Duration::from_millis(50));
            thread::sleep(step);
            left -= step;
        }
    }

    fn kill(&self) {
        while !self.is_over() {
            thread::sleep(Duration::from_millis(fastrand::u64(20..=50)));
            if let Some(slot) = fastrand::choice(&self.writers) {
                slot.kill();
            }
        }
    }

    /// Ends processes that hang, so that the run ends too.
    fn watch(&self, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
            for slot in self.writers.iter().chain(&self.others) {
                slot.kill_when_hung(HUNG_AFTER);
            }
        }
    }
}

struct Receipt {
    id: String,
    queued: bool,
}

/// Reads the receipt, if its line is complete.
fn receipt(out: &str) -> Option<Receipt> {
    let line = out.strip_suffix('\n')?;
    let json: Json = serde_json::from_str(line).ok()?;
    let text = |key: &str| json[key].as_str().map(str::to_owned);
    Some(Receipt { id: text("id")?, queued: text("state")? == "queued" })
}

#[cfg(test)]
mod tests {
    use super::receipt;

    #[test]
    fn only_a_whole_line_acknowledges() {
        let line = "{\"id\":\"dz8tmjq3t3snb6xj\",\"state\":\"queued\",\"commit\":null,\"path\":\"x\"}\n";
        let whole = receipt(line).unwrap();
        assert!(whole.queued);
        assert_eq!(whole.id, "dz8tmjq3t3snb6xj");
        for cut in 0..line.len() {
            assert!(receipt(&line[..cut]).is_none(), "{}", &line[..cut]);
        }
    }
}
