//! The server: what it says about itself, and its answers to a client.

use std::borrow::Cow;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool as Listed, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};

use tokio::sync::Semaphore;

use super::arguments::invocation;
use super::tools::{INSTRUCTIONS, TOOLS, Tool, find};
use super::{answer, program};

/// Processes of `git-elf` that run at the same time; more calls than that wait.
const PROCESSES_MAX: usize = 8;

/// The server. What it knows is in the repository.
#[derive(Debug)]
pub struct Server {
    processes: Semaphore,
}

impl Server {
    /// Makes the server.
    pub fn new() -> Self {
        Self { processes: Semaphore::new(PROCESSES_MAX) }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("git-elf", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(TOOLS.iter().map(listed).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = find(&request.name) else {
            let names: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
            let text = format!("there is no tool {:?}; there are {}", request.name, names.join(", "));
            return Err(ErrorData::invalid_params(Cow::Owned(text), None));
        };
        let mut invocation = match invocation(tool, &request.arguments.unwrap_or_default()) {
            Ok(invocation) => invocation,
            Err(wrong) => return Ok(answer::rejected(tool, wrong).into()),
        };
        if tool.name == "search" {
            // One more than is shown, to know whether there is more.
            let limit = invocation.number("limit").unwrap_or_default() + 1;
            invocation.args.insert(1, format!("--limit={limit}"));
        }
        let client = context.client_info().map(|client| client.name);
        let _turn = self.processes.acquire().await;
        let said = program::run(&invocation, client.as_deref()).await;
        Ok(answer::answer(tool, &invocation, &said).into())
    }
}

fn listed(tool: &Tool) -> Listed {
    let annotations = ToolAnnotations::new().read_only(!tool.writes).destructive(false).open_world(false);
    Listed::new(tool.name, tool.about, tool.schema()).with_annotations(annotations)
}
