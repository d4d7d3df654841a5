"""LISTENS AND SHOWS: the shell of the system and its doors."""
