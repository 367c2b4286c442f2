# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the Dinomaly that anomalib itself has (``anomalib.models.Dinomaly``)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from anomalib.models import Dinomaly as Theirs
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from rd_plugin.components import ViTTeacher
from rd_plugin.models import ReverseDistillation

from .dinomaly import load_tokens
from .files import check_output, named_tensors, read_checkpoint, under, write_checkpoint
from .transfer import load_renamed

__all__ = ["convert_anomalib_dinomaly"]

_PARTS = {
    "encoder": "model.encoder.feature_extractor.",
    "bottleneck": "model.bottleneck.",
    "decoder": "model.decoder.",
}
_POST_PROCESSOR = "post_processor."
# Options of theirs that change what the networks compute, with the value that ours do.
_OPTIONS = {
    "fuse_layer_encoder": None,
    "fuse_layer_decoder": None,
    "remove_class_token": False,
    "use_context_recentering": False,
}


def _with_biases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add biases of 0 to perceptrons, which have none in anomalib's model and have some in the authors'."""
    added = {
        name.removesuffix("weight") + "bias": torch.zeros(len(tensor))
        for name, tensor in tensors.items()
        if name.endswith(("fc1.weight", "fc2.weight"))
    }
    return {**added, **tensors}


def convert_anomalib_dinomaly(source: str | Path, output: str | Path) -> None:
    """Convert a checkpoint of anomalib's own Dinomaly to a checkpoint of :class:`~rd_plugin.ReverseDistillation`.

    All weights come from the file, also the teacher's, whose position table is resampled as anomalib does. Thresholds,
    normalization and the configuration of pre- and post-processor are kept. Scores differ slightly from anomalib's,
    since the blur pads the border with zeros, as the authors' does; maps are blurred, which anomalib's are not.

    Args:
        source: Lightning checkpoint of ``anomalib.models.Dinomaly``.
        output: Checkpoint to write; one that exists is replaced.

    Raises:
        FileNotFoundError: If ``source`` or the folder of ``output`` does not exist.
        OSError: If ``output`` cannot be written.
        TypeError: If the configuration of the pre-processor in the file is malformed.
        ValueError: If ``source`` is not such a checkpoint, would run code, or was trained with an option that changes
            what the networks compute.
    """
    check_output(output, source)
    content = read_checkpoint(source, Theirs.checkpoint_safe_globals())
    state = named_tensors(content.get("state_dict"))
    parts = {part: under(prefix, state) for part, prefix in _PARTS.items()}
    given: Any = content.get("hyper_parameters")
    if not isinstance(given, dict) or "encoder_name" not in given or not all(parts.values()):
        lacking = [f"state_dict.{_PARTS[part]}*" for part in parts if not parts[part]]
        lacking = lacking or ["hyper_parameters.encoder_name"]
        msg = f"{str(source)!r} is not a checkpoint of anomalib's Dinomaly: it has no {', no '.join(lacking)}."
        raise ValueError(msg)
    if other := [name for name, ours in _OPTIONS.items() if given.get(name, ours) != ours]:
        msg = (
            f"{str(source)!r} was trained with {other[0]} {given[other[0]]!r}; only {_OPTIONS[other[0]]!r} can be used."
        )
        raise ValueError(msg)
    backbone, layers = str(given["encoder_name"]), given.get("target_layers")
    model = ReverseDistillation(
        backbone=backbone,
        layers=None if layers is None else [f"blocks.{index}" for index in layers],
        dropout=float(given.get("bottleneck_dropout", 0.2)),
        student_depth=int(given.get("decoder_depth", 8)),
    )
    # anomalib's own hook restores which components are used, and their settings; the teacher takes their image size.
    model.on_load_checkpoint(content)
    misfit = f"{str(source)!r} does not fit its backbone {backbone!r}"
    teacher = model.model.teacher
    assert isinstance(teacher, ViTTeacher)
    grid = [side // patch for side, patch in zip(teacher.size, teacher.patch, strict=True)]
    table = parts["encoder"]["pos_embed"]
    # Antialiasing is what anomalib switches off in timm.
    prefix = 0 if teacher.net.no_embed_class else teacher.prefix_tokens
    parts["encoder"]["pos_embed"] = resample_abs_pos_embed(table, grid, num_prefix_tokens=prefix, antialias=False)
    complete = {part: tensors if part == "encoder" else _with_biases(tensors) for part, tensors in parts.items()}
    load_tokens(model, complete, "model.", misfit)
    if model.post_processor is not None:
        misfit = f"the post-processor in {str(source)!r} is not anomalib's default one"
        load_renamed(model.post_processor, under(_POST_PROCESSOR, state), str, _POST_PROCESSOR, misfit)
    write_checkpoint(model, output, "anomalib")
