# SPDX-License-Identifier: Apache-2.0
"""Names of others that are no documented interface, and that the package hangs on; docs/architecture lists them, too.

When one of these fails, another version of that library was installed: look where the name is used.
"""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature

import pytest
from anomalib.data import AnomalibDataModule
from anomalib.metrics import AUROC
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import LightningModule, Trainer

PLACES: Mapping[str, tuple[str, ...]] = {
    "anomalib.data.AnomalibDataModule": ("_setup",),
    "anomalib.post_processing.PostProcessor": (
        "_apply_threshold",
        "_checkpoint_config_keys",
        "_normalize",
    ),
    "anomalib.models.components.AnomalibModule": (
        "_accuracy_control_quantization_ov",
        "_post_training_quantization_ov",
        "checkpoint_safe_globals",
    ),
    "anomalib.cli.cli.AnomalibCLI": ("before_instantiate_classes",),
    "anomalib.models": ("ALLOWED_MODULES",),
    "anomalib.engine.plugins.checkpoint_io": ("AnomalibCheckpointIO",),
    "anomalib.utils.serialization": ("anomalib_safe_globals",),
    "anomalib.data.utils.generators.perlin": ("generate_perlin_noise",),
    "anomalib.models.image.reverse_distillation.anomaly_map": ("AnomalyMapGenerationMode",),
    "lightning.pytorch.LightningModule": ("trainer",),
    "lightning.pytorch.strategies.Strategy": ("batch_to_device", "checkpoint_io", "optimizer_step", "reduce"),
    "lightning.pytorch.plugins.precision.Precision": ("val_step_context",),
    "timm.models.resnet": ("BasicBlock", "Bottleneck"),
}


@pytest.mark.parametrize(("place", "name"), [(place, name) for place, names in PLACES.items() for name in names])
def test_name_is_there(place: str, name: str) -> None:
    parent, _, last = place.rpartition(".")
    try:
        owner = import_module(place)
    except ModuleNotFoundError:
        owner = getattr(import_module(parent), last)
    assert hasattr(owner, name), f"{place} has no {name}: another version was installed"


def test_limits_of_a_trainer_are_where_they_were() -> None:
    trainer = Trainer(max_epochs=3, max_steps=7, logger=False, enable_checkpointing=False)
    assert (trainer.fit_loop.max_epochs, trainer.fit_loop.epoch_loop.max_steps) == (3, 7)
    assert trainer.check_val_every_n_epoch == 1
    assert isinstance(LightningModule.trainer, property)
    assert LightningModule.trainer.fset is not None


def test_loops_hold_the_data_that_they_were_given() -> None:
    trainer = Trainer(logger=False, enable_checkpointing=False)
    loops = (trainer.fit_loop, trainer.fit_loop.epoch_loop.val_loop)
    for loop in (*loops, trainer.validate_loop, trainer.test_loop, trainer.predict_loop):
        assert loop._data_source.instance is None
    assert trainer.received_sigterm is False


def test_hooks_take_what_they_took() -> None:
    parameters = {
        AnomalibModule._post_training_quantization_ov: {"model", "datamodule"},
        AnomalibModule._accuracy_control_quantization_ov: {"model", "datamodule", "metric", "task", "max_drop"},
        AnomalibModule.to_onnx: {"export_root", "model_file_name", "input_size"},
        AnomalibDataModule._setup: {"_stage"},
    }
    for hook, names in parameters.items():
        assert names <= set(signature(hook).parameters), hook


def test_components_have_the_attributes_that_are_set() -> None:
    post_processor = PostProcessor()
    for name in (
        "image_max",
        "image_min",
        "pixel_max",
        "pixel_min",
        "_image_threshold",
        "_pixel_threshold",
        "_image_threshold_metric",
        "enable_thresholding",
    ):
        assert hasattr(post_processor, name), name
    assert hasattr(ImageVisualizer(), "output_dir")
    metric = AUROC(fields=["pred_score", "gt_label"])
    assert tuple(metric.fields) == ("pred_score", "gt_label")
    assert metric.update_called is False
