"""Event Grid: subscribes an endpoint after a handshake, and delivers incoming calls.

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
_QUERY_PARAMETER: Final = "secret"  # the adapter expects this name
_TIMEOUT_SECONDS: Final = 30


class EventSchema(StrEnum):
    """The two forms of events; each has its own handshake."""

    EVENT_GRID = "eventgrid"
    CLOUD_EVENTS = "cloudevents"


@final
@frozen(kw_only=True)
class Delivery:
    """One event, which may be delivered several times."""

    url: str
    body: Any
    headers: Mapping[str, str]


@final
class EventGrid:
    """One topic. The query of every endpoint's address gets the parameter `secret`."""

    def __init__(self, emulator: Emulator, *, topic: str, secret: str) -> None:
        self._emulator = emulator
        self._topic = topic
        self._secret = secret
        self._subscribed: dict[str, EventSchema] = {}

    async def subscribe(self, url: str, schema: EventSchema) -> bool:
        """Do the handshake with an endpoint; returns whether the endpoint answered it as published."""
        import httpx

        address = self._with_secret(url)
        # Certificates are not verified, because the application may use one that was made for the test.
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, verify=False, trust_env=False) as http:  # noqa: S501
            if schema is EventSchema.CLOUD_EVENTS:
                subscribed = await self._request_permission(http, address)
            else:
                subscribed = await self._validate(http, address)
        if subscribed:
            self._subscribed[url] = schema
        else:
            _log.warning(
                "the emulated Event Grid delivers no events: the endpoint did not answer the handshake (%s)",
                schema,
                extra={"event": AcsLogEvent.EVENTGRID_NOT_VALIDATED, "path": urlsplit(url).path},
            )
        return subscribed

    async def announce(self, url: str, call: IncomingCall, *, age: timedelta) -> Delivery | None:
        """Deliver an incoming call, after the handshake with a new endpoint; None if the handshake failed.

        `age` is how long the call has been ringing, as if earlier deliveries had failed.
        """
        if url not in self._subscribed and not await self.subscribe(url, EventSchema.EVENT_GRID):
            return None
        delivery = self._delivery(url, call, age)
        await self.deliver(delivery)
        return delivery

    async def deliver(self, delivery: Delivery) -> None:
        """Deliver an event, for the first time or again, with the same ids and times."""
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
        """The handshake of Event Grid's own schema: the endpoint returns the validation code."""
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

    async def _request_permission(self, http: httpx.AsyncClient, url: str) -> bool:
        """The handshake of CloudEvents (HTTP 1.1 Web Hooks, section 4): the endpoint allows the origin."""
        headers = {"WebHook-Request-Origin": _ORIGIN, "WebHook-Request-Rate": "120"}
        reply = await self._send(http, "OPTIONS", url, None, headers)
        allowed = "" if reply is None else reply.headers.get("WebHook-Allowed-Origin", "")
        return reply is not None and reply.status_code == HTTPStatus.OK and allowed in {_ORIGIN, "*"}

    async def _send(
        self, http: httpx.AsyncClient, method: str, url: str, body: Any, headers: Mapping[str, str]
    ) -> httpx.Response | None:
        """Send and record a request of a handshake. Callback faults do not apply to it."""
        import httpx

        content = {} if body is None else {"json": body}
        try:
            reply: httpx.Response | None = await http.request(method, url, headers=dict(headers), **content)
        except (httpx.HTTPError, httpx.InvalidURL):
            reply = None
        status = None if reply is None else reply.status_code
        self._emulator.journal.add(
            SentCallback(url=url, body=body, status=status, headers=headers, at=self._emulator.clock.now())
        )
        return reply

    def _with_secret(self, url: str) -> str:
        """The address with the secret in its query, unless it already has one."""
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True)
        if any(name == _QUERY_PARAMETER for name, _ in given):
            return url
        query = urlencode([*given, (_QUERY_PARAMETER, self._secret)])
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
