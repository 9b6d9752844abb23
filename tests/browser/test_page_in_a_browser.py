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
        const ink = one instanceof SVGElement ? style.fill : style.color;
        const [high, low] = [luminance(ink), luminance(solid(one))].sort((a, b) => b - a);
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
        await page.get_by_text("target rings", exact=True).wait_for()
        await tab.tab_to(f"answer-{call}")
        await page.keyboard.press("Enter")
        assert isinstance(await transfer.outcome(timeout=30), TransferCompleted)

        await page.locator("svg.diagram .label").get_by_text("transfer.completed").wait_for()
        assert await page.locator("svg.diagram").count() == 1
        assert await page.locator("svg desc").first.text_content() != ""
        await page.locator(".wire").get_by_text("transfer.completed").first.wait_for()


async def test_faults_and_a_declining_target_can_be_controlled(opened, env):
    async with opened() as tab:
        page = tab.page
        await page.get_by_label("Fault", exact=True).fill("status=503,match=transfer")
        await page.keyboard.press("Enter")
        await page.get_by_text("Switched on: status=503,match=transfer.").wait_for()
        await page.get_by_role("button", name="Switch all faults off").click()
        await page.get_by_text("No faults are active.").wait_for()

        transfer = await env.client.transfer(env.place_call(), to=scenario("manual").number)
        await page.get_by_role("button", name="Decline").click()
        assert isinstance(await transfer.outcome(timeout=30), TransferFailed)
        await page.locator("svg.diagram .label").get_by_text("transfer.failed").wait_for()


async def test_an_incoming_call_can_be_placed(opened, env):
    async with opened() as tab, env.client.events() as stream:
        await tab.page.locator("#call-provider").select_option(env.provider)
        await tab.page.get_by_role("button", name="Ring").click()
        async with asyncio.timeout(30):
            async for event in stream:
                if event.kind == "call.incoming":
                    break
        await tab.page.locator(".wire").get_by_text("call.incoming").wait_for()


async def test_open_details_and_the_focus_are_kept_while_the_page_changes(opened, env):
    async with opened() as tab:
        page = tab.page
        await env.client.transfer(env.place_call(), to=scenario("busy").number)
        await page.locator("svg.diagram .label").get_by_text("transfer.failed").wait_for()
        summary = page.locator(".wire summary").last
        await summary.focus()
        await page.keyboard.press("Enter")
        entry = await page.evaluate("document.activeElement.parentElement.id")
        before = await page.locator(".wire > li").count()
        await env.client.transfer(env.place_call(), to=scenario("answers").number)
        await page.locator("svg.diagram .label").get_by_text("transfer.completed").wait_for()
        await page.locator(".wire > li").nth(before).wait_for()
        assert await page.evaluate("document.activeElement.parentElement.id") == entry
        assert await page.locator(f"#{entry}").get_attribute("open") is not None


async def test_markup_in_requests_is_shown_as_text(opened, site):
    emulated, _ = site
    client = httpx.AsyncClient(trust_env=False, verify=False)  # noqa: S501 - loopback
    async with opened() as tab, client as http:
        for server in emulated.servers.values():
            await http.post(
                f"{server.url}/{HOSTILE}", json={HOSTILE: HOSTILE}, headers={"X-Hostile": HOSTILE}
            )
        entries = tab.page.locator(".wire summary")
        await entries.nth(len(emulated.servers) - 1).wait_for()  # otherwise a later entry becomes the first
        await entries.first.click()
        await tab.page.locator("pre").get_by_text("onerror").first.wait_for()
        assert await tab.page.locator("img, main script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_has_enough_contrast(opened, env, scheme):
    await env.client.transfer(env.place_call(), to=scenario("manual").number)
    failing = await env.client.transfer(env.place_call(), to=scenario("busy").number)
    await failing.outcome(timeout=30)
    async with opened(color_scheme=scheme) as tab:
        await tab.page.locator(".wire summary").first.click()
        selector = "h1, h2, h3, h4, td, th, code, .badge, .provider, .dim, button, dt, dd, pre, p, time"
        measured = await tab.page.evaluate(LUMINANCE, selector)
        assert len(measured) > 20
        assert [(text, round(ratio, 2)) for text, ratio in measured if ratio < 4.5] == []


async def test_a_narrow_screen_scrolls_only_vertically(opened, env):
    transfer = await env.client.transfer(env.place_call(), to=scenario("answers").number)
    await transfer.outcome(timeout=30)
    async with opened(width=390) as tab:
        content, window = await tab.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert content <= window


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
