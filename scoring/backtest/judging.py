"""Judge many accounts on many days: the one place where a backtest asks, the mirror if it is fresh."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime

from scoring import bulk
from scoring.bulk import Said
from scoring.engine import Judgement
from scoring.language import Document


def judge_many(
    document: Document, *, days: Sequence[date], since: datetime | None, on_day: Callable[[date], object]
) -> Said:
    """Return what is said of all accounts on each of the days, without detail.

    All that was stored by `since` is known, and counts on the day it is dated. `on_day` is told of each day that was
    judged. Raises engine.SignalsMissing.
    """
    return bulk.judge(document, days=days, since=since, on_day=on_day).said


def judge_pairs(
    document: Document, *, pairs: Sequence[tuple[int, date]], since: datetime | None
) -> Iterable[Judgement]:
    """Return the judgement of each (account, day) pair, without detail. Raises engine.SignalsMissing."""
    return bulk.judge_pairs(document, pairs=pairs, since=since)
