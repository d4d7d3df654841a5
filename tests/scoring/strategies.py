"""Random rule documents and histories, made of few names so that things really fire and cases shrink well."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import strategies as st

from scoring import language
from tests.scoring.oracle import Call, Exclusion, History, Outcome, World

T = TypeVar("T")

FIRST_DAY = date(2026, 1, 5)
LAST_DAY = FIRST_DAY + timedelta(days=59)


def midnight(day: date) -> datetime:
    """The moment at which the UTC day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def rarely(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """None in three of four draws. (`one_of` would weigh each branch inside the strategy alike.)"""
    return st.integers(0, 3).flatmap(lambda chance: strategy if chance == 3 else st.none())


# -- documents: the names are fixed, what they stand for is drawn ---------------------------------------------

CLICKS, VISITS, STORAGE, QUOTA = "clicks", "visits", "storage", "quota"
PLAIN_SIGNALS = st.sampled_from([CLICKS, VISITS, STORAGE, QUOTA, language.ANY_SIGNAL])
VALUED_SIGNALS = st.sampled_from([STORAGE, QUOTA])
EVENTS = ("invited", "saved", "exported", "$page")


def decimals(numbers: str) -> st.SearchStrategy[Decimal]:
    """One of the numbers."""
    return st.sampled_from([Decimal(number) for number in numbers.split()])


COUNTS = decimals("1 2 3 0 1 5 0.5 -1")
NUMBERS = decimals("1 2 3 5 0 0.5 0.3 10 -1 100")
SHARES = decimals("1 0.8 0.5 3 0.1 0 -1 10")
TEXTS = st.sampled_from(["pdf", "video", "free", "pro", "p", "1"])
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans())
WINDOWS = st.one_of(st.integers(1, 40), st.none())
STREAK_WINDOWS = st.one_of(st.integers(1, 20), st.just(language.LONGEST_STREAK))
OWN_WINDOWS = {"streak": STREAK_WINDOWS, "trend": st.integers(1, 30)}  # these always have one
COMPARATORS = st.sampled_from(language.COMPARATORS)
HUNDREDTHS = st.sampled_from([1000, 2000, 500, 125, 1, 3000])


def filters(keys: st.SearchStrategy[str]) -> st.SearchStrategy[language.Filter]:
    """Tests of one of the keys."""
    pairs = st.tuples(NUMBERS, NUMBERS).map(lambda pair: tuple(sorted(pair)))
    operands: list[tuple[list[str], st.SearchStrategy[Any]]] = [
        (["at_least", "at_most", "more_than", "less_than"], NUMBERS),
        (["equals", "contains"], SCALARS),
        (["in"], st.lists(SCALARS, min_size=1, max_size=3).map(tuple)),
        (["between"], pairs),
        (["starts_with"], TEXTS),
        (["exists"], st.booleans()),
    ]
    return st.one_of(
        *(st.builds(language.Filter, keys, st.sampled_from(tests), operand) for tests, operand in operands)
    )


PROPERTY_TESTS = filters(st.sampled_from(["used_mb", "kind", "tags"]))
TRAIT_TESTS = filters(st.sampled_from(["plan", "seats", "tags", "created_at"]))
EVENT_NAMES = st.sampled_from(
    [
        *(("invited",), ("saved",), ("exported",), ("$page",), ("$group",), (language.ANY_EVENT,)),
        *(("invited", "saved"), ("exported", "saved"), ("$page", "exported", "invited")),
    ]
)
WHERE = st.lists(PROPERTY_TESTS, max_size=2).map(tuple)
VALUES = st.sampled_from(["used_mb", "seats"])
LIMITS = st.one_of(
    st.builds(language.Limit, property=st.sampled_from(["quota_mb", "used_mb"])),
    st.builds(language.Limit, trait=st.sampled_from(["seats", "plan"])),
    st.builds(
        language.Limit,
        by_trait=st.just("plan"),
        table=st.sampled_from(
            [(("free", Decimal(5)), ("pro", Decimal(50))), (("free", Decimal("0.5")), ("pro", Decimal(0)))]
        ),
    ),
)
SIGNALS = {
    CLICKS: st.builds(language.Signal, EVENT_NAMES),
    VISITS: st.builds(language.Signal, EVENT_NAMES, WHERE),
    STORAGE: st.builds(language.Signal, EVENT_NAMES, WHERE, VALUES),
    QUOTA: st.builds(language.Signal, EVENT_NAMES, WHERE, VALUES, LIMITS),
}


def measured(windows: st.SearchStrategy[int | None]) -> st.SearchStrategy[language.Measured]:
    """Comparisons of each measure over windows of these lengths."""
    return st.one_of(
        *(
            st.builds(
                language.Measured,
                st.sampled_from(measures),
                signals,
                OWN_WINDOWS.get(measures[0], windows),
                COMPARATORS,
                thresholds,
            )
            for measures, signals, thresholds in [
                (["count", "users", "days"], PLAIN_SIGNALS, COUNTS),
                (["streak"], PLAIN_SIGNALS, COUNTS),
                (["trend"], PLAIN_SIGNALS, SHARES),
                (["sum", "max", "last"], VALUED_SIGNALS, NUMBERS),
                (["ratio"], st.just(QUOTA), SHARES),
            ]
        )
    )


SEVERAL_SIGNALS = st.lists(PLAIN_SIGNALS, min_size=1, max_size=4, unique=True)


def breadths(windows: st.SearchStrategy[int | None]) -> st.SearchStrategy[language.Breadth]:
    """Comparisons of how many of some signals were seen over windows of these lengths."""
    signals = SEVERAL_SIGNALS.map(lambda names: tuple(sorted(names)))
    return st.builds(language.Breadth, signals, windows, COMPARATORS, COUNTS)


def paths(windows: st.SearchStrategy[int | None]) -> st.SearchStrategy[language.Steps]:
    """Two or three signals in an order, over windows of these lengths."""
    steps = st.lists(PLAIN_SIGNALS, min_size=2, max_size=3, unique=True).map(tuple)
    return st.builds(language.Steps, steps, windows)


def nested(leaf: st.SearchStrategy[Any], depth: int) -> st.SearchStrategy[language.Condition]:
    """Conditions of these leaves, nested up to so deep; a leaf is the simplest."""
    if depth == 0:
        return leaf
    inner = nested(leaf, depth - 1)
    parts = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        leaf,
        st.builds(language.Not, inner),
        st.builds(language.All, parts),
        st.builds(language.Any, parts),
    )


DAYS = st.integers(0, 40)
OUTCOME_KINDS = st.sampled_from(["paid", "won", "upgraded"])
KINDS = st.lists(OUTCOME_KINDS, min_size=1, max_size=2, unique=True).map(tuple)
LAPSING_LEAVES = st.one_of(measured(st.integers(1, 40)), breadths(st.integers(1, 40)), paths(st.integers(1, 40)))
LEAVES = st.one_of(
    measured(WINDOWS),
    st.builds(language.Trait, TRAIT_TESTS),
    st.builds(language.Ever, PLAIN_SIGNALS),
    st.builds(language.FirstWithin, PLAIN_SIGNALS, st.integers(1, 40)),
    st.builds(language.SinceLast, PLAIN_SIGNALS, COMPARATORS, DAYS),
    breadths(WINDOWS),
    paths(WINDOWS),
    st.builds(language.Age, COMPARATORS, DAYS),
    st.builds(language.Converted, KINDS),
)
CONDITIONS = nested(LEAVES, 3)
# A rule that qualifies must lapse: it reads a window, and nothing that stays true for ever.
LAPSING_CONDITIONS = st.one_of(
    nested(LAPSING_LEAVES, 1),
    st.builds(
        lambda windowed, other: language.All((windowed, other)),
        LAPSING_LEAVES,
        st.builds(language.Trait, TRAIT_TESTS),
    ),
)

GROUP_NAMES = st.sampled_from(["activity", "habit", "company"])
TIER_NAMES = ("hot", "warm", "cool")


def decays(signals: st.SearchStrategy[str | None]) -> st.SearchStrategy[language.Decay | None]:
    """None, or spans that are shorter and longer than their steps."""
    shapes = st.sampled_from(["half_life", "linear"])
    return st.one_of(st.none(), st.builds(language.Decay, shapes, st.sampled_from([7, 30, 1, 3, 14]), signals))


def _per_unit(
    measures: list[str],
    signals: st.SearchStrategy[str],
    windows: st.SearchStrategy[int | None] = WINDOWS,
    decay: st.SearchStrategy[language.Decay | None] = st.none(),  # noqa: B008 (a strategy never changes)
) -> st.SearchStrategy[language.PerUnit]:
    every = decimals("1 2 0.3 5")
    return st.builds(language.PerUnit, st.sampled_from(measures), signals, windows, every, HUNDREDTHS, decay)


PER_UNITS = st.one_of(
    _per_unit(["count"], PLAIN_SIGNALS, decay=decays(st.none())),
    _per_unit(["sum"], VALUED_SIGNALS, decay=decays(st.none())),
    _per_unit(["users", "days"], PLAIN_SIGNALS),
    _per_unit(["streak"], PLAIN_SIGNALS, STREAK_WINDOWS),
    _per_unit(["max", "last"], VALUED_SIGNALS),
)
POINTS = st.sampled_from([1000, 2000, 500, 125, 1, 3000, -1000, -125])
RULE = {"id": st.just("rule"), "name": st.just("Rule")}  # both are set once the rules are in a row
POINTS_RULES = st.one_of(
    st.builds(language.Points, **RULE, group=GROUP_NAMES, points=POINTS, when=CONDITIONS, decay=decays(PLAIN_SIGNALS)),
    st.builds(
        language.Points,
        **RULE,
        group=GROUP_NAMES,
        points=POINTS,
        when=rarely(CONDITIONS),
        per=PER_UNITS,
    ),
)
VERDICT_RULES = st.one_of(
    st.builds(language.Qualify, **RULE, tier=st.sampled_from(TIER_NAMES), when=LAPSING_CONDITIONS),
    st.builds(language.Disqualify, **RULE, when=CONDITIONS),
)
CORNERS = st.sampled_from([1000, 500, 2000, 3000, 0])


@st.composite
def tiers(draw: st.DrawFn, name: str) -> language.Tier:
    """A tier whose hold is not above its enter."""
    enter = language.Line(draw(CORNERS), draw(st.one_of(st.just(0), CORNERS)))
    share = draw(st.sampled_from([1, 2, 4]))
    hold = language.Line(enter.usage // share, enter.fit // share)
    return language.Tier(name, draw(st.booleans()), enter, hold)


@st.composite
def documents(draw: st.DrawFn) -> language.Document:
    """Valid documents over the whole language, in the form that `language.load` gives them."""
    points = draw(st.lists(POINTS_RULES, min_size=1, max_size=5))
    verdicts = draw(st.lists(VERDICT_RULES, max_size=2))
    rules = [replace(rule, id=f"r{i}", name=f"Rule {i}") for i, rule in enumerate([*points, *verdicts])]
    caps = st.one_of(st.none(), st.sampled_from([1500, 2500, 0, 100]))
    document = language.Document(
        slug="random",
        name="Random",
        motion="new_business",
        signals=tuple((name, draw(signal)) for name, signal in SIGNALS.items()),
        groups=(
            language.Group("activity", "usage", draw(caps)),
            language.Group("company", "fit", draw(caps), draw(st.booleans())),
            language.Group("habit", "usage", draw(caps), draw(st.booleans())),
        ),
        rules=tuple(rules),
        tiers=tuple(draw(tiers(name)) for name in TIER_NAMES),
        goal=draw(
            st.builds(
                language.Goal, st.one_of(st.just(()), KINDS), st.one_of(st.none(), st.sampled_from(list(SIGNALS)))
            )
        ),
        sign_up=draw(
            st.builds(
                language.SignUp,
                st.sampled_from(["created_at", "seats"]),
                st.one_of(st.none(), st.sampled_from(list(SIGNALS))),
            )
        ),
        population=draw(rarely(nested(LEAVES, 1))),
    )
    return language.load(language.dump(document))


def _of_a_user(part: Any) -> Any:
    """The same where users are judged: a person has days instead of a number of users, and an age."""
    match part:
        case language.Measured(measure="users") | language.PerUnit(measure="users"):
            return replace(part, measure="days")
        case language.Age():
            return replace(part, of="user")
        case language.All(of):
            return language.All(tuple(map(_of_a_user, of)))
        case language.Any(of):
            return language.Any(tuple(map(_of_a_user, of)))
        case language.Not(of):
            return language.Not(_of_a_user(of))
    return part


def at_level_user(document: language.Document) -> language.Document:
    """The document, for users."""
    rules = [replace(rule, when=_of_a_user(rule.when)) for rule in document.rules]
    rules = [replace(r, per=_of_a_user(r.per)) if isinstance(r, language.Points) else r for r in rules]
    population = _of_a_user(document.population)
    changed = replace(document, level="user", rules=tuple(rules), population=population)
    return language.load(language.dump(changed))


# -- histories: six people of a few companies, some of them free with their ids -----------------------------

PEOPLE = ("ann", "Ben", "cleo", "dora", "éva", "Zoe")  # capitals and accents: code points are no dictionary
GROUPS = ("acme", "acme", "globex", "acme.example")  # acme has most of the use; the last is also a domain
EMAIL_DOMAINS = ("acme.example", "gmail.com", "Globex.example")
TIMES = st.sampled_from([0, 12 * 3600, 86399]).map(lambda s: timedelta(seconds=s))  # edges of a day, and ties
CALL_DAYS = st.integers(0, 59).map(lambda back: LAST_DAY - timedelta(days=back))
WHO = st.integers(0, len(PEOPLE) - 1)
# Some of everything is not what a rule expects: it counts as absent, or fails the test.
AMOUNTS = st.sampled_from([1, 3, 0.1, 0.2, 0.3, 5, 10, 12.5, 0, -2, -0.5, 100, 4.0, None, True, "5", [1]])
WORDS = st.sampled_from(["pdf", "pdf.zip", "video", "Pdf", "free", "", None, False, 1, ["pdf", 1]])
LISTS = st.sampled_from([[], ["pdf"], ["free", 1], [5.0, True], [None, "pdf.zip"], None, "pdf", 5])
PLANS = st.sampled_from(["free", "pro", "Pro", None, 5, True, ["pro"]])
PROPERTIES = st.fixed_dictionaries(
    {"used_mb": AMOUNTS}, optional={"quota_mb": AMOUNTS, "kind": WORDS, "tags": LISTS, "seats": AMOUNTS}
)
BIRTHDAYS = st.one_of(
    st.integers(-5, 90).map(lambda back: (LAST_DAY - timedelta(days=back)).isoformat()),
    st.sampled_from(["2026-01-20T23:30:00-05:00", "2026-01-10T00:00:00Z", "soon", 20260110, None]),
)
TRAITS = st.fixed_dictionaries(
    {},
    optional={
        "plan": PLANS,
        "seats": AMOUNTS,
        "tags": LISTS,
        "created_at": BIRTHDAYS,
    },
)
EMAILS = st.one_of(
    st.builds(lambda who, domain: f"{PEOPLE[who]}@{domain}", WHO, st.sampled_from(EMAIL_DOMAINS)),
    st.sampled_from(["nobody", None, 5]),
)


def _user(who: int) -> dict[str, Any]:
    return {"user_id": PEOPLE[who]}


def _anonymous(who: int, device: int = 1) -> dict[str, Any]:
    return {"anonymous_id": f"a{who}.{device}"}


DEVICES = st.builds(_anonymous, WHO, st.integers(1, 2))
IDS = st.one_of(
    st.builds(_user, WHO),
    DEVICES,
    st.builds(lambda who: {**_user(who), **_anonymous(who)}, WHO),
)
# Links of two ids: mostly of one person, sometimes of two, and once in a while of a device called like a user.
LINKS = st.one_of(
    st.builds(lambda who, device: {**_user(who), **_anonymous(who, device)}, WHO, st.integers(1, 2)),
    st.builds(lambda who, device: {**_user(who), "aliases": (f"a{who}.{device}",)}, WHO, st.integers(1, 2)),
    st.builds(lambda who, other: {**_user(who), "aliases": (PEOPLE[other],)}, WHO, WHO),
    st.builds(lambda who: {"anonymous_id": PEOPLE[who], "aliases": (f"a{who}.1",)}, WHO),
)
MAYBE_GROUP = st.sampled_from([None, None, None, *GROUPS])


def _call(names: st.SearchStrategy[str], ids: st.SearchStrategy[dict[str, Any]], **fields: Any) -> Any:
    return st.fixed_dictionaries({"name": names, "ids": ids, **fields})


USES = _call(st.sampled_from(EVENTS), IDS, group_id=MAYBE_GROUP, properties=PROPERTIES)
EMAIL = st.fixed_dictionaries({}, optional={"email": EMAILS})
IDENTIFIES = _call(st.just("$identify"), LINKS, user_traits=EMAIL, user_traits_once=EMAIL)
ALIASES = _call(st.just("$alias"), LINKS)
JOINS = _call(st.just("$group"), IDS, group_id=st.sampled_from(GROUPS), joins=st.just(True), account_traits=TRAITS)
STATEMENTS = _call(
    st.sampled_from(["saved", "$group"]),
    st.just({}),
    group_id=st.sampled_from(GROUPS),
    properties=PROPERTIES,
    account_traits=TRAITS,
    account_traits_once=TRAITS,
)
SHAPES = {"use": USES, "identify": IDENTIFIES, "join": JOINS, "statement": STATEMENTS, "alias": ALIASES}
# Half of the calls are use.
SHAPE = st.sampled_from(["use", "use", "use", "use", "use", "join", "join", "identify", "statement", "alias"])


@st.composite
def _drafts(draw: st.DrawFn) -> dict[str, Any]:
    """What a call says, without its message id."""
    fields = draw(SHAPES[draw(SHAPE)])
    at = midnight(draw(CALL_DAYS)) + draw(TIMES)
    return {**fields.pop("ids"), **fields, "at": at, "letter": draw(st.sampled_from("aZé"))}


@st.composite
def calls(draw: st.DrawFn, most: int = 40) -> tuple[Call, ...]:
    """Calls in any order of time, some of them sent twice (the very same call, as senders do)."""
    # A long list, in four that shrink by themselves: of one, Hypothesis would draw five items on average.
    drafts = [draft for _ in range(4) for draft in draw(st.lists(_drafts(), max_size=most // 4))]
    # The letter makes the order of message ids differ from the order of arrival.
    once = [Call(message_id=f"{draft.pop('letter')}{i}", **draft) for i, draft in enumerate(drafts)]
    resent = draw(st.lists(st.sampled_from(once), max_size=3)) if once else []
    return (*once, *resent)


EXCLUDED = st.one_of(
    st.tuples(st.just("user"), st.sampled_from([*PEOPLE, "a0.1", "a1.2"])),
    st.tuples(st.just("email"), st.sampled_from(["ann@acme.example", "ben@gmail.com"])),
    st.tuples(st.just("domain"), st.sampled_from(["acme.example", "globex.example", "gmail.com"])),
    st.tuples(st.just("account"), st.sampled_from([*GROUPS, "globex.example", "ann"])),
)


def _exclusion(who: tuple[str, str], start: int | None, length: int | None) -> Exclusion:
    first = FIRST_DAY + timedelta(days=start or 0)
    return Exclusion(
        kind=who[0],
        value=who[1],
        starts_on=None if start is None else first,
        ends_on=None if length is None else first + timedelta(days=length),
    )


EXCLUSIONS = st.builds(
    _exclusion,
    EXCLUDED,
    start=st.one_of(st.none(), st.integers(0, 50)),
    length=st.one_of(st.none(), st.integers(1, 40)),
)


@st.composite
def histories(draw: st.DrawFn, most_calls: int = 40) -> History:
    """Calls, with outcomes of the accounts that they make and exclusions of the people and accounts in them."""
    made = draw(calls(most_calls))
    accounts = World(History(made)).accounts
    moments = st.builds(lambda day, time: midnight(day) + time, CALL_DAYS, TIMES)
    outcomes = st.builds(Outcome, st.sampled_from(accounts), OUTCOME_KINDS, moments) if accounts else st.nothing()
    return History(
        calls=made,
        outcomes=tuple(draw(st.lists(outcomes, max_size=3))) if accounts else (),
        exclusions=tuple(draw(st.lists(EXCLUSIONS, max_size=2))),
    )


def of_people(history: History) -> History:
    """The history, in which people too have the traits that are stated of accounts: each caller those of some call."""
    stated = [call.account_traits for call in history.calls if call.account_traits]
    told: dict[str, Call] = {}
    for call in history.calls if stated else ():
        which = stated[len(told) % len(stated)]
        word = "user_traits_once" if len(told) % 3 == 0 else "user_traits"
        says = call.ids and call.name in ("$identify", "$group", "saved")
        own: dict[str, Any] = {word: {**which, **getattr(call, word)}} if says else {}
        told.setdefault(call.message_id, replace(call, **own))
    return replace(history, calls=tuple(told.get(call.message_id, call) for call in history.calls))


def days() -> st.SearchStrategy[date]:
    """Days to judge on: within the history, so that some calls lie ahead, or a little after it."""
    return st.integers(-15, 45).map(lambda back: LAST_DAY - timedelta(days=back))


# -- every measure in one document, on one busy account: what is rare among all documents is common here ------

BUSY_DAYS = 30
SMALL = decimals("1 2 3 0 0.5")
SOON = st.integers(1, 6)


def _leaves_of_each_measure() -> list[st.SearchStrategy[Any]]:
    signals = st.sampled_from([CLICKS, VISITS, STORAGE])
    windows = st.integers(1, 12)
    measures: list[tuple[list[str], st.SearchStrategy[str]]] = [
        (["count", "users", "days", "streak", "trend"], signals),
        (["sum", "max", "last"], st.just(STORAGE)),
        (["ratio"], st.just(QUOTA)),
    ]
    return [
        *(
            st.builds(language.Measured, st.just(measure), of, windows, COMPARATORS, SMALL)
            for several, of in measures
            for measure in several
        ),
        st.builds(language.Ever, signals),
        st.builds(language.SinceLast, signals, COMPARATORS, SOON),
        st.builds(language.Age, COMPARATORS, SOON),
        st.builds(language.FirstWithin, signals, SOON),
        breadths(windows),
        paths(st.one_of(windows, st.none())),
    ]


@st.composite
def of_every_measure(draw: st.DrawFn) -> language.Document:
    """Documents with a rule for each measure, in each kind of group, and rules that fade."""
    leaves = [draw(leaf) for leaf in _leaves_of_each_measure()]
    signals = st.sampled_from([CLICKS, VISITS, STORAGE])
    spans = st.sampled_from([4, 10, 2, 7])
    shapes = st.sampled_from(["half_life", "linear"])
    fading = st.builds(language.Decay, shapes, spans, signals)
    by_event = st.builds(language.Decay, shapes, spans)
    rules: list[language.Rule] = [
        draw(st.builds(language.Points, **RULE, group=GROUP_NAMES, points=POINTS, when=st.just(leaf)))
        for leaf in leaves
    ]
    rules += [
        draw(st.builds(language.Points, **RULE, group=GROUP_NAMES, points=POINTS, when=st.just(leaf), decay=fading))
        for leaf in leaves[:2]
    ]
    rules += [
        draw(
            st.builds(language.Points, **RULE, group=GROUP_NAMES, points=POINTS, per=_per_unit([m], of, decay=by_event))
        )
        for m, of in (("count", signals), ("sum", st.just(STORAGE)))
    ]
    names = {CLICKS: ("exported",), VISITS: ("invited",), STORAGE: ("saved",), QUOTA: ("saved",)}
    limit = language.Limit(property="quota_mb")
    valued: dict[str, dict[str, Any]] = {STORAGE: {"value": "used_mb"}, QUOTA: {"value": "used_mb", "limit": limit}}
    of_one = draw(st.booleans())
    document = language.Document(
        slug="random",
        name="Random",
        motion="new_business",
        signals=tuple((name, language.Signal(events, **valued.get(name, {}))) for name, events in names.items()),
        groups=(
            language.Group("activity", "usage", None),
            language.Group("company", "fit", draw(st.sampled_from([None, 2500])), of_one),
            language.Group("habit", "usage", draw(st.sampled_from([None, 1500])), not of_one),
        ),
        rules=tuple(replace(rule, id=f"r{i}", name=f"Rule {i}") for i, rule in enumerate(rules)),
        tiers=tuple(draw(tiers(name)) for name in TIER_NAMES),
    )
    return language.load(language.dump(document))


@st.composite
def busy_accounts(draw: st.DrawFn) -> History:
    """One account in which two people do much in few days."""
    deeds = st.tuples(
        st.sampled_from(["exported", "invited", "saved"]),
        st.integers(0, BUSY_DAYS - 1),
        TIMES,
        st.sampled_from(["ann", "Ben"]),
        st.fixed_dictionaries({"used_mb": st.sampled_from([1, 2, 0.5, -1])}, optional={"quota_mb": st.just(2)}),
    )
    done = [one for _ in range(3) for one in draw(st.lists(deeds, max_size=8))]
    return History(
        tuple(
            Call(f"m{i}", midnight(LAST_DAY - timedelta(days=ago)) + time, name, who, group_id="acme", properties=said)
            for i, (name, ago, time, who, said) in enumerate(done)
        )
    )
