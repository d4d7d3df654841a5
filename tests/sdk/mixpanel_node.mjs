// Mixpanel's library for Node tells what tests/pqlapp/sdk/mixpanel_story.py expects, or says what SAY names.
import Mixpanel from "mixpanel";

const { HOST, KEY, SAY, VERBOSE } = process.env;
const client = Mixpanel.init(KEY, {
  host: new URL(HOST).host,
  protocol: "http",
  key: "an old key of Mixpanel's own",
  verbose: VERBOSE === "1",
  logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
});
const failures = [];
const NOON = 1795176000000;

// Make one call after the other; each ends by its callback.
async function call(verb, ...given) {
  await new Promise((done) => verb(...given, (failed) => { if (failed) failures.push(String(failed)); done(); }));
}

const verbs = (target, ...names) => Object.fromEntries(names.map((name) => [name, target[name].bind(target)]));
const { track, track_batch, import_batch, alias } = client;
const people = verbs(client.people, "set", "set_once", "unset", "increment", "append", "union", "remove", "delete_user");
const groups = verbs(client.groups, "set");

async function tell() {
  const file = { size: 17.5, name: "Q3 🎉.csv", tags: ["a", { b: null }], company: ["acme"] };
  await call(track, "File Uploaded", { distinct_id: "ann", time: NOON, ...file });
  await call(alias, "cookie-1", "ann");
  await call(import_batch, [{ event: "Imported", properties: { distinct_id: "ann", time: new Date(NOON - 86400000 * 30) } }]);
  await call(people.set, "ann", { $email: "ann@acme.example", seats: 4, trial: true }, { $time: NOON });
  await call(people.set_once, "ann", { source: "ad", seats: 1 }, { $time: NOON + 1 });
  await call(people.unset, "ann", ["trial"], { $time: NOON + 2 });
  await call(people.increment, "ann", { logins: 2 });
  await call(people.append, "ann", { items: "hat" });
  await call(people.union, "ann", { items: ["hat"] });
  await call(people.remove, "ann", { items: "hat" });
  await call(people.delete_user, "ann");
  await call(groups.set, "company", "acme", { $name: "Acme & Søns", plan: "free" });
}

const story = {
  tell,
  invited: () => call(track, "Invited", { distinct_id: "ann" }),
  twice: async () => {
    for (const _ of [1, 2]) await call(track, "Invited", { distinct_id: "ann" });
  },
  batch: () =>
    call(
      track_batch,
      ["Invited", "Exported", "Uploaded"].map((event) => ({
        event,
        properties: { distinct_id: "ann", text: event === "Exported" ? "nul \0" : "" },
      })),
    ),
  bad: () => call(track, "Exported", { distinct_id: "ann", text: "nul \0" }),
};
await story[SAY ?? "tell"]();
console.log(JSON.stringify({ failures }));
process.exit(0);
