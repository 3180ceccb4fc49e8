"""Whose service it is: addresses, key variables, limits; facts as dated data."""
