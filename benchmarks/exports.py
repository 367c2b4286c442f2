# SPDX-License-Identifier: Apache-2.0
"""Accuracy, size and speed of OpenVINO exports of one checkpoint: float32, float16, int8 weights, int8.

    python benchmarks/exports.py CHECKPOINT [--data CLASS] [--output FOLDER]

Speed is the median over the test images, the models taking turns on each image, so that a slow moment of the machine
meets all of them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import openvino
import torch
from anomalib.data import AnomalibDataModule
from anomalib.deploy import CompressionType, ExportType
from anomalib.engine import Engine
from torchmetrics.functional.classification import binary_auroc

import rd_plugin
from rd_plugin import ReverseDistillation

COMPRESSIONS = {
    "float32": None,
    "FP16": CompressionType.FP16,
    "INT8 (weights)": CompressionType.INT8,
    "INT8_PTQ": CompressionType.INT8_PTQ,
}


def export(checkpoint: Path, datamodule: AnomalibDataModule, folder: Path) -> dict[str, Path]:
    """Export the checkpoint once for each compression."""
    return {
        name: Engine().export(
            ReverseDistillation(pre_trained=False),
            ExportType.OPENVINO,
            export_root=folder / name,
            compression_type=compression,
            datamodule=datamodule,
            ckpt_path=checkpoint,
        )
        for name, compression in COMPRESSIONS.items()
    }


def measure(paths: dict[str, Path], datamodule: AnomalibDataModule) -> dict[str, tuple[float, float]]:
    """Return image AUROC and median milliseconds an image for each model."""
    core = openvino.Core()
    # float32 is meant as such: by default OpenVINO computes in bfloat16 where the processor can.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    models = {name: core.compile_model(path, "CPU", settings) for name, path in paths.items()}
    scores: dict[str, list[float]] = {name: [] for name in models}
    times: dict[str, list[float]] = {name: [] for name in models}
    labels = []
    for index in range(len(datamodule.test_data)):
        item = datamodule.test_data[index]
        labels.append(int(item.gt_label))
        image = item.image[None].numpy()
        for name, model in models.items():
            start = time.perf_counter()
            result = model(image)
            times[name].append(1000 * (time.perf_counter() - start))
            scores[name].append(float(result["pred_score"].squeeze()))
    truth = torch.tensor(labels)
    return {
        name: (float(binary_auroc(torch.tensor(scores[name]), truth)), statistics.median(times[name]))
        for name in models
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", default="SolarCells", help="data module of rd_plugin (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="keep the exports here")
    arguments = parser.parse_args()
    datamodule = getattr(rd_plugin, arguments.data)(num_workers=0)
    datamodule.setup()
    with tempfile.TemporaryDirectory() as temporary:
        paths = export(arguments.checkpoint.resolve(), datamodule, arguments.output or Path(temporary))
        results = measure(paths, datamodule)
        sizes = {name: path.with_suffix(".bin").stat().st_size / 2**20 for name, path in paths.items()}
    print("| export | image AUROC | size, MiB | ms an image |\n| --- | --- | --- | --- |")
    for name, (area, milliseconds) in results.items():
        print(f"| {name} | {area:.4f} | {sizes[name]:.1f} | {milliseconds:.1f} |")


if __name__ == "__main__":
    main()
