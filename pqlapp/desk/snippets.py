"""The lines to change in each vendor's library so that it sends here, and a call to try them with. Pure.

They are the only ones: the pages below docs/sdks repeat them word by word, and the tests run every one of them.
"""

from dataclasses import dataclass

PLACEHOLDER = "YOUR_WRITE_KEY"


@dataclass(frozen=True, slots=True)
class Snippet:
    """How one library is pointed here."""

    family: str
    language: str
    code: str


def snippets(*, address: str, key: str) -> list[Snippet]:
    """Return the lines for each library; `address` is this system's, with its scheme and without a slash at its end."""
    scheme, _, host = address.partition("://")
    name, _, port = host.partition(":")
    port = port or ("443" if scheme == "https" else "80")
    fill = {"ADDRESS": address, "SCHEME": scheme, "KEY": key, "NAME": name, "PORT": port}
    return [Snippet(family, language, _filled(code.strip(), fill)) for family, language, code in LINES]


def _filled(code: str, fill: dict[str, str]) -> str:
    for word, value in fill.items():
        code = code.replace(f"<{word}>", value)
    return code


LINES = (
    (
        "Any",
        "curl",
        """
curl <ADDRESS>/api/v1/events -H "Authorization: Bearer <KEY>" \\
  -d '{"events": [{"id": "e-1", "event": "Report Built", "user": "ann", "account": "acme"}]}'
""",
    ),
    (
        "Segment",
        "Python",
        """
# pip install segment-analytics-python
from segment.analytics.client import Client
analytics = Client("<KEY>", host="<ADDRESS>")
analytics.track("ann", "Report Built", context={"groupId": "acme"})
""",
    ),
    (
        "Segment",
        "Node",
        """
import { Analytics } from "@segment/analytics-node";
const analytics = new Analytics({ writeKey: "<KEY>", host: "<ADDRESS>" });
analytics.track({ userId: "ann", event: "Report Built", context: { groupId: "acme" } });
""",
    ),
    (
        "Segment",
        "browser",
        """
import { AnalyticsBrowser } from "@segment/analytics-next";
const analytics = AnalyticsBrowser.load({ writeKey: "<KEY>", cdnURL: "<ADDRESS>" });
analytics.identify("ann");
analytics.track("Report Built", {}, { context: { groupId: "acme" } });
""",
    ),
    (
        "RudderStack",
        "Python",
        """
# pip install rudder-sdk-python
from rudderstack.analytics import Client
analytics = Client("<KEY>", host="<ADDRESS>")
analytics.track("ann", "Report Built", context={"groupId": "acme"})
""",
    ),
    (
        "RudderStack",
        "Node",
        """
import RudderAnalytics from "@rudderstack/rudder-sdk-node";
const analytics = new RudderAnalytics("<KEY>", { dataPlaneUrl: "<ADDRESS>" });
analytics.track({ userId: "ann", event: "Report Built", context: { groupId: "acme" } });
""",
    ),
    (
        "RudderStack",
        "browser",
        """
import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";
const analytics = new RudderAnalytics();
analytics.load("<KEY>", "<ADDRESS>", { configUrl: "<ADDRESS>" });
analytics.identify("ann");
analytics.track("Report Built", {}, { context: { groupId: "acme" } });
""",
    ),
    (
        "PostHog",
        "Python",
        """
# pip install posthog
from posthog import Posthog
posthog = Posthog("<KEY>", host="<ADDRESS>")
posthog.capture("Report Built", distinct_id="ann", groups={"company": "acme"})
""",
    ),
    (
        "PostHog",
        "Node",
        """
import { PostHog } from "posthog-node";
const posthog = new PostHog("<KEY>", { host: "<ADDRESS>" });
posthog.capture({ distinctId: "ann", event: "Report Built", groups: { company: "acme" } });
""",
    ),
    (
        "PostHog",
        "browser",
        """
import posthog from "posthog-js";
posthog.init("<KEY>", { api_host: "<ADDRESS>" });
posthog.identify("ann");
posthog.group("company", "acme");
posthog.capture("Report Built");
""",
    ),
    (
        "Mixpanel",
        "Python",
        """
# pip install mixpanel
from mixpanel import Consumer, Mixpanel
consumer = Consumer(
    events_url="<ADDRESS>/track",
    people_url="<ADDRESS>/engage",
    groups_url="<ADDRESS>/groups",
    import_url="<ADDRESS>/import",
)
mixpanel = Mixpanel("<KEY>", consumer)
mixpanel.track("ann", "Report Built", {"company": ["acme"]})
""",
    ),
    (
        "Mixpanel",
        "Node",
        """
import Mixpanel from "mixpanel";
const mixpanel = Mixpanel.init("<KEY>", { host: "<NAME>", port: <PORT>, protocol: "<SCHEME>" });
mixpanel.track("Report Built", { distinct_id: "ann", company: ["acme"] });
""",
    ),
    (
        "Mixpanel",
        "browser",
        """
import mixpanel from "mixpanel-browser";
mixpanel.init("<KEY>", { api_host: "<ADDRESS>" });
mixpanel.identify("ann");
mixpanel.set_group("company", "acme");
mixpanel.track("Report Built");
""",
    ),
    (
        "Amplitude",
        "Python",
        """
# pip install amplitude-analytics
from amplitude import Amplitude, BaseEvent, Config
amplitude = Amplitude("<KEY>", Config(server_url="<ADDRESS>/2/httpapi"))
amplitude.track(BaseEvent("Report Built", user_id="ann", groups={"company": "acme"}))
""",
    ),
    (
        "Amplitude",
        "Node",
        """
import * as amplitude from "@amplitude/analytics-node";
await amplitude.init("<KEY>", { serverUrl: "<ADDRESS>/2/httpapi" }).promise;
amplitude.track("Report Built", {}, { user_id: "ann", groups: { company: "acme" } });
""",
    ),
    (
        "Amplitude",
        "browser",
        """
import * as amplitude from "@amplitude/analytics-browser";
amplitude.init("<KEY>", "ann", { serverUrl: "<ADDRESS>/2/httpapi", fetchRemoteConfig: false });
amplitude.setGroup("company", "acme");
amplitude.track("Report Built");
""",
    ),
    (
        "CloudEvents",
        "curl",
        """
curl <ADDRESS>/v1/cloudevents -H "Authorization: Bearer <KEY>" -d '{
  "specversion": "1.0", "id": "e-1", "source": "/app", "type": "Report Built", "subject": "user:ann",
  "data": {"account_id": "acme"}}'
""",
    ),
)
