"""Eight workers at once on the real database: the rotation stays exact, capacity is never passed, records replay."""

import contextlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from threading import Event

import pytest
from django.db import connection

from routing import audit, decision, leads
from routing.models import Assignment, Lead, LeadMove, Membership, State
from scoring import language, tiles
from scoring.models import Crossed
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS = 8
LEADS = 500


@pytest.fixture(autouse=True)
def any_signal() -> None:
    """Register again what a migration did: an earlier test of this kind has emptied all tables."""
    tiles.register(signals=[language.Signal(events=(language.ANY_EVENT,))], at=NOW)


def at_once(work: Callable[[int], object], times: int = WORKERS) -> None:
    """Do the work in so many threads, each with a connection of its own; the first error is raised."""

    def one(number: int) -> None:
        try:
            work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as threads:
        list(threads.map(one, range(times)))


def many_hints(number: int, tier: str = "hot") -> None:
    for i in range(number):
        account = world.account(f"account {i}")
        world.score(account, tier)
        world.hint(account)


def in_order() -> list[Assignment]:
    """Return the decisions that gave somebody a lead by turn, in the order of the turns."""
    return list(Assignment.objects.filter(how="rotation", ae__isnull=False).order_by("id"))


class TestEightWorkers:
    def test_share_equal_weights_exactly_at_every_prefix(self) -> None:
        west = world.pool()
        people = [world.ae(name, into=west).pk for name in ("ann", "ben", "cleo", "dan", "eve")]
        many_hints(72)
        at_once(lambda _: leads.open_all(at=NOW, limit=LEADS))
        served: Counter[int] = Counter(dict.fromkeys(people, 0))
        for assignment in in_order():
            served[assignment.ae_id or 0] += 1
            assert max(served.values()) - min(served.values()) <= 1
        assert sum(served.values()) == 72
        assert dict(Membership.objects.values_list("ae", "served")) == served

    def test_keep_the_weights_within_the_bound_at_every_prefix(self) -> None:
        west = world.pool()
        weights = {world.ae(n, into=west, weight=w).pk: w for n, w in (("ann", 1), ("ben", 1), ("cleo", 5))}
        many_hints(84)
        at_once(lambda _: leads.open_all(at=NOW, limit=LEADS))
        served, bound = Counter(dict.fromkeys(weights, 0)), 1 - Fraction(1, 2 * len(weights) - 2)
        for turn, assignment in enumerate(in_order(), 1):
            served[assignment.ae_id or 0] += 1
            assert all(abs(served[ae] - Fraction(turn * w, 7)) <= bound for ae, w in weights.items())
        assert turn == 84

    def test_leave_a_chain_of_records_that_anyone_can_replay(self) -> None:
        west = world.pool()
        for name, weight in (("ann", 2), ("ben", 1), ("cleo", 3)):
            world.ae(name, into=west, weight=weight)
        many_hints(60)
        at_once(lambda _: leads.open_all(at=NOW, limit=LEADS))
        credits: dict[int, int] = {}
        for assignment in in_order():
            replay = decision.replay(assignment.decision)
            assert (replay.chosen, replay.differences) == (assignment.ae_id, ())
            for c in assignment.decision["candidates"]:
                assert c["credit_before"] == credits.get(c["membership"], 0)
                credits[c["membership"]] = c["credit_after"]
        assert dict(Membership.objects.values_list("pk", "credit")) == credits

    def test_never_pass_a_capacity_and_say_why_the_rest_waits(self) -> None:
        west = world.pool()
        world.ae("ann", into=west, capacity=7)
        world.ae("ben", into=west, capacity=11)
        many_hints(60)
        at_once(lambda _: leads.open_all(at=NOW, limit=LEADS))
        held = Counter(Lead.objects.filter(state="assigned").values_list("ae__user__first_name", flat=True))
        assert held == {"Ann": 7, "Ben": 11}
        waiting = Lead.objects.filter(state=State.UNASSIGNED)
        assert set(waiting.values_list("unassigned_reason", flat=True)) == {
            "Both members of West are at capacity: Ann (7 of 7 open: full), Ben (11 of 11 open: full)."
        }

    def test_open_one_lead_for_hints_of_one_account(self) -> None:
        world.team()
        acme, second = world.account("acme"), world.rule_set("hand-raisers")
        world.score(acme, "warm")
        world.score(acme, "hot", by=second)
        for _ in range(20):
            world.hint(acme)
            world.hint(acme, by=second)
        at_once(lambda _: leads.open_all(at=NOW, limit=LEADS))
        lead = Lead.objects.get()
        assert {reason["slug"] for reason in lead.reasons} == {"new-business", "hand-raisers"}
        assert lead.tier == "hot"
        assert not Crossed.objects.exists(), "no hint failed and was put off"

    def test_give_two_motions_of_an_account_to_one_ae(self) -> None:
        west, growth = world.pool(), world.rule_set("growth", motion="expansion")
        east = world.pool("East", default=False, of=growth)
        for name in ("ann", "ben", "cleo", "dan"):
            Membership.objects.create(pool=east, ae=world.ae(name, into=west), joined_at=NOW)
        for i in range(30):
            account = world.account(f"account {i}")
            for rule_set in (world.rule_set(), growth):
                world.score(account, by=rule_set)
                world.hint(account, by=rule_set)
        at_once(lambda _: leads.open_all(at=NOW, limit=LEADS))
        pairs = set(Lead.objects.values_list("account", "ae"))
        assert (Lead.objects.count(), len(pairs)) == (60, 30)

    def test_drain_in_order_of_tier_up_to_the_capacity(self) -> None:
        west = world.pool()
        people = [world.ae(name, into=west, capacity=0) for name in ("ann", "ben")]
        many_hints(10, tier="warm")
        for i in range(10, 20):
            world.score(world.account(f"account {i}"), "hot")
            world.hint(world.account(f"account {i}"))
        leads.open_all(at=NOW, limit=LEADS)
        assert Lead.objects.filter(state=State.UNASSIGNED).count() == 20
        Membership.objects.filter(ae__in=people).update(capacity=7)
        given: list[int] = []
        at_once(lambda _: given.append(leads.drain(at=later(hours=1))))
        held = Counter(Lead.objects.filter(state="assigned").values_list("ae__user__first_name", "tier"))
        assert (sum(given), held["Ann", "hot"] + held["Ben", "hot"], held["Ann", "warm"] + held["Ben", "warm"]) == (
            14,
            10,
            4,
        )
        assert {n for n in Membership.objects.values_list("served", flat=True)} == {7}

    def test_take_a_lead_on_once(self) -> None:
        west = world.pool()
        ann = world.ae("ann", into=west)
        many_hints(1)
        leads.open_all(at=NOW, limit=1)
        refused = Counter[str]()

        def accept(_: int) -> None:
            try:
                leads.accept(lead=Lead.objects.get(), by=ann.user, at=NOW)
            except leads.IllegalMove:
                refused["accept"] += 1

        at_once(accept)
        assert (refused["accept"], LeadMove.objects.filter(verb="accept").count()) == (WORKERS - 1, 1)


class TestRefundsMeanwhile:
    def test_whoever_is_ahead_net_of_refunds_waits_at_every_prefix(self) -> None:
        """Six open, and two throw a fifth out as no leads: each move is written under the pool's lock, so in order."""
        west = world.pool()
        people = [world.ae(name, into=west).pk for name in ("ann", "ben", "cleo", "dan", "eve")]
        many_hints(LEADS)
        done, over = list[int](), Event()

        def work(number: int) -> None:
            if number < 2:
                while throw_a_fifth_out(number) or not over.wait(0.05):
                    pass
                throw_a_fifth_out(number)
                return
            try:
                leads.open_all(at=NOW, limit=LEADS)
            finally:
                done.append(number)
                if len(done) == WORKERS - 2:
                    over.set()

        at_once(work)
        net, thrown_out = Counter(dict.fromkeys(people, 0)), 0
        for move in LeadMove.objects.filter(verb__in=["assign", "disqualify"]).order_by("id"):
            if move.verb == "assign":
                assert net[move.ae_id or 0] == min(net.values()), "who is served is behind nobody"
            else:
                thrown_out += 1
                assert move.note == "Students. The turn is given back: it is not a lead."
            net[move.ae_id or 0] += 1 if move.verb == "assign" else -1
        assert (sum(net.values()), thrown_out) == (LEADS * 4 // 5, LEADS // 5)
        assert dict(Membership.objects.values_list("ae", "served")) == net
        assert audit.verify() is None


class TestEverythingAtOnce:
    def test_neither_deadlocks_nor_loses_a_lead_nor_passes_a_capacity(self) -> None:
        """Workers open, reassign, disqualify, drain and change capacities on two pools; then all adds up."""
        west, east = world.pool(), world.pool("East", default=False, of=world.rule_set("growth", motion="expansion"))
        people = [world.ae(name, into=west, capacity=9) for name in ("ann", "ben", "cleo")]
        for person in people:
            Membership.objects.create(pool=east, ae=person, joined_at=NOW, capacity=9)
        for i in range(40):
            account = world.account(f"account {i}")
            for rule_set in (world.rule_set(), world.rule_set("growth")):
                world.score(account, by=rule_set)
                world.hint(account, by=rule_set)
        at_once(lambda number: (open_some, hand_around, throw_out, leads_drained)[number % 4](number))
        leads.drain(at=later(hours=9))
        assert Lead.objects.count() == 80
        for pool, person in [(p, a) for p in (west, east) for a in people]:
            assert Lead.objects.filter(pool=pool, ae=person, state="assigned").count() <= 9
        for lead in Lead.objects.exclude(state=State.CLOSED):
            standing = Assignment.objects.filter(lead=lead, ae__isnull=False, released_at=None)
            assert [a.ae_id for a in standing] == ([lead.ae_id] if lead.ae_id else [])
        for pool in (west, east):
            net = Counter(
                Assignment.objects.filter(pool=pool, how="rotation", ae__isnull=False, refunded_for="").values_list(
                    "ae", flat=True
                )
            )
            assert {ae: n for ae, n in pool.memberships.values_list("ae", "served") if n} == net


def throw_a_fifth_out(number: int) -> int:
    """Disqualify those of every fifth lead that somebody has; returns how many there were for this worker of two."""
    fifth = [n for n in range(LEADS) if n % 5 == 0 and n // 5 % 2 == number]
    names = [f"account {n}" for n in fifth]
    those = Lead.objects.filter(state="assigned", account__external_id__in=names).order_by("pk")
    return sum(bool(leads.disqualify(lead=lead, reason="Students", by=None, at=NOW)) for lead in list(those))


def open_some(_: int) -> None:
    leads.open_all(at=NOW, limit=LEADS)


def hand_around(number: int) -> None:
    for lead in Lead.objects.filter(state="assigned").order_by("pk")[number : number + 25]:
        try_to(partial(leads.reassign, lead=lead, to=None, by=None, at=later(minutes=1)))


def throw_out(number: int) -> None:
    for lead in Lead.objects.exclude(state="closed").order_by("-pk")[number : number + 20]:
        try_to(partial(leads.disqualify, lead=lead, reason="students", by=None, at=later(minutes=2)))


def leads_drained(_: int) -> None:
    for minute in range(5):
        leads.drain(at=later(minutes=minute))


def try_to(act: Callable[[], object]) -> None:
    """Do what another worker may have made impossible meanwhile."""
    with contextlib.suppress(leads.LeadError):
        act()
