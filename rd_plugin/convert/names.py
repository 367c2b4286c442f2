# SPDX-License-Identifier: Apache-2.0
"""Where a tensor of the authors' bottleneck (``bn``) or student (``decoder``) stands in ours.

anomalib's own model kept the authors' names, so one table serves both.
"""

import re
from collections.abc import Iterable

__all__ = ["bottleneck_name", "student_name", "unused_by_authors"]

_BLOCK = re.compile(r"^(conv|bn)(\d)\.(.+)$")
_SHORTCUT = re.compile(r"^(?:down|up)sample\.(.+)$")


def unused_by_authors(names: Iterable[str]) -> set[str]:
    """Names among ``names`` that belong to the two bottleneck layers that the authors' forward pass never calls."""
    return {name for name in names if name.startswith(("conv4.", "bn4."))}


def _block_name(name: str) -> str:
    """Name within a residual block: ``conv2.weight`` becomes ``residual.3.weight``."""
    if match := _SHORTCUT.match(name):
        return f"shortcut.{match[1]}"
    if match := _BLOCK.match(name):
        # Convolution, batch norm and activation alternate, so every numbered pair starts three layers further on.
        position = 3 * (int(match[2]) - 1) + (match[1] == "bn")
        return f"residual.{position}.{match[3]}"
    msg = f"{name!r} is no tensor of a residual block."
    raise ValueError(msg)


def bottleneck_name(name: str) -> str:
    """Our name of a tensor of the authors' bottleneck.

    Raises:
        ValueError: If it is none.

    Example:
        >>> bottleneck_name("bn_layer.0.conv2.weight"), bottleneck_name("bn3.bias")
        ('embedding.0.residual.3.weight', 'fusion.branches.1.1.bias')
    """
    if name.startswith("bn_layer."):
        _, block, rest = name.split(".", 2)
        return f"embedding.{block}.{_block_name(rest)}"
    if (match := _BLOCK.match(name)) and match[2] in {"1", "2", "3"}:
        # The finest scale is halved by the first two pairs, the middle one by the third.
        branch, first = (0, 3 * (int(match[2]) - 1)) if match[2] != "3" else (1, 0)
        return f"fusion.branches.{branch}.{first + (match[1] == 'bn')}.{match[3]}"
    msg = f"{name!r} is no tensor of the authors' bottleneck."
    raise ValueError(msg)


def student_name(name: str) -> str:
    """Our name of a tensor of the authors' student.

    Raises:
        ValueError: If it is none.

    Example:
        >>> student_name("layer1.0.upsample.0.weight")
        'stages.0.0.shortcut.0.weight'
    """
    match = re.match(r"^layer([1-3])\.(\d+)\.(.+)$", name)
    if match is None:
        msg = f"{name!r} is no tensor of the authors' student."
        raise ValueError(msg)
    return f"stages.{int(match[1]) - 1}.{match[2]}.{_block_name(match[3])}"
