"""Backtests: the first day, the population, censoring, what was not known yet, and the figures made of it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring import backtest, bulk, engine, facts, jobs, language, ledger, rules, tasks
from scoring.backtest import asking, knowing, running
from scoring.backtest.measuring import Tally, tally
from scoring.backtest.watching import HAND_RAISED, Line, Span, Watched, watch
from scoring.models import Backtest, Backtested, Job, Source
from tests.examples import few
from tests.scoring import oracle
from tests.scoring.loading import fold, ids, load, undone
from tests.scoring.oracle import History, Key, Sight, World
from tests.scoring.strategies import FIRST_DAY, LAST_DAY, documents, histories, midnight
from tests.scoring.world import account, call, join, send, source

pytestmark = pytest.mark.django_db

slow = settings(max_examples=few(8), suppress_health_check=list(HealthCheck))
FIRST, LAST = FIRST_DAY + timedelta(days=14), LAST_DAY - timedelta(days=10)
DELAYS = st.sampled_from([0, 0, 0, 0, 1, 2, 9])  # days until a call comes


# ---- a naive backtest over raw calls


@dataclass(frozen=True)
class Sent:
    """A history, with the day on which each call came."""

    history: History
    came: dict[str, date]  # by message id
    live_from: datetime  # since when the source is there: earlier calls are history that was brought in

    def known(self, on: date) -> set[str]:
        """The messages that were known at the end of the day."""
        calls = self.history.calls
        return {c.message_id for c in calls if c.at < self.live_from or self.came[c.message_id] <= on}


class Past:
    """What a version says of each account on each day, from nothing but the calls that were known by then."""

    def __init__(self, document: language.Document, sent: Sent, days: list[date], horizon: int) -> None:
        self.document, self.sent, self.days, self.horizon = document, sent, days, horizon
        self.world = World(sent.history)
        self.last = self.world.judge_all(document, days[-1])
        self.said = {key: [self.judge(key, day) for day in days] for key in self.last}

    def judge(self, key: Key, day: date) -> oracle.Judgement:
        sight = Sight(self.world, self.document, day, key)
        known = self.sent.known(day)
        sight.calls = [call for call in sight.calls if call.message_id in known]
        return oracle._judge(self.document, sight)

    def counts(self, key: Key, n: int) -> bool:
        """Whether the account could be a PQL on the n-th day."""
        said, final = self.said[key][n], self.last[key]
        was_there = said.sign_up is not None or final.sign_up is None
        converted = final.goal_on is not None and final.goal_on <= self.days[n]
        return was_there and not converted and said.status in ("scored", "disqualified")

    def qualified_on(self, key: Key) -> date | None:
        pql = {tier.name for tier in self.document.tiers if tier.pql}
        found = [day for n, day in enumerate(self.days) if self.counts(key, n) and self.said[key][n].tier in pql]
        return found[0] if found else None

    def as_pql(self, key: Key) -> str:
        day, sign_up = self.qualified_on(key), self.last[key].sign_up
        if day is None:
            return ""
        if day == self.days[0] and (sign_up is None or sign_up < day):
            return "before"
        if (self.days[-1] - day).days < self.horizon:
            return "young"
        return "converted" if self.converts(key, day) else "not"

    def converts(self, key: Key, since: date) -> bool:
        goal = self.last[key].goal_on
        return goal is not None and 0 < (goal - since).days <= self.horizon

    def won(self, key: Key) -> str:
        goal = self.last[key].goal_on
        if goal is None or goal <= self.days[0] or self.as_pql(key) == "before":
            return ""
        day = self.qualified_on(key)
        if day is not None:
            return "foretold" if self.converts(key, day) else "late"
        return "missed" if any(self.counts(key, n) for n in range(len(self.days))) else "unseen"

    def looked_at(self, key: Key, age: int) -> date | None:
        """The day on which the account is so old, if it could have been a PQL then and was none."""
        sign_up, qualified_on = self.last[key].sign_up, self.qualified_on(key)
        day = sign_up + timedelta(days=age) if sign_up else None
        if day is None or day not in self.days or (self.days[-1] - day).days < self.horizon:
            return None
        return day if self.counts(key, self.days.index(day)) and not (qualified_on and qualified_on <= day) else None

    def compared(self, rows: dict[Key, int]) -> dict[Key, tuple[date, str]]:
        """Who is looked at as no PQL: on which day, and what became of it."""
        known = [key for key in self.last if self.as_pql(key) in ("converted", "not")]
        wanted = [
            (on - sign_up).days for k in known if (on := self.qualified_on(k)) and (sign_up := self.last[k].sign_up)
        ]
        left = {age: sum(self.looked_at(key, age) is not None for key in self.last) for age in wanted}
        dealt = [(age, wanted.count(age) / left[age]) for age in sorted(set(wanted)) if left[age]]
        found = {}
        for key, row in rows.items() if dealt else ():
            lot = int.from_bytes(hashlib.blake2b(str(row).encode(), digest_size=6).digest()) / 2**48
            share = lot * sum(weight for _, weight in dealt)
            age = next(age for n, (age, _) in enumerate(dealt) if share < sum(weight for _, weight in dealt[: n + 1]))
            if day := self.looked_at(key, age):
                found[key] = (day, "converted" if self.converts(key, day) else "not")
        return found


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Histories of which some calls come days later, to a source that was there from a drawn day on."""
    history = draw(histories())
    by_id = {c.message_id: c for c in reversed(history.calls)}
    came = {m: c.at.astimezone(UTC).date() + timedelta(days=draw(DELAYS)) for m, c in by_id.items()}
    in_turn = sorted(by_id.values(), key=lambda c: came[c.message_id])
    return Sent(
        replace(history, calls=tuple(in_turn)), came, midnight(FIRST_DAY) + timedelta(days=draw(st.integers(0, 40)))
    )


def bring_in(sent: Sent) -> None:
    """Record each day's calls on the day on which they came."""
    load(replace(sent.history, calls=()))
    Source.objects.filter(slug="test").update(created_at=sent.live_from)
    sender = Source.objects.get(slug="test")
    for day in sorted(set(sent.came.values())):
        batch = [facts.Fact(**vars(c)) for c in sent.history.calls if sent.came[c.message_id] == day]
        # History that was brought in came at one time, whenever that was.
        facts.record(
            source=sender, facts=batch, received_at=midnight(day) + timedelta(hours=23, minutes=59, seconds=59)
        )


def watched(document: language.Document, every: int = 1, horizon: int = 10) -> Watched:
    span = Span(asking.moments(first=FIRST, last=LAST, every=every), horizon)
    knowledge = knowing.look(first=FIRST, last=LAST)
    return watch(document, span=span, knowledge=knowledge)


class TestABacktest:
    @given(document=documents(), sent=sent())
    @slow
    def test_says_what_a_naive_reader_of_the_calls_says(self, document: language.Document, sent: Sent) -> None:
        with undone():
            bring_in(sent)
            fold(document)
            seen = watched(document)
            done = tally(seen)
            past = Past(document, sent, list(seen.span.moments), horizon=10)
            rows = ids(list(past.last))
            assert {rows[key] for key in past.last} == set(seen.courses)
            compared = past.compared(rows)
            for key, row in rows.items():
                assert seen.courses[row].qualified_on == past.qualified_on(key), key
                assert done.as_pql.get(row, "") == past.as_pql(key), key
                assert done.won.get(row, "") == past.won(key), key
                assert (done.compared_on.get(row), done.as_other.get(row, "")) == compared.get(key, (None, "")), key

    @given(document=documents(), sent=sent())
    @settings(slow, max_examples=few(4))
    def test_by_week_finds_the_very_day_of_whom_it_finds(self, document: language.Document, sent: Sent) -> None:
        with undone():
            bring_in(sent)
            fold(document)
            daily, weekly = watched(document), watched(document, every=7)
            for row, course in weekly.courses.items():
                if course.qualified_on and course.qualified_on > weekly.span.first:
                    # A PQL that comes, goes and comes again between two moments is found where it came again.
                    first = daily.courses[row].qualified_on
                    assert first is not None
                    assert first <= course.qualified_on

    @given(document=documents(), history=histories())
    @settings(slow, max_examples=few(8))
    def test_measures_how_far_from_the_line_everybody_is(self, document: language.Document, history: History) -> None:
        with undone():
            load(history)
            fold(document)
            line = Line(document)
            for judgement in engine.judge(document, as_of=LAST, detail=False):
                margin = line.margin(judgement)
                assert judgement.is_pql == (margin is not None and margin >= 0)
                assert ledger.totals(document, judgement.raw) == (judgement.usage, judgement.fit)


# ---- by hand

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
INVITES = """
slug: invites
name: Invites
motion: new_business
goal: {outcome: [paid]}
population: {not: {outcome: [paid]}}
signals: {invited: {event: invited}, saved: {event: saved}, never: {event: never}}
groups: {team: {score: usage, cap: 40}, company: {score: fit}}
rules:
  - {id: invites, name: Invites, group: team, points: 20, per: {count: invited, within: 14}, max: 40}
  - {id: saves, name: Saves, group: team, points: 10, when: {count: saved, within: 14, at_least: 1}}
  - {id: never, name: Never, group: company, points: 10, when: {count: never, within: 14, at_least: 1}}
tiers:
  - {name: gold, pql: true, enter: {usage: 60}}
  - {name: hot, pql: true, enter: {usage: 40}}
"""


def at(day: int, hour: int = 12) -> datetime:
    """The n-th day of January 2026."""
    return datetime(2026, 1, 1, hour, tzinfo=UTC) + timedelta(days=day - 1)


def sign_up(name: str, day: int) -> facts.Fact:
    return join(f"ann@{name}", name, at=at(day), account_traits={"created_at": at(day).isoformat()})


def invite(name: str, *days: int, **fields: Any) -> list[facts.Fact]:
    return [call(by=f"ann@{name}", into=name, at=at(day), **fields) for day in days]


def pay(name: str, day: int) -> None:
    facts.record_outcome(
        account=account(name), kind="paid", at=at(day), received_at=at(day), message_id=f"{name} {day}"
    )


def run(**options: Any) -> Backtest:
    version = rules.draft(text=options.pop("text", INVITES), by=None, at=NOW)
    started = backtest.start(version=version, by=None, at=NOW, **{"horizon_days": 15, **options})
    done = tasks.carry_on(job=started.job)
    assert done.state == Job.State.DONE, done.error
    return Backtest.objects.get(pk=started.pk)


def rows(of: Backtest) -> dict[str, Backtested]:
    return {row.account.external_id: row for row in of.accounts.select_related("account")}


@pytest.fixture
def world() -> Iterator[None]:
    """Imported history: acme qualifies on day 10, pays on day 20; globex qualifies on day 35; initech pays unasked."""
    source()
    send(
        *(sign_up(name, 1) for name in ("acme", "globex", "initech", "umbrella")),
        *invite("acme", 5, 10),
        *invite("globex", 34, 35),
        *invite("initech", 3),
        *invite("hooli", 30, 31),
        call("saved", by="ann@acme", into="acme", at=at(10)),
        call("saved", by="zoe", into="umbrella", at=at(40)),
    )
    pay("acme", 20)
    pay("initech", 22)
    yield


@pytest.mark.usefixtures("world")
class TestRun:
    def test_counts_a_pql_from_its_first_day(self) -> None:
        found = rows(run())
        assert (found["acme"].qualified_on, found["acme"].as_pql) == (at(10).date(), "converted")

    def test_leaves_too_young_ones_uncounted(self) -> None:
        done = run()
        assert rows(done)["globex"].as_pql == "young"
        assert done.last_day == at(40).date()
        assert done.result["precision"]["whole"] == 1
        assert done.result["pqls"] == {"all": 3, "converted": 1, "not": 0, "young": 2, "before": 0}

    def test_knows_whom_it_missed(self) -> None:
        done = run()
        assert rows(done)["initech"].won == "missed"
        assert (done.result["recall"]["part"], done.result["recall"]["whole"]) == (1, 2)

    def test_compares_with_others_at_the_same_age(self) -> None:
        found = rows(run())
        # acme qualified nine days after its sign-up: so the others are looked at nine days after theirs.
        assert {name: row.compared_on for name, row in found.items() if row.compared_on} == {
            "globex": at(10).date(),
            "initech": at(10).date(),
            "umbrella": at(10).date(),
        }
        assert {name: row.as_other for name, row in found.items() if row.as_other} == {
            "globex": "not",
            "initech": "converted",
            "umbrella": "not",
        }

    def test_never_praises_so_few(self) -> None:
        result = run().result
        assert result["verdict"]["state"] == "unknown"
        assert "Not enough evidence" in result["verdict"]["words"]

    def test_stores_what_it_was_run_on(self) -> None:
        first, second = run(), run()
        assert first.document_digest == second.document_digest == first.version.digest
        assert (first.facts_digest, first.digest) == (second.facts_digest, second.digest)
        send(*invite("acme", 6))
        third = run()
        assert third.facts_digest != first.facts_digest
        assert third.digest != first.digest

    def test_tells_the_curve_with_the_present_line_on_it(self) -> None:
        result = run().result
        present = next(point for point in result["curve"] if point["shift"] == 0)
        assert present["threshold"] == 4000
        assert (present["pqls"], present["precision"]) == (result["pqls"]["all"], result["precision"])
        assert len(result["curve"]) > 1

    def test_leaves_out_who_was_one_before_the_first_day(self) -> None:
        done = run(months=1)
        assert done.first_day == at(11).date()
        assert (rows(done)["acme"].as_pql, rows(done)["acme"].won) == ("before", "")
        assert done.result["pqls"]["all"] == 2

    def test_is_dropped_when_it_is_old_unless_it_is_the_newest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old, newest = run(), run()
        kept, later = set(rows(newest)), newest.created_at + asking.KEPT + timedelta(seconds=1)
        assert backtest.drop_old(at=later - timedelta(days=1)) == 0
        monkeypatch.setattr(asking, "AT_ONCE", 2)  # some accounts at a time
        while backtest.drop_old(at=later):
            assert set(rows(newest)) == kept
        assert list(Backtest.objects.all()) == [newest]
        assert not Backtested.objects.filter(backtest=old.pk).exists()

    def test_says_which_half(self) -> None:
        halves = [set(rows(run(half=half))) for half in ("first", "second")]
        assert halves[0].isdisjoint(halves[1])
        assert halves[0] | halves[1] == set(rows(run()))

    def test_raises_alarms_with_their_numbers(self) -> None:
        alarms = {(alarm["kind"], alarm["state"]) for alarm in run(weekly_capacity=100).result["alarms"]}
        # Five accounts are too few to be sure that a rule never fires; that a tier cannot be reached is sure.
        assert {("unreachable_tier", "raised"), ("never_fires", "unknown"), ("too_loose", "raised")} <= alarms
        (tier,) = [a for a in run().result["alarms"] if a["kind"] == "unreachable_tier"]
        assert "asks for 60 points of usage, and all rules together give 40" in tier["words"]

    def test_tells_a_rule_that_its_cap_makes_dead(self) -> None:
        text = INVITES.replace(
            "points: 20, per: {count: invited, within: 14}, max: 40", "points: 40, when: {ever: any}"
        )
        alarms = run(text=text).result["alarms"]
        assert [(a["kind"], a["behind"]) for a in alarms if a["kind"] == "dead_by_cap"] == [
            ("dead_by_cap", {"fired": "saves"})
        ]

    def test_finds_the_accounts_behind_a_figure(self) -> None:
        done = run()

        def names(**figure: str) -> list[str]:
            return [row.account.external_id for row in backtest.behind(backtest=done, figure=figure)]

        assert names(as_pql="any") == ["acme", "globex", "hooli"]
        assert names(won="missed") == ["initech"]
        assert names(fired="invites,saves") == ["acme"]
        assert names(unfired="invites") == ["umbrella"]
        assert names(alone="invites") == ["acme", "globex", "hooli"]
        assert names(tier="hot", until="2026-01-20") == ["acme"]
        assert len(names(peak="-2000")) == len(names(peak="0")) + 1
        with pytest.raises(backtest.BadFigure, match="is nothing to find accounts by"):
            names(colour="red")
        with pytest.raises(backtest.BadFigure, match="is a day such as"):
            names(since="soon")


def ran(*, every: int) -> tuple[Any, ...]:
    """All that a backtest found, carried out at NOW."""
    version = rules.draft(text=INVITES, by=None, at=NOW)
    started = backtest.start(version=version, by=None, at=NOW, horizon_days=15, every_days=every)
    job = jobs.claim(job=started.job, at=NOW)
    assert job is not None
    running.run(job=job, clock=lambda: NOW)
    done = Backtest.objects.get(pk=started.pk)
    found = {name: {**vars(row), "id": 0, "backtest_id": 0, "_state": 0} for name, row in rows(done).items()}
    return done.first_day, done.last_day, done.result, done.digest, found


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("world")
class TestOnTheMirror:
    @pytest.mark.parametrize("every", [1, 7])
    def test_finds_what_postgresql_finds(
        self, every: int, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.MIRROR = tmp_path / "mirror"
        Source.objects.filter(pk=source().pk).update(created_at=at(1, 0), imported_to=at(12))
        bulk.refresh(at=NOW - timedelta(hours=1))
        # What the mirror does not hold yet: some of it came late.
        send(*invite("umbrella", 15, 18), at=at(25))
        send(*invite("initech", 2), *invite("hooli", 13), at=at(30))
        settings.MIRROR = tmp_path / "none"
        by_postgres = ran(every=every)
        settings.MIRROR = tmp_path / "mirror"
        monkeypatch.setattr("scoring.bulk.judging._by_postgres", None)
        assert ran(every=every) == by_postgres
        _, _, result, _, found = by_postgres
        assert result["late"]["events"]
        # Known only on day 25, between two weekly moments.
        assert found["umbrella"]["qualified_on"] == at(25).date()


class TestWhatCameLate:
    @pytest.fixture(autouse=True)
    def live(self) -> None:
        """A source that is there from the first day on."""
        Source.objects.filter(pk=source().pk).update(created_at=at(1, 0))
        send(sign_up("acme", 1), at=at(1))
        for day in (5, 10):
            send(*invite("acme", day), at=at(day))

    def test_is_left_out_until_it_came(self) -> None:
        send(*invite("globex", 20, 21), at=at(30))
        send(*invite("acme", 40), at=at(40))
        done = run()
        assert rows(done)["globex"].qualified_on == at(30).date()
        assert rows(done)["acme"].qualified_on == at(10).date()
        assert done.result["late"] == {"events": 2, "accounts": 1, "sources": {"app": 2}}
        assert [row.account.external_id for row in backtest.behind(backtest=done, figure={"late": "yes"})] == ["globex"]

    def test_of_an_import_counts_from_the_day_it_is_dated(self) -> None:
        send(*invite("globex", 20, 21), at=at(30))
        Source.objects.update(imported_to=at(30, 13))
        send(*invite("acme", 40), at=at(40))
        done = run()
        assert rows(done)["globex"].qualified_on == at(21).date()
        assert done.result["late"]["events"] == 0

    def test_leaves_no_trace_of_having_looked(self) -> None:
        send(*invite("globex", 20, 21), at=at(30))
        send(*invite("acme", 40), at=at(40))
        version = rules.draft(text=INVITES, by=None, at=NOW)
        document = rules.document_of(version)
        fold(document)
        before = engine.judge(document, as_of=at(40).date(), detail=False)
        run()
        assert engine.judge(document, as_of=at(40).date(), detail=False) == before


class TestStopping:
    def test_keeps_nothing(self, world: None, monkeypatch: pytest.MonkeyPatch) -> None:
        version = rules.draft(text=INVITES, by=None, at=NOW)
        started = backtest.start(version=version, by=None, at=NOW)
        stopper = User(username="ada")
        report, reports = jobs.report, []

        def stop_in_the_middle(**named: Any) -> None:
            reports.append(named["progress"].step)
            if reports.count("judging past days") == 3:
                assert jobs.stop(job=started.job, by=stopper, at=NOW)
            report(**named)

        monkeypatch.setattr(jobs, "report", stop_in_the_middle)
        assert tasks.carry_on(job=started.job).state == Job.State.STOPPED
        assert reports.count("judging past days") == 3
        stopped = Backtest.objects.get(pk=started.pk)
        assert (stopped.result, stopped.finished_at, stopped.accounts.count()) == ({}, None, 0)

    def test_without_history_says_what_to_do(self) -> None:
        version = rules.draft(text=INVITES, by=None, at=NOW)
        done = tasks.carry_on(job=backtest.start(version=version, by=None, at=NOW).job)
        assert (done.state, "send some, or import_events" in done.error) == (Job.State.FAILED, True)


class TestTally:
    def test_has_nothing_to_say_of_nobody(self) -> None:
        assert (Tally().precision.value, Tally().recall.value, Tally().lift.value) == (None, None, None)

    def test_lifts_above_any_line_who_raises_a_hand(self) -> None:
        assert HAND_RAISED > 10**12
