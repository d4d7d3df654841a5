"""Bytes from strangers become JSON values that PostgreSQL can hold, or a reason why not.

A body is unpacked within a bound and parsed as a whole. If that fails, its items are cut apart without parsing
and then parsed one by one, so that a single bad item never takes the good ones with it.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

import orjson
from backports import zstd

SENT_LIMIT = 6_000_000  # bytes as sent
UNPACKED_LIMIT = 20_000_000  # bytes after decompression
ITEM_LIMIT = 900_000  # bytes of one item
BATCH_LIMIT = 2_000  # items in one body
VALUE_LIMIT = 1_000_000  # values in one body: each costs far more memory than its bytes
DEPTH_LIMIT = 32  # nesting of one item, itself included
INTEGER_LIMIT = 2**53  # beyond it a sender's own JSON library may already have lost digits

BOM = b"\xef\xbb\xbf"
FORM = re.compile(rb"\s*(?:[\w.$-]+=[^&{\[]*&)*data=")
RAW = "surrogateescape"  # bytes that are no text come through a str unharmed
NUL = rb"\u0000"  # the only way to write one that JSON has
BASE64 = bytes.maketrans(b"-_ ", b"+/+")  # from its other alphabet; and a form makes a space of each plus
# An emoji as two half characters, three bytes each (CESU-8): what some browsers' base64 makes of it.
CESU_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
GZIP = 16 + zlib.MAX_WBITS
RAW_DEFLATE = -zlib.MAX_WBITS

# A string (an unclosed one runs to the end, so a scan is linear whatever comes) or a mark of structure.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)
PAIR = re.compile(rb'(?P<name>"[^"\\]*+(?:\\.[^"\\]*+)*+")\s*:\s*(?P<value>.*)', re.DOTALL)
CLOSER = {b"[": b"]", b"{": b"}"}

# What the JSON library says of a text that it refuses, and what we call it. The first match counts.
REFUSALS = (
    ("UTF-8", "not_utf8", "the text is not valid UTF-8"),
    ("surrogate", "lone_surrogate", "a string has half of a surrogate pair (\\ud800 to \\udfff)"),
    ("infinity", "number_too_large", "a number is too large for any JSON reader"),
    ("depth", "too_deep", f"the item is nested deeper than {DEPTH_LIMIT} levels"),
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why one item is not taken: a stable code for machines and a sentence for people."""

    code: str
    message: str
    item: object = field(default=None, compare=False, repr=False)  # as far as it could be read: a value, or bytes


class Refused(Exception):
    """A whole body is not taken; `status` is the HTTP status to answer with, `item` what there was of it."""

    def __init__(self, status: int, code: str, message: str, item: object = None) -> None:
        super().__init__(message)
        self.item = item
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of a body in their order, bad ones as Rejected, and what stood around them."""

    items: list[dict[str, Any] | Rejected]
    envelope: dict[str, Any]


def unpack(*, sent: bytes, encoding: str = "") -> bytes:
    """Return the body in plain bytes.

    gzip, zlib and zstd are known by their first bytes, whatever the headers say; `encoding` (the Content-Encoding
    header) only tells raw deflate, which has no mark. Raises Refused (413 too large, 400 broken).
    """
    if len(sent) > SENT_LIMIT:
        raise Refused(413, "body_too_large", f"send at most {SENT_LIMIT:,} bytes in one request")
    if sent[:2] == b"\x1f\x8b":
        return _inflate(sent, zlib.decompressobj(GZIP))
    if sent[:4] == b"\x28\xb5\x2f\xfd":
        return _inflate(sent, zstd.ZstdDecompressor())
    if sent[:1] == b"\x78" and len(sent) > 1 and int.from_bytes(sent[:2]) % 31 == 0:
        return _inflate(sent, zlib.decompressobj())
    if encoding.strip().lower() == "deflate" and sent.lstrip()[:1] not in (b"{", b"["):
        return _inflate(sent, zlib.decompressobj(RAW_DEFLATE))
    return sent


def from_form(*, body: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the JSON that an analytics form carries in `data`, and its other fields.

    `body` is a form (or a query) whose `data` is JSON, or base64 of it, possibly compressed. A body that is no such
    form is returned as it is. Raises Refused (400, 413).
    """
    if not FORM.match(body):
        return body, {}
    form = form_fields(body=body)
    return _data(form.pop("data", "").encode("utf-8", RAW)), form


def form_fields(*, body: bytes) -> dict[str, str]:
    """Return the fields of a form; of several with one name the last. Encoded as RAW they are the bytes that came.

    Raises Refused (400).
    """
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors=RAW))
    except ValueError as error:
        raise Refused(
            400, "bad_form", "the form cannot be read: it has too many fields, or letters as they are"
        ) from error


def _data(text: bytes) -> bytes:
    if text.lstrip()[:1] in (b"{", b"["):
        return text
    packed = text.translate(BASE64, b"\r\n")
    try:
        return unpack(sent=base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True))
    except binascii.Error as error:
        raise Refused(400, "bad_base64", "the form's data is neither JSON nor base64 of it") from error


def parse_batch(*, body: bytes, field: str, alone: bool = False) -> Batch:
    """Return the items of `{field: [...], ...}`, or of a bare list, each checked by itself.

    With `alone` an object without the field is itself the only item. Raises Refused when the body as a whole is not
    such JSON, or has too many items or values.
    """
    body = _whole_characters(body.removeprefix(BOM))
    _refuse_too_many_values(body)
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _salvage(body, field, error, alone)
    if isinstance(whole, list) or (alone and isinstance(whole, dict) and field not in whole):
        whole = {field: whole if isinstance(whole, list) else [whole]}
    if not isinstance(whole, dict) or not isinstance(whole.get(field), list):
        raise _no_items(field)
    items = whole.pop(field)
    _refuse_too_many_items(len(items))
    may_be_large = len(body) > ITEM_LIMIT
    may_have_nul = NUL in body
    return Batch([_checked(item, may_be_large, may_have_nul) for item in items], _clean_envelope(whole))


def parse_call(*, body: bytes) -> dict[str, Any]:
    """Return the one item that is the whole body. Raises Refused with the item's own reason."""
    _refuse_too_many_values(body)
    item = parse_item(text=body)
    if isinstance(item, Rejected):
        raise Refused(413 if item.code == "item_too_large" else 400, item.code, item.message, item.item)
    return item


def parse_item(*, text: bytes) -> dict[str, Any] | Rejected:
    """Return the JSON object in `text`, such as a line of a file, or why it is not taken."""
    text = _whole_characters(text.removeprefix(BOM))
    if len(text) > ITEM_LIMIT:
        return replace(_too_large(), item=text)
    try:
        return _checked(orjson.loads(text), may_be_large=False, may_have_nul=NUL in text)
    except orjson.JSONDecodeError as error:
        return replace(_explained(error), item=text)


def _whole_characters(text: bytes) -> bytes:
    """Return the text with its characters whole that came as two halves. A lone half stays, and is refused later."""
    if b"\xed" not in text:
        return text
    return CESU_PAIR.sub(lambda pair: _joined(pair.group()), text)


def _joined(halves: bytes) -> bytes:
    return halves.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16").encode()


def _inflate(sent: bytes, inflater: "zlib._Decompress | zstd.ZstdDecompressor") -> bytes:
    """Decompress, never making more than one byte over the limit."""
    try:
        body = inflater.decompress(sent, UNPACKED_LIMIT + 1)
    except (zlib.error, zstd.ZstdError) as error:
        raise Refused(400, "bad_compression", f"the body cannot be decompressed: {error}") from error
    if len(body) > UNPACKED_LIMIT:
        raise Refused(413, "body_too_large", f"send at most {UNPACKED_LIMIT:,} bytes, unpacked")
    if not inflater.eof or inflater.unused_data:
        raise Refused(400, "bad_compression", "the compressed body ends too early, or has something behind it")
    return body


def _refuse_too_many_values(body: bytes) -> None:
    if sum(map(body.count, (b",", b"[", b"{"))) > VALUE_LIMIT:
        raise Refused(413, "too_many_values", f"send at most {VALUE_LIMIT:,} values in one request")


def _refuse_too_many_items(count: int) -> None:
    if count > BATCH_LIMIT:
        raise Refused(413, "too_many_items", f"send at most {BATCH_LIMIT:,} items in one request, not {count:,}")


def _no_items(field: str) -> Refused:
    return Refused(400, "no_items", f'send a JSON object with a list of items in "{field}"')


def _too_large() -> Rejected:
    return Rejected("item_too_large", f"an item has at most {ITEM_LIMIT:,} bytes")


def _explained(error: orjson.JSONDecodeError) -> Rejected:
    for said, code, message in REFUSALS:
        if said in error.msg:
            return Rejected(code, message)
    return Rejected("bad_json", f"this is not JSON: {error.msg}, at character {error.pos}")


def _clean_envelope(envelope: dict[str, Any]) -> dict[str, Any]:
    if fault := _fault(envelope, 1, may_have_nul=True):
        raise Refused(400, fault.code, f"outside of the items: {fault.message}")
    return envelope


# ---- what PostgreSQL, or the next reader, could not hold


def _checked(item: Any, may_be_large: bool, may_have_nul: bool) -> dict[str, Any] | Rejected:
    if not isinstance(item, dict):
        return Rejected("not_an_object", "an item is a JSON object", item)
    if fault := _fault(item, 1, may_have_nul):
        return replace(fault, item=item)
    if may_be_large and len(orjson.dumps(item)) > ITEM_LIMIT:
        return replace(_too_large(), item=item)
    return item


def _fault(node: dict[str, Any] | list[Any], depth: int, may_have_nul: bool) -> Rejected | None:
    """Return the first thing in the value that cannot be stored faithfully."""
    if depth > DEPTH_LIMIT:
        return Rejected("too_deep", f"the item is nested deeper than {DEPTH_LIMIT} levels")
    values: Any = node
    if isinstance(node, dict):
        if may_have_nul and "\0" in "".join(node):
            return Rejected("nul_character", "a name has a NUL character (\\u0000)")
        values = node.values()
    for value in values:
        kind = type(value)
        if kind is str:
            if may_have_nul and "\0" in value:
                return Rejected("nul_character", "a text has a NUL character (\\u0000)")
        elif kind is dict or kind is list:
            if fault := _fault(value, depth + 1, may_have_nul):
                return fault
        elif (kind is int or kind is float) and not -INTEGER_LIMIT <= value <= INTEGER_LIMIT:
            return Rejected("number_too_large", "a number is beyond ±2^53; send it as a text")
    return None


# ---- finding the bad item in a body that does not parse as a whole


def _salvage(body: bytes, field: str, error: orjson.JSONDecodeError, alone: bool) -> Batch:
    """Parse the items one by one, if the body's brackets at least are in order."""
    reason = _explained(error)
    if len(body) > SENT_LIMIT:  # the search runs at Python's speed
        raise Refused(400, reason.code, f"{reason.message}; send less at once to learn in which item")
    members = _members(body)
    envelope: dict[str, Any] = {}
    if members is not None and body.lstrip()[:1] == b"{":
        pairs = dict(_pair(member) for member in members)
        listed = pairs.pop(field, None)
        if listed is None and alone:
            return Batch([reason], {})
        if listed is None or listed[:1] != b"[":
            raise _no_items(field)
        members = _members(listed)
        envelope = {key: _envelope_value(value) for key, value in pairs.items()}
    if members is None:
        raise Refused(400, reason.code, reason.message, body)
    _refuse_too_many_items(len(members))
    return Batch([parse_item(text=member) for member in members], _clean_envelope(envelope))


def _pair(member: bytes) -> tuple[str, bytes]:
    """Cut `"name": value` in two."""
    pair = PAIR.fullmatch(member)
    if pair is None:
        raise Refused(400, "bad_json", "this is not JSON: a name and a colon were expected")
    return _envelope_value(pair["name"]), pair["value"]


def _envelope_value(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = _explained(error)
        raise Refused(400, reason.code, f"outside of the items: {reason.message}") from error


def _members(text: bytes) -> list[bytes] | None:
    """Cut a list or an object at its own commas; None if its brackets do not match."""
    text = text.strip()
    cuts = list(_cuts(text))
    if len(cuts) < 2 or cuts[0] != 0 or cuts[-1] != len(text) - 1:
        return None
    parts = [text[start + 1 : end].strip() for start, end in pairwise(cuts)]
    return [] if parts == [b""] else parts


def _cuts(text: bytes) -> Iterator[int]:
    """Yield where the outermost bracket opens, its own commas, and where it closes; stop at a mismatch."""
    closers: list[bytes] = []
    for token in TOKEN.finditer(text):
        mark = token.group()
        if mark in CLOSER:
            if not closers:
                yield token.start()
            closers.append(CLOSER[mark])
        elif mark in (b"]", b"}"):
            if not closers or closers.pop() != mark:
                return
            if not closers:
                yield token.start()
                return
        elif mark == b"," and len(closers) == 1:
            yield token.start()
