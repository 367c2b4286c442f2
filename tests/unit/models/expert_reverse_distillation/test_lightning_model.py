# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.data.utils.tiler import Tiler
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rd_plugin import ExpertReverseDistillation
from rd_plugin.models.expert_reverse_distillation.loss import StudentLoss, TeacherLoss
from rd_plugin.synthetic import TwinGenerator

from ..base import Losses, SlowCacheTests, batch, optimizers_of, train

# No resizing to 256 x 256, which is what the default pre-processor does.
RAW = {"pre_processor": False}


class Outputs(Callback):
    """Keep what the training step returns."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: dict, *_: object) -> None:
        del trainer, pl_module
        self.last = outputs


def state(model: ExpertReverseDistillation) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def changed(model: ExpertReverseDistillation, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.model.state_dict().items() if not torch.equal(tensor, before[name])}


def check_step_by_hand(
    model: ExpertReverseDistillation,
    tmp_path: Path,
    betas: tuple[float, float],
    step_student: Callable[[list[nn.Parameter]], object],
) -> None:
    """The teacher learns first, then the student from what it has become; ``step_student`` takes its parameters."""
    twin, images, losses = deepcopy(model.model), batch(), Losses()
    train(model, tmp_path, DataLoader([images], batch_size=None), max_steps=1, callbacks=[losses])

    torch.manual_seed(0)
    twins, masks = TwinGenerator()(images.image)
    # As the training does it, to the bit: a first step of Adam follows the sign of the smallest gradient.
    net = twin.teacher.expert()
    expert = twin.targets(net(images.image)), twin.targets(net(twins))
    first = TeacherLoss()(twin.teach(images.image, twins), expert, masks)
    first.backward()
    torch.optim.Adam(twin.teacher.parameters(), lr=1e-4, betas=betas, fused=True).step()
    teacher, *students = twin.train().distill_twins(images.image, twins)
    second = StudentLoss()([teacher, expert[0]], students)
    second.backward()
    step_student([*twin.bottleneck.parameters(), *twin.student.parameters()])

    assert losses.values["teacher_loss"] == [pytest.approx(first.item(), rel=1e-5)]
    assert losses.values["student_loss"] == [pytest.approx(second.item(), rel=1e-5)]
    torch.testing.assert_close(model.model.state_dict(), twin.state_dict(), rtol=0, atol=1e-5)


class TestExpertReverseDistillation(SlowCacheTests):
    method = ExpertReverseDistillation
    # The expert's weights are not in a checkpoint; tests/integration/test_engine.py has a file with them.
    random_weights = {"train_teacher": False}  # noqa: RUF012
    limits = (-1, 5000)
    losses = {"teacher_loss", "student_loss"}  # noqa: RUF012

    def test_two_optimizers_share_out_what_is_trained(self) -> None:
        model = self.build()
        optimizers = optimizers_of(model)
        assert all(isinstance(optimizer, torch.optim.Adam) for optimizer in optimizers)
        settings = [(optimizer.defaults["lr"], optimizer.defaults["betas"]) for optimizer in optimizers]
        assert settings == [(0.005, (0.5, 0.999)), (1e-4, (0.5, 0.999))]
        network = model.model
        expected = [(network.bottleneck, network.student), (network.teacher,)]
        for optimizer, parts in zip(optimizers, expected, strict=True):
            optimized = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            assert len({id(p) for p in optimized}) == len(optimized)
            assert {id(p) for p in optimized} == {id(p) for part in parts for p in part.parameters()}
        assert all(parameter.requires_grad for parameter in network.parameters())
        assert not model.automatic_optimization

    def test_one_optimizer_if_the_teacher_stays_as_it_is(self) -> None:
        model = self.build(train_teacher=False)
        (optimizer,) = optimizers_of(model)
        optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        assert optimizer.defaults["lr"] == 0.005
        assert optimized == {id(p) for p in model.parameters() if p.requires_grad}
        assert model.automatic_optimization

    def test_teacher_learning_rate(self) -> None:
        optimizers = optimizers_of(self.build(teacher_learning_rate=0.3, learning_rate=0.2))
        assert [optimizer.defaults["lr"] for optimizer in optimizers] == [0.2, 0.3]

    def test_a_step_is_one_of_each_optimizer(self, tmp_path: Path) -> None:
        trainer = train(self.build(**RAW), tmp_path, max_steps=3)
        assert trainer.global_step == 3
        for optimizer in trainer.optimizers:
            assert {int(values["step"]) for values in optimizer.state.values()} == {3}

    def test_step_by_hand(self, tmp_path: Path) -> None:
        def step(parameters: list[nn.Parameter]) -> None:
            torch.optim.Adam(parameters, lr=0.005, betas=(0.5, 0.999), fused=True).step()

        check_step_by_hand(self.build(**RAW, layers=["layer1", "layer2"]), tmp_path, (0.5, 0.999), step)

    def test_teacher_learns_and_the_expert_is_not_kept(self, tmp_path: Path) -> None:
        model = self.build(**RAW)
        before = state(model)
        trainer = train(model, tmp_path, max_steps=2)
        assert changed(model, before) == before.keys()
        assert not [name for name in model.state_dict() if "expert" in name]
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        stored = torch.load(tmp_path / "model.ckpt", weights_only=False)["state_dict"]
        assert {name for name in stored if name.startswith("model.")} == {f"model.{name}" for name in before}
        assert model._expert is None

    def test_expert_is_not_kept_if_training_breaks_off(self, tmp_path: Path) -> None:
        model, images = self.build(**RAW, on_bad_data="off"), batch()
        images.image[0] = torch.nan
        with pytest.raises(ValueError, match="teacher_loss at step 0 is not finite"):
            train(model, tmp_path, DataLoader([images], batch_size=None), max_steps=1)
        assert model._expert is None

    def test_frozen_teacher_stays_bit_for_bit(self, tmp_path: Path) -> None:
        model = self.build(**RAW, train_teacher=False)
        before, losses = state(model), Losses()
        trainer = train(model, tmp_path, max_steps=2, callbacks=[losses])
        assert trainer.global_step == 2
        assert losses.values.keys() == {"student_loss"}
        assert changed(model, before) == {name for name in before if not name.startswith("teacher.")}

    def test_training_with_a_frozen_teacher_lowers_the_loss(self, tmp_path: Path) -> None:
        losses = Losses()
        images = DataLoader([batch()] * 10, batch_size=None)
        train(self.build(**RAW, train_teacher=False), tmp_path, images, max_steps=10, callbacks=[losses])
        values = losses.values["student_loss"]
        # Two terms of one scale, where the trained teacher's student has four.
        assert 2 > values[0] > values[-1]

    def test_training_step_returns_the_twins(self, tmp_path: Path) -> None:
        outputs, images = Outputs(), batch()
        train(self.build(**RAW), tmp_path, DataLoader([images], batch_size=None), max_steps=1, callbacks=[outputs])
        assert torch.equal(outputs.last["images"], images.image)
        masks = outputs.last["masks"].expand_as(images.image) > 0
        assert torch.equal(outputs.last["twins"][~masks], images.image[~masks])
        assert not torch.equal(outputs.last["twins"], images.image)

    def test_tiles_are_trained_on(self, tmp_path: Path) -> None:
        model, outputs = self.build(**RAW), Outputs()
        model.model.tiler = Tiler(tile_size=16, stride=16)
        train(model, tmp_path, max_steps=1, callbacks=[outputs])
        assert {outputs.last[name].shape[0] for name in ("images", "twins", "masks")} == {8}

    def test_bfloat16_training(self, tmp_path: Path) -> None:
        model, losses = self.build(**RAW, layers=["layer1", "layer2"]), Losses()
        train(model, tmp_path, max_steps=2, callbacks=[losses], precision="bf16-mixed")
        assert all(np.isfinite(values).all() for values in losses.values.values())
        assert all(parameter.isfinite().all() for parameter in model.parameters())

    def test_foreground(self, tmp_path: Path) -> None:
        image = torch.zeros(2, 3, 32, 32)
        image[..., 8:24, 8:24] = 1
        images, outputs = DataLoader([ImageBatch(image=image)], batch_size=None), Outputs()
        train(self.build(**RAW, foreground="otsu"), tmp_path, images, max_steps=1, callbacks=[outputs])
        assert outputs.last["masks"][image[:, :1] == 0].sum() == 0
        with pytest.raises(ValueError, match=r"foreground must be 'none', 'otsu' or 'grabcut', got 'edges'"):
            self.build(foreground="edges")

    def test_textures_come_from_the_folder_and_through_the_pre_processor(self, tmp_path: Path) -> None:
        (tmp_path / "pictures").mkdir()
        Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(tmp_path / "pictures" / "white.png")
        model, outputs = self.build(anomaly_source=tmp_path / "pictures"), Outputs()
        black = DataLoader([ImageBatch(image=torch.zeros(2, 3, 32, 32))], batch_size=None)
        train(model, tmp_path, black, max_steps=1, callbacks=[outputs])
        white = model.pre_processor.transform(torch.ones(1, 3, 32, 32))
        twins, images, masks = (outputs.last[name] for name in ("twins", "images", "masks"))
        assert images.shape[-2:] == white.shape[-2:]
        # From image to texture, by the same share at all anomalous pixels of an image and in all channels.
        for share, mask in zip((twins - images) / (white - images), masks, strict=True):
            inside = share[mask.expand_as(share) > 0]
            torch.testing.assert_close(inside, inside[:1].expand_as(inside))
            assert 0.2 <= inside[0] <= 1

    def test_missing_textures_stop_the_run_before_a_step(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"anomaly_source .*nowhere' contains no image"):
            train(self.build(**RAW, anomaly_source=tmp_path / "nowhere"), tmp_path, max_steps=1)
