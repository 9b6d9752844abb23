"""`transferkit redirect`: its own options and its outcome."""

import json

from support.command_line import json_lines, run


def test_every_option_of_a_redirect_reaches_the_request(tmp_path):
    (tmp_path / "context.txt").write_text("opaque\n")
    result = run(
        "redirect", "call-1", "-p", "fake", "--dry-run",
        "--to", "teams:agent",
        "--to", "+14255550100",
        "--tenant", "tenant-1",
        "--incoming-context", f"@{tmp_path / 'context.txt'}",
        "--source", "acs:res_user",
        "--ring-timeout", "30",
        "--disposition", "simultaneousRing",
        "--mask-caller",
        "--no-mask-callee",
        "--caller-id", "+14255550101",
        "--sip", "X-MS-Custom-Case=42",
        "--operation-context", "case 42",
        "--callback-uri", "https://app.contoso.com/cb",
        "--deadline", "20",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["body"] == {
        "type": "redirect",
        "call": {"provider": "fake", "id": "call-1", "tenant_id": "tenant-1"},
        "to": ["8:orgid:agent", "4:+14255550100"],
        "incoming_context": "opaque",
        "source": "8:acs:res_user",
        "ring_timeout": 30.0,
        "disposition": "simultaneousRing",
        "mask_caller": True,
        "mask_callee": False,
        "caller_id": "4:+14255550101",
        "context": {"sip": {"X-MS-Custom-Case": "42"}},
        "operation_context": "case 42",
        "callback_uri": "https://app.contoso.com/cb",
        "deadline": 20.0,
    }


def test_a_redirect_is_sent_and_its_outcome_printed(in_memory):
    result = run("redirect", "call-1", "--config", in_memory, "--to", "+14255550100", "--wait")
    assert result.exit_code == 0
    assert json_lines(result)[-1]["kind"] == "redirect.completed"
