"""`level: user`: persons are judged. The compiled query says what the naive oracle says, person by person."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from scoring import engine, language
from scoring.compiler import sql
from scoring.compiler.plan import plan
from scoring.models import Account, Identity
from tests.examples import few
from tests.scoring import oracle
from tests.scoring.loading import Said, fold, load, said_by_engine, undone
from tests.scoring.strategies import (
    BUSY_DAYS,
    LAST_DAY,
    at_level_user,
    busy_accounts,
    days,
    documents,
    histories,
    of_every_measure,
    of_people,
)
from tests.scoring.test_engine import said_by_oracle

pytestmark = pytest.mark.django_db

some = settings(max_examples=few(20), suppress_health_check=list(HealthCheck))
of_users = documents().map(at_level_user)
Who = tuple[oracle.Key, str]  # an account, and a person by the least of the user ids

CHAMPIONS = """
slug: champions
name: Champions
motion: new_business
level: user
goal: {outcome: won}
signals: {invited: {event: invited}}
groups: {usage: {score: usage}, person: {score: fit}}
rules:
  - {id: invites, name: Invited teammates, group: usage, points: 40, when: {count: invited, within: 14, at_least: 2}}
  - {id: role, name: Decides, group: person, points: 20, when: {trait: title, contains: Head}}
  - {id: new, name: New here, group: person, points: 5, when: {age: user, at_most: 30}}
tiers:
  - {name: hot, pql: true, enter: {usage: 40, fit: 20}, hold: {usage: 40}}
  - {name: warm, enter: {usage: 40}}
"""


def by_person(judged: list[engine.Judgement]) -> dict[tuple[int, int | None], engine.Judgement]:
    found = {(j.account_id, j.user_id): j for j in judged}
    assert len(found) == len(judged)
    return found


def rows_of(world: oracle.World) -> dict[Who, tuple[int, int]]:
    """The ids of the rows of each known person in each account."""
    accounts = {oracle.Key(row.kind, row.external_id): row.pk for row in Account.objects.all()}
    users = dict(Identity.objects.values_list("value", "user"))
    return {
        (account, min(person.known_ids)): (accounts[account], users[min(person.known_ids)])
        for account in world.accounts
        for person in world.members(account)
    }


def person(world: oracle.World, who: Who) -> oracle.Person:
    return world.person_of[who[1]]


class TestTheLanguage:
    def test_it_is_dumped_and_read_again(self) -> None:
        document = language.parse(CHAMPIONS)
        assert document.level == "user"
        assert language.parse(language.to_yaml(document)) == document

    def test_an_account_is_judged_unless_it_says_otherwise(self) -> None:
        plain = CHAMPIONS.replace("level: user\n", "").replace("age: user", "age: account")
        said = CHAMPIONS.replace("level: user", "level: account").replace("age: user", "age: account")
        assert language.digest(language.parse(plain)) == language.digest(language.parse(said))
        assert "level" not in language.dump(language.parse(said))

    @pytest.mark.parametrize(
        ("line", "wrong"),
        [
            ("when: {users: any, at_least: 1}", "there is no number of users"),
            ("per: {users: any}, max: 5", "there is no number of users"),
            ("when: {age: account, at_most: 3}", "it is the user that has an age"),
        ],
    )
    def test_what_means_nothing_of_one_person_is_refused(self, line: str, wrong: str) -> None:
        rule = f"rules: [{{id: it, group: usage, points: 1, {line}}}]"
        frame = CHAMPIONS[: CHAMPIONS.index("rules:")] + rule + CHAMPIONS[CHAMPIONS.index("\ntiers:") :]
        with pytest.raises(language.Invalid, match=wrong):
            language.parse(frame)

    def test_the_age_of_a_user_is_refused_where_accounts_are_judged(self) -> None:
        with pytest.raises(language.Invalid, match="it is the account that has an age"):
            language.parse(CHAMPIONS.replace("level: user\n", ""))

    def test_another_level_is_refused(self) -> None:
        with pytest.raises(language.Invalid, match="unknown level 'team'"):
            language.parse(CHAMPIONS.replace("level: user", "level: team"))


class TestJudge:
    @given(document=of_users, history=histories().map(of_people), as_of=days())
    @settings(some, max_examples=few(30))
    def test_agrees_with_the_oracle(self, document: language.Document, history: oracle.History, as_of: date) -> None:
        with undone():
            load(history)
            fold(document)
            world = oracle.World(history)
            rows = rows_of(world)
            judged = by_person(engine.judge(document, as_of=as_of))
            assert sorted(judged) == sorted(rows.values())
            for who, expected in world.judge_people(document, as_of).items():
                judgement = judged[rows[who]]
                assert said_by_engine(judgement) == said_by_oracle(document, expected), who
                lines = judgement.ledger["lines"]
                for score, total in (("usage", judgement.usage), ("fit", judgement.fit)):
                    assert sum(line["points"] for line in lines if line["score"] == score) == total

    @given(document=of_users, other=of_users, beside=documents(), history=histories().map(of_people), as_of=days())
    @settings(some, max_examples=few(10))
    def test_is_the_same_by_any_binding(
        self,
        document: language.Document,
        other: language.Document,
        beside: language.Document,
        history: oracle.History,
        as_of: date,
    ) -> None:
        with undone():
            load(history)
            for each in (document, other, beside):
                fold(each)
            everyone = by_person(engine.judge(document, as_of=as_of))
            accounts = sorted({account for account, _ in everyone})
            assert by_person(engine.judge(document, as_of=as_of, accounts=accounts)) == everyone
            span = [as_of + timedelta(days=n) for n in range(-2, 3)]
            pairs = engine.judge_pairs(document, pairs=[(account, day) for account in accounts for day in span])
            for day in span:
                of_day = engine.judge(document, as_of=day, accounts=accounts)
                assert by_person([j for j in pairs if j.as_of == day]) == by_person(of_day)
            together = engine.judge_together([document, beside, other], as_of=as_of, accounts=accounts)
            assert {k: _said(j) for k, j in by_person(together[0]).items()} == {
                k: _said(j) for k, j in everyone.items()
            }
            alone = engine.judge(beside, as_of=as_of, accounts=accounts)
            assert by_person(together[1]) == by_person(alone)

    @given(document=of_users, history=histories(most_calls=20).map(of_people), as_of=days())
    @settings(some, max_examples=few(12))
    def test_recheck_is_never_late_and_the_next_change_is_exact(
        self, document: language.Document, history: oracle.History, as_of: date
    ) -> None:
        with undone():
            load(history)
            fold(document)
            world = oracle.World(history)
            judged = by_person(engine.judge(document, as_of=as_of))
            for who, (account, user) in rows_of(world).items():
                last = as_of + timedelta(days=engine.MOST_SILENT_DAYS)
                changes = world.next_change(document, as_of, last, who[0], person(world, who))
                recheck = judged[account, user].recheck_on
                assert changes is None or (recheck is not None and as_of < recheck <= changes), (who, changes)
                found = engine.next_change(document, account=account, as_of=as_of, user=user)
                assert (found[0] if found else None) == changes, who

    @given(document=of_every_measure().map(at_level_user), history=busy_accounts())
    @settings(some, max_examples=few(10))
    def test_every_measure_day_after_day(self, document: language.Document, history: oracle.History) -> None:
        with undone():
            load(history)
            fold(document)
            world = oracle.World(history)
            span = [LAST_DAY + timedelta(days=n) for n in range(-BUSY_DAYS // 2, BUSY_DAYS // 2)]
            for who, (account, user) in rows_of(world).items():
                judged = engine.judge_pairs(document, pairs=[(account, day) for day in span])
                mine = sorted((j for j in judged if j.user_id == user), key=lambda j: j.as_of)
                expected = [world.judge(document, day, who[0], person(world, who)) for day in span]
                for day, judgement, verdict in zip(span, mine, expected, strict=True):
                    assert said_by_engine(judgement) == said_by_oracle(document, verdict), day


def _said(judgement: engine.Judgement) -> tuple[Said, Any]:
    return said_by_engine(judgement), judgement.ledger


class TestTheStatement:
    def test_of_accounts_it_does_not_speak_of_persons(self) -> None:
        """What it says there stands in the golden files; nothing of it is made for users."""
        document = language.parse(CHAMPIONS.replace("level: user\n", "").replace("age: user", "age: account"))
        ids = {name: i for i, name in enumerate(language.signals_of(document))}
        for binding in (sql.PAIRS, sql.FEW, sql.EVERYONE, sql.GRID):
            query = sql.compile(plan(document), binding, ids)
            assert "user_id AS" not in query.sql
            assert "scoring_identity i JOIN scoring_traitchange" not in query.sql
