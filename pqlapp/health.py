"""Whether this process lives, and whether the system behind it is fit to work."""

import psycopg
from django import db
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from pqlapp import bell
from scoring import handoffs

BEAT_IS_MISSED_AFTER = 60  # seconds

DATABASE_AWAY = (db.Error, psycopg.Error)


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as the process lives; asks nothing of anybody."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if the database answers and the beat was seen in the last minute, else 503.

    The ages are in seconds: of the oldest live touch (null: nothing waits), and since the beat (null: never seen).
    """
    now = timezone.now()
    beat_at = bell.beat_seen_at()
    beat_age = None if beat_at is None else round((now - beat_at).total_seconds(), 3)
    beat_seen = beat_age is not None and beat_age <= BEAT_IS_MISSED_AFTER
    try:
        touch_at = handoffs.oldest_touch()
        database = True
    except DATABASE_AWAY:
        touch_at, database = None, False
    touch_age = None if touch_at is None else round((now - touch_at).total_seconds(), 3)
    ready = database and beat_seen
    return JsonResponse(
        {"ready": ready, "database": database, "oldest_touch_age": touch_age, "beat_age": beat_age},
        status=200 if ready else 503,
    )
