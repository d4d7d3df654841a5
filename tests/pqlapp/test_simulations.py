"""The simulator on the desk: what is asked in a form is played by a job and read in words, tables and pictures."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
import time_machine

from pqlapp import bell
from pqlapp.desk import simulated
from routing.models import AE, Lead
from routing.simulator import Scenario
from scoring import tasks
from scoring.models import Job
from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, World

DAYS = {"since": "2026-03-02", "last": "2026-03-08"}
HABITS = {"touch_minutes": "20", "open_days": "14", "sla_hours": "8"}


def load(ae: int, name: str, *weeks: int, late: int = 0, minutes: float | None = 20) -> dict[str, Any]:
    return {
        "ae": ae,
        "name": name,
        "leads": sum(weeks),
        "weeks": list(weeks),
        "median_minutes": minutes,
        "breaches": late,
    }


def side(*loads: dict[str, Any], left: dict[str, int] | None = None, slow: float = 60) -> dict[str, Any]:
    given, left = sum(one["leads"] for one in loads), left or {}
    return {
        "leads": given + sum(left.values()),
        "assigned": given,
        "unassigned": left,
        "waited": sum(left.values()),
        "median_minutes": 20.0,
        "slowest_tenth_minutes": slow,
        "breaches": sum(one["breaches"] for one in loads),
        "loads": list(loads),
    }


BOTH = {
    "today": side(load(1, "Ann", 6, 4), load(2, "Ben", 5, 5)),
    "other": side(load(2, "Ben", 9, 10, late=1), left={"Nobody can take it.": 1}, slow=4000),
    "weeks_from": "2026-03-02",
}


class TestInWords:
    def test_every_difference_is_a_sentence(self) -> None:
        assert simulated.differences(BOTH) == [
            "19 leads find an AE instead of 20.",
            "1 lead is left without an AE instead of none.",
            "1 lead has to wait for an AE instead of none.",
            "Nine in ten are touched within 2.8 d instead of 60 min.",
            "1 lead is touched too late instead of none.",
            "Ann gets none instead of 10.",
            "Ben gets 19 instead of 10.",
        ]
        assert simulated.differences({**BOTH, "other": BOTH["today"]}) == [
            "Nothing differs: the other roster does with these leads what today's does."
        ]

    def test_one_who_is_on_one_side_alone_has_a_picture_too(self) -> None:
        ann, ben = simulated.charts(BOTH)
        assert ann.words == "Leads of Ann by week from 2 Mar 2026: today 6, 4; other 0, 0"
        assert [series.name for series in ben.series] == ["today", "other"]
        assert simulated.left_over(BOTH) == [("Nobody can take it.", 0, 1)]
        assert simulated.charts({**BOTH, "today": side(), "other": side()}) == []

    def test_what_was_asked_is_said(self) -> None:
        asked = Scenario(
            since=date(2026, 3, 2),
            until=date(2026, 3, 9),
            made_up=1500,
            without=(1,),
            weights={2: 3},
            capacities={2: None, 9: 5},
            hours={2: "Mon 9-12"},
            pools={"hot": "East"},
        )
        assert simulated.asked(asked, names={1: "Ann", 2: "Ben"})[:-1] == [
            "1,500 made-up leads from 2 Mar 2026 to 8 Mar 2026 (UTC).",
            "Without Ann.",
            "Ben has a weight of 3.",
            "Ben holds any number of open leads.",
            "AE 9 holds at most 5 open.",
            "Ben works Mon 9-12.",
            "Leads of tier hot go to East.",
        ]


@pytest.mark.django_db
class TestOnTheDesk:
    @pytest.fixture
    def world(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
        monkeypatch.setattr(bell, "ring_for_job", lambda *, job: None)
        with time_machine.travel(NOW, tick=False):
            yield api_world.make()

    def test_is_asked_for_played_read_and_laid_beside_another(self, world: World) -> None:
        client, before = world.manager.client(), Lead.objects.count()
        ann, ben = (AE.objects.get(user__first_name=name) for name in ("Ann", "Ben"))
        asked = {"stream": "made_up", "made_up": "20", **DAYS, **HABITS, f"there_{ben.pk}": "on"}
        several = {f"there_{ann.pk}": "on", f"capacity_{ann.pk}": "none", f"weight_{ann.pk}": "4", "pool_0": "West"}
        for said in (asked, asked | several | {f"hours_{ben.pk}": "Mon-Fri 9-12"}):
            answer = client.post("/simulations/", said)
            job = Job.objects.latest("id")
            assert (answer.status_code, answer["Location"]) == (302, f"/simulations/{job.pk}/")
            assert "Waits for a worker" in client.get(answer["Location"]).content.decode()
            assert tasks.carry_on(job=job).state == "done"
        first, second = Job.objects.filter(kind="simulate").order_by("id")
        page = client.get(f"/simulations/{first.pk}/?with={second.pk}").content.decode()
        assert page.count('class="backtest"') == 2
        assert "Without Ann." in page
        assert "Ann has a weight of 4." in page
        assert re.search(r"Ann gets \d+ instead of none\.", page), "nobody limits her there"
        again = client.get(f"/simulations/?like={second.pk}").content.decode()
        assert "Nothing differs" in again  # the first run: ann is full
        assert f'name="capacity_{ann.pk}" value="none"' in again
        assert 'value="Mon-Fri 9-12"' in again
        assert Lead.objects.count() == before

    def test_says_what_is_wrong(self, world: World) -> None:
        client = world.manager.client()
        ann = AE.objects.get(user__first_name="Ann")
        asked = {"stream": "made_up", **DAYS, **HABITS, f"capacity_{ann.pk}": "many"}
        answer = client.post("/simulations/", asked)
        assert answer.status_code == 422
        assert "Say how many to make up." in answer.content.decode()
        assert "The most open leads of Ann: a whole number" in answer.content.decode()
        backwards = {"stream": "came", **DAYS, **HABITS, "last": "2026-01-01"}
        assert "Simulate from 1 to 400 days" in client.post("/simulations/", backwards).content.decode()
        too_far = {"stream": "came", **HABITS, "since": "9999-12-01", "last": "9999-12-31"}
        assert "less than or equal to 2199-12-31" in client.post("/simulations/", too_far).content.decode()
        assert not Job.objects.filter(kind="simulate").exists()

    def test_is_stopped(self, world: World) -> None:
        client = world.manager.client()
        client.post("/simulations/", {"stream": "came", **DAYS, **HABITS})
        job = Job.objects.get(kind="simulate")
        client.post(f"/simulations/{job.pk}/stop/")
        assert "stopped by" in client.get(f"/simulations/{job.pk}/").content.decode()
