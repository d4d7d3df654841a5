"""Brings a drawn history into the real database, through the same verbs as any sender's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

from scoring import engine, facts, language, tiles
from scoring.facts import partitions
from scoring.models import Account, Exclusion, Outcome
from tests.scoring.oracle import Call, History, Key

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


@contextmanager
def undone() -> Iterator[None]:
    """Undo all that happens inside: a Hypothesis test has many examples and one transaction."""
    with connection.cursor() as c:
        c.execute("SAVEPOINT example")
        try:
            yield
        finally:
            c.execute("ROLLBACK TO SAVEPOINT example")
            partitions.forget()


def load(history: History, *, batches: Sequence[Sequence[Call]] | None = None) -> None:
    """Record the history's calls, batch by batch (all in one if None), then its outcomes and exclusions."""
    source = facts.create_source(slug="test", at=NOW)
    for batch in [history.calls] if batches is None else batches:
        facts.record(source=source, facts=[facts.Fact(**vars(call)) for call in batch], received_at=NOW)
    for i, outcome in enumerate(history.outcomes):
        account, _ = Account.objects.get_or_create(**outcome.account._asdict(), defaults={"created_at": NOW})
        Outcome.objects.create(
            account=account, kind=outcome.kind, at=outcome.at, received_at=NOW, message_id=f"outcome {i}"
        )
    for exclusion in history.exclusions:
        Exclusion.objects.create(**vars(exclusion), created_at=NOW)


def fold(document: language.Document) -> None:
    """Make tiles of everything that the document reads."""
    tiles.backfill(signals=tiles.register(signals=language.signals_of(document).values(), at=NOW))


def ids(accounts: Sequence[Key]) -> dict[Key, int]:
    """Return the rows' ids of the accounts."""
    rows = Account.objects.filter(external_id__in=[key.external_id for key in accounts])
    found = {Key(row.kind, row.external_id): row.pk for row in rows}
    return {key: found[key] for key in accounts}


@dataclass(frozen=True)
class Said:
    """What can be compared of a judgement, be it the oracle's or the engine's."""

    status: str
    usage: int
    fit: int
    tier: str
    held: tuple[str, ...]
    goal_on: object
    sign_up: object
    met: tuple[bool, ...]
    raw: tuple[int, ...]


def said_by_engine(judgement: engine.Judgement) -> Said:
    """Return the engine's judgement in comparable form."""
    return Said(
        judgement.status.value,
        judgement.usage,
        judgement.fit,
        judgement.tier,
        judgement.held,
        judgement.goal_on,
        judgement.sign_up,
        judgement.met,
        judgement.raw,
    )
