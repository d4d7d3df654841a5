"""Accounts that turn out to be one: what named the one counts for the other, whenever it came; and back again."""

from datetime import timedelta
from typing import Any

import pytest

from scoring import facts, tasks, tiles
from scoring.models import Crossed, Exclusion, Outcome
from tests.scoring.oracle import Key
from tests.scoring.test_scores import INVITES, publish, rescore_all, stored
from tests.scoring.world import (
    NOW,
    TODAY,
    account,
    ago,
    call,
    counts,
    forget_touches,
    home,
    identify,
    join,
    send,
    touched,
    work_off,
)

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(hours=1)


def merge(other: str, into: str, kind: str = "group") -> None:
    facts.merge_accounts(other=account(other, kind), into=account(into), by=None, at=LATER)


def before() -> None:
    send(join("ann", "acme", at=ago(3)), call(by="ann"), call(by="ann", into="acme"), call(into="acme"))
    send(join("ben", "globex", at=ago(3)), call(by="ben"), call("$group", into="acme", account_traits={"plan": "pro"}))


def after() -> None:
    send(join("cleo", "acme", at=ago(3)), call(by="cleo"), call(by="ben", into="acme"))
    send(call("$group", into="acme", account_traits={"size": 9}))


def world() -> dict[str, Any]:
    rescore_all(as_of=TODAY, at=LATER)
    people = {who: home(who) for who in ("ann", "ben", "cleo")}
    traits = {t.key: t.value for t in account("globex").trait_changes.all()}
    return {"counts": counts(), "homes": people, "scores": stored(), "traits": traits}


class TestMerge:
    def test_counts_all_of_the_one_for_the_other(self) -> None:
        before()
        merge("acme", "globex")
        assert counts() == {"globex": 4}
        assert home("ann") == Key("group", "globex")
        assert tiles.verify() is None

    def test_counts_what_comes_later_too(self) -> None:
        before()
        merge("acme", "globex")
        forget_touches()
        after()
        assert counts() == {"globex": 6}
        assert home("cleo") == Key("group", "globex")
        assert set(touched()) == {"globex"}
        assert tiles.verify() is None

    def test_makes_no_difference_whether_events_come_before_or_after(self, transactional_db: None) -> None:
        publish(INVITES)
        before()
        merge("acme", "globex")
        after()
        first = world()
        assert first["traits"] == {"plan": "pro", "size": 9}
        facts.separate_account(account=account("acme"), at=LATER)
        work_off()
        merge("acme", "globex")
        assert world() == first

    def test_judges_the_one_that_stays_alone(self) -> None:
        publish(INVITES)
        before()
        rescore_all(as_of=TODAY, at=NOW)
        assert {key.external_id for key in stored()} == {"acme", "globex"}
        merge("acme", "globex")
        rescore_all(as_of=TODAY, at=LATER)
        assert {key.external_id for key in stored()} == {"globex"}
        assert Crossed.objects.filter(account=account("acme"), cause="identity").exists()

    def test_takes_outcomes_and_exclusions_along(self) -> None:
        before()
        bought: dict[str, Any] = {"kind": "won", "at": NOW, "received_at": NOW}
        facts.record_outcome(account=account("acme"), message_id="1", **bought)
        merge("acme", "globex")
        facts.record_outcome(account=account("acme"), message_id="2", **bought)
        assert set(Outcome.objects.values_list("account__external_id", "named__external_id")) == {("globex", "acme")}
        publish(INVITES)
        facts.exclude(kind=Exclusion.Kind.ACCOUNT, value="acme", why="test", by=None, at=NOW)
        rescore_all(as_of=TODAY, at=LATER)
        assert stored()[Key("group", "globex")].status == "excluded"

    def test_takes_the_domain_of_a_company_along(self) -> None:
        send(identify("ann", email="ann@acme.example"), call(by="ann"), join("ben", "acme"), call(by="ben"))
        merge("acme.example", "acme", kind="domain")
        send(identify("cleo", email="cleo@acme.example"), call(by="cleo"))
        assert counts() == {"acme": 3}
        assert home("cleo") == Key("group", "acme")
        assert tiles.verify() is None

    def test_of_a_merged_account_takes_the_others_along(self) -> None:
        send(call(into="acme"), call(into="globex"), call(into="initech"))
        merge("acme", "globex")
        merge("globex", "initech")
        send(call(into="acme"))
        assert counts() == {"initech": 4}
        assert tiles.verify() is None

    @pytest.mark.parametrize(("other", "into"), [("acme", "acme"), ("acme", "globex"), ("initech", "acme")])
    def test_is_refused_with_a_reason(self, other: str, into: str) -> None:
        send(call(into="acme"), call(into="globex"), call(into="initech"))
        merge("acme", "globex")
        with pytest.raises(facts.CannotMerge):
            merge(other, into)

    def test_shows_before_what_there_is(self) -> None:
        before()
        seen = facts.preview_merge(other=account("acme"), into=account("globex"), as_of=TODAY)
        assert (seen.other.users, seen.other.events, seen.into.users, seen.into.events) == (1, 3, 1, 1)
        assert (seen.users, seen.events) == (2, 4)


class TestLargeAccount:
    """One of which a merge moves only some at once, and a job the rest."""

    @pytest.fixture(autouse=True)
    def two_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(facts.accounts, "MOVED_AT_ONCE", 2)

    def filled(self) -> None:
        """Let five people live at acme, do something there and elsewhere, and buy."""
        for n in range(5):
            send(join(f"user {n}", "acme", at=ago(3)), call(by=f"user {n}"), call(by=f"user {n}", into="initech"))
            send(call(into="acme", at=ago(n)), call("$group", into="acme", account_traits={"size": n}, at=ago(n)))
            bought: dict[str, Any] = {"kind": "won", "at": NOW, "received_at": NOW, "message_id": f"bought {n}"}
            facts.record_outcome(account=account("acme"), **bought)
        send(call(into="globex"))

    def left(self) -> int:
        acme = account("acme")
        rows = acme.residents.count() + acme.outcomes.count() + acme.trait_changes.count()
        return rows + counts().get("acme", 0)

    def test_has_moved_when_the_job_is_done(self) -> None:
        publish(INVITES)
        self.filled()
        merge("acme", "globex")
        assert self.left() > 0
        assert tasks.jobs.left(kinds=[facts.MERGE]) is not None
        work_off()
        assert self.left() == 0
        assert counts() == {"globex": 11, "initech": 5}
        assert {home(f"user {n}") for n in range(5)} == {Key("group", "globex")}
        assert account("globex").outcomes.count() == 5
        assert tiles.verify() is None
        rescore_all(as_of=TODAY, at=LATER)
        assert {key.external_id for key in stored()} == {"globex", "initech"}

    def test_takes_along_what_people_do_there_meanwhile(self) -> None:
        self.filled()
        merge("acme", "globex")
        send(*(call(by=f"user {n}") for n in range(5)), call(into="acme"))
        send(identify("user 4", device="phone"), join("user 3", "initech", at=ago(9)))
        work_off()
        assert counts() == {"globex": 15, "initech": 7}
        assert tiles.verify() is None

    def test_goes_on_to_where_the_other_one_goes(self) -> None:
        self.filled()
        merge("acme", "globex")
        merge("globex", "initech")
        work_off()
        assert counts() == {"initech": 16}
        assert self.left() == 0
        assert tiles.verify() is None

    def test_comes_back_where_it_stood_when_it_is_parted(self) -> None:
        self.filled()
        before = counts()
        merge("acme", "globex")
        facts.separate_account(account=account("acme"), at=LATER)
        work_off()
        assert counts() == before
        assert {home(f"user {n}") for n in range(5)} == {Key("group", "acme")}
        assert set(Outcome.objects.values_list("account__external_id", flat=True)) == {"acme"}
        assert not Outcome.objects.exclude(named=None).exists()
        assert tiles.verify() is None


class TestSeparation:
    def test_puts_everything_back(self, transactional_db: None) -> None:
        publish(INVITES)
        before()
        after()
        apart = world()
        merge("acme", "globex")
        assert world() != apart
        facts.separate_account(account=account("acme"), at=LATER)
        work_off()
        assert world() == apart
        assert tiles.verify() is None

    def test_is_refused_for_an_account_of_its_own(self) -> None:
        send(call(into="acme"))
        with pytest.raises(facts.CannotMerge, match="not merged"):
            facts.separate_account(account=account("acme"), at=NOW)
