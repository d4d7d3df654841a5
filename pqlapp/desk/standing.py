"""How a score came about, what would change it, and both as files for a spreadsheet."""

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from pqlapp.desk import reads
from pqlapp.desk.access import EVERYBODY, Viewer, only
from pqlapp.desk.charts import LEFT, RIGHT, TICKS, WIDTH, Chart, Mark, Plane, Series, Tick, above, plain
from pqlapp.desk.ledger import Ledger, Line, laid_out
from pqlapp.spreadsheet import cell
from routing import queue
from scoring import engine, explain, reaching
from scoring.language import Document
from scoring.models import Account, Score, ScoreChange

MOST_STEPS = 200  # of the chart
NARROW = timedelta(days=1)  # what the chart shows at least


def ahead(document: Document, score: Score | None, now: datetime) -> dict[str, Any]:
    """Return what silence makes of the score and when, and what is missing to its next tier; without one, nothing."""
    if score is None:
        return {}
    reach = reaching.reach(
        score.ledger, document=document, tier=score.tier, status=score.status, as_of=max(score.as_of, now.date())
    )
    return {"reach": reach, **_silence(document, score, now)}


def _silence(document: Document, score: Score, now: datetime) -> dict[str, Any]:
    """Return what happens next to the score if nothing else does: the day and the change in words."""
    try:
        found = engine.next_change(document, account=score.account_id, user=score.user_id, as_of=now.date())
    except engine.SignalsMissing:
        return {}
    if found is None:
        return {"steady_for": engine.MOST_SILENT_DAYS}
    day, later = found
    words = explain.change_words(before=score.ledger, after=later.ledger, from_tier=score.tier, to_tier=later.tier)
    return {
        "changes_on": day,
        "change": words or "which tiers it holds changes",
        "loses": score.is_pql and not later.is_pql,
    }


def chart(changes: Sequence[reads.Change], *, now: datetime) -> Chart | None:
    """Return usage and fit as steps up to now, with the changes of version marked; of changes, the newest first."""
    steps = [one.change for one in reversed(changes[:MOST_STEPS])]
    if not steps:
        return None
    first = min(steps[0].at, now - NARROW)
    most = max(max(step.usage, step.fit) for step in steps) / 100
    plane = Plane(x=(0, (now - first).total_seconds()), y_most=above(most))

    def line(name: str, kind: str) -> Series:
        points = [((step.at - first).total_seconds(), getattr(step, name) / 100) for step in steps]
        points.append(((now - first).total_seconds(), points[-1][1]))
        return Series(name, kind, plane.path(points, steps=True), "")

    newest = steps[-1]
    return Chart(
        title="Usage and fit by day",
        words=f"Usage and fit in {len(steps)} steps from {_day(steps[0].at)} to {_day(newest.at)}, the last to usage "
        f"{plain(newest.usage / 100)}, fit {plain(newest.fit / 100)}. The table below says the same.",
        x_name="day (UTC)",
        ticks_x=_days(plane, first, now),
        ticks_y=plane.ticks_y(plain),
        series=[line("usage", "one"), line("fit", "other")],
        marks=[_version(plane, step, first) for step in _of_new_versions(steps)],
    )


def _days(plane: Plane, first: datetime, last: datetime) -> list[Tick]:
    """A few midnights, equally far from each other."""
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    all_days = max(1, (last - midnight).days + 1)
    apart = -(-all_days // TICKS)
    found = [midnight + timedelta(days=n) for n in range(0, all_days, apart)]
    places = [(plane.x((day - first).total_seconds()), _day(day)) for day in found if day <= last]
    return [Tick(min(max(x, LEFT + 12), WIDTH - RIGHT - 14), label) for x, label in places]


def _of_new_versions(steps: Sequence[ScoreChange]) -> Iterator[ScoreChange]:
    before = steps[0].version_id
    for step in steps:
        if step.version_id != before:
            yield step
        before = step.version_id


def _version(plane: Plane, step: ScoreChange, first: datetime) -> Mark:
    x = plane.x((step.at - first).total_seconds())
    return Mark(x, Chart.top, x, Chart.bottom, f"version {step.version.number}")


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b}"


# ---- files


@require_safe
@only(EVERYBODY)
def ledger_file(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Give the ledger of one of the account's scores as CSV; `by` names the rule set."""
    score = _score(request, viewer, pk)
    ledger = laid_out(score.ledger, as_of=timezone.now().date(), known_from=reads.known_from(score.version_id))
    rows = [
        [section, line.name, line.kind, "yes" if met else "no", line.observed, line.threshold, *_points(line)]
        for section, line, met in _lines(ledger)
    ]
    sums = [[f"{section.score}, sum", "", "", "", "", "", section.total / 100] for section in ledger.sections]
    head = ["score", "rule", "kind", "met", "observed", "asked", "points", "taken by the cap", "would give", "group"]
    return _file(f"ledger-{pk}-{score.rule_set.slug}.csv", [head, *rows, *sums])


def _lines(ledger: Ledger) -> Iterator[tuple[str, Line, bool]]:
    for section in ledger.sections:
        yield from ((section.score, line, True) for line in section.met)
        yield from ((section.score, line, False) for line in section.unmet)
    yield from (("", line, True) for line in ledger.gates)
    yield from (("", line, False) for line in ledger.open_gates)


def _points(line: Line) -> list[Any]:
    return [line.points / 100, line.clipped / 100, line.worth / 100, line.group]


@require_safe
@only(EVERYBODY)
def history_file(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Give all changes of one of the account's scores as CSV, the newest first; `by` names the rule set."""
    score = _score(request, viewer, pk)
    head = ["at", "as of", "version", "cause", "what changed", "status", "tier", "usage", "fit"]
    rows = [
        [
            one.change.at.isoformat(),
            one.change.as_of,
            one.change.version.number,
            one.because,
            one.words,
            one.change.status,
            one.change.tier,
            one.change.usage / 100,
            one.change.fit / 100,
        ]
        for one in reads.history(score, most=None)
    ]
    return _file(f"history-{pk}-{score.rule_set.slug}.csv", [head, *rows])


def _score(request: HttpRequest, viewer: Viewer, pk: int) -> Score:
    account = get_object_or_404(Account, pk=pk)
    if not (viewer.is_manager or queue.is_visible_to(user=viewer.user, account=account)):
        raise Http404
    score = reads.named(reads.scores(pk), by=request.GET.get("by"), user=request.GET.get("user"))
    if score is None or score.rule_set.slug != request.GET.get("by"):
        raise Http404
    return score


def _file(name: str, rows: Sequence[Sequence[Any]]) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    csv.writer(response).writerows([cell(value) for value in row] for row in rows)
    return response
