# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the reverse distillation that anomalib itself has (``anomalib.models.ReverseDistillation``)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomalib.models import ReverseDistillation as Theirs
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.models import ReverseDistillation

from .files import check_output, named_tensors, read_checkpoint, under, write_checkpoint
from .names import bottleneck_name, student_name
from .transfer import load_bottleneck, load_renamed

__all__ = ["convert_anomalib"]

_TEACHER = "model.encoder.feature_extractor."
_BOTTLENECK = "model.bottleneck."
_STUDENT = "model.decoder."
_POST_PROCESSOR = "post_processor."
_HYPER_PARAMETERS = ("backbone", "layers", "anomaly_map_mode", "pre_trained")


def _missing(hyper_parameters: object, state: Mapping[str, Tensor]) -> list[str]:
    """What a file lacks to be such a checkpoint."""
    missing: list[str] = []
    if isinstance(hyper_parameters, dict):
        missing += [f"hyper_parameters.{name}" for name in _HYPER_PARAMETERS if name not in hyper_parameters]
    else:
        missing.append("hyper_parameters")
    if state:
        missing += [f"state_dict.{prefix}*" for prefix in (_TEACHER, _BOTTLENECK, _STUDENT) if not under(prefix, state)]
    else:
        missing.append("state_dict")
    return missing


def _widened(tensors: Mapping[str, Tensor], bottleneck: nn.Module) -> dict[str, Tensor]:
    """Pad the embedding with zero channels where anomalib's is narrower than ours.

    anomalib builds the embedding of a wide ResNet as narrow as a plain one's; the authors', and so ours, is twice as
    wide inside its blocks. A channel is 0 after the batch norm if its weights and the batch norm's weight and bias are
    all 0. It adds nothing to the next convolution and gets no gradient through the ReLU, so the model computes, and
    learns, exactly as before.
    """
    places = bottleneck.state_dict()
    widened: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        widened[name] = tensor
        place = places.get(bottleneck_name(name)) if name.startswith("bn_layer.") else None
        if place is None or place.dim() != tensor.dim():
            continue
        lacking = [ours - theirs for ours, theirs in zip(place.shape, tensor.shape, strict=True)]
        if any(lacking) and min(lacking) >= 0:
            # F.pad counts axes from the last, with the channels to add before and after.
            widened[name] = F.pad(tensor, [count for lack in reversed(lacking) for count in (0, lack)])
    return widened


def convert_anomalib(source: str | Path, output: str | Path) -> None:
    """Convert a checkpoint of anomalib's own model to a checkpoint of :class:`~rd_plugin.ReverseDistillation`.

    All weights come from the file, also the teacher's. Thresholds, normalization and the configuration of pre- and
    post-processor are kept, and so are the settings in which anomalib's model differs: the blur's border and Adam's
    decay rates. A new training would continue with the weights but not with the optimizer's state.

    A ResNeXt is not supported: anomalib's bottleneck does not group its convolutions as the teacher's family does.

    Args:
        source: Lightning checkpoint of ``anomalib.models.ReverseDistillation``.
        output: Checkpoint to write; one that exists is replaced.

    Raises:
        FileNotFoundError: If ``source`` or the folder of ``output`` does not exist.
        OSError: If ``output`` cannot be written.
        TypeError: If the configuration of the pre-processor in the file is malformed.
        ValueError: If ``source`` is not such a checkpoint, would run code or does not fit the backbone that it names.
    """
    check_output(output, source)
    content = read_checkpoint(source, Theirs.checkpoint_safe_globals())
    state = named_tensors(content.get("state_dict"))
    hyper_parameters: Any = content.get("hyper_parameters")
    if missing := _missing(hyper_parameters, state):
        msg = (
            f"{str(source)!r} is not a checkpoint of anomalib's ReverseDistillation: it has no {', no '.join(missing)}."
        )
        raise ValueError(msg)
    backbone = str(hyper_parameters["backbone"])
    model = ReverseDistillation(
        backbone=backbone,
        layers=list(hyper_parameters["layers"]),
        pre_trained=bool(hyper_parameters["pre_trained"]),
        anomaly_map_mode=AnomalyMapGenerationMode(hyper_parameters["anomaly_map_mode"]).value,
        blur_border="reflect",
        betas=(0.5, 0.99),
    )
    ours = model.model
    misfit = f"{str(source)!r} does not fit its backbone {backbone!r}"
    # Loaded through the teacher, which then notes that it has its weights.
    load_renamed(ours.teacher, under(_TEACHER, state), "net.{}".format, _TEACHER, misfit)
    load_bottleneck(ours.bottleneck, _widened(under(_BOTTLENECK, state), ours.bottleneck), _BOTTLENECK, misfit)
    load_renamed(ours.student, under(_STUDENT, state), student_name, _STUDENT, misfit)
    # anomalib's own hook restores which components are used, and their settings.
    model.on_load_checkpoint(content)
    if model.post_processor is not None:
        misfit = f"the post-processor in {str(source)!r} is not anomalib's default one"
        load_renamed(model.post_processor, under(_POST_PROCESSOR, state), str, _POST_PROCESSOR, misfit)
    write_checkpoint(model, output, "anomalib")
