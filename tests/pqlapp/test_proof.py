"""The workbench on simulated and on real companies: it finds what is there, and praises nothing where nothing is."""

import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connection

from pqlapp.ingest.history import formats
from pqlapp.ingest.history.lines import Record
from pqlapp.ingest.history.reading import Reader
from pqlapp.parser import Rejected
from scoring import backtest, facts, rules, tasks
from scoring.facts import Fact
from scoring.models import Account, Backtest, Job
from tests.scoring.loading import undone

# Where the sample files are: a folder beside the repository's, or the one that is named.
DATA = Path(os.environ.get("SAMPLE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
HALVES = ("hedgebox_a5000_half", "hedgebox_a500")  # accounts of one simulated product, none in both
TRIALS = "b2b_trial_orgs"

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("proof")]


def file_of(name: str) -> Path:
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there; SAMPLE_DATA names its folder")
    return path


def run(text: str, **options: Any) -> dict[str, Any]:
    """Run a backtest of the text to its end and return what it found."""
    with connection.cursor() as c:
        c.execute("ANALYZE")  # as autovacuum would have, outside of a test's transaction
    now = datetime.now(UTC)
    version = rules.draft(text=text, by=None, at=now)
    started = backtest.start(version=version, by=None, at=now, **options)
    done = tasks.carry_on(job=started.job)
    assert done.state == Job.State.DONE, done.error
    return dict(Backtest.objects.get(pk=started.pk).result)


# Free personal accounts that upgrade: what they do is be there, and download.
HEDGEBOX = """
slug: hedgebox
name: Hedgebox
motion: new_business
goal: {signal: upgraded}
population: {all: [{trait: plan, equals: personal/free}, {not: {ever: upgraded}}]}
signals:
  upgraded: {event: upgraded_plan}
  downloaded: {event: downloaded_file}
groups: {use: {score: usage}}
rules:
  - {id: days, name: They are there on many days, group: use, points: 10, per: {days: any, within: 14}, max: 140}
  - {id: downloads, name: They download, group: use, points: 2, per: {count: downloaded, within: 14}, max: 60}
tiers: [{name: hot, pql: true, enter: {usage: LINE}}]
"""


class TestHedgebox:
    """A definition is found on the accounts of one file, and checked on those of the other."""

    @contextmanager
    def loaded(self, name: str) -> Iterator[None]:
        with time_machine.travel(datetime(2026, 7, 2, tzinfo=UTC), tick=False), undone():
            now = datetime.now(UTC)
            source = facts.create_source(slug="hedgebox", at=now)
            reader = Reader(formats.named(name="segment", mapped=None))
            with gzip.open(file_of(name)) as lines:
                records = (Record(number, line) for number, line in enumerate(lines, 1))
                while some := list(islice(records, 5_000)):
                    read = [reader.read(record=record, received_at=now) for record in some]
                    calls = [fact for each in read if not isinstance(each, Rejected) for fact in each]
                    facts.record(source=source, facts=calls, received_at=now)
            yield

    def test_what_is_found_on_one_half_holds_on_the_other(self) -> None:
        found, checked = HALVES
        with self.loaded(found):
            curve = run(HEDGEBOX.replace("LINE", "50"))["curve"]
        # The line at which the lift is surest, of those that leave the AEs enough to do.
        useful = [point for point in curve if (point["volume"]["value"] or 0) >= 2]
        best = max(useful, key=lambda point: point["lift"]["low"])
        assert best["lift"]["low"] > 1
        with self.loaded(checked):
            check = run(HEDGEBOX.replace("LINE", f"{best['threshold'] / 100:g}"))
        assert check["verdict"]["state"] == "more", check["verdict"]


# Every count of use that the trials carry, as its own rule; the line is tried at every height by the curve.
TRIALS_RULES = """
slug: trials
name: Trials
motion: new_business
goal: {signal: converted}
sign_up: {trait: trial_start}
population: {not: {ever: converted}}
signals: {converted: {event: Trial Converted}}
groups: {use: {score: usage}}
rules:
  - {id: days, name: Many active days, group: use, points: 20, when: {trait: active_days, at_least: 3}}
  - {id: activities, name: Many kinds, group: use, points: 20, when: {trait: distinct_activities, at_least: 4}}
  - {id: events, name: Much activity, group: use, points: 20, when: {trait: total_events, at_least: 20}}
  - {id: shifts, name: Shifts, group: use, points: 20, when: {trait: Scheduling.Shift.Created, at_least: 10}}
  - {id: mobile, name: On phones, group: use, points: 20, when: {trait: Mobile.Schedule.Loaded, at_least: 5}}
tiers: [{name: hot, pql: true, enter: {usage: 40}}]
"""


class TestTrials:
    """Real trials in which no count of use separates who converts."""

    def test_says_that_there_is_not_enough_evidence(self) -> None:
        with gzip.open(file_of(TRIALS)) as lines:
            calls = [_trial_call(json.loads(line)) for line in lines]
        with time_machine.travel(datetime(2024, 6, 1, tzinfo=UTC), tick=False):
            source = facts.create_source(slug="trials", at=datetime.now(UTC))
            facts.record(source=source, facts=calls, received_at=datetime.now(UTC))
            assert Account.objects.filter(kind="group").count() == 966
            result = run(TRIALS_RULES)
        assert result["verdict"]["state"] == "unknown"
        assert result["verdict"]["words"].startswith("Not enough evidence that PQLs convert more often than others")
        assert result["precision"]["whole"] > 100  # it is not for want of accounts
        # And not at any other line either.
        assert [point["threshold"] for point in result["curve"] if point["lift"]["low"] > 1] == []
        alarms = {alarm["kind"]: alarm["state"] for alarm in result["alarms"]}
        assert alarms["too_loose"] == "raised"


def _trial_call(call: dict[str, Any]) -> Fact:
    traits = dict(call.get("traits", {}))
    counts = traits.pop("activity_counts", {})
    return Fact(
        message_id=call["messageId"],
        at=datetime.fromisoformat(call["timestamp"]),
        name=call.get("event") or "$group",
        user_id=call["userId"],
        group_id=call.get("groupId") or call["context"]["groupId"],
        joins=call["type"] == "group",
        account_traits={**traits, **counts},
    )
