# SPDX-License-Identifier: Apache-2.0
"""What ``transformers`` compares: vision transformers and a ResNet as teachers, each with the models for it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rd_plugin.comparison import methods
from rd_plugin.components import is_plain_vit, patch_size

__all__ = ["BACKBONES", "runs"]

BACKBONES = (
    "vit_small_patch14_reg4_dinov2.lvd142m",
    "vit_base_patch14_reg4_dinov2.lvd142m",
    "vit_base_patch16_dinov3.lvd1689m",
    "wide_resnet50_2.tv_in1k",
)
# Dinomaly's length, of a model of one category and of one for all.
_STEPS, _JOINED_STEPS = 5000, 10_000
# Models of a ViT, and whether Dinomaly's length is theirs; others have their own.
_ON_VIT = {
    "ReverseDistillation": True,
    "FusedReverseDistillation": False,
    "anomalib.Dinomaly": True,
    "anomalib.InpFormer": True,
    "anomalib.AnomalyDINO": False,
    "anomalib.Patchcore": False,
}
# RD4AD, RD++ and the nearest neighbours that they are compared with.
_ON_PYRAMID = ("ReverseDistillation", "RevisitedReverseDistillation", "FusedReverseDistillation", "anomalib.Patchcore")
# Sides of images and of the middle that is cut out, in patches: 448 and 392 pixels with patches of 14 (Dinomaly), 512
# and 448 with patches of 16 (its authors with DINOv3).
_SIDE, _CROP = 32, 28
_PYRAMID_SIDE = 256


def runs(
    backbones: Mapping[str, str],
    models: Iterable[str] | None,
    image_size: int | None,
    crop: int | None,
    asked: Mapping[str, int],
    joined: bool,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each model and the settings of its cell that hang on the teacher.

    Args:
        backbones: timm's names of the teachers, with their weights.
        models: These only; by default all.
        image_size: Side of images, in pixels, in place of the papers'.
        crop: Side of the middle of images that a ViT is given, in place of the papers'.
        asked: Length of trainings, in steps or epochs, in place of the papers'.
        joined: Whether there is one model for all categories.

    Raises:
        ValueError: If there are no runs of a model.
    """
    wanted = None if models is None else list(models)
    for unknown in set(wanted or ()) - {*_ON_VIT, *_ON_PYRAMID}:
        msg = f"--models {unknown}: transformers compares {', '.join({**_ON_VIT, **dict.fromkeys(_ON_PYRAMID)})}."
        raise ValueError(msg)
    for backbone, weights in backbones.items():
        vit = is_plain_vit(backbone)
        patch = patch_size(backbone)[0] if vit else 0
        size = {
            "image_size": image_size or (_SIDE * patch if vit else _PYRAMID_SIDE),
            "crop": (crop or (None if image_size else _CROP * patch)) if vit else None,
        }
        for model in _ON_VIT if vit else _ON_PYRAMID:
            if wanted is not None and model not in wanted:
                continue
            dinomaly = {"steps": _JOINED_STEPS if joined else _STEPS} if vit and _ON_VIT[model] else {}
            length = {"steps": None, "epochs": None, **methods.length(model, dict(asked) or dinomaly)}
            yield model, {"backbone": backbone, "pre_trained": weights, **size, **length}
