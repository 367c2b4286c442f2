# SPDX-License-Identifier: Apache-2.0
"""Templates of self-contained HTML pages, and their styles and scripts."""

import base64
import hashlib
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from rd_plugin.storage import printable

__all__ = ["page_part", "page_template", "script_hash"]


@cache
def _environment() -> tuple[Environment, PackageLoader]:
    loader = PackageLoader("rd_plugin.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["printable"] = printable
    return environment, loader


def page_template(name: str) -> Template:
    """Return the template of a page, in which all values are escaped.

    Args:
        name: Name of a file in ``templates``, such as ``"report.html.jinja"``.
    """
    return _environment()[0].get_template(name)


def page_part(name: str) -> Markup:
    """Return the text of a style or a script, unchanged.

    Args:
        name: Name of a file in ``templates``, such as ``"report.css"``.
    """
    environment, loader = _environment()
    return Markup(loader.get_source(environment, name)[0])


def script_hash(script: str) -> str:
    """Return the hash by which a page's content security policy allows its script.

    Args:
        script: The script's text.
    """
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
