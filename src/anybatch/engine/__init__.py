"""What to do next, and doing it."""
