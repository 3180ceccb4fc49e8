"""The ways to get a batch answered."""
