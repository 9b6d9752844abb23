"""Microsoft's JavaScript SDKs transfer and redirect calls on the emulators, over https.

Needs Node.js 20 or newer, and the packages of `package.json` in a folder that `TRANSFERKIT_TEST_JAVASCRIPT`
names: `bash .ci/run javascript` installs them into a temporary one. The tests are skipped without either.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from support.command_line import started, stop

NODE, FOLDER = shutil.which("node"), os.environ.get("TRANSFERKIT_TEST_JAVASCRIPT")
SCRIPT = Path(__file__).parent / "sdks.test.mjs"


@pytest.mark.skipif(not (NODE and FOLDER), reason="needs Node.js and TRANSFERKIT_TEST_JAVASCRIPT")
async def test_the_javascript_sdks_accept_the_emulators_as_the_providers(tmp_path):
    authority, config = tmp_path / "ca.pem", tmp_path / "emulators.json"
    script = Path(FOLDER) / SCRIPT.name  # a module finds its packages beside itself
    shutil.copyfile(SCRIPT, script)
    options = ("--port=0", "--pace=0.05", f"--write-ca={authority}", f"--write-config={config}", "--json")
    async with started("emulate", *options) as process, asyncio.timeout(120):
        await process.stdout.readline()  # printed after the files were written
        trusting = json.loads(config.read_text())["environment"]
        node = await asyncio.create_subprocess_exec(
            *(NODE, "--test", "--test-reporter=tap", str(script)),
            env={**os.environ, **trusting, "EMULATORS": str(config)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await node.communicate())[0].decode()
        await stop(process, signal.SIGINT)
    sys.stdout.write(output)
    assert node.returncode == 0, output
    results = dict(re.findall(r"(?m)^# (pass|fail|skipped) (\d+)$", output))
    written = len(re.findall(r"(?m)^test\(", SCRIPT.read_text()))
    assert results == {"pass": str(written), "fail": "0", "skipped": "0"}
