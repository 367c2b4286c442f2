# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin compare``: several models on your own images, with the same split and teacher."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from .log_level import set_log_level

__all__ = ["add_arguments", "run"]

logger = logging.getLogger(__name__)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments.

    Args:
        parser: The subcommand's parser.
    """
    add: Any = parser.add_argument
    add("--data.root", metavar="FOLDER", type=Path, required=True, help="good/ and defect/, or a folder for each part")
    add(
        "--models",
        metavar="MODEL",
        type=str,
        nargs="+",
        required=True,
        help="models of rd_plugin, such as FusedReverseDistillation, and of anomalib, such as "
        "anomalib.Patchcore:coreset_sampling_ratio=0.01",
    )
    add("--backbone", metavar="NAME", type=str, default="wide_resnet50_2.tv_in1k", help="the teacher: a timm model")
    add("--pre_trained", metavar="WEIGHTS", type=str, default="true", help="its weights: true, a file or a package")
    add("--image_size", metavar="SIZE", type=PositiveInt, default=256, help="side that images are resized to")
    add("--steps", metavar="N", type=PositiveInt, default=400, help="length of each training with gradient steps")
    add("--batch", metavar="N", type=PositiveInt, default=16, help="images in a batch")
    add("--seed", metavar="SEED", type=NonNegativeInt, default=0, help="seed of the split and of each training")
    add("--workers", metavar="N", type=NonNegativeInt, default=4, help="processes that read images; 0 for none")
    add("--accelerator", metavar="KIND", type=str, default="auto", help="cpu, gpu or auto")
    add("--output", metavar="FILE", type=Path, default=Path("comparison.html"), help="the page")


def run(arguments: Namespace) -> int:
    """Train and measure each model on each part, and write the page.

    Args:
        arguments: What was parsed.

    Returns:
        Exit status: 0, or 1 if a model was left out, since it failed.

    Raises:
        OSError: If there are no images, or the page cannot be written.
        ValueError: If a model is unknown, or none is left.
    """
    verbose = logging.getLogger().level <= logging.INFO
    # The help does not wait for these.
    from rd_plugin.comparison import compare, comparison_table, write_comparison
    from rd_plugin.components.kept_weights import weights_kept
    from rd_plugin.data import PartsFolder

    # anomalib and Lightning have set theirs.
    set_log_level(verbose)
    root = Path(arguments.data.root)
    if not arguments.output.absolute().parent.is_dir():
        msg = f"output {str(arguments.output)!r} must be a file in an existing folder."
        raise OSError(msg)
    models = {name: _model(name) for name in arguments.models}
    parts = {part: root / part for part in PartsFolder(root).parts} or {root.resolve().name: root}
    trials, failures = [], []
    with weights_kept():
        for name, model in models.items():
            found, failure = _tried(arguments, name, *model, parts)
            trials += found
            failures += [failure] if failure else []
    if not trials:
        msg = f"no model could be compared: {failures[0]}"
        raise ValueError(msg)
    recommendation = compare(trials)
    first = trials[0]
    settings = {
        "images": f"{root}, split with seed {arguments.seed}: {first.held_out} good images set the threshold of "
        f"{first.part!r}, {sum(~first.defective)} good images and {sum(first.defective)} defects test it",
        "teacher": f"{arguments.backbone}, weights: {arguments.pre_trained}",
        "image size": f"{arguments.image_size} x {arguments.image_size} pixels",
        "training": f"{arguments.steps} steps of {arguments.batch} images, seed {arguments.seed}; memory bank: 1 epoch",
    }
    write_comparison(arguments.output, trials, recommendation, settings, failures)
    sys.stdout.write(
        f"\n{comparison_table(trials, recommendation)}\n\n{recommendation}\n\n{arguments.output} written.\n"
    )
    return 1 if failures else 0


def _model(text: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a model, as given.

    Raises:
        ValueError: If there is no such model, or an argument is not ``KEY=VALUE``.
    """
    from rd_plugin.comparison import methods

    name, _, given = text.partition(":")
    methods.find(name)
    arguments = dict(entry.partition("=")[::2] for entry in filter(None, given.split(",")))
    if wrong := [key for key, value in arguments.items() if not key or not value]:
        msg = f"models: {text!r} must be NAME or NAME:KEY=VALUE,KEY=VALUE; {wrong[0]!r} has no value."
        raise ValueError(msg)
    return name, {key: yaml.safe_load(value) for key, value in arguments.items()}


def _tried(
    arguments: Namespace, title: str, name: str, more: dict[str, Any], parts: Mapping[str, Path]
) -> tuple[list[Any], str]:
    """The trials of a model on all parts; if one fails, none of them, and the reason."""
    try:
        return [_trial(arguments, title, name, more, folder, part) for part, folder in parts.items()], ""
    except Exception as error:
        # The others may be compared without it.
        logger.debug("%s", title, exc_info=True)
        failure = f"{title}: {' '.join(str(error).split())}"
    logger.error("Left out: %s", failure)
    return [], failure


def _trial(arguments: Namespace, title: str, name: str, more: dict[str, Any], folder: Path, part: str) -> Any:
    """Train and measure a model on a part."""
    from lightning.pytorch import seed_everything

    from rd_plugin.comparison import methods, run_trial
    from rd_plugin.data import PartsFolder

    logger.info("%s on %s", title, part)
    seed_everything(arguments.seed, verbose=False)
    images = PartsFolder(
        folder,
        train_batch_size=arguments.batch,
        eval_batch_size=arguments.batch,
        num_workers=arguments.workers,
        seed=arguments.seed,
    )
    model = methods.build(name, more, arguments.backbone, arguments.pre_trained, arguments.image_size)
    steps = methods.length(name, {"steps": arguments.steps}).get("steps", 0)
    return run_trial(title, model, images, part, arguments.accelerator, steps)
