"""The judge of the compiler: a naive evaluator of rule documents over raw calls.

It knows no database and no tiles: it reads all calls again for every question, so it is slow and easy to
check by eye. What it says is what docs/rule-language.md says.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from operator import eq, ge, gt, le, lt
from typing import Any, NamedTuple

from scoring import language

# Numbers are fractions: nothing is ever rounded.
COMPARE: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "at_least": ge,
    "at_most": le,
    "more_than": gt,
    "less_than": lt,
    "equals": eq,
}


class Key(NamedTuple):
    """How an account is known: by a group call, a domain, a user id or a visitor's id."""

    kind: str  # group, domain, user, visitor
    external_id: str


@dataclass(frozen=True)
class Call:
    """One call of a sender; the fields of scoring.facts.Fact, so that `Fact(**vars(call))` makes one."""

    message_id: str
    at: datetime
    name: str
    user_id: str | None = None
    anonymous_id: str | None = None
    aliases: tuple[str, ...] = ()
    group_id: str | None = None
    joins: bool = False
    properties: dict = field(default_factory=dict)
    user_traits: dict = field(default_factory=dict)
    user_traits_once: dict = field(default_factory=dict)
    account_traits: dict = field(default_factory=dict)
    account_traits_once: dict = field(default_factory=dict)

    @property
    def day(self) -> date:
        """The UTC day of the call."""
        return self.at.astimezone(UTC).date()

    @property
    def turn(self) -> tuple[datetime, str]:
        """What orders two calls: the time, then the message id by code points."""
        return self.at, self.message_id

    @property
    def ids(self) -> frozenset[str]:
        """All ids of the person that the call carries."""
        return frozenset(i for i in (self.user_id, self.anonymous_id, *self.aliases) if i is not None)

    @property
    def email(self) -> str | None:
        """The address that the call gives for its user, in lower case; None if there is no plausible one."""
        return plausible(self.user_traits.get("email")) or plausible(self.user_traits_once.get("email"))


@dataclass(frozen=True)
class Outcome:
    """A conversion of an account."""

    account: Key
    kind: str
    at: datetime

    @property
    def day(self) -> date:
        """The UTC day of the outcome."""
        return self.at.astimezone(UTC).date()


@dataclass(frozen=True)
class Exclusion:
    """Somebody who must not count, from `starts_on` to the day before `ends_on`."""

    kind: str  # domain, email, user, account
    value: str
    why: str = "internal"
    starts_on: date | None = None
    ends_on: date | None = None

    def covers(self, day: date) -> bool:
        """Whether it is in force on that day."""
        begun = self.starts_on is None or self.starts_on <= day
        return begun and (self.ends_on is None or day < self.ends_on)


@dataclass(frozen=True)
class History:
    """All that was ever sent, in the order of its arrival."""

    calls: tuple[Call, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What one rule says; `raw` is what it gives in hundredths before its group's cap: 0 unless met."""

    met: bool
    raw: int


@dataclass(frozen=True)
class Judgement:
    """What one document says of one account, or of one of its people, on one day. Points are hundredths."""

    status: str  # scored, disqualified, outside, excluded
    usage: int
    fit: int
    tier: str  # empty: none
    held: tuple[str, ...]  # best first
    goal_on: date | None
    sign_up: date | None
    rules: dict[str, Verdict]  # by rule id

    @property
    def result(self) -> tuple[object, ...]:
        """What a change is a change of: rules met, points, disqualification, tier, held."""
        return self.rules, self.usage, self.fit, self.status, self.tier, self.held


@dataclass(frozen=True, eq=False)
class Person:
    """A user: ids that some chain of calls links, and all calls that carry one of them."""

    ids: frozenset[str]
    calls: tuple[Call, ...]

    @property
    def known_ids(self) -> set[str]:
        """Those of the ids that were ever used as a user id."""
        return {call.user_id for call in self.calls if call.user_id is not None}

    def home(self, free_mail: frozenset[str]) -> Key:
        """Return the account of those events of the person that name none."""
        in_turn = sorted(self.calls, key=lambda call: call.turn)
        for call in in_turn:
            if call.joins and call.group_id is not None:
                return Key("group", call.group_id)
        for call in in_turn:
            if call.email and domain_of(call.email) not in free_mail:
                return Key("domain", domain_of(call.email))
        if self.known_ids:
            return Key("user", min(self.known_ids))
        return Key("visitor", min(self.ids))

    def is_excluded(self, exclusions: Iterable[Exclusion]) -> bool:
        """Whether one of the exclusions means this person."""
        emails = {call.email for call in self.calls if call.email}
        mine = {
            "email": emails,
            "domain": {domain_of(email) for email in emails},
            "user": set(self.ids),
            "account": set(),
        }
        return any(exclusion.value in mine[exclusion.kind] for exclusion in exclusions)


def plausible(email: object) -> str | None:
    """Return the address in lower case; None if it is none."""
    if not isinstance(email, str) or any(c.isspace() for c in email):
        return None
    name, at, domain = email.lower().partition("@")
    return email.lower() if name and at and "." in domain and "@" not in domain else None


def domain_of(email: str) -> str:
    """Return what stands after the @."""
    return email.partition("@")[2]


def people(calls: Iterable[Call]) -> list[Person]:
    """Return the connected components of the calls' ids."""
    components: list[set[str]] = []
    for call in calls:
        if not call.ids:
            continue
        linked = [component for component in components if component & call.ids]
        components = [component for component in components if component not in linked]
        components.append(set(call.ids).union(*linked))
    return [Person(frozenset(ids), tuple(call for call in calls if call.ids & ids)) for ids in components]


class World:
    """A history, understood: who is who, and whose account is whose."""

    def __init__(self, history: History, free_mail: frozenset[str] = frozenset({"gmail.com"})) -> None:
        self.history = history
        # Of calls with the same message id the one that arrived first counts.
        self.calls = list({call.message_id: call for call in reversed(history.calls)}.values())
        self.people = people(self.calls)
        self.homes = {person: person.home(free_mail) for person in self.people}
        self.person_of = {i: person for person in self.people for i in person.ids}

    def person(self, call: Call) -> Person | None:
        """Return who made the call; None if it carries no id."""
        return self.person_of[min(call.ids)] if call.ids else None

    def account(self, call: Call) -> Key | None:
        """Return the account of the call: the one that it names, else the home of its user."""
        if call.group_id is not None:
            return Key("group", call.group_id)
        person = self.person(call)
        return None if person is None else self.homes[person]

    def is_at_home(self, person: Person) -> bool:
        """Whether the person did something at home, or nothing at all; not all of it for accounts that were named."""
        used = [call for call in person.calls if call.name not in language.CALLS_THAT_ARE_NOT_USE]
        return not used or any(self.account(call) == self.homes[person] for call in used if self.person(call) == person)

    @cached_property
    def accounts(self) -> list[Key]:
        """All accounts but the visitors', sorted. A home that somebody has left, or never used, is not."""
        named = [Key("group", call.group_id) for call in self.calls if call.group_id is not None]
        paying = [outcome.account for outcome in self.history.outcomes]
        every = {*named, *paying, *(home for person, home in self.homes.items() if self.is_at_home(person))}
        return sorted(key for key in every if key.kind != "visitor")

    def members(self, account: Key) -> list[Person]:
        """Return the known people who live in the account, or used the product there."""
        used = {
            self.person(call)
            for call in self.calls
            if call.name not in language.CALLS_THAT_ARE_NOT_USE and self.account(call) == account
        }
        return [p for p in self.people if p.known_ids and (p in used or self.homes[p] == account)]

    def judge(self, document: language.Document, as_of: date, account: Key, person: Person | None = None) -> Judgement:
        """Return what the document says of the account (any account, even one without calls) on that day.

        At `level: user` it says it of the person.
        """
        return _judge(document, Sight(self, document, as_of, account, person))

    def judge_people(self, document: language.Document, as_of: date) -> dict[tuple[Key, str], Judgement]:
        """Return what the document says of each known person in each account; people by the least of their user ids."""
        return {
            (account, min(person.known_ids)): self.judge(document, as_of, account, person)
            for account in self.accounts
            for person in self.members(account)
        }

    def judge_all(self, document: language.Document, as_of: date) -> dict[Key, Judgement]:
        """Return what the document says of each account but the visitors' on that day."""
        return {account: self.judge(document, as_of, account) for account in self.accounts}

    def changes_on(self, document: language.Document, day: date, account: Key) -> bool:
        """Whether the result of that day differs from the one of the day before."""
        before = self.judge(document, day - timedelta(days=1), account)
        return self.judge(document, day, account).result != before.result

    def next_change(
        self, document: language.Document, after: date, until: date, account: Key, person: Person | None = None
    ) -> date | None:
        """Return the first day after `after`, up to `until`, whose result differs from that of `after`."""
        result = self.judge(document, after, account, person).result
        for ahead in range(1, (until - after).days + 1):
            day = after + timedelta(days=ahead)
            if self.judge(document, day, account, person).result != result:
                return day
        return None


class Sight:
    """One account, or one person in it, as it is seen on one day."""

    def __init__(
        self, world: World, document: language.Document, as_of: date, account: Key, person: Person | None = None
    ) -> None:
        self.as_of = as_of
        self.account = account
        self.person = person
        self.signals = language.signals_of(document)
        self.sign_up_source = document.sign_up
        self.exclusions = [e for e in world.history.exclusions if e.covers(as_of)]
        self.of_all = [call for call in world.calls if call.day <= as_of and world.account(call) == account]
        self.calls = [call for call in self.of_all if person is None or world.person(call) is person]
        self.users = {call.message_id: world.person(call) for call in self.calls}
        self.outcomes = [o for o in world.history.outcomes if o.account == account and o.day <= as_of]

    @property
    def is_excluded(self) -> bool:
        """Whether the account itself must not count, or the person."""
        if self.person is not None and self.person.is_excluded(self.exclusions):
            return True
        return any(
            exclusion.value == self.account.external_id
            and (exclusion.kind == "account" or (exclusion.kind, self.account.kind) == ("domain", "domain"))
            for exclusion in self.exclusions
        )

    @cached_property
    def countable(self) -> list[Call]:
        """The calls of everybody who is not excluded on that day."""
        return [call for call in self.calls if not self._by_an_excluded_user(call)]

    def _by_an_excluded_user(self, call: Call) -> bool:
        user = self.users[call.message_id]
        return user is not None and user.is_excluded(self.exclusions)

    def trait(self, key: str) -> object:
        """Return the newest value of the person's own trait, else of the account's; None if it is unknown."""
        if (own := self.own_trait(key)) is not None:
            return own
        named = [call for call in self.of_all if call.group_id is not None]
        return stated(
            key, [(call, call.account_traits) for call in named], [(call, call.account_traits_once) for call in named]
        )

    def own_trait(self, key: str) -> object:
        """Return the newest value of the person's trait, whatever account it was stated with; None if unknown."""
        said = [call for call in self.person.calls if call.day <= self.as_of] if self.person else []
        return stated(key, [(call, call.user_traits) for call in said], [(c, c.user_traits_once) for c in said])

    def events(self, name: str, within: int | None = None) -> list[Call]:
        """Return the events of the named signal in the window, in turn."""
        signal = self.signals[name]
        return sorted(
            (
                call
                for call in self.countable
                if matches(signal, call) and (within is None or (self.as_of - call.day).days < within)
            ),
            key=lambda call: call.turn,
        )

    def first_day(self, signal: str) -> date | None:
        """Return the day of the signal's first event."""
        return min((event.day for event in self.events(signal)), default=None)

    @cached_property
    def sign_up(self) -> date | None:
        """The earliest known day of sign-up; None if it is unknown."""
        stated_day = self.own_trait if self.person else self.trait
        days = [day_of(stated_day(self.sign_up_source.trait)), self.first_day(language.ANY_SIGNAL)]
        if self.sign_up_source.signal is not None:
            days.append(self.first_day(self.sign_up_source.signal))
        return min((day for day in days if day is not None and day <= self.as_of), default=None)

    @property
    def age(self) -> int | None:
        """Days since sign-up."""
        return None if self.sign_up is None else (self.as_of - self.sign_up).days

    def since_last(self, signal: str) -> int | None:
        """Return the days since the signal's last event; without one, since sign-up."""
        events = self.events(signal)
        return (self.as_of - events[-1].day).days if events else self.age

    def measure(self, measure: str, signal: str, within: int | None) -> Fraction | None:
        """Return a measure, but for `ratio` and `trend`; None if it is absent."""
        events = self.events(signal, within)
        if measure == "count":
            return Fraction(len(events))
        if measure == "days":
            return Fraction(len({event.day for event in events}))
        if measure == "streak":
            return Fraction(longest_run({event.day for event in events}))
        if measure == "users":
            users = {self.users[event.message_id] for event in events}
            return Fraction(len([user for user in users if user is not None and user.known_ids]))
        values = [value for event in events if (value := self.value(signal, event)) is not None]
        if not values:
            return None
        return {"sum": sum(values, Fraction(0)), "max": max(values), "last": values[-1]}[measure]

    def weight_of_last(self, decay: language.Decay) -> int:
        """Return how many thousandths are left since the last event; without one, none."""
        events = self.events(decay.signal or "")
        return weight(decay, (self.as_of - events[-1].day).days) if events else 0

    def faded(self, measure: str, signal: str, within: int | None, decay: language.Decay) -> Fraction | None:
        """Return count or sum with each event weighed by its age; None if it is absent."""
        weighed = [
            Fraction(weight(decay, (self.as_of - event.day).days), 1000) * value
            for event in self.events(signal, within)
            if (value := Fraction(1) if measure == "count" else self.value(signal, event)) is not None
        ]
        return sum(weighed, Fraction(0)) if weighed or measure == "count" else None

    def value(self, signal: str, event: Call) -> Fraction | None:
        """Return the number that the event carries for the signal."""
        key = self.signals[signal].value
        return None if key is None else number(event.properties.get(key))

    def last_and_limit(self, signal: str, within: int | None) -> tuple[Fraction, Fraction] | None:
        """Return the two sides of `ratio`; None if one is absent or the limit is not above zero."""
        pairs = [
            (value, self.limit(signal, event))
            for event in self.events(signal, within)
            if (value := self.value(signal, event)) is not None
        ]
        value, limit = pairs[-1] if pairs else (None, None)
        return None if value is None or limit is None or limit <= 0 else (value, limit)

    def now_and_before(self, signal: str, within: int | None) -> tuple[Fraction, Fraction] | None:
        """Return the two sides of `trend`; None if nothing happened in the window before."""
        assert within is not None
        now, both = len(self.events(signal, within)), len(self.events(signal, 2 * within))
        return None if both == now else (Fraction(now), Fraction(both - now))

    def limit(self, signal: str, event: Call) -> Fraction | None:
        """Return the limit that holds for the value of the event."""
        limit = self.signals[signal].limit
        if limit is None:
            return None
        if limit.property is not None:
            return number(event.properties.get(limit.property))
        if limit.trait is not None:
            return number(self.trait(limit.trait))
        name = self.trait(limit.by_trait or "")
        return number(dict(limit.table).get(name)) if isinstance(name, str) else None

    def holds(self, condition: language.Condition) -> bool:
        """Whether the condition holds on that day."""
        match condition:
            case language.All(of):
                return all(self.holds(part) for part in of)
            case language.Any(of):
                return any(self.holds(part) for part in of)
            case language.Not(of):
                return not self.holds(of)
            case leaf:
                return self._leaf_holds(leaf)

    def _leaf_holds(self, leaf: language.Leaf) -> bool:
        match leaf:
            case language.Age(comparator, threshold):
                return compare(self.age, comparator, threshold)
            case language.Trait(test):
                return passes(test, self.trait(test.key))
            case language.Converted(kinds):
                return any(outcome.kind in kinds for outcome in self.outcomes)
            case language.Breadth(signals, within, comparator, threshold):
                return compare(len(self.firsts(signals, within)), comparator, threshold)
            case language.Steps(signals, within):
                firsts = self.firsts(signals, within)
                return len(firsts) == len(signals) and firsts == sorted(firsts)
            case one:
                return self._holds_of_a_signal(one)

    def firsts(self, signals: Sequence[str], within: int | None) -> list[datetime]:
        """Return when those of the signals that were seen in the window were first seen there."""
        return [events[0].at for signal in signals if (events := self.events(signal, within))]

    def _holds_of_a_signal(self, leaf: language.Leaf) -> bool:
        match leaf:
            case language.Measured("ratio" | "trend" as measure, signal, within, comparator, threshold):
                sides = (self.last_and_limit if measure == "ratio" else self.now_and_before)(signal, within)
                return sides is not None and COMPARE[comparator](sides[0], Fraction(threshold) * sides[1])
            case language.Measured(measure, signal, within, comparator, threshold):
                return compare(self.measure(measure, signal, within), comparator, threshold)
            case language.Ever(signal):
                return bool(self.events(signal))
            case language.FirstWithin(signal, days):
                first = self.first_day(signal)
                return first is not None and self.sign_up is not None and (first - self.sign_up).days < days
            case language.SinceLast(signal, comparator, threshold):
                return compare(self.since_last(signal), comparator, threshold)
        raise AssertionError(f"teach the oracle {leaf!r}")

    def goal_on(self, goal: language.Goal) -> date | None:
        """Return the first day on which the goal was reached."""
        days = [outcome.day for outcome in self.outcomes if outcome.kind in goal.kinds]
        if goal.signal is not None:
            days += [event.day for event in self.events(goal.signal)]
        return min(days, default=None)


Statement = tuple[Call, dict]


def stated(key: str, said: Iterable[Statement], once: Iterable[Statement]) -> object:
    """Return the value of a trait of which this was said: the newest counts; of what is only said once, the first."""
    if newest := [(call.turn, traits[key]) for call, traits in said if key in traits]:
        return max(newest, key=lambda each: each[0])[1]
    of_once = [(call, traits) for call, traits in once if key in traits]
    first = [each for each in of_once if each[0].at == min(call.at for call, _ in of_once)]
    return max(first, key=lambda each: each[0].turn)[1][key] if first else None


def weight(decay: language.Decay, age: int) -> int:
    """Return how many thousandths are left at that age in days."""
    if decay.shape == "linear":
        return max(0, 1000 - 100 * (10 * age // decay.days))
    quarters = 4 * age // decay.days
    return round(1000 / 2 ** (quarters / 4)) if quarters < 16 else 0


def longest_run(days: set[date]) -> int:
    """Return how many of the days follow each other at most."""

    def up_to(day: date) -> int:
        return 1 + up_to(day - timedelta(days=1)) if day in days else 0

    return max(map(up_to, days), default=0)


def compare(observed: Fraction | int | None, comparator: str, threshold: Decimal | int) -> bool:
    """Compare; with something absent it is false."""
    return observed is not None and COMPARE[comparator](Fraction(observed), Fraction(threshold))


def number(value: object) -> Fraction | None:
    """Return what JSON calls a number, exactly; None for anything else, a boolean too."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Fraction(str(value))


def day_of(value: object) -> date | None:
    """Return the UTC day of an ISO 8601 date or time; None for anything else. Without a zone it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).date()


def same(value: object, operand: language.Scalar) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, but true is not 1 and "1" is not 1."""
    if isinstance(operand, Decimal):
        return number(value) == number(operand)
    return type(value) is type(operand) and value == operand


def passes(test: language.Filter, value: object) -> bool:
    """Whether a property's or a trait's value passes the test; an absent one only `exists: false`."""
    if test.test == "exists":
        return (value is not None) is test.operand
    if value is None:
        return False
    operand: Any = test.operand
    match test.test:
        case "equals":
            return same(value, operand)
        case "in":
            return any(same(value, one) for one in operand)
        case "contains" if isinstance(value, list):
            return any(same(element, operand) for element in value)
        case "contains":
            return isinstance(value, str) and isinstance(operand, str) and operand in value
        case "starts_with":
            return isinstance(value, str) and value.startswith(operand)
        case "between":
            return compare(number(value), "at_least", operand[0]) and compare(number(value), "at_most", operand[1])
        case comparator:
            return compare(number(value), comparator, operand)


def matches(signal: language.Signal, call: Call) -> bool:
    """Whether the call is an event of the signal."""
    if signal.events == (language.ANY_EVENT,):
        named = call.name not in language.CALLS_THAT_ARE_NOT_USE
    else:
        named = call.name in signal.events
    return named and all(passes(test, call.properties.get(test.key)) for test in signal.where)


def _verdict(rule: language.Rule, sight: Sight) -> Verdict:
    met = rule.when is None or sight.holds(rule.when)
    if not isinstance(rule, language.Points):
        return Verdict(met, 0)
    if rule.decay is not None:
        left = int(Fraction(rule.points * sight.weight_of_last(rule.decay), 1000)) if met else 0
        return Verdict(left != 0, left)
    if rule.per is None:
        return Verdict(met, rule.points if met else 0)
    units = _units(rule.per, sight) if met else 0
    amount = min(abs(rule.points) * units, rule.per.most)
    return Verdict(units >= 1, amount if rule.points > 0 else -amount)


def _units(per: language.PerUnit, sight: Sight) -> int:
    if per.decay is not None:
        observed = sight.faded(per.measure, per.signal, per.within, per.decay)
    else:
        observed = sight.measure(per.measure, per.signal, per.within)
    return 0 if observed is None or observed < 0 else observed // Fraction(per.every)


def _total(group: language.Group, verdicts: Sequence[Verdict]) -> int:
    """Return the group's points: positives clipped at the cap, then negatives, never below 0."""
    if group.first_match:
        verdicts = [verdict for verdict in verdicts if verdict.met][:1]
    given = [verdict.raw for verdict in verdicts]
    total = 0
    for points in given:
        if points > 0:
            total = total + points if group.cap is None else min(total + points, group.cap)
    return max(0, total + sum(points for points in given if points < 0))


def _score(document: language.Document, verdicts: dict[str, Verdict], score: str) -> int:
    rules = [rule for rule in document.rules if isinstance(rule, language.Points)]
    return sum(
        _total(group, [verdicts[rule.id] for rule in rules if rule.group == group.name])
        for group in document.groups
        if group.score == score
    )


def _status(document: language.Document, sight: Sight, verdicts: dict[str, Verdict]) -> str:
    if sight.is_excluded:
        return "excluded"
    if document.population is not None and not sight.holds(document.population):
        return "outside"
    if any(isinstance(rule, language.Disqualify) and verdicts[rule.id].met for rule in document.rules):
        return "disqualified"
    return "scored"


def _judge(document: language.Document, sight: Sight) -> Judgement:
    verdicts = {rule.id: _verdict(rule, sight) for rule in document.rules}
    usage, fit = _score(document, verdicts, "usage"), _score(document, verdicts, "fit")
    status = _status(document, sight, verdicts)
    raised = {r.tier for r in document.rules if isinstance(r, language.Qualify) and verdicts[r.id].met}

    def reaches(line: language.Line) -> bool:
        return usage >= line.usage and fit >= line.fit

    entered = [tier.name for tier in document.tiers if reaches(tier.enter) or tier.name in raised]
    held = tuple(tier.name for tier in document.tiers if reaches(tier.hold) or tier.name in raised)
    can_qualify = status == "scored"
    return Judgement(
        status=status,
        usage=usage,
        fit=fit,
        tier=entered[0] if entered and can_qualify else "",
        held=held if can_qualify else (),
        goal_on=sight.goal_on(document.goal),
        sign_up=sight.sign_up,
        rules=verdicts,
    )
