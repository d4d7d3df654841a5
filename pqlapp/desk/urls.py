"""The desk's addresses, with the log-in."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from pqlapp.desk import attending, backtests, imports, publishing, rules, simulations, sources, standing, views

urlpatterns = [
    path("", views.queue_page, name="queue"),
    path("leads/<int:pk>/", views.lead_page, name="lead"),
    path("leads/<int:pk>/<slug:verb>/", views.act, name="act"),
    path("accounts/<int:pk>/", views.account_page, name="account"),
    path("accounts/<int:pk>/ledger.csv", standing.ledger_file, name="ledger-file"),
    path("accounts/<int:pk>/history.csv", standing.history_file, name="history-file"),
    path("team/", views.team_page, name="team"),
    path("roster/", attending.roster_page, name="roster"),
    path("time/", attending.my_time, name="my-time"),
    path("time/<int:pk>/", attending.time_page, name="time"),
    path("time/<int:pk>/hours/", attending.set_hours, name="set-hours"),
    path("time/<int:pk>/absences/", attending.add_absence, name="add-absence"),
    path("time/<int:pk>/absences/<int:absence>/end/", attending.end_absence, name="end-absence"),
    path("sources/<slug:slug>/import/", imports.page, name="import"),
    path("sources/<slug:slug>/import/<int:pk>/stop/", imports.stop, name="stop-import"),
    path("sources/<slug:slug>/import/<int:pk>/rejects/", imports.rejects, name="import-rejects"),
    path("sources/", sources.sources_page, name="sources"),
    path("sources/new/", sources.new_source, name="new-source"),
    path("sources/<slug:slug>/", sources.source_page, name="source"),
    path("sources/<slug:slug>/keys/", sources.new_key, name="new-key"),
    path("sources/<slug:slug>/keys/<int:pk>/revoke/", sources.revoke_key, name="revoke-key"),
    path("sources/<slug:slug>/forget/", sources.forget_samples, name="forget-samples"),
    path("rules/", rules.rules_page, name="rules"),
    # No id of a rule set begins with a hyphen.
    path("rules/-/new/", rules.new_page, name="new-rules"),
    path("rules/-/preview/", rules.preview, name="preview-rules"),
    path("rules/-/hints/", rules.hints, name="rule-hints"),
    path("rules/<slug:slug>/", rules.rule_set_page, name="rule-set"),
    path("rules/<slug:slug>/roll-back/", publishing.roll_back, name="roll-back"),
    path("rules/<slug:slug>/cancel/", publishing.cancel, name="cancel-publication"),
    path("rules/<slug:slug>/<int:number>/", rules.editor_page, name="rule-version"),
    path("rules/<slug:slug>/<int:number>/compare/", publishing.compare_page, name="compare"),
    path("rules/<slug:slug>/<int:number>/publish/", publishing.publish, name="publish-rules"),
    path("rules/<slug:slug>/<int:number>/prepare/", publishing.prepare, name="prepare-rules"),
    path("backtests/", backtests.backtests_page, name="backtests"),
    path("backtests/<int:pk>/", backtests.backtest_page, name="backtest"),
    path("backtests/<int:pk>/stop/", backtests.stop_backtest, name="stop-backtest"),
    path("backtests/<int:pk>/accounts/", backtests.backtest_accounts, name="backtest-accounts"),
    path("simulations/", simulations.simulations_page, name="simulations"),
    path("simulations/<int:pk>/", simulations.simulation_page, name="simulation"),
    path("simulations/<int:pk>/stop/", simulations.stop_simulation, name="stop-simulation"),
    path("preferences/", views.prefer, name="prefer"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
