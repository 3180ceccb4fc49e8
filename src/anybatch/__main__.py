"""`python -m anybatch` is the command line."""

from .cli import main

main()
