"""The example applications, each in its framework against both providers' emulators, and as its README says.

An application's own route begins a transfer; the emulator's signed callbacks come back to it over a socket.
"""

import asyncio
import importlib.util
import json
import os
import re
import signal
import socket
import sys
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
from transferkit.provider.registry import EMULATORS, announced
from transferkit.testing import scenario

pytestmark = pytest.mark.heavy

EXAMPLES = Path(__file__).parents[2] / "examples"
PROVIDERS = [name for name in ("acs", "graph") if name in announced(EMULATORS)]


# --- how each is served -----------------------------------------------------------------------------


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


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@asynccontextmanager
async def wsgi(example, port):
    server = make_server("127.0.0.1", port, example.app, handler_class=Quiet)
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
    """What the host of Azure Functions does: routes below /api, a thread for each request, and the timer."""
    import azure.functions as func

    from transferkit.testing import serve

    found = {one.get_function_name(): one.get_user_function() for one in example.app.get_functions()}

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
        answer = await asyncio.to_thread(found["transfer" if name == "calls" else "callbacks"], request)
        headers = [(key.encode(), value.encode()) for key, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.get_body()})

    async def timer():
        while True:
            await asyncio.sleep(0.05)
            await asyncio.to_thread(found["due"], None)

    async with serve(host, port=port) as server:
        ticking = asyncio.create_task(timer())
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
            await asyncio.to_thread(example.client.close)


SERVED = {
    "fastapi": ("fastapi", asgi),
    "flask": ("flask", wsgi),
    "django": ("django", wsgi),
    "aiohttp": ("aiohttp", aiohttp),
    "azure_functions": ("azure.functions", functions),
}


# --- one story for all ------------------------------------------------------------------------------


@asynccontextmanager
async def running(name, provider, tmp_path, monkeypatch, port):
    """The application, served; where; the emulator that it is configured for."""
    framework, served = SERVED[name]
    pytest.importorskip(framework)
    url = f"http://127.0.0.1:{port}" + ("/api" if name == "azure_functions" else "")
    async with emulators(providers=[provider]) as emulated:
        file = tmp_path / "transferkit.toml"
        lines = [f'provider = "{provider}"', 'store = "sqlite:///kept.db"', "[callbacks]"]
        lines += [f'public_url = "{url}/callbacks"', f"[providers.{provider}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in emulated.tables[provider].items()]
        file.write_text("\n".join(lines))
        monkeypatch.setenv("TRANSFERKIT_CONFIG", str(file))
        example = load(name)
        try:
            async with served(example, port):
                yield example, url, emulated.running[provider]
        finally:
            sys.modules.pop(example.__name__, None)


def file_of(name):
    return EXAMPLES / name / ("function_app.py" if name == "azure_functions" else "app.py")


def load(name):
    """The application as a module of its own, as often as it is wanted."""
    if name == "django":  # one process has one Django, set up once
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
    for name, values in (("provider", PROVIDERS), ("name", SERVED)):
        test = pytest.mark.parametrize(name, values)(test)
    return test


@every_example
async def test_a_transfer_begins_and_its_signed_callbacks_end_it(
    name, provider, tmp_path, monkeypatch, unused_tcp_port
):
    async with (
        running(name, provider, tmp_path, monkeypatch, unused_tcp_port) as (example, url, emulator),
        httpx.AsyncClient(trust_env=False) as http,
        asyncio.timeout(30),
    ):
        callbacks = f"{url}/callbacks/{provider}"
        call = emulator.place_call(callback_url=callbacks)
        begun = await http.post(
            f"{url}/calls/{call}/transfer", params={"to": scenario("manual").number.raw_id}
        )
        assert begun.status_code == 202, begun.text
        forged = await http.post(callbacks, json=[], headers={"authorization": "Bearer a.b.c"})
        assert forged.status_code == 401
        again = await http.post(f"{url}/calls/{call}/transfer", params={"to": "+14255550100"})
        assert again.status_code == 409
        while not emulator.end_ringing(call, "answers"):  # noqa: ASYNC110 - until the target rings
            await asyncio.sleep(0.01)
        outcome = await outcome_of(example, begun.json()["id"])
        await emulator.settle()
    assert isinstance(outcome, TransferCompleted)
    assert {sent.status for sent in emulator.callbacks} <= {200, 202}


async def outcome_of(example, transfer_id):
    if asyncio.iscoroutinefunction(example.client.outcome):
        return await example.client.outcome(transfer_id, timeout=20)
    return await asyncio.to_thread(example.client.outcome, transfer_id, timeout=20)


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.skipif("acs" not in PROVIDERS, reason="transferkit-acs is not installed")
async def test_event_grid_is_answered_in_both_handshakes(name, tmp_path, monkeypatch, unused_tcp_port):
    from transferkit_acs.emulator.eventgrid import EventSchema

    async with (
        running(name, "acs", tmp_path, monkeypatch, unused_tcp_port) as (_, url, emulator),
        asyncio.timeout(30),
    ):
        for schema in EventSchema:
            assert await emulator.subscribe(f"{url}/callbacks/acs/eventgrid", schema=schema)


def test_every_example_is_run_and_fits_on_a_page():
    folders = {file.parent.name for name in ("app", "function_app") for file in EXAMPLES.glob(f"*/{name}.py")}
    assert folders == SERVED.keys()
    assert all(len(file_of(name).read_text().splitlines()) <= 40 for name in folders)


@pytest.mark.parametrize("name", SERVED)
def test_no_folder_takes_the_place_of_its_framework(name):
    assert not (EXAMPLES / name / "__init__.py").exists()
    assert EXAMPLES not in map(Path, sys.path)


def test_the_host_of_azure_functions_finds_its_files():
    folder = EXAMPLES / "azure_functions"
    assert json.loads((folder / "host.json").read_text())["version"] == "2.0"
    settings = json.loads((folder / "local.settings.json.example").read_text())["Values"]
    assert settings["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert all(isinstance(value, str) for value in settings.values())
    wanted = {line.partition("[")[0] for line in (folder / "requirements.txt").read_text().splitlines()}
    assert wanted == {"azure-functions", "transferkit"}


# --- as each README says ----------------------------------------------------------------------------

UNTIL_IT_IS_OVER = 'until transferkit show "$transfer" | grep -q completed; do sleep 0.2; done'


def said_by(name):
    """What README.md gives to type in three terminals, and what it shows of the last one's output."""
    return re.findall(r"```(?:sh|text)\n(.*?)```", (EXAMPLES / name / "README.md").read_text(), re.DOTALL)


@asynccontextmanager
async def terminal(text, folder):
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", text),
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),  # where gunicorn keeps a socket
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
    """The first of three free ports in a row: the emulators' page and what follows it."""
    # Below those that the system gives out, and away from those of other processes of this run.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20_000 + worker % 4 * 3_000
    for port in range(first + os.getpid() % 2_000, first + 3_000, 3):
        with ExitStack() as stack, suppress(OSError):
            for one in range(port, port + 3):
                stack.enter_context(socket.create_server(("127.0.0.1", one)))
            return port
    raise AssertionError("no three ports in a row are free")


async def listening(port, process):
    while process.returncode is None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    pytest.fail((await process.stdout.read()).decode())


def blotted(printed):
    """What differs from one run to the next is left out: ids, times and spans."""
    known = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d [\d:]{8}|\d+\.\d+", "…", printed)
    return [line.strip() for line in known.strip().splitlines()]


@pytest.mark.parametrize("name", [name for name in SERVED if name != "azure_functions"])
@pytest.mark.skipif(PROVIDERS != ["acs", "graph"], reason="a README is about both adapters")
async def test_its_readme_says_what_to_type_and_what_is_printed(name, tmp_path, unused_tcp_port):
    pytest.importorskip(name)
    emulate, serve, ask, shown = said_by(name)
    pytest.importorskip("gunicorn" if "gunicorn" in serve else "uvicorn")
    page, folder = three_ports(), copytree(EXAMPLES / name, tmp_path / name)
    emulate += f" --port {page} --callback-url http://127.0.0.1:{unused_tcp_port}/callbacks --pace 0.05"
    emulate, serve, ask = (
        re.sub(r"uv run (--group examples )?", "", text)
        .replace("8000", str(unused_tcp_port))
        .replace("4301", str(page + 1))
        for text in (emulate.replace("\n", ""), serve, ask.replace("sleep 5", UNTIL_IT_IS_OVER))
    )
    async with asyncio.timeout(120), terminal(emulate, folder) as first:
        await listening(page, first)
        while not (folder / "emulators.toml").exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
        async with terminal(serve, folder) as second:
            await listening(unused_tcp_port, second)
            async with terminal(ask, folder) as third:
                printed, _ = await third.communicate()
                assert third.returncode == 0, printed.decode()
    assert blotted(printed.decode()) == blotted(shown)


def test_that_of_azure_functions_differs_in_where_it_is_served_only():
    _, _, asked = said_by("azure_functions")
    assert said_by("fastapi")[2] == asked.replace("7071/api/calls", "8000/calls")
