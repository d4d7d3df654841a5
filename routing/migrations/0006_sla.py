"""Deadlines for the first touch, what came of those that were missed, and when the system was down."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds them; leads that are open already have no deadline."""

    dependencies = [
        ("routing", "0005_who_may_get_it"),
        ("scoring", "0013_backtests"),
    ]

    operations = [
        migrations.CreateModel(
            name="Breach",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("due_at", models.DateTimeField()),
                ("at", models.DateTimeField()),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("person", "the AE did not come to it"),
                            ("capacity", "too much work"),
                            ("rule", "the rules left it where nobody works it"),
                            ("outage", "the system was down"),
                        ],
                        max_length=8,
                    ),
                ),
                ("why", models.TextField()),
                (
                    "did",
                    models.CharField(
                        choices=[
                            ("escalated", "shown to the manager"),
                            ("reassigned", "given to another"),
                            ("excused", "given the time that was lost"),
                        ],
                        max_length=10,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "breaches",
            },
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("seen_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Outage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="SLA",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tier", models.CharField(blank=True, max_length=64)),
                ("hours", models.DecimalField(decimal_places=2, max_digits=6)),
                ("warn_hours", models.DecimalField(decimal_places=2, default=0, max_digits=6)),
            ],
            options={
                "verbose_name": "SLA",
                "verbose_name_plural": "SLAs",
            },
        ),
        migrations.AddField(
            model_name="lead",
            name="alarm_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="lead",
            name="due_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="at_breach",
            field=models.CharField(
                choices=[
                    ("escalate", "the manager is shown it, and it stays"),
                    ("reassign", "it goes to another, by turn; the turn is refunded"),
                ],
                default="escalate",
                max_length=8,
            ),
        ),
        migrations.AddIndex(
            model_name="lead",
            index=models.Index(condition=models.Q(("alarm_at__isnull", False)), fields=["alarm_at"], name="lead_alarm"),
        ),
        migrations.AddConstraint(
            model_name="lead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("alarm_at__isnull", True),
                    models.Q(
                        ("due_at__gte", models.F("alarm_at")),
                        ("due_at__isnull", False),
                        ("first_touched_at__isnull", True),
                        ("state__in", ["unassigned", "assigned"]),
                    ),
                    _connector="OR",
                ),
                name="alarm_is_for_what_is_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="pool",
            constraint=models.CheckConstraint(
                condition=models.Q(("at_breach__in", ["escalate", "reassign"])), name="breach_is_answered"
            ),
        ),
        migrations.AddField(
            model_name="breach",
            name="ae",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="breaches", to="routing.ae"
            ),
        ),
        migrations.AddField(
            model_name="breach",
            name="assignment",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="routing.assignment",
            ),
        ),
        migrations.AddField(
            model_name="breach",
            name="lead",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="breaches", to="routing.lead"
            ),
        ),
        migrations.AddField(
            model_name="breach",
            name="pool",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="routing.pool"
            ),
        ),
        migrations.AddConstraint(
            model_name="heartbeat",
            constraint=models.CheckConstraint(condition=models.Q(("id", 1)), name="one_heart"),
        ),
        migrations.AddIndex(
            model_name="outage",
            index=models.Index(fields=["ended_at"], name="outage_by_end"),
        ),
        migrations.AddConstraint(
            model_name="outage",
            constraint=models.CheckConstraint(
                condition=models.Q(("ended_at__gt", models.F("started_at"))), name="outage_ends_later"
            ),
        ),
        migrations.AddConstraint(
            model_name="outage",
            constraint=models.UniqueConstraint(fields=("started_at",), name="outage_is_noted_once"),
        ),
        migrations.AddField(
            model_name="sla",
            name="rule_set",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="slas", to="scoring.ruleset"
            ),
        ),
        migrations.AddIndex(
            model_name="breach",
            index=models.Index(fields=["at"], name="breach_by_time"),
        ),
        migrations.AddConstraint(
            model_name="breach",
            constraint=models.UniqueConstraint(fields=("lead", "due_at"), name="deadline_is_missed_once"),
        ),
        migrations.AddConstraint(
            model_name="breach",
            constraint=models.CheckConstraint(
                condition=models.Q(("cause__in", ["person", "capacity", "rule", "outage"])), name="breach_has_a_cause"
            ),
        ),
        migrations.AddConstraint(
            model_name="breach",
            constraint=models.CheckConstraint(
                condition=models.Q(("at__gte", models.F("due_at"))), name="breach_is_found_later"
            ),
        ),
        migrations.AddConstraint(
            model_name="breach",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ae__isnull", True), ("assignment__isnull", True)),
                    models.Q(("ae__isnull", False), ("assignment__isnull", False)),
                    _connector="OR",
                ),
                name="breach_of_an_ae_names_the_assignment",
            ),
        ),
        migrations.AddConstraint(
            model_name="sla",
            constraint=models.UniqueConstraint(fields=("rule_set", "tier"), name="tier_has_one_deadline"),
        ),
        migrations.AddConstraint(
            model_name="sla",
            constraint=models.CheckConstraint(
                condition=models.Q(("hours__gt", 0)),
                name="deadline_is_later",
                violation_error_message="Give a number of working hours above 0.",
            ),
        ),
        migrations.AddConstraint(
            model_name="sla",
            constraint=models.CheckConstraint(
                condition=models.Q(("warn_hours__gte", 0), ("warn_hours__lt", models.F("hours"))),
                name="warning_is_before",
                violation_error_message="The warning comes before the deadline: give fewer hours, or 0 for none.",
            ),
        ),
    ]
