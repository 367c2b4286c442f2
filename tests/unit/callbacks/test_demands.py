# SPDX-License-Identifier: Apache-2.0
"""What cannot work is refused before the first step; what a training can do without is left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.data import Folder
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torchvision.transforms.v2 import CenterCrop, Compose, Resize, ToDtype

from rd_plugin import PartsFolder, ReverseDistillation
from rd_plugin.callbacks import DataCheck
from rd_plugin.models import METHODS

from ...pictures import draw_noise
from ..trainers import quiet_trainer

pytestmark = pytest.mark.usefixtures("small_noise")
SMALL: dict[str, Any] = {"backbone": "test_resnet", "pre_trained": False, "visualizer": False, "report": False}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five good images of 32 x 32 pixels to train on, in the default split of eight; two defects."""
    return draw_noise(tmp_path / "parts", {"good": 8, "defect": 2})


def parts(root: Path, batch: int = 2) -> PartsFolder:
    return PartsFolder(root, num_workers=0, train_batch_size=batch, val_split_ratio=0.25, test_split_ratio=0.125)


def model(method: type = ReverseDistillation, size: int = 32, **arguments: Any) -> Any:
    return method(**{**SMALL, "image_size": (size, size), **arguments})


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test fail whose data are looked at."""

    def fail(*_: object, **__: object) -> None:
        pytest.fail("data were read")

    monkeypatch.setattr(DataCheck, "setup", fail)


def refused(root: Path, model: Any, message: str, **trainer: Any) -> None:
    with pytest.raises(ValueError, match=message):
        quiet_trainer(root.parent, max_steps=1, **trainer).fit(model, datamodule=parts(root))


@pytest.mark.parametrize("method", METHODS)
def test_last_batch_of_one_is_left_out_where_batch_norm_needs_two(
    method: type, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, trained = parts(root), model(method)
    sizes: list[int] = []
    step = method.training_step

    def noted(self: Any, batch: Any, *args: Any) -> Any:
        sizes.append(batch.batch_size)
        return step(self, batch, *args)

    monkeypatch.setattr(method, "training_step", noted)
    quiet_trainer(root.parent, max_steps=4).fit(trained, datamodule=data)
    assert sizes == [2, 2, 2, 2]
    # The data module is left as it was.
    assert not {"train_dataloader", "val_dataloader"} & vars(data).keys()


def test_last_batch_of_one_is_used_where_it_can_be(root: Path) -> None:
    trainer = quiet_trainer(root.parent, max_epochs=1)
    trainer.fit(model(size=64), datamodule=parts(root))
    assert trainer.global_step == 3


@pytest.mark.parametrize("given", [True, False])
def test_batches_of_one_are_refused_by_name(given: bool, root: Path) -> None:
    data = parts(root, batch=1)
    data.setup()
    trainer = quiet_trainer(root.parent, max_steps=1)
    with pytest.raises(ValueError, match=r"train_batch_size 1 .* one of 5 images, and at image_size \[32, 32\]"):
        trainer.fit(model(), data.train_dataloader()) if given else trainer.fit(model(), datamodule=data)


def test_images_of_another_aspect_ratio_than_the_region_are_refused_by_name(root: Path) -> None:
    region = {"width": 40, "height": 20, "polygons": [[[0, 0], [20, 0], [20, 20]]]}
    refused(root, model(roi=region), r"roi was drawn on an image of 40 x 20 pixels, but .*\.png has 32 x 32")


def test_region_of_an_image_that_is_cropped_is_refused(root: Path) -> None:
    region = {"width": 32, "height": 32, "polygons": [[[0, 0], [20, 0], [20, 20]]]}
    crop = PreProcessor(Compose([Resize((40, 40)), CenterCrop((32, 32))]))
    cropping = model(roi=region, pre_processor=crop, image_size=None)
    refused(root, cropping, "roi needs a pre-processor that shows whole images: this one crops or pads")


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-true"])
def test_precision_that_batches_do_not_follow_is_refused(precision: str, root: Path) -> None:
    message = f"trainer.precision must be one of 16-mixed, 32-true, bf16-mixed, got '{precision}'"
    refused(root, model(), message, precision=precision)


@pytest.mark.parametrize("method", METHODS[:1])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_in_mixed_precision(method: type, algorithm: str, root: Path) -> None:
    trainer = quiet_trainer(
        root.parent, max_steps=1, precision="bf16-mixed", gradient_clip_val=1.0, gradient_clip_algorithm=algorithm
    )
    trainer.fit(model(method), datamodule=parts(root))
    assert trainer.global_step == 1


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("backbone", "size", "message"),
    [
        ("swin_tiny_patch4_window7_224", (256, 256), r"image_size must be \[224, 224\] for .*, got \[256, 256\]"),
        ("resnet50_clip", (100, 70), r"image_size must be a size such as \[128, 96\] for .*, got \[100, 70\]"),
        ("resnet18", (8, 70), r"images of 8 x 70 pixels are too small"),
    ],
)
def test_size_that_a_backbone_does_not_take_is_refused(
    backbone: str, size: tuple[int, int], message: str, root: Path
) -> None:
    refused(root, model(backbone=backbone, image_size=size), message)


@pytest.mark.usefixtures("unread")
def test_tiles_that_a_backbone_does_not_take_are_refused(root: Path) -> None:
    built = model(backbone="resnet50_clip", size=128, tile_size=70)
    refused(root, built, r"tile_size must be a size such as \[96, 96\] for .*, got \[70, 70\]")


def test_backbone_with_weights_that_have_no_channels_last_layout() -> None:
    # Its lambda layers convolve in three dimensions.
    built = model(backbone="lambda_resnet26t", size=64).model
    assert any(parameter.ndim == 5 for parameter in built.parameters())
    stem = next(parameter for parameter in built.parameters() if parameter.ndim == 4)
    assert stem.is_contiguous(memory_format=torch.channels_last)


def test_training_without_a_validation_set_sets_no_thresholds(root: Path) -> None:
    data = Folder("x", "good", root, "defect", val_split_mode="none", num_workers=0, train_batch_size=2)
    trained = model()
    trainer = quiet_trainer(root.parent, max_steps=1)
    trainer.fit(trained, datamodule=data)
    assert trained.post_processor.image_threshold.isnan()
    assert trainer.test(trained, datamodule=data, verbose=False)[0].keys() == {"image_AUROC"}
    trainer.validate(trained, datamodule=data, verbose=False)


def stopping(monitor: str) -> EarlyStopping:
    return EarlyStopping(monitor, mode="max")


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("callback", [stopping, lambda name: ModelCheckpoint(monitor=name, mode="max")])
@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("image_AUROC", "which is not defined on the validation set, whose images are all normal or all defects"),
        ("image_F1Score", "which is measured in tests only"),
        ("image_auroc", "which is never logged"),
        ("val_loss", "which is never logged"),
    ],
)
def test_monitor_that_is_never_logged_is_refused(
    monitor: str, message: str, callback: Callable[[str], Any], root: Path
) -> None:
    trainer = quiet_trainer(root.parent, max_steps=1)
    trainer.callbacks.append(callback(monitor))
    with pytest.raises(ValueError, match=f"monitors '{monitor}', {message}"):
        trainer.fit(model(), datamodule=parts(root))


class Logging(Callback):
    """A user's own, which may log anything."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del trainer
        pl_module.log("my_metric", 1.0)


@pytest.mark.parametrize(("monitor", "more"), [("train_loss_epoch", []), ("epoch", []), ("my_metric", [Logging()])])
def test_what_is_logged_can_be_monitored(monitor: str, more: list[Callback], root: Path) -> None:
    folder = root.parent / "checkpoints"
    callbacks = [*more, ModelCheckpoint(folder, monitor=monitor)]
    trainer = quiet_trainer(root.parent, max_epochs=1, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(model(), datamodule=parts(root))
    assert list(folder.glob("*.ckpt"))


@pytest.mark.usefixtures("unread")
def test_pre_processor_that_gives_no_floating_point_numbers_is_refused(root: Path) -> None:
    whole = PreProcessor(Compose([Resize((32, 32)), ToDtype(torch.uint8, scale=True)]))
    refused(root, model(image_size=None, pre_processor=whole), "pre_processor must return .*, got torch.uint8")


def test_image_auroc_of_the_validation_set_can_be_monitored(root: Path) -> None:
    data = Folder("x", "good", root, "defect", val_split_mode="same_as_test", num_workers=0, train_batch_size=2)
    stop = EarlyStopping("image_AUROC", mode="max", patience=1, stopping_threshold=-1.0)
    trainer = quiet_trainer(root.parent, max_epochs=3, callbacks=[stop])
    trainer.fit(model(), datamodule=data)
    assert trainer.current_epoch == 1
    assert {"image_AUROC", "train_loss"} <= trainer.callback_metrics.keys()


def test_compiled_network_computes_the_same_and_saves_the_same_names(root: Path) -> None:
    plain, compiled = model(layers=["layer1"]), model(layers=["layer1"])
    compiled.load_state_dict(plain.state_dict())
    compiled.model = torch.compile(compiled.model, backend="eager")
    image = torch.rand(1, 3, 32, 32)
    for network in (plain.model.eval(), compiled.model.eval()):
        with torch.inference_mode():
            network(image)
    with torch.inference_mode():
        assert compiled.model(image).pred_score == plain.model(image).pred_score
    trainer = quiet_trainer(root.parent, max_steps=1)
    trainer.fit(compiled, datamodule=parts(root))
    trainer.save_checkpoint(root.parent / "model.ckpt")
    restored = ReverseDistillation.load_from_checkpoint(root.parent / "model.ckpt")
    with torch.inference_mode():
        torch.testing.assert_close(restored.model.eval()(image), compiled.model.eval()(image))
    # And back into a compiled one.
    again = model(layers=["layer1"])
    again.model = torch.compile(again.model, backend="eager")
    quiet_trainer(root.parent).test(again, datamodule=parts(root), ckpt_path=root.parent / "model.ckpt", verbose=False)


LIMITS: list[dict[str, Any]] = [
    {"fast_dev_run": True},
    {"overfit_batches": 1, "max_epochs": 2},
    {"limit_train_batches": 1, "limit_val_batches": 1, "limit_test_batches": 1, "max_epochs": 1},
    {"limit_val_batches": 0, "max_epochs": 1},
]


@pytest.mark.parametrize(
    ("method", "options"),
    [*((ReverseDistillation, options) for options in LIMITS), *((method, LIMITS[0]) for method in METHODS[1:])],
    ids=str,
)
def test_lightnings_limits(method: type, options: dict[str, Any], root: Path) -> None:
    trained = model(method)
    trainer = quiet_trainer(root.parent, **options)
    trainer.fit(trained, datamodule=parts(root))
    trainer.test(trained, datamodule=parts(root), verbose=False)
