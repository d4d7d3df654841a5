"""The simulator, for managers: ask what another roster would have done, watch it, read it, lay two side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

from django import forms
from django.contrib import messages
from django.core.validators import MaxValueValidator
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pqlapp import bell
from pqlapp.desk import simulated
from pqlapp.desk.access import MANAGERS, Viewer, only, show
from routing import simulator
from routing.models import AE, Membership, Pool
from routing.simulator import Scenario
from scoring import jobs
from scoring.models import Backtest, Job, RuleSet

SHOWN = 40  # runs on the list
QUARTER = timedelta(days=91)
CAME, MADE_UP, BACKTEST = "came", "made_up", "backtest"
LAST = MaxValueValidator(simulator.LATEST - timedelta(days=1))
STREAMS = ((CAME, "those that came"), (MADE_UP, "made-up ones"), (BACKTEST, "the PQLs of a backtest"))
NO_LIMIT = "none"


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one AE."""

    ae: AE
    there: forms.BoundField
    weight: forms.BoundField
    capacity: forms.BoundField
    hours: forms.BoundField


class Ask(forms.Form):
    """Which leads, worked how, and what differs from today; what is left empty stays as it is."""

    stream = forms.ChoiceField(choices=STREAMS)
    since = forms.DateField(widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))
    last = forms.DateField(widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"), validators=[LAST])
    made_up = forms.IntegerField(min_value=1, max_value=simulator.MOST_LEADS, required=False)
    backtest = forms.ModelChoiceField(Backtest.objects.none(), required=False, empty_label="None")
    touch_minutes = forms.FloatField(min_value=0.1, max_value=10_000)
    open_days = forms.FloatField(min_value=0, max_value=400)
    sla_hours = forms.FloatField(min_value=0.1, max_value=10_000)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ended = Backtest.objects.filter(finished_at__isnull=False).select_related("version__rule_set")
        self.fields["backtest"].queryset = ended.order_by("-id")  # type: ignore[attr-defined]
        self.aes, self.tiers = _aes(), _tiers()
        for ae in self.aes:
            self.fields |= _fields_of(ae)
        pools = [
            ("", "as today"),
            *((name, name) for name in Pool.objects.order_by("name").values_list("name", flat=True)),
        ]
        for number, tier in enumerate(self.tiers):
            self.fields[f"pool_{number}"] = forms.ChoiceField(
                choices=pools, required=False, label=f"Tier {tier} goes to"
            )

    @property
    def rows(self) -> Iterator[Row]:
        """The fields by AE."""
        for ae in self.aes:
            yield Row(ae, *(self[f"{name}_{ae.pk}"] for name in ("there", "weight", "capacity", "hours")))

    @property
    def pools(self) -> list[forms.BoundField]:
        """The fields by tier."""
        return [self[f"pool_{number}"] for number in range(len(self.tiers))]

    def clean(self) -> dict[str, Any]:
        """Return what was typed, if each stream has what it needs. Raises ValidationError."""
        said: dict[str, Any] = super().clean() or self.cleaned_data
        for stream, what in ((MADE_UP, "how many to make up"), (BACKTEST, "which backtest")):
            if said.get("stream") == stream and not said.get(stream) and stream not in self.errors:
                self.add_error(stream, f"Say {what}.")
        return said

    def scenario(self) -> Scenario:
        """Return what a valid form asks."""
        said = self.cleaned_data
        capacities = {ae.pk: said[f"capacity_{ae.pk}"] for ae in self.aes if said[f"capacity_{ae.pk}"]}
        return Scenario(
            since=said["since"],
            until=said["last"] + timedelta(days=1),
            made_up=said["made_up"] if said["stream"] == MADE_UP else None,
            backtest=said["backtest"].pk if said["stream"] == BACKTEST else None,
            without=tuple(ae.pk for ae in self.aes if not said[f"there_{ae.pk}"]),
            weights={ae.pk: said[f"weight_{ae.pk}"] for ae in self.aes if said[f"weight_{ae.pk}"]},
            capacities={ae: None if most == NO_LIMIT else int(most) for ae, most in capacities.items()},
            hours={ae.pk: said[f"hours_{ae.pk}"] for ae in self.aes if said[f"hours_{ae.pk}"]},
            pools={tier: said[f"pool_{n}"] for n, tier in enumerate(self.tiers) if said[f"pool_{n}"]},
            **{name: said[name] for name in ("touch_minutes", "open_days", "sla_hours")},
        )


def _fields_of(ae: AE) -> dict[str, forms.Field]:
    places = list(ae.memberships.all())  # fetched before

    def now(values: list[int | None]) -> str:
        return ", ".join("no limit" if value is None else str(value) for value in values)

    def told(what: str, placeholder: str) -> dict[str, str]:
        return {"aria-label": f"{what} of {ae.name}", "placeholder": placeholder}

    weight = forms.NumberInput(told("Weight", now([place.weight for place in places])))
    capacity = forms.TextInput(told("Most open leads", now([place.capacity for place in places])))
    hours = forms.TextInput(told("Hours", ae.hours or "any"))
    there = forms.CheckboxInput({"aria-label": f"{ae.name} is there"})
    whole = forms.RegexField(
        rf"^([0-9]{{1,6}}|{NO_LIMIT})$",
        required=False,
        widget=capacity,
        error_messages={"invalid": f"The most open leads of {ae.name}: a whole number, or “{NO_LIMIT}” for no limit."},
    )
    return {
        f"there_{ae.pk}": forms.BooleanField(required=False, initial=True, widget=there),
        f"weight_{ae.pk}": forms.IntegerField(min_value=1, max_value=1000, required=False, widget=weight),
        f"capacity_{ae.pk}": whole,
        f"hours_{ae.pk}": forms.CharField(max_length=400, required=False, widget=hours),
    }


def _aes() -> list[AE]:
    """Those who take turns somewhere."""
    places = Prefetch("memberships", Membership.objects.filter(is_active=True).order_by("pool__name", "pk"))
    found = AE.objects.filter(is_active=True, memberships__is_active=True).distinct()
    return list(found.select_related("user").prefetch_related(places).order_by("user__first_name", "pk"))


def _tiers() -> list[str]:
    """The PQL tiers of the live versions, the best first, each name once."""
    live = RuleSet.objects.filter(live_version__isnull=False).select_related("live_version").order_by("slug")
    tiers = (tier for one in live if one.live_version for tier in one.live_version.document["tiers"])
    return list(dict.fromkeys(tier["name"] for tier in tiers if tier["pql"]))


@dataclass(frozen=True)
class Shown:
    """A run as the page shows it."""

    job: Job
    names: Mapping[int, str]  # of AEs

    @property
    def is_open(self) -> bool:
        """Whether it still waits or runs."""
        return self.job.state in jobs.OPEN

    @property
    def is_done(self) -> bool:
        """Whether there is something to see."""
        return self.job.state == Job.State.DONE

    @cached_property
    def asked(self) -> list[str]:
        """What was asked."""
        return simulated.asked(simulator.of_plain(self.job.arguments["scenario"]), names=self.names)

    @property
    def changes(self) -> list[str]:
        """What was to differ from today, without which leads and how they are worked."""
        return self.asked[1:-1]

    @cached_property
    def found(self) -> dict[str, Any]:
        """What came out, in words, tables and pictures."""
        readings = ("differences", "figures", "shares", "left_over", "charts")
        return {name: getattr(simulated, name)(self.job.result) for name in readings}


@require_http_methods(["GET", "HEAD", "POST"])
@only(MANAGERS)
def simulations_page(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """List the runs, and start another; `?like=` proposes what a run asked."""
    form = Ask(request.POST if request.method == "POST" else None, initial=_initial(request))
    if request.method == "POST" and form.is_valid():
        try:
            job = simulator.start(scenario=form.scenario(), by=viewer.user, at=timezone.now())
        except simulator.SimulationError as error:
            form.add_error(None, f"{error}")
        else:
            bell.ring_for_job(job=job)
            return HttpResponseRedirect(reverse("simulation", args=[job.pk]))
    names = _names()
    context = {"form": form, "rows": [Shown(job, names) for job in _runs()[:SHOWN]]}
    response = show(request, viewer, "simulations", context)
    response.status_code = 422 if form.errors else 200
    return response


def _initial(request: HttpRequest) -> dict[str, Any]:
    run = _named(request.GET.get("like", ""))
    if run is None:
        today: date = timezone.now().date()
        habits = {
            name: Scenario.__dataclass_fields__[name].default for name in ("touch_minutes", "open_days", "sla_hours")
        }
        return {"stream": CAME, "since": today - QUARTER, "last": today - timedelta(days=1), **habits}
    asked = simulator.of_plain(run.arguments["scenario"])
    stream = MADE_UP if asked.made_up is not None else BACKTEST if asked.backtest is not None else CAME
    tiers = {tier: f"pool_{number}" for number, tier in enumerate(_tiers())}
    return {
        **{name: getattr(asked, name) for name in ("since", "made_up", "touch_minutes", "open_days", "sla_hours")},
        **{"stream": stream, "last": asked.until - timedelta(days=1), "backtest": asked.backtest},
        **{f"there_{ae}": False for ae in asked.without},
        **{f"weight_{ae}": weight for ae, weight in asked.weights.items()},
        **{f"capacity_{ae}": NO_LIMIT if most is None else most for ae, most in asked.capacities.items()},
        **{f"hours_{ae}": hours for ae, hours in asked.hours.items()},
        **{tiers[tier]: pool for tier, pool in asked.pools.items() if tier in tiers},
    }


@require_safe
@only(MANAGERS)
def simulation_page(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Show one run; with `?with=` another one beside it."""
    one, other, names = _run(pk), _named(request.GET.get("with", "")), _names()
    others = _runs().filter(state=Job.State.DONE).exclude(pk=pk)[:SHOWN]
    context = {
        "one": Shown(one, names),
        "both": [Shown(job, names) for job in (one, other) if job],
        "other": other,
        "others": [Shown(job, names) for job in others],
    }
    return show(request, viewer, "simulation", context)


@require_POST
@only(MANAGERS)
def stop_simulation(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Stop a run; nothing of it is kept."""
    if jobs.stop(job=_run(pk), by=viewer.user, at=timezone.now()):
        messages.success(request, "The simulation is stopped.")
    return HttpResponseRedirect(reverse("simulation", args=[pk]))


def _runs() -> Any:
    return Job.objects.filter(kind=simulator.KIND).select_related("created_by").order_by("-id")


def _run(pk: int) -> Job:
    job: Job = get_object_or_404(_runs(), pk=pk)
    return job


def _named(number: str) -> Job | None:
    """Return the run that an address names, if there is one."""
    return _runs().filter(pk=int(number)).first() if number.isdecimal() and len(number) < 10 else None


def _names() -> dict[int, str]:
    return {ae.pk: ae.name for ae in AE.objects.select_related("user")}
