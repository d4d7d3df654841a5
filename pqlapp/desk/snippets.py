"""The lines to change in each vendor's library so that it sends here. Pure."""

from collections.abc import Iterator
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
    fill = {"ADDRESS": address, "HOST": host, "SCHEME": scheme, "KEY": key, "NAME": name, "PORT": port}
    return [Snippet(family, language, _filled(code, fill)) for family, language, code in _lines()]


def _filled(code: str, fill: dict[str, str]) -> str:
    for word, value in fill.items():
        code = code.replace(f"<{word}>", value)
    return code


def _lines() -> Iterator[tuple[str, str, str]]:
    yield "Any", "curl", TRY
    yield "Segment", "Python", 'client = segment.analytics.Client("<KEY>", host="<ADDRESS>")'
    yield "Segment", "Node", 'const analytics = new Analytics({ writeKey: "<KEY>", host: "<ADDRESS>" });'
    yield "Segment", "browser", 'const analytics = AnalyticsBrowser.load({ writeKey: "<KEY>", cdnURL: "<ADDRESS>" });'
    yield "RudderStack", "Python", 'client = rudderstack.analytics.Client("<KEY>", host="<ADDRESS>")'
    yield "RudderStack", "Node", 'const analytics = new RudderAnalytics("<KEY>", { dataPlaneUrl: "<ADDRESS>" });'
    yield "RudderStack", "browser", 'analytics.load("<KEY>", "<ADDRESS>", { configUrl: "<ADDRESS>" });'
    yield "PostHog", "Python", 'posthog = Posthog("<KEY>", host="<ADDRESS>")'
    yield "PostHog", "Node", 'const posthog = new PostHog("<KEY>", { host: "<ADDRESS>" });'
    yield "PostHog", "browser", 'posthog.init("<KEY>", { api_host: "<ADDRESS>" });'
    yield "Mixpanel", "Python", MIXPANEL_IN_PYTHON
    yield "Mixpanel", "Node", MIXPANEL_IN_NODE
    yield "Mixpanel", "browser", 'mixpanel.init("<KEY>", { api_host: "<ADDRESS>" });'
    yield "Amplitude", "Python", AMPLITUDE_IN_PYTHON
    yield "CloudEvents", "curl", CLOUD_EVENT


TRY = """\
curl <ADDRESS>/api/v1/events -H "Authorization: Bearer <KEY>" \\
  -d '{"events": [{"event": "Hello", "user": "ann", "account": "acme"}]}'"""
CLOUD_EVENT = """\
curl <ADDRESS>/v1/cloudevents -H "Authorization: Bearer <KEY>" \\
  -d '{"specversion": "1.0", "id": "1", "source": "/app", "type": "hello", "subject": "user:ann"}'"""
MIXPANEL_IN_PYTHON = """\
consumer = mixpanel.Consumer(
    "<ADDRESS>/track", "<ADDRESS>/engage", groups_url="<ADDRESS>/groups", import_url="<ADDRESS>/import"
)
mp = mixpanel.Mixpanel("<KEY>", consumer)"""
MIXPANEL_IN_NODE = """\
const mixpanel = Mixpanel.init("<KEY>", { host: "<NAME>", port: <PORT>, protocol: "<SCHEME>" });"""
AMPLITUDE_IN_PYTHON = """\
client = amplitude.Amplitude("<KEY>")
client.configuration.server_url = "<ADDRESS>/2/httpapi\""""
