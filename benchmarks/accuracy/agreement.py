# SPDX-License-Identifier: Apache-2.0
"""How far exports are from the engine, on the same files: ours and anomalib's own reverse distillation.

    python -m benchmarks.accuracy.agreement [--ours OURS.ckpt] [--theirs THEIRS.ckpt] [--count 100]

The images are the test set's solar cells, 300 x 300 pixels, as they are and enlarged to 512 and 1,024 by Pillow's
Lanczos filter. Ours is exported with anomalib's pre-processor, too, which shows the resize alone. Then what the resize
costs.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from anomalib.data.utils import read_image
from anomalib.deploy import CompressionType, ExportType, TorchInferencer
from anomalib.engine import Engine
from anomalib.models import ReverseDistillation as Theirs
from anomalib.models.components import AnomalibModule
from anomalib.pre_processing import PreProcessor
from PIL import Image
from torch import Tensor, nn
from torch.export import Dim
from torchvision.transforms.v2 import Resize, Transform
from torchvision.transforms.v2.functional import resize

from benchmarks.common.trained import load_trained
from rd_plugin import ExactPreProcessor, SolarCells
from rd_plugin.export import exportable

SIDES = (300, 512, 1024)

Predict = Callable[[Path], tuple[float, bool]]


class AnomalibPreProcessor(PreProcessor):
    """anomalib's own under another name, which our models leave as it is."""


def enlarge(files: list[Path], side: int, folder: Path) -> list[Path]:
    """Write the files again with this side; files that have it are used as they are."""
    paths = []
    for file in files:
        with Image.open(file) as image:
            path = file if image.size == (side, side) else folder / f"{side}_{file.name}"
            if path is not file:
                image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS).save(path)
        paths.append(path)
    return paths


def predict_by_engine(model: AnomalibModule, files: list[Path], folder: Path) -> list[tuple[float, bool]]:
    """Return the engine's score and label for each file."""
    links = folder / "links"
    links.mkdir()
    for index, file in enumerate(files):
        (links / f"{index:04}{file.suffix}").symlink_to(file)
    engine = Engine(default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False)
    verdicts = [
        (float(batch.pred_score.squeeze()), bool(batch.pred_label.squeeze()))
        for batch in engine.predict(model, data_path=links, return_predictions=True)
    ]
    for link in links.iterdir():
        link.unlink()
    links.rmdir()
    return verdicts


def openvino_predictor(path: Path, precision: str) -> Predict:
    """Return a function that predicts the score of a file with OpenVINO."""
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})

    def predict(file: Path) -> tuple[float, bool]:
        result = model(read_image(file, as_tensor=True)[None].numpy())
        return float(result["pred_score"].squeeze()), bool(result["pred_label"].squeeze())

    return predict


def onnx_predictor(path: Path) -> Predict:
    """Return a function that predicts the score of a file with ONNX Runtime."""
    session = onnxruntime.InferenceSession(path)

    def predict(file: Path) -> tuple[float, bool]:
        images = read_image(file, as_tensor=True)[None].numpy()
        score, label = session.run(["pred_score", "pred_label"], {"input": images})
        return score.item(), bool(label.item())

    return predict


def torch_predictor(path: Path) -> Predict:
    """Return a function that predicts the score of a file with PyTorch."""
    inferencer = TorchInferencer(path, device="cpu")

    def predict(file: Path) -> tuple[float, bool]:
        with torch.inference_mode():
            prediction = inferencer.predict(file)
        return float(prediction.pred_score.squeeze()), bool(prediction.pred_label.squeeze())

    return predict


def predictors(model: AnomalibModule, data: SolarCells, folder: Path) -> dict[str, Predict]:
    """Export a model in each way; to int8 with our pre-processor only, since the others say what they say without."""
    engine = Engine(default_root_dir=folder)
    plain = {kind: engine.export(model, kind, export_root=folder) for kind in ExportType}
    found = {
        "PyTorch": torch_predictor(plain[ExportType.TORCH]),
        "ONNX Runtime": onnx_predictor(plain[ExportType.ONNX]),
        "OpenVINO": openvino_predictor(plain[ExportType.OPENVINO], "f32"),
    }
    if isinstance(model.pre_processor, ExactPreProcessor):
        arguments = {"compression_type": CompressionType.INT8_PTQ, "datamodule": data}
        int8 = engine.export(model, ExportType.OPENVINO, export_root=folder / "int8", **arguments)
        found["OpenVINO, INT8_PTQ"] = openvino_predictor(int8, "f32")
        found["OpenVINO, bfloat16"] = openvino_predictor(plain[ExportType.OPENVINO], "bf16")
    return found


def compare(models: dict[str, AnomalibModule], files: list[Path], data: SolarCells, folder: Path) -> None:
    """Print the differences of each export of each model from the engine, one row for each."""
    sized = {side: enlarge(files, side, folder) for side in SIDES}
    print(
        "| model | export |"
        + "".join(f" {side} pixels: mean | largest | other verdicts |" for side in SIDES)
        + "\n| --- | --- |"
        + " --- |" * (3 * len(SIDES))
    )
    for name, model in models.items():
        expected = {side: predict_by_engine(model, sized[side], folder) for side in SIDES}
        with tempfile.TemporaryDirectory() as exports:
            for export, predict in predictors(model, data, Path(exports)).items():
                cells = []
                for side in SIDES:
                    actual = [predict(file) for file in sized[side]]
                    far = [abs(ours[0] - engine[0]) for ours, engine in zip(actual, expected[side], strict=True)]
                    other = sum(ours[1] != engine[1] for ours, engine in zip(actual, expected[side], strict=True))
                    cells += [f"{statistics.mean(far):.5f}", f"{max(far):.5f}", str(other)]
                print(f"| {name} | {export} | " + " | ".join(cells) + " |", flush=True)


class Resizing(nn.Module):
    """A resize as a graph of its own."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, images: Tensor) -> Tensor:
        """Resize images of shape ``(N, 3, H, W)``."""
        return self.transform(images)


def time_resize(sides: tuple[int, ...], folder: Path, repeats: int = 30) -> None:
    """Print the fastest of some runs of the resize alone to 256 x 256, in milliseconds of one thread."""
    calls: dict[str, Callable[[np.ndarray], object]] = {
        "torchvision (engine, PyTorch export)": lambda images: resize(torch.from_numpy(images), [256, 256])
    }
    for name, transform in (
        ("ours", exportable(Resize((256, 256)))),
        ("anomalib's", Resize((256, 256), antialias=False)),
    ):
        path = folder / "resize.onnx"
        torch.onnx.export(
            Resizing(transform).eval(),
            (torch.rand(2, 3, 300, 400),),
            path,
            opset_version=18,
            dynamic_shapes=(dict.fromkeys((0, 2, 3), Dim.DYNAMIC),),
            input_names=["input"],
            verbose=False,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        calls[f"{name}, ONNX Runtime"] = lambda images, session=session: session.run(None, {"input": images})
        calls[f"{name}, OpenVINO"] = lambda images, compiled=compiled: compiled(images)
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for side in sides:
        images = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)
        found: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(repeats):
            for name, call in calls.items():
                start = time.perf_counter()
                call(images)
                found[name].append(1000 * (time.perf_counter() - start))
        for name, values in found.items():
            times[name].append(min(values))
    print("| resize to 256 x 256, ms |" + "".join(f" {side} |" for side in sides) + "\n| --- |" + " --- |" * len(sides))
    for name, values in times.items():
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.accuracy.agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ours", type=Path, help="checkpoint of one of the package's models")
    parser.add_argument("--theirs", type=Path, help="checkpoint of anomalib's ReverseDistillation")
    parser.add_argument(
        "--count", type=int, default=100, help="images, spread over the test set (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def main(options: Sequence[str] | None = None) -> None:
    """Print the tables."""
    arguments = parse(options)
    os.environ["TRUST_REMOTE_CODE"] = "1"  # to load the PyTorch exports written here
    data = SolarCells(num_workers=0)
    data.setup()
    paths = data.test_data.samples["image_path"].tolist()
    files = [
        Path(paths[index]) for index in np.linspace(0, len(paths) - 1, min(arguments.count, len(paths)), dtype=int)
    ]
    models: dict[str, AnomalibModule] = {}
    if arguments.ours:
        models["ours"] = load_trained(arguments.ours, visualizer=False)
        spoiled = load_trained(arguments.ours, visualizer=False)
        spoiled.pre_processor = AnomalibPreProcessor(models["ours"].pre_processor.transform)
        models["ours, anomalib's resize"] = spoiled
    if arguments.theirs:
        models["anomalib's"] = Theirs.load_from_checkpoint(arguments.theirs, pre_trained=False, visualizer=False)
    with tempfile.TemporaryDirectory() as temporary:
        compare(models, files, data, Path(temporary))
        print()
        time_resize((256, 512, 1024), Path(temporary))


if __name__ == "__main__":
    main()
