"""Runs the command line, in this process or as a process of its own."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

from typer.testing import CliRunner

from transferkit.cli.app import app

PROGRAM = (sys.executable, "-c", "from transferkit.cli import main; main()")


def run(*arguments, stdin=None, color=False):
    """Run a command in this process; returns its exit code and output."""
    return CliRunner().invoke(app, arguments, input=stdin, color=color)


def json_lines(result):
    """The JSON values that a command printed, one per line."""
    return [json.loads(line) for line in result.stdout.splitlines()]


@asynccontextmanager
async def started(*arguments):
    """The command as a process of its own, killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def stop(process, signal_number):
    """Send a signal; returns the exit code, and what was printed on standard output and standard error."""
    process.send_signal(signal_number)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, out.decode(), err.decode()
