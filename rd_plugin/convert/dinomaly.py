# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the Dinomaly authors' program (Guo et al., CVPR 2025; https://github.com/guojiajeremy/Dinomaly)."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from anomalib.pre_processing import PreProcessor
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize

from rd_plugin.components import Teacher, is_plain_vit, patch_size
from rd_plugin.models import ReverseDistillation

from .files import check_output, named_parts, named_tensors, read_checkpoint, under, write_checkpoint
from .transfer import load_renamed

__all__ = ["convert_dinomaly", "dinov2_names", "load_tokens", "program_positions", "student_name", "used_blocks"]

# The program adds this to the grid before it divides by the table's, so that rounding never loses a row.
_OFFSET = 0.1
# Its pre-processing: resized to 32 x 32 patches (448 pixels for DINOv2, 512 for DINOv3), then cropped to 28 x 28.
_RESIZE, _CROP = 32, 28
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of their tensors, those of the bottleneck, which is one of a list, and of the student.
_STUDENT = re.compile(r"(?:bottleneck\.0\.|decoder\.)(.+)")
_PARTS = ("encoder", "bottleneck", "decoder")


def program_positions(table: Tensor, grid: Sequence[int]) -> Tensor:
    """Resample a square position table as the program does: bicubic by a factor, without antialiasing.

    Args:
        table: Table of shape ``(1, S S, C)``, without the class token's.
        grid: Height and width of the new table.

    Returns:
        Table of shape ``(1, H W, C)``.
    """
    side = math.isqrt(table.shape[1])
    if [side, side] == list(grid):
        return table
    square = table.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    factors = [(length + _OFFSET) / side for length in grid]
    return F.interpolate(square, scale_factor=factors, mode="bicubic").permute(0, 2, 3, 1).flatten(1, 2)


def dinov2_names(tensors: Mapping[str, Tensor], grid: Sequence[int], class_position: bool) -> dict[str, Tensor]:
    """Return a ViT's tensors with DINOv2's names under timm's.

    Args:
        tensors: The authors' ``encoder``.
        grid: Height and width of the position table that is needed.
        class_position: Whether timm keeps the class token's position in the table; otherwise it adds it to the token.

    Returns:
        Tensors by timm's names; the table is resampled.
    """
    table = tensors["pos_embed"]
    renamed = {name: tensor for name, tensor in tensors.items() if name not in {"mask_token", "register_tokens"}}
    patches = program_positions(table[:, 1:], grid)
    if class_position:
        renamed["pos_embed"] = torch.cat([table[:, :1], patches], dim=1)
    else:
        renamed["cls_token"], renamed["pos_embed"] = tensors["cls_token"] + table[:, :1], patches
    if "register_tokens" in tensors:
        renamed["reg_token"] = tensors["register_tokens"]
    return renamed


def student_name(name: str) -> str:
    """Our name of a tensor of the authors' bottleneck or decoder.

    Raises:
        ValueError: If it is neither.

    Example:
        >>> student_name("bottleneck.0.fc1.bias"), student_name("decoder.3.attn.qkv.weight")
        ('fc1.bias', 'blocks.3.attn.qkv.weight')
    """
    match = _STUDENT.fullmatch(name)
    if match is None:
        msg = f"{name!r} is neither of bottleneck nor of decoder."
        raise ValueError(msg)
    return match[1] if name.startswith("bottleneck.") else f"blocks.{match[1]}"


def used_blocks(tensors: Mapping[str, Tensor], teacher: Teacher) -> dict[str, Tensor]:
    """Return a ViT's tensors without the final norm, the classifier and the blocks after the last distilled one."""
    last = max(int(layer.rpartition(".")[2]) for layer in teacher.layers)
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(("norm.", "fc_norm.", "head."))
        and not (name.startswith("blocks.") and int(name.split(".")[1]) > last)
    }


def load_tokens(
    model: ReverseDistillation, parts: Mapping[str, Mapping[str, Tensor]], prefix: str, misfit: str
) -> None:
    """Load teacher, bottleneck and student.

    Args:
        model: Our model, with a ViT as the teacher.
        parts: Tensors of ``encoder``, under timm's names, and of ``bottleneck`` and ``decoder``, under the authors'.
        prefix: Prefix of their names in the file, for messages.
        misfit: Beginning of the message if they do not fit.

    Raises:
        ValueError: At the first tensor that is unknown, has another shape or is missing.
    """
    ours = model.model
    # Loaded through the teacher, which then notes that it has its weights.
    encoder = {f"net.{name}": tensor for name, tensor in used_blocks(parts["encoder"], ours.teacher).items()}
    encoder["image_size"] = ours.teacher.state_dict()["image_size"]
    load_renamed(ours.teacher, encoder, str, f"{prefix}encoder.", misfit)
    for part, module in (("bottleneck", ours.bottleneck), ("decoder", ours.student)):
        load_renamed(
            module, {f"{part}.{name}": tensor for name, tensor in parts[part].items()}, student_name, prefix, misfit
        )


def convert_dinomaly(
    source: str | Path, output: str | Path, backbone: str = "vit_base_patch14_reg4_dinov2.lvd142m"
) -> None:
    """Convert a checkpoint of the authors' program to a checkpoint of :class:`~rd_plugin.ReverseDistillation`.

    All weights come from the file, also the teacher's; its position table is resampled as the program does at each
    image. The pre-processor is theirs: images are resized to 448 x 448 pixels, and the inner 392 x 392 are used (for
    patches of 16 pixels 512 and 448).

    Args:
        source: The authors' checkpoint, the state dict of ``encoder``, ``bottleneck`` and ``decoder``.
        output: Checkpoint to write; one that exists is replaced.
        backbone: timm's name of the teacher.

    Raises:
        FileNotFoundError: If ``source`` or the folder of ``output`` does not exist.
        OSError: If ``output`` cannot be written.
        ValueError: If ``source`` is not such a checkpoint, would run code or does not fit ``backbone``.
    """
    check_output(output, source)
    tensors = named_tensors(read_checkpoint(source))
    parts = named_parts({part: under(f"{part}.", tensors) for part in _PARTS}, _PARTS, source, "Dinomaly")
    depth = 1 + max(int(name.partition(".")[0]) for name in parts["decoder"])
    misfit = f"{str(source)!r} does not fit backbone {backbone!r}"
    if not is_plain_vit(backbone):
        msg = f"{misfit}, which is no plain vision transformer."
        raise ValueError(msg)
    patch = patch_size(backbone)
    resize = Resize([_RESIZE * side for side in patch])
    transform = Compose([resize, CenterCrop([_CROP * side for side in patch]), Normalize(_MEAN, _DEVIATION)])
    model = ReverseDistillation(backbone=backbone, pre_processor=PreProcessor(transform), student_depth=depth)
    if lacking := {"cls_token", "pos_embed"} - parts["encoder"].keys():
        msg = f"{misfit}: there is no encoder.{min(lacking)}."
        raise ValueError(msg)
    class_position = not model.model.teacher.net.no_embed_class
    encoder = dinov2_names(parts["encoder"], (_CROP, _CROP), class_position)
    load_tokens(model, {**parts, "encoder": encoder}, "", misfit)
    write_checkpoint(model, output, "Dinomaly")
