"""The application under test: a client whose provider is a real Asterisk, and what it saw."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, final

from sip_endpoints.asterisk import PASSWORD, Asterisk
from sip_endpoints.messages import Message
from transferkit.client import AsyncClient
from transferkit.events import CallIncoming, Event, Outcome

APP = "transferkit"
"""The Stasis application."""


def configuration(pbx: Asterisk, *, mode: str, store: str = "memory:", **more: Any) -> dict[str, Any]:
    """The configuration of a client. Times are short, because loopback is fast."""
    return {
        "provider": "asterisk",
        "store": store,
        "lifecycle": {"grace": 0.5, "inspect_gap": 0.5, "lease": 5},
        "providers": {
            "asterisk": {
                "base_url": pbx.ari_url,
                "password": PASSWORD,
                "mode": mode,
                "endpoint": "peer",
                "timeout": 5.0,
                **more,
            }
        },
    }


@final
class Connections(logging.Handler):
    """Counts how often a client connected to Asterisk, by the log: Asterisk itself does not tell."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += getattr(record, "event", None) == "connection_opened"


@final
class Application:
    """A client, and every event since it was opened."""

    def __init__(self, client: AsyncClient, pbx: Asterisk, connections: Connections) -> None:
        self.client = client
        self.connections = connections
        self.pbx = pbx
        self.events: list[Event] = []
        self._seen: set[str] = set()
        self._wire_before = len(pbx.messages())

    async def until(self, condition: Callable[[], object], what: str, *, seconds: float = 15) -> None:
        """Return as soon as the condition is true, while the client works."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110 - other processes do not notify this one
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{what}: not within {seconds} s") from None

    async def incoming(self) -> str:
        """The id of the next call that rings here."""

        def new() -> list[str]:
            rings = (event for event in self.events if isinstance(event, CallIncoming))
            return [event.call_id for event in rings if event.call_id not in self._seen]

        await self.until(new, "a call rings")
        call_id = new()[0]
        self._seen.add(call_id)
        return call_id

    async def answered(self) -> str:
        """Answer the next call that rings here, and return its id."""
        call_id = await self.incoming()
        assert self.pbx.ari("POST", f"channels/{call_id}/answer").status_code == 204
        return call_id

    def call(self, uri: str) -> str:
        """Call a SIP address, and return the id of the call."""
        response = self.pbx.ari("POST", "channels", endpoint=f"PJSIP/peer/{uri}", app=APP, appArgs="consult")
        return str(response.json()["id"])

    async def outcomes(self, transfer_id: str) -> list[Event]:
        """The terminal events of a transfer that are recorded."""
        events = await self.client.history(transfer_id)
        return [event for event in events if isinstance(event, Outcome) and event.transfer_id == transfer_id]

    def wire(self) -> list[Message]:
        """The SIP messages of the Asterisk since the client was opened."""
        return self.pbx.messages()[self._wire_before :]

    def referred_to(self) -> list[str]:
        """The header Refer-To of each REFER that the Asterisk sent, without repetitions of one."""
        refers = [message for message in self.wire() if message.is_request("REFER", sent=True)]
        return list({message.header("Via"): message.header("Refer-To") for message in refers}.values())

    def sipfrags(self) -> list[str]:
        """The status lines in the NOTIFY requests that the Asterisk received."""
        notifies = [message for message in self.wire() if message.is_request("NOTIFY", sent=False)]
        return [message.body.strip() for message in notifies]


@asynccontextmanager
async def running(client: AsyncClient, pbx: Asterisk) -> AsyncIterator[Application]:
    """Open the client, and note its events. Yields when it is connected."""
    connections = Connections()
    logger = logging.getLogger("transferkit.connections")
    logger.addHandler(connections)
    try:
        async with client, client.events() as stream:
            application = Application(client, pbx, connections)

            async def watch() -> None:
                async for event in stream:
                    application.events.append(event)

            watching = asyncio.create_task(watch())
            try:
                await application.until(lambda: connections.count, "the client connects")
                yield application
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
    finally:
        logger.removeHandler(connections)
