"""The public names: every listed name can be imported, and importing the package loads nothing heavy."""

import pydoc
import subprocess
import sys

import pytest

import transferkit
import transferkit.testing

MODULES = [transferkit, transferkit.testing]
NAMES = [(module, name) for module in MODULES for name in module.__all__]
HEAVY = [
    "cattrs",
    "httpx",
    "jwt",
    "importlib.metadata",
    "pytest",
    "typer",
    "rich",
    "starlette",
    "hypothesis",
    "msal",
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_listed_name_can_be_imported(module, name):
    assert getattr(module, name) is not None
    assert name in dir(module)


@pytest.mark.parametrize("module", MODULES)
def test_a_star_import_imports_every_listed_name(module):
    names = {}
    exec(f"from {module.__name__} import *", names)  # noqa: S102 - our own module
    assert set(module.__all__) <= set(names)


@pytest.mark.parametrize("module", MODULES)
def test_a_name_that_is_not_listed_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="Telepathy"):
        _ = module.Telepathy


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_public_class_has_a_docstring(module, name):
    value = getattr(module, name)
    assert value.__doc__ or not isinstance(value, type)


def test_help_of_the_package_describes_the_public_names():
    text = pydoc.render_doc(transferkit, renderer=pydoc.plaintext)
    assert "class AsyncClient(" in text
    assert "load_config(" in text
    assert transferkit.__version__ in text


def run(code):
    """The words that `code` prints in a fresh interpreter."""
    command = [sys.executable, "-I", "-c", f"import sys\nsys.path[:0] = {sys.path!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("packages", "left_out"),
    [(["psycopg", "psycopg_pool"], "PostgresStore"), (["opentelemetry"], "OpenTelemetry")],
)
def test_star_import_and_help_work_without_the_packages_of_an_extra(packages, left_out):
    missing = f"sys.modules.update(dict.fromkeys({packages}))"
    names = run(f"{missing}\nfrom transferkit import *\nprint(*globals())")
    assert set(transferkit.__all__) - names == {left_out}
    described = run(f"{missing}\nimport pydoc, transferkit\nprint(pydoc.render_doc(transferkit))")
    assert "SqliteStore" in described


def loaded_by(statement):
    """The heavy modules that a fresh interpreter loads for `statement`, and not for its own start."""
    loaded = f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    return run(f"{statement}\n{loaded}") - run(loaded)


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
    assert loaded_by(statement) == set()


def test_importing_the_client_loads_what_a_request_needs_and_no_more():
    # An import in the client's own thread can deadlock the child of a fork.
    assert loaded_by("from transferkit import AsyncClient, Client") == {"cattrs"}


def test_the_fake_needs_no_test_framework():
    loaded = loaded_by("from transferkit.testing import FakeAdapter")
    assert not loaded & {"pytest", "hypothesis", "httpx", "starlette"}


def test_the_pytest_plugin_loads_no_client():
    assert loaded_by("import transferkit.pytest_plugin") <= {"pytest", "importlib.metadata"}
