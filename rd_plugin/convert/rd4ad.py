# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the RD4AD authors' program (Deng and Li, CVPR 2022; https://github.com/hq-deng/RD4AD)."""

from pathlib import Path

from rd_plugin.models import ReverseDistillation

from .files import check_output, named_parts, read_checkpoint, write_checkpoint
from .names import student_name
from .transfer import load_bottleneck, load_renamed

__all__ = ["convert_rd4ad"]


def convert_rd4ad(
    source: str | Path,
    output: str | Path,
    backbone: str = "wide_resnet50_2.tv_in1k",
    pre_trained: bool | str | Path = True,
) -> None:
    """Convert a checkpoint of the authors' program to a checkpoint of :class:`~rd_plugin.ReverseDistillation`.

    Their file holds the bottleneck (``bn``) and the student (``decoder``). It does not hold the teacher, which is read
    as for training. So the teacher's weights must be those that the student was trained on: for the published models
    torchvision's first-generation weights, which timm tags ``tv_in1k``. Our file holds all three.

    Args:
        source: The authors' checkpoint, ``{"bn": state_dict, "decoder": state_dict}``.
        output: Checkpoint to write; one that exists is replaced.
        backbone: timm's name of the teacher.
        pre_trained: The teacher's weights: ``True`` downloads timm's, ``False`` keeps random ones; a path or the name
            of an installed package reads a local file.

    Raises:
        FileNotFoundError: If ``source``, the weights or the folder of ``output`` do not exist.
        OSError: If ``output`` cannot be written.
        RuntimeError: If the teacher's weights cannot be downloaded.
        ValueError: If ``source`` is not such a checkpoint, would run code or does not fit ``backbone``.
    """
    check_output(output, source)
    parts = named_parts(read_checkpoint(source), ("bn", "decoder"), source, "RD4AD")
    model = ReverseDistillation(backbone=backbone, pre_trained=pre_trained)
    ours = model.model
    misfit = f"{str(source)!r} does not fit backbone {backbone!r}"
    load_bottleneck(ours.bottleneck, parts["bn"], "bn.", misfit)
    load_renamed(ours.student, parts["decoder"], student_name, "decoder.", misfit)
    # Last, since it may need a download: a file that does not fit raises an error before.
    ours.teacher.load_pretrained()
    write_checkpoint(model, output, "RD4AD")
