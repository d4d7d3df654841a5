"""The gates that a member of a pool must pass to be given a lead. Pure: facts in, verdicts in words out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the gates need to know of a member of the pool."""

    membership_active: bool
    ae_active: bool
    log_in_active: bool
    open_leads: int  # of this pool, in the AE's hands
    capacity: int | None  # None: no limit
    had_it: bool = False  # this very lead was with the AE before, and was taken or given back


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate says of one candidate, with what it saw."""

    name: str
    passed: bool
    detail: str


def verdicts(candidate: Candidate) -> tuple[Verdict, ...]:
    """Return the verdict of every gate, in a fixed order; all of them, so that a record tells everything."""
    return _membership(candidate), _ae(candidate), _capacity(candidate), _new_to_it(candidate)


def is_free(candidate: Candidate) -> bool:
    """Return whether the candidate could take a lead at all, were it not this very one."""
    return is_eligible(verdicts(replace(candidate, had_it=False)))


def is_eligible(all_verdicts: Sequence[Verdict]) -> bool:
    """Return whether every gate was passed."""
    return all(verdict.passed for verdict in all_verdicts)


def _membership(candidate: Candidate) -> Verdict:
    return Verdict(
        name="membership",
        passed=candidate.membership_active,
        detail="in the rotation" if candidate.membership_active else "taken out of the pool's rotation",
    )


def _ae(candidate: Candidate) -> Verdict:
    if not candidate.ae_active:
        return Verdict("active", False, "no longer works leads")
    if not candidate.log_in_active:
        return Verdict("active", False, "cannot log in")
    return Verdict("active", True, "active")


def _capacity(candidate: Candidate) -> Verdict:
    if candidate.capacity is None:
        return Verdict("capacity", True, f"{candidate.open_leads} open, no limit")
    passed = candidate.open_leads < candidate.capacity
    detail = f"{candidate.open_leads} of {candidate.capacity} open"
    return Verdict("capacity", passed, detail if passed else f"{detail}: full")


def _new_to_it(candidate: Candidate) -> Verdict:
    return Verdict(
        name="new to it",
        passed=not candidate.had_it,
        detail="had this lead before" if candidate.had_it else "never had this lead",
    )
