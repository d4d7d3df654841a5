"""Giving leads out with eight workers, on one pool and on ten; an AE's queue page among 100,000 leads; a simulation.

Each worker is a process of its own that takes hints up as the product's does, on a database without anything else
running. Everybody qualifies, so each hint opens a lead and gives it to somebody.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.crew import together
from bench.tree import database, say

WORKERS = 8
ACCOUNTS = 800
POOLS = 10
MEMBERS = 10  # of each pool
ONE_POOL, TEN_POOLS = 150, 600  # leads a second, promised
OPEN, ALL = 200, 100_000  # leads of the AE who looks, and of everybody
LOOKS = 60
QUERIES, SERVER_MS = 12, 50
CROSSINGS, AES, SIMULATED = 10_000, 20, 20.0  # seconds
NOW = datetime.now(UTC).replace(microsecond=0)
TIERS = "tiers: [{name: hot, pql: true, enter: {usage: 55}}, {name: warm, pql: true, enter: {}}]"


def main() -> None:
    """Measure and print."""
    with database():
        fill()
        one = [number for number in range(ACCOUNTS)]
        assignments("one pool", {0: one}, ONE_POOL)
        part = ACCOUNTS // POOLS
        ten = {number + 1: one[number * part : (number + 1) * part] for number in range(POOLS)}
        assignments(f"{POOLS} pools", ten, TEN_POOLS)
        queue_page()
        simulation()


# ---- the world


def fill() -> None:
    """Make rule sets with a pool each, and accounts that all qualify for each."""
    from django.core.management import call_command
    from django.db import connection

    from bench.rescore import RULES
    from pqlapp.demo.company import TODAY
    from pqlapp.demo.life import World
    from routing import people
    from scoring import facts, jobs, rules, scores
    from scoring.models import SHARDS, Crossed

    call_command("migrate", verbosity=0)
    facts.prepare_partitions(at=NOW)
    text = RULES[: RULES.index("tiers:")] + TIERS
    for number in range(POOLS + 1):
        version = rules.draft(text=text.replace("bench", f"bench-{number}", 2), by=None, at=NOW)
        job = jobs.claim(job=rules.publish(version=version, note="bench", by=None, at=NOW), at=NOW)
        assert job is not None
        rules.run_publish(job=job, clock=lambda: NOW)
        pool = people.create_pool(name=f"Pool {number}", rule_set=version.rule_set, at=NOW)
        for member in range(MEMBERS):
            ae, _ = people.create_ae(
                email=f"ae-{number}-{member}@bench.example", name=f"AE {number} {member}", pool=pool.name, at=NOW
            )
            people.set_membership(
                pool=pool, ae=ae, weight=1 + member % 3, capacity=None, daily_cap=5_000, is_active=True, at=NOW
            )
    source = facts.create_source(slug="bench", at=NOW)
    world = World(5, ACCOUNTS, NOW.date() - timedelta(days=TODAY), TODAY - 6)
    for day in range(TODAY - 6, TODAY):
        facts.record(source=source, facts=list(world.facts(world.day_zero + timedelta(days=day))), received_at=NOW)
    scores.request(accounts=None, at=NOW)
    for shard in range(SHARDS):
        while scores.rescore_touched(shard=shard, as_of=NOW.date(), at=NOW).accounts:
            pass
    Crossed.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


# ---- giving out


def assignments(where: str, hints: dict[int, list[int]], promised: int) -> None:
    """Leave hints of accounts (by their place) for the rule sets of these numbers, and take them up at once."""
    from routing.models import Assignment
    from scoring import handoffs
    from scoring.models import Crossed, RuleSet, Score

    before = Assignment.objects.filter(ae__isnull=False).count()
    rule_sets = {rule_set.slug: rule_set for rule_set in RuleSet.objects.all()}
    accounts = list(
        Score.objects.filter(is_pql=True, rule_set=rule_sets["bench-0"])
        .order_by("account")
        .values_list("account", flat=True)
    )
    rows = []
    for number, places in hints.items():
        rule_set = rule_sets[f"bench-{number}"]
        assert rule_set.live_version_id
        rows += [
            Crossed(
                rule_set=rule_set,
                account_id=accounts[place],
                to_version_id=rule_set.live_version_id,
                cause="event",
                at=NOW,
            )
            for place in places
            if place < len(accounts)
        ]
    handoffs.cross(hints=rows)
    took = together(taking_up, [()] * WORKERS)
    given = Assignment.objects.filter(ae__isnull=False).count() - before
    rate = given / took
    say(
        f"leads given out by {WORKERS} workers, {where}",
        f"{rate:,.0f} a second ({given:,} of {len(rows):,} hints)",
        f"{promised}",
        holds=rate >= promised and given == len(rows),
    )


def taking_up() -> Callable[[], object]:
    """Return the work, once connected: to take hints up until none is left."""
    from django.db import connection

    from routing import leads

    connection.ensure_connection()
    return lambda: leads.open_all(at=NOW, limit=ACCOUNTS * (POOLS + 1))


# ---- looking


def queue_page() -> None:
    """Let an AE with many open leads look at the queue, among many more of everybody's."""
    from django.db import connection
    from django.test import Client

    from routing.models import AE, Lead

    mine = AE.objects.order_by("pk").first()
    assert mine is not None
    spread(mine.pk)
    client = Client(SERVER_NAME="localhost")
    client.force_login(mine.user)
    seen: list[str] = []

    def count(execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        seen.append(sql)
        return execute(sql, *more)

    with connection.execute_wrapper(count):
        assert client.get("/").status_code == 200
    took = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        client.get("/")
        took.append(1_000 * (time.perf_counter() - began))
    p50, p95 = statistics.median(took), sorted(took)[round(LOOKS * 0.95) - 1]
    held = Lead.objects.filter(ae=mine, state="assigned").count()
    say(
        f"an AE's queue page, {held} open leads of {Lead.objects.count():,}",
        f"{len(seen)} queries, {p50:.0f} ms (p95 {p95:.0f} ms)",
        f"{QUERIES} queries, {SERVER_MS} ms",
        holds=len(seen) <= QUERIES and p50 <= SERVER_MS,
    )


def spread(mine: int) -> None:
    """Give one AE so many open leads of the first pool, and make closed ones of everybody until there are enough."""
    from django.db import connection, transaction

    from routing.models import Assignment, Lead

    def give(those: list[int], to: int | None) -> None:
        with transaction.atomic():  # who has a lead stands in both
            Lead.objects.filter(pk__in=those).update(ae=to)
            Assignment.objects.filter(lead__in=those, ae__isnull=False, released_at=None).update(ae=to)

    of_first_pool = Lead.objects.filter(state="assigned", rule_set__slug="bench-0").order_by("pk")
    give(list(of_first_pool.values_list("pk", flat=True)[:OPEN]), mine)
    surplus = list(Lead.objects.filter(ae=mine, state="assigned").order_by("pk").values_list("pk", flat=True)[OPEN:])
    other = of_first_pool.exclude(ae=mine).values_list("ae", flat=True).first()
    give(surplus, other)
    fields = [field.column for field in Lead._meta.concrete_fields if field.column and field.column != "id"]
    changed = {
        "state": "'closed'",
        "closed_as": "'lost'",
        "stage": "'sql'",
        "accepted_at": "lead.opened_at",
        "first_touched_at": "lead.opened_at",
        "closed_at": "lead.opened_at - number * interval '1 minute'",
        "due_at": "NULL",
        "alarm_at": "NULL",
    }
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO routing_lead ({', '.join(fields)}) "  # noqa: S608 (our own columns)
            f"SELECT {', '.join(changed.get(field, f'lead.{field}') for field in fields)} "
            "FROM routing_lead lead, generate_series(1, %s) number WHERE lead.state = 'assigned' LIMIT %s",
            [ALL // Lead.objects.count() + 1, ALL - Lead.objects.count()],
        )
        cursor.execute("ANALYZE routing_lead")


# ---- what if


def simulation() -> None:
    """Simulate a quarter through half of the roster beside today's."""
    from routing import simulator
    from routing.models import AE

    away = tuple(AE.objects.order_by("pk").values_list("pk", flat=True)[AES:])
    since = NOW.date() - timedelta(days=91)
    scenario = simulator.Scenario(since=since, until=NOW.date(), made_up=CROSSINGS, without=away)
    began = time.perf_counter()
    result = simulator.simulate(scenario)
    took = time.perf_counter() - began
    say(
        f"simulating a quarter, {result['crossings']:,} leads, {AES} AEs beside today's roster",
        f"{took:.1f} s",
        f"{SIMULATED:.0f} s",
        holds=took <= SIMULATED,
    )


if __name__ == "__main__":
    main()
