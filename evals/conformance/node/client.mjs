// A client of the TypeScript SDK: looks around, makes a call that is held, waits until a person has approved it, and makes it again.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, token] = process.argv.slice(2);
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } });
const client = new Client({ name: "typescript", version: "1" });
await client.connect(transport);
const { tools } = await client.listTools();
const listed = await client.callTool({ name: "apps_list", arguments: {} });
const purge = { name: "logs_purge", arguments: { names: ["web"] } };
const held = (await client.callTool(purge)).structuredContent;
console.log(JSON.stringify({ tools: tools.length, apps: listed.structuredContent.items.length, held: held.status, approval: held.approval?.id }));
for (;;) {
  const a = (await client.callTool({ name: "approvals_wait", arguments: { id: held.approval.id, timeout_s: 20 } })).structuredContent;
  if (a.state !== "pending" && a.status !== "pending") break;
}
const done = await client.callTool(purge);
console.log(JSON.stringify({ status: done.structuredContent?.status, error: done.isError ?? false }));
await transport.terminateSession();
await client.close();
