"""What imports and short commands load: only what they need, because loading is most of what they take."""

import pytest
from support.interpreter import printed_by

from transferkit.provider.registry import adapter_names

HEAVY = {
    "aiohttp",
    "azure.core",
    "cattrs",
    "cryptography",
    "httpx",
    "hypothesis",
    "importlib.metadata",
    "jwt",
    "msal",
    "opentelemetry",
    "pytest",
    "requests",
    "rich",
    "starlette",
    "tomllib",
    "typer",
    "urllib.request",
    "websockets",
}


def modules_loaded_by(code):
    """The modules that a fresh interpreter loads for `code`, and not for its own start."""
    loaded = "print(*sys.modules, file=sys.__stdout__)"
    return printed_by(f"{code}\n{loaded}") - printed_by(loaded)


def modules_loaded_by_command(*arguments):
    code = f"""
import contextlib, io
from transferkit.cli import main
sys.argv[1:] = {arguments!r}
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
"""
    return modules_loaded_by(code)


def ours(modules):
    return {name for name in modules if name.partition(".")[0] == "transferkit"}


@pytest.mark.parametrize(
    "statement",
    [
        "import transferkit",
        "from transferkit import Transfer, PhoneNumber",
        "import transferkit.testing",
        "from transferkit.testing import ManualClock, scenario",
    ],
)
def test_importing_loads_nothing_heavy(statement):
    assert not modules_loaded_by(statement) & HEAVY


def test_importing_the_client_loads_what_a_request_needs_and_no_more():
    # An import in the client's own thread can deadlock the child of a fork.
    loaded = modules_loaded_by("from transferkit import AsyncClient, Client")
    assert loaded & HEAVY == {"cattrs", "urllib.request"}


def test_the_fake_needs_no_test_framework():
    loaded = modules_loaded_by("from transferkit.testing import FakeAdapter")
    assert not loaded & {"pytest", "hypothesis", "httpx", "starlette"}


def test_the_pytest_plugin_loads_no_client():
    assert modules_loaded_by("import transferkit.pytest_plugin") & HEAVY <= {"pytest", "importlib.metadata"}


def test_the_help_page_loads_only_the_command_line_and_the_names_of_plugins():
    loaded = modules_loaded_by_command("--help")
    assert loaded & HEAVY <= {"importlib.metadata", "typer"}
    assert not loaded & {"asyncio", "attrs"}
    assert ours(loaded) == {
        "transferkit",
        "transferkit.cli",
        "transferkit.cli.app",
        "transferkit.provider",
        "transferkit.provider.entry_points",
    }


def test_printing_the_version_does_not_search_for_plugins():
    loaded = modules_loaded_by_command("--version")
    assert ours(loaded) == {"transferkit", "transferkit.cli", "transferkit.cli.app"}


@pytest.mark.parametrize("provider", adapter_names())
def test_decoding_callbacks_loads_no_client_and_no_library_that_sends_requests(provider, tmp_path):
    body = tmp_path / "callback.json"
    body.write_text("{}")
    loaded = modules_loaded_by_command("decode", "--provider", provider, str(body))
    assert "transferkit.cli.commands.decode" in loaded
    assert loaded & HEAVY <= {"cattrs", "importlib.metadata", "typer"}
    packages = {".".join(name.split(".")[:2]) for name in ours(loaded)}
    assert packages <= {
        "transferkit",
        "transferkit._util",
        "transferkit.cli",
        "transferkit.codec",
        "transferkit.errors",
        "transferkit.events",
        "transferkit.identifiers",
        "transferkit.provider",
        "transferkit.reasons",
        "transferkit.requests",
        "transferkit.testing",
    }
