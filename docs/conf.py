"""How the site is built: `sphinx-build -W -n docs docs/_build/html`. Needs the group `docs`, no network."""

# ruff: noqa: INP001 - a folder of pages, no package
from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import _generate  # noqa: E402 - it lies beside this file
from docutils import nodes  # noqa: E402 - the same
from sphinx.application import Sphinx  # noqa: E402 - the same

import transferkit  # noqa: E402 - the same
import transferkit.testing  # noqa: E402 - the same

project = "transferkit"
author = "transferkit maintainers"
release = version = transferkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "code"
nitpicky = True

html_theme = "furo"
html_title = f"transferkit {release}"
html_static_path: list[str] = []
html_show_sourcelink = False
html_copy_source = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

# Only what is public has an entry here; other names in signatures are for the type checker.
nitpick_ignore_regex = [("py:.*", r"(?!transferkit\.[A-Z]).*")]

_PUBLIC = {
    **dict.fromkeys(transferkit.testing.__all__, "transferkit.testing"),
    **dict.fromkeys(transferkit.__all__, "transferkit"),
}


def _from_the_front_door(app: Sphinx, env: Any, node: Any, contnode: nodes.Element) -> nodes.Element | None:
    """A public name may be called by its home (`transferkit.events.Event`), or by itself (`Event`)."""
    del app
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in _PUBLIC:
        return None
    target = f"{_PUBLIC[name]}.{name}"
    python = env.get_domain("py")
    found = python.find_obj(env, None, None, target, None)
    if not found:
        return None
    (_, entry), *_ = found
    page = node.get("refdoc")
    uri = f"{env.app.builder.get_relative_uri(page, entry.docname)}#{entry.node_id}"
    return nodes.reference("", "", contnode, internal=True, refuri=uri)


def _outside_the_site(app: Sphinx, page: str, source: list[str]) -> None:
    """Files beside the site have no page: their links become their names."""
    del app, page
    source[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./)+([\w/.]+)\)", _named, source[0])


def _named(link: re.Match[str]) -> str:
    text, path = link.groups()
    if (HERE / path).exists():
        return link[0]
    return f"{text} (`{path}`)"


def setup(app: Sphinx) -> None:
    """Write the generated pages before any is read."""
    _generate.write(HERE / "_generated")
    app.connect("source-read", _outside_the_site)
    app.connect("missing-reference", _from_the_front_door)
