// Amplitude's library for Node tells what tests/pqlapp/sdk/amplitude_story.py expects, or tracks the events in EVENTS.
import * as amplitude from "@amplitude/analytics-node";

const { HOST, KEY, EVENTS, PATHNAME } = process.env;
const ann = { user_id: "ann", device_id: "device-1" };
setInterval(() => {}, 1000); // between two attempts the library does not keep the process alive
await amplitude.init(KEY, {
  serverUrl: `${HOST}${PATHNAME ?? "/2/httpapi"}`,
  flushIntervalMillis: 50,
  flushMaxRetries: 6,
  logLevel: amplitude.Types.LogLevel.None,
}).promise;

function described(properties, identify = new amplitude.Identify()) {
  Object.entries(properties).forEach(([name, value]) => identify.set(name, value));
  return identify;
}

function tell() {
  const file = { size: 17.5, name: "Q3 🎉.csv", tags: ["a", "b"] };
  const identify = described({ email: "ann@acme.example", seats: 4 });
  identify.setOnce("source", "ad").unset("trial").add("logins", 2).append("items", "hat");
  const revenue = new amplitude.Revenue().setPrice(19.9).setQuantity(3).setProductId("pro");
  return [
    amplitude.track("File Uploaded", file, { ...ann, time: 1795176000000, groups: { company: ["acme"] } }),
    amplitude.identify(identify, ann),
    amplitude.setGroup("company", "acme", ann),
    amplitude.groupIdentify("company", "acme", described({ name: "Acme & Søns", plan: "free" })),
    amplitude.revenue(revenue, ann),
  ];
}

const made = EVENTS ? JSON.parse(EVENTS).map(([name, properties]) => amplitude.track(name, properties, ann)) : tell();
const settled = await Promise.all(made.map(({ promise }) => promise));
console.log(JSON.stringify({ codes: settled.map(({ code }) => code) }));
process.exit(0);
