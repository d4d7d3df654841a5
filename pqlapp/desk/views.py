"""The desk: what an AE sees all day, and a manager's view of the team. Each act is a POST and one verb call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from django import forms as django_forms
from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from pqlapp import bell
from pqlapp.desk import decisions, forms, qualifying, reads, standing
from pqlapp.desk.access import EVERYBODY, MANAGERS, Viewer, back, only, show
from pqlapp.desk.ledger import Ledger, laid_out
from pqlapp.desk.sparkline import Sparkline
from routing import leads, queue
from routing.models import AE, Assignment, Breach, Lead, LeadMove, State
from scoring import engine, explain, scores
from scoring.language import Document, signals_of
from scoring.models import Account, Parked, Score, shard_of

PAGE = 50
MERGED_SHOWN = 20  # of the accounts that were merged into one
YEAR = 365 * 86400
BREACHES_SHOWN = timedelta(days=7)
# What a line of the queue does not show, and is long. The opening ledger is shown of a closed lead.
UNREAD = ("reasons", "why", "kept", "close_reason")
UNASSIGNED, EVERYONE = "unassigned", "all"
TAB_WORDS = {
    queue.Tab.NEW: "To do",
    queue.Tab.WORKING: "Accepted",
    queue.Tab.SNOOZED: "Snoozed",
    queue.Tab.CLOSED: "Closed",
}

MOVE_WORDS = {"open": "opened", "undo": "put back"} | {verb: move.done for verb, move in leads.MOVES.items()}


@dataclass(frozen=True, slots=True)
class Row:
    """A lead as a line of the queue."""

    row: queue.Row
    name: str
    why: str
    activity: Sparkline

    @property
    def lead(self) -> Lead:
        """The lead itself."""
        return self.row.lead

    @property
    def usage(self) -> int:
        """Hundredths of a point: now; of a closed lead, when it opened."""
        return self.row.usage if self.lead.is_open else int(self.lead.opening["usage"])

    @property
    def fit(self) -> int:
        """Hundredths of a point: now; of a closed lead, when it opened."""
        return self.row.fit if self.lead.is_open else int(self.lead.opening["fit"])


# ---- the queue


@require_safe
@only(EVERYBODY)
def queue_page(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show one tab of a queue: an AE's own; to a manager, anybody's, everybody's, or what waits for an AE."""
    now = timezone.now()
    whose = _whose(request, viewer)
    tab = _tab(request)
    words = request.GET.get("q", "").strip()[:100]
    among = _searched(_among(viewer, whose), words)
    is_limited = not words and request.GET.get("closed") != "all"
    if is_limited:
        among = queue.not_long_closed(among=among, at=now)
    counts = queue.counts(among=among)
    page = max(1, _whole(request.GET.get("page"), 1))
    listed = _waiting(among) if whose == UNASSIGNED else queue.in_tab(among=among, tab=tab)
    unread = UNREAD if tab == queue.Tab.CLOSED else (*UNREAD, "opening")
    found = queue.rows(among=listed.defer(*unread), at=now, limit=PAGE + 1, offset=(page - 1) * PAGE)
    return show(
        request,
        viewer,
        "queue",
        {
            "rows": _rows(found[:PAGE], now),
            "tab": tab,
            "tabs": [(t, TAB_WORDS[t], counts[t]) for t in queue.Tab],
            "counts": counts,
            "whose": whose,
            "q": words,
            "page": page,
            "closed_days": queue.CLOSED_SHOWN.days if is_limited else None,
            "has_more": len(found) > PAGE,
            "aes": _aes() if viewer.is_manager else [],
            "fresh_at": scores.fresh_as_of(at=now),
            "reasons": leads.listed(kind="disqualify"),
            "here": request.get_full_path(),
        },
    )


def _whose(request: HttpRequest, viewer: Viewer) -> str:
    """Return whose queue is meant: an AE's id, all, or unassigned. An AE without a manager's role has one choice."""
    if not viewer.is_manager:
        return str(viewer.ae.pk) if viewer.ae else EVERYONE
    asked = request.GET.get("ae", "")
    if asked in (UNASSIGNED, EVERYONE) or asked.isdecimal():
        return asked
    return str(viewer.ae.pk) if viewer.ae else EVERYONE


def _among(viewer: Viewer, whose: str) -> QuerySet[Lead]:
    visible = queue.visible_to(user=viewer.user)
    if whose == UNASSIGNED:
        return visible.filter(state=State.UNASSIGNED)
    return visible if whose == EVERYONE else visible.filter(ae=_whole(whose, 0))


def _waiting(among: QuerySet[Lead]) -> QuerySet[Lead]:
    """In the order in which they will get an AE."""
    return among.order_by("tier_rank", "opened_at", "pk")


def _searched(among: QuerySet[Lead], words: str) -> QuerySet[Lead]:
    return reads.searched(among, words) if words else among


def _tab(request: HttpRequest) -> queue.Tab:
    asked = request.GET.get("tab", "")
    return queue.Tab(asked) if asked in queue.Tab.values else queue.Tab.NEW


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else default


def _rows(found: list[queue.Row], now: datetime) -> list[Row]:
    accounts = {row.lead.account_id for row in found}
    names, activity = reads.called(row.lead.account for row in found), reads.activity(accounts, as_of=now.date())
    return [
        Row(
            row=row,
            name=names[row.lead.account_id],
            why=_why(row.lead, row.score, now),
            activity=activity(row.lead.account_id),
        )
        for row in found
    ]


def _why(lead: Lead, score: Score | None, now: datetime) -> str:
    """Say why now; of a lead that is closed, or has no score any more, why then."""
    if score is None or not lead.is_open:
        return _told(lead.opening, lead.version_id, now.date())
    return _told(score.ledger, score.version_id, now.date())


def _told(ledger: Mapping[str, Any], version: int, as_of: date) -> str:
    return explain.why_now(ledger, as_of=as_of, signals=signals_of(reads.document(version)))


def _aes() -> list[AE]:
    return list(AE.objects.filter(is_active=True).select_related("user").order_by("user__first_name", "pk"))


# ---- one lead


@require_safe
@only(EVERYBODY)
def lead_page(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Show everything about one lead: why, who, what happened, what may change, and what can be done."""
    now = timezone.now()
    lead = _lead(viewer, pk)
    score = queue.score_of(lead=lead) if lead.is_open else None
    version = score.version if score else lead.version
    document = reads.document(version.pk)
    ledger = score.ledger if score else lead.opening
    return show(
        request,
        viewer,
        "lead",
        {
            "lead": lead,
            "name": reads.name_of(lead.account),
            "score": score,
            "version": version,
            "why": _why(lead, score, now),
            "activity": reads.activity([lead.account_id], as_of=now.date())(lead.account_id),
            "age": now - lead.opened_at,
            "row": queue.Row(lead=lead, score=score, age=now - lead.opened_at),
            "breaches": lead.breaches.order_by("-pk"),
            "ledger": _laid_out(ledger, version.pk, now),
            "opening": _opening(lead, score, now),
            "reasons": _reasons(lead),
            "person": _who(score.user_id if score else lead.reasons[0].get("user") if lead.reasons else None),
            "ways": explain.ways_up(ledger, document=document, as_of=now.date())[:4] if score else [],
            "moves": [(move, MOVE_WORDS.get(move.verb, move.verb)) for move in _moves(lead)],
            "decisions": decisions.told(_decisions(lead), check=request.GET.get("check")),
            "can": _can(lead, viewer),
            "aes": _aes() if viewer.is_manager else [],
            "undoable": _undoable(lead, now),
            "causes": leads.CLAIMS,
            "not_a_lead": leads.listed(kind="disqualify"),
            "not_bought": leads.listed(kind="lose"),
            "not_now": leads.listed(kind="recycle"),
            "here": request.path,
            **_of_the_account(document, lead.account_id, now, at_opening=_at_opening(lead)),
            **standing.ahead(document, score, now),
        },
    )


def _lead(viewer: Viewer, pk: int) -> Lead:
    visible = queue.visible_to(user=viewer.user)
    return get_object_or_404(visible.select_related("account", "rule_set", "version", "pool", "ae__user"), pk=pk)


def _moves(lead: Lead) -> QuerySet[LeadMove]:
    return lead.moves.select_related("by").order_by("-id")


def _decisions(lead: Lead) -> QuerySet[Assignment]:
    return lead.assignments.select_related("ae__user").order_by("-id")


def _undoable(lead: Lead, now: datetime) -> tuple[LeadMove, str] | None:
    """The last move with its word, while it can be taken back."""
    move = leads.undoable(lead=lead, at=now)
    return (move, MOVE_WORDS[move.verb]) if move else None


def _can(lead: Lead, viewer: Viewer) -> frozenset[str]:
    allowed = frozenset(leads.allowed(lead=lead))
    return allowed if viewer.is_manager else allowed - {"reassign", "unassign"}


def _opening(lead: Lead, score: Score | None, now: datetime) -> Ledger | None:
    """The ledger of the day the lead opened, if the page shows another one."""
    if score is None or score.ledger == lead.opening:
        return None
    return _laid_out(lead.opening, lead.version_id, now)


def _who(user: int | None) -> str:
    """What people call the user whom a score is about; empty of an account."""
    return reads.names_of_people([user]).get(user or 0, "")


def _reasons(lead: Lead) -> list[tuple[dict[str, Any], str]]:
    """The reasons of the lead, each with the name of the person who qualified, where users are judged."""
    names = reads.names_of_people(reason.get("user") for reason in lead.reasons)
    return [(reason, names.get(reason.get("user") or 0, "")) for reason in lead.reasons]


def _laid_out(ledger: Mapping[str, Any], version: int, now: datetime) -> Ledger:
    return laid_out(ledger, as_of=now.date(), known_from=reads.known_from(version))


def _at_opening(lead: Lead) -> list[int]:
    """The users that were copied when the lead opened."""
    return [person["user"] for person in lead.why if isinstance(person, dict) and "user" in person]


def _of_the_account(
    document: Document, account: int, now: datetime, *, at_opening: list[int] | None = None
) -> dict[str, Any]:
    """Return people and timeline; nothing while a new version's signals are still being read."""
    try:
        return {
            "people": reads.people(document, account=account, as_of=now.date(), at_opening=at_opening or ()),
            "timeline": reads.timeline(document, account=account, as_of=now.date()),
        }
    except engine.SignalsMissing:
        return {"people": [], "timeline": []}


# ---- what is done with a lead

Act = Callable[[Lead, Viewer, Any, datetime], str]


def _accept(lead: Lead, viewer: Viewer, form: forms.Empty, at: datetime) -> str:
    ae = leads.accept(lead=lead, by=viewer.user, at=at).ae
    mine = ae is not None and ae == viewer.ae
    return "accepted: it is yours to work." if mine else f"accepted for {ae}."


def _snooze(lead: Lead, viewer: Viewer, form: forms.Snooze, at: datetime) -> str:
    until = form.until_at(today=timezone.localdate(at), zone=viewer.zone)
    or_signal = form.cleaned_data["or_signal"]
    leads.snooze(lead=lead, until=until, or_signal=or_signal, by=viewer.user, at=at)
    ends = [f"on {until.day} {until:%b}"] if until else []
    return f"snoozed: it comes back {' or '.join(ends + ['with the next new signal'] * or_signal)}."


def _wake(lead: Lead, viewer: Viewer, form: forms.Empty, at: datetime) -> str:
    leads.wake(lead=lead, by=viewer.user, at=at)
    return "is back in the queue."


def _disqualify(lead: Lead, viewer: Viewer, form: forms.Reason, at: datetime) -> str:
    leads.disqualify(lead=lead, **form.said, by=viewer.user, at=at)
    return "disqualified. The reason helps to make the rules better."


def _win(lead: Lead, viewer: Viewer, form: forms.Win, at: datetime) -> str:
    leads.win(lead=lead, amount=form.cleaned_data["amount"], by=viewer.user, at=at)
    transaction.on_commit(partial(bell.ring, shards=[shard_of(lead.account_id)]))
    return "won. Well done!"


def _lose(lead: Lead, viewer: Viewer, form: forms.Reason, at: datetime) -> str:
    leads.lose(lead=lead, **form.said, by=viewer.user, at=at)
    return "closed as lost."


def _recycle(lead: Lead, viewer: Viewer, form: forms.Recycle, at: datetime) -> str:
    until = form.until_at(today=timezone.localdate(at), zone=viewer.zone) or at
    leads.recycle(lead=lead, until=until, **form.said, by=viewer.user, at=at)
    return f"recycled: left alone until {until.day} {until:%b}; then new signals open it again."


def _undo(lead: Lead, viewer: Viewer, form: forms.Undo, at: datetime) -> str:
    leads.undo(lead=lead, move=form.cleaned_data["move"], by=viewer.user, at=at)
    transaction.on_commit(partial(bell.ring, shards=[shard_of(lead.account_id)]))
    return "is as it was before."


def _reassign(lead: Lead, viewer: Viewer, form: forms.Reassign, at: datetime) -> str:
    now_with = leads.reassign(lead=lead, **form.cleaned_data, by=viewer.user, at=at).ae
    return f"is now with {now_with.name}." if now_with else "is back in the pool; nobody could take it."


ACTS: Mapping[str, tuple[type[django_forms.Form], Act]] = {
    "accept": (forms.Empty, _accept),
    "snooze": (forms.Snooze, _snooze),
    "wake": (forms.Empty, _wake),
    "disqualify": (forms.Reason, _disqualify),
    "recycle": (forms.Recycle, _recycle),
    "win": (forms.Win, _win),
    "lose": (forms.Reason, _lose),
    "undo": (forms.Undo, _undo),
    "reassign": (forms.Reassign, _reassign),
}
FOR_MANAGERS = frozenset({"reassign"})


@require_POST
@only(EVERYBODY)
def act(request: HttpRequest, viewer: Viewer, pk: int, verb: str) -> HttpResponse:
    """Do one thing with a lead, and go back to the page that it was asked from, with a word on how it went."""
    if verb not in ACTS or (verb in FOR_MANAGERS and not viewer.is_manager):
        raise Http404
    lead = _lead(viewer, pk)
    form_class, do = ACTS[verb]
    form = form_class(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(str(fault) for faults in form.errors.values() for fault in faults))
        return back(request, reverse("lead", args=[pk]))
    try:
        now = timezone.now()
        outcome = do(lead, viewer, form, now)
        messages.success(request, f"{reads.name_of(lead.account)} {outcome}")
        _offer_undo(request, lead, now)
    except leads.LeadError as error:
        messages.error(request, str(error))
    return back(request, reverse("lead", args=[pk]))


def _offer_undo(request: HttpRequest, lead: Lead, now: datetime) -> None:
    """Have the next page offer to take back what was just done."""
    move = leads.undoable(lead=lead, at=now)
    if move:
        request.session["undo"] = [lead.pk, move.pk]


# ---- accounts and the team


@require_safe
@only(EVERYBODY)
def account_page(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Show an account: its scores and how they came about, what is known of it, its people and its leads.

    An AE sees the accounts of their own leads only, and those that were merged into them.
    """
    now = timezone.now()
    account = get_object_or_404(Account.objects.select_related("merged_into"), pk=pk)
    if not _is_open_to(viewer, account):
        raise Http404
    into = account.merged_into
    found = reads.scores(pk)
    chosen = reads.named(found, by=request.GET.get("by"), user=request.GET.get("user"))
    people = reads.names_of_people(score.user_id for score in found)
    document = reads.document(chosen.version_id) if chosen else None
    history = reads.history(chosen, most=standing.MOST_STEPS) if chosen else []
    return show(
        request,
        viewer,
        "account",
        {
            "account": account,
            "name": reads.name_of(account),
            "scores": [(score, people.get(score.user_id or 0, "")) for score in found],
            "chosen": chosen,
            "person": people.get(chosen.user_id or 0, "") if chosen else "",
            "why": _told(chosen.ledger, chosen.version_id, now.date()) if chosen else "",
            "activity": reads.activity([pk], as_of=now.date())(pk),
            "ledger": _laid_out(chosen.ledger, chosen.version_id, now) if chosen else None,
            "history": history,
            "chart": standing.chart(history, now=now),
            "history_shown": reads.HISTORY_SHOWN,
            "traits": reads.traits(pk),
            "leads": account.leads.select_related("rule_set", "ae__user").order_by("-opened_at"),
            "into": into,
            "into_is_open": into and _is_open_to(viewer, into),
            "merged": account.merged.order_by("-merged_at", "-pk")[:MERGED_SHOWN],
            "outcomes": account.outcomes.order_by("-at"),
            "preview": _if_it_qualified(request, viewer, chosen, now),
            **(_of_the_account(document, pk, now) if document else {}),
            **(standing.ahead(document, chosen, now) if document else {}),
        },
    )


def _if_it_qualified(
    request: HttpRequest, viewer: Viewer, chosen: Score | None, now: datetime
) -> qualifying.Preview | None:
    """Who would get the account: for managers alone, for it tells how full everybody is."""
    if chosen is None or not viewer.is_manager:
        return None
    return qualifying.preview(score=chosen, tier=request.GET.get("tier"), at=now)


def _is_open_to(viewer: Viewer, account: Account) -> bool:
    return viewer.is_manager or queue.is_visible_to(user=viewer.user, account=account)


@require_safe
@only(MANAGERS)
def team_page(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show who holds how much, and which leads wait for an AE and why."""
    now = timezone.now()
    waiting = queue.unassigned(at=now)
    pools: dict[str, list[queue.Workload]] = {}
    for seat in queue.team_board(at=now):
        pools.setdefault(seat.membership.pool.name, []).append(seat)
    return show(
        request,
        viewer,
        "team",
        {
            "pools": pools,
            "breaches": _breaches(since=now - BREACHES_SHOWN),
            "waiting": _rows(waiting, now),
            "waiting_in_all": queue.counts(among=Lead.objects.all())["unassigned"],
            "parked": Parked.objects.select_related("account").order_by("first_failed_at")[:PAGE],
            "parked_in_all": Parked.objects.count(),
            "aes": _aes(),
            "now": now,
            "fresh_at": scores.fresh_as_of(at=now),
            "here": request.path,
        },
    )


def _breaches(*, since: datetime) -> list[tuple[Breach, str]]:
    """What was not touched in time, each with the name of its account."""
    found = list(leads.breaches(since=since))
    names = reads.called(breach.lead.account for breach in found)
    return [(breach, names[breach.lead.account_id]) for breach in found]


# ---- how the desk looks and is driven, kept in cookies

CHOICES = {"theme": ("auto", "light", "dark"), "keys": ("on", "off")}


@require_POST
@only(EVERYBODY)
def prefer(request: HttpRequest, viewer: Viewer) -> HttpResponseRedirect:
    """Keep a choice for this browser: the theme, or whether single keys do anything."""
    response = back(request, reverse("queue"))
    for name, choices in CHOICES.items():
        if request.POST.get(name) in choices:
            response.set_cookie(
                name, request.POST[name], max_age=YEAR, samesite="Lax", secure=request.is_secure(), httponly=True
            )
    return response
