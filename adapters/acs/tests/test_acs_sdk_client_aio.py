"""The official async SDK as a client of the emulator: calls, transfers, redirects, errors, credentials."""

import asyncio
import os
import sys
import time
from contextlib import aclosing, asynccontextmanager

import pytest
from azure.communication.callautomation import CommunicationUserIdentifier, PhoneNumberIdentifier
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from transferkit_acs import ApiVersion
from transferkit_acs.emulator import AcsEmulator

from transferkit.emulators import Fault
from transferkit.testing.scenarios import scenario
from transferkit.testing.server import serve

# The SDK makes its own repeatability header with it.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

USER = CommunicationUserIdentifier("8:acs:r1_u1")
CALLER = PhoneNumberIdentifier("+14255550150")
OWN_NUMBER = PhoneNumberIdentifier("+14255550199")


def number(name: str) -> PhoneNumberIdentifier:
    return PhoneNumberIdentifier(scenario(name).number.number)


class Token:
    """An Entra credential with the interface of azure-identity."""

    def __init__(self, token):
        self.token = token
        self.scopes = []

    async def get_token(self, *scopes, **_):
        self.scopes += scopes
        return AccessToken(self.token, int(time.time()) + 3600)


@pytest.fixture
async def client(bench):
    key = AzureKeyCredential(bench.emulator.access_key)
    async with CallAutomationClient(bench.url, key, retry_backoff_factor=0.01) as client:
        yield client


async def settled(bench) -> list[str]:
    """The names of all callbacks, after all were sent."""
    await bench.emulator.settle()
    return bench.sink.names()


async def test_the_async_sdk_creates_transfers_and_ends_a_call(bench, client):
    created = await client.create_call(
        number("answers"),
        f"{bench.url}/calls",
        source_caller_id_number=OWN_NUMBER,
        operation_context="case 42",
    )
    assert created.call_connection_state == "connecting"
    assert await settled(bench) == ["CallConnected", "ParticipantsUpdated"]
    connection = client.get_call_connection(created.call_connection_id)
    assert (await connection.get_call_properties()).call_connection_state == "connected"
    result = await connection.transfer_call_to_participant(
        number("declined"), operation_context="to sales", operation_callback_url=f"{bench.url}/own"
    )
    assert result.operation_context == "to sales"
    assert (await settled(bench))[2:] == ["CallTransferFailed"]
    assert [path for path, _ in bench.sink.got] == ["/calls", "/calls", "/own"]
    await connection.hang_up(is_for_everyone=False)
    assert (await settled(bench))[3:] == ["CallDisconnected"]
    with pytest.raises(ResourceNotFoundError):
        await connection.get_call_properties()


async def test_the_async_sdk_consults_an_agent_and_moves_the_caller_there(bench, client):
    connection = client.get_call_connection(call := bench.call())
    await connection.hold(CALLER)
    await settled(bench)
    assert (await connection.get_participant(CALLER)).is_on_hold
    await connection.unhold(CALLER)
    agent = await client.create_call(
        number("answers"), f"{bench.url}/agent", source_caller_id_number=OWN_NUMBER
    )
    await settled(bench)
    assert not (await connection.get_participant(CALLER)).is_on_hold
    agent_connection = client.get_call_connection(agent.call_connection_id)
    moved = await agent_connection.move_participants([CALLER], call, operation_context="join")
    assert (moved.from_call, moved.operation_context) == (call, "join")
    assert (await settled(bench))[-3:] == [
        *("MoveParticipantSucceeded", "ParticipantsUpdated", "CallDisconnected")
    ]
    added = await agent_connection.add_participant(number("manual"), source_caller_id_number=OWN_NUMBER)
    await agent_connection.cancel_add_participant_operation(added.invitation_id)
    assert (await settled(bench))[-1] == "CancelAddParticipantSucceeded"


async def test_the_async_sdk_answers_and_transfers_a_call(bench, client):
    ringing = bench.emulator.ring(callback_url=f"{bench.url}/eventgrid")
    answered = await client.answer_call(ringing.incoming_context, f"{bench.url}/calls")
    await settled(bench)
    connection = client.get_call_connection(answered.call_connection_id)
    await connection.transfer_call_to_participant(USER, transferee=CALLER)
    assert (await settled(bench))[-2:] == ["CallTransferAccepted", "CallDisconnected"]
    accepted = bench.sink.got[-2][1]["data"]
    assert accepted["transferTarget"]["rawId"] == USER.raw_id
    assert accepted["transferee"]["rawId"] == CALLER.raw_id


async def test_a_group_call_continues_without_the_transferee(bench, client):
    created = await client.create_call(
        [USER, number("answers")], f"{bench.url}/calls", source_caller_id_number=OWN_NUMBER
    )
    await settled(bench)
    connection = client.get_call_connection(created.call_connection_id)
    await connection.transfer_call_to_participant(number("voicemail"), transferee=number("answers"))
    assert (await settled(bench))[-2:] == ["CallTransferAccepted", "ParticipantsUpdated"]
    own = CommunicationUserIdentifier(bench.emulator.identity.raw_id)
    assert [one.identifier async for one in connection.list_participants()] == [own, USER]
    await connection.add_participant(number("answers"))
    await settled(bench)
    assert (await connection.get_participant(number("answers"))).identifier == number("answers")
    await connection.remove_participant(number("answers"))
    await connection.hang_up(is_for_everyone=True)
    assert (await settled(bench))[-1] == "CallDisconnected"


async def test_a_call_that_fails_ends_with_two_events(bench, client):
    await client.create_call(number("busy"), f"{bench.url}/calls", source_caller_id_number=OWN_NUMBER)
    assert await settled(bench) == ["CreateCallFailed", "CallDisconnected"]


@pytest.mark.parametrize("version", list(ApiVersion))
async def test_the_async_sdk_works_with_every_api_version(bench, version):
    key = AzureKeyCredential(bench.emulator.access_key)
    async with CallAutomationClient(bench.url, key, api_version=version.value) as client:
        created = await client.create_call(
            number("answers"), f"{bench.url}/calls", source_caller_id_number=OWN_NUMBER
        )
        await settled(bench)
        connection = client.get_call_connection(created.call_connection_id)
        await connection.transfer_call_to_participant(
            number("voicemail"), transferee=number("answers"), operation_callback_url=f"{bench.url}/own"
        )
        assert (await settled(bench))[2:] == ["CallTransferAccepted", "CallDisconnected"]
    assert {event["data"]["version"] for _, event in bench.sink.got} == {version}


async def test_the_async_sdk_redirects_or_rejects_an_incoming_call_once(bench, client):
    redirected, rejected = (bench.emulator.ring(callback_url=bench.url) for _ in range(2))
    await client.redirect_call(redirected.incoming_context, USER)
    await client.reject_call(rejected.incoming_context, call_reject_reason="forbidden")
    for ringing in (redirected, rejected):
        with pytest.raises(ResourceNotFoundError) as caught:
            await client.answer_call(ringing.incoming_context, bench.url)
        assert (caught.value.status_code, caught.value.error.code) == (404, "8522")
    assert bench.emulator.executions(redirected.call_id) == 1
    assert bench.emulator.executions(rejected.call_id) == 0


async def test_errors_raise_the_exceptions_of_the_sdk(bench, client):
    call = bench.call()
    connection = client.get_call_connection(call)
    with pytest.raises(HttpResponseError) as caught:
        await connection.transfer_call_to_participant(number("forbidden"))
    assert (caught.value.status_code, caught.value.error.code) == (403, "7504")
    await connection.transfer_call_to_participant(number("silent"))
    with pytest.raises(ResourceExistsError) as caught:
        await connection.transfer_call_to_participant(USER)
    assert (caught.value.status_code, caught.value.error.code) == (409, "8607")
    assert bench.emulator.executions(call) == 1


async def test_a_request_that_the_async_sdk_retries_is_executed_once(bench, client):
    call = bench.call()
    bench.emulator.faults.add(Fault(kind="status", status=503))
    await client.get_call_connection(call).transfer_call_to_participant(number("throttled"))
    assert [request.status for request in bench.emulator.requests] == [503, 429, 202]
    ids = {request.headers["repeatability-request-id"] for request in bench.emulator.requests}
    assert len(ids) == 1
    assert bench.emulator.executions(call) == 1


async def test_a_wrong_access_key_is_rejected(bench):
    async with CallAutomationClient(bench.url, AzureKeyCredential("b3RoZXIta2V5")) as client:
        with pytest.raises(ClientAuthenticationError) as caught:
            await client.get_call_connection(bench.call()).get_call_properties()
    assert caught.value.error.code == "7509"


@asynccontextmanager
async def guarded(signer, sink, lifetime):
    """A client with an Entra token, over TLS."""
    emulator = AcsEmulator(pace=0, signer=signer)
    async with aclosing(emulator), serve(emulator.app, tls=True) as server, serve(sink) as callbacks:
        call = emulator.place_call(callback_url=callbacks.url)
        credential = Token(emulator.token(lifetime=lifetime))
        async with CallAutomationClient(
            server.url, credential, connection_verify=str(server.ca_file)
        ) as client:
            yield emulator, credential, client.get_call_connection(call)


async def test_the_async_sdk_connects_over_tls_with_a_connection_string(signer, sink):
    """The SDK always uses https, whatever scheme the connection string has."""
    emulator = AcsEmulator(pace=0, signer=signer)
    async with aclosing(emulator), serve(emulator.app, tls=True) as server, serve(sink) as callbacks:
        call = emulator.place_call(callback_url=callbacks.url)
        async with CallAutomationClient.from_connection_string(
            emulator.config(server.url)["connection_string"], connection_verify=str(server.ca_file)
        ) as client:
            await client.get_call_connection(call).transfer_call_to_participant(number("busy"))
        await emulator.settle()
    assert sink.names() == ["CallTransferFailed"]


APPLICATION = """
import asyncio, sys
from azure.communication.callautomation.aio import CallAutomationClient
async def main(connection_string, call):
    async with CallAutomationClient.from_connection_string(connection_string) as client:
        print((await client.get_call_connection(call).get_call_properties()).call_connection_state)
asyncio.run(main(*sys.argv[1:]))
"""


async def test_an_application_trusts_the_emulator_through_environment_variables(signer):
    """In a new process, because the transport reads the variable when it is imported."""
    emulator = AcsEmulator(pace=0, signer=signer)
    async with aclosing(emulator), serve(emulator.app, tls=True) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-c", APPLICATION),
            emulator.config(server.url)["connection_string"],
            emulator.place_call(callback_url="http://127.0.0.1:1/"),
            env={**os.environ, "SSL_CERT_FILE": str(server.ca_file)},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out.decode().strip()) == (0, "connected")


async def test_an_entra_token_is_accepted_over_tls(signer, sink):
    async with guarded(signer, sink, 3600) as (emulator, credential, connection):
        await connection.transfer_call_to_participant(number("answers"))
        await emulator.settle()
        assert sink.names() == ["CallTransferAccepted", "CallDisconnected"]
    assert credential.scopes == ["https://communication.azure.com//.default"]


async def test_an_expired_token_is_rejected(signer, sink):
    async with guarded(signer, sink, -1) as (_, _, connection):
        with pytest.raises(ClientAuthenticationError) as caught:
            await connection.get_call_properties()
    assert caught.value.error.code == "7501"


async def test_azure_core_sends_no_token_without_tls(bench):
    credential = Token(bench.emulator.token())
    async with CallAutomationClient(bench.url, credential, retry_total=0) as client:
        with pytest.raises(ServiceRequestError, match="non-TLS"):
            await client.get_call_connection(bench.call()).get_call_properties()
    assert bench.emulator.requests == ()
