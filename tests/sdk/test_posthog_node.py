"""PostHog's library for Node against the running server, by both of its protocols."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from scoring.models import ProductUser
from tests.pqlapp.sdk import posthog_story
from tests.sdks import Wire

Node = Callable[..., Any]
SCRIPT = "posthog_node.mjs"
PATHS = {"v0": "/batch/", "v1": "/i/v1/analytics/events"}


def events(*given: dict[str, Any]) -> str:
    return json.dumps([{"distinctId": "ann"} | event for event in given])


@pytest.mark.parametrize("mode", PATHS)
class TestBothProtocols:
    @pytest.mark.parametrize("gzip", ["on", "off"])
    def test_the_story_is_stored_once(self, node: Node, wire: Wire, mode: str, gzip: str):
        assert node(SCRIPT, POSTHOG_CAPTURE_MODE=mode, GZIP=gzip)["failures"] == []
        posthog_story.check(wire)
        assert {sent.path for sent in wire.flaky.sent} == {PATHS[mode]}
        assert {sent.headers.get("content-encoding") for sent in wire.flaky.sent} == {"gzip" if gzip == "on" else None}

    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("status", [500, 429])
    def test_a_gateway_that_fails_costs_nothing(self, node: Node, wire: Wire, mode: str, status: int, stored: bool):
        wire.flaky.fail(2, status=status, stored=stored)
        assert node(SCRIPT, POSTHOG_CAPTURE_MODE=mode)["failures"] == []
        posthog_story.check(wire)
        assert wire.flaky.posts(PATHS[mode]) == [status, status, 200]

    def test_the_door_is_heard_when_it_is_busy(self, node: Node, wire: Wire, mode: str, refuse: Callable[..., None]):
        refuse(status=429)
        node(SCRIPT, POSTHOG_CAPTURE_MODE=mode, EVENTS=events({"event": "Invited"}))
        assert wire.names() == {"Invited": 1}
        assert wire.flaky.posts() == [503, 200]  # the browser's library would forget what gets a 429

    def test_a_wrong_key_is_told_and_nothing_is_tried_again(self, node: Node, wire: Wire, mode: str):
        failures = node(SCRIPT, KEY="phc_wrong", POSTHOG_CAPTURE_MODE=mode, EVENTS=events({"event": "Invited"}))[
            "failures"
        ]
        assert failures
        assert (wire.flaky.posts(), wire.events()) == ([401], [])

    def test_a_bad_event_keeps_no_good_one_out_and_is_not_sent_again(self, node: Node, wire: Wire, mode: str):
        bad = {"event": "Exported", "properties": {"text": "nul \0"}}
        told = node(SCRIPT, POSTHOG_CAPTURE_MODE=mode, EVENTS=events({"event": "Invited"}, bad, {"event": "Uploaded"}))
        assert wire.names() == {"Invited": 1, "Uploaded": 1}
        assert wire.flaky.posts() == [200]
        drops = [drop["details"] for failure in told["failures"] for drop in failure["drops"]]
        assert drops == (["a text has a NUL character (\\u0000)"] if mode == "v1" else [])

    def test_its_own_verbs_say_who_is_who(self, node: Node, wire: Wire, mode: str):
        assert node(SCRIPT, POSTHOG_CAPTURE_MODE=mode, EVENTS="introduce")["failures"] == []
        assert wire.names() == {"$identify": 1, "$alias": 1, "$group": 1, "Invited": 1}
        assert wire.ids("ann") == {"ann", "anon-2"}
        assert wire.user_traits("ann") == {"seats": 4, "source": "ad"}
        assert (wire.account("ann"), wire.account_traits("acme")) == (("group", "acme"), {"plan": "free"})
        assert ProductUser.objects.filter(merged_into=None).count() == 1

    def test_there_are_no_flags(self, node: Node, wire: Wire, mode: str):
        told = node(SCRIPT, POSTHOG_CAPTURE_MODE=mode, FLAGS="on", EVENTS=events({"event": "Invited"}))
        assert told == {"failures": [], "flags": {}}
        assert wire.names() == {"Invited": 1}


class TestTooLarge:
    def test_the_batch_is_cut_down_until_it_fits(self, node: Node, wire: Wire, refuse: Callable[..., None]):
        refuse(status=413, code="body_too_large")
        node(SCRIPT, EVENTS=events(*({"event": f"E{n}"} for n in range(8))))
        assert wire.names() == {f"E{n}": 1 for n in range(8)}
        assert wire.flaky.posts("/batch/")[0] == 413
