"""Where a client reaches this server: what it is told to call next."""

from urllib.parse import urlsplit

from starlette.requests import Request

from .owners import is_here


def known_origin(request: Request, public_url: str | None) -> str | None:
    """Where a client reaches us: as was configured, or as this call has; None: nobody knows.

    What a call says of that itself (`Host`) goes for nothing unless it names the address and the
    port that the call came in at, or this machine and the port.
    """
    if public_url is not None:
        return public_url
    origin, local = _said(request), request.scope.get("server")
    if origin is None or not local:
        return None
    there = urlsplit(origin)
    is_ours = is_here(origin) or there.hostname == local[0]
    port = there.port or _PORTS.get(there.scheme)
    return origin if is_ours and port == local[1] else None


_PORTS = {"http": 80, "https": 443}


def _said(request: Request) -> str | None:
    """Where a call says that it reaches us; None: it says nothing that could be an address."""
    host = request.headers.get("host", "")
    origin = f"{request.scope['scheme']}://{host}"
    try:
        there = urlsplit(origin)
        is_address = there.netloc == host and there.username is None and there.port != 0
    except ValueError:
        return None
    return origin if is_address else None


def origin_of(request: Request, public_url: str | None) -> str:
    """The same where it has to be told: this machine by another port, which may be passed on to
    ours, or at worst the address that the call came in at."""
    known = known_origin(request, public_url)
    if known is not None:
        return known
    said = _said(request)
    if said is not None and is_here(said):
        return said
    host, port = request.scope["server"]
    return f"{request.scope['scheme']}://{f'[{host}]' if ':' in host else host}:{port}"
