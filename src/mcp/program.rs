//! Running `git-elf`.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Map, Value as Json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::arguments::Invocation;

/// Longest name of a client that becomes the name of an agent, in characters.
const NAME_MAX: usize = 100;

/// What a run of `git-elf` said.
#[derive(Debug, Default)]
pub struct Said {
    /// The objects on stdout.
    pub rows: Vec<Map<String, Json>>,
    /// The error that it ended with.
    pub error: Option<Failure>,
    /// What else it said on stderr: a line each.
    pub talk: Vec<String>,
}

/// Why a run of `git-elf` failed, and what to do.
#[derive(Debug)]
pub struct Failure {
    pub what: String,
    pub field: Option<String>,
    pub next: Option<String>,
}

/// Runs `git-elf` to its end. It is left alone when the call is given up, since a record may be half way to the disk.
pub async fn run(invocation: &Invocation, client: Option<&str>) -> Said {
    match output(invocation, client).await {
        Ok(output) => read(output.status.code(), &output.stdout, &output.stderr),
        Err(error) => Said {
            error: Some(Failure {
                what: format!("cannot run git-elf: {error}"),
                field: None,
                next: Some("install git-elf beside git-elf-mcp, or put it on the PATH".into()),
            }),
            ..Said::default()
        },
    }
}

async fn output(invocation: &Invocation, client: Option<&str>) -> io::Result<std::process::Output> {
    let mut command = Command::new(program());
    command.args(&invocation.args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if invocation.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    if let Some(name) = client.map(one_line).filter(|name| !name.is_empty()) {
        command.env("ELF_CLIENT", name);
    }
    let mut child = command.spawn()?;
    if let (Some(text), Some(mut stdin)) = (&invocation.stdin, child.stdin.take()) {
        // Whoever refuses the arguments does not read the text.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    child.wait_with_output().await
}

/// Returns the `git-elf` that was installed with this program, else the one on the PATH.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("git-elf"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| "git-elf".into())
}

fn one_line(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect::<String>().trim().to_owned()
}

fn read(status: Option<i32>, stdout: &[u8], stderr: &[u8]) -> Said {
    let mut said = Said::default();
    let objects = |line: &str| serde_json::from_str::<Map<String, Json>>(line).ok();
    for line in String::from_utf8_lossy(stdout).lines() {
        said.rows.extend(objects(line));
    }
    for line in String::from_utf8_lossy(stderr).lines() {
        match objects(line).filter(|object| object.contains_key("error")) {
            Some(object) => {
                let text = |key: &str| object.get(key).and_then(Json::as_str).map(str::to_owned);
                said.error =
                    Some(Failure { what: text("error").unwrap_or_default(), field: text("field"), next: text("hint") });
            }
            None => said.talk.push(line.to_owned()),
        }
    }
    if status != Some(0) && said.error.is_none() {
        let how = status.map_or("was killed".to_owned(), |status| format!("ended with exit status {status}"));
        let what = format!("git-elf {how}: {}", said.talk.join("; "));
        said.error = Some(Failure { what, field: None, next: Some("git elf doctor".into()) });
    }
    said
}
