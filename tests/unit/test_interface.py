# SPDX-License-Identifier: Apache-2.0
"""The public names: each loaded when it is used, all of them methods or documented, and no others."""

import re
from pathlib import Path

import pytest

import rd_plugin
from rd_plugin import interface
from rd_plugin.models import METHODS

from ..processes import run_code, run_function

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "index.md"


def test_names() -> None:
    assert rd_plugin.__all__ == interface.__all__ == sorted(interface.__all__)
    assert all(getattr(rd_plugin, name) is getattr(interface, name) for name in interface.__all__)
    assert set(interface.__all__) <= set(dir(rd_plugin))
    with pytest.raises(AttributeError, match="No rd_plugin attribute Nothing"):
        rd_plugin.Nothing  # noqa: B018


def test_every_method_is_public() -> None:
    """Command lines and records name a method as ``rd_plugin.<Method>``."""
    assert [getattr(rd_plugin, method.__name__, None) for method in METHODS] == list(METHODS)


def test_reference_lists_them() -> None:
    assert sorted(re.findall(r"^\| \{py:\w+\}`rd_plugin\.(\w+)`", REFERENCE.read_text(), re.MULTILINE)) == sorted(
        rd_plugin.__all__
    )


def test_importing_the_package_loads_none_of_them(tmp_path: Path) -> None:
    code = "import sys, rd_plugin; raise SystemExit('rd_plugin.inspection' in sys.modules)"
    assert run_function(tmp_path, run_code, code).status == 0
