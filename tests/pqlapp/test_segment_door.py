"""The addresses of the Segment family, and that nothing which is JSON breaks them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring.models import Event
from tests.examples import few
from tests.pqlapp.doors import basic, send

pytestmark = pytest.mark.django_db

CALLS: dict[str, dict[str, Any]] = {
    "track": {"event": "File Uploaded"},
    "identify": {"traits": {"plan": "free"}},
    "group": {"groupId": "acme", "traits": {"seats": 4}},
    "page": {"name": "Pricing"},
    "screen": {"name": "Home"},
    "alias": {"previousId": "anon-1"},
}
BATCHES = ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")
DOORS = (*BATCHES, *(f"/v1/{kind}" for kind in CALLS), "/v1/cloudevents", "/api/v1/events")


@pytest.fixture
def key(secret: str) -> str:
    return secret


@pytest.fixture
def post(key: str) -> Callable[..., Any]:
    """Return a sender of JSON whose key is in the header, unless told otherwise."""

    def posted(path: str, body: object, **headers: str) -> Any:
        given = {"Authorization": basic(key)} | headers
        return send(path, body, **{name: value for name, value in given.items() if value})

    return posted


class TestAddresses:
    @pytest.mark.parametrize("slash", ["", "/"])
    @pytest.mark.parametrize("kind", CALLS)
    def test_each_kind_has_a_letter_too(self, post, kind, slash):
        call = {"userId": "ann", "messageId": "m", "type": "track"} | CALLS[kind]
        for path in (f"/v1/{kind[0]}{slash}", f"/v1/{kind}{slash}"):
            assert (post(path, call).status_code, path) == (200, path)
        (stored,) = Event.objects.all()
        assert stored.name == ("File Uploaded" if kind == "track" else f"${kind}")

    @pytest.mark.parametrize("slash", ["", "/"])
    @pytest.mark.parametrize("path", BATCHES)
    def test_each_batch_is_taken(self, post, path, slash):
        calls = [{"userId": "ann", "type": kind} | call for kind, call in CALLS.items()]
        assert post(path + slash, {"batch": calls}).json() == {"success": True}
        assert Event.objects.count() == 6

    def test_a_beacon_has_its_key_in_the_address(self, post, key):
        batch = {"batch": [{"userId": "ann", "type": "page"}]}
        assert post(f"/beacon/v1/batch?writeKey={key}", batch, Authorization="").status_code == 200
        assert post("/beacon/v1/batch?writeKey=wrong", batch, Authorization="").status_code == 401
        assert post("/beacon/v1/batch", batch, Authorization="").status_code == 401
        assert Event.objects.count() == 1

    @pytest.mark.parametrize("path", ["/v1/x", "/v1/tt", "/v1/", "/v1/track/x", "/batches"])
    def test_there_are_no_others(self, post, path):
        assert post(path, {}).status_code == 404


class TestSettings:
    def test_of_segment_name_the_host_and_scheme_that_were_asked(self, settings):
        settings.ALLOWED_HOSTS = ["pql.example"]
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        headers = {"Host": "pql.example", "X-Forwarded-Proto": "https", "Origin": "https://shop.example"}
        response = Client().get("/v1/projects/wk_1/settings", headers=headers)
        home = response.json()["integrations"]["Segment.io"]
        assert home == {"apiKey": "wk_1", "apiHost": "pql.example/v1", "protocol": "https"}
        assert response["Access-Control-Allow-Origin"] == "*"

    @pytest.mark.parametrize("path", ["/sourceConfig", "/sourceConfig/?p=npm&writeKey=any"])
    def test_of_rudderstack_name_nobody_else(self, path):
        assert Client().get(path).json()["source"]["destinations"] == []

    def test_metrics_need_no_key(self):
        assert Client().post("/v1/m", "not even JSON", content_type="text/plain").json() == {"success": True}

    @pytest.mark.parametrize("name", ["analytics.js", "analytics.min.js"])
    def test_the_library_is_elsewhere(self, name):
        response = Client().get(f"/analytics.js/v1/wk_1/{name}")
        assert (response.status_code, response.json()["code"]) == (404, "library_not_here")


OF_SEGMENT = ["batch", "type", "event", "userId", "anonymousId", "groupId", "previousId", "messageId", "timestamp"]
OF_OTHERS = ["events", "id", "user", "account", "source", "specversion", "subject", "data"]
FIELDS = st.sampled_from([*OF_SEGMENT, *OF_OTHERS, "sentAt", "context", "traits", "properties"])
TEXTS = st.text() | st.sampled_from(["\0", "\ud800", "user:ann", "1.0", "2026-05-01", "null", *CALLS])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | FIELDS, inner, max_size=6),
    max_leaves=20,
)
CALL_LIKE = st.dictionaries(FIELDS, VALUES)
BODIES = VALUES | CALL_LIKE | st.fixed_dictionaries({"batch": st.lists(CALL_LIKE), "events": st.lists(CALL_LIKE)})


class TestAnything:
    @settings(max_examples=few(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(body=BODIES, path=st.sampled_from(DOORS))
    def test_no_json_is_a_fault_of_ours(self, post, body, path):
        assert post(path, json.dumps(body).encode()).status_code in (200, 400, 413)
