"""The receiver: route, verify, decode, commit, respond.

The path alone selects the provider and the check of the sender, so a sender cannot choose a weaker check. The
content type is ignored: not every provider publishes it, and a body in another form is malformed anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final
from urllib.parse import SplitResult

from transferkit._callbacks.commit import CommitInputs, commit_facts
from transferkit._callbacks.decoding import decode_callback
from transferkit._callbacks.messages import CallbackRequest, CallbackResponse
from transferkit._callbacks.refusals import Refusals, RoutedRequest
from transferkit._callbacks.verification.verifier import Verifier
from transferkit._telemetry import CallbackRefused, Rejection, Span, Telemetry, link_events
from transferkit._util.log_events import LogEvent
from transferkit.config import CallbackConfig
from transferkit.events import Event
from transferkit.provider.adapter import Adapter, Callback
from transferkit.provider.clock import Clock
from transferkit.provider.urls import split_url
from transferkit.stores import Store

__all__ = ["Receiver"]

_log = logging.getLogger("transferkit.callbacks")


@final
class Receiver:
    """Answers callbacks. A 2xx response means that everything in the callback is committed.

    `adapters` returns the adapter of a provider name, or None; `commit` commits several inputs to `store` in
    one transaction.
    """

    def __init__(
        self,
        *,
        adapters: Callable[[str], Adapter | None],
        commit: CommitInputs,
        verifier: Verifier,
        clock: Clock,
        config: CallbackConfig,
        store: Store,
        telemetry: Telemetry,
    ) -> None:
        self._adapters = adapters
        self._commit = commit
        self._verifier = verifier
        self._clock = clock
        self._config = config
        self._store = store
        self._telemetry = telemetry
        self._refusals = Refusals(clock, config)
        self._prefix = split_url(config.public_url or "").path.rstrip("/")

    async def receive(self, request: CallbackRequest) -> CallbackResponse:
        """Respond to one request. Raises nothing: each error becomes a response."""
        try:
            routed = self._route(request)
            with self._telemetry.callback(routed.adapter.name, routed.route.name) as span:
                try:
                    return await self._accept(routed, span)
                except Exception as error:  # noqa: BLE001 - the response to any error must not be a success
                    response = self._refusals.respond(error, routed)
                    span.set_refusal(error)
                    return response
        except Exception as error:  # noqa: BLE001 - as above, also if the refusal itself fails
            return self._refusals.respond(error, None)

    async def _accept(self, routed: RoutedRequest, span: Span) -> CallbackResponse:
        callback = await self._verify(routed)
        handshake = routed.adapter.handshake(callback)
        if handshake is not None:
            _log.info("handshake answered", extra=routed.log_fields(LogEvent.CALLBACK_HANDSHAKE))
            return CallbackResponse(status=handshake.status, headers=handshake.headers, body=handshake.body)
        events = await self._decode_and_commit(callback, routed.adapter, span)
        return CallbackResponse(status=routed.route.success_status, events=events)

    async def deliver(self, callback: Callback, *, adapter: Adapter) -> tuple[Event, ...]:
        """Commit a callback that the adapter received and verified; returns the events that it became.

        Raises `StoreError` if nothing is committed, or if the state of a call cannot be read; then what the
        callback says about other calls is committed. Raises `MalformedCallback` after the good elements are
        committed.
        """
        with self._telemetry.callback(adapter.name, callback.route) as span:
            return await self._decode_and_commit(callback, adapter, span)

    async def aclose(self) -> None:
        """Cancel running fetches of signing keys. The receiver may be used again."""
        await self._verifier.aclose()

    def _route(self, request: CallbackRequest) -> RoutedRequest:
        """Find the adapter and route by the path below the public URL's path, or by the whole path.

        A mount may have removed the public path already, and what remains may begin with the same text.
        """
        url = _split_path(request.url)
        below = url.path.removeprefix(self._prefix) if url.path.startswith(f"{self._prefix}/") else url.path
        for path in (below, url.path):
            name, _, rest = path.strip("/").partition("/")
            adapter = self._adapters(name)
            route = adapter.route(f"/{rest}" if rest else "") if adapter else None
            if adapter is not None and route is not None:
                return RoutedRequest(adapter, route, url.query, request)
        self._telemetry.unknown_path()
        raise CallbackRefused(Rejection.UNKNOWN_PATH)

    async def _verify(self, routed: RoutedRequest) -> Callback:
        """Check method, size and sender.

        Raises `CallbackRefused`, `CallbackNotVerified`, and `SenderNotChecked` if the sender cannot be
        checked now.
        """
        route, request = routed.route, routed.request
        if request.method not in route.methods:
            raise CallbackRefused(Rejection.METHOD)
        if len(request.body) > self._config.max_body_bytes:
            raise CallbackRefused(Rejection.TOO_LARGE)
        tenant_id: str | None = None
        if not self._config.accept_unverified:
            tenant_id = await self._verifier.verify(
                route, method=request.method, query=routed.query, headers=request.headers
            )
        return Callback(
            body=request.body,
            headers=request.headers,
            method=request.method,
            received_at=self._clock.now(),
            route=route.name,
            transfer_id=route.transfer_id,
            placed_by=route.placed_by,
            tenant_id=tenant_id,
        )

    async def _decode_and_commit(self, callback: Callback, adapter: Adapter, span: Span) -> tuple[Event, ...]:
        """The events that the callback became. Raises as `deliver` does."""
        facts, malformed = decode_callback(adapter, callback)
        committed = await commit_facts(
            facts, commit=self._commit, clock=self._clock, telemetry=self._telemetry
        )
        self._telemetry.observed(callback.received_at, committed.news)
        await link_events(span, committed.events, self._store)
        if error := committed.unreadable or malformed:
            raise error
        return committed.events


def _split_path(url: str) -> SplitResult:
    """Path and query. A URL that begins with a slash is a path, even if two slashes would mean a host."""
    if url.startswith("/"):
        path, _, query = url.partition("#")[0].partition("?")
        return SplitResult("", "", path, query, "")
    return split_url(url)
