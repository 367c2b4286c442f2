# SPDX-License-Identifier: Apache-2.0
"""How ``rd-plugin convert`` is called; what it writes is tested beside the converters."""

import pytest

from .conftest import Tool


def test_help_lists_the_programs(tool: Tool) -> None:
    listed = tool("convert", "--help").output
    assert all(
        f"\n    {program} " in listed
        for program in ("rd4ad", "rdpp", "urd", "anomalib", "dinomaly", "anomalib_dinomaly")
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["rd4ad", "authors.pth"],
        ["unknown", "a.pth", "--output", "b.ckpt"],
        ["urd", "authors.pth", "--output", "b.ckpt", "--injection", "none"],
    ],
)
def test_wrong_usage(tool: Tool, arguments: list[str]) -> None:
    status, _, errors = tool("convert", *arguments)
    assert status == 2
    assert "error: " in errors
