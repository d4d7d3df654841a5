"""Keep the mirror: copy what changed since its last state, in one snapshot, and put the new state in place.

A state is told apart by months of signals. A month is copied anew if tiles of it have come (their ids say so), or were
changed or deleted (a trigger notes it); everything else, being small, is copied whole. Killed anywhere, the old state
stands: files of the new one are named nowhere, and what was noted is forgotten only when it is in place.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import transaction

from scoring.bulk import copying, files
from scoring.bulk.files import Manifest
from scoring.models import Mirror, MirrorChange
from scoring.models.raw import cursor
from scoring.tiles.locks import Cursor, take_fold_lock

log = structlog.get_logger(__name__)

ABANDONED = timedelta(days=1)  # after which a reader's directory is that of one who was killed
MEMORY = "1GB"  # that packing may take, before it goes on with files
MOST_NOTED = 100_000  # changes: with more to follow, a copy of everything is the better start


class Overtaken(Exception):
    """The mirror was given up, or another one begun, while this state was made: the next refresh makes it anew."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A new state, and what of the log is in it."""

    manifest: Manifest
    changes: list[int]
    copied: int  # months of signals


def place() -> Path:
    """Return where the mirror is kept."""
    return Path(settings.MIRROR)


def present() -> Manifest | None:
    """Return the state that may be read; None if there is none, or if it belongs to another database."""
    manifest = files.load(place())
    mirror = Mirror.objects.first()
    if manifest is None or mirror is None or manifest.token not in (mirror.token, mirror.pending):
        return None
    return manifest


def refresh(*, at: datetime) -> Manifest | None:
    """Bring the mirror up to date and return its new state; None if somebody else is at it.

    `at` is the present moment: whatever was committed by then is in it. Raises Overtaken. Commits: not to be called in
    a transaction.
    """
    with only_one() as is_mine:
        if not is_mine:
            return None
        began_with, old = token(), present()  # in this order: given up in between, it is none
        if old is None:
            began_with = _begin(at)
        Mirror.objects.update(tried_at=at)
        with snapshot() as c:
            taken = take(c, place(), old, at=at)
        put_in_place(taken, old, began_with, at=at)
        return taken.manifest


def is_due(*, at: datetime, every: timedelta) -> bool:
    """Return whether the last refresh began so long ago, or there never was one."""
    return not Mirror.objects.filter(tried_at__gt=at - every).exists()


def forget() -> None:
    """Let there be no mirror: nothing is noted for it any more. Its files stay until the next one is made."""
    if not Mirror.objects.exists():
        return
    with transaction.atomic(), cursor() as c:
        take_fold_lock(c)
        Mirror.objects.all().delete()
        MirrorChange.objects.all().delete()


def give_up_endless(*, most: int = MOST_NOTED) -> bool:
    """Give the present state up if more changes than `most` wait for a refresh; return whether it was given up.

    Then nobody reads it any more, what was noted is dropped, and the next refresh copies everything.
    """
    with transaction.atomic(), cursor() as c:
        waiting = c.execute(_WAITING, {"most": most}).fetchone() or (0,)
        if waiting[0] <= most:
            return False
        # The row first: whoever puts a state in place has it locked, and then finds another token.
        Mirror.objects.update(token=uuid4().hex, pending="")
        MirrorChange.objects.all().delete()
    log.warning("mirror_given_up", reason=f"refreshes failed while more than {most} changes of tiles were noted")
    return True


_WAITING = "SELECT count(*) FROM (SELECT FROM scoring_mirrorchange LIMIT %(most)s + 1) AS noted"


@contextmanager
def only_one() -> Iterator[bool]:
    """Hold the mirror's place against other writers; says whether it was free."""
    place().mkdir(parents=True, exist_ok=True)
    with (place() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def snapshot() -> Iterator[Cursor]:
    """Give a cursor whose statements all see one state of the database."""
    with transaction.atomic(durable=True), cursor() as c:
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield c


def _begin(at: datetime) -> str:
    """Note from now on what changes, and return what the database calls its mirror until there is one.

    Whoever changes tiles without noting it is over when the lock is held.
    """
    begun = uuid4().hex
    with transaction.atomic(durable=True), cursor() as c:
        take_fold_lock(c)
        MirrorChange.objects.all().delete()
        Mirror.objects.update_or_create(id=1, defaults={"token": begun, "pending": "", "tried_at": at})
    return begun


def token() -> str:
    """Return what the database calls its mirror now."""
    return Mirror.objects.values_list("token", flat=True).first() or ""


def take(c: Cursor, place: Path, old: Manifest | None, *, at: datetime) -> Taken:
    """Copy what the cursor's snapshot holds more than the old state, or everything, and return the new one."""
    (settled,) = c.execute("SELECT coalesce(max(settled_to), 0) FROM scoring_compaction").fetchone() or (0,)
    signals = [signal for (signal,) in c.execute(_SIGNALS)]
    changes = c.execute("SELECT id, signal_id, month FROM scoring_mirrorchange").fetchall()
    dirty = None if old is None else {(signal, month) for _, signal, month in changes} | set(_came(c, old))
    token = uuid4().hex
    with files.engine(place, files.WRITING, memory_limit=MEMORY) as (duck, work):
        written, unfit = _tiles(c, duck, work, place, dirty, token)
        facts = {}
        for relation in copying.FACTS:
            copying.copy(c, relation.query(), work / "rows.csv")
            facts[relation.name] = copying.write_facts(duck, relation, work / "rows.csv", place, token)
    manifest = Manifest(
        token=token,
        complete_at=at,
        settled_to=settled,
        signals=signals,
        tiles=_nested(_replaced(_flat(old.tiles) if old else {}, dirty, written)),
        facts=facts,
        unfit_signals=_listed(_still_unfit(old, dirty) | unfit),
        unfit_traits=sorted(key for (key,) in c.execute(copying.UNFIT_TRAITS)),
    )
    return Taken(manifest, [change for change, *_ in changes], len(written))


def _came(c: Cursor, old: Manifest) -> Iterator[tuple[int, date]]:
    """Yield the months of signals of which tiles were not there yet."""
    yield from c.execute(_CAME, {"after": old.settled_to})


_SIGNALS = "SELECT id FROM scoring_signal WHERE backfilled_to >= barrier ORDER BY id"
_CAME = f"SELECT DISTINCT t.signal_id, {copying.MONTH} FROM scoring_tile t WHERE t.id > %(after)s::bigint"  # noqa: S608

Months = dict[tuple[int, date], str]


def _tiles(
    c: Cursor, duck: files.Engine, work: Path, place: Path, dirty: set[tuple[int, date]] | None, token: str
) -> tuple[Months, set[tuple[int, date]]]:
    """Copy the tiles of these months of signals; of all, if None."""
    if dirty is not None and not dirty:
        return {}, set()
    where = "true" if dirty is None else copying.of_months(dirty)
    copying.copy(c, copying.TILES.query(where), work / "tiles.csv")
    return copying.write_tiles(duck, work / "tiles.csv", place, token)


def _replaced(old: Months, dirty: set[tuple[int, date]] | None, written: Months) -> Months:
    return {**{key: file for key, file in old.items() if dirty is not None and key not in dirty}, **written}


def _still_unfit(old: Manifest | None, dirty: set[tuple[int, date]] | None) -> set[tuple[int, date]]:
    if old is None or dirty is None:
        return set()
    were = {
        (int(signal), date.fromisoformat(month)) for signal, months in old.unfit_signals.items() for month in months
    }
    return were - dirty


def _flat(tiles: dict[str, dict[str, str]]) -> Months:
    return {
        (int(signal), date.fromisoformat(month)): file
        for signal, months in tiles.items()
        for month, file in months.items()
    }


def _nested(months: Months) -> dict[str, dict[str, str]]:
    nested: dict[str, dict[str, str]] = {}
    for (signal, month), file in sorted(months.items()):
        nested.setdefault(str(signal), {})[month.isoformat()] = file
    return nested


def _listed(months: set[tuple[int, date]]) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    for signal, month in sorted(months):
        listed.setdefault(str(signal), []).append(month.isoformat())
    return listed


def put_in_place(taken: Taken, old: Manifest | None, began_with: str, *, at: datetime) -> None:
    """Let the new state stand instead of the old one, and forget what is in it. Killed here, either of them counts.

    Raises Overtaken if the database calls its mirror otherwise than when the snapshot was taken.
    """
    new = taken.manifest
    if not Mirror.objects.filter(token=began_with).update(token=old.token if old else began_with, pending=new.token):
        raise Overtaken("the mirror was given up while it was refreshed")
    files.store(new, place())
    with transaction.atomic():
        if not Mirror.objects.filter(pending=new.token).update(token=new.token, pending=""):
            raise Overtaken("the mirror was given up while its new state was put in place")
        MirrorChange.objects.filter(pk__in=taken.changes).delete()
    _sweep(place(), keep=new.files | (old.files if old else set()), at=at)


def _sweep(place: Path, *, keep: set[str], at: datetime) -> None:
    """Remove what neither this state nor the one before names (somebody may still read that), and what was left."""
    long_ago = (at - ABANDONED).timestamp()
    for path in place.iterdir():
        is_left = path.name.startswith(files.READING) and path.stat().st_mtime < long_ago
        if path.name.startswith(files.WRITING) or is_left:
            rmtree(path, ignore_errors=True)
        elif path.suffix == ".parquet" and path.name not in keep:
            path.unlink(missing_ok=True)
