"""What a call says about who somebody is, and which ids say nothing."""

from collections.abc import Iterator
from datetime import datetime
from itertools import combinations
from typing import NamedTuple

EMAIL_LENGTH = 320
DOMAIN_LENGTH = 255
UUID_LENGTH = 36

Turn = tuple[datetime, str]  # orders calls: time, then message id by code points

# What programs send when they have no id at hand: taken for one, it would glue all their users together. In lower case.
BROKEN = frozenset(
    {
        *(
            "null",
            "(null)",
            "undefined",
            "none",
            "nil",
            "nan",
            "n/a",
            "unknown",
            "void",
        ),  # nothing, as languages say it
        *("true", "false", "[object object]", "[object]", "{}", "[]", "function"),  # something else than an id
        *("-1", "not set", "(not set)", "not_set"),  # what databases and reports put in its place (0: see below)
        *("anonymous", "anon", "guest", "not_authenticated", "unauthenticated", "logged_out"),  # nobody in special
        *("id", "user", "userid", "user_id", "distinctid", "distinct_id", "anonymousid", "anonymous_id", "email"),
    }
)


class Call(NamedTuple):
    """What one call of a sender says about who somebody is."""

    ids: tuple[str, ...]  # all ids of the person, the one that the call is filed under first; empty: nobody
    user_id: str | None  # the one of them that was given as a user id
    group: str | None  # the account that the call names
    joins: bool  # the person joins the group
    email: str | None
    at: datetime
    message_id: str


def pairs(call: Call) -> Iterator[tuple[str, str]]:
    """Yield each two ids that the call uses for one person."""
    return combinations(call.ids, 2)


def is_broken(value: str) -> bool:
    """Whether an id of a person or an account is obviously none: a word for "nobody", zeros, or nothing at all."""
    plain = value.strip(" \t\r\n\"'").lower()
    return plain in BROKEN or not plain.strip("0") or (len(plain) == UUID_LENGTH and not plain.strip("0-"))


def plausible_email(value: object) -> str | None:
    """Return an e-mail address in lower case; None if the value is not plausibly one."""
    if not isinstance(value, str) or len(value) > EMAIL_LENGTH or any(c.isspace() for c in value):
        return None
    email = value.lower()
    name, _, domain = email.partition("@")
    labels = domain.split(".")
    plausible = name and "@" not in domain and len(labels) > 1 and all(labels)
    return email if plausible and len(email) <= EMAIL_LENGTH and len(domain) <= DOMAIN_LENGTH else None
