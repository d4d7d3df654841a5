"""The pages of the sources without a browser: what they say, and what can be done there."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from pqlapp.desk import traffic
from pqlapp.desk.snippets import snippets
from scoring import facts
from scoring.facts import Envelope, Reason
from scoring.models import Glimpse, Key, Source
from tests.pqlapp import desk_world as world
from tests.pqlapp.desk_world import NOW, Desk
from tests.pqlapp.test_desk import as_, page, text


class Sources(Desk):
    def setUp(self) -> None:
        super().setUp()
        self.source = facts.create_source(slug="billing", at=NOW)

    def send(self, *names: str, days: float = 0, minutes: int = 0, **envelope: Any) -> None:
        calls = [world.event("acme", name, days, n) for n, name in enumerate(names)]
        at = NOW - timedelta(minutes=minutes)
        facts.record(source=self.source, facts=calls, received_at=at, envelope=Envelope(wire="native", **envelope))

    def turn_away(self, *reasons: Reason, source: Source | None = None) -> None:
        facts.note(source=source, envelope=Envelope(wire="native"), reasons=reasons, at=NOW)

    def shown(self, path: str = "/sources/billing/") -> str:
        return page(self.team.admin, path)


class TestTheList(Sources):
    def test_tells_of_each_source_how_much_came_and_when(self) -> None:
        self.send("a", "b", minutes=3)
        self.send("a", minutes=2)
        self.turn_away(Reason("bad_time", "no time"), source=self.source)
        shown = self.shown("/sources/")
        assert "billing 0 s ago accepted 2 duplicate 1 rejected 1 native 1 to look into" in shown
        assert "web 1 h ago" in shown

    def test_tells_what_came_from_nobody_we_know(self) -> None:
        self.turn_away(Reason("unknown_key", "send a live key", 3, "wk_01234…"))
        assert "3 with a key that opens nothing, the last began with wk_01234…" in self.shown("/sources/")

    def test_asks_the_same_number_of_questions_however_many_there_are(self) -> None:
        def asked() -> int:
            with CaptureQueriesContext(connection) as queries:
                self.shown("/sources/")
            return len(queries)

        asked()
        before = asked()
        for n in range(5):
            facts.create_source(slug=f"more-{n}", at=NOW)
        assert asked() == before

    def test_a_source_is_made_there(self) -> None:
        response = as_(self.team.admin).post("/sources/new/", {"slug": "mobile-app"}, follow=True)
        assert "Waiting for your first event" in response.content.decode()
        response = as_(self.team.admin).post("/sources/new/", {"slug": "not a name"}, follow=True)
        assert "A name has small letters" in response.content.decode()


class TestASource(Sources):
    def test_waits_for_the_first_event_and_then_counts(self) -> None:
        assert "Waiting for your first event" in self.shown()
        self.send("a", "b", minutes=2)
        assert "2 events in the last hour, the last call 2 min ago." in self.shown()

    def test_shows_what_was_rejected_with_a_sample(self) -> None:
        self.turn_away(Reason("bad_time", "a time, please", 4, '{"at":"<b>soon"}'), source=self.source)
        html = as_(self.team.admin).get("/sources/billing/").content.decode()
        assert "4 bad_time last 0 s ago a time, please" in text(html)
        assert "&lt;b&gt;soon" in html

    def test_shows_the_last_calls(self) -> None:
        looks = [("Paid", "accepted", ""), ("Broken", "nobody", "whose is it?")]
        facts.show(
            glimpses=[
                Glimpse(source=self.source, at=NOW, wire="native", event=event, result=result, reason=reason)
                for event, result, reason in looks
            ]
        )
        assert "09:00:00 Broken – – dated – nobody whose is it? 09:00:00 Paid – – dated – accepted" in self.shown()

    def test_whoever_looks_has_the_calls_kept_for_them(self) -> None:
        self.shown()
        watched = Source.objects.get(slug="billing")
        assert watched.watched_until == NOW + timedelta(minutes=1)
        with CaptureQueriesContext(connection) as queries:
            self.shown()
        assert not any(query["sql"].startswith('UPDATE "scoring_source"') for query in queries)

    def test_to_htmx_is_only_what_changes_by_itself(self) -> None:
        html = as_(self.team.admin).get("/sources/billing/", headers={"HX-Request": "true"}).content.decode()
        assert 'id="source"' in html
        assert "<html" not in html
        assert "Point a library here" not in html

    def test_says_what_is_odd(self) -> None:
        self.send("ahead", days=-3)
        self.send("old", days=40, skew=timedelta(minutes=14))
        shown = self.shown()
        assert "A client’s clock was 14 min behind ours." in shown
        assert "1 event is dated in the future: ignored until that day comes." in shown
        assert "1 event is dated more than 30 days ago" in shown
        assert "last 14 min behind" in shown

    def test_names_the_libraries(self) -> None:
        self.send("a", library="analytics-node 3.1.0")
        facts.fold_arrivals()
        assert "analytics-node 3.1.0 native, 1 call, last 0 s ago" in self.shown()

    def test_says_when_no_event_names_a_company(self) -> None:
        call = facts.Fact(message_id="x", at=NOW, name="a", anonymous_id="a phone")
        facts.record(source=self.source, facts=[call], received_at=NOW)
        assert "No event names a company" in self.shown()
        assert "100 % of the accepted" in self.shown()


class TestKeys(Sources):
    def test_are_made_and_shown_once(self) -> None:
        client = as_(self.team.admin)
        response = client.post("/sources/billing/keys/", {"kind": "write"})
        key = Key.objects.get(source=self.source)
        secret = f"wk_{key.public_id}_"
        assert response.content.decode().count(secret) > 5  # in the field, and in the lines to copy
        assert "no-store" in response["Cache-Control"]
        assert secret not in client.get("/sources/billing/").content.decode()
        assert key.created_by == self.team.admin

    def test_are_revoked(self) -> None:
        key, _ = facts.create_key(source=self.source, kind=Key.Kind.WRITE, by=None, at=NOW)
        response = as_(self.team.admin).post(f"/sources/billing/keys/{key.pk}/revoke/", follow=True)
        assert "opens nothing" in response.content.decode()
        assert Key.objects.get(pk=key.pk).revoked_at == NOW

    def test_of_another_source_are_out_of_reach(self) -> None:
        key, _ = facts.create_key(source=Source.objects.get(slug="web"), kind=Key.Kind.WRITE, by=None, at=NOW)
        assert as_(self.team.admin).post(f"/sources/billing/keys/{key.pk}/revoke/").status_code == 404
        assert Key.objects.get(pk=key.pk).revoked_at is None


class TestForgetting(Sources):
    def test_drops_samples_and_calls(self) -> None:
        self.turn_away(Reason("bad_time", "no", 1, "ann’s address"), source=self.source)
        assert "ann’s address" in self.shown()
        as_(self.team.admin).post("/sources/billing/forget/")
        assert "ann’s address" not in self.shown()
        assert "1 bad_time" in self.shown()


class TestSnippets:
    def test_name_this_address_and_the_key(self) -> None:
        made = snippets(address="https://pql.example:8443", key="wk_1")
        assert all("wk_1" in each.code for each in made)
        assert all("pql.example" in each.code for each in made)
        assert not any("<" in each.code for each in made)
        (node,) = [each.code for each in made if (each.family, each.language) == ("Mixpanel", "Node")]
        assert 'host: "pql.example", port: 8443, protocol: "https"' in node


class TestClock:
    def test_is_told_with_its_extremes(self) -> None:
        def clock(*skews: int) -> str:
            low, high = min(skews), max(skews)
            total = facts.Count(1, NOW, "", 1, 0, 0, 0, 0, 0, skews[-1], low, high, NOW)
            return traffic.Traffic(Source(), traffic.Sparkline([0]), NOW, [total]).clock

        assert clock(200) == "last in step with ours"
        assert clock(-7_200_000, 900_000, 100) == "last in step with ours; up to 15 min behind; up to 2 h ahead"
