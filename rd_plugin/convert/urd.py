# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the RD with Expert authors' program (Liu, Wang, Leng and Zhang, AAAI 2025)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor

from rd_plugin.models import ExpertReverseDistillation

from .files import check_output, named_parts, read_checkpoint, under, write_checkpoint
from .names import expert_student_name, expert_teacher_name
from .transfer import load_bottleneck, load_renamed

__all__ = ["convert_urd"]

_BOTTLENECK = "bn."
# Their teacher is a whole ResNet; they distil its first three stages.
_BEYOND_THE_PYRAMID = ("encoder.layer4.", "encoder.fc.")
_GUIDANCE = "conv3x3_simattn."
_FUSION = "fuse_encoder."


def _less(tensors: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """The tensors whose names begin with none of ``prefixes``."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}


def _batches_seen(student: Mapping[str, Tensor], part: str) -> int:
    """How many batches the batch norms of a part of the student have counted in training."""
    counts = [int(tensor) for name, tensor in student.items() if name.startswith(part) and name.endswith("_tracked")]
    return max(counts, default=0)


def convert_urd(
    source: str | Path,
    output: str | Path,
    backbone: str = "wide_resnet50_2.tv_in1k",
    injection: Literal["guided", "unguided"] = "unguided",
) -> None:
    """Convert a checkpoint of the authors' program to a checkpoint of :class:`~rd_plugin.ExpertReverseDistillation`.

    All weights come from the file, also the teacher's, since it was trained. Unused parts are left out: the teacher's
    fourth stage and classifier, and the guidance's layers if ``injection`` is ``"unguided"``. Every file has these
    layers: a flag in the authors' released script is inverted, so it trains and evaluates ``"unguided"``. The batch
    counters of the file's batch norms show how it was trained; an ``injection`` that contradicts them is an error.

    The file does not hold the expert. A new training would read it as the paper does: timm's weights for ``backbone``.

    Args:
        source: The authors' checkpoint, ``{"teacher": state_dict, "student": state_dict}``.
        output: Checkpoint to write; one that exists is replaced.
        backbone: timm's name of the teacher, with the tag of the weights that it started from.
        injection: ``"unguided"``, or ``"guided"`` for a file that was trained with the corrected flag.

    Raises:
        FileNotFoundError: If ``source`` or the folder of ``output`` does not exist.
        OSError: If ``output`` cannot be written.
        ValueError: If ``source`` is not such a checkpoint, would run code or does not fit ``backbone`` or
            ``injection``.
    """
    if injection not in {"guided", "unguided"}:
        msg = f"injection must be 'guided' or 'unguided', as the authors' students are, got {injection!r}."
        raise ValueError(msg)
    check_output(output, source)
    parts = named_parts(read_checkpoint(source), ("teacher", "student"), source, "RD with Expert")
    student = parts["student"]
    guided = _batches_seen(student, _GUIDANCE) > 0
    if _batches_seen(student, _FUSION) > 0 and guided != (injection == "guided"):
        msg = (
            f"injection {injection!r} does not fit {str(source)!r}: its batch norms have counted that the student "
            f"was trained {'guided' if guided else 'unguided'}."
        )
        raise ValueError(msg)
    model = ExpertReverseDistillation(backbone=backbone, injection=injection)
    ours = model.model
    misfit = f"{str(source)!r} does not fit backbone {backbone!r}"
    # Loaded through the teacher, which then notes that it has its weights.
    teacher = _less(parts["teacher"], *_BEYOND_THE_PYRAMID)
    load_renamed(ours.teacher, teacher, expert_teacher_name, "teacher.", misfit)
    load_bottleneck(ours.bottleneck, under(_BOTTLENECK, student), f"student.{_BOTTLENECK}", misfit)
    unused = (_BOTTLENECK,) if injection == "guided" else (_BOTTLENECK, _GUIDANCE)
    load_renamed(ours.student, _less(student, *unused), expert_student_name, "student.", misfit)
    write_checkpoint(model, output, "URD")
