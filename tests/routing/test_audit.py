"""The audit finds what does not add up, and nothing where all does."""

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import call_command

from routing import audit, leads
from routing.models import AE, Assignment, Lead, Membership
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def some_history() -> Iterator[None]:
    """Leads given by turn, by claim, by hand, passed on, refunded, thrown out, and one that nobody could take."""
    west, east = world.pool(), world.pool("East", default=False, of=world.rule_set("growth", motion="expansion"))
    ann, ben, cleo = (world.ae(n, into=west, weight=w, capacity=4) for n, w in (("ann", 2), ("ben", 1), ("cleo", 1)))
    Membership.objects.create(pool=east, ae=ann, joined_at=NOW)
    for n in range(13):
        world.score(world.account(f"account {n}"))
        world.hint(world.account(f"account {n}"))
    world.score(world.account("account 0"), by=world.rule_set("growth"))
    world.hint(world.account("account 0"), by=world.rule_set("growth"))
    leads.open_all(at=NOW, limit=20)
    first, second, third = Lead.objects.filter(state="assigned").order_by("pk")[:3]
    leads.reassign(lead=first, to=next(one for one in (ben, cleo) if one != first.ae), by=None, at=later(minutes=1))
    leads.reassign(lead=second, to=None, by=None, at=later(minutes=2))
    leads.disqualify(lead=third, reason="students", by=None, at=later(minutes=3))
    yield


def fault() -> audit.Fault:
    found = audit.verify()
    assert found is not None
    return found


class TestVerify:
    # One transaction of the test holds all: it cannot be made a read-only snapshot of its own.
    @pytest.fixture(autouse=True)
    def in_the_tests_own_transaction(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit, "SNAPSHOT", "SELECT 1")

    def test_finds_nothing_where_all_adds_up(self) -> None:
        assert Assignment.objects.filter(refunded_for="passed").exists()
        assert audit.verify() is None

    def test_finds_a_credit_that_somebody_touched(self) -> None:
        Membership.objects.filter(ae__user__first_name="Ben").update(credit=7)
        assert (fault().about, fault().words.split(",")[0]) == ("Ben in West", "has a credit of 7")

    def test_finds_a_count_of_turns_that_somebody_touched(self) -> None:
        Membership.objects.filter(ae__user__first_name="Ben").update(served=99)
        assert fault().words.startswith("was served 99 turns")

    def test_finds_a_record_that_somebody_touched(self) -> None:
        made = Assignment.objects.filter(how="rotation", ae__isnull=False).order_by("pk")[0]
        made.decision["candidates"][0]["facts"]["capacity"] = 0
        made.save()
        assert fault().about == f"decision {made.pk}, lead {made.lead_id}"

    def test_finds_a_lead_that_was_given_to_somebody_else(self) -> None:
        made = Assignment.objects.filter(how="rotation", ae__isnull=False).order_by("pk")[0]
        other = AE.objects.exclude(pk=made.ae_id or 0).order_by("pk")[0]
        Assignment.objects.filter(pk=made.pk).update(ae=other)
        assert "the record leads to AE" in fault().words

    def test_finds_nothing_any_more_when_it_was_levelled(self) -> None:
        before = list(Membership.objects.order_by("pk").values("credit", "served", "last_served_at"))
        Membership.objects.filter(ae__user__first_name="Ben").update(credit=3 * 10**9, served=99)
        out = StringIO()
        call_command("level_turns", stdout=out)
        assert out.getvalue().startswith("Ben in West: credit +3.00 to ")
        assert out.getvalue().endswith("East: adds up\n")
        assert list(Membership.objects.order_by("pk").values("credit", "served", "last_served_at")) == before
        assert audit.verify() is None

    def test_is_asked_by_the_command(self) -> None:
        out = StringIO()
        call_command("verify", routing=True, stdout=out)
        assert "equal: " in out.getvalue()
        Membership.objects.update(credit=1)
        with pytest.raises(SystemExit):
            call_command("verify", routing=True, stdout=out)
        assert "DIFFERENT: " in out.getvalue()
