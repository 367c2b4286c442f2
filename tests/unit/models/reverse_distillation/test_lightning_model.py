# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from rd_plugin import ReverseDistillation

from ..base import Gradients, LightningModelTests, batch, train


class TestReverseDistillation(LightningModelTests):
    method = ReverseDistillation
    limits = (200, -1)
    losses = {"train_loss"}  # noqa: RUF012

    def test_optimizer_is_the_papers_and_leaves_the_teacher_out(self) -> None:
        model = self.build()
        optimizer = model.configure_optimizers()
        assert isinstance(optimizer, torch.optim.Adam)
        assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (0.005, (0.5, 0.999))
        optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        network = model.model
        assert optimized == {id(p) for part in (network.bottleneck, network.student) for p in part.parameters()}

    def test_training_lowers_the_loss_of_the_papers_equations(self, tmp_path: Path) -> None:
        assert self.build().loss.kind == "flattened"
        model = self.build(loss="per_pixel")
        assert model.loss.kind == "per_pixel"
        self.check_training_lowers_the_losses(model, tmp_path)

    def test_gradients_add_up_over_batches(self, tmp_path: Path) -> None:
        model, gradients = self.build(), Gradients()
        data = DataLoader([batch()] * 4, batch_size=None)
        train(model, tmp_path, data, max_steps=2, accumulate_grad_batches=2, callbacks=[gradients])
        trained = sum(parameter.requires_grad for parameter in model.parameters())
        assert gradients.counts == [trained, 0, trained, 0]
