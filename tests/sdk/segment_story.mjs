// What tests/pqlapp/sdk/segment_story.py tells in Python, told through a library for Node.
const minute = (n) => new Date(Date.UTC(2026, 4, 1, 9, 30 + n));
const ann = { userId: "ann" };

export const traits = { email: "ann@acme.example", seats: 4 };
export const accountTraits = { name: "Acme & Søns", plan: "free" };
export const file = { size: 17.5, name: "Q3 🎉.csv", tags: ["a", { b: null }] };

export function tell(analytics) {
  analytics.identify({ ...ann, anonymousId: "anon-1", traits, timestamp: minute(0) });
  analytics.alias({ ...ann, previousId: "anon-2", timestamp: minute(1) });
  analytics.group({ ...ann, groupId: "acme", traits: accountTraits, timestamp: minute(2) });
  analytics.page({ ...ann, category: "Docs", name: "Pricing", properties: { path: "/pricing" }, timestamp: minute(3) });
  analytics.screen({ ...ann, category: "Docs", name: "Home", properties: { dark: true }, timestamp: minute(4) });
  analytics.track({
    ...ann,
    event: "File Uploaded",
    properties: file,
    context: { groupId: "globex" },
    timestamp: minute(5),
    messageId: "m-6",
  });
}
