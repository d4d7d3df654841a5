"""PQL definitions: draft, publish, roll back, export. The one writer of rule sets and versions."""

from collections.abc import Callable
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Max

from scoring import handoffs, jobs, language, tiles
from scoring.models import Account, Job, Lane, Publication, RuleSet, RuleVersion, Score

PUBLISH = "publish"
CHUNK = 2_000  # accounts touched in one transaction


class AlreadyLive(Exception):
    """The version is live: there is nothing to publish."""


class NothingToRollBackTo(Exception):
    """The rule set has no version that was live before the present one."""


class IsPublished(Exception):
    """A published version never changes: make a new draft instead."""


class PublishRunning(Exception):
    """Another publish of the rule set has not ended yet."""


def draft(*, text: str, by: AbstractBaseUser | None, at: datetime) -> RuleVersion:
    """Return the newest version of the text's rule set if it says just this, else a new draft of it.

    The rule set is made at its first draft. Raises language.Invalid with every fault; then nothing is stored.
    """
    document = language.parse(text)
    with transaction.atomic():
        rule_set, _ = RuleSet.objects.get_or_create(
            slug=document.slug, defaults={"name": document.name, "motion": document.motion, "created_at": at}
        )
        RuleSet.objects.select_for_update().get(pk=rule_set.pk)
        newest = rule_set.versions.order_by("number").last()
        if newest is not None and (newest.text, newest.digest) == (text, language.digest(document)):
            return newest
        number = (rule_set.versions.aggregate(newest=Max("number"))["newest"] or 0) + 1
        return RuleVersion.objects.create(
            rule_set=rule_set,
            number=number,
            text=text,
            document=language.dump(document),
            digest=language.digest(document),
            created_by_id=by.pk if by else None,
            created_at=at,
        )


def change(*, version: RuleVersion, text: str) -> RuleVersion:
    """Return the draft with a new text. Raises IsPublished, or language.Invalid with every fault."""
    document = language.parse(text)
    if document.slug != version.rule_set.slug:
        fault = language.Fault("slug", f"must stay {version.rule_set.slug!r}; another slug is another rule set")
        raise language.Invalid([fault])
    changed = RuleVersion.objects.filter(pk=version.pk, published_at__isnull=True).update(
        text=text, document=language.dump(document), digest=language.digest(document)
    )
    if not changed:
        raise IsPublished(f"{version} is published and never changes; make a new draft")
    return RuleVersion.objects.select_related("rule_set").get(pk=version.pk)


def publish(
    *, version: RuleVersion, note: str, by: AbstractBaseUser | None, at: datetime, is_rollback: bool = False
) -> Job:
    """Return the job that will make the version live: it backfills, moves the pointer and touches all accounts.

    Raises AlreadyLive or PublishRunning.
    """
    with transaction.atomic():
        rule_set = RuleSet.objects.select_for_update().get(pk=version.rule_set_id)
        if rule_set.live_version_id == version.pk:
            raise AlreadyLive(f"{version} is live already")
        running = Job.objects.filter(kind=PUBLISH, state__in=jobs.OPEN, arguments__rule_set=rule_set.pk)
        if open_job := running.first():
            raise PublishRunning(f"job {open_job.pk} is publishing this rule set; wait for its end")
        arguments = {
            "rule_set": rule_set.pk,
            "version": version.pk,
            "label": str(version),
            "note": note,
            "is_rollback": is_rollback,
        }
        return jobs.create(kind=PUBLISH, arguments=arguments, by=by, at=at)


def rollback(*, rule_set: RuleSet, note: str, by: AbstractBaseUser | None, at: datetime) -> Job:
    """Return the job that makes the version live that was live before the present one.

    Raises NothingToRollBackTo or PublishRunning.
    """
    newest = rule_set.publications.order_by("id").last()
    if newest is None or newest.replaced is None:
        raise NothingToRollBackTo(f"{rule_set} has had one live version at most")
    return publish(version=newest.replaced, note=note, by=by, at=at, is_rollback=True)


def run_publish(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed publish job on from where it stands to its end.

    `clock` returns the present time: the work is long, and each step is reported when it happens.
    Raises jobs.LeaseLost if somebody else took the job over.
    """
    version = RuleVersion.objects.select_related("rule_set").get(pk=job.arguments["version"])
    document = language.load(version.document)

    def tell(step: str, done: int, total: int | None) -> None:
        progress = jobs.Progress(step=step, done=done, total=total, cursor=job.cursor)
        jobs.report(job=job, progress=progress, at=clock())

    signals = tiles.register(signals=language.signals_of(document).values(), at=clock())
    tiles.backfill(signals=signals, on_progress=lambda done, total: tell("reading history", done, total))
    _make_live(job=job, version=version, at=clock())
    touched = _touch_all(version=version, clock=clock, tell=tell)
    jobs.finish(job=job, result={"version": str(version), "touched": touched}, at=clock())


def _make_live(*, job: Job, version: RuleVersion, at: datetime) -> None:
    """Move the pointer, once. Waits for the rescores that still read the old one: they hold its row shared."""
    with transaction.atomic():
        rule_set = RuleSet.objects.select_for_update(no_key=True).get(pk=version.rule_set_id)
        if rule_set.live_version_id == version.pk:
            return
        RuleVersion.objects.filter(pk=version.pk, published_at__isnull=True).update(published_at=at)
        Publication.objects.create(
            rule_set=rule_set,
            version=version,
            replaced_id=rule_set.live_version_id,
            is_rollback=job.arguments["is_rollback"],
            note=job.arguments["note"],
            by_id=job.created_by_id,
            at=at,
        )
        document = version.document
        RuleSet.objects.filter(pk=rule_set.pk).update(
            live_version=version, name=document["name"], motion=document["motion"]
        )


def _touch_all(
    *, version: RuleVersion, clock: Callable[[], datetime], tell: Callable[[str, int, int | None], None]
) -> int:
    """Touch every account without a score of the version; return how many. Killed, it begins again: touches add up."""
    accounts = Account.objects.exclude(kind=Account.Kind.VISITOR)
    total, done, last = accounts.count(), 0, 0
    while chunk := list(accounts.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        scored = set(
            Score.objects.filter(rule_set=version.rule_set, version=version, account__in=chunk).values_list(
                "account", flat=True
            )
        )
        handoffs.touch(
            accounts=[account for account in chunk if account not in scored],
            cause="version",
            lane=Lane.BULK,
            at=clock(),
        )
        last, done = chunk[-1], done + len(chunk)
        tell("handing accounts to the scorers", done, total)
    return done


def export(*, rule_set: RuleSet) -> str:
    """Return the YAML text of the live version, or of the newest draft if none is live."""
    version = rule_set.live_version or rule_set.versions.order_by("number").last()
    return version.text if version else ""


def document_of(version: RuleVersion) -> language.Document:
    """Return the parsed document of a stored version."""
    return language.load(version.document)
