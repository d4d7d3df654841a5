"""The rows of the editor: a sheet laid out as sentences with blanks, each row with its faults. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from pqlapp.desk.editor.kinds import COMPARATOR_WORDS, KINDS, NEST_WORDS, TEST_WORDS, WRITTEN, Cells, sentence_of
from pqlapp.desk.editor.sheet import BLANK, EVENT
from scoring.language import ANY_SIGNAL, Fault

Options = Sequence[tuple[str, Sequence[tuple[str, str]]]]  # by heading, which may be empty: (value, words)
SCORES = [("", [("usage", "usage"), ("fit", "fit")])]
YES_NO = [("", [("yes", "is a PQL"), ("no", "is no PQL")])]
GIVES = [("", [("points", "points"), ("disqualify", "disqualifies them"), ("qualify", "lifts them to a tier")])]
FADES = [("", [("", "for as long as it is met"), ("half_life", "halved every"), ("linear", "fading away within")])]
COUNTS = [("", [("all", "all rules of it count"), ("first", "only the first that is met counts")])]
LIMITS = [
    (
        "",
        [
            ("", "nothing"),
            ("property", "the event’s property"),
            ("trait", "the account’s trait"),
            ("table", "a table by the trait"),
        ],
    )
]


@dataclass(frozen=True, slots=True)
class Control:
    """A blank to fill in."""

    name: str
    label: str  # for who does not see the sentence around it
    value: str
    options: Options | None = None  # None: it is written, not chosen
    width: int = 0  # characters; 0: as wide as there is room
    hints: str = ""  # the list of what may be written
    hint_of: str = ""  # the question that the server answers with a list of its own
    reshapes: bool = False  # another choice makes another row

    @property
    def id(self) -> str:
        """The element's id."""
        return self.name.replace(".", "-")


Part = str | Control


@dataclass(frozen=True, slots=True)
class Act:
    """A button of a row."""

    does: str
    words: str
    label: str

    @property
    def id(self) -> str:
        """The element's id."""
        return self.does.replace(" ", "-").replace(".", "-")


@dataclass(slots=True)
class Row:
    """A sentence, with the rows that belong to it."""

    name: str  # of its cells
    path: str  # as faults name it
    label: str
    parts: list[Part] = field(default_factory=list)
    hidden: list[tuple[str, str]] = field(default_factory=list)
    rows: list["Row"] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    adds: list[Act] = field(default_factory=list)  # buttons below its rows
    also: tuple[str, ...] = ()  # other paths of the same row
    is_counted: bool = False
    is_nest: bool = False
    faults: list[str] = field(default_factory=list)

    def first(self) -> str:
        """Return the id of the first element that one goes to in this row."""
        blanks = (part.id for part in self.parts if isinstance(part, Control))
        inner = (row.first() for row in self.rows)
        return next(blanks, "") or next(filter(None, inner), "") or next((act.id for act in self.adds), "")

    @property
    def id(self) -> str:
        """The element's id."""
        return "row-" + self.name.replace(".", "-")

    def leads(self, path: str) -> str:
        """Return how much of a fault's path leads to this row; nothing: it does not."""
        return max((own for own in (self.path, *self.also) if own and _leads_to(own, path)), key=len, default="")


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to choose from."""

    signals: Options
    groups: Options
    tiers: Options


@dataclass(frozen=True, slots=True)
class Page:
    """All rows of a sheet, by section."""

    head: Row
    rules: Row
    signals: Row
    population: Row
    groups: Row
    tiers: Row
    goal: Row
    faults: list[tuple[str, str]]  # (id of the row or "", words), all of them

    def all(self) -> Iterator[Row]:
        """Yield every row."""
        for row in (self.head, self.rules, self.signals, self.population, self.groups, self.tiers, self.goal):
            yield from _with_inner(row)


def page_of(sheet: Cells, *, faults: Sequence[Fault] = (), events: Sequence[tuple[str, str]] = ()) -> Page:
    """Return the rows of a sheet; `events`: names of events that arrived, with a word on each, to make signals of."""
    choices = _choices(sheet, events)
    page = Page(
        head=_head(sheet),
        rules=_section("rules", "Rules", [_rule(sheet, i, choices) for i in range(len(sheet.get("rules", [])))]),
        signals=_section("signals", "Signals", [_signal(row, i) for i, row in enumerate(sheet.get("signals", []))]),
        population=_population(sheet, choices),
        groups=_section("groups", "Groups", [_group(row, i) for i, row in enumerate(sheet.get("groups", []))]),
        tiers=_section("tiers", "Tiers", [_tier(row, i) for i, row in enumerate(sheet.get("tiers", []))]),
        goal=_goal(sheet, choices),
        faults=[],
    )
    _tell(page, faults)
    return page


def _tell(page: Page, faults: Sequence[Fault]) -> None:
    """Put each fault at the innermost row that it belongs to."""
    rows = list(page.all())
    for fault in faults:
        row = max(rows, key=lambda row: len(row.leads(fault.path)))
        led = row.leads(fault.path)
        where = row if led else page.head
        # What the row shows by itself is not told again.
        words = f"{fault.path.removeprefix(led).strip('.')} {fault.message}".strip()
        where.faults.append(words)
        page.faults.append((where.id, f"{where.label}: {words}"))


def _leads_to(own: str, path: str) -> bool:
    return path == own or path.startswith((f"{own}.", f"{own}["))


def _with_inner(row: Row) -> Iterator[Row]:
    yield row
    for inner in row.rows:
        yield from _with_inner(inner)


# ---- what there is to choose from


def _choices(sheet: Cells, events: Sequence[tuple[str, str]]) -> Choices:
    signals = [(row.get("name", ""), _signal_words(row)) for row in sheet.get("signals", [])]
    known = {row.get("events") for row in sheet.get("signals", []) if not row.get("where") and not row.get("value")}
    arrived = [(EVENT + name, f"{name} · {words}") for name, words in events if name not in known]
    groups = [(row["name"], f"{row['name']} ({row.get('score', '')})") for row in sheet.get("groups", [])]
    tiers = [(row["name"], row["name"]) for row in sheet.get("tiers", [])]
    built_in = [(ANY_SIGNAL, "anything at all")]
    return Choices(
        [("Signals", [*signals, *built_in]), ("Events that arrived", arrived)], [("", groups)], [("", tiers)]
    )


def _signal_words(row: Cells) -> str:
    name, events = row.get("name", ""), row.get("events", "")
    return name if not events or events.lower() == name.replace("-", " ") else f"{name} ({events})"


def _chosen(options: Options, value: str) -> Options:
    """The options with the present value among them, whatever it is."""
    if any(value == each for _, some in options for each, _ in some):
        return [(heading, some) for heading, some in options if some]
    return [("", [(value, value or "choose…")]), *((heading, some) for heading, some in options if some)]


def _select(name: str, label: str, value: str, options: Options, *, reshapes: bool = False) -> Control:
    return Control(name, label, value, _chosen(options, value), reshapes=reshapes)


# ---- sections


def _section(name: str, label: str, rows: list[Row]) -> Row:
    adds = {
        "rules": [
            Act("add rules points", "Add a rule", "Add a rule that gives points"),
            Act("add rules disqualify", "Add one that disqualifies", "Add a rule that disqualifies"),
            Act("add rules qualify", "Add one that qualifies", "Add a rule that lifts to a tier"),
        ],
        "signals": [Act("add signals", "Add a signal", "Add a signal")],
        "groups": [Act("add groups", "Add a group", "Add a group of points")],
        "tiers": [Act("add tiers", "Add a tier", "Add a tier")],
    }
    return Row(name, name, label, rows=rows, adds=adds[name])


def _head(sheet: Cells) -> Row:
    parts: list[Part] = [
        Control("name", "Name", sheet.get("name", ""), width=30),
        "has the id",
        Control("slug", "Id", sheet.get("slug", ""), width=18),
        "and opens leads of the motion",
        Control("motion", "Motion", sheet.get("motion", ""), width=16),
    ]
    return Row("head", "", "The definition", [*parts, *_more("", sheet, "The definition")])


def _population(sheet: Cells, choices: Choices) -> Row:
    row = Row("population-section", "population", "Who may qualify at all")
    if "population" not in sheet:
        row.parts.append("Every account may qualify.")
        row.adds.append(Act("add population", "Only some accounts", "Let only some accounts qualify"))
        return row
    row.parts.append("Only accounts of which this is true:")
    row.rows.append(_condition(sheet["population"], "population", "population", "Population", choices))
    row.adds.append(Act("remove population", "Every account again", "Let every account qualify"))
    return row


def _goal(sheet: Cells, choices: Choices) -> Row:
    goal, sign_up = sheet.get("goal", {}), sheet.get("sign_up", {})
    signals: Options = [("", [("", "no signal")]), *choices.signals]
    goal_row = Row("goal", "goal", "Goal")
    goal_row.parts = [
        "It predicts the outcome",
        Control("goal.kinds", "Outcomes, with commas between", goal.get("kinds", ""), width=24, hints="outcomes"),
        "or the first time of",
        _select("goal.signal", "Signal of the goal", goal.get("signal", ""), signals, reshapes=True),
        *_more("goal", goal, "Goal"),
    ]
    sign_up_row = Row("sign_up", "sign_up", "Sign-up")
    sign_up_row.parts = [
        "They signed up on the day in the trait",
        Control("sign_up.trait", "Trait of the sign-up day", sign_up.get("trait", ""), width=18, hints="traits"),
        "or at the first time of",
        _select("sign_up.signal", "Signal of the sign-up", sign_up.get("signal", ""), signals, reshapes=True),
        *_more("sign_up", sign_up, "Sign-up"),
    ]
    return Row("goal-section", "goal-section", "Goal and sign-up", rows=[goal_row, sign_up_row])


def _more(name: str, cells: Cells, label: str) -> list[Part]:
    """What no blank shows, as YAML, if there is any."""
    cell = f"{name}.more" if name else "more"
    more = cells.get("more", "")
    return ["and", Control(cell, f"{label}: what else there is, as YAML", more)] if more else []


# ---- rules and conditions


def _moves(name: str, label: str) -> list[Act]:
    return [
        Act(f"up {name}", "↑", f"Move {label} up"),
        Act(f"down {name}", "↓", f"Move {label} down"),
        Act(f"remove {name}", "Remove", f"Remove {label}"),
    ]


def _rule(sheet: Cells, i: int, choices: Choices) -> Row:
    rule, name, path = sheet["rules"][i], f"rules.{i}", f"rules[{i}]"
    label = f"rule {i + 1}"
    row = Row(name, path, label.capitalize(), acts=_moves(name, label))
    row.parts = [Control(f"{name}.name", f"Name of {label}", rule.get("name", ""))]
    row.hidden.append((f"{name}.id", rule.get("id", "")))
    if "when" in rule:
        row.rows.append(_condition(rule["when"], f"{name}.when", f"{path}.when", f"{row.label}, when", choices))
        row.rows[-1].parts.insert(0, "When")
        if "per" in rule:
            row.rows[-1].acts.append(Act(f"remove {name}.when", "Remove", f"Remove the condition of {label}"))
    if "per" in rule:
        row.rows.append(_per(rule["per"], f"{name}.per", f"{path}.per", f"{row.label}, for each", choices))
        row.rows[-1].acts.append(Act(f"remove {name}.per", "Remove", f"Give the points of {label} once"))
    row.rows.append(_effect(rule, name, path, row.label, choices))
    if "when" not in rule:
        row.adds.append(Act(f"add {name}.when", "Only when…", f"Give {label} a condition"))
    if "per" not in rule and rule.get("gives", "points") == "points":
        row.adds.append(Act(f"add {name}.per", "For each…", f"Give the points of {label} for each unit"))
    return row


def _effect(rule: Cells, name: str, path: str, label: str, choices: Choices) -> Row:
    """What a rule gives."""
    row = Row(f"{name}.effect", f"{path}.effect", f"{label}, gives")
    gives = rule.get("gives", "points")
    kind = _select(f"{name}.gives", f"{label}: what it does", gives, GIVES, reshapes=True)
    if gives == "points":
        row.also = (f"{path}.points", f"{path}.decay")
        row.parts = [
            "→",
            Control(f"{name}.points", f"{label}: points", rule.get("points", ""), width=5),
            kind,
            "in",
            _select(f"{name}.group", f"{label}: group", rule.get("group", ""), choices.groups),
            *_fading(rule, name, label, choices),
        ]
    elif gives == "qualify":
        row.also = (f"{path}.qualify",)
        tier = _select(f"{name}.tier", f"{label}: tier", rule.get("tier", ""), choices.tiers)
        row.parts = ["→", kind, tier, "at least"]
    else:
        row.parts = ["→", kind]
    row.parts += _more(name, rule, label)
    return row


def _fading(rule: Cells, name: str, label: str, choices: Choices) -> Iterator[Part]:
    """Whether the points stay, or fade with age."""
    decay = rule.get("decay", {})
    yield _select(f"{name}.decay.shape", f"{label}: fading", decay.get("shape", ""), FADES, reshapes=True)
    if decay.get("shape"):
        yield Control(f"{name}.decay.days", f"{label}: days of fading", decay.get("days", ""), width=4)
        yield "days"
    if decay.get("shape") and "per" not in rule:
        signals: Options = [("", [("", "what it reads")]), *choices.signals]
        yield "since the last"
        of = decay.get("signal", "")
        yield _select(f"{name}.decay.signal", f"{label}: fading since the last", of, signals, reshapes=True)


def _per(per: Cells, name: str, path: str, label: str, choices: Choices) -> Row:
    units = [("", [(word, kind.unit) for word, kind in KINDS.items() if kind.unit])]
    row = Row(name, path, label, is_counted=True)
    row.also = (path.removesuffix("per") + "max",)
    row.parts = [
        "for every",
        Control(f"{name}.every", f"{label}: how many make one", per.get("every", ""), width=4),
        _select(f"{name}.kind", f"{label}: of what", per.get("kind", "count"), units, reshapes=True),
        "of",
        _select(f"{name}.signal", f"{label}: signal", per.get("signal", ""), choices.signals, reshapes=True),
        "in",
        Control(f"{name}.within", f"{label}: days", per.get("within", ""), width=4),
        "days, at most",
        Control(f"{name}.max", f"{label}: the most points", per.get("max", ""), width=5),
        "points",
        *_more(name, per, label),
    ]
    return row


def _condition(cells: Cells, name: str, path: str, label: str, choices: Choices) -> Row:
    kind = cells.get("kind", "count")
    if kind in NEST_WORDS:
        return _nest(cells, name, path, label, choices)
    row = Row(name, path, label, is_counted=True)
    row.parts = list(_sentence(cells, name, label, choices)) + _more(name, cells, label)
    row.acts = [
        Act(f"nest {name} all", "and…", f"{label}: all of this and another"),
        Act(f"nest {name} any", "or…", f"{label}: this or another"),
        Act(f"nest {name} not", "not", f"{label}: turn into its opposite"),
    ]
    return row


def _nest(cells: Cells, name: str, path: str, label: str, choices: Choices) -> Row:
    kind, of = cells["kind"], cells.get("of", [])
    around = f"{path}.{kind}" if kind != "not" else f"{path}.not.any" if len(of) > 1 else f"{path}.not"
    row = Row(name, path, label, is_counted=True, is_nest=True)
    row.parts = [_select(f"{name}.kind", f"{label}: how many of these", kind, [("", list(NEST_WORDS.items()))])]
    single = kind == "not" and len(of) == 1
    for i, part in enumerate(of):
        inner = f"{name}.of.{i}"
        of_part = f"{label} {i + 1}"
        row.rows.append(_condition(part, inner, around if single else f"{around}[{i}]", of_part, choices))
        row.rows[-1].acts += _moves(inner, of_part)
    row.adds = [Act(f"add {name}.of", "Add a condition", f"{label}: add a condition")]
    if len(of) == 1:
        row.adds.append(Act(f"flatten {name}", "Only this one", f"{label}: keep the one condition alone"))
    return row


def _sentence(cells: Cells, name: str, label: str, choices: Choices) -> Iterator[Part]:
    """The words and blanks of a condition, in the order in which its kind tells them."""
    kind = cells.get("kind", "count")
    for i, piece in enumerate(BLANK.split(sentence_of(kind))):
        if i % 2:
            yield from _blank(piece, cells, name, label, choices)
        elif piece.strip():
            yield piece.strip()
    if kind == WRITTEN:
        yield from _blank("kind", cells, name, label, choices)


# Blanks that are simply written: (what they are, characters, the list of what may be written).
SIMPLE = {
    "signals": ("signals, with commas between", 34, ""),
    "key": ("trait", 16, "traits"),
    "kinds": ("outcomes, with commas between", 20, "outcomes"),
    "about": ("of whom", 9, ""),
    "text": ("as YAML", 0, ""),
    "after_sign_up": ("days", 5, ""),
}


def _blank(blank: str, cells: Cells, name: str, label: str, choices: Choices) -> Iterator[Part]:
    match blank:
        case "kind":
            yield _select(f"{name}.kind", f"{label}: kind", cells.get("kind", ""), _kinds(), reshapes=True)
        case "signal":
            yield _select(f"{name}.signal", f"{label}: signal", cells.get("signal", ""), choices.signals, reshapes=True)
        case "compared":
            words = [("", list(COMPARATOR_WORDS.items()))]
            yield _select(f"{name}.comparator", f"{label}: comparison", cells.get("comparator", "at_least"), words)
            yield Control(f"{name}.threshold", f"{label}: number", cells.get("threshold", ""), width=6)
        case "within":
            days = Control(f"{name}.within", f"{label}: days, empty for ever", cells.get("within", ""), width=4)
            yield from ("in", days, "days")
        case "test":
            key = cells.get("key", "")
            yield from _test(cells, name, label, urlencode({"trait": key}) if key else "")
        case simple:
            words_of, width, hints = SIMPLE[simple]
            yield Control(f"{name}.{simple}", f"{label}: {words_of}", cells.get(simple, ""), None, width, hints)


def _kinds() -> Options:
    families: dict[str, list[tuple[str, str]]] = {}
    for word, kind in KINDS.items():
        families.setdefault(kind.family, []).append((word, kind.label))
    return [*families.items(), ("Anything else", [(WRITTEN, "as YAML")])]


def _test(cells: Cells, name: str, label: str, hint: str) -> Iterator[Part]:
    """The test of a trait or property, with what it is tested for."""
    words = [("", list(TEST_WORDS.items()))]
    test = cells.get("test", "equals")
    yield _select(f"{name}.test", f"{label}: test", test, words, reshapes=True)
    if not test.startswith("is "):
        several = ", with commas between" if test in ("in", "between") else ""
        yield Control(f"{name}.operand", f"{label}: value{several}", cells.get("operand", ""), None, 18, "", hint)


# ---- signals, groups and tiers


def _signal(cells: Cells, i: int) -> Row:
    name, label = f"signals.{i}", f"signal {i + 1}"
    row = Row(name, f"signals.{cells.get('name', '').strip()}", label.capitalize(), also=(f"signals#{i}",))
    row.hidden.append((f"{name}.was", cells.get("was", "")))
    limit, value = cells.get("limit", {}), cells.get("value", "")
    event = cells.get("events", "")
    row.parts = [
        Control(f"{name}.name", f"Name of {label}", cells.get("name", ""), width=16),
        "is every event",
        Control(f"{name}.events", f"Events of {label}, with commas between", event, width=26, hints="events"),
        "with the value of",
        _property(f"{name}.value", f"Numeric property of {label}", value, event, 14),
    ]
    if value or limit.get("by"):
        row.parts += _limit(limit, name, row.label)
    row.parts += _more(name, cells, row.label)
    for k, test in enumerate(cells.get("where", [])):
        row.rows.append(
            _where(test, f"{name}.where.{k}", f"{row.path}.where[{k}]", f"{row.label}, test {k + 1}", event)
        )
    row.acts = [Act(f"remove {name}", "Remove", f"Remove {label}")]
    row.adds = [Act(f"add {name}.where", "Only where…", f"Test a property of {label}")]
    return row


def _property(name: str, label: str, value: str, event: str, width: int) -> Control:
    return Control(name, label, value, None, width, "", urlencode({"event": event}) if event else "")


def _where(test: Cells, name: str, path: str, label: str, event: str) -> Row:
    row = Row(name, path, label)
    key = test.get("property", "")
    row.parts = [
        "where",
        _property(f"{name}.property", f"{label}: property", key, event, 16),
        *_test(test, name, label, urlencode({"event": event, "property": key}) if event and key else ""),
    ]
    row.acts = [Act(f"remove {name}", "Remove", f"Remove {label}")]
    return row


def _limit(limit: Cells, name: str, label: str) -> list[Part]:
    by = limit.get("by", "")
    parts: list[Part] = ["limited by", _select(f"{name}.limit.by", f"{label}: limit", by, LIMITS, reshapes=True)]
    if by:
        parts.append(Control(f"{name}.limit.name", f"{label}: name of the limit", limit.get("name", ""), width=14))
    if by == "table":
        table = limit.get("table", "") or "{}"
        parts.append(Control(f"{name}.limit.table", f"{label}: limits, such as {{free: 5, pro: 50}}", table, width=30))
    return parts


def _group(cells: Cells, i: int) -> Row:
    name, label = f"groups.{i}", f"group {i + 1}"
    row = Row(name, f"groups.{cells.get('name', '').strip()}", label.capitalize(), also=(f"groups#{i}",))
    row.hidden.append((f"{name}.was", cells.get("was", "")))
    row.parts = [
        Control(f"{name}.name", f"Name of {label}", cells.get("name", ""), width=16),
        "counts for",
        _select(f"{name}.score", f"{row.label}: score", cells.get("score", ""), SCORES),
        "with at most",
        Control(f"{name}.cap", f"{row.label}: cap; empty: none", cells.get("cap", ""), width=5),
        "points;",
        _select(f"{name}.counts", f"{row.label}: which rules count", cells.get("counts", "all"), COUNTS),
        *_more(name, cells, row.label),
    ]
    row.acts = [Act(f"remove {name}", "Remove", f"Remove {label}")]
    return row


def _tier(cells: Cells, i: int) -> Row:
    name, label = f"tiers.{i}", f"tier {i + 1}"
    row = Row(name, f"tiers[{i}]", label.capitalize(), acts=_moves(f"tiers.{i}", label))
    row.hidden.append((f"{name}.was", cells.get("was", "")))

    def line(side: str) -> Iterator[Part]:
        for score in ("usage", "fit"):
            value: Any = cells.get(side, {}).get(score, "")
            yield Control(f"{name}.{side}.{score}", f"{row.label}: {score} to {side}", value, width=4)
            yield score

    row.parts = [
        Control(f"{name}.name", f"Name of {label}", cells.get("name", ""), width=12),
        _select(f"{name}.pql", f"{row.label}: PQL or not", cells.get("pql", ""), YES_NO),
        "from",
        *line("enter"),
        "on, until below",
        *line("hold"),
        *_more(name, cells, row.label),
    ]
    return row
