"""What is read of tiles: the part of a statement that adds up what was done, signal by signal. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from scoring.compiler.dialects import Dialect
from scoring.compiler.persons import covers
from scoring.compiler.plan import Fold, Plan, Reading
from scoring.compiler.query import Binder
from scoring.language import FULL, Decay, weights

LIMITED = ("last", "ratio")  # their limit is read beside them
BITS = 63  # that a number holds beside its sign


@dataclass(frozen=True, slots=True)
class Binding:
    """Where the subjects come from, and so how the statement refers to the day."""

    constant: bool  # one day for all: params `as_of` (date) and, unless all_accounts, `accounts` (bigint[])
    all_accounts: bool = False  # every account that is a subject
    grid: bool = False  # on each of several days: params `days` (date[]) and, unless all_accounts, `accounts`
    named: bool = False  # of users: the pairs say of whom, by a param `users` (bigint[])
    by_user: bool = False  # everybody who did something in the accounts, by what a document says of accounts
    detail: bool = True  # also what a ledger shows, and recheck_on


def in_bits(reading: Reading) -> bool:
    """Whether days are counted as bits of one number: much sooner than to tell distinct ones apart."""
    return reading.measure == "days" and reading.within is not None and reading.within <= BITS


def _shape(fold: Fold) -> object:
    """What folds that are read alike have in common; of one window, nothing but the tiles depends on how long it is."""
    if len(fold.windows) == 1 and all(reading.measure != "before" for reading in fold.measures):
        return tuple((reading.measure, in_bits(reading), reading.decay) for reading in fold.measures)
    return fold


@dataclass
class Folds:
    """Writes the folds of one statement; each method returns a piece of SQL."""

    plan: Plan
    binding: Binding
    signal_ids: Mapping[str, int]
    say: Dialect
    binder: Binder

    def __post_init__(self) -> None:
        self.of_users = self.plan.document.level == "user"
        # The columns that name a subject, without the day.
        self.keys = ("account_id", "user_id") if self.of_users or self.binding.by_user else ("account_id",)
        self.passes = self.gathered()
        self.tables = {i: f"g{of[0]}" if len(of) > 1 else f"f{i}" for of in self.passes for i in of}

    @property
    def day(self) -> str:
        """The day of the judgement, inside a tile's fold."""
        return self.say.placeholder("as_of", None, "date") if self.binding.constant else "p.as_of"

    @property
    def accounts(self) -> str:
        """The accounts that were asked for."""
        return self.say.placeholder("accounts", None, "bigint[]")

    def rows(self, table: str, alias: str) -> tuple[str, str]:
        """FROM and WHERE of a table's rows for the subjects' accounts."""
        if not self.binding.constant:
            if not self.of_users:
                return f"FROM pairs p JOIN {table} {alias} ON {alias}.account_id = p.account_id", "true"
            keys = ["account_id", "user_id"] if alias == "t" else ["account_id"]
            same = " AND ".join(f"{alias}.{key} = p.{key}" for key in keys)
            pairs = f"(SELECT DISTINCT {', '.join(keys)}, as_of FROM pairs)"
            return f"FROM {pairs} p JOIN {table} {alias} ON {same}", "true"
        few = "true" if self.binding.all_accounts else self.say.among(f"{alias}.account_id", self.accounts)
        return f"FROM {table} {alias}", few

    def of(self, table: str, alias: str) -> str:
        return "{} WHERE {}".format(*self.rows(table, alias))

    def grouping(self, alias: str, keys: Iterable[str]) -> str:
        columns = [f"{alias}.{key}" for key in keys]
        return ", ".join(columns if self.binding.constant else [*columns, "p.as_of"])

    def window(self, within: int | None) -> str:
        day = self.day
        return f"t.day <= {day}" if within is None else f"t.day > {day} - {within} AND t.day <= {day}"

    def gathered(self) -> list[list[int]]:
        """The places of folds that one pass over their tiles can tell: those that are read alike, or one."""
        passes: dict[object, list[int]] = {}
        gathers = self.say.gathers and self.binding.constant and not self.binding.detail
        for i, fold in enumerate(self.plan.folds):
            passes.setdefault(_shape(fold) if gathers else i, []).append(i)
        return list(passes.values())

    def fold(self, places: Sequence[int]) -> str:
        """One pass over a signal's tiles, or over those of several: a column for each measure and window."""
        if len(places) > 1:
            return self.fold_together(places)
        (i,) = places
        fold = self.plan.folds[i]
        columns = [self.grouping("t", self.keys), *self.measured(fold, str(i))]
        if self.binding.detail:
            columns += self.evidence(i, fold)
        rows = self.counted(fold, *self.of_tiles(fold))
        return f"f{i} AS (SELECT {', '.join(columns)} {rows} GROUP BY {self.grouping('t', self.keys)})"

    def fold_together(self, places: Sequence[int]) -> str:
        """The same for folds that are read alike: first a row for each account and fold, then its columns."""
        folds = {i: self.plan.folds[i] for i in places}
        first, keys = folds[places[0]], self.grouping("t", self.keys)
        tiles = " UNION ALL ".join(
            "SELECT {} AS fold, t.* {} WHERE {}".format(i, *self.of_tiles(folds[i])) for i in places
        )
        rows = self.counted(first, f"FROM ({tiles}) AS t", "true")
        read = f"SELECT {', '.join([keys, 't.fold', *self.measured(first, '')])} {rows} GROUP BY {keys}, t.fold"
        columns = [
            f"any_value(t.{name}_{j}) FILTER (WHERE t.fold = {i}) AS {name}{i}_{j}"
            for i in places
            for j, reading in enumerate(first.measures)
            for name in ("m", "l")[: 1 + (reading.measure in LIMITED)]
        ]
        return f"g{places[0]} AS (SELECT {', '.join([keys, *columns])} FROM ({read}) AS t GROUP BY {keys})"

    def measured(self, fold: Fold, mark: str) -> Iterator[str]:
        for j, reading in enumerate(fold.measures):
            yield f"{self.measure(fold, reading)} AS m{mark}_{j}"
            if reading.measure in LIMITED:
                yield f"{self.newest('t.limit_last', self.chosen(fold, reading))} AS l{mark}_{j}"

    def counted(self, fold: Fold, rows: str, where: str) -> str:
        """FROM and WHERE of those tiles whose users are not excluded that day, with the users where it needs them."""
        named = any(reading.measure == "users" for reading in fold.measures)
        users = " LEFT JOIN scoring_productuser u ON u.id = t.user_id" if named else ""
        left_out, is_left = self.say.without("excluded_user x", f"x.user_id = t.user_id AND {covers('x', self.day)}")
        return f"{rows}{users}{left_out} WHERE {where} AND {is_left}"

    def of_tiles(self, fold: Fold) -> tuple[str, str]:
        """FROM and WHERE of a signal's tiles that some window holds; with detail also of later ones: they lie ahead."""
        tiles, of_signal = self.say.tiles(self.signal_ids[fold.name], self.binder.bind)
        if self.is_first_day_only(fold):
            tiles = f"(SELECT account_id, user_id, min(day) AS day FROM {tiles} t WHERE {of_signal} GROUP BY 1, 2)"
            of_signal = "true"
        if self.binding.grid and not self.of_users and not self.binding.detail:
            rows, where = self.on_their_days(fold, tiles)
            return rows, f"{where} AND {of_signal}"
        rows, where = self.rows(tiles, "t")
        return rows, f"{where} AND {of_signal}{self.reached(fold.windows[-1])}"

    def reached(self, within: int | None) -> str:
        if not self.binding.detail:
            return f" AND {self.window(within)}"
        return "" if within is None else f" AND t.day > {self.day} - {within}"

    def on_their_days(self, fold: Fold, tiles: str) -> tuple[str, str]:
        """Each tile with the days of judgement whose window holds it: sooner than each with all of its account's."""
        within = fold.windows[-1]
        days = self.say.rows([("days", "date")], ["as_of"])
        if within is None:
            reach = f"{days} ON t.day <= p.as_of"
        else:
            each = f"SELECT p.as_of - n.n::int AS day, p.as_of FROM {days}, generate_series(0, {within - 1}) AS n(n)"
            reach = f"({each}) AS p ON p.day = t.day"
        few = "true" if self.binding.all_accounts else self.say.among("t.account_id", self.accounts)
        return f"FROM {tiles} t JOIN {reach}", few

    def is_first_day_only(self, fold: Fold) -> bool:
        """Whether one tile of each user says all: then not every tile has to meet every day."""
        measures = {reading.measure for reading in fold.measures}
        return self.binding.grid and not self.binding.detail and measures == {"first_day"}

    def window_before(self, within: int) -> str:
        return f"t.day > {self.day} - {2 * within} AND t.day <= {self.day} - {within}"

    def chosen(self, fold: Fold, reading: Reading) -> str:
        """The test of a tile's day that a reading makes beside the fold's own."""
        measure, within, _ = reading
        window = self.window_before(within) if within and measure == "before" else self.window(within)
        return window if self.binding.detail or window != self.window(fold.windows[-1]) else "true"

    def measure(self, fold: Fold, reading: Reading) -> str:
        measure, _, decay = reading
        window = self.chosen(fold, reading)
        chosen = f"FILTER (WHERE {window})"
        if measure == "streak" or in_bits(reading):  # no day outside the window may be shifted
            return f"bit_or(CASE WHEN {window} THEN {self.say.bit(self.say.days_between(self.day, 't.day'))} END)"
        match measure:
            case "count" | "before":
                return f"coalesce(sum(t.count{self.weighed(decay)}) {chosen}, 0)"
            case "users":
                return f"count(DISTINCT t.user_id) FILTER (WHERE {window} AND u.known)"
            case "days":
                return f"count(DISTINCT t.day) {chosen}"
            case "sum" | "max":
                return f"{measure}(t.value_{measure}{self.weighed(decay)}) {chosen}"
            case "first_day":
                return f"min(t.day) {chosen}"
            case "first_at":
                return f"min(t.first_at) {chosen}"
            case "last_day":
                return f"max(t.day) {chosen}"
            case _:  # last, ratio
                return self.newest("t.value_last", window)

    def weighed(self, decay: Decay | None) -> str:
        """Times what the age of the tile leaves of it."""
        if decay is None:
            return ""
        left = {age: f"{weight / FULL:.3f}" for age, weight in weights(decay)}
        return f" * {self.by_age(self.say.days_between(self.day, 't.day'), left)}"

    def by_age(self, age: str, steps: Mapping[int, str]) -> str:
        """The step that an age has reached, of those that begin at these ages; the first begins at 0."""
        starts = list(steps)
        cases = [f"WHEN {age} < {end} THEN {steps[start]}" for start, end in pairwise(starts)]
        return f"CASE {' '.join(cases)} ELSE {steps[starts[-1]]} END"

    def next_step(self, day: str, since: str, decay: Decay) -> str:
        """The next day on which less is left of what was last seen on a day; null if nothing is."""
        ages = [age for age, _ in weights(decay)]
        later = {age: f"{since} + {after}" for age, after in pairwise(ages)}
        return self.by_age(self.say.days_between(day, since), later | {ages[-1]: "NULL"})

    def newest(self, column: str, window: str) -> str:
        """The column of the tile whose last value is the newest within the window."""
        return self.say.newest(
            column, by=("t.value_last_at", "t.value_last_id"), among=f"{window} AND t.value_last IS NOT NULL"
        )

    def evidence(self, i: int, fold: Fold) -> Iterator[str]:
        """First and last day within each window, and the first day on which a tile enters or leaves one."""
        changes = [f"min(t.day) FILTER (WHERE t.day > {self.day})"]
        for w, within in enumerate(fold.windows):
            window = self.window(within)
            yield f"min(t.day) FILTER (WHERE {window}) AS a{i}_{w}"
            yield f"max(t.day) FILTER (WHERE {window}) AS z{i}_{w}"
            if within is not None:
                changes.append(f"min(t.day) FILTER (WHERE {window}) + {within}")
        for within, decay in {(r.within, r.decay): None for r in fold.measures if r.decay}:
            step = self.next_step(self.day, "t.day", decay)
            changes.append(f"min({step}) FILTER (WHERE {self.window(within)})")
        yield f"LEAST({', '.join(changes)}) AS n{i}"
