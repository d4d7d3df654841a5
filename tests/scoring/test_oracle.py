"""The oracle, checked by hand: each case is small enough to work out in the head."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scoring import language
from scoring.language.parsing import LEAVES
from scoring.language.reading import read
from tests.examples import few
from tests.scoring import strategies
from tests.scoring.oracle import Call, Exclusion, History, Judgement, Key, Outcome, World

TODAY = date(2026, 3, 31)
ACME = Key("group", "acme")
GLOBEX = Key("group", "globex")
INITECH = Key("group", "initech")

FRAME = """
slug: new-business
name: New business
motion: new_business
signals:
  invited: {event: invited}
  saved: {event: saved, value: used_mb, limit: {property: quota_mb}}
  seated: {event: seated, value: seats, limit: {trait: seat_limit}}
  planned: {event: planned, value: used, limit: {trait: plan, table: {free: 5, pro: 50}}}
  big: {event: [saved, synced], where: [{property: used_mb, at_least: 100}, {property: kind, in: [pdf, 7]}]}
  signed_up: {event: signed_up}
  upgraded: {event: upgraded}
sign_up: {signal: signed_up}
goal: {outcome: [paid, won], signal: upgraded}
groups: {activity: {score: usage}, company: {score: fit}}
"""
PLAIN = """
rules: [{id: some, group: activity, points: 10, when: {count: any, at_least: 1}}]
tiers: [{name: hot, enter: {usage: 10}}]
"""


def on(days_ago: float) -> datetime:
    """Noon UTC, so many days before TODAY."""
    return datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC) - timedelta(days=days_ago)


def event(name: str, days_ago: float = 0, user: str | None = "ann", group: str | None = "acme", **more) -> Call:
    """An event of acme's Ann, but for what is said; its message id says what and when, unless given."""
    more.setdefault("message_id", f"{name} {user} {group} {days_ago} {sorted(more.items())}")
    return Call(at=on(days_ago), name=name, user_id=user, group_id=group, **more)


def traits(days_ago: float = 0, group: str = "acme", **values) -> Call:
    """A group call that states traits of the account."""
    return event("$group", days_ago, group=group, joins=True, account_traits=values)


def judge(*calls: Call, rules: str = PLAIN, account: Key = ACME, as_of: date = TODAY, **more) -> Judgement:
    """What the document says of acme."""
    history = History(calls, **more)
    return World(history).judge(language.parse(FRAME + rules), as_of, account)


def holds(condition: str, *calls: Call, **more) -> bool:
    """Whether acme meets the condition."""
    rule = f"rules: [{{id: it, group: activity, points: 1, when: {condition}}}]\ntiers: [{{name: hot, enter: {{}}}}]"
    return judge(*calls, rules=rule, **more).rules["it"].met


class TestWhoIsWho:
    def test_an_anonymous_past_moves_along_when_its_user_is_named(self):
        world = World(
            History(
                (
                    event("invited", 9, None, None, anonymous_id="a1"),
                    event("$identify", 8, "ann", None, anonymous_id="a1"),
                    traits(7),
                )
            )
        )
        assert world.accounts == [ACME]
        assert len(world.people) == 1

    def test_the_home_is_the_group_that_was_joined_first_whatever_came_in_first(self):
        calls = (traits(2, "globex"), traits(5, "acme"), event("invited", 1, group=None))
        assert World(History(calls)).account(calls[2]) == ACME

    def test_equal_times_fall_back_on_the_message_id_by_code_points(self):
        late, early = traits(2, "globex"), traits(2, "acme")
        calls = (
            Call(**{**vars(late), "message_id": "a"}),
            Call(**{**vars(early), "message_id": "Z"}),
            event("invited", 1, group=None),
        )
        assert World(History(calls)).account(calls[2]) == ACME

    def test_an_anonymous_call_can_make_the_home(self):
        joined = event("$group", 5, None, "acme", anonymous_id="a1", joins=True)
        calls = (joined, event("$identify", 3, "ann", None, anonymous_id="a1"), event("invited", 1, group=None))
        assert World(History(calls)).account(calls[2]) == ACME

    def test_naming_a_group_is_not_joining_it(self):
        calls = (event("invited", 5, group="globex"), event("invited", 1, group=None))
        assert World(History(calls)).account(calls[1]) == Key("user", "ann")

    def test_a_company_address_makes_a_home_and_a_free_one_does_not(self):
        calls = (
            event("$identify", 5, group=None, user_traits={"email": "Ann@Gmail.com"}),
            event("$identify", 4, group=None, user_traits={"email": "Ann@Acme.example"}),
            event("$identify", 3, group=None, user_traits={"email": "ann@globex.example"}),
        )
        assert World(History(calls)).account(calls[0]) == Key("domain", "acme.example")

    @pytest.mark.parametrize("address", [None, 5, "ann", "@acme.example", "ann@", "ann@acme", "a b@acme.example"])
    def test_what_is_no_address_makes_no_home(self, address):
        call = event("$identify", group=None, user_traits={"email": address})
        assert World(History((call,))).account(call) == Key("user", "ann")

    def test_a_lone_user_is_called_by_the_smallest_id_that_was_a_user_id(self):
        call = event("$alias", user="zoe", group=None, anonymous_id="a1", aliases=("ann",))
        assert World(History((call,))).account(call) == Key("user", "zoe")

    def test_a_visitor_has_an_account_that_nobody_judges(self):
        call = event("invited", user=None, group=None, anonymous_id="a1")
        world = World(History((call,)))
        assert world.account(call) == Key("visitor", "a1")
        assert world.judge_all(language.parse(FRAME + PLAIN), TODAY) == {}

    def test_a_call_without_ids_belongs_to_the_group_that_it_names(self):
        assert holds("{count: invited, equals: 1}", event("invited", user=None))

    def test_a_message_id_counts_once_and_the_first_one_counts(self):
        calls = event("invited", message_id="m"), event("upgraded", message_id="m")
        assert holds("{all: [{count: invited, equals: 1}, {count: upgraded, equals: 0}]}", *calls)

    def test_a_merge_does_not_move_what_names_its_account(self):
        calls = (traits(9), event("invited", 5, group="globex"))
        assert holds("{ever: invited}", *calls, account=GLOBEX)
        assert not holds("{ever: invited}", *calls, account=ACME)

    def test_identities_are_not_cut_at_the_day(self):
        calls = (event("invited", 9, group=None), traits(1))
        assert holds("{ever: invited}", *calls, as_of=TODAY - timedelta(days=5))


class TestWindow:
    @pytest.mark.parametrize(("days_ago", "inside"), [(0, True), (13, True), (14, False), (-1, False)])
    def test_fourteen_days_are_today_and_the_thirteen_before(self, days_ago, inside):
        assert holds("{count: invited, within: 14, at_least: 1}", event("invited", days_ago)) is inside

    def test_without_a_window_all_days_up_to_today_count(self):
        calls = [event("invited", days_ago) for days_ago in (400, 1, 0, -1)]
        assert holds("{count: invited, equals: 3}", *calls)

    def test_days_are_of_utc(self):
        early = Call("m", datetime.fromisoformat("2026-04-01T00:30:00+02:00"), "invited", "ann", group_id="acme")
        assert holds("{count: invited, within: 1, at_least: 1}", early)


class TestMeasure:
    def test_users_are_known_people_each_once(self):
        calls = (
            event("invited", 1, "ann"),
            event("invited", 2, "ann", anonymous_id="a1"),
            event("invited", 3, None, anonymous_id="a1"),
            event("invited", 4, "ben"),
            event("invited", 5, None, anonymous_id="a2"),
            event("invited", 6, None),
        )
        assert holds("{users: invited, equals: 2}", *calls)

    def test_days_are_distinct(self):
        calls = [event("invited", days_ago) for days_ago in (1, 1.1, 3)]
        assert holds("{days: invited, equals: 2}", *calls)

    def test_a_streak_is_the_longest_run_of_days_in_the_window(self):
        calls = [event("invited", days_ago) for days_ago in (1, 2, 3, 3.1, 6, 7, 8, 9, 11)]
        assert holds("{streak: invited, equals: 4}", *calls)
        assert holds("{streak: invited, within: 8, equals: 3}", *calls)
        assert holds("{streak: invited, within: 7, equals: 3}", *calls)
        assert holds("{streak: invited, within: 3, equals: 2}", *calls)

    @pytest.mark.parametrize("measure", ["count", "users", "days", "streak"])
    def test_a_count_of_nothing_is_zero(self, measure):
        assert holds(f"{{{measure}: invited, equals: 0}}")

    @pytest.mark.parametrize("measure", ["sum", "max", "last", "ratio"])
    def test_a_value_of_nothing_is_absent_and_its_not_is_true(self, measure):
        silent = event("saved", properties={"used_mb": "9"})
        assert not holds(f"{{{measure}: saved, at_least: -9}}", silent)
        assert not holds(f"{{{measure}: saved, at_most: 9}}", silent)
        assert holds(f"{{not: {{{measure}: saved, at_most: 9}}}}", silent)

    def test_sum_max_and_last_read_numbers_only(self):
        values = [0.1, 0.2, True, None, "7", [9], {"a": 9}, -0.05]
        calls = [event("saved", 20 - i, properties={"used_mb": value}) for i, value in enumerate(values)]
        assert holds("{sum: saved, equals: 0.25}", *calls)
        assert holds("{max: saved, equals: 0.2}", *calls)
        assert holds("{last: saved, equals: -0.05}", *calls)

    def test_last_of_one_moment_is_by_message_id(self):
        calls = [event("saved", 1, properties={"used_mb": i}, message_id=m) for i, m in enumerate("aéZ")]
        assert holds("{last: saved, equals: 1}", *calls)


class TestRatio:
    def test_divides_the_last_value_by_the_limit_of_the_same_event(self):
        calls = (
            event("saved", 3, properties={"used_mb": 1, "quota_mb": 100}),
            event("saved", 2, properties={"used_mb": 92, "quota_mb": 100}),
            event("saved", 1, properties={"quota_mb": 1}),
        )
        assert holds("{ratio: saved, equals: 0.92}", *calls)

    @pytest.mark.parametrize("limit", [None, 0, -1, "100", True])
    def test_is_absent_without_a_limit_above_zero(self, limit):
        call = event("saved", properties={"used_mb": 92, "quota_mb": limit})
        assert not holds("{ratio: saved, at_least: -100}", call)
        assert not holds("{ratio: saved, at_most: 100}", call)

    def test_is_exact(self):
        call = event("saved", properties={"used_mb": 0.3, "quota_mb": 0.1})
        assert holds("{ratio: saved, equals: 3}", call)

    def test_a_trait_limit_is_the_one_known_on_the_day(self):
        calls = (traits(9, seat_limit=10), event("seated", 8, properties={"seats": 9}), traits(2, seat_limit=18))
        assert holds("{ratio: seated, equals: 0.5}", *calls)
        assert holds("{ratio: seated, equals: 0.9}", *calls, as_of=TODAY - timedelta(days=3))

    @pytest.mark.parametrize(("plan", "met"), [("free", True), ("pro", False), ("Free", False), (5, False)])
    def test_a_table_is_looked_up_by_the_text_of_the_trait(self, plan, met):
        calls = (traits(9, plan=plan), event("planned", 8, properties={"used": 5}))
        assert holds("{ratio: planned, at_least: 1}", *calls) is met


class TestTrend:
    @pytest.mark.parametrize(
        ("now", "before", "trend"), [([0, 1, 6], [7, 13], 1.5), ([], [7], 0), ([6], [7, 8], 0.5), ([0], [13, 14], 1)]
    )
    def test_divides_the_count_by_the_one_of_the_window_before(self, now, before, trend):
        calls = [event("invited", days_ago) for days_ago in (*now, *before)]
        assert holds(f"{{trend: invited, within: 7, equals: {trend}}}", *calls)

    @pytest.mark.parametrize("days_ago", [[], [0, 1], [14], [0, 14]])
    def test_is_absent_if_nothing_happened_in_the_window_before(self, days_ago):
        calls = [event("invited", d) for d in days_ago]
        assert not holds("{trend: invited, within: 7, at_least: 0}", *calls)
        assert holds("{not: {trend: invited, within: 7, at_least: 0}}", *calls)

    def test_is_exact(self):
        calls = [event("invited", d) for d in (0, 7, 8, 9)]
        assert holds("{trend: invited, within: 7, more_than: 0.333333333333333}", *calls)
        assert holds("{trend: invited, within: 7, less_than: 0.333333333333334}", *calls)


class TestSeveral:
    CALLS = (event("invited", 20), event("invited", 3), event("saved", 9), event("upgraded", -1))

    @pytest.mark.parametrize(("window", "seen"), [("", 2), (", within: 4", 1), (", within: 10", 2), (", within: 3", 0)])
    def test_breadth_counts_signals_not_events(self, window, seen):
        assert holds(f"{{breadth: [invited, saved, upgraded]{window}, equals: {seen}}}", *self.CALLS)

    def test_an_event_of_two_signals_counts_for_both(self):
        call = event("saved", properties={"used_mb": 100, "kind": "pdf"})
        assert holds("{breadth: [saved, big, any, big], equals: 3}", call)

    @pytest.mark.parametrize(
        ("path", "met"),
        [
            ("path: [invited, saved]", True),
            ("path: [saved, invited]", False),
            ("path: [saved, invited], within: 10", True),
            ("path: [invited, saved], within: 10", False),
            ("path: [invited, saved], within: 4", False),
            ("path: [invited, saved, upgraded]", False),
            ("path: [any, invited, saved]", True),
        ],
    )
    def test_a_path_is_the_order_in_which_things_were_first_seen_in_the_window(self, path, met):
        assert holds(f"{{{path}}}", *self.CALLS) is met

    def test_steps_of_one_moment_are_in_order_either_way(self):
        calls = (event("invited", 3), event("saved", 3))
        assert holds("{path: [invited, saved]}", *calls)
        assert holds("{path: [saved, invited]}", *calls)


class TestTime:
    def test_since_last_counts_days_from_the_last_event(self):
        assert holds("{since_last: invited, equals: 3}", event("invited", 9), event("invited", 3), event("saved", 1))

    def test_since_last_of_nothing_is_the_age(self):
        assert holds("{since_last: invited, equals: 9}", event("saved", 9))

    def test_without_a_sign_up_age_and_since_last_are_absent(self):
        assert not holds("{age: account, at_least: 0}", traits(3))
        assert not holds("{since_last: any, at_least: 0}", traits(3))
        assert holds("{not: {since_last: any, at_least: 0}}", traits(3))

    def test_sign_up_is_the_earliest_of_trait_signal_and_first_use(self):
        first_use, signal = event("invited", 5), event("signed_up", 7)
        assert judge(first_use).sign_up == on(5).date()
        assert judge(first_use, signal).sign_up == on(7).date()
        assert judge(first_use, signal, traits(1, created_at="2026-03-01")).sign_up == date(2026, 3, 1)

    @pytest.mark.parametrize(
        ("created_at", "sign_up"),
        [
            ("2026-03-05T23:30:00-05:00", date(2026, 3, 6)),
            ("2026-03-05T08:00:00Z", date(2026, 3, 5)),
            ("2026-03-05T08:00:00", date(2026, 3, 5)),
            ("2026-04-01", None),
            ("soon", None),
            (1772668800, None),
            (None, None),
        ],
    )
    def test_a_created_at_counts_if_it_is_a_day_not_after_today(self, created_at, sign_up):
        assert judge(traits(1, created_at=created_at)).sign_up == sign_up

    def test_ever_is_not_about_the_future(self):
        assert holds("{ever: invited}", event("invited", 300))
        assert not holds("{ever: invited}", event("invited", -1))

    @pytest.mark.parametrize(("days_ago", "early"), [(9, True), (3, True), (2, False), (-1, False)])
    def test_first_within_counts_the_day_of_sign_up_as_the_first(self, days_ago, early):
        calls = (event("saved", 9), event("invited", days_ago))
        assert holds("{first_within: invited, after_sign_up: 7}", *calls) is early

    def test_first_within_is_about_the_first_event_only(self):
        calls = (event("saved", 9), event("invited", 8), event("invited", 0))
        assert holds("{first_within: invited, after_sign_up: 2}", *calls)
        assert not holds("{first_within: invited, after_sign_up: 2}", *calls, traits(1, created_at="2026-03-01"))

    def test_first_within_is_absent_without_a_sign_up(self):
        document = FRAME.replace("{event: upgraded}", "{event: $group}")
        rules = "rules: [{id: it, group: activity, points: 1, when: {first_within: upgraded, after_sign_up: 9}}]"
        tiers = "tiers: [{name: hot, enter: {}}]"
        judged = World(History((traits(3),))).judge(language.parse(f"{document}{rules}\n{tiers}"), TODAY, ACME)
        assert judged.sign_up is None
        assert not judged.rules["it"].met

    def test_calls_that_say_who_somebody_is_are_not_use(self):
        calls = [event(name) for name in ("$identify", "$group", "$alias", "$page", "$screen", "saved")]
        assert holds("{count: any, equals: 3}", *calls)

    def test_what_libraries_report_by_themselves_is_not_use(self):
        calls = [event(name) for name in ("$feature_flag_called", "$exception", "$web_vitals", "$autocapture", "saved")]
        assert holds("{count: any, equals: 2}", *calls)


class TestTrait:
    def test_the_newest_value_up_to_the_day_counts(self):
        calls = (traits(3, plan="pro"), traits(5, plan="free"), traits(-1, plan="gone"))
        assert holds("{trait: plan, equals: pro}", *calls)
        assert holds("{trait: plan, equals: free}", *calls, as_of=TODAY - timedelta(days=4))

    def test_values_of_one_moment_are_ordered_by_message_id(self):
        calls = [event("$group", 1, message_id=m, account_traits={"plan": m}) for m in "aéZ"]
        assert holds("{trait: plan, equals: é}", *calls)

    def test_null_takes_the_value_back(self):
        assert holds("{trait: plan, exists: false}", traits(3, plan="pro"), traits(2, plan=None))

    def test_any_call_of_the_account_may_state_a_trait(self):
        assert holds("{trait: plan, equals: pro}", event("saved", account_traits={"plan": "pro"}))

    @pytest.mark.parametrize(
        ("test", "passing", "failing"),
        [
            ("equals: 1", [1, 1.0], [True, "1", [1], 2]),
            ("equals: true", [True], [1, "true", False]),
            ("equals: pro", ["pro"], ["Pro", "pro ", ["pro"]]),
            ("in: [pro, 5]", ["pro", 5, 5.0], ["5", True, "free"]),
            ("between: [1, 2.5]", [1, 2.5], [0.9, 2.6, "2", True]),
            ("at_least: 1", [1, 7], [0.5, "7", True]),
            ("at_most: 1", [1, -7], [1.5, "1", False]),
            ("more_than: 1", [1.01], [1, "2"]),
            ("less_than: 1", [0.99], [1, "0", False]),
            ("contains: r", ["pro", ["r", 1]], ["PRO", ["pro"], 5]),
            ("contains: 5", [[5], [5.0, "x"]], ["5", 5, ["5"], [True]]),
            ("starts_with: p", ["pro"], ["Pro", " p", ["p"], 5]),
            ("exists: true", ["", 0, False, []], []),
            ("exists: false", [], ["", 0, False]),
        ],
    )
    def test_tests_read_a_value_as_what_it_is(self, test, passing, failing):
        assert [value for value in passing if not holds(f"{{trait: it, {test}}}", traits(1, it=value))] == []
        assert [value for value in failing if holds(f"{{trait: it, {test}}}", traits(1, it=value))] == []

    def test_an_unknown_trait_fails_every_test_but_exists_false(self):
        tests = ["equals: 0", "in: [0]", "between: [-1, 1]", "at_most: 9", "contains: a", "starts_with: a"]
        assert not any(holds(f"{{trait: it, {test}}}") for test in [*tests, "exists: true"])
        assert holds("{trait: it, exists: false}")


class TestSignal:
    @pytest.mark.parametrize(
        ("name", "used", "kind", "met"),
        [
            ("saved", 100, "pdf", True),
            ("synced", 100.0, 7, True),
            ("saved", 99.9, "pdf", False),
            ("saved", "100", "pdf", False),
            ("saved", 100, "doc", False),
            ("invited", 100, "pdf", False),
        ],
    )
    def test_an_event_must_have_a_name_and_pass_all_filters(self, name, used, kind, met):
        assert holds("{ever: big}", event(name, properties={"used_mb": used, "kind": kind})) is met


POINTS = """
groups: {{activity: {{score: usage{cap}}}, company: {{score: fit}}}}
rules:
{rules}
tiers: [{{name: hot, enter: {{usage: 10}}}}]
"""


def scored(*points: float, cap: str = "") -> Judgement:
    """The judgement of rules that all fire, with so many points, in one group."""
    rules = [
        f"- {{id: r{i}, group: activity, points: {p}, when: {{count: any, at_least: 0}}}}" for i, p in enumerate(points)
    ]
    text = FRAME.replace("groups: {activity: {score: usage}, company: {score: fit}}", "") + POINTS.format(
        cap=cap, rules="\n".join(rules)
    )
    return World(History()).judge(language.parse(text), TODAY, ACME)


class TestPoints:
    def test_are_hundredths(self):
        assert scored(0.25, 10).usage == 1025

    def test_are_clipped_at_the_cap_before_the_negatives_come_off(self):
        assert scored(30, -10, 40, cap=", cap: 50").usage == 4000

    @pytest.mark.parametrize(("first", "second", "fit"), [(30, 40, 30), (-10, 40, 0), (80, 40, 50)])
    def test_of_a_first_match_group_only_the_first_met_rule_counts(self, first, second, fit):
        rules = f"""
rules:
  - {{id: not, group: company, points: 99, when: {{ever: upgraded}}}}
  - {{id: one, group: company, points: {first}, when: {{ever: any}}}}
  - {{id: two, group: company, points: {second}, when: {{ever: any}}}}
tiers: [{{name: hot, enter: {{usage: 10}}}}]
"""
        frame = FRAME.replace("company: {score: fit}", "company: {score: fit, cap: 50, first_match: true}")
        judged = World(History((event("invited"),))).judge(language.parse(frame + rules), TODAY, ACME)
        assert (judged.fit, judged.rules["two"].met, judged.rules["two"].raw) == (fit * 100, True, second * 100)

    def test_never_fall_below_zero(self):
        assert scored(5, -30).usage == 0

    def test_of_usage_and_fit_stay_apart(self):
        rules = """
rules:
  - {id: a, group: activity, points: -5, when: {count: any, at_least: 0}}
  - {id: b, group: company, points: 7, when: {count: any, at_least: 0}}
tiers: [{name: hot, enter: {usage: 10}}]
"""
        assert (judge(rules=rules).usage, judge(rules=rules).fit) == (0, 700)

    @pytest.mark.parametrize(("count", "raw"), [(0, 0), (4, 0), (5, 200), (14, 400), (15, 500), (50, 500)])
    def test_per_unit_count_full_units_up_to_the_most(self, count, raw):
        rules = PLAIN.replace("points: 10, when: {count: any, at_least: 1}", "points: 2, max: 5, per: {PER}")
        rules = rules.replace("{PER}", "{count: invited, within: 14, every: 5}")
        judgement = judge(*[event("invited", message_id=str(i)) for i in range(count)], rules=rules)
        assert (judgement.usage, judgement.rules["some"].met) == (raw, raw > 0)

    @pytest.mark.parametrize(("used", "raw"), [(-9, 0), ("9", 0), (0.29, 0), (0.3, -200), (0.9, -500)])
    def test_per_unit_of_a_negative_or_absent_measure_are_none(self, used, raw):
        rules = PLAIN.replace(
            "points: 10, when: {count: any, at_least: 1}", "points: -2, max: 5, per: {sum: saved, every: 0.3}"
        )
        verdict = judge(event("saved", properties={"used_mb": used}), rules=rules).rules["some"]
        assert (verdict.raw, verdict.met) == (raw, raw < 0)

    def test_per_unit_wait_for_their_condition(self):
        rules = PLAIN.replace("points: 10, when:", "points: 10, max: 30, per: {count: any}, when:").replace(
            "{count: any, at_least: 1}", "{count: any, at_least: 2}"
        )
        assert judge(event("saved"), rules=rules).usage == 0
        assert judge(event("saved"), event("saved", 1), rules=rules).usage == 2000


TIERS = """
rules:
  - {id: use, group: activity, points: 10, max: 100, per: {count: invited, within: 14}}
  - {id: size, group: company, points: 20, when: {trait: employees, at_least: 100}}
  - {id: asked, qualify: warm, when: {count: saved, within: 7, at_least: 1}}
  - {id: called, qualify: hot, when: {count: big, within: 7, at_least: 1}}
  - {id: quiet, disqualify: true, when: {since_last: any, at_least: 21}}
population: {not: {outcome: paid}}
tiers:
  - {name: hot, pql: true, enter: {usage: 60, fit: 20}, hold: {usage: 40, fit: 20}}
  - {name: warm, enter: {usage: 30}, hold: {usage: 20}}
  - {name: cool, enter: {usage: 10}}
"""
BIG = traits(1, employees=500)


def invited(count: int) -> list[Call]:
    return [event("invited", 3, message_id=f"i{i}") for i in range(count)]


class TestDecay:
    @pytest.mark.parametrize(
        ("decay", "days_ago", "raw"),
        [
            ("half_life: 8", 0, 1001),
            ("half_life: 8", 1, 1001),
            ("half_life: 8", 2, 841),
            ("half_life: 8", 8, 500),
            ("half_life: 8", 31, 74),
            ("half_life: 8", 32, 0),
            ("linear: 30", 2, 1001),
            ("linear: 30", 3, 900),
            ("linear: 30", 29, 100),
            ("linear: 30", 30, 0),
            ("linear: 1", 0, 1001),
            ("linear: 1", 1, 0),
        ],
    )
    def test_points_fade_in_steps_from_the_last_event_on(self, decay, days_ago, raw):
        rules = self.RULES.format(f"when: {{ever: invited}}, decay: {{{decay}}}")
        verdict = judge(event("invited", 40), event("invited", days_ago), rules=rules).rules["it"]
        assert (verdict.met, verdict.raw) == (raw > 0, raw)

    RULES = "rules: [{{id: it, group: activity, points: 10.01, {}}}]\ntiers: [{{name: hot, enter: {{}}}}]"

    def test_of_names_what_they_fade_with(self):
        rules = self.RULES.format("when: {trait: plan, exists: false}, decay: {linear: 10, of: invited}")
        assert judge(event("invited", 5), rules=rules).rules["it"].raw == 500
        assert not judge(event("saved", 5), rules=rules).rules["it"].met

    @pytest.mark.parametrize(("days_ago", "raw"), [((0, 0), 2002), ((0, 5), 1001), ((5, 5), 1001), ((5,), 0), ((), 0)])
    def test_per_unit_each_event_fades_by_itself(self, days_ago, raw):
        calls = [event("invited", ago, message_id=f"m{i}") for i, ago in enumerate(days_ago)]
        rules = self.RULES.format("per: {count: invited}, max: 50, decay: {linear: 10}")
        assert judge(event("saved"), *calls, rules=rules).rules["it"].raw == raw

    def test_a_sum_fades_with_its_values(self):
        calls = [event("saved", ago, properties={"used_mb": 4}) for ago in (0, 5, 9, 10)]
        rules = self.RULES.format("per: {sum: saved, every: 6.4}, max: 50, decay: {linear: 10}")
        assert judge(*calls, rules=rules).rules["it"].raw == 1001
        assert judge(*calls, rules=rules.replace("6.4", "6.401")).rules["it"].raw == 0


class TestTier:
    @pytest.mark.parametrize(
        ("count", "tier", "held"),
        [
            (0, "", ()),
            (1, "cool", ("cool",)),
            (2, "cool", ("warm", "cool")),
            (3, "warm", ("warm", "cool")),
            (5, "warm", ("hot", "warm", "cool")),
            (6, "hot", ("hot", "warm", "cool")),
        ],
    )
    def test_is_the_first_that_is_entered_and_is_held_longer(self, count, tier, held):
        judgement = judge(BIG, *invited(count), rules=TIERS)
        assert (judgement.tier, judgement.held) == (tier, held)

    def test_needs_both_sides(self):
        assert judge(*invited(9), rules=TIERS).tier == "warm"

    def test_a_hand_raiser_lifts_and_holds(self):
        judgement = judge(event("saved", 6), rules=TIERS)
        assert (judgement.tier, judgement.held, judgement.usage) == ("warm", ("warm",), 0)
        assert judge(event("saved", 7), rules=TIERS).tier == ""

    def test_a_hand_raiser_never_lowers(self):
        judgement = judge(BIG, *invited(6), event("saved", 6), rules=TIERS)
        assert (judgement.tier, judgement.held) == ("hot", ("hot", "warm", "cool"))

    def test_the_best_of_two_hand_raisers_counts_and_both_hold(self):
        judgement = judge(event("saved", 6, properties={"used_mb": 100, "kind": "pdf"}), rules=TIERS)
        assert (judgement.tier, judgement.held) == ("hot", ("hot", "warm"))


class TestStatus:
    def test_a_disqualified_account_keeps_its_points_and_has_no_tier(self):
        judgement = judge(traits(30, employees=500), event("invited", 30), rules=TIERS)
        assert (judgement.status, judgement.tier, judgement.held) == ("disqualified", "", ())
        assert judgement.fit == 2000

    def test_disqualify_beats_qualify(self):
        rules = TIERS.replace("{since_last: any, at_least: 21}", "{since_last: invited, at_least: 5}")
        judgement = judge(event("invited", 6), event("saved", 1), rules=rules)
        assert (judgement.status, judgement.tier) == ("disqualified", "")

    def test_outside_the_population_beats_disqualified(self):
        judgement = judge(event("invited", 30), rules=TIERS, outcomes=(Outcome(ACME, "paid", on(2)),))
        assert judgement.status == "outside"

    def test_an_outcome_counts_from_its_day_on(self):
        paid = (Outcome(ACME, "paid", on(2)), Outcome(GLOBEX, "paid", on(9)))
        assert judge(event("saved"), rules=TIERS, outcomes=paid, as_of=TODAY - timedelta(3)).status == "scored"
        assert judge(event("saved"), rules=TIERS, outcomes=paid, as_of=TODAY - timedelta(2)).status == "outside"

    def test_excluded_beats_everything(self):
        judgement = judge(
            event("saved"),
            rules=TIERS,
            outcomes=(Outcome(ACME, "paid", on(2)),),
            exclusions=(Exclusion("account", "acme"),),
        )
        assert (judgement.status, judgement.tier) == ("excluded", "")

    def test_a_domain_excludes_the_account_known_by_it_but_not_a_group_of_that_name(self):
        exclusions = (Exclusion("domain", "acme.example"),)
        domain, group = Key("domain", "acme.example"), Key("group", "acme.example")
        assert judge(account=domain, exclusions=exclusions).status == "excluded"
        assert judge(account=group, exclusions=exclusions).status == "scored"

    @pytest.mark.parametrize(("days_ago", "excluded"), [(6, False), (5, True), (3, True), (2, False)])
    def test_an_exclusion_covers_its_first_day_and_not_its_last(self, days_ago, excluded):
        exclusion = Exclusion("account", "acme", starts_on=on(5).date(), ends_on=on(2).date())
        judgement = judge(exclusions=(exclusion,), as_of=on(days_ago).date())
        assert (judgement.status == "excluded") is excluded


class TestExcludedUser:
    @pytest.mark.parametrize(
        ("kind", "value", "left"),
        [
            ("email", "ann@acme.example", 1),
            ("domain", "acme.example", 1),
            ("user", "ann", 1),
            ("user", "a1", 1),
            ("email", "ben@acme.example", 3),
            ("account", "ann", 3),
        ],
    )
    def test_is_not_counted(self, kind, value, left):
        calls = (
            event("$identify", 9, user_traits={"email": "Ann@acme.example"}, anonymous_id="a1"),
            event("$identify", 8, user_traits={"email": "ann@gmail.com"}),
            event("invited", 3),
            event("invited", 2, None, anonymous_id="a1"),
            event("invited", 1, "ben"),
        )
        exclusions = (Exclusion(kind, value),)
        assert holds(f"{{count: invited, equals: {left}}}", *calls, exclusions=exclusions)

    def test_does_not_sign_an_account_up_nor_reach_its_goal(self):
        calls = (event("upgraded", 5), event("upgraded", 3, "ben"))
        judgement = judge(*calls, exclusions=(Exclusion("user", "ann"),))
        assert (judgement.goal_on, judgement.sign_up) == (on(3).date(), on(3).date())

    def test_still_tells_traits_and_the_home(self):
        calls = (traits(5, plan="pro"), event("invited", 3, group=None))
        assert holds("{trait: plan, equals: pro}", *calls, exclusions=(Exclusion("user", "ann"),))

    def test_counts_on_the_days_that_the_exclusion_does_not_cover(self):
        exclusions = (Exclusion("user", "ann", starts_on=on(1).date()),)
        assert not holds("{ever: invited}", event("invited", 9), exclusions=exclusions)
        assert holds("{ever: invited}", event("invited", 9), exclusions=exclusions, as_of=on(2).date())


class TestGoal:
    def test_is_reached_on_the_earliest_day_of_outcome_or_signal(self):
        outcomes = (Outcome(ACME, "won", on(4)), Outcome(ACME, "talked", on(9)), Outcome(GLOBEX, "won", on(8)))
        assert judge(outcomes=outcomes).goal_on == on(4).date()
        assert judge(event("upgraded", 6), outcomes=outcomes).goal_on == on(6).date()

    def test_is_not_reached_before_its_day(self):
        assert judge(event("upgraded", -1), outcomes=(Outcome(ACME, "won", on(-1)),)).goal_on is None


class TestChange:
    def test_silence_changes_the_result_when_a_window_runs_out(self):
        world = World(History((*invited(3), event("$group", 1))))
        document = language.parse(FRAME + TIERS)
        left = on(3).date() + timedelta(days=14)
        assert world.next_change(document, TODAY, TODAY + timedelta(days=30), ACME) == left
        assert world.changes_on(document, left, ACME)
        assert not world.changes_on(document, left - timedelta(days=1), ACME)

    def test_there_may_be_none(self):
        document = language.parse(FRAME + PLAIN)
        world = World(History((event("saved"),)))
        assert world.next_change(document, TODAY, TODAY + timedelta(days=30), ACME) is None


class TestJudgeAll:
    def test_judges_each_account_by_its_own_calls(self):
        history = History(
            (event("saved"), event("$group", group="globex", joins=True)), (Outcome(INITECH, "won", on(60)),)
        )
        judgements = World(history).judge_all(language.parse(FRAME + PLAIN), TODAY)
        assert {key: judgement.usage for key, judgement in judgements.items()} == {
            ACME: 1000,
            GLOBEX: 0,
            INITECH: 0,
        }


class TestOrder:
    @settings(deadline=None, max_examples=few(25), suppress_health_check=[HealthCheck.too_slow])
    @given(strategies.documents(), strategies.histories(), strategies.days(), st.randoms(use_true_random=False))
    def test_and_repetition_change_nothing(self, document, history, day, random):
        calls = [*history.calls, *history.calls[::2]]
        random.shuffle(calls)
        shuffled = History(tuple(calls), history.outcomes, history.exclusions)
        assert World(shuffled).judge_all(document, day) == World(history).judge_all(document, day)


RULES = [
    (language.Points, True),
    (language.Points, False),
    (language.Qualify, False),
    (language.Disqualify, False),
]


class TestStrategies:
    """What never comes up is never compared: the random cases must reach every corner of a judgement."""

    expected = {
        *((*rule, met) for rule in RULES for met in (True, False)),
        *(("fading", per, met) for per in (True, False) for met in (True, False)),
        *((language.Measured, measure) for measure in language.MEASURES),
        *((leaf, None) for leaf in get_args(language.Leaf) if leaf is not language.Measured),
        *("group", "domain", "user"),
        *("scored", "disqualified", "outside", "excluded"),
        *("hot", "warm", "cool", ""),
        *((score, some) for score in ("usage", "fit") for some in (True, False)),
        *(True, False),
    }
    seen: set[object] = set()

    class Everything(Exception):
        """All has come up."""

    @settings(
        deadline=None,
        max_examples=400,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
    )
    @given(strategies.documents(), strategies.histories(), strategies.days())
    def _look(self, document, history, day):
        leaves = [leaf for rule in document.rules for leaf in language.leaves(rule.when)]
        self.seen.update((type(leaf), getattr(leaf, "measure", None)) for leaf in leaves)
        for key, judgement in World(history).judge_all(document, day).items():
            self.seen.update([key.kind, judgement.status, judgement.tier, judgement.goal_on is None])
            self.seen.update([("usage", judgement.usage > 0), ("fit", judgement.fit > 0)])
            for rule in document.rules:
                per = getattr(rule, "per", None) is not None
                self.seen.add((type(rule), per, judgement.rules[rule.id].met))
                if getattr(rule, "decay", None) or (per and rule.per.decay):
                    self.seen.add(("fading", per, judgement.rules[rule.id].met))
        if self.expected <= self.seen:
            raise self.Everything

    def test_reach_every_leaf_rule_status_and_tier(self):
        with suppress(self.Everything):
            self._look()
        assert self.expected - self.seen == set()


class TestThePage:
    """What docs/rule-language.md shows must be what the parser takes."""

    page = Path(__file__).parents[2].joinpath("docs", "rule-language.md").read_text()
    texts = re.findall(r"```yaml\n(.*?)```", page, re.S)
    blocks: list[Any] = [read(text).data for text in texts]

    def test_examples_are_valid(self):
        language.parse(self.texts[0])
        whole = self.blocks[0]
        parts = [block for block in self.blocks if isinstance(block, dict) and block is not whole]
        signals = {name: signal for part in parts for name, signal in part.get("signals", {}).items()}
        frame = {**whole, "signals": whole["signals"] | signals}
        for part in parts:
            if "cases" not in part:  # they speak of rules that they do not show: see test_cases
                language.load({**frame, "rules": frame["rules"][:1], **part, "signals": frame["signals"]})
        for item in [item for block in self.blocks if isinstance(block, list) for item in block]:
            rule = item if "id" in item else {"id": "it", "group": "activity", "points": 1, "when": item}
            language.load({**frame, "rules": [rule]})

    def test_every_measure_has_an_example(self):
        words = {
            word
            for block in self.blocks
            if isinstance(block, list)
            for item in block
            for word in ([] if "id" in item else item)
        }
        assert {*LEAVES, "all", "any", "not"} <= words

    def test_every_test_is_explained(self):
        assert [test for test in language.TESTS if f"`{test}" not in self.page] == []
