# SPDX-License-Identifier: Apache-2.0
"""What every method must do, with a plain vision transformer as the teacher, and what only Dinomaly does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rd_plugin import ReverseDistillation
from rd_plugin.components import Tiles
from rd_plugin.models import ReverseDistillationModel
from rd_plugin.models.distillation.schedule import warm_cosine
from rd_plugin.models.reverse_distillation.loss import CosineLoss

from ..base import SMALL, LightningModelTests, TorchModelTests, batch, train

TINY = "test_vit"


class TestDinomalyModel(TorchModelTests):
    network = ReverseDistillationModel
    arguments = {"student_depth": 2}  # noqa: RUF012
    backbone = TINY
    layers = ("blocks.0", "blocks.3")

    def learn(self, model: ReverseDistillationModel, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        teacher, student = model(images)
        return CosineLoss(mean=True)(teacher, student), teacher, student

    @pytest.fixture(scope="class", params=[TINY, "test_vit4"])
    @classmethod
    def model(cls, request: pytest.FixtureRequest) -> ReverseDistillationModel:
        torch.manual_seed(0)
        return cls.build(request.param)

    @pytest.mark.parametrize("size", [(64, 64), (48, 80), (16, 32)])
    def test_every_parameter_is_trained(self, model: ReverseDistillationModel, size: tuple[int, int]) -> None:
        self.check_every_parameter_is_trained(model, size)

    @pytest.mark.parametrize("layers", [["blocks.0"], ["blocks.1", "blocks.4"], ["blocks.0", "blocks.2", "blocks.5"]])
    def test_chosen_layers(self, layers: list[str]) -> None:
        model = self.build(layers=layers)
        self.check_every_parameter_is_trained(model, (48, 32))
        self.check_prediction(model, (48, 32))

    def test_chosen_layers_of_another_family(self) -> None:
        """DINOv3's, with registers and without a position table."""
        model = self.build("vit_small_patch16_dinov3", layers=["blocks.0", "blocks.1"], student_depth=2)
        self.check_every_parameter_is_trained(model, (32, 48))
        self.check_prediction(model, (32, 48))

    @pytest.mark.parametrize("bottleneck", ["noisy", "narrow"])
    def test_bottlenecks(self, bottleneck: str) -> None:
        self.check_every_parameter_is_trained(self.build(bottleneck=bottleneck), (32, 48))

    @torch.no_grad()
    def test_student_learns_recentred_patches(self) -> None:
        model = self.build(recentred=True).eval()
        first, second, tokens = model.teacher(torch.randn(2, 3, 32, 48))
        targets, _ = model.distill_features([first, second, tokens])
        for index, (target, scale) in enumerate(zip(targets[:2], (first, second), strict=True)):
            centred = scale - tokens[:, :, index, :1, None]
            expected = (centred - centred.mean(1, keepdim=True)) / centred.std(1, unbiased=False, keepdim=True)
            torch.testing.assert_close(target, expected, rtol=1e-4, atol=1e-4)

    def test_arguments_of_the_other_kind_of_teacher(self) -> None:
        for arguments, message in (
            ({"bottleneck": "mff_oce"}, "bottleneck must be 'noisy' or 'narrow' for a plain ViT, got 'mff_oce'"),
            ({"backbone": "resnet18", "bottleneck": "noisy"}, "bottleneck 'noisy' is for a plain vision transformer"),
            ({"backbone": "resnet18", "recentred": True}, "recentred is for a plain vision transformer"),
            ({"backbone": "vit_medium_patch16_gap_240", "recentred": True}, "recentred targets need a class token"),
            # A register alone.
            ({"backbone": "test_vit4", "recentred": True}, "recentred targets need a class token"),
        ):
            with pytest.raises(ValueError, match=message):
                self.build(**arguments)


class TestDinomaly(LightningModelTests):
    method = ReverseDistillation
    limits = (-1, 5000)
    losses = {"train_loss"}  # noqa: RUF012
    small = {**SMALL, "backbone": TINY, "layers": ["blocks.0"], "student_depth": 2}  # noqa: RUF012
    layers = ("blocks.0", "blocks.3")
    tiles = Tiles((16, 32), (0, 16))

    def test_optimizer_arguments(self) -> None:
        optimizer = self.build(learning_rate=0.1, betas=(0.8, 0.9)).configure_optimizers()["optimizer"]
        assert isinstance(optimizer, StableAdamW)
        assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (0.1, (0.8, 0.9))
        default = self.build().configure_optimizers()["optimizer"].defaults
        expected = {"lr": 2e-3, "betas": (0.9, 0.999), "weight_decay": 1e-4, "eps": 1e-10, "amsgrad": True}
        assert {name: default[name] for name in expected} == expected

    def test_optimizers_are_fused_on_a_cpu(self) -> None:
        """StableAdamW has no such form."""

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
