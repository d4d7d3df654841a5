"""Pictures, those of a backtest above all, as attributes of SVG elements, each with the same said in words. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import ceil, floor, log10
from typing import Any

WIDTH, HEIGHT = 400, 210
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 10, 26  # room for the words around the plot
TICKS = 5
Plain = Mapping[str, Any]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tick:
    """A number beside an axis, and where."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Series:
    """A line with the band of its intervals, as paths."""

    name: str
    kind: str  # one, other
    line: str
    band: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, as attributes of a rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A straight line across the plot, with what it stands for."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A picture with its axes."""

    title: str
    words: str  # for whoever does not see it
    x_name: str
    ticks_x: list[Tick]
    ticks_y: list[Tick]
    series: list[Series] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM


class Plane:
    """Turns numbers into places in the picture."""

    def __init__(self, *, x: tuple[float, float], y_most: float) -> None:
        self.x_low, self.x_high = x
        self.y_most = y_most or 1.0

    def x(self, value: float) -> float:
        """Return how far from the left."""
        wide = (self.x_high - self.x_low) or 1
        return round(LEFT + (value - self.x_low) / wide * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return how far from the top; what is too large stays at the edge."""
        return round(HEIGHT - BOTTOM - min(value / self.y_most, 1) * (HEIGHT - TOP - BOTTOM), 1)

    def path(self, points: Iterable[Point], *, steps: bool = False) -> str:
        """Return a line through the points; with steps, level until the next one."""
        said: list[str] = []
        for x, y in points:
            at = f"{self.x(x)} {self.y(y)}"
            said.append(f"M{at}" if not said else f"H{self.x(x)}V{self.y(y)}" if steps else f"L{at}")
        return "".join(said)

    def band(self, lows: Sequence[Point], highs: Sequence[Point], *, steps: bool = False) -> str:
        """Return the area between two lines."""
        if not lows:
            return ""
        there = self.path(lows, steps=steps)
        back = list(reversed(highs))
        if steps:
            corners = [back[0]]
            for (x, y), (later, _) in zip(back[1:], back, strict=False):
                corners += [(later, y), (x, y)]
            back = corners
        return there + "".join(f"L{self.x(x)} {self.y(y)}" for x, y in back) + "Z"

    def ticks_y(self, say: Callable[[float], str]) -> list[Tick]:
        """Return round numbers beside the left edge."""
        return [Tick(self.y(value), say(value)) for value in _round(0, self.y_most)]

    def ticks_x(self, say: Callable[[float], str]) -> list[Tick]:
        """Return round numbers below."""
        return [Tick(self.x(value), say(value)) for value in _round(self.x_low, self.x_high)]


def charts(result: Plain, *, horizon: int) -> list[Chart]:
    """Return all pictures of a backtest's result."""
    return [_weeks(result), *_curve(result), _waiting(result, horizon)]


def _weeks(result: Plain) -> Chart:
    weeks, capacity = result["volume"]["weeks"], result["capacity"]
    most = max([week["pqls"] for week in weeks] + [capacity or 0, 1])
    plane = Plane(x=(0, len(weeks)), y_most=above(most))
    bars = []
    for number, week in enumerate(weeks):
        x, top = plane.x(number), plane.y(week["pqls"])
        bars.append(Bar(x + 0.5, top, round(plane.x(number + 1) - x - 1, 1), round(Chart.bottom - top, 1)))
    days = [date.fromisoformat(week["monday"]) for week in weeks]
    shown = range(0, len(days), max(1, ceil(len(days) / TICKS)))
    return Chart(
        title="New PQLs by week",
        words="New PQLs by week: " + ", ".join(f"{week['monday']} {week['pqls']}" for week in weeks),
        x_name="week, from Monday (UTC)",
        ticks_x=[Tick(plane.x(n + 0.5), f"{days[n].day} {days[n]:%b}") for n in shown],
        ticks_y=plane.ticks_y(plain),
        bars=bars,
        marks=_capacity(plane, capacity),
    )


def _curve(result: Plain) -> list[Chart]:
    curve = result["curve"]
    if len(curve) < 2:
        return []
    xs = [point["threshold"] / 100 for point in curve]
    present = next(point["threshold"] / 100 for point in curve if point["shift"] == 0)
    x_name = f"line of {result['line']['tier']}, points of {result['line']['side']}"
    return [
        _shares(curve, xs, present, x_name),
        _paces(curve, xs, present, x_name, result["capacity"]),
        _lifts(curve, xs, present, x_name),
    ]


def _shares(curve: Sequence[Plain], xs: Sequence[float], present: float, x_name: str) -> Chart:
    plane = Plane(x=(xs[0], xs[-1]), y_most=1)
    series = [
        _line(plane, "precision", "one", xs, [point["precision"] for point in curve]),
        _line(plane, "recall", "other", xs, [point["recall"] for point in curve]),
    ]
    told = (f"at {x:g}: {_share(p['precision'])}, {_share(p['recall'])}" for x, p in zip(xs, curve, strict=True))
    return Chart(
        title="Precision and recall by threshold",
        words="Precision and recall by threshold: " + "; ".join(told),
        x_name=x_name,
        ticks_x=plane.ticks_x(plain),
        ticks_y=plane.ticks_y(lambda value: f"{value:.0%}"),
        series=series,
        marks=[_now(plane, present)],
    )


def _paces(curve: Sequence[Plain], xs: Sequence[float], present: float, x_name: str, capacity: int | None) -> Chart:
    most = max([point["volume"]["high"] or 0 for point in curve] + [capacity or 0])
    plane = Plane(x=(xs[0], xs[-1]), y_most=above(most))
    told = (f"at {x:g}: {plain(p['volume']['value'] or 0)}" for x, p in zip(xs, curve, strict=True))
    return Chart(
        title="New PQLs a week by threshold",
        words="New PQLs a week by threshold: " + "; ".join(told),
        x_name=x_name,
        ticks_x=plane.ticks_x(plain),
        ticks_y=plane.ticks_y(plain),
        series=[_line(plane, "a week", "one", xs, [point["volume"] for point in curve])],
        marks=[_now(plane, present), *_capacity(plane, capacity)],
    )


def _lifts(curve: Sequence[Plain], xs: Sequence[float], present: float, x_name: str) -> Chart:
    known = [point["lift"] for point in curve if point["lift"]["value"] is not None]
    most = max([2.0] + [min(lift["high"] or lift["value"], lift["value"] * 3) for lift in known])
    plane = Plane(x=(xs[0], xs[-1]), y_most=above(most))
    told = (f"at {x:g}: {_times(p['lift'])}" for x, p in zip(xs, curve, strict=True))
    edge = plane.y(1)
    return Chart(
        title="Lift by threshold",
        words="Lift over others of the same age by threshold: " + "; ".join(told),
        x_name=x_name,
        ticks_x=plane.ticks_x(plain),
        ticks_y=plane.ticks_y(lambda value: f"{value:g}×"),
        series=[_line(plane, "lift", "one", xs, [point["lift"] for point in curve])],
        marks=[_now(plane, present), Mark(Chart.left, edge, Chart.right, edge, "no lift")],
    )


def _waiting(result: Plain, horizon: int) -> Chart:
    waits = result["waiting"]
    last = max([step[0] for wait in waits.values() for step in wait["steps"]] + [horizon])
    most = max([step[1] for wait in waits.values() for step in wait["steps"]] + [0.1])
    plane = Plane(x=(0, last), y_most=min(1.0, above(most)))
    series, told = [], []
    for name, kind in (("pqls", "one"), ("others", "other")):
        label = {"pqls": "PQLs", "others": "others of the same age"}[name]
        steps = [[0, 0.0, 0.0, 0.0], *waits[name]["steps"]]
        steps.append([last, *steps[-1][1:]])
        line = plane.path([(day, share) for day, share, _, _ in steps], steps=True)
        low, high = [(s[0], s[2]) for s in steps], [(s[0], s[3]) for s in steps]
        series.append(Series(label, kind, line, plane.band(low, high, steps=True)))
        told.append(f"{label}: {waits[name]['happened']} of {waits[name]['cases']}")
    edge = plane.x(horizon)
    return Chart(
        title="Converted, by days since (Kaplan–Meier)",
        words="Share converted by days since becoming a PQL, or since the same age: " + "; ".join(told),
        x_name="days",
        ticks_x=plane.ticks_x(plain),
        ticks_y=plane.ticks_y(lambda value: f"{value:.0%}"),
        series=series,
        marks=[Mark(edge, Chart.top, edge, Chart.bottom, f"{horizon} days")],
    )


def _line(plane: Plane, name: str, kind: str, xs: Sequence[float], figures: Sequence[Plain]) -> Series:
    """A figure by threshold, where it is known."""
    known = [(x, figure) for x, figure in zip(xs, figures, strict=True) if figure["value"] is not None]
    top = plane.y_most
    return Series(
        name,
        kind,
        plane.path([(x, figure["value"]) for x, figure in known]),
        plane.band(
            [(x, figure["low"]) for x, figure in known],
            [(x, top if figure["high"] is None else figure["high"]) for x, figure in known],
        ),
    )


def _now(plane: Plane, present: float) -> Mark:
    return Mark(plane.x(present), Chart.top, plane.x(present), Chart.bottom, "now")


def _capacity(plane: Plane, capacity: int | None) -> list[Mark]:
    if not capacity:
        return []
    edge = plane.y(capacity)
    return [Mark(Chart.left, edge, Chart.right, edge, f"the AEs can take {capacity}")]


def _round(low: float, high: float) -> list[float]:
    """A few round numbers from low to high."""
    step = _step((high - low) / TICKS)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(n * step, 6) for n in range(first, last + 1)]


def _step(wanted: float) -> float:
    if wanted <= 0:
        return 1.0
    size = 10.0 ** floor(log10(wanted))
    return next(step * size for step in (1, 2, 5, 10) if step * size >= wanted * 0.999)


def above(most: float) -> float:
    """Return the round number at or above."""
    step = _step((most or 1) / TICKS)
    return float(ceil(most / step) * step) or 1.0


def plain(value: float) -> str:
    """Return a number as people write it, with two decimals at most."""
    return f"{round(value, 2):g}"


def _share(share: Plain) -> str:
    return "unknown" if share["value"] is None else f"{share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})"


def _times(lift: Plain) -> str:
    if lift["value"] is None:
        return "unknown"
    return (
        f"{lift['value']:.1f} ({lift['low']:.1f} to {'any' if lift['high'] is None else format(lift['high'], '.1f')})"
    )
