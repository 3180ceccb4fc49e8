"""Rows in, joined rows out."""
