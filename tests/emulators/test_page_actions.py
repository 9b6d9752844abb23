"""The buttons and the live updates of the emulators' page."""

import asyncio

import httpx
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from transferkit.emulators.operations import ControlError
from transferkit.emulators.page import Page
from transferkit.emulators.page.actions import ACTIONS, perform
from transferkit.testing import serve


async def test_the_buttons_control_the_emulator(emulator):
    emulators = {"minimal": emulator}
    form = {"provider": "minimal", "callback_url": "http://127.0.0.1:1/in"}
    assert "is ringing" in perform(ACTIONS["ring"], emulators, form)
    assert emulator.callback_urls == {"call-0": "http://127.0.0.1:1/in/incoming"}
    call = {"provider": "minimal", "call_id": "call-0"}
    for action in ("answer", "decline"):
        assert perform(ACTIONS[action], emulators, call) == "The target is not ringing."
    assert perform(ACTIONS["hang_up"], emulators, call) == "The caller hung up."
    assert emulator.hung_up == ["call-0"]
    with pytest.raises(ControlError, match="no call call-1"):
        perform(ACTIONS["hang_up"], emulators, {"provider": "minimal", "call_id": "call-1"})


async def test_a_button_without_a_provider_concerns_every_emulator(emulator):
    other = type(emulator)()
    emulators = {"minimal": emulator, "other": other}
    perform(ACTIONS["add_fault"], emulators, {"provider": "", "fault": "lose"})
    assert [len(each.faults.active) for each in (emulator, other)] == [1, 1]
    perform(ACTIONS["clear_faults"], emulators, {})
    assert [len(each.faults.active) for each in (emulator, other)] == [0, 0]


async def test_an_action_returns_its_message_to_the_script_and_redirects_without_a_script(emulator):
    page = Page({"minimal": emulator}, addresses={"minimal": "http://127.0.0.1:1"})
    async with serve(page.app) as served, httpx.AsyncClient(trust_env=False) as http:
        form = {"token": page._token, "provider": "minimal", "callback_url": "http://127.0.0.1:1/in"}
        url, headers = f"{served.url}/do/place", {"Origin": served.url}
        without_script = await http.post(url, data=form, headers=headers)
        with_script = await http.post(url, data=form, headers={**headers, "X-Requested-By": "page"})
        page.close()
    assert (without_script.status_code, without_script.headers["location"]) == (303, "/")
    assert (with_script.status_code, with_script.text) == (200, "Placed the call call-1.")


async def test_closing_the_page_ends_its_live_updates(emulator):
    page = Page({"minimal": emulator}, addresses={"minimal": "http://127.0.0.1:1"})
    updates, updated = [], asyncio.Event()

    async def listen():
        async for update in page._changes():
            updates.append(update)
            updated.set()

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(30):
        await updated.wait()
        page.close()
        await listening
    assert updates
