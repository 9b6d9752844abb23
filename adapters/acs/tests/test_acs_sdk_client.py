"""The official blocking SDK as a client of the emulator: it must be able to parse every response and event.

The emulator runs in another thread, so the tests use the SDK as an application does.
"""

import asyncio
import gc
import threading
import time
from concurrent.futures import Future
from contextlib import aclosing

import pytest
from attrs import define
from azure.communication.callautomation import (
    CallAutomationClient,
    CommunicationUserIdentifier,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    PhoneNumberIdentifier,
    TeamsPhoneCallDetails,
)
from azure.communication.callautomation._generated import models
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
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


@define
class Office:
    """A running emulator, and the callbacks that it sent."""

    emulator: AcsEmulator
    sink: object
    url: str
    callbacks: str
    ca_file: object
    loop: asyncio.AbstractEventLoop

    def settled(self) -> list[str]:
        """The names of all callbacks, after all were sent."""
        asyncio.run_coroutine_threadsafe(self.emulator.settle(), self.loop).result(20)
        return self.sink.names()

    def ring(self):
        """An incoming call."""

        async def ring():
            return self.emulator.ring(callback_url=f"{self.callbacks}/eventgrid")

        ringing = asyncio.run_coroutine_threadsafe(ring(), self.loop).result(20)
        self.settled()
        return ringing

    @property
    def own(self) -> CommunicationUserIdentifier:
        """The identity of the application."""
        return CommunicationUserIdentifier(self.emulator.identity.raw_id)

    def client(self, credential=None, **options) -> CallAutomationClient:
        key = credential or AzureKeyCredential(self.emulator.access_key)
        if self.ca_file is not None:
            options["connection_verify"] = str(self.ca_file)
        return CallAutomationClient(self.url, key, **options)


class Token:
    """An Entra credential with the interface of azure-identity."""

    def __init__(self, token):
        self.token = token
        self.scopes = []

    def get_token(self, *scopes, **_):
        self.scopes += scopes
        return AccessToken(self.token, int(time.time()) + 3600)


def running(sink, signer, *, tls):
    """An office, served until the generator ends."""
    ready: Future[Office] = Future()

    async def run():
        closing = asyncio.Event()
        emulator = AcsEmulator(pace=0, signer=signer)
        async with aclosing(emulator), serve(emulator.app, tls=tls) as server, serve(sink) as callbacks:
            office = Office(
                emulator, sink, server.url, callbacks.url, server.ca_file, asyncio.get_running_loop()
            )
            ready.set_result((office, closing))
            await closing.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    office, closing = ready.result(20)
    yield office
    gc.collect()  # an error of the SDK holds its connection until then, and the server waits for it
    office.loop.call_soon_threadsafe(closing.set)
    thread.join(20)


@pytest.fixture
def office(sink, signer):
    yield from running(sink, signer, tls=False)


@pytest.fixture
def guarded(sink, signer):
    """An office over TLS, which azure-core requires for tokens."""
    yield from running(sink, signer, tls=True)


def read_as_the_sdk_does(office):
    """Every mid-call event, read with the model of the SDK, which must declare all its fields."""
    for path, event in office.sink.got:
        if path == "/eventgrid":
            continue
        data = {
            name: value for name, value in event["data"].items() if name not in {"version", "publicEventType"}
        }
        model = getattr(models, event["type"].rpartition(".")[2])
        assert model.deserialize(data).serialize(keep_readonly=True) == data


# --- calls ----------------------------------------------------------------------------------------------


def test_the_sdk_creates_transfers_and_ends_a_call(office):
    with office.client() as client:
        created = client.create_call(
            number("answers"),
            office.callbacks,
            source_caller_id_number=OWN_NUMBER,
            source_display_name="Desk",
            operation_context="case 42",
        )
        assert (created.call_connection_state, created.server_call_id) == ("connecting", None)
        assert created.source == office.own
        assert office.settled() == ["CallConnected", "ParticipantsUpdated"]
        connection = client.get_call_connection(created.call_connection_id)
        found = connection.get_call_properties()
        assert found.call_connection_state == "connected"
        assert found.targets == [number("answers")]
        assert (found.source_caller_id_number, found.source_display_name) == (OWN_NUMBER, "Desk")
        assert found.callback_url == office.callbacks
        result = connection.transfer_call_to_participant(
            number("busy"),
            operation_context="to sales",
            operation_callback_url=f"{office.callbacks}/own",
            transferee=number("answers"),
            sip_headers={"X-MS-Custom-a": "1"},
            voip_headers={"a": "1"},
            teams_phone_call_details=TeamsPhoneCallDetails(call_topic="billing"),
            source_caller_id_number=OWN_NUMBER,
        )
        assert result.operation_context == "to sales"
        assert office.settled()[2:] == ["CallTransferFailed"]
        assert office.sink.got[-1][0] == "/own"
        connection.hang_up(is_for_everyone=False)
        assert office.settled()[3:] == ["CallDisconnected"]
        with pytest.raises(ResourceNotFoundError):
            connection.get_call_properties()
    read_as_the_sdk_does(office)


@pytest.mark.parametrize(
    "target",
    [
        USER,
        number("answers"),
        MicrosoftTeamsUserIdentifier(scenario("answers").object_id),
        MicrosoftTeamsAppIdentifier(scenario("answers").object_id),
    ],
    ids=["ACS user", "number", "Teams user", "Teams app"],
)
def test_the_sdk_answers_a_call_and_transfers_it_to_any_kind_of_target(office, target):
    with office.client() as client:
        answered = client.answer_call(office.ring().incoming_context, office.callbacks)
        assert answered.answered_for.properties["value"] == "+14255550151"
        assert answered.answered_by == office.own
        assert answered.server_call_id == office.sink.got[0][1]["data"]["serverCallId"]
        office.settled()
        connection = client.get_call_connection(answered.call_connection_id)
        connection.transfer_call_to_participant(target)
        assert office.settled() == [
            "IncomingCall",
            "CallConnected",
            "ParticipantsUpdated",
            "CallTransferAccepted",
            "CallDisconnected",
        ]
        assert office.emulator.executions(answered.call_connection_id) == 1
    read_as_the_sdk_does(office)


def test_a_group_call_continues_without_the_transferee(office):
    with office.client() as client:
        created = client.create_call(
            [USER, number("answers")], office.callbacks, source_caller_id_number=OWN_NUMBER
        )
        office.settled()
        connection = client.get_call_connection(created.call_connection_id)
        assert people(connection) == [office.own, USER, number("answers")]
        connection.transfer_call_to_participant(number("voicemail"), transferee=number("answers"))
        assert office.settled()[3:] == ["CallTransferAccepted", "ParticipantsUpdated"]
        assert people(connection) == [office.own, USER]
        connection.hang_up(is_for_everyone=True)
        assert office.settled()[5:] == ["CallDisconnected"]
    read_as_the_sdk_does(office)


def people(connection):
    return [one.identifier for one in connection.list_participants()]


def test_the_sdk_adds_and_removes_participants(office):
    call = office.emulator.place_call(callback_url=office.callbacks)
    with office.client() as client:
        connection = client.get_call_connection(call)
        added = connection.add_participant(USER, invitation_timeout=30, operation_context="help")
        assert (added.participant.identifier, added.operation_context) == (USER, "help")
        office.settled()
        assert connection.get_participant(USER).identifier == USER
        assert connection.get_participant(office.own).identifier == office.own
        assert people(connection) == [CALLER, office.own, USER]
        assert not connection.get_participant(CALLER).is_muted
        removed = connection.remove_participant(USER, operation_context="done")
        assert removed.operation_context == "done"
        assert office.settled() == [
            "AddParticipantSucceeded",
            "ParticipantsUpdated",
            "RemoveParticipantSucceeded",
            "ParticipantsUpdated",
        ]
        with pytest.raises(ResourceNotFoundError):
            connection.get_participant(USER)
    read_as_the_sdk_does(office)


def test_the_sdk_consults_an_agent_and_moves_the_caller_there(office):
    call = office.emulator.place_call(callback_url=office.callbacks)
    with office.client() as client:
        connection = client.get_call_connection(call)
        connection.hold(CALLER, operation_context="wait")
        office.settled()
        assert connection.get_participant(CALLER).is_on_hold
        agent = client.create_call(number("answers"), office.callbacks, source_caller_id_number=OWN_NUMBER)
        office.settled()
        agent_connection = client.get_call_connection(agent.call_connection_id)
        moved = agent_connection.move_participants([CALLER], call, operation_context="join")
        assert (moved.from_call, moved.operation_context) == (call, "join")
        assert [one.identifier for one in moved.participants] == [CALLER]
        assert office.settled() == [
            *("ParticipantsUpdated", "CallConnected", "ParticipantsUpdated"),
            *("MoveParticipantSucceeded", "ParticipantsUpdated", "CallDisconnected"),
        ]
        assert people(agent_connection) == [office.own, number("answers"), CALLER]
        agent_connection.hang_up(is_for_everyone=False)
    assert office.settled()[-1] == "CallDisconnected"
    read_as_the_sdk_does(office)


def test_the_sdk_cancels_a_consultation(office):
    call = office.emulator.place_call(callback_url=office.callbacks)
    with office.client() as client:
        connection = client.get_call_connection(call)
        connection.hold(CALLER)
        agent = client.create_call(number("manual"), office.callbacks, source_caller_id_number=OWN_NUMBER)
        client.get_call_connection(agent.call_connection_id).hang_up(is_for_everyone=True)
        connection.unhold(CALLER, operation_context="back")
        office.settled()
        assert not connection.get_participant(CALLER).is_on_hold
        added = connection.add_participant(number("manual"), source_caller_id_number=OWN_NUMBER)
        cancelled = connection.cancel_add_participant_operation(added.invitation_id, operation_context="no")
        assert (cancelled.invitation_id, cancelled.operation_context) == (added.invitation_id, "no")
    assert office.settled()[-1] == "CancelAddParticipantSucceeded"
    read_as_the_sdk_does(office)


def test_a_move_that_fails_sends_its_event_to_the_sdk(office):
    call = office.emulator.place_call(callback_url=office.callbacks)
    with office.client() as client:
        agent = client.create_call(number("join_fails"), office.callbacks, source_caller_id_number=OWN_NUMBER)
        office.settled()
        client.get_call_connection(agent.call_connection_id).move_participants([CALLER], call)
    assert office.settled()[-1] == "MoveParticipantFailed"
    read_as_the_sdk_does(office)


def test_the_sdk_redirects_or_rejects_an_incoming_call_once(office):
    with office.client() as client:
        redirected, rejected = office.ring(), office.ring()
        client.redirect_call(redirected.incoming_context, USER)
        client.reject_call(rejected.incoming_context, call_reject_reason="busy")
        for ringing in (redirected, rejected):
            with pytest.raises(ResourceNotFoundError) as caught:
                client.redirect_call(ringing.incoming_context, USER)
            assert (caught.value.status_code, caught.value.error.code) == (404, "8522")
        assert office.emulator.executions(redirected.call_id) == 1
        assert office.emulator.executions(rejected.call_id) == 0


def test_a_created_call_that_fails_sends_its_events(office):
    with office.client() as client:
        client.create_call(number("busy"), office.callbacks, source_caller_id_number=OWN_NUMBER)
    assert office.settled() == ["CreateCallFailed", "CallDisconnected"]
    read_as_the_sdk_does(office)


def test_a_response_and_the_events_of_the_call_have_the_same_correlation_id(office):
    chain_ids = []

    def hear(response):
        chain_ids.append(response.http_response.headers["X-Microsoft-Skype-Chain-ID"])

    with office.client(raw_response_hook=hear) as client:
        created = client.create_call(number("busy"), office.callbacks, source_caller_id_number=OWN_NUMBER)
    office.settled()
    events = {event["data"]["correlationId"] for _, event in office.sink.got}
    assert {*chain_ids} == events == {created.correlation_id}


# --- errors ---------------------------------------------------------------------------------------------


def test_errors_raise_the_exceptions_of_the_sdk(office):
    call = office.emulator.place_call(callback_url=office.callbacks)
    with office.client() as client:
        connection = client.get_call_connection(call)
        with pytest.raises(HttpResponseError) as caught:
            connection.transfer_call_to_participant(number("forbidden"))
        assert (caught.value.status_code, caught.value.error.code) == (403, "7504")
        with pytest.raises(HttpResponseError) as caught:
            connection.transfer_call_to_participant(USER, transferee=number("busy"))
        assert (caught.value.status_code, caught.value.error.code) == (400, "8558")
        with pytest.raises(HttpResponseError) as caught:
            connection.add_participant(USER, invitation_timeout=181)
        assert (caught.value.status_code, caught.value.error.target) == (400, "invitationTimeoutInSeconds")
        connection.transfer_call_to_participant(number("silent"))
        with pytest.raises(ResourceExistsError) as caught:
            connection.transfer_call_to_participant(USER)
        assert (caught.value.status_code, caught.value.error.code) == (409, "8607")
        with pytest.raises(HttpResponseError) as caught:
            connection.start_continuous_dtmf_recognition(CALLER)
        assert caught.value.status_code == 501
    assert office.emulator.executions(call) == 1


@pytest.mark.parametrize("version", list(ApiVersion))
def test_the_sdk_works_with_every_api_version(office, version):
    """The SDK sends the same bodies to each version; later fields have no effect."""
    with office.client(api_version=version.value) as client:
        created = client.create_call(
            number("answers"),
            office.callbacks,
            source_caller_id_number=OWN_NUMBER,
            cognitive_services_endpoint="https://cognitive.example",
        )
        office.settled()
        connection = client.get_call_connection(created.call_connection_id)
        assert connection.get_call_properties().call_connection_state == "connected"
        connection.transfer_call_to_participant(
            number("busy"),
            transferee=number("answers"),
            operation_callback_url=f"{office.callbacks}/own",
            source_caller_id_number=OWN_NUMBER,
            sip_headers={"X-MS-Custom-a": "1"},
            teams_phone_call_details=TeamsPhoneCallDetails(call_topic="billing"),
        )
        assert office.settled()[2:] == ["CallTransferFailed"]
        assert office.sink.got[-1][0] == ("/own" if version > "2023-03-06" else "/")
        connection.add_participant(USER, voip_headers={"a": "1"})
        office.settled()
        assert people(connection) == [office.own, number("answers"), USER]
        connection.remove_participant(USER)
        connection.hang_up(is_for_everyone=True)
        office.settled()
        client.answer_call(office.ring().incoming_context, office.callbacks)
    office.settled()
    assert {event["data"]["version"] for path, event in office.sink.got if path != "/eventgrid"} == {version}
    read_as_the_sdk_does(office)


def test_an_unknown_api_version_is_rejected(office):
    call = office.emulator.place_call(callback_url=office.callbacks)
    with office.client(api_version="2020-01-01") as client:
        with pytest.raises(HttpResponseError) as caught:
            client.get_call_connection(call).transfer_call_to_participant(USER)
        assert (caught.value.status_code, caught.value.error.code) == (400, "8523")
        assert caught.value.error.target == "api-version"
    assert office.emulator.executions(call) == 0


@pytest.mark.parametrize(
    "fault",
    [Fault(kind="status", status=503), Fault(kind="status", status=429, retry_after=0)],
    ids=["503", "429"],
)
def test_a_request_that_the_sdk_retries_is_executed_once(office, fault):
    call = office.emulator.place_call(callback_url=office.callbacks)
    office.emulator.faults.add(fault)
    with office.client() as client:
        client.get_call_connection(call).transfer_call_to_participant(number("answers"))
    first, second = office.emulator.requests
    assert [first.status, second.status] == [fault.status, 202]
    assert first.headers["repeatability-request-id"] == second.headers["repeatability-request-id"]
    assert office.emulator.executions(call) == 1


# --- credentials ----------------------------------------------------------------------------------------


def test_the_sdk_connects_over_tls_with_a_connection_string(guarded):
    """The SDK always uses https, whatever scheme the connection string has."""
    call = guarded.emulator.place_call(callback_url=guarded.callbacks)
    table = guarded.emulator.config(guarded.url)
    with CallAutomationClient.from_connection_string(
        table["connection_string"], connection_verify=str(guarded.ca_file)
    ) as client:
        client.get_call_connection(call).transfer_call_to_participant(number("busy"))
    assert guarded.settled() == ["CallTransferFailed"]


def test_an_application_trusts_the_emulator_through_environment_variables(guarded, monkeypatch):
    call = guarded.emulator.place_call(callback_url=guarded.callbacks)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(guarded.ca_file))
    connection_string = guarded.emulator.config(guarded.url)["connection_string"]
    with CallAutomationClient.from_connection_string(connection_string) as client:
        assert client.get_call_connection(call).get_call_properties().call_connection_state == "connected"


def test_a_wrong_access_key_is_rejected(office):
    with (
        office.client(AzureKeyCredential("b3RoZXIta2V5")) as client,
        pytest.raises(ClientAuthenticationError) as caught,
    ):
        client.get_call_connection("any").get_call_properties()
    assert caught.value.error.code == "7509"


def test_an_entra_token_is_accepted_over_tls(guarded):
    call = guarded.emulator.place_call(callback_url=guarded.callbacks)
    credential = Token(guarded.emulator.token())
    with guarded.client(credential) as client:
        connection = client.get_call_connection(call)
        assert connection.get_call_properties().call_connection_state == "connected"
        connection.transfer_call_to_participant(number("answers"))
        assert guarded.settled() == ["CallTransferAccepted", "CallDisconnected"]
    assert credential.scopes == ["https://communication.azure.com//.default"]


def test_a_token_of_an_unknown_issuer_is_rejected(guarded):
    with (
        guarded.client(Token(guarded.emulator.token(lifetime=-1))) as client,
        pytest.raises(ClientAuthenticationError) as caught,
    ):
        client.get_call_connection("any").get_call_properties()
    assert caught.value.error.code == "7501"
