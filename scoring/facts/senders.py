"""Who sends facts: sources, and the keys that open them."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime

from django.contrib.auth.models import User

from scoring.models import Key, Source


def create_source(*, slug: str, at: datetime) -> Source:
    """Return the source with this slug, made now if there is none."""
    source, _ = Source.objects.get_or_create(slug=slug, defaults={"created_at": at})
    return source


def fix_rebase(*, source: Source, days: int) -> int:
    """Fix by how many days the source's imports are shifted, and return it: the first call decides for ever."""
    Source.objects.filter(pk=source.pk, rebase_days__isnull=True).update(rebase_days=days)
    source.refresh_from_db(fields=["rebase_days"])
    return days if source.rebase_days is None else source.rebase_days


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
    if secret.count("_") < 2:  # no key of ours: not worth a question
        return None
    public_id = secret.split("_")[1]
    key = Key.objects.select_related("source").filter(public_id=public_id, revoked_at__isnull=True).first()
    return key if key and hmac.compare_digest(bytes(key.secret_hash), _hash(secret)) else None


def revoke_key(*, key: Key, at: datetime) -> None:
    """End the key; nothing happens if it has ended before."""
    Key.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=at)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
