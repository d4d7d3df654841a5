"""Why Ann and not Ben: the record of who was given a lead, in sentences that an AE understands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from routing import audit, decision
from routing.decision import Replay
from routing.models import Assignment
from scoring import explain


@dataclass(frozen=True, slots=True)
class Candidate:
    """One who was asked, and how it went."""

    name: str
    words: str  # what follows the name
    is_chosen: bool
    is_eligible: bool
    gates: list[dict[str, Any]]  # name, passed, detail
    weight: int
    credit_before: int  # billionths of a turn
    credit_after: int


@dataclass(frozen=True, slots=True)
class Told:
    """A decision as the page shows it."""

    made: Assignment
    rule: str  # how it came to the pool; empty if nobody kept that
    candidates: list[Candidate]
    can_check: bool
    checked: Replay | None  # None: nobody asked for it


def told(decisions: Iterable[Assignment], *, check: str | None) -> list[Told]:
    """Return each decision in words; that of the number `check` is made anew from its record."""
    return [_told(made, is_checked=str(made.pk) == check) for made in decisions]


def _told(made: Assignment, *, is_checked: bool) -> Told:
    recorded = made.decision
    candidates = [_candidate(one, recorded) for one in recorded.get("candidates", ())]
    can_check = decision.can_replay(recorded)
    checked = audit.replay(made=made) if is_checked and can_check else None
    return Told(made, _rule(recorded), candidates, can_check, checked)


def _rule(recorded: Mapping[str, Any]) -> str:
    """Say how the lead came to its pool."""
    if "route" not in recorded or "pool" not in recorded:
        return ""
    pool, route = recorded["pool"]["name"], recorded["route"]
    if not route:
        return f"No routing rule decided on it: such leads go to {pool}."
    asked = f", to somebody with {explain.listed(route['asks'])}" if route.get("asks") else ""
    return f"The routing rule “{route['name']}” was the first that matched: it goes to {pool}{asked}."


def _candidate(one: Mapping[str, Any], recorded: Mapping[str, Any]) -> Candidate:
    return Candidate(
        name=one["name"],
        words=_words(one, recorded),
        is_chosen=one["ae"] == recorded.get("chosen"),
        is_eligible=one["eligible"],
        gates=one["gates"],
        weight=one["weight"],
        credit_before=one["credit_before"],
        credit_after=one["credit_after"],
    )


def _words(one: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    """Say why this one has it, or why not."""
    claim = next((claim for claim in recorded.get("claims", ()) if claim["ae"] == one["ae"]), None)
    if not one["eligible"]:
        shut = "; ".join(gate["detail"] for gate in one["gates"] if not gate["passed"])
        return f"{claim['why']}, but could not have it: {shut}" if claim else f"could not have it: {shut}"
    chosen, turn = recorded.get("chosen"), recorded.get("turn")
    if one["ae"] == chosen:
        return f"got it by turn: {turn['clause']}" if turn else f"got it before any turn: {claim and claim['why']}"
    first = next((other["name"] for other in recorded["candidates"] if other["ae"] == chosen), "somebody else")
    return f"could have had it, but it was {first}'s turn" if turn else f"could have had it, but {first} goes first"
