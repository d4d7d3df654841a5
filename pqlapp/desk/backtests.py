"""Backtests, for admins: start one, watch it, read what it found, lay two side by side, and see the accounts behind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pqlapp import bell
from pqlapp.desk import reads
from pqlapp.desk.access import ADMINS, Viewer, only, show
from pqlapp.desk.charts import Chart, charts
from routing import queue
from scoring import backtest, jobs
from scoring.models import Backtest, Half, Job, RuleVersion

SHOWN = 40  # backtests on the list
PAGE = 50  # accounts
MOST_VERSIONS = 60
WORDS = {
    "as_pql": {
        "converted": "PQLs that converted in time",
        "not": "PQLs that did not convert in time",
        "young": "PQLs too young to know",
        "before": "PQLs before the first day",
        "converted,not": "PQLs whose outcome is known",
        "converted,not,young": "new PQLs",
    },
    "as_other": {
        "any": "others of the same age",
        "converted": "others of the same age that converted in time",
        "not": "others of the same age that did not convert in time",
    },
    "won": {
        "foretold": "conversions that were foretold",
        "late": "conversions too long after qualifying",
        "missed": "converted and was never a PQL before",
        "unseen": "converted before anybody could look",
        "foretold,late": "PQLs that converted, however late",
    },
}


class Ask(forms.Form):
    """What to try on which past."""

    version = forms.ModelChoiceField(RuleVersion.objects.none())
    months = forms.IntegerField(min_value=1, max_value=60, initial=backtest.MONTHS)
    horizon_days = forms.IntegerField(min_value=1, max_value=365, initial=backtest.HORIZON)
    weekly_capacity = forms.IntegerField(min_value=0, max_value=1_000_000, required=False)
    half = forms.ChoiceField(choices=Half.choices, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["version"].queryset = _versions()  # type: ignore[attr-defined]

    def clean_version(self) -> RuleVersion:
        """Return the version, if there can be a backtest of it. Raises ValidationError."""
        version: RuleVersion = self.cleaned_data["version"]
        if why := backtest.refusal(version=version):
            raise forms.ValidationError(why)
        return version


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its interval, and the accounts behind it."""

    name: str
    value: str
    interval: str
    words: str
    behind: str = ""  # the query of their list


@dataclass(frozen=True)
class Shown:
    """A backtest as the page shows it."""

    backtest: Backtest

    @property
    def result(self) -> Mapping[str, Any]:
        """What it found; empty while it runs."""
        return dict(self.backtest.result)

    @property
    def is_open(self) -> bool:
        """Whether it still waits or runs."""
        return self.backtest.job.state in jobs.OPEN

    @property
    def is_done(self) -> bool:
        """Whether there is something to see."""
        return self.backtest.job.state == Job.State.DONE

    @cached_property
    def charts(self) -> list[Chart]:
        """Its pictures."""
        return charts(self.result, horizon=self.backtest.horizon_days)

    @cached_property
    def figures(self) -> list[Figure]:
        """Its numbers."""
        return list(_figures(self.result))

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """What may be wrong, with the query of the accounts behind."""
        return [alarm | {"query": urlencode(alarm["behind"])} for alarm in self.result["alarms"]]

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The figures by threshold, in words."""
        return [
            {
                "threshold": point["threshold"],
                "is_now": point["shift"] == 0,
                "pqls": point["pqls"],
                "reached": point["reached"],
                "query": urlencode({"peak": point["shift"]}),
                "volume": _pace(point["volume"]),
                "precision": _share(point["precision"]),
                "recall": _share(point["recall"]),
                "lift": _lift(point["lift"]),
            }
            for point in self.result["curve"]
        ]


@require_http_methods(["GET", "HEAD", "POST"])
@only(ADMINS)
def backtests_page(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """List the backtests, and start another."""
    form = Ask(request.POST if request.method == "POST" else None, initial=_initial(request))
    if request.method == "POST" and form.is_valid():
        started = backtest.start(
            version=form.cleaned_data["version"],
            months=form.cleaned_data["months"],
            horizon_days=form.cleaned_data["horizon_days"],
            weekly_capacity=form.cleaned_data["weekly_capacity"],
            half=form.cleaned_data["half"],
            by=viewer.user,
            at=timezone.now(),
        )
        bell.ring_for_job(job=started.job)
        return HttpResponseRedirect(reverse("backtest", args=[started.pk]))
    rows = Backtest.objects.select_related("version__rule_set", "job", "created_by").order_by("-id")[:SHOWN]
    context = {
        "rows": [Shown(row) for row in rows],
        "form": form,
        "versions": list(_versions()),
        "halves": Half.choices,
    }
    response = show(request, viewer, "backtests", context)
    response.status_code = 422 if form.errors else 200
    return response


def _versions() -> Any:
    newest = RuleVersion.objects.order_by("-id").values("pk")[:MOST_VERSIONS]
    versions = RuleVersion.objects.filter(pk__in=list(newest.values_list("pk", flat=True)))
    return versions.select_related("rule_set").defer("text", "document").order_by("rule_set__slug", "-number")


def _initial(request: HttpRequest) -> dict[str, Any]:
    """What was asked for last, of the version that the address names; how much the AEs can take is proposed by caps."""
    named = request.GET.get("version", "")
    version = _versions().filter(pk=int(named)).first() if named.isdecimal() and len(named) < 10 else None
    last = backtest.last_of(version=version) if version else Backtest.objects.order_by("-id").first()
    asked = {"months": backtest.MONTHS, "horizon_days": backtest.HORIZON, "weekly_capacity": None, "half": ""}
    if last:
        asked = {name: getattr(last, name) for name in asked}
    if asked["weekly_capacity"] is None:
        asked["weekly_capacity"] = queue.weekly_capacity()
    return asked | {"version": version.pk if version else last.version_id if last else None}


@require_safe
@only(ADMINS)
def backtest_page(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Show one backtest; with `?with=` another one beside it."""
    one = _backtest(pk)
    named = request.GET.get("with", "")
    other = _backtest(int(named)) if named.isdecimal() and len(named) < 10 else None
    beside = Backtest.objects.filter(version__rule_set=one.version.rule_set_id, finished_at__isnull=False)
    context = {
        "one": Shown(one),
        "both": [Shown(one), Shown(other)] if other else [Shown(one)],
        "other": other,
        "same_facts": bool(other and one.facts_digest and one.facts_digest == other.facts_digest),
        "others": beside.exclude(pk=pk).select_related("version__rule_set").order_by("-id")[:SHOWN],
    }
    return show(request, viewer, "backtest", context)


@require_POST
@only(ADMINS)
def stop_backtest(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Stop a backtest; nothing of it is kept."""
    if jobs.stop(job=_backtest(pk).job, by=viewer.user, at=timezone.now()):
        messages.success(request, "The backtest is stopped.")
    return HttpResponseRedirect(reverse("backtest", args=[pk]))


@require_safe
@only(ADMINS)
def backtest_accounts(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Show the accounts behind a figure."""
    one = _backtest(pk)
    figure = {name: request.GET[name] for name in request.GET if name != "page"}
    try:
        rows = backtest.behind(backtest=one, figure=figure)
    except backtest.BadFigure as error:
        raise Http404(f"{error}") from error
    asked = request.GET.get("page", "")
    page = max(1, int(asked)) if asked.isdecimal() and len(asked) < 7 else 1
    found = list(rows[(page - 1) * PAGE : page * PAGE + 1])
    names = reads.called(row.account for row in found)
    context = {
        "backtest": one,
        "rows": [(row, names[row.account_id]) for row in found[:PAGE]],
        "total": rows.count(),
        "words": _in_words(figure, one),
        "page": page,
        "has_more": len(found) > PAGE,
        "query": urlencode(figure),
    }
    return show(request, viewer, "backtest_accounts", context)


def _backtest(pk: int) -> Backtest:
    return get_object_or_404(Backtest.objects.select_related("version__rule_set", "job", "created_by"), pk=pk)


def _in_words(figure: Mapping[str, str], one: Backtest) -> str:
    """Say which accounts a list shows."""
    rules = {rule["id"]: rule.get("name", rule["id"]) for rule in one.document.get("rules", ())}
    said = []
    for name, value in figure.items():
        named = " and ".join(f"“{rules.get(rule, rule)}”" for rule in value.split(","))
        said.append(
            WORDS.get(name, {}).get(value)
            or {
                "fired": f"met {named}",
                "unfired": f"never met {named}",
                "alone": f"{named} alone would have been enough",
                "tier": f"was of tier {value}",
                "since": f"qualified from {value}",
                "until": f"qualified up to {value}",
                "peak": "reached the line at the chosen threshold",
                "late": "with events that came too late for a day",
            }.get(name, value)
        )
    return "; ".join(said) or "all accounts"


def _figures(result: Mapping[str, Any]) -> Iterator[Figure]:
    if not result:
        return
    pqls, won, precision, other = result["pqls"], result["won"], result["precision"], result["other_rate"]
    yield Figure(
        "New PQLs a week",
        *_parted(_pace(result["volume"]["per_week"])),
        f"{pqls['all']} in {result['weeks']} weeks",
        "as_pql=converted,not,young",
    )
    yield Figure("Precision", *_parted(_share(precision)), _of(precision, "PQLs converted"), "as_pql=converted")
    yield Figure("Others of the same age", *_parted(_share(other)), _of(other, "converted"), "as_other=any")
    yield Figure("Lift", *_parted(_lift(result["lift"])), "precision over others", "as_pql=converted,not")
    yield Figure(
        "Recall", *_parted(_share(result["recall"])), _of(result["recall"], "conversions foretold"), "won=foretold"
    )
    yield Figure("Never a PQL before", str(won["missed"]), "", "of those who converted", "won=missed")
    waits = result["waiting"]["pqls"]
    yield Figure(
        "Half converted after", *_median(waits), f"{waits['happened']} of {waits['cases']} so far", "as_pql=converted"
    )
    yield Figure("Too young to know", str(pqls["young"]), "", "PQLs, counted neither way", "as_pql=young")
    if pqls["before"]:
        yield Figure("PQLs before the first day", str(pqls["before"]), "", "left out", "as_pql=before")
    if won["late"]:
        yield Figure("Converted too late", str(won["late"]), "", "after the days that count", "won=late")
    if won["unseen"]:
        yield Figure("Converted unseen", str(won["unseen"]), "", "before anybody could look", "won=unseen")
    late = result["late"]
    yield Figure(
        "Events left out",
        f"{late['events']:,}",
        "",
        f"came too late for a day; {late['accounts']} accounts",
        "late=yes",
    )


def _parted(words: str) -> tuple[str, str]:
    value, _, interval = words.partition(" (")
    return value, interval.rstrip(")")


def _of(share: Mapping[str, Any], words: str) -> str:
    return f"{share['part']:,} of {share['whole']:,} {words}"


def _share(share: Mapping[str, Any]) -> str:
    if share["value"] is None:
        return "–"
    return f"{share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})"


def _pace(pace: Mapping[str, Any]) -> str:
    return "–" if pace["value"] is None else f"{pace['value']:.1f} ({pace['low']:.1f} to {pace['high']:.1f})"


def _lift(lift: Mapping[str, Any]) -> str:
    high = "any" if lift["high"] is None else f"{lift['high']:.1f}×"
    return "–" if lift["value"] is None else f"{lift['value']:.1f}× ({lift['low']:.1f}× to {high})"


def _median(waits: Mapping[str, Any]) -> tuple[str, str]:
    if waits["median"] is None:
        return "–", "fewer than half did"
    high = "any" if waits["median_high"] is None else waits["median_high"]
    return f"{waits['median']} days", f"{waits['median_low']} to {high}"
