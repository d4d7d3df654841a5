"""From the ledger to words: what an AE reads must be true, short and plain."""

from datetime import date
from typing import Any

import pytest

from scoring import explain, language

TODAY = date(2026, 11, 22)


def condition(measure: str, of: str, observed: Any, **more: Any) -> dict[str, Any]:
    """What a rule observed, in the shape of scoring.ledger."""
    common = {
        "first": None,
        "last": None,
        "within": 14,
        "negated": False,
        "comparator": "at_least",
        "threshold": 1,
        "days": 7,
    }
    return {"measure": measure, "of": of, "observed": observed} | common | more


def line(name: str, *conditions: dict[str, Any], points: int = 1000, **more: Any) -> dict[str, Any]:
    """A met rule of usage, but for what is said."""
    common = {"rule": name, "kind": "points", "group": "activity", "score": "usage", "met": True, "raw": points}
    return {"name": name, "points": points, "worth": points, "conditions": list(conditions)} | common | more


def ledger(*lines: dict[str, Any]) -> dict[str, Any]:
    sums = {score: sum(one["points"] for one in lines if one["score"] == score) for score in ("usage", "fit")}
    return {"lines": list(lines), **sums}


INVITES = line(
    "They invite teammates",
    condition("count", "invited_teammate", 4, first="2026-11-17", last="2026-11-22", threshold=3),
    points=2000,
)
STORAGE = line(
    "Nearly full",
    condition("ratio", "storage_used", [4600, 5000], first="2026-11-20", last="2026-11-21", threshold=0.8),
    points=1500,
)
SIZE = line("Right size", condition("trait", "employees", 140, comparator="between", threshold=[50, 500]), score="fit")
FINTECH = line(
    "Fintech", condition("trait", "industry", "fintech", comparator="in", threshold=["fintech"]), score="fit"
)


def why(*lines: dict[str, Any], **more: Any) -> str:
    return explain.why_now(ledger(*lines), as_of=TODAY, **more)


class TestWhyNow:
    def test_tells_the_weightiest_deeds_then_what_fits(self) -> None:
        assert why(FINTECH, STORAGE, SIZE, INVITES) == (
            "Invited 4 teammates in 6 days and reached 92 % of the storage limit; fintech, 140 people"
        )

    def test_a_rule_that_is_not_met_is_not_told(self) -> None:
        assert why(INVITES, STORAGE | {"met": False, "points": 0}) == "Invited 4 teammates in 6 days"

    def test_says_shared_days_once(self) -> None:
        on = {"first": "2026-11-21", "last": "2026-11-21"}
        deeds = [line(of, condition("count", of, 2, **on)) for of in ("invited_teammate", "viewed_pricing")]
        assert why(*deeds) == "Invited 2 teammates and viewed the pricing twice yesterday"

    def test_says_when_it_is_over(self) -> None:
        old = condition("count", "uploaded_file", 12, first="2026-11-10", last="2026-11-14")
        assert why(line("Files", old)) == "Uploaded 12 files in 5 days up to 14 Nov"

    @pytest.mark.parametrize(
        ("measure", "of", "observed", "expected"),
        [
            ("users", "any", 5, "5 people active"),
            ("days", "any", 9, "Active on 9 days"),
            ("count", "any", 1234, "1,234 events"),
            ("streak", "any", 5, "Active 5 days in a row"),
            (
                "first_within",
                "invited_teammate",
                ["2026-11-10", "2026-11-08"],
                "First invited teammates 2 days after sign-up",
            ),
            ("trend", "any", [12, 4], "12 events, before 4"),
            ("trend", "uploaded_file", [12, 4], "Uploaded 12 files, before 4"),
            ("streak", "uploaded_file", 3, "Uploaded files 3 days in a row"),
            ("count", "logged_in", 1, "Logged in once"),
            ("users", "uploaded_file", 3, "3 people uploaded files"),
            ("count", "hit_seat_limit", 3, "Hit the seat limit 3 times"),
            ("count", "invited_company", 2, "Invited 2 companies"),
            ("count", "invited_teammate", 1, "Invited 1 teammate"),
        ],
    )
    def test_has_words_for_each_measure(self, measure: str, of: str, observed: Any, expected: str) -> None:
        assert why(line("A rule", condition(measure, of, observed))) == expected

    def test_the_name_of_an_event_says_more_than_that_of_its_signal(self) -> None:
        seen = line("Invites", condition("count", "invitations", 4))
        signals = {"invitations": language.Signal(events=("Teammate Invited",))}
        assert why(seen) == "Invites (4)"
        assert why(seen, signals=signals) == "Invited 4 teammates"

    def test_an_event_with_filters_is_more_than_its_name(self) -> None:
        seen = line("Large files", condition("count", "large", 4))
        big = language.Filter("kind", "equals", "video")
        assert why(seen, signals={"large": language.Signal(("file_uploaded",), (big,))}) == "Large files (4)"

    def test_several_signals_are_told_by_the_name_of_the_rule(self) -> None:
        both = {"signals": ["invited", "saved"], "first": "2026-11-20", "last": "2026-11-22"}
        broad = line("Broad use", condition("breadth", "invited, saved", 2, **both))
        assert why(broad) == "Broad use (2 of 2 in 3 days)"
        activated = line("Activation", condition("path", "invited, saved", 2, threshold=2, **both))
        assert why(activated) == "Activation (2 of 2 steps in 3 days)"

    def test_what_fades_is_not_counted_as_a_deed(self) -> None:
        decay = {"decay": {"shape": "linear", "days": 10}}
        seen = line("Fresh files", condition("count", "uploaded_file", 3.5, every=1.0, last="2026-11-21", **decay))
        assert why(seen) == "Fresh files (3.5 after fading)"
        words = explain.line_words(seen, as_of=TODAY)
        assert words.observed == "3.5 after fading, last yesterday"
        assert words.threshold == "each in 14 days, fading to nothing in 10 days"

    def test_tells_what_is_left_of_faded_points(self) -> None:
        fading = condition("decay", "asked", "2026-11-08", decay={"shape": "half_life", "days": 14}, within=None)
        words = explain.line_words(line("Asked", condition("ever", "asked", "2026-11-08"), fading), as_of=TODAY)
        assert words.observed.endswith("50 % left, 14 days since 8 Nov")
        assert words.threshold.endswith("halved every 14 days")

    def test_a_page_is_viewed(self) -> None:
        seen = line("Prices", condition("count", "pricing", 3))
        assert why(seen, signals={"pricing": language.Signal(("$page",))}) == "Viewed pricing 3 times"

    def test_a_raised_hand_goes_first(self) -> None:
        hand = line("They asked for a call", condition("count", "x", 1), kind="qualify", score=None, points=0)
        assert why(INVITES, hand).startswith("They asked for a call and invited 4 teammates")

    def test_a_disqualified_account_says_only_that(self) -> None:
        barred = line("A school", kind="disqualify", score=None, points=0)
        assert why(INVITES, barred) == "Disqualified: A school"

    def test_an_empty_ledger_says_so(self) -> None:
        assert why() == "No rule is met"

    def test_never_exceeds_its_length_and_keeps_the_weightiest(self) -> None:
        many = [
            line(f"A rule with a long name, number {'i' * n}", condition("sum", f"s{n}", n), points=n)
            for n in range(1, 60)
        ]
        sentence = why(*many, SIZE)
        assert len(sentence) <= explain.LONGEST
        assert sentence.startswith(f"A rule with a long name, number {'i' * 59}")

    def test_a_share_is_never_rounded_up_to_the_limit(self) -> None:
        near = condition("ratio", "storage_used", [4999, 5000], threshold=0.8)
        assert why(line("Nearly full", near)) == "Reached 99 % of the storage limit"


class TestLineWords:
    def test_says_what_was_seen_and_what_is_asked(self) -> None:
        words = explain.line_words(INVITES, as_of=TODAY)
        assert (words.observed, words.threshold) == ("4, last today", "≥ 3 in 14 days")

    def test_says_an_age_in_days_and_by_date(self) -> None:
        young = line("New", condition("age", "account", "2026-11-10", comparator="less_than", threshold=30))
        words = explain.line_words(young, as_of=TODAY)
        assert (words.observed, words.threshold) == ("12 days, since 10 Nov", "< 30 days since sign-up")

    def test_names_the_parts_of_a_rule_with_several(self) -> None:
        both = line(
            "Both", *INVITES["conditions"], condition("trait", "plan", None, comparator="equals", threshold=["pro"])
        )
        words = explain.line_words(both, as_of=TODAY)
        assert words.observed == "invited teammate: 4, last today; plan: not known"
        assert words.threshold == "invited teammate: ≥ 3 in 14 days; plan: is pro"

    def test_says_not_where_the_rule_does(self) -> None:
        quiet = line("Quiet", condition("count", "any", None, negated=True, threshold=5))
        words = explain.line_words(quiet, as_of=TODAY)
        assert (words.observed, words.threshold) == ("none", "not ≥ 5 in 14 days")

    def test_says_bytes_and_per_cent_as_such(self) -> None:
        mb = line("Heavy", condition("sum", "used_mb", 51200, threshold=1000))
        assert explain.line_words(mb, as_of=TODAY).observed == "51.2 GB"
        share = line("Adopted", condition("trait", "seats_pct", 87, comparator="at_least", threshold=[80]))
        assert explain.line_words(share, as_of=TODAY).threshold == "≥ 80 %"

    def test_a_limit_that_is_not_known_is_no_share(self) -> None:
        unknown = line("Full", condition("ratio", "storage", [5, None], threshold=0.8))
        assert explain.line_words(unknown, as_of=TODAY).observed == "no value"


class TestChangeWords:
    def test_says_what_lapses_and_what_that_does(self) -> None:
        after = ledger(INVITES | {"met": False, "points": 0}, STORAGE)
        words = explain.change_words(before=ledger(INVITES, STORAGE), after=after, from_tier="hot", to_tier="")
        assert words == "“They invite teammates” lapses: usage 35 → 15, tier hot → none"

    def test_says_what_is_met_anew(self) -> None:
        words = explain.change_words(before=ledger(), after=ledger(INVITES, STORAGE), from_tier="", to_tier="")
        assert words == "“They invite teammates” and “Nearly full” are met: usage 0 → 35"

    def test_says_when_a_rule_gives_less(self) -> None:
        less = ledger(INVITES | {"points": 1250, "raw": 1250})
        words = explain.change_words(before=ledger(INVITES), after=less, from_tier="hot", to_tier="hot")
        assert words == "“They invite teammates” gives 12.5 instead of 20: usage 20 → 12.5"

    def test_is_empty_if_nothing_changes(self) -> None:
        same = ledger(INVITES)
        assert explain.change_words(before=same, after=same, from_tier="hot", to_tier="hot") == ""


DOCUMENT = language.parse("""
slug: new-business
name: New business
motion: new-business
groups: {activity: {score: usage, cap: 25}, company: {score: fit}}
rules: [{id: some, group: activity, points: 1, when: {count: any, at_least: 1}}]
tiers: [{name: hot, enter: {usage: 20}}]
""")


def unmet(name: str, *conditions: dict[str, Any], worth: int = 1000, **more: Any) -> dict[str, Any]:
    return line(name, *conditions, points=0, met=False, **more) | {"worth": worth}


def ways(*lines: dict[str, Any]) -> list[tuple[str, str, int]]:
    found = explain.ways_up(ledger(*lines), document=DOCUMENT, as_of=TODAY)
    return [(way.name, way.missing, way.worth) for way in found]


class TestWaysUp:
    def test_the_nearest_comes_first_with_what_is_missing(self) -> None:
        far = unmet("Far", condition("count", "exports", 1, threshold=10))
        near = unmet("Near", condition("users", "any", 2, threshold=3))
        assert ways(far, near) == [
            ("Near", "1 more person in 14 days (any activity)", 1000),
            ("Far", "9 more in 14 days (exports)", 1000),
        ]

    def test_gives_no_more_than_the_cap_lets_in(self) -> None:
        near = unmet("Near", condition("users", "any", 2, threshold=3))
        assert ways(INVITES, near) == [("Near", "1 more person in 14 days (any activity)", 500)]

    def test_a_full_group_has_no_way_up(self) -> None:
        assert ways(INVITES, INVITES | {"points": 500}, unmet("Near", condition("count", "any", 2, threshold=3))) == []

    def test_where_the_first_match_counts_only_a_rule_before_it_is_a_way_up(self) -> None:
        text = language.to_yaml(DOCUMENT).replace("cap: 25", "first_match: true")
        rules = [
            f"- {{id: {id}, group: activity, points: 1, when: {{count: any, at_least: 1}}}}"
            for id in ("before", "now", "after")
        ]
        document = language.parse(
            text[: text.index("rules:")] + "\n".join(["rules:", *rules, text[text.index("tiers:") :]])
        )
        asked = condition("count", "any", 2, threshold=3)
        lines = unmet("before", asked), line("now", points=400), unmet("after", asked)
        found = explain.ways_up(ledger(*lines), document=document, as_of=TODAY)
        assert [(way.name, way.worth) for way in found] == [("before", 600)]

    def test_a_known_trait_is_no_way_up_and_an_unknown_one_is(self) -> None:
        known = condition("trait", "employees", 12, comparator="at_least", threshold=[50])
        unknown = known | {"observed": None}
        assert ways(unmet("Size", known, score="fit", group="company")) == []
        assert ways(unmet("Size", unknown, score="fit", group="company")) == [
            ("Size", "employees: not known, asked is ≥ 50", 1000)
        ]


class TestNumbers:
    @pytest.mark.parametrize(
        ("hundredths", "expected"), [(7200, "72"), (7250, "72.5"), (-500, "−5"), (123400, "1,234"), (0, "0")]
    )
    def test_points_are_written_as_people_do(self, hundredths: int, expected: str) -> None:
        assert explain.points(hundredths) == expected

    def test_a_day_of_another_year_says_which(self) -> None:
        assert explain.day(date(2025, 12, 3), TODAY) == "3 Dec 2025"
        assert explain.day(date(2026, 12, 3), TODAY) == "3 Dec"

    @pytest.mark.parametrize(
        "name", ["invited_team_member", "invited-team-member", "invitedTeamMember", "Invited Team Member"]
    )
    def test_names_are_spoken_however_they_are_written(self, name: str) -> None:
        assert explain.spoken(name) == "invited team member"


class TestBlindSpots:
    KNOWN_FROM = {"invited_teammate": date(2026, 11, 9), "any": date(2026, 5, 3)}

    def spots(self, *conditions: dict[str, Any]) -> list[str]:
        return explain.blind_spots(ledger(line("Rule", *conditions)), known_from=self.KNOWN_FROM, as_of=TODAY)

    def test_are_told_where_a_window_reaches_further_back(self) -> None:
        assert self.spots(condition("count", "invited_teammate", 4, within=15)) == [
            "“invited teammate” is known only since 9 Nov: what came before it does not count here."
        ]

    def test_are_none_where_all_days_of_the_window_are_known(self) -> None:
        assert self.spots(condition("count", "invited_teammate", 4, within=14)) == []

    def test_are_told_of_what_asks_for_all_days(self) -> None:
        (told,) = self.spots(condition("since_last", "any", "2026-06-01", within=None))
        assert told.startswith("Activity is known only since 3 May")

    def test_are_none_of_signals_that_are_known_for_ever(self) -> None:
        assert self.spots(condition("count", "exported", 4, within=None)) == []
