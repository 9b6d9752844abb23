"""Event Grid: subscribes an endpoint after its handshake, and delivers the calls that ring.

Published: learn.microsoft.com event-grid, "webhook event delivery" and "CloudEvents schema"; IncomingCall.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

from attrs import frozen

from transferkit.emulators import Emulator, SentCallback
from transferkit_acs.emulator.calls import IncomingCall
from transferkit_acs.emulator.events import PREFIX, wire_time
from transferkit_acs.identities import response_model_of
from transferkit_acs.log_events import AcsLogEvent

if TYPE_CHECKING:
    import httpx

__all__ = ["Delivery", "EventGrid", "EventSchema"]

_log = logging.getLogger("transferkit.acs.emulator")

_ORIGIN: Final = "eventgrid.azure.net"
_SUBSCRIPTION: Final = "EMULATOR"
_PARAMETER: Final = "secret"  # where the adapter's route looks for it
_SECONDS: Final = 30  # for which Event Grid waits for an answer


class EventSchema(StrEnum):
    """In which of the two forms events are delivered, and the endpoint is greeted."""

    EVENT_GRID = "eventgrid"
    CLOUD_EVENTS = "cloudevents"


@final
@frozen(kw_only=True)
class Delivery:
    """One event as it is delivered, at first and again."""

    url: str
    body: Any
    headers: Mapping[str, str]


@final
class EventGrid:
    """One topic. `secret` is added to every endpoint's query, as `secret`."""

    def __init__(self, emulator: Emulator, *, topic: str, secret: str) -> None:
        self._emulator = emulator
        self._topic = topic
        self._secret = secret
        self._subscribed: dict[str, EventSchema] = {}

    async def subscribe(self, url: str, schema: EventSchema) -> bool:
        """Greet the endpoint; nothing is delivered to one that does not answer as published."""
        import httpx

        address = self._with_secret(url)
        # No certificate is checked, as the application's own may be made for the test.
        async with httpx.AsyncClient(timeout=_SECONDS, verify=False, trust_env=False) as http:  # noqa: S501
            if schema is EventSchema.CLOUD_EVENTS:
                agreed = await self._ask_for_leave(http, address)
            else:
                agreed = await self._validate(http, address)
        if agreed:
            self._subscribed[url] = schema
        else:
            _log.warning(
                "Event Grid delivers nothing: the endpoint did not answer its handshake (%s)",
                schema,
                extra={"event": AcsLogEvent.EVENTGRID_NOT_VALIDATED, "path": urlsplit(url).path},
            )
        return agreed

    async def announce(self, url: str, call: IncomingCall, *, age: timedelta) -> Delivery | None:
        """Deliver a call that rings, after the handshake if it is the first; None where that failed.

        `age` is how long ago the call began to ring, as when earlier tries did not arrive.
        """
        if url not in self._subscribed and not await self.subscribe(url, EventSchema.EVENT_GRID):
            return None
        delivery = self._delivery(url, call, age)
        await self.deliver(delivery)
        return delivery

    async def deliver(self, delivery: Delivery) -> None:
        """Deliver an event, or deliver it again: ids and times stay as they are."""
        await self._emulator.post(delivery.url, delivery.body, headers=delivery.headers)

    def _delivery(self, url: str, call: IncomingCall, age: timedelta) -> Delivery:
        schema = self._subscribed[url]
        event_id, kind = str(uuid4()), f"{PREFIX}IncomingCall"
        time = wire_time(self._emulator.clock.now() - age, zone="Z")
        common = {
            "id": event_id,
            "subject": f"/caller/{call.caller.raw_id}/recipient/{call.callee.raw_id}",
            "data": _incoming(call),
        }
        if schema is EventSchema.CLOUD_EVENTS:
            body: Any = {
                **common,
                "source": self._topic,
                "type": kind,
                "time": time,
                "specversion": "1.0",
            }
            headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
        else:
            body = [
                {
                    **common,
                    "topic": self._topic,
                    "eventType": kind,
                    "eventTime": time,
                    "dataVersion": "1.0",
                    "metadataVersion": "1",
                }
            ]
            headers = {"aeg-event-type": "Notification", "aeg-data-version": "1.0"}
        named = {"aeg-subscription-name": _SUBSCRIPTION, "aeg-delivery-count": "0"}
        return Delivery(url=self._with_secret(url), body=body, headers={**named, **headers})

    async def _validate(self, http: httpx.AsyncClient, url: str) -> bool:
        """The handshake of Event Grid's own schema: the endpoint answers with the code that it was sent."""
        code = str(uuid4())
        event = {
            "id": str(uuid4()),
            "topic": self._topic,
            "subject": "",
            "data": {"validationCode": code},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": wire_time(self._emulator.clock.now(), zone="Z"),
            "dataVersion": "2",
            "metadataVersion": "1",
        }
        headers = {"aeg-event-type": "SubscriptionValidation", "aeg-subscription-name": _SUBSCRIPTION}
        reply = await self._send(http, "POST", url, [event], headers)
        if reply is None or reply.status_code != HTTPStatus.OK:
            return False
        try:
            answer = reply.json()
        except ValueError:
            return False
        return isinstance(answer, dict) and answer.get("validationResponse") == code

    async def _ask_for_leave(self, http: httpx.AsyncClient, url: str) -> bool:
        """The handshake of CloudEvents (HTTP 1.1 Web Hooks, section 4): the endpoint allows the origin."""
        headers = {"WebHook-Request-Origin": _ORIGIN, "WebHook-Request-Rate": "120"}
        reply = await self._send(http, "OPTIONS", url, None, headers)
        allowed = "" if reply is None else reply.headers.get("WebHook-Allowed-Origin", "")
        return reply is not None and reply.status_code == HTTPStatus.OK and allowed in {_ORIGIN, "*"}

    async def _send(
        self, http: httpx.AsyncClient, method: str, url: str, body: Any, headers: Mapping[str, str]
    ) -> httpx.Response | None:
        """A handshake, kept among the callbacks; no fault of the callbacks is done to it."""
        import httpx

        content = {} if body is None else {"json": body}
        try:
            reply: httpx.Response | None = await http.request(method, url, headers=dict(headers), **content)
        except (httpx.HTTPError, httpx.InvalidURL):
            reply = None
        status = None if reply is None else reply.status_code
        at = self._emulator.clock.now()
        self._emulator.journal.add(SentCallback.of(url, body, status, headers=headers, at=at))
        return reply

    def _with_secret(self, url: str) -> str:
        """The address with the secret in its query, unless it has one already."""
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True)
        if any(name == _PARAMETER for name, _ in given):
            return url
        query = urlencode([*given, (_PARAMETER, self._secret)])
        return urlunsplit(parts._replace(query=query))


def _incoming(call: IncomingCall) -> dict[str, Any]:
    data: dict[str, Any] = {
        "to": response_model_of(call.callee),
        "from": response_model_of(call.caller),
        "serverCallId": call.server_call_id,
        "callerDisplayName": "",
        "incomingCallContext": call.context,
        "correlationId": call.correlation_id,
    }
    return data | ({"customContext": dict(call.custom_context)} if call.custom_context else {})
