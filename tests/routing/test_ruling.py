"""Routing rules and tags as people set them."""

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from routing import ruling
from routing.models import RoutingRule
from tests.routing import world
from tests.routing.test_waiting import opened
from tests.routing.world import NOW

pytestmark = pytest.mark.django_db


class TestSetRule:
    def test_puts_a_new_one_last_and_keeps_the_place_of_a_changed_one(self) -> None:
        west = world.pool()
        first = ruling.set_rule(name="One", text="always", pool=west, asks=["DE ", "de", "Law"], at=NOW)
        ruling.set_rule(name="Two", text="always", pool=west, at=NOW)
        ruling.set_rule(name="Uno", text="always", pool=west, rule=first, at=NOW)
        assert list(RoutingRule.objects.values_list("name", "position", "asks")) == [("Uno", 1, []), ("Two", 2, [])]

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"text": "{trait: country, in: [], lead: x}"}, "cannot be read"),
            ({"name": " "}, "Give the rule a name"),
            ({"name": "one"}, "a rule 'one' already"),
            ({"asks": ["x" * 65]}, "at most 64 letters"),
        ],
    )
    def test_refuses_what_cannot_be(self, wrong: dict, says: str) -> None:
        west = world.pool()
        ruling.set_rule(name="One", text="always", pool=west, at=NOW)
        with pytest.raises(ruling.RulingError, match=says):
            ruling.set_rule(**{"name": "Two", "text": "always", "pool": west, "at": NOW} | wrong)

    def test_routes_what_waits_anew(self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks) -> None:
        team = world.team()
        team.west.memberships.update(capacity=0)
        lead = opened("acme")
        assert lead.pool == team.west
        with django_capture_on_commit_callbacks(execute=True):
            ruling.set_rule(name="East", text="{lead: tier, equals: hot}", pool=team.east, at=NOW)
        lead.refresh_from_db()
        assert (lead.ae, lead.pool) == (team.cleo, team.east)


class TestSetTags:
    def test_lets_who_has_what_is_asked_take_what_waits(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        west = world.pool()
        ann = world.ae("ann", into=west)
        ruling.set_rule(name="German", text="always", pool=west, asks=["de"], at=NOW)
        lead = opened("acme")
        with django_capture_on_commit_callbacks(execute=True):
            assert ruling.set_tags(ae=ann, given=["EN", "de"], at=NOW).tags == ["de", "en"]
        lead.refresh_from_db()
        assert lead.ae == ann


class TestFindings:
    def test_are_of_the_active_rules_in_their_order(self) -> None:
        west = world.pool()
        ruling.set_rule(name="All", text="always", pool=west, at=NOW)
        late = ruling.set_rule(name="Late", text="{trait: a, exists: true}", pool=west, at=NOW)
        assert [(f.route, "never reached" in f.message) for f in ruling.findings()] == [(late.pk, True)]
        ruling.set_rule(name="Late", text="always", pool=west, position=2, rule=late, is_active=False, at=NOW)
        assert ruling.findings() == []
