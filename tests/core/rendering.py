"""Helpers of the template tests: one row through a template, by either path."""

from dataclasses import replace

import msgspec

from anybatch.core.model import Json, Row
from anybatch.core.template import Prompt, Render, Rendered, compile_prompt, compile_requests


def shape(system: str | None, user: str | None) -> Json:
    """A body with constants around both texts, awkward ones included."""
    return {"model": 'm"%b%%\n', "system": system, "user": user, "parameters": {"stop": "{{ x }}"}}


def both_ways(source: str, *, system: str | None = None) -> tuple[Render, Render]:
    """The same template twice: by the path it takes by itself, and by Jinja's."""
    user = compile_prompt(source)
    first = None if system is None else compile_prompt(system)
    by_itself = compile_requests(prompt=user, system=first, shape=shape)
    by_jinja = compile_requests(prompt=through_jinja(user), system=first, shape=shape)
    return by_itself, by_jinja


def through_jinja(prompt: Prompt) -> Prompt:
    """`prompt`, its flat form taken away."""
    return replace(prompt, pieces=None)


def request(source: str, row: Row) -> Rendered:
    return compile_requests(prompt=compile_prompt(source), system=None, shape=shape)(row)


def user_text(source: str, row: Row) -> str:
    """What the model is asked about `row`."""
    text: str = msgspec.json.decode(request(source, row).body)["user"]
    return text
