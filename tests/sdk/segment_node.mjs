// Segment's library for Node: the six calls, one batch.
import { Analytics } from "@segment/analytics-node";

const { HOST, KEY } = process.env;
const analytics = new Analytics({ writeKey: KEY, host: HOST, flushInterval: 50 });
const failures = [];
analytics.on("error", (error) => failures.push(`${error.code}: ${error.reason?.message ?? error.reason}`));
analytics.track({ userId: "ann", event: "File Uploaded", properties: { size: 17 } });
await analytics.closeAndFlush();
console.log(JSON.stringify({ failures }));
