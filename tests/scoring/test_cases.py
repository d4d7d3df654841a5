"""The cases of a rule document, through everything that real events go through."""

from datetime import UTC, date, datetime

import pytest

from scoring import language, trials

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
TEXT = """\
slug: new-business
name: New business
motion: new_business
goal: {outcome: paid}
signals:
  invited: {event: invited}
  big: {event: uploaded, where: [{property: mb, at_least: 10}]}
population: {not: {outcome: paid}}
groups:
  team: {score: usage}
  company: {score: fit}
rules:
  - {id: invites, group: team, points: 40, when: {users: invited, within: 14, at_least: 2}}
  - {id: uploads, group: team, points: 2.5, per: {count: big}, max: 10}
  - {id: size, group: company, points: 20, when: {trait: employees, at_least: 50}}
  - {id: quiet, disqualify: true, when: {since_last: any, at_least: 30}}
tiers:
  - {name: hot, pql: true, enter: {usage: 40, fit: 20}}
  - {name: warm, enter: {usage: 40}}
cases:
"""
GOOD = """\
  - name: Two people of a larger company
    on: 2026-03-31
    history:
      - {event: invited, user: ann, days_ago: 13, times: 3}
      - {event: invited, user: ben}
      - {event: uploaded, properties: {mb: 12.5, name: a}, times: 2}
      - {event: uploaded, properties: {mb: 9}}
      - {traits: {employees: 80}, days_ago: 100}
    expect: {tier: hot, status: scored, usage: 45, fit: 20, met: [invites, uploads], not_met: [quiet]}
  - name: The same, a day too late
    on: 2026-03-31
    history:
      - {event: invited, user: ann, days_ago: 14}
      - {event: invited, user: ben}
    expect: {tier: none, not_met: [invites]}
  - name: A customer
    on: 2026-03-31
    history: [{event: invited}, {outcome: paid, days_ago: 3}]
    expect: {status: outside, tier: none}
  - {name: Nobody, on: 2026-03-31, expect: {tier: none, usage: 0}}
"""
WRONG = """\
  - name: Expects too much
    on: 2026-03-31
    history: [{event: invited, user: ann}]
    expect: {tier: hot, status: disqualified, usage: 40, fit: 1.5, met: [invites], not_met: [quiet]}
"""


def run(text: str) -> list[trials.Trial]:
    document, cases = language.parse_cases(text)
    return trials.run(document=document, cases=cases, at=NOW)


@pytest.mark.django_db
class TestCases:
    def test_that_are_right_have_no_differences(self) -> None:
        assert [(trial.case.name, list(trial.differences)) for trial in run(TEXT + GOOD)] == [
            ("Two people of a larger company", []),
            ("The same, a day too late", []),
            ("A customer", []),
            ("Nobody", []),
        ]

    def test_that_are_wrong_say_all_that_differs(self) -> None:
        (trial,) = run(TEXT + WRONG)
        assert list(trial.differences) == [
            "tier is none, not hot",
            "status is scored, not disqualified",
            "usage is 0, not 40",
            "fit is 0, not 1.5",
            "rule invites is not met",
        ]
        assert trial.case.line == 21

    def test_of_one_file_do_not_meet(self) -> None:
        twice = GOOD.split("  - name: The same")[0] * 2
        assert [list(trial.differences) for trial in run(TEXT + twice)] == [[], []]


class TestReading:
    def test_they_are_no_part_of_the_meaning(self) -> None:
        document, cases = language.parse_cases(TEXT + GOOD)
        assert language.digest(document) == language.digest(language.parse(TEXT.removesuffix("cases:\n")))
        assert cases[0].on == date(2026, 3, 31)
        assert cases[0].history[0].on == date(2026, 3, 18)

    @pytest.mark.parametrize(
        ("wrong", "path", "message"),
        [
            ("tier: hot, status", "cases[0].expect.tier", ""),
            ("days_ago: 13", "cases[0].history[0].days_ago", "whole number"),
            ("traits: {employees: 80}", "cases[0].history[4].traits", "mapping"),
            ("on: 2026-03-31\n    history:\n      - {event: invited, user: ann, days_ago: 13", "cases[0].on", "a day"),
            ("met: [invites, uploads]", "cases[0].expect.met[0]", "unknown rule"),
        ],
    )
    def test_faults_are_told_with_path_and_line(self, wrong: str, path: str, message: str) -> None:
        worse = {
            "tier: hot, status": "tier: hut, status",
            "days_ago: 13": "days_ago: -1",
            "traits: {employees: 80}": "traits: 80",
            "met: [invites, uploads]": "met: [invite, uploads]",
        }.get(wrong, wrong.replace("2026-03-31", "31 March"))
        with pytest.raises(language.Invalid) as invalid:
            language.parse((TEXT + GOOD).replace(wrong, worse, 1))
        (fault,) = invalid.value.faults
        assert (fault.path, bool(fault.line)) == (path, True)
        assert message in fault.message

    def test_a_case_that_expects_nothing_is_refused(self) -> None:
        with pytest.raises(language.Invalid, match="must expect something"):
            language.parse(TEXT + "  - {name: x, on: 2026-03-31, expect: {}}\n")
