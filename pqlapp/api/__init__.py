"""The REST API: rules, scores and leads for programs, below /api/v1/."""
