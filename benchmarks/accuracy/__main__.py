# SPDX-License-Identifier: Apache-2.0
"""Accuracy of our models and anomalib's on the same data, teacher, size, batch and length, beside published figures.

    python -m benchmarks.accuracy SUITE ... [--root ROOT] [--models NAME ...] [--seeds 0 1 2] [--steps N] ...
        [--one-model-for category all] [--brightness] [--turned] [--train-images 20 --draws 3] [--perturb] [--printed]
    python -m benchmarks.accuracy table [--pictures FOLDER]

A grid of cells: model x category x seed. Each leaves rows in RECORDS/SUITE.parquet as soon as it is evaluated, and is
not repeated; with other settings it is another cell. A cell that fails leaves its message, and the others go on. Tables
are printed at the end of a run, and by ``table`` for all suites that have records. The last weights are evaluated, on
all test images; no validation set is used and nothing is chosen.

Suites: ``mvtec``, ``visa``, ``one_class`` (CIFAR-10, MNIST, Fashion-MNIST, or the classes of a folder), ``solar``
(package ``elpv-dataset``), ``folder`` (all categories in MVTec AD's layout), the ablations of RD4AD's paper on any of
these, and ``transformers``: vision transformers as teachers, ours and anomalib's models on each, a model for each
category and one for all.
"""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import command
from benchmarks.common.grid import Cell
from benchmarks.common.records import RESULTS
from benchmarks.common.training import TEACHER
from rd_plugin.comparison import methods
from rd_plugin.models.distillation import Distillation

from . import report, transformers
from .cells import build_cell
from .joined import Joined
from .perturbations import CORNERS, PERTURBATIONS
from .printed_number import PRINTED
from .suites import ABLATIONS, DATA, TRANSFORMERS, Category, categories, variants

_PAPER_BACKBONES = ("resnet18.tv_in1k", "resnet50.tv_in1k", "wide_resnet50_2.tv_in1k")
_ONE_CLASS_SIZE, _SIZE = 32, 256
ONE_MODEL_FOR = ("category", "all")


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


def _data_sets(options: argparse.Namespace) -> list[str]:
    """Return the names of the data sets of a suite."""
    if options.what in DATA:
        return [options.what]
    return options.data or (["mvtec", "visa"] if options.what == TRANSFORMERS else ["mvtec"])


def _data(options: argparse.Namespace) -> Iterator[tuple[Category, list[str] | None]]:
    """Give what is trained on: each category; and all of a data set, with the list of them.

    Raises:
        ValueError: If there is no such data or category, or its categories cannot be joined.
    """
    names = _data_sets(options)
    if options.root is not None and len(names) > 1:
        msg = f"--root is where one data set is, and --data are {len(names)}: {', '.join(names)}."
        raise ValueError(msg)
    models_for = options.one_model_for or (ONE_MODEL_FOR if options.what == TRANSFORMERS else ONE_MODEL_FOR[:1])
    if "all" in models_for and "one_class" in names:
        msg = "--one-model-for all: what is normal for one class of one_class is an anomaly for the others."
        raise ValueError(msg)
    for name in names:
        found = categories(name, options.root)
        if options.categories:
            known = {category for _, category, _ in found}
            if unknown := sorted(set(options.categories) - known):
                msg = f"--categories {unknown[0]}: {name} has {', '.join(sorted(known))}."
                raise ValueError(msg)
            found = [each for each in found if each[1] in options.categories]
        if "category" in models_for:
            yield from ((each, None) for each in found)
        if "all" in models_for:
            for data_set in dict.fromkeys(data_set for data_set, _, _ in found):
                builds = {category: build for data, category, build in found if data == data_set}
                yield (data_set, f"all {len(builds)}", partial(Joined, builds)), list(builds)


def _runs(options: argparse.Namespace, joined: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each model, and the settings of its cell that are not those of the options."""
    asked = {unit: count for unit in ("steps", "epochs") if (count := getattr(options, unit)) is not None}
    backbones = dict(text.partition("=")[::2] for text in options.backbones or ())
    backbones = {name: weights or "true" for name, weights in backbones.items()}
    if options.what == TRANSFORMERS:
        teachers = backbones or dict.fromkeys(transformers.BACKBONES, "true")
        yield from transformers.runs(teachers, options.models, options.image_size, options.crop, asked, joined)
        return
    for model in options.models or ["ReverseDistillation"]:
        for variant in variants(options.what, backbones or dict.fromkeys(_PAPER_BACKBONES, "true")):
            yield model, {"steps": None, "epochs": None, **methods.length(model, asked), **variant}


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return all cells that are asked for, seed by seed.

    Raises:
        ValueError: If there is no such model or data.
    """
    draws = range(options.draws) if options.train_images else [None]
    machine = command.machine(options)
    size = options.image_size or (_ONE_CLASS_SIZE if _data_sets(options) == ["one_class"] else _SIZE)
    return [
        build_cell(
            {
                "data": data_set,
                "category": category,
                "joined": joined,
                "model": model,
                "backbone": options.backbone,
                "pre_trained": options.pre_trained,
                "scales": "all",
                "image_size": size,
                "crop": options.crop,
                "batch": options.batch,
                "devices": options.devices,
                "seed": seed,
                "turned": options.turned,
                "printed": printed,
                "train_images": options.train_images,
                "draw": draw,
                "perturbed": options.perturb or None,
                "brightness": None if methods.normalizes_brightness(model) else options.brightness,
                **variant,
                "arguments": _arguments(options.model_args, model) | variant.get("arguments", {}),
            },
            build_data,
            machine,
        )
        for seed in options.seeds
        for draw in draws
        for printed in (PRINTED if options.printed else [None])
        for (data_set, category, build_data), joined in _data(options)
        for model, variant in _runs(options, joined is not None)
    ]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = command.build_parser("benchmarks.accuracy", __doc__, [*DATA, *ABLATIONS, TRANSFORMERS])
    parser.set_defaults(records=RESULTS / "accuracy")
    command.add_training_options(parser)
    add = parser.add_argument
    add("--pictures", type=Path, help="of table: draw ROC curves and scores of each category into this folder")
    add("--data", choices=DATA, nargs="+", help="of an ablation (default: mvtec) or of transformers (mvtec visa)")
    add("--categories", nargs="+", help="these of the data's only (default: all)")
    add("--one-model-for", choices=ONE_MODEL_FOR, nargs="+", help="each category (default), all of a data set, or both")
    add("--models", nargs="+", help="ours by name, anomalib's as anomalib.NAME (default: ReverseDistillation)")
    add("--model-args", nargs="+", default=[], metavar="[MODEL:]KEY=VALUE", help="for MODEL, or for all of ours")
    add("--backbone", default=TEACHER["backbone"], help="timm's name of the teacher (default: %(default)s)")
    add("--pre-trained", default=TEACHER["pre_trained"], help="true, false, a file or a package (default: %(default)s)")
    add("--backbones", nargs="+", metavar="NAME[=WEIGHTS]", help=f"of ablation_backbone and {TRANSFORMERS}")
    add("--image-size", type=int, help=f"in pixels (default: {_SIZE}, one_class: {_ONE_CLASS_SIZE})")
    add("--crop", type=int, help="side of the middle that the networks are given, in pixels (default: the whole image)")
    add("--seeds", type=int, nargs="+", default=[0])
    add(
        "--turned",
        choices=CORNERS,
        nargs="?",
        const=CORNERS[0],
        help="turn each image by an angle of its own, with black corners or mirrored ones (default: %(const)s)",
    )
    add("--train-images", type=int, help="train on so many only, drawn at random (default: on all)")
    add("--draws", type=int, default=1, help="how many times they are drawn (default: %(default)s)")
    # --disturb and --light are what they were called up to version 0.2.
    add("--perturb", "--disturb", action="store_true", help=f"test under these, too: {', '.join(PERTURBATIONS)}")
    add(
        "--brightness",
        "--light",
        type=float,
        nargs="?",
        const=1.0,
        help="normalize brightness with this strength, as FusedReverseDistillation does, for all others (%(const)s)",
    )
    add(
        "--printed",
        action="store_true",
        help="three cells: without a printed number in a corner, with one, and with one that roi leaves out",
    )
    long = parser.add_mutually_exclusive_group()
    long.add_argument("--epochs", type=int, help="default: the method's own")
    long.add_argument("--steps", type=int, help="in place of epochs")
    add("--batch", type=int, default=16, help="images a step on each device (default: %(default)s)")
    add("--devices", type=int, default=1, help="how many of them to train on")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a cell has failed."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if "table" in options.what:
        for file in sorted(options.records.glob("*.parquet")):
            frame = report.load(file)
            print(f"## {file.stem}\n\n{report.show(frame)}\n")
            if options.pictures:
                report.draw(frame, options.pictures / file.stem)
        return 0
    failed = 0
    for suite in options.what:
        asked = argparse.Namespace(**{**vars(options), "what": suite, "suite": suite})
        failed |= command.run(parser, asked, grid, lambda rows: report.show(report.named(rows)))
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
