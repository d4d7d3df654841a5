"""One view for each kind of thing. A view reads, or calls one verb; what it may show follows from who asks."""
