"""By when a lead is to be touched first: in working hours of its AE, stored on the lead for a task to ask an index."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from routing import hours, roster
from routing.hours import Hours
from routing.models import AE, SLA, AtBreach, Lead, Pool
from scoring.models import RuleSet

# While nobody has a lead, its time runs in these hours (UTC): nobody's own can be asked.
OFFICE = Hours(week=hours.parse("Mon-Fri 9-17"))
NONE: Mapping[str, datetime | None] = {"due_at": None, "alarm_at": None}


class DeadlineError(ValueError):
    """A deadline that cannot be; the text says what to do."""


def clock(*, lead: Lead, ae: AE | None, at: datetime, tier: str | None = None) -> dict[str, datetime | None]:
    """Return `due_at` and `alarm_at` of a lead that an AE, or nobody, has from a moment on.

    Empty if it was touched already: there is one first touch. Both are None where nothing is said for its tier, or
    where its AE works no such time within three years.
    """
    if lead.first_touched_at is not None:
        return {}
    sla = slas(rule_sets=[lead.rule_set_id]).of(lead.rule_set_id, lead.tier if tier is None else tier)
    if sla is None:
        return dict(NONE)
    return by(sla=sla, works=works_of(ae, at=at) if ae else OFFICE, at=at)


def by(*, sla: SLA, works: Hours, at: datetime) -> dict[str, datetime | None]:
    """Return `due_at` and `alarm_at` of a lead that somebody who works so has from a moment on."""
    due = works.add_business_time(at, _seconds(sla.hours))
    warn = works.add_business_time(at, _seconds(sla.hours - sla.warn_hours)) if sla.warn_hours else due
    return {"due_at": due, "alarm_at": warn}


@dataclass(frozen=True, slots=True)
class SLAs:
    """What is said of some rule sets' tiers."""

    said: Mapping[tuple[int, str], SLA]  # by rule set and tier; an empty tier: all that have none of their own

    def of(self, rule_set: int, tier: str) -> SLA | None:
        """Return what is said for the tier, else for all tiers of the rule set; None if nothing is."""
        return self.said.get((rule_set, tier)) or self.said.get((rule_set, ""))


def slas(*, rule_sets: Iterable[int]) -> SLAs:
    """Return what is said of the tiers of these rule sets; one query."""
    return SLAs({(sla.rule_set_id, sla.tier): sla for sla in SLA.objects.filter(rule_set__in=set(rule_sets))})


def sooner(*, lead: Lead, tier: str, at: datetime) -> dict[str, datetime | None]:
    """Return the deadline of a lead that has risen to a better tier, if that is sooner than it was; else empty."""
    if lead.alarm_at is None or lead.due_at is None:
        return {}
    new = clock(lead=lead, ae=lead.ae, at=at, tier=tier)
    return new if new["due_at"] and new["due_at"] < lead.due_at else {}


def works_of(ae: AE, *, at: datetime) -> Hours:
    """Return when an AE works."""
    return roster.hours_of([ae], at=at)[ae.pk]


def set_sla(*, rule_set: RuleSet, tier: str, hours: Decimal, warn_hours: Decimal = Decimal(0)) -> SLA:
    """Say in how many working hours leads of a tier are to be touched; an empty tier: all that have none of their own.

    It holds for leads that are given from now on. Returns it; raises DeadlineError.
    """
    if hours <= 0:
        raise DeadlineError("Give a number of working hours above 0.")
    if not 0 <= warn_hours < hours:
        raise DeadlineError("The warning comes before the deadline: give fewer hours, or 0 for none.")
    sla, _ = SLA.objects.update_or_create(
        rule_set=rule_set, tier=tier.strip(), defaults={"hours": hours, "warn_hours": warn_hours}
    )
    return sla


def set_at_breach(*, pool: Pool, at_breach: str) -> Pool:
    """Say what is done with leads of a pool that nobody touched in time; returns the pool. Raises DeadlineError."""
    if at_breach not in AtBreach.values:
        raise DeadlineError(f"{at_breach!r} is not known: choose one of {', '.join(AtBreach.values)}.")
    pool.at_breach = at_breach
    pool.save(update_fields=["at_breach"])
    return pool


def _seconds(worked: Decimal) -> float:
    return float(worked * 3600)
