"""The shape of a rule document as JSON Schema, for editors and other programs.

It says what a schema can say, and never refuses what the parser takes. What only the parser can see is in BEYOND.
"""

from scoring.language import cases
from scoring.language.document import COMPARATORS, LEVELS, LONGEST_STREAK, MEASURES, QUOTIENTS, TESTS
from scoring.language.parsing import (
    LEAVES,
    MOST_DAYS,
    MOST_LISTED,
    MOST_POINTS,
    MOST_RULES,
    MOST_SIGNALS,
    NUMBER_TESTS,
)

Schema = dict[str, object]

# What the parser refuses and the schema cannot: parts of the parser's own words.
BEYOND = (
    "unknown signal",  # what is named must be defined in the same document
    "unknown group",
    "unknown tier",
    "unknown rule",
    "`any` is built in",
    "it stands alone",  # the event *
    "needs a signal with a",
    "must be more than 0",  # a percentage
    "is taken by",  # ids and names are each used once
    "nested deeper than",
    "has too many digits",
    "at most two decimals",
    "must be two numbers, the lower one first",
    "must not be above `enter`",
    "needs a window",
    "needs `of`",
    "fades only what adds up",
    "is not needed beside `per`",
    "must be a day such as",
    "at `level: ",  # what means nothing there
    "must be text of 1 to",  # a NUL character
)


def json_schema() -> Schema:
    """Return the JSON Schema (2020-12) of a rule document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:pql:schema:rules",
        "title": "A PQL definition",
        **_object(
            {
                "slug": _ref("slug"),
                "name": _text(200),
                "motion": _ref("slug"),
                "level": {"enum": list(LEVELS)},
                "goal": _object({"outcome": _ref("texts"), "signal": _ref("signalName")}),
                "sign_up": _object({"trait": _text(), "signal": _ref("signalName")}),
                "signals": _named(_ref("signal"), most=MOST_SIGNALS),
                "population": {"anyOf": [{"type": "null"}, _ref("condition")]},
                "groups": _named(_ref("group")),
                "rules": _list(_ref("rule"), MOST_RULES),
                "tiers": _list(_ref("tier"), 20),
                "cases": _list(_ref("case"), cases.MOST_CASES),
            },
            needed=("slug", "name", "motion", "groups", "rules", "tiers"),
        ),
        "$defs": {
            "slug": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"},
            "signalName": {"type": "string"},
            "texts": {"anyOf": [_text(), _list(_text(), 200)]},
            "number": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?\d+(\.\d+)?%$"}]},
            "scalar": {"anyOf": [{"type": "number"}, {"type": "boolean"}, _text(1000)]},
            "days": _days(),
            "window": {"anyOf": [_days(), {"type": "null"}]},
            "points": _points(-float(MOST_POINTS)),
            "positivePoints": _points(0),
            "signal": _signal(),
            "condition": {"anyOf": [*_nests(), *(_leaf(word) for word in LEAVES)]},
            "group": _group(),
            "rule": {
                "anyOf": [
                    _points_rule(),
                    _verdict("disqualify", {"const": True}),
                    _verdict("qualify", {"type": "string"}),
                ]
            },
            "tier": _object(
                {"name": _ref("slug"), "pql": {"type": "boolean"}, "enter": _line(), "hold": _line()},
                needed=("name", "enter"),
            ),
            "case": _case(),
        },
    }


# ---- shapes ------------------------------------------------------------------------------------------------------


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _object(properties: Schema, *, needed: tuple[str, ...] = (), **more: object) -> Schema:
    required: Schema = {"required": list(needed)} if needed else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **required, **more}


def _named(value: Schema, most: int | None = None) -> Schema:
    """A mapping by names."""
    counted: Schema = {} if most is None else {"maxProperties": most}
    return {"type": "object", "propertyNames": _ref("slug"), "additionalProperties": value, **counted}


def _list(item: Schema, most: int) -> Schema:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most}


def _text(most: int = 256) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": most}


def _days(most: int = MOST_DAYS) -> Schema:
    return {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": most},
            {"type": "string", "pattern": r"^\d+ ?(d|days?)$"},
        ]
    }


def _points(least: float) -> Schema:
    return {"type": "number", "minimum": least, "maximum": float(MOST_POINTS)}


def _one_of(words: tuple[str, ...]) -> Schema:
    """Exactly one of the fields."""
    return {"oneOf": [{"required": [word]} for word in words]}


# ---- signals and conditions ------------------------------------------------------------------------------------


def _signal() -> Schema:
    event: Schema = {"event": _ref("texts"), "where": {"type": "array", "items": _test("property"), "maxItems": 20}}
    limits: list[Schema] = [
        _object({"property": _text()}, needed=("property",)),
        _object({"trait": _text(), "table": _table()}, needed=("trait",)),
    ]
    valued: Schema = {"value": _text(), "limit": {"anyOf": limits}}
    return _object({**event, **valued}, needed=("event",), dependentRequired={"limit": ["value"]})


def _table() -> Schema:
    return {"type": "object", "additionalProperties": _ref("number")}


def _test(subject: str) -> Schema:
    """One test of what is named by `subject`: a property or a trait."""
    operands: Schema = {
        "equals": _ref("scalar"),
        "contains": _ref("scalar"),
        "in": _list(_ref("scalar"), 1000),
        "between": {"type": "array", "items": _ref("number"), "minItems": 2, "maxItems": 2},
        "starts_with": _text(1000),
        "exists": {"type": "boolean"},
        **dict.fromkeys(sorted(NUMBER_TESTS), _ref("number")),
    }
    return _object({subject: _text(), **{test: operands[test] for test in TESTS}}, needed=(subject,)) | _one_of(TESTS)


def _nests() -> list[Schema]:
    several = _list(_ref("condition"), 50)
    parts = {"all": several, "any": several, "not": _ref("condition")}
    return [_object({word: part}, needed=(word,)) for word, part in parts.items()]


def _leaf(word: str) -> Schema:
    """The condition that is known by this word."""
    name = _ref("signalName")
    whole: Schema = {"type": "integer", "minimum": 0, "maximum": MOST_DAYS}
    window: Schema = {"within": _ref("window")}
    match word:
        case "ever":
            return _object({"ever": name}, needed=("ever",))
        case "since_last":
            return _compared({"since_last": name}, whole)
        case "age":
            return _compared({"age": {"enum": list(LEVELS)}}, whole)
        case "trait":
            return _test("trait")
        case "outcome":
            return _object({"outcome": _ref("texts")}, needed=("outcome",))
        case "first_within":
            return _object({word: name, "after_sign_up": _ref("days")}, needed=(word, "after_sign_up"))
        case "breadth":
            return _compared({word: _list(name, MOST_LISTED), **window}, _ref("number"))
        case "path":
            steps = {**_list(name, MOST_LISTED), "minItems": 2, "uniqueItems": True}
            return _object({word: steps, **window}, needed=(word,))
        case measure:
            return _measured(measure)


def _measured(measure: str) -> Schema:
    """The condition on a measure of one signal."""
    own: Schema = {"streak": _short(), "trend": _ref("days")}
    fields: Schema = {measure: _ref("signalName"), "within": own.get(measure, _ref("window"))}
    return _compared(fields, _ref("number"), needed=("within",) if measure == "trend" else ())


def _short() -> Schema:
    """The window of a streak."""
    return {"anyOf": [_days(LONGEST_STREAK), {"type": "null"}]}


def _compared(fields: Schema, threshold: Schema, needed: tuple[str, ...] = ()) -> Schema:
    """A condition with exactly one comparison; its word comes first among the fields."""
    words = (next(iter(fields)), *needed)
    return _object({**fields, **dict.fromkeys(COMPARATORS, threshold)}, needed=words) | _one_of(COMPARATORS)


# ---- rules, groups, tiers, cases -------------------------------------------------------------------------------


def _group() -> Schema:
    fields: Schema = {"score": {"enum": ["usage", "fit"]}, "cap": _ref("positivePoints")}
    return _object({**fields, "first_match": {"type": "boolean"}}, needed=("score",))


def _points_rule() -> Schema:
    fields: Schema = {
        "id": _ref("slug"),
        "name": _text(200),
        "group": {"type": "string"},
        "points": {"allOf": [_ref("points"), {"not": {"const": 0}}]},
        "per": _per(),
        "max": _points(0.01),
        "decay": _decay(),
        "when": _ref("condition"),
    }
    return _object(
        fields,
        needed=("id", "points", "group"),
        anyOf=[{"required": ["when"]}, {"required": ["per"]}],
        dependentRequired={"per": ["max"], "max": ["per"]},
    )


def _decay() -> Schema:
    shapes = ("half_life", "linear")
    return _object({**dict.fromkeys(shapes, _ref("days")), "of": _ref("signalName")}) | _one_of(shapes)


def _per() -> Schema:
    countable = tuple(measure for measure in MEASURES if measure not in QUOTIENTS)
    every: Schema = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": "%$"}]}
    fields: Schema = {**dict.fromkeys(countable, _ref("signalName")), "within": _ref("window"), "every": every}
    of_a_streak: Schema = {"if": {"required": ["streak"]}, "then": {"properties": {"within": _short()}}}
    return _object(fields) | of_a_streak | _one_of(countable)


def _verdict(word: str, value: Schema) -> Schema:
    fields: Schema = {"id": _ref("slug"), "name": _text(200), word: value, "when": _ref("condition")}
    return _object(fields, needed=("id", word, "when"))


def _line() -> Schema:
    return _object({"usage": _ref("positivePoints"), "fit": _ref("positivePoints")})


def _case() -> Schema:
    ids = _list({"type": "string"}, 300)
    expect: Schema = {
        "tier": {"type": "string"},
        "status": {"enum": list(cases.STATUSES)},
        "usage": _ref("positivePoints"),
        "fit": _ref("positivePoints"),
        "met": ids,
        "not_met": ids,
    }
    history: Schema = {"type": "array", "items": {"anyOf": _deeds()}, "maxItems": cases.MOST_DEEDS}
    fields: Schema = {
        "name": _text(200),
        "on": {"type": "string", "format": "date"},
        "user": _text(),
        "history": history,
        "expect": {**_object(expect), "minProperties": 1},
    }
    return _object(fields, needed=("name", "on", "expect"))


def _deeds() -> list[Schema]:
    ago: Schema = {"days_ago": {"type": "integer", "minimum": 0, "maximum": cases.MOST_DAYS_AGO}}
    event: Schema = {
        "event": _text(),
        "user": _text(),
        "times": {"type": "integer", "minimum": 1, "maximum": cases.MOST_TIMES},
        "properties": {"type": "object"},
    }
    return [
        _object({**event, **ago}, needed=("event",)),
        _object({"traits": {"type": "object"}, "user": _text(), **ago}, needed=("traits",)),
        _object({"outcome": _text(), **ago}, needed=("outcome",)),
    ]
