"""A pool's turns may deal out the value of leads; what an assignment cost is read by the database in its record."""

from django.db import migrations, models
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast


class Migration(migrations.Migration):
    """Adds the values of tiers, and the cost of assignments."""

    dependencies = [("routing", "0007_refunds_for_a_cause")]

    operations = [
        migrations.AddField(
            model_name="pool",
            name="tier_values",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name="assignment",
            name="cost",
            field=models.GeneratedField(
                db_persist=True,
                expression=Cast(KeyTextTransform("cost", KeyTransform("turn", "decision")), models.BigIntegerField()),
                output_field=models.BigIntegerField(null=True),
            ),
        ),
    ]
