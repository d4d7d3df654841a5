"""What is being published, or is to be."""

from scoring import jobs
from scoring.models import Job, RuleSet

PUBLISH = "publish"


def open_publication(rule_set: RuleSet) -> Job | None:
    """Return the job that publishes a version of the rule set, or is to do so at its time; None if there is none."""
    return Job.objects.filter(kind=PUBLISH, state__in=jobs.OPEN, arguments__rule_set=rule_set.pk).order_by("id").first()
