# SPDX-License-Identifier: Apache-2.0
"""Our models and anomalib's by name, all on the same teacher with the same weights."""

import inspect
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import timm
from anomalib import models as anomalib_models
from anomalib.models.components import AnomalibModule, MemoryBankMixin, TimmFeatureExtractor
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize, Transform

from rd_plugin.components import build_teacher, is_plain_vit
from rd_plugin.components.weights import find_weights, load_matched
from rd_plugin.models import METHODS, ReverseDistillation
from rd_plugin.models.distillation import Distillation

__all__ = ["build", "find", "length", "normalizes_brightness"]

_PEER = "anomalib."
# torchvision's normalization, which all models here take.
_NORMALIZE = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def find(name: str) -> type[AnomalibModule]:
    """Return a model by name: ours as it is, anomalib's behind ``anomalib.``.

    Raises:
        ValueError: If there is none of that name.
    """
    own = {method.__name__: method for method in METHODS}
    kind = getattr(anomalib_models, name.removeprefix(_PEER), None) if name.startswith(_PEER) else own.get(name)
    if not (isinstance(kind, type) and issubclass(kind, AnomalibModule)):
        msg = f"model {name!r} is unknown: give a model of rd_plugin, or anomalib.NAME for one of anomalib."
        raise ValueError(msg)  # noqa: TRY004  # the name is wrong
    return kind


def length(name: str, asked: dict[str, int]) -> dict[str, int]:
    """Return how long a model is trained, in steps or epochs.

    A memory bank takes one epoch. Others train for the given length, or else for that of their paper, or RD4AD's.
    """
    kind = find(name)
    if issubclass(kind, MemoryBankMixin):
        return {"epochs": 1}
    if asked:
        return asked
    if issubclass(kind, Distillation) and kind.default_max_steps > 0:
        return {"steps": kind.default_max_steps}
    return {"epochs": ReverseDistillation.default_max_epochs}


def normalizes_brightness(name: str) -> bool:
    """Return whether a model normalizes brightness itself."""
    return "brightness" in inspect.signature(find(name)).parameters


def build(
    name: str,
    arguments: dict[str, Any],
    backbone: str,
    pre_trained: str,
    image_size: int,
    last: Transform | None = None,
    crop: int | None = None,
) -> AnomalibModule:
    """Build a model.

    anomalib's models get the teacher as their feature extractor, with our reader's weights; of its stages those that
    have the strides of the ResNet's that are the model's default. A model without a backbone stays as it is.

    Args:
        name: The model's name.
        arguments: More arguments of the model.
        backbone: timm's name of the teacher.
        pre_trained: ``"true"``, ``"false"``, a package or a file, as in :class:`rd_plugin.ReverseDistillation`.
        image_size: Side that images are resized to, in pixels.
        last: Last step of the pre-processor, if any.
        crop: Side of the middle that is cut out then, in pixels, if any.

    Raises:
        ValueError: If a model of anomalib has a backbone that weights cannot be given to.
    """
    kind = find(name)
    steps = [
        Resize((image_size, image_size), antialias=True),
        *([CenterCrop((crop, crop))] if crop else []),
        _NORMALIZE,
        *([] if last is None else [last]),
    ]
    weights: bool | str = {"true": True, "false": False}.get(pre_trained, pre_trained)
    arguments = {
        "pre_processor": PreProcessor(transform=Compose(steps)),
        "visualizer": False,
        **arguments,
    }
    if issubclass(kind, Distillation):
        return kind(**{"backbone": backbone, "pre_trained": weights, "on_bad_data": "off", **arguments})
    accepted = inspect.signature(kind).parameters
    teacher = next((argument for argument in ("backbone", "encoder_name") if argument in accepted), None)
    if teacher is None:
        return kind(**arguments)
    arguments = {**_stages(backbone, accepted), **arguments}
    create = timm.create_model
    # Some ask for timm's download whatever they are told, and know architectures without the tag of their weights.
    with patch("timm.create_model", lambda *args, **kwargs: create(*args, **{**kwargs, "pretrained": False})):
        model = kind(**{teacher: backbone.partition(".")[0], **arguments})
    extractors = [module for module in model.modules() if isinstance(module, TimmFeatureExtractor)]
    frozen = [extractor for extractor in extractors if not extractor.requires_grad]
    if not frozen:
        msg = f"{name} has no frozen feature extractor that the teacher's weights could be given to."
        raise ValueError(msg)
    for extractor in frozen:
        _load(extractor, backbone, weights)
    return model


def _stages(backbone: str, accepted: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return a model's default layers, named for a ResNet, by the names that the teacher's of those strides have.

    Of a vision transformer they are the last blocks of the two groups that ours distils.
    """
    if is_plain_vit(backbone):
        blocks = build_teacher(backbone, pre_trained=False).layers
        return {"layers": [blocks[len(blocks) // 2 - 1], blocks[-1]]} if "layers" in accepted else {}
    info: Any = timm.create_model(backbone.partition(".")[0], features_only=True).feature_info
    names = dict(zip(info.reduction(), info.module_name(), strict=True))
    named = {f"layer{index}": names.get(2 ** (index + 1)) for index in range(1, 5)}
    found: dict[str, Any] = {}
    if "layers" in accepted:
        # Of those that have no default the one is GLASS, which then takes these two.
        found["layers"] = [named[layer] for layer in accepted["layers"].default or ("layer2", "layer3")]
    if "layer" in accepted:
        found["layer"] = named[accepted["layer"].default]
    return found


def _load(extractor: TimmFeatureExtractor, backbone: str, pre_trained: bool | str) -> None:
    """Give a feature extractor the teacher's weights."""
    net = extractor.feature_extractor
    if is_plain_vit(backbone) and pre_trained is not False:
        file: dict[str, Any] = (
            {} if pre_trained is True else {"pretrained_cfg_overlay": {"file": str(find_weights(pre_trained))}}
        )
        loaded = timm.create_model(backbone, pretrained=True, dynamic_img_size=True, **file)
        net.load_state_dict(loaded.state_dict())
    elif pre_trained is True:
        loaded = timm.create_model(backbone, pretrained=True, features_only=True, out_indices=extractor.idx)
        net.load_state_dict(loaded.state_dict())
    elif pre_trained is not False:
        net.load_state_dict(load_matched(find_weights(pre_trained), backbone, net, extractor.idx))
