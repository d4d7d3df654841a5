"""YAML text to plain data with the line of every value, refusing what a rule document has no use for."""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

import yaml

Path = tuple[str | int, ...]
MOST_CHARACTERS = 200_000
MOST_DEPTH = 32
NUMBER = re.compile(r"^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d{1,2})?$")


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
    """Plain data (dict, list, str, bool, int, Decimal, None) with the line on which each path starts."""

    data: object
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int | None:
        """Return the line of the path, or of the nearest path around it that has one."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


class _Loader(yaml.SafeLoader):
    """YAML with JSON's scalars only: no dates, no octal, and `yes`, `on` and `no` are words."""

    yaml_implicit_resolvers = {}


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("bool", r"^(?:true|false)$", "tf")
_resolve("null", r"^(?:null|~|)$", "n~\0")
_resolve("int", r"^-?(?:0|[1-9]\d*)$", "-0123456789")
_resolve("float", NUMBER.pattern, "-0123456789")
_Loader.yaml_implicit_resolvers[""] = [_Loader.yaml_implicit_resolvers["~"][0]]


def read(text: str) -> Text:
    """Return the text as plain data with its lines.

    Raises Invalid where it is not YAML, too long, nested too deep, has aliases, or a mapping repeats a key.
    """
    if len(text) > MOST_CHARACTERS:
        raise Invalid([Fault("", f"a rule document has at most {MOST_CHARACTERS:,} characters")])
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise Invalid([Fault("", "aliases (*name) are not allowed; write the value out")])
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid([_syntax_fault(error)]) from None
    if root is None:
        raise Invalid([Fault("", "the document is empty")])
    reader = _Reader()
    data = reader.value(root, ())
    if reader.faults:
        raise Invalid(reader.faults)
    return Text(data, reader.lines)


def _syntax_fault(error: Exception) -> Fault:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or ("nested too deep" if isinstance(error, RecursionError) else error)
    return Fault("", f"not valid YAML: {problem}", mark.line + 1 if mark else None)


class _Reader:
    """Turns nodes into values, and remembers lines and faults on the way."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []

    def value(self, node: yaml.Node, path: Path) -> object:
        self.lines[path] = node.start_mark.line + 1
        if len(path) > MOST_DEPTH:
            self.fault(path, f"nested deeper than {MOST_DEPTH} levels")
            return None
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
