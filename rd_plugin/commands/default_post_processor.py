# SPDX-License-Identifier: Apache-2.0
"""The class of a post-processor whose arguments are given without it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from .argv import options

__all__ = ["with_default_post_processor"]

_OPTION = "--model.post_processor"
_CLASS = "rd_plugin.post_processor.DistillationPostProcessor"


def with_default_post_processor(words: Sequence[str]) -> list[str]:
    """Add the class of the models' default post-processor if only arguments of it are typed.

    jsonargparse would take anomalib's own class, which has other arguments and sets other thresholds.

    Args:
        words: Words of the command line, with paths of configurations.

    Returns:
        The same words. The class precedes the first argument, unless a class or a checkpoint, whose post-processor is
        known, is given, or the model is not one of the package's.

    Example:
        >>> model = "rd_plugin.ReverseDistillation"
        >>> words = ["train", "--model", model, "--model.post_processor.false_alarm_rate", "0.1"]
        >>> with_default_post_processor(words)[3:5]
        ['--model.post_processor', 'rd_plugin.post_processor.DistillationPostProcessor']
    """
    given = list(options(words))
    places = [place for name, _, place in given if name.startswith(f"{_OPTION}.")]
    names = {name for name, _, _ in given}
    if not places or names & {_OPTION, "--ckpt_path"}:
        return list(words)
    configured = [_model(value) for name, value, _ in given if name in {"-c", "--config"} and value]
    typed = [value for name, value, _ in given if name == "--model" and value]
    classes = [*(str(model.get("class_path")) for model in configured if "class_path" in model), *typed]
    set_already = any(isinstance(model.get("init_args", {}).get("post_processor"), dict) for model in configured)
    if set_already or not classes or not classes[-1].startswith("rd_plugin."):
        return list(words)
    return [*words[: places[0]], _OPTION, _CLASS, *words[places[0] :]]


def _model(configuration: str) -> dict[str, Any]:
    """The model's section of a configuration; empty if there is none, or the parser will refuse the file."""
    try:
        content = yaml.safe_load(Path(configuration).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    model = content.get("model") if isinstance(content, dict) else None
    return model if isinstance(model, dict) else {}
