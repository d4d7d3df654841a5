"""How the admin looks: its name, its colours, and what stands where in the sidebar."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy


def _item(title: str, icon: str, page: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{page}_changelist")}


def _section(title: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "separator": True, "items": list(items)}


def _never(request: object) -> bool:
    return False


# Every page's address begins with the desk's, so it would always look chosen.
DESK = {"title": "The desk", "icon": "inbox", "link": reverse_lazy("queue"), "active": _never}
TRAFFIC = {"title": "What the sources send", "icon": "monitoring", "link": reverse_lazy("sources"), "active": _never}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "PQL admin",
    "SITE_HEADER": "PQL admin",
    "SITE_SUBHEADER": "Rules, pools and keys",
    "SITE_SYMBOL": "query_stats",
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("favicon.svg")}],
    "DASHBOARD_CALLBACK": "scoring.admin.reviews.home",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": [
            {"title": "", "items": [DESK]},
            _section(
                "Rules",
                _item("Rule sets", "rule", "scoring_ruleset"),
                _item("Versions", "history", "scoring_ruleversion"),
                _item("Made live", "rocket_launch", "scoring_publication"),
                _item("Jobs", "hourglass_top", "scoring_job"),
            ),
            _section(
                "People and pools",
                _item("AEs", "support_agent", "routing_ae"),
                _item("Pools", "groups", "routing_pool"),
                _item("Memberships", "balance", "routing_membership"),
                _item("Handling", "alt_route", "routing_handlingpolicy"),
                _item("SLAs", "timer", "routing_sla"),
                _item("Reasons for closing", "checklist", "routing_closereason"),
                _item("Log-ins", "key", "auth_user"),
            ),
            _section(
                "What comes in",
                TRAFFIC,
                _item("Sources", "sensors", "scoring_source"),
                _item("Keys", "vpn_key", "scoring_key"),
                _item("Outcomes", "payments", "scoring_outcome"),
                _item("MQLs", "campaign", "routing_mql"),
                _item("Exclusions", "block", "scoring_exclusion"),
            ),
            _section(
                "What came of it",
                _item("Accounts", "apartment", "scoring_account"),
                _item("Users", "person", "scoring_productuser"),
                _item("Refused ids", "link_off", "scoring_refusedidentity"),
                _item("Scores", "speed", "scoring_score"),
                _item("Parked accounts", "local_parking", "scoring_parked"),
                _item("Leads", "trending_up", "routing_lead"),
                _item("Overdue leads", "alarm", "routing_breach"),
                _item("Outages", "power_off", "routing_outage"),
            ),
        ],
    },
}
