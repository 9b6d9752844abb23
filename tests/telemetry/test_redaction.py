"""Redaction: no text, repr, error or output of this suite shows a phone number, a token or a key."""

import os
import re
import shutil
import subprocess
import sys
import typing
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferkit
from transferkit import (
    AdapterNotFound,
    Call,
    CallbackNotVerified,
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
    SenderNotChecked,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
    Transfer,
    TransferInProgress,
    TransferNotFound,
    WireRequest,
)
from transferkit._util.frozenmap import FrozenMap
from transferkit._util.redaction import MASK, mask_number, redact, safe_id, safe_repr
from transferkit.events import event_class
from transferkit.provider.adapter import Callback
from transferkit.provider.facts import Result

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


# --- texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+14255550123", "+*********23"),
        ("14255550123", "*********23"),
        ("sip:alice:pl4nted@pbx.example", "sip:alice:***@pbx.example"),
        ("<SIPS:+14255550123:pl4nted@[::1]:5061>", "<SIPS:+*********23:***@[::1]:5061>"),
        ("sip:alice@pbx.example:5060", "sip:alice@pbx.example:5060"),
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
        ("+1%20425%20555%200123", "+*%20***%20***%20**23"),
        ("%2B1%2D425%2D555%2D0123", "%2B*%2D***%2D***%2D**23"),
        ("+1/425/555/0123", "+*/***/***/**23"),
        ("1-425-555-0123", "*-***-***-**23"),
        ("1 425 555 0123", "* *** *** **23"),
        ("1.425.555.0123", "*.***.***.**23"),
        ("0151-23456789", "****-******89"),
        ("030/1234567", "***/*****67"),
        ("(0151) 23456789", "(****) ******89"),
        ("tel:020 7946 0958", "tel:*** **** **58"),
        ("06 12 34 56 78", "** ** ** ** 78"),
        ("x14255550123", "x*********23"),
        ("tel_14255550123", "tel_*********23"),
        ("call2_14255550123", "call2_*********23"),
        ("phone14255550123;ext=1", "phone*********23;ext=1"),
        ("14255550123-ext5", "*********23-ext5"),
        ("\uff0b14255550123", "\uff0b*********23"),
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
        "411F0B00-DC73-4528-A9E6-968BA983D2A1",
        "12345678-1234-4123-8123-123456789012",
        "9a0a2f6b-1c9e-4c5f-9a0a-2f6b12345678",
        "incoming:5d1a1b7e-6b0c-4c5f-9a0a-2f6b7a1c9e33",
        "8:acs:b9614373-fd0b-480c-8fd2-cb58b70eab9f_00000014-5f3a-b0ec-28f4-44482200d3a6",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "<Task at 0x7f3b12345678>",
        "Thu, 01 Jan 2026 12:00:30 GMT",
        "2026-01-01 12:00:30,123 and 01-02-2026 and 24.12.2026 and 01/02/2026",
        "20260101T120000Z",
        "after 0.1234567 s, then 150 s",
        "code 200/7015, 0/7015, 10404, 560000, 500 0 8522",
        "http://127.0.0.1:65535/callbacks and https://app.contoso.com:8443/callbacks?email=a@b",
        "http://[::1]:8080/acs",
        "postgresql://USER@HOST/DATABASE",
        "10.100.200.300 and 192.168.178.100:5432",
        "Python 3.11.7, transferkit 0.1.0, httpx-0.28.1, 2025.11.12",
        "transfer 2 of 3, attempt 6, 1 POST, 404 Not Found",
        "the Authorization header is not one bearer token in the form of a JWT",
        "basic authentication failed, the token is no JWT",
        "idempotency key 'case-42' was used",
        "no token: AADSTS7000215",
        "providers.graph.client_secret: environment variable GRAPH_CLIENT_SECRET is not set",
        "add ?secret=… to the subscription's address",
        "code=200 subcode=7015",
        "memory: · sqlite:///FILE",
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
        "Authorization: Basic {access_key}",
        "authorization=basic {access_key}, then more",
        "'Authorization': '{access_key}'",
        "Proxy-Authorization: Negotiate {access_key}",
        "https://user:{client_secret}@proxy.contoso.com:8080/x",
        "https://user:{client_secret}@home@proxy.contoso.com",
        "postgresql://me:{client_secret}@db/calls",
        "DefaultEndpointsProtocol=https;AccountName=calls;AccountKey={access_key};EndpointSuffix=x",
        "Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey={access_key}",
        "SharedAccessSignature={access_key}",
        "Authorization: SharedAccessSignature {access_key}",
        "https://x.blob.core.windows.net/c?sv=2024&sig={access_key}&se=2026",
        "aeg-sas-key: {access_key}",
        "aeg-sas-token: {access_key}",
        "x-functions-key: {access_key}",
        "Ocp-Apim-Subscription-Key: {access_key}",
        "api-key={access_key}",
        "x-api-key: {access_key}",
        "apikey={access_key}",
        "client-secret: {client_secret}",
        "Uid=me;Pwd={client_secret};",
        "refresh_token={token}",
        "clientSecret={client_secret}",
        "GRAPH_CLIENT_SECRET={client_secret}",
        "PGPASSWORD={client_secret}",
        "passwd={client_secret}",
        "sas={access_key}",
        "-----BEGIN PRIVATE KEY-----\n{access_key}\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\n{access_key}, and it was cut off",
        "assertion={client_secret}",
    ],
)
def test_a_token_or_key_is_masked_completely(text, planted):
    hot = text.format(
        token=planted.token,
        access_key=planted.access_key,
        client_secret=planted.client_secret,
        connection_string=planted.connection_string,
    )
    assert planted.shown_in(hot), "it must be there to be hidden"
    assert MASK in redact(hot)
    assert not planted.shown_in(redact(hot))


def test_text_around_a_key_is_kept():
    assert redact("a=1&client_secret=xyz&b=2") == "a=1&client_secret=***&b=2"
    assert redact("endpoint=https://x/;accesskey=abc==") == "endpoint=https://x/;accesskey=***"


def test_user_and_host_of_a_url_are_kept():
    assert redact("https://me:xyz@host:8080/x?a=b@c") == "https://me:***@host:8080/x?a=b@c"


def test_an_id_is_redacted_unless_it_is_a_guid():
    guid = "411F0B00-dc73-4528-a9e6-968ba983d2a1"
    assert safe_id(guid) == guid
    assert safe_id("sip:+14255550123@pbx") == "sip:+*********23@pbx"
    assert safe_id(f"{guid}:+14255550123") == f"{guid}:+*********23"


WORDS = st.sampled_from(
    [
        *(
            "authorization",
            "bearer",
            "basic",
            "token",
            "secret",
            "accesskey",
            "api-key",
            "sig",
            "code",
            "eyJ",
            "eyJa.",
        ),
        *(
            "://",
            "@",
            "=",
            ":",
            "?",
            "&",
            ";",
            ",",
            "'",
            '"',
            "***",
            "%20",
            "%2B",
            "+",
            "-",
            ".",
            "/",
            "_",
            "(",
            ")",
        ),
        *(
            " ",
            "\n",
            "0",
            "06",
            "34",
            "425",
            "0151",
            "555",
            "0123",
            "14255550123",
            "x",
            "tel",
            "ext",
            "g",
            "a",
        ),
    ]
)
TEXTS = st.text() | st.text("+0123456789 ()-.aBx%=&;:_/@") | st.lists(WORDS).map("".join)


@given(TEXTS)
def test_redacted_text_does_not_change_when_it_is_redacted_again(text):
    assert redact(redact(text)) == redact(text)


@given(
    before=st.text("ab :,;/'\"<(=@?&"),
    number=st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True),
    after=TEXTS,
)
def test_a_number_with_a_plus_sign_is_masked_in_any_text(before, number, after):
    assert number not in redact(before + number + after)


@given(
    st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True),
    st.sampled_from(["{}", "({})", "<{}>", "a {} b", '"{}"', "x:{}"]),
)
def test_a_number_between_separators_is_masked(digits, around):
    assert digits not in redact(around.format(digits))


@given(st.text())
def test_masking_keeps_the_length_and_two_digits_at_most(text):
    masked = mask_number(text)
    assert len(masked) == len(text)
    # An escape of two digits stands for a blank or the like and stays.
    shown = re.sub("%2[0-9A-Fa-f]", "", masked)
    assert sum(character.isdecimal() for character in shown) <= 2


PIECES = [
    *("a", "g", "_", "1", "-", "0", "a_", "x1", "id_", "1-", "0_", "0 ", "01 23 ", "1 425 ", "(012)", "+1 ("),
    *(
        "://",
        "://a:",
        "a@",
        "?code",
        "+1",
        "+%20",
        "%2B",
        "%2B1",
        "eyJ",
        "eyJ-",
        "eyJa.",
        "bearer ",
        "token=",
    ),
    *("secret", "password ", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----"),
    *("token ", "authorization:", "authorization ", "authorization: basic "),
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("begin", ["", "://a:", "+1", "eyJa.", "token=", "authorization"])
def test_redacting_a_long_text_takes_linear_time(begin, piece):
    """It takes milliseconds, and with quadratic time it would take seconds."""
    text, start = begin + piece * (25_000 // len(piece)), process_time()
    assert redact(text)
    assert process_time() - start < 0.5


def test_a_number_of_two_digits_is_masked_completely():
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

# What the configuration or a closed set says.
OPAQUE = ["provider", "kind", "method"]


def _planted_in(name, hint, planted):
    """A value of the type that `hint` names, with planted values wherever text fits."""
    hint = next((option for option in typing.get_args(hint) if type(None) in typing.get_args(hint)), hint)
    text = f"call {planted.number} with Bearer {planted.token}"
    someone = PhoneNumber(planted.number, display_name=text)
    if hint in {TeamsPhoneCallDetails, CallingContext, TeamsPhoneCallerDetails, TeamsPhoneSourceDetails}:
        return _filled(hint, planted)
    return {
        Call: Call("acs", text, tenant_id=text),
        str: None if name in OPAQUE else text,
        Identifier: someone,
        PhoneNumber: someone,
        tuple[Identifier, ...]: (someone,),
        FrozenMap[Identifier]: FrozenMap({text: someone}),
        FrozenMap[str]: FrozenMap({text: text}),
        FrozenMap[typing.Any]: FrozenMap({text: text}),
        Mapping[str, typing.Any]: FrozenMap({text: text}),
    }.get(hint)


DEFAULTS = {"basis": "stated", "reason": "busy", "evidence": "silence"}


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
def test_the_repr_of_a_value_shows_no_number_or_secret(cls, planted):
    value = _filled(cls, planted)
    assert not planted.shown_in(repr(value)), "repr"
    assert not planted.shown_in(str(value)), "str"


def test_the_repr_of_callback_values_shows_no_number_or_secret(planted):
    hot = f"{planted.number} {planted.token}"
    for value in (
        CallbackRequest(method="POST", url=f"/x?t={hot}", headers={"authorization": hot}, body=hot.encode()),
        Callback(body=hot.encode(), received_at=NOW, headers={"authorization": hot}),
        WireRequest(method="POST", url=f"https://x/{hot}", headers={"authorization": hot}, body={"to": hot}),
        Result(message=hot),
        Secret(value=planted.client_secret),
        FrozenMap({"a": hot}),
    ):
        assert not planted.shown_in(f"{value!r} {value!s} {[value]}"), type(value).__name__


@pytest.mark.parametrize("kind", ["call.incoming", "provider.other", "transfer.failed"])
def test_the_repr_of_an_event_does_not_show_the_provider_s_json(kind, planted):
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
        lambda p: TransferInProgress(f"pbx:sip:{p.number}@pbx.contoso.com", "t-1"),
        lambda p: MalformedCallback("acs", "[0].data", f"what is {p.number}, {p.token}?"),
        lambda p: ConfigError("x.toml", [Problem("providers.acs.key", f"got {p.connection_string}")]),
    ],
    ids=["InvalidRequest", "IdempotencyConflict", "TransferInProgress", "MalformedCallback", "ConfigError"],
)
def test_an_error_shows_no_number_or_secret(error, planted):
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
        CallbackNotVerified("the token's signature is wrong", cause="signature"),
        SenderNotChecked("no keys", cause="keys", retry_after=timedelta(seconds=5)),
        ConfigError("x.toml", [Problem("provider", "is missing")]),
        AdapterNotFound("adapters", [Problem("providers.x", "no such")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_can_be_pickled(error):
    import pickle

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_error_of_an_invalid_request_shows_no_number(planted):
    with pytest.raises(TypeError) as raised:
        Transfer(call="abc", to=planted.number)
    assert not planted.shown_in(f"{raised.value!r}")


# --- the guard over this suite's output -------------------------------------------------------------

ROOT_CONFTEST = Path(__file__).resolve().parents[2] / "conftest.py"

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


def run_suite(tmp_path, source, *, workers=0):
    shutil.copy(ROOT_CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(source, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        f"-n{workers}",
        "-pxdist",
        "-pno:cacheprovider",
        f"--rootdir={tmp_path}",
        "-c",
        "/dev/null",
        ".",
    ]
    return subprocess.run(  # noqa: S603 - our own interpreter
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_leak_in_any_test_fails_the_suite(tmp_path, workers):
    run = run_suite(tmp_path, LEAKS, workers=workers)
    assert run.returncode == 1, run.returncode
    (summary,) = run.stdout.split("planted values in output")[1:]
    found = [line.split(":")[2] for line in summary.splitlines() if line.startswith("test_it.py::")]
    leaky = [
        line.split("(")[0].removeprefix("def ") for line in LEAKS.splitlines() if line.startswith("def test_")
    ]
    leaky.remove("test_is_innocent")
    assert sorted(set(found)) == sorted(leaky)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_leak_outside_of_tests_fails_the_suite(tmp_path, workers):
    source = 'import logging\nlogging.error("%s", "+1" + "4255550142")\ndef test_one(): pass\n'
    run = run_suite(tmp_path, source, workers=workers)
    assert run.returncode == 1
    assert "collection: a planted phone number in a log record of root" in run.stdout
    assert "1 passed" in run.stdout


def test_a_suite_without_a_leak_passes(tmp_path):
    run = run_suite(
        tmp_path, "def test_one(planted):\n    assert planted.shown_in(planted.number) == ['phone number']\n"
    )
    assert run.returncode == 0, "a clean suite must pass"
    assert "planted values in output" not in run.stdout
