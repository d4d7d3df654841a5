"""Drafts have a revision; versions an owner and a day of review, which alone may change once they are published."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ALLOW_REVIEW = """
DROP TRIGGER published_version_never_changes ON scoring_ruleversion;
CREATE TRIGGER published_version_never_changes
    BEFORE UPDATE ON scoring_ruleversion FOR EACH ROW
    WHEN (OLD.published_at IS NOT NULL
        AND to_jsonb(NEW) - '{owner_id,review_on}'::text[] IS DISTINCT FROM to_jsonb(OLD) - '{owner_id,review_on}'::text[])
    EXECUTE FUNCTION scoring_refuse_change_of_published_version();
"""

ALLOW_NOTHING = """
DROP TRIGGER published_version_never_changes ON scoring_ruleversion;
CREATE TRIGGER published_version_never_changes
    BEFORE UPDATE ON scoring_ruleversion FOR EACH ROW
    WHEN (OLD.published_at IS NOT NULL AND NEW IS DISTINCT FROM OLD)
    EXECUTE FUNCTION scoring_refuse_change_of_published_version();
"""


class Migration(migrations.Migration):
    """Adds the columns, then lets the trigger spare two of them."""

    dependencies = [
        ("scoring", "0009_merged_accounts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="publication",
            name="expected",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="ruleversion",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="ruleversion",
            name="review_on",
            field=models.DateField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="ruleversion",
            name="revision",
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.RunSQL(ALLOW_REVIEW, ALLOW_NOTHING),
    ]
