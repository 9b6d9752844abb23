"""Any request to the ASGI app gets a response: never 500, and 2xx only for what is verified and stored."""

import json
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import callback_bodies
from support.callbacks import FailingStore
from support.fuzzing import (
    as_bytes,
    as_text,
    bodies,
    corpus,
    damaged_bytes,
    damaged_text,
    installed,
    one_in,
)

from transferkit import (
    AsyncClient,
    Call,
    CallbackConfig,
    CallbackRequest,
    CommunicationUser,
    Config,
    MalformedCallback,
    TeamsUser,
)
from transferkit._callbacks.decoding import decode_callback
from transferkit._lifecycle import CallKey
from transferkit.events import Outcome
from transferkit.provider.adapter import Callback
from transferkit.provider.results import Submitted
from transferkit.provider.secret import Secret
from transferkit.testing import CallbackSigner, FakeAdapter, Forgery, ManualClock, scenario

CLOCK = ManualClock()
ISSUER = "https://signer.example"
AUDIENCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
SECRET = "a secret"
MAX_BODY = 20_000
STATUSES = {200, 202, 400, 401, 404, 405, 408, 413, 503}
NOTHING_STORED = {401, 404, 405, 408, 413, 503}
"""A 400 may have stored the good elements."""
SIGNER = CallbackSigner(issuer=ISSUER, clock=CLOCK)
FORGED = {
    str(forgery): SIGNER.forge(forgery, audience=AUDIENCE, tenant_id=callback_bodies.TENANT)
    for forgery in Forgery
    if forgery is not Forgery.WRONG_TENANT  # no tenant is configured here, so every tenant is right
}
TOKENS = {"good": SIGNER.token(audience=AUDIENCE, tenant_id=callback_bodies.TENANT), **FORGED}
SEEDS = {"fake": callback_bodies.FAKE, "graph": callback_bodies.GRAPH, "acs": callback_bodies.ACS}
PATHS = ["/fake", "/graph", "/acs", f"/acs/{callback_bodies.TRANSFER}", "/acs/eventgrid"]
TARGETS = {
    "fake": scenario("silent").number,
    "graph": TeamsUser(callback_bodies.PERSON),
    "acs": CommunicationUser(f"8:acs:{callback_bodies.PERSON}_{callback_bodies.PERSON}"),
}
HEADERS = [
    "x-microsoft-skype-message-id", "authorization", "webhook-request-origin", "content-length", "",
]  # fmt: skip


def make_adapters():
    """Every installed adapter; each accepts every request and trusts the tokens of `SIGNER`."""
    trusted = {"openid_url": f"{ISSUER}/openid", "issuers": (ISSUER,)}
    adapters = {"fake": FakeAdapter(clock=CLOCK)}
    if installed("transferkit_graph"):
        from transferkit_graph import GraphAdapter
        from transferkit_graph.settings import GraphSettings

        adapters["graph"] = accepting(GraphAdapter)(GraphSettings(client_id=AUDIENCE, **trusted), clock=CLOCK)
    if installed("transferkit_acs"):
        from transferkit_acs import AcsAdapter
        from transferkit_acs.settings import AcsSettings

        settings = AcsSettings(
            endpoint="https://x.communication.azure.com",
            resource_id=AUDIENCE,
            eventgrid_secret=Secret(value=SECRET),
            **trusted,
        )
        adapters["acs"] = accepting(AcsAdapter)(settings, clock=CLOCK)
    return adapters


def accepting(adapter):
    class Accepting(adapter):
        async def submit(self, submission):
            return Submitted()

    return Accepting


# --- requests ---------------------------------------------------------------------------------------


def rarely(usual, unusual):
    """`usual`, and for one in ten examples something unusual."""
    return one_in(10).flatmap(lambda rare: unusual if rare else usual)


@st.composite
def requests(draw):
    path = draw(st.sampled_from(PATHS))
    body = draw(bodies(SEEDS[path.split("/")[1]]))
    if draw(one_in(30)):
        body = body.ljust(draw(st.sampled_from([MAX_BODY, MAX_BODY + 1, MAX_BODY * 3])))
    queries = ["", "secret=x", "secret=", "secret=a+secret&secret=a+secret"]
    damaged_query = damaged_bytes(b"secret=a+secret").map(as_text)
    values = st.sampled_from([b"m-1", b"eventgrid.azure.net", b"Bearer aa.bb.cc"]).flatmap(damaged_bytes)
    headers = st.lists(st.tuples(st.sampled_from(HEADERS), values.map(as_text)), min_size=1, max_size=3)
    return {
        "method": draw(rarely(st.just("POST"), st.sampled_from(["OPTIONS", "GET", "HEAD", "post", ""]))),
        "path": draw(rarely(st.just(path), damaged_text(path))),
        "query": draw(rarely(st.just("secret=a+secret"), st.sampled_from(queries) | damaged_query)),
        "proof": draw(rarely(st.just("good"), st.sampled_from(["none", "altered", *FORGED]))),
        "headers": draw(rarely(st.just([]), headers)),
        "body": as_text(body),
        "chunk": draw(st.sampled_from([1 << 30, 1000, 97])),
        "failures": draw(rarely(st.just(0), st.integers(1, 3))),
        "gone": draw(one_in(50)),
    }


def cases():
    several = st.lists(requests(), min_size=1, max_size=8)
    return st.fixed_dictionaries({"open": st.booleans(), "prefix": st.booleans(), "requests": several})


def headers_of(request):
    headers = [(name.encode("latin-1"), as_bytes(value)) for name, value in request["headers"]]
    token = TOKENS.get(request["proof"], "")
    if request["proof"] == "altered":
        head, payload, signature = TOKENS["good"].split(".")
        token = f"{head}.{payload[:9]}{'A' if payload[9] != 'A' else 'B'}{payload[10:]}.{signature}"
    return [*headers, (b"authorization", f"Bearer {token}".encode())] if token else headers


async def send(app, request):
    """The status, headers and body of the response, as a server receives them; status None without one."""
    body, step = as_bytes(request["body"]), request["chunk"]
    chunks = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
    messages = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]
    if request.get("gone"):
        messages[-1] = {"type": "http.disconnect"}
    incoming, sent = iter(messages), []

    async def receive():
        return next(incoming)

    async def keep(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": request["method"],
        "path": request["path"],
        "query_string": as_bytes(request["query"]),
        "headers": headers_of(request),
    }
    await app(scope, receive, keep)
    if not sent:
        return None, {}, b""
    start, content = sent
    return start["status"], dict(start["headers"]), content["body"]


# --- what must be true of every response ------------------------------------------------------------


async def check(case):
    adapters, store = make_adapters(), FailingStore()
    callbacks = CallbackConfig(
        accept_unverified=case["open"],
        max_body_bytes=MAX_BODY,
        public_url="https://app.example/in" if case["prefix"] else None,
    )
    config = Config(source="fuzz", provider="fake", callbacks=callbacks)
    client = AsyncClient(
        config, store=store, adapters=adapters, clock=CLOCK, fetch_keys=SIGNER.fetch, background=False
    )
    delivered = set()
    with patch("transferkit._callbacks.commit._RETRY_PAUSES", (0.0, 0.0)):
        async with client:
            for provider in adapters:
                await client.transfer(Call(provider, callback_bodies.CALL), to=TARGETS[provider])
            for request in case["requests"]:
                await check_request(client.asgi(), adapters, store, case, request, delivered)
    await check_log(store)


async def check_request(app, adapters, store, case, request, delivered):
    before = await store.end_of_log()
    store.failures = request["failures"]
    status, headers, content = await send(app, request)
    store.failures = 0
    if status is None or status in NOTHING_STORED:
        assert await store.end_of_log() == before, f"a {status} stored something"
    if request.get("gone"):  # a body that is too long is refused before its end
        assert status is None or (len(as_bytes(request["body"])) > MAX_BODY and status in NOTHING_STORED)
        return
    assert status in STATUSES, content[:200]
    assert request["method"] == "HEAD" or int(headers[b"content-length"]) == len(content)
    if status >= 300 and content:
        assert json.loads(content)["error"]
    if status in NOTHING_STORED:
        return
    provider, _, rest = request["path"].strip("/").removeprefix("in/").partition("/")
    route = adapters[provider].route(f"/{rest.rstrip('/')}" if rest else "")
    assert route is not None
    assert case["open"] or is_proved(provider, rest, request), f"a {status} for an unverified sender"
    await check_stored(adapters[provider], route, store, request, delivered, whole=status != 400)


def is_proved(provider, rest, request):
    if provider == "acs" and rest.rstrip("/") == "eventgrid":
        return "secret" in request["query"] or "%" in request["query"]
    own_token = all(name != "authorization" for name, _ in request["headers"])
    return provider != "fake" and request["proof"] == "good" and own_token


async def check_stored(adapter, route, store, request, delivered, *, whole):
    """Every good element is in the log of its call, or is a repetition; a success means that all are good."""
    callback = Callback(
        body=as_bytes(request["body"]),
        received_at=CLOCK.now(),
        method=request["method"],
        route=route.name,
        transfer_id=route.transfer_id,
        headers=CallbackRequest(method="POST", url="/", headers=request["headers"]).headers,
    )
    try:
        if adapter.handshake(callback) is not None:
            return
    except MalformedCallback:
        assert not whole, "a success for a handshake that has no answer"
        return
    facts, malformed = decode_callback(adapter, callback)
    assert (malformed is None) == whole
    for fact in facts:
        event = fact.event
        key = (event.provider, event.call_id, fact.delivery.key)
        stored = await store.call_events(CallKey(event.provider, event.call_id))
        assert key in delivered or any(one.raw == event.raw for one in stored), "an element was lost"
        delivered.add(key)


async def check_log(store):
    """At most one outcome of a transfer, nothing of the transfer after it, and no gap in a call's numbers."""
    sequences, ended = {}, set()
    for _, event in await store.read(None, limit=10_000):
        call = (event.provider, event.call_id)
        sequences[call] = sequences.get(call, 0) + 1
        assert event.sequence == sequences[call]
        assert not event.kind.startswith("transfer.") or event.transfer_id not in ended
        if isinstance(event, Outcome):
            ended.add(event.transfer_id)


@given(case=cases())
async def test_any_request_gets_a_response_that_is_true(case):
    await check(case)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in corpus("http").items()])
async def test_a_request_that_once_failed_gets_a_true_response(case):
    await check(case)
