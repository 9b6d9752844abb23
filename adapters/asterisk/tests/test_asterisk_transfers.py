"""A client's transfers and redirects on a small ARI, in both modes."""

import asyncio

import pytest
from support.waiting import logged, until
from transferkit_asterisk.names import key_of

from transferkit import (
    FailureReason,
    PhoneNumber,
    RedirectCompleted,
    RedirectExpired,
    SipAddress,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.testing import ManualClock, scenario

BRIDGE = {"mode": "bridge", "endpoint": "carrier"}
AGENT = SipAddress("sip:agent@pbx.example")
FAILURES = [
    ("busy", FailureReason.BUSY, 486),
    ("declined", FailureReason.DECLINED, 603),
    ("unreachable", FailureReason.UNREACHABLE, 480),
    ("not_found", FailureReason.TARGET_NOT_FOUND, 404),
]


@pytest.mark.parametrize("mode", [{}, BRIDGE], ids=["refer", "bridge"])
async def test_a_target_that_answers_completes_the_transfer(pbx, client_for, mode):
    client = await client_for(**mode)
    call = pbx.place_call()
    transfer = await client.transfer(call, to=scenario("answers").number)
    outcome = await transfer.outcome(timeout=20)
    assert isinstance(outcome, TransferCompleted)
    assert (outcome.basis, outcome.code) == ("stated", 200)
    kinds = [event.kind for event in await client.history(transfer.id) if event.transfer_id == transfer.id]
    assert kinds == [
        "transfer.requested",
        "transfer.submitted",
        "transfer.started",
        "transfer.accepted",
        "transfer.completed",
    ]
    assert pbx.executions(call) == 1


async def test_the_leg_is_released_after_a_successful_refer_and_not_after_a_bridge(pbx, client_for):
    client = await client_for()
    call = pbx.place_call()
    async with client.events() as stream:
        await client.transfer(call, to=AGENT)
        async for event in stream:
            if event.kind == "call.ended":
                break
    assert f"DELETE channels/{call}" in pbx.requests
    bridged = await client_for(**BRIDGE, connected=False)
    assert isinstance(await (await _transfer(pbx, bridged)).outcome(timeout=20), TransferCompleted)


async def _transfer(pbx, client, to=AGENT, **more):
    return await client.transfer(pbx.place_call(), to=to, **more)


@pytest.mark.parametrize("mode", [{}, BRIDGE], ids=["refer", "bridge"])
@pytest.mark.parametrize(("name", "reason", "code"), FAILURES)
async def test_a_failure_has_its_sip_status_and_reason(pbx, client_for, mode, name, reason, code):
    client = await client_for(**mode)
    outcome = await (await _transfer(pbx, client, scenario(name).number)).outcome(timeout=20)
    assert isinstance(outcome, TransferFailed)
    assert (outcome.reason, outcome.code, outcome.basis) == (reason, code, "stated")
    assert outcome.call_alive is True


async def test_a_target_that_does_not_answer_in_time_is_no_answer(pbx, client_for):
    client = await client_for(**BRIDGE)
    outcome = await (await _transfer(pbx, client, scenario("no_answer").number)).outcome(timeout=20)
    assert (outcome.reason, outcome.code) == (FailureReason.NO_ANSWER, None)


async def test_after_a_failure_the_next_transfer_of_the_call_can_begin_at_once(pbx, client_for):
    client = await client_for()
    call = pbx.place_call()
    for name in ("busy", "declined"):
        transfer = await client.transfer(call, to=scenario(name).number)
        assert isinstance(await transfer.outcome(timeout=20), TransferFailed)
    transfer = await client.transfer(call, to=AGENT)
    assert isinstance(await transfer.outcome(timeout=20), TransferCompleted)
    assert pbx.executions(call) == 3


@pytest.mark.parametrize("result", ["FAILURE/1", "FAILURE/0", "FAILURE/", "FAILURE/500", "FAILURE/408"])
async def test_a_refer_without_a_provable_final_status_expires(pbx, client_for, result):
    clock = ManualClock()
    client = await client_for(clock=clock)
    pbx.results["answers"] = result
    transfer = await _transfer(pbx, client, scenario("answers").number, deadline=30)
    waiting = asyncio.create_task(transfer.outcome(timeout=20))
    while not waiting.done():
        await asyncio.sleep(0.01)
        clock.advance(5)
    outcome = await waiting
    assert isinstance(outcome, TransferExpired)
    assert (outcome.evidence, outcome.call_alive) == ("call_connected", True)


async def test_a_caller_who_hangs_up_during_dial_is_stated(pbx, client_for):
    client = await client_for(**BRIDGE)
    outcome = await (await _transfer(pbx, client, scenario("caller_leaves").number)).outcome(timeout=20)
    assert (outcome.reason, outcome.basis, outcome.call_alive) == (FailureReason.CALLER_LEFT, "stated", False)


async def test_a_caller_who_hangs_up_during_a_refer_proves_nothing(pbx, client_for):
    client = await client_for()
    outcome = await (await _transfer(pbx, client, scenario("caller_leaves").number)).outcome(timeout=20)
    assert isinstance(outcome, TransferExpired)
    assert (outcome.evidence, outcome.call_alive) == ("call_gone", False)


# --- attended ---------------------------------------------------------------------------------------


async def test_a_refer_with_replaces_names_the_dialog_of_the_consultation_leg(pbx, client_for):
    client = await client_for()
    call, consult = pbx.place_call(), pbx.place_call()
    variables = pbx.channels[call].variables
    transfer = await client.transfer(call, to=AGENT, replaces=consult)
    assert isinstance(await transfer.outcome(timeout=20), TransferCompleted)
    replaces = f"call-id~{consult}%3Bto-tag%3Dremote_tag~{consult}%3Bfrom-tag%3Dlocal_tag~{consult}"
    target = variables[f"TRANSFERKIT_TARGET_{key_of(transfer.id)}"]
    assert target == f"<sip:agent@pbx.example?Replaces={replaces}>"


async def test_a_consultation_leg_that_outlives_its_replacement_is_ended_and_logged(pbx, client_for, caplog):
    client = await client_for()
    call, consult = pbx.place_call(), pbx.place_call()
    transfer = await client.transfer(call, to=AGENT, replaces=consult)
    await transfer.outcome(timeout=20)
    await until(lambda: consult not in pbx.channels)
    await until(lambda: logged(caplog, "asterisk_consult_left"))


async def test_a_consultation_leg_that_has_ended_is_a_failure_before_anything_is_sent(pbx, client_for):
    client = await client_for()
    call = pbx.place_call()
    transfer = await client.transfer(call, to=AGENT, replaces="1795985222.99")
    outcome = await transfer.outcome(timeout=20)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.TARGET_LEFT, True)
    assert pbx.executions(call) == 0


async def test_a_bridge_joins_the_caller_with_the_consultation_leg(pbx, client_for):
    client = await client_for(**BRIDGE)
    call, consult = pbx.place_call(), pbx.place_call()
    transfer = await client.transfer(call, to=AGENT, replaces=consult)
    outcome = await transfer.outcome(timeout=20)
    assert isinstance(outcome, TransferCompleted)
    assert outcome.basis == "stated"
    (bridge,) = pbx.bridges.values()
    assert bridge["channels"] == [call, consult]


@pytest.mark.parametrize("leaver", [0, 1])
async def test_the_partner_of_a_channel_that_left_the_bridge_is_hung_up(pbx, client_for, leaver):
    client = await client_for(**BRIDGE)
    calls = pbx.place_call(), pbx.place_call()
    transfer = await client.transfer(calls[0], to=AGENT, replaces=calls[1])
    await transfer.outcome(timeout=20)
    pbx.hang_up(calls[leaver])
    await until(lambda: not (pbx.channels or pbx.bridges))


async def test_a_partner_that_was_left_while_nobody_was_connected_is_hung_up_later(pbx, client_for):
    client = await client_for(**BRIDGE)
    calls = pbx.place_call(), pbx.place_call()
    transfer = await client.transfer(calls[0], to=AGENT, replaces=calls[1])
    await transfer.outcome(timeout=20)
    pbx.silent = True
    pbx.hang_up(calls[0])
    pbx.silent = False
    await pbx.cut()
    await until(lambda: not (pbx.channels or pbx.bridges))


async def test_a_consultation_leg_that_cannot_be_bridged_leaves_no_bridge(pbx, client_for):
    client = await client_for(**BRIDGE)
    call = pbx.place_call()
    outcome = await (await client.transfer(call, to=AGENT, replaces="1795985222.99")).outcome(timeout=20)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.TARGET_LEFT, True)
    assert pbx.bridges == {}
    assert call in pbx.channels


# --- redirects and incoming calls -------------------------------------------------------------------


async def test_an_incoming_call_is_redirected_before_it_is_answered(pbx, client_for):
    client = await client_for()
    async with client.events() as stream:
        pbx.place_call(state="Ring")
        incoming = await anext(stream)
        assert (incoming.kind, incoming.source) == ("call.incoming", PhoneNumber("+14255550142"))
        assert incoming.targets == (PhoneNumber("100"),)
        redirect = await client.redirect(incoming, to=AGENT)
        outcome = await redirect.outcome(timeout=20)
    assert isinstance(outcome, RedirectCompleted)
    assert (outcome.basis, outcome.code) == ("stated", 23)
    assert "POST channels/1795985222.1/redirect" in pbx.requests
    assert {"endpoint": "PJSIP/sip:agent@pbx.example"} in pbx.bodies


async def test_a_caller_who_leaves_before_the_redirect_leaves_its_outcome_open(pbx, client_for):
    client = await client_for()
    call = pbx.place_call(state="Ring")
    pbx.replies["POST .*/redirect"] = (204, None)
    redirect = await client.redirect(call, to=AGENT)
    await until(lambda: "POST channels/1795985222.1/redirect" in pbx.requests)
    pbx.hang_up(call)
    assert isinstance(await redirect.outcome(timeout=20), RedirectExpired)


async def test_a_channel_is_subscribed_to_when_it_arrives_so_that_its_end_is_reported(pbx, client_for):
    client = await client_for()
    async with client.events() as stream:
        call = pbx.place_call()
        pbx.hang_up(call)
        kinds = [(await anext(stream)).kind, (await anext(stream)).kind]
    assert kinds == ["call.connected", "call.ended"]
    assert {"eventSource": f"channel:{call}"} in pbx.bodies
