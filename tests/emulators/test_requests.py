"""Requests to an emulator: how they reach the provider, and how they and the callbacks are recorded."""

import httpx
import pytest
from support.emulated_provider import asgi_request, open_bench

from transferkit.emulators import EmulatedRequest, Fault, FaultKind


async def test_a_request_reaches_the_provider_as_it_was_sent(bench):
    call = bench.call()
    response = await bench.http.get(f"{bench.url}/calls/{call}/a%2Fb?x=1&x=%C3%A9&y=")
    assert response.json()["target"] == f"/calls/{call}/a%2Fb?x=1&x=%C3%A9&y="
    (record,) = bench.emulator.requests
    assert (record.method, record.path, record.status) == ("GET", f"/calls/{call}/a/b", 200)
    assert record.query == {"x": "é", "y": ""}
    assert record.reply_body == {"id": call, "target": response.json()["target"]}


async def test_records_of_requests_and_callbacks_contain_no_credentials(bench, planted):
    headers = {"Authorization": f"Bearer {planted.token}"}
    form = {"client_secret": planted.client_secret, "grant_type": "client_credentials"}
    await bench.http.post(f"{bench.url}/calls/none", data=form, headers=headers)
    (request,) = bench.emulator.requests
    assert request.headers["authorization"] == "Bearer ***"
    assert request.body == "client_secret=***&grant_type=client_credentials"
    await bench.emulator.post(bench.callback_url, {"word": "x"}, headers=headers)
    (callback,) = bench.emulator.callbacks
    assert callback.headers["authorization"] == "Bearer ***"
    assert planted.shown_in(repr(bench.emulator.requests) + str(vars(bench.emulator))) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b"\xff"], ids=["empty", "cut", "deep", "not UTF-8"]
)
def test_reading_a_body_that_is_not_json_raises_value_error(body):
    with pytest.raises(ValueError, match=r"."):
        EmulatedRequest(method="POST", path="/", raw_target="/", base_url="", body=body).json()


async def test_an_emulator_can_be_served_over_https():
    async with open_bench(tls=True) as bench:
        assert (await bench.transfer(bench.call())).status_code == 202
        bench.emulator.faults.add(Fault(kind=FaultKind.RESET_BEFORE))
        with pytest.raises(httpx.TransportError):
            await bench.transfer(bench.call())


async def test_a_callback_that_nobody_receives_is_recorded_without_a_status(bench):
    for url in ("http://127.0.0.1:9/", "not an address"):
        assert await bench.emulator.post(url, {}) is None
    assert [callback.status for callback in bench.emulator.callbacks] == [None, None]


# --- ASGI -------------------------------------------------------------------------------------------


async def test_an_emulator_supports_only_http(emulator):
    with pytest.raises(RuntimeError, match="only HTTP, not websocket"):
        await emulator.app({"type": "websocket"}, None, None)


@pytest.mark.parametrize("path", ["/x", "/_emulator/calls"])
async def test_a_client_that_disconnects_before_its_request_is_complete_gets_no_response(emulator, path):
    part = {"type": "http.request", "body": b"half", "more_body": True}
    assert await asgi_request(emulator.app, part, {"type": "http.disconnect"}, path=path) == []
    assert emulator.requests == ()


async def test_a_body_is_not_read_further_than_a_mebibyte(emulator):
    part = {"type": "http.request", "body": b"x" * 700_000, "more_body": True}
    await asgi_request(emulator.app, part, part)
    assert len(emulator.requests[0].body) == 1_400_000
