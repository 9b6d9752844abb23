"""Sphinx configuration: `sphinx-build -W docs docs/_build/html`. Needs the group `docs`, and no network."""

# ruff: noqa: INP001 - a folder of pages, not a package
from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import _generate  # noqa: E402 - found through the line above
from sphinx.application import Sphinx  # noqa: E402 - stays below the line above

import transferkit  # noqa: E402 - stays below the line above

project = "transferkit"
author = copyright = "transferkit maintainers"  # noqa: A001 - the name is Sphinx's
release = version = transferkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "code"

html_theme = "furo"
html_title = f"transferkit {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence"]

autodoc_default_options = {"members": True, "show-inheritance": True, "undoc-members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True


def _without_files_outside(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace links to files outside the site, such as CHANGELOG.md, with the name of the file."""
    del app, page
    source[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./)+([\w/.]+)\)", _named, source[0])


def _named(link: re.Match[str]) -> str:
    text, path = link.groups()
    return link[0] if (HERE / path).exists() else f"{text} (`{path}`)"


def _literal_blocks(  # noqa: PLR0917 - the signature is Sphinx's
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Show indented code and tables of a docstring as they are."""
    del app, what, name, obj, options
    result: list[str] = []
    for line in lines:
        previous = next((text for text in reversed(result) if text), "")
        verbatim = line.startswith(("    ", "|"))
        if verbatim and not (previous.startswith(("    ", "*")) or previous.endswith("::")):
            result += ["", "::", ""]
        result.append(f"    {line}" if verbatim else line)
    lines[:] = result


def setup(app: Sphinx) -> None:
    """Write the generated tables before Sphinx reads the pages."""
    _generate.write(HERE / "_generated")
    app.connect("source-read", _without_files_outside)
    app.connect("autodoc-process-docstring", _literal_blocks)
