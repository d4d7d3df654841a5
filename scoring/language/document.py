"""The rule document: a PQL definition as data.

What each measure means at its edges is told in docs/rule-language.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, get_args

Scalar = str | bool | Decimal
Comparator = Literal["at_least", "at_most", "more_than", "less_than", "equals"]
Test = Literal[
    "equals",
    "in",
    "between",
    "contains",
    "starts_with",
    "exists",
    "at_least",
    "at_most",
    "more_than",
    "less_than",
]
Level = Literal["account", "user"]
Measure = Literal["count", "users", "days", "streak", "sum", "max", "last", "ratio", "trend"]

COMPARATORS: tuple[str, ...] = get_args(Comparator)
TESTS: tuple[str, ...] = get_args(Test)
MEASURES: tuple[str, ...] = get_args(Measure)
LEVELS: tuple[str, ...] = get_args(Level)
QUOTIENTS = ("ratio", "trend")  # of two numbers; a comparison multiplies, so that nothing is rounded
LONGEST_STREAK = 63  # days: a streak is read off a mask with a bit for each day
ANY_EVENT = "*"  # the event name of the built-in signal `any`, which is what an event of use is
ANY_SIGNAL = "any"
CALLS_THAT_ARE_NOT_USE = (
    *("$identify", "$group", "$alias"),  # they say who somebody is, not what was done
    # What libraries report by themselves of a page, or of a server that works while everybody sleeps.
    *("$feature_flag_called", "$experiment_exposure", "$exception", "$csp_violation", "$web_vitals", "$$heatmap"),
    *("$performance_event", "$snapshot", "$bot_pageview", "$experiment_started", "[Experiment] Exposure"),
    *("[Amplitude] Web Vitals", "[Amplitude] Network Request", "[Amplitude] Replay Captured"),
    # They change what is known of somebody by what it was, which a dated trait cannot say.
    *("$add", "$append", "$prepend", "$union", "$remove", "$delete", "$clearAll", "$preInsert", "$postInsert"),
)


@dataclass(frozen=True, slots=True)
class Filter:
    """A test of one property of an event, or of one trait. A value that is absent fails every test."""

    key: str
    test: Test
    # equals, contains, starts_with: a scalar; in: a tuple of scalars; between: two numbers, both included;
    # exists: True or False (False: the value must be absent); the comparisons: a number.
    operand: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """What a signal's value is measured against in `ratio`: exactly one of the three is set."""

    property: str | None = None  # a numeric property of the same event
    trait: str | None = None  # a numeric trait of the account
    by_trait: str | None = None  # a trait of the account, such as `plan`, looked up in `table`
    table: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """A named behaviour: events of these names that pass all filters; optionally with a numeric value.

    The name is not part of it: two signals with the same content are the same signal.
    """

    events: tuple[str, ...]  # sorted; ANY_EVENT alone means every event of use
    where: tuple[Filter, ...] = ()  # sorted
    value: str | None = None  # a numeric property
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Compare a measure of a signal over a window with a threshold; absent compares as false."""

    measure: Measure
    signal: str
    within: int | None  # days, today included; None: all that is known (never so of a streak or a trend)
    comparator: Comparator
    threshold: Decimal


@dataclass(frozen=True, slots=True)
class Ever:
    """The signal was seen at least once up to now."""

    signal: str


@dataclass(frozen=True, slots=True)
class FirstWithin:
    """The signal was seen in the first so many days, that of sign-up included; false while sign-up is unknown."""

    signal: str
    days: int


@dataclass(frozen=True, slots=True)
class SinceLast:
    """Compare the days since the signal was last seen; if it never was, the days since sign-up."""

    signal: str
    comparator: Comparator
    threshold: int


@dataclass(frozen=True, slots=True)
class Breadth:
    """Compare how many of the signals were seen in a window; none is 0."""

    signals: tuple[str, ...]  # sorted, each once
    within: int | None
    comparator: Comparator
    threshold: Decimal


@dataclass(frozen=True, slots=True)
class Steps:
    """Each of the signals was seen in the window, first in this order; what came at one moment is in order."""

    signals: tuple[str, ...]  # the steps, each once, two at least
    within: int | None


@dataclass(frozen=True, slots=True)
class Age:
    """Compare the days since sign-up."""

    comparator: Comparator
    threshold: int
    of: Level = "account"  # always the level of the document


@dataclass(frozen=True, slots=True)
class Trait:
    """Test a trait of the account; where a user is judged the user's own, or else that of the account."""

    filter: Filter


@dataclass(frozen=True, slots=True)
class Converted:
    """The account has an Outcome of one of these kinds."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Every one of the conditions holds."""

    of: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one of the conditions holds."""

    of: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    of: "Condition"


Leaf = Measured | Ever | FirstWithin | SinceLast | Breadth | Steps | Age | Trait | Converted
Condition = Leaf | All | Any | Not


@dataclass(frozen=True, slots=True)
class Decay:
    """How points fade with age: half as much after so many days, and so on; or evenly, to nothing after so many."""

    shape: Literal["half_life", "linear"]
    days: int
    signal: str | None = None  # the age is that of its last event; None with `per`, where each event has its own


@dataclass(frozen=True, slots=True)
class PerUnit:
    """Points for each full `every` of a measure, up to `most` hundredths (in absolute value)."""

    measure: Measure  # never one of QUOTIENTS
    signal: str
    within: int | None
    every: Decimal
    most: int
    decay: Decay | None = None  # of count and sum only: each event counts with the weight of its age


@dataclass(frozen=True, slots=True)
class Points:
    """Give or take points, in hundredths. With `per`, that many for each unit: met from one unit on."""

    id: str
    name: str
    group: str
    points: int  # hundredths; negative takes them off; never 0
    when: Condition | None = None  # None only with `per`
    per: PerUnit | None = None
    decay: Decay | None = None  # never with `per`, which has its own


@dataclass(frozen=True, slots=True)
class Disqualify:
    """An anti-PQL: while it is met the account cannot qualify, for the reason that its name says."""

    id: str
    name: str
    when: Condition


@dataclass(frozen=True, slots=True)
class Qualify:
    """A hand-raiser: while it is met the account is of the named tier at least, whatever its points."""

    id: str
    name: str
    tier: str
    when: Condition


Rule = Points | Disqualify | Qualify
Part = Leaf | PerUnit | Decay  # what is observed of an account, and shown in its ledger


@dataclass(frozen=True, slots=True)
class Group:
    """Points rules that share a cap, and the score that they count for."""

    name: str
    score: Literal["usage", "fit"]
    cap: int | None  # hundredths
    first_match: bool = False  # only the first rule that is met counts, in the order of the text


@dataclass(frozen=True, slots=True)
class Line:
    """A corner of the (usage, fit) matrix: both at least so many hundredths."""

    usage: int = 0
    fit: int = 0


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier: entered at `enter`, held while `hold` is met (hold is never above enter)."""

    name: str
    pql: bool
    enter: Line
    hold: Line


@dataclass(frozen=True, slots=True)
class SignUp:
    """Where the day of sign-up comes from, besides the first event of use: the earliest known counts."""

    trait: str = "created_at"
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """What the rule set predicts: outcomes of these kinds, or the first occurrence of a signal."""

    kinds: tuple[str, ...] = ()
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A PQL definition."""

    slug: str
    name: str
    motion: str
    signals: tuple[tuple[str, Signal], ...]  # sorted by name; `any` is built in and not listed
    groups: tuple[Group, ...]
    rules: tuple[Rule, ...]  # in the order of the text: caps clip in it
    tiers: tuple[Tier, ...]  # best first
    goal: Goal = field(default_factory=Goal)
    sign_up: SignUp = field(default_factory=SignUp)
    population: Condition | None = None  # None: every account
    level: Level = "account"  # who is judged: an account, or each of its known users


ANYTHING = Signal(events=(ANY_EVENT,))  # what the name `any` stands for


def leaves(condition: Condition | None) -> Iterator[Leaf]:
    """Yield the leaves of a condition from left to right; of None, nothing."""
    match condition:
        case None:
            return
        case All(of) | Any(of):
            for part in of:
                yield from leaves(part)
        case Not(of):
            yield from leaves(of)
        case leaf:
            yield leaf


def signals_read(part: Part) -> tuple[str, ...]:
    """Return the names of the signals that the part reads; sign-up's own are not among them."""
    match part:
        case Measured() | Ever() | FirstWithin() | SinceLast() | PerUnit():
            return (part.signal,)
        case Breadth() | Steps():
            return part.signals
        case Decay(signal=str(signal)):
            return (signal,)
        case _:
            return ()


def parts_of(document: "Document") -> list[Part]:
    """Return what is observed of an account, each once: leaves in the order of the text, units, then decays."""
    points = [rule for rule in document.rules if isinstance(rule, Points)]
    found: list[Part] = [leaf for condition in conditions_of(document) for leaf in leaves(condition)]
    found += [rule.per for rule in points if rule.per]
    found += [rule.decay for rule in points if rule.decay]
    return list(dict.fromkeys(found))


def conditions_of(document: Document) -> Iterator[Condition]:
    """Yield the population and the condition of each rule that has one."""
    if document.population is not None:
        yield document.population
    for rule in document.rules:
        if rule.when is not None:
            yield rule.when


def signals_of(document: Document) -> dict[str, Signal]:
    """Return all signals that the document reads, by name; always with `any`, which sign-up is taken from."""
    return {ANY_SIGNAL: ANYTHING, **dict(document.signals)}


def lapses(condition: Condition) -> bool:
    """Whether silence ends the condition: it reads a window, and nothing that stays true for ever."""
    found = list(leaves(condition))
    windows = [leaf.within for leaf in found if isinstance(leaf, Measured | Breadth | Steps)]
    lasts = any(isinstance(leaf, Ever | FirstWithin) for leaf in found)
    return bool(windows) and None not in windows and not lasts
