"""LLM work that can wait: a table and a prompt in; every row back, validated."""

from typing import TYPE_CHECKING, Any

from .version import VERSION

if TYPE_CHECKING:
    from .api import Run as Run
    from .api import arun as arun
    from .api import run as run
    from .api import submit as submit
    from .errors import AnybatchError as AnybatchError

__all__ = ["AnybatchError", "Run", "arun", "run", "submit"]
__version__ = VERSION


def __getattr__(name: str) -> Any:
    """Import the faces on first use: the command line should not wait for them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api, errors

    return getattr(api if hasattr(api, name) else errors, name)
