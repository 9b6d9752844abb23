"""The AsyncAPI document is valid for the parser of the AsyncAPI initiative.

`bash .ci/run javascript` installs the parser. The test is skipped without it.
"""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from transferkit.config import ContentMode
from transferkit.events import event_classes
from transferkit.relay.schema import asyncapi_document

NODE, FOLDER = shutil.which("node"), os.environ.get("TRANSFERKIT_TEST_JAVASCRIPT")
SCRIPT = Path(__file__).parent / "asyncapi.mjs"


@pytest.mark.skipif(not (NODE and FOLDER), reason="needs Node.js and TRANSFERKIT_TEST_JAVASCRIPT")
@pytest.mark.parametrize("mode", ContentMode)
async def test_the_official_parser_finds_no_error_and_every_message(mode, tmp_path):
    script = Path(FOLDER) / SCRIPT.name  # a module finds its packages beside itself
    shutil.copyfile(SCRIPT, script)
    document = tmp_path / "asyncapi.json"
    document.write_text(json.dumps(asyncapi_document(version="1.0.0", content_mode=mode)))
    node = await asyncio.create_subprocess_exec(
        NODE, str(script), str(document), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, problems = await asyncio.wait_for(node.communicate(), 60)
    assert node.returncode == 0, problems.decode()
    result = json.loads(output)
    assert result["errors"] == []
    assert sorted(result["messages"]) == sorted(f"transferkit.{cls.kind}" for cls in event_classes())
