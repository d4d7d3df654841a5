"""Stages with dates of their own, reasons from a list, what was put aside, moves from somewhere and moves back."""

import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds what leads, their moves and marketing's words keep; existing rows are filled by the next one."""

    dependencies = [
        ("routing", "0002_roles"),
        ("scoring", "0013_backtests"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CloseReason",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("disqualify", "it is not a lead"),
                            ("lose", "they did not buy"),
                            ("recycle", "not now"),
                        ],
                        max_length=10,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("needs_words", models.BooleanField(default=False)),
                ("is_active", models.BooleanField(default=True)),
                ("place", models.PositiveSmallIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="MQL",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("message_id", models.CharField(max_length=512, unique=True)),
                ("at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("note", models.TextField(blank=True)),
                ("waits", models.TextField(blank=True)),
            ],
        ),
        migrations.AddField(
            model_name="lead",
            name="cool_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="lead",
            name="kept",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="lead",
            name="look_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="lead",
            name="mql_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="lead",
            name="pql_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="lead",
            name="wakes_on_signal",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="leadmove",
            name="undoes",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="undone_by",
                to="routing.leadmove",
            ),
        ),
        migrations.AddField(
            model_name="leadmove",
            name="via",
            field=models.CharField(
                choices=[("desk", "desk"), ("api", "API"), ("admin", "admin"), ("system", "system"), ("crm", "CRM")],
                default="system",
                max_length=6,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="leadmove",
            name="was",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="closereason",
            constraint=models.UniqueConstraint(
                models.F("kind"), django.db.models.functions.text.Lower("name"), name="reason_is_listed_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="closereason",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True), name="reason_has_a_name"
            ),
        ),
        migrations.AddField(
            model_name="lead",
            name="closed_for",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="leads",
                to="routing.closereason",
            ),
        ),
        migrations.AddField(
            model_name="mql",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="mqls", to="scoring.account"
            ),
        ),
        migrations.AddField(
            model_name="mql",
            name="lead",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="mqls", to="routing.lead"
            ),
        ),
        migrations.AddField(
            model_name="mql",
            name="rule_set",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="scoring.ruleset"
            ),
        ),
        migrations.AddField(
            model_name="mql",
            name="source",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="scoring.source"
            ),
        ),
        migrations.AddIndex(
            model_name="mql",
            index=models.Index(
                condition=models.Q(("lead__isnull", True)), fields=["account", "id"], name="mql_waiting"
            ),
        ),
        migrations.AddConstraint(
            model_name="mql",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("lead__isnull", False), ("waits", "")),
                    models.Q(("lead__isnull", True), models.Q(("waits", ""), _negated=True)),
                    _connector="OR",
                ),
                name="mql_has_a_lead_or_a_reason",
            ),
        ),
    ]
