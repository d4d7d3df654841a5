"""The fold path against a plain COPY of the same rows, with one writer and with two; then four writers at odds.

COPY goes into a table with the same columns, a unique key on the message and a BRIN index: what it would cost only to
store events once. The fold path does that too, and knows who is who, and keeps tiles and the log of what to rescore.
Both in turns, each writer a process of its own, on a database without anything else running.
"""

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from bench.crew import together
from bench.tree import database, say

SIZE = 10_000  # events in a batch
BATCHES = 6  # of each writer in a round
ROUNDS = 3
ACCOUNTS, PEOPLE_EACH = 2_000, 5
DAYS = 14
PROMISED = {1: 0.30, 2: 0.45}  # of COPY, by writers
AT_ODDS = 1_000  # batches
QUARRELLERS = 4
CALLS = 6_000  # that those batches are drawn from, so that most are in several
NAMES = ("Board Created", "Board Saved", "Comment Added", "Board Exported", "Teammate Invited", "$page")
NOW = datetime.now(UTC).replace(microsecond=0)


def main() -> None:
    """Measure and print."""
    with database():
        prepare()
        for writers, promised in PROMISED.items():
            against_copy(writers, promised)
        at_odds()


def against_copy(writers: int, promised: float) -> None:
    """Print the best of some rounds: what else runs on the machine only ever slows.

    The promise is against one COPY, however many fold, as it was when it was made.
    """
    events = BATCHES * SIZE
    rates: dict[tuple[str, int], list[float]] = {("copy", 1): [], ("copy", writers): [], ("fold", writers): []}
    for number in range(ROUNDS):
        for (kind, crew), measured in rates.items():
            took = together(KINDS[kind], [(who, f"{kind}-{writers * 100 + number}") for who in range(crew)])
            measured.append(crew * events / took)
    one_copy, copies, folds = (max(rates[which]) for which in (("copy", 1), ("copy", writers), ("fold", writers)))
    also = f"; {folds / copies:.0%} of as many COPYs" if writers > 1 else ""
    say(
        f"fold path against COPY, {writers} writer{'s' if writers > 1 else ''}",
        f"{folds / one_copy:.0%} ({folds:,.0f} of {one_copy:,.0f} events/s{also})",
        f"{promised:.0%}",
        holds=folds >= promised * one_copy,
    )


def at_odds() -> None:
    """Print how often PostgreSQL had to end a deadlock, and whether all is right afterwards."""
    from scoring import tiles

    before = deadlocks()
    took = together(quarrelling, [(who,) for who in range(QUARRELLERS)])
    seen = deadlocks() - before
    wrong = tiles.verify()
    say(
        f"deadlocks in {AT_ODDS:,} batches at odds, {QUARRELLERS} writers",
        f"{seen} in {took:.0f} s",
        "0",
        holds=not seen,
    )
    say("tiles are the fold of the events after it", "no" if wrong else "yes", "yes", holds=wrong is None)


# ---- what the writers do


def copying(who: int, mark: str) -> Callable[[], None]:
    """Return the work: to COPY each batch in a transaction of its own, from text that is ready."""
    from django.db import transaction

    from scoring.models.raw import cursor

    texts = [as_text(batch) for batch in batches(who, mark)]

    def work() -> None:
        for text in texts:
            with transaction.atomic(), cursor() as c, c.copy(COPY) as copy:
                copy.write(text)

    return work


COPY = "COPY bench_event (source_id, message_id, at, received_at, identity_id, account_id, name, properties) FROM STDIN"


def as_text(batch: Sequence[Any]) -> bytes:
    """The rows as COPY wants them; in the order of time, as the fold path stores them."""
    rows = (
        f"1\t{fact.message_id}\t{fact.at}\t{NOW}\t7\t7\t{fact.name}\t{orjson.dumps(fact.properties).decode()}\n"
        for fact in sorted(batch, key=lambda fact: (fact.at, fact.message_id))
    )
    return "".join(rows).encode()


def folding(who: int, mark: str) -> Callable[[], None]:
    """Return the work: to record each batch."""
    return recording(batches(who, mark))


def recording(prepared: Sequence[Sequence[Any]]) -> Callable[[], None]:
    """Return the recording of batches, one after another."""
    from scoring import facts

    source = facts.create_source(slug="bench", at=NOW)

    def work() -> None:
        for batch in prepared:
            facts.record(source=source, facts=batch, received_at=NOW)

    return work


def quarrelling(who: int) -> Callable[[], None]:
    """Return the work: to record batches in any order that overlap with the others', in events, people and accounts."""
    from scoring.facts import Fact

    dice = random.Random(5)
    calls = [event(dice, f"odds-{n}") for n in range(CALLS)]
    for n in range(0, CALLS, 20):  # devices of people, and now and then of two
        one = calls[n]
        calls[n] = Fact(one.message_id, one.at, "$identify", user_id=one.user_id, anonymous_id=f"device {n % 700}")
    mine = random.Random(who)
    return recording([mine.sample(calls, mine.choice((5, 50, 200))) for _ in range(AT_ODDS // QUARRELLERS)])


KINDS = {"copy": copying, "fold": folding}


def batches(who: int, mark: str) -> list[list[Any]]:
    """Return a writer's batches of a round: ever new messages of people who are known."""
    dice = random.Random(f"{who} {mark}")
    return [[event(dice, f"{mark}-{who}-{n}-{i}") for i in range(SIZE)] for n in range(BATCHES)]


def event(dice: random.Random, message_id: str) -> Any:
    """Return a call of somebody; a few accounts do most."""
    from scoring.facts import Fact

    account = min(int(dice.paretovariate(0.6)), ACCOUNTS) - 1
    return Fact(
        message_id=f"{dice.getrandbits(64):016x}-{message_id}",
        at=NOW - timedelta(seconds=dice.randrange(DAYS * 86_400)),
        name=dice.choice(NAMES),
        user_id=f"user {account}-{dice.randrange(PEOPLE_EACH)}",
        group_id=f"account {account}",
        properties={"board": f"b{dice.randrange(1000)}", "plan": "trial", "storage_mb": dice.randrange(5000)},
    )


# ---- the database


def prepare() -> None:
    """Migrate, activate signals, introduce everybody, and make COPY's table."""
    from django.core.management import call_command
    from django.db import connection

    from bench.rescore import RULES
    from scoring import facts, language, tiles

    call_command("migrate", verbosity=0)
    facts.prepare_partitions(at=NOW)
    source = facts.create_source(slug="bench", at=NOW)
    tiles.register(signals=language.signals_of(language.parse(RULES)).values(), at=NOW)
    people = [(account, person) for account in range(ACCOUNTS) for person in range(PEOPLE_EACH)]
    known = [
        facts.Fact(f"hello {a}-{p}", NOW, "$group", user_id=f"user {a}-{p}", group_id=f"account {a}", joins=True)
        for a, p in people
    ]
    facts.record(source=source, facts=known, received_at=NOW)
    with connection.cursor() as c:
        c.execute("CREATE TABLE bench_event (LIKE scoring_event INCLUDING DEFAULTS)")
        c.execute("ALTER TABLE bench_event ADD UNIQUE (source_id, message_id, at)")
        c.execute("CREATE INDEX ON bench_event USING brin (at, id)")
        c.execute("VACUUM ANALYZE")


def deadlocks() -> int:
    """Return how many deadlocks PostgreSQL has ended in this database so far."""
    from django.db import connection

    time.sleep(1.5)  # its counters come a moment later
    with connection.cursor() as c:
        c.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(c.fetchone()[0])


if __name__ == "__main__":
    main()
