"""Adapters are found by their entry points and loaded on demand."""

import importlib.metadata
import sys

import pytest

from transferkit import AdapterNotFound, ConfigError, DuplicateAdapter
from transferkit.provider.registry import adapter_class, adapter_names
from transferkit.testing import FakeAdapter

ADAPTER = """
    from transferkit.testing.fake import FakeAdapter

    class Stub(FakeAdapter):
        name = "stub"
"""


def test_the_fake_adapter_is_found_by_its_entry_point():
    assert "fake" in adapter_names()
    assert adapter_class("fake") is FakeAdapter


def test_an_installed_adapter_is_found_by_name(install_adapter):
    module = install_adapter("stub", ADAPTER)
    assert "stub" in adapter_names()
    assert adapter_class("stub").__module__ == module
    assert adapter_class("stub") is adapter_class("stub")


def test_adapter_names_loads_no_adapter(install_adapter):
    module = install_adapter("stub", "raise RuntimeError('loaded')")
    assert "stub" in adapter_names()
    assert module not in sys.modules


def test_adapter_names_are_in_alphabetical_order(install_adapter):
    install_adapter("zebra", ADAPTER)
    install_adapter("ant", ADAPTER)
    names = adapter_names()
    assert list(names) == sorted(names)
    assert {"ant", "zebra"} <= set(names)


def test_adapter_class_loads_no_other_adapter(install_adapter):
    module = install_adapter("other", "raise RuntimeError('loaded')")
    adapter_class("fake")
    assert module not in sys.modules


def test_the_error_of_a_duplicate_name_names_both_distributions(install_adapter):
    one = install_adapter("stub", ADAPTER, distribution="one")
    two = install_adapter("stub", ADAPTER, distribution="two")
    with pytest.raises(DuplicateAdapter) as raised:
        adapter_class("stub")
    for part in ("providers.stub", one, two, "of one", "of two"):
        assert part in str(raised.value)
    assert one not in sys.modules
    assert two not in sys.modules


def test_another_distribution_cannot_replace_the_fake_adapter(install_adapter):
    install_adapter("fake", ADAPTER)
    with pytest.raises(DuplicateAdapter):
        adapter_class("fake")


def test_a_duplicate_name_does_not_affect_other_names(install_adapter):
    install_adapter("stub", ADAPTER)
    install_adapter("stub", ADAPTER)
    assert adapter_class("fake") is FakeAdapter
    assert "stub" in adapter_names()


def test_a_distribution_that_is_found_twice_is_not_a_duplicate(install_adapter, tmp_path):
    module = install_adapter("stub", ADAPTER)
    info = tmp_path / "installed" / "again-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: again\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        f"[transferkit.adapters]\nstub = {module}:Stub\n", encoding="utf-8"
    )
    assert adapter_class("stub").__module__ == module


@pytest.fixture
def nothing_installed(monkeypatch):
    """No adapter at all, whatever this environment holds."""
    monkeypatch.setattr("transferkit.provider.registry.announced", lambda _: {})


@pytest.mark.parametrize("name", ["graph", "acs"])
def test_a_missing_adapter_of_ours_says_what_to_install_adapter(nothing_installed, name):
    with pytest.raises(AdapterNotFound) as raised:
        adapter_class(name)
    assert f"pip install 'transferkit[{name}]'" in str(raised.value)
    assert "installed: none" in str(raised.value)


def test_the_error_of_an_unknown_name_lists_the_installed_adapters(install_adapter):
    install_adapter("stub", ADAPTER)
    with pytest.raises(AdapterNotFound) as raised:
        adapter_class("carrier-pigeon")
    assert "pip install" not in str(raised.value)
    assert "fake" in raised.value.problems[0].accepts
    assert "stub" in raised.value.problems[0].accepts


@pytest.mark.parametrize("source", ["Stub = 5", "class Stub: pass", "def Stub(): pass"])
def test_an_entry_point_that_is_not_an_adapter_is_a_configuration_error(install_adapter, source):
    install_adapter("stub", source)
    with pytest.raises(ConfigError, match=r"providers\.stub: .*not a transferkit Adapter"):
        adapter_class("stub")


def test_without_package_metadata_the_error_names_the_installed_adapters(monkeypatch):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    with pytest.raises(ConfigError, match=r"installed: .*fake"):
        adapter_class("nobody")
