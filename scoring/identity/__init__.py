"""Who did it, and where they belong: from the ids that calls carry to a ProductUser, and from it to an Account.

A user is a connected component of ids; a home is a function of the *set* of calls, never of their order. Whatever is
known already needs no second look: `is_news` tells cheaply whether there is anything to write at all.
"""

from scoring.identity.calls import Call, Turn, is_broken, plausible_email
from scoring.identity.directory import (
    Directory,
    Known,
    Moved,
    Resident,
    ask_residents,
    forget,
    groups,
    is_news,
    look_up,
    survivors,
)
from scoring.identity.homes import FREE_MAIL, ask_merged
from scoring.identity.linking import Change, Linked, link, rehouse, settle

__all__ = [
    "FREE_MAIL",
    "Call",
    "Change",
    "Directory",
    "Known",
    "Linked",
    "Moved",
    "Resident",
    "Turn",
    "ask_merged",
    "ask_residents",
    "forget",
    "groups",
    "is_broken",
    "is_news",
    "link",
    "look_up",
    "plausible_email",
    "rehouse",
    "settle",
    "survivors",
]
