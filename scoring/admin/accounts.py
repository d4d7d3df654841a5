"""What came of it: accounts and the merges of them, users, refused ids, scores."""

from collections.abc import Sequence

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from scoring import facts
from scoring.admin.words import ids_of, moment, points, tier_or_why, who, whole
from scoring.backstage import AdminPages, act, link, table
from scoring.models import (
    Account,
    Parked,
    ProductUser,
    RefusedIdentity,
    Score,
)


class OtherAccount(forms.Form):
    """Which account another one turned out to be."""

    into = forms.CharField(
        label="The account that stays",
        max_length=512,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Its id as its sender gives it, such as acme or acme.example.",
    )

    def clean_into(self) -> Account:
        """Find it."""
        account = facts.account_named(external_id=self.cleaned_data["into"].strip())
        if account is None:
            raise forms.ValidationError("No account is known by this id.")
        return account


@admin.register(Account)
class AccountPages(AdminPages):
    """All accounts, to be found by their id."""

    list_display = ["external_id", "kind", "created_at", "merged_into"]
    list_filter = ["kind"]
    list_select_related = ["merged_into"]
    search_fields = ["external_id"]
    ordering = ["-id"]
    fields = ["external_id", "kind", "created_at", "merge_state", "desk", "scores", "people", "traits"]
    readonly_fields = ["merge_state", "desk", "scores", "people", "traits"]
    actions_detail = ["merge", "separate"]

    @display(description="Merged")
    def merge_state(self, account: Account) -> str | SafeString:
        """Into which account, or which ones into this."""
        if account.merged_into is not None:
            into = link(self, account.merged_into)
            return format_html("into {} on {} by {}", into, moment(account.merged_at), account.merged_by or "the API")
        here = [link(self, other) for other in account.merged.order_by("external_id")]
        return format_html_join(", ", "{}", ([one] for one in here)) or "-"

    @action(description="Merge into another account", permissions=["view"], icon="merge")
    def merge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask into which, show what that brings together, and do it."""
        account = Account.objects.get(pk=object_id)
        into = Account.objects.filter(pk=whole(request.GET.get("into"))).first()
        if into is None:
            return self._ask_into_which(request, account)
        try:
            seen = facts.preview_merge(other=account, into=into, as_of=timezone.now().date())
        except facts.CannotMerge as refusal:
            messages.error(request, f"{refusal}")
            return HttpResponseRedirect(self.page_of(account))
        return act(
            self,
            request,
            account,
            title=f"Merge {account} into {into}",
            explanation=_told(self, seen),
            button="Merge",
            refusals=(facts.CannotMerge,),
            do=lambda said: facts.merge_accounts(other=account, into=into, by=who(request), at=timezone.now()),
        )

    def _ask_into_which(self, request: HttpRequest, account: Account) -> HttpResponse:
        chosen = OtherAccount(request.POST) if request.method == "POST" else None
        if chosen is not None and chosen.is_valid():
            return HttpResponseRedirect(f"{request.path}?into={chosen.cleaned_data['into'].pk}")
        return act(
            self,
            request,
            account,
            title=f"Merge {account} into another account",
            explanation="For two accounts that turned out to be one, or an account whose id changed. Nothing is merged "
            "yet: the next page shows what comes together.",
            button="Show",
            form_class=OtherAccount,
            do=lambda said: None,
        )

    @action(description="Part from the account it was merged into", permissions=["view"], icon="call_split")
    def separate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take a merge back."""
        account = Account.objects.get(pk=object_id)
        return act(
            self,
            request,
            account,
            title=f"Let {account} stand for itself again",
            explanation="Its people, traits and outcomes come back at once, and what is counted by a job that reads "
            "its events again. Leads stay where they are; accounts that came along with it stay merged; days whose "
            "events were dropped cannot be parted.",
            button="Part",
            refusals=(facts.CannotMerge,),
            do=lambda said: facts.separate_account(account=account, at=timezone.now()),
        )

    @display(description="On the desk")
    def desk(self, account: Account) -> SafeString:
        """The page that AEs see."""
        page = reverse("account", args=[account.pk])
        return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">Open its page</a>', page)

    @display(description="Scores")
    def scores(self, account: Account) -> str | SafeString:
        """What each rule set says."""
        rows = account.scores.select_related("rule_set").order_by("rule_set__name")
        return table(
            ["Rule set", "Tier", "Usage", "Fit", "Day"],
            [(s.rule_set, tier_or_why(s.status, s.tier), points(s.usage), points(s.fit), s.as_of) for s in rows],
        )

    @display(description="People who live here")
    def people(self, account: Account) -> str | SafeString:
        """The users whose home it is."""
        users = account.residents.filter(merged_into=None).prefetch_related("identities").order_by("pk")[:50]
        return table(["User", "Ids"], [(link(self, user), ", ".join(ids_of(user))) for user in users])

    @display(description="What was said of it")
    def traits(self, account: Account) -> str | SafeString:
        """The newest statements about it."""
        rows = account.trait_changes.select_related("source").order_by("-at", "-id")[:30]
        return table(
            ["Trait", "Value", "When", "By"],
            [(t.key, f"{t.value}"[:80], moment(t.at), t.source or t.get_precedence_display()) for t in rows],
        )


def _told(pages: AdminPages, seen: facts.MergePreview) -> SafeString:
    """What a merge brings together, as a table."""
    sides = (seen.other, seen.into)
    rows: list[Sequence[object]] = [
        ("Users who live there", *(side.users for side in sides), seen.users),
        ("Events in 28 days", *(side.events for side in sides), seen.events),
        ("Outcomes", *(side.outcomes for side in sides), seen.outcomes),
        ("Scores", *(_scores(side) for side in sides), "judged anew within seconds"),
        ("Open leads", *(_on_desk(side.account) for side in sides), "one for each motion"),
    ]
    head = ["", f"{seen.other.account}", f"{seen.into.account}", "Together"]
    return format_html(
        "<p>Events keep the account that they name, and count for {} from now on, for ever back. Of two open leads "
        "the one that somebody works stays. You can part them again; a lead that moved stays then.</p>{}",
        link(pages, seen.into.account),
        table(head, rows),
    )


def _scores(side: facts.Side) -> str:
    return ", ".join(f"{score.rule_set}: {tier_or_why(score.status, score.tier)}" for score in side.scores) or "-"


def _on_desk(account: Account) -> SafeString:
    page = reverse("account", args=[account.pk])
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">see its page</a>', page)


@admin.register(ProductUser)
class ProductUserPages(AdminPages):
    """Users of the product, to be found by any of their ids."""

    list_display = ["id", "ids", "home", "known", "created_at"]
    list_filter = ["known"]
    search_fields = ["identities__value"]
    list_select_related = ["home"]
    ordering = ["-id"]
    fields = ["ids", "home", "known", "merged_into", "created_at"]
    readonly_fields = ["ids"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProductUser]:
        """Bring the ids along."""
        return ProductUser.objects.prefetch_related("identities")

    @display(description="Ids")
    def ids(self, user: ProductUser) -> str:
        """By which senders call them."""
        return ", ".join(ids_of(user)) or "-"


@admin.register(RefusedIdentity)
class RefusedIdentityPages(AdminPages):
    """Ids that too many people share. Each is a user of its own; nobody is taken for one because of it."""

    list_display = ["value", "refused_why", "refused_at"]
    search_fields = ["value"]
    list_select_related = ["user"]
    ordering = ["-refused_at"]
    fields = ["value", "refused_why", "refused_at", "user"]


@admin.register(Score)
class ScorePages(AdminPages):
    """The present judgement on each account, or on each user where users are judged."""

    list_display = ["account", "user", "rule_set", "shown_tier", "usage_points", "fit_points", "as_of", "changed_at"]
    list_filter = ["rule_set", "status", "is_pql", "tier"]
    search_fields = ["account__external_id"]
    list_select_related = ["account", "user", "rule_set"]
    ordering = ["-usage"]
    exclude = ["ledger", "usage", "fit"]
    readonly_fields = ["usage_points", "fit_points"]

    @display(description="Tier", ordering="tier")
    def shown_tier(self, score: Score) -> str:
        """The tier, or why none."""
        return tier_or_why(score.status, score.tier)

    @display(description="Usage", ordering="usage")
    def usage_points(self, score: Score) -> str:
        """In points."""
        return points(score.usage)

    @display(description="Fit", ordering="fit")
    def fit_points(self, score: Score) -> str:
        """In points."""
        return points(score.fit)


@admin.register(Parked)
class ParkedPages(AdminPages):
    """Accounts whose rescore failed; each is tried again by itself."""

    list_display = ["account", "reason", "attempts", "first_failed_at", "retry_at"]
    list_select_related = ["account"]
    ordering = ["-first_failed_at"]
