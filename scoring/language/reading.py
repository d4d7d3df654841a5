"""YAML text to plain data with the line of every value, refusing what a rule document has no use for."""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

import yaml

Path = tuple[str | int, ...]
MOST_CHARACTERS = 200_000
MOST_DEPTH = 32
NUMBER = re.compile(r"^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d{1,2})?$")
MOST_VALUES = 20_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a document, and where: a path such as `rules[2].when.within`."""

    path: str
    message: str
    line: int | None = None  # from 1; None where the document was not read from text

    def __str__(self) -> str:
        where = self.path or "document"
        return f"line {self.line}, {where}: {self.message}" if self.line else f"{where}: {self.message}"


class Invalid(Exception):
    """The document is not valid; `faults` lists everything that is wrong with it, in order of the text."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


@dataclass(slots=True)
class Text:
    """Plain data (dict, list, str, bool, int, Decimal, None) with the line on which each path starts.

    `faults` are those of the text itself; what else is wrong with the document is told together with them.
    """

    data: object
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """Return the line of the path, or of the nearest path around it that has one."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


class _Refused(Exception):
    """The text asks for more than a document needs; it is not read to its end."""

    def __init__(self, message: str, mark: yaml.Mark) -> None:
        super().__init__(message)
        self.fault = Fault("", message, mark.line + 1)


class _Loader(yaml.SafeLoader):
    """YAML with JSON's scalars only: no dates, no octal, and `yes`, `on` and `no` are words.

    It stops at the first alias, at a value too deep and at one too many, before anything is built of them.
    """

    yaml_implicit_resolvers = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        mark = event.start_mark
        self.depth, self.values = self.depth + 1, self.values + 1
        if isinstance(event, yaml.AliasEvent):
            raise _Refused("aliases (*name) are not allowed; write the value out", mark)
        if self.depth > MOST_DEPTH:
            raise _Refused(f"nested deeper than {MOST_DEPTH} levels", mark)
        if self.values > MOST_VALUES:
            raise _Refused(f"a rule document has at most {MOST_VALUES:,} values", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("bool", r"^(?:true|false)$", "tf")
_resolve("null", r"^(?:null|~|)$", "n~\0")
_resolve("int", r"^-?(?:0|[1-9]\d*)$", "-0123456789")
_resolve("float", NUMBER.pattern, "-0123456789")
_Loader.yaml_implicit_resolvers[""] = [_Loader.yaml_implicit_resolvers["~"][0]]


def read(text: str) -> Text:
    """Return the text as plain data with its lines.

    Raises Invalid where it is not YAML, too long, nested too deep, or has aliases: then nothing more can be said of it.
    """
    if len(text) > MOST_CHARACTERS:
        raise Invalid([Fault("", f"a rule document has at most {MOST_CHARACTERS:,} characters, not {len(text):,}")])
    try:
        root = yaml.compose(text, Loader=_Loader)
    except _Refused as refused:
        raise Invalid([refused.fault]) from None
    except yaml.YAMLError as error:
        raise Invalid([_syntax_fault(error)]) from None
    if root is None:
        raise Invalid([Fault("", "the document is empty")])
    reader = _Reader()
    return Text(reader.value(root, ()), reader.lines, reader.faults)


def _syntax_fault(error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or error
    return Fault("", f"not valid YAML: {problem}", mark.line + 1 if mark else None)


class _Reader:
    """Turns nodes into values, and remembers lines and faults on the way."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []

    def value(self, node: yaml.Node, path: Path) -> object:
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self.scalar(cast(yaml.ScalarNode, node), path)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str):
                self.fault(path, "a field's name must be plain text")
                continue
            if key in found:
                self.fault((*path, key), "is given twice", key_node.start_mark.line + 1)
            found[key] = self.value(value_node, (*path, key))
        return found

    def scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag == "str":
            return node.value
        if tag == "bool":
            return node.value == "true"
        if tag == "null":
            return None
        if tag in ("int", "float"):
            return Decimal(node.value)
        self.fault(path, f"the tag {node.tag} is not allowed")
        return None

    def fault(self, path: Path, message: str, line: int | None = None) -> None:
        self.faults.append(Fault(dotted(path), message, line or self.lines.get(path)))


def dotted(path: Path) -> str:
    """Return a path as people write it: `rules[2].when.within`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """Return what was given in the words of a fault."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return repr(value) if isinstance(value, str) else str(value).lower()


def near(word: object, known: Collection[str]) -> str:
    """Return a guess at what was meant; empty without one."""
    if not isinstance(word, str) or word in known:
        return ""
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(what: str, value: object, known: Collection[str]) -> str:
    """Return what is said of a name that nothing is known by."""
    listed = ", ".join(sorted(known)) or "none is defined"
    return f"unknown {what} {shown(value)}{near(value, known) or f'; known: {listed}'}"
