"""Try a document on the histories of its cases, by everything that real events go through."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from scoring import engine, facts, language, tiles
from scoring.engine import Judgement
from scoring.facts import Fact
from scoring.language import Case, Deed, Document
from scoring.models import Account, Identity, Source


@dataclass(frozen=True, slots=True)
class Trial:
    """A case with what the document says of it; `differences` are in words, none if it is as expected."""

    case: Case
    judgement: Judgement
    differences: Sequence[str]


def run(*, document: Document, cases: Sequence[Case], at: datetime) -> list[Trial]:
    """Return what the document says of each case. Records all that the cases tell: for a database of their own.

    Each case is an account; its people are nobody else's. Where users are judged, it is about one of them.
    """
    source = facts.create_source(slug="cases", at=at)
    for number, case in enumerate(cases):
        _record(source, number, case, at)
    signals = tiles.register(signals=language.signals_of(document).values(), at=at)
    tiles.backfill(signals=signals)
    accounts = [Account.objects.get(external_id=_name(number)) for number in range(len(cases))]
    pairs = [(account.pk, case.on) for account, case in zip(accounts, cases, strict=True)]
    judged = {(j.account_id, j.user_id): j for j in engine.judge_pairs(document, pairs=pairs)}
    told = [judged[account.pk, _judged_user(document, n, cases[n])] for n, account in enumerate(accounts)]
    return [
        Trial(case, judgement, list(_differences(document, case, judgement)))
        for case, judgement in zip(cases, told, strict=True)
    ]


def _name(number: int) -> str:
    return f"case-{number + 1}"


def _judged_user(document: Document, number: int, case: Case) -> int | None:
    if document.level == "account":
        return None
    return Identity.objects.get(value=f"{_name(number)} {case.user}").user_id


def _record(source: Source, number: int, case: Case, at: datetime) -> None:
    """Record a case's history: its account is there even if nothing happened in it."""
    account = _name(number)
    first = min([case.on, *(deed.on for deed in case.history)])
    people = dict.fromkeys([language.SOMEBODY, case.user])
    calls = [_call(number, f"join {user}", _noon(first), name="$group", user=user, joins=True) for user in people]
    for n, deed in enumerate(case.history):
        calls += _calls(number, n, deed)
    facts.record(source=source, facts=calls, received_at=at)
    for n, deed in enumerate(case.history):
        if deed.outcome:
            facts.record_outcome(
                account=Account.objects.get(external_id=account),
                kind=deed.outcome,
                at=_noon(deed.on),
                received_at=at,
                message_id=f"{account} {n}",
            )


def _calls(number: int, n: int, deed: Deed) -> Iterator[Fact]:
    if deed.traits is not None and deed.user:
        yield _call(number, f"{n}", _noon(deed.on), name="$identify", user=deed.user, user_traits=deed.traits)
    elif deed.traits is not None:
        yield _call(number, f"{n}", _noon(deed.on), name="$group", account_traits=deed.traits)
    for time_ in range(deed.times if deed.event else 0):
        moment = _noon(deed.on) + timedelta(seconds=time_)
        yield _call(number, f"{n} {time_}", moment, name=deed.event, user=deed.user, properties=deed.properties or {})


def _call(number: int, what: str, at: datetime, *, user: str = "", **said: object) -> Fact:
    account = _name(number)
    who = f"{account} {user}" if user else None
    return Fact(message_id=f"{account} {what}", at=at, user_id=who, group_id=account, **said)  # type: ignore[arg-type]


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), tzinfo=UTC)


def _differences(document: Document, case: Case, judgement: Judgement) -> Iterator[str]:
    """Yield in words what is not as the case expects."""
    expect = case.expect
    if expect.tier is not None and judgement.tier != expect.tier:
        yield f"tier is {judgement.tier or 'none'}, not {expect.tier or 'none'}"
    if expect.status is not None and judgement.status != expect.status:
        yield f"status is {judgement.status}, not {expect.status}"
    for side in ("usage", "fit"):
        wanted, found = getattr(expect, side), getattr(judgement, side)
        if wanted is not None and found != wanted:
            yield f"{side} is {found / 100:g}, not {wanted / 100:g}"
    met = {rule.id for rule, is_met in zip(document.rules, judgement.met, strict=True) if is_met}
    for rule in expect.met:
        if rule not in met:
            yield f"rule {rule} is not met"
    for rule in expect.not_met:
        if rule in met:
            yield f"rule {rule} is met"
