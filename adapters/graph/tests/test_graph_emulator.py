"""The emulator: the scenarios of transfers and redirects, tenants, permissions and time limits."""

import asyncio

import pytest
import pytest_asyncio
from transferkit_graph import GraphAdapter
from transferkit_graph.emulator import GraphEmulator
from transferkit_graph.emulator.service import CLIENT_ID, TENANT_ID

from transferkit.events import CallIncoming, FailureReason
from transferkit.identifiers import PhoneNumber, TeamsUser
from transferkit.provider.results import NotSent, Presence, Rejected, Submitted
from transferkit.requests import Call, Redirect, Transfer
from transferkit.testing import ManualClock
from transferkit.testing.scenarios import SCENARIOS, Ending, scenario
from transferkit.testing.server import serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"
USER = TeamsUser("3fa1c2d4-0000-4000-8000-00000000aaaa")
WITHOUT_A_DECISION = [
    line for line in SCENARIOS if line.ending not in {Ending.MANUAL, Ending.REFUSED} and not line.status
]

ENDED = ["succeeded", "call_ended"]
TRANSFER_SIGNALS = {
    Ending.COMPLETES: [["started"], ["started"], ["accepted"], ENDED],  # twice: the media stop
    Ending.FAILS: [["started"], ["failed"]],
    Ending.CALLER_LEAVES: [["started"], ["call_ended"]],
    Ending.RETURNED: [["started"], ["returned"]],
    Ending.SILENT: [],
}
TRANSFER_SIGNALS_2018 = {
    **TRANSFER_SIGNALS,
    Ending.COMPLETES: [["started"], ["accepted"], ENDED, ["call_ended"]],
}
REDIRECT_SIGNALS = {
    Ending.COMPLETES: [ENDED],
    Ending.FAILS: [["call_ended"]],
    Ending.CALLER_LEAVES: [["call_ended"]],
    Ending.RETURNED: [["call_ended"]],  # the bare end, which says nothing
    Ending.SILENT: [],
}
AFTERWARDS = {
    Ending.COMPLETES: Presence.GONE,
    Ending.FAILS: Presence.CONNECTED,
    Ending.CALLER_LEAVES: Presence.GONE,
    Ending.RETURNED: Presence.CONNECTED,
    Ending.SILENT: Presence.TRANSFERRING,
}
FORMS = [
    {},
    {"api": "beta"},
    {"path": "app"},
    {"path": "applications", "app_id": CLIENT_ID},
    {"body": "2018"},
    {"body": "2018", "path": "app", "api": "beta"},
]


@pytest_asyncio.fixture(loop_scope="module")
async def token(bench):
    return {"Authorization": f"Bearer {await bench.token()}"}


def by_name(line):
    return line.name


async def until(emulator, done):
    """Return when `done()` is true."""
    async with asyncio.timeout(10):
        while not done():
            await emulator.journal.changed()


async def submit_transfer(bench, submission, call, adapter=None, **more):
    request = Transfer(**{"call": call, "to": PhoneNumber("+14255550100"), **more})
    return await (adapter or bench.adapter()).submit(submission(request))


async def transfer(bench, submission, call, adapter=None, **more):
    answer = await submit_transfer(bench, submission, call, adapter, **more)
    await bench.emulator.settle()
    return answer


@pytest.mark.parametrize("line", WITHOUT_A_DECISION, ids=by_name)
@pytest.mark.parametrize("body", ["current", "2018"])
async def test_each_scenario_of_a_transfer_sends_its_notifications(bench, submission, line, body):
    adapter = bench.adapter(body=body)
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    assert isinstance(await transfer(bench, submission, call, adapter, to=line.number), Submitted)
    assert bench.signals() == (TRANSFER_SIGNALS_2018 if body == "2018" else TRANSFER_SIGNALS)[line.ending]
    reasons = {
        fact.result.reason for fact in bench.facts() if fact.result and "succeeded" not in fact.signals
    }
    assert reasons == ({line.reason} if line.reason else set())
    assert (await adapter.inspect(Call("graph", call))).presence is AFTERWARDS[line.ending]
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize("line", WITHOUT_A_DECISION, ids=by_name)
@pytest.mark.parametrize("path", ["communications", "app"])
@pytest.mark.parametrize("to", ["number", "teams_user"])
async def test_each_scenario_of_a_redirect_sends_its_notifications(bench, submission, line, path, to):
    call = bench.emulator.ring(callback_url=bench.callback_url).call_id
    await bench.emulator.settle()
    (offer,) = bench.facts()
    assert isinstance(offer.event, CallIncoming)
    assert (offer.event.call_id, offer.event.caller_display_name) == (call, "Emulated Caller")
    request = Redirect(call=offer.event.call, to=getattr(line, to))
    assert isinstance(await bench.adapter(path=path).submit(submission(request)), Submitted)
    await bench.emulator.settle()
    redirecting = path == "app" and line.ending is not Ending.SILENT
    assert bench.signals()[1:] == [["started"]] * redirecting + REDIRECT_SIGNALS[line.ending]
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize("request_", ["transfer", "redirect"])
class TestRejectedByScenario:
    def ask(self, bench, request_, to):
        if request_ == "transfer":
            call = bench.emulator.place_call(callback_url=bench.callback_url)
            return call, Transfer(call=call, to=to)
        call = bench.emulator.ring(callback_url=bench.callback_url).call_id
        return call, Redirect(call=call, to=[to])

    async def test_a_forbidden_target_is_rejected_every_time(self, bench, submission, request_):
        call, request = self.ask(bench, request_, scenario("forbidden").number)
        for _ in range(2):
            answer = await bench.adapter().submit(submission(request))
            assert isinstance(answer, Rejected)
            assert (answer.result.code, answer.result.subcode) == (403, 7504)
            assert answer.result.reason is FailureReason.FORBIDDEN
        assert bench.emulator.executions(call) == 0

    async def test_a_throttled_request_is_accepted_the_second_time(self, bench, submission, request_):
        call, request = self.ask(bench, request_, scenario("throttled").number)
        adapter = bench.adapter()
        first = await adapter.submit(submission(request))
        assert isinstance(first, NotSent)
        assert first.retry_after.total_seconds() == pytest.approx(0.005)
        assert bench.emulator.executions(call) == 0
        assert isinstance(await adapter.submit(submission(request)), Submitted)
        await bench.emulator.settle()
        assert bench.signals()[-1] == ENDED
        assert bench.emulator.executions(call) == 1


class TestWhileTheTargetRings:
    @pytest.mark.parametrize(
        ("decide", "last"),
        [("answer_target", ENDED), ("decline_target", ["failed"]), ("hang_up", ["call_ended"])],
    )
    async def test_a_manual_target_rings_until_the_ringing_is_ended(self, bench, submission, decide, last):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        await transfer(bench, submission, call, to=scenario("manual").number)
        assert bench.signals() == [["started"]], "until the ringing is ended"
        assert bench.emulator.ringing_targets == {call}
        getattr(bench.emulator, decide)(call)
        await bench.emulator.settle()
        assert bench.signals()[-1] == last

    async def test_the_manual_target_of_a_redirect_rings_until_the_ringing_is_ended(self, bench, submission):
        call = bench.emulator.ring(callback_url=bench.callback_url).call_id
        await bench.adapter().submit(submission(Redirect(call=call, to=[scenario("manual").teams_user])))
        await bench.emulator.settle()
        assert bench.signals() == [[]]
        assert bench.emulator.answer_target(call)
        await bench.emulator.settle()
        assert bench.signals() == [[], ENDED]

    async def test_the_application_can_hang_up_while_the_target_rings(
        self, bench, browser, token, submission
    ):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        await transfer(bench, submission, call, to=scenario("manual").number)
        assert (await browser.delete(f"/v1.0/communications/calls/{call}", headers=token)).status_code == 204
        assert not bench.emulator.answer_target(call), "it no longer rings"
        await bench.emulator.settle()
        assert bench.signals() == [["started"], [], ["call_ended"]]

    async def test_the_caller_can_hang_up_before_the_first_notification(self, bench, submission):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        await submit_transfer(bench, submission, call)
        bench.emulator.hang_up(call)
        await bench.emulator.settle()
        assert bench.signals() == [["call_ended"]]
        assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("to", ["number", "teams_user"])
async def test_every_published_form_of_a_request_is_accepted(bench, submission, form, to):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    answer = await transfer(
        bench, submission, call, bench.adapter(**form), to=getattr(scenario("answers"), to)
    )
    assert isinstance(answer, Submitted)
    assert answer.correlation_id == bench.facts()[0].event.correlation_id
    assert ENDED in bench.signals()


async def test_the_first_of_several_targets_to_answer_gets_the_call(bench, submission):
    call = bench.emulator.ring(callback_url=bench.callback_url).call_id
    targets = [scenario(name).teams_user for name in ("busy", "silent", "slow", "voicemail")]
    await bench.adapter().submit(submission(Redirect(call=call, to=targets)))
    await bench.emulator.settle()
    assert bench.facts()[-1].target == scenario("voicemail").teams_user


async def test_a_redirect_can_change_the_callback_address(bench, submission):
    call = bench.emulator.ring(callback_url=bench.callback_url).call_id
    await bench.emulator.settle()
    request = Redirect(call=call, to=[USER], callback_uri="https://127.0.0.1:9/elsewhere")
    await bench.adapter().submit(submission(request))
    await bench.emulator.settle()
    last = bench.emulator.callbacks[-1]
    assert (last.url, last.status) == ("https://127.0.0.1:9/elsewhere", None)


async def test_a_call_can_be_transferred_again_after_a_failure(bench, submission):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await transfer(bench, submission, call, adapter, to=scenario("busy").number)
    await transfer(bench, submission, call, adapter, to=scenario("answers").number)
    assert bench.signals()[-1] == ENDED
    assert bench.emulator.executions(call) == 2


async def test_a_second_transfer_in_progress_is_a_conflict(bench, submission):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    await transfer(bench, submission, call, adapter, to=scenario("silent").number)
    again = await transfer(bench, submission, call, adapter)
    assert again.result.reason is FailureReason.CONFLICT
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize("ended", ["transferred", "hung up", "never was"])
async def test_an_ended_call_is_not_found(bench, submission, ended):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    if ended == "transferred":
        await transfer(bench, submission, call, adapter)
    elif ended == "hung up":
        bench.emulator.hang_up(call)
        await bench.emulator.settle()
        assert bench.signals() == [["call_ended"]]
    else:
        call = "no-such-call"
    answer = await transfer(bench, submission, call, adapter)
    assert (answer.result.code, answer.result.subcode) == (404, 8522)
    assert (await adapter.inspect(Call("graph", call))).presence is Presence.GONE


async def test_a_request_about_a_call_of_another_tenant_is_rejected_with_7505(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url, tenant_id=OTHER_TENANT)
    answer = await transfer(bench, submission, call)
    assert answer.result.reason is FailureReason.TENANT_MISMATCH
    assert bench.emulator.executions(call) == 0


async def test_an_incoming_call_cannot_be_transferred_and_an_answered_one_cannot_be_redirected(
    bench, submission
):
    adapter = bench.adapter()
    ringing = bench.emulator.ring(callback_url=bench.callback_url).call_id
    answered = bench.emulator.place_call(callback_url=bench.callback_url)
    refused = await transfer(bench, submission, ringing, adapter)
    assert refused.result.reason is FailureReason.CALL_NOT_ESTABLISHED
    refused = await adapter.submit(submission(Redirect(call=answered, to=[USER])))
    assert refused.result.reason is FailureReason.CONFLICT


async def test_a_transfer_of_a_group_call_needs_a_transferee(bench, submission):
    adapter = bench.adapter()
    call = bench.emulator.place_call(callback_url=bench.callback_url, group=True)
    refused = await transfer(bench, submission, call, adapter)
    assert (refused.result.subcode, refused.result.reason) == (8523, FailureReason.UNSUPPORTED)
    assert isinstance(
        await transfer(bench, submission, call, adapter, transferee=USER, participant_id="p1"), Submitted
    )


class TestConsultative:
    async def test_a_consultative_transfer_ends_both_calls(self, bench, submission):
        call, consult = (bench.emulator.place_call(callback_url=bench.callback_url) for _ in range(2))
        assert isinstance(await transfer(bench, submission, call, replaces=consult), Submitted)
        ended = [fact.event.call_id for fact in bench.facts() if "call_ended" in fact.signals]
        assert ended == [call, consult]
        assert bench.signals()[-2:] == [ENDED, ["call_ended"]]

    @pytest.mark.parametrize("gone", ["never was", "hung up", "itself"])
    async def test_a_consultative_transfer_fails_if_the_consult_call_has_ended(self, bench, submission, gone):
        call, consult = (bench.emulator.place_call(callback_url=bench.callback_url) for _ in range(2))
        if gone == "hung up":
            bench.emulator.hang_up(consult)
            await bench.emulator.settle()
        replaces = {"never was": "no-such-call", "hung up": consult, "itself": call}[gone]
        await transfer(bench, submission, call, replaces=replaces)
        failed = bench.facts()[-1]
        assert failed.signals == ("failed",)
        assert failed.result.reason is FailureReason.CALL_NOT_FOUND


class TestPermissions:
    @pytest.fixture
    def granted(self, bench):
        before = set(bench.emulator.permissions)
        yield bench.emulator.permissions
        bench.emulator.permissions.clear()
        bench.emulator.permissions |= before

    async def test_a_transfer_needs_the_permission_calls_initiate_all(self, bench, submission, granted):
        granted.discard("Calls.Initiate.All")
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        answer = await transfer(bench, submission, call)
        assert (answer.result.code, answer.result.subcode) == (403, 7504)
        assert answer.result.reason is FailureReason.FORBIDDEN
        assert bench.emulator.executions(call) == 0
        granted.add("Calls.Initiate.All")
        assert isinstance(await transfer(bench, submission, call), Submitted)

    @pytest.mark.parametrize(("to", "need"), [(USER, "Calls.AudioVideo"), (None, "Calls.PSTN")])
    async def test_the_path_of_2018_also_accepts_the_permissions_of_2018(
        self, bench, submission, granted, to, need
    ):
        call = bench.emulator.place_call(callback_url=bench.callback_url)
        adapter = bench.adapter(path="app", body="2018")
        more = {"to": to} if to else {}
        granted.clear()
        assert isinstance(await transfer(bench, submission, call, adapter, **more), Rejected)
        granted.add(need)
        assert isinstance(await transfer(bench, submission, call, adapter, **more), Submitted)

    async def test_the_caller_is_encrypted_without_a_calling_permission(self, bench, granted):
        granted.clear()
        bench.emulator.ring(callback_url=bench.callback_url)
        await bench.emulator.settle()
        (offer,) = bench.facts()
        assert offer.event.source.kind == "encrypted"
        assert offer.event.caller_display_name is None


class TestRespondingInTime:
    @pytest_asyncio.fixture(loop_scope="module")
    async def held(self, bench):
        """An emulator with a manual clock, whose notifications the bench receives."""
        clock = ManualClock()
        emulator = GraphEmulator(pace=0, clock=clock)
        async with serve(emulator.app, tls=True) as server:
            yield type(bench)(emulator, server), clock
            await emulator.aclose()

    async def test_an_incoming_call_without_a_response_in_time_ends(self, bench, held):
        there, clock = held
        call = there.emulator.ring(callback_url=bench.callback_url).call_id
        await there.emulator.settle()
        clock.advance(14.9)
        await asyncio.sleep(0)
        assert there.emulator.calls()[0].ringing
        clock.advance(0.2)
        await until(there.emulator, lambda: len(there.emulator.callbacks) == 2)
        ended = bench.facts()[-1]
        assert (ended.event.call_id, ended.signals) == (call, ("call_ended",))
        assert (ended.result.code, ended.result.subcode) == (408, 1106)
        assert ended.result.reason is FailureReason.TIMEOUT

    async def test_a_redirected_call_does_not_end_for_lack_of_a_response(self, bench, held, submission):
        there, clock = held
        call = there.emulator.ring(callback_url=bench.callback_url).call_id
        await there.emulator.settle()
        adapter = there.adapter()
        await adapter.submit(submission(Redirect(call=call, to=[scenario("silent").teams_user])))
        clock.advance(60)
        await there.emulator.settle()
        assert len(there.emulator.callbacks) == 1
        await adapter.aclose()

    async def test_a_call_whose_caller_hung_up_does_not_end_twice(self, bench, held):
        there, clock = held
        there.emulator.hang_up(there.emulator.ring(callback_url=bench.callback_url).call_id)
        clock.advance(60)
        await there.emulator.settle()
        assert bench.signals() == [[], ["call_ended"]]


async def test_calls_lists_incoming_and_established_calls(bench):
    before = len(bench.emulator.calls())
    call = bench.emulator.place_call(callback_url=bench.callback_url, group=True)
    ringing = bench.emulator.ring(callback_url=bench.callback_url).call_id
    placed, rung = bench.emulator.calls()[before:]
    assert (placed.id, placed.provider, placed.state) == (call, "graph", "established")
    assert (placed.group, placed.ringing, placed.executions) == (True, False, 0)
    assert placed.parties[0] == f"28:orgid:{CLIENT_ID}"
    assert len(placed.parties) == 3
    assert (rung.id, rung.state, rung.ringing) == (ringing, "incoming", True)


async def test_an_unknown_call_raises_key_error(bench):
    for ask in (bench.emulator.executions, bench.emulator.hang_up, bench.emulator.press):
        with pytest.raises(KeyError):
            ask("no-such-call")


async def test_requests_are_recorded_without_their_credentials(bench, submission):
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    adapter = bench.adapter()
    token = (await adapter._tokens.get("https://graph.microsoft.com/.default")).value
    await transfer(bench, submission, call, adapter)
    discovery, asked, sent = bench.emulator.requests
    assert discovery.path == f"/{TENANT_ID}/v2.0/.well-known/openid-configuration"
    assert "client_secret=***" in asked.body
    assert (sent.method, sent.status) == ("POST", 202)
    assert sent.headers["authorization"] == "Bearer ***"
    assert sent.body["transferTarget"]["identity"]["phone"]["id"] == "+14255550100"
    everything = str(
        [(each.headers, each.body, each.reply_body) for each in bench.emulator.requests]
        + [each.headers for each in bench.emulator.callbacks]
    )
    assert bench.table["client_secret"] not in everything
    assert token not in everything
    assert "eyJ" not in everything, "no token at all"


async def test_closing_the_emulator_cancels_running_scenarios(bench, submission):
    bench.emulator.pace = 60
    call = bench.emulator.place_call(callback_url=bench.callback_url)
    assert not isinstance(await submit_transfer(bench, submission, call), Rejected)
    bench.emulator.ring(callback_url="https://127.0.0.1:9/nobody")
    await bench.emulator.aclose()
    await bench.emulator.settle()
    assert [GraphAdapter.decode(callback) for callback in bench.callbacks] == []
