"""The official SDK as a client of the emulator: it must be able to parse every response.

It authenticates with azure-identity over TLS, as with Graph. Needs `msgraph-beta-sdk`, as all tests of this
folder do. The SDK has no model of `commsNotifications`, so the tests parse the calls and participants in
notifications.
"""

import json
import ssl

import httpx
import pytest
import pytest_asyncio
from transferkit_graph.emulator.service import CLIENT_ID, CLIENT_SECRET, TENANT_ID

from transferkit.emulators import Fault
from transferkit.testing.scenarios import scenario

pytest.importorskip("msgraph_beta")

from azure.identity.aio import ClientSecretCredential
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from kiota_serialization_json.json_parse_node_factory import JsonParseNodeFactory
from msgraph_beta import GraphServiceClient
from msgraph_beta.generated.communications.calls.item.answer.answer_post_request_body import (
    AnswerPostRequestBody,
)
from msgraph_beta.generated.communications.calls.item.participants.item.start_hold_music.start_hold_music_post_request_body import (  # noqa: E501 - the SDK's own name
    StartHoldMusicPostRequestBody,
)
from msgraph_beta.generated.communications.calls.item.participants.item.stop_hold_music.stop_hold_music_post_request_body import (  # noqa: E501 - the SDK's own name
    StopHoldMusicPostRequestBody,
)
from msgraph_beta.generated.communications.calls.item.redirect.redirect_post_request_body import (
    RedirectPostRequestBody,
)
from msgraph_beta.generated.communications.calls.item.reject.reject_post_request_body import (
    RejectPostRequestBody,
)
from msgraph_beta.generated.communications.calls.item.subscribe_to_tone.subscribe_to_tone_post_request_body import (  # noqa: E501 - the SDK's own name
    SubscribeToTonePostRequestBody,
)
from msgraph_beta.generated.communications.calls.item.transfer.transfer_post_request_body import (
    TransferPostRequestBody,
)
from msgraph_beta.generated.models.call import Call
from msgraph_beta.generated.models.call_direction import CallDirection
from msgraph_beta.generated.models.call_state import CallState
from msgraph_beta.generated.models.chat_info import ChatInfo
from msgraph_beta.generated.models.identity import Identity
from msgraph_beta.generated.models.identity_set import IdentitySet
from msgraph_beta.generated.models.invitation_participant_info import InvitationParticipantInfo
from msgraph_beta.generated.models.media_info import MediaInfo
from msgraph_beta.generated.models.media_prompt import MediaPrompt
from msgraph_beta.generated.models.media_state import MediaState
from msgraph_beta.generated.models.modality import Modality
from msgraph_beta.generated.models.o_data_errors.o_data_error import ODataError
from msgraph_beta.generated.models.operation_status import OperationStatus
from msgraph_beta.generated.models.organizer_meeting_info import OrganizerMeetingInfo
from msgraph_beta.generated.models.participant import Participant
from msgraph_beta.generated.models.participant_info import ParticipantInfo
from msgraph_beta.generated.models.reject_reason import RejectReason
from msgraph_beta.generated.models.service_hosted_media_config import ServiceHostedMediaConfig
from msgraph_beta.generated.models.tone import Tone
from msgraph_beta.graph_request_adapter import GraphRequestAdapter, options
from msgraph_core import APIVersion, GraphClientFactory

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The SDK's own modules use what its base library has given up.
    pytest.mark.filterwarnings("ignore:GetQueryParameters is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This class is deprecated:DeprecationWarning"),
]

SCOPE = "https://graph.microsoft.com/.default"
# Beside what the models declare: open types hold it, and it is published or was seen.
UNDECLARED = {
    "Participant": {"@odata.context"},
    "Call": {"@odata.context", "@odata.id", "replacesContext"},
    "IdentitySet": {"phone", "encrypted"},
    "Identity": {"tenantId"},
}


@pytest_asyncio.fixture(loop_scope="module")
async def graph(bench):
    """The SDK, configured for the emulator with address and authority only."""
    ca_file = str(bench.server.ca_file)
    credential = ClientSecretCredential(
        TENANT_ID,
        CLIENT_ID,
        CLIENT_SECRET,
        authority=bench.server.url,
        disable_instance_discovery=True,
        connection_verify=ca_file,
    )
    provider = AzureIdentityAuthenticationProvider(credential, scopes=[SCOPE], allowed_hosts=["127.0.0.1"])
    # The SDK's own transport wraps this one and does not close it.
    transport = httpx.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=ca_file))
    http = GraphClientFactory.create_with_default_middleware(
        api_version=APIVersion.beta, client=httpx.AsyncClient(transport=transport), options=options
    )
    adapter = GraphRequestAdapter(provider, client=http)
    adapter.base_url = f"{bench.server.url}/beta"
    yield GraphServiceClient(request_adapter=adapter)
    await http.aclose()
    await transport.aclose()
    await credential.close()


def user(object_id, name=None):
    return IdentitySet(user=Identity(id=object_id, display_name=name))


def phone(number):
    identity = {"@odata.type": "#microsoft.graph.identity", "id": number}
    return IdentitySet(additional_data={"phone": identity})


def invited(identity, **more):
    return InvitationParticipantInfo(
        odata_type="#microsoft.graph.invitationParticipantInfo", identity=identity, **more
    )


def new_call(bench, *targets, **more):
    return Call(
        odata_type="#microsoft.graph.call",
        callback_uri=bench.callback_url,
        targets=[invited(target) for target in targets],
        requested_modalities=[Modality.Audio],
        media_config=ServiceHostedMediaConfig(odata_type="#microsoft.graph.serviceHostedMediaConfig"),
        **more,
    )


ANSWERS = scenario("answers")
BUSY = scenario("busy")


def notified(bench):
    """The content of the notifications, as models of the SDK: calls, and lists of participants."""
    found = []
    for callback in bench.emulator.callbacks:
        for element in callback.body["value"]:
            data = element["resourceData"]
            model = Participant if isinstance(data, list) else Call
            node = JsonParseNodeFactory().get_root_parse_node("application/json", json.dumps(data).encode())
            parse = node.get_collection_of_object_values if isinstance(data, list) else node.get_object_value
            found.append(parse(model))
    return found


def undeclared(model):
    """Properties that no model declares, as (name of the model, property)."""
    if isinstance(model, list):
        return {each for item in model for each in undeclared(item)}
    if not hasattr(model, "__dataclass_fields__"):
        return set()
    name = type(model).__name__
    found = {(name, key) for key in getattr(model, "additional_data", {})}
    names = set(model.__dataclass_fields__) - {"additional_data", "backing_store"}
    return found | undeclared([getattr(model, each) for each in names])


def surprising(models):
    return undeclared(models) - {(name, key) for name, keys in UNDECLARED.items() for key in keys}


def states(bench):
    return [each.state for each in notified(bench) if isinstance(each, Call)]


async def placed(bench, graph, **more):
    return graph.communications.calls.by_call_id(
        bench.emulator.place_call(callback_url=bench.callback_url, **more)
    )


async def test_the_sdk_creates_gets_keeps_alive_and_deletes_a_call(bench, graph):
    made = await graph.communications.calls.post(new_call(bench, user(ANSWERS.object_id, "Adele")))
    await bench.emulator.settle()
    assert (made.state, made.direction) == (CallState.Establishing, CallDirection.Outgoing)
    assert made.source.identity.application.id == CLIENT_ID
    here = graph.communications.calls.by_call_id(made.id)
    shown = await here.get()
    assert (shown.id, shown.state, shown.tenant_id) == (made.id, CallState.Established, TENANT_ID)
    assert shown.targets[0].identity.user.id == ANSWERS.object_id
    assert shown.call_chain_id == made.call_chain_id
    assert surprising([made, shown]) == set()
    await here.keep_alive.post()
    await here.delete()
    await bench.emulator.settle()
    with pytest.raises(ODataError) as gone:
        await here.get()
    assert gone.value.response_status_code == 404
    assert states(bench) == [
        CallState.Establishing,
        CallState.Established,
        CallState.Terminating,
        CallState.Terminated,
    ]
    assert surprising(notified(bench)) == set()


async def test_the_sdk_joins_a_meeting_and_reads_its_roster(bench, graph):
    meeting = OrganizerMeetingInfo(
        odata_type="#microsoft.graph.organizerMeetingInfo", organizer=user(ANSWERS.object_id)
    )
    made = await graph.communications.calls.post(
        new_call(bench, chat_info=ChatInfo(thread_id="19:m@thread.v2", message_id="0"), meeting_info=meeting)
    )
    await bench.emulator.settle()
    roster = next(each for each in notified(bench) if isinstance(each, list))
    assert [each.info.identity.application.id for each in roster] == [CLIENT_ID]
    listed = await graph.communications.calls.by_call_id(made.id).participants.get()
    assert [each.id for each in listed.value] == [each.id for each in roster]
    assert surprising([made, *notified(bench), *listed.value]) == set()


async def test_the_sdk_gets_and_answers_an_incoming_call(bench, graph):
    call = bench.emulator.ring(callback_url=bench.callback_url).call_id
    await bench.emulator.settle()
    (incoming,) = notified(bench)
    assert (incoming.state, incoming.id) == (CallState.Incoming, call)
    assert incoming.source.identity.user.display_name == "Emulated Caller"
    await graph.communications.calls.by_call_id(call).answer.post(
        AnswerPostRequestBody(
            callback_uri=bench.callback_url,
            accepted_modalities=[Modality.Audio],
            media_config=ServiceHostedMediaConfig(odata_type="#microsoft.graph.serviceHostedMediaConfig"),
        )
    )
    await bench.emulator.settle()
    assert states(bench) == [CallState.Incoming, CallState.Establishing, CallState.Established]
    assert surprising(notified(bench)) == set()


async def test_the_sdk_rejects_an_incoming_call(bench, graph):
    call = bench.emulator.ring(callback_url=bench.callback_url).call_id
    body = RejectPostRequestBody(reason=RejectReason.Busy)
    await graph.communications.calls.by_call_id(call).reject.post(body)
    await bench.emulator.settle()
    assert states(bench) == [CallState.Incoming, None]


@pytest.mark.parametrize("kind", ["user", "phone"])
@pytest.mark.parametrize("line", [ANSWERS, BUSY], ids=["answers", "busy"])
async def test_the_sdk_transfers_a_call(bench, graph, kind, line):
    here = await placed(bench, graph)
    target = user(line.object_id) if kind == "user" else phone(line.number.number)
    await here.transfer.post(TransferPostRequestBody(transfer_target=invited(target)))
    await bench.emulator.settle()
    last = notified(bench)[-1]
    if line is ANSWERS:
        assert CallState.TransferAccepted in states(bench)
        assert last.state == CallState.Terminated
        assert (last.result_info.code, last.result_info.subcode) == (0, 7015)
        inactive = [each for each in notified(bench) if each.media_state]
        assert [each.media_state.audio for each in inactive] == [MediaState.Inactive]
    else:
        assert states(bench) == [CallState.Transferring, CallState.Established]
        assert (last.result_info.code, last.result_info.subcode) == (486, 560486)
    assert surprising(notified(bench)) == set()


@pytest.mark.parametrize("line", [ANSWERS, BUSY], ids=["answers", "busy"])
async def test_the_sdk_transfers_a_call_after_a_consult_call(bench, graph, line):
    here = await placed(bench, graph)
    consult = await graph.communications.calls.post(new_call(bench, user(ANSWERS.object_id)))
    await bench.emulator.settle()
    bench.emulator.journal.clear()
    target = invited(user(line.object_id), replaces_call_id=consult.id)
    await here.transfer.post(TransferPostRequestBody(transfer_target=target))
    await bench.emulator.settle()
    if line is ANSWERS:
        ended = [each for each in notified(bench) if each.state == CallState.Terminated]
        assert [each.termination_reason for each in ended] == ["AppTransferred", None]
    else:
        assert "replacesContext" in notified(bench)[-1].additional_data
    assert surprising(notified(bench)) == set()


async def test_the_sdk_transfers_a_participant_of_a_group_call(bench, graph):
    here = await placed(bench, graph, group=True)
    everybody = (await here.participants.get()).value
    caller = next(each for each in everybody if each.info.identity.user)
    body = TransferPostRequestBody(
        transfer_target=invited(user(ANSWERS.object_id)),
        transferee=ParticipantInfo(identity=user(caller.info.identity.user.id), participant_id=caller.id),
    )
    await here.transfer.post(body)
    await bench.emulator.settle()
    (roster,) = [each for each in notified(bench) if isinstance(each, list)]
    assert {each.id for each in roster} == {each.id for each in everybody} - {caller.id}
    assert notified(bench)[-1].result_info.subcode == 7015


async def test_the_sdk_holds_and_resumes_a_participant(bench, graph):
    here = await placed(bench, graph, group=True)
    caller = next(each for each in (await here.participants.get()).value if each.info.identity.user)
    participant = here.participants.by_participant_id(caller.id)
    shown = await participant.get()
    prompt = MediaPrompt(
        odata_type="#microsoft.graph.mediaPrompt",
        media_info=MediaInfo(odata_type="#microsoft.graph.mediaInfo", uri="https://bot.contoso.com/hold.wav"),
    )
    held = await participant.start_hold_music.post(
        StartHoldMusicPostRequestBody(client_context="case 42", custom_prompt=prompt)
    )
    resumed = await participant.stop_hold_music.post(StopHoldMusicPostRequestBody(client_context="case 43"))
    await bench.emulator.settle()
    assert [type(each).__name__ for each in (held, resumed)] == [
        "StartHoldMusicOperation",
        "StopHoldMusicOperation",
    ]
    assert [each.status for each in (held, resumed)] == [OperationStatus.Running] * 2
    assert [each.client_context for each in (held, resumed)] == ["case 42", "case 43"]
    assert shown.id == caller.id
    assert surprising([shown, held, resumed]) == set()


@pytest.mark.parametrize("kind", ["user", "phone"])
async def test_the_sdk_redirects_an_incoming_call(bench, graph, kind):
    call = bench.emulator.ring(callback_url=bench.callback_url).call_id
    target = user(ANSWERS.object_id) if kind == "user" else phone(ANSWERS.number.number)
    body = RedirectPostRequestBody(targets=[invited(target)], timeout=30, callback_uri=bench.callback_url)
    await graph.communications.calls.by_call_id(call).redirect.post(body)
    await bench.emulator.settle()
    _, ended = notified(bench)
    assert ended.state == CallState.Terminated
    identity = ended.answered_by.identity
    if kind == "user":
        assert identity.user.id == ANSWERS.object_id
    else:
        assert "encrypted" in identity.additional_data
    assert surprising(notified(bench)) == set()


async def test_pressed_keys_are_reported_after_a_subscription(bench, graph):
    here = await placed(bench, graph)
    done = await here.subscribe_to_tone.post(SubscribeToTonePostRequestBody(client_context="c1"))
    assert (done.client_context, done.status) == ("c1", OperationStatus.Completed)
    bench.emulator.press(bench.emulator.calls()[-1].id, "pound")
    await bench.emulator.settle()
    (heard,) = notified(bench)
    assert (heard.tone_info.tone, heard.tone_info.sequence_id) == (Tone.Pound, 1)


async def test_an_error_raises_the_exception_of_the_sdk(bench, graph):
    ringing = bench.emulator.ring(callback_url=bench.callback_url).call_id
    body = TransferPostRequestBody(transfer_target=invited(user(ANSWERS.object_id)))
    with pytest.raises(ODataError) as refused:
        await graph.communications.calls.by_call_id(ringing).transfer.post(body)
    error = refused.value.error
    assert (refused.value.response_status_code, error.code) == (400, "8501")
    assert error.inner_error.request_id == refused.value.response_headers["request-id"]
    assert error.inner_error.date is not None


async def test_the_older_path_is_served_too(bench, graph):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    shown = await graph.app.calls.by_call_id(call).get()
    assert shown.state == CallState.Established


async def test_a_throttled_request_is_repeated_by_the_sdk_and_executed_once(bench, graph):
    bench.emulator.faults.add(Fault.parse("status=429,retry_after=0.05,match=transfer"))
    here = await placed(bench, graph)
    await here.transfer.post(TransferPostRequestBody(transfer_target=invited(user(ANSWERS.object_id))))
    asked = [each.status for each in bench.emulator.requests if each.path.endswith("/transfer")]
    assert asked == [429, 202]
    assert bench.emulator.executions(bench.emulator.calls()[-1].id) == 1
