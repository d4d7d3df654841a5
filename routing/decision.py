"""Who gets a lead: one pure decision, the record of it, and the record's replay.

The live path, the load of a publication and the simulator all decide here, over the same facts. The record holds
every fact that the decision rests on, so that `replay` comes to it again from the record alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from routing import eligibility, rotation
from routing.eligibility import Candidate, Verdict
from routing.rotation import TURN, Turn

BY_TURN = "rotation"


@dataclass(frozen=True, slots=True)
class Contender:
    """A member of the pool as it stands when a lead is to be given out."""

    membership: int
    ae: int
    name: str
    weight: int
    credit: int  # billionths of a turn
    last_served_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """An AE who goes before the rotation, if eligible; a lead that goes past the rotation costs nobody a turn."""

    ae: int
    how: str  # of Assignment.How
    why: str  # "… already works this account"


@dataclass(frozen=True, slots=True)
class Judged:
    """A contender with what the gates say of it for the lead in hand."""

    contender: Contender
    facts: Candidate | None  # None: in the replay of a record whose gates asked for other facts than today's
    verdicts: Sequence[Verdict]

    @property
    def is_eligible(self) -> bool:
        """Whether it may be given the lead."""
        return eligibility.is_eligible(self.verdicts)


@dataclass(frozen=True, slots=True)
class Decision:
    """Who gets the lead and why, or the reason why nobody."""

    pool: str
    cost: int
    claims: Sequence[Claim]
    judged: Sequence[Judged]
    how: str  # of Assignment.How
    chosen: Contender | None
    why: str
    turn: Turn | None  # None: nobody was charged


@dataclass(frozen=True, slots=True)
class Replay:
    """What comes out when a record is decided anew."""

    chosen: int | None  # AE
    differences: Sequence[str]  # in words; none if it comes to what the record says

    @property
    def agrees(self) -> bool:
        """Whether the record stands."""
        return not self.differences


def judge(contender: Contender, facts: Candidate) -> Judged:
    """Return the contender with the verdict of every gate."""
    return Judged(contender, facts, eligibility.verdicts(facts))


def decide(judged: Sequence[Judged], *, pool: str, claims: Sequence[Claim] = (), cost: int = TURN) -> Decision:
    """Return who gets a lead: the first claim of somebody eligible, else whose turn it is, else nobody.

    `pool` is the pool's name, for the words; `cost` is what the lead costs in billionths of a turn.
    """
    able = {one.contender.ae: one.contender for one in judged if one.is_eligible}

    def decided(how: str, chosen: Contender | None, why: str, turn: Turn | None = None) -> Decision:
        return Decision(pool, cost, claims, judged, how, chosen, why, turn)

    for claim in claims:
        if claim.ae in able:
            return decided(claim.how, able[claim.ae], f"{able[claim.ae].name} {claim.why}.")
    if not able:
        return decided(BY_TURN, None, why_nobody(pool, judged))
    turn = rotation.turn([_member(one) for one in able.values()], cost=cost)
    chosen = next(one for one in able.values() if one.membership == turn.chosen)
    why = f"{chosen.name} was chosen by turn among {len(able)} of {len(judged)} in {pool}: {turn.why}."
    return decided(BY_TURN, chosen, why, turn)


def why_nobody(pool: str, judged: Sequence[Judged]) -> str:
    """Return in a sentence why nobody of a pool can take a lead."""
    return eligibility.why_nobody(pool, [(one.contender.name, one.verdicts) for one in judged])


def after(contender: Contender, turn: Turn, *, at: datetime) -> Contender:
    """Return a contender as it stands after a turn."""
    change, served = turn.changes.get(contender.membership, 0), contender.membership == turn.chosen
    return replace(
        contender,
        credit=contender.credit + change,
        last_served_at=at if served else contender.last_served_at,
    )


def record(decision: Decision) -> dict[str, Any]:
    """Return the decision as JSON data: all that it rests on, and all that came of it."""
    turn = decision.turn
    return {
        "cost": decision.cost,
        "claims": [_fields(claim) for claim in decision.claims],
        "candidates": [_told(one, turn) for one in decision.judged],
        "how": decision.how,
        "chosen": decision.chosen and decision.chosen.ae,
        "why": decision.why,
        "turn": turn and turn_record(turn),
    }


def turn_record(turn: Turn) -> dict[str, Any]:
    """Return a turn as JSON data; see `turn_of`."""
    shares = {str(member): share for member, share in turn.shares.items()}
    return {"membership": turn.chosen, "cost": turn.cost, "shares": shares, "clause": turn.why}


def turn_of(recorded: Mapping[str, Any]) -> Turn | None:
    """Return the turn that a recorded decision cost, None if it cost none."""
    told = recorded.get("turn")
    if not told:
        return None
    shares = {int(member): share for member, share in told["shares"].items()}
    return Turn(chosen=told["membership"], why=told["clause"], shares=shares, cost=told["cost"])


def can_replay(recorded: Mapping[str, Any]) -> bool:
    """Return whether the record is of a decision by rule, not by hand, and holds what it rests on."""
    return "candidates" in recorded and "claims" in recorded


def replay(recorded: Mapping[str, Any]) -> Replay:
    """Decide a record anew, from nothing but what it says, and return what came out.

    Gates that ask for other facts today than the record holds are taken as recorded. A record that says of itself
    what does not follow from its facts has differences; so has one that cannot be read.
    """
    try:
        anew = _decide_anew(recorded)
    except (KeyError, TypeError, ValueError) as error:
        return Replay(None, (f"The record cannot be read: {type(error).__name__}: {error}.",))
    return Replay(anew["chosen"], tuple(_differences(recorded, anew)))


def _member(one: Contender) -> rotation.Member:
    return rotation.Member(one.membership, one.weight, one.credit, one.last_served_at)


def _told(one: Judged, turn: Turn | None) -> dict[str, Any]:
    contender = one.contender
    change = turn.changes.get(contender.membership, 0) if turn else 0
    return {
        "membership": contender.membership,
        "ae": contender.ae,
        "name": contender.name,
        "weight": contender.weight,
        "facts": _fields(one.facts) if one.facts else {},
        "gates": [_fields(verdict) for verdict in one.verdicts],
        "eligible": one.is_eligible,
        "last_served_at": contender.last_served_at and contender.last_served_at.isoformat(),
        "credit_before": contender.credit,
        "credit_after": contender.credit + change,
    }


def _fields(of: Candidate | Verdict | Claim) -> dict[str, Any]:
    """Return the fields as a mapping. Nothing in them is changed later, so nothing is copied, as `asdict` does."""
    return {name: getattr(of, name) for name in of.__slots__}


# ---- replay ----------------------------------------------------------------------------------------------------


def _decide_anew(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record that the recorded facts lead to."""
    judged = tuple(_judged_anew(told) for told in recorded["candidates"])
    claims = tuple(Claim(**claim) for claim in recorded["claims"])
    return record(decide(judged, pool=recorded["pool"]["name"], claims=claims, cost=recorded["cost"]))


def _judged_anew(told: Mapping[str, Any]) -> Judged:
    asked = {field.name for field in fields(Candidate)}
    facts = Candidate(**told["facts"]) if set(told["facts"]) == asked else None
    contender = Contender(
        membership=told["membership"],
        ae=told["ae"],
        name=told["name"],
        weight=told["weight"],
        credit=told["credit_before"],
        last_served_at=told["last_served_at"] and datetime.fromisoformat(told["last_served_at"]),
    )
    return judge(contender, facts) if facts else Judged(contender, None, tuple(Verdict(**g) for g in told["gates"]))


def _differences(recorded: Mapping[str, Any], anew: Mapping[str, Any]) -> Iterator[str]:
    for field in ("how", "chosen", "why", "turn"):
        if recorded[field] != anew[field]:
            yield f"{field}: the record says {recorded[field]}, its facts lead to {anew[field]}"
    for told, one in zip(recorded["candidates"], anew["candidates"], strict=True):
        for field in ("gates", "eligible", "credit_after"):
            if told[field] != one[field]:
                yield f"{field} of {told['name']}: the record says {told[field]}, its facts lead to {one[field]}"
