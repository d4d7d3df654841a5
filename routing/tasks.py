"""What the storey that acts does when the bell rings. Reads the clock, and calls one verb each."""

from django.utils import timezone

from routing import leads

HINTS_AT_ONCE = 50  # about a fifth of a second: nobody whose score is due waits longer for a worker


def open_leads() -> int:
    """Take up the crossings that wait, so many at most; return how many."""
    return leads.open_all(at=timezone.now(), limit=HINTS_AT_ONCE)


def tend_leads() -> int:
    """Wake what was snoozed until now, free what is with AEs who left, and give out what waits for an AE."""
    return leads.tend(at=timezone.now())


def keep_deadlines() -> int:
    """Write down that the system is up, and look after what is due to be touched."""
    now = timezone.now()
    leads.beat(at=now)
    return leads.keep_deadlines(at=now)
