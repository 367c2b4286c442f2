# SPDX-License-Identifier: Apache-2.0
"""Templates of pages."""

import base64
import hashlib

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from rd_plugin.report.template import page_part, page_template, script_hash


def test_values_are_escaped_and_none_may_be_missing() -> None:
    page = page_template("overview.html.jinja")
    assert "<h1>&lt;parts&gt;\\n</h1>" in page.render(title="<parts>\n", head=[], outcomes=[], style="")
    with pytest.raises(UndefinedError):
        page.render(title="parts")
    with pytest.raises(TemplateNotFound):
        page_template("none.html.jinja")


def test_parts_are_not_changed() -> None:
    script = page_part("region.js")
    assert "&&" in script
    assert base64.b64decode(script_hash(script)) == hashlib.sha256(script.encode()).digest()
