"""The emulators' page in a real browser, with real clients behind it."""

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
async def set_up(request, site):
    """An application on one provider, whose calls' callbacks reach it."""
    emulated, _ = site
    if request.param not in emulated.running:
        pytest.skip(f"no emulator of {request.param} is installed")
    async with environment(request.param, emulated) as made:
        emulated.running[request.param].callback_url = made.callback_url
        yield made


async def test_a_transfer_is_directed_and_watched_by_keyboard_alone(opened, set_up):
    async with opened() as tab:
        page, name = tab.page, set_up.provider
        await page.locator("#call-provider").select_option(name)
        await tab.tab_to("place")
        await page.keyboard.press("Enter")
        await page.get_by_text("Placed the call").wait_for()
        (call,) = (view.id for view in set_up.emulator.calls())

        transfer = await set_up.client.transfer(call, to=scenario("manual").number)
        await page.get_by_text("target rings", exact=True).wait_for()
        await tab.tab_to(f"answer-{call}")
        await page.keyboard.press("Enter")
        assert isinstance(await transfer.outcome(timeout=30), TransferCompleted)

        await page.locator("svg.diagram .label").get_by_text("transfer.completed").wait_for()
        assert await page.locator("svg.diagram").count() == 1
        assert await page.locator("svg desc").first.text_content() != ""
        await page.locator(".wire").get_by_text("transfer.completed").first.wait_for()


async def test_a_declined_target_and_a_broken_wire(opened, set_up):
    async with opened() as tab:
        page = tab.page
        await page.get_by_label("Fault", exact=True).fill("status=503,match=transfer")
        await page.keyboard.press("Enter")
        await page.get_by_text("Switched on: status=503,match=transfer.").wait_for()
        await page.get_by_role("button", name="Switch all faults off").click()
        await page.get_by_text("No faults are active.").wait_for()

        transfer = await set_up.client.transfer(set_up.place_call(), to=scenario("manual").number)
        await page.get_by_role("button", name="Decline").click()
        assert isinstance(await transfer.outcome(timeout=30), TransferFailed)
        await page.locator("svg.diagram .label").get_by_text("transfer.failed").wait_for()


async def test_an_incoming_call_rings(opened, set_up):
    async with opened() as tab, set_up.client.events() as stream:
        await tab.page.locator("#call-provider").select_option(set_up.provider)
        await tab.page.get_by_role("button", name="Ring").click()
        async with asyncio.timeout(30):
            async for event in stream:
                if event.kind == "call.incoming":
                    break
        await tab.page.locator(".wire").get_by_text("call.incoming").wait_for()


async def test_what_is_open_and_focused_stays_so_while_the_page_changes(opened, set_up):
    async with opened() as tab:
        page = tab.page
        await set_up.client.transfer(set_up.place_call(), to=scenario("busy").number)
        await page.locator("svg.diagram .label").get_by_text("transfer.failed").wait_for()
        summary = page.locator(".wire summary").last
        await summary.focus()
        await page.keyboard.press("Enter")
        entry = await page.evaluate("document.activeElement.parentElement.id")
        before = await page.locator(".wire > li").count()
        await set_up.client.transfer(set_up.place_call(), to=scenario("answers").number)
        await page.locator("svg.diagram .label").get_by_text("transfer.completed").wait_for()
        await page.locator(".wire > li").nth(before).wait_for()
        assert await page.evaluate("document.activeElement.parentElement.id") == entry
        assert await page.locator(f"#{entry}").get_attribute("open") is not None


async def test_hostile_words_stay_words(opened, site):
    emulated, _ = site
    everyone = httpx.AsyncClient(trust_env=False, verify=False)  # noqa: S501 - loopback
    async with opened() as tab, everyone as http:
        for server in emulated.servers.values():
            await http.post(
                f"{server.url}/{HOSTILE}", json={HOSTILE: HOSTILE}, headers={"X-Hostile": HOSTILE}
            )
        entries = tab.page.locator(".wire summary")
        await entries.nth(len(emulated.servers) - 1).wait_for()  # else a later one takes the first place
        await entries.first.click()
        await tab.page.locator("pre").get_by_text("onerror").first.wait_for()
        assert await tab.page.locator("img, main script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_words_can_be_read(opened, set_up, scheme):
    await set_up.client.transfer(set_up.place_call(), to=scenario("manual").number)
    failing = await set_up.client.transfer(set_up.place_call(), to=scenario("busy").number)
    await failing.outcome(timeout=30)
    async with opened(color_scheme=scheme) as tab:
        await tab.page.locator(".wire summary").first.click()
        selector = "h1, h2, h3, h4, td, th, code, .badge, .provider, .dim, button, dt, dd, pre, p, time"
        measured = await tab.page.evaluate(LUMINANCE, selector)
        assert len(measured) > 20
        assert [(words, round(ratio, 2)) for words, ratio in measured if ratio < 4.5] == []


async def test_a_narrow_screen_scrolls_down_only(opened, set_up):
    transfer = await set_up.client.transfer(set_up.place_call(), to=scenario("answers").number)
    await transfer.outcome(timeout=30)
    async with opened(width=390) as tab:
        wide = await tab.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]


async def test_every_control_has_a_name(opened, set_up):
    set_up.place_call()
    async with opened() as tab:
        await tab.page.get_by_role("button", name="Hang up").wait_for()
        nameless = await tab.page.evaluate(
            """() => Array.from(document.querySelectorAll("button, input:not([type=hidden]), select"))
                .filter((one) => !one.textContent.trim() && !one.labels?.length)
                .map((one) => one.outerHTML)"""
        )
        assert nameless == []
