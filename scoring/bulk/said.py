"""What a document says of many accounts on many days, in columns: few judgements differ, so each kind is kept once."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from scoring.engine import Alike, Judgement, Subject
from scoring.language import Document, Points
from scoring.models import Status

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
NEVER = 0  # in place of a day (a date's ordinal)
NOTHING = -1  # in place of a kind: nothing was said that day


@dataclass(frozen=True, slots=True)
class Kinds:
    """Judgements without whom and when, each once; by number, points in hundredths."""

    usage: Numbers
    fit: Numbers
    status: Sequence[Status]
    why: Sequence[str | None]
    tier: Sequence[str]
    is_pql: Flags
    held: Sequence[tuple[str, ...]]
    met: Flags  # by kind and rule
    raw: Numbers  # by kind and rule, before clipping

    def __len__(self) -> int:
        return len(self.status)

    def alike(self, n: int) -> Alike:
        """Return the fields of a judgement from usage to raw."""
        met, raw = tuple(self.met[n].tolist()), tuple(self.raw[n].tolist())
        points = int(self.usage[n]), int(self.fit[n])
        return *points, self.status[n], self.why[n], self.tier[n], bool(self.is_pql[n]), self.held[n], met, raw

    def example(self, n: int) -> Judgement:
        """Return a judgement of the kind, of nobody and no day."""
        return Judgement(0, date.min, *self.alike(n), None, None, None)

    def __add__(self, other: "Kinds") -> "Kinds":
        """Return these, and then the others."""
        return Kinds(
            usage=np.concatenate((self.usage, other.usage)),
            fit=np.concatenate((self.fit, other.fit)),
            status=[*self.status, *other.status],
            why=[*self.why, *other.why],
            tier=[*self.tier, *other.tier],
            is_pql=np.concatenate((self.is_pql, other.is_pql)),
            held=[*self.held, *other.held],
            met=np.concatenate((self.met, other.met)),
            raw=np.concatenate((self.raw, other.raw)),
        )

    @classmethod
    def of_rows(cls, document: Document, rows: Mapping[str, npt.NDArray[Any]]) -> "Kinds":
        """Make them of the columns that `compiler.query.Staged.answer` has."""
        names = [tier.name for tier in document.tiers]
        pqls = np.array([tier.pql for tier in document.tiers] + [False])
        tiers = np.ma.filled(rows["tier"], NOTHING).astype(np.int64)
        count, rules = len(tiers), document.rules
        met, raw = np.zeros((count, len(rules)), np.bool_), np.zeros((count, len(rules)), np.int64)
        for i, rule in enumerate(rules):
            met[:, i] = rows[f"r{i}"]
            if isinstance(rule, Points):
                raw[:, i] = rows[f"q{i}"]
        return cls(
            usage=rows["usage"],
            fit=rows["fit"],
            status=[Status(status) for status in rows["status"]],
            why=_texts(rows["why"]),
            tier=[[*names, ""][k] for k in tiers],
            is_pql=pqls[tiers],
            held=[tuple(names[k] for k in held) for held in rows["held"]],
            met=met,
            raw=raw,
        )

    @classmethod
    def of_judgements(cls, document: Document, alike: Iterable[Alike]) -> "Kinds":
        """Make them of what `alike` returns."""
        columns = list(zip(*alike, strict=True)) or [()] * 9
        usage, fit, status, why, tier, is_pql, held, met, raw = columns
        shape = len(usage), len(document.rules)
        return cls(
            usage=np.array(usage, np.int64),
            fit=np.array(fit, np.int64),
            status=status,
            why=why,
            tier=tier,
            is_pql=np.array(is_pql, np.bool_),
            held=held,
            met=np.array(met, np.bool_).reshape(shape),
            raw=np.array(raw, np.int64).reshape(shape),
        )


def _texts(column: npt.NDArray[Any]) -> list[str | None]:
    missing = np.ma.getmaskarray(column)
    return [None if gone else text for text, gone in zip(np.ma.getdata(column), missing, strict=True)]


@dataclass(frozen=True, slots=True)
class Said:
    """Of each subject on each day the number of its judgement's kind; days are ordinals, NEVER where there is none."""

    document: Document
    days: Sequence[date]
    subjects: Sequence[Subject]  # in order
    kinds: Kinds
    kind: Numbers  # by day and subject; NOTHING where nothing was said
    goal_on: Numbers
    sign_up: Numbers

    def judgement(self, day: int, subject: int) -> Judgement:
        """Return what was said of a subject on a day, each by its place."""
        account, user = self.subjects[subject]
        goal_on, sign_up = (day_of(int(column[day, subject])) for column in (self.goal_on, self.sign_up))
        alike = self.kinds.alike(int(self.kind[day, subject]))
        return Judgement(account, self.days[day], *alike, goal_on, sign_up, None, user_id=user)

    def judgements(self) -> Iterator[Judgement]:
        """Yield by day and subject each judgement that is the first of its subject, or differs from the one before."""
        for day, subjects in self._turns():
            for subject in subjects:
                yield self.judgement(day, subject)

    def among(self, accounts: Collection[int] | None) -> "Said":
        """Return the same of these accounts only (of all, if None), as far as they are still there on the last day."""
        there = np.flatnonzero(self.kind[-1] != NOTHING).tolist()
        kept = [s for s in there if accounts is None or self.subjects[s][0] in accounts]
        columns = (column[:, kept] for column in (self.kind, self.goal_on, self.sign_up))
        return Said(self.document, self.days, [self.subjects[s] for s in kept], self.kinds, *columns)

    def instead(self, told: Mapping[tuple[int, int], Judgement | None]) -> "Said":
        """Return the same, but of these (day, subject) by their places what is told here; of None nothing."""
        numbers: dict[Alike, int] = {}
        kind, goal_on, sign_up = self.kind.copy(), self.goal_on.copy(), self.sign_up.copy()
        for place, judgement in told.items():
            number, *days = _numbered(judgement, numbers, len(self.kinds)) if judgement else UNSAID
            kind[place], (goal_on[place], sign_up[place]) = number, days
        kinds = self.kinds + Kinds.of_judgements(self.document, numbers)
        return Said(self.document, self.days, self.subjects, kinds, kind, goal_on, sign_up)

    def _turns(self) -> Iterator[tuple[int, list[int]]]:
        if not self.days:
            return
        last = np.full((3, len(self.subjects)), NOTHING)
        for day in range(len(self.days)):
            now = np.stack((self.kind[day], self.goal_on[day], self.sign_up[day]))
            turned = (now != last).any(axis=0) & (now[0] != NOTHING)
            last[:, turned] = now[:, turned]
            yield day, np.flatnonzero(turned).tolist()


UNSAID = NOTHING, NEVER, NEVER


def of_judgements(document: Document, days: Sequence[date], judged: Iterable[Sequence[Judgement]]) -> Said:
    """Return what the judgements of each of the days say."""
    numbers: dict[Alike, int] = {}
    by_day = [{(j.account_id, j.user_id or 0): _numbered(j, numbers) for j in of_day} for of_day in judged]
    subjects = sorted(set().union(*by_day))
    table = np.array([[of_day.get(subject, UNSAID) for subject in subjects] for of_day in by_day], np.int64)
    kind, goal_on, sign_up = table.reshape(len(days), len(subjects), 3).transpose(2, 0, 1)
    named = [(account, user or None) for account, user in subjects]
    return Said(document, days, named, Kinds.of_judgements(document, numbers), kind, goal_on, sign_up)


def _numbered(j: Judgement, numbers: dict[Alike, int], first: int = 0) -> tuple[int, int, int]:
    """Return the number of a judgement's kind, and its days as ordinals; a new kind gets the next number."""
    goal_on, sign_up = (day.toordinal() if day else NEVER for day in (j.goal_on, j.sign_up))
    return numbers.setdefault(_alike(j), first + len(numbers)), goal_on, sign_up


def _alike(j: Judgement) -> Alike:
    return j.usage, j.fit, j.status, j.why, j.tier, j.is_pql, j.held, j.met, j.raw


def day_of(ordinal: int) -> date | None:
    """Return the day that the number stands for."""
    return date.fromordinal(ordinal) if ordinal != NEVER else None
