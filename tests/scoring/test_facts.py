"""Facts are recorded once, and nothing depends on their order."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring import facts, identity, language, tiles
from scoring.facts import rows
from scoring.models import Account, Event, Exclusion, Key, Outcome, Signal, Tile, Touched
from scoring.models.raw import pipeline
from tests.examples import few
from tests.scoring import oracle, strategies
from tests.scoring.loading import undone
from tests.scoring.world import (
    ANYTHING,
    NOW,
    TODAY,
    account,
    ago,
    alias,
    call,
    counts,
    fold,
    forget_touches,
    home,
    identify,
    join,
    people,
    send,
    source,
    stored_events,
    stored_messages,
    touched,
    trait_changes,
)

pytestmark = pytest.mark.django_db

slow = settings(max_examples=few(12), suppress_health_check=list(HealthCheck))


class TestRecord:
    def test_answers_for_each_fact_in_order(self) -> None:
        send(call(by="ann", message_id="1"))
        recorded = send(
            call(by="ann", message_id="2"),
            call(by="ann", message_id="1"),
            call(by="ann", message_id="2"),
            call(by="ann", message_id="3"),
        )
        assert recorded.statuses == ["accepted", "duplicate", "duplicate", "accepted"]
        assert (recorded.accepted, recorded.duplicate) == (2, 2)
        assert counts() == {"ann": 3}

    def test_rings_the_shards_of_the_accounts(self) -> None:
        recorded = send(call(into="acme"), call(device="phone"))
        assert recorded.shards == {account("acme").pk % 8}

    def test_rings_nobody_for_duplicates(self) -> None:
        again = call(by="ann", into="acme")
        send(again)
        forget_touches()
        assert send(again).shards == set()
        assert touched() == {}

    def test_of_nothing_is_nothing(self) -> None:
        assert send() == facts.Recorded([], set())

    def test_knows_a_message_again_whatever_its_time(self) -> None:
        send(call(by="ann", message_id="1", at=ago(40)))
        assert send(call(by="ann", message_id="1", at=ago(-3))).statuses == ["duplicate"]

    def test_stores_large_batches_as_they_came_whatever_is_in_them(self) -> None:
        odd = 'tab\tline\nreturn\rback\\slash\\N quote" ☃'
        first, second = (
            [
                call(odd, by=f"{n % 40} {odd}", into=odd, message_id=f"{run} {n} {odd}", properties={odd: [odd, n]})
                for n in range(rows.MANY)
            ]
            for run in ("a", "b")
        )
        assert send(*first).accepted == rows.MANY
        assert send(*second, *first[:3]).statuses == ["accepted"] * rows.MANY + ["duplicate"] * 3
        stored = Event.objects.values_list(
            "message_id", "name", "identity__value", "account__external_id", "properties"
        )
        assert Counter(map(repr, stored)) == Counter(
            repr((fact.message_id, fact.name, fact.user_id, fact.group_id, fact.properties)) for fact in first + second
        )
        assert tiles.verify() is None

    def test_keeps_the_sources_apart(self) -> None:
        send(call(by="ann", message_id="1"), slug="app")
        assert send(call(by="ann", message_id="1"), slug="billing").statuses == ["accepted"]

    def test_believes_the_first_of_two_different_calls_with_one_id(self) -> None:
        send(call(by="ann", message_id="1"))
        send(call(by="ben", message_id="1", into="globex"), call(by="cleo"))
        assert people() == {frozenset({"ann"}), frozenset({"cleo"})}
        assert not Account.objects.filter(external_id="globex").exists()

    def test_refuses_a_fact_that_names_nobody(self) -> None:
        with pytest.raises(facts.NamesNobody, match="neither an id of a user nor an account"):
            send(call())

    def test_counts_a_fact_without_a_person_for_the_account_it_names(self) -> None:
        send(call(into="acme"))
        assert counts() == {"acme": 1}

    def test_keeps_facts_of_the_future(self) -> None:
        send(call(by="ann", at=ago(-400)))
        assert stored_events() == 1

    @pytest.mark.parametrize(
        "at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]
    )
    def test_keeps_facts_of_any_date(self, at: datetime) -> None:
        send(call(by="ann", at=at))
        assert stored_events() == 1
        assert Tile.objects.get().day == at.date()
        assert tiles.verify() is None

    def test_puts_the_edges_of_a_week_where_they_belong(self) -> None:
        monday = datetime(2026, 3, 30, tzinfo=UTC)
        send(*(call(by="ann", at=at) for at in (monday, monday - timedelta(microseconds=1))))
        with connection.cursor() as c:
            c.execute("SELECT tableoid::regclass::text FROM scoring_event ORDER BY at")
            names = [name for (name,) in c.fetchall()]
        assert names == ["scoring_event_20260323", "scoring_event_20260330"]

    def test_makes_a_partition_again_that_has_gone(self) -> None:
        send(call(by="ann", at=NOW))
        with connection.cursor() as c:
            c.execute("DROP TABLE scoring_event_20260330")
        assert send(call(by="ann", at=NOW)).accepted == 1

    def test_holds_strange_names_and_values(self) -> None:
        strange = 'a\tb\n\\N "quoted" é 漢 %s {}'
        many = [call(strange, by=strange, into=strange, properties={strange: [strange, 10**40]}) for _ in range(150)]
        assert send(*many).accepted == 150
        with connection.cursor() as c:
            c.execute("SELECT DISTINCT name, properties::text FROM scoring_event")
            ((name, properties),) = c.fetchall()
        assert name == strange
        assert str(10**40) in properties

    def test_folds_events_of_use_without_any_preparation(self) -> None:
        Signal.objects.all().delete()
        send(call(by="ann"), identify("ann"))
        assert counts(ANYTHING) == {"ann": 1}

    def test_is_refused_inside_a_transaction(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "_ensure_durability_is_on", True, raising=False)
        for atomic in connection.atomic_blocks:
            monkeypatch.setattr(atomic, "_from_testcase", False)
        with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
            send(call(by="ann"))

    def test_does_a_transaction_again_that_others_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        send(call(by="ben"))
        real, calls = identity.ask_residents, []

        def ask_residents(c: Any, values: Any) -> Any:
            calls.append(values)
            if len(calls) < 3:
                raise identity.Moved
            return real(c, values)

        monkeypatch.setattr(identity, "ask_residents", ask_residents)
        assert send(call(by="ann")).accepted == 1
        assert len(calls) == 3

    def test_spans_ten_years_in_one_batch(self) -> None:
        weekly = [call(by="ann", at=ago(7 * week)) for week in range(520)]
        assert send(*weekly).accepted == 520
        assert stored_events() == 520


class TestTraits:
    def test_are_dated_statements_about_the_account_and_the_person(self) -> None:
        send(
            identify("ann", device="phone", user_traits={"role": "admin"}, at=ago(1), message_id="i"),
            join("ann", "acme", account_traits={"seats": 5, "plan": None}, message_id="g"),
        )
        assert trait_changes() == sorted(
            [
                (None, "ann", "role", "admin", None, None, ago(1), "i"),
                ("acme", None, "seats", 5, Decimal(5), None, NOW, "g"),
                ("acme", None, "plan", None, None, None, NOW, "g"),
            ],
            key=repr,
        )

    def test_are_stored_once(self) -> None:
        once = join("ann", "acme", account_traits={"seats": 5})
        send(once, once)
        send(once)
        assert len(trait_changes()) == 1

    @pytest.mark.parametrize(
        ("value", "number", "day"),
        [
            (5, Decimal(5), None),
            (0.1, Decimal("0.1"), None),
            (True, None, None),
            ("5", None, None),
            (20260101, Decimal(20260101), None),
            ("2026-01-02", None, date(2026, 1, 2)),
            ("2026-01-02T23:00:00-05:00", None, date(2026, 1, 3)),
            ("2026-01-02 03:00:00.123Z", None, date(2026, 1, 2)),
            ("20260102", None, None),
            ("2026-02-30", None, None),
            ("2026-01-02 or so", None, None),
            ("0001-01-01T00:00:00+05:00", None, None),
            ([1], None, None),
            ({"a": 1}, None, None),
        ],
    )
    def test_are_read_as_numbers_and_days_where_they_are(self, value: object, number: object, day: object) -> None:
        send(join("ann", "acme", account_traits={"x": value}))
        ((*_, stored, as_number, as_day, _at, _message),) = trait_changes()
        assert (stored, as_number, as_day) == (value, number, day)

    def test_touch_their_account(self) -> None:
        send(join("ann", "acme", account_traits={"seats": 5}))
        assert "trait" in touched()["acme"]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[list[oracle.Call]], tuple[oracle.Call, ...]]:
    """The same calls in batches: in any order, some repeated. With the calls as they were drawn."""
    drawn = draw(strategies.calls(24))
    repeated = draw(st.lists(st.sampled_from(drawn), max_size=4)) if drawn else []
    arriving = draw(st.permutations([*drawn, *repeated]))
    cuts = sorted(draw(st.lists(st.integers(0, len(arriving)), max_size=5)))
    edges = [0, *cuts, len(arriving)]
    return [list(arriving[a:b]) for a, b in pairwise(edges)], drawn


SIGNALS = {
    "any": ANYTHING,
    "named": language.Signal(events=("exported", "invited")),
    "valued": language.Signal(events=("saved",), value="used_mb", limit=language.Limit(property="quota_mb")),
}


def by_value() -> dict[str, Any]:
    """Everything that the calls made, without row ids."""
    rows = Tile.objects.values_list("signal", "account__kind", "account__external_id", "user", "day", "count")
    names = {row.pk: row.digest for row in Signal.objects.all()}
    ids: dict[int, frozenset[str]] = {}
    for person in people():
        ids[identity_user(min(person))] = person
    found: Counter[tuple[Any, ...]] = Counter()
    for signal, kind, key, user, day, number in rows:
        found[names[signal], kind, key, ids.get(user), day] += number
    homes = {person: home(min(person)) for person in people()}
    return {"people": people(), "homes": homes, "tiles": found, "traits": trait_changes(), "ids": stored_messages()}


def identity_user(value: str) -> int:
    with pipeline() as c:
        return identity.look_up(c, [_call_of(value)]).identities[value].user


def _call_of(value: str) -> identity.Call:
    return identity.Call((value,), None, None, False, None, NOW, "")


def expected(calls: Sequence[oracle.Call], signals: dict[str, language.Signal]) -> dict[str, Any]:
    """The same, worked out naively."""
    world = oracle.World(oracle.History(tuple(calls)), free_mail=identity.FREE_MAIL)
    found: Counter[tuple[Any, ...]] = Counter()
    for name_call in world.calls:
        key, person = world.account(name_call), world.person(name_call)
        assert key is not None
        for signal in signals.values():
            if oracle.matches(signal, name_call):
                digest = language.signal_digest(signal)
                found[digest, *key, person.ids if person else None, name_call.day] += 1
    return {
        "people": {person.ids for person in world.people},
        "homes": {person.ids: home for person, home in world.homes.items()},
        "tiles": found,
        "ids": sorted(call.message_id for call in world.calls),
    }


class TestAnyOrder:
    @given(arrivals(), st.integers(0, 5))
    @slow
    def test_split_and_repetition_give_the_same(
        self, arrival: tuple[list[list[oracle.Call]], tuple[oracle.Call, ...]], register_before: int
    ) -> None:
        batches, drawn = arrival
        with undone():
            for n, batch in enumerate(batches):
                if n == register_before:
                    tiles.register(signals=SIGNALS.values(), at=NOW)
                send(*(facts.Fact(**vars(call)) for call in batch))
            fold(*SIGNALS.values())
            assert tiles.verify() is None
            stored = by_value()
        with undone():
            tiles.register(signals=SIGNALS.values(), at=NOW)
            send(*(facts.Fact(**vars(call)) for call in drawn))
            assert tiles.verify() is None
            assert by_value() == stored
        arrived = [call for batch in batches for call in batch]
        assert {what: stored[what] for what in ("people", "homes", "tiles", "ids")} == expected(arrived, SIGNALS)


class TestRecordOutcome:
    def test_counts_the_same_outcome_once(self) -> None:
        send(join("ann", "acme"))
        forget_touches()
        said: dict[str, Any] = {"account": account("acme"), "kind": "paid", "at": ago(3), "received_at": NOW}
        first, was_new = facts.record_outcome(**said, message_id="o1", amount=Decimal("99.50"))
        again, new_again = facts.record_outcome(**said, message_id="o1")
        assert (was_new, new_again) == (True, False)
        assert first == again
        assert Outcome.objects.get().amount == Decimal("99.50")
        assert touched() == {"acme": {"outcome"}}
        assert Touched.objects.count() == 1


def exclude(kind: str, value: str, **more: Any) -> Exclusion:
    return facts.exclude(kind=kind, value=value, why="internal", by=None, at=NOW, **more)


class TestExclude:
    @pytest.fixture(autouse=True)
    def known(self) -> None:
        send(
            identify("ann", device="phone", email="ann@acme.example"),
            call(by="ann"),
            call(by="ann", into="globex"),
            identify("ben", email="ben@gmail.com"),
            call(by="ben", into="initech"),
        )
        forget_touches()

    @pytest.mark.parametrize(
        ("kind", "value", "accounts"),
        [
            ("domain", " ACME.example", {"acme.example", "globex"}),
            ("email", "Ben@gmail.com", {"initech"}),
            ("user", "phone", {"acme.example", "globex"}),
            ("account", "initech", {"initech"}),
            ("user", "nobody", set()),
        ],
    )
    def test_touches_every_account_that_counts_differently(self, kind: str, value: str, accounts: set[str]) -> None:
        exclude(kind, value)
        assert touched() == {name: {"exclusion"} for name in accounts}

    def test_takes_domains_and_addresses_in_lower_case_but_not_ids(self) -> None:
        assert exclude("domain", "ACME.example").value == "acme.example"
        assert exclude("user", "Ann").value == "Ann"


class TestLiftExclusion:
    def test_ends_it_today_and_touches_again(self) -> None:
        send(join("ann", "acme"))
        excluded = exclude("account", "acme")
        forget_touches()
        facts.lift_exclusion(exclusion=excluded, at=NOW)
        assert excluded.ends_on == TODAY
        assert touched() == {"acme": {"exclusion"}}

    def test_leaves_one_alone_that_has_ended(self) -> None:
        ended = exclude("account", "acme", ends_on=date(2026, 1, 1))
        facts.lift_exclusion(exclusion=ended, at=NOW)
        assert ended.ends_on == date(2026, 1, 1)


class TestAccountNamed:
    def test_prefers_the_group(self) -> None:
        for kind in ("visitor", "user", "domain", "group"):
            Account.objects.create(kind=kind, external_id="x", created_at=NOW)
            found = facts.account_named(external_id="x")
            assert found is not None
            assert found.kind == kind

    def test_is_none_if_there_is_none(self) -> None:
        assert facts.account_named(external_id="x") is None


class TestKeys:
    def test_open_their_source_until_they_are_revoked(self) -> None:
        key, text = facts.create_key(source=source(), kind=Key.Kind.WRITE, by=None, at=NOW)
        found = facts.key_for(secret=text)
        assert found == key
        assert found.source.slug == "app"
        facts.revoke_key(key=key, at=NOW)
        assert facts.key_for(secret=text) is None

    @pytest.mark.parametrize("spoil", [lambda text: text[:-1], lambda text: text + "x", lambda text: "", str.upper])
    def test_open_nothing_if_not_exact(self, spoil: Any) -> None:
        _, text = facts.create_key(source=source(), kind=Key.Kind.SERVER, by=None, at=NOW)
        assert facts.key_for(secret=spoil(text)) is None

    def test_are_kept_only_as_hashes(self) -> None:
        key, text = facts.create_key(source=source(), kind=Key.Kind.SERVER, by=None, at=NOW)
        key.refresh_from_db()
        assert text.startswith("sk_")
        secret = text.split("_", 2)[2]
        assert len(secret) == 32
        assert secret not in str(vars(key))


class TestFixRebase:
    def test_is_decided_by_the_first(self) -> None:
        app = source()
        assert facts.fix_rebase(source=app, days=5) == 5
        assert facts.fix_rebase(source=app, days=9) == 5
        assert app.rebase_days == 5


def test_an_alias_alone_names_somebody() -> None:
    send(alias("", "old", "new"))
    assert people() == {frozenset({"old", "new"})}
