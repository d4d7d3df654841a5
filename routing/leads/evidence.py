"""What is new since a lead was put aside: points that a rule gives now and did not give then.

Points are taken before clipping: under a cap one rule's would rise by another's fall. They are compared under one
version; if another one is live, it says what it would have given then.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from routing.models import Lead
from scoring import engine, explain, language
from scoring.models import Score

Points = dict[str, int]  # hundredths, by rule; a rule that qualifies without points gives 1


def keep(*, lead: Lead, at: datetime) -> dict[str, Any]:
    """Return as JSON data what each rule set of the motion gives the account now, by rule, in hundredths of a point.

    Of a rule set that judges users, what it gives each of them.
    """
    scores = Score.objects.filter(account=lead.account_id, rule_set__motion=lead.motion).order_by("rule_set", "pk")
    given = {_key(score): {"version": score.version_id, "points": _given(score.ledger)} for score in scores}
    return {"at": at.astimezone(UTC).isoformat(), "rule_sets": given}


def since(*, lead: Lead, score: Score) -> str:
    """Say which rule gives more than when the lead was put aside, and what; empty if none does.

    An account that fell out of its PQL tiers and qualified anew since then is new evidence too.
    """
    if lead.kept is None:
        return ""
    then, now = _then(lead.kept, score), _given(score.ledger)
    for line in score.ledger["lines"]:
        rule = line["rule"]
        if rule and now.get(rule, 0) > then.get(rule, 0):
            return _told(line, then.get(rule, 0), now[rule])
    if score.qualified_at and score.qualified_at > datetime.fromisoformat(lead.kept["at"]):
        return f"The account qualified anew as {score.tier}."
    return ""


def _told(line: Mapping[str, Any], then: int, now: int) -> str:
    if line["kind"] == "qualify":
        return f"{line['name']}: new since."
    return f"{line['name']}: {explain.points(now)} points, {explain.points(then)} then."


def _given(ledger: Mapping[str, Any]) -> Points:
    """Return what each rule gives. What it takes is no evidence: that fades by itself."""
    given = {}
    for line in ledger["lines"]:
        worth = int(line["met"]) if line["kind"] == "qualify" else max(0, line["raw"])
        if line["rule"] and worth and line["kind"] != "disqualify":
            given[line["rule"]] = worth
    return given


def _key(score: Score) -> str:
    """Return by what the points of a score are kept: the rule set, and the user whom it is about, if any."""
    return f"{score.rule_set_id}" if score.user_id is None else f"{score.rule_set_id} {score.user_id}"


def _then(kept: Mapping[str, Any], score: Score) -> Points:
    of_rule_set = kept["rule_sets"].get(_key(score))
    if of_rule_set and of_rule_set["version"] == score.version_id:
        return dict(of_rule_set["points"])
    document = language.load(score.version.document)
    on = datetime.fromisoformat(kept["at"]).date()
    judged = engine.judge(document, as_of=on, accounts=[score.account_id])
    mine = [judgement for judgement in judged if judgement.user_id == score.user_id]
    return _given(mine[0].ledger) if mine else {}
