"""The demonstration is what a newcomer runs first: it must tell the truth, also by its exit code."""

import asyncio
import json
import os
import re
import signal
import sys
import sysconfig
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from attrs import evolve
from typer.testing import CliRunner

from transferkit import TransferFailed
from transferkit.cli.app import app
from transferkit.cli.commands import demo as demonstration
from transferkit.cli.demo import stories
from transferkit.emulators import Fault, emulators, environments

pytestmark = pytest.mark.heavy

PROVIDERS = {"acs", "graph"}
MOMENT = 2
"""Seconds to the first words; they take less than one on a machine that has nothing else to do."""
RUNS = 5
COMMAND = (str(Path(sysconfig.get_path("scripts")) / "transferkit"), "demo")
README = Path(__file__).parents[2] / "README.md"
ENDINGS = {
    "blind": {"transfer.completed"},
    "busy": {"transfer.failed"},
    "group": {"transfer.completed"},
    "redirect": {"redirect.completed"},
    "silent": {"transfer.expired"},
    "storm": {"transfer.completed"},
    "crash": {"transfer.completed"},
}


@pytest.fixture(autouse=True)
def width_of_no_terminal(monkeypatch):
    """A process that pytest starts inherits the width that readline gave the first one."""
    monkeypatch.delenv("COLUMNS", raising=False)


@asynccontextmanager
async def running(*options, folder):
    """The command, as users run it; `folder` is for its temporary files alone."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Shown:
    """What `demo --json --web` printed, what was on the page at its end, and how it ended after Ctrl-C."""

    def __init__(self, lines, *, page, code, errors, left):
        self.lines = lines
        self.page = page
        self.code = code
        self.errors = errors
        self.left = left

    @property
    def summaries(self):
        return {(line["provider"], line["summary"]): line for line in self.lines if "summary" in line}

    def events(self, provider, story):
        return [
            line
            for line in self.lines
            if "kind" in line and (line["provider"], line["story"]) == (provider, story)
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(tmp_path_factory, compiled):
    folder = tmp_path_factory.mktemp("demo")
    async with running("--json", "--web", folder=folder) as process, asyncio.timeout(60):
        lines = [json.loads(await process.stdout.readline())]
        while "stories" not in lines[-1]:
            lines.append(json.loads(await process.stdout.readline()))
        (address,) = (line["page"] for line in lines if "page" in line)
        async with httpx.AsyncClient(trust_env=False) as http:
            page = (await http.get(address)).text
        process.send_signal(signal.SIGINT)
        rest, errors = await process.communicate()
        assert rest == b""
    return Shown(
        lines,
        page=page,
        code=process.returncode,
        errors=errors,
        left=list(folder.iterdir()),
    )


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """What is compiled is kept, as users have it, also where this environment keeps nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("compiled")))
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


async def seconds_to_the_first_words(folder):
    began = time.monotonic()
    async with running("--json", folder=folder) as process, asyncio.timeout(60):
        words = await process.stdout.readline()
        took = time.monotonic() - began
        process.kill()
        await process.communicate()
    assert "no account" in json.loads(words)["demo"]
    return took


async def test_the_first_words_come_at_once(tmp_path):
    """In the fastest of some runs: the first one compiles, and what else runs here may disturb another."""
    assert min([await seconds_to_the_first_words(tmp_path) for _ in range(RUNS)]) < MOMENT


def test_the_page_stays_until_ctrl_c_which_leaves_nothing_behind(shown):
    assert "<svg" in shown.page
    assert (shown.code, shown.errors, shown.left) == (0, b"", [])


def test_all_is_as_expected_on_every_provider(shown):
    assert {provider for provider, _ in shown.summaries} == PROVIDERS
    assert {story for _, story in shown.summaries} == {story.name for story in stories.STORIES}
    assert [line["problems"] for line in shown.summaries.values()] == [[]] * 16
    assert shown.lines[-1]["as_expected"] == shown.lines[-1]["stories"] == 16


def test_every_call_has_one_outcome_and_it_is_the_same_everywhere(shown):
    for story, kinds in ENDINGS.items():
        for provider in PROVIDERS:
            ends = {}
            for event in shown.events(provider, story):
                if event["kind"].endswith((".completed", ".failed", ".expired")):
                    ends.setdefault(event["call_id"], []).append(event["kind"])
            assert {kind for told in ends.values() for kind in told} == kinds, (provider, story)
            assert all(len(told) == 1 for told in ends.values()), (provider, story)
            assert shown.summaries[provider, story]["wire"]["executed"] == len(ends)


def test_what_a_provider_has_no_room_for_is_refused_before_anything_is_sent(shown):
    refused = shown.summaries["acs", "consultative"]
    assert refused["outcome"] == "refused"
    assert refused["refusal"][0].startswith("replaces: ")
    assert refused["wire"] == {"asked": 0, "looked": 0, "executed": 0, "callbacks": 0, "disturbed": 0}
    assert shown.summaries["graph", "consultative"]["outcome"] == "transfer.completed"


def test_a_killed_process_s_request_is_repeated_only_where_that_is_safe(shown):
    notes = [(line["provider"], line["note"].partition(":")[0]) for line in shown.lines if "note" in line]
    assert sorted(notes) == sorted((name, what) for name in PROVIDERS for what in ("killed", "taken over"))
    repeated, asked_after = (shown.summaries[name, "crash"]["wire"] for name in ("acs", "graph"))
    assert (repeated["asked"], repeated["executed"]) == (2, 1)
    assert (asked_after["asked"], asked_after["executed"]) == (1, 1)
    assert asked_after["looked"] >= 1


def test_the_storm_leaves_no_callback_alone(shown):
    for provider in PROVIDERS:
        wire = shown.summaries[provider, "storm"]["wire"]
        assert wire["disturbed"] == wire["callbacks"] > wire["executed"] == 8


def test_events_come_as_they_happen_from_both_at_once(shown):
    """The providers' lines are mixed, and stand between a story's begin and its summary."""
    blind = [line["provider"] for line in shown.lines if line.get("story") == "blind"]
    assert blind != sorted(blind)
    begun = [line["begun"] for line in shown.lines if "begun" in line]
    assert begun == [story.name for story in stories.STORIES]


# --- for people -------------------------------------------------------------------------------------


@pytest.fixture
def only(monkeypatch):
    """Plays these stories alone, so that it is quick."""

    def only(*names, **changes):
        chosen = [evolve(story, **changes) for story in stories.STORIES if story.name in names]
        monkeypatch.setattr(stories, "STORIES", tuple(chosen))

    return only


def test_people_see_timelines_side_by_side_and_a_table(only):
    only("blind", "consultative")
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert re.search(r"(?m)^acs +graph *$", result.output)
    assert re.search(r"(?m)^ +0\.000 s ● transfer\.requested +0\.000 s ● transfer\.requested", result.output)
    assert "refused, nothing was sent: replaces" in result.output
    assert re.search(r"a consultative transfer +│ refused +│ completed", result.output)
    assert "4 of 4 as expected" in result.output


def test_on_a_terminal_the_story_that_plays_is_drawn_as_it_comes(only, monkeypatch):
    only("busy")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    result = CliRunner().invoke(app, ["demo"], color=True)
    assert result.exit_code == 0, result.output
    assert result.output.count("a transfer to somebody who is busy") > 2
    assert "\x1b[?25l" in result.output, "the cursor is hidden while it draws"
    assert "\x1b[?25h" in result.output.rpartition("2 of 2 as expected")[0], "and comes back"


async def test_interrupted_it_does_not_say_that_all_is_well(tmp_path):
    async def interrupt(number):
        folder = tmp_path / number.name
        folder.mkdir()
        async with running("--json", folder=folder) as process, asyncio.timeout(60):
            while "begun" not in json.loads(await process.stdout.readline()):
                pass
            process.send_signal(number)
            await process.communicate()
        return process.returncode, list(folder.iterdir())

    ended = await asyncio.gather(interrupt(signal.SIGINT), interrupt(signal.SIGTERM))
    assert ended == [(130, []), (143, [])]


def test_the_picture_of_the_readme_is_what_it_prints():
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0, result.output
    (picture,) = re.findall(r"```text\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for part in picture.split("\n…\n"):
        assert without_times(part) in without_times(result.output)


def without_times(text):
    """What is the same in every run, whatever the columns' width."""
    lines = (re.sub(r"\d+\.\d+", "0.0", line).split() for line in text.strip().splitlines())
    return "\n".join(" ".join(words) for words in lines)


def test_the_readme_shows_the_command_and_every_story():
    text = README.read_text(encoding="utf-8")
    assert "uv run --no-dev transferkit demo\n" in text
    assert [story.title for story in stories.STORIES if f"│ {story.title} " not in text] == []


# --- what is not as expected ------------------------------------------------------------------------


def results(result):
    return [line for line in map(json.loads, result.stdout.splitlines()) if "summary" in line]


def test_an_emulator_that_misbehaves_is_an_exit_code_of_1(only, monkeypatch):
    only("blind")
    refused = Fault.parse("status=400,match=transfer")
    monkeypatch.setattr(environments, "emulators", partial(emulators, faults=[refused]))
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert result.exit_code == 1
    assert [line["as_expected"] for line in results(result)] == [False, False]
    for line in results(result):
        assert line["problems"][0].startswith("transfer.failed (")
        assert line["problems"][1] == "executed 0 times"


def test_another_outcome_than_the_expected_one_is_said_to_people(only):
    only("busy", expected=TransferFailed, reason="declined")
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert "not as expected: transfer.failed (busy)" in result.output
    assert "0 of 2 as expected" in result.output


def test_a_story_that_breaks_off_fails_and_the_others_go_on(only, monkeypatch):
    async def breaks_off(scene):
        raise OSError("no socket for +14255550142")

    only("blind", "busy")
    blind, busy = stories.STORIES
    monkeypatch.setattr(stories, "STORIES", (evolve(blind, act=breaks_off), busy))
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert result.exit_code == 1
    assert [line["as_expected"] for line in results(result)] == [False, False, True, True]
    assert "OSError" in results(result)[0]["problems"][0]
    assert "4255550142" not in result.output


def test_a_refusal_that_nobody_expects_is_unexpected(only):
    only("consultative", refusable=None)
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert result.exit_code == 1
    assert {line["provider"]: line["as_expected"] for line in results(result)} == {
        "acs": False,
        "graph": True,
    }


def test_no_emulator_is_a_clear_message(monkeypatch):
    monkeypatch.setattr(demonstration, "announced", lambda _: {})
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 2
    assert "transferkit[all]" in result.stderr
    assert result.stdout == ""


def test_no_server_is_a_clear_message(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 2
    assert "transferkit[emulators]" in result.stderr
