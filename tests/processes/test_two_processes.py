"""Two applications and an observer on one store, as processes that know nothing of each other."""

import asyncio

import httpx
import pytest

from transferkit import AsyncClient, Outcome, TransferCompleted, TransferExpired
from transferkit.emulators import emulators
from transferkit.testing import scenario
from transferkit.testing.fault_proxy import Stall, fault_proxy

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")

pytestmark = pytest.mark.heavy

LEASE = 1
SECONDS = 30


@pytest.fixture(params=["graph", "acs"])
def provider(request):
    return request.param


@pytest.fixture
async def emulated():
    async with emulators() as running:
        yield running


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http:
        yield http


@pytest.fixture
def config(emulated, provider, tmp_path):
    return {
        "provider": provider,
        "store": f"sqlite:///{tmp_path}/shared.db",
        "lifecycle": {"grace": 0.2, "inspect_gap": 0.2, "lease": LEASE},
        "providers": {**emulated.tables},
    }


@pytest.fixture
async def observer(config):
    """A client that sends nothing, serves nothing and does no due work: it only asks the store."""
    async with AsyncClient.from_config(config, background=False) as client, asyncio.timeout(SECONDS):
        yield client


async def submit(http, application, provider, call, to):
    body = {"provider": provider, "call": call, "to": to.raw_id, "key": call}
    answer = await http.post(f"{application.url}/submit", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def transfers(proxy):
    return [request for request in proxy.requests if request.method == "POST"]


async def until(condition):
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.01)


async def test_the_outcome_is_known_in_a_process_that_did_not_submit(
    nursery, emulated, config, provider, http, observer
):
    sender = nursery.application(config, deadline=10)
    receiver = nursery.application(config, deadline=10)
    await sender.start()
    await receiver.start()
    await until_served(http, sender, receiver)
    call = emulated.running[provider].place_call(callback_url=f"{receiver.url}/callbacks/{provider}")
    known = await submit(http, sender, provider, call, scenario("answers").number)

    outcome = await observer.outcome(known)

    assert isinstance(outcome, TransferCompleted)
    for application in (sender, receiver):
        answer = await http.get(f"{application.url}/outcome/{known}")
        assert answer.json() == {"kind": "transfer.completed", "id": outcome.id}


@pytest.mark.parametrize("executed", [True, False])
async def test_a_killed_process_s_submission_is_taken_over(
    nursery, emulated, config, provider, http, observer, executed
):
    """ACS: repeated under its Repeatability id. Graph: asked after, never repeated."""
    emulator = emulated.running[provider]
    direct = emulated.tables[provider]
    address = "base_url" if provider == "graph" else "endpoint"
    upstream = (
        direct.get("base_url") or direct["connection_string"].removeprefix("endpoint=").partition(";")[0]
    )
    async with fault_proxy(upstream, ca_file=direct.get("ca_file")) as proxy:
        behind = config | {"providers": {provider: {**direct, address: proxy.url}}}
        first = nursery.application(behind, deadline=8)
        second = nursery.application(behind, deadline=8)
        await first.start()
        await until_served(http, first)
        call = emulator.place_call(callback_url=f"{second.url}/callbacks/{provider}")
        proxy.apply(Stall(forwarded=executed), method="POST")
        target = scenario("silent" if executed else "answers").number
        known = await submit(http, first, provider, call, target)
        await until(lambda: len(transfers(proxy)) == 1 and emulator.executions(call) == executed)

        first.kill()
        await second.start()
        outcome = await observer.outcome(known)

        history = await observer.history(known)
        assert [event for event in history if isinstance(event, Outcome)] == [outcome]
        sent = transfers(proxy)
        if provider == "acs":
            assert len(sent) == 2
            assert {request.headers["repeatability-request-id"] for request in sent} == {known}
            assert len({request.headers["repeatability-first-sent"] for request in sent}) == 1
            assert emulator.executions(call) == 1
            assert isinstance(outcome, TransferExpired if executed else TransferCompleted)
        else:
            assert len(sent) == 1
            assert [request for request in proxy.requests if request.method == "GET"]
            assert isinstance(outcome, TransferExpired)


async def test_due_work_of_a_killed_process_is_done_by_another_process(
    nursery, emulated, config, provider, http, observer
):
    """Cron and serverless: no process stays; whoever comes by runs what is due."""
    application = nursery.application(config, deadline=2)
    await application.start()
    await until_served(http, application)
    call = emulated.running[provider].place_call(callback_url=f"{application.url}/callbacks/{provider}")
    known = await submit(http, application, provider, call, scenario("silent").number)
    application.kill()

    waiting = asyncio.create_task(observer.outcome(known))
    while not waiting.done():
        async with AsyncClient.from_config(config, background=False) as passer_by:
            await passer_by.run_due()
        await asyncio.wait([waiting], timeout=0.1)
    assert isinstance(await waiting, TransferExpired)


async def until_served(http, *applications):
    async with asyncio.timeout(SECONDS):
        for application in applications:
            while True:
                try:
                    await http.get(f"{application.url}/outcome/none")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.01)
