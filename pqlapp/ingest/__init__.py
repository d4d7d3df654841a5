"""The doors for events: what comes over a wire, or out of a file, becomes facts."""
