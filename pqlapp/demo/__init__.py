"""A made-up company with known truth, sent through the same verbs as real events."""
