from datetime import timedelta
from decimal import Decimal
from typing import Any

import time_machine
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import TestCase
from django.urls import reverse
from django.utils import timezone

from routing import attendance, leads, people, ruling
from routing.models import AE, Absence, HandlingPolicy, Holiday, Membership, Pool, RoutingRule
from scoring import facts, jobs, rules
from scoring.models import Account, Exclusion, Identity, Job, Key, Parked, ProductUser, RuleSet, RuleVersion, Source
from tests.pqlapp import desk_world
from tests.pqlapp.desk_world import NOW, RULES, Team


class World(TestCase):
    team: Team

    @classmethod
    def setUpTestData(cls) -> None:
        cls.team = desk_world.build()
        failed = {"attempts": 1, "first_failed_at": NOW, "retry_at": NOW + timedelta(hours=1)}
        Parked.objects.create(account=desk_world.account("globex"), reason="made up", **failed)
        facts.create_key(source=Source.objects.get(), kind="write", by=None, at=NOW)
        people.set_handling(rule_set=RuleSet.objects.get(), tier="hot", handling="sales", at=NOW)
        facts.exclude(kind="domain", value="us.example", why="internal", by=None, at=NOW)
        Identity.objects.create(value="kiosk", user=ProductUser.objects.all()[0], refused_at=NOW, refused_why="made up")

    def setUp(self) -> None:
        clock = time_machine.travel(NOW, tick=False)
        clock.start()
        self.addCleanup(clock.stop)
        self.client.force_login(self.team.admin)

    def page(self, name: str, *args: object) -> str:
        return reverse(f"admin:{name}", args=args)

    def post(self, name: str, /, *args: object, **data: object) -> str:
        """Post a form and return the page that it leads to, as text."""
        response = self.client.post(self.page(name, *args), data, follow=True)
        assert response.status_code == 200
        return response.content.decode()


class TestWhoEnters(World):
    def test_an_ae_a_manager_and_a_stranger_are_kept_out_of_every_page(self) -> None:
        for user in (self.team.ann.user, self.team.manager, self.team.stranger):
            self.client.force_login(user)
            for model in admin.site._registry:
                page = self.page(f"{model._meta.app_label}_{model._meta.model_name}_changelist")
                assert self.client.get(page).status_code == 302, (user, page)

    def test_staff_without_the_role_see_nothing(self) -> None:
        User.objects.filter(pk=self.team.stranger.pk).update(is_staff=True)
        self.client.force_login(User.objects.get(pk=self.team.stranger.pk))
        assert self.client.get(self.page("scoring_key_changelist")).status_code == 403
        assert self.client.get(self.page("scoring_key_add")).status_code == 403

    def test_staff_in_the_group_of_admins_enter(self) -> None:
        self.team.stranger.groups.add(Group.objects.get(name="Admin"))
        User.objects.filter(pk=self.team.stranger.pk).update(is_staff=True)
        self.client.force_login(User.objects.get(pk=self.team.stranger.pk))
        assert self.client.get(self.page("scoring_key_changelist")).status_code == 200


class TestEveryPage(World):
    def test_lists_and_shows_what_there_is(self) -> None:
        rules.publish(version=rules.draft(text=RULES + "# more", by=None, at=NOW), note="test", by=None, at=NOW)
        told: dict[str, Any] = {"at": NOW, "received_at": NOW, "message_id": "mql", "source": None}
        leads.market(account=desk_world.account("acme"), rule_set=RuleSet.objects.get(), **told)
        leads.set_sla(rule_set=RuleSet.objects.get(), tier="", hours=Decimal(1))
        leads.reassign(lead=desk_world.lead_of("acme"), to=self.team.ben, by=None, at=NOW)
        leads.keep_deadlines(at=NOW + timedelta(hours=1))
        for minutes in (0, 5):
            leads.beat(at=NOW + timedelta(minutes=minutes))
        ruling.set_rule(name="All", text="always", pool=Pool.objects.get(), at=NOW)
        attendance.add_absence(ae=self.team.ben, first=NOW.date(), last=None, at=NOW)
        attendance.set_holiday(on=NOW.date(), name="Off-site", calendar="", at=NOW)
        assert self.client.get("/admin/").status_code == 200
        for model, pages in admin.site._registry.items():
            name = f"{model._meta.app_label}_{model._meta.model_name}"
            assert self.client.get(self.page(f"{name}_changelist")).status_code == 200, name
            found = model._default_manager.first()
            assert found is not None, name
            assert self.client.get(self.page(f"{name}_change", found.pk)).status_code == 200, name
            if pages.search_fields:
                assert self.client.get(self.page(f"{name}_changelist") + "?q=a").status_code == 200, name

    def test_deletes_nothing(self) -> None:
        for model in admin.site._registry:
            name = f"{model._meta.app_label}_{model._meta.model_name}"
            found = model._default_manager.first()
            if found is not None:
                assert self.client.post(self.page(f"{name}_delete", found.pk), {"post": "yes"}).status_code == 403, name


class TestRules(World):
    def test_a_wrong_document_is_refused_with_line_and_field_of_every_fault(self) -> None:
        wrong = RULES.replace("within: 14 days}, max: 30", "within: soon}, max: 30").replace(
            "group: company", "group: compny"
        )
        page = self.post("scoring_ruleversion_add", text=wrong)
        assert "line 14, rules[0].per.within: must be a whole number" in page
        assert "rules[3].group" in page and "did you mean &#x27;company&#x27;" in page
        assert RuleVersion.objects.count() == 1

    def test_a_draft_is_stored_and_changed(self) -> None:
        self.post("scoring_ruleversion_add", text=RULES + "# a second thought\n")
        version = RuleVersion.objects.get(number=2)
        assert version.created_by == self.team.admin
        self.post("scoring_ruleversion_change", version.pk, text=RULES + "# a third\r\n", revision=1)
        version.refresh_from_db()
        assert version.text.endswith("# a third\n") and version.number == 2

    def test_a_draft_stays_in_its_rule_set(self) -> None:
        self.post("scoring_ruleversion_add", text=RULES + "# a second thought\n")
        draft = RuleVersion.objects.get(number=2)
        page = self.post(
            "scoring_ruleversion_change", draft.pk, text=RULES.replace("slug: new", "slug: old"), revision=1
        )
        assert "must stay" in page

    def test_a_draft_that_somebody_else_changed_is_not_overwritten(self) -> None:
        self.post("scoring_ruleversion_add", text=RULES + "# a second thought\n")
        draft = RuleVersion.objects.get(number=2)
        assert (
            'name="revision" value="1"'
            in self.client.get(self.page("scoring_ruleversion_change", draft.pk)).content.decode()
        )
        self.post("scoring_ruleversion_change", draft.pk, text=RULES + "# ann\n", revision=1)
        page = self.post("scoring_ruleversion_change", draft.pk, text=RULES + "# ben\n", revision=1)
        assert "was changed by somebody else" in page and "# ben" in page
        draft.refresh_from_db()
        assert draft.text == RULES + "# ann\n"

    def test_a_published_version_is_not_changed(self) -> None:
        live = RuleVersion.objects.get()
        response = self.client.post(self.page("scoring_ruleversion_change", live.pk), {"text": RULES + "# no"})
        assert response.status_code == 403
        live.refresh_from_db()
        assert live.text == RULES

    def test_publish_shows_what_changes_asks_for_the_reason_and_leads_to_the_job(self) -> None:
        self.post("scoring_ruleversion_add", text=RULES + "# a second thought\n")
        draft = RuleVersion.objects.get(number=2)
        publish = f"{self.page('scoring_ruleversion_changelist')}{draft.pk}/publish/"
        page = self.client.get(publish).content.decode()
        assert "Publish new-business v2" in page
        assert "0 become PQLs, 0 are none any more" in page
        assert 'href="/rules/new-business/2/compare/"' in page  # which knows the load of pools and AEs
        assert not Job.objects.filter(state="queued").exists()
        seen = page.split('name="seen" value="')[1].split('"')[0]
        assert "This field is required" in self.client.post(publish, {"note": "", "seen": seen}).content.decode()
        response = self.client.post(publish, {"note": "It is better.", "seen": seen})
        job = Job.objects.get(state="queued")
        assert job.arguments["note"] == "It is better." and job.created_by == self.team.admin
        assert job.arguments["expected"]["enters"] == 0
        self.assertRedirects(response, self.page("scoring_job_change", job.pk))

    def test_publish_of_what_was_not_seen_shows_it_anew(self) -> None:
        self.post("scoring_ruleversion_add", text=RULES + "# a second thought\n")
        draft = RuleVersion.objects.get(number=2)
        publish = f"{self.page('scoring_ruleversion_changelist')}{draft.pk}/publish/"
        page = self.client.post(publish, {"note": "It is better.", "seen": "made up"}, follow=True).content.decode()
        assert "Not done: look at what it would change first" in page
        assert not Job.objects.filter(state="queued").exists()

    def test_publish_can_be_set_to_a_time_and_be_cancelled(self) -> None:
        self.post("scoring_ruleversion_add", text=RULES + "# a second thought\n")
        draft = RuleVersion.objects.get(number=2)
        publish = f"{self.page('scoring_ruleversion_changelist')}{draft.pk}/publish/"
        seen = self.client.get(publish).content.decode().split('name="seen" value="')[1].split('"')[0]
        on = timezone.now() + timedelta(days=1)
        self.client.post(publish, {"note": "It is better.", "seen": seen, "on": f"{on:%Y-%m-%dT%H:%M}"})
        job = Job.objects.get(state="queued")
        assert job.arguments["on"] == f"{on:%Y-%m-%dT%H:%M}:00+00:00"
        rule_set = RuleSet.objects.get()
        assert (
            "new-business v2 at" in self.client.get(self.page("scoring_ruleset_change", rule_set.pk)).content.decode()
        )
        self.client.post(f"{self.page('scoring_ruleset_changelist')}{rule_set.pk}/cancel/")
        job.refresh_from_db()
        assert job.state == "stopped"

    def test_a_version_with_a_new_signal_has_its_history_read_first(self) -> None:
        self.post("scoring_ruleversion_add", text=RULES.replace("signals:", "signals:\n  new: {event: Never Seen}"))
        draft = RuleVersion.objects.get(number=2)
        pages = self.page("scoring_ruleversion_changelist")
        response = self.client.get(f"{pages}{draft.pk}/publish/", follow=True)
        assert "It cannot be compared yet" in response.content.decode()
        self.client.post(f"{pages}{draft.pk}/read_history/")
        assert Job.objects.get(state="queued").kind == "prepare"

    def test_the_home_page_tells_of_a_review_that_is_due(self) -> None:
        live = RuleVersion.objects.get()
        review, today = f"{self.page('scoring_ruleversion_changelist')}{live.pk}/review/", timezone.now().date()
        self.client.post(review, {"owner": self.team.admin.pk, "on": f"{today + timedelta(days=2)}"})
        assert "its review was due" not in self.client.get("/admin/").content.decode()
        self.client.post(review, {"owner": self.team.admin.pk, "on": f"{today}"})
        page = self.client.get("/admin/").content.decode()
        assert "new-business v1" in page and "its review was due" in page
        assert "Live since" in page and "reached the goal afterwards" in page

    def test_a_running_jobs_page_refreshes_itself_until_it_is_over(self) -> None:
        version = rules.draft(text=RULES + "# more", by=None, at=NOW)
        job = rules.publish(version=version, note="test", by=None, at=NOW)
        page = self.page("scoring_job_change", job.pk)
        assert self.client.get(page)["Refresh"] == "2"
        claimed = jobs.claim(job=job, at=NOW)
        assert claimed is not None
        jobs.finish(job=claimed, result={}, at=NOW)
        assert "Refresh" not in self.client.get(page)

    def test_what_cannot_be_published_is_told(self) -> None:
        live = RuleVersion.objects.get()
        response = self.client.post(f"{self.page('scoring_ruleversion_changelist')}{live.pk}/publish/", follow=True)
        assert "is live already" in response.content.decode()

    def test_roll_back_is_told_when_there_is_nothing_before(self) -> None:
        rule_set = RuleSet.objects.get()
        response = self.client.post(f"{self.page('scoring_ruleset_changelist')}{rule_set.pk}/roll_back/", follow=True)
        assert "one live version at most" in response.content.decode()


class TestKeysAndExclusions(World):
    def test_a_key_is_shown_once(self) -> None:
        page = self.post("scoring_key_add", source=Source.objects.get().pk, kind="server")
        key = Key.objects.get(kind="server")
        secret = page.split('value="')[-1].split('"')[0]
        assert facts.key_for(secret=secret) == key
        assert secret not in self.client.get(self.page("scoring_key_change", key.pk)).content.decode()

    def test_a_revoked_key_no_longer_opens(self) -> None:
        key, secret = facts.create_key(source=Source.objects.get(), kind="write", by=None, at=NOW)
        self.client.post(f"{self.page('scoring_key_changelist')}{key.pk}/revoke/")
        assert facts.key_for(secret=secret) is None

    def test_a_source_is_made(self) -> None:
        self.post("scoring_source_add", slug="billing")
        assert Source.objects.filter(slug="billing").exists()

    def test_a_source_is_told_how_long_it_keeps_events(self) -> None:
        source = Source.objects.get()
        self.client.post(self.page("scoring_source_change", source.pk), {"keep_events_days": "90"})
        assert Source.objects.get().keep_events_days == 90
        refused = self.client.post(self.page("scoring_source_change", source.pk), {"keep_events_days": "7"})
        assert "greater than or equal to 30" in refused.content.decode()
        self.client.post(self.page("scoring_source_change", source.pk), {"keep_events_days": ""})
        assert Source.objects.get().keep_events_days is None

    def test_an_exclusion_is_made_and_lifted(self) -> None:
        self.post(
            "scoring_exclusion_add", kind="account", value="acme", why="test", note="ours", starts_on="", ends_on=""
        )
        made = Exclusion.objects.get(value="acme")
        assert (made.why, made.created_by) == ("test", self.team.admin)
        self.client.post(f"{self.page('scoring_exclusion_changelist')}{made.pk}/lift/")
        made.refresh_from_db()
        assert made.ends_on is not None


class TestPeople(World):
    def test_an_ae_is_made_with_log_in_and_pool(self) -> None:
        self.post(
            "routing_ae_add",
            email="cleo@example.com",
            name="Cleo Marchetti",
            pool="East",
            weight=3,
            capacity=7,
            time_zone="Europe/Rome",
            password="correct horse battery",
        )
        cleo = AE.objects.get(user__username="cleo@example.com")
        assert cleo.memberships.get().weight == 3
        assert Pool.objects.filter(name="East").exists()

    def test_what_the_verb_refuses_is_told(self) -> None:
        common = {"email": "cleo@example.com", "name": "Cleo", "pool": "East", "weight": 1}
        page = self.post("routing_ae_add", **common, time_zone="Mars/Olympus")
        assert "is not a time zone" in page
        assert not AE.objects.filter(user__username="cleo@example.com").exists()

    def test_a_place_in_a_pool_changes_weight_and_capacity_and_nothing_else(self) -> None:
        place = Membership.objects.get(ae=self.team.ann)
        credit = place.credit
        self.post("routing_membership_change", place.pk, weight=5, capacity="", is_active="on")
        place.refresh_from_db()
        assert (place.weight, place.capacity, place.is_active, place.credit) == (5, None, True, credit)

    def test_an_ae_is_deactivated_and_the_leads_go_to_others(self) -> None:
        self.client.post(f"{self.page('routing_ae_changelist')}{self.team.ann.pk}/deactivate/")
        assert not AE.objects.get(pk=self.team.ann.pk).is_active
        assert desk_world.lead_of("acme").ae == self.team.ben

    def test_the_handling_of_a_tier_is_set_and_changed(self) -> None:
        given = {"rule_set": RuleSet.objects.get().pk, "tier": "warm", "handling": "nurture", "pool": ""}
        self.post("routing_handlingpolicy_add", **given)
        policy = HandlingPolicy.objects.get(tier="warm")
        self.post("routing_handlingpolicy_change", policy.pk, handling="sales", pool="")
        policy.refresh_from_db()
        assert (policy.tier, policy.handling) == ("warm", "sales")

    def test_hours_and_skills_of_an_ae_are_set(self) -> None:
        page = f"{self.page('routing_ae_changelist')}{self.team.ann.pk}"
        said = {"week": "Mon-Fri 9-17", "time_zone": "Europe/Berlin", "calendar": "DE"}
        self.client.post(f"{page}/working_time/", said)
        self.client.post(f"{page}/knowledge/", {"tags": "EN, de"})
        ann = AE.objects.get(pk=self.team.ann.pk)
        assert (ann.hours, ann.calendar, ann.tags) == ("Mon-Fri 09:00-17:00", "DE", ["de", "en"])
        refused = self.client.post(f"{page}/working_time/", said | {"week": "Mon"}, follow=True)
        assert "names no days with hours" in refused.content.decode()

    def test_an_absence_is_noted_and_ended(self) -> None:
        self.post("routing_absence_add", ae=self.team.ann.pk, first="2020-01-01", last="", open_leads="stay")
        absence = Absence.objects.get()
        self.client.post(f"{self.page('routing_absence_changelist')}{absence.pk}/end/")
        absence.refresh_from_db()
        assert absence.ends_at is not None

    def test_a_day_off_is_given_and_taken_back(self) -> None:
        self.post("routing_holiday_add", on="2099-01-05", name="Off-site", calendar="")
        self.client.post(f"{self.page('routing_holiday_changelist')}{Holiday.objects.get().pk}/drop/")
        assert not Holiday.objects.exists()

    def test_a_routing_rule_is_made_changed_and_looked_through(self) -> None:
        given = {"position": 1, "pool": Pool.objects.all()[0].pk, "owner_trait": "owner", "is_active": "on"}
        self.post("routing_routingrule_add", name="All", text="always", asked="DE, en", **given)
        rule = RoutingRule.objects.get()
        assert rule.asks == ["de", "en"]
        late = given | {"position": 2, "name": "Late", "text": "{trait: a, equals: b}"}
        self.post("routing_routingrule_add", asked="", **late)
        page = self.client.get(self.page("routing_routingrule_changelist")).content.decode()
        assert "is never reached" in page
        self.post("routing_routingrule_change", rule.pk, name="All", text="{trait: a", asked="", **given)
        rule.refresh_from_db()
        assert rule.text == "always"

    def test_a_log_in_is_made(self) -> None:
        self.post(
            "auth_user_add", email="max@example.com", name="Max", role="Manager", password="correct horse battery"
        )
        made = User.objects.get(username="max@example.com")
        assert made.groups.get().name == "Manager" and made.check_password("correct horse battery")

    def test_the_account_page_leads_to_the_desk(self) -> None:
        acme = Account.objects.get(external_id="acme")
        page = self.client.get(self.page("scoring_account_change", acme.pk)).content.decode()
        assert reverse("account", args=[acme.pk]) in page and "Acme &amp; Sons" in page


class TestMerges(World):
    def merge_page(self, name: str) -> str:
        return f"{self.page('scoring_account_changelist')}{desk_world.account(name).pk}/merge/"

    def test_shows_what_comes_together_before_it_merges(self) -> None:
        asked = self.client.post(self.merge_page("globex"), {"into": "nobody"})
        assert b"No account is known by this id." in asked.content
        shown = self.client.post(self.merge_page("globex"), {"into": "acme"}, follow=True)
        assert b"Merge globex into acme" in shown.content
        assert b"Events in 28 days" in shown.content
        assert desk_world.account("globex").merged_into is None
        done = self.client.post(shown.redirect_chain[-1][0], follow=True)
        assert desk_world.account("globex").merged_into == desk_world.account("acme")
        assert done.status_code == 200
        again = self.client.get(f"{self.merge_page('globex')}?into={desk_world.account('initech').pk}", follow=True)
        assert b"was merged into acme before" in again.content

    def test_takes_a_merge_back(self) -> None:
        facts.merge_accounts(
            other=desk_world.account("globex"), into=desk_world.account("acme"), by=self.team.admin, at=NOW
        )
        page = self.page("scoring_account_change", desk_world.account("globex").pk)
        assert b"into <a" in self.client.get(page).content
        self.client.post(self.merge_page("globex").replace("/merge/", "/separate/"))
        assert desk_world.account("globex").merged_into is None

    def test_names_the_conversions_of_a_source(self) -> None:
        source = Source.objects.get()
        page = "scoring_source_change"
        assert "Name each event once." in self.post(
            page, source.pk, conversion_events='[{"event": "a", "kind": "paid"}, {"event": "a", "kind": "won"}]'
        )
        self.post(page, source.pk, conversion_events='[{"event": "Plan Bought", "kind": "paid"}]')
        source.refresh_from_db()
        assert source.conversion_events == [{"event": "Plan Bought", "kind": "paid"}]


class TestFairness(World):
    def test_a_pool_deals_out_value_and_shows_who_had_how_much(self) -> None:
        pool = Pool.objects.get()
        page = reverse("admin:routing_pool_fairness", args=[pool.pk])
        refused = self.client.post(page, {"tier_values": "hot 12000", "credit_days": "3"}).content.decode()
        assert "Write tiers and whole numbers" in refused
        self.client.post(page, {"tier_values": "hot: 12000, warm:3000", "credit_days": "3"})
        pool.refresh_from_db()
        assert (pool.tier_values, pool.credit_days) == ({"hot": 12_000, "warm": 3_000}, 3)
        shown = self.client.get(self.page("routing_pool_change", pool.pk)).content.decode()
        assert "value: hot: 12000, warm: 3000" in shown
        assert "Due (leads of the largest value)" in shown
        assert "hot: 12000, warm: 3000" in self.client.get(page).content.decode()


class TestOverdue(World):
    def test_a_pool_says_what_is_done(self) -> None:
        pool = Pool.objects.get()
        page = reverse("admin:routing_pool_overdue", args=[pool.pk])
        assert "What is done with a lead" in self.client.get(page).content.decode()
        self.client.post(page, {"at_breach": "reassign"})
        pool.refresh_from_db()
        assert pool.at_breach == "reassign"

    def test_a_deadline_that_cannot_be_is_refused(self) -> None:
        rule_set = RuleSet.objects.get()
        given = {"rule_set": rule_set.pk, "tier": "hot", "hours": "4", "warn_hours": "5"}
        refused = self.client.post(self.page("routing_sla_add"), given, follow=True).content.decode()
        assert "The warning comes before the deadline" in refused
        self.client.post(self.page("routing_sla_add"), given | {"warn_hours": "1"})
        assert rule_set.slas.get().hours == 4

    def test_reasons_are_added_and_taken_from_the_list(self) -> None:
        given = {"kind": "lose", "name": "Reorganised", "is_active": "on", "place": "7", "refunds": ""}
        self.client.post(self.page("routing_closereason_add"), given)
        reason = leads.listed(kind="lose").get(name="Reorganised")
        self.client.post(self.page("routing_closereason_change", reason.pk), {"place": "7"})
        assert not leads.listed(kind="lose").filter(name="Reorganised").exists()
