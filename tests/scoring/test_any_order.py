"""Who is who, where they belong, what counts and what it is worth: functions of the set of calls alone."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scoring import facts, tasks, tiles
from scoring.facts import Fact, accounts
from scoring.models import Identity, Job
from tests.examples import few
from tests.scoring.loading import undone
from tests.scoring.oracle import Key
from tests.scoring.test_scores import INVITES, publish, rescore_all, stored
from tests.scoring.world import NOW, account, call, counts, home, people, send

pytestmark = pytest.mark.django_db

USERS = ["ann", "ben", "cleo", "dora", "null"]
DEVICES = ["phone", "tv", "kiosk", "ann", "undefined", ""]
GROUPS = ["", "", "", "acme", "globex", "none"]
EMAILS = [None, None, "ann@acme.example", "ben@initech.example", "ann@gmail.com", "nobody"]
MOST_USERS, MOST_LINKS = 2, 3
COMPANIES = {"acme": "group", "globex": "group", "acme.example": "domain", "initech.example": "domain"}
Act = tuple[str, str]  # who was merged, into whom; or who was parted, and nobody


@pytest.fixture(autouse=True)
def ids_soon_shared_by_too_many(settings: Any) -> None:
    """Let ids be shared by too many soon."""
    settings.MOST_USERS_OF_AN_ID = MOST_USERS
    settings.MOST_LINKS_OF_AN_ID = MOST_LINKS


@st.composite
def _drafts(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(["invited", "invited", "$identify", "$alias", "$group"]))
    group = draw(st.sampled_from(GROUPS))
    email = draw(st.sampled_from(EMAILS)) if name == "$identify" else None
    told = draw(st.sampled_from(["user_traits", "user_traits_once"]))
    return {
        "name": name,
        "at": NOW - timedelta(hours=draw(st.integers(0, 30))),
        "user_id": draw(st.sampled_from([*USERS, ""])) or None,
        "anonymous_id": draw(st.sampled_from(DEVICES)) or None,
        "aliases": tuple(draw(st.lists(st.sampled_from([*USERS, *DEVICES]), max_size=2))) if name == "$alias" else (),
        "group_id": group or None,
        "joins": name == "$group",
        told: {"email": email} if email else {},
    }


def _facts() -> st.SearchStrategy[list[Fact]]:
    drafts = st.lists(_drafts(), max_size=9)
    # A long list in three that shrink by themselves.
    return st.tuples(drafts, drafts, drafts).map(
        lambda lists: [
            Fact(message_id=f"{'bZa'[n % 3]}{n}", **draft)
            for n, draft in enumerate(draft for drafts in lists for draft in drafts)
            if any((draft["user_id"], draft["anonymous_id"], *draft["aliases"], draft["group_id"]))
        ]
    )


def _is_id(value: str) -> bool:
    return value not in ("null", "undefined", "none")


def _told(calls: Iterable[Fact]) -> set[frozenset[str]]:
    """Naively: the components of all links but those of ids that too many share."""
    ids = [{i for i in (c.user_id, c.anonymous_id, *c.aliases) if i and _is_id(i)} for c in calls]
    user_ids = {c.user_id for c in calls}
    links = {frozenset(pair) for some in ids for pair in combinations(some, 2)}
    beside = {i: {j for link in links if i in link for j in link - {i}} for some in ids for i in some}
    shared = {i for i, n in beside.items() if len(n & user_ids) > MOST_USERS or len(n) > MOST_LINKS}
    found = {frozenset({i}) for i in beside}
    for link in links:
        if not link & shared:
            joined = [component for component in found if component & link]
            found = found.difference(joined) | {frozenset().union(*joined)}
    return found


ACTS = st.lists(st.tuples(st.sampled_from([*COMPANIES]), st.sampled_from([*COMPANIES, ""])), max_size=4)
# What makes those known that are merged.
FIRST_CALLS = [
    call("$group", into="acme", message_id="first 1"),
    call("$group", into="globex", message_id="first 2"),
    call("$identify", by="zoe", user_traits={"email": "zoe@acme.example"}, message_id="first 3"),
    call("$identify", by="zac", user_traits={"email": "zac@initech.example"}, message_id="first 4"),
]


def _do(act: Act) -> None:
    """Merge, or part if nobody is named; what makes no sense is refused, wherever it comes."""
    other, into = act
    with suppress(facts.CannotMerge):
        if into:
            both = {"other": account(other, COMPANIES[other]), "into": account(into, COMPANIES[into])}
            facts.merge_accounts(**both, by=None, at=NOW)
        else:
            facts.separate_account(account=account(other, COMPANIES[other]), at=NOW)


def _work_off() -> None:
    for job in tasks.waiting_jobs():
        assert tasks.carry_on(job=job).state == Job.State.DONE, Job.objects.get(pk=job.pk).error


def _known() -> dict[str, Any]:
    """All that follows from the calls, by value."""
    rescore_all(as_of=NOW.date(), at=NOW)
    homes: dict[str, Key] = {value: home(value) for value in Identity.objects.values_list("value", flat=True)}
    refused = set(Identity.objects.exclude(refused_at=None).values_list("value", flat=True))
    return {"people": people(), "homes": homes, "refused": refused, "counts": counts(), "scores": stored()}


def _batches(data: st.DataObject, calls: Sequence[Fact]) -> list[Sequence[Fact]]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(calls)), max_size=5)))
    return [calls[a:b] for a, b in pairwise([0, *cuts, len(calls)])]


@given(calls=_facts(), acts=ACTS, data=st.data())
@hypothesis_settings(max_examples=few(8), suppress_health_check=list(HealthCheck))
def test_the_same_calls_and_merges_make_the_same_world(calls: list[Fact], acts: list[Act], data: st.DataObject) -> None:
    order = data.draw(st.permutations(calls))
    again = data.draw(st.lists(st.sampled_from(calls), max_size=4)) if calls else []
    batches = _batches(data, [*order, *again])
    after = sorted(data.draw(st.lists(st.integers(0, len(batches) - 1), min_size=len(acts), max_size=len(acts))))
    with undone(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "MOVED_AT_ONCE", data.draw(st.sampled_from([1, 2, 5000])))
        send(*FIRST_CALLS)
        publish(INVITES)
        for n, batch in enumerate(batches):
            send(*batch)
            for act in (act for act, when in zip(acts, after, strict=True) if when == n):
                _do(act)
            if data.draw(st.booleans()):
                _work_off()
        _work_off()
        assert tiles.verify() is None
        in_pieces = _known()
    with undone():
        send(*calls, *FIRST_CALLS)
        for act in acts:
            _do(act)
        publish(INVITES)
        _work_off()
        assert tiles.verify() is None
        assert _known() == in_pieces
        assert in_pieces["people"] == _told([*calls, *FIRST_CALLS])
