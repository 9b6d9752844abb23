"""The PBX, as far as the tests need it: an emulator on the kit, which brings HTTP, faults and scenarios."""

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
    """Answers refers and questions about calls, and posts what becomes of them to `webhook`."""

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
        if key not in call.refers:  # a key that it knows is not executed again
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
    """The PBX, not yet served."""
    return Pbx()


@pytest.fixture
def adapter_at():
    """Makes the adapter with full settings for a PBX at that address."""

    def make(url, key=API_KEY):
        secrets = {"api_key": Secret(value=key), "callback_secret": Secret(value=CALLBACK_SECRET)}
        return SwitchboardAdapter(SwitchboardSettings(base_url=url, **secrets))

    return make


@define
class Office:
    """An open client, its PBX, where the client takes callbacks, and its clock if the test moves it."""

    client: AsyncClient
    pbx: Pbx
    callbacks: str
    clock: ManualClock | None = None

    async def requests_of(self, method, count):
        """The requests that the PBX got by that method, once there are so many."""
        async with asyncio.timeout(20):
            while len(found := [one for one in self.pbx.requests if one.method == method]) < count:  # noqa: ASYNC110 - the PBX records, and tells nobody
                await asyncio.sleep(0.01)
        return found

    async def let_it_expire(self, transfer):
        """Move the clock past the deadline, once the PBX took the request and posted all that it will."""
        async with asyncio.timeout(20):
            while "transfer.submitted" not in {one.kind for one in await self.client.history(transfer.id)}:  # noqa: ASYNC110 - the store records, and signals nothing
                await asyncio.sleep(0.01)
            await self.pbx.settle()
        self.clock.advance(transfer.request.deadline)


@pytest.fixture
def office(pbx, adapter_at):
    """`async with office() as it:` serves both on loopback."""

    @asynccontextmanager
    async def opened(clock=None) -> AsyncIterator[Office]:
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
                yield Office(client, pbx, f"{app.url}/switchboard", clock)
            await pbx.aclose()

    return opened
