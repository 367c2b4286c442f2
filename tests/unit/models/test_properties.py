# SPDX-License-Identifier: Apache-2.0
"""What holds for both methods with any backbone, stages and image size (hypothesis; always the same examples)."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import openvino
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from rd_plugin import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.components import AnomalyMapGenerator, ImageScore
from rd_plugin.models import ExpertReverseDistillationModel, ReverseDistillationModel
from rd_plugin.models.distillation import DistillationModel
from rd_plugin.models.expert_reverse_distillation.loss import StudentLoss
from rd_plugin.models.reverse_distillation.loss import CosineLoss

# Residual blocks, inverted residuals, squeeze and excitation, layer norm, groups, and a MetaFormer with channels last.
BACKBONES = (
    "test_resnet",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "convnext_atto",
    "regnetx_002",
    "test_mambaout",
)
INJECTIONS = ("guided", "unguided", "none")
LARGEST = 96


class Network(NamedTuple):
    """What a network is built from; ``injection`` is ``None`` for plain reverse distillation."""

    backbone: str
    layers: tuple[str, ...]
    injection: str | None

    @property
    def arguments(self) -> dict[str, Any]:
        extra = {} if self.injection is None else {"injection": self.injection, "train_teacher": False}
        return {"backbone": self.backbone, "layers": self.layers, "pre_trained": False, **extra}


@cache
def stages(backbone: str) -> dict[str, int]:
    """Stride of each stage, one stage for each stride."""
    with torch.device("meta"):
        infos = timm.create_model(backbone, features_only=True).feature_info.info
    return {name: stride for stride, name in {info["reduction"]: info["module"] for info in infos}.items()}


@lru_cache(maxsize=32)
def build(network: Network) -> DistillationModel:
    torch.manual_seed(0)
    kind = ReverseDistillationModel if network.injection is None else ExpertReverseDistillationModel
    return kind(**network.arguments).eval()


@st.composite
def networks(draw: st.DrawFn) -> Network:
    backbone = draw(st.sampled_from(BACKBONES))
    names = list(stages(backbone))
    subsets = [layers for count in (1, 2, 3) for layers in combinations(names, count)]
    return Network(backbone, draw(st.sampled_from(subsets)), draw(st.sampled_from((None, *INJECTIONS))))


@st.composite
def inputs(draw: st.DrawFn, network: Network, least_count: int = 1) -> Tensor:
    """Normalized images, from the coarsest stride on, square or not."""
    least = max(stages(network.backbone)[layer] for layer in network.layers)
    sides = st.integers(least, LARGEST)
    shape = (draw(st.integers(least_count, 4)), 3, draw(sides), draw(sides))
    return torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))


scores = st.one_of(st.sampled_from(("max", "mean")), st.floats(0.001, 1))


def reduced(anomaly_map: Tensor, score: str | float) -> Tensor:
    """The score of one map of shape ``(1, H, W)``."""
    pixels = anomaly_map.flatten().sort(descending=True).values
    if score == "max":
        return pixels[0]
    return pixels.mean() if score == "mean" else pixels[: max(1, round(score * len(pixels)))].mean()


def examples(count: int) -> settings:
    return settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )


@torch.no_grad()
def check_predictions(data: st.DataObject) -> None:
    network = data.draw(networks())
    images = data.draw(inputs(network))
    mode, score = data.draw(st.sampled_from(("add", "multiply"))), data.draw(scores)
    model = build(network)
    model.anomaly_map_generator, model.image_score = AnomalyMapGenerator(mode), ImageScore(score)
    predictions = model(images)

    # Shapes and range.
    assert predictions.anomaly_map.shape == (len(images), 1, *images.shape[-2:])
    assert predictions.pred_score.shape == (len(images), 1)
    assert predictions.anomaly_map.isfinite().all()
    count = len(network.layers)
    assert predictions.anomaly_map.min() >= -1e-5
    assert predictions.anomaly_map.max() <= (2 * count if mode == "add" else 2**count) + 1e-5

    # The score is the chosen reduction of the map.
    expected = torch.stack([reduced(anomaly_map, score) for anomaly_map in predictions.anomaly_map])
    torch.testing.assert_close(predictions.pred_score[:, 0], expected, rtol=1e-5, atol=1e-6)

    # A sample's result does not depend on its batch.
    index = data.draw(st.integers(0, len(images) - 1))
    alone = model(images[index : index + 1])
    torch.testing.assert_close(alone.anomaly_map[0], predictions.anomaly_map[index], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone.pred_score[0], predictions.pred_score[index], rtol=1e-4, atol=1e-5)

    # An image with a value that is no number has no score, wherever the value is; the others keep theirs.
    images[index, 0, -1, images.shape[-1] // 2] = data.draw(st.sampled_from((torch.nan, torch.inf, -torch.inf)))
    spoiled = model(images)
    others = torch.arange(len(images)) != index
    torch.testing.assert_close(spoiled.anomaly_map[others], predictions.anomaly_map[others], rtol=1e-4, atol=1e-5)
    assert spoiled.pred_score.isnan().flatten().tolist() == (~others).tolist()
    assert spoiled.anomaly_map[index].isnan().all()


@pytest.mark.parametrize("count", [8, pytest.param(300, marks=pytest.mark.slow)])
def test_predictions(count: int) -> None:
    examples(count)(given(st.data())(check_predictions))()


def check_frozen_teacher(data: st.DataObject) -> None:
    network = data.draw(networks())
    images = data.draw(inputs(network, least_count=2))
    model = deepcopy(build(network)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if network.injection is None:
        loss = CosineLoss()(*model(images))
    else:
        teacher, *students = model.distill_twins(images, images.flip(0))
        loss = StudentLoss()([teacher], students)
    loss.backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.optim.Adam(trained, lr=0.01, weight_decay=0.1).step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("teacher."), name


@pytest.mark.parametrize("count", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_training_leaves_a_frozen_teacher_bit_for_bit(count: int) -> None:
    examples(count)(given(st.data())(check_frozen_teacher))()


def run_onnx(path: Path, images: np.ndarray) -> Sequence[np.ndarray]:
    return onnxruntime.InferenceSession(path).run(["anomaly_map", "pred_score"], {"input": images})


def run_openvino(path: Path, images: np.ndarray) -> Sequence[np.ndarray]:
    # Without the hint the runtime may compute in bfloat16.
    results = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)
    return results["anomaly_map"], results["pred_score"]


@pytest.mark.slow
@examples(12)
@given(data=st.data())
def test_export_equals_eager(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    network = data.draw(networks())
    images = data.draw(inputs(network))
    kind = ReverseDistillation if network.injection is None else ExpertReverseDistillation
    torch.manual_seed(0)
    model = kind(**network.arguments, pre_processor=False, score=data.draw(scores), visualizer=False).eval()
    path = model.to_onnx(tmp_path_factory.mktemp("export"), input_size=tuple(images.shape[-2:]))
    with torch.no_grad():
        expected = model(images)
    for run in (run_onnx, run_openvino):
        anomaly_map, pred_score = run(path, images.numpy())
        np.testing.assert_allclose(anomaly_map, expected.anomaly_map, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(pred_score, expected.pred_score, rtol=1e-3, atol=1e-4)
