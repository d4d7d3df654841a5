"""The strict reader of rule documents: every fault is listed with its path and line, nothing is guessed."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Literal, TypeVar, cast

from scoring.language.cases import Case, read_cases
from scoring.language.document import (
    ANY_EVENT,
    ANY_SIGNAL,
    ANYTHING,
    COMPARATORS,
    LEVELS,
    LONGEST_STREAK,
    MEASURES,
    QUOTIENTS,
    TESTS,
    Age,
    All,
    Any,
    Breadth,
    Comparator,
    Condition,
    Converted,
    Decay,
    Disqualify,
    Document,
    Ever,
    Filter,
    FirstWithin,
    Goal,
    Group,
    Level,
    Limit,
    Line,
    Measure,
    Measured,
    Not,
    PerUnit,
    Points,
    Qualify,
    Rule,
    Scalar,
    Signal,
    SignUp,
    SinceLast,
    Steps,
    Test,
    Tier,
    Trait,
    lapses,
    leaves,
    signals_read,
)
from scoring.language.reading import Fault, Invalid, Path, Text, dotted, near, read, shown, unknown

MOST_DAYS = 3650
MOST_RULES = 300
MOST_SIGNALS = 200
MOST_NESTING = 8
MOST_LISTED = 50  # signals in one condition
MOST_POINTS = Decimal(1_000_000)
NUMBER_TESTS = {"at_least", "at_most", "more_than", "less_than"}
FADE = ("count", "sum")
NEED_A_VALUE = {"sum", "max", "last", "ratio"}
LEAVES = (*MEASURES, "ever", "first_within", "since_last", "breadth", "path", "age", "trait", "outcome")
SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
DAYS = re.compile(r"(\d+) ?(?:d|days?)")

T = TypeVar("T")
Mapping = dict[str, object]


def parse(text: str) -> Document:
    """Return the document that the YAML text describes. Raises Invalid with every fault, path and line."""
    return _parse(read(text))


def parse_cases(text: str) -> tuple[Document, tuple[Case, ...]]:
    """Return the document that the YAML text describes, and its cases. Raises Invalid with every fault."""
    parser = _Parser(read(text))
    return parser.result(parser.document(parser.text.data)), parser.cases


def load(data: object) -> Document:
    """Return the document of plain data, as `dump` made it. Raises Invalid with every fault and path."""
    return _parse(Text(_exact(data)))


def load_signal(data: object) -> Signal:
    """Return the signal of plain data, as `dump_signal` made it. Raises Invalid."""
    parser = _Parser(Text(_exact(data)))
    signal = parser.signal(parser.text.data, ())
    return parser.result(signal)


def _parse(text: Text) -> Document:
    parser = _Parser(text)
    return parser.result(parser.document(text.data))


def _exact(data: object) -> object:
    """Plain JSON data with its numbers as Decimals."""
    if isinstance(data, dict):
        return {str(key): _exact(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_exact(value) for value in data]
    if isinstance(data, int | float) and not isinstance(data, bool):
        return Decimal(repr(data))
    return data


def _hundredths(points: Decimal) -> int:
    return int(points * 100)


class _Parser:
    """Reads one document. Each method reads one kind of thing at a path, and notes what is wrong there.

    A method that finds a fault returns None (or leaves the thing out): `result` then raises.
    """

    def __init__(self, text: Text) -> None:
        self.text = text
        self.faults = list(text.faults)
        self.unread = {fault.path for fault in text.faults}  # nothing more is said of them: there is no value
        # What the document names, also where its definition is at fault: one mistake is told once.
        self.signals: dict[str, Signal | None] = {}
        self.groups: dict[str, Group | None] = {}
        self.tier_names: set[str] = set()
        self.rule_ids: set[str] = set()
        self.level: Level = "account"
        self.cases: tuple[Case, ...] = ()

    def result(self, found: T | None) -> T:
        """Return what was found. Raises Invalid if anything was wrong on the way."""
        if self.faults or found is None:
            raise Invalid(sorted(self.faults, key=lambda fault: fault.line or 0))
        return found

    def fault(self, path: Path, message: str) -> None:
        if dotted(path) not in self.unread:
            self.faults.append(Fault(dotted(path), message, self.text.line(path)))

    def line_of(self, path: Path) -> int | None:
        """The line of a path, from 1."""
        return self.text.line(path)

    # -- shapes ---------------------------------------------------------------------------------------

    def mapping(
        self, value: object, path: Path, known: Collection[str] | None = None, needed: Iterable[str] = ()
    ) -> Mapping | None:
        """A mapping whose fields are all known and which has the needed ones."""
        if not isinstance(value, dict):
            self.fault(path, f"must be a mapping of fields, not {shown(value)}")
            return None
        for key in value:
            if known is not None and key not in known:
                self.fault((*path, key), unknown("field", key, known))
        missing = [key for key in needed if key not in value]
        for key in missing:
            self.fault((*path, key), "is missing")
        return None if missing else value

    def items(self, value: object, path: Path, most: int) -> list[tuple[object, Path]]:
        """The items of a list that is not empty, each with its path."""
        if not isinstance(value, list) or not value:
            self.fault(path, f"must be a list with at least one item, not {shown(value)}")
            return []
        if len(value) > most:
            self.fault(path, f"has {len(value)} items; at most {most} are allowed")
        return [(item, (*path, i)) for i, item in enumerate(value[:most])]

    def string(self, value: object, path: Path, most: int = 256) -> str | None:
        if isinstance(value, str) and 0 < len(value) <= most and "\0" not in value:
            return value
        self.fault(path, f"must be text of 1 to {most} characters, not {shown(value)}")
        return None

    def slug(self, value: object, path: Path) -> str | None:
        if isinstance(value, str) and SLUG.fullmatch(value):
            return value
        self.fault(path, f"must be lower-case letters, digits, - and _ (at most 64), not {shown(value)}")
        return None

    def number(self, value: object, path: Path) -> Decimal | None:
        """A number that a float carries without loss, so that documents survive JSON."""
        if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?%", value):
            value = Decimal(value[:-1]) / 100
        if not isinstance(value, Decimal):
            self.fault(path, f"must be a number, not {shown(value)}")
        elif abs(value) > 2**53 or Decimal(repr(float(value))) != value:
            self.fault(path, "has too many digits; at most 15 are exact")
        else:
            return value.normalize() if value else Decimal(0)
        return None

    def whole(self, value: object, path: Path, least: int, most: int) -> int | None:
        if isinstance(value, Decimal) and value == int(value) and least <= value <= most:
            return int(value)
        self.fault(path, f"must be a whole number from {least} to {most}, not {shown(value)}")
        return None

    def points(self, value: object, path: Path, least: Decimal = -MOST_POINTS) -> int | None:
        """Points with at most two decimals, as hundredths."""
        if isinstance(value, Decimal) and least <= value <= MOST_POINTS and value * 100 == int(value * 100):
            return _hundredths(value)
        self.fault(path, f"must be points with at most two decimals from {least} to {MOST_POINTS}")
        return None

    def truth(self, value: object, path: Path) -> bool:
        if not isinstance(value, bool):
            self.fault(path, f"must be true or false, not {shown(value)}")
        return value is True

    def one_of(self, value: object, path: Path, what: str, known: Collection[str]) -> str | None:
        if isinstance(value, str) and value in known:
            return value
        self.fault(path, unknown(what, value, known))
        return None

    def strings(self, value: object, path: Path) -> tuple[str, ...] | None:
        """One text or a list of them, sorted, each once."""
        if isinstance(value, str):
            value = [value]
        found = [self.string(item, at) for item, at in self.items(value, path, 200)]
        return tuple(sorted({s for s in found if s})) if all(found) and found else None

    # -- the document ---------------------------------------------------------------------------------

    def document(self, value: object) -> Document | None:
        needed = ("slug", "name", "motion", "groups", "rules", "tiers")
        known = (*needed, "level", "goal", "sign_up", "signals", "population", "cases")
        fields = self.mapping(value, (), known)
        if fields is None:
            return None
        for key in needed:
            if key not in fields:
                self.fault((key,), "is missing")
        self.level = self.read_level(fields.get("level", "account"))
        self.signals = self.read_signals(fields.get("signals", {}))
        self.groups = self.read_groups(fields["groups"]) if "groups" in fields else {}
        tiers = self.tiers(fields["tiers"]) if "tiers" in fields else []
        rules = self.rules(fields["rules"]) if "rules" in fields else []
        self.cases = read_cases(self, fields["cases"], self.rule_ids) if "cases" in fields else ()
        slug = self.slug(fields["slug"], ("slug",)) if "slug" in fields else None
        name = self.string(fields["name"], ("name",), 200) if "name" in fields else None
        motion = self.slug(fields["motion"], ("motion",)) if "motion" in fields else None
        goal = self.goal(fields.get("goal", {}))
        sign_up = self.sign_up(fields.get("sign_up", {}))
        population = fields.get("population")
        if slug is None or name is None or motion is None:
            return None
        return Document(
            slug=slug,
            name=name,
            motion=motion,
            signals=tuple((name, signal) for name, signal in sorted(self.signals.items()) if signal),
            groups=tuple(group for _, group in sorted(self.groups.items()) if group),
            rules=tuple(rules),
            tiers=tuple(tiers),
            goal=goal,
            sign_up=sign_up,
            population=None if population is None else self.condition(population, ("population",)),
            level=self.level,
        )

    def read_level(self, value: object) -> Level:
        return cast(Level, self.one_of(value, ("level",), "level", LEVELS) or "account")

    def goal(self, value: object) -> Goal:
        fields = self.mapping(value, ("goal",), ("outcome", "signal")) or {}
        kinds = self.strings(fields["outcome"], ("goal", "outcome")) if "outcome" in fields else ()
        signal = self.signal_name(fields["signal"], ("goal", "signal")) if "signal" in fields else None
        return Goal(kinds or (), signal)

    def sign_up(self, value: object) -> SignUp:
        fields = self.mapping(value, ("sign_up",), ("trait", "signal")) or {}
        trait = self.string(fields.get("trait", "created_at"), ("sign_up", "trait"))
        signal = self.signal_name(fields["signal"], ("sign_up", "signal")) if "signal" in fields else None
        return SignUp(trait or "created_at", signal)

    # -- signals --------------------------------------------------------------------------------------

    def read_signals(self, value: object) -> dict[str, Signal | None]:
        fields = self.mapping(value, ("signals",)) or {}
        if len(fields) > MOST_SIGNALS:
            self.fault(("signals",), f"has {len(fields)} signals; at most {MOST_SIGNALS} are allowed")
        found: dict[str, Signal | None] = {}
        for name, plain in fields.items():
            path: Path = ("signals", name)
            if name == ANY_SIGNAL:
                self.fault(path, "`any` is built in (every event of use); give yours another name")
            else:
                self.slug(name, path)
                found[name] = self.signal(plain, path)
        return found

    def signal(self, value: object, path: Path) -> Signal | None:
        fields = self.mapping(value, path, ("event", "where", "value", "limit"), ("event",))
        if fields is None:
            return None
        events = self.strings(fields["event"], (*path, "event"))
        if events and ANY_EVENT in events and len(events) > 1:
            self.fault((*path, "event"), f"{ANY_EVENT!r} means every event; it stands alone")
        where = fields.get("where", [])
        tests = [self.property_test(v, p) for v, p in ([] if where == [] else self.items(where, (*path, "where"), 20))]
        number = self.string(fields["value"], (*path, "value")) if "value" in fields else None
        limit = self.limit(fields["limit"], (*path, "limit")) if "limit" in fields else None
        if limit and "value" not in fields:
            self.fault((*path, "limit"), "needs a `value` to be measured against it")
        if events is None:
            return None
        unique = {repr(test): test for test in tests if test}
        return Signal(events, tuple(unique[key] for key in sorted(unique)), number, limit)

    def property_test(self, value: object, path: Path) -> Filter | None:
        fields = self.mapping(value, path, ("property", *TESTS), ("property",))
        return self.test(fields, "property", path) if fields else None

    def limit(self, value: object, path: Path) -> Limit | None:
        fields = self.mapping(value, path, ("property", "trait", "table"))
        if fields is None:
            return None
        if ("property" in fields) == ("trait" in fields) or ("property" in fields and "table" in fields):
            self.fault(path, "must be {property: …}, {trait: …} or {trait: …, table: {…}}")
            return None
        if "property" in fields:
            return Limit(property=self.string(fields["property"], (*path, "property")))
        trait = self.string(fields["trait"], (*path, "trait"))
        if "table" not in fields:
            return Limit(trait=trait)
        table = self.mapping(fields["table"], (*path, "table")) or {}
        limits = {name: self.number(n, (*path, "table", name)) for name, n in table.items()}
        return Limit(by_trait=trait, table=tuple(sorted((k, n) for k, n in limits.items() if n is not None)))

    def signal_name(self, value: object, path: Path) -> str | None:
        return self.one_of(value, path, "signal", {ANY_SIGNAL, *self.signals})

    # -- tests and conditions -------------------------------------------------------------------------

    def test(self, fields: Mapping, subject: str, path: Path) -> Filter | None:
        """The test of a property or trait: its name under `subject`, and exactly one test beside it."""
        key = self.string(fields[subject], (*path, subject))
        tests = [name for name in TESTS if name in fields]
        if len(tests) != 1:
            self.fault(path, f"needs exactly one test, one of: {', '.join(TESTS)}")
            return None
        test = cast(Test, tests[0])
        operand = self.operand(test, fields[test], (*path, test))
        return None if key is None or operand is None else Filter(key, test, operand)

    def operand(self, test: Test, value: object, path: Path) -> Scalar | tuple[Scalar, ...] | None:
        if test in NUMBER_TESTS:
            return self.number(value, path)
        if test == "exists":
            if not isinstance(value, bool):
                self.fault(path, f"must be true or false, not {shown(value)}")
                return None
            return value
        if test == "starts_with":
            return self.string(value, path, 1000)
        if test == "between":
            return self.between(value, path)
        if test == "in":
            found = [self.scalar(item, at) for item, at in self.items(value, path, 1000)]
            return tuple(s for s in found if s is not None) or None
        return self.scalar(value, path)

    def between(self, value: object, path: Path) -> tuple[Decimal, Decimal] | None:
        items = self.items(value, path, 2)
        numbers = [self.number(item, at) for item, at in items]
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None or numbers[0] > numbers[1]:
            self.fault(path, "must be two numbers, the lower one first; both belong to the range")
            return None
        return numbers[0], numbers[1]

    def scalar(self, value: object, path: Path) -> Scalar | None:
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.string(value, path, 1000)
        return self.number(value, path)

    def condition(self, value: object, path: Path, depth: int = 0) -> Condition | None:
        fields = self.mapping(value, path)
        if fields is None:
            return None
        if depth > MOST_NESTING:
            self.fault(path, f"is nested deeper than {MOST_NESTING} levels")
            return None
        if len(fields) == 1 and next(iter(fields)) in ("all", "any", "not"):
            return self.nested(fields, path, depth)
        return self.leaf(fields, path)

    def nested(self, fields: Mapping, path: Path, depth: int) -> Condition | None:
        word, value = next(iter(fields.items()))
        path = (*path, word)
        if word == "not":
            inner = self.condition(value, path, depth + 1)
            return None if inner is None else Not(inner)
        parts = [self.condition(item, at, depth + 1) for item, at in self.items(value, path, 50)]
        whole = tuple(part for part in parts if part is not None)
        return All(whole) if word == "all" else Any(whole)

    def leaf(self, fields: Mapping, path: Path) -> Condition | None:
        kinds = [kind for kind in LEAVES if kind in fields]
        if len(kinds) != 1:
            words = ", ".join((*LEAVES, "all", "any", "not"))
            meant = next((near(key, LEAVES) for key in fields if near(key, LEAVES)), "")
            self.fault(path, f"must be a condition with exactly one of: {words}{meant}")
            return None
        kind = kinds[0]
        readers: dict[str, Callable[[Mapping, Path], Condition | None]] = {
            "ever": self.ever,
            "first_within": self.first_within,
            "since_last": self.since_last,
            "breadth": self.breadth,
            "path": self.path,
            "age": self.age,
            "trait": self.trait,
            "outcome": self.converted,
        }
        return readers[kind](fields, path) if kind in readers else self.measured(fields, path, cast(Measure, kind))

    def compared(self, fields: Mapping, path: Path) -> tuple[Comparator, Decimal] | None:
        """The one comparator of a leaf, with its threshold."""
        found = [name for name in COMPARATORS if name in fields]
        if len(found) != 1:
            self.fault(path, f"needs exactly one comparison, one of: {', '.join(COMPARATORS)}")
            return None
        threshold = self.number(fields[found[0]], (*path, found[0]))
        return None if threshold is None else (cast(Comparator, found[0]), threshold)

    def compared_days(self, fields: Mapping, path: Path) -> tuple[Comparator, int] | None:
        compared = self.compared(fields, path)
        if compared is None:
            return None
        days = self.whole(compared[1], (*path, compared[0]), 0, MOST_DAYS)
        return None if days is None else (compared[0], days)

    def within(self, fields: Mapping, path: Path, measure: str = "") -> int | None:
        """The window of a measure; that of a streak ends somewhere, said or not."""
        longest = LONGEST_STREAK if measure == "streak" else MOST_DAYS
        value = fields.get("within")
        if value is None:
            return LONGEST_STREAK if measure == "streak" else None
        return self.number_of_days(value, (*path, "within"), longest)

    def number_of_days(self, value: object, path: Path, most: int = MOST_DAYS) -> int | None:
        if isinstance(value, str) and (days := DAYS.fullmatch(value)):
            value = Decimal(days[1])
        return self.whole(value, path, 1, most)

    def measured(self, fields: Mapping, path: Path, measure: Measure) -> Condition | None:
        self.mapping(fields, path, (measure, "within", *COMPARATORS))
        signal = self.measurable(measure, fields[measure], (*path, measure))
        within = self.within(fields, path, measure)
        if measure == "trend" and fields.get("within") is None:
            self.fault(path, "`trend` needs a window (`within`): it is held against the one before")
        compared = self.compared(fields, path)
        return None if signal is None or compared is None else Measured(measure, signal, within, *compared)

    def measurable(self, measure: Measure, value: object, path: Path) -> str | None:
        """The name of a signal that has what the measure needs."""
        if measure == "users" and self.level == "user":
            self.fault(path, "at `level: user` one person is judged, so there is no number of users; count or days?")
        name = self.signal_name(value, path)
        signal = self.signals.get(name or "", ANYTHING)
        if name and measure in NEED_A_VALUE and signal and signal.value is None:
            self.fault(path, f"`{measure}` needs a signal with a `value`; {name!r} has none")
        if signal and measure == "ratio" and signal.value and signal.limit is None:
            self.fault(path, f"`ratio` needs a signal with a `limit`; {name!r} has none")
        return name

    def ever(self, fields: Mapping, path: Path) -> Condition | None:
        self.mapping(fields, path, ("ever",))
        signal = self.signal_name(fields["ever"], (*path, "ever"))
        return None if signal is None else Ever(signal)

    def first_within(self, fields: Mapping, path: Path) -> Condition | None:
        self.mapping(fields, path, ("first_within", "after_sign_up"), ("after_sign_up",))
        signal = self.signal_name(fields["first_within"], (*path, "first_within"))
        if "after_sign_up" not in fields:
            return None
        days = self.number_of_days(fields["after_sign_up"], (*path, "after_sign_up"))
        return None if signal is None or days is None else FirstWithin(signal, days)

    def since_last(self, fields: Mapping, path: Path) -> Condition | None:
        self.mapping(fields, path, ("since_last", *COMPARATORS))
        signal = self.signal_name(fields["since_last"], (*path, "since_last"))
        compared = self.compared_days(fields, path)
        return None if signal is None or compared is None else SinceLast(signal, *compared)

    def breadth(self, fields: Mapping, path: Path) -> Condition | None:
        self.mapping(fields, path, ("breadth", "within", *COMPARATORS))
        signals = self.signal_names(fields["breadth"], (*path, "breadth"))
        within = self.within(fields, path)
        compared = self.compared(fields, path)
        if signals is None or compared is None:
            return None
        return Breadth(tuple(sorted(set(signals))), within, *compared)

    def path(self, fields: Mapping, path: Path) -> Condition | None:
        self.mapping(fields, path, ("path", "within"))
        steps = self.signal_names(fields["path"], (*path, "path"))
        within = self.within(fields, path)
        if steps is None:
            return None
        if len(steps) < 2 or len(set(steps)) < len(steps):
            self.fault((*path, "path"), "must be two different steps at least, each once")
        return Steps(tuple(steps), within)

    def signal_names(self, value: object, path: Path) -> list[str] | None:
        """A list of signals, in the order of the text."""
        names = [self.signal_name(item, at) for item, at in self.items(value, path, MOST_LISTED)]
        return [name for name in names if name] if names and all(names) else None

    def age(self, fields: Mapping, path: Path) -> Condition | None:
        self.mapping(fields, path, ("age", *COMPARATORS))
        of = self.one_of(fields["age"], (*path, "age"), "subject", LEVELS)
        if of is not None and of != self.level:
            self.fault((*path, "age"), f"at `level: {self.level}` it is the {self.level} that has an age: {self.level}")
        compared = self.compared_days(fields, path)
        return None if compared is None else Age(*compared, self.level)

    def trait(self, fields: Mapping, path: Path) -> Condition | None:
        self.mapping(fields, path, ("trait", *TESTS))
        test = self.test(fields, "trait", path)
        return None if test is None else Trait(test)

    def converted(self, fields: Mapping, path: Path) -> Condition | None:
        self.mapping(fields, path, ("outcome",))
        kinds = self.strings(fields["outcome"], (*path, "outcome"))
        return None if kinds is None else Converted(kinds)

    # -- groups, rules and tiers ----------------------------------------------------------------------

    def read_groups(self, value: object) -> dict[str, Group | None]:
        fields = self.mapping(value, ("groups",)) or {}
        return {name: self.group(name, plain, ("groups", name)) for name, plain in fields.items()}

    def group(self, name: str, value: object, path: Path) -> Group | None:
        fields = self.mapping(value, path, ("score", "cap", "first_match"), ("score",))
        if self.slug(name, path) is None or fields is None:
            return None
        score = self.one_of(fields["score"], (*path, "score"), "score", ("usage", "fit"))
        cap = self.points(fields["cap"], (*path, "cap"), Decimal(0)) if "cap" in fields else None
        first_match = self.truth(fields.get("first_match", False), (*path, "first_match"))
        return Group(name, cast(Literal["usage", "fit"], score), cap, first_match) if score else None

    def rules(self, value: object) -> list[Rule]:
        found: dict[str, Rule] = {}
        for item, path in self.items(value, ("rules",), MOST_RULES):
            rule = self.rule(item, path)
            if rule is not None and rule.id in found:
                self.fault((*path, "id"), f"the id {rule.id!r} is taken by a rule before it")
            elif rule is not None:
                found[rule.id] = rule
        return list(found.values())

    def rule(self, value: object, path: Path) -> Rule | None:
        known = ("id", "name", "group", "points", "per", "max", "decay", "when", "disqualify", "qualify")
        fields = self.mapping(value, path, known, ("id",))
        if fields is None:
            return None
        id = self.slug(fields["id"], (*path, "id"))
        self.rule_ids.add(str(fields["id"]))
        name = self.string(fields.get("name", fields["id"]), (*path, "name"), 200)
        kinds = [kind for kind in ("points", "disqualify", "qualify") if kind in fields]
        if len(kinds) != 1:
            self.fault(path, "needs exactly one of: points, disqualify, qualify")
            return None
        when = self.condition(fields["when"], (*path, "when")) if "when" in fields else None
        if id is None or name is None:
            return None
        if kinds == ["points"]:
            return self.points_rule(fields, path, id, name, when)
        return self.verdict(fields, path, id, name, when)

    def verdict(self, fields: Mapping, path: Path, id: str, name: str, when: Condition | None) -> Rule | None:
        """A rule that disqualifies or qualifies."""
        for key in ("group", "per", "max", "decay"):
            if key in fields:
                self.fault((*path, key), "belongs to a rule that gives points")
        if "when" not in fields:
            self.fault((*path, "when"), "is missing")
        if "disqualify" in fields:
            if fields["disqualify"] is not True:
                self.fault((*path, "disqualify"), f"must be true, not {shown(fields['disqualify'])}")
            return None if when is None else Disqualify(id, name, when)
        tier = self.one_of(fields["qualify"], (*path, "qualify"), "tier", self.tier_names)
        if when is not None and not lapses(when):
            self.fault((*path, "when"), "a rule that qualifies needs a window (`within`), so that it lapses")
        return None if when is None or tier is None else Qualify(id, name, tier, when)

    def points_rule(self, fields: Mapping, path: Path, id: str, name: str, when: Condition | None) -> Rule | None:
        points = self.points(fields["points"], (*path, "points"))
        if points == 0:
            self.fault((*path, "points"), "must not be 0")
        if "group" not in fields:
            self.fault((*path, "group"), "is missing")
            return None
        group = self.one_of(fields["group"], (*path, "group"), "group", self.groups)
        if "when" not in fields and "per" not in fields:
            self.fault(path, "needs `when`, `per` or both")
        if ("per" in fields) != ("max" in fields):
            self.fault(path, "`per` and `max` go together: the most points that the units can give")
            return None
        per = self.per(fields, path) if "per" in fields else None
        decay = None
        if "decay" in fields:
            read = {signal for leaf in leaves(when) for signal in signals_read(leaf)}
            decay = self.decay(fields["decay"], (*path, "decay"), read, by_event="per" in fields)
        if per and decay and per.measure not in FADE:
            self.fault((*path, "decay"), f"fades only what adds up: {' and '.join(FADE)}, not {per.measure}")
        if points is None or group is None:
            return None
        if per:
            return Points(id, name, group, points, when, replace(per, decay=decay))
        return Points(id, name, group, points, when, decay=decay)

    def decay(self, value: object, path: Path, read: set[str], *, by_event: bool) -> Decay | None:
        """How points fade; `read` are the signals of the rule's condition."""
        fields = self.mapping(value, path, ("half_life", "linear", "of"))
        shapes = [shape for shape in ("half_life", "linear") if fields and shape in fields]
        if fields is None or len(shapes) != 1:
            self.fault(path, "needs exactly one of: half_life, linear")
            return None
        days = self.number_of_days(fields[shapes[0]], (*path, shapes[0]))
        signal = None
        if by_event and "of" in fields:
            self.fault((*path, "of"), "is not needed beside `per`: each event fades by its own age")
        elif "of" in fields:
            signal = self.signal_name(fields["of"], (*path, "of"))
        elif not by_event and len(read) == 1:
            signal = next(iter(read))
        elif not by_event:
            self.fault(path, "needs `of`: the signal from whose last event on the points fade")
        return None if days is None else Decay(shapes[0], days, signal)

    def per(self, fields: Mapping, path: Path) -> PerUnit | None:
        most = self.points(fields["max"], (*path, "max"), Decimal("0.01"))
        path = (*path, "per")
        countable = [measure for measure in MEASURES if measure not in QUOTIENTS]
        inner = self.mapping(fields["per"], path, (*countable, "within", "every"))
        found = [measure for measure in countable if inner and measure in inner]
        if inner is None or len(found) != 1:
            self.fault(path, f"needs exactly one of: {', '.join(countable)}")
            return None
        measure = cast(Measure, found[0])
        signal = self.measurable(measure, inner[measure], (*path, measure))
        within = self.within(inner, path, measure)
        every = self.number(inner.get("every", Decimal(1)), (*path, "every"))
        if every is not None and every <= 0:
            self.fault((*path, "every"), "must be more than 0")
        if most is None or signal is None or every is None:
            return None
        return PerUnit(measure, signal, within, every, most)

    def tiers(self, value: object) -> list[Tier]:
        found: dict[str, Tier] = {}
        for item, path in self.items(value, ("tiers",), 20):
            tier = self.tier(item, path)
            if tier and tier.name in found:
                self.fault((*path, "name"), f"the name {tier.name!r} is taken by a tier before it")
            elif tier:
                found[tier.name] = tier
        return list(found.values())

    def tier(self, value: object, path: Path) -> Tier | None:
        fields = self.mapping(value, path, ("name", "pql", "enter", "hold"), ("name", "enter"))
        if fields is None:
            return None
        name = self.slug(fields["name"], (*path, "name"))
        self.tier_names.add(str(fields["name"]))
        pql = self.truth(fields.get("pql", False), (*path, "pql"))
        enter = self.line(fields["enter"], (*path, "enter"))
        hold = self.line(fields["hold"], (*path, "hold")) if "hold" in fields else enter
        if enter is None or hold is None or name is None:
            return None
        if hold.usage > enter.usage or hold.fit > enter.fit:
            self.fault((*path, "hold"), "must not be above `enter`: a tier is held longer than it is entered")
        return Tier(name, pql, enter, hold)

    def line(self, value: object, path: Path) -> Line | None:
        fields = self.mapping(value, path, ("usage", "fit"))
        if fields is None:
            return None
        sides = {side: self.points(number, (*path, side), Decimal(0)) for side, number in fields.items()}
        return Line(usage=sides.get("usage") or 0, fit=sides.get("fit") or 0)
