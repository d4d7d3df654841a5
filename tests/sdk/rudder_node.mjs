// RudderStack's library for Node tells the story, or makes the calls in CALLS; prints what it gave up.
import RudderAnalytics from "@rudderstack/rudder-sdk-node";
import { tell } from "./segment_story.mjs";

const { HOST, KEY, CALLS, GZIP } = process.env;
const failures = [];
const analytics = new RudderAnalytics(KEY, {
  dataPlaneUrl: HOST,
  gzip: GZIP !== "off",
  flushInterval: 50,
  logLevel: "none",
  errorHandler: (error) => failures.push(String(error.message)),
});
if (CALLS) JSON.parse(CALLS).forEach((call) => analytics.track(call));
else tell(analytics);
await analytics.flush().catch((error) => failures.push(String(error.message)));
console.log(JSON.stringify(failures));
process.exit(0);
