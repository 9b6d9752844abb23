"""An emulator of the PBX, built with transferkit's emulator kit, and a client that is connected to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from attrs import define, field
from transferkit_switchboard import SwitchboardAdapter, SwitchboardSettings

from transferkit import AsyncClient, Config, PhoneNumber, Secret
from transferkit.config import CallbackConfig, LifecycleConfig
from transferkit.emulators import CallView, Emulator, Reply
from transferkit.testing import Ending, ManualClock, scenario_for, serve

API_KEY = "pl4nted~api~key"
CALLBACK_SECRET = "pl4nted~callback~secret"
_SIP = {
    "busy": 486,
    "declined": 603,
    "no_answer": 408,
    "not_found": 404,
    "not_allowed": 403,
    "unreachable": 480,
}


@define
class PbxCall:
    """A call at the PBX, and the idempotency keys of its refers."""

    id: str
    state: str = "talking"
    refers: list[str] = field(factory=list)


class Pbx(Emulator):
    """Answers refers and queries of calls, and posts the results to `webhook`."""

    name = "switchboard"
    webhook = ""

    def __init__(self):
        super().__init__(pace=0)
        self._calls = {}

    async def handle(self, request):
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return Reply(status=401, body={"message": "no such API key"})
        if request.path == "/account":
            return Reply(status=200, body={"name": "Contoso"})
        _, _, call_id, *verb = request.path.split("/")
        call = self._calls.get(call_id)
        if call is None or call.state == "ended":
            return Reply(status=404, body={"message": "no such call"})
        if (request.method, verb) == ("GET", []):
            return Reply(status=200, body={"state": call.state})
        key, line = request.headers["idempotency-key"], scenario_for(PhoneNumber(request.json()["refer_to"]))
        if status := self.rejection_status(call_id, line):
            return Reply(status=status, body={"message": "turned away"}, headers={"Retry-After": "0"})
        if key not in call.refers:  # a known key does not execute again
            call.refers.append(key)
            call.state = "referring"
            self.start(self._refer(call, key, line))
        return Reply(status=202)

    async def _refer(self, call, key, line):
        if line.ending is Ending.SILENT:
            return
        await self.say(call.id, "refer.ringing", refer=key)
        line = await self.ring_target(call.id, line)
        if line.ending is Ending.COMPLETES:
            await self.say(call.id, "refer.answered", refer=key)
            await self._end(call)
        elif line.ending is Ending.CALLER_LEAVES:
            await self._end(call, sip_status=487)
        elif line.ending is Ending.RETURNED:
            call.state = "talking"
            await self.say(call.id, "call.talking")
        else:
            call.state = "talking"
            await self.say(call.id, "refer.failed", refer=key, sip_status=_SIP[line.name])

    async def _end(self, call, **more):
        call.state = "ended"
        await self.say(call.id, "call.ended", **more)

    async def say(self, call_id, event, **more):
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return await self.post(
            self.webhook, {"id": str(uuid4()), "event": event, "call": call_id, "at": at, **more}
        )

    def place_call(self, *, callback_url="", group=False):
        call = PbxCall(f"c-{len(self._calls) + 1}")
        self._calls[call.id] = call
        return call.id

    def config(self, base_url, *, ca_file=None):
        return {"base_url": base_url, "api_key": API_KEY, "callback_secret": CALLBACK_SECRET}

    def hang_up(self, call_id):
        self.start(self._end(self._calls[call_id], sip_status=487))

    def ring(self, *, callback_url):
        raise NotImplementedError("the PBX answers every call itself")

    def executions(self, call_id):
        return len(self._calls[call_id].refers)

    def calls(self):
        return tuple(
            CallView(id=call.id, provider=self.name, state=call.state) for call in self._calls.values()
        )


@pytest.fixture
def pbx():
    """The emulator, before it is served."""
    return Pbx()


@pytest.fixture
def adapter_at():
    """A function that creates the adapter for the PBX at a URL."""

    def make(url, key=API_KEY):
        secrets = {"api_key": Secret(value=key), "callback_secret": Secret(value=CALLBACK_SECRET)}
        return SwitchboardAdapter(SwitchboardSettings(base_url=url, **secrets))

    return make


@define
class Connected:
    """An open client, its PBX, the URL of its callbacks, and its clock if the test moves it."""

    client: AsyncClient
    pbx: Pbx
    callbacks: str
    clock: ManualClock | None = None

    async def wait_for_requests(self, method, count):
        """Wait until the PBX received `count` requests with the method, and return them."""
        async with asyncio.timeout(20):
            while len(found := [sent for sent in self.pbx.requests if sent.method == method]) < count:  # noqa: ASYNC110 - the PBX has no event
                await asyncio.sleep(0.01)
        return found

    async def expire(self, transfer):
        """Wait until the PBX accepted the request and posted its callbacks, then pass the deadline."""
        async with asyncio.timeout(20):
            async with self.client.events(start="beginning") as stream:
                async for event in stream:
                    if event.kind == "transfer.submitted":
                        break
            await self.pbx.settle()
        self.clock.advance(transfer.request.deadline)


@pytest.fixture
def connected(pbx, adapter_at):
    """`async with connected() as it:` serves the PBX and the callback receiver on loopback."""

    @asynccontextmanager
    async def opened(clock=None) -> AsyncIterator[Connected]:
        async def receiver(scope, receive, send):
            await client.asgi()(scope, receive, send)

        async with serve(pbx.app) as provider, serve(receiver) as app:
            config = Config(
                source="test",
                provider="switchboard",
                callbacks=CallbackConfig(public_url=app.url),
                lifecycle=LifecycleConfig(grace=timedelta(milliseconds=50)),
            )
            pbx.webhook = f"{app.url}/switchboard?secret={CALLBACK_SECRET}"
            adapters = {"switchboard": adapter_at(provider.url)}
            async with AsyncClient(config, adapters=adapters, clock=clock) as client:
                yield Connected(client, pbx, f"{app.url}/switchboard", clock)
            await pbx.aclose()

    return opened
