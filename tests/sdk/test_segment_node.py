"""Segment's and RudderStack's libraries for Node against the running server."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.pqlapp.sdk import segment_story
from tests.sdks import Wire

Node = Callable[..., Any]
SCRIPTS = ("segment_node.mjs", "rudder_node.mjs")


def calls(*tracked: dict[str, Any]) -> str:
    return json.dumps([{"userId": "ann"} | call for call in tracked])


@pytest.mark.parametrize("script", SCRIPTS)
class TestBoth:
    def test_the_story_is_stored_once(self, node: Node, wire: Wire, script: str):
        assert node(script) == []
        segment_story.check(wire)
        assert set(wire.flaky.posts("/v1/batch")) == {200}

    @pytest.mark.parametrize("stored", [False, True])
    def test_a_gateway_that_fails_costs_nothing(self, node: Node, wire: Wire, script: str, stored: bool):
        wire.flaky.fail(2, stored=stored)
        node(script)
        segment_story.check(wire)
        assert wire.flaky.posts().count(500) == 2

    def test_the_door_is_heard_when_it_asks_for_a_pause(
        self, node: Node, wire: Wire, script: str, refuse: Callable[..., None]
    ):
        refuse(status=429)
        node(script, CALLS=calls({"event": "Invited"}))
        assert wire.names() == {"Invited": 1}
        assert wire.flaky.posts() == [429, 200]

    def test_a_wrong_key_is_told_and_nothing_is_tried_again(self, node: Node, wire: Wire, script: str):
        failures = node(script, KEY="pql_write_wrong", CALLS=calls({"event": "Invited"}))
        assert failures
        assert (wire.flaky.posts(), wire.events()) == ([401], [])

    def test_a_bad_call_keeps_no_good_one_out_and_is_not_sent_again(self, node: Node, wire: Wire, script: str):
        bad = {"event": "Exported", "properties": {"text": "nul \0"}}
        assert node(script, CALLS=calls({"event": "Invited"}, bad, {"event": "Uploaded"})) == []
        assert wire.names() == {"Invited": 1, "Uploaded": 1}
        assert set(wire.flaky.posts()) == {200}


class TestRudder:
    def test_its_compressed_json_is_read_though_it_is_called_a_form(self, node: Node, wire: Wire):
        node("rudder_node.mjs")
        assert {sent.headers["content-type"] for sent in wire.flaky.sent} == {"application/x-www-form-urlencoded"}
        assert {sent.headers["content-encoding"] for sent in wire.flaky.sent} == {"gzip"}
        segment_story.check(wire)

    def test_plain_json_is_read_as_well(self, node: Node, wire: Wire):
        assert node("rudder_node.mjs", GZIP="off") == []
        segment_story.check(wire)
