"""A Batch API in the providers' own protocols, for any model."""
