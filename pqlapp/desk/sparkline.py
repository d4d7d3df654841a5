"""Activity by day, or by minute, as a small picture, with the same said in words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

DAYS = 14
HEIGHT = 22
STEPS = {"days": 7.0, "minutes": 4.0}  # width of one, with the gap to the next
GAPS = {"days": 2.0, "minutes": 1.0}
STUB = 1.5  # height of a day without activity


@dataclass(frozen=True, slots=True)
class Bar:
    """One day or minute of the picture, as attributes of an SVG rectangle."""

    x: float
    y: float
    width: float
    height: float
    is_empty: bool


@dataclass(frozen=True)
class Sparkline:
    """Events a day, or a minute, the oldest first."""

    counts: Sequence[int]
    unit: str = "days"  # or "minutes"

    height = HEIGHT

    @property
    def width(self) -> int:
        """The picture's width in pixels."""
        return round(len(self.counts) * STEPS[self.unit])

    @cached_property
    def total(self) -> int:
        """All events of the days."""
        return sum(self.counts)

    @cached_property
    def bars(self) -> list[Bar]:
        """The days as bars, the busiest one as high as the picture."""
        most = max(self.counts, default=0)
        return [_bar(i, count, most, STEPS[self.unit], GAPS[self.unit]) for i, count in enumerate(self.counts)]

    @cached_property
    def rectangles(self) -> str:
        """The bars as an SVG's rectangles, of numbers alone. A template takes five times as long for a page of them."""
        last = len(self.bars) - 1
        return "".join(_rectangle(bar, is_last=i == last) for i, bar in enumerate(self.bars))

    @cached_property
    def trend(self) -> str:
        """How the newer half compares with the older: rising, falling, steady, new or quiet."""
        half = len(self.counts) // 2
        before, now = sum(self.counts[:half]), sum(self.counts[half:])
        if not self.total:
            return "quiet"
        if not before:
            return "new"
        return "rising" if now * 4 > before * 5 else "falling" if now * 5 < before * 4 else "steady"

    @cached_property
    def arrow(self) -> str:
        """The trend as one sign."""
        return {"rising": "↗", "new": "↗", "falling": "↘", "steady": "→", "quiet": "–"}[self.trend]

    @cached_property
    def words(self) -> str:
        """What the picture shows: "rising, 41 events in 14 days"."""
        if not self.total:
            return f"quiet, no events in {len(self.counts)} {self.unit}"
        events = "event" if self.total == 1 else "events"
        return f"{self.trend}, {self.total:,} {events} in {len(self.counts)} {self.unit}"


def _rectangle(bar: Bar, *, is_last: bool) -> str:
    kind = ' class="none"' if bar.is_empty else ' class="today"' if is_last else ""
    return f'<rect x="{bar.x}" y="{bar.y}" width="{bar.width}" height="{bar.height}"{kind}></rect>'


def _bar(i: int, count: int, most: int, step: float, gap: float) -> Bar:
    height = STUB if not count else max(3.0, round(count / most * HEIGHT, 1))
    return Bar(round(i * step, 1), round(HEIGHT - height, 1), round(step - gap, 1), height, not count)
