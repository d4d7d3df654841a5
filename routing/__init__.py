"""Who gets a lead and what happens to it."""
