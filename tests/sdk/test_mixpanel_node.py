"""Mixpanel's library for Node against the running server. It never tries again by itself."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.pqlapp.sdk import mixpanel_story
from tests.sdks import Wire

Node = Callable[..., Any]
SCRIPT = "mixpanel_node.mjs"


class TestMixpanelNode:
    @pytest.mark.parametrize("verbose", ["0", "1"])
    def test_the_story_is_stored_once(self, node: Node, wire: Wire, verbose: str) -> None:
        assert node(SCRIPT, VERBOSE=verbose) == {"failures": []}
        mixpanel_story.check(wire)
        assert {sent.method for sent in wire.flaky.sent} == {"GET", "POST"}

    def test_two_equal_events_are_two(self, node: Node, wire: Wire) -> None:
        assert node(SCRIPT, SAY="twice") == {"failures": []}
        assert wire.names() == {"Invited": 2}

    @pytest.mark.parametrize("verbose", ["0", "1"])
    def test_a_wrong_key_is_told(self, node: Node, wire: Wire, verbose: str) -> None:
        (failure,) = node(SCRIPT, SAY="invited", KEY="mp_wrong", VERBOSE=verbose)["failures"]
        assert "live write key" in failure
        assert ([sent.status for sent in wire.flaky.sent], wire.events()) == ([401], [])

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_busy_door_is_told(self, node: Node, wire: Wire, refuse: Callable[..., None], status: int) -> None:
        refuse(status=status)
        (failure,) = node(SCRIPT, SAY="invited")["failures"]
        assert "not now" in failure

    @pytest.mark.parametrize("stored", [False, True])
    def test_a_gateway_that_fails_is_told_and_not_asked_again(self, node: Node, wire: Wire, stored: bool) -> None:
        wire.flaky.fail(stored=stored, on="^GET /track")
        (failure,) = node(SCRIPT, SAY="invited")["failures"]
        assert failure
        assert [sent.status for sent in wire.flaky.sent] == [500]
        assert wire.names() == ({"Invited": 1} if stored else {})

    def test_a_bad_event_keeps_no_good_one_out(self, node: Node, wire: Wire) -> None:
        assert node(SCRIPT, SAY="batch") == {"failures": []}
        assert wire.names() == {"Invited": 1, "Uploaded": 1}

    def test_alone_it_is_told(self, node: Node, wire: Wire) -> None:
        (failure,) = node(SCRIPT, SAY="bad")["failures"]
        assert "NUL character" in failure
