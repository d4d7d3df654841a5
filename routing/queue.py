"""What pages and the API read: an AE's ranked queue, the team's board, what waits for an AE."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast, Length

from routing.models import AE, HELD, Lead, Membership, Stage, State
from routing.roles import roles_of
from scoring.models import Account, Score


class Tab(models.TextChoices):
    """A part of a queue."""

    NEW = "new", "New"
    WORKING = "working", "Working"
    SNOOZED = "snoozed", "Snoozed"
    CLOSED = "closed", "Closed"


PRESSING = timedelta(hours=1)

CLOSED_SHOWN = timedelta(days=90)
OPEN_TABS = (Tab.NEW, Tab.WORKING, Tab.SNOOZED)

IN_TAB: Mapping[str, Q] = {
    Tab.NEW: Q(state=State.ASSIGNED) & ~Q(stage=Stage.SQL),
    Tab.WORKING: Q(state=State.ASSIGNED, stage=Stage.SQL),
    Tab.SNOOZED: Q(state=State.SNOOZED),
    Tab.CLOSED: Q(state=State.CLOSED),
}

BY_URGENCY = ("tier_rank", F("points").desc(nulls_last=True), "opened_at", "pk")
ORDER: Mapping[str, tuple[str | models.expressions.OrderBy, ...]] = {
    Tab.NEW: BY_URGENCY,
    Tab.WORKING: BY_URGENCY,
    Tab.SNOOZED: (F("snoozed_until").asc(nulls_last=True), "pk"),
    Tab.CLOSED: ("-closed_at", "-pk"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A lead as a list shows it."""

    lead: Lead  # with account, rule set, pool, AE and the AE's log-in
    score: Score | None  # the present one of the rule set that opened the lead
    age: timedelta  # since the lead opened

    @property
    def due_in(self) -> timedelta | None:
        """How long until it is to be touched first, minus if it is overdue; None if it was, or need not be."""
        lead, at = self.lead, self.lead.opened_at + self.age
        waits = lead.first_touched_at is None and lead.state in (State.ASSIGNED, State.UNASSIGNED)
        return lead.due_at - at if waits and lead.due_at else None

    @property
    def is_pressing(self) -> bool:
        """Whether little is left of the time in which it is to be touched."""
        left = self.due_in
        return left is not None and timedelta(0) < left <= PRESSING

    @property
    def usage(self) -> int:
        """Hundredths of a point: now, or when it opened if there is no score any more."""
        return self.score.usage if self.score else int(self.lead.opening["usage"])

    @property
    def fit(self) -> int:
        """Hundredths of a point: now, or when it opened if there is no score any more."""
        return self.score.fit if self.score else int(self.lead.opening["fit"])

    @property
    def has_cooled(self) -> bool:
        """Whether an open lead's account is in no PQL tier now and holds not even the lead's: somebody touched it."""
        score = self.score
        if score is None or not self.lead.is_open or self.lead.pql_at is None:
            return False
        return not score.is_pql and self.lead.tier not in score.held


@dataclass(frozen=True, slots=True)
class Workload:
    """A member of a pool as the team's board shows it."""

    membership: Membership  # with pool, AE and the AE's log-in
    new: int
    working: int
    snoozed: int
    overdue: int  # of the new ones, those that should have been touched by now
    oldest_new_at: datetime | None  # since when the longest waiting new lead has been with the AE

    @property
    def open(self) -> int:
        """How many open leads of the pool the AE holds."""
        return self.new + self.working + self.snoozed

    @property
    def is_full(self) -> bool:
        """Whether the capacity is used up."""
        capacity = self.membership.capacity
        return capacity is not None and self.open >= capacity


def visible_to(*, user: User) -> QuerySet[Lead]:
    """Return the leads that a log-in may see and work: a manager's and an admin's all, an AE's own, else none."""
    roles = roles_of(user)
    if roles & {"Manager", "Admin"}:
        return Lead.objects.all()
    return Lead.objects.filter(ae__user=user) if "AE" in roles else Lead.objects.none()


def is_visible_to(*, user: User, account: Account) -> bool:
    """Whether a log-in may see an account: that of a lead that it may see, or one that was merged into such a one."""
    counting = {account.pk, account.merged_into_id or account.pk}
    return visible_to(user=user).filter(account__in=counting).exists()


def open_leads(*, account: Account) -> QuerySet[Lead]:
    """Return the account's open leads, the oldest first, each with its rule set and AE."""
    opened = account.leads.exclude(state=State.CLOSED).select_related("rule_set", "ae__user")
    return opened.order_by("opened_at", "pk")


def rows(*, among: QuerySet[Lead], at: datetime, limit: int, offset: int = 0) -> list[Row]:
    """Return a page of the leads, in the order that they come in, each with its present score; two queries."""
    related = among.select_related("account", "rule_set", "pool", "ae__user")
    page = list(related[offset : offset + limit])
    scores = _scores(page)
    return [Row(lead, scores.get((lead.rule_set_id, lead.account_id)), at - lead.opened_at) for lead in page]


def not_long_closed(*, among: QuerySet[Lead], at: datetime) -> QuerySet[Lead]:
    """Return the leads without those that were closed longer ago than CLOSED_SHOWN."""
    return among.exclude(state=State.CLOSED, closed_at__lt=at - CLOSED_SHOWN)


def in_tab(*, among: QuerySet[Lead], tab: Tab) -> QuerySet[Lead]:
    """Return the leads of a tab, ranked: by tier, then usage and fit, then age; snoozed and closed ones by time."""
    return among.filter(IN_TAB[tab]).annotate(points=_points()).order_by(*ORDER[tab])


def queue_of(*, ae: AE, at: datetime, tab: Tab = Tab.NEW, limit: int = 50, offset: int = 0) -> list[Row]:
    """Return a page of one tab of an AE's queue, ranked; two queries."""
    return rows(among=in_tab(among=ae.leads.all(), tab=tab), at=at, limit=limit, offset=offset)


def unassigned(*, at: datetime, limit: int = 50, offset: int = 0) -> list[Row]:
    """Return a page of the leads that wait for an AE, in the order in which they will get one; two queries."""
    waiting = Lead.objects.filter(state=State.UNASSIGNED).order_by("tier_rank", "opened_at", "pk")
    return rows(among=waiting, at=at, limit=limit, offset=offset)


def counts(*, among: QuerySet[Lead]) -> dict[str, int]:
    """Return how many of the leads are in each tab, and `unassigned`; one query."""
    tabs = {str(tab): Count("pk", filter=condition) for tab, condition in IN_TAB.items()}
    return among.order_by().aggregate(**tabs, unassigned=Count("pk", filter=Q(state=State.UNASSIGNED)))


def team_board(*, at: datetime, pool_id: int | None = None) -> list[Workload]:
    """Return every member of one pool, or of all, with the open leads that they hold; two queries."""
    members = Membership.objects.select_related("pool", "ae__user").order_by("pool__name", "ae__user__first_name", "pk")
    if pool_id is not None:
        members = members.filter(pool=pool_id)
    loads = _loads(at)
    return [_workload(member, loads.get((member.pool_id, member.ae_id), {})) for member in members]


def weekly_capacity() -> int | None:
    """Return how many leads all members of pools together may be given in a week by their caps; None: no limit.

    A day's cap counts five times. One query.
    """
    members = Membership.objects.filter(is_active=True, ae__is_active=True)
    caps = members.annotate(by_day=F("daily_cap") * 5).values_list("weekly_cap", "by_day")
    by_member = [min((cap for cap in both if cap is not None), default=None) for both in caps]
    known = [cap for cap in by_member if cap is not None]
    return sum(known) if known and len(known) == len(by_member) else None


# Where users are judged an account has many scores by one rule set; the first of these stands for it.
FOREMOST = ("-is_pql", Length(Cast("held", models.TextField())).desc(), (F("usage") + F("fit")).desc(), "pk")


def score_of(*, lead: Lead) -> Score | None:
    """Return the present score of the rule set that opened the lead: of users, that of the foremost."""
    mine = Score.objects.filter(rule_set=lead.rule_set_id, account=lead.account_id)
    return mine.select_related("version").order_by(*FOREMOST).first()


def _points() -> Subquery:
    mine = Score.objects.filter(rule_set=OuterRef("rule_set"), account=OuterRef("account"))
    return Subquery(mine.order_by(*FOREMOST).values(points=F("usage") + F("fit"))[:1])


def _scores(page: list[Lead]) -> dict[tuple[int, int], Score]:
    scores = Score.objects.filter(
        rule_set__in={lead.rule_set_id for lead in page}, account__in={lead.account_id for lead in page}
    )
    scores = scores.order_by("rule_set", "account", *FOREMOST).distinct("rule_set", "account")
    return {(score.rule_set_id, score.account_id): score for score in scores}


def _workload(member: Membership, load: Mapping[str, Any]) -> Workload:
    return Workload(
        membership=member,
        new=load.get("new", 0),
        working=load.get("working", 0),
        snoozed=load.get("snoozed", 0),
        overdue=load.get("overdue", 0),
        oldest_new_at=load.get("oldest_new_at"),
    )


def _loads(at: datetime) -> dict[tuple[int | None, int | None], Mapping[str, Any]]:
    held = Lead.objects.filter(state__in=HELD).order_by()
    tabs = {str(tab): Count("pk", filter=IN_TAB[tab]) for tab in OPEN_TABS}
    waiting = Min("assigned_at", filter=IN_TAB[Tab.NEW])
    overdue = Count("pk", filter=IN_TAB[Tab.NEW] & Q(first_touched_at__isnull=True, due_at__lte=at))
    return {
        (load["pool"], load["ae"]): load
        for load in held.values("pool", "ae").annotate(**tabs, overdue=overdue, oldest_new_at=waiting)
    }
