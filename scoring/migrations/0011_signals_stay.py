from django.db import migrations

# Nothing ever gave one up, but a hand at the database may have: it missed events, so it is made anew when it is needed.
FORGET_RETIRED = """
DELETE FROM scoring_tile WHERE signal_id IN (SELECT id FROM scoring_signal WHERE retired_at IS NOT NULL);
DELETE FROM scoring_signal WHERE retired_at IS NOT NULL;
"""


class Migration(migrations.Migration):
    """Forget that signals could be given up."""

    dependencies = [
        ("scoring", "0010_publishing"),
    ]

    operations = [
        migrations.RunSQL(FORGET_RETIRED, migrations.RunSQL.noop),
        migrations.RemoveField(
            model_name="signal",
            name="retired_at",
        ),
    ]
