"""The site and README.md do what they say: every block of code in them is executed, or says why it is not.

A comment before a block, which no reader sees, says how it is run:

    <!-- setup: NAME -->      python, with the names that `SETUPS` gives it
    <!-- setup: pytest -->    a file of tests
    <!-- run -->              sh, really; other lines of `transferkit` are held against the command's options,
                              those of our own scripts, which take minutes, against the script's text
    <!-- not run: reason -->

Python with no comment runs by itself. A block with a title is a file: those before it are beside it.
"""

import ast
import asyncio
import importlib.util
import inspect
import json
import os
import re
import shlex
import ssl
import subprocess
import sys
import tomllib
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")
pytest.importorskip("typer")
pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

import httpx
import typer.main
from attrs import frozen
from transferkit_acs.testing import ISSUER as ACS_ISSUER
from transferkit_acs.testing import AcsCallbacks
from transferkit_graph.testing import ISSUER as GRAPH_ISSUER
from transferkit_graph.testing import GraphCallbacks

import transferkit
from transferkit import AsyncClient, FailureReason, PhoneNumber, load_config
from transferkit.cli.app import app
from transferkit.emulators import emulators, stage
from transferkit.provider.facts import RequestKind
from transferkit.testing import CallbackSigner, FakeAdapter, scenario

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in (ROOT / "README.md", *DOCS.rglob("*.md")) if not {"_build", "_generated"} & {*path.parts}
)
SHOWN = {"docs/how_to/write_an_adapter.md": ROOT / "examples" / "adapter_sip_rest"}
"""Pages whose titled blocks are parts of files that have tests of their own."""

# The official SDK makes its own repeatability header with it.
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),
]


@frozen
class Block:
    page: str
    line: int
    language: str
    title: str | None
    mark: str
    text: str

    @property
    def where(self):
        return f"{self.page}:{self.line}"

    @property
    def setup(self):
        return self.mark.removeprefix("setup: ") if self.mark.startswith("setup: ") else None


def blocks_of(path):
    page, found, before, opened = str(path.relative_to(ROOT)), [], "", None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fence = re.match(r'```(\w+|{\w+})?(?: title="([^"]+)")?$', line)
        if opened is None and fence:
            comment = re.fullmatch(r"<!-- (.*) -->", before)
            opened = number, fence[1] or "", fence[2], comment[1] if comment else "", []
        elif opened is not None and line == "```":
            start, language, title, mark, lines = opened
            text = "".join(f"{one}\n" for one in lines)
            found.append(Block(page, start, language, title, mark or mark_of(text), text))
            opened = None
        elif opened is not None:
            opened[4].append(line)
        before = line
    assert opened is None, f"{page}: a block has no end"
    return found


MARKS = {
    # Blocks of pages that carry no comments, by how they begin.
    "pip install 'transferkit[postgres]'": "not run: needs a package index",
    "pip install ./examples/adapter_sip_rest": "not run: needs a package index",
    "# Azure Service Bus": "not run: needs brokers",
    "from collections.abc import Awaitable, Callable": "setup: relay",
    "response = await client.receive(CallbackRequest(": "setup: handler",
    "match event:": "setup: incoming",
    "az eventgrid event-subscription create": "not run: needs a subscription of Azure",
    "signer = CallbackSigner(issuer=ISSUER)": "not run: an outline; verify_callbacks.md has it whole",
}


def mark_of(text):
    return next((mark for beginning, mark in MARKS.items() if text.startswith(beginning)), "")


# --- what blocks find ready -------------------------------------------------------------------------

RESOURCE, TENANT = "11111111-2222-4333-8444-555555555555", "22222222-3333-4444-8555-666666666666"


@asynccontextmanager
async def on_the_fake():
    async with AsyncClient.from_config({"provider": "fake"}) as client:
        yield {"client": client, "call_id": "call-1"}


@asynccontextmanager
async def with_a_toml():
    """README.md's function, which opens a client of its own."""
    names = {}
    yield names
    assert await names["hand_over"]("call-1") == "somebody has the caller"


@asynccontextmanager
async def a_stream():
    """A transfer under way, and whoever is told of its events."""
    told = []

    async def write_to_billing(event):
        told.append(event.kind)

    async with on_the_fake() as fake:
        transfer = await fake["client"].transfer("call-1", to=PhoneNumber("+14255550100"))
        await transfer.outcome()
        public = {name: getattr(transferkit, name) for name in transferkit.__all__}
        names = {**public, **fake, "transfer_id": transfer.id, "write_to_billing": write_to_billing}
        yield names
    assert "outcome" not in names or names["outcome"].kind == "transfer.completed"
    assert told == [] or told[-2:] == ["transfer.completed", "call.ended"]


@asynccontextmanager
async def relayed():
    published = []

    async def publish(message_id, key, body):
        published.append((message_id, key, json.loads(body)["kind"]))

    names = {}
    yield names
    async with on_the_fake() as fake:
        transfer = await fake["client"].transfer("call-1", to=PhoneNumber("+14255550100"))
        await transfer.outcome()
        await names["relay"](fake["client"], publish, follow=False)
    assert [kind for _, _, kind in published][:1] == ["transfer.requested"]
    assert {key for _, key, _ in published} == {"fake:call-1"}


@asynccontextmanager
async def ringing():
    fake = FakeAdapter()
    config = load_config({"provider": "fake"})
    async with AsyncClient(config, adapters={"fake": fake}) as client:
        (event,) = await fake.ring(
            "call-1", source=scenario("busy").number, target=scenario("answers").number
        )
        names = {name: getattr(transferkit, name) for name in ("CallIncoming", "TeamsUser")}
        names |= {"client": client, "event": event}
        yield names
        assert (await names["redirect"].outcome()).kind == "redirect.completed"


@asynccontextmanager
async def existing_handler(provider="acs"):
    """Somebody's own webhook, and a verified callback that is about no transfer."""
    got = []

    async def my_handler(event):
        got.append(event)

    if provider == "acs":
        signer = CallbackSigner(issuer=ACS_ISSUER)
        said = AcsCallbacks(signer=signer, resource_id=RESOURCE).call_connected("call-1")
        table = {"endpoint": "https://contoso.communication.azure.com", "resource_id": RESOURCE}
    else:
        signer = CallbackSigner(issuer=GRAPH_ISSUER)
        said = GraphCallbacks(signer=signer, client_id=RESOURCE, tenant_id=TENANT).call_connected("call-1")
        table = {"client_id": RESOURCE}
    config = {"provider": provider, "providers": {provider: table}}
    async with AsyncClient.from_config(config, fetch_keys=signer.fetch) as client:
        names = {"client": client, "headers": said.headers, "body": said.body, "my_handler": my_handler}
        names |= {"CallbackRequest": transferkit.CallbackRequest, "Response": lambda *answer: answer}
        yield names
        if "webhook" in names:
            answer = await names["webhook"](client, dict(said.headers), said.body)
            assert answer.status == 202
        assert [event.kind for event in got] == ["call.connected"]


@asynccontextmanager
async def on_the_wire(provider):
    async with (
        emulators(pace=0.001, providers=[provider]) as emulated,
        stage(provider, emulated) as on,
    ):
        more = await (on_acs if provider == "acs" else on_graph)(on, emulated)
        yield {
            "client": on.client,
            "call_id": on.place_call(),
            "callback_url": on.callback_url,
            **more,
        }
        await on.emulator.settle()


async def on_acs(on, emulated):
    ringing = on.emulator.ring(callback_url=f"{on.callback_url}/eventgrid")
    await on.emulator.settle()
    return {
        "endpoint": emulated.servers["acs"].url,
        "access_key": on.emulator.access_key,
        "incoming_context": ringing.incoming_context,
    }


async def on_graph(on, emulated):
    server, table = emulated.servers["graph"], emulated.tables["graph"]
    tls = ssl.create_default_context(cafile=str(server.ca_file)) if server.ca_file else True

    async def token():
        form = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
        form |= {name: table[name] for name in ("client_id", "client_secret")}
        async with httpx.AsyncClient(verify=tls) as http:
            answer = await http.post(f"{server.url}/{table['tenant_id']}/oauth2/v2.0/token", data=form)
        return answer.json()["access_token"]

    return {"graph_url": server.url, "tls": tls, "token": token, "tenant_id": table["tenant_id"]}


SETUPS = {
    "client": on_the_fake,
    "readme": with_a_toml,
    "stream": a_stream,
    "relay": relayed,
    "incoming": ringing,
    "handler": existing_handler,
    "webhook": lambda: existing_handler("graph"),
    "acs": lambda: on_the_wire("acs"),
    "graph": lambda: on_the_wire("graph"),
}


# --- how blocks are run -----------------------------------------------------------------------------

PYTEST = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a page's blocks run: a configuration and a callback are there, as the reader would have them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in os.environ if name.startswith("TRANSFERKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "transferkit.toml").write_text('provider = "fake"\n', encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(PYTEST, encoding="utf-8")
    signer = CallbackSigner(issuer=GRAPH_ISSUER)
    said = GraphCallbacks(signer=signer, client_id=RESOURCE, tenant_id=TENANT).transfer_completed("call-1")
    (tmp_path / "notification.json").write_bytes(said.body)
    return tmp_path


async def python(block):
    if block.setup == "pytest":
        name = f"test_line_{block.line}.py"
        save(name, block.text)
        await shell(f"python -m pytest -q {name}", block)
        return
    text = "\n" * block.line + block.text
    if "\nreturn " in block.text:
        body = "".join(f"    {line}\n" for line in block.text.splitlines())
        text = "\n" * (block.line - 1) + f"async def block():\n{body}\nawait block()"
    code = compile(text, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with SETUPS[block.setup]() if block.setup else nullcontext({}) as names:
        async with asyncio.timeout(20):
            result = eval(code, names)  # noqa: S307 - our own pages
            if inspect.iscoroutine(result):
                await result


async def shell(text, block):
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{block.where}: {text}\n{done.stdout}\n{done.stderr}"


def command(line, block):
    """Hold one line against the command's own options, without doing it."""
    words = shlex.split(line.partition("|")[0], comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[:1] == ["python"] and len(words) > 1:
        script(*words[1:], block=block)
        return
    assert words[:1] == ["transferkit"], f"{block.where}: {line!r} needs a comment that says whether it runs"
    found, words = typer.main.get_command(app), words[1:]
    while hasattr(found, "list_commands"):
        context = found.make_context("transferkit", [words[0]], resilient_parsing=True)
        found, words = found.get_command(context, words[0]), words[1:]
        assert found is not None, f"{block.where}: {line!r} names no command"
    found.make_context(found.name, words)


def script(name, *options, block):
    text = (ROOT / name).read_text(encoding="utf-8")
    unknown = [one for one in options if one.startswith("--") and f'"{one.partition("=")[0]}"' not in text]
    assert unknown == [], f"{block.where}: {name} has no {', '.join(unknown)}"


def configuration(block):
    said = tomllib.loads(block.text)
    load_config(said if "provider" in said else {"provider": "fake", **said})


async def sh(block):
    if block.mark == "run":
        await shell(block.text, block)
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "sh" or line.startswith("$ "):  # what a console answers is no command
            command(line.removeprefix("$ "), block)


async def file(block):
    save(block.title, block.text)
    if block.language == "toml":
        configuration(block)
    elif not block.title.startswith("test_"):  # those are run by the page itself
        await shell(f"python {block.title}", block)


def save(name, text):
    Path(name).write_text(text, encoding="utf-8")


async def run(block):
    match block.language:
        case _ if block.mark.startswith("not run: "):
            pass
        case "python" | "toml" if block.title:
            await file(block)
        case "python":
            await python(block)
        case "toml":
            configuration(block)
        case "json":
            json.loads(block.text)
        case "sh" | "console":
            await sh(block)
        case "text" | "yaml" | "{toctree}":
            pass
        case _:
            pytest.fail(f"{block.where}: nobody knows how to run {block.language!r}")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
async def test_every_block_of_a_page_runs(path, folder):
    page = str(path.relative_to(ROOT))
    for block in blocks_of(path):
        if page in SHOWN and block.title:
            shown = (SHOWN[page] / block.title).read_text(encoding="utf-8")
            assert f"\n{block.text}" in f"\n{shown}", f"{block.where} is not in {block.title}"
        else:
            await run(block)


async def test_the_application_of_the_tutorial_hands_over_and_says_what_cannot_be_asked_for(folder):
    for block in blocks_of(DOCS / "tutorial.md"):
        if block.title in {"handover.py", "app.py"}:
            save(block.title, block.text)
    spec = importlib.util.spec_from_file_location("tutorial_app", folder / "app.py")
    tutorial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tutorial)
    async with (
        tutorial.lifespan(tutorial.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(tutorial.app), base_url="http://app") as http,
    ):

        async def hand_over(to):
            return await http.post("/calls/call-1/hand-over", params={"to": to})

        assert (await hand_over(scenario("answers").number.number)).json() == "taken"
        assert (await hand_over("14255550100")).status_code == 409
        assert (await hand_over("")).status_code == 409


async def test_the_tables_of_a_store_are_made_by_whom_the_page_says(folder, monkeypatch):
    monkeypatch.setenv("OWNER_URL", "sqlite:///owned.db")
    (block,) = (one for one in blocks_of(DOCS / "several_instances.md") if "store migrate" in one.text)
    await shell(block.text.splitlines()[0], block)
    assert (folder / "owned.db").exists(), "the owner's address wins over the file's"


def test_the_pages_are_found():
    assert {"README.md", "tutorial.md", "fall_back.md", "write_an_adapter.md"} <= {
        path.name for path in PAGES
    }
    assert sum(len(blocks_of(path)) for path in PAGES) > 30


@pytest.mark.parametrize("beginning", MARKS)
def test_a_block_that_is_marked_here_is_still_there(beginning):
    assert any(block.text.startswith(beginning) for path in PAGES for block in blocks_of(path))


# --- what is said without code ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "_generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_the_readme_is_what_the_adapters_carry(generate):
    assert generate.provider_table() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_life_cycle_that_is_drawn_keeps_its_promises(generate):
    drawn = {kind: generate._life_cycle.explore(kind) for kind in RequestKind}
    order = ("requested", "submitted", "started", "accepted")
    for kind, transitions in drawn.items():
        assert not {one.start for one in transitions} & {"completed", "failed", "expired"}
        for one in transitions:
            if one.end in order:
                assert order.index(one.start) < order.index(one.end)
            if one.end == "completed" and kind is RequestKind.TRANSFER:
                assert one.cause.startswith("callback: succeeded")
                assert one.basis == "stated"
            if one.end == "expired":
                assert one.basis == "inferred"
    for start in order:
        ends = {one.end for one in drawn[RequestKind.TRANSFER] if one.start == start}
        assert {"completed", "failed", "expired"} <= ends


def test_every_generated_page_has_its_subject(generate, tmp_path):
    generate.write(tmp_path)
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert [name for name in transferkit.__all__ if f":: transferkit.{name}\n" not in pages["api.rst"]] == []
    assert all(f"## `{reason}`" in pages["failure_reasons.md"] for reason in FailureReason)
    assert "## `transferkit groups release`" in pages["cli.md"]
    assert "| `eventgrid_old_secret` |" in pages["configuration.md"]
    assert (
        "| `age` | seconds, more than 0 and no more than a century | 2592000 |" in pages["configuration.md"]
    )
    assert "## `transfer.expired`" in pages["events.md"]
    assert "<svg" in pages["life_cycle.md"]


def test_every_link_to_a_file_leads_somewhere():
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in (*PAGES, *ROOT.glob("*.md"), *ROOT.glob("examples/*/README.md"))
        for target in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", path.read_text(encoding="utf-8"))
        if "_generated" not in target and not (path.parent / target).exists()
    ]
    assert broken == []
