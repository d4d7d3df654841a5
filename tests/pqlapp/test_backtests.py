"""Backtests over the API and on the desk."""

import re
from collections.abc import Iterator

import pytest
import time_machine

from pqlapp import bell
from pqlapp.desk.charts import Plane, charts
from scoring import backtest, tasks
from scoring.models import Backtest, Job
from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(NOW, tick=False):
        yield api_world.make()


@pytest.fixture(autouse=True)
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that were rung for."""
    jobs: list[Job] = []
    monkeypatch.setattr(bell, "ring_for_job", lambda *, job: jobs.append(job))
    return jobs


def done(world: World, **options: int | str) -> Backtest:
    """A backtest that has run."""
    asked: dict[str, int | str] = {"version": world.version.pk, "horizon_days": 30, "weekly_capacity": 5, **options}
    started = world.server_key.post("backtests", asked, status=202)
    api_world.run(Job.objects.get(pk=started["job"]))
    return Backtest.objects.get(pk=started["id"])


class TestOverTheAPI:
    def test_is_started_and_followed(self, world: World, rung: list[Job]) -> None:
        started = world.admin.post("backtests", {"version": world.version.pk}, status=202)
        assert (started["state"], started["result"], started["months"]) == ("queued", {}, backtest.MONTHS)
        assert [job.pk for job in rung] == [started["job"]]
        tasks.carry_on(job=rung[0])
        found = world.manager.get(f"backtests/{started['id']}")
        assert found["state"] == "done"
        assert found["result"]["pqls"]["all"] == 1
        assert found["document_digest"] == world.version.digest
        assert [row["id"] for row in world.manager.get("backtests?rule_set=new-business")["results"]] == [found["id"]]
        assert "result" not in world.manager.get("backtests")["results"][0]

    def test_gives_the_accounts_behind_every_figure(self, world: World) -> None:
        one = done(world)
        behind = world.manager.get(f"backtests/{one.pk}/accounts?as_pql=young")["results"]
        assert [row["account"]["external_id"] for row in behind] == ["acme"]
        assert behind[0]["peak"] >= 0
        for alarm in one.result["alarms"]:
            query = "&".join(f"{name}={value}" for name, value in alarm["behind"].items())
            world.manager.get(f"backtests/{one.pk}/accounts?{query}")
        for wrong in ("since=soon", "peak=high", "colour=red"):
            assert world.manager.ask("GET", f"backtests/{one.pk}/accounts?{wrong}").status_code == 422

    def test_is_stopped_by_a_program(self, world: World) -> None:
        started = world.server_key.post("backtests", {"version": world.version.pk}, status=202)
        stopped = world.server_key.post(f"backtests/{started['id']}/stop", {})
        assert (stopped["state"], stopped["error"]) == ("stopped", "stopped by a program")

    def test_of_no_version_is_refused(self, world: World) -> None:
        assert world.admin.post("backtests", {"version": 10**9}, status=422)["faults"][0]["path"] == "version"
        assert world.admin.post("backtests", {"version": world.version.pk, "months": 0}, status=422)


class TestOnTheDesk:
    def test_is_started_from_the_list(self, world: World, rung: list[Job]) -> None:
        client = world.admin.client()
        asked = {"version": world.version.pk, "months": 3, "horizon_days": 30, "weekly_capacity": "", "half": "first"}
        answer = client.post("/backtests/", asked)
        started = Backtest.objects.get()
        assert (answer.status_code, answer["Location"]) == (302, f"/backtests/{started.pk}/")
        assert (started.months, started.half, started.weekly_capacity) == (3, "first", None)
        assert len(rung) == 1
        page = client.get(f"/backtests/{started.pk}/").content.decode()
        assert "Waits for a worker" in page
        client.post(f"/backtests/{started.pk}/stop/")
        assert "stopped by" in client.get(f"/backtests/{started.pk}/").content.decode()

    def test_what_was_asked_last_is_proposed(self, world: World) -> None:
        done(world, months=9)
        page = world.admin.client().get("/backtests/").content.decode()
        assert re.search(r'name="months"[^>]*value="9"', page)
        assert re.search(r'name="weekly_capacity"[^>]*value="5"', page)

    def test_a_wrong_form_says_what_is_wrong(self, world: World) -> None:
        answer = world.admin.client().post("/backtests/", {"version": 0, "months": 100, "horizon_days": 30})
        assert answer.status_code == 422
        assert "Ensure this value is less than or equal to 60" in answer.content.decode()

    def test_shows_figures_alarms_and_pictures_and_every_link_leads_somewhere(self, world: World) -> None:
        one = done(world)
        client = world.admin.client()
        page = client.get(f"/backtests/{one.pk}/").content.decode()
        assert "Not enough evidence" in page
        assert page.count("<svg") >= 6  # the brand's, and the pictures
        assert "the AEs can take 5" in page
        links = set(re.findall(rf'href="(/backtests/{one.pk}/accounts/[^"]*)"', page))
        assert len(links) > 8
        for link in links:
            assert client.get(link.replace("&amp;", "&")).status_code == 200, link
        behind = client.get(f"/backtests/{one.pk}/accounts/?as_pql=young").content.decode()
        assert "PQLs too young to know" in behind
        assert "acme" in behind
        assert client.get(f"/backtests/{one.pk}/accounts/?colour=red").status_code == 404

    def test_lays_two_side_by_side(self, world: World) -> None:
        one, other = done(world), done(world, months=1)
        page = world.admin.client().get(f"/backtests/{one.pk}/?with={other.pk}").content.decode()
        assert "Both were judged on the same facts." in page
        assert page.count('class="backtest"') == 2
        api_world.send(api_world.use("invited", "gil", into="globex", days_ago=3))
        later = done(world)
        page = world.admin.client().get(f"/backtests/{one.pk}/?with={later.pk}").content.decode()
        assert "Facts came between the two" in page


class TestCharts:
    def test_are_drawn_of_nothing_too(self, world: World) -> None:
        one = done(world)
        empty = {**one.result, "curve": [], "volume": {"weeks": [], "per_week": {}}}
        assert len(charts(empty, horizon=60)) == 2
        assert len(charts(one.result, horizon=60)) == 5

    def test_the_band_of_steps_goes_back_the_way_it_should(self) -> None:
        plane = Plane(x=(0, 10), y_most=1)
        low, high = plane.band([(0, 0), (5, 0.2), (10, 0.2)], [(0, 0), (5, 0.6), (10, 0.6)], steps=True).split("L", 1)
        x0, x5, x10, bottom, top = plane.x(0), plane.x(5), plane.x(10), plane.y(0), plane.y(0.6)
        assert low.startswith(f"M{x0} {bottom}H{x5}")
        back = [f"{x10} {top}", f"{x10} {top}", f"{x5} {top}", f"{x5} {bottom}", f"{x0} {bottom}Z"]
        assert high.split("L") == back
