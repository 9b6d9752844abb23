"""The checks of request bodies."""

import pytest

from transferkit.emulators.schema import (
    Record,
    anything_in_an_object,
    boolean,
    filled_text,
    find_problems,
    integer,
    list_of,
    map_of,
    one_of,
    or_null,
    text,
)

ITEM = Record(required={"id": filled_text}, optional={"size": integer(1, 3)})
ORDER = Record(
    required={"items": list_of(ITEM, least=1, most=2)},
    optional={"note": or_null(text), "tags": map_of(boolean), "colour": one_of("Red", "Blue")},
    since={"colour": "2025-01-01"},
)
OLD, NEW = "2024-01-01", "2025-01-01"


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"items": [{"id": "a", "size": 3}], "note": None, "tags": {"x": True}, "colour": "RED"}, []),
        ({"items": [{"id": ""}, {"id": "b", "size": 4}]}, ["items[0].id", "items[1].size"]),
        ({"items": [{"id": "a", "size": True}]}, ["items[0].size"]),
        ({"items": []}, ["items"]),
        ({"items": {}}, ["items"]),
        (
            {"items": [{"id": "a"}], "note": 7, "tags": {"x": 1}, "colour": "green"},
            ["note", "tags.x", "colour"],
        ),
        ({"items": [{"id": "a"}], "tags": []}, ["tags"]),
        ({"other": 1}, ["other", "items"]),
        ([], [""]),
    ],
)
def test_every_problem_is_reported_with_its_path(body, paths):
    assert [problem.path for problem in find_problems(ORDER, body, version=NEW)] == paths


def test_a_field_of_a_later_version_is_ignored():
    body = {"items": [{"id": "a"}], "colour": 7}
    assert find_problems(ORDER, body, version=OLD) == []
    assert ORDER.known_fields(body, OLD) == {"items": [{"id": "a"}]}
    assert ORDER.known_fields(body, NEW) == body


def test_an_object_with_any_content_is_accepted():
    assert find_problems(anything_in_an_object, {"x": [1]}) == []
    (problem,) = find_problems(anything_in_an_object, [])
    assert str(problem) == "the body must be an object"
