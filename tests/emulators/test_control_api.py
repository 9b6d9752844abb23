"""The control API of an emulator."""

import pytest
from support.emulated_provider import asgi_request

from transferkit.testing import scenario


async def test_calls_can_be_placed_watched_and_controlled(bench):
    placed = await bench.control("POST", "calls", {"callback_url": bench.callback_url})
    call = placed.json()["id"]
    await bench.transfer(call, "manual")
    await bench.emulator.settle()
    (view,) = (await bench.control("GET", "calls")).json()
    assert (view["id"], view["target_rings"], view["executions"]) == (call, True, 1)
    assert (await bench.control("POST", f"calls/{call}/decline")).json() == {"rang": True}
    assert (await bench.control("POST", f"calls/{call}/answer")).json() == {"rang": False}
    await bench.emulator.settle()
    assert (await bench.control("POST", f"calls/{call}/hang_up")).status_code == 204
    await bench.emulator.settle()
    assert bench.words == ["ends", "declined", "ends", "caller_leaves"]


async def test_requests_and_callbacks_can_be_read_and_deleted(bench):
    call = bench.call()
    await bench.transfer(call)
    await bench.emulator.settle()
    (request,) = (await bench.control("GET", "requests")).json()
    assert (request["path"], request["status"]) == (f"/calls/{call}/transfer", 202)
    callbacks = (await bench.control("GET", "callbacks")).json()
    assert [callback["body"]["word"] for callback in callbacks] == bench.words
    assert (await bench.control("POST", "reset")).status_code == 204
    assert (await bench.control("GET", "requests")).json() == []


async def test_a_ringing_can_be_ended_as_in_a_scenario(bench):
    call = bench.call()
    await bench.transfer(call, "manual")
    await bench.emulator.settle()
    ended = await bench.control("POST", f"calls/{call}/end_ringing", {"scenario": "no_answer"})
    assert ended.json() == {"rang": True}
    await bench.emulator.settle()
    assert bench.words[-1] == "no_answer"
    rejected = await bench.control("POST", f"calls/{call}/end_ringing", {"scenario": "explodes"})
    assert rejected.status_code == 400
    assert "declined" in rejected.json()["error"]


async def test_an_incoming_call_uses_the_callback_address_of_the_emulator_by_default(bench):
    assert (await bench.control("POST", "ring")).status_code == 400
    bench.emulator.callback_url = bench.callback_url
    ringing = (await bench.control("POST", "ring")).json()
    await bench.emulator.settle()
    assert ringing == {"call_id": "call-0", "incoming_context": "context"}
    assert bench.words == ["incoming"]
    assert bench.emulator.callbacks[0].url == f"{bench.callback_url}/incoming"


async def test_faults_can_be_switched_on_and_off(bench):
    added = await bench.control("POST", "faults", {"fault": "status=500,match=transfer"})
    assert added.json() == {"active": ["status=500,match=transfer"], "chaos_seed": None}
    assert (await bench.transfer(bench.call())).status_code == 500
    assert (await bench.control("POST", "chaos", {"seed": 7, "rate": 1})).json()["chaos_seed"] == 7
    assert (await bench.control("DELETE", "faults")).status_code == 204
    assert (await bench.transfer(bench.call())).status_code == 202
    assert (await bench.control("POST", "faults", {"fault": "explode"})).status_code == 400
    assert (await bench.control("POST", "chaos", {"seed": "x"})).status_code == 400


async def test_the_scenarios_can_be_listed(bench):
    numbers = {line["name"]: line["number"] for line in (await bench.control("GET", "scenarios")).json()}
    assert numbers["busy"] == scenario("busy").number.number


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "nothing", 404), ("PUT", "calls", 404), ("POST", "calls/none/answer", 404)],
)
async def test_an_unknown_path_or_call_is_not_found(bench, method, path, status):
    response = await bench.control(method, path)
    assert response.status_code == status
    assert response.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://example.org"}, {"Origin": "null"}, {"Host": "rebound.example.org"}],
)
async def test_a_web_page_of_another_site_is_rejected(bench, headers):
    assert (await bench.control("POST", "reset", None, **headers)).status_code == 403


@pytest.mark.parametrize("client", [None, ("192.0.2.1", 1)])
async def test_a_client_on_another_machine_is_rejected(emulator, client):
    (start, _) = await asgi_request(emulator.app, path="/_emulator/calls", client=client)
    assert start["status"] == 403


async def test_a_body_that_is_not_a_json_object_is_rejected(bench, emulator):
    form = await bench.http.post(f"{bench.url}/_emulator/calls", data={"callback_url": bench.callback_url})
    assert form.status_code == 415
    assert (await bench.control("POST", "calls", ["a list"])).status_code == 400
    (start, _) = await asgi_request(
        emulator.app,
        {"type": "http.request", "body": b"{"},
        path="/_emulator/calls",
        headers=[(b"content-type", b"application/json")],
    )
    assert start["status"] == 400


async def test_requests_to_the_control_api_are_not_recorded(bench):
    await bench.control("GET", "calls")
    assert bench.emulator.requests == ()
