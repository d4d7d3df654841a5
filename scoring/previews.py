"""What a document would find today, before anybody publishes it: how many meet each row, and who is near the line.

Reads, and never writes. Many accounts are not all judged: a sample of them tells as much, in well under a second.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import psycopg
from django.db import transaction

from scoring.compiler import sql
from scoring.compiler.plan import plan
from scoring.compiler.query import Query
from scoring.language import (
    Age,
    All,
    Condition,
    Document,
    Filter,
    Group,
    Leaf,
    Level,
    Measured,
    Not,
    PerUnit,
    Points,
    SinceLast,
    Trait,
    signal_digest,
    signals_of,
)
from scoring.language import (
    Any as AnyOf,
)
from scoring.language.parsing import NUMBER_TESTS
from scoring.models import Signal, Status
from scoring.models.raw import cursor

EVERYBODY = 3_000  # accounts: so many are all judged, of more a sample of as many (0.3 s for ten conditions of 100,000)
NEAREST = 3
PATIENCE = "5s"
PROBES = "!probes"  # the group of the questions; none of a document's is called like this
NOTHING: tuple[int, int, list[int], str] = (0, 0, [], "[[], [], []]")
NO_TILES = -1  # the id of a signal that nothing was folded for yet


class TookTooLong(Exception):
    """The document could not be judged in PATIENCE."""


@dataclass(frozen=True, slots=True)
class Met:
    """How many accounts of the population meet a part of the document today."""

    now: int
    looser: tuple[Decimal, int] | None = None  # with the threshold one step to the easier side: the step, the count
    stricter: tuple[Decimal, int] | None = None
    reads_missing: bool = False  # it asks for signals whose history was not read yet


@dataclass(frozen=True, slots=True)
class Near:
    """An account, or a user of one, beside the line between PQLs and the others."""

    account: int
    user: int | None  # where users are judged
    usage: int  # hundredths
    fit: int  # hundredths
    by: int  # hundredths that it lacks, or has to spare


@dataclass(frozen=True, slots=True)
class Preview:
    """What the document says of everybody today. Counts are of the accounts that were judged, or of the users."""

    level: Level
    judged: int
    of: int  # in all; more than `judged`: it was a sample
    population: int  # of the judged: neither excluded nor outside
    met: Mapping[str, Met]  # by path, such as rules[2].when.all[0]
    tiers: Sequence[tuple[str, str, int]]  # (status, tier or "", accounts)
    below: Sequence[Near]  # nearest to becoming a PQL
    above: Sequence[Near]  # nearest to ceasing to be one
    missing: Sequence[str]  # signals whose history was not read yet: they count as never seen

    @property
    def is_sample(self) -> bool:
        """Whether not everybody was judged."""
        return self.judged < self.of

    def scaled(self, count: int) -> int:
        """Return a count of the judged as one of all."""
        return round(count * self.of / self.judged) if self.judged else 0


def preview(*, document: Document, as_of: date, most: int = EVERYBODY) -> Preview:
    """Return what the document says of everybody on the day, by one statement; of more than `most` a sample.

    Signals without tiles count as never seen, and are listed. Raises TookTooLong.
    """
    questions = list(_questions(document))
    ids, missing = _signals(document)
    asked = _with_probes(document, [condition for _, _, condition in questions])
    judged = sql.compile(plan(asked), sql.FEW, ids)
    try:
        with transaction.atomic(), cursor() as c:
            c.execute("SELECT set_config('statement_timeout', %s, true)", [PATIENCE])
            accounts, of = _sample(c, most)
            query = _summed(document, judged, [path for path, *_ in questions])
            params = {**query.params, "as_of": as_of, "accounts": accounts}
            subjects, population, counts, told = c.execute(query.sql, params, prepare=False).fetchone() or NOTHING
    except psycopg.errors.QueryCanceled:
        raise TookTooLong(f"judging {most:,} accounts took more than {PATIENCE}") from None
    tiers, below, above = orjson.loads(told)
    # Some accounts are no subjects, such as homes that everybody has left: as many of all as of the sample.
    everybody = round(of * subjects / len(accounts)) if len(accounts) < of else subjects
    return Preview(
        level=document.level,
        judged=subjects,
        of=everybody,
        population=population,
        met=_answers(document, questions, counts, missing),
        tiers=[(status, "" if k is None else document.tiers[k].name, n) for status, k, n in tiers],
        below=[Near(*each) for each in below],
        above=[Near(*each) for each in above],
        missing=sorted(missing),
    )


# ---- what is asked of each account

NOW, LOOSER, STRICTER = "now", "looser", "stricter"
Question = tuple[str, tuple[str, Decimal], Condition | PerUnit]  # path, which side with its threshold, what is asked


def parts(document: Document) -> Iterator[tuple[str, Condition | PerUnit]]:
    """Yield every condition and measure of the document with its path, as faults name it: `rules[2].when.all[0]`."""
    if document.population is not None:
        yield from _inside(document.population, "population")
    for i, rule in enumerate(document.rules):
        if isinstance(rule, Points) and rule.per is not None:
            yield f"rules[{i}].per", rule.per
        if rule.when is not None:
            yield from _inside(rule.when, f"rules[{i}].when")


def _inside(condition: Condition, path: str) -> Iterator[tuple[str, Condition]]:
    yield path, condition
    match condition:
        case All(of) | AnyOf(of):
            word = "all" if isinstance(condition, All) else "any"
            for i, part in enumerate(of):
                yield from _inside(part, f"{path}.{word}[{i}]")
        case Not(of):
            yield from _inside(of, f"{path}.not")


def _questions(document: Document) -> Iterator[Question]:
    for path, part in parts(document):
        yield path, (NOW, Decimal(0)), part
        for side, threshold, changed in _one_step(part):
            yield path, (side, threshold), changed


def _one_step(part: Condition | PerUnit) -> Iterator[tuple[str, Decimal, Condition | PerUnit]]:
    """Yield the part with its threshold one step to each side."""
    threshold, growing = _threshold(part)
    if threshold is None:
        return
    step = step_of(threshold, whole=isinstance(part, SinceLast | Age) or _counts(part))
    for side, changed in ((LOOSER, threshold - step * growing), (STRICTER, threshold + step * growing)):
        # Nobody asks for none of something: at least 0 is true of everybody, and nothing is given for every 0.
        if changed > 0 or (changed == 0 and not _counts(part) and not isinstance(part, PerUnit)):
            yield side, changed, _with_threshold(part, changed)


def _threshold(part: Condition | PerUnit) -> tuple[Decimal | None, int]:
    """The part's threshold, with 1 where a greater one is stricter, and -1 where it is looser."""
    match part:
        case Measured() | SinceLast() | Age():
            return _direction(part.comparator, Decimal(part.threshold))
        case Trait(Filter(test=test, operand=Decimal() as operand)) if test in NUMBER_TESTS:
            return _direction(test, operand)
        case PerUnit():
            return part.every, 1
    return None, 1


def _direction(comparator: str, threshold: Decimal) -> tuple[Decimal | None, int]:
    if comparator == "equals":
        return None, 1
    return threshold, 1 if comparator in ("at_least", "more_than") else -1


def _counts(part: Condition | PerUnit) -> bool:
    return isinstance(part, Measured | PerUnit) and part.measure in ("count", "users", "days", "streak")


def step_of(threshold: Decimal, *, whole: bool) -> Decimal:
    """Return a step that one would try: about a tenth, as 1, 2 or 5 of its decimal place; of whole numbers at least 1.

    3 is tried as 2 and 4, 50 as 45 and 55, 1,000 as 900 and 1,100, and 0.8 as 0.75 and 0.85.
    """
    if not threshold:
        return Decimal(1)
    tenth = abs(threshold) / 10
    unit = Decimal(1).scaleb(tenth.adjusted())
    step = max(unit * n for n in (1, 2, 5) if unit * n <= tenth)
    return max(step, Decimal(1)) if whole or threshold == int(threshold) else step


def _with_threshold(part: Condition | PerUnit, threshold: Decimal) -> Condition | PerUnit:
    match part:
        case Measured():
            return replace(part, threshold=threshold)
        case SinceLast() | Age():
            return replace(part, threshold=int(threshold))
        case Trait(test):
            return Trait(replace(test, operand=threshold))
        case PerUnit():
            return replace(part, every=threshold)
    raise TypeError(f"{part} has no threshold")


def _with_probes(document: Document, asked: Iterable[Condition | PerUnit]) -> Document:
    """The document with a rule for each question, in a group whose cap lets none of their points through."""
    probes = [_probe(i, part) for i, part in enumerate(asked)]
    return replace(document, rules=(*document.rules, *probes), groups=(*document.groups, Group(PROBES, "fit", 0)))


def _probe(i: int, part: Condition | PerUnit) -> Points:
    if isinstance(part, PerUnit):
        return Points(f"!{i}", "", PROBES, 1, per=part)
    return Points(f"!{i}", "", PROBES, 1, when=part)


def _answers(
    document: Document, questions: Sequence[Question], counts: Sequence[int], missing: Iterable[str]
) -> dict[str, Met]:
    found: dict[str, Met] = {}
    unread = frozenset(missing)
    for (path, (side, threshold), part), count in zip(questions, counts, strict=True):
        if side == NOW:
            found[path] = Met(count, reads_missing=bool(unread & _read_by(part)))
        elif side == LOOSER:
            found[path] = replace(found[path], looser=(threshold, count))
        else:
            found[path] = replace(found[path], stricter=(threshold, count))
    return found


def _read_by(part: Condition | PerUnit) -> set[str]:
    match part:
        case All(of) | AnyOf(of):
            return set().union(*map(_read_by, of))
        case Not(of):
            return _read_by(of)
        case leaf:
            return set(_names(leaf))


def _names(leaf: Leaf | PerUnit) -> Iterator[str]:
    """The signals that a leaf reads."""
    if isinstance(signal := getattr(leaf, "signal", None), str):
        yield signal
    yield from getattr(leaf, "signals", ())


# ---- the statement


def _signals(document: Document) -> tuple[dict[str, int], set[str]]:
    """Return the stored id of each signal by name, and the names of those whose tiles do not hold all of history."""
    digests = {name: signal_digest(signal) for name, signal in signals_of(document).items()}
    rows = Signal.objects.filter(digest__in=digests.values())
    stored = {signal.digest: signal for signal in rows}
    missing = {name for name, digest in digests.items() if digest not in stored or not stored[digest].is_ready}
    ids = {name: stored[digest].pk if digest in stored else NO_TILES for name, digest in digests.items()}
    return ids, missing


# The order of a hash is the same each time: a threshold that is moved is tried on the same accounts.
_CHOSEN = """
SELECT array(
    SELECT id FROM scoring_account WHERE merged_into_id IS NULL AND kind <> 'visitor'
    ORDER BY hashtextextended(id::text, 0) LIMIT %(most)s
), (SELECT count(*) FROM scoring_account WHERE merged_into_id IS NULL AND kind <> 'visitor')
"""


def _sample(c: psycopg.Cursor[Any], most: int) -> tuple[list[int], int]:
    """Return the accounts to judge, and how many there are."""
    row = c.execute(_CHOSEN, {"most": most}).fetchone()
    return (row[0], row[1]) if row else ([], 0)


def _summed(document: Document, judged: Query, paths: Sequence[str]) -> Query:
    """Return the statement that adds up what was judged, in one row; `paths` are those of the questions, in order."""
    first = len(document.rules) + 1
    counts = [f"count(*) FILTER (WHERE {_asked(path)} AND met[{first + i}])" for i, path in enumerate(paths)]
    text = f"""
WITH judged AS MATERIALIZED ({judged.sql}),
counted AS (SELECT count(*) AS subjects, count(*) FILTER (WHERE {INSIDE}) AS population,
    ARRAY[{", ".join(counts)}]::bigint[] AS counts FROM judged),
tiers AS (SELECT status, tier, count(*) AS n FROM judged GROUP BY status, tier)
SELECT subjects, population, counts, jsonb_build_array(
    (SELECT coalesce(jsonb_agg(jsonb_build_array(status, tier, n)), '[]') FROM tiers),
    {_nearest(document, _lacks(document), _is_pql(document, False))},
    {_nearest(document, _spares(document), _is_pql(document, True))})::text
FROM counted"""
    return Query(text, judged.params)


INSIDE = f"status IN ('{Status.SCORED.value}', '{Status.DISQUALIFIED.value}')"


def _asked(path: str) -> str:
    """Of whom an answer counts: of the population; what the population itself asks, of all who are not excluded."""
    return f"status <> '{Status.EXCLUDED.value}'" if path.startswith("population") else INSIDE


def _is_pql(document: Document, wanted: bool) -> str:
    places = [str(k) for k, tier in enumerate(document.tiers) if tier.pql]
    inside = f"tier IN ({', '.join(places)})" if places else "false"
    return f"({inside})" if wanted else f"(tier IS NULL OR NOT {inside})"


def _nearest(document: Document, by: str, who: str) -> str:
    """The accounts or users with the least that they lack, or have to spare, as JSON."""
    user = "user_id" if document.level == "user" else "NULL::bigint AS user_id"
    told, turn = "account_id, user_id, usage, fit, by", "by, account_id, user_id"
    return f"""(SELECT coalesce(jsonb_agg(jsonb_build_array({told}) ORDER BY {turn}), '[]')
    FROM (SELECT account_id, {user}, usage, fit, {by} AS by FROM judged
        WHERE status = '{Status.SCORED.value}' AND {who} AND {by} IS NOT NULL
        ORDER BY {turn} LIMIT {NEAREST}) AS near)"""


def _lacks(document: Document) -> str:
    """How many hundredths, of both scores together, are missing to the nearest tier of PQLs."""
    gaps = [
        f"GREATEST(0, {tier.enter.usage} - usage) + GREATEST(0, {tier.enter.fit} - fit)"
        for tier in document.tiers
        if tier.pql
    ]
    return f"LEAST({', '.join([*gaps, 'NULL::bigint'])})"


def _spares(document: Document) -> str:
    """How many hundredths may go before no line of a tier of PQLs is reached; null for those that a rule lifts."""
    margins = []
    for line in (tier.enter for tier in document.tiers if tier.pql):
        sides = [f"{score} - {least}" for score, least in (("usage", line.usage), ("fit", line.fit)) if least]
        within = f"usage >= {line.usage} AND fit >= {line.fit}"
        margins.append(f"CASE WHEN {within} THEN LEAST({', '.join([*sides, 'NULL::bigint'])}) END")
    return f"GREATEST({', '.join([*margins, 'NULL::bigint'])})"
