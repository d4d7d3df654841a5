"""What is killed for real loses nothing and doubles nothing: web during ingest, workers during a rescore, Redis."""

import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from pqlapp.processes import wait_until
from tests.chaos import ROUNDS, SEED, SENDERS, VICTIMS, Sender, drained
from tests.serving import PATIENCE
from tests.towns import Town, kill

Until = Callable[..., None]
Batch = list[dict[str, object]]

pytestmark = pytest.mark.xdist_group("faults")


def batches(name: str, many: int, *, size: int = 40, accounts: int = 25) -> tuple[list[Batch], Counter[str]]:
    """Return batches of events, some of them in two batches, and how many each account really has."""
    chance = random.Random(name)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made: list[Batch] = []
    expected: Counter[str] = Counter()
    for b in range(many):
        batch: Batch = []
        for i in range(size):
            account = f"{name}-{int(chance.paretovariate(1)) % accounts}"
            expected[account] += 1
            call: dict[str, object] = {
                "type": "track",
                "event": "used",
                "messageId": f"{name}-{b}-{i}",
                "userId": f"{account}-u{chance.randrange(3)}",
                "timestamp": now,
                "context": {"groupId": account},
            }
            batch.append(call)
        made.append(batch + (chance.sample(made[-1], 5) if made else []))
    return made, expected


def send_all(town: Town, some: list[Batch]) -> None:
    """Send each batch until it is acknowledged, as an SDK does."""
    for batch in some:
        assert wait_until(lambda batch=batch: town.post(batch), within=PATIENCE)  # type: ignore[misc]


def everything_counted(town: Town, expected: Counter[str], until: Until) -> None:
    def counted() -> bool:
        found = town.scores()
        return all(found.get(account) == points for account, points in expected.items())

    until(counted, within=PATIENCE, what=f"every event in the scores ({expected})")
    (events,) = town.query(f"SELECT count(*) FROM scoring_event WHERE message_id LIKE '{min(expected)[:4]}%'")[0]
    assert events == sum(expected.values())
    tiles = town.query("SELECT sum(count) FROM scoring_tile WHERE signal_id = (SELECT min(id) FROM scoring_signal)")
    assert tiles == town.query("SELECT count(*) FROM scoring_event")


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_killed_process_loses_and_doubles_nothing(town: Town, name: str, until: Until) -> None:
    some, expected = batches(f"{name}s", 40)
    senders = [threading.Thread(target=send_all, args=(town, some[i::3])) for i in range(3)]
    chance = random.Random(7)
    for sender in senders:
        sender.start()
    for _ in range(4):
        kill(town, name, chance=chance)
        until(town.tree.answers, within=PATIENCE, what="the next life")
    for sender in senders:
        sender.join()
    everything_counted(town, expected, until)


def test_with_redis_stopped_ingest_goes_on_and_scores_come_later(town: Town, until: Until) -> None:
    some, expected = batches("stop", 5)
    all_of_it = [p for p in psutil.process_iter(["name", "cwd"]) if _is_redis_of(p, town.tree.directory)]
    redis = min(all_of_it, key=lambda p: p.create_time())  # not the one that it forked to write its file
    redis.send_signal(signal.SIGSTOP)
    try:
        assert all(town.post(batch) for batch in some)
    finally:
        redis.send_signal(signal.SIGCONT)
    everything_counted(town, expected, until)


def test_with_redis_killed_ingest_goes_on_and_scores_come_later(town: Town, until: Until) -> None:
    some, expected = batches("died", 5)
    kill(town, "redis", chance=random.Random(7))
    assert all(town.post(batch) for batch in some)
    everything_counted(town, expected, until)


def _is_redis_of(process: psutil.Process, directory: Path) -> bool:
    inside = str(process.info["cwd"] or "").startswith(f"{directory}/")
    return inside and "redis" in process.info["name"]


def test_a_killed_database_loses_nothing_that_was_acknowledged(town: Town, until: Until) -> None:
    some, expected = batches("base", 30)
    sender = threading.Thread(target=send_all, args=(town, some))
    sender.start()
    for _ in range(2):
        kill(town, "postgres", chance=random.Random(7))
        until(lambda: _answers(town), within=PATIENCE, what="the database's return")
    sender.join()
    everything_counted(town, expected, until)


def _answers(town: Town) -> bool:
    try:
        return town.query("SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def test_what_was_acknowledged_is_stored_once_whatever_is_killed(town: Town, until: Until) -> None:
    """Kill anything at any moment. The seed is printed: see chaos.py."""
    sys.stdout.write(f"CHAOS_SEED={SEED}\n")
    stop, chance = threading.Event(), random.Random(SEED)
    past: list[list[bytes]] = []
    senders = [Sender(town, f"chaos-{SEED}-{number}", stop, past) for number in range(SENDERS)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    killed: Counter[str] = Counter()
    for turn in range(ROUNDS):
        before = sum(len(sender.acknowledged) for sender in senders)
        until(
            lambda before=before: sum(len(sender.acknowledged) for sender in senders) > before + 300,
            within=PATIENCE,
            what="calls that are acknowledged",
        )
        time.sleep(chance.random() / 5)  # at any moment of their work, not always at its beginning
        victim = VICTIMS[turn] if turn < len(VICTIMS) else chance.choice(VICTIMS)
        kill(town, victim, chance=chance)
        killed[victim] += 1
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert [fault for sender in senders for fault in sender.faults] == []
    until(lambda: drained(town), within=PATIENCE, what="all work done")

    rows = town.query("SELECT message_id FROM scoring_event WHERE message_id LIKE 'chaos-%'")
    stored = Counter(str(message_id) for (message_id,) in rows)
    acknowledged = set().union(*(sender.acknowledged for sender in senders))
    sent = set().union(*(sender.sent for sender in senders))
    told = f"{len(acknowledged):,} acknowledged, {len(stored):,} stored of {len(sent):,} sent"
    sys.stdout.write(f"killed {dict(killed)}; {told}\n")
    assert acknowledged - stored.keys() == set()
    assert stored.keys() - sent == set()
    assert [one for one, times in stored.items() if times > 1] == []
    assert wait_until(lambda: drained(town), within=PATIENCE)
    town.command("verify")  # tiles = fold(events), scores = a new judgement; it fails with the first difference
