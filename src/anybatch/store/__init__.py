"""The durable record: a database that knows batches, files that hold requests and results."""
