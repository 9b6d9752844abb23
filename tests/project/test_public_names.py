"""What is importable from the front door, and that opening it costs little."""

import subprocess
import sys

import pytest

import transferkit
import transferkit.testing

PUBLIC = [
    "Adapter",
    "AdapterNotFound",
    "AsyncClient",
    "Basis",
    "BlockingEventStream",
    "BlockingHandle",
    "BlockingRedirectHandle",
    "BlockingTransferHandle",
    "Call",
    "CallConnected",
    "CallDisposition",
    "CallEnded",
    "CallIncoming",
    "CallParticipants",
    "Callback",
    "CallbackConfig",
    "CallbackError",
    "CallbackNotVerified",
    "CallbackRequest",
    "CallbackResponse",
    "CallbackRoute",
    "CallingContext",
    "CheckResult",
    "Client",
    "ClientClosed",
    "Cloud",
    "CommunicationUser",
    "Config",
    "ConfigError",
    "Deliver",
    "Delivery",
    "DuplicateAdapter",
    "EndpointType",
    "Event",
    "EventStream",
    "Evidence",
    "Fact",
    "FailureReason",
    "GroupConfig",
    "GroupStart",
    "GroupStatus",
    "Handle",
    "HandshakeResponse",
    "IdempotencyConflict",
    "Identifier",
    "Inspection",
    "InvalidRequest",
    "LateVerdict",
    "LifecycleConfig",
    "MalformedCallback",
    "MemoryStore",
    "OnUnsupported",
    "Outcome",
    "ParkedEvent",
    "Participant",
    "PhoneNumber",
    "PostgresStore",
    "Problem",
    "ProviderOther",
    "Redirect",
    "RedirectCompleted",
    "RedirectExpired",
    "RedirectFailed",
    "RedirectHandle",
    "RedirectOutcome",
    "RedirectRequested",
    "RedirectSubmitted",
    "Request",
    "Result",
    "RetentionConfig",
    "Secret",
    "SenderNotChecked",
    "Signal",
    "SqliteStore",
    "Store",
    "StoreError",
    "Submission",
    "TeamsApp",
    "TeamsExtensionUser",
    "TeamsPhoneCallDetails",
    "TeamsPhoneCallerDetails",
    "TeamsPhoneSourceDetails",
    "TeamsUser",
    "TokenPolicy",
    "Transfer",
    "TransferAccepted",
    "TransferCompleted",
    "TransferExpired",
    "TransferFailed",
    "TransferHandle",
    "TransferInProgress",
    "TransferKitError",
    "TransferNotFound",
    "TransferOutcome",
    "TransferRequested",
    "TransferStarted",
    "TransferSubmitted",
    "UnknownIdentifier",
    "UnreadableEvent",
    "UsageError",
    "WireRequest",
    "__version__",
    "load_config",
    "parse_identifier",
]
TESTING = [
    "AdapterContract",
    "CallbackSigner",
    "ContractSamples",
    "Ending",
    "FakeAdapter",
    "FakeSettings",
    "Forgery",
    "ManualClock",
    "SCENARIOS",
    "Say",
    "Scenario",
    "Script",
    "Server",
    "StoreContract",
    "scenario",
    "scenario_for",
    "serve",
]
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


def test_the_public_names():
    assert sorted(transferkit.__all__) == PUBLIC


def test_are_listed_in_order():
    assert list(transferkit.__all__) == sorted(transferkit.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there(name):
    assert getattr(transferkit, name) is not None


def test_every_name_has_a_home_and_nothing_else_has():
    assert sorted([*transferkit._HOMES, "__version__"]) == PUBLIC
    assert set(PUBLIC) <= set(dir(transferkit))


def test_the_names_for_tests():
    assert sorted(transferkit.testing.__all__) == TESTING


@pytest.mark.parametrize("name", TESTING)
def test_a_name_for_tests_is_there(name):
    assert getattr(transferkit.testing, name) is not None


@pytest.mark.parametrize("module", [transferkit, transferkit.testing])
def test_a_name_that_is_not_there_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="Telepathy"):
        _ = module.Telepathy


def test_every_public_class_says_what_it_is():
    classes = [getattr(transferkit, name) for name in PUBLIC if isinstance(getattr(transferkit, name), type)]
    assert not [cls.__name__ for cls in classes if not cls.__doc__]


def loaded_by(statement):
    """Which of the heavy modules a fresh interpreter has after `statement`."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own
    return set(run.stdout.split()) - loaded_anyway()


def loaded_anyway():
    """What the interpreter of this environment loads before any code runs (an editable install's finder)."""
    code = f"import sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    command = [sys.executable, "-I", "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import transferkit",
        "from transferkit import AsyncClient, Transfer, PhoneNumber",
        "import transferkit.testing",
        "from transferkit.testing import ManualClock, scenario",
    ],
)
def test_importing_loads_nothing_heavy(statement):
    assert loaded_by(statement) == set()


def test_the_fake_needs_no_test_framework():
    assert not loaded_by("from transferkit.testing import FakeAdapter") & {
        "pytest",
        "hypothesis",
        "httpx",
        "starlette",
    }


def test_the_pytest_plugin_loads_no_client():
    loaded = loaded_by("import transferkit.pytest_plugin")
    assert loaded <= {"pytest", "importlib.metadata"}
