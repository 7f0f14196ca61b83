//! What plain git finds when everything has ended, compared with what was acknowledged.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::crowd::{Tally, USER_DIR};
use super::site::Site;
use super::verdict::{Filed, compare, percentile};
use super::{Plan, Report};
use crate::error::{Doing, Error, Result};
use crate::sys;

/// The ledger's ref: the throw-away repository has no configuration that names another.
const LEDGER: &str = "refs/elf/memory";
/// The directory in the ledger whose files are no records.
const README: &str = "README.md";

/// Examines the repository and adds it all up.
///
/// # Errors
/// When git or the program cannot be run, or git cannot read the ledger.
pub(super) fn examine(plan: &Plan, site: &Site, tally: &Tally, elapsed: Duration) -> Result<Report> {
    // First of all: it drains what is queued.
    let check_findings = findings(site.command(&plan.program, site.main()).args(["check", "--json"]))?;
    let fsck_findings = findings(site.command("git", site.main()).args(["fsck", "--strict", "--no-dangling"]))?;
    let filed = ledger(site)?;
    let compared = compare(&tally.acknowledged, &filed);
    let mut latencies = tally.latencies.clone();
    latencies.sort_unstable();
    Ok(Report {
        seconds: elapsed.as_secs_f64(),
        writers: plan.writers,
        readers: plan.readers,
        worktrees: site.worktrees(),
        file_system: sys::FileSystem::of(site.main()).name,
        acknowledged: tally.acknowledged.len(),
        committed: tally.committed,
        queued: tally.queued,
        found: compared.found,
        missing: compared.missing,
        duplicated: compared.duplicated,
        unacknowledged: compared.unacknowledged,
        killed: tally.killed,
        hung: tally.hung,
        writes_failed: tally.writes_failed,
        reads: tally.reads,
        reads_failed: tally.reads_failed,
        user_commits: tally.user_commits,
        user_commits_failed: tally.user_commits_failed,
        user_findings: user_findings(site, tally)?,
        maintenance: tally.maintenance,
        maintenance_failed: tally.maintenance_failed,
        drains: if filed.is_empty() { 0 } else { count(site, LEDGER)? },
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
        check_findings,
        fsck_findings,
        complaints: tally.complaints.iter().map(ToString::to_string).collect(),
        kept: None,
    })
}

/// Runs a check; what it says is a finding when its exit status is not 0.
fn findings(command: &mut Command) -> Result<Vec<String>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().doing(|| format!("run {program}"))?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let said = [output.stdout, output.stderr].concat();
    let mut lines: Vec<_> = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
    if lines.is_empty() {
        lines.push(output.status.to_string());
    }
    Ok(lines)
}

fn count(site: &Site, rev: &str) -> Result<u64> {
    let text = site.git(["rev-list", "--count", rev])?;
    let text = String::from_utf8_lossy(&text);
    text.trim().parse().map_err(|_| unexpected("rev-list", &text))
}

/// Reads every record of the ledger.
fn ledger(site: &Site) -> Result<Vec<Filed>> {
    if site.git(["for-each-ref", LEDGER])?.is_empty() {
        return Ok(Vec::new());
    }
    let tree = site.git(["ls-tree", "-r", LEDGER])?;
    let tree = String::from_utf8_lossy(&tree);
    let mut names = Vec::new();
    let mut wanted = String::new();
    for line in tree.lines() {
        let entry = line.split_once('\t').and_then(|(head, path)| Some((head.split(' ').nth(2)?, path)));
        let (blob, path) = entry.ok_or_else(|| unexpected("ls-tree", line))?;
        if path != README {
            wanted.push_str(blob);
            wanted.push('\n');
            names.push(path.to_owned());
        }
    }
    let texts = blobs(site, &wanted)?;
    if texts.len() != names.len() {
        return Err(unexpected("cat-file", &format!("{} of {} objects", texts.len(), names.len())));
    }
    Ok(names.iter().zip(&texts).map(|(path, text)| filed(path, text)).collect())
}

/// Prints objects with `git cat-file --batch`; the list goes there in a file, so that neither side waits for the other.
fn blobs(site: &Site, wanted: &str) -> Result<Vec<String>> {
    let list = site.file("objects");
    sys::append(&list, wanted.as_bytes()).doing(|| format!("write {}", list.display()))?;
    let list = std::fs::File::open(&list).doing(|| format!("read {}", list.display()))?;
    let mut command = site.command("git", site.main());
    let output = command.args(["cat-file", "--batch"]).stdin(Stdio::from(list)).output();
    let output = output.doing(|| "run git".into())?.stdout;
    let mut rest = &output[..];
    let mut texts = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size = head.rsplit(' ').next().and_then(|size| size.parse().ok()).filter(|_| head.contains(" blob "));
        let size: usize = size.ok_or_else(|| unexpected("cat-file", &head))?;
        let text = rest.get(end + 1..end + 1 + size).ok_or_else(|| unexpected("cat-file", &head))?;
        texts.push(String::from_utf8_lossy(text).into_owned());
        rest = rest.get(end + 2 + size..).unwrap_or_default();
    }
    Ok(texts)
}

/// Reads id and title from the front matter, line by line; a file whose name has another id counts as that other one.
fn filed(path: &str, text: &str) -> Filed {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned()).unwrap_or_default()
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    let name_id = name.split(['-', '.']).next().unwrap_or_default();
    let (id, title) = (value("id"), value("title"));
    if id == name_id { Filed { id, title } } else { Filed { id: name_id.to_owned(), title: format!("{id} in {path}") } }
}

/// Looks for anything in the user's branch and worktrees that the user did not put there.
fn user_findings(site: &Site, tally: &Tally) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let commits = count(site, "main")?;
    // One is the repository's first.
    if commits != tally.user_commits + 1 {
        findings.push(format!("{} commits were made and {commits} are in the history", tally.user_commits + 1));
    }
    let touched = site.git(["log", "--format=", "--name-only", "main"])?;
    let touched: BTreeSet<_> = String::from_utf8_lossy(&touched).lines().map(str::to_owned).collect();
    findings.extend(touched.into_iter().filter(|path| !path.is_empty() && !path.starts_with(USER_DIR)));
    for number in 0..site.worktrees() {
        let dir = site.worktree(number).display().to_string();
        let status = site.git(["-C", dir.as_str(), "status", "--porcelain"])?;
        findings.extend(String::from_utf8_lossy(&status).lines().map(|line| format!("git status in {dir}: {line}")));
    }
    Ok(findings)
}

fn unexpected(verb: &str, said: &str) -> Error {
    Error::Problems { what: format!("git {verb} printed something unexpected: {}", said.trim()) }
}

#[cfg(test)]
mod tests {
    use super::filed;

    #[test]
    fn a_file_whose_name_and_front_matter_disagree_is_nobodys_record() {
        let text = "+++\nid = \"dz8tmjq3t3snb6xj\"\nkind = \"failure\"\ntitle = \"torture 001\"\n+++\n";
        let sound = filed("failures/d/z/8/dz8tmjq3t3snb6xj-torture-001.md", text);
        assert_eq!((sound.id.as_str(), sound.title.as_str()), ("dz8tmjq3t3snb6xj", "torture 001"));
        let moved = filed("failures/k/m/g/kmgbjtxtmtkkwqne.md", text);
        assert_eq!(moved.id, "kmgbjtxtmtkkwqne");
        assert_ne!(moved.title, "torture 001");
    }
}
