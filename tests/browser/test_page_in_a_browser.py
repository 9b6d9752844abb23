"""The emulators' page in a browser, with clients that use the emulators."""

import asyncio

import httpx
import pytest
import pytest_asyncio

from transferkit import TransferCompleted, TransferFailed
from transferkit.emulators import environment
from transferkit.testing import scenario

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
CUT = """
Array.from(document.querySelectorAll(".diagram .label, .diagram .note, .diagram .head, .diagram time"))
    .filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline")
    .map((one) => one.textContent)
"""
LUMINANCE = """
(selector) => {
    const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = (colour) => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(Number);
        return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    };
    const solid = (one) => {
        const colour = getComputedStyle(one).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" && one.parentElement ? solid(one.parentElement) : colour;
    };
    return Array.from(document.querySelectorAll(selector), (one) => {
        const style = getComputedStyle(one);
        const [high, low] = [luminance(style.color), luminance(solid(one))].sort((a, b) => b - a);
        return [one.textContent.slice(0, 40), (high + 0.05) / (low + 0.05)];
    });
}
"""


@pytest_asyncio.fixture(params=["graph", "acs"], loop_scope="session")
async def env(request, site):
    """A client of one provider, which receives the callbacks of calls that are placed on the page."""
    emulated, _ = site
    if request.param not in emulated.running:
        pytest.skip(f"no emulator of {request.param} is installed")
    async with environment(request.param, emulated) as opened_env:
        emulated.running[request.param].callback_url = opened_env.callback_url
        yield opened_env


async def test_a_transfer_can_be_controlled_and_watched_with_the_keyboard_only(opened, env):
    async with opened() as tab:
        page, name = tab.page, env.provider
        await page.locator("#call-provider").select_option(name)
        await tab.tab_to("place")
        await page.keyboard.press("Enter")
        await page.get_by_text("Placed the call").wait_for()
        (call,) = (view.id for view in env.emulator.calls())

        transfer = await env.client.transfer(call, to=scenario("manual").number)
        await page.locator("#calls").get_by_text("target rings", exact=True).wait_for()
        await tab.tab_to(f"answer-call-{call}")
        await page.keyboard.press("Enter")
        assert isinstance(await transfer.outcome(timeout=30), TransferCompleted)

        await page.locator(".diagram .label").get_by_text("transfer.completed").wait_for()
        assert await page.locator(".diagram").count() == 1
        await page.locator(".log > summary", has_text=call).click()
        await page.locator(".log").get_by_text("transfer.completed").first.wait_for()


async def test_faults_and_a_declining_target_can_be_controlled(opened, env):
    async with opened() as tab:
        page = tab.page
        await page.get_by_label("Fault", exact=True).fill("status=503,match=transfer")
        await page.keyboard.press("Enter")
        await page.get_by_text("Switched on: status=503,match=transfer.").wait_for()
        await page.get_by_role("button", name="Switch all faults off").click()
        await page.get_by_text("No faults are active.").wait_for()

        transfer = await env.client.transfer(env.place_call(), to=scenario("manual").number)
        await page.locator(".story").get_by_role("button", name="Decline").click()
        assert isinstance(await transfer.outcome(timeout=30), TransferFailed)
        await page.locator(".diagram .label").get_by_text("transfer.failed").wait_for()


async def test_an_incoming_call_can_be_placed(opened, env):
    async with opened() as tab, env.client.events() as stream:
        await tab.page.locator("#call-provider").select_option(env.provider)
        await tab.page.get_by_role("button", name="Ring").click()
        async with asyncio.timeout(30):
            async for event in stream:
                if event.kind == "call.incoming":
                    break
        await tab.page.locator(".log > summary", has_text=event.call_id).click()
        await tab.page.locator(".log").get_by_text("call.incoming").wait_for()


async def test_what_is_open_and_the_focus_are_kept_while_the_page_changes(opened, env):
    async with opened() as tab:
        page, call = tab.page, env.place_call()
        await env.client.transfer(call, to=scenario("busy").number)
        await page.locator(".diagram .label").get_by_text("transfer.failed").wait_for()
        await page.locator(".story > summary").click()  # closes the story, which is open at first
        await page.locator(".log > summary", has_text=call).click()
        await page.locator(".log li summary").first.focus()
        await page.keyboard.press("Enter")
        entry = await page.evaluate("document.activeElement.parentElement.id")
        await env.client.transfer(env.place_call(), to=scenario("answers").number)
        await page.locator(".diagram .label").get_by_text("transfer.completed").wait_for()
        assert await page.evaluate("document.activeElement.parentElement.id") == entry
        assert await page.locator(f"#{entry}").get_attribute("open") is not None
        states = await page.evaluate("Array.from(document.querySelectorAll('.story'), (one) => one.open)")
        assert states == [True, False]


async def test_only_the_newest_stories_are_open_until_others_are_opened(opened, env):
    for _ in range(4):
        await (await env.client.transfer(env.place_call(), to=scenario("busy").number)).outcome(timeout=30)
    async with opened() as tab:
        stories = tab.page.locator(".story")
        assert [await stories.nth(index).locator(".diagram").is_visible() for index in range(4)] == [
            True,
            True,
            True,
            False,
        ]
        await stories.nth(3).locator("summary").click()
        assert await stories.nth(3).locator(".diagram").is_visible()


async def test_markup_in_requests_is_shown_as_text(opened, site):
    emulated, _ = site
    client = httpx.AsyncClient(trust_env=False, verify=False)  # noqa: S501 - loopback
    async with opened() as tab, client as http:
        for server in emulated.servers.values():
            await http.post(
                f"{server.url}/{HOSTILE}", json={HOSTILE: HOSTILE}, headers={"X-Hostile": HOSTILE}
            )
        groups = tab.page.locator(".log > summary")
        await groups.nth(len(emulated.servers) - 1).wait_for()  # otherwise a later group becomes the first
        await groups.first.click()
        await tab.page.locator(".log[open] li summary").first.click()
        await tab.page.locator("pre").get_by_text("onerror").first.wait_for()
        assert await tab.page.locator("img, main script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_has_enough_contrast(opened, env, scheme):
    await env.client.transfer(env.place_call(), to=scenario("manual").number)
    failing = await env.client.transfer(env.place_call(), to=scenario("busy").number)
    await failing.outcome(timeout=30)
    async with opened(color_scheme=scheme) as tab:
        await tab.page.locator(".log > summary").last.click()
        await tab.page.locator(".log[open] li summary").first.click()
        await tab.page.locator(".targets summary").click()
        selector = "h1, h2, h3, h4, p, a, code, pre, dt, dd, time, button, .badge, .provider, .dim, .title"
        selector += ", .label, .note, .head"
        measured = await tab.page.evaluate(LUMINANCE, selector)
        assert len(measured) > 20
        assert [(text, round(ratio, 2)) for text, ratio in measured if ratio < 4.5] == []


@pytest.mark.parametrize("width", [390, 1280, 1920])
async def test_the_page_scrolls_only_vertically_and_cuts_no_label(opened, env, width):
    for name in ("answers", "busy", "caller_leaves"):
        transfer = await env.client.transfer(env.place_call(), to=scenario(name).number)
        await transfer.outcome(timeout=30)
    async with opened(width=width) as tab:
        await tab.page.locator(".diagram").nth(2).wait_for()
        content, window = await tab.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert content <= window
        assert await tab.page.evaluate(CUT) == []


async def test_lanes_arrows_and_times_are_where_the_story_says(opened, env):
    transfer = await env.client.transfer(env.place_call(), to=scenario("answers").number)
    await transfer.outcome(timeout=30)
    async with opened(width=390) as tab:
        await tab.page.locator(".arrow.good").wait_for()
        lanes = await tab.page.evaluate(
            "Array.from(document.querySelectorAll('.lane'), (one) => one.getBoundingClientRect().left)"
        )
        arrows = await tab.page.evaluate(
            """Array.from(document.querySelectorAll(".arrow"), (one) => {
                const { left, right, top } = one.getBoundingClientRect();
                return [one.querySelector(".label").textContent, left, right, top];
            })"""
        )
        assert lanes == sorted(lanes)
        assert len(lanes) == 3
        spans = {label: (left, right) for label, left, right, _ in arrows}
        assert spans["POST transfer"] == pytest.approx(lanes[:2], abs=1.5)
        assert spans["rings"] == pytest.approx(lanes[1:], abs=1.5)
        times = await tab.page.locator(".diagram time").all_text_contents()
        seconds = [float(time.removesuffix(" s")) for time in times]
        assert seconds == sorted(seconds)
        assert seconds[0] == 0


async def test_every_control_has_an_accessible_name(opened, env):
    env.place_call()
    async with opened() as tab:
        await tab.page.get_by_role("button", name="Hang up").wait_for()
        nameless = await tab.page.evaluate(
            """() => Array.from(document.querySelectorAll("button, input:not([type=hidden]), select"))
                .filter((one) => !one.textContent.trim() && !one.labels?.length)
                .map((one) => one.outerHTML)"""
        )
        assert nameless == []
