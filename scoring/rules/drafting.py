"""Texts of rule sets: stored as drafts, changed while they are drafts, read."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Max, QuerySet

from scoring import language
from scoring.models import RuleSet, RuleVersion
from scoring.rules.under_way import open_publication


class IsPublished(Exception):
    """A published version never changes: make a new draft instead."""


class IsScheduled(Exception):
    """The draft is being published, or is to be: cancel that first, or make a new draft."""


class EditedMeanwhile(Exception):
    """Somebody else changed the draft since it was read: read it again, and put both changes together."""


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
        _refuse_other_level(document, rule_set.versions.all())
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


def change(*, version: RuleVersion, text: str, revision: int) -> RuleVersion:
    """Return the draft with a new text, and its revision one higher. `revision` is the one that the change is of.

    Raises language.Invalid with every fault, IsPublished, IsScheduled, or EditedMeanwhile; then nothing is stored.
    """
    document = language.parse(text)
    if document.slug != version.rule_set.slug:
        fault = language.Fault("slug", f"must stay {version.rule_set.slug!r}; another slug is another rule set")
        raise language.Invalid([fault])
    with transaction.atomic():
        rule_set = RuleSet.objects.select_for_update().get(pk=version.rule_set_id)
        stored = RuleVersion.objects.select_related("rule_set").get(pk=version.pk)
        _refuse_to_change(stored, rule_set, revision)
        _refuse_other_level(document, rule_set.versions.exclude(pk=stored.pk))
        if stored.text == text:
            return stored
        stored.text, stored.document, stored.digest = text, language.dump(document), language.digest(document)
        stored.revision += 1
        stored.save(update_fields=["text", "document", "digest", "revision"])
        return stored


def _refuse_other_level(document: language.Document, others: QuerySet[RuleVersion]) -> None:
    """Raise language.Invalid if other versions of the rule set judge whom this one does not: scores are of one kind."""
    levels = others.order_by("number").values_list("document__level", flat=True)[:1]
    for level in levels:
        if document.level != (level or "account"):
            message = (
                f"must stay {level or 'account'}; another level is another rule set, which may have the same motion"
            )
            raise language.Invalid([language.Fault("level", message)])


def _refuse_to_change(stored: RuleVersion, rule_set: RuleSet, revision: int) -> None:
    if stored.published_at is not None:
        raise IsPublished(f"{stored} is published and never changes; make a new draft")
    job = open_publication(rule_set)
    if job is not None and job.arguments["version"] == stored.pk:
        raise IsScheduled(f"{stored} is about to go live (job {job.pk}); cancel that first, or make a new draft")
    if stored.revision != revision:
        raise EditedMeanwhile(
            f"{stored} was changed by somebody else: it is at revision {stored.revision}, your text is of revision"
            f" {revision}. Nothing was stored; read it again and put both changes together"
        )


def export(*, rule_set: RuleSet) -> str:
    """Return the YAML text of the live version, or of the newest draft if none is live."""
    version = rule_set.live_version or rule_set.versions.order_by("number").last()
    return version.text if version else ""


def document_of(version: RuleVersion) -> language.Document:
    """Return the parsed document of a stored version."""
    return language.load(version.document)
