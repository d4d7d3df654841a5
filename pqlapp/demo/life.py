"""What the demo's companies do, day by day. Pure: a day's calls depend on the seed, the companies and the day alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pqlapp.demo import words
from pqlapp.demo.company import GOLDEN, TODAY, Company, Kind, Person, companies, dice
from scoring.facts import Fact

FREE_STORAGE, TEAM_STORAGE = 500, 20_000  # MB
WEEKEND = 0.08  # of a working day's use
QUIET = 0.012  # chance that somebody looks in again, on a day after the fading
MONTHLY = Decimal(19)  # price of a seat

Doing = tuple[str, dict[str, Any]]  # the name of an event and its properties

# What people do in one session, by mood: the chance of each thing. Whoever tries draws; whoever works in a team
# discusses and invites; whoever outgrows a plan meets its limits.
MOODS: dict[str, dict[str, float]] = {
    "trying": {"board": 0.35, "note": 0.9, "template": 0.5, "help": 0.3, "pricing": 0.05},
    "team": {
        **{"board": 0.45, "note": 0.9, "comment": 0.8, "invite": 0.3, "share": 0.3, "export": 0.2},
        **{"limit": 0.15, "pricing": 0.16, "security": 0.05, "connect": 0.05, "template": 0.15},
    },
    "alone": {"board": 0.9, "note": 1.0, "export": 0.5, "limit": 0.3, "template": 0.4},
    "steady": {"board": 0.3, "note": 0.9, "comment": 0.6, "share": 0.3, "present": 0.25, "invite": 0.015},
    "growing": {
        **{"board": 0.4, "note": 0.9, "comment": 0.8, "present": 0.3, "invite": 0.12, "seat-limit": 0.07},
        **{"seats": 0.1, "pricing": 0.05, "security": 0.04},
    },
}
PAGES = {"help": "Help centre", "pricing": "Pricing", "security": "Security and SSO", "seats": "Plans and seats"}
EVENTS = {
    "board": "Board Created",
    "note": "Sticky Added",
    "template": "Template Used",
    "comment": "Comment Added",
    "invite": "Teammate Invited",
    "share": "Board Shared",
    "export": "Board Exported",
    "limit": "Board Limit Reached",
    "connect": "Integration Connected",
    "present": "Board Presented",
    "seat-limit": "Seat Limit Reached",
}
PROPERTIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "export": ("format", ("pdf", "png", "csv")),
    "template": ("template", ("Retrospective", "Roadmap", "Customer journey", "Mind map")),
    "connect": ("tool", ("Slack", "Jira", "Notion", "GitHub")),
    "invite": ("role", ("editor", "viewer")),
}
BURSTS = ("limit", "pricing", "security", "connect", "export")  # what comes with the day on which a team forms


@dataclass(frozen=True, slots=True)
class Conversion:
    """A payment or an upgrade, as the billing system would tell it."""

    account: str  # external id
    kind: str
    at: datetime
    amount: Decimal
    message_id: str


@dataclass(frozen=True, slots=True)
class World:
    """The demo from end to end: the same for the same seed, size and first day."""

    seed: int
    accounts: int
    day_zero: date
    first: int = 0  # the first day that is sent: what happened before is told then

    def number(self, day: date) -> int:
        """Return the number of a day."""
        return (day - self.day_zero).days

    def facts(self, day: date) -> list[Fact]:
        """Return all calls of one UTC day, in the order of time."""
        number = self.number(day)
        made = [fact for company in self.companies(number) for fact in self._calls(company, number)]
        made += self._visitors(number)
        return sorted(made, key=lambda fact: (fact.at, fact.message_id))

    def conversions(self, day: date) -> list[Conversion]:
        """Return what was paid on one day; on the first day also what had been paid before, with its true dates."""
        number = self.number(day)
        paid = [(company, *payment) for company in self.companies(number) for payment in _payments(company)]
        return [_paid(self, company, kind, on) for company, kind, on in paid if max(on, self.first) == number]

    def companies(self, number: int) -> tuple[Company, ...]:
        """Return the companies that signed up by the day of this number."""
        return companies(self.seed, self.accounts, max(number, TODAY))

    def at(self, number: int, seconds: float) -> datetime:
        """Return a moment of the day of this number."""
        midnight = datetime.combine(self.day_zero + timedelta(days=number), datetime.min.time(), UTC)
        return midnight + timedelta(seconds=min(max(seconds, 0.0), 86_399.0))

    def _calls(self, company: Company, number: int) -> list[Fact]:
        if company.signs_up_on > number:
            return []
        chance = dice(self.seed, company.number, number)
        calls = _Calls(self, company, number)
        for person in company.people:
            if max(person.joins_on, self.first) == number:
                calls.join(person, chance)
        calls.change_plan()
        calls.live(chance)
        return calls.made

    def _visitors(self, number: int) -> Iterator[Fact]:
        """People who look at the pages and never say who they are."""
        chance = dice(self.seed, "visitors", number)
        for visitor in range(round(self.accounts / 60)):
            start = chance.uniform(0, 86_000)
            for page in range(chance.randint(1, 3)):
                yield Fact(
                    message_id=f"demo-v-{number}-{visitor}-{page}",
                    at=self.at(number, start + 40 * page),
                    name="$page",
                    anonymous_id=f"v-{number}-{visitor}",
                    properties={"name": chance.choice(["Home", "Templates", "Pricing", "Blog"])},
                )


class _Calls:
    """The calls of one company on one day, as its SDK sends them."""

    def __init__(self, world: World, company: Company, number: int) -> None:
        self.world, self.company, self.number = world, company, number
        self.made: list[Fact] = []
        self.joined: dict[int, float] = {}  # who joined today, and at which second

    def join(self, person: Person, chance: random.Random) -> None:
        """Visit without a name, sign up, and join the workspace."""
        start = _start(self.company, chance)
        if person.joins_on == self.number:
            for page in ("Home", "Templates") if person.number == 0 else ("Invitation",):
                self.call(start, "$page", person, known=False, properties={"name": page})
                start += chance.uniform(20, 90)
        self.joined[person.number] = start
        traits = {"name": person.name, "title": person.title} | ({"email": person.email} if person.email else {})
        self.call(start, "$identify", person, properties=traits, user_traits=traits)
        if self.company.id:
            account = _traits(self.world, self.company, self.number) if person.number == 0 else {}
            self.call(start + 2, "$group", person, joins=True, properties=account, account_traits=account)

    def change_plan(self) -> None:
        """Tell the new plan on the day of the payment."""
        company = self.company
        if company.buys_on == self.number and company.id:
            traits = _subscription(company, self.number)
            self.call(
                _paid_at(company), "$group", company.people[0], joins=True, properties=traits, account_traits=traits
            )

    def live(self, chance: random.Random) -> None:
        """Let everybody work, or not."""
        company, mood, drive = self.company, *_mood(self.company, self.number)
        here = [person for person in company.people if person.joins_on <= self.number]
        weekday = (self.world.day_zero + timedelta(days=self.number)).weekday()
        for person in here:
            likely = drive * person.keenness * (WEEKEND if weekday > 4 else 1.0)
            if likely and (chance.random() < likely or (person.joins_on == self.number and chance.random() < 0.8)):
                self.session(person, mood, chance)
        if company.wakes_on == self.number and here:
            self.wake(here[0], chance)

    def session(self, person: Person, mood: str, chance: random.Random) -> None:
        """Half an hour at the whiteboard."""
        second = _start(self.company, chance)
        if person.number in self.joined:  # nobody is there before the sign-up
            second = self.joined[person.number] + 60
        for doing in _leanings(self.world.seed, self.company, mood):
            if chance.random() < doing[1]:
                second = self.do(second, doing[0], person, chance)
        used, limit = _storage(self.company, self.number)
        self.call(second + 30, "Board Saved", person, properties={"storage_mb": used, "limit_mb": limit})
        if self.company.seats and person.number == 0:
            self.call(second + 35, "Seats Counted", person, properties={"seats_used": self.seats_used()})

    def do(self, second: float, what: str, person: Person, chance: random.Random) -> float:
        """One thing; returns the second of the day at which it is over."""
        if what in PAGES:
            self.call(second, "$page", person, properties={"name": PAGES[what]})
        else:
            key, values = PROPERTIES.get(what, ("", ()))
            self.call(second, EVENTS[what], person, properties={key: chance.choice(values)} if key else {})
        return second + chance.uniform(15, 400)

    def wake(self, founder: Person, chance: random.Random) -> None:
        """The day on which use takes off, at any hour: a team forms, seats run out, somebody asks for us."""
        second = self.company.number * GOLDEN % 1.0 * 84_000 + chance.uniform(0, 600)
        second = max(second, self.joined.get(founder.number, 0.0) + 60)
        if self.company.kind is Kind.HAND_RAISER:
            self.call(
                second, "Sales Contacted", founder, properties={"topic": chance.choice(["Pricing", "Demo", "SSO"])}
            )
            return
        if self.company.kind is Kind.CUSTOMER:
            burst = ["seat-limit", "seats", "seats", "invite", *["security"] * chance.randint(0, 1)]
        elif self.company.kind is Kind.CONVERTER:
            burst = ["board", *["invite"] * chance.randint(4, 6), *2 * chance.sample(BURSTS, 3)]
        else:
            return
        for what in burst:
            second = self.do(second, what, founder, chance)

    def seats_used(self) -> int:
        """How many people have a seat today."""
        return sum(person.joins_on <= self.number for person in self.company.people)

    def call(self, second: float, name: str, person: Person, *, known: bool = True, **fields: Any) -> None:
        """Make one call. One company in five never names its workspace but at the joining."""
        names_it = fields.get("joins") or (known and self.company.number % 5 != 4)
        self.made.append(
            Fact(
                message_id=f"demo-{self.company.number}-{self.number}-{len(self.made)}",
                at=self.world.at(self.number, second),
                name=name,
                user_id=person.user_id if known else None,
                anonymous_id=person.anonymous_id,
                group_id=self.company.id if names_it else None,
                **fields,
            )
        )


def _traits(world: World, company: Company, day: int) -> dict[str, Any]:
    """What the sign-up form asks of a company."""
    since = world.day_zero + timedelta(days=company.signs_up_on)
    return {
        "name": company.name,
        "industry": company.industry,
        "country": company.country,
        "employees": company.employees,
        "created_at": since.isoformat(),
    } | _subscription(company, day)


def _subscription(company: Company, day: int) -> dict[str, Any]:
    """Plan and paid seats on a day."""
    if company.buys_on is None or day < company.buys_on:
        return {"plan": company.plan} | ({"seats": company.seats} if company.seats else {})
    plan = "business" if company.kind is Kind.CUSTOMER else "team"
    return {"plan": plan, "seats": len(company.people) + 4}


def _mood(company: Company, day: int) -> tuple[str, float]:
    """How a company is used on a day, and how much."""
    if company.fades_on is not None and day >= company.fades_on:
        return "trying", QUIET
    awake = company.wakes_on is not None and day >= company.wakes_on
    bought = company.buys_on is not None and day >= company.buys_on
    match company.kind:
        case Kind.CONVERTER:
            return ("steady", 0.7) if bought else ("team", 1.0) if awake else ("trying", 0.4)
        case Kind.CUSTOMER:
            return ("growing", 0.9) if awake and not bought else ("steady", 0.7)
        case Kind.GONE_QUIET:
            return "team", 0.6
        case Kind.INTERNAL | Kind.COMPETITOR:
            return "team", 0.7
        case Kind.USAGE_WITHOUT_FIT:
            return "alone", 1.1
        case Kind.TYRE_KICKER:
            return "trying", 0.8
        case _:
            return "trying", 0.25


def _leanings(seed: int, company: Company, mood: str) -> list[tuple[str, float]]:
    """What the company does in this mood: each has things that it likes, and things that it hardly does."""
    chance = dice(seed, company.number, mood)
    return [(what, min(0.95, base * chance.choice((0.15, 0.7, 1.0, 1.6)))) for what, base in MOODS[mood].items()]


def _start(company: Company, chance: random.Random) -> float:
    """When a session begins: second of the UTC day, in the country's working hours, sometimes in the evening."""
    local = chance.gauss(11.5, 2.4) if chance.random() < 0.85 else chance.uniform(6, 23)
    return (local - words.COUNTRIES[company.country]) % 24 * 3600 * 0.97


def _storage(company: Company, day: int) -> tuple[int, int]:
    """Used and allowed megabytes: slow growth at first, steep once a team works."""
    since = min(day - company.signs_up_on, 200)
    paying = company.kind is Kind.CUSTOMER or (company.buys_on is not None and day >= company.buys_on)
    fast = max(0, min(day - company.wakes_on, 40)) if company.wakes_on is not None else 0
    lean = 0.6 + company.number * 0.31 % 0.8
    if company.kind is Kind.CUSTOMER:
        return round((4_000 + 20 * since + 260 * fast) * lean), TEAM_STORAGE
    used = min(FREE_STORAGE - 4, round((40 + 2.2 * since + 26 * fast) * lean))
    return (used + 12 * fast, TEAM_STORAGE) if paying else (used, FREE_STORAGE)


def _paid_at(company: Company) -> float:
    return 30_000 + company.number * 977 % 30_000


def _payments(company: Company) -> list[tuple[str, int]]:
    """The kinds of payment that a company makes, and on which day."""
    of_old = company.kind is Kind.CUSTOMER
    first = [("paid", company.signs_up_on + 9)] if of_old else []
    later = [("upgraded" if of_old else "paid", company.buys_on)] if company.buys_on is not None else []
    return [*first, *later]


def _paid(world: World, company: Company, kind: str, day: int) -> Conversion:
    amount = MONTHLY * 12 * max(len(company.people), 5)
    message_id = f"demo-{kind}-{company.number}"
    return Conversion(company.external_id, kind, world.at(day, _paid_at(company)), amount, message_id)
