# SPDX-License-Identifier: Apache-2.0
"""Our names for the tensors of the authors' bottleneck (``bn``), student (``decoder``), injections and projections.

anomalib's own model, RD++ and RD with Expert kept the names of RD4AD's authors, so one table serves all.
"""

import re
from collections.abc import Iterable

__all__ = [
    "bottleneck_name",
    "expert_student_name",
    "expert_teacher_name",
    "injection_name",
    "projection_name",
    "student_name",
    "unused_by_authors",
]

_BLOCK = re.compile(r"^(conv|bn)(\d)\.(.+)$")
_SHORTCUT = re.compile(r"^(?:down|up)sample\.(.+)$")
# Our name of a convolution with its batch norm, and the positions of both in the authors' list.
_INJECTED = {
    "conv1x1_downsample_dim": ("lateral", "12"),  # after the layer that halves the finer scale
    "fuse_encoder": ("fusion", "01"),
    "conv3x3_simattn": ("guidance", "01"),
    "fuse_skip": ("output", "01"),
}
_PROJECTION = re.compile(r"^proj_([abc])\.proj\.(\d+\.weight)$")
_INJECTION = re.compile(rf"^({'|'.join(_INJECTED)})\.([01])\.(\d)\.(.+)$")


def unused_by_authors(names: Iterable[str]) -> set[str]:
    """Return the names that belong to the two bottleneck layers that the authors' forward pass never calls."""
    return {name for name in names if name.startswith(("conv4.", "bn4."))}


def _block_name(name: str) -> str:
    """Name within a residual block: ``conv2.weight`` becomes ``residual.3.weight``."""
    if match := _SHORTCUT.match(name):
        return f"shortcut.{match[1]}"
    if match := _BLOCK.match(name):
        # Convolution, batch norm and activation alternate, so each numbered pair starts three layers after the last.
        position = 3 * (int(match[2]) - 1) + (match[1] == "bn")
        return f"residual.{position}.{match[3]}"
    msg = f"{name!r} is not a tensor of a residual block."
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
    msg = f"{name!r} is not a tensor of the authors' bottleneck."
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
        msg = f"{name!r} is not a tensor of the authors' student."
        raise ValueError(msg)
    return f"stages.{int(match[1]) - 1}.{match[2]}.{_block_name(match[3])}"


def injection_name(name: str) -> str:
    """Our name of a tensor of the injections in the student of RD with Expert's authors.

    Raises:
        ValueError: If it is none.

    Example:
        >>> injection_name("fuse_skip.0.1.weight"), injection_name("conv1x1_downsample_dim.1.1.weight")
        ('injections.1.output.1.weight', 'injections.0.lateral.0.weight')
    """
    match = _INJECTION.match(name)
    part, positions = _INJECTED[match[1]] if match else ("", "")
    if match is None or match[3] not in positions:
        msg = f"{name!r} is not a tensor of the authors' injections."
        raise ValueError(msg)
    # The authors number the two injections from fine to coarse, our student from coarse to fine.
    return f"injections.{1 - int(match[2])}.{part}.{positions.index(match[3])}.{match[4]}"


def projection_name(name: str) -> str:
    """Our name of a weight of the projections of RD++'s authors.

    Raises:
        ValueError: If it is none.

    Example:
        >>> projection_name("proj_b.proj.3.weight")
        '1.3.weight'
    """
    match = _PROJECTION.match(name)
    if match is None:
        msg = f"{name!r} is not a weight of the authors' projections."
        raise ValueError(msg)
    return f"{'abc'.index(match[1])}.{match[2]}"


def expert_student_name(name: str) -> str:
    """Our name of a tensor of the student of RD with Expert's authors, without its bottleneck (``bn``).

    Raises:
        ValueError: If it is none.

    Example:
        >>> expert_student_name("decoder.layer1.0.bn1.bias"), expert_student_name("fuse_encoder.0.0.weight")
        ('stages.0.0.residual.1.bias', 'injections.1.fusion.0.weight')
    """
    part, _, rest = name.partition(".")
    return student_name(rest) if part == "decoder" else injection_name(name)


def expert_teacher_name(name: str) -> str:
    """Our name of a tensor of the teacher of RD with Expert's authors, a ResNet with torchvision's names.

    Raises:
        ValueError: If it is none.

    Example:
        >>> expert_teacher_name("encoder.layer1.0.bn1.bias")
        'net.layer1.0.bn1.bias'
    """
    part, _, rest = name.partition(".")
    if part != "encoder":
        msg = f"{name!r} is not a tensor of the authors' teacher."
        raise ValueError(msg)
    return f"net.{rest}"
