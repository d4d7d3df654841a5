"""The laws of the house: what may import what, who may read the clock, who may write a table.

A law is one test, which tells every place that breaks it.
"""

import ast
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent
STOREYS = ("scoring", "routing", "pqlapp")

# Imports run only downward; rooms on one floor do not know each other. A room may know itself.
FLOORS: list[tuple[str, ...]] = [
    ("scoring.models", "scoring.language", "scoring.statistics"),
    (
        "scoring.compiler",
        "scoring.identity",
        "scoring.handoffs",
        "scoring.explain",
        "scoring.ledger",
        "scoring.jobs",
    ),
    ("scoring.tiles", "scoring.engine", "scoring.imports", "scoring.reaching"),
    ("scoring.facts", "scoring.rules", "scoring.previews", "scoring.bulk"),
    ("scoring.scores", "scoring.backtest", "scoring.trials", "scoring.discovery"),
    ("routing.models", "routing.hours", "routing.calendars", "routing.routes"),
    (
        "routing.rotation",
        "routing.eligibility",
        "routing.handling",
        "routing.roster",
        "routing.roles",
        "routing.outbox",
        "routing.carriers",
    ),
    ("routing.decision",),
    ("routing.seats",),
    (
        "routing.leads",
        "routing.queue",
        "routing.rota",
        "routing.forecast",
        "routing.simulator",
        "routing.audit",
        "routing.delivery",
        "routing.enrichment",
        "routing.prompts",
    ),
    ("routing.people", "routing.attendance", "routing.ruling", "scoring.backstage"),
    ("scoring.tasks", "scoring.admin", "routing.tasks", "routing.admin"),
    ("pqlapp.ringer",),
    ("pqlapp.bell", "pqlapp.parser", "pqlapp.spreadsheet"),
    (
        "pqlapp.ingest",
        "pqlapp.api",
        "pqlapp.desk",
        "pqlapp.demo",
        "pqlapp.health",
        "pqlapp.schemas",
        "pqlapp.templatetags",
    ),
    ("pqlapp.urls", "pqlapp.management"),
]
# These stand beside the house: they start it, or guard its doors, and know nothing of what happens inside.
BESIDE = (
    "scoring.apps",
    "routing.apps",
    "pqlapp.apps",
    "pqlapp.settings",
    "pqlapp.celery",
    "pqlapp.beat",
    "pqlapp.wsgi",
    "pqlapp.local",
    "pqlapp.embedded",
    "pqlapp.processes",
    "pqlapp.supervisor",
    "pqlapp.csp",
    "pqlapp.deny",
    "pqlapp.straight",
    "pqlapp.unfold",
)
PURE = (
    "scoring.language",
    "scoring.compiler",
    "scoring.explain",
    "scoring.ledger",
    "scoring.statistics",
    "routing.rotation",
    "routing.eligibility",
    "routing.decision",
    "routing.hours",
    "routing.calendars",
    "routing.routes",
)
MAY_READ_THE_CLOCK = ("pqlapp", "scoring.tasks", "routing.tasks", "scoring.admin", "routing.admin")
DOORS = (
    "pqlapp.ingest",
    "pqlapp.api",
    "pqlapp.desk",
    "pqlapp.demo",
    "pqlapp.management",
    "pqlapp.health",
    "pqlapp.schemas",
)
CLOCKS = {("timezone", "now"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
WRITES = {"create", "bulk_create", "get_or_create", "update_or_create", "bulk_update", "update", "delete", "save"}


def modules() -> Iterator[tuple[str, Path]]:
    for storey in STOREYS:
        for path in sorted((ROOT / storey).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            if "migrations" not in parts and name not in STOREYS:
                yield name, path


MODULES = dict(modules())
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def is_in(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def room_of(module: str) -> tuple[int, str] | None:
    """Return (floor, room) of a module; None for what stands beside the house or outside."""
    for number, rooms in enumerate(FLOORS):
        for room in rooms:
            if is_in(module, (room,)):
                return number, room
    return None


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Yield (imported module of ours, line)."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in inner]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.split(".")[0] in STOREYS)


def law(*rooms: str, but: tuple[str, ...] = ()) -> Callable[[Callable[[str], Iterator[str]]], Callable[[], None]]:
    """Make a test of what yields the faults of a module: of all in these rooms, or in the whole house but for some."""
    modules = [module for module in MODULES if (not rooms or is_in(module, rooms)) and not is_in(module, but)]

    def of(faults: Callable[[str], Iterator[str]]) -> Callable[[], None]:
        def test() -> None:
            assert modules
            assert [fault for module in modules for fault in faults(module)] == []

        return test

    return of


@law()
def test_every_room_has_a_floor(module: str) -> Iterator[str]:
    if not (room_of(module) or is_in(module, BESIDE)):
        yield f"give {module} a floor in this test and in docs/architecture.md"


@law()
def test_imports_run_downward(module: str) -> Iterator[str]:
    here = room_of(module)
    for imported, line in imports(module):
        there = room_of(imported)
        if here and there and there[0] >= here[0] and there[1] != here[1]:
            yield f"{module}:{line} imports {imported} from its own floor or above"


@law(*PURE)
def test_pure_rooms_know_neither_django_nor_a_database(module: str) -> Iterator[str]:
    for node in ast.walk(TREES[module]):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            outside = name.split(".")[0] in ("django", "psycopg", "redis", "celery", "time")
            if outside or is_in(name, ("scoring.models", "routing.models")):
                yield f"{module} imports {name}"


@law(but=MAY_READ_THE_CLOCK)
def test_time_is_an_argument(module: str) -> Iterator[str]:
    for node in ast.walk(TREES[module]):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            continue
        if (node.value.id, node.attr) in CLOCKS:
            yield f"{module}:{node.lineno} reads the clock"


@law(*DOORS)
def test_doors_write_through_verbs(module: str) -> Iterator[str]:
    for node in ast.walk(TREES[module]):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES):
            continue
        if ".objects" in ast.unparse(node.func.value):
            yield f"{module}:{node.lineno} writes a row itself: {ast.unparse(node)}"


@law()
def test_a_room_is_named_by_what_it_is_for(module: str) -> Iterator[str]:
    if module.endswith((".utils", ".helpers", ".common", ".core", ".services")):
        yield module


@law()
def test_nothing_is_imported_inside_a_function(module: str) -> Iterator[str]:
    for node in ast.walk(TREES[module]):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node)):
            yield f"{module}:{node.lineno} imports inside a function"


@law()
def test_nothing_receives_signals(module: str) -> Iterator[str]:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and node.module in ("django.dispatch", "django.db.models.signals"):
            yield module


@law("scoring.models", "routing.models")
def test_models_override_neither_save_nor_delete(module: str) -> Iterator[str]:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ClassDef):
            own = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
            yield from (f"{module}: {node.name} overrides {name}" for name in own & {"save", "delete"})


@law()
def test_modules_say_what_they_are_for(module: str) -> Iterator[str]:
    if not ast.get_docstring(TREES[module]):
        yield f"{module} has no docstring"


@law()
def test_no_giant_files_or_functions(module: str) -> Iterator[str]:
    if len(MODULES[module].read_text().splitlines()) > 700:
        yield f"{module} is too long: split it"
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
            yield f"{module}:{node.lineno} {node.name} is too long"


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    out = StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)
    assert "No changes" in out.getvalue()
