"""Judge many accounts on many days: the one place where a backtest asks the engine."""

from collections.abc import Iterator, Sequence
from datetime import date

from scoring import engine
from scoring.engine import Judgement
from scoring.language import Document


def judge_many(
    document: Document, *, days: Sequence[date], accounts: Sequence[int] | None = None
) -> Iterator[tuple[date, list[Judgement]]]:
    """Yield the judgements of the accounts (of all, if None) on each of the days, in the order of the days.

    Without detail. What is known today counts on the day it is dated. Raises engine.SignalsMissing.
    """
    for day in days:
        yield day, engine.judge(document, as_of=day, accounts=accounts, detail=False)
