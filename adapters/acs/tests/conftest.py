"""Fixtures of the ACS adapter's tests: adapters on loopback, callbacks, and scripted servers."""

import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import httpx
import pytest
from attrs import define, field
from support.scripted_server import Behaviour, responding, scripted_server
from transferkit_acs import AcsAdapter, AcsSettings
from transferkit_acs.emulator import AcsEmulator
from transferkit_acs.emulator.access import signature_of

from transferkit.identifiers import PhoneNumber
from transferkit.provider.adapter import Callback, Submission
from transferkit.provider.deadline import Deadline
from transferkit.provider.secret import Secret
from transferkit.requests import Transfer
from transferkit.testing.server import serve
from transferkit.testing.signing import CallbackSigner

CALL = "7d6f1a52-0f3c-4d0e-9c55-2b8f4f6b9a01"
TRANSFER = "5b0e5d3c-94a7-4a53-8f5e-6f2f0c0a7d11"
ACCESS_KEY = "bG9vcGJhY2sta2V5LW9mLXRoZS10ZXN0cw=="
AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


@contextlib.asynccontextmanager
async def answering(response: bytes | Behaviour) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that responds with these bytes, or behaves so. Yields its address and its requests."""
    seen: list[bytes] = []
    behave = responding(response, seen) if isinstance(response, bytes) else response
    async with scripted_server(behave) as url:
        yield url, seen


@pytest.fixture
def answers():
    return answering


@pytest.fixture
def adapter_at():
    """Makes an adapter for a server's address."""

    def make(url: str, **more) -> AcsAdapter:
        secret = Secret(key="providers.acs.connection_string", value=f"endpoint={url};accesskey={ACCESS_KEY}")
        return AcsAdapter(AcsSettings(connection_string=secret, timeout=more.pop("timeout", 5.0), **more))

    return make


@pytest.fixture
def transfer() -> Transfer:
    return Transfer(call=CALL, to=PhoneNumber("+14255550100"), operation_context="case 42")


@pytest.fixture
def submission():
    """Makes a submission, by default one that is new."""

    def make(
        request,
        *,
        transfer_id: str = TRANSFER,
        first_sent_at: datetime | None = None,
        deadline: Deadline | None = None,
    ) -> Submission:
        now = datetime.now(UTC)
        deadline = deadline or Deadline(now + timedelta(minutes=1))
        return Submission(
            id=transfer_id, request=request, first_sent_at=first_sent_at or now, deadline=deadline
        )

    return make


@pytest.fixture
def callback():
    """Makes a callback of a JSON value or of bytes."""

    def make(body, **more) -> Callback:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Callback(body=raw, received_at=more.pop("received_at", AT), **more)

    return make


@pytest.fixture
def cloud_event():
    """Makes a mid-call CloudEvent as the service sends them."""

    def make(name: str, data: dict | None = None, **envelope) -> dict:
        kind = f"Microsoft.Communication.{name}"
        event = {
            "id": "e5a9b7aa-3f52-4c1e-a0f5-3d7c8f3c2b10",
            "source": f"calling/callConnections/{CALL}",
            "type": kind,
            "data": {
                "version": "2026-03-12",
                "callConnectionId": CALL,
                "serverCallId": "c2VydmVyLWNhbGw=",
                "correlationId": "9b6b0f0e-6a1d-4f57-8f0a-0f7d5a1e2c33",
                "publicEventType": kind,
                **(data or {}),
            },
            "time": "2026-05-04T09:29:58.1234567+00:00",
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "subject": f"calling/callConnections/{CALL}",
        }
        return {**event, **envelope}

    return make


@define
class Sink:
    """An ASGI app that keeps callbacks by path, and responds to Event Grid's handshake."""

    got: list[tuple[str, dict]] = field(factory=list)
    headers: list[dict[str, str]] = field(factory=list)
    """Of each callback, names in lower case."""

    async def __call__(self, scope, receive, send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        value = json.loads(body)
        events = value if isinstance(value, list) else [value]
        answer = b""
        if events[0].get("eventType") == "Microsoft.EventGrid.SubscriptionValidationEvent":
            answer = json.dumps({"validationResponse": events[0]["data"]["validationCode"]}).encode()
        else:
            headers = {name.decode(): text.decode() for name, text in scope["headers"]}
            self.headers += [headers for _ in events]
            self.got += [(scope["path"], event) for event in events]
        length = str(len(answer)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": answer})

    def names(self) -> list[str]:
        """The names of the received events, in order."""
        kinds = (event.get("type") or event["eventType"] for _, event in self.got)
        return [kind.rpartition(".")[2] for kind in kinds]


@define
class SharedPort:
    """An ASGI app that sends the provider's paths to the emulator and all others to another app."""

    emulator: AcsEmulator
    other: Callable[..., Awaitable[None]]

    async def __call__(self, scope, receive, send) -> None:
        app = self.emulator.app if scope["path"].startswith("/calling") else self.other
        await app(scope, receive, send)


@pytest.fixture
def shared_port():
    return SharedPort


@pytest.fixture
def sink() -> Sink:
    return Sink()


@define
class Wire:
    """Sends signed requests as any client would."""

    emulator: AcsEmulator
    url: str
    client: httpx.AsyncClient

    async def __call__(self, method, path, body=None, *, version="2026-03-12", **headers):
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        target = f"{path}?api-version={version}" if version else path
        request = self.client.build_request(method, self.url + target, content=raw)
        date = format_datetime(datetime.now(UTC), usegmt=True)
        digest = base64.b64encode(hashlib.sha256(raw).digest()).decode()
        text = f"{method}\n{target}\n{date};{request.url.netloc.decode()};{digest}"
        names = "SignedHeaders=x-ms-date;host;x-ms-content-sha256"
        signature = signature_of(self.emulator.access_key, text)
        request.headers.update(
            {
                "Content-Type": "application/json",
                "x-ms-date": date,
                "x-ms-content-sha256": digest,
                "Authorization": f"HMAC-SHA256 {names}&Signature={signature}",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
        )
        return await self.client.send(request)


@pytest.fixture
async def wire(bench) -> AsyncIterator[Wire]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - http
        yield Wire(bench.emulator, bench.url, client)


@pytest.fixture
def repeatable():
    """Makes the two headers of a repeatable request, by default of one that is sent now."""

    def make(first_sent: datetime | str | None = None, request_id: str | None = None) -> dict[str, str]:
        sent = first_sent or datetime.now(UTC)
        date = sent if isinstance(sent, str) else format_datetime(sent, usegmt=True)
        return {"Repeatability_Request_ID": request_id or str(uuid4()), "Repeatability_First_Sent": date}

    return make


@define
class Bench:
    """An emulator and an app that receives its callbacks, served on one port of loopback."""

    emulator: AcsEmulator
    sink: Sink
    url: str
    adapters: list[AcsAdapter] = field(factory=list)

    def adapter(self, **more) -> AcsAdapter:
        """An adapter with the configuration of the emulator."""
        table = self.emulator.config(self.url)
        secret = Secret(key="providers.acs.connection_string", value=table.pop("connection_string"))
        table |= {"connection_string": secret, "timeout": 30.0, **more}
        adapter = AcsAdapter(AcsSettings(**table))
        self.adapters.append(adapter)
        return adapter

    def call(self, *, group: bool = False) -> str:
        """An established call whose callbacks the sink receives."""
        return self.emulator.place_call(callback_url=f"{self.url}/calls", group=group)


@pytest.fixture(scope="session")
def signer() -> CallbackSigner:
    """One signer for all tests that do not change its keys, because creating keys is slow."""
    return CallbackSigner(issuer=AcsEmulator.issuer)


@pytest.fixture
async def bench(sink, signer) -> AsyncIterator[Bench]:
    emulator = AcsEmulator(pace=0, signer=signer)
    async with contextlib.aclosing(emulator), serve(SharedPort(emulator, sink)) as server:
        made = Bench(emulator, sink, server.url)
        try:
            yield made
        finally:
            for adapter in made.adapters:
                await adapter.aclose()
