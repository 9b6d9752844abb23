"""Gaps: cut connections, processes that died, repeated requests, and what a query finds out."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from support.waiting import logged, until
from transferkit_asterisk import listening
from transferkit_asterisk.names import key_of

from transferkit import (
    FailureReason,
    SipAddress,
    StoreError,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit._lifecycle import Lease
from transferkit.events import Basis
from transferkit.provider.facts import Signal
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.requests import Call, Transfer
from transferkit.testing import ManualClock, scenario

BRIDGE = {"mode": "bridge", "endpoint": "carrier"}
AGENT = SipAddress("sip:agent@pbx.example")
SILENT = scenario("silent").number


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(listening, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr("transferkit._engine.connections._FIRST_PAUSE", 0.05)


async def begun(pbx, client, *, to=SILENT, **more):
    """A transfer that Asterisk executes and says nothing about; returns it and its channel."""
    call = pbx.place_call()
    transfer = await client.transfer(call, to=to, **more)
    await until(lambda: pbx.executions(call) == 1)
    return transfer, pbx.channels[call]


def finish(pbx, channel, transfer, result):
    """The dialplan ends with this result, which no event reports."""
    pbx.silent = True
    pbx._set(channel, f"TRANSFERKIT_STATE_{key_of(transfer.id)}", result)
    channel.place = {**channel.place, "exten": "report", "app_name": "Wait"}
    pbx.silent = False


@pytest.mark.parametrize(
    ("result", "kind", "code"), [("SUCCESS/0", TransferCompleted, 200), ("FAILURE/486", TransferFailed, 486)]
)
async def test_a_result_that_was_lost_in_a_gap_is_stated_after_it(pbx, client_for, result, kind, code):
    client = await client_for()
    transfer, channel = await begun(pbx, client)
    finish(pbx, channel, transfer, result)
    await pbx.cut()
    outcome = await transfer.outcome(timeout=20)
    assert isinstance(outcome, kind)
    assert (outcome.basis, outcome.code) == (Basis.STATED, code)


async def test_a_connection_that_dial_made_in_a_gap_is_stated_after_it(pbx, client_for):
    client = await client_for(**BRIDGE)
    transfer, channel = await begun(pbx, client)
    channel.variables |= {"DIALEDPEERNAME": "PJSIP/target", "BRIDGEPEER": "PJSIP/target"}
    await pbx.cut()
    assert isinstance(await transfer.outcome(timeout=20), TransferCompleted)


async def test_a_bridge_that_was_filled_in_a_gap_is_stated_after_it(pbx, client_for):
    client = await client_for(**BRIDGE)
    pbx.silent = True
    calls = pbx.place_call(), pbx.place_call()
    transfer = await client.transfer(calls[0], to=AGENT, replaces=calls[1])
    await until(lambda: pbx.executions(calls[0]) == 1)
    pbx.silent = False
    await pbx.cut()
    outcome = await transfer.outcome(timeout=20)
    assert isinstance(outcome, TransferCompleted)
    assert outcome.basis == "stated"


async def test_a_call_that_is_still_being_transferred_after_a_gap_has_no_outcome_yet(pbx, client_for):
    client = await client_for()
    transfer, channel = await begun(pbx, client)
    await pbx.cut()
    await until(pbx.connected.is_set)
    await until(lambda: f"GET channels/{channel.id}" in pbx.requests)
    with pytest.raises(TimeoutError):
        await transfer.outcome(timeout=0.1)


async def test_a_call_that_ended_in_a_gap_expires(pbx, client_for):
    clock = ManualClock(datetime.now(UTC))
    client = await client_for(clock=clock)
    transfer, channel = await begun(pbx, client)
    pbx.silent = True
    pbx.hang_up(channel.id)
    pbx.silent = False
    await pbx.cut()
    waiting = asyncio.create_task(transfer.outcome(timeout=20))
    while not waiting.done():
        await asyncio.sleep(0.01)
        clock.advance(5)
    outcome = await waiting
    assert isinstance(outcome, TransferExpired)
    assert outcome.evidence == "call_gone"


async def test_another_process_gets_the_outcome_of_one_that_died(pbx, client_for, tmp_path):
    """The first process is not there any more when the target answers."""
    store = f"sqlite:///{tmp_path}/calls.db"
    first = await client_for(store=store)
    transfer, channel = await begun(pbx, first)
    finish(pbx, channel, transfer, "SUCCESS/0")
    await first.aclose()
    second = await client_for(store=store, connected=False)
    outcome = await second.outcome(transfer.id, timeout=20)
    assert isinstance(outcome, TransferCompleted)
    assert outcome.basis == "stated"
    assert pbx.executions(channel.id) == 1


async def test_another_client_of_the_application_is_logged(pbx, client_for, caplog):
    await client_for()
    await client_for(store="memory:")
    await until(lambda: logged(caplog, "connection_lost"))
    message = logged(caplog, "connection_lost")[0].getMessage()
    assert "another client connected to the Stasis application transferkit" in message


async def test_two_clients_of_one_store_do_not_replace_each_other(pbx, client_for, tmp_path, caplog):
    store = f"sqlite:///{tmp_path}/calls.db"
    await client_for(store=store)
    await client_for(store=store)
    await until(lambda: logged(caplog, "connection_waiting"))
    assert not logged(caplog, "connection_lost")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"password": "wrong"}, "HTTP status 401: check username and password"),
        ({"base_url": "http://127.0.0.1:1/ari"}, "check base_url"),
        ({"password": {"env": "NO_SUCH_VARIABLE"}}, "NO_SUCH_VARIABLE is not set"),
    ],
)
async def test_a_connection_that_fails_says_what_to_check(client_for, caplog, settings, says):
    await client_for(**settings, connected=False)
    await until(lambda: logged(caplog, "connection_lost"))
    assert says in logged(caplog, "connection_lost")[0].getMessage()


async def test_an_event_that_the_store_does_not_accept_is_delivered_again(
    pbx, client_for, monkeypatch, caplog
):

    client = await client_for()
    apply_all, failures = client._store.apply_all, iter(range(5))

    async def failing(inputs, step):
        if next(failures, None) is not None:
            raise StoreError("disk full")
        return await apply_all(inputs, step)

    monkeypatch.setattr(client._store, "apply_all", failing)
    async with client.events() as stream:
        pbx.place_call()
        assert (await anext(stream)).kind == "call.connected"
    assert logged(caplog, "asterisk_event_not_stored")


@pytest.fixture
def broken_store(monkeypatch):
    """Makes the store of a client fail until the returned function is called."""

    def break_store(client):
        apply_all = client._store.apply_all

        async def failing(inputs, step):
            raise StoreError("server is away")

        monkeypatch.setattr(client._store, "apply_all", failing)
        return lambda: monkeypatch.setattr(client._store, "apply_all", apply_all)

    return break_store


@pytest.mark.parametrize("cut", [False, True])
async def test_a_client_closes_while_the_store_fails(pbx, client_for, broken_store, monkeypatch, caplog, cut):
    monkeypatch.setattr(listening, "_LAST_SECONDS", 0.1)
    client = await client_for()
    broken_store(client)
    pbx.place_call()
    await until(lambda: logged(caplog, "asterisk_event_not_stored"))
    if cut:
        await pbx.cut()
    closing = asyncio.create_task(client.aclose())
    done, _ = await asyncio.wait([closing], timeout=10)
    if not done:
        closing.cancel()
    assert done
    (lost,) = logged(caplog, "asterisk_events_lost")
    assert "events of Asterisk could not be recorded" in lost.getMessage()


async def test_messages_are_not_read_without_limit_while_the_store_fails(
    pbx, client_for, broken_store, monkeypatch, caplog
):
    monkeypatch.setattr(listening, "_MOST_WAITING", 3)
    read = []
    client = await client_for(connected=False)
    monkeypatch.setattr(listening, "_is_replacement", read.append)
    repair = broken_store(client)
    await pbx.connected.wait()
    async with client.events() as stream:
        calls = [pbx.place_call() for _ in range(30)]
        await until(lambda: len(logged(caplog, "asterisk_event_not_stored")) == 3)
        assert len(read) == 5  # one is being delivered, three wait, and there is no space for the last one
        repair()
        assert [(await anext(stream)).call.id for _ in calls] == calls


async def test_a_malformed_event_does_not_stop_the_others(pbx, client_for, caplog):
    client = await client_for()
    async with client.events() as stream:
        pbx.send(b"{")
        pbx.send(b'["a list"]')
        pbx.place_call()
        assert (await anext(stream)).kind == "call.connected"
    assert len(logged(caplog, "asterisk_event_malformed")) == 2


# --- submissions ------------------------------------------------------------------------------------


async def test_a_repeated_submission_is_executed_once(pbx, adapter_for, submission):
    adapter, call = adapter_for(), pbx.place_call()
    one = submission(Transfer(call=call, to=SILENT))
    assert isinstance(await adapter.submit(one), Submitted)
    assert isinstance(await adapter.submit(one), Submitted)
    assert pbx.executions(call) == 1


async def test_a_repetition_after_the_call_returned_is_executed_once(pbx, adapter_for, submission):
    adapter, call = adapter_for(), pbx.place_call()
    one = submission(Transfer(call=call, to=scenario("busy").number))
    assert isinstance(await adapter.submit(one), Submitted)
    await until(lambda: pbx.channels[call].place["exten"] == "report")
    assert isinstance(await adapter.submit(one), Submitted)
    assert pbx.executions(call) == 1


async def test_a_call_that_another_application_controls_is_a_conflict(pbx, adapter_for, submission):
    adapter, call = adapter_for(), pbx.place_call()
    pbx.channels[call].place["app_name"] = "Playback"
    answer = await adapter.submit(submission(Transfer(call=call, to=AGENT)))
    assert isinstance(answer, Rejected)
    assert answer.result.reason is FailureReason.CONFLICT
    assert "Stasis application" in answer.result.advice


@pytest.mark.parametrize(
    ("request_line", "status", "kind"),
    [
        ("POST channels/.*/continue", 500, MaybeSent),
        ("POST channels/.*/continue", 503, MaybeSent),
        ("POST channels/.*/continue", 404, Rejected),
        ("POST channels/.*/variable", 500, NotSent),
        ("POST channels/.*/variable", 404, Rejected),
        ("POST channels/.*/variable", 403, Rejected),
        ("POST applications/.*", 503, NotSent),
        ("POST applications/.*", 401, Rejected),
        ("POST applications/.*", 404, Submitted),
    ],
)
async def test_a_response_proves_what_was_executed(pbx, adapter_for, submission, request_line, status, kind):
    adapter, call = adapter_for(), pbx.place_call()
    pbx.replies[request_line] = (status, {"message": "as scripted"})
    answer = await adapter.submit(submission(Transfer(call=call, to=AGENT)))
    assert isinstance(answer, kind)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Rejected), (404, Rejected), (409, Rejected), (500, NotSent)]
)
async def test_a_dialog_that_cannot_be_read_means_that_nothing_was_sent(
    pbx, adapter_for, submission, status, kind
):
    adapter, call = adapter_for(), pbx.place_call()
    pbx.replies["GET channels/.*/variable"] = (status, {})
    answer = await adapter.submit(submission(Transfer(call=call, to=AGENT, replaces="1795985222.9")))
    assert isinstance(answer, kind)
    assert pbx.executions(call) == 0


# --- inspections ------------------------------------------------------------------------------------


async def test_an_inspection_tells_where_a_channel_is(pbx, adapter_for):
    adapter, call = adapter_for(), pbx.place_call()
    channel = pbx.channels[call]

    async def presence():
        return (await adapter.inspect(Call("asterisk", call))).presence

    assert await presence() is Presence.CONNECTED
    channel.place = {"context": "transferkit", "exten": f"refer-{uuid4().hex}", "app_name": "Transfer"}
    assert await presence() is Presence.TRANSFERRING
    channel.listed = False  # it is listed, but its functions are gone
    assert await presence() is Presence.GONE
    del pbx.channels[call]
    assert await presence() is Presence.GONE
    pbx.replies["GET channels/.*"] = (500, {})
    assert await presence() is Presence.UNKNOWN


async def test_a_verdict_is_only_about_the_transfer_that_is_asked_about(pbx, adapter_for, submission):
    adapter, call = adapter_for(), pbx.place_call()
    one, other = submission(Transfer(call=call, to=scenario("busy").number)), str(uuid4())
    await adapter.submit(one)
    await until(lambda: pbx.channels[call].place["exten"] == "report")
    fact = await adapter.stated_verdict(Call("asterisk", call), one.id)
    assert (fact.transfer_id, fact.signals, fact.result.code) == (one.id, (Signal.FAILED,), 486)
    assert await adapter.stated_verdict(Call("asterisk", call), other) is None
    assert await adapter.stated_verdict(Call("asterisk", call), "not a uuid") is None


async def test_the_lease_names_the_pbx_and_the_application(pbx, client_for):
    client = await client_for()
    name = f"connection:asterisk:{pbx.url}/ari transferkit"
    now = datetime.now(UTC)
    assert not await client._store.take_lease(name, Lease("another", now), now=now)
