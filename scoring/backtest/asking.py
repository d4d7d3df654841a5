"""Ask for a backtest, and for the accounts behind one of its figures."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q, QuerySet

from scoring import jobs
from scoring.models import Backtest, Backtested, Half, RuleVersion

KIND = "backtest"  # of its jobs
MONTHS = 6
HORIZON = 60  # days within which a conversion counts
HAND_RAISED = 10**15  # hundredths above the line: a rule that qualifies lifts above any


KEPT = timedelta(days=180)  # a rule set's newest one is kept for longer
AT_ONCE = 20_000  # accounts of backtests that are dropped in one transaction


class OfUsers(ValueError):
    """The version judges users: what became of them is counted by account only, so there is no backtest of it."""


class BadFigure(ValueError):
    """No figure has such accounts behind it; the text says what there is."""


def start(
    *,
    version: RuleVersion,
    by: AbstractBaseUser | None,
    at: datetime,
    months: int = MONTHS,
    horizon_days: int = HORIZON,
    weekly_capacity: int | None = None,
    half: str = Half.ALL,
    every_days: int | None = None,
) -> Backtest:
    """Return a new backtest of the version as it stands now; its job runs it.

    `weekly_capacity` is how many leads the AEs can take in a week, None if nobody knows. `every_days` apart are the
    moments on which accounts are judged; None: each day, or each week where there are very many accounts.
    Raises OfUsers.
    """
    if why := refusal(version=version):
        raise OfUsers(why)
    with transaction.atomic():
        job = jobs.create(kind=KIND, arguments={"version": version.pk, "label": str(version)}, by=by, at=at)
        return Backtest.objects.create(
            version=version,
            job=job,
            document=version.document,
            document_digest=version.digest,
            months=months,
            every_days=every_days,
            horizon_days=horizon_days,
            weekly_capacity=weekly_capacity,
            half=half,
            created_by_id=by.pk if by else None,
            created_at=at,
        )


def refusal(*, version: RuleVersion) -> str:
    """Return in a sentence why there can be no backtest of the version; empty if there can."""
    if version.document.get("level", "account") == "account":
        return ""
    return (
        f"{version} judges users, and a backtest counts accounts and their outcomes: there is none of it yet. "
        "`manage.py replay` shows when each user would have qualified."
    )


def last_of(*, version: RuleVersion) -> Backtest | None:
    """Return the newest backtest of the version's rule set: whoever asks again mostly asks alike."""
    return Backtest.objects.filter(version__rule_set=version.rule_set_id).order_by("-id").first()


def drop_old(*, at: datetime) -> int:
    """Drop some accounts of backtests that are not kept any longer, then the backtests; return how many rows went.

    Kept are those that have not ended, those that were asked for within KEPT, and the newest that came to an end of
    each rule set. Call it again and again: each time AT_ONCE accounts go at most.
    """
    done = Backtest.objects.filter(finished_at__isnull=False).order_by("version__rule_set", "-id")
    newest = done.distinct("version__rule_set").values_list("pk", flat=True)
    ended = Backtest.objects.filter(created_at__lt=at - KEPT).exclude(job__state__in=jobs.OPEN)
    old = ended.exclude(pk__in=list(newest)).order_by("pk").first()
    if old is None:
        return 0
    some = Backtested.objects.filter(backtest=old).order_by("pk").values_list("pk", flat=True)[:AT_ONCE]
    dropped, _ = Backtested.objects.filter(pk__in=list(some)).delete()
    if dropped < AT_ONCE:
        dropped += old.delete()[0]
    return dropped


EXACT = ("as_pql", "as_other", "won")
NAMES = ("fired", "unfired", "alone", "tier")
DAYS = ("since", "until")
FIGURES = (*EXACT, *NAMES, *DAYS, "peak", "late")


def behind(*, backtest: Backtest, figure: Mapping[str, str]) -> QuerySet[Backtested]:
    """Return the accounts behind a figure, which says by field what they have in common.

    `as_pql`, `as_other` and `won` are what became of them ("any": something did; with commas, one of these);
    `fired`, `alone` and `tier` are a rule or tier, or several that all apply, with commas; `unfired` a rule that was
    never met; `since` and `until` the days of qualifying; `peak` hundredths that the best day reached; `late` "yes" for
    those with events that came too late. Raises BadFigure.
    """
    if unknown := sorted(figure.keys() - set(FIGURES)):
        raise BadFigure(f"{unknown[0][:64]} is nothing to find accounts by; there are: {', '.join(FIGURES)}")
    rows = Backtested.objects.filter(backtest=backtest).select_related("account").order_by("account__external_id")
    for field, value in figure.items():
        rows = rows.filter(_condition(field, value))
    return rows


def _condition(field: str, value: str) -> Q:
    if field in EXACT:
        return ~Q(**{field: ""}) if value == "any" else Q(**{f"{field}__in": value.split(",")})
    if field == "unfired":
        return ~Q(fired__contains=[value])
    if field in NAMES:
        return Q(**{f"{'tiers' if field == 'tier' else field}__contains": value.split(",")})
    if field == "late":
        return Q(late_events__gt=0)
    try:
        if field == "peak":
            return Q(peak__gte=int(value))
        return Q(**{"qualified_on__gte" if field == "since" else "qualified_on__lte": date.fromisoformat(value)})
    except ValueError as error:
        what = "hundredths of a point" if field == "peak" else "a day such as 2026-03-31"
        raise BadFigure(f"{field} is {what}, not {value[:64]!r}") from error


def moments(*, first: date, last: date, every: int) -> tuple[date, ...]:
    """Return the days on which accounts are judged, each `every` days, so that the last one is the last day."""
    count = (last - first).days // every
    return tuple(last - timedelta(days=every * back) for back in range(count, -1, -1))
