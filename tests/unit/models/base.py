# SPDX-License-Identifier: Apache-2.0
"""What holds for every method; each method's own tests derive from these classes, which pytest does not collect."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from anomalib import LearningType
from anomalib.callbacks import TilerConfigurationCallback
from anomalib.data import ImageBatch
from anomalib.data.utils.tiler import ImageUpscaleMode, Tiler
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import Compose, Normalize, Resize

from rd_plugin import ExactPreProcessor
from rd_plugin.components import Tiles
from rd_plugin.evaluator import DistillationEvaluator
from rd_plugin.models.distillation import Distillation, DistillationModel
from rd_plugin.models.reverse_distillation.loss import CosineLoss

from ..trainers import quiet_trainer

BACKBONES = ("test_resnet", "tf_efficientnet_lite0", "mobilenetv3_small_100", "regnety_002", "convnext_atto")

# Plain reverse distillation goes through the whole matrix. Other methods, which build their networks of the same parts:
# two backbones, and a variant of such a method one; the others are among the slow tests.
_SLOW_BACKBONES = [pytest.param(backbone, marks=pytest.mark.slow) for backbone in BACKBONES[1:]]
TWO_BACKBONES = (*BACKBONES[:2], *_SLOW_BACKBONES[1:])
ONE_BACKBONE = (BACKBONES[0], *_SLOW_BACKBONES)


def scale_maps(model: DistillationModel, images: Tensor) -> list[Tensor]:
    """Return each scale's own map before the blur, of shape ``(N, 1, H, W)``, fine to coarse."""
    return model.anomaly_map_generator.scale_maps(model.deviations(images), images.shape[-2:])


def with_thresholds(model: Distillation) -> Distillation:
    """Give a model the thresholds and ranges that a validation would set."""
    state = model.post_processor.state_dict()
    values = {name: torch.tensor(1.0 if name.endswith("max") else 0.0) for name in state}
    values |= {name: torch.tensor(0.5) for name in state if name.endswith("threshold")}
    model.post_processor.load_state_dict(values)
    return model


class TorchModelTests:
    """Tests of a torch module.

    Attributes:
        network: Its class.
        arguments: What it is built with.
        backbones: Teachers of the tests that need several.
        backbone: Teacher of the tests that need only one.
        layers: Two of its layers.
        sizes: Sizes of images that every parameter is trained by.
        loss: The loss between teacher and student.
    """

    network: type[DistillationModel]
    arguments: dict[str, Any] = {}  # noqa: RUF012
    backbones: Sequence[Any] = BACKBONES
    backbone = "test_resnet"
    layers = ("layer1", "layer2")
    sizes: Sequence[tuple[int, int]] = ((64, 64), (97, 70), (16, 31))
    loss = CosineLoss()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Go through the backbones and sizes of the class."""
        if "model" in metafunc.fixturenames:
            metafunc.parametrize("model", self.backbones, indirect=True, scope="class")
        if "size" in metafunc.fixturenames:
            metafunc.parametrize("size", self.sizes)

    @classmethod
    def build(cls, backbone: str | None = None, **arguments: object) -> DistillationModel:
        return cls.network(backbone or cls.backbone, pre_trained=False, **{**cls.arguments, **arguments})

    def learn(self, model: DistillationModel, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The sum of all losses that the model is trained by, and the features of teacher and student."""
        teacher, student = model(images)
        return self.loss(teacher, student), teacher, student

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, request: pytest.FixtureRequest) -> DistillationModel:
        torch.manual_seed(0)
        return cls.build(request.param)

    def check_every_parameter_is_trained(self, model: DistillationModel, size: tuple[int, int]) -> None:
        model.train().zero_grad()
        loss, teacher, student = self.learn(model, torch.randn(2, 3, *size))
        assert [t.shape for t in teacher] == [s.shape for s in student]
        loss.backward()
        trained = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert trained
        assert not [name for name, gradient in trained.items() if gradient is None or not gradient.abs().sum() > 0]

    @staticmethod
    def check_prediction(model: DistillationModel, size: tuple[int, int]) -> None:
        with torch.no_grad():
            predictions = model.eval()(torch.randn(2, 3, *size))
        assert predictions.anomaly_map.shape == (2, 1, *size)
        assert predictions.pred_score.shape == (2, 1)
        assert predictions.anomaly_map.isfinite().all()
        assert predictions.anomaly_map.min() >= -1e-5

    def test_every_parameter_is_trained(self, model: DistillationModel, size: tuple[int, int]) -> None:
        self.check_every_parameter_is_trained(model, size)

    @torch.no_grad()
    def test_student_can_give_what_the_teacher_gives(self, model: DistillationModel) -> None:
        teacher, student = model.train().distill(torch.randn(2, 3, 64, 64))
        signed = model.teacher.backbone != "test_resnet"
        for features in student:
            assert (features.min() < 0) == signed
        if not signed:
            assert all(features.min() >= 0 for features in teacher)

    @pytest.mark.parametrize("layers", [["layer1"], ["layer3"], ["layer4"], ["layer1", "layer3"], ["layer2", "layer3"]])
    def test_chosen_layers(self, layers: list[str]) -> None:
        model = self.build(layers=layers)
        channels = {"layer1": 32, "layer2": 48, "layer3": 192, "layer4": 96}
        teacher, _ = model.train()(torch.randn(2, 3, 70, 97))
        assert [feature.shape[1] for feature in teacher] == [channels[layer] for layer in layers]
        self.check_every_parameter_is_trained(model, (70, 97))
        self.check_prediction(model, (70, 97))

    def test_chosen_layers_of_another_family(self) -> None:
        model = self.build("tf_efficientnet_lite0", layers=["blocks.1", "blocks.4"])
        self.check_every_parameter_is_trained(model, (50, 33))
        self.check_prediction(model, (50, 33))

    def test_order_of_layers_does_not_matter(self) -> None:
        images = torch.randn(1, 3, 64, 64)
        maps = []
        for layers in (self.layers, self.layers[::-1]):
            torch.manual_seed(0)
            maps.append(self.build(layers=layers).eval()(images).anomaly_map)
        assert torch.equal(*maps)

    @torch.no_grad()
    def test_every_statistic_in_the_state_dict_matters(self, model: DistillationModel) -> None:
        """With the gradients that every parameter gets, no tensor of the state dict is dead."""
        model.eval()
        features = model.teacher(torch.randn(1, 3, 32, 32))
        before = model.reconstruct(features)
        dead = []
        for part in (model.bottleneck, model.student):
            assert part.state_dict().keys() == {name for name, _ in (*part.named_parameters(), *part.named_buffers())}
            for name, statistic in part.named_buffers():
                if statistic.is_floating_point():
                    kept = statistic.clone()
                    statistic += 1
                    after = model.reconstruct(features)
                    statistic.copy_(kept)
                    if all(torch.equal(a, b) for a, b in zip(after, before, strict=True)):
                        dead.append(name)
        assert not dead

    @torch.no_grad()
    def test_map_and_score_follow_the_arguments(self) -> None:
        plain = self.build().eval()
        images = torch.randn(1, 3, 64, 64)
        scales, sharp = scale_maps(plain, images), {}
        for mode in ("add", "multiply"):
            model = self.build(anomaly_map_mode=mode, blur_sigma=0, score="mean").eval()
            model.load_state_dict(plain.state_dict())
            predictions = model(images)
            sharp[mode] = predictions.anomaly_map
            torch.testing.assert_close(predictions.pred_score, predictions.anomaly_map.mean().reshape(1, 1))
        torch.testing.assert_close(sharp["add"], torch.stack(scales).sum(0))
        torch.testing.assert_close(sharp["multiply"], torch.stack(scales).prod(0))
        assert plain(images).anomaly_map.std() < sharp["add"].std()

    @torch.no_grad()
    def test_border_of_the_blur_follows_the_argument(self) -> None:
        symmetric, reflect = self.build().eval(), self.build(blur_border="reflect").eval()
        reflect.load_state_dict(symmetric.state_dict())
        images = torch.randn(1, 3, 64, 64)
        difference = (symmetric(images).anomaly_map - reflect(images).anomaly_map).abs()
        # The kernel reaches 16 pixels.
        assert difference[..., 16:-16, 16:-16].max() < 1e-6
        assert difference.max() > 1e-4

    def test_bfloat16_autocast_gives_single_precision_predictions(self) -> None:
        model = self.build().eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            predictions = model(torch.randn(1, 3, 64, 64))
        assert predictions.anomaly_map.dtype == predictions.pred_score.dtype == torch.float32

    @torch.no_grad()
    @pytest.mark.parametrize("tile_size", [None, 32])
    def test_pixels_outside_the_region_have_no_influence(self, tile_size: int | None) -> None:
        model = self.build(roi=REGION, image_size=(64, 64), tile_size=tile_size).eval()
        images = torch.randn(2, 3, 64, 64)
        others = images.clone()
        others[..., 40:, :] = torch.randn(2, 3, 24, 64)
        first, second = model(images), model(others)
        assert torch.equal(first.anomaly_map, second.anomaly_map)
        assert torch.equal(first.pred_score, second.pred_score)
        lowest = first.anomaly_map[..., :40, :].amin((-2, -1), keepdim=True)
        assert torch.equal(first.anomaly_map[..., 40:, :], lowest.expand(2, 1, 24, 64))
        assert model.state_dict().keys() == self.build().state_dict().keys()

    def test_features_outside_the_region_do_not_count(self) -> None:
        model = self.build(roi=REGION, image_size=(64, 64)).train()
        for features in model.distill(torch.randn(2, 3, 64, 64)):
            for feature in features[: len(model.teacher.pyramid.distilled)]:
                inner = -(-feature.shape[-1] * 40 // 64)
                assert not feature[..., inner:, :].any()
                assert feature[..., :inner, :].any()

    @torch.no_grad()
    @pytest.mark.parametrize("count", [1, 2])
    def test_tiles_go_through_the_model_alone(self, count: int) -> None:
        model = self.build(layers=self.layers[:count], blur_sigma=0).eval()
        images = torch.randn(2, 3, 64, 64)
        tiles = [model(images[..., row : row + 32, :32]).anomaly_map for row in (0, 32)]
        model.tiler = Tiler(tile_size=32, stride=32)
        predictions = model(images)
        torch.testing.assert_close(predictions.anomaly_map[..., :32], torch.cat(tiles, dim=-2))
        torch.testing.assert_close(predictions.pred_score, predictions.anomaly_map.amax(dim=(-2, -1)))


# The upper part of an image, which is as high as wide.
REGION = {"width": 64, "height": 64, "polygons": [[[0, 0], [64, 0], [64, 40], [0, 40]]]}


SMALL = {"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, "visualizer": False}


def batch() -> ImageBatch:
    return ImageBatch(image=torch.rand(2, 3, 32, 32), gt_label=torch.tensor([False, True]))


def loader() -> DataLoader:
    return DataLoader([batch(), batch()], batch_size=None)


def train(model: Distillation, tmp_path: Path, batches: DataLoader | None = None, **arguments: object) -> Trainer:
    trainer = quiet_trainer(tmp_path, **arguments)
    trainer.fit(model, batches or loader(), loader())
    return trainer


def optimizers_of(model: Distillation) -> list[torch.optim.Optimizer]:
    given = model.configure_optimizers()
    return given[0] if isinstance(given, tuple) else [given]


class StopAtOnce(Callback):
    """Write down the limits of a run that starts, and end it before its first step."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        self.limits = (trainer.max_epochs, trainer.max_steps)
        trainer.should_stop = True


class Losses(Callback):
    """Write down each loss at each step, with the same random numbers in all steps."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}

    def on_train_batch_start(self, *_: object) -> None:
        torch.manual_seed(0)

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        for name, value in trainer.callback_metrics.items():
            if name.endswith("loss_step"):
                self.values.setdefault(name.removesuffix("_step"), []).append(value.item())


class SaveFirstEpoch(Callback):
    """Save a checkpoint after the first epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


class Unread(Dataset):
    """Images that nobody may ask for."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> ImageBatch:
        raise AssertionError(index)


class Gradients(Callback):
    """How many weights have a gradient after each batch."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        del trainer, args
        self.counts.append(sum(parameter.grad is not None for parameter in pl_module.parameters()))


class LightningModelTests:
    """Tests of a Lightning module.

    Attributes:
        method: Its class.
        limits: Epochs and steps that the paper trains for.
        losses: Names of the losses that are logged.
        half: How far features in half precision may move the first losses, relatively.
        small: Arguments of a small model.
        layers: Two layers of its backbone.
        tiles: Tiles of images of 32 x 32 pixels.
        random_weights: Arguments with which a run can go on whose weights are no file's.
    """

    method: type[Distillation]
    limits: tuple[int, int]
    losses: set[str]
    half: float = 1e-3
    small: dict[str, Any] = SMALL
    layers = ("layer1", "layer2")
    tiles = Tiles((16, 24), (0, 8))
    random_weights: dict[str, Any] = {}  # noqa: RUF012

    def build(self, **arguments: object) -> Distillation:
        # The default pre-processor resizes to 256 x 256, which teaches no more and takes 64 times as long.
        transform = Compose([Resize((32, 32), antialias=True), Normalize([0.5] * 3, [0.25] * 3)])
        return self.method(**{**self.small, "pre_processor": PreProcessor(transform), **arguments})

    @pytest.mark.parametrize("by_callback", [False, True], ids=["argument", "callback"])
    def test_tiles_are_recorded_and_restored(
        self, tmp_path: Path, by_callback: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        tiles = self.tiles
        callback = TilerConfigurationCallback(enable=True, tile_size=tiles.size, stride=(16, 16))
        arguments = {} if by_callback else {"tile_size": list(tiles.size), "tile_overlap": list(tiles.overlap)}
        model = self.build(layers=self.layers, **arguments)
        trainer = train(model, tmp_path, max_steps=1, callbacks=[callback] if by_callback else [])
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        again = self.method.load_from_checkpoint(tmp_path / "model.ckpt").eval()
        assert again.model.tiler == tiles
        for each in (model, again):
            recorded = each.describe().plain()["arguments"]
            assert (recorded["tile_size"], recorded["tile_overlap"]) == (list(tiles.size), list(tiles.overlap))
        assert not [message for message in caplog.messages if "do not fit" in message]
        images = batch().image
        assert torch.equal(again(images).anomaly_map, model.eval()(images).anomaly_map)
        others = self.method.load_from_checkpoint(tmp_path / "model.ckpt", tile_size=32, tile_overlap=0)
        assert others.model.tiler == Tiles((32, 32))
        assert "The checkpoint's thresholds do not fit the model: tile_size " in caplog.text

    def test_region_is_recorded_and_restored(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "roi.yaml").write_text(yaml.safe_dump(REGION))
        model = self.build(layers=self.layers, roi=tmp_path / "roi.yaml")
        trainer = train(model, tmp_path, max_steps=1)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        (tmp_path / "roi.yaml").unlink()
        again = self.method.load_from_checkpoint(tmp_path / "model.ckpt").eval()
        assert again.model.roi.region == model.model.roi.region
        assert again.describe().plain()["arguments"]["roi"] == REGION
        restored = self.build(layers=self.layers).eval()
        restored.restore(tmp_path / "model.ckpt")
        images = batch().image
        expected = model.eval()(images)
        for each in (again, restored):
            assert torch.equal(each(images).anomaly_map, expected.anomaly_map)
            assert torch.equal(each(images).pred_score, expected.pred_score)
        assert not [message for message in caplog.messages if "do not fit" in message]
        other = {"width": 4, "height": 4, "polygons": [[[0, 0], [4, 0], [4, 4]]]}
        self.method.load_from_checkpoint(tmp_path / "model.ckpt", roi=other)
        assert "The checkpoint's thresholds do not fit the model: roi {" in caplog.text

    def test_tiles_that_cannot_be(self) -> None:
        with pytest.raises(ValueError, match=r"tile_size \[64, 64\] is larger than the images, which have \[32, 32\]"):
            self.build(tile_size=64)
        for unusual in ({"mode": ImageUpscaleMode.INTERPOLATION}, {"remove_border_count": 2}):
            with pytest.raises(ValueError, match="cannot be exported, and is not supported"):
                self.build().model.tiler = Tiler(16, 16, **unusual)

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [({}, None), ({"max_epochs": 1000}, (1000, -1)), ({"max_epochs": 5, "max_steps": 7}, (5, 7))],
    )
    def test_papers_length_unless_a_limit_is_given(
        self, tmp_path: Path, arguments: dict, expected: tuple | None
    ) -> None:
        callback = StopAtOnce()
        trainer = train(self.build(), tmp_path, callbacks=[callback], **arguments)
        assert trainer.global_step == 0
        assert callback.limits == (expected or self.limits)

    def check_training_lowers_the_losses(self, model: Distillation, tmp_path: Path) -> None:
        losses = Losses()
        trainer = train(model, tmp_path, DataLoader([batch()] * 10, batch_size=None), max_steps=10, callbacks=[losses])
        assert trainer.global_step == 10
        assert losses.values.keys() == self.losses
        for name, values in losses.values.items():
            assert len(values) == 10
            assert values[-1] < values[0], name

    def test_training_lowers_the_losses(self, tmp_path: Path) -> None:
        self.check_training_lowers_the_losses(self.build(), tmp_path)

    def test_pixels_outside_the_region_are_not_learned(self, tmp_path: Path) -> None:
        found = []
        for outside in (0.0, 1.0):
            torch.manual_seed(0)
            batches = [batch() for _ in range(2)]
            for each in batches:
                # Between inside and outside there are pixels that a resize brings in.
                each.image[..., 24:, :] = outside
            losses, model = Losses(), self.build(roi=REGION, on_bad_data="off")
            train(model, tmp_path, DataLoader(batches, batch_size=None), max_steps=2, callbacks=[losses])
            found.append((losses.values, model.state_dict()))
        (first, weights), (second, others) = found
        assert first == second
        assert first.keys() == self.losses
        # Of thresholds there may be none.
        torch.testing.assert_close(others, weights, rtol=0, atol=0, equal_nan=True)

    def test_resumed_training_ends_with_the_same_weights(self, tmp_path: Path) -> None:
        data, checkpoint = loader(), tmp_path / "first.ckpt"
        whole, resumed = (self.build(**self.random_weights) for _ in range(2))
        train(whole, tmp_path, data, max_epochs=2, callbacks=[Losses(), SaveFirstEpoch(checkpoint)])
        trainer = quiet_trainer(tmp_path, max_epochs=2, callbacks=[Losses()])
        trainer.fit(resumed, data, loader(), ckpt_path=checkpoint)
        assert trainer.global_step == 4
        for (name, expected), actual in zip(
            whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
        ):
            assert torch.equal(expected, actual), name

    def test_one_image_can_be_trained_on(self, tmp_path: Path) -> None:
        model = self.build()
        one = ImageBatch(image=torch.rand(1, 3, 32, 32), gt_label=torch.tensor([False]))
        train(model, tmp_path, DataLoader([one], batch_size=None), max_steps=2)
        assert all(tensor.isfinite().all() for tensor in model.parameters())
        assert model.eval()(torch.rand(1, 3, 32, 32)).anomaly_map.isfinite().all()

    def test_gradients_do_not_outlive_their_step(self, tmp_path: Path) -> None:
        gradients = Gradients()
        train(self.build(), tmp_path, DataLoader([batch()] * 3, batch_size=None), max_steps=3, callbacks=[gradients])
        assert gradients.counts == [0, 0, 0]

    def test_optimizer_arguments(self) -> None:
        first, *others = optimizers_of(self.build(learning_rate=0.1, betas=(0.8, 0.9)))
        assert first.defaults["lr"] == 0.1
        assert all(optimizer.defaults["betas"] == (0.8, 0.9) for optimizer in (first, *others))

    @pytest.mark.parametrize(("device", "fused"), [("cpu", True), ("meta", False)])
    def test_optimizers_are_fused_on_a_cpu(self, device: str, fused: bool) -> None:
        for optimizer in optimizers_of(self.build().to(device)):
            assert bool(optimizer.defaults["fused"]) is fused

    def test_loss_that_is_not_finite(self, tmp_path: Path) -> None:
        model = self.build(on_bad_data="off")
        images = batch()
        images.image[0] = torch.nan
        images.image_path = ["one.png", "two.png"]
        with pytest.raises(
            ValueError, match=rf"loss at step 0 is not finite \({self.layers[0]} nan\).*one.png, two.png"
        ):
            train(model, tmp_path, DataLoader([images], batch_size=None), max_steps=1)
        assert all(tensor.isfinite().all() for tensor in model.parameters())

    def test_feature_cache_leaves_the_losses_as_they_are(
        self,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("INFO")
        data = [ImageBatch(image=torch.rand(1, 3, 32, 32), image_path=[f"{i}.png"]) for i in range(3)]
        found = []
        for kind in ("off", "memory", "disk"):
            torch.manual_seed(0)
            losses = Losses()
            # On whole images: on small ones a step magnifies how features were rounded.
            model = self.build(feature_cache=kind, on_bad_data="off", pre_processor=True)
            train(model, tmp_path, DataLoader(data, batch_size=None), max_epochs=3, callbacks=[losses])
            found.append(losses.values)
        assert "The features of 3 training images are kept in memory" in caplog.text
        assert "The features of 3 training images are kept in a temporary file" in caplog.text
        without, *others = found
        for name, values in without.items():
            full, half = (other[name] for other in others)
            assert len(values) == len(full) == len(half) == 9
            assert full == pytest.approx(values, rel=1e-5)
            # Then the weights drift apart, as after any other rounding.
            assert half[:2] == pytest.approx(values[:2], rel=self.half)
            assert half == pytest.approx(values, rel=0.1)

    @torch.no_grad()
    def test_validation_step_adds_predictions(self) -> None:
        predictions = self.build().eval().validation_step(batch(), 0)
        assert predictions.anomaly_map.shape == (2, 32, 32)
        assert predictions.pred_score.numel() == 2
        assert predictions.gt_label.tolist() == [False, True]

    @torch.no_grad()
    def test_images_of_another_range(self) -> None:
        model, normalized = self.build().eval(), self.build(pre_processor=False).eval()
        images = torch.rand(2, 3, 32, 32)
        with pytest.raises(ValueError, match=r"images must have values in \[0, 1\], got 0\.\d+ to 25\d"):
            model(255 * images)
        with pytest.raises(ValueError, match=r"images must have shape \(N, 3, H, W\)"):
            model(images[:, :1])
        with pytest.raises(TypeError, match=r"got torch\.uint8"):
            model((255 * images).to(torch.uint8))
        assert normalized(255 * images).pred_score.isfinite().all()
        with pytest.raises(ValueError, match="got -inf to -inf"):
            normalized(-images / 0)

    @torch.no_grad()
    @pytest.mark.parametrize("pre_processor", [True, False])
    def test_image_with_nan_has_no_score_and_is_anomalous(self, pre_processor: bool) -> None:
        model = self.build(pre_processor=pre_processor).eval()
        for level in ("image", "pixel"):
            getattr(model.post_processor, f"{level}_min").fill_(0)
            getattr(model.post_processor, f"{level}_max").fill_(9)
        images = torch.rand(3, 3, 32, 32)
        expected = model(images)
        images[1, 0, 31, 31] = torch.nan
        actual = model(images)
        assert actual.pred_score.isnan().flatten().tolist() == [False, True, False]
        assert actual.pred_label.flatten().tolist() == [False, True, False]
        assert actual.pred_mask[1].all()
        torch.testing.assert_close(actual.anomaly_map[::2], expected.anomaly_map[::2])

    def test_wrong_weights_stop_the_run_before_an_image_is_read(self, tmp_path: Path) -> None:
        trainer = quiet_trainer(tmp_path)
        unread = DataLoader(Unread(), batch_size=None)
        with pytest.raises(FileNotFoundError, match=r"'missing.pth' is neither a file nor an installed package"):
            trainer.fit(self.build(pre_trained="missing.pth"), unread, unread)

    def test_quantization_without_data_says_what_it_needs(self) -> None:
        with pytest.raises(ValueError, match="INT8_PTQ needs calibration images: give --data"):
            self.method._post_training_quantization_ov(None)
        with pytest.raises(ValueError, match="INT8_ACQ needs calibration images: give --data"):
            self.method._accuracy_control_quantization_ov(None)

    def test_defaults_for_anomalib(self) -> None:
        model = self.build()
        assert model.learning_type == LearningType.ONE_CLASS
        assert isinstance(model.evaluator, DistillationEvaluator)
        # anomalib lets these overrule the user's, so no limit may be among them.
        assert model.trainer_arguments == {"num_sanity_val_steps": 0}

    @torch.no_grad()
    @pytest.mark.parametrize("own", [True, False])
    def test_resizes_as_the_engine_whosever_the_pre_processor_is(self, own: bool) -> None:
        transform = Resize((32, 48))
        model = self.build(**{"pre_processor": PreProcessor(transform)} if own else {})
        assert isinstance(model.pre_processor, ExactPreProcessor)
        images = torch.rand(1, 3, 300, 200)
        assert torch.equal(model.pre_processor(images), model.pre_processor.transform(images))

    @pytest.mark.parametrize("name", ["pre_processor", "post_processor", "evaluator"])
    def test_components_can_be_left_out(self, name: str) -> None:
        assert getattr(self.build(**{name: False}), name) is None

    def test_checkpoint_restores_the_model_without_its_weights_file(self, tmp_path: Path) -> None:
        model = self.build()
        trainer = train(model, tmp_path, max_steps=1)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        restored = self.method.load_from_checkpoint(
            tmp_path / "model.ckpt", pre_trained="deleted.pth", weights_only=False
        )
        images = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            expected = model.cpu().eval()(images)
            actual = restored.cpu().eval()(images)
        torch.testing.assert_close(actual.anomaly_map, expected.anomaly_map)
        torch.testing.assert_close(actual.pred_score, expected.pred_score)


class SlowCacheTests(LightningModelTests):
    """Tests of a method whose cache is that of another, which is tested each time."""

    @pytest.mark.slow
    def test_feature_cache_leaves_the_losses_as_they_are(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        super().test_feature_cache_leaves_the_losses_as_they_are(tmp_path, caplog)
