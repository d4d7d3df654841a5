"""From the ledger to words that an AE reads in a second. Pure: the day is given, nothing is looked up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from scoring.language import ANY_SIGNAL, FULL, QUOTIENTS, Decay, Document, Signal, weight_at, weights

Plain = Mapping[str, Any]
Reason = tuple[str, str]  # what was done, and over which days: "invited 4 teammates", " in 6 days"

LONGEST = 160  # characters of a why-now sentence
MOST_REASONS = 3
MOST_FACTS = 3
SIGNS = {"at_least": "≥", "at_most": "≤", "more_than": ">", "less_than": "<", "equals": "="}
UNSEEN = {
    "trend": "none before",
    "trait": "not known",
    "age": "not known",
    "ratio": "no value",
    "ever": "never",
    "first_within": "never",
    "outcome": "never",
}
TESTS = {"in": "one of", "contains": "contains", "starts_with": "starts with", "equals": "is"}
# Past tenses that do not end in -ed; a signal or a rule that starts or ends with one is told as a deed.
IRREGULAR = frozenset(
    {"began", "bought", "built", "came", "got", "hit", "left", "made", "met", "paid", "ran", "read", "saw"}
) | {
    "seen",
    "sent",
    "set",
    "took",
    "won",
    "wrote",
}
# Of these a number of times is told, of all other deeds a number of things.
DONE_TIMES = frozenset({"checked", "clicked", "hit", "logged", "opened", "reached", "searched", "seen", "signed"}) | {
    "looked",
    "started",
    "used",
    "viewed",
    "visited",
}
PARTICLES = frozenset({"in", "out", "on", "off", "up", "down", "over"})
PREPOSITIONS = PARTICLES | {"at", "for", "to", "with", "the", "a"}
VIEWS = frozenset({"$page", "$screen"})
# What a signal of a limit is called besides the thing that is limited.
ABOUT_LIMITS = frozenset({"used", "usage", "use", "limit", "reached", "near", "changed", "updated", "quota", "total"})
COUNTS_PEOPLE = frozenset({"employees", "employee_count", "headcount", "size", "company_size", "team_size", "seats"})
SPEAKS_FOR_ITSELF = frozenset({"industry", "sector", "vertical", "country", "region", "city"})
BYTES = {"bytes": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
PERCENT = frozenset({"pct", "percent", "percentage"})


@dataclass(frozen=True, slots=True)
class LineWords:
    """A line of the ledger as two cells of a table."""

    observed: str  # "4, last on 21 Nov"
    threshold: str  # "≥ 3 in 14 days"


@dataclass(frozen=True, slots=True)
class Way:
    """A rule that is not met, and what it would take."""

    name: str
    missing: str
    score: str  # usage or fit
    worth: int  # hundredths that would count, the group's cap considered


# ---- the sentences


def why_now(ledger: Plain, *, as_of: date, signals: Mapping[str, Signal] | None = None) -> str:
    """Return in one sentence, at most LONGEST characters, what qualifies the account: deeds; then facts of fit.

    Days are told as seen from `as_of`, which may be later than the day of the ledger.
    With the document's signals, a deed is told by the name of its event, which says more than that of its signal.
    """
    met = [line for line in ledger["lines"] if line["met"] and line["kind"] != "floor"]
    if barred := [line["name"] for line in met if line["kind"] == "disqualify"]:
        return _fitting([(f"Disqualified: {barred[0]}", "")], [])
    raised = [line for line in met if line["kind"] == "qualify"]
    deeds = raised + _weightiest(met, "usage")
    facts = [fact for line in _weightiest(met, "fit") for fact in _facts(line, as_of)]
    reasons = list(dict.fromkeys(_reason(line, as_of, signals or {}) for line in deeds[:MOST_REASONS]))
    return _fitting(reasons, list(dict.fromkeys(facts))[:MOST_FACTS])


def change_words(*, before: Plain, after: Plain, from_tier: str, to_tier: str) -> str:
    """Return what differs between two ledgers: "“Invites” lapses: usage 72 → 52, tier hot → none"; empty if nothing."""
    was = {line["rule"]: line for line in before["lines"] if line["rule"]}
    now = {line["rule"]: line for line in after["lines"] if line["rule"]}
    lapsed = [f"“{was[r]['name']}”" for r in was if was[r]["met"] and not now.get(r, {}).get("met")]
    gained = [f"“{now[r]['name']}”" for r in now if now[r]["met"] and not was.get(r, {}).get("met")]
    causes = []
    if lapsed:
        causes.append(f"{listed(lapsed)} {'lapses' if len(lapsed) == 1 else 'lapse'}")
    if gained:
        causes.append(f"{listed(gained)} {'is' if len(gained) == 1 else 'are'} met")
    causes += [_shifted(was[r], now[r]) for r in was if r in now and was[r]["met"] and now[r]["met"]]
    effects = [
        f"{score} {points(before[score])} → {points(after[score])}"
        for score in ("usage", "fit")
        if before[score] != after[score]
    ]
    if from_tier != to_tier:
        effects.append(f"tier {from_tier or 'none'} → {to_tier or 'none'}")
    return ": ".join(part for part in ("; ".join(filter(None, causes)), ", ".join(effects)) if part)


def _shifted(was: Plain, now: Plain) -> str:
    """Return how the points of a rule that stays met changed; empty if they did not."""
    if was["points"] != now["points"]:
        return f"“{now['name']}” gives {points(now['points'])} instead of {points(was['points'])}"
    if was["raw"] != now["raw"]:
        return f"“{now['name']}” would give {points(now['raw'])} instead of {points(was['raw'])}, above its cap"
    return ""


def line_words(line: Plain, *, as_of: date) -> LineWords:
    """Return what a rule saw and what it asks for, in the words of a table's cells."""
    if line["kind"] == "floor":
        return LineWords("", "never below 0")
    seen = [_observed(c, as_of) for c in line["conditions"]]
    asked = [_asked(c) for c in line["conditions"]]
    several = len(seen) > 1
    names = [f"{_subject(c)}: " if several else "" for c in line["conditions"]]
    return LineWords(
        "; ".join(name + words for name, words in zip(names, seen, strict=True)),
        "; ".join(name + words for name, words in zip(names, asked, strict=True)),
    )


def ways_up(ledger: Plain, *, document: Document, as_of: date) -> list[Way]:
    """Return the rules that would add points if they were met, the nearest first, each with what is missing."""
    room, places = _room(ledger, document), {rule.id: i for i, rule in enumerate(document.rules)}
    paying = _paying(ledger, document)
    unmet = [line for line in ledger["lines"] if line["kind"] == "points" and not line["met"] and line["worth"] > 0]
    ways = []
    for line in unmet:
        worth = min(line["worth"], room.get(line["group"], line["worth"]))
        if (pays := paying.get(line["group"])) is not None:
            # It would count instead of the rule that counts now, if it stands before it.
            worth = worth - pays["points"] if places[line["rule"]] < places[pays["rule"]] else 0
        lacking = [c for c in line["conditions"] if not _holds(c, as_of)]
        # What is known of a company does not change by use of the product; what is not known may be found out.
        fixed = any(c["measure"] in ("trait", "age") and c["observed"] is not None for c in lacking)
        if worth > 0 and lacking and not fixed:
            missing = " and ".join(_missing(c, as_of) for c in lacking)
            ways.append((sum(_gap(c) for c in lacking), Way(line["name"], missing, line["score"], worth)))
    return [way for _, way in sorted(ways, key=lambda pair: (pair[0], -pair[1].worth))]


def blind_spots(ledger: Plain, *, known_from: Mapping[str, date], as_of: date) -> list[str]:
    """Return a sentence for each signal that the ledger asks for days of which not all is known.

    `known_from` has the first day of which all is known, by signal; signals that are known for ever are left out.
    """
    asked = [c for line in ledger["lines"] for c in line.get("conditions", ())]
    read = {(signal, _first_asked(c, as_of)) for c in asked for signal in c.get("signals", [c["of"]])}
    blind = {signal for signal, first in read if signal in known_from and first < known_from[signal]}
    return [
        f"{'Activity' if of == ANY_SIGNAL else f'“{spoken(of)}”'} is known only since {day(known_from[of], as_of)}: "
        "what came before it does not count here."
        for of in sorted(blind)
    ]


def _first_asked(condition: Plain, as_of: date) -> date:
    """Return the first day of the condition's window; of what asks for all days, the first of all."""
    within = condition.get("within")
    if condition["measure"] == "decay":
        within = weights(Decay(**condition["decay"]))[-1][0]
    if within and condition["measure"] == "trend":
        within *= 2  # with the window before
    return as_of - timedelta(days=within - 1) if within else date.min


def _fitting(reasons: list[Reason], facts: list[str]) -> str:
    """Join reasons and facts; what makes the sentence too long is left out from the end, facts first."""
    while True:
        deeds = _told_together(reasons)
        sentence = "; ".join(part for part in (deeds, ", ".join(facts)) if part) or "No rule is met"
        if len(sentence) <= LONGEST or (len(reasons) <= 1 and not facts):
            break
        (facts or reasons).pop()
    sentence = sentence if len(sentence) <= LONGEST else sentence[: LONGEST - 1].rstrip() + "…"
    return sentence[0].upper() + sentence[1:]


def _told_together(reasons: Sequence[Reason]) -> str:
    """Join reasons; the days that all of them share are said once, at the end."""
    spans = {span for _, span in reasons}
    if len(spans) == 1:
        return listed([what for what, _ in reasons]) + spans.pop()
    return listed([what + span for what, span in reasons])


def _weightiest(met: Iterable[Plain], score: str) -> list[Plain]:
    gains = [line for line in met if line["score"] == score and line["points"] > 0]
    return sorted(gains, key=lambda line: -int(line["points"]))


def _room(ledger: Plain, document: Document) -> dict[str, int]:
    """Return by group how many hundredths its cap still lets in; groups without a cap are left out."""
    gained: dict[str, int] = {}
    for line in ledger["lines"]:
        if line["kind"] == "points" and line["points"] > 0:
            gained[line["group"]] = gained.get(line["group"], 0) + line["points"]
    of_one = {g.name for g in document.groups if g.first_match}
    caps = {g.name: g.cap for g in document.groups if g.cap is not None}
    return {name: cap - (0 if name in of_one else gained.get(name, 0)) for name, cap in caps.items()}


def _paying(ledger: Plain, document: Document) -> dict[str, Plain]:
    """Return by group the line that counts where only the first match does; groups without a met rule are left out."""
    of_one = {group.name for group in document.groups if group.first_match}
    met = [line for line in ledger["lines"] if line["kind"] == "points" and line["met"] and line["group"] in of_one]
    return {line["group"]: line for line in reversed(met)}


# ---- one rule in words


def _reason(line: Plain, as_of: date, signals: Mapping[str, Signal]) -> Reason:
    deeds = [c for c in _spoken_for(line, as_of) if c["measure"] not in ("trait", "age", "outcome", "decay")]
    if not deeds or line["kind"] == "qualify":
        return _small(line["name"]), _span(deeds[0], as_of) if deeds else ""
    first = deeds[0]
    named = _deed(line["name"].lower().split()) if len(deeds) == 1 and not _has_digit(line["name"]) else None
    phrase = _phrase(first, named or _deed_of(first["of"], signals.get(first["of"])))
    if phrase is None:
        return f"{_small(line['name'])} ({_quantity(first)}{_span(first, as_of)})", ""
    return phrase, _span(first, as_of)


def _spoken_for(line: Plain, as_of: date) -> list[Plain]:
    """Return the conditions of a met rule that are worth telling: what was seen, and makes it met."""
    told = [c for c in line["conditions"] if not c["negated"] and c["observed"] is not None]
    # The rule was met on the day of the ledger, which may be long past: a number of days may not tell any more.
    return [c for c in told if c["measure"] in ("age", "since_last") or _holds(c, as_of)]


def _deed_of(name: str, signal: Signal | None) -> tuple[str, str] | None:
    """Return the deed that a signal's event or name tells, if it tells one."""
    own = _deed(tokens(name))
    if signal is None or len(signal.events) != 1:
        return _with_article(own)
    if signal.events[0] in VIEWS:
        return own or ("viewed", spoken(name))
    # With filters, the event is more than what the signal is about.
    return _with_article(own if signal.where else _deed(tokens(signal.events[0])) or own)


def _with_article(deed: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return "hit the board limit" for "hit board limit": it is told how often, so the thing is one."""
    if deed is None or deed[0] not in DONE_TIMES or not deed[1] or deed[1].split()[0] in PREPOSITIONS:
        return deed
    return deed[0], f"the {deed[1]}"


def _phrase(condition: Plain, deed: tuple[str, str] | None) -> str | None:
    """Return the observation as a deed; None where neither the rule nor its signal is named like one."""
    measure, observed = condition["measure"], condition["observed"]
    if measure == "ratio":
        return f"reached {_share_of_limit(condition)}"
    if measure == "trend":
        return _trend(condition, deed)
    if "signals" in condition or "decay" in condition:
        return None
    if condition["of"] == ANY_SIGNAL:
        return _activity(measure, observed)
    return None if deed is None else _done(measure, observed, *deed)


def _done(measure: str, observed: Any, verb: str, thing: str) -> str | None:
    """Return what was measured of a deed: "uploaded 12 files", "3 people invited teammates"."""
    things = f"{verb} {_plural(thing)}".strip()
    match measure:
        case "count":
            return _counted(verb, thing, observed)
        case "users":
            return f"{_people(observed)} {things}"
        case "days":
            return f"{things} on {_of(observed, 'day')}"
        case "streak":
            return f"{things} {_in_a_row(observed)}"
        case "ever" | "since_last":
            return f"{verb} {_plural(thing) if verb not in DONE_TIMES else thing}".strip()
        case "first_within":
            return f"first {things} {_early(observed)}"
    return None


def _counted(verb: str, thing: str, number_of: Any) -> str:
    if not thing or verb in DONE_TIMES or thing in PARTICLES:
        return f"{verb} {thing}".strip() + f" {_times(number_of)}"
    return f"{verb} {number(number_of)} {thing if number_of == 1 else _plural(thing)}"


def _activity(measure: str, observed: Any) -> str | None:
    match measure:
        case "count":
            return _of(observed, "event")
        case "users":
            return f"{_people(observed)} active"
        case "days":
            return f"active on {_of(observed, 'day')}"
        case "streak":
            return f"active {_in_a_row(observed)}"
        case "first_within":
            return f"active {_early(observed)}"
    return None


def _trend(condition: Plain, deed: tuple[str, str] | None) -> str | None:
    """Return "uploaded 12 files, before 4", or None where the signal is not named like a deed."""
    now, before = condition["observed"]
    if condition["of"] == ANY_SIGNAL:
        return f"{_of(now, 'event')}, before {number(before)}"
    return None if deed is None else f"{_counted(*deed, now)}, before {number(before)}"


def _share_of_limit(condition: Plain) -> str:
    thing = " ".join(word for word in tokens(condition["of"]) if word not in ABOUT_LIMITS and word not in BYTES)
    return f"{_percent(condition['observed'])} of the {thing} limit".replace("  ", " ")


def _facts(line: Plain, as_of: date) -> list[str]:
    """Return what a met rule of fit says of the account."""
    facts = [_fact(c, as_of) for c in _spoken_for(line, as_of) if c["measure"] in ("trait", "age")]
    return facts or [_small(line["name"])]


def _fact(condition: Plain, as_of: date) -> str:
    value, key = condition["observed"], condition["of"]
    if condition["measure"] == "age":
        return f"signed up {_ago(date.fromisoformat(value), as_of)}"
    if value is True:
        return spoken(key)
    if _is_number(value) and key in COUNTS_PEOPLE:
        return _people(value)
    if key in SPEAKS_FOR_ITSELF:
        return str(value)
    return f"{spoken(key)} {value_words(value, key)}"


def _span(condition: Plain, as_of: date) -> str:
    """Return over which days it was seen: " in 6 days", " yesterday", " in 2 days up to 3 Dec"."""
    if condition["measure"] in ("ratio", "last", "max") or not condition["first"]:
        return ""
    first, last = date.fromisoformat(condition["first"]), date.fromisoformat(condition["last"])
    if condition["measure"] == "first_within":
        return ""
    if first == last or condition["measure"] in ("ever", "since_last"):
        return f" {_on(last, as_of)}"
    until = f" up to {day(last, as_of)}" if (as_of - last).days > 2 else ""
    if condition["measure"] in ("days", "streak"):
        return f"{until.replace('up to', 'until')}" if until else ""
    return f" in {(last - first).days + 1} days{until}"


# ---- the cells of the table


def _observed(condition: Plain, as_of: date) -> str:
    value, measure = condition["observed"], condition["measure"]
    if _is_no_quotient(condition) or (measure == "first_within" and not value[0]):
        value = None
    if value is None:
        return UNSEEN.get(measure, "none")
    if value == 0 and measure in ("count", "users", "days", "streak"):
        return "none"
    if measure in ("age", "since_last"):
        since = date.fromisoformat(value)
        return f"{_of((as_of - since).days, 'day')}, since {day(since, as_of)}"
    if measure == "decay":
        since = date.fromisoformat(value)
        return f"{_share(_left(condition, as_of))} left, {_of((as_of - since).days, 'day')} since {day(since, as_of)}"
    if measure == "outcome":
        return _on(date.fromisoformat(str(value)[:10]), as_of)
    if measure == "first_within":
        return _early(value)
    if measure == "ever":
        return f"first {_on(date.fromisoformat(condition['first'] or str(value)[:10]), as_of)}"
    if measure == "trait":
        return value_words(value, condition["of"])
    last = f", last {_on(date.fromisoformat(condition['last']), as_of)}" if condition["last"] else ""
    return _quantity(condition) + last


def _asked(condition: Plain) -> str:
    negation = "not " if condition["negated"] else ""
    return negation + _asked_plainly(condition)


def _asked_plainly(condition: Plain) -> str:
    measure = condition["measure"]
    if "every" in condition:
        each = "each" if condition["every"] == 1 else f"for each {number(condition['every'])}"
        return f"{each}{_unit(measure)}{_window(condition)}{_fading(condition)}"
    match measure:
        case "decay":
            return _fading(condition).removeprefix(", ")
        case "ever" | "outcome":
            return "at least once"
        case "trait":
            return _test(condition)
        case "first_within":
            return f"in the first {_of(condition['days'], 'day')}"
        case "path":
            return f"{' → '.join(_subjects(condition))}{_window(condition)}"
    return f"{SIGNS[condition['comparator']]} {_threshold(condition)}"


def _threshold(condition: Plain) -> str:
    """Return with how much, and of what, the observation is compared."""
    threshold, measure, window = condition["threshold"], condition["measure"], _window(condition)
    match measure:
        case "age":
            return f"{_of(threshold, 'day')} since sign-up"
        case "since_last":
            return f"{_of(threshold, 'day')} since last seen"
        case "ratio":
            return f"{_share(threshold)} of the limit{window}"
        case "trend":
            return f"{_share(threshold)}{window}, of the {_of(condition['within'], 'day')} before"
        case "breadth":
            return f"{number(threshold)} of {', '.join(_subjects(condition))}{window}"
    return f"{_measured(threshold, condition['of'], measure)}{window}"


def _test(condition: Plain) -> str:
    test, operands = condition["comparator"], [value_words(o, condition["of"]) for o in condition["threshold"]]
    if test == "exists":
        return "is known" if condition["threshold"][0] else "is not known"
    if test == "between":
        return f"{operands[0]} to {operands[1]}"
    shown = ", ".join(operands[:8]) + (f" and {len(operands) - 8} more" if len(operands) > 8 else "")
    return f"{SIGNS.get(test) if test != 'equals' and test in SIGNS else TESTS[test]} {shown}"


def _missing(condition: Plain, as_of: date) -> str:
    """Return what would make an unmet condition hold."""
    value, measure = condition["observed"], condition["measure"]
    if measure == "trait":
        known = "not known" if value is None else value_words(value, condition["of"])
        return f"{spoken(condition['of'])}: {known}, asked is {_test(condition)}"
    if measure == "ratio" and value and not _is_no_quotient(condition) and not condition["negated"]:
        return (
            f"{_share_of_limit(condition)}, asked is {SIGNS[condition['comparator']]} {_share(condition['threshold'])}"
        )
    if measure == "decay":
        return f"{_subject(condition)}, once more"
    counts = measure in ("count", "users", "days", "sum") and not condition["negated"]
    if counts and condition.get("comparator", "at_least") == "at_least":
        lacking = condition.get("threshold", condition.get("every")) - (value or 0)
        amount = _measured(lacking, condition["of"], measure, "more ")
        return f"{amount}{_window(condition)} ({_subject(condition)})"
    return f"{_subject(condition)}: {_observed(condition, as_of)}, asked is {_asked(condition)}"


def _subjects(condition: Plain) -> list[str]:
    return ["any activity" if of == ANY_SIGNAL else spoken(of) for of in condition["signals"]]


def _subject(condition: Plain) -> str:
    if "signals" in condition:
        return "steps in order" if condition["measure"] == "path" else "different things"
    return "any activity" if condition["of"] == ANY_SIGNAL else spoken(condition["of"])


def _window(condition: Plain) -> str:
    return f" in {_of(condition['within'], 'day')}" if condition.get("within") else ""


def _fading(condition: Plain) -> str:
    """Return ", halved every 14 days"; empty of what does not fade."""
    if not (decay := condition.get("decay")):
        return ""
    span = _of(decay["days"], "day")
    return f", halved every {span}" if decay["shape"] == "half_life" else f", fading to nothing in {span}"


def _left(condition: Plain, as_of: date) -> float:
    """Return which share of a rule's points is left on the day."""
    age = (as_of - date.fromisoformat(condition["observed"])).days
    return weight_at(Decay(**condition["decay"]), age) / FULL


def _quantity(condition: Plain) -> str:
    if "signals" in condition:
        steps = " steps" if condition["measure"] == "path" else ""
        return f"{number(condition['observed'])} of {len(condition['signals'])}{steps}"
    if condition["measure"] == "trend":
        now, before = condition["observed"]
        return f"{_percent(condition['observed'])} ({number(now)}, before {number(before)})"
    if condition["measure"] == "ratio":
        value, limit = condition["observed"]
        return f"{_percent(condition['observed'])} ({number(value)} of {number(limit)})"
    measured = _measured(condition["observed"], condition["of"], condition["measure"])
    return f"{measured} after fading" if "decay" in condition else measured


def _measured(value: Any, of: str, measure: str, more: str = "") -> str:
    match measure:
        case "users":
            return f"{number(value)} {more}{'person' if value == 1 else 'people'}"
        case "days":
            return f"{number(value)} {more}{'day' if value == 1 else 'days'}"
        case "streak":
            return _in_a_row(value)
        case "count":
            return f"{number(value)} {more}".strip()
    return f"{value_words(value, of)} {more}".strip()


def _unit(measure: str) -> str:
    return {"users": " people", "days": " days", "streak": " days in a row"}.get(measure, "")


# ---- whether a single condition holds (the ledger says it only of whole rules)


def _holds(condition: Plain, as_of: date) -> bool:
    return bool(_is_true(condition, as_of)) != bool(condition["negated"])


def _is_true(condition: Plain, as_of: date) -> bool:
    value, measure = condition["observed"], condition["measure"]
    if value is None:
        return measure == "trait" and condition["comparator"] == "exists" and not condition["threshold"][0]
    if "every" in condition:
        return bool(value >= condition["every"])
    match measure:
        case "ever" | "outcome":
            return True
        case "decay":
            return _left(condition, as_of) > 0
        case "first_within":
            return None not in value and _days_between(value) < condition["days"]
        case "trait":
            return _passes(value, condition["comparator"], condition["threshold"])
        case "age" | "since_last":
            value = (as_of - date.fromisoformat(value)).days
        case "ratio" | "trend":
            if _is_no_quotient(condition):
                return False
            return _compares(value[0], condition["comparator"], condition["threshold"] * value[1])
    return _compares(value, condition["comparator"], condition["threshold"])


def _days_between(days: Sequence[str]) -> int:
    """Return how many days after sign-up the first one was."""
    first, sign_up = map(date.fromisoformat, days)
    return (first - sign_up).days


def _is_no_quotient(condition: Plain) -> bool:
    """Whether a side of a quotient is missing, or it would be divided by zero or less: then it is absent."""
    sides = condition["observed"]
    if condition["measure"] not in QUOTIENTS or sides is None:
        return False
    return None in sides or sides[1] <= 0


def _compares(value: Any, comparator: str, threshold: Any) -> bool:
    return bool(
        {
            "at_least": value >= threshold,
            "at_most": value <= threshold,
            "more_than": value > threshold,
            "less_than": value < threshold,
            "equals": value == threshold,
        }[comparator]
    )


def _passes(value: Any, test: str, operands: Sequence[Any]) -> bool:
    match test:
        case "exists":
            return bool(operands[0])
        case "between":
            return _is_number(value) and bool(operands[0] <= value <= operands[1])
        case "equals" | "in":
            return value in operands
        case "contains":
            return operands[0] in value if isinstance(value, str | list) else False
        case "starts_with":
            return isinstance(value, str) and value.startswith(operands[0])
    return _is_number(value) and _compares(value, test, operands[0])


def _gap(condition: Plain) -> float:
    """Return how far an unmet condition is from holding: 0 is near, 1 is nothing yet; 2 is not a matter of degree."""
    value, wanted = condition["observed"], condition.get("threshold", condition.get("every"))
    if condition["measure"] in QUOTIENTS and value and not _is_no_quotient(condition):
        value = value[0] / value[1]
    if condition["negated"] or not _is_number(wanted) or not wanted or not _is_number(value or 0):
        return 2.0
    return float(min(1.0, abs(wanted - (value or 0)) / abs(wanted)))


# ---- words


def points(hundredths: int) -> str:
    """Return points as people read them: 7200 is "72", 7250 is "72.5"."""
    return number(hundredths / 100).replace("-", "−")


def number(value: Any) -> str:
    """Return a number with thousands apart and at most two decimals: "1,234", "0.25"."""
    if not _is_number(value):
        return str(value)
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{float(value):,.2f}".rstrip("0").rstrip(".")


def day(when: date, as_of: date) -> str:
    """Return a day as "3 Dec", with the year if it is not that of `as_of`."""
    return f"{when.day} {when:%b}" + ("" if when.year == as_of.year else f" {when.year}")


def spoken(name: str) -> str:
    """Return the name of a signal or a trait in words: `invited_team_member` is "invited team member"."""
    return " ".join(word for word in tokens(name) if word not in BYTES and word not in PERCENT) or name


def tokens(name: str) -> list[str]:
    """Return the words of a technical name, whether it is written in snake, kebab, dots or camel case."""
    spaced = "".join(f" {c.lower()}" if c.isupper() and i and name[i - 1].islower() else c for i, c in enumerate(name))
    for mark in "_-.:/$":
        spaced = spaced.replace(mark, " ")
    return spaced.lower().split()


def listed(words: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"; empty for nothing."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _deed(words: Sequence[str]) -> tuple[str, str] | None:
    """Return verb and thing if the words start or end with a past tense: invited team member, file uploaded."""
    if not words:
        return None
    if _is_past(words[0]):
        return words[0], " ".join(words[1:])
    if _is_past(words[-1]):
        return words[-1], " ".join(words[:-1])
    return None


def _is_past(word: str) -> bool:
    return word in IRREGULAR or (word.endswith("ed") and len(word) > 3 and word not in ("need", "speed", "feed"))


def _plural(thing: str) -> str:
    if not thing or thing.endswith("s") or thing in PARTICLES or thing.split()[-1] in ("people", "data", "media"):
        return thing
    if thing.endswith("y") and thing[-2:-1] not in "aeiou":
        return f"{thing[:-1]}ies"
    return f"{thing}es" if thing.endswith(("x", "ch", "sh", "z")) else f"{thing}s"


def _of(value: Any, thing: str) -> str:
    return f"{number(value)} {thing if value == 1 else _plural(thing)}"


def _early(days: Sequence[Any]) -> str:
    """Return "3 days after sign-up" of a first day and that of sign-up."""
    if days[1] is None:
        return "with sign-up not known"
    after = _days_between(days)
    return f"{_of(after, 'day')} after sign-up" if after > 0 else "on the day of sign-up"


def _in_a_row(days: Any) -> str:
    return f"{_of(days, 'day')} in a row" if days != 1 else "1 day"


def _people(value: Any) -> str:
    return f"{number(value)} {'person' if value == 1 else 'people'}"


def _times(value: Any) -> str:
    return {1: "once", 2: "twice"}.get(value, f"{number(value)} times")


def _on(when: date, as_of: date) -> str:
    age = (as_of - when).days
    return {0: "today", 1: "yesterday"}.get(age, f"on {day(when, as_of)}")


def _ago(when: date, as_of: date) -> str:
    age = (as_of - when).days
    return {0: "today", 1: "yesterday"}.get(age, f"{_of(age, 'day')} ago")


def value_words(value: Any, name: str) -> str:
    """Return a value as its name suggests: bytes, per cent, a number, yes or no, or text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if not _is_number(value):
        return str(value)
    last = tokens(name)[-1:]
    if last and last[0] in BYTES:
        return _bytes(float(value) * BYTES[last[0]])
    return f"{number(value)} %" if last and last[0] in PERCENT else number(value)


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{number(round(size, 1))} {unit}"


def _percent(pair: Sequence[Any]) -> str:
    value, limit = pair
    return _share(value / limit) if _is_number(value) and limit else "?"


def _share(share: float) -> str:
    # Rounded down, so that nobody reads 100 % of a limit that is not reached.
    return f"{int(float(share) * 100 + 1e-9):,} %"


def _small(name: str) -> str:
    """Return a name as it stands inside a sentence: an initial capital goes, unless the word is an acronym."""
    return name if len(name) > 1 and name[1].isupper() else name[:1].lower() + name[1:]


def _has_digit(text: str) -> bool:
    return any(c.isdigit() for c in text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
