"""What a version would change, for every account, before it goes live. Reads, and writes nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.core import signing
from django.db.models import Max

from scoring import engine, language
from scoring.engine import Standing, Subject
from scoring.models import RuleSet, RuleVersion, Signal
from scoring.rules.drafting import document_of

SEEN_FOR = timedelta(hours=1)  # how long a diff stands for the present data
NOWHERE = Standing.none()
A_LOT = 10_000  # accounts
ENTERS, LEAVES, MOVES = "enters", "leaves", "moves"


class NotSeen(Exception):
    """The diff of this very version against what is live now was not looked at: look, then publish."""


@dataclass(frozen=True, slots=True)
class Change:
    """An account or user whose tier the version changes. Without a subject on a side, that side is of no tier."""

    account_id: int
    before: Standing
    after: Standing
    user_id: int | None = None  # whom it is about, where users are judged

    @property
    def kind(self) -> str:
        """Enters: becomes a PQL. Leaves: is one no longer. Moves: any other change of tier; else empty."""
        if self.before.is_pql != self.after.is_pql:
            return ENTERS if self.after.is_pql else LEAVES
        return MOVES if self.before.tier != self.after.tier else ""


@dataclass(frozen=True, slots=True)
class Diff:
    """What a version changes against the live one: all facts as they are known now, on one day."""

    version: RuleVersion
    live: RuleVersion | None
    as_of: date
    accounts: int  # that were judged; where users are judged, all counts are of users
    changes: tuple[Change, ...]  # those whose tier changes; PQLs first, then by points, the highest first
    rescored: int  # accounts of the same tier with other points, or another reason for having none
    sizes: Mapping[str, tuple[int, int]]  # accounts by tier before and after, best tier first; "" is no tier
    seen: str  # the token that lets it be published

    def of(self, kind: str) -> list[Change]:
        """Return the accounts that enter, leave or move."""
        return [change for change in self.changes if change.kind == kind]

    @property
    def counts(self) -> dict[str, int]:
        """How many accounts enter, leave and move, are scored otherwise, and were judged."""
        return _counts(self.changes, self.rescored, self.accounts)

    @property
    def noun(self) -> str:
        """Who is counted: account or user. (Leads are counted by account: see routing.forecast.)"""
        return str(self.version.document.get("level", "account"))

    @property
    def words(self) -> str:
        """What it would change, in a sentence."""
        against = f"against {self.live}" if self.live else "as the first version"
        numbers = {name: f"{number:,}" for name, number in self.counts.items()}
        noun = self.noun if self.accounts == 1 else f"{self.noun}s"
        return (
            f"{self.version} {against}, {numbers['accounts']} {noun} as of {self.as_of:%-d %B %Y} (UTC): "
            f"{numbers['enters']} become PQLs, {numbers['leaves']} are none any more, {numbers['moves']} change their "
            f"tier otherwise, {numbers['rescored']} only their points."
        )

    @property
    def lines(self) -> list[str]:
        """The sentence, and below it the tiers before and after."""
        sizes = (f"  {tier or 'no tier'}: {before:,} -> {after:,}" for tier, (before, after) in self.sizes.items())
        return [self.words, *sizes]


def _counts(changes: Sequence[Change], rescored: int, accounts: int) -> dict[str, int]:
    kinds = Counter(change.kind for change in changes)
    named = {kind: kinds[kind] for kind in (ENTERS, LEAVES, MOVES)}
    return {**named, "rescored": rescored, "accounts": accounts}


def diff_of_text(*, text: str, at: datetime) -> Diff:
    """Return what the text would change if it were published, as `diff` does; it is not stored.

    Raises language.Invalid or engine.SignalsMissing.
    """
    document = language.parse(text)
    rule_set = RuleSet.objects.filter(slug=document.slug).first()
    number = 1
    if rule_set is None:
        rule_set = RuleSet(slug=document.slug, name=document.name, motion=document.motion)
    else:
        number = (rule_set.versions.aggregate(newest=Max("number"))["newest"] or 0) + 1
    return diff(version=RuleVersion(rule_set=rule_set, number=number, document=language.dump(document)), at=at)


def diff(*, version: RuleVersion, at: datetime) -> Diff:
    """Return what the version would change for every account, judged at `at` as of that UTC day.

    What stands on the side of the live version is what it says of the same facts, also where a rescore still waits.
    Raises engine.SignalsMissing if a signal's history was not read to its end: see `prepare`.
    """
    rule_set = RuleSet.objects.select_related("live_version__rule_set").filter(pk=version.rule_set_id).first()
    live = rule_set.live_version if rule_set else None
    document, as_of = document_of(version), at.date()
    _refuse_unread(document)
    found = engine.judge_beside_scores(
        document, rule_set=version.rule_set_id, live=live.pk if live else None, as_of=as_of
    )
    before = _judged_again(live, found.unsettled, as_of)
    changed, rescored, sizes = [], 0, {tier.name: [0, 0] for tier in document.tiers}
    for (old_tier, new_tier), number in found.same.items():
        _count(sizes, old_tier, new_tier, number)
    for subject, old, new in found.rows:
        change = Change(subject[0], before.get(subject, old or NOWHERE), new or NOWHERE, subject[1])
        _count(sizes, change.before.tier, change.after.tier, 1)
        if change.kind:
            changed.append(change)
        else:
            rescored += change.before != change.after
    accounts = sum(found.same.values()) + len(found.rows)
    changed.sort(key=_rank)
    return Diff(
        version=version,
        live=live,
        as_of=as_of,
        accounts=accounts,
        changes=tuple(changed),
        rescored=rescored,
        sizes=_ordered(sizes),
        seen=_token(version, live, at, _counts(changed, rescored, accounts)),
    )


def diff_of_roll_back(*, rule_set: RuleSet, at: datetime) -> Diff:
    """Return what rolling back would change. Raises NothingToRollBackTo or engine.SignalsMissing."""
    return diff(version=version_before(rule_set), at=at)


class NothingToRollBackTo(Exception):
    """The rule set has no version that was live before the present one."""


def version_before(rule_set: RuleSet) -> RuleVersion:
    """Return the version that the live one replaced when it was published. Raises NothingToRollBackTo.

    After a roll back the next one goes further back, and not forth again to what was taken back.
    """
    published = rule_set.publications.filter(version=rule_set.live_version_id, is_rollback=False)
    newest = published.select_related("replaced__rule_set").order_by("id").last()
    if newest is None or newest.replaced is None:
        raise NothingToRollBackTo(f"{rule_set} has had one live version at most before this one")
    return newest.replaced


def _refuse_unread(document: language.Document) -> None:
    """Raise engine.SignalsMissing if the tiles of a signal are not yet the fold of all stored events."""
    ids = engine.stored_signals(document)
    behind = [signal for signal in Signal.objects.filter(pk__in=ids.values()) if not signal.is_ready]
    if behind:
        names = sorted(name for name, id_ in ids.items() if id_ in {signal.pk for signal in behind})
        raise engine.SignalsMissing(f"the history of {', '.join(names)} is still being read; try again when it is")


def _judged_again(live: RuleVersion | None, subjects: Sequence[Subject], as_of: date) -> dict[Subject, Standing]:
    """Return what the live version says of those whose stored scores may be behind."""
    if live is None or not subjects:
        return {}
    accounts = sorted({account for account, _ in subjects})
    some = accounts if len(accounts) <= A_LOT else None  # everybody at once is sooner done than a long list
    judged = engine.standings(document_of(live), as_of=as_of, accounts=some)
    return {subject: judged.get(subject, NOWHERE) for subject in subjects}


def _count(sizes: dict[str, list[int]], before: str, after: str, number: int) -> None:
    sizes.setdefault(before, [0, 0])[0] += number
    sizes.setdefault(after, [0, 0])[1] += number


def _ordered(sizes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, int]]:
    """No tier stands last."""
    return {tier: (sizes[tier][0], sizes[tier][1]) for tier in sorted(sizes, key=lambda tier: tier == "")}


def _rank(change: Change) -> tuple[Any, ...]:
    points = max(change.before.usage + change.before.fit, change.after.usage + change.after.fit)
    return not (change.before.is_pql or change.after.is_pql), -points, change.account_id, change.user_id or 0


# ---- the token: who has it has seen the diff -----------------------------------------------------------------


def _signer() -> signing.Signer:
    return signing.Signer(salt="pql.rules.diff")


def _token(version: RuleVersion, live: RuleVersion | None, at: datetime, counts: Mapping[str, int]) -> str:
    said = {"version": version.pk, "digest": version.digest, "live": live.pk if live else None}
    return _signer().sign_object({**said, "at": at.timestamp(), "counts": dict(counts)})


def expected(*, seen: str, version: RuleVersion, live: int | None, at: datetime) -> dict[str, Any]:
    """Return what the diff said for which the token stands: its counts and its moment. Raises NotSeen."""
    try:
        said = _signer().unsign_object(seen)
    except signing.BadSignature:
        raise NotSeen("look at what it would change first: the diff gives the token to publish with") from None
    if said["version"] != version.pk or said["digest"] != version.digest:
        raise NotSeen(f"the diff was of another text; look at what {version} would change as it is now")
    if said["live"] != live:
        raise NotSeen("another version went live since the diff was looked at; look again")
    age = at.timestamp() - said["at"]
    if not 0 <= age <= SEEN_FOR.total_seconds():
        raise NotSeen(f"the diff is {age / 60:.0f} minutes old; accounts may have changed since, so look again")
    return {**said["counts"], "at": datetime.fromtimestamp(said["at"], at.tzinfo).isoformat()}
