"""Pure: no clock, no I/O, no logging, no randomness."""
