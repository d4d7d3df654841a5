"""An id that too many people share joins nobody: whom it glued together falls apart, and so do their tiles."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from scoring import jobs, tasks, tiles
from scoring.models import Identity, ProductUser, Refolded
from tests.scoring.oracle import Key
from tests.scoring.world import (
    NOW,
    account,
    alias,
    call,
    counts,
    forget_touches,
    home,
    identify,
    join,
    people,
    send,
    touched,
    work_off,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def few(settings: Any) -> None:
    """Let two user ids, or four ids, be the most that an id may be used with."""
    settings.MOST_USERS_OF_AN_ID = 2
    settings.MOST_LINKS_OF_AN_ID = 4


def refused() -> dict[str, str]:
    return dict(Identity.objects.filter(refused_at__isnull=False).values_list("value", "refused_why"))


class TestVerdict:
    def test_is_about_the_user_ids_that_an_id_was_used_with(self) -> None:
        send(identify("ann", device="kiosk"), identify("ben", device="kiosk"))
        assert refused() == {}
        send(identify("cleo", device="kiosk"))
        assert refused() == {"kiosk": "Calls use it together with 3 user ids."}
        assert people() == {frozenset({who}) for who in ("ann", "ben", "cleo", "kiosk")}

    def test_is_about_ids_of_any_kind_if_they_are_very_many(self) -> None:
        send(*(identify("test", device=f"phone {n}") for n in range(4)))
        assert refused() == {}
        send(identify("test", device="phone 4"))
        assert refused() == {"test": "Calls use it together with 5 ids."}
        assert len(people()) == 6

    def test_counts_an_id_as_a_users_as_soon_as_it_is_used_so(self) -> None:
        send(*(alias("", who, "kiosk") for who in ("ann", "ben", "cleo")))
        assert refused() == {}
        send(call(by="ann"), call(by="ben"), call(by="cleo"))
        assert set(refused()) == {"kiosk"}

    def test_counts_those_that_join_nobody_themselves(self) -> None:
        send(*(alias("", f"phone {n}", "test") for n in range(5)), *(alias("", "test", "tv") for _ in range(1)))
        send(identify("ann", device="tv"), identify("ben", device="tv"))
        assert set(refused()) == {"test"}
        send(call(by="test"))
        assert set(refused()) == {"test", "tv"}

    def test_lets_those_stay_one_whom_other_calls_join(self) -> None:
        send(identify("ann", device="phone"), identify("ann", device="tv"))
        send(*(identify(who, device="kiosk") for who in ("ann", "ben", "cleo")), alias("ben", "cleo"))
        assert people() == {frozenset({"ann", "phone", "tv"}), frozenset({"ben", "cleo"}), frozenset({"kiosk"})}

    def test_is_said_once(self) -> None:
        send(*(identify(who, device="kiosk") for who in ("ann", "ben", "cleo")))
        users = ProductUser.objects.count()
        send(identify("dora", device="kiosk"), identify("ann", device="kiosk"))
        assert ProductUser.objects.count() == users + 1
        assert refused() == {"kiosk": "Calls use it together with 3 user ids."}


class TestTiles:
    def test_follow_those_who_fell_apart(self) -> None:
        send(join("ann", "acme"), join("ben", "globex"), call(device="kiosk"))
        send(*(call(by=who, device="kiosk") for who in ("ann", "ben", "cleo")))
        assert refused()
        forget_touches()
        work_off()
        assert counts() == {"acme": 1, "globex": 1, "cleo": 1, "kiosk": 1}
        assert tiles.verify() is None
        assert {name for name, causes in touched().items() if causes == {"identity"}} == {"acme", "globex", "cleo"}
        assert not Refolded.objects.exists()

    def test_keep_what_came_meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        send(*(call(by=who, device="kiosk") for who in ("ann", "ben", "cleo")))
        send(call(by="ann"), join("ann", "acme"), call(by="dora", device="kiosk"))
        assert home("ann") == Key("group", "acme")
        work_off()
        assert counts() == {"acme": 2, "ben": 1, "cleo": 1, "dora": 1}
        assert tiles.verify() is None

    @pytest.mark.parametrize("end", ["stop", "fail"])
    def test_are_put_in_order_even_if_somebody_stops_the_job_or_it_fails(self, end: str) -> None:
        for who in ("ann", "ben", "cleo"):
            send(call(by=who, device="kiosk"))
        (job,) = tasks.waiting_jobs()
        job = jobs.claim(job=job, at=NOW) or job
        if end == "stop":
            assert jobs.stop(job=job, by=User(username="ann"), at=NOW)
        else:
            jobs.fail(job=job, error="out of luck", at=NOW)
        assert tiles.verify() is not None
        work_off()
        assert counts() == {"ann": 1, "ben": 1, "cleo": 1}
        assert tiles.verify() is None
        assert not Refolded.objects.exists()

    def test_begin_again_when_one_of_them_was_joined_to_somebody(self) -> None:
        send(call(by="zoe"), join("zoe", "acme"))
        send(*(call(by=who, device="kiosk") for who in ("ann", "ben", "cleo")))
        send(alias("zoe", "ann"))
        work_off()
        assert counts() == {"acme": 2, "ben": 1, "cleo": 1}
        assert account("acme").created_at == NOW
        assert tiles.verify() is None
