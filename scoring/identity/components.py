"""Connected components: who is one because calls say so."""

from collections.abc import Iterable
from typing import Any


def joined(sets: Iterable[Iterable[Any]]) -> list[list[Any]]:
    """Join sets that share a member; return the joined sets, each sorted."""
    parent: dict[Any, Any] = {}

    def root(member: Any) -> Any:
        parent.setdefault(member, member)
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for members in sets:
        first: Any = None
        for member in members:
            first = root(member) if first is None else first
            parent[root(member)] = first
    together: dict[Any, list[Any]] = {}
    for member in parent:
        together.setdefault(root(member), []).append(member)
    return [sorted(members) for members in together.values()]
