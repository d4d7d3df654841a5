"""What is wrong with a definition, each with its number and interval; where too little is known, just that is said."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import combinations
from typing import Literal

from scoring import engine, statistics
from scoring.backtest.measuring import Plain, Tally
from scoring.backtest.watching import Watched
from scoring.language import ANY_SIGNAL, Points, Qualify
from scoring.models import AsPql, Won
from scoring.models.raw import cursor

QUARTER = 91  # days
SILENT_WEEKS, WEEKS_BEFORE = 4, 13
RARE = 0.02  # what happens to fewer accounts, as far as can be told, as good as never happens
ALIKE = 0.9
UNLIKELY = 0.05
NOTHING = "not enough evidence"

State = Literal["raised", "quiet", "unknown"]


@dataclass(frozen=True)
class Alarm:
    """One thing that may be wrong."""

    kind: str
    title: str
    state: State
    words: str  # with the number and its interval
    number: float | None = None
    low: float | None = None
    high: float | None = None
    behind: dict[str, str] = field(default_factory=dict)  # the accounts: see asking.behind

    def plain(self) -> Plain:
        """Return it as JSON."""
        return asdict(self)


Figure = statistics.Share | statistics.Ratio | statistics.Pace


def _alarm(
    kind: str, title: str, state: State, words: str, figure: Figure | None = None, behind: dict[str, str] | None = None
) -> Alarm:
    if figure is None:
        return Alarm(kind, title, state, words)
    return Alarm(kind, title, state, words, figure.value, figure.low, figure.high, behind or {})


def alarms(watched: Watched, done: Tally, *, capacity: int | None) -> list[Alarm]:
    """Return all alarms, those that are raised first."""
    found = [
        _too_loose(done),
        _too_strict(watched, done, capacity),
        _single_signal(watched, done),
        _stale(watched, done),
        _missed(done),
        *_silent_signals(watched),
        *_unreached_tiers(watched),
        *_rules(watched),
        *_twins(watched),
    ]
    order: list[State] = ["raised", "unknown", "quiet"]
    return sorted(found, key=lambda alarm: order.index(alarm.state))


def _too_loose(done: Tally) -> Alarm:
    converted, pqls, other_converted, others = done.table()
    lift = done.lift
    said = f"lift {_ratio(lift)}: {converted} of {pqls} PQLs, {other_converted} of {others} others of the same age"
    state: State
    if not pqls or not others or not converted + other_converted:
        state, words = "unknown", f"{NOTHING}: {said}"
    elif lift.is_above_one:
        state, words = "quiet", f"PQLs convert more often: {said}"
    else:
        state, words = "raised", f"{NOTHING} that PQLs convert more often: the interval includes 1, {said}"
        if lift.is_below_one:
            words = f"PQLs convert less often than others: {said}"
    return _alarm("too_loose", "Too loose", state, words, lift, {"as_pql": "converted,not"})


def _too_strict(watched: Watched, done: Tally, capacity: int | None) -> Alarm:
    volume, recall = statistics.pace(done.pqls, watched.span.weeks), done.recall
    said = f"{_pace(volume)} PQLs a week, recall {_share(recall)}"
    common = ("too_strict", "Too strict")
    behind = {"won": "missed"}
    if capacity is None:
        return _alarm(
            *common, "unknown", f"nobody has said how many leads a week the AEs can take: {said}", volume, behind
        )
    said = f"{said}, while the AEs can take {capacity} leads a week"
    if volume.low >= capacity or recall.low >= 0.5:
        return _alarm(*common, "quiet", said, volume, behind)
    if volume.high is not None and volume.high < capacity and recall.high < 0.5:
        return _alarm(
            *common, "raised", f"most conversions are not foretold, and there is room: {said}", volume, behind
        )
    return _alarm(*common, "unknown", f"{NOTHING}: {said}", volume, behind)


def _single_signal(watched: Watched, done: Tally) -> Alarm:
    pqls = [watched.courses[a] for a, code in done.as_pql.items() if code != AsPql.BEFORE]
    rules = watched.document.rules
    counts = [sum(rule in course.alone for course in pqls) for rule in range(len(rules))]
    most = max(range(len(rules)), key=lambda rule: counts[rule])
    share = statistics.share(counts[most], len(pqls))
    said = f"“{rules[most].name}” alone was enough for {_share(share)} of the PQLs"
    state: State = "raised" if share.low > 0.5 else "quiet" if pqls and share.high <= 0.5 else "unknown"
    words = f"{NOTHING}: {said}" if state == "unknown" else said
    return _alarm("single_signal", "A single signal", state, words, share, {"alone": rules[most].id})


def _stale(watched: Watched, done: Tally) -> Alarm:
    """Compare the newest PQLs that can be known with those before them."""
    span = watched.span
    last = span.last - timedelta(days=span.horizon)
    length = min(QUARTER, ((last - span.first).days + 1) // 2)
    title = "Getting stale"
    if length < 7:
        return _alarm("stale", title, "unknown", f"{NOTHING}: too few days whose outcome is known to compare two times")
    middle = last - timedelta(days=length)
    newer = done.table(range(middle.toordinal() + 1, last.toordinal() + 1))
    older = done.table(range((middle - timedelta(days=length)).toordinal() + 1, middle.toordinal() + 1))
    now, then = statistics.ratio(*newer), statistics.ratio(*older)
    p = statistics.same_odds(newer, older)
    when = "the last quarter" if length == QUARTER else f"the last {length} days"
    said = f"lift {_ratio(now)} in {when} whose outcome is known, {_ratio(then)} in the {length} days before"
    behind = {"as_pql": "converted,not", "since": f"{middle + timedelta(days=1)}", "until": f"{last}"}
    if p is None or now.value is None or then.value is None:
        return _alarm("stale", title, "unknown", f"{NOTHING}: {said}", now, behind)
    said = f"{said} (p = {p:.2f})"
    if now.value >= then.value:
        return _alarm("stale", title, "quiet", said, now, behind)
    if p < UNLIKELY:
        return _alarm("stale", title, "raised", f"it foretells less than it did: {said}", now, behind)
    return _alarm("stale", title, "unknown", f"lower, but {NOTHING} that this is more than chance: {said}", now, behind)


def _missed(done: Tally) -> Alarm:
    recall = done.recall
    missed = sum(code == Won.MISSED for code in done.won.values())
    share = statistics.share(missed, recall.whole)
    said = f"{_share(share)} of those who converted had never been PQLs"
    state: State = "raised" if share.low > 0.5 else "quiet" if recall.whole and share.high <= 0.5 else "unknown"
    words = f"{NOTHING}: {said}" if state == "unknown" else said
    title = "Converts without being a PQL"
    return _alarm("missed", title, state, words, share, {"won": "missed"})


def _silent_signals(watched: Watched) -> Iterator[Alarm]:
    """Signals that fired in most weeks, and then stopped."""
    weeks = _weeks_of_signals(watched)
    for name, fired in weeks.items():
        recent = sum(week < SILENT_WEEKS for week in fired)
        share = statistics.share(len(fired) - recent, WEEKS_BEFORE)
        if recent or not fired:
            continue
        said = f"“{name}” fired in {share.part} of {WEEKS_BEFORE} weeks, and in none of the {SILENT_WEEKS} after"
        state: State = "raised" if share.low > 0.5 else "unknown"
        words = said if state == "raised" else f"{NOTHING}: {said}"
        title = "A signal stopped"
        yield _alarm("silent_signal", title, state, words, share)


def _weeks_of_signals(watched: Watched) -> dict[str, set[int]]:
    """In which weeks before the last day each signal fired; 0 is the last one."""
    ids = engine.stored_signals(watched.document)
    first = watched.span.last - timedelta(days=7 * (SILENT_WEEKS + WEEKS_BEFORE) - 1)
    found: dict[str, set[int]] = {name: set() for name in sorted(ids) if name != ANY_SIGNAL}
    names = {id_: name for name, id_ in ids.items()}
    with cursor() as c:
        c.execute(_WEEKS, {"signals": list(names), "first": first, "last": watched.span.last})
        for signal, week in c:
            found.get(names[signal], set()).add(week)
    return found


_WEEKS = """
SELECT DISTINCT signal_id, (%(last)s::date - day) / 7 FROM scoring_tile
WHERE signal_id = ANY (%(signals)s::bigint[]) AND day BETWEEN %(first)s::date AND %(last)s::date
"""


def _unreached_tiers(watched: Watched) -> Iterator[Alarm]:
    seen = sum(course.inside > 0 for course in watched.courses.values())
    lifted = {rule.tier for rule in watched.document.rules if isinstance(rule, Qualify)}
    for number, tier in enumerate(watched.document.tiers):
        share = statistics.share(sum(tier.name in course.tiers for course in watched.courses.values()), seen)
        if share.part:
            continue
        title = f"Nobody is {tier.name}"
        if tier.name not in lifted and (why := _cannot(watched, number)):
            yield _alarm("unreachable_tier", title, "raised", why, share)
        elif seen and share.high <= RARE:
            yield _alarm("unreachable_tier", title, "raised", f"{_share(share)} of the accounts were", share)
        else:
            yield _alarm("unreachable_tier", title, "unknown", f"{NOTHING}: {_share(share)} of the accounts", share)


def _cannot(watched: Watched, number: int) -> str:
    """Say why no account whatever could be of the tier; "" if one could."""
    document, tier = watched.document, watched.document.tiers[number]
    for before in document.tiers[:number]:
        if before.enter.usage <= tier.enter.usage and before.enter.fit <= tier.enter.fit:
            return f"whoever reaches its line has reached that of {before.name}, which comes first"
    for side in ("usage", "fit"):
        most, asked = _most(watched, side), getattr(tier.enter, side)
        if asked > most:
            return f"it asks for {asked / 100:g} points of {side}, and all rules together give {most / 100:g} at most"
    return ""


def _most(watched: Watched, side: str) -> int:
    total = 0
    for group in watched.document.groups:
        rules = [r for r in watched.document.rules if isinstance(r, Points) and r.group == group.name and r.points > 0]
        most = sum(rule.per.most if rule.per else rule.points for rule in rules)
        if group.score == side:
            total += most if group.cap is None else min(group.cap, most)
    return total


def _rules(watched: Watched) -> Iterator[Alarm]:
    """Rules that never fire, and rules whose points a cap always takes."""
    seen = sum(course.inside > 0 for course in watched.courses.values())
    for number, rule in enumerate(watched.document.rules):
        accounts = sum(number in course.fired for course in watched.courses.values())
        share = statistics.share(accounts, seen)
        behind = {"fired": rule.id}
        if not accounts:
            state: State = "raised" if seen and share.high <= RARE else "unknown"
            words = f"“{rule.name}” was met by {_share(share)} of the accounts"
            words = words if state == "raised" else f"{NOTHING}: {words}"
            yield _alarm("never_fires", "A rule never fires", state, words, share, behind)
        elif isinstance(rule, Points) and rule.points > 0 and not watched.given[number]:
            words = f"“{rule.name}” was met by {_share(share)} of the accounts, and its group's cap took every point"
            yield _alarm("dead_by_cap", "A rule is dead by its cap", "raised", words, share, behind)


def _twins(watched: Watched) -> Iterator[Alarm]:
    """Pairs of rules that are always met at the same moments."""
    rules = watched.document.rules
    fired = [
        {account: course.fired[number] for account, course in watched.courses.items() if number in course.fired}
        for number in range(len(rules))
    ]
    for one, other in combinations(range(len(rules)), 2):
        few, many = sorted((len(fired[one]), len(fired[other])))
        if not few or few < many * ALIKE:
            continue
        either = fired[one].keys() | fired[other].keys()
        alike = sum(fired[one].get(account) == fired[other].get(account) for account in either)
        share = statistics.share(alike, len(either))
        if share.value is None or share.value < ALIKE:
            continue
        said = f"“{rules[one].name}” and “{rules[other].name}” were met on the same days by {_share(share)}"
        state: State = "raised" if share.low >= ALIKE else "unknown"
        words = f"{said} of the accounts that met either"
        behind = {"fired": f"{rules[one].id},{rules[other].id}"}
        words = words if state == "raised" else f"{NOTHING}: {words}"
        yield _alarm("twins", "Two rules say the same", state, words, share, behind)


def _share(share: statistics.Share) -> str:
    percent = "" if share.value is None else f" ({share.value:.0%}, 95 %: {share.low:.0%} to {share.high:.0%})"
    return f"{share.part} of {share.whole}{percent}"


def _ratio(ratio: statistics.Ratio) -> str:
    if ratio.value is None and ratio.high is None:
        return "unknown"
    value = "" if ratio.value is None else f"{ratio.value:.2f} "
    high = "" if ratio.high is None else f" to {ratio.high:.2f}"
    return f"{value}(95 %: {ratio.low:.2f}{high or ' or more'})"


def _pace(pace: statistics.Pace) -> str:
    if pace.value is None or pace.high is None:
        return "no"
    return f"{pace.value:.1f} (95 %: {pace.low:.1f} to {pace.high:.1f})"
