"""The emulators' web page as any HTTP client sees it; `tests/browser` tests it in a browser."""

import asyncio
import json
import re
from html.parser import HTMLParser

import httpx
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from hypothesis import given, settings
from hypothesis import strategies as st

from transferkit.emulators import CallView, Emulator, Fault, Reply, RingingCall
from transferkit.emulators.page import Page
from transferkit.emulators.page.html import element, text
from transferkit.testing import scenario, serve

pytestmark = pytest.mark.heavy

HOSTILE = "<script>alert('x')</script>\"&\x00\u202e"


class HostileEmulator(Emulator):
    """A provider whose texts contain markup. Its callbacks are decoded by the fake adapter."""

    name = "fake"

    def __init__(self, **options):
        super().__init__(**options)
        self.callback_url = "http://127.0.0.1:9/fake"
        self.known = {}

    async def handle(self, request):
        call_id = request.path.split("/")[2]
        line = scenario(request.json()["to"])
        self.start(self.transfer(call_id, line))
        return Reply(status=202, body={"text": HOSTILE, "access_token": "planted"})

    async def transfer(self, call_id, line):
        await self.say(call_id, "started")
        line = await self.ring_target(call_id, line)
        word = "succeeded" if line.name == "answers" else "failed"
        await self.say(call_id, word, reason=str(line.reason) if line.reason else None)

    async def say(self, call_id, *signals, reason=None):
        time = self.clock.now().isoformat()
        body = {"id": f"{signals}", "call_id": call_id, "time": time, "signals": signals, "reason": reason}
        await self.post(f"{self.known[call_id]}?secret=planted", body, headers={"X": HOSTILE[:20]})

    def config(self, base_url, *, ca_file=None):
        return {}

    def place_call(self, *, callback_url, group=False):
        call_id = f"call-{len(self.known)}-{HOSTILE if group else ''}"
        self.known[call_id] = callback_url
        return call_id

    def ring(self, *, callback_url):
        return RingingCall(call_id=self.place_call(callback_url=callback_url))

    def hang_up(self, call_id):
        self.end_ringing(call_id, "caller_leaves")

    def executions(self, call_id):
        return 0

    def calls(self):
        return tuple(
            CallView(id=call_id, provider="fake", state=HOSTILE, parties=(HOSTILE,)) for call_id in self.known
        )


class Site:
    """The served page, and the served emulator that it shows."""

    def __init__(self, http, emulator, address, url):
        self.http, self.emulator, self.address, self.url = http, emulator, address, url

    async def get(self):
        return (await self.http.get(self.url)).text

    async def press(self, action, *, headers=None, **form):
        token = re.search('name="token" value="([^"]+)"', await self.get())[1]
        return await self.http.post(
            f"{self.url}/do/{action}",
            data={"token": token, "provider": "fake", **form},
            headers={"Origin": self.url, **(headers or {})},
        )

    async def transfer(self, call_id, to="answers"):
        await self.http.post(f"{self.address}/calls/{call_id}/transfer", json={"to": to, "x": HOSTILE})
        await self.emulator.settle()


@pytest.fixture
async def site():
    emulator = HostileEmulator(pace=0.001)
    async with serve(emulator.app) as server:
        page = Page({"fake": emulator}, addresses={"fake": server.url})
        async with serve(page.app) as served, httpx.AsyncClient(trust_env=False) as http:
            yield Site(http, emulator, server.url, served.url)
            page.close()
            await emulator.aclose()


class Outline(HTMLParser):
    """The elements of a page, which must all be closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "link", "input", "br", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    @classmethod
    def of(cls, page):
        outline = cls()
        outline.feed(page)
        assert outline.open == []
        return outline


async def test_the_page_shows_calls_requests_callbacks_events_and_a_diagram(site):
    call = site.emulator.place_call(callback_url="http://127.0.0.1:9/fake")
    await site.transfer(call)
    page = await site.get()
    for shown in (
        call,
        f"POST /calls/{call}/transfer",
        "callback to http://127.0.0.1:9/fake",
        "not delivered",
    ):
        assert shown in page
    assert "Transfer: the target answers" in page
    assert re.search("application to fake: </span><span[^>]*>POST transfer</span><span[^>]*>202<", page)


async def test_all_text_of_requests_and_callbacks_is_escaped(site):
    call = site.emulator.place_call(callback_url=f"http://127.0.0.1:9/{HOSTILE[:24]}", group=True)
    await site.transfer(site.emulator.place_call(callback_url="http://127.0.0.1:9/fake"))
    site.emulator.start(site.emulator.say(call, "started"))
    await site.emulator.settle()
    page = await site.get()
    outline = Outline.of(page)
    assert outline.tags.count("script") == 1
    assert "alert" in page
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name == "style"]
    assert "\x00" not in page
    assert "\u202e" not in page


async def test_the_page_shows_no_secrets(site):
    call = site.emulator.place_call(callback_url="http://127.0.0.1:9/fake")
    await site.transfer(call)
    page = await site.get()
    assert "planted" not in page
    assert "/fake?***" in page


async def test_the_content_security_policy_allows_only_the_page_s_own_files(site):
    for path in ("", "/page.css", "/page.js"):
        response = await site.http.get(f"{site.url}{path}")
        assert response.status_code == 200
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_the_buttons_work_without_the_script(site):
    assert (await site.press("place")).headers["location"] == "/"
    (call,) = site.emulator.known
    await site.transfer(call, "manual")
    assert ">target rings<" in await site.get()
    assert (await site.press("decline", call_id=call)).status_code == 303
    await site.emulator.settle()
    assert ">target rings<" not in await site.get()
    assert site.emulator.callbacks[-1].body["reason"] == "declined"
    assert (await site.press("add_fault", fault="lose,times=3")).status_code == 303
    assert "lose,times=3" in await site.get()
    await site.press("clear_faults")
    assert site.emulator.faults.active == ()
    await site.press("reset")
    assert site.emulator.requests == ()


@pytest.mark.parametrize(
    ("action", "form", "message"),
    [
        ("place", {"provider": "nobody"}, (404, "no emulator")),
        ("place", {"callback_url": "javascript:alert(1)"}, (400, "address")),
        ("place", {"callback_url": "http://["}, (400, "address")),
        ("hang_up", {"call_id": "none"}, (404, "no call none")),
        ("add_fault", {"fault": "explode"}, (400, "explode")),
    ],
)
async def test_a_failed_action_returns_a_message(site, action, form, message):
    response = await site.press(action, **form)
    status, text_of_message = message
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/plain")
    assert text_of_message in response.text


@pytest.mark.parametrize(
    ("headers", "form", "status"),
    [
        ({"Origin": "https://example.org"}, {}, 403),
        ({"Origin": "null"}, {}, 403),
        ({"Origin": ""}, {}, 403),
        ({"Host": "rebound.example.org", "Origin": "http://rebound.example.org"}, {}, 403),
        ({}, {"token": "guessed"}, 403),
        ({}, {"padding": "x" * 20_000}, 403),
    ],
)
async def test_a_form_of_another_site_is_rejected(site, headers, form, status):
    assert (await site.press("place", headers=headers, **form)).status_code == status
    assert site.emulator.known == {}


async def test_a_request_to_another_host_name_is_rejected(site):
    assert (await site.http.get(site.url, headers={"Host": "rebound.example.org"})).status_code == 403


async def test_an_unknown_action_or_file_is_not_found(site):
    assert (await site.press("explode")).status_code == 404
    assert (await site.http.get(f"{site.url}/../pyproject.toml")).status_code == 404


async def test_changes_are_sent_as_they_happen(site):
    parts = {}
    async with site.http.stream("GET", f"{site.url}/live") as stream, asyncio.timeout(60):
        events = stream.aiter_lines()
        async for line in events:
            if line.startswith("data: "):
                part = json.loads(line.removeprefix("data: "))
                parts[part["place"]] = part["html"]
            if set(parts) == {"calls", "faults", "stories", "wire"}:
                break
        assert "No calls yet" in parts["calls"]
        site.emulator.place_call(callback_url="http://127.0.0.1:9/fake")
        async for line in events:
            if "call-0" in line:
                break
        site.emulator.faults.add(Fault.parse("lose"))
        async for line in events:
            if "lose" in line:
                break


# --- markup -----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(), st.text())
def test_text_is_never_rendered_as_markup(child, value):
    outline = Outline.of(element("p", child, title=value, class_="a"))
    assert outline.tags == ["p"]
    assert [name for name, _ in outline.attributes] == ["title", "class"]


def test_an_element_keeps_child_elements_and_escapes_text():
    made = element(
        "p", "a < b", element("b", 1), None, ["x", text("&")], hidden=True, id=None, aria_label='"'
    )
    assert made == '<p hidden aria-label="&quot;">a &lt; b<b>1</b>x&amp;</p>'
    assert element("input", name="a", disabled=False) == '<input name="a">'
