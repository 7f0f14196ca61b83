//! The `git-elf-mcp` program: a Model Context Protocol server on stdin and stdout, for the repository of its current directory.
//!
//! Each call of a tool runs `git-elf` once, with `--json`: the same checks, secret scan and durability as on the command line. So the server
//! holds no lock, no handle and no copy of the memory between two calls, sees at once what others have changed, and when it is
//! killed a record that was being written is as safe as if its own process had been left alone, which is the case. The price is a
//! start of a process, some milliseconds a call.

mod answer;
mod arguments;
mod program;
mod server;
mod tools;

use anyhow::anyhow;
use rmcp::ServiceExt;

fn main() -> anyhow::Result<()> {
    if std::env::args_os().nth(1).is_some() {
        return Err(anyhow!("git-elf-mcp takes no arguments: an MCP client starts it; git elf mcp -h says how"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let service = server::Server::new().serve(rmcp::transport::io::stdio_pipes()).await?;
        service.waiting().await.map_err(anyhow::Error::from)
    });
    // A read of stdin that is under way must not keep the process alive after its client has gone.
    runtime.shutdown_background();
    served.map(|_| ()).map_err(|error| anyhow!("{}", git_elf::cli::escaped(&format!("{error:#}"))))
}
