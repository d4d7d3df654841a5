"""From a draft to the live version, and back: a job that reads history, moves the pointer and touches everybody."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from scoring import handoffs, jobs, language, tiles
from scoring.models import Account, Job, Lane, Publication, RuleSet, RuleVersion, Score, Signal
from scoring.rules import comparing
from scoring.rules.drafting import document_of
from scoring.rules.under_way import PUBLISH, open_publication

PREPARE = "prepare"
CHUNK = 2_000  # accounts touched in one transaction
FURTHEST = timedelta(days=366)  # how far ahead a publication may be set
REVIEW_AFTER = timedelta(days=90)


class AlreadyLive(Exception):
    """The version is live: there is nothing to publish."""


class NoteMissing(Exception):
    """A publication says why: give it a note."""


class PublishRunning(Exception):
    """Another publish of the rule set has not ended yet, or waits for its time."""


class WrongTime(Exception):
    """A publication is set to a time within the coming year."""


class Overtaken(Exception):
    """What was to be published, or what it was to replace, is not what it was any more."""


class NothingToCancel(Exception):
    """Nothing of the rule set waits to be published."""


class LiveAlready(Exception):
    """The publication has moved the pointer: roll back instead."""


def publish(
    *,
    version: RuleVersion,
    note: str,
    by: AbstractBaseUser | None,
    at: datetime,
    seen: str | None = None,
    on: datetime | None = None,
) -> Job:
    """Return the job that will make the version live, now or at `on`; `note` says why.

    `seen` is the token of the diff that somebody looked at; None is for a set-up of one's own, which nobody looks at.
    Raises NoteMissing, AlreadyLive, PublishRunning, comparing.NotSeen or WrongTime.
    """
    if not note.strip():
        raise NoteMissing("say why: the note is what people read later beside the version")
    if on is not None and not at < on <= at + FURTHEST:
        raise WrongTime(f"{on:%-d %B %Y %H:%M} UTC is not within the coming year")
    with transaction.atomic():
        rule_set = RuleSet.objects.select_for_update().get(pk=version.rule_set_id)
        if job := open_publication(rule_set):
            raise PublishRunning(_why_not_now(job))
        return _create(rule_set, version, note=note, by=by, at=at, seen=seen, on=on)


def roll_back(
    *, rule_set: RuleSet, note: str, by: AbstractBaseUser | None, at: datetime, seen: str | None = None
) -> Job:
    """Return the job that makes the version live that the live one replaced. What waits for its time goes on waiting.

    `seen` is the token of the diff, if somebody looked at it: one may roll back without. Raises NothingToRollBackTo,
    PublishRunning or comparing.NotSeen.
    """
    with transaction.atomic():
        rule_set = RuleSet.objects.select_for_update().get(pk=rule_set.pk)
        job = open_publication(rule_set)
        if job is not None and not is_ahead(job, at=at):
            raise PublishRunning(_why_not_now(job))
        version = comparing.version_before(rule_set)
        return _create(rule_set, version, note=note, by=by, at=at, seen=seen, is_rollback=True)


def _create(
    rule_set: RuleSet,
    version: RuleVersion,
    *,
    note: str,
    by: AbstractBaseUser | None,
    at: datetime,
    seen: str | None,
    on: datetime | None = None,
    is_rollback: bool = False,
) -> Job:
    """Make the job; the rule set's row is locked."""
    stored = RuleVersion.objects.select_related("rule_set").get(pk=version.pk)
    live = rule_set.live_version_id
    if live == stored.pk:
        raise AlreadyLive(f"{stored} is live already")
    told: Mapping[str, Any] = {}
    if seen is not None:
        told = comparing.expected(seen=seen, version=stored, live=live, at=at)
    arguments = {
        "rule_set": rule_set.pk,
        "version": stored.pk,
        "label": str(stored),
        "note": note,
        "is_rollback": is_rollback,
        "digest": stored.digest,
        "live": live,
        "expected": dict(told),
        "on": on.isoformat() if on else None,
    }
    return jobs.create(kind=PUBLISH, arguments=arguments, by=by, at=at, not_before=on)


def _why_not_now(job: Job) -> str:
    label = job.arguments["label"]
    if when := job.arguments.get("on"):
        return f"{label} is set to go live at {datetime.fromisoformat(when):%-d %B %Y %H:%M} UTC; cancel that first"
    reading = f", {job.step}" if job.step else ""
    return f"{label} is being published (job {job.pk}{reading}); wait for its end, or cancel it"


def is_ahead(job: Job, *, at: datetime) -> bool:
    """Whether the publication only waits for a time that is still to come."""
    when = job.arguments.get("on")
    return job.state == Job.State.QUEUED and when is not None and datetime.fromisoformat(when) > at


def scheduled(*, rule_set: RuleSet) -> Job | None:
    """Return the job that publishes a version of the rule set, now or at its time; None if there is none."""
    return open_publication(rule_set)


def cancel(*, rule_set: RuleSet, by: AbstractBaseUser | None, at: datetime) -> Job:
    """End the publication that waits, or still reads history; return its job.

    Raises NothingToCancel, or LiveAlready if the pointer has moved.
    """
    with transaction.atomic():
        RuleSet.objects.select_for_update().get(pk=rule_set.pk)  # the pointer does not move meanwhile
        job = open_publication(rule_set)
        if job is None:
            raise NothingToCancel(f"nothing of {rule_set} waits to be published")
        if "live_at" in job.cursor:
            raise LiveAlready(f"{job.arguments['label']} is live already; roll back instead")
        jobs.stop(job=job, by=by, at=at)
        return Job.objects.get(pk=job.pk)


# ---- the work ----------------------------------------------------------------------------------------------------


def prepare(*, version: RuleVersion, by: AbstractBaseUser | None, at: datetime) -> Job | None:
    """Return the job that reads history for the version's new signals, so that it can be compared; None: none is new.

    Nothing goes live by it.
    """
    digests = {language.signal_digest(signal) for signal in language.signals_of(document_of(version)).values()}
    kept = Signal.objects.filter(digest__in=digests)
    if {signal.digest for signal in kept if signal.is_ready} == digests:
        return None
    under_way = Job.objects.filter(kind=PREPARE, state__in=jobs.OPEN, arguments__digest=version.digest)
    if job := under_way.first():
        return job
    arguments = {"version": version.pk, "label": str(version), "digest": version.digest}
    return jobs.create(kind=PREPARE, arguments=arguments, by=by, at=at)


def run_prepare(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed preparation to its end. Raises jobs.LeaseLost if somebody else took it over."""
    version = RuleVersion.objects.get(pk=job.arguments["version"])
    _read_history(document_of(version), clock=clock, tell=_teller(job, clock))
    jobs.finish(job=job, result={"version": job.arguments["label"]}, at=clock())


def publish_again(*, at: datetime) -> list[Job]:
    """Return new jobs for publications that went live a while ago and ended before everybody was touched."""
    return jobs.begin_again(kinds=[PUBLISH], at=at, beyond="live_at")


def run_publish(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed publish job on from where it stands to its end.

    `clock` returns the present time: the work is long, and each step is reported when it happens.
    Raises jobs.LeaseLost if somebody else took the job over, or Overtaken.
    """
    version = RuleVersion.objects.select_related("rule_set").get(pk=job.arguments["version"])
    tell = _teller(job, clock)
    if "live_at" not in job.cursor:
        _refuse_overtaken(job, version.rule_set, version)
        _read_history(document_of(version), clock=clock, tell=tell)
        _make_live(job=job, at=clock())
    elif version.rule_set.live_version_id != version.pk:
        # Another version went live while nobody carried this on: its own publication touches everybody.
        jobs.finish(job=job, result={"version": str(version), "overtaken": True}, at=clock())
        return
    touched = _touch_all(job=job, version=version, tell=tell)
    jobs.finish(job=job, result={"version": str(version), "touched": touched}, at=clock())


Tell = Callable[[str, int, int | None], None]


def _teller(job: Job, clock: Callable[[], datetime]) -> Tell:
    def tell(step: str, done: int, total: int | None) -> None:
        progress = jobs.Progress(step=step, done=done, total=total, cursor=job.cursor)
        jobs.report(job=job, progress=progress, at=clock())

    return tell


def _read_history(document: language.Document, *, clock: Callable[[], datetime], tell: Tell) -> None:
    signals = tiles.register(signals=language.signals_of(document).values(), at=clock())
    tiles.backfill(signals=signals, on_progress=lambda done, total: tell("reading history", done, total))


def _refuse_overtaken(job: Job, rule_set: RuleSet, version: RuleVersion) -> None:
    if rule_set.live_version_id not in (job.arguments["live"], version.pk):
        raise Overtaken("another version went live since this was decided; look at the diff again and publish anew")
    if version.digest != job.arguments["digest"]:
        raise Overtaken("the text changed since this was decided; look at the diff again and publish anew")


def _make_live(*, job: Job, at: datetime) -> None:
    """Move the pointer, once. Waits for the rescores that still read the old one: they hold its row shared."""
    with transaction.atomic():
        rule_set = RuleSet.objects.select_for_update(no_key=True).get(pk=job.arguments["rule_set"])
        version = RuleVersion.objects.get(pk=job.arguments["version"])
        _refuse_overtaken(job, rule_set, version)
        # In this transaction: a job that was cancelled or taken over moves nothing.
        job.cursor = {"live_at": at.isoformat(), "after": 0, "touched": 0}
        jobs.report(job=job, progress=jobs.Progress(step="going live", done=0, total=None, cursor=job.cursor), at=at)
        RuleVersion.objects.filter(pk=version.pk, published_at__isnull=True).update(
            published_at=at, owner_id=job.created_by_id, review_on=at.date() + REVIEW_AFTER
        )
        Publication.objects.create(
            rule_set=rule_set,
            version=version,
            replaced_id=rule_set.live_version_id,
            is_rollback=job.arguments["is_rollback"],
            note=job.arguments["note"],
            expected=job.arguments["expected"],
            by_id=job.created_by_id,
            at=at,
        )
        RuleSet.objects.filter(pk=rule_set.pk).update(
            live_version=version, name=version.document["name"], motion=version.document["motion"]
        )


def _touch_all(*, job: Job, version: RuleVersion, tell: Tell) -> int:
    """Touch every account without a score of the version, from the cursor on; return how many.

    Who comes meanwhile is touched by what happens, and judged by the new version. All are touched as of the moment
    of the publication: so long as one of them waits, nobody is told that scores are complete beyond it.
    """
    live_at = datetime.fromisoformat(job.cursor["live_at"])
    accounts = Account.objects.exclude(kind=Account.Kind.VISITOR).order_by("pk")
    total, after, touched = accounts.count(), int(job.cursor["after"]), int(job.cursor["touched"])
    done = accounts.filter(pk__lte=after).count()
    while chunk := list(accounts.filter(pk__gt=after).values_list("pk", flat=True)[:CHUNK]):
        scores = Score.objects.filter(rule_set=version.rule_set_id, version=version, account__in=chunk)
        scored = set(scores.values_list("account", flat=True))
        behind = [account for account in chunk if account not in scored]
        handoffs.touch(accounts=behind, cause="version", lane=Lane.BULK, at=live_at)
        after, done, touched = chunk[-1], done + len(chunk), touched + len(behind)
        job.cursor = {**job.cursor, "after": after, "touched": touched}
        tell("handing accounts to the scorers", done, total)
    return touched


def worked_in_since() -> datetime | None:
    """Return when the oldest publication went live that has not yet touched everybody; None if there is none."""
    left = list(jobs.undone(kinds=[PUBLISH]).filter(cursor__has_key="live_at"))
    live = set(RuleSet.objects.values_list("live_version", flat=True)) if left else set()
    # One that ended early is of no matter once another version went live: that touches everybody.
    open_ones = [job for job in left if job.state in jobs.OPEN or job.arguments["version"] in live]
    moments = (datetime.fromisoformat(job.cursor["live_at"]) for job in open_ones)
    return min(moments, default=None)
