"""Each example application transfers a call on both emulators, in its framework and as its README describes.

The application's route starts a transfer, and the emulator posts signed callbacks to the application.
"""

import asyncio
import importlib.util
import json
import os
import re
import signal
import socket
import sys
import textwrap
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from shutil import copytree
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from transferkit import TransferCompleted
from transferkit.emulators import emulators
from transferkit.provider.entry_points import EMULATORS, announced
from transferkit.testing import scenario

pytestmark = pytest.mark.heavy

EXAMPLES = Path(__file__).parents[2] / "examples"
PROVIDERS = [name for name in ("acs", "graph") if name in announced(EMULATORS)]


# --- servers for each framework -----------------------------------------------------------------------------


@asynccontextmanager
async def asgi(example, port):
    import uvicorn

    config = uvicorn.Config(example.app, port=port, lifespan="on", log_config=None, ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@asynccontextmanager
async def wsgi(example, port):
    server = make_server("127.0.0.1", port, example.app, handler_class=QuietHandler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()
        await asyncio.to_thread(example.client.close)


@asynccontextmanager
async def aiohttp(example, port):
    from aiohttp import web

    runner = web.AppRunner(example.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def functions(example, port):
    """A replacement of the Azure Functions host: routes below /api, a thread for each request, the timer."""
    import azure.functions as func

    from transferkit.testing import serve

    functions = {each.get_function_name(): each.get_user_function() for each in example.app.get_functions()}

    async def host(scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        query = scope["query_string"].decode()
        _, _, name, *rest = scope["path"].split("/")
        request = func.HttpRequest(
            scope["method"],
            f"{server.url}{scope['path']}?{query}",
            headers={key.decode(): value.decode() for key, value in scope["headers"]},
            params=dict(httpx.QueryParams(query)),
            route_params={"call_id": rest[0]},
            body=body,
        )
        function = functions["transfer" if name == "calls" else "callbacks"]
        response = await asyncio.to_thread(function, request)
        headers = [(key.encode(), value.encode()) for key, value in response.headers.items()]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.get_body()})

    async def timer():
        while True:
            await asyncio.sleep(0.05)
            await asyncio.to_thread(functions["due"], None)

    async with serve(host, port=port) as server:
        ticking = asyncio.create_task(timer())
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
            await asyncio.to_thread(example.client.close)


FRAMEWORKS = {
    "fastapi": ("fastapi", asgi),
    "flask": ("flask", wsgi),
    "django": ("django", wsgi),
    "aiohttp": ("aiohttp", aiohttp),
    "azure_functions": ("azure.functions", functions),
}


# --- a transfer in each framework -------------------------------------------------------------------


@asynccontextmanager
async def running(name, provider, tmp_path, monkeypatch, port):
    """Serve an application; yields its module, its URL and the emulator that it uses."""
    framework, serve_in_framework = FRAMEWORKS.get(name, FRAMEWORKS["fastapi"])
    pytest.importorskip(framework)
    url = f"http://127.0.0.1:{port}" + ("/api" if name == "azure_functions" else "")
    async with emulators(providers=[provider]) as emulated:
        file = tmp_path / "transferkit.toml"
        lines = [f'provider = "{provider}"', 'store = "sqlite:///transfers.db"', "[callbacks]"]
        lines += [f'public_url = "{url}/callbacks"', f"[providers.{provider}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in emulated.tables[provider].items()]
        file.write_text("\n".join(lines))
        monkeypatch.setenv("TRANSFERKIT_CONFIG", str(file))
        example = load(name)
        try:
            async with serve_in_framework(example, port):
                yield example, url, emulated.running[provider]
        finally:
            sys.modules.pop(example.__name__, None)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_ivr_takes_a_call_and_connects_an_agent(provider, tmp_path, monkeypatch, unused_tcp_port):
    pytest.importorskip("fastapi")
    monkeypatch.syspath_prepend(EXAMPLES / "ivr")
    monkeypatch.setenv("IVR_AGENTS", "+14255550186 +14255550100")
    monkeypatch.setenv("IVR_VOICEMAIL", "+14255550111")
    monkeypatch.setenv("IVR_CALLER_ID", "+14255550199")
    async with (
        running("ivr", provider, tmp_path, monkeypatch, unused_tcp_port) as (service, url, emulator),
        httpx.AsyncClient(trust_env=False) as http,
        asyncio.timeout(30),
    ):
        emulator.ring(callback_url=f"{url}/callbacks/{provider}{emulator.incoming_path}")
        while not service.endings:  # noqa: ASYNC110 - the application has no event for it
            await asyncio.sleep(0.01)
        shown = (await http.get(f"{url}/calls")).json()
    assert list(shown.values()) == ["an agent talks to the caller"]


def file_of(name):
    files = {"azure_functions": "function_app.py", "ivr": "service.py"}
    return EXAMPLES / name / files.get(name, "app.py")


def load(name):
    """Import the application as a new module."""
    if name == "django":  # Django is configured once in a process
        from django.conf import settings
        from django.urls import clear_url_caches
        from django.utils.functional import empty

        settings._wrapped = empty
        clear_url_caches()
    spec = importlib.util.spec_from_file_location(f"example_{name}", file_of(name))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def every_example(test):
    for name, values in (("provider", PROVIDERS), ("name", FRAMEWORKS)):
        test = pytest.mark.parametrize(name, values)(test)
    return test


@every_example
async def test_a_transfer_completes_by_its_signed_callbacks(
    name, provider, tmp_path, monkeypatch, unused_tcp_port
):
    async with (
        running(name, provider, tmp_path, monkeypatch, unused_tcp_port) as (example, url, emulator),
        httpx.AsyncClient(trust_env=False) as http,
        asyncio.timeout(30),
    ):
        callbacks = f"{url}/callbacks/{provider}"
        call = emulator.place_call(callback_url=callbacks)
        started = await http.post(
            f"{url}/calls/{call}/transfer", params={"to": scenario("manual").number.raw_id}
        )
        assert started.status_code == 202, started.text
        forged = await http.post(callbacks, json=[], headers={"authorization": "Bearer a.b.c"})
        assert forged.status_code == 401
        again = await http.post(f"{url}/calls/{call}/transfer", params={"to": "+14255550100"})
        assert again.status_code == 409
        while not emulator.end_ringing(call, "answers"):  # noqa: ASYNC110 - until the target rings
            await asyncio.sleep(0.01)
        outcome = await outcome_of(example, started.json()["id"])
        await emulator.settle()
    assert isinstance(outcome, TransferCompleted)
    assert {sent.status for sent in emulator.callbacks} <= {200, 202}


async def outcome_of(example, transfer_id):
    if asyncio.iscoroutinefunction(example.client.outcome):
        return await example.client.outcome(transfer_id, timeout=20)
    return await asyncio.to_thread(example.client.outcome, transfer_id, timeout=20)


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.skipif("acs" not in PROVIDERS, reason="transferkit-acs is not installed")
async def test_both_handshakes_of_event_grid_are_answered(name, tmp_path, monkeypatch, unused_tcp_port):
    from transferkit_acs.emulator.eventgrid import EventSchema

    async with (
        running(name, "acs", tmp_path, monkeypatch, unused_tcp_port) as (_, url, emulator),
        asyncio.timeout(30),
    ):
        for schema in EventSchema:
            assert await emulator.subscribe(f"{url}/callbacks/acs/eventgrid", schema=schema)


def test_every_example_has_at_most_40_lines_and_is_tested_here():
    folders = {file.parent.name for name in ("app", "function_app") for file in EXAMPLES.glob(f"*/{name}.py")}
    assert folders == FRAMEWORKS.keys()
    assert all(len(file_of(name).read_text().splitlines()) <= 40 for name in folders)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_no_example_folder_can_be_imported_instead_of_its_framework(name):
    assert not (EXAMPLES / name / "__init__.py").exists()
    assert EXAMPLES not in map(Path, sys.path)


def test_the_settings_of_azure_functions_are_complete():
    folder = EXAMPLES / "azure_functions"
    assert json.loads((folder / "host.json").read_text())["version"] == "2.0"
    settings = json.loads((folder / "local.settings.json.example").read_text())["Values"]
    assert settings["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert all(isinstance(value, str) for value in settings.values())
    required = {line.partition("[")[0] for line in (folder / "requirements.txt").read_text().splitlines()}
    assert required == {"azure-functions", "transferkit"}


# --- the steps of the READMEs -------------------------------------------------------------------------

UNTIL_COMPLETED = 'until transferkit show "$transfer" | grep -q completed; do sleep 0.2; done'


def code_blocks(path):
    """The shell blocks and their output; those of a numbered list are indented."""
    text = (EXAMPLES / path).read_text(encoding="utf-8")
    return [textwrap.dedent(block) for block in re.findall(r"```(?:sh|text)\n(.*?) *```", text, re.DOTALL)]


@asynccontextmanager
async def terminal(text, folder):
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", text),
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),  # gunicorn creates a socket there
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
        await process.communicate()


def three_ports():
    """The first of three consecutive free ports, for the page of the emulators and the two emulators."""
    # Below the ports that the system assigns, and different for each process of this test run.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20_000 + worker % 4 * 3_000
    for port in range(first + os.getpid() % 2_000, first + 3_000, 3):
        with ExitStack() as stack, suppress(OSError):
            for each in range(port, port + 3):
                stack.enter_context(socket.create_server(("127.0.0.1", each)))
            return port
    raise AssertionError("no three consecutive ports are free")


async def listening(port, process):
    while process.returncode is None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    pytest.fail((await process.stdout.read()).decode())


def without_variable_parts(printed):
    """The lines without ids, times and durations, which differ in each run."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d [\d:]{8}|\d+\.\d+", "…", printed)
    return [line.strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("name", [name for name in FRAMEWORKS if name != "azure_functions"])
@pytest.mark.skipif(PROVIDERS != ["acs", "graph"], reason="the READMEs use both adapters")
async def test_the_steps_of_the_readme_print_the_documented_output(name, tmp_path, unused_tcp_port):
    pytest.importorskip(name)
    emulate, transfer, output = code_blocks("README.md")
    (serve,) = code_blocks(f"{name}/README.md")
    pytest.importorskip("gunicorn" if "gunicorn" in serve else "uvicorn")
    page, folder = three_ports(), copytree(EXAMPLES / name, tmp_path / name)
    emulate = emulate.strip() + f" --port {page} --pace 0.05"
    emulate += f" --callback-url http://127.0.0.1:{unused_tcp_port}/callbacks"
    emulate, serve, transfer = (
        re.sub(r"uv run (--group examples )?", "", text)
        .replace("8000", str(unused_tcp_port))
        .replace("4301", str(page + 1))
        for text in (emulate, serve, transfer.replace("sleep 5", UNTIL_COMPLETED))
    )
    async with asyncio.timeout(120), terminal(emulate, folder) as first:
        await listening(page, first)
        while not (folder / "emulators.toml").exists():  # noqa: ASYNC110 - another process writes the file
            await asyncio.sleep(0.05)
        async with terminal(serve, folder) as second:
            await listening(unused_tcp_port, second)
            async with terminal(transfer, folder) as third:
                printed, _ = await third.communicate()
                assert third.returncode == 0, printed.decode()
    assert without_variable_parts(printed.decode()) == without_variable_parts(output)
