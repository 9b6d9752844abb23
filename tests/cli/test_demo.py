"""`transferkit demo` without its emulators: its exit codes, and what is reported as not expected.

`tests/e2e/test_demo.py` runs it whole.
"""

import asyncio
import contextlib
from datetime import timedelta
from types import SimpleNamespace

import pytest
from attrs import evolve

pytest.importorskip("starlette")
from support.command_line import run

from transferkit import Basis, FailureReason, InvalidRequest, Problem, TransferCompleted, TransferFailed
from transferkit.cli.commands import demo as demo_command
from transferkit.cli.demo import runner, stories
from transferkit.cli.demo.display import Timelines
from transferkit.cli.demo.runner import StoryResult, run_story
from transferkit.cli.demo.scene import Note, Wire
from transferkit.cli.demo.stories import Story
from transferkit.testing import scenario
from transferkit.testing.contracts.store_inputs import AT

COMPLETED = TransferCompleted(
    time=AT, provider="fake", call_id="call-1", transfer_id="t-1", basis=Basis.STATED, elapsed=timedelta(1)
)
FAILED = TransferFailed(
    time=AT,
    provider="fake",
    call_id="call-1",
    transfer_id="t-1",
    basis=Basis.STATED,
    reason=FailureReason.BUSY,
)
NOTHING_SENT = Wire(posts=0, gets=0, executed=0, callbacks=0, disturbed=0)


# --- the result of a story --------------------------------------------------------------------------


class Scene:
    """A scene whose one call was never executed."""

    calls = ("call-1",)
    requests = (object(),)

    def __init__(self, environment, emulator, show):
        self.environment, self.emulator = environment, emulator

    async def until_shown(self, history):
        pass

    def wire(self):
        return NOTHING_SENT


@pytest.fixture
def result_of(monkeypatch):
    """Runs a story in that scene; returns the result. The stream has two outcomes of its transfer."""

    @contextlib.asynccontextmanager
    async def events_shown(scene):
        yield

    async def settle():
        pass

    async def history(transfer_id):
        return (COMPLETED, FAILED)

    monkeypatch.setattr(runner, "Scene", Scene)
    monkeypatch.setattr(runner, "_events_shown", events_shown)
    environment = SimpleNamespace(provider="fake", client=SimpleNamespace(history=history))
    emulator = SimpleNamespace(
        settle=settle, executions=lambda _: 0, faults=SimpleNamespace(clear=lambda: None)
    )

    async def result_of(act):
        story = Story(name="one", title="One", run=act, expected=TransferCompleted, refusable="to")
        return await run_story(story, environment, emulator, lambda _: None)

    return result_of


async def test_every_broken_promise_is_a_problem_of_the_result(result_of):
    async def act(scene):
        return [FAILED]

    assert (await result_of(act)).problems == (
        "outcomes on the stream: transfer.completed, transfer.failed",
        "transfer.failed (busy)",
        "executed 0 times",
    )


async def test_a_story_that_does_not_end_is_a_problem_of_the_result(result_of, monkeypatch):
    async def act(scene):
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(runner, "_TIMEOUT_SECONDS", 0.01)
    assert (await result_of(act)).problems == ("the story did not end within 0.01 s",)


async def test_an_unexpected_refusal_is_a_problem_of_the_result(result_of):
    async def act(scene):
        raise InvalidRequest("fake", [Problem("context", "is too long", "less")])

    result = await result_of(act)
    assert result.ending == "refused"
    field, late = result.problems
    assert field.startswith("refused: context")
    assert late == "refused, but something was sent"


async def test_a_story_that_fails_leaves_no_process_behind():
    environment = SimpleNamespace(config={}, place_call=lambda: "call-0")
    target = scenario("answers").number
    with pytest.raises(ZeroDivisionError):
        async with stories._process(
            SimpleNamespace(environment=environment), "call-1", target, case="x"
        ) as process:
            raise ZeroDivisionError
    assert process.returncode is not None


# --- what people see --------------------------------------------------------------------------------


def test_an_event_that_arrives_after_a_later_note_is_shown_before_it(capsys):
    story = evolve(stories.STORIES[0], title="One")
    result = StoryResult(story=story, provider="fake", outcomes=(COMPLETED,), wire=NOTHING_SENT)
    with contextlib.closing(Timelines()) as display:
        display.start(["fake"], "http://127.0.0.1:1")
        display.start_story(story)
        display.add("fake", Note(text="the note", time=AT + timedelta(seconds=1)))
        display.add("fake", COMPLETED)
        display.end_story([result])
        display.summarize([result], 1)
        display.wait("http://127.0.0.1:1")
    out = capsys.readouterr().out
    assert "watch it in a browser: http://127.0.0.1:1" in out
    assert out.index("transfer.completed") < out.index("the note")
    assert "1 of 1 as expected" in out
    assert "the page stays at http://127.0.0.1:1" in out


# --- exit codes -------------------------------------------------------------------------------------


@pytest.fixture
def run_ending(monkeypatch):
    """Runs the command; its stories return, or raise, the result."""

    def run_ending(result):
        async def run_all(display, *, web):
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(demo_command, "announced", lambda _: ["fake"])
        monkeypatch.setattr(demo_command, "_run", run_all)
        return run("demo", "--json")

    return run_ending


@pytest.mark.parametrize(
    ("result", "exit_code"),
    [(True, 0), (False, 1), (KeyboardInterrupt(), 130), (asyncio.CancelledError(), 143)],
)
def test_the_exit_code_is_0_only_if_all_is_as_expected(run_ending, result, exit_code):
    assert run_ending(result).exit_code == exit_code


def test_without_an_emulator_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setattr(demo_command, "announced", lambda _: {})
    result = run("demo")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pip install 'transferkit[all]'" in result.stderr


def test_without_its_server_the_command_says_what_to_install(run_ending):
    result = run_ending(ModuleNotFoundError(name="uvicorn"))
    assert result.exit_code == 2
    assert "pip install 'transferkit[emulators]'" in result.stderr


def test_another_missing_module_is_not_reported_as_a_missing_extra(run_ending):
    result = run_ending(ModuleNotFoundError(name="elsewhere"))
    assert isinstance(result.exception, ModuleNotFoundError)
