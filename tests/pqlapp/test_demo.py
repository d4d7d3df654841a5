from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from itertools import pairwise

import pytest
from django.core.management import call_command

from pqlapp.demo import loading
from pqlapp.demo.company import TODAY, Kind, companies, truth
from pqlapp.demo.life import World
from pqlapp.demo.loading import RULES, OtherDemoLoaded, load
from routing.models import AE, Absence, Assignment, Breach, Lead, LeadMove
from scoring import language
from scoring.models import Event, Publication, RuleSet, Score, ScoreChange, Source, Status, Touched
from tests import cleaning

SEED, ACCOUNTS = 7, 90
NOW = datetime(2026, 3, 10, 15, 20, tzinfo=UTC)  # a Tuesday
DAY_ZERO = NOW.date() - timedelta(days=TODAY)
WORLD = World(SEED, ACCOUNTS, DAY_ZERO)


def day(number: int) -> date:
    return DAY_ZERO + timedelta(days=number)


class TestCompanies:
    def test_of_any_number_have_names_and_people_of_their_own(self) -> None:
        made = companies(1, 3000)
        people = [person.user_id for company in made for person in company.people]
        assert len({company.external_id for company in made}) == len(made) == 3000
        assert len(people) == len(set(people))

    def test_are_the_same_for_the_same_seed_and_others_for_another(self) -> None:
        companies.cache_clear()
        first = companies(3, 60)
        companies.cache_clear()
        assert companies(3, 60) == first
        assert companies(4, 60) != first

    def test_of_later_days_leave_those_before_as_they_were(self) -> None:
        later = companies(SEED, ACCOUNTS, TODAY + 60)
        assert later[:ACCOUNTS] == companies(SEED, ACCOUNTS)
        assert len(later) > ACCOUNTS
        assert all(TODAY < company.signs_up_on <= TODAY + 61 for company in later[ACCOUNTS:])

    def test_are_of_every_kind(self) -> None:
        assert set(truth(SEED, ACCOUNTS).values()) == set(Kind)

    def test_know_acme_globex_and_initech(self) -> None:
        kinds = truth(SEED, ACCOUNTS)
        assert (kinds["acme"], kinds["globex"]) == (Kind.CONVERTER, Kind.TYRE_KICKER)
        initech = next(company for company in companies(SEED, ACCOUNTS) if company.id == "initech")
        assert initech.buys_on is not None and initech.buys_on < TODAY - 60


class TestDays:
    def test_are_the_same_however_often_and_in_whatever_order_they_are_made(self) -> None:
        once = [WORLD.facts(day(n)) for n in (40, 41, 42)]
        assert [WORLD.facts(day(n)) for n in (42, 41, 40)] == once[::-1]

    def test_hold_calls_of_their_own_date_in_order(self) -> None:
        calls = WORLD.facts(day(100))
        assert {call.at.date() for call in calls} == {day(100)}
        assert all(before.at <= after.at for before, after in pairwise(calls))

    def test_never_repeat_a_message_id(self) -> None:
        ids = [call.message_id for n in range(TODAY + 3) for call in WORLD.facts(day(n))]
        assert len(ids) == len(set(ids))

    def test_are_quiet_at_the_weekend(self) -> None:
        weekend = sum(len(WORLD.facts(day(n))) for n in range(80, 108) if day(n).weekday() > 4) / 8
        week = sum(len(WORLD.facts(day(n))) for n in range(80, 108) if day(n).weekday() < 5) / 20
        assert weekend < week / 3

    def test_begin_without_a_name(self) -> None:
        newcomer = next(c for c in companies(SEED, ACCOUNTS) if 0 < c.signs_up_on < TODAY and c.id)
        founder = newcomer.people[0]
        calls = [c for c in WORLD.facts(day(newcomer.signs_up_on)) if c.anonymous_id == founder.anonymous_id]
        assert [(call.name, call.user_id is None) for call in calls[:4]] == [
            ("$page", True),
            ("$page", True),
            ("$identify", False),
            ("$group", False),
        ]


class TestRules:
    @pytest.mark.parametrize("path", sorted(RULES.iterdir()), ids=lambda path: path.name)
    def test_are_valid(self, path: object) -> None:
        assert language.parse(open(str(path)).read()).tiers  # noqa: PTH123, SIM115

    def test_read_only_signals_that_really_occur(self) -> None:
        happened = {call.name for n in range(60, TODAY + 1) for call in WORLD.facts(day(n))}
        for path in RULES.iterdir():
            for name, signal in language.parse(path.read_text()).signals:
                assert set(signal.events) <= happened, name


@pytest.fixture(scope="class")
def demo(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """The demo, loaded once for all tests that only look at it."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        try:
            load(accounts=ACCOUNTS, seed=SEED, now=NOW, days=70, on_progress=lambda *_: None)
            yield
        finally:
            cleaning.flush()


@pytest.mark.django_db
@pytest.mark.usefixtures("demo")
class TestLoaded:
    def test_converters_qualify_far_more_often_than_tyre_kickers(self) -> None:
        kinds = truth(SEED, ACCOUNTS)
        opened = set(Lead.objects.filter(motion="new-business").values_list("account__external_id", flat=True))

        def share(kind: Kind) -> float:
            ours = [name for name, its_kind in kinds.items() if its_kind is kind]
            return sum(name in opened for name in ours) / len(ours)

        forming = [
            c for c in companies(SEED, ACCOUNTS) if c.kind is Kind.CONVERTER and TODAY - 30 <= (c.wakes_on or 0) < TODAY
        ]
        assert len(forming) > 3
        assert sum(company.external_id in opened for company in forming) / len(forming) > 0.75
        assert share(Kind.CONVERTER) > 0.35
        assert share(Kind.TYRE_KICKER) < 0.1
        assert share(Kind.FIT_WITHOUT_USAGE) < 0.1
        assert share(Kind.USAGE_WITHOUT_FIT) < 0.1

    def test_nobody_internal_excluded_or_paying_becomes_new_business(self) -> None:
        kinds = truth(SEED, ACCOUNTS)
        for lead in Lead.objects.filter(motion="new-business").select_related("account"):
            assert kinds[lead.account.external_id] not in (Kind.INTERNAL, Kind.COMPETITOR, Kind.CUSTOMER)
        excluded = Score.objects.filter(status=Status.EXCLUDED).values_list("account__external_id", flat=True)
        assert set(excluded) == {"chalkline", "inkboard"}

    def test_customers_of_old_who_outgrow_their_plan_become_expansion(self) -> None:
        kinds = truth(SEED, ACCOUNTS)
        leads = Lead.objects.filter(motion="expansion").select_related("account")
        assert any(kinds[lead.account.external_id] is Kind.CUSTOMER for lead in leads)

    def test_a_sensible_share_qualifies(self) -> None:
        scores = Score.objects.filter(rule_set__slug="new-business")
        assert 0.06 < scores.filter(is_pql=True).count() / scores.count() < 0.25

    def test_everything_is_scored_up_to_now(self) -> None:
        assert not Touched.objects.exclude(cause="outcome").exists()
        assert set(Score.objects.filter(is_pql=True).values_list("scored_at__date", flat=True)) <= {
            NOW.date() - timedelta(days=n) for n in range(30)
        }

    def test_leads_are_of_all_ages_and_in_several_stages(self) -> None:
        opened = set(Lead.objects.values_list("opened_at__date", flat=True))
        assert len(opened) > 8
        assert NOW.date() in opened
        verbs = set(LeadMove.objects.values_list("verb", flat=True))
        assert {"open", "assign", "accept", "disqualify", "win"} <= verbs
        assert Lead.objects.filter(closed_as="disqualified").exclude(close_reason="").exists()

    def test_the_aes_have_work(self) -> None:
        ann = AE.objects.get(user__username="ann@demo.example")
        assert ann.leads.exclude(state="closed").count() >= 3

    def test_hours_absences_rules_and_deadlines_show(self) -> None:
        decisions = [made.decision for made in Assignment.objects.exclude(decision={})]
        gates = {gate["name"] for made in decisions for one in made.get("candidates", []) for gate in one["gates"]}
        assert {"hours", "absence", "skills"} <= gates
        assert any("Large companies" in str(made) for made in decisions)
        assert Lead.objects.filter(due_at__gt=NOW).exists() and Breach.objects.exists()
        assert Absence.objects.filter(handed_over_at__isnull=False).exists()

    def test_scores_have_a_history(self) -> None:
        acme = ScoreChange.objects.filter(account__external_id="acme", rule_set__slug="new-business")
        assert len(set(acme.values_list("as_of", flat=True))) >= 3

    def test_new_business_has_a_version_to_roll_back_to(self) -> None:
        live = RuleSet.objects.get(slug="new-business").live_version
        assert live is not None and live.number == 2
        newest = Publication.objects.filter(version=live).get()
        assert newest.replaced is not None and newest.at.date() == day(loading.SECOND_VERSION_ON)

    def test_nothing_lies_in_the_future(self) -> None:
        assert not Event.objects.filter(at__gt=NOW).exists()
        assert not LeadMove.objects.filter(at__gt=NOW).exists()

    def test_a_demo_of_another_size_is_refused(self) -> None:
        with pytest.raises(OtherDemoLoaded, match="demo-90-7"):
            load(accounts=200, seed=SEED, now=NOW, days=70, on_progress=lambda *_: None)


@pytest.mark.django_db(transaction=True)
class TestExtending:
    def test_a_second_start_changes_nothing_and_a_later_one_adds_the_days_between(self) -> None:
        first = self.load(NOW)
        leads = set(Lead.objects.values_list("pk", "state", "tier"))
        again = self.load(NOW)
        assert (again.calls, again.leads) == (0, 0)
        assert set(Lead.objects.values_list("pk", "state", "tier")) == leads
        later = NOW + timedelta(days=2)
        self.load(later)
        assert first.calls > 100
        assert Source.objects.filter(slug__startswith="demo-").count() == 1
        expected = {
            call.message_id
            for n in range(TODAY - 1, TODAY + 3)
            for call in World(SEED, 30, DAY_ZERO, TODAY - 1).facts(day(n))
            if call.at <= later
        }
        assert set(Event.objects.values_list("message_id", flat=True)) == expected

    def test_the_command_says_who_may_log_in(self) -> None:
        out = StringIO()
        call_command("load_demo", "--accounts", "30", "--days", "1", stdout=out)
        for word in ("admin@demo.example", "manager@demo.example", "ann@demo.example", loading.PASSWORD):
            assert word in out.getvalue()

    def load(self, now: datetime) -> loading.Loaded:
        return load(accounts=30, seed=SEED, now=now, days=1, on_progress=lambda *_: None)
