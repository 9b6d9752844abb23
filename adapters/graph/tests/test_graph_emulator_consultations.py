"""Holding and joining: the requests of a consultation, and each way in which it fails."""

import pytest
import pytest_asyncio
from transferkit_graph.emulator.calls import CALLER

from transferkit.identifiers import TeamsUser
from transferkit.testing.scenarios import scenario

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLS = "/v1.0/communications/calls"
SERVICE_HOSTED = {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"}


@pytest_asyncio.fixture(loop_scope="module")
async def ask(bench, browser):
    """Sends a request with a valid token, and waits until the emulator has done all that follows."""
    token = {"Authorization": f"Bearer {await bench.token()}"}

    async def send(method, path, **more):
        answer = await browser.request(method, f"{CALLS}{path}", headers=token, **more)
        await bench.emulator.settle()
        return answer

    return send


@pytest.fixture
def place(bench, ask):
    """Places a call to the target of a scenario; returns its id."""

    async def place(name, **more):
        body = {
            "callbackUri": bench.callback_url,
            "targets": [{"identity": {"user": {"id": scenario(name).object_id}}}],
            "requestedModalities": ["audio"],
            "mediaConfig": SERVICE_HOSTED,
            **more,
        }
        return (await ask("POST", "", json=body)).json()["id"]

    return place


def incoming(bench, **more):
    return bench.emulator.place_call(callback_url=bench.callback_url, **more)


async def member_of(ask, call, user=CALLER.id):
    people = (await ask("GET", f"/{call}/participants")).json()["value"]
    return next(one["id"] for one in people if (one["info"]["identity"].get("user") or {}).get("id") == user)


def notified_states(bench, call):
    """The state or status of each notification about the call or one of its operations."""
    values = [callback.body["value"][0] for callback in bench.emulator.callbacks]
    data = [each["resourceData"] for each in values if call in each["resourceUrl"]]
    return [each.get("state") or each.get("status") for each in data if isinstance(each, dict)]


def state_of(bench, call):
    return next(view.state for view in bench.emulator.calls() if view.id == call)


class TestHold:
    async def test_a_participant_of_a_group_call_is_held_and_resumed(self, bench, ask):
        call = incoming(bench, group=True)
        member = await member_of(ask, call)
        for action in ("startHoldMusic", "stopHoldMusic"):
            reply = await ask(
                "POST", f"/{call}/participants/{member}/{action}", json={"clientContext": "case 42"}
            )
            operation = reply.json()
            kind = f"#microsoft.graph.{action}Operation"
            assert (reply.status_code, operation["@odata.type"]) == (202, kind)
            assert (operation["status"], operation["clientContext"]) == ("running", "case 42")
            assert reply.headers["location"].endswith(f"/calls/{call}/operations/{operation['id']}")
            (element,) = bench.emulator.callbacks[-1].body["value"]
            assert (element["changeType"], element["resourceUrl"]) == (
                "deleted",
                f"/communications/calls/{call}/operations/{operation['id']}",
            )
            data = element["resourceData"]
            assert (data["@odata.type"], data["status"], data["clientContext"]) == (
                kind,
                "completed",
                "case 42",
            )

    async def test_a_hold_that_fails_is_accepted_and_then_reported(self, bench, ask):
        user = TeamsUser(scenario("hold_fails").object_id)
        call = incoming(bench, group=True, source=user)
        member = await member_of(ask, call, user.id)
        path = f"/{call}/participants/{member}/startHoldMusic"
        assert (await ask("POST", path, json={"clientContext": "case 42"})).status_code == 202
        data = bench.emulator.callbacks[-1].body["value"][0]["resourceData"]
        assert (data["status"], data["resultInfo"]["code"]) == ("failed", 500)

    async def test_only_one_participant_can_be_on_hold(self, bench, ask):
        call = incoming(bench, group=True)
        people = (await ask("GET", f"/{call}/participants")).json()["value"][1:]
        replies = [
            await ask("POST", f"/{call}/participants/{one['id']}/startHoldMusic", json={}) for one in people
        ]
        assert [reply.status_code for reply in replies] == [202, 409]

    @pytest.mark.parametrize("path", ["/participants", "/participants/p1", "/participants/p1/startHoldMusic"])
    async def test_participants_of_a_call_with_one_person_are_neither_listed_nor_held(self, bench, ask, path):
        method = "POST" if path.endswith("Music") else "GET"
        reply = await ask(method, f"/{incoming(bench)}{path}", json={} if method == "POST" else None)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "8520")

    async def test_a_participant_can_be_read_and_an_unknown_one_is_not_found(self, bench, ask):
        call = incoming(bench, group=True)
        member = await member_of(ask, call)
        shown = (await ask("GET", f"/{call}/participants/{member}")).json()
        assert (shown["id"], shown["info"]["identity"]["user"]["id"]) == (member, CALLER.id)
        assert (await ask("GET", f"/{call}/participants/unknown")).status_code == 404
        assert (await ask("POST", f"/{call}/participants/{member}/dance", json={})).status_code == 404

    async def test_an_invalid_hold_is_rejected(self, bench, ask):
        call = incoming(bench, group=True)
        path = f"/{call}/participants/{await member_of(ask, call)}/startHoldMusic"
        assert (await ask("POST", path, json={"clientContext": "x" * 257})).status_code == 400


class TestJoin:
    async def join(self, ask, call, agent, name):
        identity = {"user": {"id": scenario(name).object_id}}
        body = {"transferTarget": {"identity": identity, "replacesCallId": agent}}
        assert (await ask("POST", f"/{call}/transfer", json=body)).status_code == 202

    async def test_a_join_that_fails_leaves_both_calls_established(self, bench, ask, place):
        call, agent = incoming(bench), await place("join_fails")
        await self.join(ask, call, agent, "join_fails")
        assert notified_states(bench, call) == ["transferring", "established"]
        info = bench.emulator.callbacks[-1].body["value"][0]["resourceData"]["resultInfo"]
        assert (info["code"], info["subcode"]) == (500, 7700)
        assert (state_of(bench, call), state_of(bench, agent)) == ("established", "established")

    async def test_a_silent_join_is_accepted_and_has_no_effect_on_the_agents_call(self, bench, ask, place):
        call, agent = incoming(bench), await place("join_silent")
        await self.join(ask, call, agent, "join_silent")
        assert (notified_states(bench, call), state_of(bench, agent)) == ([], "established")

    async def test_a_blind_transfer_to_the_target_of_a_failing_join_completes(self, bench, ask):
        call = incoming(bench)
        body = {"transferTarget": {"identity": {"user": {"id": scenario("join_fails").object_id}}}}
        await ask("POST", f"/{call}/transfer", json=body)
        assert notified_states(bench, call)[-1] == "terminated"


class TestWhatGoesWrong:
    async def test_the_caller_on_hold_can_hang_up_while_the_agent_rings_and_the_agent_rings_on(
        self, bench, ask, place
    ):
        held = incoming(bench, group=True)
        await ask("POST", f"/{held}/participants/{await member_of(ask, held)}/startHoldMusic", json={})
        bystander = incoming(bench)
        agent = await place("caller_leaves")
        assert notified_states(bench, held) == ["completed", "terminated"]
        assert (notified_states(bench, bystander), notified_states(bench, agent)) == ([], ["establishing"])
        assert bench.emulator.ringing_targets == {agent}
        assert (await ask("DELETE", f"/{agent}")).status_code == 204
        assert not bench.emulator.ringing_targets
        assert notified_states(bench, agent) == ["establishing", "terminating", "terminated"]

    async def test_the_agent_can_hang_up_after_answering(self, bench, place):
        call, agent = incoming(bench), await place("hangs_up")
        assert notified_states(bench, agent) == ["establishing", "established", "terminated"]
        assert state_of(bench, call) == "established"

    async def test_an_agent_who_does_not_answer_within_the_ringing_timeout_ends_the_call(self, bench, place):
        agent = await place("manual", ringingTimeoutInSeconds=1)
        while notified_states(bench, agent) == ["establishing"]:
            await bench.emulator.journal.changed()
        assert notified_states(bench, agent) == ["establishing", "terminated"]
        info = bench.emulator.callbacks[-1].body["value"][0]["resourceData"]["resultInfo"]
        assert (info["code"], info["subcode"]) == (480, 560480)
