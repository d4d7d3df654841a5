"""A turn is given back for a cause, kept with the assignment; what people claim holds for so many days."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

CAUSES = [
    ("duplicate", "the lead is a duplicate"),
    ("territory", "the lead belongs to another territory"),
    ("not_a_lead", "it is not a lead"),
    ("overdue", "it was not touched in time and went to another"),
    ("left", "its AE no longer works leads"),
    ("came_back", "it went back to the AE who had been away"),
    ("passed", "the turn went with the lead to another, by hand"),
    ("earlier", "before causes were asked for"),
]

# Of the reasons that were listed at first; the admin says it of the others.
REFUNDS = {
    "duplicate": ["Duplicate"],
    "not_a_lead": ["Not a real company", "Competitor", "Students", "Wrong region or size", "Already a customer"],
}


def tell_causes(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Say of what was refunded that nobody asked for the cause, and of the usual reasons what they give back."""
    apps.get_model("routing", "Assignment").objects.filter(refunded=True).update(refunded_for="earlier")
    for cause, names in REFUNDS.items():
        listed = apps.get_model("routing", "CloseReason").objects.filter(kind="disqualify", name__in=names)
        listed.update(refunds=cause)


def forget_causes(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Say of what was given back only that it was; nobody could say `forfeit` before."""
    apps.get_model("routing", "Assignment").objects.exclude(refunded_for="").update(refunded=True)
    apps.get_model("routing", "Pool").objects.filter(at_breach="forfeit").update(at_breach="reassign")


class Migration(migrations.Migration):
    """Puts the cause in the place of a mere yes."""

    dependencies = [("routing", "0006_sla")]

    operations = [
        migrations.AddField(
            model_name="assignment",
            name="refunded_for",
            field=models.CharField(blank=True, choices=CAUSES, default="", max_length=10),
        ),
        migrations.AddField(
            model_name="closereason",
            name="refunds",
            field=models.CharField(blank=True, choices=CAUSES[:3], default="", max_length=10),
        ),
        migrations.AddField(
            model_name="pool",
            name="credit_days",
            field=models.PositiveSmallIntegerField(default=7),
        ),
        migrations.AlterField(
            model_name="pool",
            name="at_breach",
            field=models.CharField(
                choices=[
                    ("escalate", "the manager is shown it, and it stays"),
                    ("reassign", "it goes to another, by turn; the turn is refunded"),
                    ("forfeit", "it goes to another, by turn; who missed it has had the turn"),
                ],
                default="escalate",
                max_length=8,
            ),
        ),
        migrations.RemoveConstraint(model_name="pool", name="breach_is_answered"),
        migrations.RemoveConstraint(model_name="assignment", name="only_a_turn_taken_is_refunded"),
        migrations.RunPython(tell_causes, forget_causes),
        migrations.RemoveField(model_name="assignment", name="refunded"),
        migrations.AddConstraint(
            model_name="assignment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refunded_for", ""),
                    models.Q(
                        ("ae__isnull", False), ("how__in", ["rotation", "passed"]), ("released_at__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="only_a_turn_taken_is_refunded",
            ),
        ),
        migrations.AddConstraint(
            model_name="assignment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refunded_for", ""), ("refunded_for__in", [cause for cause, _ in CAUSES]), _connector="OR"
                ),
                name="refund_has_a_cause",
            ),
        ),
        migrations.AddConstraint(
            model_name="closereason",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refunds", ""),
                    models.Q(("kind", "disqualify"), ("refunds__in", ["duplicate", "territory", "not_a_lead"])),
                    _connector="OR",
                ),
                name="reason_refunds_what_was_no_lead",
            ),
        ),
        migrations.AddConstraint(
            model_name="pool",
            constraint=models.CheckConstraint(
                condition=models.Q(("at_breach__in", ["escalate", "reassign", "forfeit"])), name="breach_is_answered"
            ),
        ),
    ]
