"""Fixtures and Hypothesis strategies for all tests."""

from textwrap import dedent
from uuid import uuid4

import pytest
from support import database as postgres_database
from support import strategies  # noqa: F401 - the strategies are registered when they are imported

database = postgres_database.database


@pytest.fixture
def install_adapter(tmp_path, monkeypatch):
    """Install a distribution with an adapter for one test; returns the name of its module."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def install(name, source, *, attribute="Stub", distribution=None):
        module = f"stub_{uuid4().hex}"
        distribution = distribution or module
        (folder / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        info = folder / f"{distribution}-1.0.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        points = f"[transferkit.adapters]\n{name} = {module}:{attribute}\n"
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
        return module

    return install
