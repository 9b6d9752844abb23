"""A process that dies, a connection that is cut, and an Asterisk that restarts, during a transfer."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
import sip_endpoints
from sip_endpoints.application import configuration, running
from sip_endpoints.proxy import proxy_to

from transferkit.client import AsyncClient
from transferkit.events import Basis, FailureReason, TransferCompleted, TransferFailed
from transferkit.identifiers import SipAddress

pytestmark = pytest.mark.heavy

APPLICATION = Path(sip_endpoints.__file__).parent / "application_process.py"


@pytest.fixture(params=["answer", "486"])
def agent(request, target):
    """A target that rings for three seconds, and then answers or is busy."""
    if request.param == "answer":
        return target("answer", rings=3)
    return target("refuse", status="486 Busy Here", rings=3)


def assert_outcome(agent, outcome):
    """Check an outcome against what the target did."""
    if agent.scenario == "answer":
        assert (type(outcome), outcome.basis) == (TransferCompleted, Basis.STATED)
    else:
        assert (type(outcome), outcome.basis, outcome.reason) == (
            TransferFailed,
            Basis.STATED,
            FailureReason.BUSY,
        )
        assert outcome.call_alive is True


async def begin(order):
    """Start an application of its own, and return when it has requested the transfer."""
    command = (sys.executable, str(APPLICATION), json.dumps(order))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    transfer_id = (await process.stdout.readline()).decode().strip()
    assert transfer_id
    return process, transfer_id


@pytest.mark.parametrize("seconds", [0, 5], ids=["while it rings", "after the answer"])
async def test_another_process_reports_the_outcome_after_a_crash(
    pbx, mode, telephone, agent, tmp_path, seconds
):
    config = configuration(pbx, mode=mode, store=f"sqlite:///{tmp_path}/calls.db")
    config["callbacks"] = {"connection_lease": 1}
    async with running(AsyncClient.from_config(configuration(pbx, mode=mode)), pbx) as application:
        telephone().dial(pbx.sip_uri("100"))
        call = await application.answered()
    order = {"config": config, "call": call, "to": agent.uri, "key": "case-42", "deadline": 30}
    process, transfer_id = await begin(order)
    await application.until(lambda: agent.received("INVITE"), "the target rings")
    process.kill()
    await process.wait()
    await asyncio.sleep(seconds)
    async with running(AsyncClient.from_config(config), pbx) as second:
        outcome = await second.client.outcome(transfer_id, timeout=25)
        assert_outcome(agent, outcome)
        assert await second.outcomes(transfer_id) == [outcome]
        if (mode, agent.scenario) == ("refer", "answer"):
            await second.until(lambda: not pbx.is_up(call), "our leg is released")
        else:
            assert pbx.is_up(call)
    assert agent.received("INVITE") == 1
    pbx.ari("DELETE", f"channels/{call}")


async def test_an_outcome_is_found_after_the_connection_was_cut(pbx, mode, telephone, agent):
    async with proxy_to(pbx.http_port) as proxy:
        config = configuration(pbx, mode=mode)
        config["providers"]["asterisk"]["base_url"] = f"http://127.0.0.1:{proxy.port}/ari"
        async with running(AsyncClient.from_config(config), pbx) as application:
            telephone().dial(pbx.sip_uri("100"))
            call = await application.answered()
            transfer = await application.client.transfer(call, to=SipAddress(agent.uri), deadline=30)
            await application.until(lambda: agent.received("INVITE"), "the target rings")
            proxy.cut()
            await asyncio.sleep(4)  # the target answers or refuses while nothing arrives
            proxy.restore()
            outcome = await transfer.outcome(timeout=25)
            assert_outcome(agent, outcome)
            assert await application.outcomes(transfer.id) == [outcome]
        assert agent.received("INVITE") == 1
        pbx.ari("DELETE", f"channels/{call}")


async def test_a_restart_of_asterisk_never_leads_to_a_stated_success(own_pbx, mode, telephone, agent):
    pbx = own_pbx
    async with running(AsyncClient.from_config(configuration(pbx, mode=mode)), pbx) as application:
        telephone().dial(pbx.sip_uri("100"))
        call = await application.answered()
        transfer = await application.client.transfer(call, to=SipAddress(agent.uri), deadline=8)
        await application.until(lambda: agent.received("INVITE"), "the target rings")
        pbx.kill()
        pbx.start()
        outcome = await transfer.outcome(timeout=25)
        assert not isinstance(outcome, TransferCompleted)
        assert outcome.basis is not Basis.STATED
        await application.until(lambda: application.connections.count > 1, "the client connects again")
        telephone().dial(pbx.sip_uri("100"))
        await application.answered()
