"""The desk: the pages on which AEs work their queue, and managers see to the team."""
