"""What a preview says, in words: beside each row, and beside the document. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from scoring import statistics
from scoring.models import Status
from scoring.previews import Met, Near, Preview

OTHERS = {Status.DISQUALIFIED: "disqualified", Status.OUTSIDE: "outside the population", Status.EXCLUDED: "excluded"}
Names = Mapping[tuple[int, int | None], str]  # of accounts, or of users in them
UNREAD = "not counted: its history is still to be read"


@dataclass(frozen=True, slots=True)
class Size:
    """A tier, with its accounts by the document and by the live version."""

    name: str
    rank: int  # from 1 for the best tier; 0: none
    now: str
    live: int | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An account beside the line."""

    near: Near
    name: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside the document."""

    preview: Preview
    sizes: Sequence[Size]
    below: Sequence[Neighbour]
    above: Sequence[Neighbour]


def beside(preview: Preview, *, tiers: Sequence[str], live: Mapping[str, int] | None, names: Names) -> Beside:
    """Return what is shown beside the document.

    `tiers`: the document's, best first; `live`: accounts by tier of the live version, "" for those of none;
    `names`: of the accounts beside the line.
    """
    sizes = [
        Size(tier, rank, _counted(preview, Status.SCORED, tier), None if live is None else live.get(tier, 0))
        for rank, tier in [*enumerate(tiers, 1), (0, "")]
    ]
    sizes += [Size(words, 0, _counted(preview, status, "")) for status, words in OTHERS.items()]
    return Beside(
        preview,
        sizes,
        [Neighbour(near, names[near.account, near.user]) for near in preview.below],
        [Neighbour(near, names[near.account, near.user]) for near in preview.above],
    )


def met_words(met: Met, preview: Preview) -> str:
    """Return how many accounts meet a row today, and how many would with the threshold one step up and down."""
    if met.reads_missing:
        return UNREAD
    now = f"{_about(met.now, preview)} {preview.level}{'' if preview.scaled(met.now) == 1 else 's'} today"
    steps = sorted(filter(None, (met.looser, met.stricter)))
    others = ", ".join(f"with {_number(threshold)}: {_about(count, preview)}" for threshold, count in steps)
    return f"{now}; {others}" if others else now


def _counted(preview: Preview, status: str, tier: str) -> str:
    found = sum(n for its_status, its_tier, n in preview.tiers if (its_status, its_tier) == (status, tier))
    return _with_interval(found, preview)


def _about(count: int, preview: Preview) -> str:
    return f"{'≈ ' if preview.is_sample and count else ''}{preview.scaled(count):,}"


def _with_interval(count: int, preview: Preview) -> str:
    """A count of all accounts; of a sample with its interval of 95 %."""
    if not preview.is_sample:
        return f"{count:,}"
    share = statistics.share(count, preview.judged)
    return f"≈ {preview.scaled(count):,} ({round(share.low * preview.of):,}–{round(share.high * preview.of):,})"


def _number(threshold: Decimal) -> str:
    return f"{threshold.normalize():,f}"
