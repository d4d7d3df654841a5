"""A file of Segment-spec calls, one JSON object a line: its lines, their ids, and the days they happened on."""

import gzip
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from typing import Any, BinaryIO, cast

import orjson

from pqlapp import parser
from pqlapp.ingest import segment
from pqlapp.ingest.fields import Unusable
from pqlapp.parser import Rejected
from scoring.facts import Fact

# Names of values that are dates by custom, such as created_at, trial_ends_on, signupDate.
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
DATED_NAMES = ("_at", "_on", "date", "At", "On", "Date")


@dataclass(slots=True)
class Reader:
    """Reads the lines of one file into facts; remembers equal lines, so use one for a whole file.

    A line without a messageId gets one made of its text and its ordinal among equal lines: the same file read
    twice has the same ids. `days` are added to each time that a line states.
    """

    days: int = 0
    equal_lines: Counter[bytes] = field(default_factory=Counter)
    _counting: Lock = field(default_factory=Lock)  # two threads may read

    def read(self, *, text: bytes, received_at: datetime) -> Fact | Rejected:
        """Return the fact that a line states, or why it states none."""
        call = parser.parse_item(text=text)
        if isinstance(call, Rejected):
            return call
        if call.get("messageId") in (None, ""):
            call["messageId"] = self._id(text)
        call.pop("sentAt", None)  # it would move the call to the day of the import
        fact = segment.read(call=call, received_at=received_at)
        if self.days and isinstance(fact, Fact):
            return _moved(fact, self.days, has_time=_has_time(call))
        return fact

    def _id(self, text: bytes) -> str:
        digest = hashlib.sha256(text.strip()).digest()[:16]
        with self._counting:
            self.equal_lines[digest] += 1
            return f"line-{digest.hex()}-{self.equal_lines[digest]}"


def unpacked(*, raw: BinaryIO) -> BinaryIO:
    """Return the stream, or what is in it if it is gzip, whatever its name says."""
    stream = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
    if stream.peek(2)[:2] == b"\x1f\x8b":
        return cast("BinaryIO", io.BufferedReader(gzip.GzipFile(fileobj=stream)))
    return cast("BinaryIO", stream)


def numbered(*, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the line numbers, from 1, and texts of all lines that are not blank.

    Of a line that is too long only the beginning is yielded (longer than an item may be): memory stays flat.
    """
    number = 0
    while text := stream.readline(parser.ITEM_LIMIT + 2):
        number += 1
        rest = text
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(parser.ITEM_LIMIT)
        if not text.isspace():
            yield number, text.rstrip(b"\r\n")


def newest_day(*, texts: Iterable[bytes]) -> date | None:
    """Return the UTC day of the newest call that states a time; None if none does."""
    never = datetime.min.replace(tzinfo=UTC)
    newest = max((_time(text, never) for text in texts), default=never)
    return None if newest == never else newest.date()


def _time(text: bytes, never: datetime) -> datetime:
    try:
        call = orjson.loads(text.removeprefix(parser.BOM))
        call.pop("sentAt", None)
        return segment.time_of(call=call, received_at=never)
    except (orjson.JSONDecodeError, AttributeError, TypeError, Unusable):
        return never  # the line will be rejected, with its reason, when it is read


def _has_time(call: dict[str, Any]) -> bool:
    return call.get("timestamp") is not None or call.get("originalTimestamp") is not None


def _moved(fact: Fact, days: int, *, has_time: bool) -> Fact | Rejected:
    """Move a fact by whole days, and the dates among its traits and properties with it."""
    try:
        return replace(
            fact,
            at=fact.at + timedelta(days=days) if has_time else fact.at,
            properties=_dates_moved(fact.properties, days),
            user_traits=_dates_moved(fact.user_traits, days),
            account_traits=_dates_moved(fact.account_traits, days),
        )
    except OverflowError:
        return Rejected("bad_time", f"moved by {days} days the call is outside the years 1 to 9999")


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
