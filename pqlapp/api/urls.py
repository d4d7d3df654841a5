"""Addresses of the API, below /api/v1/; without a slash at the end."""

from django.urls import path, re_path
from rest_framework.routers import SimpleRouter

from pqlapp.api import problems
from pqlapp.api.views import about, accounts, backtests, decisions, routing, rules

router = SimpleRouter(trailing_slash=False)
router.register("accounts", accounts.AccountView, basename="account")
router.register("outcomes", accounts.OutcomeView, basename="outcome")
router.register("exclusions", accounts.ExclusionView, basename="exclusion")
router.register("rule-sets", rules.RuleSetView, basename="rule-set")
router.register("rule-versions", rules.RuleVersionView, basename="rule-version")
router.register("backtests", backtests.BacktestView, basename="backtest")
router.register("signals", rules.SignalView, basename="signal")
router.register("jobs", rules.JobView, basename="job")
router.register("leads", routing.LeadView, basename="lead")
router.register("mqls", routing.MQLView, basename="mql")
router.register("breaches", routing.BreachView, basename="breach")
router.register("close-reasons", routing.CloseReasonView, basename="close-reason")
router.register("assignments", decisions.AssignmentView, basename="assignment")
router.register("simulations", decisions.SimulationView, basename="simulation")
router.register("pools", routing.PoolView, basename="pool")
router.register("aes", routing.AEView, basename="ae")

app_name = "api"
urlpatterns = [
    path("", about.RootView.as_view(), name="root"),
    path("schema", about.SchemaView.as_view(), name="schema"),
    *router.urls,
    re_path(r"", problems.not_found, name="nowhere"),
]
