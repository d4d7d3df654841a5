// PostHog's library for Node tells the story, or captures the events in EVENTS; prints what it gave up.
import { PostHog } from "posthog-node";

const { HOST, KEY, EVENTS, GZIP } = process.env; // and POSTHOG_CAPTURE_MODE, which the library reads itself
const failures = [];
setInterval(() => {}, 1000); // between two attempts the library does not keep the process alive
const client = new PostHog(KEY, {
  host: HOST,
  disableCompression: GZIP === "off",
  flushAt: 20,
  flushInterval: 10_000,
  fetchRetryCount: 2,
  fetchRetryDelay: 100,
});
client.on("error", (error) => failures.push(described(error)));

function described(error) {
  return { name: error?.name, text: String(error?.message ?? error), drops: error?.drops ?? [], status: error?.status };
}

// What tests/pqlapp/sdk/posthog_story.py tells in Python.
function tell() {
  const minute = (n) => new Date(Date.UTC(2026, 4, 1, 9, 30 + n));
  const [distinctId, groups] = ["ann", { company: "acme" }];
  const traits = { email: "ann@acme.example", seats: 4 };
  const identify = { $anon_distinct_id: "anon-1", $set: traits, $set_once: { source: "ad" } };
  const page = { $current_url: "https://acme.example/pricing", $pathname: "/pricing", $referrer: "$direct" };
  const file = { size: 17.5, name: "Q3 🎉.csv", tags: ["a", { b: null }] };
  const uuid = "0196ab3c-5f2e-7000-8000-00000000000a";
  client.capture({ distinctId, event: "$identify", properties: identify, timestamp: minute(0) });
  client.capture({ distinctId, event: "$create_alias", properties: { distinct_id: distinctId, alias: "anon-2" }, timestamp: minute(1) });
  client.capture({
    distinctId: "$company_acme",
    event: "$groupidentify",
    properties: { $group_type: "company", $group_key: "acme", $group_set: { name: "Acme & Søns", plan: "free" } },
    timestamp: minute(2),
  });
  client.capture({ distinctId, event: "$pageview", properties: page, timestamp: minute(3) });
  client.capture({ distinctId, event: "File Uploaded", properties: file, groups, timestamp: minute(4), uuid });
  client.capture({ event: "Report Built", groups, timestamp: minute(5) });
}

// The same people by the library's own verbs, which know no other time than now.
function introduce() {
  client.identify({ distinctId: "ann", properties: { $set: { seats: 4 }, $set_once: { source: "ad" } } });
  client.alias({ distinctId: "ann", alias: "anon-2" });
  client.groupIdentify({ groupType: "company", groupKey: "acme", properties: { plan: "free" } });
  client.capture({ distinctId: "ann", event: "Invited", groups: { company: "acme" } });
}

if (EVENTS === "introduce") introduce();
else if (EVENTS) JSON.parse(EVENTS).forEach((event) => client.capture(event));
else tell();
const flags = process.env.FLAGS ? await client.getAllFlags("ann") : undefined;
await client.flush().catch((error) => failures.push(described(error)));
await client.shutdown().catch((error) => failures.push(described(error)));
console.log(JSON.stringify({ failures, flags }));
process.exit(0);
