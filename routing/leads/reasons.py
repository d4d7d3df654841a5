"""The list of reasons for which people close leads. It is the admin's; rules are improved from what was chosen."""

from django.db.models import QuerySet

from routing.leads import turns
from routing.leads.moves import LeadError
from routing.models import CloseReason

Kind = CloseReason.Kind


class UnknownReason(LeadError):
    """The reason is not in the list, or not any more."""


class ReasonMissing(LeadError):
    """The move needs a reason, or the reason further words."""


def listed(*, kind: str) -> QuerySet[CloseReason]:
    """Return the reasons of a kind that are offered, in the order of the list."""
    return CloseReason.objects.filter(kind=kind, is_active=True).order_by("place", "pk")


def find(*, kind: str, name: str, words: str) -> tuple[CloseReason, str]:
    """Return the reason of this name, small letters or large, and what is written down: it, with the words.

    Raises UnknownReason, ReasonMissing.
    """
    if not name.strip():
        raise ReasonMissing(f"Choose why: {Kind(kind).label}. Rules are improved from the reasons.")
    offered = {reason.name.casefold(): reason for reason in listed(kind=kind)}
    reason = offered.get(name.strip().casefold())
    if reason is None:
        names = ", ".join(each.name for each in offered.values())
        raise UnknownReason(f"{name.strip()!r} is no reason in the list: choose one of {names or 'none; add one'}.")
    words = words.strip()
    if reason.needs_words:
        if not words:
            raise ReasonMissing(f"Say in a few words what is meant by “{reason.name}”.")
        return reason, words
    return reason, f"{reason.name}: {words}" if words else reason.name


def set_reason(
    *, kind: str, name: str, needs_words: bool = False, is_active: bool = True, place: int = 0, refunds: str = ""
) -> CloseReason:
    """Add a reason to the list, or change how the one of this name is offered; returns it.

    One that is taken from the list stays with the leads that were closed for it. `refunds` is the cause for which it
    gives back the turn, of a disqualified lead alone. Raises ReasonMissing without a name, UnknownReason for a kind
    that there is not, UnknownCause.
    """
    if kind not in Kind.values:
        raise UnknownReason(f"{kind!r} is no kind of reason: choose one of {', '.join(Kind.values)}.")
    if not name.strip():
        raise ReasonMissing("Give the reason a name.")
    if turns.claim(refunds) and kind != Kind.DISQUALIFY:
        raise turns.UnknownCause("Only the turn of a lead that was disqualified is given back: choose no cause.")
    name = name.strip()
    offered = {"needs_words": needs_words, "is_active": is_active, "place": place, "refunds": refunds}
    new = {"kind": kind, "name": name}
    reason, _ = CloseReason.objects.update_or_create(
        kind=kind, name__iexact=name, defaults=offered, create_defaults=new | offered
    )
    return reason
