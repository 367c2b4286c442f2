# SPDX-License-Identifier: Apache-2.0
"""Names of others that are no documented interface, and that the package hangs on; docs/architecture lists them, too.

When one of these fails, another version of that library was installed: look where the name is used.
"""

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType

import pytest
from anomalib.data import AnomalibDataModule
from anomalib.metrics import AUROC
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import LightningModule, Trainer

import rd_plugin

PLACES: Mapping[str, tuple[str, ...]] = {
    "anomalib.data.AnomalibDataModule": ("_create_test_split", "_setup"),
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
    "anomalib.metrics.AUPRO": ("perform_cca",),
    "anomalib.utils.cv": ("connected_components_cpu", "connected_components_gpu"),
    "anomalib.utils.serialization": ("anomalib_safe_globals",),
    "anomalib.data.utils.generators.perlin": ("generate_perlin_noise",),
    "anomalib.models.image.reverse_distillation.anomaly_map": ("AnomalyMapGenerationMode",),
    "lightning.pytorch.LightningModule": ("trainer",),
    "lightning.pytorch.strategies.Strategy": ("batch_to_device", "checkpoint_io", "optimizer_step", "reduce"),
    "lightning.pytorch.plugins.precision.Precision": ("val_step_context",),
    "timm.models.resnet": ("BasicBlock", "Bottleneck"),
}


PAGE = Path(__file__).parents[2] / "docs" / "architecture" / "private-names.md"
ROOT = Path(rd_plugin.__file__).parent
# Public although they begin with an underscore: named tuples have them.
PUBLIC = {"_asdict", "_replace"}
# What Python adds to classes by itself.
AUTOMATIC = {"_abc_impl", "_is_protocol", "_is_runtime_protocol"}


def _is_private(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch("_[^_].*", name) is not None and name not in PUBLIC | AUTOMATIC


def _modules() -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(rd_plugin.__path__, "rd_plugin."):
        if not module.name.endswith("__main__"):
            yield import_module(module.name)


def _private_names() -> set[str]:
    """Private names of others that the package uses or overrides."""
    nodes = [node for file in ROOT.rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    # Named by a definition, a variable, an argument or an attribute that is set.
    own = {getattr(node, "name", getattr(node, "id", getattr(node, "arg", None))) for node in nodes}
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    classes = {kind for module in _modules() for kind in vars(module).values() if inspect.isclass(kind)}
    overridden = {
        name
        for kind in classes
        if kind.__module__.startswith("rd_plugin")
        for name in vars(kind)
        if any(name in vars(base) and not base.__module__.startswith("rd_plugin") for base in kind.__mro__[1:])
    }
    return set(filter(_is_private, ({node.attr for node in attributes} - own) | overridden))


def test_page_lists_every_private_name_and_no_other() -> None:
    table = PAGE.read_text().partition("## Private names")[2].partition("\n## ")[0]
    listed = set(filter(_is_private, re.findall(r"`(?:\w+\.)*(\w+)`", table)))
    assert _private_names() - listed == set()
    source = "".join(file.read_text() for file in ROOT.rglob("*.py"))
    assert {name for name in listed if name not in source} == set()


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
    assert hasattr(trainer, "_default_root_dir")
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
