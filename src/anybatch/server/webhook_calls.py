"""Webhook endpoints as clients make and see them, in OpenAI's words."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..core import webhooks as core
from ..core.addresses import BadAddress
from ..core.webhooks import WebhookEndpoint, WebhookEvent
from ..store.values import as_json
from ..wire import openai_asked as asking
from ..wire import openai_webhooks as wire
from ..wire.openai_asked import Refused
from ..wire.openai_webhooks import AskedEndpoint
from .desk import Desk
from .face import FINAL, Absent, Handler, OverLimit, caller_of
from .forms import take_body
from .openai_replies import (
    MAX_BODY_BYTES,
    answering,
    id_of,
    json_answer,
    page_of,
)
from .repeats import Answers, Repeats, digest_of
from .webhook_calling import Interrupted
from .webhooks import Webhooks

Change = Callable[[WebhookEndpoint], WebhookEndpoint]

MOST = 20
"""Endpoints of one owner."""
_NOUN = "Webhook endpoint"


class WebhookCalls:
    """Belongs to the event loop."""

    def __init__(self, desk: Desk, webhooks: Webhooks) -> None:
        self._desk = desk
        self._store = desk.store
        self._clock = desk.clock
        self._webhooks = webhooks
        self._repeats = Repeats(desk.store, desk.clock)
        self._tested: set[str] = set()
        """Endpoints that are being tried out: each once at a time."""
        # Guards the way from reading an endpoint to writing it, and from counting them to another.
        self._changing = asyncio.Lock()

    def routes(self) -> Sequence[BaseRoute]:
        one = "/v1/webhook_endpoints/{id}"
        table: list[tuple[str, str, Handler]] = [
            ("POST", "/v1/webhook_endpoints", self.create),
            ("GET", "/v1/webhook_endpoints", self.list),
            ("GET", one, self.retrieve),
            ("POST", one, self.update),
            ("DELETE", one, self.delete),
            ("POST", f"{one}/rotate_secret", self.rotate),
            ("POST", f"{one}/test", self.test),
            ("GET", f"{one}/deliveries", self.deliveries),
            ("POST", f"{one}/replay", self.replay),
            ("GET", "/v1/webhook_event_types", self.event_types),
        ]
        return [
            Route(path, answering(handler), methods=[method]) for method, path, handler in table
        ]

    # --- one endpoint ---

    async def create(self, request: Request) -> Response:
        asked = wire.read_endpoint(await take_body(request, most=MAX_BODY_BYTES), is_new=True)
        owner = caller_of(request).owner
        endpoint = await self._repeats.once(
            request,
            digest_of(asked),
            make=partial(self._create, asked, owner),
            find=partial(self._find, owner=owner),
        )
        return json_answer(wire.write_endpoint(endpoint, with_secret=True))

    async def _create(self, asked: AskedEndpoint, owner: str, answers: Answers) -> WebhookEndpoint:
        url = await self._checked(asked.url or "")
        async with self._changing:
            there = await asyncio.to_thread(self._store.webhook_endpoints_of, owner, most=MOST)
            if len(there or ()) >= MOST:
                raise Refused(400, f"At most {MOST} webhook endpoints may be.", headers=FINAL)
            now = self._clock.now()
            endpoint = WebhookEndpoint(
                id=f"we_{self._desk.new_id()}",
                owner=owner,
                name=asked.name or "",
                url=url,
                event_types=asked.event_types or core.EVENT_TYPES,
                created_at=now,
                updated_at=now,
                status=asked.status or "enabled",
                secret=_new_secret(),
            )
            add = partial(self._store.add_webhook_endpoint, endpoint, answered=answers(endpoint.id))
            await asyncio.to_thread(add)
        return endpoint

    async def _checked(self, url: str) -> str:
        """Raises Refused for an address that nothing is sent to."""
        try:
            return (await self._webhooks.caller.check(url)).url
        except BadAddress as e:
            raise wire.refused_url(e) from None

    async def _find(self, endpoint_id: str, *, owner: str) -> WebhookEndpoint:
        """Raises Absent, as well for one that only the settings may change."""
        found = await asyncio.to_thread(self._store.webhook_endpoint, endpoint_id)
        if found is None or found.owner != owner or found.settled:
            raise Absent(_NOUN, endpoint_id)
        return found

    async def _endpoint(self, request: Request) -> WebhookEndpoint:
        return await self._find(id_of(request), owner=caller_of(request).owner)

    async def retrieve(self, request: Request) -> Response:
        return json_answer(wire.write_endpoint(await self._endpoint(request)))

    async def list(self, request: Request) -> Response:
        cursor = asking.read_cursor(request.query_params, usual=20, most=100)
        page = partial(
            self._store.webhook_endpoints_of,
            caller_of(request).owner,
            most=cursor.limit + 1,
            after=cursor.after,
        )
        return page_of(await asyncio.to_thread(page), cursor, wire.write_endpoint)

    async def update(self, request: Request) -> Response:
        endpoint = await self._endpoint(request)
        asked = wire.read_endpoint(await take_body(request, most=MAX_BODY_BYTES), is_new=False)
        changed = await self._repeats.once(
            request,
            digest_of(asked),
            make=partial(self._update, endpoint, asked),
            find=partial(self._find, owner=caller_of(request).owner),
        )
        return json_answer(wire.write_endpoint(changed))

    async def _update(
        self, seen: WebhookEndpoint, asked: AskedEndpoint, answers: Answers
    ) -> WebhookEndpoint:
        url = None if asked.url is None else await self._checked(asked.url)

        def changed(present: WebhookEndpoint) -> WebhookEndpoint:
            return replace(
                present,
                url=url or present.url,
                name=present.name if asked.name is None else asked.name,
                event_types=asked.event_types or present.event_types,
                status=asked.status or present.status,
                why=None if asked.status is not None else present.why,
            )

        return await self._change(seen, changed, answers)

    async def _change(
        self, seen: WebhookEndpoint, change: Change, answers: Answers
    ) -> WebhookEndpoint:
        """What `change` makes of an endpoint as it stands now. Raises Absent."""
        assert seen.owner is not None
        async with self._changing:
            present = await self._find(seen.id, owner=seen.owner)
            changed = change(present)
            if changed == present:
                return present
            changed = replace(changed, updated_at=self._clock.now())
            save = partial(self._store.save_webhook_endpoint, changed, answered=answers(changed.id))
            if not await asyncio.to_thread(save):
                raise Absent(_NOUN, seen.id)
        return changed

    async def delete(self, request: Request) -> Response:
        endpoint_id, owner = id_of(request), caller_of(request).owner
        delete = partial(self._store.delete_webhook_endpoint, endpoint_id, owner=owner)
        if not await asyncio.to_thread(delete, now=self._clock.now()):
            raise Absent(_NOUN, endpoint_id)
        return json_answer(wire.write_deleted_endpoint(endpoint_id))

    async def rotate(self, request: Request) -> Response:
        endpoint = await self._endpoint(request)
        keeps_old = wire.read_rotation(await take_body(request, most=MAX_BODY_BYTES))

        def rotated(present: WebhookEndpoint) -> WebhookEndpoint:
            until = self._clock.now() + core.OLD_SECRET_LIVES
            return replace(
                present,
                secret=_new_secret(),
                old_secret=present.secret if keeps_old else None,
                old_until=until if keeps_old else None,
            )

        changed = await self._repeats.once(
            request,
            digest_of(endpoint.id, keeps_old),
            make=lambda answers: self._change(endpoint, rotated, answers),
            find=partial(self._find, owner=caller_of(request).owner),
        )
        return json_answer(wire.write_endpoint(changed, with_secret=True))

    # --- what is sent there ---

    async def test(self, request: Request) -> Response:
        endpoint = await self._endpoint(request)
        event_type = wire.read_test(await take_body(request, most=MAX_BODY_BYTES))

        async def tried() -> str:
            return str(await self._try_out(endpoint, event_type))

        status = int(await self._repeats.done_once(request, digest_of(event_type), do=tried))
        answer = wire.write_test(endpoint.id, event_type=event_type, status=status)
        return json_answer(answer)

    async def _try_out(self, endpoint: WebhookEndpoint, event_type: str) -> int:
        """Send it something made up; what it answers. Raises Refused where no answer comes."""
        if endpoint.id in self._tested:
            raise OverLimit("This endpoint is being tested.", wait_s=1)
        assert endpoint.owner is not None
        made_up = WebhookEvent(
            id=f"evt_{self._desk.new_id()}",
            owner=endpoint.owner,
            type=event_type,
            subject=f"{event_type.partition('.')[0]}_test",
            at=self._clock.now(),
        )
        self._tested.add(endpoint.id)
        try:
            body = wire.write_event(made_up)
            outcome = await self._webhooks.post(endpoint, made_up.id, body)
        except Interrupted:
            raise _unanswered("the server stops") from None
        finally:
            self._tested.discard(endpoint.id)
        if outcome.status is None:
            raise _unanswered(outcome.why or "no answer came")
        return outcome.status

    async def deliveries(self, request: Request) -> Response:
        endpoint = await self._endpoint(request)
        cursor = asking.read_cursor(request.query_params, usual=20, most=100)
        page = partial(
            self._store.webhook_deliveries_of,
            endpoint.id,
            most=cursor.limit + 1,
            after=cursor.after,
        )
        return page_of(await asyncio.to_thread(page), cursor, wire.write_delivery)

    async def replay(self, request: Request) -> Response:
        endpoint = await self._endpoint(request)
        asked = wire.read_replay(await take_body(request, most=MAX_BODY_BYTES))

        async def replayed() -> str:
            if endpoint.status == "disabled":
                raise Refused(400, "The webhook endpoint is disabled.", headers=FINAL)
            replay = partial(
                self._store.replay_webhooks,
                now=self._clock.now(),
                events=asked.event_ids,
                since=asked.since,
                endpoint_id=endpoint.id,
            )
            sent = [each.event_id for each in await asyncio.to_thread(replay)]
            self._webhooks.news.set()
            return as_json(sent)

        said = await self._repeats.done_once(request, digest_of(asked), do=replayed)
        sent = msgspec.json.decode(said, type=list[str])
        return json_answer(wire.write_replayed(sent, endpoint_id=endpoint.id))

    async def event_types(self, request: Request) -> Response:
        return json_answer(wire.write_event_types())


def _unanswered(why: str) -> Refused:
    said = f"The test request did not complete: {why}."
    return Refused(400, said, code="webhook_test_failed", headers=FINAL)


def _new_secret() -> str:
    return core.new_secret(secrets.token_bytes(core.SECRET_BYTES))
