# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds this documentation: ``sphinx-build -W docs docs/_build``."""

import importlib
import pkgutil
from collections import defaultdict
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import rd_plugin

project = "rd_plugin"
author = "the authors of rd_plugin"
copyright = "2026, the authors of rd_plugin"
version = release = installed_version("rd-plugin")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Fields of named tuples would be described twice, as members and as attributes.
napoleon_use_ivar = True
napoleon_custom_sections = [("Shape", "notes_style")]

html_theme = "sphinx_book_theme"
html_title = "rd_plugin"
html_static_path = ["_static"]
html_css_files = ["style.css"]
# The search stands in the sidebar; the theme would show it once more on top.
html_theme_options = {"show_toc_level": 2, "home_page_in_toc": True, "navbar_persistent": []}

_REFERENCE = Path(__file__).parent / "reference" / "rooms"
# Modules that stand at the package's top belong to no room.
_TOP = "rd_plugin"


def _modules() -> dict[str, list[str]]:
    """The package's modules by room, which is the folder right below the package, and below ``models``, a method's."""
    rooms = defaultdict(list)
    for module in pkgutil.walk_packages(rd_plugin.__path__, "rd_plugin."):
        # A package's own names are those of its modules.
        if module.ispkg or module.name.endswith("__main__"):
            continue
        folders = module.name.split(".")[1:-1]
        depth = 2 if folders[:1] == ["models"] else 1
        rooms[".".join([_TOP, *folders[:depth]])].append(module.name)
    return dict(rooms)


def _write_reference(app: Sphinx) -> None:
    """Write a page for each room; untouched if nothing has changed, so that Sphinx reads it once."""
    del app
    _REFERENCE.mkdir(parents=True, exist_ok=True)
    pages = {}
    for room, modules in _modules().items():
        sections = [
            f"## {module.removeprefix(f'{room}.')}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n"
            "   :show-inheritance:\n```\n"
            for module in modules
        ]
        pages[_REFERENCE / f"{room}.md"] = f"# {room}\n\n" + "\n".join(sections)
    for stale in set(_REFERENCE.glob("*.md")) - set(pages):
        stale.unlink()
    for page, text in pages.items():
        if not page.is_file() or page.read_text() != text:
            page.write_text(text)


def _find_where_defined(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, content: nodes.Element
) -> nodes.reference | None:
    """Link a name that a docstring takes from a package to the module that defines it."""
    if node.get("refdomain") != "py" or not str(node.get("reftarget", "")).startswith(_TOP):
        return None
    package, _, name = node["reftarget"].rpartition(".")
    try:
        found: Any = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError):
        return None
    target = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if target == node["reftarget"]:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, content)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", _write_reference)
    app.connect("missing-reference", _find_where_defined)
