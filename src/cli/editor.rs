//! The user's editor, as git would start it.

use std::io::{IsTerminal, Write};
use std::process::Command;

use tempfile::NamedTempFile;

use crate::error::{Doing, Error, Result};
use crate::record::Kind;
use crate::repo::Repo;

/// Lines that start with this are ours and are dropped.
const MARK: &str = "# elf: ";

/// Lets the user write title and body of a new record.
///
/// # Errors
/// When the editor fails or nothing was written.
pub fn compose(repo: &Repo, kind: Kind, body: &str) -> Result<(String, String)> {
    let mut template = format!(
        "\n\n{MARK}first line: the title; then a blank line and the body ({kind})\n{MARK}an empty title stops here\n"
    );
    if body.is_empty() {
        for section in kind.sections() {
            template.push_str(&format!("\n## {section}\n"));
        }
    } else {
        template = format!("\n\n{body}\n{}", template.trim_start());
    }
    let text = edit(repo, &template)?;
    let (title, body) = text.trim_start().split_once('\n').unwrap_or((text.trim(), ""));
    // A heading of the template in the first place means that no title was written above it.
    let is_heading = title.strip_prefix("## ").is_some_and(|heading| kind.sections().contains(&heading.trim()));
    if title.trim().is_empty() || is_heading {
        return Err(Error::invalid("title", "is empty: nothing was recorded"));
    }
    Ok((title.to_owned(), body.trim_matches('\n').to_owned()))
}

/// Opens `text` in the user's editor and returns what was saved, without the lines that are ours.
///
/// # Errors
/// When the editor cannot be run or fails.
pub fn edit(repo: &Repo, text: &str) -> Result<String> {
    let (saved, _) = run(repo, ".md", text)?;
    let saved = String::from_utf8(saved).map_err(|error| Error::invalid("file", format!("is not UTF-8: {error}")))?;
    Ok(saved.split_inclusive('\n').filter(|line| !line.starts_with(MARK)).collect())
}

/// Opens a list of things to do and returns what was saved, with the file, which is removed when it is dropped.
///
/// # Errors
/// When the editor cannot be run or fails, or nobody is there to use the one that git falls back to.
pub fn todo(repo: &Repo, text: &str) -> Result<(String, NamedTempFile)> {
    let is_set =
        ["GIT_EDITOR", "VISUAL", "EDITOR"].iter().any(|name| std::env::var_os(name).is_some_and(|it| !it.is_empty()));
    let is_configured = || repo.settings().is_ok_and(|settings| settings.get("core.editor").is_some());
    if !std::io::stdin().is_terminal() && !is_set && !is_configured() {
        return Err(no_editor("there is no terminal and no editor is set"));
    }
    let (saved, file) = run(repo, ".txt", text)?;
    Ok((String::from_utf8_lossy(&saved).into_owned(), file))
}

fn no_editor(why: &str) -> Error {
    let hint = "set core.editor, GIT_EDITOR, VISUAL or EDITOR; git elf list shows what there is".to_owned();
    Error::Refused { what: format!("{why}: nothing was changed"), hint }
}

fn run(repo: &Repo, suffix: &str, text: &str) -> Result<(Vec<u8>, NamedTempFile)> {
    let doing = || "write a file for the editor".to_owned();
    let mut file = tempfile::Builder::new().prefix("elf-").suffix(suffix).tempfile().doing(doing)?;
    file.write_all(text.as_bytes()).doing(doing)?;
    let editor = repo.command().args(["var", "GIT_EDITOR"]).output().doing(|| "ask git for the editor".into())?;
    if !editor.status.success() {
        return Err(no_editor("git knows no editor that works here"));
    }
    let editor = String::from_utf8_lossy(&editor.stdout).trim().to_owned();
    // git runs the editor through the shell, so that it may have arguments.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$@\"")).arg("editor").arg(file.path()).status();
    let status = status.doing(|| format!("run {editor}"))?;
    if !status.success() {
        return Err(Error::Refused {
            what: format!("the editor ended with {status}: nothing was changed"),
            hint: String::new(),
        });
    }
    let saved = std::fs::read(file.path()).doing(|| "read what the editor saved".into())?;
    Ok((saved, file))
}
