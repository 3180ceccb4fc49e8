"""Which model is answered where: the `[[routes]]` of `anybatch.toml`, held against a name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, overload
from urllib.parse import urlsplit

from ..core.model import Api, Spec
from ..errors import BadSettings
from ..executors.auth import is_on_this_machine
from ..executors.embedded import PACKAGED, weights
from ..providers import registry
from ..providers.provider import Provider
from ..providers.registry import checked_url
from ..settings import Settings

LOCAL = "local"
_TEXTS = ("model", "provider", "base_url", "api_key_env", "executor")
_NUMBERS = ("concurrency", "rpm", "tpm", "batch_requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One place where requests are answered, and for which models."""

    model: str
    """A name, or a pattern such as `llama-*`; `*` takes all."""
    provider: str
    """Whose service it is, by the name it is known under here."""
    base_url: str | None = None
    weights: str | None = None
    """Of a model in this process: its name, or its file."""
    executor: Literal["batch", "online"] | None = None
    """None: as the provider offers it."""
    table: Mapping[str, Any] = field(default_factory=dict)
    """What it says of its provider."""

    def spec(self, model: str | None, api: Api) -> Spec:
        """What is asked there of requests that name this model."""
        return Spec(
            provider=self.provider,
            model=self.weights or model,
            api=api,
            base_url=self.base_url,
            executor=self.executor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How requests of one order are answered at a route."""

    route: Route
    api: Api
    """In whose words."""
    mixes: bool
    """Whether one run may have requests of several models there."""


EMBEDDED = Route(model="*", provider=LOCAL, weights=PACKAGED)
"""What answers where nobody said anything."""


class RouteTable(Sequence[Route]):
    """The routes as they are now. Others may take their place while the server runs."""

    def __init__(self, settings: Settings) -> None:
        self._routes = routes_of(settings)
        known = with_routes(settings, self._routes)
        check_places(known, self._routes)
        self._providers = known.providers
        self.settings = replace(settings, providers=_Live(lambda: self._providers))
        """In which the provider of each route is known by its name, now and later."""

    def take(self, settings: Settings) -> None:
        """Go by other routes from now on. Raises BadSettings, and leaves them as they are.

        Providers that no route names any more stay known: what was accepted is answered there.
        """
        routes = routes_of(settings)
        known = with_routes(settings, routes)
        check_places(known, routes)
        self._providers = {**self._providers, **known.providers}
        self._routes = routes

    @overload
    def __getitem__(self, place: int) -> Route: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Route]: ...
    def __getitem__(self, place: int | slice) -> Route | Sequence[Route]:
        return self._routes[place]

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)  # of one moment, whatever takes their place meanwhile


class _Live(Mapping[str, Mapping[str, Any]]):
    """A table as it is whenever one looks."""

    def __init__(self, present: Callable[[], Mapping[str, Mapping[str, Any]]]) -> None:
        self._present = present

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return self._present()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._present())

    def __len__(self) -> int:
        return len(self._present())


def routes_of(settings: Settings) -> tuple[Route, ...]:
    """The routes that are configured, first match first. Raises BadSettings."""
    if not settings.routes:
        return (EMBEDDED,)
    routes = tuple(_read(table, place) for place, table in enumerate(settings.routes, start=1))
    _check_names(routes)
    return routes


def find(routes: Sequence[Route], model: str) -> Route | None:
    """The first route that takes `model`; None: nothing does."""
    return next((route for route in routes if fnmatchcase(model, route.model)), None)


def named(routes: Sequence[Route]) -> Iterator[str]:
    """The models that are named in full, and the packaged one where a pattern leads to it."""
    for route in routes:
        if not any(c in route.model for c in "*?["):
            yield route.model
        elif route.weights is not None:
            yield route.weights


def with_routes(settings: Settings, routes: tuple[Route, ...]) -> Settings:
    """`settings` in which the provider of each route is known by its name."""
    providers = {name: dict(table) for name, table in settings.providers.items()}
    for route in routes:
        providers[route.provider] = {**providers.get(route.provider, {}), **route.table}
    return replace(settings, providers=providers)


def check_places(settings: Settings, routes: Sequence[Route]) -> None:
    """Raise BadSettings for a route at whose place nothing could ever be answered.

    `settings` know the providers of all of them. Whether there is a key is seen when it is wanted:
    the routes of other models are good without it.
    """
    for place, route in enumerate(routes, start=1):
        if route is EMBEDDED:
            continue  # nobody asked for it
        try:
            _check_place(settings, route)
        except BadSettings as e:
            raise BadSettings(f"{_where(place)}: {e}") from e


def _provider(settings: Settings, route: Route) -> Provider:
    """Who answers at a route. Raises BadSettings."""
    return registry.find(
        route.provider,
        configured=settings.providers,
        base_url=route.base_url,
        environment=settings.environment,
    )


def _check_place(settings: Settings, route: Route) -> None:
    provider = _provider(settings, route)
    if provider.base_url is None and route.weights is not None:
        weights(route.weights)
    if route.executor == "batch" and provider.batch is None:
        raise BadSettings(
            f"provider {provider.name!r} has no batch API that we know of; leave executor out"
        )


class Keyless(NamedTuple):
    """A route to whose place nobody has said the key."""

    number: int
    model: str
    variable: str
    """Of the environment, where the key is looked for."""


def keyless(settings: Settings, routes: Sequence[Route]) -> Iterator[Keyless]:
    """Those of `routes` whose key the environment does not have, though they name it or need it.

    `settings` know the providers of all of them. Google's tools may have left a key elsewhere, and
    who answers on this machine needs none.
    """
    for number, route in enumerate(routes, start=1):
        provider = _provider(settings, route)
        variable = provider.key_env
        if variable is None or settings.environment.get(variable, "").strip():
            continue
        needs_it = provider.auth != "google" and not is_on_this_machine(provider)
        if needs_it or route.table.get("key_env"):
            yield Keyless(number, route.model, variable)


def _where(place: int) -> str:
    return f"[[routes]] number {place} in anybatch.toml"


def _read(table: Mapping[str, Any], place: int) -> Route:
    where = _where(place)
    known = (*_TEXTS, *_NUMBERS)
    for name, value in table.items():
        if name not in known:
            raise BadSettings(f"{where} has {name!r}; it may have {', '.join(known)}")
        if name in _TEXTS and not (isinstance(value, str) and (value or name == "api_key_env")):
            raise BadSettings(f"{where}: {name} must be a text, not {value!r}")
    model = table.get("model")
    if model is None:
        raise BadSettings(f"{where} needs a model: a name, or a pattern such as 'llama-*' or '*'")
    if "provider" not in table and "base_url" not in table:
        raise BadSettings(f"{where} needs a base_url or a provider, to say who answers {model!r}")
    if table.get("executor") not in (None, "batch", "online"):
        raise BadSettings(f"{where}: executor is 'batch' or 'online', not {table['executor']!r}")
    return _route(table, model, where)


def _route(table: Mapping[str, Any], model: str, where: str) -> Route:
    said = {name: table[name] for name in _NUMBERS if name in table}
    provider, _, weights = str(table.get("provider", "")).partition("/")
    if provider == LOCAL:
        return Route(model=model, provider=LOCAL, weights=weights or PACKAGED, table=said)
    base_url = table.get("base_url")
    if base_url is not None:
        base_url = checked_url(base_url, where=where)
    if "api_key_env" in table:
        said["key_env"] = table["api_key_env"]
    elif not provider:
        said["key_env"] = ""  # an address without a name: nobody has said that it takes a key
    return Route(
        model=model,
        provider=provider or urlsplit(base_url or "").netloc,
        base_url=base_url,
        executor=table.get("executor"),
        table=said,
    )


def _check_names(routes: tuple[Route, ...]) -> None:
    """Raise BadSettings where two routes say different things of one provider."""
    said: dict[str, Mapping[str, Any]] = {}
    for route in routes:
        if said.setdefault(route.provider, route.table) != route.table:
            raise BadSettings(
                f"two [[routes]] say different things of {route.provider!r}; give each a name of "
                'its own with provider = "…"'
            )
