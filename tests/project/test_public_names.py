"""The public names: every listed name can be imported."""

import pydoc

import pytest
from support.interpreter import printed_by

import transferkit
import transferkit.testing

MODULES = [transferkit, transferkit.testing]
NAMES = [(module, name) for module in MODULES for name in module.__all__]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_listed_name_can_be_imported(module, name):
    assert getattr(module, name) is not None
    assert name in dir(module)


@pytest.mark.parametrize("module", MODULES)
def test_a_star_import_imports_every_listed_name(module):
    names = {}
    exec(f"from {module.__name__} import *", names)  # noqa: S102 - our own module
    assert set(module.__all__) <= set(names)


@pytest.mark.parametrize("module", MODULES)
def test_a_name_that_is_not_listed_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="Telepathy"):
        _ = module.Telepathy


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_public_class_has_a_docstring(module, name):
    value = getattr(module, name)
    assert value.__doc__ or not isinstance(value, type)


def test_help_of_the_package_describes_the_public_names():
    text = pydoc.render_doc(transferkit, renderer=pydoc.plaintext)
    assert "class AsyncClient(" in text
    assert "load_config(" in text
    assert transferkit.__version__ in text


@pytest.mark.parametrize(
    ("packages", "left_out"),
    [(["psycopg", "psycopg_pool"], "PostgresStore"), (["opentelemetry"], "OpenTelemetry")],
)
def test_star_import_and_help_work_without_the_packages_of_an_extra(packages, left_out):
    missing = f"sys.modules.update(dict.fromkeys({packages}))"
    names = printed_by(f"{missing}\nfrom transferkit import *\nprint(*globals())")
    assert set(transferkit.__all__) - names == {left_out}
    described = printed_by(f"{missing}\nimport pydoc, transferkit\nprint(pydoc.render_doc(transferkit))")
    assert "SqliteStore" in described
