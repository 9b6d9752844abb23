"""The JSON Schema and the AsyncAPI document."""

import json

import pytest
from jsonschema import Draft202012Validator
from support.command_line import run

from transferkit import ContentMode, Identifier
from transferkit.events import event_classes
from transferkit.relay.schema import asyncapi_document, json_schema


def references(value):
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


def test_the_json_schema_is_valid_and_has_every_kind_of_event():
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    kinds = {schema["$defs"][cls.__name__]["properties"]["kind"]["const"] for cls in event_classes()}
    assert kinds == {cls.kind for cls in event_classes()}
    assert len(schema["oneOf"]) == len(kinds)


@pytest.mark.parametrize("mode", ContentMode)
def test_every_reference_of_a_document_leads_to_a_definition(mode):
    for document in (json_schema(), asyncapi_document(version="1", content_mode=mode)):
        for reference in references(document):
            found = document
            for part in reference.removeprefix("#/").split("/"):
                found = found[part]
            assert isinstance(found, dict)


def test_the_asyncapi_document_has_a_message_for_every_kind_of_event():
    document = asyncapi_document(version="1.2.3")
    assert document["asyncapi"].startswith("3.")
    assert document["info"]["version"] == "1.2.3"
    messages = document["components"]["messages"]
    assert {message["name"] for message in messages.values()} == {
        f"transferkit.{cls.kind}" for cls in event_classes()
    }
    assert set(document["channels"]["events"]["messages"]) == set(messages)


def test_the_payload_of_a_binary_message_is_the_data_alone():
    document = asyncapi_document(version="1", content_mode=ContentMode.BINARY)
    message = document["components"]["messages"]["TransferCompleted"]
    assert message["payload"] == {"$ref": "#/components/schemas/TransferCompleted"}
    assert message["contentType"] == "application/json"


def test_the_schema_names_every_kind_of_identifier_by_its_class():
    assert json_schema()["$defs"]["Identifier"]["title"] == Identifier.__name__


def test_the_command_prints_both_documents_without_a_configuration():
    assert json.loads(run("events", "--schema").stdout)["asyncapi"] == "3.0.0"
    assert json.loads(run("events", "--json-schema").stdout) == json_schema()
