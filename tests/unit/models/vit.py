# SPDX-License-Identifier: Apache-2.0
"""What holds for every method with a plain vision transformer as the teacher; tests derive from it as from base.py."""

import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW

from rd_plugin.components import Tiles
from rd_plugin.models.reverse_distillation.loss import CosineLoss

from .base import SMALL, LightningModelTests, TorchModelTests

TINY = "test_vit"
VIT = {**SMALL, "backbone": TINY, "layers": ["blocks.0", "blocks.3"], "student_depth": 2}


class ViTModelTests(TorchModelTests):
    """Tests of a torch module whose teacher is a plain vision transformer."""

    arguments = {"student_depth": 2}  # noqa: RUF012
    backbones = (TINY, "test_vit4")
    backbone = TINY
    layers = ("blocks.0", "blocks.3")
    sizes = ((64, 64), (48, 80), (16, 32))
    loss = CosineLoss(mean=True)

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


class DinomalyModelTests(ViTModelTests):
    """Tests of a torch module with the arguments of Dinomaly."""

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


class ViTTests(LightningModelTests):
    """Tests of a Lightning module whose teacher is a plain vision transformer."""

    limits = (-1, 5000)
    losses = {"train_loss"}  # noqa: RUF012
    small = {**VIT, "layers": ["blocks.0"]}  # noqa: RUF012
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
