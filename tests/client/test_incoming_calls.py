"""Incoming calls: their event, what can be requested for them, and how a redirect ends.

On the emulators of both providers, over real sockets and with verified callbacks.
"""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from transferkit import (
    AsyncClient,
    CallIncoming,
    Evidence,
    InvalidRequest,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    TransferCompleted,
)
from transferkit.provider.entry_points import EMULATORS, announced

AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
PROVIDERS = [name for name in ("acs", "graph") if name in announced(EMULATORS)]
every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@asynccontextmanager
async def on(provider):
    """An environment, a function that lets a call ring in it and returns the event, and the configuration."""
    pytest.importorskip("starlette")
    from transferkit.emulators import emulators, environment

    async with (
        emulators(providers=[provider]) as emulated,
        environment(provider, emulated, lifecycle={"grace": 0.2}) as staged,
    ):

        async def ring(**more):
            url = staged.callback_url + staged.emulator.incoming_path
            async with staged.client.events() as stream, asyncio.timeout(20):
                staged.emulator.ring(callback_url=url, **more)
                event = await anext(stream)
                assert isinstance(event, CallIncoming)
                return event

        yield staged, ring, emulated.tables[provider]


# --- what the event says ----------------------------------------------------------------------------


@every_provider
async def test_an_incoming_call_has_its_parties_and_what_a_redirect_needs(provider):
    async with on(provider) as (staged, ring, _):
        event = await ring()
    (view,) = (call for call in staged.emulator.calls() if call.id == event.call_id)
    assert event.source.raw_id in view.parties
    assert len(event.targets) == 1
    assert not event.stale
    assert event.call.provider == provider
    if provider == "graph":
        assert event.respond_by == event.time + timedelta(seconds=15)
    else:
        assert event.incoming_context
        assert event.incoming_context not in repr(event)
    assert staged.emulator.executions(event.call_id) == 0


@pytest.mark.skipif("acs" not in PROVIDERS, reason="transferkit-acs is not installed")
async def test_an_incoming_acs_call_has_its_sip_and_voip_headers():
    given = {
        "sipHeaders": {"userToUser": "616d;encoding=hex", "X-MS-Custom-case": "42"},
        "voipHeaders": {"case": "42"},
    }
    async with on("acs") as (_, ring, _):
        event = await ring(custom_context=given)
    assert event.sip == {"User-To-User": "616d;encoding=hex", "X-MS-Custom-case": "42"}
    assert event.voip == {"case": "42"}


@pytest.mark.skipif("acs" not in PROVIDERS, reason="transferkit-acs is not installed")
@pytest.mark.parametrize(("age", "stale"), [(5, False), (45, True)])
async def test_a_late_event_of_an_acs_call_is_stale(age, stale):
    async with on("acs") as (_, ring, _):
        assert (await ring(age=age)).stale is stale


@pytest.mark.skipif("graph" not in PROVIDERS, reason="transferkit-graph is not installed")
async def test_an_incoming_graph_call_has_its_transferor():
    from transferkit_graph.testing import ISSUER, GraphCallbacks

    from transferkit.testing import CallbackSigner

    signer = CallbackSigner(issuer=ISSUER)
    graph = GraphCallbacks(signer=signer, client_id="bot", tenant_id="t1")
    user = {"identity": {"user": {"id": "u1", "tenantId": "t1"}}}
    call = {
        "@odata.type": "#microsoft.graph.call",
        "state": "incoming",
        "source": user,
        "targets": [{"identity": {"application": {"id": "a1"}}}],
        "incomingContext": {
            "transferor": {"user": {"id": "u2"}},
            "onBehalfOf": {"applicationInstance": {"id": "a2"}},
        },
    }
    notice = {"changeType": "created", "resourceUrl": "/communications/calls/C1", "resourceData": call}
    config = {"provider": "graph", "providers": {"graph": {"client_id": "bot"}}}
    async with AsyncClient.from_config(config, fetch_keys=signer.fetch) as client:
        (event,) = (await client.receive(graph.signed({"value": [notice]}))).events
    assert event.source.raw_id == "8:orgid:u1"
    assert event.transferor.raw_id == "8:orgid:u2"
    assert event.on_behalf_of.raw_id == "28:orgid:a2"


# --- what may be done with it -----------------------------------------------------------------------


@every_provider
async def test_the_event_of_an_incoming_call_can_be_redirected(provider):
    from transferkit.testing import scenario

    async with on(provider) as (staged, ring, _):
        event = await ring()
        redirect = await staged.client.redirect(event, to=scenario("answers").number)
        outcome = await redirect.outcome(timeout=20)
        kinds = [one.kind for one in await staged.client.history(redirect.id)]
        assert staged.emulator.executions(event.call_id) == 1
    assert isinstance(outcome, RedirectCompleted)
    assert kinds[:3] == ["call.incoming", "redirect.requested", "redirect.submitted"]
    assert kinds.count("redirect.completed") == 1


@pytest.mark.skipif("graph" not in PROVIDERS, reason="transferkit-graph is not installed")
@pytest.mark.parametrize(
    ("line", "expected"), [("declined", RedirectFailed), ("caller_leaves", RedirectExpired)]
)
async def test_a_graph_redirect_fails_or_expires(line, expected):
    from transferkit.testing import scenario

    async with on("graph") as (staged, ring, _):
        redirect = await staged.client.redirect(await ring(), to=scenario(line).number)
        outcome = await redirect.outcome(timeout=20)
    assert isinstance(outcome, expected)
    if expected is RedirectExpired:
        assert outcome.evidence is Evidence.CALL_GONE


@every_provider
async def test_a_ringing_call_cannot_be_transferred(provider):
    from transferkit.testing import scenario

    async with on(provider) as (staged, ring, _):
        event = await ring()
        with pytest.raises(InvalidRequest) as refused:
            await staged.client.transfer(event.call, to=scenario("answers").number)
        assert [problem.field for problem in refused.value.problems] == ["call"]
        assert "redirect" in str(refused.value)
        redirect = await staged.client.redirect(event, to=scenario("answers").number)
        await redirect.outcome(timeout=20)
        history = await staged.client.history(redirect.id)
    assert not [one for one in history if one.kind.startswith("transfer.")]


@pytest.mark.skipif("graph" not in PROVIDERS, reason="transferkit-graph is not installed")
async def test_an_answered_graph_call_can_be_transferred():
    from transferkit.testing import scenario

    async with on("graph") as (staged, ring, table):
        event = await ring()
        async with staged.client.events() as stream, asyncio.timeout(20):
            await answer(table, event, staged.callback_url)
            while (await anext(stream)).kind != "call.connected":
                pass
        transfer = await staged.client.transfer(event.call, to=scenario("answers").number)
        assert isinstance(await transfer.outcome(timeout=20), TransferCompleted)


async def answer(table, event, callback_url):
    """Answer the call as an application does; transferkit is not involved."""
    import httpx

    async with httpx.AsyncClient(verify=False, trust_env=False) as http:  # noqa: S501 - loopback
        form = {
            "grant_type": "client_credentials",
            "client_id": table["client_id"],
            "client_secret": table["client_secret"],
            "scope": "https://graph.microsoft.com/.default",
        }
        token = (await http.post(f"{table['authority']}/oauth2/v2.0/token", data=form)).json()
        answered = await http.post(
            f"{table['base_url']}/v1.0/communications/calls/{event.call_id}/answer",
            headers={"authorization": f"Bearer {token['access_token']}"},
            json={
                "callbackUri": callback_url,
                "acceptedModalities": ["audio"],
                "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
            },
        )
    assert answered.status_code == 202, answered.text
