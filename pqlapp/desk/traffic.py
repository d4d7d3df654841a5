"""What the pages of the sources look up: how much comes, from what, and what an admin should look into."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pqlapp.desk.sparkline import Sparkline
from scoring import facts
from scoring.facts import Count, Turned
from scoring.models import Source

MINUTES = 60  # in the picture
WINDOW = timedelta(hours=24)  # of the totals
HONEST = 30_000  # milliseconds by which a clock may be off: as much may be the network's
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
SHARE_WORTH_TELLING = 0.01


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came from one source: its last hour by the minute, and totals of a day."""

    source: Source
    picture: Sparkline
    last_at: datetime | None
    totals: list[Count] = field(default_factory=list)  # of each wire

    @property
    def accepted(self) -> int:
        """Events that were new, and are stored."""
        return sum(count.accepted for count in self.totals)

    @property
    def duplicate(self) -> int:
        """Calls that were known before."""
        return sum(count.duplicate for count in self.totals)

    @property
    def rejected(self) -> int:
        """Items and requests that were turned away."""
        return sum(count.rejected for count in self.totals)

    @property
    def wires(self) -> list[str]:
        """What it speaks, the busiest first; facts that came by no door are of none."""
        busiest = sorted(self.totals, key=lambda count: (-count.accepted - count.duplicate, count.wire))
        return [count.wire for count in busiest if count.wire]

    @property
    def clock(self) -> str:
        """How the clients' clocks stand to ours, in words; "" if they do not tell."""
        told = [count for count in self.totals if count.skew is not None]
        if not told:
            return ""
        last = max(told, key=lambda count: count.last_at).skew or 0
        extremes = [skew for skew in (self._behind, -self._ahead) if abs(skew) > HONEST and skew != last]
        return "; ".join([f"last {_skew(last)}", *(f"up to {_skew(skew)}" for skew in extremes)])

    @property
    def _behind(self) -> int:
        """Milliseconds by which the slowest clock was behind ours."""
        return max((count.skew_high or 0 for count in self.totals), default=0)

    @property
    def _ahead(self) -> int:
        """Milliseconds by which the fastest clock was ahead of ours."""
        return max((-(count.skew_low or 0) for count in self.totals), default=0)

    @property
    def warnings(self) -> list[str]:
        """What is odd about it, each in a sentence."""
        future, past = sum(c.future for c in self.totals), sum(c.past for c in self.totals)
        strangers = sum(count.without_company for count in self.totals)
        seen = self.accepted + self.duplicate + self.rejected
        told = [
            (self.rejected > seen * SHARE_WORTH_TELLING, f"{_share(self.rejected, seen)} of what came was rejected."),
            (self._behind > HONEST, f"A client’s clock was {_long(self._behind)} behind ours."),
            (self._ahead > HONEST, f"A client’s clock was {_long(self._ahead)} ahead of ours."),
            (future, f"{_events(future)} dated in the future: ignored until that day comes."),
            (past, f"{_events(past)} dated more than 30 days ago: counted on that day."),
            (
                self.accepted and strangers == self.accepted,
                "No event names a company: send group calls, or e-mail addresses of people at work.",
            ),
        ]
        return [sentence for is_so, sentence in told if is_so]

    @property
    def without_company(self) -> str:
        """Which share of the accepted counted for a visitor or a lone user when it came, in words."""
        return _share(sum(count.without_company for count in self.totals), self.accepted)


def of_all(*, at: datetime) -> list[Traffic]:
    """Return every source with its traffic, by name; three queries."""
    by_source: dict[int, list[Count]] = {}
    for total in facts.totals(since=at - WINDOW):
        by_source.setdefault(total.source, []).append(total)
    pictures = _pictures(facts.counted(since=_first_minute(at)), at)
    return [_traffic(source, by_source, pictures) for source in Source.objects.order_by("slug")]


def of_one(source: Source, *, at: datetime) -> Traffic:
    """Return the traffic of a source; two queries."""
    totals = {source.pk: facts.totals(since=at - WINDOW, source=source)}
    return _traffic(source, totals, _pictures(facts.counted(since=_first_minute(at), source=source), at))


def turned_away(source: Source | None, *, at: datetime) -> list[Turned]:
    """Return what was turned away in the last day or so, by reason; without a source, of unknown senders."""
    return facts.turned_away(source=source, since=at - WINDOW)


def _traffic(source: Source, totals: Mapping[int, list[Count]], pictures: Mapping[int, Sparkline]) -> Traffic:
    own = totals.get(source.pk, [])
    picture = pictures.get(source.pk, Sparkline([0] * MINUTES, "minutes"))
    heard = [at for at in (source.last_call_at, *(count.last_at for count in own)) if at]
    return Traffic(source, picture, max(heard, default=None), own)


def _first_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)


def _pictures(counts: Iterable[Count], at: datetime) -> dict[int, Sparkline]:
    first = _first_minute(at)
    minutes: dict[int, list[int]] = {}
    for count in counts:
        place = int((count.at - first).total_seconds() // 60)
        if 0 <= place < MINUTES:
            minutes.setdefault(count.source, [0] * MINUTES)[place] += count.accepted
    return {source: Sparkline(tuple(each), "minutes") for source, each in minutes.items()}


def _skew(milliseconds: int) -> str:
    if abs(milliseconds) <= HONEST:
        return "in step with ours"
    return f"{_long(abs(milliseconds))} {'behind' if milliseconds > 0 else 'ahead'}"


def _long(milliseconds: int) -> str:
    for unit, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if milliseconds >= 2 * unit:
            return f"{milliseconds // unit:,} {name}"
    return f"{milliseconds // SECOND} s"


def _events(count: int) -> str:
    return "1 event is" if count == 1 else f"{count:,} events are"


def _share(part: int, whole: int) -> str:
    if not part or not whole:
        return "none"
    percent = 100 * part / whole
    return "less than 1 %" if percent < 1 else f"{percent:.0f} %"
