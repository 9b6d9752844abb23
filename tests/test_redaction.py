"""Phone numbers, tokens and keys are shown nowhere: in no text, repr, error or output of this suite."""

import shutil
import subprocess
import sys
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferkit
from transferkit import (
    AdapterNotFound,
    CallbackRequest,
    CallingContext,
    ConfigError,
    IdempotencyConflict,
    Identifier,
    InvalidRequest,
    MalformedCallback,
    PhoneNumber,
    Problem,
    Secret,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
    Transfer,
    TransferInProgress,
    TransferNotFound,
    WireRequest,
)
from transferkit._redact import MASK, mask_number, redact, safe_repr
from transferkit.adapter import Callback
from transferkit.events import event_class
from transferkit.frozenmap import FrozenMap
from transferkit.signals import Result

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


# --- texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+14255550123", "+*********23"),
        ("14255550123", "*********23"),
        ("call +14255550123 now", "call +*********23 now"),
        ("+1 (425) 555-0123", "+* (***) ***-**23"),
        ("+1.425.555.0123", "+*.***.***.**23"),
        ("4:+14255550123", "4:+*********23"),
        ("tel:+1-425-555-0123;ext=1", "tel:+*-***-***-**23;ext=1"),
        ("sip:14255550123@contoso.com", "sip:*********23@contoso.com"),
        ('{"value": "+14255550123"}', '{"value": "+*********23"}'),
        ("to=%2B14255550123&x=1", "to=%2B*********23&x=1"),
        ("4:14255550123_bridge", "4:*********23_bridge"),
        ("no +14255550123.", "no +*********23."),
        ("+14255550123,+14255550124", "+*********23,+*********24"),
    ],
)
def test_a_phone_number_keeps_two_digits(text, shown):
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "5d1a1b7e-6b0c-4c5f-9a0a-2f6b7a1c9e33",
        "00000000-0000-4000-8000-000000000142",
        "8:acs:b9614373-fd0b-480c-8fd2-cb58b70eab9f_da7be3a9-8788-42a6-85c6-56b2cf784fce",
        "2026-01-01T12:00:00.1234567+00:00",
        "DiagCode: 0#7000.@",
        "https://graph.microsoft.com/v1.0/communications/calls/411f0b00-dc73-4528-a9e6-968ba983d2a1/transfer",
        "404 8522 call not found",
        "deadbeef12345678deadbeef",
        "api-version=2026-03-12",
        "",
    ],
)
def test_ids_times_and_codes_stay_readable(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer {token}",
        "authorization: bearer {token}",
        "the token {token} was refused",
        "{connection_string}",
        "Authorization: HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={access_key}",
        "accesskey={access_key}",
        "grant_type=client_credentials&client_secret={client_secret}&scope=x",
        "https://app.contoso.com/callbacks?code={client_secret}",
        "https://app.contoso.com/callbacks?token={token}&call=1",
        "client_assertion={token}",
        "Bearer {access_key}",
    ],
)
def test_a_token_or_key_is_masked_whole(text, planted):
    hot = text.format(
        token=planted.token,
        access_key=planted.access_key,
        client_secret=planted.client_secret,
        connection_string=planted.connection_string,
    )
    assert planted.shown_in(hot), "it must be there to be hidden"
    assert MASK in redact(hot)
    assert not planted.shown_in(redact(hot))


def test_what_is_around_a_key_stays():
    assert redact("a=1&client_secret=xyz&b=2") == "a=1&client_secret=***&b=2"
    assert redact("endpoint=https://x/;accesskey=abc==") == "endpoint=https://x/;accesskey=***"


TEXTS = st.text() | st.text("+0123456789 ()-.aB=&;:_/@")


@given(TEXTS)
def test_redacting_twice_is_redacting_once(text):
    assert redact(redact(text)) == redact(text)


@given(
    before=st.text("ab :,;/'\"<(=@?&"),
    number=st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True),
    after=TEXTS,
)
def test_no_number_with_a_plus_sign_survives_anywhere(before, number, after):
    assert number not in redact(before + number + after)


@given(
    st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True),
    st.sampled_from(["{}", "({})", "<{}>", "a {} b", '"{}"', "x:{}"]),
)
def test_no_number_that_stands_alone_survives(digits, around):
    assert digits not in redact(around.format(digits))


@given(st.text())
def test_masking_keeps_the_length_and_two_digits_at_most(text):
    masked = mask_number(text)
    assert len(masked) == len(text)
    assert sum(character.isdecimal() for character in masked) <= 2


def test_a_short_number_is_hidden_whole():
    assert mask_number("42") == "**"
    assert mask_number("142") == "*42"


def test_safe_repr_is_a_redacted_repr():
    assert safe_repr("call +14255550123") == "'call +*********23'"
    assert safe_repr(None) == "None"


# --- values -----------------------------------------------------------------------------------------

VALUES = [
    cls
    for cls in dict.fromkeys(getattr(transferkit, name) for name in transferkit.__all__)
    if isinstance(cls, type)
    and attrs.has(cls)
    and cls.__module__ in {"transferkit.events", "transferkit.requests"}
    and (hasattr(cls, "kind") or cls.__module__ == "transferkit.requests")
]

# Ids and words of the providers' own are opaque: they are shown whole.
OPAQUE = """
    provider call_id id correlation_id transfer_id request_id record_id session_id tenant_id participant_id
    replaces kind language status language_id region method url
""".split()  # noqa: SIM905 - one word after the other


def _planted_in(name, hint, planted):
    """A value of the type that `hint` names, with planted values wherever text fits."""
    hint = next((option for option in typing.get_args(hint) if type(None) in typing.get_args(hint)), hint)
    text = f"call {planted.number} with Bearer {planted.token}"
    someone = PhoneNumber(planted.number, display_name=text)
    if hint in {TeamsPhoneCallDetails, CallingContext, TeamsPhoneCallerDetails, TeamsPhoneSourceDetails}:
        return _filled(hint, planted)
    return {
        str: None if name in OPAQUE else text,
        Identifier: someone,
        PhoneNumber: someone,
        tuple[Identifier, ...]: (someone,),
        FrozenMap[Identifier]: FrozenMap({"first": someone}),
        FrozenMap[str]: FrozenMap({"header": text}),
        FrozenMap[typing.Any]: FrozenMap({"header": text}),
        Mapping[str, typing.Any]: FrozenMap({"header": text}),
    }.get(hint)


DEFAULTS = {"basis": "stated", "reason": "busy", "evidence": "silence", "call": "abc"}


def _filled(cls, planted):
    fields = {}
    hints = typing.get_type_hints(cls)
    for field in attrs.fields(cls):
        if (cls.__name__, field.name) == ("ProviderOther", "name"):
            continue  # the provider's word for a kind of callback
        value = _planted_in(field.name, hints[field.name], planted)
        if field.name == "time":
            value = NOW
        if value is not None:
            fields[field.name] = value
        elif field.default is attrs.NOTHING:
            fields[field.name] = DEFAULTS.get(field.name, "abc")
    return cls(**fields)


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_no_value_shows_what_was_planted_in_any_of_its_texts(cls, planted):
    value = _filled(cls, planted)
    assert not planted.shown_in(repr(value)), "repr"
    assert not planted.shown_in(str(value)), "str"


def test_nor_do_the_values_around_a_callback(planted):
    hot = f"{planted.number} {planted.token}"
    for value in (
        CallbackRequest(method="POST", url=f"/x?t={hot}", headers={"authorization": hot}, body=hot.encode()),
        Callback(body=hot.encode(), received_at=NOW, headers={"authorization": hot}),
        WireRequest(method="POST", url="https://x", headers={"authorization": hot}, body={"to": hot}),
        Result(message=hot),
        Secret(value=planted.client_secret),
        FrozenMap({"a": hot}),
    ):
        assert not planted.shown_in(f"{value!r} {value!s} {[value]}"), type(value).__name__


@pytest.mark.parametrize("kind", ["call.incoming", "provider.other", "transfer.failed"])
def test_no_event_shows_the_providers_json(kind, planted):
    cls = event_class(kind)
    more = {"basis": "stated", "reason": "busy"} if kind == "transfer.failed" else {}
    event = cls(
        time=NOW, provider="acs", call_id="abc", raw={"to": planted.number, "key": planted.access_key}, **more
    )
    assert not planted.shown_in(f"{event!r} {event!s}")


# --- errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        lambda p: InvalidRequest("acs", [Problem("to", f"refused {p.number}", f"not {p.number}")]),
        lambda p: IdempotencyConflict(f"case {p.number}", "t-1"),
        lambda p: MalformedCallback("acs", "[0].data", f"what is {p.number}, {p.token}?"),
        lambda p: ConfigError("x.toml", [Problem("providers.acs.key", f"got {p.connection_string}")]),
    ],
    ids=["InvalidRequest", "IdempotencyConflict", "MalformedCallback", "ConfigError"],
)
def test_no_error_shows_what_it_was_given(error, planted):
    raised = error(planted)
    assert not planted.shown_in(f"{raised} {raised!r}")


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("acs", [Problem("to", "wrong", "right")]),
        TransferInProgress("acs:abc", "t-1"),
        IdempotencyConflict("case-1", "t-1"),
        TransferNotFound("t-1"),
        MalformedCallback("acs", "[0].data", "no data"),
        ConfigError("x.toml", [Problem("provider", "is missing")]),
        AdapterNotFound("adapters", [Problem("providers.x", "no such")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_processes(error):
    import pickle

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_request_that_cannot_be_built_shows_nothing(planted):
    with pytest.raises(TypeError) as raised:
        Transfer(call="abc", to=planted.number)
    assert not planted.shown_in(f"{raised.value!r}")


# --- the guard over this suite's output -------------------------------------------------------------

ROOT_CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

LEAKS = """
import logging, sys, warnings
import pytest

log = logging.getLogger("transferkit.some.part")

def test_prints(planted):
    print("to", planted.number)

def test_prints_to_stderr(planted):
    print(planted.token, file=sys.stderr)

def test_logs(planted):
    log.info("calling %s", planted.number)

def test_logs_at_debug_level(planted):
    log.debug("key %s", planted.access_key)

def test_logs_in_extra(planted):
    log.warning("calling", extra={"to": planted.number})

def test_logs_a_traceback(planted):
    try:
        raise ValueError(planted.client_secret)
    except ValueError:
        log.exception("failed")

def test_logs_elsewhere(planted):
    logging.getLogger("some.other.library").error("calling %s", planted.digits)

def test_fails(planted):
    raise ValueError(planted.number)

@pytest.fixture
def leaks_at_the_end(planted):
    yield
    print(planted.connection_string)

def test_leaks_at_teardown(leaks_at_the_end):
    pass

def test_is_innocent(planted):
    log.warning("calling %s", planted.number[-2:])
    print("***")
"""


def run_suite(tmp_path, source):
    shutil.copy(ROOT_CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(source, encoding="utf-8")
    plugins = [f"-pno:{name}" for name in ("cacheprovider", "transferkit", "asyncio")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *plugins,
        f"--rootdir={tmp_path}",
        "-c",
        "/dev/null",
        ".",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)  # noqa: S603 - our own interpreter


def test_a_leak_anywhere_fails_the_suite(tmp_path):
    run = run_suite(tmp_path, LEAKS)
    assert run.returncode == 1, run.returncode
    (summary,) = run.stdout.split("planted values were shown")[1:]
    found = [line.split(":")[2] for line in summary.splitlines() if line.startswith("test_it.py::")]
    leaky = [
        line.split("(")[0].removeprefix("def ") for line in LEAKS.splitlines() if line.startswith("def test_")
    ]
    leaky.remove("test_is_innocent")
    assert sorted(set(found)) == sorted(leaky)


def test_a_leak_outside_of_any_test_fails_the_suite_too(tmp_path):
    run = run_suite(
        tmp_path, 'import logging\nlogging.error("%s", "+1" + "4255550142")\ndef test_one(): pass\n'
    )
    assert run.returncode == 1
    assert "collection: a planted phone number in a log record of root" in run.stdout
    assert "1 passed" in run.stdout


def test_and_a_suite_without_a_leak_passes(tmp_path):
    run = run_suite(
        tmp_path, "def test_one(planted):\n    assert planted.shown_in(planted.number) == ['phone number']\n"
    )
    assert run.returncode == 0, "a clean suite must pass"
    assert "planted values were shown" not in run.stdout
