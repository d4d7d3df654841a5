"""Fill what leads and moves keep now, put the usual reasons into the list, and let the database insist on it."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

REASONS = {
    "disqualify": (
        *("Not a real company", "Competitor", "Students", "No need", "Wrong region or size", "Already a customer"),
        *("Duplicate", "Other"),
    ),
    "lose": ("No answer", "No budget", "Bad timing", "Chose a competitor", "Missing a feature", "Other"),
    "recycle": ("Not the right time", "Budget next year", "No answer", "Project on hold", "Other"),
}


def list_reasons(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Put the usual reasons into an empty list: from now on it is the admin's."""
    reason = apps.get_model("routing", "CloseReason")
    for kind, names in REASONS.items():
        for place, name in enumerate(names):
            reason.objects.create(kind=kind, name=name, needs_words=name == "Other", place=place)


# Until now each lead came from use, on the day it opened; and a person was always at the desk or at the API, which
# cannot be told apart any more.
FILL = [
    "UPDATE routing_lead SET pql_at = opened_at WHERE origin = 'pql'",
    "UPDATE routing_leadmove SET via = 'desk' WHERE by_id IS NOT NULL",
]

# A move undoes one of the same lead.
OF_THE_SAME_LEAD = [
    "ALTER TABLE routing_leadmove ADD CONSTRAINT move_and_its_lead UNIQUE (id, lead_id)",
    """ALTER TABLE routing_leadmove ADD CONSTRAINT undone_move_is_of_the_same_lead
       FOREIGN KEY (undoes_id, lead_id) REFERENCES routing_leadmove (id, lead_id) DEFERRABLE INITIALLY DEFERRED""",
]
OF_ANY_LEAD = [
    "ALTER TABLE routing_leadmove DROP CONSTRAINT undone_move_is_of_the_same_lead",
    "ALTER TABLE routing_leadmove DROP CONSTRAINT move_and_its_lead",
]


class Migration(migrations.Migration):
    """Fills and tightens what the migration before added."""

    dependencies = [("routing", "0003_lifecycle")]

    operations = [
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunPython(list_reasons, migrations.RunPython.noop),
        migrations.RunSQL(OF_THE_SAME_LEAD, OF_ANY_LEAD),
        migrations.RemoveConstraint(
            model_name="lead",
            name="snoozed_lead_says_until_when",
        ),
        migrations.RemoveConstraint(
            model_name="lead",
            name="sql_was_accepted",
        ),
        migrations.AddConstraint(
            model_name="leadmove",
            constraint=models.CheckConstraint(
                condition=models.Q(("via__in", ["desk", "api", "admin", "system", "crm"])),
                name="move_is_from_somewhere",
            ),
        ),
        migrations.AddConstraint(
            model_name="leadmove",
            constraint=models.CheckConstraint(
                condition=models.Q(("by__isnull", True), models.Q(("via", "system"), _negated=True), _connector="OR"),
                name="system_is_no_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="leadmove",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("undoes__isnull", False), ("verb", "undo")),
                    models.Q(models.Q(("verb", "undo"), _negated=True), ("undoes__isnull", True)),
                    _connector="OR",
                ),
                name="undo_says_what_it_undoes",
            ),
        ),
        migrations.AddIndex(
            model_name="lead",
            index=models.Index(
                condition=models.Q(("look_at__isnull", False)), fields=["state", "look_at"], name="lead_put_aside"
            ),
        ),
        migrations.AddIndex(
            model_name="lead",
            index=models.Index(
                condition=models.Q(("state", "closed")), fields=["account", "motion", "closed_at"], name="lead_closed"
            ),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("state", "snoozed"),
                        models.Q(("snoozed_until__isnull", False), ("wakes_on_signal", True), _connector="OR"),
                    ),
                    models.Q(
                        models.Q(("state", "snoozed"), _negated=True),
                        ("snoozed_until__isnull", True),
                        ("wakes_on_signal", False),
                    ),
                    _connector="OR",
                ),
                name="snoozed_lead_says_until_when",
            ),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("wakes_on_signal", True), _negated=True),
                    models.Q(("kept__isnull", False), ("look_at__isnull", False)),
                    _connector="OR",
                ),
                name="waiting_for_a_signal_needs_what_was_before",
            ),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("stage", "mql"), _negated=True), ("mql_at__isnull", False), _connector="OR"
                ),
                name="mql_is_dated",
            ),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("pql_at__isnull", False), ("stage", "pql")),
                    models.Q(("pql_at__isnull", True), ("stage", "mql")),
                    ("stage", "sql"),
                    _connector="OR",
                ),
                name="pql_is_dated",
            ),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("accepted_at__isnull", False), ("stage", "sql")),
                    models.Q(models.Q(("stage", "sql"), _negated=True), ("accepted_at__isnull", True)),
                    _connector="OR",
                ),
                name="sql_was_accepted",
            ),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("origin", "mql"), _negated=True), ("mql_at__isnull", False), _connector="OR"
                ),
                name="marketing_lead_was_an_mql",
            ),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("origin", "pql"), _negated=True), ("pql_at__isnull", False), _connector="OR"
                ),
                name="lead_by_use_was_a_pql",
            ),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_as", "recycled"), ("cool_until__isnull", False), ("kept__isnull", False)),
                    models.Q(models.Q(("closed_as", "recycled"), _negated=True), ("cool_until__isnull", True)),
                    _connector="OR",
                ),
                name="recycled_lead_cools_down",
            ),
        ),
    ]
