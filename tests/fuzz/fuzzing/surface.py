"""The receiver through ASGI: every request answered, and a 2xx only for what was proved and is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from random import Random
from typing import Any
from unittest.mock import patch

from fuzzing import bodies
from fuzzing.mutations import altered, altered_bytes, altered_text, written
from fuzzing.target import Case, Target, as_bytes, as_text, installed, promised
from transferkit import (
    AsyncClient,
    Call,
    CallbackConfig,
    CommunicationUser,
    Config,
    MalformedCallback,
    MemoryStore,
    StoreError,
    TeamsUser,
)
from transferkit._callbacks.decoding import decode_callback
from transferkit._lifecycle import CallKey
from transferkit.events import Outcome
from transferkit.provider.adapter import Adapter, Callback
from transferkit.provider.results import Submitted
from transferkit.provider.secret import Secret
from transferkit.testing import CallbackSigner, FakeAdapter, Forgery, ManualClock, scenario

CLOCK = ManualClock()
ISSUER = "https://signer.example"
AUDIENCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
SECRET = "a secret"
LARGEST = 20_000
ANSWERS = {200, 202, 400, 401, 404, 405, 408, 413, 503}
MALFORMED = 400
UNTOUCHED = {401, 404, 405, 408, 413, 503}
"""What leaves the store as it was; a 400 may have kept the good elements."""


class Moody(MemoryStore):
    """A store that fails as often as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    async def apply_all(self, inputs: Any, step: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise StoreError("disk full")
        return await super().apply_all(inputs, step)


def _adapters() -> dict[str, Adapter]:
    """Every adapter that is installed, its requests always taken, its callbacks signed by our signer."""
    found: dict[str, Adapter] = {"fake": FakeAdapter(clock=CLOCK)}
    if installed("transferkit_graph"):
        from transferkit_graph import GraphAdapter
        from transferkit_graph.settings import GraphSettings

        class Graph(GraphAdapter):
            async def submit(self, submission: Any) -> Any:
                return Submitted()

        found["graph"] = Graph(
            GraphSettings(client_id=AUDIENCE, openid_url=f"{ISSUER}/openid", issuers=(ISSUER,)), clock=CLOCK
        )
    if installed("transferkit_acs"):
        from transferkit_acs import AcsAdapter
        from transferkit_acs.settings import AcsSettings

        class Acs(AcsAdapter):
            async def submit(self, submission: Any) -> Any:
                return Submitted()

        found["acs"] = Acs(
            AcsSettings(
                endpoint="https://x.communication.azure.com",
                resource_id=AUDIENCE,
                openid_url=f"{ISSUER}/openid",
                issuers=(ISSUER,),
                eventgrid_secret=Secret(value=SECRET),
            ),
            clock=CLOCK,
        )
    return found


SEEDS: dict[str, list[Any]] = {"fake": bodies.FAKE, "graph": bodies.GRAPH, "acs": bodies.ACS}
SOMEBODY = {
    "fake": scenario("silent").number,
    "graph": TeamsUser(bodies.PERSON),
    "acs": CommunicationUser(f"8:acs:{bodies.PERSON}_{bodies.PERSON}"),
}
REQUESTS = 12
"""How many requests of one case come to one client; each of them counts as a case."""


class Surface(Target):
    """A fresh client with an open transfer for each provider, and some requests one after the other."""

    name = "http"
    weight = 12
    cases_each = REQUESTS

    @cached_property
    def _signer(self) -> CallbackSigner:
        return CallbackSigner(issuer=ISSUER, clock=CLOCK)

    @cached_property
    def _tokens(self) -> dict[str, str]:
        """Tokens by how they are, made once: signing takes longer than anything else here."""
        signer, tenant = self._signer, bodies.TENANT
        forged = {str(one): signer.forge(one, audience=AUDIENCE, tenant_id=tenant) for one in Forgery}
        # Nobody configured tenants here: any will do.
        good = [str(Forgery.WRONG_TENANT)]
        tokens = {name: token for name, token in forged.items() if name not in good}
        return {"good": signer.token(audience=AUDIENCE, tenant_id=tenant), **tokens}

    def make(self, random: Random) -> Case:
        requests = [self._request(random) for _ in range(REQUESTS)]
        return {"open": random.random() < 0.4, "prefix": random.random() < 0.3, "requests": requests}

    def _request(self, random: Random) -> Case:
        provider = random.choice(("fake", "graph", "graph", "acs", "acs", "acs"))
        path = f"/{provider}"
        if provider == "acs":
            path += random.choice(("", "", f"/{bodies.TRANSFER}", "/eventgrid", "/eventgrid"))
        seeds = SEEDS[provider]
        seed = random.choice(seeds)
        how = random.random()
        body = json.dumps(seed).encode() if how < 0.2 else written(altered(seed, random, seeds), random)
        if how > 0.97:
            body = body.ljust(random.choice((LARGEST, LARGEST + 1, LARGEST * 3)))
        request: Case = {
            "method": random.choice(("POST",) * 9 + ("OPTIONS", "GET", "HEAD", "PUT", "post", "")),
            "path": path if random.random() < 0.9 else altered_text(path, random),
            "query": random.choice(
                ("secret=a+secret",) * 4 + ("", "secret=x", "secret=", "secret=a+secret&secret=a+secret")
            ),
            "proof": random.choice(("good",) * 12 + ("none", "tampered", "altered", *Forgery)),
            "headers": [],
            "body": as_text(body),
            "chunk": random.choice((1 << 30, 1 << 30, 1000, 97)),
            "failures": random.choice((0,) * 8 + (1, 2, 3)),
        }
        if random.random() < 0.1:
            request["query"] = as_text(altered_bytes(request["query"].encode(), random))
        for _ in range(random.choice((0, 0, 0, 1, 3))):
            name = random.choice(
                (
                    "x-microsoft-skype-message-id",
                    "authorization",
                    "webhook-request-origin",
                    "content-length",
                    "",
                )
            )
            value = as_text(
                altered_bytes(random.choice((b"m-1", b"eventgrid.azure.net", b"Bearer aa.bb.cc")), random)
            )
            request["headers"].append([name, value])
        if random.random() < 0.02:
            request["gone"] = True
        return request

    async def check(self, case: Case) -> None:
        adapters, store = _adapters(), Moody()
        callbacks = CallbackConfig(
            accept_unverified=case["open"],
            max_body_bytes=LARGEST,
            public_url="https://app.example/in" if case["prefix"] else None,
        )
        config = Config(source="fuzz", provider="fake", callbacks=callbacks)
        client = AsyncClient(
            config,
            store=store,
            adapters=adapters,
            clock=CLOCK,
            fetch_keys=self._signer.fetch,
            background=False,
        )
        delivered: set[tuple[str, str, str]] = set()
        with patch("transferkit._callbacks.commit._RETRY_PAUSES", (0.0, 0.0)):
            async with client:
                for provider in adapters:
                    await client.transfer(Call(provider, bodies.CALL), to=SOMEBODY[provider])
                app = client.asgi()
                for request in case["requests"]:
                    await self._checked(app, adapters, store, case, request, delivered)
        await _check_lives(store)

    async def _checked(
        self,
        app: Any,
        adapters: dict[str, Adapter],
        store: Moody,
        case: Case,
        request: Case,
        delivered: set[tuple[str, str, str]],
    ) -> None:
        before = await store.end_of_log()
        store.failures = request["failures"]
        body = as_bytes(request["body"])
        status, headers, answer = await _post(app, request, self._headers(request), body)
        store.failures = 0
        if request.get("gone"):
            # Of a body that is too long anyway, the end is not waited for.
            unread = len(body) > LARGEST and status in UNTOUCHED
            promised(status is None or unread, f"somebody who has gone is answered {status}")
            promised(await store.end_of_log() == before, "what did not arrive whole is stored")
            return
        promised(status in ANSWERS, f"answered {status}: {answer[:200]!r}")
        length = headers.get(b"content-length", b"").decode()
        promised(request["method"] == "HEAD" or int(length) == len(answer), "the length is another")
        if status >= 300 and answer:
            promised(json.loads(answer)["error"], "a refusal does not say why")
        if status in UNTOUCHED:
            promised(await store.end_of_log() == before, f"a {status} stored something")
        if status in UNTOUCHED:
            return
        provider, _, rest = request["path"].strip("/").removeprefix("in/").partition("/")
        promised(provider in adapters, "there is no such provider")
        route = adapters[provider].route(f"/{rest.rstrip('/')}" if rest else "")
        promised(route is not None, "there is no such path")
        promised(case["open"] or self._proved(provider, rest, request), f"a {status} without proof")
        await _check_stored(adapters[provider], route, store, request, delivered, whole=status != MALFORMED)

    def _headers(self, request: Case) -> list[tuple[bytes, bytes]]:
        headers = [(name.encode("latin-1"), as_bytes(value)) for name, value in request["headers"]]
        proof = request["proof"]
        if proof == "altered":
            head, payload, signature = self._tokens["good"].split(".")
            other = "A" if payload[9] != "A" else "B"
            token = f"{head}.{payload[:9]}{other}{payload[10:]}.{signature}"
        else:
            token = self._tokens.get(proof, "")
        if token:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        return headers

    def _proved(self, provider: str, rest: str, request: Case) -> bool:
        if provider == "acs" and rest.rstrip("/") == "eventgrid":
            pairs = [pair.partition("=") for pair in request["query"].split("&")]
            return [value for name, _, value in pairs if "secret" in name or "%" in name] != []
        good = request["proof"] in {"good", str(Forgery.WRONG_TENANT)}
        return good and all(name != "authorization" for name, _ in request["headers"]) and provider != "fake"


async def _post(
    app: Any, request: Case, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[Any, dict[bytes, bytes], bytes]:
    """The app's answer, as a server would have it; None for the status where there is none."""
    scope = {
        "type": "http",
        "method": request["method"],
        "path": request["path"],
        "query_string": as_bytes(request["query"]),
        "headers": headers,
    }
    step = request["chunk"]
    chunks = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]
    if request.get("gone"):
        messages = [*messages[:-1], {"type": "http.disconnect"}]
    waiting: Iterator[dict[str, Any]] = iter(messages)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None, {}, b""
    start, *rest = sent
    promised(start["type"] == "http.response.start" and len(rest) == 1, "the answer is in pieces")
    return start["status"], dict(start["headers"]), rest[0]["body"]


async def _check_stored(
    adapter: Adapter,
    route: Any,
    store: Moody,
    request: Case,
    delivered: set[tuple[str, str, str]],
    *,
    whole: bool,
) -> None:
    """Every element that was taken is on its call's stream, or a repetition; all of them after a success."""
    headers: dict[str, str] = {}
    for name, value in request["headers"]:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    callback = Callback(
        body=as_bytes(request["body"]),
        received_at=CLOCK.now(),
        method=request["method"],
        route=route.name,
        transfer_id=route.transfer_id,
        headers=headers,
    )
    try:
        if adapter.handshake(callback) is not None:
            return
    except MalformedCallback:
        promised(not whole, "a success for a handshake that cannot be answered")
        return
    facts, malformed = decode_callback(adapter, callback)
    promised((malformed is None) == whole, "a success for a body that cannot be read, or none for a good one")
    for fact in facts:
        event = fact.event
        key = (event.provider, event.call_id, fact.delivery.key if fact.delivery else "")
        kept = await store.call_events(CallKey(event.provider, event.call_id))
        known = key in delivered or any(one.raw == event.raw for one in kept)
        promised(known, "what was taken is not stored")
        delivered.add(key)


async def _check_lives(store: Moody) -> None:
    """One outcome a transfer at most, nothing of its own life after it, and no gap in a call's numbers."""
    log = [event for _, event in await store.read(None, limit=10_000)]
    sequences: dict[tuple[str, str], int] = {}
    over: set[str] = set()
    for event in log:
        call = (event.provider, event.call_id)
        promised(event.sequence == sequences.get(call, 0) + 1, "a call's numbers have a gap")
        sequences[call] = sequences.get(call, 0) + 1
        if event.kind.startswith("transfer."):
            promised(event.transfer_id not in over, "something of a transfer after its outcome")
        if isinstance(event, Outcome):
            over.add(str(event.transfer_id))
