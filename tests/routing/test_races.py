"""Two who act on one lead at once: one of them is first, and the other is told so."""

import threading
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import connection, transaction

from routing import leads
from routing.models import Assignment, Breach, Lead
from tests.routing import test_opening, world
from tests.routing.test_opening import verbs
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db(transaction=True)


def opened(name: str) -> Lead:
    with transaction.atomic():
        return test_opening.opened(name)


def at_once(*acts: Callable[[], object]) -> list[str]:
    """Do the acts at once, each on a connection of its own; returns what each was refused for, empty if it was not."""
    told, gate = [""] * len(acts), threading.Barrier(len(acts))

    def one(number: int) -> None:
        gate.wait()
        try:
            acts[number]()
        except leads.LeadError as refused:
            told[number] = str(refused)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return told


def test_of_two_who_accept_one_does_and_of_undo_and_another_move_too() -> None:
    world.team()
    for round in range(4):
        lead = opened(f"account {round}")
        told = at_once(*[lambda lead=lead: leads.accept(lead=lead, by=None, at=NOW)] * 2)
        assert sorted(bool(words) for words in told) == [False, True]
        assert "accepted before" in "".join(told)
        accepted = lead.moves.latest("id").pk
        told = at_once(
            lambda lead=lead, move=accepted: leads.undo(lead=lead, move=move, by=None, at=NOW),  # type: ignore[misc]
            lambda lead=lead: leads.lose(lead=lead, reason="No budget", by=None, at=NOW),  # type: ignore[misc]
        )
        assert sorted(bool(words) for words in told) == [False, True]
        assert verbs(lead)[2:] in (["accept", "undo"], ["accept", "lose"])


def test_a_lead_is_accepted_in_time_or_overdue_and_never_both() -> None:
    west = world.pool()
    ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
    leads.set_at_breach(pool=west, at_breach="reassign")
    leads.set_sla(rule_set=world.rule_set(), tier="", hours=Decimal(4))
    for round in range(4):
        lead = opened(f"account {round}")
        first = lead.ae
        at_once(
            lambda: leads.keep_deadlines(at=later(hours=4)),
            lambda lead=lead: leads.accept(lead=lead, by=None, at=later(hours=4)),  # type: ignore[misc]
        )
        lead = Lead.objects.get(pk=lead.pk)
        overdue = "overdue" in verbs(lead)
        assert lead.ae == ({ann: ben, ben: ann}[first] if overdue and first else first)
        assert Breach.objects.filter(lead=lead).count() == overdue
        assert Assignment.objects.get(lead=lead, released_at=None, ae__isnull=False).ae == lead.ae
        assert lead.stage == "sql"
