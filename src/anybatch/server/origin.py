"""Where a client reaches this server: what it is told to call next."""

from urllib.parse import urlsplit

from starlette.requests import Request

from .owners import is_here


def known_origin(request: Request, public_url: str | None) -> str | None:
    """Where a client reaches us: as was configured, or as this call has; None: nobody knows.

    What a call says of that itself (`Host`) goes for nothing unless it names the address that the
    call came in at, or this machine.
    """
    if public_url is not None:
        return public_url
    host, local = request.headers.get("host", ""), request.scope.get("server")
    origin = f"{request.scope['scheme']}://{host}"
    try:
        there = urlsplit(origin)
        is_ours = there.netloc == host and there.username is None
        is_ours = is_ours and (is_here(origin) or bool(local and there.hostname == local[0]))
    except ValueError:
        return None
    return origin if is_ours else None


def origin_of(request: Request, public_url: str | None) -> str:
    """The same where it has to be told: at worst the address that the call came in at."""
    known = known_origin(request, public_url)
    if known is not None:
        return known
    host, port = request.scope["server"]
    return f"{request.scope['scheme']}://{f'[{host}]' if ':' in host else host}:{port}"
