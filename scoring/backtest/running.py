"""Run a backtest's job: read the history that the version needs, judge every moment, count, write it down at once."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import orjson
import structlog
from django.db import transaction

from scoring import bulk, jobs, language, tiles
from scoring.backtest import asking, knowing
from scoring.backtest.alarms import alarms
from scoring.backtest.knowing import Knowledge
from scoring.backtest.measuring import Tally, figures, tally
from scoring.backtest.watching import Line, Span, Watched, watch
from scoring.models import Account, Backtest, Backtested, Half, Job
from scoring.models.raw import cursor

log = structlog.get_logger(__name__)

EVERY_DAY_UP_TO = 5_000_000  # pairs of account and day; of more, each week is looked at
A_MONTH = 365.25 / 12  # days
ROWS = 5_000  # written by one statement
WEEK = 7


class NothingToTest(Exception):
    """There is no whole day of history yet."""


def run(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed backtest from its beginning to its end; nothing of it is kept in between.

    `clock` returns the present time. Raises jobs.LeaseLost if the job was stopped, or somebody else took it over, and
    NothingToTest.
    """
    backtest = Backtest.objects.select_related("version__rule_set").get(job=job)
    document = language.load(backtest.document)

    def tell(step: str, done: int, total: int | None) -> None:
        jobs.report(job=job, progress=jobs.Progress(step=step, done=done, total=total, cursor={}), at=clock())

    signals = tiles.register(signals=language.signals_of(document).values(), at=clock())
    tiles.backfill(signals=signals, on_progress=lambda done, total: tell("reading history", done, total))
    tell("bringing the mirror up to date", 0, None)
    _refresh_the_mirror(at=clock())
    tell("looking for what came late", 0, None)
    watched, knowledge = _watch(backtest, document, today=clock().date(), tell=tell)
    tell("counting", 0, None)
    done = tally(watched)
    raised = alarms(watched, done, capacity=backtest.weekly_capacity)
    late = knowledge.left_out(watched.span.moments)
    rows = list(_rows(backtest, watched, done, Counter({e.account: e.events for e in late})))
    result = {
        **figures(watched, done, capacity=backtest.weekly_capacity),
        "line": _line(document),
        "late": _told(late),
        "alarms": [alarm.plain() for alarm in raised],
    }
    _keep(job, backtest, watched.span, rows, result, clock())


def _refresh_the_mirror(*, at: datetime) -> None:
    """Let the mirror hold all that is stored now. Where there is none, or somebody is at it, PostgreSQL judges."""
    try:
        if bulk.present():
            bulk.refresh(at=at)
    except bulk.Overtaken as overtaken:
        log.warning("mirror_not_refreshed", reason=str(overtaken))


def _watch(
    backtest: Backtest, document: language.Document, *, today: date, tell: Callable[[str, int, int | None], None]
) -> tuple[Watched, Knowledge]:
    first, last = _covered(today, backtest.months)
    among = _half(backtest.half)
    accounts = Account.objects.exclude(kind=Account.Kind.VISITOR).count() if among is None else len(among)
    days = (last - first).days + 1
    every = backtest.every_days or (1 if accounts * days <= EVERY_DAY_UP_TO else WEEK)
    span = Span(asking.moments(first=first, last=last, every=every), backtest.horizon_days)
    knowledge = knowing.look(first=first, last=last)
    done = Counter[str]()

    def step(day: date) -> None:
        done["moments"] += 1
        tell("judging past days", done["moments"], len(span.moments))

    tell("judging past days", 0, len(span.moments))
    since = backtest.created_at
    watched = watch(document, span=span, knowledge=knowledge, among=among, since=since, on_moment=step)
    return watched, knowledge


def _covered(today: date, months: int) -> tuple[date, date]:
    """Return the first and last whole day (UTC) of so many months that facts cover. Raises NothingToTest."""
    with cursor() as c:
        found = c.execute(_COVERED, {"today": today}).fetchone()
    if found is None or found[0] is None:
        raise NothingToTest("there are no events before today: send some, or import_events")
    earliest, last = found
    return max(earliest, last - timedelta(days=round(months * A_MONTH) - 1)), last


_COVERED = """
SELECT min(day), max(day) FROM (
    SELECT (at AT TIME ZONE 'UTC')::date AS day FROM scoring_event
    WHERE at < %(today)s::date::timestamp AT TIME ZONE 'UTC'
    UNION ALL
    SELECT (at AT TIME ZONE 'UTC')::date FROM scoring_outcome
    WHERE at < %(today)s::date::timestamp AT TIME ZONE 'UTC') AS days
"""


def _half(half: str) -> set[int] | None:
    """Return the accounts of a half, drawn by what they are called; None: all."""
    if half == Half.ALL:
        return None
    wanted = 0 if half == Half.FIRST else 1
    names = Account.objects.exclude(kind=Account.Kind.VISITOR).values_list("pk", "external_id")
    return {pk for pk, name in names if hashlib.blake2b(name.encode()).digest()[0] % 2 == wanted}


def _rows(backtest: Backtest, watched: Watched, done: Tally, late: Counter[int]) -> Iterator[Backtested]:
    ids = [rule.id for rule in watched.document.rules]
    for account, course in sorted(watched.courses.items()):
        nearest = course.nearest()
        yield Backtested(
            backtest=backtest,
            account_id=account,
            sign_up=course.sign_up,
            qualified_on=done.qualified_on.get(account),
            goal_on=course.goal_on,
            compared_on=done.compared_on.get(account),
            as_pql=done.as_pql.get(account, ""),
            as_other=done.as_other.get(account, ""),
            won=done.won.get(account, ""),
            peak=nearest,
            tiers=sorted(course.tiers),
            fired=[ids[rule] for rule in sorted(course.fired)],
            alone=[ids[rule] for rule in course.alone],
            late_events=late[account],
        )


def _line(document: language.Document) -> dict[str, Any]:
    line = Line(document)
    return {"tier": line.tier.name if line.tier else "", "side": line.side}


def _told(late: list[knowing.Late]) -> dict[str, Any]:
    """What was left out because it came only later."""
    by_source = Counter[str]()
    for each in late:
        by_source[each.source] += each.events
    return {
        "events": sum(each.events for each in late),
        "accounts": len({each.account for each in late}),
        "sources": dict(sorted(by_source.items())),
    }


def _keep(
    job: Job, backtest: Backtest, span: Span, rows: list[Backtested], result: dict[str, Any], at: datetime
) -> None:
    said = [(r.account_id, r.qualified_on, r.goal_on, r.compared_on, r.fired, r.tiers) for r in rows]
    with transaction.atomic():
        jobs.finish(job=job, result={"pqls": result["pqls"]["all"], "verdict": result["verdict"]["words"]}, at=at)
        Backtested.objects.bulk_create(rows, batch_size=ROWS)
        Backtest.objects.filter(pk=backtest.pk).update(
            first_day=span.first,
            last_day=span.last,
            every_days=backtest.every_days or _every(span),
            result=result,
            facts_digest=_facts_digest(),
            digest=hashlib.blake2b(orjson.dumps(said), digest_size=32).hexdigest(),
            finished_at=at,
        )


def _every(span: Span) -> int:
    return (span.moments[1] - span.moments[0]).days if len(span.moments) > 1 else 1


def _facts_digest() -> str:
    """Return a digest of how much is known: with every new fact it is another one."""
    with cursor() as c:
        known = c.execute(_KNOWN).fetchone()
    return hashlib.blake2b(repr(known).encode(), digest_size=32).hexdigest()


_KNOWN = """
SELECT (SELECT last_value FROM scoring_event_id_seq),
    (SELECT (count(*), max(id)) FROM scoring_outcome), (SELECT max(id) FROM scoring_traitchange),
    (SELECT md5(string_agg(x::text, ',' ORDER BY x.id)) FROM scoring_exclusion x),
    (SELECT (count(*), max(merged_at)) FROM scoring_account WHERE merged_into_id IS NOT NULL),
    (SELECT count(*) FROM scoring_productuser WHERE merged_into_id IS NOT NULL)
"""
