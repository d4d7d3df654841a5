"""Leads that do not come from use: marketing's, which other systems post, and those that people enter by hand."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from routing import handling
from routing.leads import assigning, merging, moves, opening
from routing.leads.moves import LeadError
from routing.models import AE, MQL, Handling, Lead, Origin, Stage, State, Via
from scoring.models import Account, RuleSet, Score, Source

MARKETING, BY_HAND = "MQL", "Direct"  # the tiers of leads that no rule set has in one of its own


class NoRules(LeadError):
    """The rule set has no version that is live."""


class HasLead(LeadError):
    """The account has an open lead of the motion already."""


def market(
    *,
    account: Account,
    rule_set: RuleSet,
    at: datetime,
    received_at: datetime,
    message_id: str,
    source: Source | None,
    note: str = "",
) -> tuple[MQL, bool]:
    """Record a marketing system's word once, and open a lead for it or let it join the account's open one.

    An account that is cooling down has its word wait till then. Returns the record, which says what became of it, and
    whether it was new. Raises NoRules.
    """
    _check_live(rule_set)
    with transaction.atomic():
        counts = merging.lock_lanes(account_id=account.pk) or account
        word, is_new = MQL.objects.get_or_create(
            message_id=message_id,
            defaults={
                "account": counts,
                "rule_set": rule_set,
                "source": source,
                "at": at,
                "received_at": received_at,
                "note": note,
                "waits": "Not looked at yet.",
            },
        )
        if is_new:
            take_up(word=word, at=received_at)
    return word, is_new


def take_up(*, word: MQL, at: datetime) -> Lead | None:
    """Give marketing's word its lead, under the account's lane: the open one, or a new one; None if it has to wait."""
    there = moves.open_lead(account_id=word.account_id, motion=word.rule_set.motion)
    lead = _join(moves.lock(lead=there), word, at=at) if there else _open_for(word, at=at)
    word.lead, word.waits = lead, "" if lead else word.waits
    word.save(update_fields=["lead", "waits"])
    return lead


def enter(
    *,
    account: Account,
    rule_set: RuleSet,
    ae: AE,
    by: User | None,
    at: datetime,
    note: str = "",
    via: Via | None = None,
) -> Lead:
    """Open a lead by hand: an SQL from the start, with the AE who works it already. It costs no turn.

    Returns it. Raises NoRules, HasLead.
    """
    _check_live(rule_set)
    with transaction.atomic():
        counts = merging.lock_lanes(account_id=account.pk) or account
        if there := moves.open_lead(account_id=counts.pk, motion=rule_set.motion):
            raise HasLead(f"The account has lead {there.pk} already: work that one.")
        lead = _new(counts, rule_set, Origin.DIRECT, at=at, stage=Stage.SQL, accepted_at=at, first_touched_at=at)
        moves.write(lead=lead, verb="open", by=by, at=at, via=via, note=note or "Entered by hand.")
        why = f"{ae.name} works it already."
        assigning.give(
            lead=lead,
            pool=assigning.pool_by_hand(lead=lead, to=ae),
            ae=ae,
            how=assigning.How.BY_HAND,
            verb="assign",
            decision={"chosen": ae.pk, "why": why},
            by=by,
            at=at,
            via=via,
        )
    return lead


def _check_live(rule_set: RuleSet) -> None:
    if rule_set.live_version is None:
        raise NoRules(f"{rule_set.name} has no live version: publish one first.")


def _join(lead: Lead, word: MQL, *, at: datetime) -> Lead:
    changes: dict[str, Any] = {} if lead.mql_at else {"mql_at": word.at}
    data = {"mql": word.pk, "message_id": word.message_id}
    return moves.make(lead=lead, verb="market", by=None, at=at, via=Via.API, note=word.note, data=data, **changes)


def _open_for(word: MQL, *, at: datetime) -> Lead | None:
    """Open a lead for marketing's word, or say in the word why not."""
    last = opening.last_settled(account_id=word.account_id, motion=word.rule_set.motion)
    if last is not None and last.cool_until is not None and last.cool_until > at:
        word.waits = f"Lead {last.pk} was recycled: the account cools down until {last.cool_until:%-d %B %Y}."
        return None
    plan = handling.plan_for(
        rule_set=word.rule_set,
        tier=MARKETING,
        is_pql=True,
        account=word.account_id,
        stage=Stage.MQL,
        origin=Origin.MQL,
    )
    if plan.handling is not Handling.SALES:
        word.waits = f"What {word.rule_set.name} does with {MARKETING}s: {Handling(plan.handling).label}."
        return None
    lead = _new(word.account, word.rule_set, Origin.MQL, at=at, stage=Stage.MQL, mql_at=word.at)
    data = {"mql": word.pk, "message_id": word.message_id}
    moves.write(lead=lead, verb="open", by=None, at=at, via=Via.API, note=word.note or "Named by marketing.", data=data)
    assigning.route(lead=lead, plan=plan, at=at)
    moves.start_waiting(lead=lead, at=at)
    return lead


def _new(account: Account, rule_set: RuleSet, origin: Origin, *, at: datetime, **stage: Any) -> Lead:
    """Make a lead that waits to be given to somebody, with the account's score of the day if it has one."""
    version = rule_set.live_version
    assert version is not None  # noqa: S101 - checked before
    # Where users are judged, that of the foremost.
    score = Score.objects.filter(account=account, rule_set=rule_set).order_by("-is_pql", "-usage", "pk").first()
    tier = MARKETING if origin == Origin.MQL else BY_HAND
    return Lead.objects.create(
        account=account,
        motion=rule_set.motion,
        rule_set=rule_set,
        version=score.version if score else version,
        state=State.UNASSIGNED,
        origin=origin,
        opening_tier=tier,
        tier=tier,
        tier_rank=len(version.document["tiers"]) + 1,  # after all that use has qualified
        opening=score.ledger if score else {"lines": [], "usage": 0, "fit": 0},
        unassigned_reason="Not routed yet.",
        opened_at=at,
        **stage,
    )
