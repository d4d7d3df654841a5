"""Records of a file as they come: one JSON object a line, numbered, and never more of it in memory than that."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from pqlapp import parser
from pqlapp.parser import Rejected


class Record(NamedTuple):
    """One record of a file: where it stands, and what it says as JSON, or why it cannot be read."""

    number: int  # of its first line, from 1; of a row, where there are no lines
    text: bytes
    fault: Rejected | None = None


def numbered(*, stream: BinaryIO) -> Iterator[Record]:
    """Yield all lines that are not blank.

    Of a line that is too long only the beginning is yielded (longer than an item may be): memory stays flat.
    """
    number = 0
    while text := stream.readline(parser.ITEM_LIMIT + 2):
        number += 1
        rest = text
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(parser.ITEM_LIMIT)
        if not text.isspace():
            yield Record(number, text.rstrip(b"\r\n"))
