// A real client for tests/mcp: reads one JSON object a line, does what it says, and answers with one line.
//
//   {"op":"start","server":"…","args":[…],"name":"…"}   connects; answers what the server says about itself
//   {"op":"list"}                                       the tools
//   {"op":"call","name":"…","arguments":{…}}            a tool; with "calls":[{…},…] instead, several at once
//   {"op":"close"}                                      the orderly end

import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.ELF_TEST_NODE_MODULES + "/");
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = await load("@modelcontextprotocol/sdk/client/stdio.js");

let client, transport;

async function act(step) {
  switch (step.op) {
    case "start":
      client = new Client({ name: step.name, version: "1.0.0" });
      transport = new StdioClientTransport({ command: step.server, args: step.args, cwd: step.cwd, env: process.env, stderr: "inherit" });
      await client.connect(transport);
      return { server: client.getServerVersion(), instructions: client.getInstructions(), pid: transport.pid };
    case "list":
      return await client.listTools();
    case "call":
      return step.calls
        ? await Promise.all(step.calls.map((call) => client.callTool(call)))
        : await client.callTool({ name: step.name, arguments: step.arguments });
    case "close":
      await client.close();
      return {};
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = await act(JSON.parse(line));
  } catch (error) {
    answer = { thrown: String(error?.message ?? error), code: error?.code };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
