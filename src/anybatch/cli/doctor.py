"""`anybatch doctor`: whether a provider's batch API works from here, step by step."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from ..clock import SystemClock
from ..core.model import Spec
from ..errors import BadSettings, UsageError
from ..executors.auth import Key, key_for
from ..loops import run
from ..providers.provider import Provider
from ..settings import Settings
from ..wire.apis import wire_of
from .ask import agreed, somebody_is_there
from .remote import api_of, open_desk, provider_here, settings_here
from .report import print_json
from .visit import Step, Visit

FAILED = 4
_ASKED = "Answer with one word: yes."
_NO_MODEL = "nothing was run; with --model it makes a batch of one row, which costs a short answer"

Show = Callable[[Step], None]


def doctor_command(
    name: str,
    *,
    model: str | None,
    base_url: str | None,
    wait: timedelta,
    yes: bool,
    as_json: bool,
) -> int:
    """Take every step of a batch of one row; 4 if one fails."""
    settings = settings_here()
    provider, batch = provider_here(name, base_url, settings)
    model = None if model is None else model.removeprefix(f"{name}/")
    if model is not None and not yes:
        _check_agreed(provider, model)
    spec = Spec(provider=name, model=model, api=api_of(provider, batch), base_url=base_url)
    steps, left = _examine(provider, spec, settings, wait, _print if not as_json else _silent)
    is_well = all(step.ok for step in steps)
    if as_json:
        listed = [_json(step) for step in steps]
        print_json({"provider": name, "ok": is_well, "steps": listed, "left": left})
    elif model is None and is_well:
        print(_NO_MODEL)
    return 0 if is_well else FAILED


def _check_agreed(provider: Provider, model: str) -> None:
    """Raise UsageError unless somebody wants to pay for a row."""
    if not somebody_is_there():
        raise UsageError("say --yes: a batch of one row costs, and nobody is there to be asked")
    if not agreed(f"Make a batch of one row at {provider.name}/{model}? It costs a short answer."):
        raise UsageError("nothing was sent")


def _examine(
    provider: Provider, spec: Spec, settings: Settings, wait: timedelta, show: Show
) -> tuple[list[Step], list[str]]:
    """The steps that were taken, and what they left at the provider."""
    found, key = _key(provider, settings)
    show(found)
    if not found.ok:
        return [found], []
    with TemporaryDirectory(prefix="anybatch-") as folder:
        steps, left = run(_visit(provider, spec, settings, wait, show, key, Path(folder)))
    return [found, *steps], left


def _key(provider: Provider, settings: Settings) -> tuple[Step, Key | None]:
    """Whether the key is there that the provider wants."""
    step = Step(name="key", ok=True, seconds=0.0, said="none is needed")
    try:
        key = key_for(provider, settings.environment)
    except BadSettings as e:
        way_out = "get one from the provider, and start anybatch where it is set"
        return replace(step, ok=False, said=str(e), advice=way_out), None
    if key is None:
        return step, key
    return replace(step, said=f"in {provider.key_env if isinstance(key, str) else key.source}"), key


async def _visit(
    provider: Provider,
    spec: Spec,
    settings: Settings,
    wait: timedelta,
    show: Show,
    key: Key | None,
    folder: Path,
) -> tuple[list[Step], list[str]]:
    wire = wire_of(spec.api)
    body = wire.write_body(
        spec.api, model=spec.model or "", system=None, user=_ASKED, schema=None, parameters={}
    )
    desk = open_desk(provider, spec, key=key, settings=settings)
    visit = Visit(
        desk,
        spec,
        mark=f"doctor-{secrets.token_hex(4)}",
        body=msgspec.json.encode(body),
        folder=folder,
        clock=SystemClock(),
        show=show,
    )
    try:
        await visit.go(wait=wait, submits=spec.model is not None)
    finally:
        await desk.close()
    return visit.steps, visit.left


def _print(step: Step) -> None:
    word = "ok" if step.ok else "FAILED"
    print(f"{word:6}  {step.name:8}  {step.seconds:6.2f} s  {step.said}", flush=True)
    if step.advice is not None:
        print(f"{'':8}{step.advice}", flush=True)


def _silent(step: Step) -> None:
    pass


def _json(step: Step) -> dict[str, object]:
    return {
        "step": step.name,
        "ok": step.ok,
        "seconds": round(step.seconds, 3),
        "said": step.said,
        "advice": step.advice,
    }
