"""The websocket over which ARI sends events, and what follows from some of them.

Messages are read as they arrive, because Asterisk closes the connection to a slow reader, and are delivered
in order by a second task. While the store fails, a limited number of them wait. Then no more are read, and
Asterisk may close the connection; the calls of open transfers are queried after the next one is established.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, final

from transferkit.errors import ConfigError, StoreError
from transferkit.provider.adapter import Adapter, Callback, ConnectionFailed, Deliver
from transferkit.provider.clock import Clock
from transferkit.provider.facts import MalformedCallback
from transferkit.provider.json import read_json
from transferkit.provider.secret import redact
from transferkit_asterisk.ari import Ari, Reply
from transferkit_asterisk.callbacks import StasisReturn, is_noise
from transferkit_asterisk.log_events import AsteriskLogEvent
from transferkit_asterisk.names import BRIDGE_PREFIX, transfer_of_bridge
from transferkit_asterisk.requests import AriRequest, channel_path
from transferkit_asterisk.settings import AsteriskSettings

if TYPE_CHECKING:
    from websockets.asyncio.client import connect

__all__ = ["AriEvents", "consequences"]

_log = logging.getLogger("transferkit_asterisk.events")

_ROUTE: Final = "events"
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_PING_SECONDS: Final = 20
_CLOSE_SECONDS: Final = 1
_MOST_WAITING: Final = 10_000
"""How many messages may wait to be delivered."""
_LAST_SECONDS: Final = 3
"""How long the waiting messages are still delivered after a cancellation."""
_PARTIES: Final = 2


@final
class AriEvents:
    """Receives the events of one Stasis application, for `adapter`."""

    def __init__(
        self, adapter: Adapter, settings: AsteriskSettings, *, ari: Ari, clock: Clock, deliver: Deliver
    ) -> None:
        self._adapter = adapter
        self._settings = settings
        self._ari = ari
        self._clock = clock
        self._deliver_callback = deliver

    async def receive(self, opened: Callable[[], None]) -> None:
        """Connect, and deliver events until the connection ends. Raises `ConnectionFailed`."""
        from websockets.exceptions import WebSocketException

        messages: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        delivering = asyncio.create_task(self._deliver_all(messages), name="transferkit-asterisk-events")
        try:
            try:
                await self._read(messages, opened)
            except Exception:
                await messages.join()
                raise
            await messages.join()
        except asyncio.CancelledError:
            await self._deliver_last(messages)
            raise
        except (OSError, TimeoutError, WebSocketException) as error:
            raise _failure(error) from None
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _read(self, messages: asyncio.Queue[bytes], opened: Callable[[], None]) -> None:
        """Connect, and queue events until the connection ends."""
        async with self._connection() as connection:
            opened()
            await self._release_lonely_channels()
            async for message in connection:
                text = message.encode() if isinstance(message, str) else message
                if _is_replacement(text):
                    raise ConnectionFailed(
                        f"another client connected to the Stasis application {self._settings.app}. "
                        "Only transferkit may use it, with one store: set app of [providers.asterisk]"
                    )
                await messages.put(text)

    async def _deliver_last(self, messages: asyncio.Queue[bytes]) -> None:
        """Give the queued events a last chance: this process stops receiving."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await messages.join()
        except TimeoutError:
            _log.error(
                "%d events of Asterisk could not be recorded before the connection was closed. "
                "The process that connects next queries the calls of open transfers",
                messages.qsize() + 1,  # the one that is being delivered
                extra={"event": AsteriskLogEvent.EVENTS_LOST},
            )

    def _connection(self) -> connect:
        """The connection, not yet open. Raises `ConnectionFailed` if the settings cannot be used."""
        from websockets.asyncio.client import connect

        try:
            password = self._settings.password.resolve()
            context = self._settings.ssl_context()
        except ConfigError as error:
            raise ConnectionFailed("; ".join(str(problem) for problem in error.problems)) from None
        credentials = b64encode(f"{self._settings.username}:{password}".encode()).decode()
        url = self._settings.events_url
        return connect(
            url,
            additional_headers={"Authorization": f"Basic {credentials}"},
            ssl=context if url.startswith("wss:") else None,
            open_timeout=self._settings.timeout,
            ping_interval=_PING_SECONDS,
            close_timeout=_CLOSE_SECONDS,
        )

    async def _deliver_all(self, messages: asyncio.Queue[bytes]) -> None:
        while True:
            message = await messages.get()
            try:
                await self._take(message)
            except Exception as error:  # noqa: BLE001 - one event must not stop the others
                _log.error(
                    "an event of Asterisk could not be processed (%s)",
                    type(error).__name__,
                    extra={"event": AsteriskLogEvent.EVENT_FAILED},
                )
            finally:
                messages.task_done()

    async def _take(self, message: bytes) -> None:
        """Deliver one event, and do what follows from it after that is recorded."""
        try:
            event = read_json(message)
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict) and is_noise(event):
            return
        await self._deliver(message)
        if isinstance(event, dict):
            for request in consequences(event, self._settings):
                await self._follow(request)
            await self._release_consult(StasisReturn.of(event))

    async def _deliver(self, message: bytes) -> None:
        """Deliver an event until it is recorded: Asterisk does not send it again."""
        callback = Callback(body=message, received_at=self._clock.now(), route=_ROUTE)
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._deliver_callback(callback, adapter=self._adapter)
            except MalformedCallback as error:
                _log.warning(
                    "an event of Asterisk has an unknown form: %s",
                    error,
                    extra={"event": AsteriskLogEvent.EVENT_MALFORMED},
                )
            except StoreError as error:
                _log.error(
                    "an event of Asterisk could not be recorded; trying again: %s",
                    redact(str(error)),
                    extra={"event": AsteriskLogEvent.EVENT_NOT_STORED},
                )
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            return

    async def _release_consult(self, returned: StasisReturn | None) -> None:
        """Hang up the consultation leg after a REFER with Replaces. The target should have ended it."""
        if returned is None or not returned.has_succeeded or returned.consult is None:
            return
        reply = await self._ari.send(AriRequest("DELETE", channel_path(returned.consult)))
        if isinstance(reply, Reply) and reply.is_success:
            _log.warning(
                "transfer %s: the caller's side reported success, but the consultation leg %s was still up. "
                "The target may not support Replaces",
                returned.transfer_id,
                returned.consult,
                extra={"event": AsteriskLogEvent.CONSULT_LEFT, "transfer_id": returned.transfer_id},
            )

    async def _follow(self, request: AriRequest) -> None:
        """Send a request that follows from an event. That a channel is gone already is as good."""
        reply = await self._ari.send(request)
        if isinstance(reply, Reply):
            if reply.is_success or reply.status == HTTPStatus.NOT_FOUND or request.method != "DELETE":
                return
            why = f"HTTP status {reply.status}"
        else:
            why = str(reply.result.message)
        _log.warning(
            "Asterisk did not end %s after its transfer: %s",
            request.path,
            why,
            extra={"event": AsteriskLogEvent.NOT_RELEASED},
        )

    async def _release_lonely_channels(self) -> None:
        """Hang up the channels whose partner left their bridge while no process was connected."""
        reply = await self._ari.send(AriRequest("GET", "bridges"))
        bridges = reply.body if isinstance(reply, Reply) and isinstance(reply.body, list) else []
        for bridge in bridges:
            if isinstance(bridge, dict) and bridge.get("channels"):  # else it may be about to be filled
                for request in _releases(bridge):
                    await self._follow(request)


def consequences(event: Mapping[str, Any], settings: AsteriskSettings) -> Iterator[AriRequest]:
    """The requests that follow from an event.

    * A new channel: subscribe to it, so that its end is reported wherever it goes.
    * A channel that returns from a successful REFER: hang it up. The caller talks to the target over another
      call.
    * A member left the bridge of two: hang up the other one.
    """
    returned = StasisReturn.of(event)
    channel = event.get("channel")
    channel_id = channel.get("id") if isinstance(channel, Mapping) else None
    if event.get("type") == "StasisStart" and isinstance(channel_id, str):
        if returned is None:
            source = {"eventSource": f"channel:{channel_id}"}
            yield AriRequest("POST", f"applications/{settings.app}/subscription", source)
        elif returned.has_succeeded:
            yield AriRequest("DELETE", channel_path(channel_id))
    bridge = event.get("bridge")
    if event.get("type") == "ChannelLeftBridge" and isinstance(bridge, Mapping):
        yield from _releases(bridge)


def _releases(bridge: Mapping[str, Any]) -> Iterator[AriRequest]:
    """What ends a bridge of a transfer that has lost a member."""
    id_, members = bridge.get("id"), bridge.get("channels")
    if transfer_of_bridge(id_) is None or not isinstance(members, list) or len(members) >= _PARTIES:
        return
    for member in members:
        yield AriRequest("DELETE", channel_path(str(member)))
    yield AriRequest("DELETE", f"bridges/{BRIDGE_PREFIX}{str(id_).removeprefix(BRIDGE_PREFIX)}")


def _is_replacement(message: bytes) -> bool:
    """Whether this event says that another client took the connection's place."""
    if b"ApplicationReplaced" not in message:
        return False
    try:
        event = read_json(message)
    except (ValueError, RecursionError):
        return False
    return isinstance(event, dict) and event.get("type") == "ApplicationReplaced"


def _failure(error: Exception) -> ConnectionFailed:
    from websockets.exceptions import InvalidStatus

    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        advice = {
            401: "check username and password of [providers.asterisk], and ari.conf",
            403: "check the ARI user in ari.conf",
            404: "check base_url of [providers.asterisk], and that res_ari is loaded",
        }.get(status, "check base_url of [providers.asterisk]")
        return ConnectionFailed(f"Asterisk answered with HTTP status {status}: {advice}")
    if isinstance(error, TimeoutError):
        return ConnectionFailed("Asterisk did not answer in time: check base_url of [providers.asterisk]")
    return ConnectionFailed(
        f"the connection failed or ended ({type(error).__name__}): check base_url of [providers.asterisk], "
        "and that http.conf enables the server"
    )
