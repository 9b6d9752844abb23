"""The OpenAPI document of the control API: valid, complete, and true about every response."""

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from transferkit.emulators.openapi import CONTROL_PREFIX, openapi_document
from transferkit.emulators.operations import OPERATIONS

DOCUMENT = openapi_document("http://127.0.0.1:4301")
BODIES = {
    "calls": {"group": True},
    "calls/{call_id}/end_ringing": {"scenario": "no_answer"},
    "faults": {"fault": "lose,times=always,match=nothing"},
    "chaos": {"seed": 7, "rate": 0},
}


def test_the_document_is_valid_openapi():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_operation_is_documented_with_an_id_of_its_own():
    documented = {
        (method.upper(), path.removeprefix(CONTROL_PREFIX))
        for path, item in DOCUMENT["paths"].items()
        for method in item
    }
    assert documented == {(operation.method, operation.path) for operation in OPERATIONS}
    ids = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(OPERATIONS)


async def test_the_emulator_serves_the_document(bench):
    response = await bench.control("GET", "openapi.json")
    assert response.status_code == 200
    assert response.json() == openapi_document(bench.url)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
async def test_a_response_is_as_the_document_says(bench, operation):
    bench.emulator.callback_url = bench.callback_url
    call = bench.call()
    await bench.transfer(call, "manual")
    await bench.emulator.settle()
    await bench.emulator.post(bench.callback_url, {"word": "hello"})
    body = BODIES.get(operation.path) if operation.method == "POST" else None
    response = await bench.control(operation.method, operation.path.format(call_id=call), body)
    documented = DOCUMENT["paths"][CONTROL_PREFIX + operation.path][operation.method.lower()]
    described = documented["responses"][str(response.status_code)]
    if "content" not in described:
        assert response.content == b""
        return
    schema = described["content"]["application/json"]["schema"]
    found = response.json()
    assert found, "an empty list would prove nothing"
    validator_of({**schema, "components": DOCUMENT["components"]}).validate(found)


async def test_an_error_is_as_the_document_says(bench):
    response = await bench.control("POST", "calls/none/answer")
    assert response.status_code == 404
    validator_of(DOCUMENT["components"]["schemas"]["Error"]).validate(response.json())


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.required], ids=lambda one: one.path)
async def test_a_required_property_is_required(bench, operation):
    call = bench.call()
    response = await bench.control(operation.method, operation.path.format(call_id=call), {})
    assert response.status_code == 400
    assert response.json()["error"].startswith(operation.required[0])


def validator_of(schema):
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)
