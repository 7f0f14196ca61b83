//! `git elf migrate`: move the memory to another ref.

use serde_json::{Map, json};

use super::{Context, Done, Outcome, open_store};
use crate::install;

/// Most files that are named.
const LISTED_MAX: usize = 10;

/// Move the memory to another ref, with its history and ids
///
/// Every file goes over as it is. The old ref keeps its files, and says in one more where the memory is.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  git elf migrate --ref refs/heads/memory\n  git elf migrate --ref HEAD")]
pub struct Args {
    /// Where to: refs/elf/NAME, refs/heads/NAME, or HEAD for files below memory/ on the current branch (sets elf.ref)
    #[arg(long = "ref", value_name = "REF")]
    name: String,
    /// Print {"from","to","files","commit","left"}
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, context: &mut Context) -> Outcome {
        let store = open_store()?;
        let done = store.migrate(&self.name, || install::select_ref(store.repo(), &self.name).map(drop))?;
        for path in done.left.iter().take(LISTED_MAX) {
            talk!("elf: {path} is no record and stays where it is");
        }
        if done.left.len() > LISTED_MAX {
            talk!("elf: … and {} more files", done.left.len() - LISTED_MAX);
        }
        if self.json {
            let mut object = Map::new();
            object.insert("from".into(), json!(done.from));
            object.insert("to".into(), json!(done.to));
            object.insert("files".into(), json!(done.files));
            object.insert("commit".into(), json!(done.commit.to_string()));
            object.insert("left".into(), json!(done.left));
            context.out.json(&object)?;
            return Ok(Done::Well);
        }
        let files = if done.files == 1 { "file" } else { "files" };
        let out = &mut context.out;
        out.line(&format!("moved {} {files} from {} to {}", done.files, done.from, done.to))?;
        out.line(&format!("elf.ref is now {}; other clones follow with git elf init --ref {}", done.to, done.to))?;
        Ok(Done::Well)
    }
}
