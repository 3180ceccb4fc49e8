"""Public: a manual clock, crash injection and a fake endpoint with a ledger."""
