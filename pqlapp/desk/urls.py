"""The desk's addresses, with the log-in."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from pqlapp.desk import imports, sources, views

urlpatterns = [
    path("", views.queue_page, name="queue"),
    path("leads/<int:pk>/", views.lead_page, name="lead"),
    path("leads/<int:pk>/<slug:verb>/", views.act, name="act"),
    path("accounts/<int:pk>/", views.account_page, name="account"),
    path("team/", views.team_page, name="team"),
    path("sources/<slug:slug>/import/", imports.page, name="import"),
    path("sources/<slug:slug>/import/<int:pk>/stop/", imports.stop, name="stop-import"),
    path("sources/<slug:slug>/import/<int:pk>/rejects/", imports.rejects, name="import-rejects"),
    path("sources/", sources.sources_page, name="sources"),
    path("sources/new/", sources.new_source, name="new-source"),
    path("sources/<slug:slug>/", sources.source_page, name="source"),
    path("sources/<slug:slug>/keys/", sources.new_key, name="new-key"),
    path("sources/<slug:slug>/keys/<int:pk>/revoke/", sources.revoke_key, name="revoke-key"),
    path("sources/<slug:slug>/forget/", sources.forget_samples, name="forget-samples"),
    path("preferences/", views.prefer, name="prefer"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
