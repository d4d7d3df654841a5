// Segment's library for Node tells the story, or makes the calls in CALLS; prints what it gave up.
import { Analytics } from "@segment/analytics-node";
import { tell } from "./segment_story.mjs";

const { HOST, KEY, CALLS } = process.env;
const analytics = new Analytics({ writeKey: KEY, host: HOST, flushInterval: 50 });
const failures = [];
analytics.on("error", ({ code, reason, ctx }) => failures.push([code, String(reason?.message ?? reason), ctx?.event.event]));
if (CALLS) JSON.parse(CALLS).forEach((call) => analytics.track(call));
else tell(analytics);
await analytics.closeAndFlush();
console.log(JSON.stringify(failures));
