"""Loads the demo, and extends it: the world's calls go through the verbs that real ones go through, day by day.

The past weeks are lived through: recorded up to a moment, scored as of that moment, leads opened and worked then. So
scores, histories, leads and their ages are what they would be had the system been running.
"""

import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from threading import Barrier

from django.contrib.auth.models import User
from django.db import connections

from pqlapp.demo.company import TODAY, Company, dice
from pqlapp.demo.deeds import Deed, deeds
from pqlapp.demo.life import World
from routing import attendance, leads, people, ruling
from routing.models import AE, AfterAbsence, Lead, Pool, RoutingRule, State
from scoring import facts, jobs, rules, scores
from scoring.facts import Fact
from scoring.models import SHARDS, Event, RuleSet, Source

PASSWORD = "demo-pql-2026"  # noqa: S105 (printed on the terminal: everybody may look at the demo)
ADMIN, MANAGER = "admin@demo.example", "manager@demo.example"
RULES = Path(__file__).parent / "rules"
SLUG = "demo-{accounts}-{seed}"
BATCH = 2_500  # calls
HANDS = 2  # threads, each with a connection: while PostgreSQL works for one, the other prepares
LIVED = 18  # days before the first load that are lived through, one by one
SEEN_WEEKLY = 50  # days before the first load of which one a week is
SECOND_VERSION_ON = 75  # the day on which new business got its second version

# E-mail, name, pool, weight, capacity.
AES = (
    ("ann@demo.example", "Ann Okafor", "New business", 2, 24),
    ("ben@demo.example", "Ben Lindqvist", "New business", 1, 12),
    ("cleo@demo.example", "Cleo Marchetti", "New business", 1, 12),
    ("cleo@demo.example", "Cleo Marchetti", "Expansion", 1, 6),
    ("dan@demo.example", "Dan Whitfield", "Expansion", 2, None),
)
HANDLINGS = (
    ("new-business", "hot", "sales", None),
    ("new-business", "ready", "sales", None),
    ("new-business", "nurture", "nurture", None),
    ("new-business", "good-fit", "nurture", None),
    ("expansion", "grow-now", "sales", None),
    ("expansion", "grow-soon", "expansion", None),
)
# Who works at fixed hours, and with whose public holidays; Ann and Cleo take leads at any time.
HOURS = (
    ("ben@demo.example", "Mon-Fri 8-18", "Europe/London", "GB"),
    ("dan@demo.example", "Mon-Fri 9-17", "America/New_York", "US"),
)
ENTERPRISE = "enterprise"
TAGS = (("ann@demo.example", (ENTERPRISE, "german")), ("cleo@demo.example", (ENTERPRISE, "italian")))
# Days from the first load, who is away, why, and who stands in.
ABSENCES = (
    (-11, -8, "ben@demo.example", "Trade fair", "cleo@demo.example"),
    (9, 15, "cleo@demo.example", "Holiday", "ann@demo.example"),
)
# Rule set, tier, working hours until the first touch, and how many before that the warning comes.
SLAS = (("new-business", "hot", 30, 6), ("new-business", "ready", 40, 8), ("expansion", "", 48, 8))
EXCLUSIONS = (
    ("domain", "chalkline.example", "internal", "Our own people draw on boards all day."),
    ("account", "chalkline", "internal", "Our own workspace."),
    ("domain", "inkboard.example", "competitor", "They look at every release of ours."),
    ("account", "inkboard", "competitor", "They look at every release of ours."),
)

OnProgress = Callable[[str, int, int], object]  # what is done, days done, days in all


class OtherDemoLoaded(Exception):
    """The database holds a demo of another size or seed."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did."""

    calls: int  # that were new
    leads: int  # that opened


def load(*, accounts: int, seed: int, now: datetime, days: int = TODAY, on_progress: OnProgress) -> Loaded:
    """Load the demo with its last `days` days, or extend the one that is there to `now`, and return what was new.

    Interrupted, it goes on where it stopped. Raises OtherDemoLoaded.
    """
    source = _source(accounts, seed)
    if source is None:
        day_zero = now.date() - timedelta(days=TODAY)
        world = World(seed, accounts, day_zero)
        _furnish(world, now)
        source = facts.create_source(slug=SLUG.format(accounts=accounts, seed=seed), at=now)
        # The source's fixed offset remembers which day is day 0.
        facts.fix_rebase(source=source, days=day_zero.toordinal())
    day_zero = date.fromordinal(facts.fix_rebase(source=source, days=now.date().toordinal() - TODAY))
    with _hands() as hands:
        run = _Run(World(seed, accounts, day_zero, TODAY - days), source, now, on_progress, hands)
        run.go()
    return Loaded(run.calls, run.opened)


@contextmanager
def _hands() -> Iterator[ThreadPoolExecutor]:
    """Lend threads that keep their connections, and close those at the end."""
    with ThreadPoolExecutor(HANDS, thread_name_prefix="demo") as hands:
        yield hands
        all_here = Barrier(HANDS)  # each thread closes its own
        for _ in range(HANDS):
            hands.submit(_leave, all_here)


def _leave(all_here: Barrier) -> None:
    all_here.wait()
    connections.close_all()


def _source(accounts: int, seed: int) -> Source | None:
    """The source of the demo that is loaded; None if there is none."""
    source = Source.objects.filter(slug__startswith="demo-").first()
    if source is not None and source.slug != SLUG.format(accounts=accounts, seed=seed):
        raise OtherDemoLoaded(
            f"The demo {source.slug} (accounts, seed) is loaded here. Choose another DATA_DIR for another one."
        )
    return source


# ---- what is there before the first call: people, rules, exclusions -------------------------------------------


def _furnish(world: World, now: datetime) -> None:
    """Make log-ins, rule sets, pools, handling and exclusions. Interrupted, it may be done again."""
    began = world.at(0, 9 * 3600)
    admin, _ = people.create_log_in(email=ADMIN, name="Ada Quist", role="Admin", password=PASSWORD, at=began)
    people.create_log_in(email=MANAGER, name="Mona Sato", role="Manager", password=PASSWORD, at=began)
    second = world.at(SECOND_VERSION_ON, 14 * 3600)
    _publish("new-business-first.yaml", "First attempt.", by=admin, at=began)
    _publish("expansion.yaml", "Customers who outgrow their plan.", by=admin, at=began)
    _publish("new-business.yaml", "Limits and interest count too; small firms no longer qualify.", by=admin, at=second)
    for slug, pool in (("new-business", "New business"), ("expansion", "Expansion")):
        if not Pool.objects.filter(name=pool).exists():
            people.create_pool(name=pool, rule_set=RuleSet.objects.get(slug=slug), at=began)
    for email, name, pool, weight, capacity in AES:
        people.create_ae(
            email=email, name=name, pool=pool, weight=weight, capacity=capacity, password=PASSWORD, at=began
        )
    for slug, tier, handling, _ in HANDLINGS:
        people.set_handling(rule_set=RuleSet.objects.get(slug=slug), tier=tier, handling=handling, at=began)
    _staff(world, began)
    for kind, value, why, note in EXCLUSIONS:
        facts.exclude(kind=kind, value=value, why=why, note=note, starts_on=None, ends_on=None, by=admin, at=began)


def _staff(world: World, began: datetime) -> None:
    """Say who works when, who can what, and by when leads are to be touched. May be done again."""
    aes = {ae.user.username: ae for ae in AE.objects.select_related("user")}
    for email, week, zone, calendar in HOURS:
        attendance.set_hours(ae=aes[email], week=week, time_zone=zone, calendar=calendar, at=began)
    for email, tags in TAGS:
        ruling.set_tags(ae=aes[email], given=tags, at=began)
    for first, last, email, note, stand_in in ABSENCES:
        away = {"first": world.at(TODAY + first, 0).date(), "last": world.at(TODAY + last, 0).date()}
        if not aes[email].absences.exists():
            attendance.add_absence(
                ae=aes[email],
                **away,
                note=note,
                open_leads=AfterAbsence.STAND_IN,
                stand_in=aes[stand_in],
                come_back=True,
                at=began,
            )
    for slug, tier, hours, warn in SLAS:
        rule_set = RuleSet.objects.get(slug=slug)
        leads.set_sla(rule_set=rule_set, tier=tier, hours=Decimal(hours), warn_hours=Decimal(warn))
    if not RoutingRule.objects.exists():
        large = "all: [{trait: employees, at_least: 500}, {lead: rule_set, equals: new-business}]"
        pool = Pool.objects.get(name="New business")
        ruling.set_rule(name="Large companies", text=large, pool=pool, asks=[ENTERPRISE], at=began)


def _publish(file: str, note: str, *, by: User, at: datetime) -> None:
    """Publish the text of a file at a moment of the past."""
    version = rules.draft(text=(RULES / file).read_text(), by=by, at=at)
    try:
        job = rules.publish(version=version, note=note, by=by, at=at)
    except rules.AlreadyLive:
        return
    claimed = jobs.claim(job=job, at=at)
    if claimed is not None:
        rules.run_publish(job=claimed, clock=lambda: at)


# ---- day by day ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Run:
    """One load, from the last call that is stored up to now."""

    world: World
    source: Source
    now: datetime
    on_progress: OnProgress
    hands: ThreadPoolExecutor
    calls: int = 0
    opened: int = 0
    agenda: list[tuple[datetime, int, int, Deed]] = field(default_factory=list)  # a heap: when, turn, lead, what
    turns: Iterator[int] = field(default_factory=count)

    def go(self) -> None:
        """Record and live through all days that are missing."""
        since = self.newest() or self.world.at(self.world.first, 0)
        days = [since.date() + timedelta(days=n) for n in range((self.now.date() - since.date()).days + 1)]
        self.look_forward(since)
        plain: list[date] = []
        for done, day in enumerate(days, 1):
            if not _is_lived(self.world.number(day)):
                plain.append(day)
                continue
            self.remember(plain, since)
            self.day(day, since)
            plain = []
            self.on_progress("living through", done, len(days))
        self.on_progress("done", len(days), len(days))

    def newest(self) -> datetime | None:
        """Return the time of the newest call that is stored."""
        return Event.objects.filter(source=self.source).order_by("-at").values_list("at", flat=True).first()

    def remember(self, days: list[date], since: datetime) -> None:
        """Record days that are not lived through: only what happened, not what was thought of it then."""
        batch: list[Fact] = []
        for done, day in enumerate(days, 1):
            batch += self.calls_of(day, since)
            if len(batch) >= HANDS * BATCH or day == days[-1]:
                self.record(batch, self.world.at(self.world.number(day), 86_399))
                batch = []
                self.on_progress("recording", done, TODAY)
        for day in days:
            self.record_conversions(day)

    def day(self, day: date, since: datetime) -> None:
        """Live through one day, in several parts, each with its consequences."""
        calls = self.calls_of(day, since)
        for moment in self.moments(day, since):
            self.record([fact for fact in calls if fact.at <= moment], moment)
            calls = [fact for fact in calls if fact.at > moment]
            self.live(moment)
        self.record(calls, self.world.at(self.world.number(day), 86_399))
        self.record_conversions(day)

    def calls_of(self, day: date, since: datetime) -> list[Fact]:
        """Return the calls of one day that may be missing and have happened by now."""
        return [fact for fact in self.world.facts(day) if since <= fact.at <= self.now]

    def moments(self, day: date, since: datetime) -> list[datetime]:
        """Return when scores are looked at: once on a past day, every few hours of the last one, and now."""
        number = self.world.number(day)
        if day != self.now.date():
            return [max(since, self.world.at(number, _hour(self.world.seed, number) * 3600))]
        return [at for hour in range(2, 24, 3) if since < (at := self.world.at(number, hour * 3600)) < self.now] + [
            self.now
        ]

    def record(self, calls: list[Fact], received_at: datetime) -> None:
        """Store calls in batches."""
        batches = (calls[start : start + BATCH] for start in range(0, len(calls), BATCH))
        store = partial(facts.record, source=self.source, received_at=received_at)
        self.calls += sum(recorded.accepted for recorded in self.hands.map(lambda batch: store(facts=batch), batches))

    def record_conversions(self, day: date) -> None:
        """Store what was paid on the day, up to now."""
        for paid in self.world.conversions(day):
            account = facts.account_named(external_id=paid.account)
            if account is not None and paid.at <= self.now:
                facts.record_outcome(
                    account=account,
                    kind=paid.kind,
                    at=paid.at,
                    received_at=self.now,
                    message_id=paid.message_id,
                    source=self.source,
                    amount=paid.amount,
                )

    def live(self, moment: datetime) -> None:
        """Let happen what happens at a moment: AEs at work, scores, leads."""
        while self.agenda and self.agenda[0][0] <= moment:
            at, _, lead_id, deed = heapq.heappop(self.agenda)
            self.do(lead_id, deed, at)
        list(self.hands.map(lambda shard: _rescore(shard, moment), range(SHARDS)))
        while (considered := leads.open_crossed(at=moment)) is not None:
            lead = considered.lead
            if lead is not None and lead.opened_at == moment:
                self.opened += 1
                self.plan(lead, moment)
        leads.tend(at=moment)
        leads.keep_deadlines(at=moment)

    def look_forward(self, since: datetime) -> None:
        """Plan the deeds of leads that are open already: an interrupted load goes on."""
        for lead in Lead.objects.exclude(state=State.CLOSED).filter(opened_at__lt=self.first_load()):
            self.plan(lead, since)

    def first_load(self) -> datetime:
        """Return the beginning of the day of the first load: from then on the leads are left to whoever looks."""
        return self.world.at(TODAY, 0)

    def plan(self, lead: Lead, since: datetime) -> None:
        """Put on the agenda what its AE will do with a lead."""
        company = self.company(lead.account.external_id)
        if company is None:
            return
        buys_at = None if company.buys_on is None else self.world.at(company.buys_on, 30_000)
        for deed in deeds(seed=self.world.seed, company=company, opened_at=lead.opened_at, buys_at=buys_at):
            if since < deed.at < self.first_load():
                heapq.heappush(self.agenda, (deed.at, next(self.turns), lead.pk, deed))

    def company(self, external_id: str) -> Company | None:
        """Return the company that is known by this id."""
        known = self.world.companies(self.world.number(self.now.date()))
        return next((company for company in known if company.external_id == external_id), None)

    def do(self, lead_id: int, deed: Deed, at: datetime) -> None:
        """Let the lead's AE do one thing; if the lead has moved on meanwhile, nothing."""
        lead = Lead.objects.select_related("ae__user").get(pk=lead_id)
        by = lead.ae.user if lead.ae else None
        try:
            match deed.verb:
                case "accept":
                    leads.accept(lead=lead, by=by, at=at)
                case "snooze" if deed.until is not None:
                    leads.snooze(lead=lead, until=deed.until, by=by, at=at)
                case "disqualify":
                    leads.disqualify(lead=lead, reason=deed.reason, words=deed.words, by=by, at=at)
                case "recycle" if deed.until is not None:
                    leads.recycle(lead=lead, until=deed.until, reason=deed.reason, words=deed.words, by=by, at=at)
                case "lose":
                    leads.lose(lead=lead, reason=deed.reason, words=deed.words, by=by, at=at)
                case "win":
                    leads.win(lead=lead, by=by, at=at)
                case "hand_over":
                    manager = User.objects.get(username=MANAGER)
                    leads.reassign(lead=lead, to=_colleague(lead), by=manager, at=at, note=deed.reason)
        except leads.LeadError:
            return


def _rescore(shard: int, moment: datetime) -> None:
    """Score all of a shard as of a moment."""
    scores.sweep(shard=shard, as_of=moment.date(), at=moment)
    while scores.rescore_touched(shard=shard, as_of=moment.date(), at=moment).accounts:
        pass


def _colleague(lead: Lead) -> AE | None:
    """Return somebody else of the pool; None: whose turn it is."""
    return AE.objects.filter(memberships__pool=lead.pool_id).order_by("pk").exclude(leads=lead).first()


def _is_lived(number: int) -> bool:
    """Whether a day is lived through: all of the last weeks, and one in each of the weeks before."""
    return number >= TODAY - LIVED or (number >= TODAY - SEEN_WEEKLY and number % 7 == TODAY % 7)


def _hour(seed: int, number: int) -> float:
    """The hour at which the scores of a past day were looked at."""
    return dice(seed, "hour", number).uniform(7, 19)
