"""From a hint that an account's score crossed a line to a lead that opens, grows or closes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q

from routing import handling
from routing.leads import arriving, assigning, evidence, merging, moves
from routing.leads.arriving import Arrival
from routing.models import ClosedAs, Handling, Lead, Origin, Stage, State
from scoring import engine, handoffs, identity, language
from scoring.models import Crossed, RuleSet, Score, Status
from scoring.models.raw import cursor

log = structlog.get_logger(__name__)

# A lead that somebody closed so does not open again while the account stays qualified without a break.
# After one that was recycled, another opens when it has cooled down, and then for new evidence alone.
SETTLED = (ClosedAs.WON, ClosedAs.LOST, ClosedAs.DISQUALIFIED, ClosedAs.RECYCLED)

PEOPLE_COPIED = 3
AT_ONCE = 50  # hints that one transaction takes up at most: about as many milliseconds for each pool's lock

NO_LONGER = {
    Status.SCORED: "The score fell below what holds the tier.",
    Status.DISQUALIFIED: "A rule disqualifies the account.",
    Status.OUTSIDE: "The account is outside the population.",
    Status.EXCLUDED: "The account is excluded.",
}
DESERTED = "Everybody who used the product here turned out to belong to another account."
NOBODY_LEFT = "Whoever qualified here turned out to be somebody else, or to belong to another account."


@dataclass(frozen=True, slots=True)
class Considered:
    """A hint that was taken up: the lead that it opened or changed, if any, or why it failed."""

    lead: Lead | None
    error: str = ""


def open_crossed(*, at: datetime, only: int | None = None) -> Considered | None:
    """Take up the oldest hint, or `only` that of an id, in one transaction; None when none is waiting.

    A hint only says where to look: what is done depends on the present Score, read under the account's lane. A hint
    that fails is put off with its error, so that it never stands in the way of another.
    """
    hint = None
    try:
        with transaction.atomic():
            hint = handoffs.claim_crossed(at=at, only=only)
            if hint is None:
                return None
            about: dict[str, Any] = {"rule_set_id": hint.rule_set_id, "user_id": hint.user_id}
            lead = consider(account_id=hint.account_id, **about, cause=hint.cause, at=at)
    except Exception as error:
        if hint is None:
            raise
        log.exception("hint_put_off", account=hint.account_id, rule_set=hint.rule_set_id)
        reason = f"{type(error).__name__}: {error}"
        handoffs.put_off(hint=hint, until=at + _pause(hint.attempts), error=reason)
        return Considered(None, reason)
    return Considered(lead)


def _pause(attempts: int) -> timedelta:
    """Return how long a hint waits that failed so often before: 1 minute, doubled each time, up to an hour."""
    return timedelta(minutes=min(2**attempts, 60))


def open_all(*, at: datetime, limit: int) -> int:
    """Take up to so many hints, many in one transaction; returns how many there were."""
    taken = 0
    while taken < limit and (some := _take_up(at=at, limit=min(limit - taken, AT_ONCE))):
        taken += some
    return taken


def _take_up(*, at: datetime, limit: int) -> int:
    """Take up some hints of one rule set; returns how many there were.

    Those that open a lead are done in one transaction, the others each in one of its own, and so are all if that fails:
    then one that is at fault does not stand in the way of another.
    """
    hints: list[Crossed] = []
    try:
        with transaction.atomic():
            hints = handoffs.hold_crossed(at=at, limit=limit)
            done = _open_many(hints, at=at) if len(hints) > 1 else set()
            handoffs.drop_crossed(hints=[hint for hint in hints if hint.pk in done])
    except Exception:
        if not hints:
            raise
        log.exception("hints_taken_up_singly", rule_set=hints[0].rule_set_id, hints=len(hints))
        done = set()
    for hint in hints:
        if hint.pk not in done:
            open_crossed(at=at, only=hint.pk)
    return len(hints)


def _open_many(hints: Sequence[Crossed], *, at: datetime) -> set[int]:
    """Open leads for hints of one rule set whose accounts have had none; returns the ids of the hints that are done.

    Left are those of accounts that somebody else holds, that were merged, or that have or had leads of the motion, and
    all but the first of an account.
    """
    rule_set = RuleSet.objects.get(pk=hints[0].rule_set_id)
    first = {hint.account_id: hint for hint in reversed(hints)}
    free = merging.lock_free_lanes(account_ids=first)
    free -= set(Lead.objects.filter(account__in=free, motion=rule_set.motion).values_list("account", flat=True))
    mine = [hint for hint in hints if hint.account_id in free and first[hint.account_id] is hint]
    called = _called(mine, rule_set)
    opened = arriving.arrive(arrivals=_arrivals(list(called.values()), at=at), at=at)
    return {hint.pk for hint in mine} - set(list(called)[len(opened) :])


def _called(hints: Sequence[Crossed], rule_set: RuleSet) -> dict[int, tuple[Score, handling.Plan]]:
    """Return by hint the scores that call for a lead of sales, each with its plan, in the order of the hints."""
    whose = {(hint.account_id, hint.user_id): hint.pk for hint in hints}
    accounts, users = {account for account, _ in whose}, {user for _, user in whose if user}
    of_hints = Score.objects.filter(Q(user=None) | Q(user__in=users), rule_set=rule_set, account__in=accounts)
    scores = {whose.get((score.account_id, score.user_id)): score for score in of_hints.prefetch_related("version")}
    plans, called = handling.Plans(accounts), {}
    for hint in hints:
        score = scores.get(hint.pk)
        if score is None:
            continue
        score.rule_set = rule_set
        if plan := _plan_for_sales(score, plans):
            called[hint.pk] = (score, plan)
    return called


def consider(*, account_id: int, rule_set_id: int, cause: str, at: datetime, user_id: int | None = None) -> Lead | None:
    """Hold an account's present Score against its open lead of the rule set's motion, under the lane's lock.

    Where the rule set judges users, it is the Score of the user. Opens, upgrades, withdraws or closes it; returns the
    lead that changed, or None. `cause` is what set the rescore in motion, for the record.
    """
    into = merging.lock_lanes(account_id=account_id)
    motion = RuleSet.objects.values_list("motion", flat=True).get(pk=rule_set_id)
    if into is not None:
        # Its own score, and what it means for the lead, come with the hints of that account.
        return merging.move_in(account_id=account_id, into=into, motion=motion, at=at)
    scores = Score.objects.select_related("rule_set", "version")
    score = scores.filter(account=account_id, user=user_id, rule_set=rule_set_id).first()
    lead = moves.open_lead(account_id=account_id, motion=motion)
    if lead is not None:
        return _review(moves.lock(lead=lead), score, cause=cause, at=at)
    return open_for(score=score, at=at) if score else None


def open_for(*, score: Score, at: datetime) -> Lead | None:
    """Open a lead for an account without one, under its lane, if the score says so and no closed one forbids it."""
    plan = _plan_for_sales(score)
    return _open(score, plan, at=at) if plan and not _is_settled(score, at=at) else None


def _plan_for_sales(score: Score, plans: handling.Plans | None = None) -> handling.Plan | None:
    """Return where a PQL goes if sales are to have it, else None."""
    if not score.is_pql:
        return None
    about: dict[str, Any] = {"tier": score.tier, "is_pql": score.is_pql, "account": score.account_id}
    plan = (plans or handling.Plans([score.account_id])).of(rule_set=score.rule_set, **about)
    return plan if plan.handling is Handling.SALES else None


def _is_settled(score: Score, *, at: datetime) -> bool:
    """Return whether somebody closed the account's last lead, and nothing has come since that opens another."""
    last = last_settled(account_id=score.account_id, motion=score.rule_set.motion)
    if last is None:
        return False
    if last.cool_until is not None:
        return last.cool_until > at or not evidence.since(lead=last, score=score)
    return score.qualified_at is not None and last.closed_at is not None and score.qualified_at <= last.closed_at


def last_settled(*, account_id: int, motion: str) -> Lead | None:
    """Return the lead of the motion that somebody closed last, if any."""
    closed = Lead.objects.filter(account=account_id, motion=motion, closed_as__in=SETTLED)
    return closed.order_by("-closed_at", "-pk").first()


def _open(score: Score, plan: handling.Plan, *, at: datetime) -> Lead:
    [lead] = arriving.arrive(arrivals=_arrivals([(score, plan)], at=at), at=at)
    return lead


def _arrivals(called: Sequence[tuple[Score, handling.Plan]], *, at: datetime) -> list[Arrival]:
    """Return the leads that scores call for, each with the plan for it."""
    people = _most_active([score for score, _ in called])
    return [
        Arrival(_new(score, why, at=at), plan, f"Qualified as {score.tier}.")
        for (score, plan), why in zip(called, people, strict=True)
    ]


def _new(score: Score, why: list[dict[str, int]], *, at: datetime) -> Lead:
    return Lead(
        account_id=score.account_id,
        motion=score.rule_set.motion,
        rule_set=score.rule_set,
        version=score.version,
        stage=Stage.PQL,
        state=State.UNASSIGNED,
        origin=Origin.PQL,
        opening_tier=score.tier,
        tier=score.tier,
        tier_rank=rank_of(score=score),
        opening=score.ledger,
        reasons=[_reason(score, at=at)],
        why=why,
        unassigned_reason="Not routed yet.",
        opened_at=at,
        pql_at=at,
    )


def _most_active(scores: Sequence[Score]) -> list[list[dict[str, int]]]:
    """Return as JSON data, for each score, the people whose own use counts most, with it in hundredths of a point.

    Where users are judged it is who qualified.
    """
    ranked: dict[tuple[int, date, int], list[tuple[int, int, int]]] = {}
    versions = {score.version_id: score.version for score in scores if score.user_id is None}
    for version, as_of in sorted({(score.version_id, score.as_of) for score in scores if score.user_id is None}):
        accounts = [score.account_id for score in scores if (score.version_id, score.as_of) == (version, as_of)]
        document = language.load(versions[version].document)
        found = engine.rank_users_of(document, accounts=accounts, as_of=as_of)
        ranked |= {(version, as_of, account): people for account, people in found.items()}
    return [_people(score, ranked) for score in scores]


def _people(
    score: Score, ranked: Mapping[tuple[int, date, int], Sequence[tuple[int, int, int]]]
) -> list[dict[str, int]]:
    if score.user_id is not None:
        return [{"user": score.user_id, "usage": score.usage}]
    most = ranked[score.version_id, score.as_of, score.account_id][:PEOPLE_COPIED]
    return [{"user": user, "usage": usage} for user, usage, _ in most]


def _review(lead: Lead, score: Score | None, *, cause: str, at: datetime) -> Lead | None:
    """Close, grow or withdraw an open lead; without a score everybody has left the account."""
    if score is not None and _is_of_an_undone_win(lead, score):
        return None  # its account is touched, and a hint of its own comes after that
    _follow_merged_users(lead)
    if score is not None and _converted(lead, score):
        return _convert(lead, score, at=at)
    woken = wake_for(lead=lead, score=score, at=at) if score is not None else None
    if score is not None and score.is_pql:
        return (_grow(lead, score, at=at) if _plan_for_sales(score) else None) or woken
    if lead.first_touched_at is None and not _still_called_for(lead, score):
        gone = NOBODY_LEFT if any(reason.get("user") for reason in lead.reasons) else DESERTED
        reason = NO_LONGER[Status(score.status)] if score is not None else gone
        return assigning.close(lead=lead, verb="withdraw", by=None, at=at, reason=reason, data={"cause": cause})
    return woken


def wake_for(*, lead: Lead, score: Score, at: datetime) -> Lead | None:
    """Wake a locked lead that was snoozed until the next new signal, if the score holds one; returns it, else None."""
    what = evidence.since(lead=lead, score=score) if lead.wakes_on_signal else ""
    return moves.make(lead=lead, verb="wake", by=None, at=at, note=what) if what else None


def _converted(lead: Lead, score: Score) -> bool:
    """Return whether the goal was reached since the lead opened, or became known since."""
    if score.goal_on is None:
        return False
    known = [reason["goal_on"] for reason in lead.reasons if _is_of(reason, score)]
    if known:
        return bool(known[0] != score.goal_on.isoformat())
    return score.goal_on >= lead.opened_at.date()


def _is_of_an_undone_win(lead: Lead, score: Score) -> bool:
    """Return whether the score may still count an outcome that was taken back: it is from before that."""
    undone = lead.moves.filter(verb="undo", undoes__verb="win").order_by("-id").first()
    return undone is not None and score.scored_at <= undone.at


def _convert(lead: Lead, score: Score, *, at: datetime) -> Lead:
    worked = lead.first_touched_at is not None
    how = "" if worked else " by itself: no AE had worked it"
    return assigning.close(
        lead=lead,
        verb="convert",
        by=None,
        at=at,
        reason=f"The account reached the goal on {score.goal_on:%-d %B %Y}{how}.",
        data={"self_serve": not worked, "goal_on": f"{score.goal_on}"},
    )


def _grow(lead: Lead, score: Score, *, at: datetime) -> Lead | None:
    """Add the rule set's reason, or that of a further user, if it is new; raise the tier if it is a better one."""
    new = not any(_is_of(reason, score) for reason in lead.reasons)
    better = rank_of(score=score) < lead.tier_rank
    if not new and not better:
        return None
    data = {"from_tier": lead.tier, "to_tier": score.tier, "rule_set": score.rule_set.slug}
    changes: dict[str, Any] = {"reasons": _reasons_with(lead, score, at=at)}
    if new and score.user_id is not None:
        changes["why"] = [*lead.why, *_most_active([score])[0]]
    if better:
        changes |= {"tier": score.tier, "tier_rank": rank_of(score=score)}
    if lead.pql_at is None:
        changes |= {"pql_at": at}
    verb, note = "add_reason" if new else "upgrade", f"{score.rule_set.name}: {score.tier}."
    if lead.stage == Stage.MQL:
        verb = "qualify"
    return moves.make(lead=lead, verb=verb, by=None, at=at, note=note, data=data, **changes)


def _still_called_for(lead: Lead, score: Score | None) -> bool:
    """Return whether any rule set of the motion has the account in a PQL tier, or holds a tier of the lead.

    What marketing called for does not depend on use; only an account that is excluded is nobody's lead.
    """
    if lead.mql_at is not None and (score is None or score.status != Status.EXCLUDED):
        return True
    mine = Score.objects.filter(account=lead.account_id, rule_set__motion=lead.motion).defer("ledger")
    scores = mine.filter(Q(is_pql=True) | ~Q(held=[]))  # of an account there may be those of many users
    return any(score.is_pql or _tiers(lead, score) & set(score.held) for score in scores)


def _tiers(lead: Lead, score: Score) -> set[str]:
    """Return the tiers by which the score's rule set called for the lead, for its user where users are judged."""
    opener = lead.reasons[0].get("user") if lead.reasons else None
    opened = (lead.rule_set_id, opener) == (score.rule_set_id, score.user_id)
    tiers = {reason["tier"] for reason in lead.reasons if _is_of(reason, score)}
    return tiers | ({lead.opening_tier} if opened else set())


def _is_of(reason: Mapping[str, Any], score: Score) -> bool:
    """Return whether the reason is the rule set's, and the user's where users are judged."""
    return (reason["rule_set"], reason.get("user")) == (score.rule_set_id, score.user_id)


def _follow_merged_users(lead: Lead) -> None:
    """Let the lead name those who turned out to be one with another as who they are now, each once."""
    with cursor() as c:
        now = identity.survivors(c, {reason["user"] for reason in lead.reasons if reason.get("user")})
    if not now:
        return
    renamed = [reason | {"user": now.get(reason["user"], reason["user"])} for reason in lead.reasons]
    lead.reasons = list({(reason["rule_set"], reason["user"]): reason for reason in reversed(renamed)}.values())[::-1]
    people = [person | {"user": now.get(person["user"], person["user"])} for person in lead.why]
    lead.why = list({person["user"]: person for person in reversed(people)}.values())[::-1]
    lead.save(update_fields=["reasons", "why"])


def rank_of(*, score: Score) -> int:
    """Return the place of the score's tier in its version; 1 is the best."""
    return [tier["name"] for tier in score.version.document["tiers"]].index(score.tier) + 1


def _reasons_with(lead: Lead, score: Score, *, at: datetime) -> list[dict[str, Any]]:
    """Return the lead's reasons with the score's in the place of its rule set's old one, or at the end."""
    fresh = _reason(score, at=at)
    for place, reason in enumerate(lead.reasons):
        if _is_of(reason, score):
            # The goal as it was known at first: a later one closes the lead.
            return [*lead.reasons[:place], fresh | {"goal_on": reason["goal_on"]}, *lead.reasons[place + 1 :]]
    return [*lead.reasons, fresh]


def _reason(score: Score, *, at: datetime) -> dict[str, Any]:
    """Return as JSON data why a rule set calls for a lead: the score as it was then."""
    return {
        "rule_set": score.rule_set_id,
        "user": score.user_id,
        "slug": score.rule_set.slug,
        "name": score.rule_set.name,
        "version": score.version.number,
        "tier": score.tier,
        "usage": score.usage,
        "fit": score.fit,
        "as_of": score.as_of.isoformat(),
        "at": at.isoformat(),
        "goal_on": score.goal_on and score.goal_on.isoformat(),
        "ledger": score.ledger,
    }
