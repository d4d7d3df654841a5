"""What a simulation found, in words, tables and pictures: the other roster beside today's. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pqlapp.desk.charts import TICKS, Chart, Plane, Series, Tick, above, plain
from routing.simulator import Scenario
from scoring import explain

Plain = Mapping[str, Any]
PEOPLE_TOLD = 8  # in sentences; the table has all
HOUR, DAY = 60, 1440  # minutes


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of both rosters."""

    name: str
    today: str
    other: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one AE gets in both rosters."""

    name: str
    today: Plain  # leads, weeks, median_minutes, breaches
    other: Plain

    @property
    def figures(self) -> list[Figure]:
        """What the table says of the AE."""
        return [
            Figure("leads", f"{self.today['leads']:,}", f"{self.other['leads']:,}"),
            Figure("leads a week", _a_week(self.today), _a_week(self.other)),
            Figure("half touched within", *(minutes(of["median_minutes"]) for of in (self.today, self.other))),
            Figure("touched too late", f"{self.today['breaches']:,}", f"{self.other['breaches']:,}"),
        ]


def asked(scenario: Scenario, *, names: Mapping[int, str]) -> list[str]:
    """Return in sentences which leads came, and what differs from today; `names` is by AE."""

    def named(ae: int) -> str:
        return names.get(ae, f"AE {ae}")

    return [
        _stream(scenario),
        *([f"Without {explain.listed([named(ae) for ae in scenario.without])}."] if scenario.without else []),
        *(f"{named(ae)} has a weight of {weight}." for ae, weight in scenario.weights.items()),
        *(f"{named(ae)} {_holds(most)}." for ae, most in scenario.capacities.items()),
        *(f"{named(ae)} works {hours}." for ae, hours in scenario.hours.items()),
        *(f"Leads of tier {tier} go to {pool}." for tier, pool in scenario.pools.items()),
        *(f"{pool} deals out {'other values' if values else 'leads'}." for pool, values in scenario.values.items()),
        f"A first touch takes {plain(scenario.touch_minutes)} min and is due in {plain(scenario.sla_hours)} working "
        f"hours; a lead is closed {plain(scenario.open_days)} days later.",
    ]


def _stream(scenario: Scenario) -> str:
    last = scenario.until - timedelta(days=1)
    days = f"{_day(scenario.since)} to {_day(last)}"
    if scenario.made_up is not None:
        return f"{scenario.made_up:,} made-up leads from {days} (UTC)."
    if scenario.backtest is not None:
        return f"The PQLs of backtest {scenario.backtest} from {days} (UTC)."
    return f"The leads that came from {days} (UTC)."


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _holds(most: int | None) -> str:
    return "holds any number of open leads" if most is None else f"holds at most {most} open"


# ---- what differs


def differences(result: Plain) -> list[str]:
    """Return in sentences what the other roster does otherwise; one that says so if nothing."""
    said = [*_of_all(result["today"], result["other"]), *_of_people(result)]
    return said or ["Nothing differs: the other roster does with these leads what today's does."]


def _of_all(today: Plain, other: Plain) -> Iterator[str]:
    yield from _counted(today["assigned"], other["assigned"], "finds an AE", "find an AE")
    yield from _counted(_left(today), _left(other), "is left without an AE", "are left without an AE")
    yield from _counted(today["waited"], other["waited"], "has to wait for an AE", "have to wait for an AE")
    for name, who in (("median_minutes", "Half of the leads"), ("slowest_tenth_minutes", "Nine in ten")):
        if today[name] != other[name]:
            yield f"{who} are touched within {minutes(other[name])} instead of {minutes(today[name])}."
    yield from _counted(today["breaches"], other["breaches"], "is touched too late", "are touched too late")


def _counted(today: int, other: int, one: str, more: str) -> Iterator[str]:
    if today != other:
        leads = f"1 lead {one}" if other == 1 else f"{f'{other:,}' if other else 'No'} leads {more}"
        yield f"{leads} instead of {f'{today:,}' if today else 'none'}."


def _of_people(result: Plain) -> Iterator[str]:
    changed = [share for share in shares(result) if share.today["leads"] != share.other["leads"]]
    changed.sort(key=lambda share: (-abs(share.other["leads"] - share.today["leads"]), share.name))
    for share in changed[:PEOPLE_TOLD]:
        yield f"{share.name} gets {share.other['leads'] or 'none'} instead of {share.today['leads'] or 'none'}."
    if len(changed) > PEOPLE_TOLD:
        yield f"{len(changed) - PEOPLE_TOLD} more get another number: see the table."


def _left(side: Plain) -> int:
    return sum(side["unassigned"].values())


def minutes(length: float | None) -> str:
    """Write a number of minutes in its telling unit: "20 min", "3.5 h", "4 d"; "–" if there is none."""
    if length is None:
        return "–"
    if length < 2 * HOUR:
        return f"{length:.0f} min"
    return f"{plain(round(length / HOUR, 1))} h" if length < 2 * DAY else f"{plain(round(length / DAY, 1))} d"


# ---- tables and pictures


def figures(result: Plain) -> list[Figure]:
    """Return the numbers of all leads."""
    both = (result["today"], result["other"])
    return [
        Figure("Leads", *(f"{side['leads']:,}" for side in both)),
        Figure("With an AE", *(f"{side['assigned']:,}" for side in both)),
        Figure("Without an AE at the end", *(f"{_left(side):,}" for side in both)),
        Figure("Had to wait for an AE", *(f"{side['waited']:,}" for side in both)),
        Figure("Half touched within", *(minutes(side["median_minutes"]) for side in both)),
        Figure("Nine in ten touched within", *(minutes(side["slowest_tenth_minutes"]) for side in both)),
        Figure("Touched too late", *(f"{side['breaches']:,}" for side in both)),
    ]


def left_over(result: Plain) -> list[tuple[str, int, int]]:
    """Return each reason why leads have no AE at the end, with how many today and in the other roster."""
    today, other = result["today"]["unassigned"], result["other"]["unassigned"]
    reasons = sorted({*today, *other}, key=lambda reason: (-other.get(reason, 0), -today.get(reason, 0), reason))
    return [(reason, today.get(reason, 0), other.get(reason, 0)) for reason in reasons]


def shares(result: Plain) -> list[Share]:
    """Return what each AE gets, by name."""
    today, other = ({load["ae"]: load for load in result[side]["loads"]} for side in ("today", "other"))
    some: Plain = next(iter([*today.values(), *other.values()]), {"weeks": []})
    nothing = {"leads": 0, "weeks": [0] * len(some["weeks"]), "median_minutes": None, "breaches": 0}
    found = [
        Share((today.get(ae) or other[ae])["name"], today.get(ae, nothing), other.get(ae, nothing))
        for ae in {**today, **other}
    ]
    return sorted(found, key=lambda share: share.name)


def charts(result: Plain) -> list[Chart]:
    """Return for each AE the leads by week in both rosters, all on one scale."""
    everybody = shares(result)
    most = max((number for one in everybody for side in (one.today, one.other) for number in side["weeks"]), default=0)
    first = date.fromisoformat(result["weeks_from"])
    return [_chart(one, most, first) for one in everybody]


def _chart(one: Share, most: int, first: date) -> Chart:
    weeks = len(one.today["weeks"])
    plane = Plane(x=(0, weeks), y_most=above(most))

    def line(name: str, kind: str, numbers: list[int]) -> Series:
        points = [*enumerate(numbers), (weeks, numbers[-1])]
        return Series(name, kind, plane.path(points, steps=True), "")

    told = [
        f"{name} " + ", ".join(map(str, side["weeks"])) for name, side in (("today", one.today), ("other", one.other))
    ]
    shown = range(0, weeks, -(-weeks // TICKS))
    days = [first + timedelta(weeks=week) for week in range(weeks)]
    return Chart(
        title=one.name,
        words=f"Leads of {one.name} by week from {_day(first)}: {'; '.join(told)}",
        x_name="leads by week",
        ticks_x=[Tick(plane.x(n + 0.5), f"{days[n].day} {days[n]:%b}") for n in shown],
        ticks_y=plane.ticks_y(plain),
        series=[line("today", "one", one.today["weeks"]), line("other", "other", one.other["weeks"])],
    )


def _a_week(load: Plain) -> str:
    return plain(round(load["leads"] / max(1, len(load["weeks"])), 1))
