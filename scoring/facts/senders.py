"""Who sends facts: sources, and the keys that open them."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime

from django.contrib.auth.models import User

from scoring.models import Key, Source

MOST_CONVERSIONS = 100
LONGEST = {"event": 512, "kind": 64, "amount": 256}


def create_source(*, slug: str, at: datetime) -> Source:
    """Return the source with this slug, made now if there is none."""
    source, _ = Source.objects.get_or_create(slug=slug, defaults={"created_at": at})
    return source


def fix_rebase(*, source: Source, days: int) -> int:
    """Fix by how many days the source's imports are shifted, and return it: the first call decides for ever."""
    Source.objects.filter(pk=source.pk, rebase_days__isnull=True).update(rebase_days=days)
    source.refresh_from_db(fields=["rebase_days"])
    return days if source.rebase_days is None else source.rebase_days


class InvalidConversions(ValueError):
    """What was given as the conversions of a source cannot be read; the text says what is wrong."""


def set_conversions(*, source: Source, events: object) -> Source:
    """Name the source's events that are conversions, from now on, and return the source.

    `events` is JSON data: a list of {"event": name, "kind": kind of outcome, "amount": property with the amount}, the
    last of which may be left out. Raises InvalidConversions.
    """
    if not isinstance(events, list) or len(events) > MOST_CONVERSIONS:
        raise InvalidConversions(f"Give a list of at most {MOST_CONVERSIONS} conversions.")
    entries = [_conversion(entry) for entry in events]
    if len({entry["event"] for entry in entries}) < len(entries):
        raise InvalidConversions("Name each event once.")
    source.conversion_events = entries
    source.save(update_fields=["conversion_events"])
    return source


def _conversion(entry: object) -> dict[str, str]:
    fields = ("event", "kind", "amount")
    if not isinstance(entry, dict) or not entry.keys() <= set(fields):
        raise InvalidConversions(f"Each conversion is an object of {', '.join(fields)}.")
    texts = {name: entry[name] for name in fields if entry.get(name) not in (None, "")}
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > LONGEST[name] or "\0" in value:
            raise InvalidConversions(f'"{name}" is a text of at most {LONGEST[name]} characters.')
    if not {"event", "kind"} <= texts.keys():
        raise InvalidConversions('Each conversion names its "event" and the "kind" of outcome.')
    return texts


def create_key(*, source: Source, kind: str, by: User | None, at: datetime) -> tuple[Key, str]:
    """Make a key of the kind for the source; return it with its text, which cannot be shown again."""
    public_id = secrets.token_hex(6)
    text = f"{_PREFIX[kind]}_{public_id}_{secrets.token_urlsafe(24)}"
    key = Key.objects.create(
        source=source,
        kind=kind,
        public_id=public_id,
        secret_hash=_hash(text),
        created_by=by,
        created_at=at,
    )
    return key, text


_PREFIX: Mapping[str, str] = {Key.Kind.WRITE: "wk", Key.Kind.SERVER: "sk"}


def key_for(*, secret: str) -> Key | None:
    """Return the live key with this text, its source loaded; None if there is none."""
    public_id = secret.split("_")[1] if secret.count("_") >= 2 else ""
    key = Key.objects.select_related("source").filter(public_id=public_id, revoked_at__isnull=True).first()
    return key if key and hmac.compare_digest(bytes(key.secret_hash), _hash(secret)) else None


def revoke_key(*, key: Key, at: datetime) -> None:
    """End the key; nothing happens if it has ended before."""
    Key.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=at)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
