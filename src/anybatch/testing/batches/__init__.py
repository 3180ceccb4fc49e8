"""What the fakes of all batch APIs have in common: lives of batches, rows that run, a ledger."""
