# SPDX-License-Identifier: Apache-2.0
"""The model of a checkpoint, read from its record, so that users need not specify it again."""

import json
from collections.abc import Sequence
from pathlib import Path

from rd_plugin.models.recorded import read_recorded

from .argv import option_names, option_value
from .suggestions import nearest_file

__all__ = ["check_is_there", "with_recorded_model"]

# A training needs an explicit model, since it may be another one.
_OF_CHECKPOINTS = {"validate", "test", "predict", "export"}
# Objects, which a record holds as text; a checkpoint restores their settings.
_COMPONENTS = {"pre_processor", "post_processor", "evaluator", "visualizer"}
_CONFIGURATIONS = {"--config", "-c"}
_POST_PROCESSOR = "--model.post_processor"
# Lightning's keywords for a checkpoint.
_WORDS = {"best", "last", "hpc", "registry"}


def check_is_there(checkpoint: str | Path | None) -> None:
    """Check that a checkpoint is a file; Lightning's keywords and paths with a protocol are not checked.

    Args:
        checkpoint: The value of ``ckpt_path``, if it was given.

    Raises:
        FileNotFoundError: If it is not a file.
    """
    if checkpoint is None or _is_lightnings(checkpoint) or Path(checkpoint).is_file():
        return
    msg = f"ckpt_path {str(checkpoint)!r} is not a file.{nearest_file(Path(checkpoint))}"
    raise FileNotFoundError(msg)


def _is_lightnings(checkpoint: str | Path) -> bool:
    return str(checkpoint) in _WORDS or "://" in str(checkpoint)


def with_recorded_model(arguments: Sequence[str]) -> list[str]:
    """Add the model that a checkpoint's record names, with its arguments.

    Args:
        arguments: Those of the command line, with configurations directly after the subcommand.

    Returns:
        The same arguments. If there is a checkpoint with a record, ``--model`` follows the configurations, which may be
        of another model; typed options override both. The checkpoint comes last, since a configuration may set none.

    Raises:
        OSError: If the checkpoint cannot be read.
        ValueError: If it holds more than plain data, or its model is unknown and none is given.
    """
    place = next((index for index, word in enumerate(arguments) if word in _OF_CHECKPOINTS), None)
    checkpoint = option_value("--ckpt_path", arguments)
    if place is None or checkpoint is None or _is_lightnings(checkpoint):
        return list(arguments)
    check_is_there(checkpoint)
    found = read_recorded(checkpoint)
    if found is None:
        if not option_names(arguments) & {"--model", *_CONFIGURATIONS}:
            msg = f"model is missing: {checkpoint!r} does not name its model; give --model."
            raise ValueError(msg)
        return list(arguments)
    known = {name: value for name, value in found.record.arguments.items() if name not in _COMPONENTS}
    if any(name.startswith(_POST_PROCESSOR) for name in option_names(arguments)):
        # What is typed changes the checkpoint's settings, not the defaults.
        known["post_processor"] = found.post_processor
    model = json.dumps({"class_path": f"rd_plugin.{found.record.method}", "init_args": known})
    start = place + 1
    while start < len(arguments) and arguments[start].partition("=")[0] in _CONFIGURATIONS:
        start += 1 if "=" in arguments[start] else 2
    return [*arguments[:start], "--model", model, *arguments[start:], "--ckpt_path", checkpoint]
