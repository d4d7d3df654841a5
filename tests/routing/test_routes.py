"""Routing rules: read, matched in order, and looked through for what can never match."""

import pytest

from routing import routes
from routing.routes import Route
from scoring import language

EMEA = "{trait: country, in: [DE, FR, GB]}"
GERMANY = "{trait: country, equals: DE}"
LARGE = "{trait: seats, at_least: 100}"
HOT = "{lead: tier, equals: hot}"


def rules(*texts: str, to: str | None = None) -> list[Route]:
    return [
        Route(number, f"rule {number}", language.parse_route(text), to or f"pool {number}")
        for number, text in enumerate(texts, 1)
    ]


def found(*texts: str, traits: dict | None = None, tier: str = "hot") -> int | None:
    match = routes.first_match(rules(*texts), traits=traits or {}, lead={"tier": tier})
    return match.id if match else None


def linted(*texts: str, to: str | None = None) -> dict[int, str]:
    return {finding.route: finding.message for finding in routes.lint(rules(*texts, to=to))}


class TestParse:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("{trait: country, is: DE}", "needs exactly one test"),
            ("{count: exports, at_least: 3}", "must be a condition with exactly one of: trait, lead"),
            ("{lead: teir, equals: hot}", "did you mean 'tier'"),
            ("all: [{trait: country, equals: DE}, {trait: a, at_least: x}]", r"all\[1\].at_least"),
            ("", "the document is empty"),
        ],
    )
    def test_tells_every_fault_with_its_place(self, text: str, says: str) -> None:
        with pytest.raises(language.Invalid, match=says):
            language.parse_route(text)


class TestFirstMatch:
    def test_is_the_first_in_order(self) -> None:
        assert found(GERMANY, EMEA, "always", traits={"country": "DE"}) == 1
        assert found(GERMANY, EMEA, "always", traits={"country": "FR"}) == 2
        assert found(GERMANY, EMEA, "always", traits={"country": "US"}) == 3
        assert found(GERMANY, EMEA, traits={"country": "US"}) is None

    def test_reads_the_lead_as_well_as_the_account(self) -> None:
        both = f"all: [{HOT}, {LARGE}]"
        assert found(both, traits={"seats": 100}) == 1
        assert found(both, traits={"seats": 100}, tier="warm") is None
        assert found(both, traits={"seats": 99.5}) is None

    @pytest.mark.parametrize(
        ("text", "country", "matches"),
        [
            ("{trait: country, exists: true}", None, False),
            ("{trait: country, exists: false}", None, True),
            (f"not: {GERMANY}", None, True),
            ("{trait: country, starts_with: D}", "DE", True),
            ("{trait: country, contains: E}", ["DE", "E"], True),
            ("{trait: country, at_least: 1}", True, False),
            ("{trait: country, equals: 1}", 1.0, True),
            ("{trait: country, equals: true}", 1, False),
            ("{trait: country, between: [1, 3]}", 3, True),
            ("{trait: country, less_than: 3}", 3, False),
        ],
    )
    def test_compares_as_the_engine_does(self, text: str, country: object, matches: bool) -> None:
        assert (found(text, traits={"country": country}) == 1) == matches


class TestWhyNone:
    def test_names_what_was_asked_and_what_there_is(self) -> None:
        said = routes.why_none(rules(EMEA, HOT), traits={}, lead={"tier": "warm"})
        assert said == "No routing rule matches tier = warm, country = null."


class TestLint:
    def test_finds_nothing_wrong_with_rules_that_divide_the_world(self) -> None:
        assert linted(GERMANY, "{trait: country, equals: US}") == {}

    def test_finds_what_comes_after_a_catch_all(self) -> None:
        assert linted("always", GERMANY) == {2: "is never reached: 'rule 1' comes first and takes all of its leads."}

    def test_finds_what_an_earlier_rule_covers(self) -> None:
        assert "never reached: 'rule 1'" in linted(EMEA, GERMANY)[2]
        assert "never reached: 'rule 1'" in linted(LARGE, "{trait: seats, more_than: 200}")[2]

    def test_finds_what_earlier_rules_cover_together(self) -> None:
        assert "takes all of its leads together" in linted(LARGE, f"not: {LARGE}", GERMANY)[3].replace(
            "take all", "takes all"
        )

    def test_finds_a_contradiction(self) -> None:
        assert "contradict" in linted("all: [{trait: seats, at_least: 9}, {trait: seats, less_than: 9}]")[1]

    def test_tells_an_overlap_with_an_example(self) -> None:
        assert linted(GERMANY, LARGE) == {
            2: "overlaps 'rule 1', which comes first and gets for example country = DE, seats = 100."
        }

    def test_does_not_mind_an_overlap_of_rules_that_send_leads_the_same_way(self) -> None:
        assert linted(GERMANY, LARGE, to="West") == {}

    def test_does_not_mind_a_catch_all_at_the_end(self) -> None:
        assert "overlaps" not in linted(GERMANY, "always").get(2, "")

    def test_gives_up_on_what_is_too_many_to_try_and_not_on_the_rest(self) -> None:
        wide = [f"all: [{', '.join(f'{{trait: t{n}, equals: a}}' for n in range(k, k + 3))}]" for k in range(0, 24, 3)]
        assert 9 not in linted(*wide, "{trait: z, equals: 1}", to="West")
