"""The bodies of requests, by the same strict reader as the ingest doors."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from pqlapp import parser


class StrictJSONParser(BaseParser):
    """One JSON object, plain or packed, of bounded size and depth, with nothing that PostgreSQL could not hold."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the object. Raises parser.Refused."""
        sent = stream.read(parser.SENT_LIMIT + 1)
        return parser.parse_call(body=parser.unpack(sent=sent))
