"""What buttons do with a sheet: add, take away, move, nest; and what is settled before a sheet is shown again. Pure."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pqlapp.desk.editor import writing
from pqlapp.desk.editor.kinds import COMPARATORS, NEST_WORDS, Cells
from pqlapp.desk.editor.sheet import EVENT, slug_of

MOST_FIELDS = 10_000  # of one form; see settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
ANY_SIGNAL = "any"
LINE = {"usage": "", "fit": ""}


class NoSuchAct(Exception):
    """The form asks for what cannot be done with it."""


# ---- cells as the fields of a form


def fields_of(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, value) of every cell: `rules.0.when.kind`."""
    if isinstance(value, Mapping):
        parts: Iterator[tuple[Any, Any]] = iter(value.items())
    elif isinstance(value, list):
        parts = iter(enumerate(value))
    else:
        yield name, value
        return
    for key, inner in parts:
        yield from fields_of(inner, f"{name}.{key}" if name else str(key))


def sheet_from(fields: Mapping[str, str]) -> Cells:
    """Return the sheet of a form's fields; places in a list may have gaps. Raises NoSuchAct."""
    tree: dict[str, Any] = {}
    if len(fields) > MOST_FIELDS:
        raise NoSuchAct(f"the form has {len(fields)} fields; at most {MOST_FIELDS:,} are read: use the YAML")
    for name, value in fields.items():
        *way, last = name.split(".")
        node = tree
        for step in way:
            inner = node.setdefault(step, {})
            if not isinstance(inner, dict):
                raise NoSuchAct(f"{name}: a cell cannot have cells")
            node = inner
        node[last] = value
    sheet: Cells = _with_lists(tree)
    return sheet


LISTS = frozenset({"signals", "where", "groups", "rules", "tiers", "of"})


def _with_lists(tree: dict[str, Any], name: str = "") -> Any:
    if name in LISTS and all(key.isdecimal() for key in tree):
        return [_with_lists(tree[key]) for key in sorted(tree, key=int) if isinstance(tree[key], dict)]
    return {key: _with_lists(inner, key) if isinstance(inner, dict) else inner for key, inner in tree.items()}


# ---- what is new


def new_condition(signal: str = "") -> Cells:
    """Return a condition to begin with."""
    return {"kind": "count", "signal": signal, "comparator": COMPARATORS[0], "threshold": "1", "within": "14"}


def _new_rule(sheet: Cells, gives: str) -> Cells:
    groups, tiers = sheet.get("groups", []), sheet.get("tiers", [])
    rule: Cells = {"id": "", "name": "", "gives": gives, "more": ""}
    if gives == "qualify":
        return rule | {"tier": tiers[0]["name"] if tiers else "", "when": new_condition()}
    if gives == "disqualify":
        return rule | {"when": new_condition()}
    return rule | {"points": "10", "group": groups[0]["name"] if groups else "", "when": new_condition()}


def _new_per(rule: Cells) -> Cells:
    return {"kind": "count", "signal": "", "within": "14", "every": "1", "max": "50", "more": ""}


def _new(sheet: Cells, where: str, what: str) -> Cells:
    """Return the row that is added to a list."""
    match where.rpartition(".")[2]:
        case "rules":
            return _new_rule(sheet, what or "points")
        case "signals":
            return {"name": "", "was": "", "events": "", "where": [], "value": "", "limit": {"by": ""}, "more": ""}
        case "groups":
            return {"name": "", "was": "", "score": what or "usage", "cap": "", "more": ""}
        case "tiers":
            return {"name": "", "was": "", "pql": "no", "enter": dict(LINE), "hold": dict(LINE), "more": ""}
        case "where":
            return {"property": "", "test": "equals", "operand": ""}
        case "of":
            return new_condition()
    raise NoSuchAct(f"nothing is added to {where}")


# ---- what is done


def do(sheet: Cells, act: str) -> tuple[Cells, str]:
    """Return the sheet after an act, such as `up rules.3`, with the name of the row or cell to go on at.

    Raises NoSuchAct for what cannot be.
    """
    verb, _, rest = act.partition(" ")
    where, _, what = rest.partition(" ")
    sheet = copy.deepcopy(sheet)
    if verb not in ACTS:
        raise NoSuchAct(f"{verb} is nothing that can be done here")
    try:
        return sheet, ACTS[verb](sheet, where, what)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):
        raise NoSuchAct(f"{act}: there is no such row any more") from None


def _at(sheet: Cells, where: str) -> Any:
    node: Any = sheet
    for step in where.split("."):
        node = node[int(step)] if isinstance(node, list) else node[step]
    return node


def _around(sheet: Cells, where: str) -> tuple[Any, str]:
    """The list or row that holds the place, and the last step to it."""
    around, _, last = where.rpartition(".")
    return (_at(sheet, around) if around else sheet), last


def _add(sheet: Cells, where: str, what: str) -> str:
    holder, last = _around(sheet, where)
    if last in LISTS:
        rows = holder.setdefault(last, [])
        rows.append(_new(sheet, where, what))
        return f"{where}.{len(rows) - 1}"
    if last not in ("population", "when", "per"):
        raise NoSuchAct(f"nothing is added to {where}")
    holder[last] = _new_per(holder) if last == "per" else new_condition()
    return where


def _remove(sheet: Cells, where: str, what: str) -> str:
    holder, last = _around(sheet, where)
    around = where.rpartition(".")[0]
    if isinstance(holder, list):
        del holder[int(last)]
        return f"{around}.{min(int(last), len(holder) - 1)}" if holder else around
    if last not in ("population", "when", "per"):
        raise NoSuchAct(f"{where} stays")
    del holder[last]
    return around or f"{last}-section"


def _move(by: int) -> Callable[[Cells, str, str], str]:
    def move(sheet: Cells, where: str, what: str) -> str:
        rows, last = _around(sheet, where)
        place = min(max(int(last) + by, 0), len(rows) - 1)
        rows.insert(place, rows.pop(int(last)))
        return f"{where.rpartition('.')[0]}.{place}"

    return move


def _nest(sheet: Cells, where: str, what: str) -> str:
    """Put a condition among others: all, any or none of them."""
    holder, last = _around(sheet, where)
    key: Any = int(last) if isinstance(holder, list) else last
    if what not in NEST_WORDS or "kind" not in holder[key]:
        raise NoSuchAct(f"{what} holds no such thing")
    holder[key] = {"kind": what, "of": [holder[key], *([] if what == "not" else [new_condition()])]}
    return f"{where}.of.{len(holder[key]['of']) - 1}"


def _flatten(sheet: Cells, where: str, what: str) -> str:
    """Take the first of nested conditions out again, in the place of all of them."""
    holder, last = _around(sheet, where)
    key: Any = int(last) if isinstance(holder, list) else last
    holder[key] = holder[key]["of"][0]
    return where


ACTS: dict[str, Callable[[Cells, str, str], str]] = {
    "add": _add,
    "remove": _remove,
    "up": _move(-1),
    "down": _move(1),
    "nest": _nest,
    "flatten": _flatten,
}


# ---- what is settled before the sheet is read or shown again


def settled(sheet: Cells) -> Cells:
    """Return the sheet with renames carried to where the names are used, and signals made of chosen events."""
    sheet = copy.deepcopy(sheet)
    for rows, key in (("signals", "signal"), ("groups", "group"), ("tiers", "tier")):
        renamed = _renamed(sheet.get(rows, []))
        for holder in _holders(sheet, key):
            holder[key] = renamed.get(holder[key], holder[key])
        for holder in _holders(sheet, "signals") if key == "signal" else ():
            names = writing.read_list(holder["signals"], texts=True)
            holder["signals"] = writing.written_list([renamed.get(name, name) for name in names], texts=True)
    for holder in _holders(sheet, "signal"):
        if holder["signal"].startswith(EVENT):
            holder["signal"] = _signal_of(sheet, holder["signal"].removeprefix(EVENT))
    return sheet


def _renamed(rows: list[Cells]) -> dict[str, str]:
    """Return the new name by the old one, and let the new one be the old one from now on."""
    renamed = {row["was"]: row["name"].strip() for row in rows if row.get("was") and row.get("name", "").strip()}
    for row in rows:
        row["was"] = row.get("name", "").strip()
    return renamed


def _holders(node: Any, key: str) -> Iterator[Cells]:
    """Yield every row that has the cell."""
    if isinstance(node, dict):
        if isinstance(node.get(key), str):
            yield node
        for inner in node.values():
            yield from _holders(inner, key)
    elif isinstance(node, list):
        for inner in node:
            yield from _holders(inner, key)


def _signal_of(sheet: Cells, event: str) -> str:
    """Return the name of the signal that is just this event, which is made if there is none."""
    written = writing.written_list([event], texts=True)
    signals = sheet.setdefault("signals", [])
    for signal in signals:
        is_plain = not signal.get("where") and not signal.get("value") and not signal.get("more")
        if signal.get("events") == written and is_plain:
            return str(signal["name"])
    taken = {signal["name"] for signal in signals} | {ANY_SIGNAL}
    stem = slug_of(event) or "signal"
    name = next(name for n in range(len(taken) + 2) if (name := f"{stem}-{n + 1}" if n else stem) not in taken)
    signals.append({**_new(sheet, "signals", ""), "name": name, "was": name, "events": written})
    return name
