"""Backtests: what a version would have said on past days, as far as was known then, and what became of it.

What only the job needs, with its statistics, is in `running`, which nobody imports: settings.JOB_RUNNERS names it.
"""

from scoring.backtest.asking import (
    FIGURES,
    HAND_RAISED,
    HORIZON,
    KIND,
    MONTHS,
    BadFigure,
    OfUsers,
    behind,
    drop_old,
    last_of,
    refusal,
    start,
)

__all__ = [
    "FIGURES",
    "HAND_RAISED",
    "HORIZON",
    "KIND",
    "MONTHS",
    "BadFigure",
    "OfUsers",
    "behind",
    "drop_old",
    "last_of",
    "refusal",
    "start",
]
