"""Tiles without foreign keys, and the built-in signal that ingest always folds."""

import django.db.models.deletion
from django.db import migrations, models

# What language.document.ANYTHING is, frozen here; a test holds it against the language.
ANY = """
INSERT INTO scoring_signal (digest, definition, activated_at, barrier, backfilled_to)
SELECT 'd8d35c71e0854d8cb2bd36cf1375bcc4434d5652e47fc554fee431c598f8d913', '{"event": "*"}', now(), 0, 0
WHERE NOT EXISTS (SELECT FROM scoring_event)
ON CONFLICT (digest) DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("scoring", "0003_publication")]

    operations = [
        migrations.AlterField(
            model_name="tile",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="scoring.account",
            ),
        ),
        migrations.AlterField(
            model_name="tile",
            name="signal",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="scoring.signal",
            ),
        ),
        migrations.AlterField(
            model_name="tile",
            name="user",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="scoring.productuser",
            ),
        ),
        migrations.RunSQL(ANY, migrations.RunSQL.noop),
    ]
