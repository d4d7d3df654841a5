"""Events that a source calls conversions: each is an outcome of its account, once, and follows its people."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from scoring import facts, jobs, tiles
from scoring.facts import conversions
from scoring.models import Job, Outcome, Source
from tests.scoring.meeting import PATIENCE, Meeting, let_go, meeting
from tests.scoring.world import (
    NOW,
    account,
    ago,
    call,
    forget_touches,
    identify,
    join,
    send,
    source,
    touched,
    work_off,
)

__all__ = ["meeting"]  # the fixture

pytestmark = pytest.mark.django_db

PAID = [{"event": "Plan Bought", "kind": "paid", "amount": "price"}]


@pytest.fixture(autouse=True)
def billing() -> Source:
    found = source()
    found.conversion_events = PAID
    found.save()
    return found


def outcomes() -> list[tuple[str, str, Decimal | None]]:
    return sorted(Outcome.objects.values_list("account__external_id", "kind", "amount"))


class TestConversion:
    def test_is_an_outcome_of_the_account_once(self) -> None:
        event = call("Plan Bought", into="acme", properties={"price": "49.005"}, message_id="1", at=ago(2))
        send(event, call("Other", into="acme"))
        send(event)
        assert outcomes() == [("acme", "paid", Decimal("49.00"))]
        assert Outcome.objects.get().at == ago(2)
        assert "event" in touched()["acme"]

    @pytest.mark.parametrize("price", [None, "much", True, float("1e300"), [], "NaN"])
    def test_has_no_amount_that_is_none(self, price: object) -> None:
        send(call("Plan Bought", into="acme", properties={"price": price}))
        assert outcomes() == [("acme", "paid", None)]

    def test_is_only_what_its_own_source_calls_so(self) -> None:
        send(call("Plan Bought", into="acme"), slug="app2")
        assert outcomes() == []

    def test_follows_the_person_home(self) -> None:
        send(call("Plan Bought", device="phone"))
        assert outcomes() == [("phone", "paid", None)]
        send(identify("ann", device="phone"))
        assert outcomes() == [("ann", "paid", None)]
        send(join("ann", "acme"))
        assert outcomes() == [("acme", "paid", None)]

    def test_stays_with_the_account_that_it_names(self) -> None:
        send(call("Plan Bought", by="ann", into="globex"), join("ann", "acme"))
        assert outcomes() == [("globex", "paid", None)]


def name(events: Any = PAID) -> Job | None:
    """Call the events conversions from now on."""
    return facts.set_conversions(source=source(), events=events, by=None, at=NOW)


def forget_names() -> None:
    Source.objects.update(conversion_events=[])


class TestNamingOneLater:
    @pytest.fixture(autouse=True)
    def nothing_named(self, billing: Source) -> None:
        forget_names()

    def test_counts_those_that_came_before(self) -> None:
        send(join("ann", "acme", at=ago(9)), call("Plan Bought", by="ann", properties={"price": "49.005"}, at=ago(2)))
        send(call("Plan Bought", into="globex", at=ago(3)), call("Other", into="globex"))
        send(call("Plan Bought", into="initech"), slug="app2")
        assert outcomes() == []
        forget_touches()
        name()
        work_off()
        assert outcomes() == [("acme", "paid", Decimal("49.00")), ("globex", "paid", None)]
        first = Outcome.objects.get(account=account("acme"))
        assert (first.at, first.received_at, first.source) == (ago(2), NOW, source())
        assert touched() == {"acme": {"outcome"}, "globex": {"outcome"}}

    def test_makes_the_outcomes_that_it_would_have_made_before(self) -> None:
        def known() -> list[tuple[Any, ...]]:
            return sorted(Outcome.objects.values_list(*fields), key=repr)

        fields = ("account", "named", "identity", "kind", "at", "received_at", "source", "message_id", "amount")
        send(join("ann", "acme"), call(into="globex"))
        facts.merge_accounts(other=account("globex"), into=account("acme"), by=None, at=NOW)
        name()
        prices = [1, 2.5, "3", None, True, -4, 10**15, "x", 0.1]
        bought = [call("Plan Bought", by="ann", properties={"price": price}) for price in prices]
        send(*bought, call("Plan Bought", into="globex"), call("Plan Bought", device="phone"))
        live = known()
        assert len(live) == 11
        Outcome.objects.all().delete()
        forget_names()
        name()
        work_off()
        assert known() == live

    def test_counts_none_twice(self) -> None:
        send(call("Plan Bought", into="acme"))
        for _ in range(2):
            assert name() is not None
            work_off()
            forget_names()
        name()
        send(call("Plan Bought", into="acme"))
        work_off()
        assert outcomes() == [("acme", "paid", None)] * 2

    def test_reaches_whoever_had_asked_for_the_source_before(self) -> None:
        stale = source()
        name()
        facts.record(source=stale, facts=[call("Plan Bought", into="acme")], received_at=NOW)
        assert outcomes() == [("acme", "paid", None)]

    def test_needs_no_job_where_nothing_is_new_or_nothing_has_come(self) -> None:
        assert name() is None
        send(call(into="acme"))
        assert name() is None
        assert name([]) is None
        assert name() is not None

    def test_goes_on_where_it_was_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        send(*(call("Plan Bought", into=f"company {n}") for n in range(9)))
        job = name()
        assert job is not None
        monkeypatch.setattr(conversions, "CHUNK", -(-job.arguments["upto"] // 4))
        real = jobs.report
        reports: list[object] = []

        def killed(**given: Any) -> None:
            real(**given)
            reports.append(given)
            if len(reports) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(jobs, "report", killed)
        claimed = jobs.claim(job=job, at=NOW)
        assert claimed is not None
        with pytest.raises(KeyboardInterrupt):
            facts.run_conversions(job=claimed, clock=lambda: NOW)
        later = NOW + jobs.LEASE + timedelta(seconds=1)
        again = jobs.claim(job=job, at=later)
        assert again is not None
        assert again.cursor["upto"] > 0
        facts.run_conversions(job=again, clock=lambda: later)
        assert len(outcomes()) == 9
        assert Job.objects.get().result == {"outcomes": 9}

    def test_that_is_taken_back_meanwhile_counts_no_more(self) -> None:
        send(call("Plan Bought", into="acme"))
        name()
        name([])
        work_off()
        assert outcomes() == []

    @pytest.mark.parametrize(
        "events", ["x", [{"event": "a"}], [{"event": "a", "kind": "b"}, {"event": "a", "kind": "c"}]]
    )
    def test_is_refused_where_it_makes_no_sense(self, events: object) -> None:
        with pytest.raises(facts.InvalidConversions):
            name(events)


@pytest.mark.django_db(transaction=True)
def test_naming_one_beside_an_open_ingest_leaves_no_gap(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_names()
    send(call("Plan Bought", into="acme"))
    there, go_on = meeting.hold(monkeypatch, tiles, "append")
    ingest = meeting.start(lambda: send(call("Plan Bought", into="globex")))
    with let_go(go_on):
        assert there.wait(PATIENCE)
        naming = meeting.start(name)
        meeting.somebody_waits()
        late = meeting.start(lambda: send(call("Plan Bought", into="initech")))
    assert naming.result(PATIENCE) is not None
    ingest.result(PATIENCE)
    late.result(PATIENCE)
    work_off()
    assert outcomes() == [(name, "paid", None) for name in ("acme", "globex", "initech")]
