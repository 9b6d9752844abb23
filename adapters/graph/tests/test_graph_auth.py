"""Tokens: whose, from where, how often, and why there is none."""

import asyncio
import logging
import socket
import threading

import pytest
import pytest_asyncio
from transferkit_graph import GraphAdapter, GraphSettings, auth
from transferkit_graph.auth import Tokens

from transferkit.events import Basis
from transferkit.events import FailureReason as Reason
from transferkit.identifiers import PhoneNumber
from transferkit.provider.results import NotSent, Presence, Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.requests import Call, Transfer

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"
SOMEONE = PhoneNumber("+14255550100")


def token_requests(emulator):
    return [request.path.split("/")[1] for request in emulator.requests if request.path.endswith("/token")]


async def test_one_token_serves_many_requests(bench, submission):
    adapter = bench.adapter()
    for _ in range(3):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        assert isinstance(await adapter.submit(submission(Transfer(call=call, to=SOMEONE))), Submitted)
    assert token_requests(bench.emulator) == [bench.table["tenant_id"]]


async def test_a_token_is_used_for_a_minute_before_msal_is_asked_again(bench, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(auth, "monotonic", lambda: now)
    tokens = bench.adapter()._tokens
    asked = []
    acquire = tokens._acquire
    monkeypatch.setattr(tokens, "_acquire", lambda tenant: asked.append(tenant) or acquire(tenant))
    for now, questions in ((1000.0, 1), (1059.0, 1), (1061.0, 2), (1062.0, 2)):  # noqa: B007 - read by the clock
        assert isinstance(await tokens.bearer(None), str)
        assert len(asked) == questions
    tokens.forget(None)
    await tokens.bearer(None)
    assert len(asked) == 3


@pytest.mark.parametrize("life", [None, "soon", 299])
async def test_a_token_of_little_or_unknown_life_is_asked_for_each_time(life):
    assert auth._unasked_seconds({"expires_in": life}) <= 0


async def test_concurrent_askers_share_one_question(bench):
    tokens = bench.adapter()._tokens
    got = await asyncio.gather(*(tokens.bearer(None) for _ in range(10)))
    assert len(set(got)) == 1
    assert len(token_requests(bench.emulator)) == 1


async def test_a_cancelled_asker_leaves_the_others_their_answer(bench):
    tokens = bench.adapter()._tokens
    first, second = (asyncio.create_task(tokens.bearer(None)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, str)
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize("named_by", ["submission", "call", "configuration", "authority"])
async def test_the_token_is_of_the_call_s_tenant(bench, submission, named_by):
    call_id = bench.emulator.place_call(callback_url=bench.callback_url, tenant_id=OTHER_TENANT)
    other = f"{bench.server.url}/{OTHER_TENANT}"
    settings = {
        "configuration": {"tenant_id": OTHER_TENANT},
        "authority": {"tenant_id": None, "authority": other},
    }
    call = Call("graph", call_id, tenant_id=OTHER_TENANT if named_by == "call" else None)
    sent = submission(
        Transfer(call=call, to=SOMEONE), tenant_id=OTHER_TENANT if named_by == "submission" else None
    )
    adapter = bench.adapter(**settings.get(named_by, {}))
    assert isinstance(await adapter.submit(sent), Submitted)
    assert token_requests(bench.emulator) == [OTHER_TENANT]


async def test_asking_about_a_call_is_of_its_tenant_too(bench):
    call_id = bench.emulator.place_call(callback_url=bench.callback_url, tenant_id=OTHER_TENANT)
    adapter = bench.adapter()
    for asked, presence in [
        ({"call": Call("graph", call_id)}, Presence.UNKNOWN),
        ({"call": Call("graph", call_id, tenant_id=OTHER_TENANT)}, Presence.CONNECTED),
        ({"call": Call("graph", call_id), "tenant_id": OTHER_TENANT}, Presence.CONNECTED),
    ]:
        assert (await adapter.inspect(**asked)).presence is presence


async def test_a_token_that_was_revoked_is_replaced_the_next_time(bench, submission):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await adapter.inspect(Call("graph", call))
    bench.emulator.revoke_tokens()
    refused = await adapter.submit(submission(Transfer(call=call, to=SOMEONE)))
    assert refused.result.reason is Reason.UNAUTHORIZED
    assert isinstance(await adapter.submit(submission(Transfer(call=call, to=SOMEONE))), Submitted)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"client_secret": "wrong"}, "AADSTS7000215"),
        ({"client_id": "00000000-0000-4000-8000-00000000dddd"}, "AADSTS700016"),
    ],
)
async def test_credentials_that_the_authority_refuses(bench, submission, settings, says):
    answered = await bench.adapter(**settings).submit(submission())
    assert isinstance(answered, Rejected)
    assert answered.result.reason is Reason.UNAUTHORIZED
    assert says in answered.result.message


async def test_a_tenant_that_does_not_exist(bench, submission):
    answered = await bench.adapter().submit(submission(tenant_id="no-such-tenant"))
    assert isinstance(answered, Rejected)
    assert answered.result.reason is Reason.UNAUTHORIZED
    assert "tenant_id" in answered.result.advice


@pytest.mark.parametrize("missing", ["tenant_id", "client_id", "client_secret"])
async def test_a_missing_key_is_named(submission, missing):
    given = {"tenant_id": "t", "client_id": "c", "client_secret": Secret(value="s"), missing: None}
    adapter = GraphAdapter(GraphSettings(**given))
    answered = await adapter.submit(submission())
    assert isinstance(answered, Rejected)
    assert answered.result.reason is Reason.UNAUTHORIZED
    assert f"providers.graph.{missing}" in answered.result.advice
    await adapter.aclose()


async def test_a_secret_that_cannot_be_resolved_is_named(submission, monkeypatch):
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    secret = Secret(env="NO_SUCH_SECRET", key="providers.graph.client_secret")
    adapter = GraphAdapter(GraphSettings(tenant_id="t", client_id="c", client_secret=secret))
    answered = await adapter.submit(submission())
    assert "providers.graph.client_secret" in answered.result.advice
    assert "NO_SUCH_SECRET" in answered.result.advice
    await adapter.aclose()


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_a_ca_file_that_is_none_is_named(submission, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    adapter = GraphAdapter(GraphSettings(tenant_id="t", client_id="c", ca_file=path))
    answered = await adapter.submit(submission())
    assert isinstance(answered, Rejected)
    assert "providers.graph.ca_file" in answered.result.advice


@pytest_asyncio.fixture(loop_scope="module")
async def tokens_at():
    made = []

    def make(authority, **more):
        settings = GraphSettings(
            tenant_id="t", client_id="c", client_secret=Secret(value="s"), authority=authority, **more
        )
        made.append(Tokens(settings))
        return made[-1]

    yield make
    for tokens in made:
        await tokens.aclose()


async def test_an_authority_that_cannot_be_reached_leaves_it_unsent(tokens_at):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answered = await tokens_at(f"https://127.0.0.1:{unused.getsockname()[1]}").bearer(None)
    assert isinstance(answered, NotSent)


async def test_an_authority_that_stalls_leaves_it_unsent(raw_server, tokens_at):
    async def stall(reader, _):
        await reader.read()

    async with raw_server(stall) as url:
        answered = await tokens_at(url.replace("http:", "https:"), timeout=0.05).bearer(None)
    assert isinstance(answered, NotSent)
    assert answered.result.reason is Reason.TIMEOUT


async def test_an_authority_that_is_slow_in_each_of_its_answers_has_one_limit(monkeypatch, tokens_at):
    """msal may ask several times, and each time within the limit of one request."""
    release = threading.Event()

    def drag_on(*_):
        release.wait(10)
        return lambda: {"access_token": "late", "expires_in": 3600}

    monkeypatch.setattr(auth, "open_source", drag_on)
    tokens = tokens_at("https://127.0.0.1:1", timeout=0.5)
    try:
        answered = await tokens.bearer(None)
    finally:
        release.set()
    assert isinstance(answered, NotSent)
    assert answered.result.reason is Reason.TIMEOUT
    await asyncio.gather(*tokens._asking.values())
    assert await tokens.bearer(None) == "late", "what came too late for one serves the next"


async def test_without_a_thread_to_ask_in_nothing_is_sent(monkeypatch, tokens_at):
    async def no_thread(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    answered = await tokens_at("https://127.0.0.1:1").bearer(None)
    assert isinstance(answered, NotSent)
    assert "RuntimeError" in answered.result.message


class Authority:
    """An authority that answers as told; in place of the HTTP client beneath msal."""

    DOCUMENT = (
        '{"issuer": "https://login.test/t/v2.0", "token_endpoint": "https://login.test/t/token",'
        ' "authorization_endpoint": "https://login.test/t/authorize"}'
    )

    def __init__(self, discovery, token):
        self._discovery = discovery
        self._token = token

    def get(self, *_, **__):
        return _Answer(*self._discovery)

    def post(self, *_, **__):
        return _Answer(*self._token)

    def close(self):
        pass


class _Answer:
    def __init__(self, status, text):
        self.status_code = status
        self.text = text
        self.headers = {}


FOUND = (200, Authority.DOCUMENT)
NEVER = (500, "never asked")
REFUSES = '{"error": "invalid_client", "error_description": "no"}'
PASSING = '{"error": "temporarily_unavailable"}'


@pytest.mark.parametrize(
    ("discovery", "token", "kind"),
    [
        (FOUND, (200, '{"access_token": "x", "token_type": "Bearer", "expires_in": 3599}'), str),
        (FOUND, (400, REFUSES), Rejected),
        (FOUND, (400, PASSING), NotSent),
        (FOUND, (500, "broken"), NotSent),
        (FOUND, (503, '{"error": "server_error"}'), NotSent),
        (FOUND, (200, "<html>"), NotSent),
        (FOUND, (200, "[]"), NotSent),
        (FOUND, (200, '{"token_type": "Bearer"}'), Rejected),
        ((400, '{"error": "invalid_tenant"}'), NEVER, Rejected),
        ((500, "broken"), NEVER, NotSent),
        ((302, ""), NEVER, NotSent),
        ((200, "{}"), NEVER, NotSent),
        ((200, "[]"), NEVER, NotSent),
    ],
)
async def test_what_an_authority_may_answer(tokens_at, discovery, token, kind):
    tokens = tokens_at("https://login.test")
    tokens._http.authority = lambda: Authority(discovery, token)
    answered = await tokens.bearer(None)
    assert isinstance(answered, kind)
    if not isinstance(answered, str):
        said = token in {(400, REFUSES), (400, PASSING)}
        assert answered.result.basis is (Basis.STATED if said else Basis.LOCAL)
        assert answered.result.message
        assert answered.result.advice


async def test_no_secret_or_token_is_logged(bench, submission, caplog):
    caplog.set_level(logging.DEBUG)
    adapter = bench.adapter()
    token = await adapter._tokens.bearer(None)
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await adapter.submit(submission(Transfer(call=call, to=SOMEONE)))
    text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "/transfer" in text, "the HTTP client says what it sends"
    assert bench.table["client_secret"] not in text
    assert token not in text
    assert "+14255550100" not in text
