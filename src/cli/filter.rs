//! The filters that `list` and `search` share.

use crate::error::{Error, Result};
use crate::index::Filter;
use crate::record::{Kind, Time, field};
use crate::repo::Repo;
use crate::store::Scope;

#[derive(clap::Args)]
pub struct FilterArgs {
    /// Only this kind; may be given several times
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Only records with this tag; given several times, all of them
    #[arg(long, visible_alias = "tags", value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,
    /// Any of the tags is enough
    #[arg(long, requires = "tag")]
    any_tag: bool,
    /// Only golden rules
    #[arg(long)]
    golden: bool,
    /// Only records whose key has this value, such as status=accepted; given several times, all of them
    #[arg(long = "where", value_name = "KEY=VALUE")]
    values: Vec<String>,
    /// Only what was recorded since then: anything that `git log --since` takes
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only records about this file or directory
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only records whose author contains this
    #[arg(long, value_name = "TEXT")]
    author: Option<String>,
    /// Only records of this coding agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    #[command(flatten)]
    reach: ReachArg,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Include what was retracted or superseded
    #[arg(long)]
    all: bool,
}

/// Which records are asked for by where they were learned.
#[derive(clap::Args)]
pub struct ReachArg {
    /// By where it was learned: on the main line; there or on your own work; anywhere
    #[arg(long, value_name = "merged|mine|all", default_value = "all", hide_default_value = true)]
    reach: ScopeArg,
}

/// The words of `--reach`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ScopeArg {
    Merged,
    Mine,
    All,
}

impl ReachArg {
    /// Returns the scope.
    pub fn scope(&self) -> Scope {
        match self.reach {
            ScopeArg::Merged => Scope::Merged,
            ScopeArg::Mine => Scope::Mine,
            ScopeArg::All => Scope::All,
        }
    }
}

impl FilterArgs {
    /// Returns which records are asked for by where they were learned.
    pub fn scope(&self) -> Scope {
        self.reach.scope()
    }

    /// Checks the values and resolves the time.
    pub fn resolve(self, repo: &Repo, default_limit: Option<usize>) -> Result<Filter> {
        Ok(Filter {
            kinds: self.kind.iter().map(|kind| kind.parse::<Kind>()).collect::<Result<_>>()?,
            domain: self.domain.map(|domain| field::domain(&domain)).transpose()?,
            tags: self.tag,
            any_tag: self.any_tag,
            golden: self.golden,
            values: self.values.iter().map(|typed| key_and_value(typed)).collect::<Result<_>>()?,
            since: self.since.map(|since| resolve_since(repo, &since)).transpose()?,
            path: self.path.map(|path| path.trim_start_matches("./").trim_end_matches('/').to_owned()),
            author: self.author,
            agent: self.agent,
            limit: self.limit.or(default_limit),
            all: self.all,
            admitted: None,
            sightings: false,
        })
    }
}

/// Takes `KEY=VALUE` apart.
fn key_and_value(typed: &str) -> Result<(String, String)> {
    let parts = typed.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    parts.ok_or_else(|| Error::invalid("where", format!("{} is no KEY=VALUE", field::quoted(typed))))
}

/// Asks git itself what a time such as "2 weeks ago" means.
pub fn resolve_since(repo: &Repo, since: &str) -> Result<Time> {
    let bad = || Error::invalid("since", format!("{} is no time that git understands", field::quoted(since)));
    if let Ok(time) = since.parse() {
        return Ok(time);
    }
    let output = repo.command().arg("rev-parse").arg(format!("--since={since}")).output();
    let output = output.map_err(|source| Error::Io { doing: "run git rev-parse".into(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = text.trim().strip_prefix("--max-age=").and_then(|seconds| seconds.parse().ok());
    seconds.and_then(Time::from_seconds).ok_or_else(bad)
}
