"""The mirror's row, and the log of what changes behind its back."""

from django.db import migrations, models

# Of new tiles the ids tell. Whoever changes or deletes one holds the fold lock, so that nobody who began before there
# was a mirror is still at it when the row appears.
NOTE = """
CREATE FUNCTION scoring_note_changed_tiles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM scoring_mirror) THEN
        INSERT INTO scoring_mirrorchange (signal_id, month)
        SELECT DISTINCT signal_id, date_trunc('month', day)::date FROM was ORDER BY 1, 2;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER changed_tiles_are_noted AFTER UPDATE ON scoring_tile
    REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION scoring_note_changed_tiles();
CREATE TRIGGER deleted_tiles_are_noted AFTER DELETE ON scoring_tile
    REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION scoring_note_changed_tiles();
"""
DO_NOT_NOTE = """
DROP TRIGGER deleted_tiles_are_noted ON scoring_tile;
DROP TRIGGER changed_tiles_are_noted ON scoring_tile;
DROP FUNCTION scoring_note_changed_tiles();
"""


class Migration(migrations.Migration):
    """Adds both."""

    dependencies = [("scoring", "0011_signals_stay")]

    operations = [
        migrations.CreateModel(
            name="Mirror",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token", models.CharField(blank=True, max_length=32)),
                ("pending", models.CharField(blank=True, max_length=32)),
                ("tried_at", models.DateTimeField()),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="mirror_is_one_row")],
            },
        ),
        migrations.CreateModel(
            name="MirrorChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("signal_id", models.BigIntegerField()),
                ("month", models.DateField()),
            ],
        ),
        migrations.RunSQL(NOTE, DO_NOT_NOTE),
    ]
