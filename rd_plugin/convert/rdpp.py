# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the RD++ authors' program (https://github.com/tientrandinh/Revisiting-Reverse-Distillation)."""

from pathlib import Path

from rd_plugin.models import RevisitedReverseDistillation

from .files import check_output, named_parts, read_checkpoint, write_checkpoint
from .names import projection_name, student_name
from .transfer import load_bottleneck, load_renamed

__all__ = ["convert_rdpp"]


def convert_rdpp(
    source: str | Path,
    output: str | Path,
    backbone: str = "wide_resnet50_2.tv_in1k",
    pre_trained: bool | str | Path = True,
) -> None:
    """Convert a checkpoint of the authors' program to one of :class:`~rd_plugin.RevisitedReverseDistillation`.

    Their file holds projections (``proj``), bottleneck (``bn``) and student (``decoder``). It does not hold the
    teacher, which is read as for training; see :func:`~rd_plugin.convert.convert_rd4ad`. The biases of the projections
    are left out: instance norm removes them.

    Args and errors are those of :func:`~rd_plugin.convert.convert_rd4ad`, for a file ``{"proj": state_dict, "bn":
    state_dict, "decoder": state_dict}``.
    """
    check_output(output, source)
    parts = named_parts(read_checkpoint(source), ("proj", "bn", "decoder"), source, "RD++")
    model = RevisitedReverseDistillation(backbone=backbone, pre_trained=pre_trained)
    ours = model.model
    misfit = f"{str(source)!r} does not fit backbone {backbone!r}"
    weights = {name: tensor for name, tensor in parts["proj"].items() if not name.endswith(".bias")}
    load_renamed(ours.bottleneck.projections, weights, projection_name, "proj.", misfit)
    load_bottleneck(ours.bottleneck.bottleneck, parts["bn"], "bn.", misfit)
    load_renamed(ours.student, parts["decoder"], student_name, "decoder.", misfit)
    # Last, since it may need a download: a file that does not fit raises an error before.
    ours.teacher.load_pretrained()
    write_checkpoint(model, output, "RD++")
