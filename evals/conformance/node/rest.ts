// A client made of the OpenAPI document: it compiles only if what it is told is what the document says.
import createClient from "openapi-fetch";
import type { paths } from "./generated/api.js";

declare const process: { argv: string[] };
const [url, token] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

const listed = await client.GET("/api/v1/apps/list", { params: { query: { limit: 5 } } });
if (listed.error) throw new Error(listed.error.error.message);
if (!("items" in listed.data)) throw new Error(listed.data.error.message); // 202: a person has to decide first
const names: string[] = listed.data.items.map((app) => app.name);

const plan = await client.POST("/api/v1/apps/restart", { body: { names: ["web"], dry_run: true } });
if (plan.error) throw new Error(plan.error.error.message);

const nope = await client.POST("/api/v1/apps/get", { body: { name: "nope" } });
console.log(JSON.stringify({ names, plan: plan.data.status, items: plan.data.plan?.items.length, nope: nope.error?.error.code, status: nope.response.status }));
