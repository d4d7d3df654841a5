"""Published versions are looked at again: by whom, when, and what has come of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Exists, OuterRef

from scoring import language
from scoring.models import Publication, RuleSet, RuleVersion, Signal, Tile
from scoring.models.raw import cursor
from scoring.rules.drafting import document_of

QUIET_AFTER = timedelta(days=30)  # a signal of which nothing came for so long is told


class NotPublished(Exception):
    """A draft is not reviewed: it decides nothing yet."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What has come of a live version since it went live."""

    version: RuleVersion
    live_since: datetime
    # Of accounts; where users are judged, of users.
    pqls: int  # in a PQL tier today
    qualified: int  # accounts that came to be PQLs by it
    reached: int  # of them, those that reached the goal on that day or later
    others: int  # accounts that were scored and were no PQLs since it went live
    others_reached: int  # of them, those that reached the goal since
    quiet: Sequence[str]  # its signals of which nothing came for QUIET_AFTER


def review(*, version: RuleVersion, owner: AbstractBaseUser | None, on: date | None) -> RuleVersion:
    """Return the published version with its owner and the day (UTC) of its next review; None: nobody, never.

    Raises NotPublished.
    """
    changed = RuleVersion.objects.filter(pk=version.pk, published_at__isnull=False).update(
        owner_id=owner.pk if owner else None, review_on=on
    )
    if not changed:
        raise NotPublished(f"{version} is a draft; its review is set once it is published")
    return RuleVersion.objects.select_related("rule_set", "owner").get(pk=version.pk)


def due_for_review(*, on: date) -> list[Evidence]:
    """Return what has come of each live version whose review is due by that day, the longest overdue first."""
    due = RuleSet.objects.filter(live_version__review_on__lte=on).order_by("live_version__review_on", "pk")
    versions = (
        rule_set.live_version for rule_set in due.select_related("live_version__rule_set", "live_version__owner")
    )
    return [evidence_of(version=version, on=on) for version in versions if version]


def evidence_of(*, version: RuleVersion, on: date) -> Evidence:
    """Return what has come of a live version up to the day (UTC)."""
    newest = Publication.objects.filter(version=version).order_by("id").last()
    since = newest.at if newest else version.created_at
    document = document_of(version)
    params = {
        "rule_set": version.rule_set_id,
        "version": version.pk,
        "since": since,
        "pqls": [tier.name for tier in document.tiers if tier.pql],
    }
    with cursor() as c:
        ((pqls, qualified, reached, others, others_reached),) = c.execute(_COUNTS, params).fetchall()
    return Evidence(version, since, pqls, qualified, reached, others, others_reached, _quiet(document, on))


# Who was a PQL before it went live, and was so throughout, is on neither side.
_COUNTS = """
WITH qualified AS (
    SELECT account_id, user_id, min((at AT TIME ZONE 'UTC')::date) AS first FROM scoring_scorechange
    WHERE rule_set_id = %(rule_set)s::bigint AND version_id = %(version)s::bigint AND tier = ANY (%(pqls)s::text[])
        AND at >= %(since)s::timestamptz
    GROUP BY account_id, user_id)
SELECT count(*) FILTER (WHERE s.is_pql),
    count(q.account_id),
    count(q.account_id) FILTER (WHERE s.goal_on >= q.first),
    count(*) FILTER (WHERE q.account_id IS NULL AND NOT s.is_pql),
    count(*) FILTER (WHERE q.account_id IS NULL AND NOT s.is_pql
        AND s.goal_on >= (%(since)s::timestamptz AT TIME ZONE 'UTC')::date)
FROM scoring_score s LEFT JOIN qualified q ON q.account_id = s.account_id
    AND q.user_id IS NOT DISTINCT FROM s.user_id
WHERE s.rule_set_id = %(rule_set)s::bigint
"""


def _quiet(document: language.Document, on: date) -> list[str]:
    """Return the names of the signals that were not seen lately, or never."""
    names = {language.signal_digest(signal): name for name, signal in document.signals}
    lately = Tile.objects.filter(signal=OuterRef("pk"), day__gt=on - QUIET_AFTER, day__lte=on)
    heard = Signal.objects.filter(Exists(lately), digest__in=names).values_list("digest", flat=True)
    return sorted(names[digest] for digest in names.keys() - set(heard))
