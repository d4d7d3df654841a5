"""The demo's companies: who there is and what will become of them. Pure, and the same for the same seed.

The vendor is Chalkline, a whiteboard for teams with a free plan. Days are numbered: day 0 is the first of the history,
day TODAY the one on which the demo was first loaded. Numbers below zero are before the history.
"""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from pqlapp.demo import words

TODAY = 120
VENDOR = "Chalkline"
SPAN = 20  # days before the history in which the oldest free accounts signed up
GOLDEN, PLASTIC = 0.6180339887, 0.7548776662  # steps that fill the unit interval evenly, at any number of them


class Kind(StrEnum):
    """What an account really is: the truth that the scores are held against."""

    CONVERTER = "converter"  # a team takes to it, meets the limits, and buys
    TYRE_KICKER = "tyre-kicker"  # looks around and hardly comes back
    GONE_QUIET = "gone quiet"  # began well, then nobody came any more
    FIT_WITHOUT_USAGE = "great fit without usage"
    USAGE_WITHOUT_FIT = "usage without fit"
    HAND_RAISER = "hand-raiser"  # asks for sales, after little use
    CUSTOMER = "customer"  # pays since before the history; some outgrow their plan
    INTERNAL = "internal"  # Chalkline's own people
    COMPETITOR = "competitor"


# Shares of the kinds among accounts that are neither cast by hand nor excluded.
SHARES = (
    (Kind.CONVERTER, 0.24),
    (Kind.TYRE_KICKER, 0.30),
    (Kind.GONE_QUIET, 0.13),
    (Kind.FIT_WITHOUT_USAGE, 0.10),
    (Kind.USAGE_WITHOUT_FIT, 0.09),
    (Kind.HAND_RAISER, 0.03),
    (Kind.CUSTOMER, 0.11),
)
PEOPLE = {  # fewest and most in one account
    Kind.CONVERTER: (5, 12),
    Kind.TYRE_KICKER: (1, 2),
    Kind.GONE_QUIET: (3, 6),
    Kind.FIT_WITHOUT_USAGE: (1, 3),
    Kind.USAGE_WITHOUT_FIT: (1, 2),
    Kind.HAND_RAISER: (1, 3),
    Kind.CUSTOMER: (6, 14),
    Kind.INTERNAL: (12, 12),
    Kind.COMPETITOR: (4, 4),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who uses the whiteboard."""

    number: int  # in the company, from 0: its founder
    user_id: str
    anonymous_id: str
    name: str
    email: str | None
    title: str
    joins_on: int
    keenness: float  # chance of a session on an average working day of an average account


@dataclass(frozen=True, slots=True)
class Company:
    """An account with its truth."""

    number: int
    kind: Kind
    id: str | None  # of its workspace; None: a person without a company
    name: str
    domain: str | None
    industry: str
    country: str
    employees: int
    plan: str  # on the day of sign-up
    seats: int  # paid ones, on the day of sign-up
    signs_up_on: int
    wakes_on: int | None  # the day on which use takes off: a team forms, or a customer outgrows its plan
    buys_on: int | None  # first payment, or the upgrade of a customer
    fades_on: int | None  # from here on hardly anybody comes
    people: tuple[Person, ...]

    @property
    def external_id(self) -> str:
        """How the account is known to whoever reads the events: its workspace, else its only person."""
        return self.id or self.people[0].user_id


def dice(*parts: object) -> random.Random:
    """Return a source of chance that is always the same for the same parts."""
    return random.Random(":".join(map(str, parts)))  # noqa: S311 (made-up people need no secrets)


def truth(seed: int, accounts: int) -> dict[str, Kind]:
    """Return what each of the first so many accounts really is, by external id."""
    return {company.external_id: company.kind for company in companies(seed, accounts)}


@lru_cache(maxsize=8)
def companies(seed: int, accounts: int, until: int = TODAY) -> tuple[Company, ...]:
    """Return the companies that signed up by a day: `accounts` of them by TODAY, and later ones at the same pace."""
    later = max(0, until - TODAY) * accounts // TODAY
    return tuple(_company(seed, number, accounts) for number in range(accounts + later))


def _company(seed: int, number: int, accounts: int) -> Company:
    if number < len(CAST):
        return _with_people(seed, CAST[number])
    kind = _kind(number) if number < accounts else _kind(number, newcomers=True)
    chance = dice(seed, number)
    industry, country, employees = _profile(kind, chance)
    name = words.company_name(number, industry)
    company = Company(
        number=number,
        kind=kind,
        id=None if kind is Kind.USAGE_WITHOUT_FIT and number % 2 else _slug(name),
        name=name,
        domain=f"{_slug(name)}.example",
        industry=industry,
        country=country,
        employees=employees,
        plan="free",
        seats=0,
        signs_up_on=_sign_up(kind, number, accounts),
        wakes_on=None,
        buys_on=None,
        fades_on=None,
        people=(),
    )
    return _with_people(seed, _with_fate(company, chance))


def _kind(number: int, *, newcomers: bool = False) -> Kind:
    """Spread the kinds evenly over the numbers; nobody who comes new is a customer of old."""
    left = number * GOLDEN % 1.0
    for kind, share in SHARES:
        if left < share and not (newcomers and kind is Kind.CUSTOMER):
            return kind
        left -= share
    return Kind.TYRE_KICKER


def _slug(name: str) -> str:
    return "-".join(name.lower().replace("&", "").split())


def _sign_up(kind: Kind, number: int, accounts: int) -> int:
    """More sign up as time goes by; customers were there before the history."""
    spread = number * PLASTIC % 1.0
    if number >= accounts:
        return TODAY + 1 + (number - accounts) * TODAY // accounts
    if kind is Kind.CUSTOMER:
        return -40 - int(spread * 400)
    return int((TODAY + SPAN) * spread**0.6) - SPAN


def _profile(kind: Kind, chance: random.Random) -> tuple[str, str, int]:
    """Industry, country and people of a company."""
    fits = {Kind.CONVERTER: 0.85, Kind.FIT_WITHOUT_USAGE: 1.0, Kind.CUSTOMER: 0.8, Kind.HAND_RAISER: 0.7}.get(kind, 0.4)
    if kind is Kind.USAGE_WITHOUT_FIT:
        industry = chance.choice(["education", "media", "retail"])
        return industry, chance.choice(["BR", "IN", "PL", "JP"]), chance.randint(1, 9)
    if chance.random() < fits:
        size = round(chance.lognormvariate(5.4, 0.9))
        return chance.choice(words.GOOD_INDUSTRIES), chance.choice(words.GOOD_COUNTRIES), max(52, size)
    size = max(2, round(chance.lognormvariate(3.4, 1.1)))
    return chance.choice(words.INDUSTRIES), chance.choice(list(words.COUNTRIES)), size


def _with_fate(company: Company, chance: random.Random) -> Company:
    """What becomes of it, and when."""
    since = company.signs_up_on
    match company.kind:
        case Kind.CONVERTER:
            forms = since + chance.randint(2, 26)
            return replace(company, wakes_on=forms, buys_on=forms + chance.randint(16, 45))
        case Kind.CUSTOMER:
            wakes = int(company.number * GOLDEN * 7 % 1.0 * (TODAY + 30)) if company.number % 3 else None
            buys = None if wakes is None else wakes + chance.randint(20, 50)
            return replace(company, plan="team", wakes_on=wakes, buys_on=buys)
        case Kind.HAND_RAISER:
            return replace(company, wakes_on=since + chance.randint(1, 20), fades_on=since + 40)
        case Kind.GONE_QUIET:
            return replace(company, wakes_on=since + 1, fades_on=since + chance.randint(9, 24))
        case Kind.TYRE_KICKER:
            return replace(company, fades_on=since + chance.randint(1, 6))
        case Kind.FIT_WITHOUT_USAGE:
            return replace(company, fades_on=since + chance.randint(3, 30))
        case _:
            return company


def _with_people(seed: int, company: Company) -> Company:
    chance = dice(seed, company.number, "people")
    few, many = PEOPLE[company.kind]
    count = 1 if company.id is None else chance.randint(few, many)
    people = tuple(_person(company, n, chance) for n in range(count))
    return replace(company, people=people, seats=_seats(company, people))


def _seats(company: Company, people: tuple[Person, ...]) -> int:
    """Paid seats of a customer: tight where more people are to come, roomy elsewhere; none on the free plan."""
    if company.kind is not Kind.CUSTOMER:
        return 0
    if company.wakes_on is None:
        return len(people) + 5
    return sum(person.joins_on < company.wakes_on for person in people) + 1


def _person(company: Company, number: int, chance: random.Random) -> Person:
    first, last = chance.choice(words.FIRST_NAMES), chance.choice(words.LAST_NAMES)
    email = f"{first}.{last}{number or ''}@{company.domain}".lower() if company.id else None
    return Person(
        number=number,
        user_id=f"u-{company.number}-{number}",
        anonymous_id=f"a-{company.number}-{number}-{chance.randrange(16**6):06x}",
        name=f"{first} {last}",
        email=email,
        title=chance.choice(words.TITLES),
        joins_on=_joining(company, number, chance),
        keenness=chance.uniform(0.25, 0.6) if number else 0.65,
    )


def _joining(company: Company, number: int, chance: random.Random) -> int:
    """The founder signs up; the others come when use takes off, or over the years at a customer."""
    since = company.signs_up_on
    if number == 0:
        return since
    if company.kind in (Kind.CUSTOMER, Kind.INTERNAL):
        late = company.wakes_on is not None and number > 7
        return (company.wakes_on or 0) + chance.randint(0, 25) if late else since + chance.randint(0, 30)
    return max(since, (company.wakes_on or since) + chance.randint(-1, 12))


def _known(number: int, kind: Kind, name: str, **fields: object) -> Company:
    """A company that everybody in this house knows, cast by hand."""
    common: dict[str, object] = {
        "id": _slug(name.split()[0]),
        "domain": f"{_slug(name.split()[0])}.example",
        "industry": "software",
        "country": "US",
        "employees": 140,
        "plan": "free",
        "seats": 0,
        "wakes_on": None,
        "buys_on": None,
        "fades_on": None,
    }
    return Company(number=number, kind=kind, name=name, people=(), **(common | fields))  # type: ignore[arg-type]


def _night_owl(number: int, name: str, industry: str, employees: int, wakes_on: int, days: int) -> Company:
    """A team that takes to it on the very day of the first load or shortly before, so that the desk has fresh leads."""
    fields = {"id": _slug(name), "domain": f"{_slug(name)}.example", "industry": industry, "employees": employees}
    return _known(
        number,
        Kind.CONVERTER,
        name,
        **fields,
        country="DE",
        signs_up_on=TODAY - days,
        wakes_on=wakes_on,
        buys_on=TODAY + 21,
    )


CAST = (
    _known(0, Kind.CONVERTER, "Acme", industry="fintech", signs_up_on=96, wakes_on=TODAY - 3, buys_on=TODAY + 24),
    _known(1, Kind.TYRE_KICKER, "Globex", industry="logistics", employees=900, signs_up_on=52, fades_on=55),
    _known(2, Kind.CONVERTER, "Initech", employees=420, signs_up_on=2, wakes_on=9, buys_on=38),
    _known(3, Kind.INTERNAL, VENDOR, employees=38, signs_up_on=-300, country="DE", wakes_on=-200),
    _known(4, Kind.COMPETITOR, "Inkboard", employees=210, signs_up_on=70, wakes_on=74),
    _night_owl(5, "Tern & Tide", "consulting", 85, TODAY, 12),
    _night_owl(6, "Parallel Foods", "manufacturing", 640, TODAY, 31),
    _night_owl(7, "Copperline Bank", "fintech", 1900, TODAY, 9),
    _night_owl(8, "Hutch Interiors", "design", 24, TODAY, 44),
    _night_owl(9, "Fieldnote", "software", 58, TODAY, 6),
    _night_owl(10, "Mosaic Mobility", "software", 310, TODAY - 1, 18),
    _night_owl(11, "Signal & Sons", "manufacturing", 175, TODAY, 15),
    _night_owl(12, "Harvest Cloud", "software", 96, TODAY, 25),
    _night_owl(13, "Northgate Advisory", "consulting", 1200, TODAY, 4),
)
