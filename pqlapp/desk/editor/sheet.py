"""The sheet: a rule document as the cells of a form, all of them text, and back. Pure.

`sheet_of` and `data_of` are each other's inverse for the plain data of every document (`language.dump`): what no
sentence tells is kept in cells that hold YAML, so the form shows all of a document and loses nothing of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pqlapp.desk.editor import writing
from pqlapp.desk.editor.kinds import (
    BLANKS,
    KINDS,
    NEST_WORDS,
    WRITTEN,
    Cells,
    Plain,
    Unspeakable,
    give_test,
    sentence_of,
    take_test,
)
from scoring.language import Fault, Invalid

Path = tuple[str | int, ...]
BLANK = re.compile(r"{(\w+)}")
DECAYS = {"half_life", "linear"}
SLUG_ENDS = 60  # characters of an id that is made from a name
EVENT = "event:"  # what is chosen in a signal's place to make a signal of that event


def sheet_of(data: Plain) -> Cells:
    """Return the sheet of a document's plain data."""
    left = dict(data)
    sheet: Cells = {name: writing.written_text(left.pop(name)) for name in ("slug", "name", "motion")}
    goal, sign_up = dict(left.pop("goal", {})), dict(left.pop("sign_up", {}))
    sheet["goal"] = {"kinds": writing.written_list(goal.pop("outcome", []), texts=True), **_signal_or_none(goal)}
    sheet["sign_up"] = {"trait": writing.written_text(sign_up.pop("trait", "created_at")), **_signal_or_none(sign_up)}
    sheet["signals"] = [_signal_cells(name, signal) for name, signal in left.pop("signals", {}).items()]
    if "population" in left:
        sheet["population"] = condition_cells(left.pop("population"))
    sheet["groups"] = [_group_cells(name, group) for name, group in left.pop("groups").items()]
    sheet["rules"] = [_rule_cells(rule) for rule in left.pop("rules")]
    sheet["tiers"] = [_tier_cells(tier) for tier in left.pop("tiers")]
    return {**sheet, "more": _more(left)}


def data_of(sheet: Mapping[str, Any]) -> tuple[Plain, list[Fault]]:
    """Return the document's plain data, and what is wrong with cells that data cannot even show."""
    reader = _Reader()
    return reader.document(sheet), reader.faults


def condition_cells(plain: Any) -> Cells:
    """Return a condition as a row with a sentence, or as rows in a row."""
    if isinstance(plain, dict) and len(plain) == 1 and next(iter(plain)) in NEST_WORDS:
        return _nest_cells(*next(iter(plain.items())))
    try:
        return _leaf_cells(dict(plain))
    except (Unspeakable, TypeError, ValueError):
        return {"kind": WRITTEN, "text": writing.written_data(plain)}


# ---- into the form


def _more(left: Plain) -> str:
    """What no cell shows, as YAML; nothing of nothing."""
    return writing.written_data(left) if left else ""


def _signal_or_none(left: Plain) -> Cells:
    return {"signal": left.pop("signal", ""), "more": _more(left)}


def _nest_cells(word: str, inner: Any) -> Cells:
    """Several conditions; `not` of several in `any` is none of these."""
    if word != "not":
        if not isinstance(inner, list):
            return {"kind": WRITTEN, "text": writing.written_data({word: inner})}
        return {"kind": word, "of": [condition_cells(part) for part in inner]}
    several = inner.get("any") if isinstance(inner, dict) and len(inner) == 1 else None
    parts = several if isinstance(several, list) and len(several) > 1 else [inner]
    return {"kind": "not", "of": [condition_cells(part) for part in parts]}


def _blanks(sentence: str) -> list[str]:
    return [name for name in BLANK.findall(sentence) if name in BLANKS]


def _leaf_cells(left: Plain) -> Cells:
    words = [word for word in left if word in KINDS]
    if len(words) != 1:
        raise Unspeakable
    word = words[0]
    cells: Cells = {"kind": word}
    for name in _blanks(sentence_of(word)):
        cells |= BLANKS[name][0](word, left)
    left.pop(word, None)
    return {**cells, "more": _more(left)}


def _per_cells(per: Plain, most: Any) -> Cells:
    left = dict(per)
    word = next((word for word in left if word in KINDS), "count")
    signal = left.pop(word, "")
    within, every = left.pop("within", None), left.pop("every", None)
    return {
        "kind": word,
        "signal": signal,
        "within": writing.written(within),
        "every": writing.written(every),
        "max": writing.written(most),
        "more": _more(left),
    }


def _rule_cells(rule: Plain) -> Cells:
    left = dict(rule)
    cells: Cells = {name: writing.written_text(left.pop(name)) for name in ("id", "name")}
    if "disqualify" in left:
        left.pop("disqualify")
        cells |= {"gives": "disqualify"}
    elif "qualify" in left:
        cells |= {"gives": "qualify", "tier": left.pop("qualify")}
    else:
        cells |= {"gives": "points", "points": writing.written(left.pop("points")), "group": left.pop("group")}
    if decay := _decay_cells(left.get("decay")):
        left.pop("decay")
        cells["decay"] = decay
    if "per" in left:
        cells["per"] = _per_cells(left.pop("per"), left.pop("max", None))
    if "when" in left:
        cells["when"] = condition_cells(left.pop("when"))
    return {**cells, "more": _more(left)}


def _decay_cells(decay: Any) -> Cells:
    """How points fade; nothing where no blank could show it."""
    if not isinstance(decay, dict) or not decay.keys() <= {*DECAYS, "of"} or len(decay.keys() & DECAYS) != 1:
        return {}
    shape = next(shape for shape in decay if shape in DECAYS)
    return {"shape": shape, "days": writing.written(decay[shape]), "signal": decay.get("of", "")}


def _signal_cells(name: str, signal: Plain) -> Cells:
    left = dict(signal)
    event, where = left.pop("event"), left.pop("where", [])
    return {
        "name": name,
        "was": name,
        "events": writing.written_list([event] if isinstance(event, str) else event, texts=True),
        "where": [_where_cells(dict(test)) for test in where],
        "value": writing.written_text(left.pop("value")) if "value" in left else "",
        "limit": _limit_cells(left.pop("limit", None)),
        "more": _more(left),
    }


def _where_cells(test: Plain) -> Cells:
    return {"property": writing.written_text(test.pop("property")), **take_test("", test)}


def _limit_cells(limit: Plain | None) -> Cells:
    if limit is None:
        return {"by": "", "name": "", "table": ""}
    if "property" in limit:
        return {"by": "property", "name": writing.written_text(limit["property"]), "table": ""}
    by = "table" if "table" in limit else "trait"
    return {"by": by, "name": writing.written_text(limit["trait"]), "table": _table(limit)}


def _table(limit: Plain) -> str:
    return writing.written_data(limit["table"]) if "table" in limit else ""


def _group_cells(name: str, group: Plain) -> Cells:
    left = dict(group)
    score, cap = left.pop("score"), left.pop("cap", None)
    counts = "first" if left.get("first_match") is True else "all"
    if counts == "first":
        left.pop("first_match")
    cells = {"name": name, "was": name, "score": score, "cap": writing.written(cap), "counts": counts}
    return {**cells, "more": _more(left)}


def _tier_cells(tier: Plain) -> Cells:
    left = dict(tier)
    name, pql = left.pop("name"), left.pop("pql", False)
    lines = {
        side: {score: writing.written(line.get(score)) for score in ("usage", "fit")}
        for side, line in (("enter", left.pop("enter")), ("hold", left.pop("hold")))
    }
    return {"name": name, "was": name, "pql": "yes" if pql else "no", **lines, "more": _more(left)}


# ---- out of the form


class _Reader:
    """Turns cells into plain data, and notes what does not even become data."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def document(self, sheet: Mapping[str, Any]) -> Plain:
        data: Plain = {name: writing.read_text(sheet.get(name, "")) for name in ("slug", "name", "motion")}
        if goal := self.goal(sheet.get("goal", {})):
            data["goal"] = goal
        data["sign_up"] = self.sign_up(sheet.get("sign_up", {}))
        data["signals"] = self.named(sheet.get("signals", []), "signals", self.signal)
        if "population" in sheet:
            data["population"] = self.condition(sheet["population"], "population")
        data["groups"] = self.named(sheet.get("groups", []), "groups", self.group)
        data["rules"] = [self.rule(rule, f"rules[{i}]") for i, rule in enumerate(sheet.get("rules", []))]
        data["tiers"] = [self.tier(tier, f"tiers[{i}]") for i, tier in enumerate(sheet.get("tiers", []))]
        return data | self.more(sheet, "")

    def more(self, cells: Mapping[str, Any], path: str) -> Plain:
        """What no cell shows."""
        found = self.data(cells.get("more", ""), path)
        if found is None or isinstance(found, dict):
            return found or {}
        self.faults.append(Fault(path, "what else there is must be fields, such as {field: value}"))
        return {}

    def data(self, words: str, path: str) -> Any:
        if not words.strip():
            return None
        try:
            return writing.read_data(words)
        except Invalid as invalid:
            self.faults += [Fault(path, fault.message) for fault in invalid.faults]
            return None

    def named(
        self, rows: Sequence[Mapping[str, Any]], where: str, read: Callable[[Mapping[str, Any], str], Plain]
    ) -> Plain:
        """Rows that are known by their names. Two of one name would be one: that is told, not done."""
        found: Plain = {}
        for i, row in enumerate(rows):
            name = row.get("name", "").strip()
            if name in found:
                self.faults.append(Fault(f"{where}#{i}", f"the name {name!r} is taken by one before it"))
            found[name] = read(row, f"{where}.{name}")
        return found

    def goal(self, cells: Mapping[str, Any]) -> Plain:
        kinds = writing.read_list(cells.get("kinds", ""), texts=True)
        return ({"outcome": kinds} if kinds else {}) | self.signal_if_any(cells) | self.more(cells, "goal")

    def sign_up(self, cells: Mapping[str, Any]) -> Plain:
        trait = writing.read_text(cells.get("trait", "")) or "created_at"
        return {"trait": trait} | self.signal_if_any(cells) | self.more(cells, "sign_up")

    def signal_if_any(self, cells: Mapping[str, Any]) -> Plain:
        return {"signal": cells["signal"]} if cells.get("signal") else {}

    def signal(self, cells: Mapping[str, Any], path: str) -> Plain:
        events = writing.read_list(cells.get("events", ""), texts=True)
        plain: Plain = {"event": events[0] if len(events) == 1 else events}
        if where := cells.get("where"):
            plain["where"] = [{"property": writing.read_text(t.get("property", ""))} | give_test("", t) for t in where]
        if value := cells.get("value"):
            plain["value"] = writing.read_text(value)
        if limit := self.limit(cells.get("limit", {}), path):
            plain["limit"] = limit
        return plain | self.more(cells, path)

    def limit(self, cells: Mapping[str, str], path: str) -> Plain:
        by, name = cells.get("by", ""), writing.read_text(cells.get("name", ""))
        if not by:
            return {}
        if by == "table":
            return {"trait": name, "table": self.data(cells.get("table", ""), f"{path}.limit.table") or {}}
        return {by: name}

    def group(self, cells: Mapping[str, Any], path: str) -> Plain:
        cap = writing.read(cells.get("cap", ""))
        plain = {"score": cells.get("score", "usage")} | ({} if cap is None else {"cap": cap})
        first = {"first_match": True} if cells.get("counts") == "first" else {}
        return plain | first | self.more(cells, path)

    def rule(self, cells: Mapping[str, Any], path: str) -> Plain:
        name = writing.read_text(cells.get("name", ""))
        plain: Plain = {"id": writing.read_text(cells.get("id", "")) or slug_of(name), "name": name}
        match cells.get("gives"):
            case "disqualify":
                plain["disqualify"] = True
            case "qualify":
                plain["qualify"] = cells.get("tier", "")
            case _:
                plain |= {"group": cells.get("group", ""), "points": writing.read(cells.get("points", ""))}
                plain |= self.decay(cells.get("decay", {}))
        if "per" in cells:
            plain |= self.per(cells["per"], f"{path}.per")
        if "when" in cells:
            plain["when"] = self.condition(cells["when"], f"{path}.when")
        return plain | self.more(cells, path)

    def decay(self, cells: Mapping[str, str]) -> Plain:
        if not cells.get("shape"):
            return {}
        of = {"of": cells["signal"]} if cells.get("signal") else {}
        return {"decay": {cells["shape"]: writing.read(cells.get("days", ""))} | of}

    def per(self, cells: Mapping[str, Any], path: str) -> Plain:
        within, every = writing.read(cells.get("within", "")), writing.read(cells.get("every", ""))
        plain: Plain = {cells.get("kind") or "count": cells.get("signal", "")}
        plain |= ({} if within is None else {"within": within}) | ({} if every is None else {"every": every})
        return {"per": plain | self.more(cells, path), "max": writing.read(cells.get("max", ""))}

    def tier(self, cells: Mapping[str, Any], path: str) -> Plain:
        plain: Plain = {"name": cells.get("name", "").strip(), "pql": cells.get("pql") == "yes"}
        for side in ("enter", "hold"):
            points = {score: writing.read(words) for score, words in cells.get(side, {}).items()}
            plain[side] = {score: number for score, number in points.items() if number is not None}
        return plain | self.more(cells, path)

    def condition(self, cells: Mapping[str, Any], path: str) -> Any:
        kind = cells.get("kind", "")
        if kind in NEST_WORDS:
            return self.nest(kind, cells.get("of", []), path)
        if kind not in KINDS:
            return self.data(cells.get("text", ""), path)
        plain: Plain = {}
        for name in _blanks(sentence_of(kind)):
            plain |= BLANKS[name][1](kind, cells)
        return plain | self.more(cells, path)

    def nest(self, kind: str, of: Sequence[Mapping[str, Any]], path: str) -> Plain:
        if kind == "not" and len(of) == 1:
            return {"not": self.condition(of[0], f"{path}.not")}
        inner = "any" if kind == "not" else kind
        around = f"{path}.not.any" if kind == "not" else f"{path}.{kind}"
        parts = [self.condition(part, f"{around}[{i}]") for i, part in enumerate(of)]
        return {"not": {"any": parts}} if kind == "not" else {inner: parts}


def slug_of(name: str) -> str:
    """Return a name as an id: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:SLUG_ENDS].strip("-")
