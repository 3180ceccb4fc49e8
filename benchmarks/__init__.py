"""Figures as ratios: each side measured in the same run, in a process of its own."""
