"""What was put aside comes back: snoozed leads for a new signal, recycled ones when they have cooled down."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from routing.leads import entering, merging, moves, opening
from routing.models import MQL, ClosedAs, Lead, State
from scoring.models import Score

LOOK_EVERY = timedelta(days=1)  # at what was recycled, while its account stays qualified


def wake_on_signal(*, at: datetime) -> int:
    """Wake the leads that wait for a new signal and have one, each in a transaction of its own; returns how many.

    A hint wakes most at once. None comes of a signal whose points others' fading outweighs.
    """
    changed = Score.objects.filter(
        account=OuterRef("account"), rule_set__motion=OuterRef("motion"), changed_at__gt=OuterRef("look_at")
    )
    waiting = Lead.objects.filter(Exists(changed), state=State.SNOOZED, look_at__isnull=False, wakes_on_signal=True)
    return sum(_wake_if_new(lead, at=at) for lead in list(waiting.order_by("pk").only("pk", "account")))


def look_again(*, at: datetime) -> int:
    """Open leads anew where a recycled one has cooled down and there is new evidence; returns how many.

    Each is a transaction of its own. The others are looked at again a day later, as long as the account is qualified.
    """
    cool = Lead.objects.filter(state=State.CLOSED, closed_as=ClosedAs.RECYCLED, look_at__lte=at)
    return sum(_look_again(lead, at=at) for lead in list(cool.order_by("look_at", "pk").only("pk", "account")))


def _wake_if_new(lead: Lead, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if not held.wakes_on_signal:
            return False
        for score in _scores(held):
            if opening.wake_for(lead=held, score=score, at=at):
                return True
        newest = max((score.changed_at for score in _scores(held)), default=at)
        moves.put(lead=held, changes={"look_at": newest})
    return False


def _look_again(lead: Lead, *, at: datetime) -> bool:
    with transaction.atomic():
        into = merging.lock_lanes(account_id=lead.account_id)  # before the lead, whose account stays when it is closed
        held = moves.lock(lead=lead)
        if held.look_at is None or held.look_at > at:
            return False
        opened = None if into else _open_anew(held, at=at)
        done = opened is not None or into is not None or not _is_qualified(held)
        moves.put(lead=held, changes={"look_at": None if done else at + LOOK_EVERY})
    return opened is not None


def _open_anew(lead: Lead, *, at: datetime) -> Lead | None:
    """Open a lead for what came since: a word of marketing's that waits, or new evidence in a score."""
    if moves.open_lead(account_id=lead.account_id, motion=lead.motion):
        return None
    words = MQL.objects.filter(account=lead.account_id, rule_set__motion=lead.motion, lead=None)
    for word in words.select_related("account", "rule_set__live_version").order_by("pk"):
        if opened := entering.take_up(word=word, at=at):
            return opened
    return next((opened for score in _scores(lead) if (opened := opening.open_for(score=score, at=at))), None)


def _is_qualified(lead: Lead) -> bool:
    """Whether the account is in a PQL tier and has no other lead: else a hint comes when that changes."""
    return any(score.is_pql for score in _scores(lead))


def _scores(lead: Lead) -> list[Score]:
    mine = Score.objects.filter(account=lead.account_id, rule_set__motion=lead.motion)
    return list(mine.select_related("rule_set", "version").order_by("rule_set", "-is_pql", "pk"))
