"""What may be kept of a call for an admin to look at: a piece of it without secrets, and who says to have sent it."""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from pqlapp.parser import DEPTH_LIMIT, Refused, Rejected

SAMPLE_LIMIT = 2_000  # characters
TEXT_LIMIT = 200  # characters of a name or an id
LIBRARY_LIMIT = 100
HIDDEN = "…"

SECRET = r"write_?key|api_?key|api_?secret|token|secret|passw|passwd|authorization|cookie|credential"  # noqa: S105
SECRET_NAME = re.compile(SECRET, re.IGNORECASE)
SECRET_PAIR = re.compile(rf'("[^"]*(?:{SECRET})[^"]*"\s*:\s*)"[^"]*"?', re.IGNORECASE)
OUR_KEY = re.compile(r"\b([ws]k_)[0-9a-f]{6,}_[\w-]+")


def sample(*, item: object) -> str:
    """Return an item as it came, or the text of one that could not be read: cut, and without what looks secret."""
    if isinstance(item, Rejected | Refused):
        item = item.item
    if item is None:
        return ""
    if isinstance(item, bytes):  # as long as a value that is cut in its middle may be a secret, hide it first
        text = SECRET_PAIR.sub(rf'\1"{HIDDEN}"', clean(item[: 2 * SAMPLE_LIMIT].decode(errors="replace")))
    else:
        text = clean(orjson.dumps(_without_secrets(item), default=str).decode())
    text = OUR_KEY.sub(rf"\1{HIDDEN}", text)
    return text if len(text) <= SAMPLE_LIMIT else text[:SAMPLE_LIMIT] + HIDDEN


def _without_secrets(value: Any, depth: int = 0) -> Any:
    if depth > DEPTH_LIMIT:
        return HIDDEN
    if isinstance(value, dict):
        return {k: HIDDEN if SECRET_NAME.search(k) else _without_secrets(v, depth + 1) for k, v in value.items()}
    return [_without_secrets(each, depth + 1) for each in value] if isinstance(value, list) else value


def library(*, items: Iterable[object]) -> str:
    """Return name and version of the library that the first item that tells names; "" if none does."""
    for item in items:
        if isinstance(item, dict) and (told := _library(item)):
            return clean(told)[:LIBRARY_LIMIT]
    return ""


def _library(item: dict[str, Any]) -> str:
    """As Segment and RudderStack, PostHog, Mixpanel and Amplitude tell it."""
    context, properties = _object(item.get("context")), _object(item.get("properties"))
    named = _object(context.get("library"))
    name = named.get("name") or properties.get("$lib") or properties.get("mp_lib") or item.get("library")
    version = named.get("version") or properties.get("$lib_version")
    return " ".join(part for part in (name, version) if isinstance(part, str))


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def event_of(*, item: object) -> str:
    """Return what a call that was rejected is called, as far as it says."""
    if isinstance(item, Rejected):
        item = item.item
    told = _object(item)
    name = next((told[key] for key in ("event", "event_type", "type") if isinstance(told.get(key), str)), "")
    return clean(name)[:TEXT_LIMIT]


def clean(text: str) -> str:
    """Return the text without the one character that PostgreSQL cannot hold."""
    return text.replace("\0", "�")
