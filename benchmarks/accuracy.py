# SPDX-License-Identifier: Apache-2.0
"""Accuracy of our models and anomalib's on the same data, teacher, size, batch and length, beside published figures.

    python benchmarks/accuracy.py SUITE [--root ROOT] [--models NAME ...] [--seeds 0 1 2] [--steps N | --epochs N] ...
    python benchmarks/accuracy.py report

A grid of cells: model x category x seed. Each leaves a record in RECORDS/SUITE as soon as it is evaluated, and is not
repeated; with other settings it is another cell. A cell that fails leaves its message, and the others go on. Tables and
pictures are written at the end of a run, and by ``report`` for all suites that have records. The last weights are
evaluated, on all test images; no validation set is used and nothing is chosen.

Suites: ``mvtec``, ``visa``, ``one_class`` (CIFAR-10, MNIST, Fashion-MNIST, or the classes of a folder), ``solar``
(package ``elpv-dataset``), ``folder`` (all categories in MVTec AD's layout), and the ablations of RD4AD's paper on any
of these.
"""

import argparse
import json
import logging
import warnings
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import methods
import report
import torch
from cells import Cell, Machine, run
from runs import TEACHER
from suites import ABLATIONS, DATA, categories, variants
from tqdm import tqdm

from rd_plugin.models.distillation import Distillation

_PAPER_BACKBONES = ("resnet18.tv_in1k", "resnet50.tv_in1k", "wide_resnet50_2.tv_in1k")
_ONE_CLASS_SIZE, _SIZE = 32, 256


def _weights(text: str) -> bool | str:
    """Read ``true`` and ``false``, or the name of a package or file; of a file only the place can differ."""
    return {"true": True, "false": False}.get(text.lower(), text)


def _arguments(texts: list[str], model: str) -> dict[str, Any]:
    """Those of ``[MODEL:]KEY=VALUE`` that are meant for a model; values are JSON or plain text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        target, _, key = name.rpartition(":")
        if target == model or (not target and issubclass(methods.find(model), Distillation)):
            try:
                found[key] = json.loads(value)
            except json.JSONDecodeError:
                found[key] = value
    return found


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return all cells that are asked for, seed by seed.

    Raises:
        ValueError: If there is no such model, data or cell.
    """
    data = options.data if options.what in ABLATIONS else options.what
    backbones = dict(text.partition("=")[::2] for text in options.backbones)
    backbones = {name: _weights(weights or "true") for name, weights in backbones.items()}
    asked = {unit: count for unit in ("steps", "epochs") if (count := getattr(options, unit)) is not None}
    cells = [
        Cell(
            {
                "data": data_set,
                "category": category,
                "model": model,
                "backbone": options.backbone,
                "pre_trained": _weights(options.pre_trained),
                "scales": "all",
                "image_size": options.image_size or (_ONE_CLASS_SIZE if data == "one_class" else _SIZE),
                "length": methods.length(model, asked),
                "batch": options.batch,
                "devices": options.devices,
                "seed": seed,
                **variant,
                "arguments": _arguments(options.model_args, model) | variant.get("arguments", {}),
            },
            build_data,
        )
        for seed in options.seeds
        for data_set, category, build_data in categories(data, options.root)
        for model in options.models
        for variant in variants(options.what, backbones)
    ]
    chosen = [cell for cell in cells if not options.only or any(fnmatch(cell.name, text) for text in options.only)]
    if not chosen:
        msg = f"--only {' '.join(options.only)} leaves none of {len(cells)} cells, such as {cells[0].name!r}."
        raise ValueError(msg)
    return chosen


def run_grid(grid: list[Cell], options: argparse.Namespace) -> int:
    """Run what has no record yet; return the number of cells of the grid that have failed."""
    folder = options.records / options.what
    machine = Machine(options.device, options.workers)
    cells = [(cell, cell.record(folder)) for cell in grid]
    waiting, failed = [], 0
    for cell, record in cells:
        has_failed = record.exists() and "failure" in json.loads(record.read_text())
        if not record.exists() or (has_failed and options.retry):
            waiting.append((cell, record))
        else:
            failed += has_failed
    with tqdm(waiting, initial=len(cells) - len(waiting), total=len(cells), unit="cell", dynamic_ncols=True) as bar:
        for cell, record in bar:
            bar.set_description(cell.name)
            content = run(cell, record, machine)
            if "failure" in content:
                failed += 1
                bar.write("{}: {type}: {text}".format(cell.name, **content["failure"]))
            else:
                figures = next(reversed(content["figures"].values()))
                listed = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                bar.write(f"{cell.name}: {listed}")
    report.write(folder)
    print(f"{len(cells) - failed} of {len(cells)} cells done, {failed} failed: {folder / 'table.md'}")
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a cell has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("what", choices=[*DATA, *ABLATIONS, "report"])
    add("--root", type=Path, help="where the data is; one_class: a folder of {train,test}/CLASS/, or for downloads")
    add("--data", choices=DATA, default="mvtec", help="of an ablation (default: %(default)s)")
    add("--models", nargs="+", default=["ReverseDistillation"], help="ours by name, anomalib's as anomalib.NAME")
    add("--model-args", nargs="+", default=[], metavar="[MODEL:]KEY=VALUE", help="for MODEL, or for all of ours")
    add("--backbone", default=TEACHER["backbone"], help="timm's name of the teacher (default: %(default)s)")
    add("--pre-trained", default=TEACHER["pre_trained"], help="true, false, a file or a package (default: %(default)s)")
    add("--backbones", nargs="+", default=_PAPER_BACKBONES, metavar="NAME[=WEIGHTS]", help="of ablation_backbone")
    add("--image-size", type=int, help=f"in pixels (default: {_SIZE}, one_class: {_ONE_CLASS_SIZE})")
    add("--seeds", type=int, nargs="+", default=[0])
    long = parser.add_mutually_exclusive_group()
    long.add_argument("--epochs", type=int, help="default: the method's own")
    long.add_argument("--steps", type=int, help="in place of epochs")
    add("--batch", type=int, default=16, help="images a step on each device (default: %(default)s)")
    add("--only", nargs="+", metavar="PATTERN", help="cells by DATA/CATEGORY/MODEL/BACKBONE/SEED, with wildcards")
    add("--retry", action="store_true", help="run failed cells again")
    add("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    add("--devices", type=int, default=1, help="how many of them to train on")
    add("--workers", type=int, default=1, help="processes that read images (default: %(default)s)")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--records", type=Path, default=Path(__file__).parent / "results" / "accuracy")
    options = parser.parse_args(arguments)
    if options.what == "report":
        for folder in sorted({file.relative_to(options.records).parts[0] for file in options.records.rglob("*.json")}):
            report.write(options.records / folder)
        return 0
    torch.set_num_threads(options.threads)
    with warnings.catch_warnings():
        # What each of many trainings says would hide the progress bar.
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            return int(run_grid(grid(options), options) > 0)
        except ValueError as error:
            parser.error(str(error))
        finally:
            logging.disable(logging.NOTSET)


if __name__ == "__main__":
    raise SystemExit(main())
