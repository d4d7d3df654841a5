"""Amplitude's library for Node against the running server."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.pqlapp.sdk import amplitude_story
from tests.sdks import Wire

Node = Callable[..., Any]
SCRIPT = "amplitude_node.mjs"
INVITED = json.dumps([["Invited", {}]])
ONE_BAD = json.dumps([["Invited", {}], ["Exported", {"text": "nul \0"}], ["Uploaded", {}]])


class TestAmplitudeNode:
    @pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
    def test_the_story_is_stored_once(self, node: Node, wire: Wire, path: str) -> None:
        assert node(SCRIPT, PATHNAME=path) == {"codes": [200] * 5}
        amplitude_story.check(wire)
        assert {sent.path for sent in wire.flaky.sent} == {path}

    @pytest.mark.parametrize("stored", [False, True])
    def test_a_gateway_that_fails_costs_nothing(self, node: Node, wire: Wire, stored: bool) -> None:
        wire.flaky.fail(1, status=500, stored=stored)
        assert node(SCRIPT) == {"codes": [200] * 5}
        amplitude_story.check(wire)

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_door_is_heard_when_it_is_busy(
        self, node: Node, wire: Wire, refuse: Callable[..., None], status: int
    ) -> None:
        refuse(status=status)
        assert node(SCRIPT, EVENTS=INVITED) == {"codes": [200]}
        assert (wire.names(), wire.flaky.posts()) == ({"Invited": 1}, [status, 200])

    def test_a_wrong_key_is_told_and_nothing_is_tried_again(self, node: Node, wire: Wire) -> None:
        assert node(SCRIPT, KEY="nobody", EVENTS=INVITED) == {"codes": [401]}
        assert (wire.flaky.posts(), wire.events()) == ([401], [])

    def test_a_bad_event_keeps_no_good_one_out_and_is_not_sent_again(self, node: Node, wire: Wire) -> None:
        assert node(SCRIPT, EVENTS=ONE_BAD) == {"codes": [200] * 3}
        assert (wire.names(), wire.flaky.posts()) == ({"Invited": 1, "Uploaded": 1}, [200])
