from datetime import timedelta

from django.utils import timezone

from scoring import facts
from scoring.facts import Envelope, Reason
from scoring.models import Key, Source
from tests.browser.test_desk import *


class TestShots:
    def test_shots(self, visit, team, live_server, tmp_path):
        now = timezone.now()
        web = Source.objects.get(slug="web")
        n = 0
        for m in range(58, 0, -1):
            at = now - timedelta(minutes=m)
            batch = [desk_world.event("acme", "File Saved", 0.1, 1000 + n + i) for i in range((m * 7) % 23)]
            n += 30
            facts.record(
                source=web,
                facts=batch,
                received_at=at,
                envelope=Envelope(
                    wire="segment", library="analytics-python 2.4.0", skew=timedelta(seconds=m if m < 50 else 900)
                ),
            )
        facts.record(
            source=web,
            facts=[desk_world.event("acme", "File Saved", -3, 5)],
            received_at=now,
            envelope=Envelope(wire="posthog", library="posthog-js 1.449.2"),
        )
        facts.note(
            source=web,
            envelope=Envelope(wire="segment"),
            reasons=[
                Reason(
                    "bad_time",
                    '"timestamp" is an ISO 8601 text such as "2026-05-01T09:30:00Z"',
                    12,
                    '{"type":"track","event":"File Uploaded","timestamp":"soon","userId":"ann","context":{"library":{"name":"analytics-python","version":"2.4.0"},"groupId":"acme"},"properties":{"file_type":"text/csv","size":123456}}',
                ),
                Reason("nobody", "a call needs a userId, an anonymousId or a groupId", 3, "{}"),
            ],
            at=now,
        )
        facts.note(
            source=None,
            envelope=Envelope(wire="segment"),
            reasons=[Reason("unknown_key", "send a live key", 14, "wk_0a1b2…")],
            at=now,
        )
        facts.fold_arrivals()
        _, key = facts.create_key(source=web, kind=Key.Kind.WRITE, by=team.admin, at=now)
        facts.watch(source=web, until=now + timedelta(hours=1))
        send(
            live_server,
            key,
            *[
                {"event": f"Report Exported {i}", "user": f"user-{i % 7}@acme.example", "account": "acme"}
                for i in range(14)
            ],
            {"event": "Broken"},
            {"event": "Old", "user": "ben", "at": "2024-01-01T00:00:00Z"},
        )
        for theme in ("light", "dark"):
            page = visit("ada", color_scheme=theme)
            for width in (360, 768, 1440):
                page.set_viewport_size({"width": width, "height": 900})
                for name, where in (("list", "/sources/"), ("source", "/sources/web/")):
                    page.goto(where)
                    page.wait_for_load_state()
                    page.screenshot(path=f"/tmp/shots/{name}-{width}-{theme}.png", full_page=True)
        page = visit("ada")
        page.goto("/sources/")
        page.get_by_label("Name of a new source").fill("mobile-app")
        page.get_by_role("button", name="New source").click()
        page.get_by_role("button", name="New key").click()
        page.screenshot(path="/tmp/shots/new.png", full_page=True)
