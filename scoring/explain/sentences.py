"""What qualifies an account, what changed and what is missing: in sentences that an AE reads in a second."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from scoring.explain import cells, holding, words
from scoring.language import ANY_SIGNAL, Decay, Document, Signal, weights

Plain = Mapping[str, Any]
Reason = tuple[str, str]  # what was done, and over which days: "invited 4 teammates", " in 6 days"
LONGEST = 160  # characters of a why-now sentence
MOST_REASONS = 3
MOST_FACTS = 3
# Of these a number of times is told, of all other deeds a number of things.
DONE_TIMES = frozenset({"checked", "clicked", "hit", "logged", "opened", "reached", "searched", "seen", "signed"}) | {
    "looked",
    "started",
    "used",
    "viewed",
    "visited",
}
PREPOSITIONS = words.PARTICLES | {"at", "for", "to", "with", "the", "a"}
VIEWS = frozenset({"$page", "$screen"})
COUNTS_PEOPLE = frozenset({"employees", "employee_count", "headcount", "size", "company_size", "team_size", "seats"})
SPEAKS_FOR_ITSELF = frozenset({"industry", "sector", "vertical", "country", "region", "city"})


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
        causes.append(f"{words.listed(lapsed)} {'lapses' if len(lapsed) == 1 else 'lapse'}")
    if gained:
        causes.append(f"{words.listed(gained)} {'is' if len(gained) == 1 else 'are'} met")
    causes += [_shifted(was[r], now[r]) for r in was if r in now and was[r]["met"] and now[r]["met"]]
    effects = [
        f"{score} {words.points(before[score])} → {words.points(after[score])}"
        for score in ("usage", "fit")
        if before[score] != after[score]
    ]
    if from_tier != to_tier:
        effects.append(f"tier {from_tier or 'none'} → {to_tier or 'none'}")
    return ": ".join(part for part in ("; ".join(filter(None, causes)), ", ".join(effects)) if part)


def _shifted(was: Plain, now: Plain) -> str:
    """Return how the points of a rule that stays met changed; empty if they did not."""
    for key, gives, above in (("points", "gives", ""), ("raw", "would give", ", above its cap")):
        if was[key] != now[key]:
            return f"“{now['name']}” {gives} {words.points(now[key])} instead of {words.points(was[key])}{above}"
    return ""


def line_words(line: Plain, *, as_of: date) -> LineWords:
    """Return what a rule saw and what it asks for, in the words of a table's cells."""
    if line["kind"] == "floor":
        return LineWords("", "never below 0")
    seen = [cells.observed(c, as_of) for c in line["conditions"]]
    asked = [cells.asked(c) for c in line["conditions"]]
    several = len(seen) > 1
    names = [f"{cells.subject(c)}: " if several else "" for c in line["conditions"]]
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
        lacking = [c for c in line["conditions"] if not holding.holds(c, as_of)]
        # What is known of a company does not change by use of the product; what is not known may be found out.
        fixed = any(c["measure"] in ("trait", "age") and c["observed"] is not None for c in lacking)
        if worth > 0 and lacking and not fixed:
            missing = " and ".join(cells.missing(c, as_of) for c in lacking)
            ways.append((sum(holding.gap(c) for c in lacking), Way(line["name"], missing, line["score"], worth)))
    return [way for _, way in sorted(ways, key=lambda pair: (pair[0], -pair[1].worth))]


def blind_spots(ledger: Plain, *, known_from: Mapping[str, date], as_of: date) -> list[str]:
    """Return a sentence for each signal that the ledger asks for days of which not all is known.

    `known_from` has the first day of which all is known, by signal; signals that are known for ever are left out.
    """
    asked = [c for line in ledger["lines"] for c in line.get("conditions", ())]
    read = {(signal, _first_asked(c, as_of)) for c in asked for signal in c.get("signals", [c["of"]])}
    blind = {signal for signal, first in read if signal in known_from and first < known_from[signal]}
    return [
        f"{'Activity' if of == ANY_SIGNAL else f'“{words.spoken(of)}”'} is known only since "
        f"{words.day(known_from[of], as_of)}: what came before it does not count here."
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
        return words.listed([what for what, _ in reasons]) + spans.pop()
    return words.listed([what + span for what, span in reasons])


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


def _reason(line: Plain, as_of: date, signals: Mapping[str, Signal]) -> Reason:
    deeds = [c for c in _spoken_for(line, as_of) if c["measure"] not in ("trait", "age", "outcome", "decay")]
    if not deeds or line["kind"] == "qualify":
        return words.small(line["name"]), _span(deeds[0], as_of) if deeds else ""
    first = deeds[0]
    named = words.deed(line["name"].lower().split()) if len(deeds) == 1 and not words.has_digit(line["name"]) else None
    phrase = _phrase(first, named or _deed_of(first["of"], signals.get(first["of"])))
    if phrase is None:
        return f"{words.small(line['name'])} ({cells.quantity(first)}{_span(first, as_of)})", ""
    return phrase, _span(first, as_of)


def _spoken_for(line: Plain, as_of: date) -> list[Plain]:
    """Return the conditions of a met rule that are worth telling: what was seen, and makes it met."""
    told = [c for c in line["conditions"] if not c["negated"] and c["observed"] is not None]
    # The rule was met on the day of the ledger, which may be long past: a number of days may not tell any more.
    return [c for c in told if c["measure"] in ("age", "since_last") or holding.holds(c, as_of)]


def _deed_of(name: str, signal: Signal | None) -> tuple[str, str] | None:
    """Return the deed that a signal's event or name tells, if it tells one."""
    own = words.deed(words.tokens(name))
    if signal is None or len(signal.events) != 1:
        return _with_article(own)
    if signal.events[0] in VIEWS:
        return own or ("viewed", words.spoken(name))
    # With filters, the event is more than what the signal is about.
    return _with_article(own if signal.where else words.deed(words.tokens(signal.events[0])) or own)


def _with_article(deed: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return "hit the board limit" for "hit board limit": it is told how often, so the thing is one."""
    if deed is None or deed[0] not in DONE_TIMES or not deed[1] or deed[1].split()[0] in PREPOSITIONS:
        return deed
    return deed[0], f"the {deed[1]}"


def _phrase(condition: Plain, deed: tuple[str, str] | None) -> str | None:
    """Return the observation as a deed; None where neither the rule nor its signal is named like one."""
    measure, observed = condition["measure"], condition["observed"]
    if measure == "ratio":
        return f"reached {cells.share_of_limit(condition)}"
    if measure == "trend":
        return _trend(condition, deed)
    if "signals" in condition or "decay" in condition:
        return None
    if condition["of"] == ANY_SIGNAL:
        return _activity(measure, observed)
    return None if deed is None else _done(measure, observed, *deed)


def _done(measure: str, observed: Any, verb: str, thing: str) -> str | None:
    """Return what was measured of a deed: "uploaded 12 files", "3 people invited teammates"."""
    things = f"{verb} {words.plural(thing)}".strip()
    match measure:
        case "count":
            return _counted(verb, thing, observed)
        case "users":
            return f"{words.people(observed)} {things}"
        case "days":
            return f"{things} on {words.things(observed, 'day')}"
        case "streak":
            return f"{things} {words.in_a_row(observed)}"
        case "ever" | "since_last":
            return f"{verb} {words.plural(thing) if verb not in DONE_TIMES else thing}".strip()
        case "first_within":
            return f"first {things} {words.early(observed)}"
    return None


def _counted(verb: str, thing: str, number_of: Any) -> str:
    if not thing or verb in DONE_TIMES or thing in words.PARTICLES:
        return f"{verb} {thing}".strip() + f" {words.times(number_of)}"
    return f"{verb} {words.number(number_of)} {thing if number_of == 1 else words.plural(thing)}"


def _activity(measure: str, observed: Any) -> str | None:
    match measure:
        case "count":
            return words.things(observed, "event")
        case "users":
            return f"{words.people(observed)} active"
        case "days":
            return f"active on {words.things(observed, 'day')}"
        case "streak":
            return f"active {words.in_a_row(observed)}"
        case "first_within":
            return f"active {words.early(observed)}"
    return None


def _trend(condition: Plain, deed: tuple[str, str] | None) -> str | None:
    """Return "uploaded 12 files, before 4", or None where the signal is not named like a deed."""
    now, before = condition["observed"]
    if condition["of"] == ANY_SIGNAL:
        return f"{words.things(now, 'event')}, before {words.number(before)}"
    return None if deed is None else f"{_counted(*deed, now)}, before {words.number(before)}"


def _facts(line: Plain, as_of: date) -> list[str]:
    """Return what a met rule of fit says of the account."""
    facts = [_fact(c, as_of) for c in _spoken_for(line, as_of) if c["measure"] in ("trait", "age")]
    return facts or [words.small(line["name"])]


def _fact(condition: Plain, as_of: date) -> str:
    value, key = condition["observed"], condition["of"]
    if condition["measure"] == "age":
        return f"signed up {words.ago(date.fromisoformat(value), as_of)}"
    if value is True:
        return words.spoken(key)
    if words.is_number(value) and key in COUNTS_PEOPLE:
        return words.people(value)
    if key in SPEAKS_FOR_ITSELF:
        return str(value)
    return f"{words.spoken(key)} {words.value_words(value, key)}"


def _span(condition: Plain, as_of: date) -> str:
    """Return over which days it was seen: " in 6 days", " yesterday", " in 2 days up to 3 Dec"."""
    if condition["measure"] in ("ratio", "last", "max") or not condition["first"]:
        return ""
    first, last = date.fromisoformat(condition["first"]), date.fromisoformat(condition["last"])
    if condition["measure"] == "first_within":
        return ""
    if first == last or condition["measure"] in ("ever", "since_last"):
        return f" {words.on(last, as_of)}"
    until = f" up to {words.day(last, as_of)}" if (as_of - last).days > 2 else ""
    if condition["measure"] in ("days", "streak"):
        return f"{until.replace('up to', 'until')}" if until else ""
    return f" in {(last - first).days + 1} days{until}"
