"""Pages for people: each one file that needs nothing beside it."""
