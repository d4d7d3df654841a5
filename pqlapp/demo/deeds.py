"""What the demo's AEs did with the leads of the past weeks: decided by dice that know the truth. Pure."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pqlapp.demo.company import Company, Kind, dice

Verb = Literal["accept", "snooze", "disqualify", "recycle", "lose", "win", "hand_over"]

# Reasons from the usual list, with words.
NOT_ONE = (
    ("Not a real company", "a freelancer who tries it for a client"),
    ("Students", "of a course; they will not buy"),
    ("No need", "they only imported old boards and moved on"),
    ("Other", "Wrong contact, and nobody else uses it any more."),
)
LOST = (
    ("Chose a competitor", "the whiteboard of their video tool"),
    ("No budget", "this quarter"),
    ("Missing a feature", "security review: they need it on their own servers"),
    ("Other", "The champion left the company."),
)
NOT_NOW = ("Budget next year", "procurement is frozen until then")
COOLS = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that an AE does, at its moment."""

    at: datetime
    verb: Verb
    reason: str = ""
    words: str = ""
    until: datetime | None = None


def deeds(*, seed: int, company: Company, opened_at: datetime, buys_at: datetime | None) -> list[Deed]:
    """Return what happens to a lead of the company that opened then, oldest first; maybe nothing."""
    chance = dice(seed, company.number, "deeds", opened_at.date())
    seen_at = opened_at + timedelta(hours=chance.uniform(0.5, 44))
    will_buy = company.kind in (Kind.CONVERTER, Kind.CUSTOMER)
    choice = chance.random()
    if choice < 0.08:
        return []
    if choice < 0.28:
        until = (seen_at + timedelta(days=chance.randint(4, 16))).replace(hour=8, minute=0, second=0, microsecond=0)
        return [Deed(seen_at, "snooze", until=until)]
    if choice < 0.33:
        return [Deed(seen_at, "hand_over", "Speaks their language.")]
    if choice < (0.36 if will_buy else 0.75):
        if not will_buy and choice < 0.41:
            return [Deed(seen_at, "recycle", *NOT_NOW, until=seen_at + COOLS)]
        return [Deed(seen_at, "disqualify", *chance.choice(NOT_ONE))]
    return [Deed(seen_at, "accept"), *_ending(chance, seen_at, buys_at if will_buy else None)]


def _ending(chance: random.Random, accepted_at: datetime, buys_at: datetime | None) -> list[Deed]:
    if buys_at is not None and buys_at > accepted_at + timedelta(hours=6):
        if chance.random() < 0.14:
            return [Deed(accepted_at + timedelta(days=chance.uniform(3, 12)), "lose", *chance.choice(LOST))]
        return [Deed(buys_at - timedelta(hours=3), "win")]
    if chance.random() < 0.6:
        return [Deed(accepted_at + timedelta(days=chance.uniform(2, 9)), "lose", *chance.choice(LOST))]
    return []
