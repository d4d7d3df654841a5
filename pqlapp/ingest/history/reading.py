"""Reading the records of one file into facts: their ids, and the days they happened on."""

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from pqlapp import parser
from pqlapp.ingest.history.formats import Format, Item
from pqlapp.ingest.history.lines import Record
from pqlapp.parser import Rejected
from scoring.facts import Fact

# Names of values that are dates by custom, such as created_at, trial_ends_on, signupDate.
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
DATED_NAMES = ("_at", "_on", "date", "At", "On", "Date")
NEVER = datetime(1, 1, 2, tzinfo=UTC)  # stands for the time of a record that states none


class Ordinals:
    """Counts how often each text has come, on disk: a file of many millions takes no memory."""

    def __init__(self) -> None:
        self._counts: sqlite3.Connection | None = None

    def next(self, *, digest: bytes) -> int:
        """Return 1 for a digest that is new, 2 when it comes again, and so on. One thread at a time."""
        self._counts = self._counts or self._made()
        (count,) = self._counts.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count", (digest,)
        ).fetchone()
        return int(count)

    def close(self) -> None:
        """Give the disk back."""
        if self._counts:
            self._counts.close()

    def _made(self) -> sqlite3.Connection:
        counts = sqlite3.connect("", check_same_thread=False, isolation_level=None)  # "": temporary, on disk
        counts.execute("PRAGMA journal_mode = OFF")
        counts.execute("PRAGMA cache_size = -32768")  # KiB
        counts.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, count INTEGER) WITHOUT ROWID")
        return counts


@dataclass(slots=True)
class Reader:
    """Reads the records of one file into facts; remembers equal records, so use one for a whole file.

    A record without an id gets one made of its text and its ordinal among equal records: the same file read twice has
    the same ids, in however many goes, if its records are read in order, by one thread at a time. `days` are added to
    each time that a record states.
    """

    format: Format
    days: int = 0
    ordinals: Ordinals = field(default_factory=Ordinals)

    def read(self, *, record: Record, received_at: datetime) -> Sequence[Fact] | Rejected:
        """Return the facts that a record states, or why it states none."""
        item = record.fault or parser.parse_item(text=record.text)
        if isinstance(item, Rejected):
            return item
        if not self._has_id(item):
            _put(item, self.format.id_at, self._id(record.text))
        read = self.format.read(item, received_at)
        if isinstance(read, Rejected) or not self.days:
            return read
        return _all_moved(read, self.days, received_at)

    def skip(self, *, record: Record) -> None:
        """Pass over a record that was read before: only its id is counted, if it has none of its own."""
        if record.fault is None:
            item = _leniently(record.text)
            if not isinstance(item, Rejected) and not self._has_id(item):
                self._id(record.text)

    def _has_id(self, item: Item) -> bool:
        value: Any = item
        for step in self.format.id_at:
            value = value.get(step) if isinstance(value, dict) else None
        return value not in (None, "")

    def _id(self, text: bytes) -> str:
        digest = hashlib.sha256(text.strip()).digest()[:16]
        return f"line-{digest.hex()}-{self.ordinals.next(digest=digest)}"


def newest_day(*, format: Format, records: Iterable[Record]) -> date | None:
    """Return the UTC day of the newest fact that states a time; None if none does."""
    newest = max((_newest(format, record) for record in records), default=NEVER)
    return None if newest == NEVER else newest.date()


def _newest(format: Format, record: Record) -> datetime:
    item = record.fault or parser.parse_item(text=record.text)
    read = item if isinstance(item, Rejected) else format.read(item, NEVER)
    return NEVER if isinstance(read, Rejected) else max(fact.at for fact in read)


def _leniently(text: bytes) -> Item | Rejected:
    """Return an item without looking for what cannot be stored: of such a text, no ordinal is ever asked."""
    try:
        item = orjson.loads(text)
    except orjson.JSONDecodeError:
        return parser.parse_item(text=text)
    return item if isinstance(item, dict) else Rejected("not_an_object", "")


def _put(item: Item, place: tuple[str, ...], message_id: str) -> None:
    *above, name = place
    for step in above:
        inner = item.get(step)
        if not isinstance(inner, dict):
            return  # the item will be rejected for it
        item = inner
    item[name] = message_id


def _all_moved(read: Sequence[Fact], days: int, received_at: datetime) -> Sequence[Fact] | Rejected:
    try:
        return [_moved(fact, days, has_time=fact.at != received_at) for fact in read]
    except OverflowError:
        return Rejected("bad_time", f"moved by {days} days the call is outside the years 1 to 9999")


def _moved(fact: Fact, days: int, *, has_time: bool) -> Fact:
    """Move a fact by whole days, and the dates among its traits and properties with it."""
    return fact._replace(
        at=fact.at + timedelta(days=days) if has_time else fact.at,
        properties=_dates_moved(fact.properties, days),
        user_traits=_dates_moved(fact.user_traits, days),
        account_traits=_dates_moved(fact.account_traits, days),
        user_traits_once=_dates_moved(fact.user_traits_once, days),
        account_traits_once=_dates_moved(fact.account_traits_once, days),
    )


def _dates_moved(values: Mapping[str, Any], days: int) -> Mapping[str, Any]:
    """Move the values at the top that are ISO dates under a name that says so (created_at, signupDate)."""
    moved = {
        name: _date_moved(value, days)
        for name, value in values.items()
        if isinstance(value, str) and name.endswith(DATED_NAMES)
    }
    return {**values, **moved} if moved else values


def _date_moved(text: str, days: int) -> str:
    """Return an ISO date, or date and time, later by whole days and written as it was; any other text as it is."""
    if not ISO_DATE.match(text):
        return text
    try:
        datetime.fromisoformat(text)
        day = date.fromisoformat(text[:10]) + timedelta(days=days)
    except (ValueError, OverflowError):  # "9999-12-31" means never, and stays
        return text
    return day.isoformat() + text[10:]
