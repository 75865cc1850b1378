// What somebody writes who has generated types from the OpenAPI document: stores, counts with a
// filter, breaks down, pages. It gets the address and a key, and prints what it has seen.
import createClient from "openapi-fetch";
import type { components, paths } from "./build/pgtally.js";

type Event = components["schemas"]["Event"];
const client = createClient<paths>({
  baseUrl: process.env.PGTALLY_URL,
  headers: { "X-API-Key": process.env.PGTALLY_KEY },
});
const sale: Event = { type: "sale", actorId: "u1", data: { plan: "pro", seats: 5 } };
const stored = await client.POST("/events", { body: sale });
const events: Event[] = [0, 1, 2, 3, 4, 5].map((seats) => ({ type: "sale", value: 1.5, data: { seats } }));
const receipt = await client.POST("/events/bulk", { body: { events } });
const counted = await client.GET("/analytics/events/count", {
  params: { query: { type: ["sale"], data: { seats: ">=4" } } },
});
const parts = await client.GET("/analytics/events/breakdown", {
  params: { query: { by: ["data.seats"], type: ["sale"], limit: 2 } },
});
const lengths: number[] = [];
let before: string | undefined;
do {
  const { data, error } = await client.GET("/events", { params: { query: { limit: 5, before } } });
  if (!data) throw new Error(error.detail);
  lengths.push(data.events.length);
  before = data.next ?? undefined;
} while (before);
console.log(stored.data?.data.plan, receipt.data?.accepted, counted.data?.total, lengths);
const groups = parts.data?.groups.map((group) => [group.values, group.total]);
console.log(JSON.stringify(groups), parts.data?.other.total, parts.data?.total);
