"""Read the code blocks of the documentation, and run each one as its page tells a reader to.

A comment on the line before a block, which readers do not see, says how the block is run:

    <!-- setup: NAME -->      Python, with the names that `page_setups.SETUPS[NAME]` provides
    <!-- setup: pytest -->    a test file
    <!-- run -->              shell commands that are executed
    <!-- not run: reason -->

Python without a comment runs without any setup. A block with a title is saved as a file of that name, and
later blocks of the page can import it. Shell commands that are not executed are checked: the command and its
options must exist.
"""

import ast
import asyncio
import inspect
import json
import re
import shlex
import subprocess
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest
import typer.main
from attrs import frozen

from support.page_setups import SETUPS
from transferkit import load_config
from transferkit.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in (ROOT / "README.md", *DOCS.rglob("*.md")) if not {"_build", "_generated"} & {*path.parts}
)


@frozen
class Block:
    page: str
    line: int
    language: str
    title: str | None
    comment: str
    text: str

    @property
    def place(self):
        return f"{self.page}:{self.line}"


def blocks_of(path):
    """The fenced blocks of a page."""
    text = path.read_text(encoding="utf-8")
    pattern = r"(?:<!-- (?P<comment>[^\n]*) -->\n)?^```(?P<language>[\w{}-]*)"
    pattern += r'(?: title="(?P<title>[^"]+)"|(?<=\{include\}) [\w./]+)?\n'
    for found in re.finditer(pattern + r"(?P<text>.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(
            page=str(path.relative_to(ROOT)),
            line=text.count("\n", 0, found.start("language")) + 1,
            language=found["language"],
            title=found["title"],
            comment=found["comment"] or "",
            text=found["text"],
        )


async def run(block):
    """Run a block in the current folder, or check it if it cannot be run."""
    if block.title:
        save(block.title, block.text)
    if block.language in TEXT or block.comment.startswith("not run: "):
        return
    assert block.language in RUNNERS, f"{block.place}: no rule for the language {block.language!r}"
    await RUNNERS[block.language](block)


def save(name, text):
    Path(name).write_text(text, encoding="utf-8")


async def run_python(block):
    setup = block.comment.removeprefix("setup: ")
    if block.title:
        if not block.title.startswith("test_"):  # another block of the page runs the tests
            await run_shell(f"python {block.title}", block)
        return
    if setup == "pytest":
        name = f"test_line_{block.line}.py"
        save(name, block.text)
        await run_shell(f"python -m pytest -q {name}", block)
        return
    text = "\n" * block.line + block.text  # so that a traceback has the line number of the page
    if "\nreturn " in block.text:
        body = "".join(f"    {line}\n" for line in block.text.splitlines())
        text = "\n" * (block.line - 1) + f"async def block():\n{body}\nawait block()"
    code = compile(text, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with SETUPS[setup]() if setup else nullcontext({}) as names, asyncio.timeout(20):
        result = eval(code, names)  # noqa: S307 - our own pages
        if inspect.iscoroutine(result):
            await result


async def run_commands(block):
    if block.comment == "run":
        await run_shell(block.text, block)
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "sh" or line.startswith("$ "):
            check_command(line.removeprefix("$ "), block)


async def run_shell(text, block):
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{block.place}: {text}\n{done.stdout}\n{done.stderr}"


def check_command(line, block):
    """Parse a `transferkit` command without running it, or look up the options of one of our own scripts."""
    words = shlex.split(line.partition("|")[0], comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    match words:
        case ["python", name, *options]:
            text = (ROOT / name).read_text(encoding="utf-8")
            named = [option.partition("=")[0] for option in options if option.startswith("--")]
            missing = [option for option in named if f'"{option}"' not in text]
            assert missing == [], f"{block.place}: {name} has no option {', '.join(missing)}"
        case ["transferkit", *rest]:
            command = typer.main.get_command(app)
            while hasattr(command, "list_commands"):
                context = command.make_context("transferkit", [rest[0]], resilient_parsing=True)
                command = command.get_command(context, rest[0])
                assert command is not None, f"{block.place}: there is no command {line!r}"
                rest = rest[1:]
            command.make_context(command.name, rest)
        case _:
            pytest.fail(f"{block.place}: {line!r} needs a comment that says whether it is run")


async def check_configuration(block):
    table = tomllib.loads(block.text)
    load_config(table if "provider" in table else {"provider": "fake", **table})


async def check_json(block):
    json.loads(block.text)


TEXT = {"text", "yaml", "js", "csharp", "{toctree}", "{include}"}
RUNNERS = {
    "python": run_python,
    "sh": run_commands,
    "console": run_commands,
    "toml": check_configuration,
    "json": check_json,
}
