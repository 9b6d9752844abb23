"""What the demonstration shows when it does not go as it must, and to people who watch it in a browser."""

import asyncio
import contextlib
from datetime import timedelta
from types import SimpleNamespace

import pytest
from attrs import evolve

pytest.importorskip("typer")
pytest.importorskip("starlette")
from typer.testing import CliRunner

from transferkit import Basis, FailureReason, InvalidRequest, Problem, TransferCompleted, TransferFailed
from transferkit.cli.app import app
from transferkit.cli.commands import demo as demonstration
from transferkit.cli.commands import emulate as emulating
from transferkit.cli.demo import performance, stories
from transferkit.cli.demo.display import Timelines
from transferkit.cli.demo.performance import perform
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


class Scene:
    """A scene whose call was never executed."""

    calls = ("call-1",)
    requests = (object(),)

    def __init__(self, stage, emulator, tell):
        self.stage, self.emulator = stage, emulator

    async def all_heard(self, history):
        pass

    def wire(self):
        return Wire(asked=1, looked=0, executed=0, callbacks=0, disturbed=0)


@pytest.fixture
def play(monkeypatch):
    """Plays such a story and gives the performance."""

    @contextlib.asynccontextmanager
    async def listening(scene):
        yield

    async def settle():
        pass

    async def history(transfer_id):
        return (COMPLETED, FAILED)

    monkeypatch.setattr(performance, "Scene", Scene)
    monkeypatch.setattr(performance, "_listening", listening)
    stage = SimpleNamespace(provider="fake", client=SimpleNamespace(history=history))
    emulator = SimpleNamespace(
        settle=settle, executions=lambda _: 0, faults=SimpleNamespace(clear=lambda: None)
    )

    async def play(act):
        story = Story(name="one", title="One", act=act, expected=TransferCompleted, refusable="to")
        return await perform(story, stage, emulator, lambda _: None)

    return play


async def test_every_promise_that_is_not_kept_is_a_problem(play):
    async def act(scene):
        return [FAILED]

    played = await play(act)
    assert played.problems == (
        "outcomes on the stream: transfer.completed, transfer.failed",
        "transfer.failed (busy)",
        "executed 0 times",
    )


async def test_so_is_a_story_that_does_not_end(play, monkeypatch):
    async def act(scene):
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(performance, "_LONGEST_SECONDS", 0.01)
    assert (await play(act)).problems == ("it was not over after 0.01 s",)


async def test_and_a_refusal_that_nobody_expects(play):
    async def act(scene):
        raise InvalidRequest("fake", [Problem("context", "is too long", "less")])

    wrong, late = (await play(act)).problems
    assert wrong.startswith("refused: context")
    assert late == "refused, but something was sent"


async def test_people_are_told_of_the_page(play, capsys):
    async def act(scene):
        return [COMPLETED]

    played = evolve(await play(act), problems=())
    with Timelines() as display:
        display.served(["fake"], "http://127.0.0.1:1")
        display.begun(played.story)
        display.told("fake", Note(text="later", time=AT + timedelta(seconds=1)))
        display.told("fake", COMPLETED)
        assert display._told["fake"][0] == COMPLETED
        display.ended([played])
        display.summed_up([played], timedelta(seconds=1))
        display.waiting("http://127.0.0.1:1")
    shown = capsys.readouterr().out
    assert "watch it in a browser: http://127.0.0.1:1" in shown
    assert "the page stays at http://127.0.0.1:1" in shown


async def test_no_process_outlives_a_story_that_fails():
    stage = SimpleNamespace(config={}, place_call=lambda: "call-0")
    someone = scenario("answers").number
    with pytest.raises(ZeroDivisionError):
        async with stories._process(SimpleNamespace(stage=stage), "call-1", someone, case="x") as process:
            raise ZeroDivisionError
    assert process.returncode is not None


def run(monkeypatch, *, result):
    async def played(display, *, web):
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(demonstration, "announced", lambda _: ["fake"])
    monkeypatch.setattr(demonstration, "_run", played)
    return CliRunner().invoke(app, ["demo", "--json"])


def test_a_demonstration_that_goes_well_exits_with_0(monkeypatch):
    assert run(monkeypatch, result=True).exit_code == 0
    assert run(monkeypatch, result=False).exit_code == 1


@pytest.mark.parametrize(
    ("ended", "exit_code"), [(KeyboardInterrupt(), 130), (asyncio.CancelledError(), 143)]
)
def test_a_demonstration_that_is_stopped_exits_as_a_shell_has_it(monkeypatch, ended, exit_code):
    assert run(monkeypatch, result=ended).exit_code == exit_code


@pytest.mark.parametrize("command", ["demo", "emulate"])
def test_a_server_that_is_not_installed_is_said_to_be_an_extra(monkeypatch, command):
    async def emulate(**_):
        raise ModuleNotFoundError(name="uvicorn")

    monkeypatch.setattr(demonstration, "announced", lambda _: ["fake"])
    monkeypatch.setattr(demonstration, "_run", lambda *_, **__: emulate())
    monkeypatch.setattr(emulating, "_emulate", emulate)
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 2
    assert "pip install 'transferkit[emulators]'" in result.stderr


def test_another_missing_module_is_not_told_as_a_missing_extra(monkeypatch):
    result = run(monkeypatch, result=ModuleNotFoundError(name="elsewhere"))
    assert isinstance(result.exception, ModuleNotFoundError)
