"""The cases of a rule document: "this history must be tier high on that day". They are no part of its meaning."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Protocol

from scoring.language.document import Level
from scoring.language.reading import Path

MOST_CASES = 100
MOST_DEEDS = 200  # of one case
MOST_TIMES = 1_000
MOST_DAYS_AGO = 3_650
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
NO_TIER = "none"
STATUSES = ("scored", "disqualified", "outside")
SOMEBODY = "somebody"  # who did it, where a deed does not say
DEEDS = ("event", "traits", "outcome")

Plain = dict[str, object]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that happened in the account's history: exactly one of event, traits and outcome is set."""

    on: date
    event: str = ""
    traits: Plain | None = None
    outcome: str = ""
    user: str = SOMEBODY  # of traits: whose they are, empty for the account's
    times: int = 1
    properties: Plain | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be said of the account; None: it does not matter. Points are hundredths."""

    tier: str | None = None  # empty: none
    status: str | None = None
    usage: int | None = None
    fit: int | None = None
    met: tuple[str, ...] = ()  # ids of rules
    not_met: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One account's history, and what must be said of it, or of one of its people, on a day (UTC)."""

    name: str
    on: date
    history: tuple[Deed, ...]
    expect: Expected
    line: int | None
    user: str = SOMEBODY  # of whom something must be said, where users are judged


class Reader(Protocol):
    """What of the strict reader of documents is needed here."""

    tier_names: set[str]
    level: Level

    def fault(self, path: Path, message: str) -> None: ...
    def line_of(self, path: Path) -> int | None: ...
    def mapping(
        self, value: object, path: Path, known: Collection[str] | None = None, needed: Iterable[str] = ()
    ) -> Plain | None: ...
    def items(self, value: object, path: Path, most: int) -> list[tuple[object, Path]]: ...
    def string(self, value: object, path: Path, most: int = 256) -> str | None: ...
    def whole(self, value: object, path: Path, least: int, most: int) -> int | None: ...
    def points(self, value: object, path: Path, least: Decimal = ...) -> int | None: ...
    def one_of(self, value: object, path: Path, what: str, known: Collection[str]) -> str | None: ...


def read_cases(reader: Reader, value: object, rules: Collection[str]) -> tuple[Case, ...]:
    """Return the cases at `cases`; what is wrong with them is noted with the reader. `rules` are the ids there are."""
    found = (_case(reader, item, path, rules) for item, path in reader.items(value, ("cases",), MOST_CASES))
    return tuple(case for case in found if case is not None)


def _case(reader: Reader, value: object, path: Path, rules: Collection[str]) -> Case | None:
    fields = reader.mapping(value, path, ("name", "on", "user", "history", "expect"), ("name", "on", "expect"))
    if fields is None:
        return None
    if "user" in fields and reader.level != "user":
        reader.fault((*path, "user"), "at `level: account` a case is about the account; leave it out")
    user = reader.string(fields.get("user", SOMEBODY), (*path, "user"))
    name = reader.string(fields["name"], (*path, "name"), 200)
    on = _day(reader, fields["on"], (*path, "on"))
    expect = _expected(reader, fields["expect"], (*path, "expect"), rules)
    history = fields.get("history", [])
    deeds = [] if history == [] else reader.items(history, (*path, "history"), MOST_DEEDS)
    read = [_deed(reader, item, at, on or LAST_DAY) for item, at in deeds]
    if name is None or on is None or expect is None or user is None:
        return None
    return Case(name, on, tuple(deed for deed in read if deed), expect, reader.line_of(path), user)


def _day(reader: Reader, value: object, path: Path) -> date | None:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        day = None
    if day is not None and FIRST_DAY <= day <= LAST_DAY:
        return day
    reader.fault(path, f"must be a day such as 2026-03-31, from {FIRST_DAY} to {LAST_DAY}")
    return None


def _deed(reader: Reader, value: object, path: Path, on: date) -> Deed | None:
    known = (*DEEDS, "days_ago", "user", "times", "properties")
    fields = reader.mapping(value, path, known)
    if fields is None:
        return None
    kinds = [kind for kind in DEEDS if kind in fields]
    if len(kinds) != 1:
        reader.fault(path, f"needs exactly one of: {', '.join(DEEDS)}")
        return None
    kind = kinds[0]
    with_user = {"event"} if reader.level == "account" else {"event", "traits"}
    for extra in ("user", "times", "properties"):
        if extra in fields and kind not in (with_user if extra == "user" else {"event"}):
            reader.fault((*path, extra), "belongs to an event")
    days = reader.whole(fields.get("days_ago", Decimal(0)), (*path, "days_ago"), 0, MOST_DAYS_AGO)
    times = reader.whole(fields.get("times", Decimal(1)), (*path, "times"), 1, MOST_TIMES)
    user = "" if kind == "traits" else SOMEBODY
    if "user" in fields:
        user = reader.string(fields["user"], (*path, "user")) or user
    told: object = fields[kind]
    text = reader.string(told, (*path, kind)) if kind != "traits" else ""
    traits = reader.mapping(told, (*path, kind)) if kind == "traits" else None
    properties = reader.mapping(fields.get("properties", {}), (*path, "properties"))
    if days is None or times is None or text is None or properties is None:
        return None
    if kind == "traits" and traits is None:
        return None
    return Deed(
        on=on - timedelta(days=days),
        event=text if kind == "event" else "",
        traits=None if traits is None else _as_json(traits),
        outcome=text if kind == "outcome" else "",
        user=user,
        times=times,
        properties=_as_json(properties),
    )


def _expected(reader: Reader, value: object, path: Path, rules: Collection[str]) -> Expected | None:
    fields = reader.mapping(value, path, ("tier", "status", "usage", "fit", "met", "not_met"))
    if fields is None:
        return None
    if not fields:
        reader.fault(path, "must expect something: tier, status, usage, fit, met or not_met")
    tier = status = None
    if "tier" in fields:
        tier = reader.one_of(fields["tier"], (*path, "tier"), "tier", {*reader.tier_names, NO_TIER})
    if "status" in fields:
        status = reader.one_of(fields["status"], (*path, "status"), "status", STATUSES)
    sides = {
        side: reader.points(fields[side], (*path, side), Decimal(0)) for side in ("usage", "fit") if side in fields
    }
    named = {key: _rules(reader, fields[key], (*path, key), rules) for key in ("met", "not_met") if key in fields}
    return Expected(
        tier="" if tier == NO_TIER else tier,
        status=status,
        usage=sides.get("usage"),
        fit=sides.get("fit"),
        met=named.get("met", ()),
        not_met=named.get("not_met", ()),
    )


def _rules(reader: Reader, value: object, path: Path, rules: Collection[str]) -> tuple[str, ...]:
    named = [reader.one_of(item, at, "rule", rules) for item, at in reader.items(value, path, 300)]
    return tuple(rule for rule in named if rule is not None)


def _as_json(plain: Plain) -> Plain:
    return {key: _json(value) for key, value in plain.items()}


def _json(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, dict):
        return _as_json(value)
    return [_json(item) for item in value] if isinstance(value, list) else value
