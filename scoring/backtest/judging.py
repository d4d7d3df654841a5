"""Judge many accounts on many days: the one place where a backtest asks, the mirror if it is fresh."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from scoring import bulk
from scoring.engine import Judgement
from scoring.language import Document


def judge_many(
    document: Document, *, days: Sequence[date], accounts: Sequence[int] | None = None, since: datetime | None = None
) -> Iterator[tuple[date, list[Judgement]]]:
    """Yield the judgements of the accounts (of all, if None) on each of the days, which are in order.

    Without detail; a judgement that holds for several days may have the first of them as its `as_of`. All that was
    stored by `since` is known, and counts on the day it is dated. Raises engine.SignalsMissing.
    """
    said = bulk.judge(document, days=days, accounts=accounts, since=since).judgements
    now: dict[int, Judgement] = {}
    coming = next(said, None)
    for day in days:
        while coming is not None and coming.as_of == day:
            now[coming.account_id] = coming
            coming = next(said, None)
        yield day, list(now.values())
