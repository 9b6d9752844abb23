"""`transferkit decode`."""

import json

import pytest
from attrs import evolve
from support.command_line import json_lines, run

from transferkit.provider.facts import RequestKind
from transferkit.testing import FakeAdapter

BUSY = {
    "id": "1",
    "call_id": "call-1",
    "time": "2026-01-01T12:00:00+00:00",
    "signals": ["failed"],
    "reason": "busy",
}
ENDED = BUSY | {"id": "2", "signals": ["succeeded", "call_ended"], "reason": None}
INCOMING = {
    "id": "3",
    "call_id": "call-2",
    "time": "2026-01-01T12:00:00+00:00",
    "incoming": {"source": "4:+14255550107", "target": "8:orgid:a", "context": "opaque"},
}


@pytest.mark.parametrize("files", [[], ["-"]])
def test_standard_input_is_decoded(files):
    result = run("decode", "--provider", "fake", *files, stdin=json.dumps(BUSY))
    assert result.exit_code == 0
    (event,) = json_lines(result)
    assert event["file"] == "-"
    assert (event["kind"], event["reason"], event["call_id"]) == ("transfer.failed", "busy", "call-1")
    assert event["raw"] == BUSY


def test_each_line_names_the_file_that_it_was_decoded_from(tmp_path):
    for name, body in (("a.json", BUSY), ("b.json", ENDED), ("c.json", INCOMING)):
        (tmp_path / name).write_text(json.dumps(body))
    result = run("decode", "-p", "fake", *(str(tmp_path / f"{name}.json") for name in "abc"))
    assert result.exit_code == 0
    decoded = [(line["file"].rpartition("/")[2], line["kind"]) for line in json_lines(result)]
    assert decoded == [
        ("a.json", "transfer.failed"),
        ("b.json", "transfer.completed"),
        ("b.json", "call.ended"),
        ("c.json", "call.incoming"),
    ]


def test_progress_is_decoded():
    result = run("decode", "-p", "fake", stdin=json.dumps({**BUSY, "signals": ["started", "accepted"]}))
    assert [line["kind"] for line in json_lines(result)] == ["transfer.started", "transfer.accepted"]


def test_a_malformed_body_or_a_missing_file_does_not_stop_the_others(tmp_path):
    (tmp_path / "bad.json").write_text("nonsense")
    (tmp_path / "good.json").write_text(json.dumps(BUSY))
    files = [str(tmp_path / name) for name in ("missing.json", "bad.json", "good.json")]
    result = run("decode", "-p", "fake", *files)
    assert result.exit_code == 1
    assert [line["kind"] for line in json_lines(result)] == ["transfer.failed"]
    assert "bad.json: fake callback, body" in result.stderr
    assert f"cannot read {tmp_path / 'missing.json'}: No such file" in result.stderr


def test_a_verdict_on_a_redirect_is_decoded(monkeypatch):
    decode = FakeAdapter.decode
    monkeypatch.setattr(
        FakeAdapter,
        "decode",
        lambda callback: [evolve(fact, operation=RequestKind.REDIRECT) for fact in decode(callback)],
    )
    result = run("decode", "-p", "fake", stdin=json.dumps(ENDED))
    assert [line["kind"] for line in json_lines(result)] == ["redirect.completed", "call.ended"]


def test_an_unknown_provider_exits_with_2():
    result = run("decode", "--provider", "nobody", stdin="{}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no adapter named 'nobody'" in result.stderr
