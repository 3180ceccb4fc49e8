"""The command line: each command is a few lines over the workspace."""

from .main import main

__all__ = ["main"]
