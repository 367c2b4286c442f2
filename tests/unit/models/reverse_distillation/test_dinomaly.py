# SPDX-License-Identifier: Apache-2.0
"""What every method must do, with a plain vision transformer as the teacher, and what only Dinomaly does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW
from torch import nn
from torch.utils.data import DataLoader

from rd_plugin import ReverseDistillation
from rd_plugin.models import ReverseDistillationModel
from rd_plugin.models.distillation.schedule import warm_cosine

from ..base import SMALL, batch, train
from ..vit import TINY, DinomalyModelTests, ViTTests


class TestDinomalyModel(DinomalyModelTests):
    network = ReverseDistillationModel


class TestDinomaly(ViTTests):
    method = ReverseDistillation

    def test_defaults_are_those_of_the_paper(self) -> None:
        model = ReverseDistillation(TINY, pre_trained=False, visualizer=False)
        assert model.resized_to == [256, 256]
        recorded = model.describe().plain()["arguments"]
        expected = {
            "anomaly_map_mode": "mean",
            "score": 0.01,
            "map_size": 256,
            "blur_sigma": 4.0,
            "bottleneck": "noisy",
            "hard_mining": "share",
            "layers": [f"blocks.{index}" for index in range(6)],
        }
        assert {name: recorded[name] for name in expected} == expected
        assert len(model.model.student.blocks) == 8
        assert model.model.bottleneck.dropout.p == 0.2

    def test_checkpoint_of_another_size_restores_it(self, tmp_path: Path) -> None:
        """The position table of a checkpoint has the size of its pre-processor, which the arguments do not know."""
        model = self.build()
        train(model, tmp_path, max_steps=1).save_checkpoint(tmp_path / "model.ckpt")
        restored = self.method.load_from_checkpoint(tmp_path / "model.ckpt")
        assert restored.model.teacher.size == (32, 32)
        assert restored.model.teacher.net.pos_embed.shape[1] == 1 + 2 * 2

    def test_image_size_that_is_not_made_of_patches(self) -> None:
        with pytest.raises(ValueError, match=r"image_size must be another, such as \[96, 48\]: 'test_vit' cuts images"):
            ReverseDistillation(TINY, pre_trained=False, image_size=(100, 50))

    def test_three_steps_are_those_of_the_authors_loop(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        model, theirs = self.build(dropout=0.0), self.build(dropout=0.0)
        theirs.load_state_dict(model.state_dict())
        batches = [batch() for _ in range(3)]
        train(model, tmp_path, DataLoader(batches, batch_size=None), max_steps=3)

        # Their loop: loss, backward, clipping over both parts, step, next learning rate.
        network = theirs.model.train()
        parameters = [*network.bottleneck.parameters(), *network.student.parameters()]
        optimizer = StableAdamW(parameters, lr=0.0, betas=(0.9, 0.999), weight_decay=1e-4, amsgrad=True, eps=1e-10)
        for step, images in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * warm_cosine(step, 3)
            teacher, student = network(theirs.pre_processor(images.image))
            loss = theirs.loss(teacher, student, step)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, max_norm=0.1)
            optimizer.step()
        for (name, ours), wanted in zip(model.model.named_parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-7, msg=name)


def test_trainers_own_clipping_comes_first(tmp_path: Path) -> None:
    seen: list[Any] = []
    model = ReverseDistillation(TINY, pre_trained=False, layers=["blocks.0"], student_depth=2, visualizer=False)
    clip = model.clip_gradients
    model.clip_gradients = lambda optimizer, value, kind: seen.append(value) or clip(optimizer, value, kind)
    train(model, tmp_path, DataLoader([batch()], batch_size=None), max_steps=1, gradient_clip_val=0.5)
    assert seen == [0.5]


@pytest.mark.parametrize(
    "arguments",
    [{"hard_mining": "share"}, {"hard_mining": "deviation"}, {"dropout": 0.4}],
    ids=lambda given: str(given),
)
def test_options_of_a_pyramid(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """Each changes what is learned, not what a trained model computes."""
    models = []
    for given in ({}, arguments):
        torch.manual_seed(0)
        # Mining begins after the first steps.
        models.append(ReverseDistillation(**SMALL, **given))
        torch.manual_seed(1)
        train(models[-1], tmp_path, max_steps=3)
    plain, model = models
    for name, value in arguments.items():
        assert model.describe().arguments[name] == value
        assert plain.describe().arguments[name] in {"off", 0.0}
    own, others = (dict(each.model.named_parameters()) for each in models)
    assert any(not torch.equal(own[name], others[name]) for name in own)
    plain.model.load_state_dict(model.model.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain.model.eval()(images).anomaly_map, model.model.eval()(images).anomaly_map)


def test_dropout_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1.5"):
        ReverseDistillation(**SMALL, dropout=1.5)
