# SPDX-License-Identifier: Apache-2.0
"""Thresholds from good images alone, against the threshold that is best on images with defects.

    python benchmarks/thresholds.py solar|tiles [--root ROOT] [--seeds 0 1 2] [--steps 300] [--batch 8]
    python benchmarks/thresholds.py table

A fifth of the training images, drawn by the seed, is held back and not trained on. From their scores come thresholds
for several false-alarm rates; from those of anomalib's synthetic anomalies on half of them the threshold of best F1.
The F1 threshold that has seen defects is set on one half of the test images, in 20 random halvings; every threshold is
judged on the other halves. Runs leave weights and records in RECORDS (``--records``) and are not repeated.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from anomalib.data import AnomalibDataModule, AnomalibDataset
from anomalib.data.utils import ValSplitMode
from anomalib.data.utils.synthetic import SyntheticAnomalyDataset
from anomalib.metrics.threshold.f1_adaptive_threshold import _F1AdaptiveThreshold as F1AdaptiveThreshold
from lightning import seed_everything
from runs import TEACHER, build_data, check_settings, replace, train_once
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc

from rd_plugin import ReverseDistillation
from rd_plugin.models.distillation import Distillation
from rd_plugin.post_processor import false_alarm_threshold

HELD_BACK = 0.2
RATES = (0.01, 0.02, 0.05, 0.1)
HALVINGS = 20


@torch.inference_mode()
def score(model: Distillation, dataset: AnomalibDataset) -> tuple[Tensor, Tensor]:
    """Return the image scores of a data set before normalization, and its labels, both of shape ``(N,)``."""
    model.eval()
    scores, labels = [], []
    for batch in DataLoader(dataset, batch_size=16, collate_fn=dataset.collate_fn):
        scores.append(model.model(model.pre_processor.transform(batch.image)).pred_score.flatten())
        labels.append(batch.gt_label.bool())
    return torch.cat(scores), torch.cat(labels)


def best_f1(scores: Tensor, labels: Tensor) -> float:
    """Return the threshold at which F1 is best, as anomalib sets it."""
    metric = F1AdaptiveThreshold()
    metric.update(scores, labels.int())
    return float(metric.compute())


def halvings(labels: Tensor, seed: int) -> list[Tensor]:
    """Return random halves of the good and of the defective images, as masks of shape ``(N,)``."""
    generator = torch.Generator().manual_seed(seed)
    halves = []
    for _ in range(HALVINGS):
        half = torch.zeros_like(labels)
        for kind in (labels, ~labels):
            indices = kind.nonzero().flatten()
            half[indices[torch.randperm(len(indices), generator=generator)[: len(indices) // 2]]] = True
        halves.append(half)
    return halves


def evaluate(model: Distillation, datamodule: AnomalibDataModule, seed: int) -> dict[str, Any]:
    """Set all thresholds, and return what each of them calls anomalous on the halves that judge them."""
    good, _ = score(model, datamodule.val_data)
    synthetic = best_f1(*score(model, SyntheticAnomalyDataset.from_dataset(datamodule.val_data)))
    scores, labels = score(model, datamodule.test_data)
    halves = halvings(labels, seed)
    thresholds: dict[str, list[float]] = {}
    rates: dict[str, dict[str, Any]] = {}
    for rate in RATES:
        threshold, expected, interval = false_alarm_threshold(good, rate)
        thresholds[f"rate {rate:g}"] = [float(threshold)] * HALVINGS
        rates[f"rate {rate:g}"] = {"expected": expected, "interval": interval}
    thresholds["F1, synthetic anomalies"] = [synthetic] * HALVINGS
    thresholds["F1, defects"] = [best_f1(scores[half], labels[half]) for half in halves]
    reached = {}
    for name, values in thresholds.items():
        judged = [(scores[~half] > value, labels[~half].bool()) for half, value in zip(halves, values, strict=True)]
        reached[name] = {
            "false_alarms": [float(called[~defect].float().mean()) for called, defect in judged],
            "detections": [float(called[defect].float().mean()) for called, defect in judged],
        }
    counts = {"held_back": len(good), "test_good": int((~labels).sum()), "test_defective": int(labels.sum())}
    return {**counts, "image_AUROC": float(binary_auroc(scores, labels)), "rates": rates, "reached": reached}


def run(seed: int, options: argparse.Namespace) -> None:
    """Train on four fifths of the images, and set and judge all thresholds, unless the record is there."""
    settings = {"data": options.what, "seed": seed, "steps": options.steps, "batch": options.batch}
    record = options.records / f"{options.what}_{seed}.json"
    if record.exists():
        check_settings(record, json.loads(record.read_text())["settings"], settings)
        return
    seed_everything(seed, verbose=False)
    datamodule = build_data(options.what, options.root, options.batch)
    datamodule.val_split_mode, datamodule.val_split_ratio = ValSplitMode.FROM_TRAIN, HELD_BACK
    datamodule.seed = seed
    datamodule.prepare_data()
    datamodule.setup()
    model = ReverseDistillation(**TEACHER, visualizer=False, on_bad_data="off")
    train_once(record.with_suffix(".pt"), settings, model, datamodule, options.steps)
    content = {"settings": settings, **evaluate(model, datamodule, seed)}
    replace(record, lambda file: file.write_text(json.dumps(content, indent=1)))
    print(record.stem, "done", flush=True)


def percent(values: list[float]) -> str:
    """Mean and standard deviation in percent."""
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


def table(records: Path) -> str:
    """Return a Markdown table of all records: mean and standard deviation over seeds and halves."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(records.glob("*.json")):
        content = json.loads(file.read_text())
        groups.setdefault(content["settings"]["data"], []).append(content)
    lines = [
        "| data | good images held back | seeds | threshold from | false alarms expected, % | interval, % "
        "| false alarms, % | detections, % |",
        "| --- " * 8 + "|",
    ]
    for data, runs in groups.items():
        for name in runs[0]["reached"]:
            expected = interval = ""
            if rate := runs[0]["rates"].get(name):
                expected = f"{100 * rate['expected']:.1f}"
                interval = f"{100 * rate['interval'][0]:.1f} to {100 * rate['interval'][1]:.1f}"
            reached = [
                percent([value for run in runs for value in run["reached"][name][kind]])
                for kind in ("false_alarms", "detections")
            ]
            cells = [data, str(runs[0]["held_back"]), str(len(runs)), name, expected, interval, *reached]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["solar", "tiles", "table"])
    parser.add_argument("--root", type=Path, help="folder that holds magnetic_tile/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="training steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="images a step (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--records", type=Path, default=Path(__file__).parent / "results" / "thresholds")
    options = parser.parse_args()
    if options.what == "table":
        print(table(options.records))
        return
    torch.set_num_threads(options.threads)
    options.records.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        run(seed, options)


if __name__ == "__main__":
    main()
