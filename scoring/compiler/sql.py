"""From a plan to one set-based statement: the second stage of the compiler.

The statement grows in layers, each a list of named columns over the layer below: what was `read` from tiles, traits
and outcomes; the conditions `tested` on it; the rules `met`; the groups `summed`; the `scored` sides; the verdict.
Two bindings share all of it: a relation of (account, day) pairs, and one constant day, which PostgreSQL plans better.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from scoring.compiler import persons
from scoring.compiler.dialects import POSTGRES, Dialect
from scoring.compiler.filters import COMPARISONS, passes
from scoring.compiler.persons import covers
from scoring.compiler.plan import Fold, Plan, Reading, verdicts
from scoring.compiler.query import Binder, Query, Staged
from scoring.compiler.windows import BITS, LIMITED, Binding, Folds, in_bits
from scoring.language import (
    ANY_SIGNAL,
    QUOTIENTS,
    Age,
    All,
    Any,
    Breadth,
    Condition,
    Converted,
    Decay,
    Disqualify,
    Ever,
    FirstWithin,
    Leaf,
    Limit,
    Measured,
    Not,
    Part,
    PerUnit,
    Points,
    Qualify,
    SinceLast,
    Steps,
    Trait,
    faded,
    parts_of,
    signals_of,
    signals_read,
    weights,
)

COUNTED = ("count", "before", "users", "days", "streak")  # of no events they are 0


PAIRS = Binding(constant=False)  # params `accounts` (bigint[]) and `days` (date[]), of one length
GRID = Binding(constant=False, all_accounts=True, grid=True, detail=False)
FEW = Binding(constant=True)
EVERYONE = Binding(constant=True, all_accounts=True)
USERS = Binding(constant=True, by_user=True)


def compile(plan: Plan, binding: Binding, signal_ids: Mapping[str, int], dialect: Dialect = POSTGRES) -> Query:
    """Return the statement that judges; `signal_ids` gives the stored id of each signal by its name.

    A row of the answer has: account_id, of users also user_id; as_of; usage, fit (hundredths); status, why (text);
    tier (index or null); held (indices); met (bool[] by rule), raw (bigint[] by rule, before clipping); goal_on,
    sign_up; and with `detail` recheck_on, observed (JSON list by leaf, then by `per`), seen (text[]: first and last ISO
    day of each).
    """
    writer = _Writer(plan, binding, signal_ids, dialect, Binder(dialect=dialect))
    sources = ", ".join(writer.sources())
    layers = writer.layers(writer.read(writer.own()))
    return writer.binder.query(f"WITH {sources} SELECT {writer.verdict()} FROM {layers}")


def compile_staged(plan: Plan, binding: Binding, signal_ids: Mapping[str, int], dialect: Dialect) -> Staged:
    """Return the statements that judge, without detail.

    A row of `told` has account_id, as_of, goal_on, sign_up and what is alike; one of the answer has n, usage, fit,
    status, why, tier and held as a row of `compile`, and r0, r1, … (met) and q0, q1, … (raw, of rules with points).
    """
    writer = _Writer(plan, binding, signal_ids, dialect, Binder(dialect=dialect))
    tables, read = tuple(writer.sources()), f"SELECT * FROM {writer.read(writer.own())}"
    told, answer = writer.told(), writer.answer()
    return Staged(tables, read, told, tuple(writer.alike()), answer, dict(writer.binder.params))


def compile_together(
    plans: Sequence[Plan], binding: Binding, signal_ids: Mapping[str, int], dialect: Dialect = POSTGRES
) -> Query:
    """Return one statement that judges by several plans of `plan_together`, so that what they share is read once.

    A row has besides those of `compile` which: the index of the plan.
    """
    binder = Binder(dialect=dialect)
    writers = [_Writer(plan, binding, signal_ids, dialect, binder) for plan in plans]
    reader = writers[0]
    own = [f"{column}_{d}" for d, writer in enumerate(writers) for column in writer.own()]
    ctes = [*reader.sources(), f"read AS MATERIALIZED (SELECT * FROM {reader.read(own)})"]
    judged = []
    for d, writer in enumerate(writers):
        named = ", ".join(f"{column}_{d} AS {column}" for column in writer.own_names)
        layers = writer.layers(f"(SELECT s.*, {named} FROM read AS s) AS s")
        judged.append(f"SELECT {d} AS which, {writer.verdict()} FROM {layers}")
    return binder.query(f"WITH {', '.join(ctes)} {' UNION ALL '.join(judged)}")


def _varies(rule: Points) -> bool:
    """Whether it gives more or fewer points when it is met."""
    return rule.per is not None or rule.decay is not None


@dataclass
class _Writer(Folds):
    """Writes one statement; each method returns a piece of SQL."""

    def __post_init__(self) -> None:
        super().__post_init__()
        document = self.plan.document
        self.limits = {name: signal.limit for name, signal in signals_of(document).items()}
        self.folds = dict(self.plan.places)
        self.leaf_number = {leaf: i for i, leaf in enumerate(self.plan.leaves)}

    def sources(self) -> list[str]:
        """The common table expressions of everything that is read."""
        ctes = [self.pairs(), *self.say.shared(why=self.of_users), *map(self.fold, self.passes)]
        ctes += [self.trait(i, key) for i, key in enumerate(self.plan.traits)]
        ctes += [self.outcomes(), self.exclusions(), *([self.traits_ahead()] if self.binding.detail else [])]
        if not self.of_users:
            return ctes
        day = self.day if self.binding.constant else None
        return [*ctes, *persons.known(self.binder, self.plan.traits, day=day, ahead=self.binding.detail)]

    def layers(self, read: str) -> str:
        """Put the layers on each other, the lowest on what was read."""
        return self.stacked((self.tested(), self.met(), self.summed(), self.scored()), read)

    def stacked(self, layers: Iterable[str], lowest: str) -> str:
        return reduce(lambda below, layer: f"(SELECT {layer} FROM {below}{self.say.fence}) AS s", layers, lowest)

    # -- subjects -------------------------------------------------------------------------------------

    def pairs(self) -> str:
        if self.of_users:
            return self.persons()
        if self.binding.by_user:
            return (
                f"pairs AS (SELECT DISTINCT account_id, user_id, {self.day} AS as_of FROM scoring_tile"
                f" WHERE {self.say.among('account_id', self.accounts)} AND user_id IS NOT NULL)"
            )
        if not self.binding.constant and not self.binding.grid:
            rows = self.say.rows([("accounts", "bigint"), ("days", "date")], ["account_id", "as_of"])
            return f"pairs AS (SELECT * FROM {rows})"
        subjects, is_subject = self.say.subjects()
        few = "" if self.binding.all_accounts else f" AND {self.say.among('a.id', self.accounts)}"
        if self.binding.grid:
            days = self.say.rows([("days", "date")], ["as_of"])
            return f"pairs AS (SELECT a.id AS account_id, p.as_of FROM {subjects} a, {days} WHERE {is_subject}{few})"
        return f"pairs AS (SELECT a.id AS account_id, {self.day} AS as_of FROM {subjects} a WHERE {is_subject}{few})"

    def persons(self) -> str:
        """The pairs where users are judged: everybody who is known in an account."""
        pairs, day = [("accounts", "bigint"), ("days", "date")], f"{self.day} AS as_of"
        if self.binding.named:
            rows = self.say.rows([*pairs, ("users", "bigint")], ["account_id", "as_of", "user_id"])
            return f"pairs AS (SELECT * FROM {rows})"
        if not self.binding.constant and not self.binding.grid:
            members = f"{persons.members(self.say)} JOIN {self.say.rows(pairs, ['account_id', 'as_of'])}"
            return f"pairs AS (SELECT m.account_id, m.user_id, {day} FROM {members} ON m.account_id = p.account_id)"
        subjects, is_subject = self.say.subjects()
        members = persons.members(self.say, among=None if self.binding.all_accounts else self.accounts)
        days = f" CROSS JOIN {self.say.rows(pairs[1:], ['as_of'])}" if self.binding.grid else ""
        accounts = f"{members} JOIN {subjects} a ON a.id = m.account_id{days}"
        return f"pairs AS (SELECT m.account_id, m.user_id, {day} FROM {accounts} WHERE {is_subject})"

    def joined(self, name: str, keys: Iterable[str]) -> str:
        """LEFT JOIN of a CTE to the pairs."""
        on = [f"{name}.{key} = p.{key}" for key in keys]
        if not self.binding.constant:
            on.append(f"{name}.as_of = p.as_of")
        return f" LEFT JOIN {name} ON {' AND '.join(on)}"

    # -- what is read ---------------------------------------------------------------------------------

    def trait(self, i: int, key: str) -> str:
        """The value of a trait at the end of the day."""
        keys = self.grouping("c", ["account_id"])
        return (
            f"t{i} AS (SELECT DISTINCT ON ({keys}) {keys}, c.value, c.number, c.day"
            f" {self.of('scoring_traitchange', 'c')} AND c.key = {self.binder.bind(key, 'text')}"
            f" AND {self.say.day_of('c.at')} <= {self.day}{persons.newest_of(self.say, keys)})"
        )

    def traits_ahead(self) -> str:
        keys = self.grouping("c", ["account_id"])
        day = self.say.day_of("c.at")
        read = self.binder.bind(list(self.plan.traits), "text[]")
        return (
            f"traits_ahead AS (SELECT {keys}, min({day}) AS n {self.of('scoring_traitchange', 'c')}"
            f" AND c.key = ANY({read}) AND {day} > {self.day} GROUP BY {keys})"
        )

    def outcomes(self) -> str:
        keys = self.grouping("o", ["account_id"])
        day = self.say.day_of("o.at")
        columns = [f"min({day}) FILTER (WHERE {day} > {self.day}) AS n"]
        for k, kinds in enumerate(self.plan.outcomes):
            chosen = f"o.kind = ANY({self.binder.bind(list(kinds), 'text[]')}) AND {day} <= {self.day}"
            columns.append(f"min({day}) FILTER (WHERE {chosen}) AS o{k}")
        rows = self.of("scoring_outcome", "o")
        return f"outcomes AS (SELECT {keys}, {', '.join(columns)} {rows} GROUP BY {keys})"

    def exclusions(self) -> str:
        keys = self.grouping("x", ["account_id"])
        return (
            f"exclusions AS (SELECT {keys}, min(x.why) AS why {self.of('excluded_account', 'x')}"
            f" AND {covers('x', self.day)} GROUP BY {keys})"
        )

    def read(self, own: Iterable[str]) -> str:
        """The first layer: every column that was read, side by side, and what a document makes of it for itself."""
        why = "coalesce(exclusions.why, barred.why)" if self.of_users else "exclusions.why"
        columns = [f"p.{key}" for key in self.keys] + ["p.as_of", f"{why} AS excluded_why"]
        joins = ""
        for i, fold in enumerate(self.plan.folds):
            columns += self.read_fold(i, fold)
        for table in dict.fromkeys(self.tables.values()):
            joins += self.joined(table, self.keys)
        for i in range(len(self.plan.traits)):
            columns += [f"{self.stated(i, 'value')} AS tv{i}", f"{self.stated(i, 'number')} AS tn{i}"]
            joins += self.joined(f"t{i}", ["account_id"])
            joins += self.joined(f"u{i}", ["user_id"]) if self.of_users else ""
        columns += [f"outcomes.o{k}" for k in range(len(self.plan.outcomes))]
        columns += own
        joins += self.joined("outcomes", ["account_id"]) + self.joined("exclusions", ["account_id"])
        if self.binding.detail:
            joins += self.joined("traits_ahead", ["account_id"])
        if self.of_users:
            joins += " LEFT JOIN barred ON barred.user_id = p.user_id AND barred.as_of = p.as_of"
            joins += self.joined("said_ahead", ["user_id"]) if self.binding.detail else ""
        return f"(SELECT {', '.join(columns)} FROM pairs p{joins}{self.say.fence}) AS s"

    def stated(self, i: int, column: str) -> str:
        """A column of a trait: the user's own if users are judged and it is known, else the account's."""
        if not self.of_users:
            return f"t{i}.{column}"
        return f"CASE WHEN {self.say.is_known(f'u{i}.value')} THEN u{i}.{column} ELSE t{i}.{column} END"

    def read_fold(self, i: int, fold: Fold) -> Iterator[str]:
        table = self.tables[i]
        for j, reading in enumerate(fold.measures):
            measure = reading.measure
            counted = f"coalesce({table}.m{i}_{j}, 0)"
            if measure == "streak":
                counted = self.say.longest_run(counted)
            if in_bits(reading):
                counted = self.say.bits_set(counted)
            yield f"{counted} AS m{i}_{j}" if measure in COUNTED else f"{table}.m{i}_{j}"
            if measure in LIMITED:
                yield f"{table}.l{i}_{j}"
        if self.binding.detail:
            for w in range(len(fold.windows)):
                yield f"f{i}.a{i}_{w}, f{i}.z{i}_{w}"

    @property
    def own_names(self) -> tuple[str, ...]:
        return ("sign_up", "ahead") if self.binding.detail else ("sign_up",)

    def own(self) -> list[str]:
        """What each document has of its own beside what is read for all."""
        values = (self.sign_up, self.read_ahead) if self.binding.detail else (self.sign_up,)
        return [f"{value()} AS {name}" for value, name in zip(values, self.own_names, strict=True)]

    def read_ahead(self) -> str:
        """The first day on which something known now enters or leaves what is read."""
        created = self.created
        exclusions = (
            "(SELECT min(d) FROM scoring_exclusion x, unnest(ARRAY[x.starts_on, x.ends_on]) AS d WHERE d > p.as_of)"
        )
        days = [f"f{i}.n{i}" for i in sorted(set(self.folds.values()))]
        days += ["said_ahead.n"] if self.of_users else []
        days += ["outcomes.n", "traits_ahead.n", f"CASE WHEN {created} > p.as_of THEN {created} END", exclusions]
        return f"LEAST({', '.join(days)})"

    @property
    def created(self) -> str:
        """The day in the trait that sign-up is taken from: a user's own."""
        table = "u" if self.of_users else "t"
        return f"{table}{self.plan.traits.index(self.plan.document.sign_up.trait)}.day"

    def sign_up(self) -> str:
        created = self.created
        days = [
            f"CASE WHEN {created} <= p.as_of THEN {created} END",
            self.column(ANY_SIGNAL, "first_day", None, own=True),
        ]
        if signal := self.plan.document.sign_up.signal:
            days.append(self.column(signal, "first_day", None, own=True))
        return f"LEAST({', '.join(days)})"

    def column(
        self, signal: str, measure: str, within: int | None, decay: Decay | None = None, *, own: bool = False
    ) -> str:
        """The name of a measure's column; its own one where it is read."""
        i = self.folds[signal]
        j = self.plan.folds[i].measures.index(Reading(measure, within, decay))
        return f"{self.tables[i]}.m{i}_{j}" if own else f"m{i}_{j}"

    # -- what is concluded ----------------------------------------------------------------------------

    def tested(self) -> str:
        """The second layer: each leaf as a boolean that is never null."""
        leaves = [f"coalesce({self.leaf(leaf)}, false) AS c{i}" for i, leaf in enumerate(self.plan.leaves)]
        return ", ".join(["s.*", *leaves])

    def leaf(self, leaf: Leaf) -> str:
        match leaf:
            case Measured(measure=measure) if measure in QUOTIENTS:
                value, limit = self.quotient(leaf)
                threshold = self.binder.bind(leaf.threshold, "numeric")
                return f"({limit} > 0 AND {value} {COMPARISONS[leaf.comparator]} {threshold} * {limit})"
            case Measured():
                threshold = self.binder.bind(leaf.threshold, "numeric")
                value = self.column(leaf.signal, leaf.measure, leaf.within)
                return f"{value} {COMPARISONS[leaf.comparator]} {threshold}"
            case Ever(signal):
                return f"{self.column(signal, 'last_day', None)} IS NOT NULL"
            case FirstWithin():
                return f"{self.say.days_between(self.column(leaf.signal, 'first_day', None), 'sign_up')} < {leaf.days}"
            case Breadth():
                threshold = self.binder.bind(leaf.threshold, "numeric")
                return f"{self.seen_of(leaf)} {COMPARISONS[leaf.comparator]} {threshold}"
            case Steps():
                return f"{self.steps(leaf)} = {len(leaf.signals)}"
            case SinceLast() | Age():
                age = self.say.days_between("as_of", self.base(leaf))
                return f"{age} {COMPARISONS[leaf.comparator]} {leaf.threshold}"
            case Trait(test):
                return passes(test, f"tv{self.plan.traits.index(test.key)}", self.binder)
            case Converted(kinds):
                return f"o{self.plan.outcomes.index(kinds)} IS NOT NULL"

    def base(self, leaf: SinceLast | Age | Decay) -> str:
        """The day from which a number of days is counted."""
        if isinstance(leaf, Age):
            return "sign_up"
        if isinstance(leaf, Decay):
            return self.column(leaf.signal or "", "last_day", None)
        return f"coalesce({self.column(leaf.signal, 'last_day', None)}, sign_up)"

    def seen_of(self, leaf: Breadth) -> str:
        """How many of the signals were seen."""
        days = (self.column(signal, "last_day", leaf.within) for signal in leaf.signals)
        return f"({' + '.join(f'CASE WHEN {day} IS NULL THEN 0 ELSE 1 END' for day in days)})"

    def steps(self, leaf: Steps) -> str:
        """How many of the steps were reached in their order."""
        firsts = [self.column(signal, "first_at", leaf.within) for signal in leaf.signals]
        missed = [f"WHEN {firsts[0]} IS NULL THEN 0"]
        for n in range(1, len(firsts)):
            missed.append(f"WHEN {firsts[n]} IS NULL OR {firsts[n]} < {firsts[n - 1]} THEN {n}")
        return f"CASE {' '.join(missed)} ELSE {len(firsts)} END"

    def quotient(self, leaf: Measured) -> tuple[str, str]:
        """The value and what it is measured against: the limit, or the count of the window before."""
        if leaf.measure == "trend":
            return self.column(leaf.signal, "count", leaf.within), self.column(leaf.signal, "before", leaf.within)
        value = self.column(leaf.signal, "ratio", leaf.within)
        limit = self.limits[leaf.signal]
        return value, self.limit(limit, "l" + value[1:]) if limit else "NULL"

    def limit(self, limit: Limit, of_event: str) -> str:
        if limit.property is not None:
            return of_event
        if limit.trait is not None:
            return f"tn{self.plan.traits.index(limit.trait)}"
        text = self.say.text(f"tv{self.plan.traits.index(limit.by_trait or '')}")
        cases = (
            f"WHEN {self.binder.bind(name, 'text')} THEN {self.binder.bind(most, 'numeric')}"
            for name, most in limit.table
        )
        return f"CASE {text} {' '.join(cases)} END"

    def condition(self, condition: Condition | None) -> str:
        match condition:
            case None:
                return "true"
            case All(of):
                return f"({' AND '.join(map(self.condition, of))})"
            case Any(of):
                return f"({' OR '.join(map(self.condition, of))})"
            case Not(of):
                return f"NOT {self.condition(of)}"
            case leaf:
                return f"c{self.leaf_number[leaf]}"

    def met(self) -> str:
        """The third layer: each rule met or not, with its points before clipping."""
        columns = ["s.*", f"{self.condition(self.plan.document.population)} AS inside"]
        for i, rule in enumerate(self.plan.document.rules):
            condition = self.condition(rule.when)
            if isinstance(rule, Points) and rule.per:
                condition += f" AND {self.units(rule.per)} >= 1"
            if isinstance(rule, Points) and rule.decay:
                condition += f" AND {self.left(rule, rule.decay)} <> 0"
            columns.append(f"coalesce({condition}, false) AS r{i}")
        return ", ".join(columns)

    def units(self, per: PerUnit) -> str:
        """Full units of a measure."""
        value = self.column(per.signal, per.measure, per.within, decay=per.decay)
        return self.say.units(value, self.binder.bind(per.every, "numeric"))

    def raw(self, i: int, rule: Points) -> str:
        """The rule's points before clipping, in hundredths."""
        if rule.decay:
            return f"CASE WHEN r{i} THEN {self.left(rule, rule.decay)}::bigint ELSE 0 END"
        if rule.per is None:
            return f"CASE WHEN r{i} THEN {rule.points}::bigint ELSE 0 END"
        sign = "" if rule.points > 0 else "-"
        points = f"{sign}LEAST({self.units(rule.per)} * {abs(rule.points)}, {rule.per.most})::bigint"
        return f"CASE WHEN r{i} THEN {points} ELSE 0 END"

    def left(self, rule: Points, decay: Decay) -> str:
        """What of the rule's points the days since the signal's last event have left."""
        steps = {age: str(faded(rule.points, weight)) for age, weight in weights(decay)}
        return f"({self.by_age(self.say.days_between('as_of', self.base(decay)), steps)})"

    def summed(self) -> str:
        """The fourth layer: points of each rule."""
        rules = self.plan.document.rules
        points = [f"{self.raw(i, rule)} AS q{i}" for i, rule in enumerate(rules) if isinstance(rule, Points)]
        return ", ".join(["s.*", *points])

    def side(self, score: str) -> str:
        """Usage or fit: its groups' totals, each clipped at its cap from above and at 0 from below."""
        rules = self.plan.document.rules
        totals = []
        for group in self.plan.document.groups:
            members = [(i, r) for i, r in enumerate(rules) if isinstance(r, Points) and r.group == group.name]
            gained = " + ".join(["0", *(f"q{i}" for i, rule in members if rule.points > 0)])
            lost = " + ".join(["0", *(f"q{i}" for i, rule in members if rule.points < 0)])
            if group.first_match:
                counted = " ".join(f"WHEN r{i} THEN q{i}" for i, _ in members)
                gained, lost = f"CASE {counted} ELSE 0 END" if members else "0", "0"
            clipped = gained if group.cap is None else f"LEAST({group.cap}, {gained})"
            if group.score == score:
                totals.append(f"GREATEST(0, {clipped} + ({lost}))")
        return f"({' + '.join(['0', *totals])})::bigint"

    def scored(self) -> str:
        """The fifth layer: usage, fit and status."""
        disqualified = [f"r{i}" for i, rule in verdicts(self.plan.document) if isinstance(rule, Disqualify)]
        status = (
            "CASE WHEN excluded_why IS NOT NULL THEN 'excluded' WHEN NOT inside THEN 'outside'"
            f" WHEN {' OR '.join(['false', *disqualified])} THEN 'disqualified' ELSE 'scored' END"
        )
        return f"s.*, {self.side('usage')} AS usage, {self.side('fit')} AS fit, {status} AS status"

    def verdict(self) -> str:
        """The columns of the answer."""
        document = self.plan.document
        raw = [f"q{i}" if isinstance(rule, Points) else "0" for i, rule in enumerate(document.rules)]
        columns = [
            *self.keys,
            "as_of",
            *self.standing(),
            f"{self.say.array((f'r{i}' for i in range(len(raw))), 'boolean')} AS met",
            f"{self.say.array(raw, 'bigint')} AS raw",
            f"{self.goal_on()} AS goal_on",
            "sign_up",
        ]
        return ", ".join([*columns, *(self.detail() if self.binding.detail else [])])

    def standing(self) -> list[str]:
        return [
            "usage",
            "fit",
            "status",
            "excluded_why AS why",
            f"CASE WHEN status = 'scored' THEN {self.tier()} END AS tier",
            f"CASE WHEN status = 'scored' THEN {self.held()} ELSE {self.say.array((), 'int')} END AS held",
        ]

    def goal_on(self) -> str:
        goal, days = self.plan.document.goal, ["NULL::date"]
        if goal.kinds:
            days.append(f"o{self.plan.outcomes.index(goal.kinds)}")
        if goal.signal:
            days.append(self.column(goal.signal, "first_day", None))
        return f"LEAST({', '.join(days)})"

    # -- the same in two steps, since many judgements are alike ----------------------------------------

    def alike(self) -> dict[str, str]:
        """By name what a judgement follows from: the rules met, in bits, and points that these do not tell."""
        rules = self.plan.document.rules
        words = {
            f"b{start}": " + ".join(f"CASE WHEN r{i} THEN {bit}::bigint ELSE 0 END" for i, bit in bits)
            for start, bits in self.words()
        }
        points = {
            f"q{i}": self.raw(i, rule) for i, rule in enumerate(rules) if isinstance(rule, Points) and _varies(rule)
        }
        return {"excluded_why": "excluded_why", "inside": "inside", **words, **points}

    def words(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Yield numbers that hold as many rules as they can: the first one's place, and each place with its bit."""
        rules = range(len(self.plan.document.rules))
        for start in rules[::BITS]:
            yield start, [(i, 1 << (i - start)) for i in rules[start : start + BITS]]

    def told(self) -> str:
        alike = ", ".join(f"{text} AS {name}" for name, text in self.alike().items())
        layers = self.stacked((self.tested(), self.met()), "(SELECT * FROM read) AS s")
        return f"SELECT {', '.join(self.keys)}, as_of, {self.goal_on()} AS goal_on, sign_up, {alike} FROM {layers}"

    def answer(self) -> str:
        rules = self.plan.document.rules
        met = [f"(b{start} & {bit}::bigint) <> 0 AS r{i}" for start, bits in self.words() for i, bit in bits]
        fixed = [
            f"{self.raw(i, rule)} AS q{i}"
            for i, rule in enumerate(rules)
            if isinstance(rule, Points) and not _varies(rule)
        ]
        layers = (", ".join(["*", *met]), ", ".join(["s.*", *fixed]), self.scored())
        each = [f"r{i}" for i in range(len(rules))] + [f"q{i}" for i, r in enumerate(rules) if isinstance(r, Points)]
        return f"SELECT {', '.join(['n', *self.standing(), *each])} FROM {self.stacked(layers, 'kind')}"

    def qualified(self) -> Iterator[tuple[int, int]]:
        """Yield (rule, tier) of the rules that qualify."""
        names = [tier.name for tier in self.plan.document.tiers]
        for i, rule in verdicts(self.plan.document):
            if isinstance(rule, Qualify):
                yield i, names.index(rule.tier)

    def tier(self) -> str:
        """The index of the best tier: of the first line that is entered, and of the rules that qualify."""
        lines = [
            f"WHEN usage >= {tier.enter.usage} AND fit >= {tier.enter.fit} THEN {k}"
            for k, tier in enumerate(self.plan.document.tiers)
        ]
        lifts = [f"CASE WHEN r{i} THEN {tier} END" for i, tier in self.qualified()]
        matrix = f"CASE {' '.join(lines)} END"
        return f"LEAST({', '.join([matrix, *lifts])})"

    def held(self) -> str:
        """The indices of the tiers whose hold line is met, or to which a met rule lifts, best first."""
        lifts: dict[int, list[str]] = {}
        for i, tier in self.qualified():
            lifts.setdefault(tier, []).append(f"r{i}")
        held = []
        for k, held_tier in enumerate(self.plan.document.tiers):
            line = f"(usage >= {held_tier.hold.usage} AND fit >= {held_tier.hold.fit})"
            held.append(f"CASE WHEN {' OR '.join([line, *lifts.get(k, [])])} THEN {k} END")
        return self.say.without_nulls(held, "int")

    # -- what a ledger shows, and when silence changes it ---------------------------------------------

    def detail(self) -> list[str]:
        parts = parts_of(self.plan.document)
        flips = [flip for part in parts if isinstance(part, SinceLast | Age) for flip in self.flips(part)]
        flips += [self.next_step("as_of", self.base(part), part) for part in parts if isinstance(part, Decay)]
        observed = ", ".join(f"to_jsonb({self.observed(part)})" for part in parts)
        seen = ", ".join(day for part in parts for day in self.seen(part))
        return [
            f"LEAST({', '.join(['ahead', *flips])}) AS recheck_on",
            f"jsonb_build_array({observed})::text AS observed",
            f"ARRAY[{seen}]::date[]::text[] AS seen",
        ]

    def flips(self, leaf: SinceLast | Age) -> Iterator[str]:
        """The days on which a growing number of days may pass the threshold."""
        for days in (leaf.threshold, leaf.threshold + 1):
            yield f"CASE WHEN {self.base(leaf)} + {days} > as_of THEN {self.base(leaf)} + {days} END"

    def observed(self, part: Part) -> str:
        """What was seen: a number, [value, limit], a day to count from, or a trait's value."""
        match part:
            case Measured(measure=measure) if measure in QUOTIENTS:
                return self.say.array(self.quotient(part), "numeric")
            case Measured() | PerUnit():
                decay = part.decay if isinstance(part, PerUnit) else None
                return self.column(part.signal, part.measure, part.within, decay=decay)
            case Ever(signal):
                return self.column(signal, "last_day", None)
            case SinceLast() | Age() | Decay():
                return self.base(part)
            case FirstWithin(signal):
                return self.say.array((self.column(signal, "first_day", None), "sign_up"), "date")
            case Breadth():
                return self.seen_of(part)
            case Steps():
                return self.steps(part)
            case Trait(test):
                return f"tv{self.plan.traits.index(test.key)}"
            case Converted(kinds):
                return f"o{self.plan.outcomes.index(kinds)}"

    def seen(self, part: Part) -> tuple[str, str]:
        """First and last day of the signal within the part's window."""
        within = part.within if isinstance(part, Measured | PerUnit | Breadth | Steps) else None
        places = [self.folds[signal] for signal in signals_read(part)]
        days = [f"{i}_{self.plan.folds[i].windows.index(within)}" for i in places]
        first, last = (", ".join(side + day for day in days) or "NULL" for side in "az")
        return (f"LEAST({first})", f"GREATEST({last})") if len(days) > 1 else (first, last)
