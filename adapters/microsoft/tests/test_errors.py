"""Bodies of HTTP error responses: every known form, and unreadable bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transferkit_microsoft.errors import ErrorBody, is_page, read_error

STORE = "Application is not registered in our store."
SERVICE = {"errorCode": "7503", "message": STORE, "instanceAnnotations": []}


def body(error, **more):
    return json.dumps({"error": error, **more}).encode()


def graph(code, message, **more):
    return body({"code": code, "message": message, "innerError": {"request-id": "r-1", **more}})


@pytest.mark.parametrize("code", ["7503", 7503, 7503.0])
def test_a_code_is_a_number_or_text(code):
    assert read_error(graph(code, STORE)) == ErrorBody(
        codes=((7503, STORE),), message=STORE, request_id="r-1"
    )


@pytest.mark.parametrize("code", ["BadRequest", "UnknownError", "", None, True, "403", 403, 7503.5, "9" * 30])
def test_a_word_or_an_http_status_is_not_a_code_of_the_calling_service(code):
    assert read_error(graph(code, "Said so.")).codes == ()


@pytest.mark.parametrize(
    "message",
    [
        json.dumps(SERVICE),
        json.dumps(json.dumps(SERVICE)),
        json.dumps(json.dumps(json.dumps(SERVICE))),
        json.dumps({"error": SERVICE}),
        json.dumps({"error": {"code": "Forbidden", "message": json.dumps(SERVICE)}}),
        "Code: UnknownError Message: " + json.dumps(SERVICE),
        json.dumps(SERVICE) + " DiagCode: 403#7503.@",
        json.dumps(SERVICE).replace('"', '\\"'),
    ],
    ids=["once", "twice", "thrice", "wrapped", "nested", "after words", "before words", "escaped"],
)
@pytest.mark.parametrize("code", ["UnknownError", "Forbidden", "403"])
def test_the_calling_services_error_is_found_as_json_text_inside_the_message(code, message):
    found = read_error(graph(code, message))
    assert (found.codes, found.message) == (((7503, STORE),), STORE)


def test_a_message_with_other_braces_stays_the_message():
    for message in ('Invalid value {0} for "to".', 'The body {"a": 1} is invalid.', "{", "{broken", "}{"):
        assert read_error(graph("BadRequest", message)).message == message


@pytest.mark.parametrize("name", ["innererror", "innerError", "InnerError"])
def test_a_code_is_found_in_an_inner_error(name):
    error = {"code": "BadRequest", "message": "Outer.", name: {"code": "8523", "message": "Inner."}}
    assert read_error(body(error)) == ErrorBody(codes=((8523, "Inner."),), message="Outer.")


def test_a_code_is_found_in_the_details():
    error = {
        "code": "BadRequest",
        "message": "Outer.",
        "target": "to",
        "details": [{"code": "InvalidTarget", "target": "to"}, {"code": 8523, "message": "Inner."}],
    }
    assert read_error(body(error)) == ErrorBody(codes=((8523, "Inner."),), message="Outer.")


def test_every_code_is_kept_outer_ones_before_inner_ones():
    deep = {"code": "8501", "innererror": {"code": "8523", "details": [{"code": 8522}, {"code": 8607}]}}
    assert [code for code, _ in read_error(body(deep)).codes] == [8501, 8523, 8522, 8607]


def test_the_error_may_be_the_whole_body():
    assert read_error(json.dumps(SERVICE).encode()).codes == ((7503, STORE),)
    assert read_error(json.dumps(json.dumps(SERVICE)).encode()).codes == ((7503, STORE),)


@pytest.mark.parametrize(
    ("error", "request_id"),
    [
        ({"innerError": {"request-id": "r-1", "client-request-id": "c-1"}}, "r-1"),
        ({"innererror": {"requestId": "r-2"}}, "r-2"),
    ],
)
def test_the_request_id_is_read_in_both_spellings(error, request_id):
    assert read_error(body(error)).request_id == request_id


def test_problem_details_keep_title_detail_and_fields():
    problem = {
        "type": "about:blank",
        "title": "One or more validation errors occurred.",
        "status": 400,
        "detail": "See errors.",
        "traceId": "00-trace",
        "errors": {"CallbackUri": ["The field CallbackUri is invalid."], "To": "Wrong.", "Odd": [1, None]},
    }
    found = read_error(json.dumps(problem).encode())
    assert found.codes == ()
    assert found.message == (
        "One or more validation errors occurred. See errors. "
        "CallbackUri: The field CallbackUri is invalid. To: Wrong."
    )
    assert found.request_id == "00-trace"


def test_an_oauth_error_keeps_its_description():
    found = read_error(b'{"error": "invalid_client", "error_description": "AADSTS7000215: wrong secret"}')
    assert found == ErrorBody(message="AADSTS7000215: wrong secret")
    assert read_error(b'{"error": "invalid_client"}').message == "invalid_client"


def test_plain_text_is_the_message_on_one_line():
    assert read_error(b"upstream connect error\r\n  reset reason: timeout\n").message == (
        "upstream connect error reset reason: timeout"
    )
    assert read_error(b'"only a JSON text"').message == "only a JSON text"


def test_a_long_message_is_cut_and_half_a_character_is_replaced():
    assert len(read_error(graph("x", "a" * 10_000)).message) == 2_000
    assert read_error(b'{"message": "half \\ud83d of it"}').message == "half \ufffd of it"


@pytest.mark.parametrize("page", [b"<html>Bad gateway</html>", b"\r\n <!DOCTYPE html><title>Sign in</title>"])
def test_an_html_page_has_no_error(page):
    assert is_page(page)
    assert read_error(page) == ErrorBody()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"null",
        b"true",
        b"7503",
        b"[]",
        b"{}",
        b"[[[]]]",
        b'{"error": null}',
        b'{"error": {"code": "8522"',
        b"\x1f\x8b\x08\x00\xff",
        b"\x00\x01",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"code": 1' + b"0" * 5_000 + b"}",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_an_unreadable_body_has_no_codes(content):
    assert read_error(content).codes == ()


def test_an_error_that_is_nested_too_deeply_is_not_searched_to_its_end():
    error = {"code": "8522"}
    for _ in range(100):
        error = {"innererror": error}
    assert read_error(body(error)).codes == ()


names = st.sampled_from(
    ["error", "code", "message", "innerError", "details", "request-id", "errors", "title"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
    max_leaves=12,
)


@given(anything.map(json.dumps).map(str.encode) | st.binary() | st.text().map(str.encode))
def test_no_body_raises(content):
    found = read_error(content)
    assert all(code >= 1_000 for code, _ in found.codes)
    json.dumps([found.message, found.request_id], ensure_ascii=False).encode()
