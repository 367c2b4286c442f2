# SPDX-License-Identifier: Apache-2.0
"""Advice on what to type instead of arguments that the parser refuses."""

import re
from collections.abc import Sequence
from pathlib import Path

from rd_plugin.configurations import configuration_names

__all__ = ["advice"]

_EXPORT_TYPES = ("openvino", "onnx", "torch")
_TYPES = "openvino, onnx or torch"
_ON_DATA = {"train", "fit", "validate", "test", "check"}
# By words of a message.
_SENTENCES = {
    "Option 'export.export_type' is required": f"Give --export_type {_TYPES}.",
    **{
        f"Option '{name}.model' is required": "Give --ckpt_path FILE, a checkpoint whose record names the model."
        for name in ("validate", "test", "predict", "export")
    },
    ".model' is required": "Give --config folder --data.root FOLDER, or --model NAME --data NAME.",
    "Option 'inspect.paths' is required": "Give images, folders or patterns after the model.",
    "Option 'inspect.model' is required": "Give a model and then images, folders or patterns.",
    "Option 'predict.data' is required": "Give --data with an image or a folder.",
    "argument --pictures: expected": "Give --pictures all or --pictures anomalous.",
    "image_size: Expected": "Give one number, or [HEIGHT,WIDTH].",
    "tile_size: Expected": "Give one number, or [HEIGHT,WIDTH].",
}


def advice(message: str, words: Sequence[str]) -> str:
    """Return a sentence about what to type, or an empty text.

    Args:
        message: The parser's message.
        words: The words of the command line, with the subcommand first or after options of the tool.

    Example:
        >>> advice("Unrecognized arguments: openvino", ["export", "openvino"])
        'Write --export_type openvino.'
    """
    subcommand = next((word for word in words if not word.startswith("-")), "")
    if found := re.search(r"Unrecognized arguments: (\S+)$", message):
        meant = _option(found[1], subcommand)
        return f"Write {meant}." if meant else ""
    if (found := re.search(r"data: Expected a dot import path string: (.+?)\.?$", message)) and Path(found[1]).is_dir():
        return f"To train on a folder, write --data PartsFolder --data.root {found[1]}."
    if found := re.search(r"ambiguous option: (\S+) could match (.+)$", message):
        return f"Write the one that you mean in full: {' or '.join(found[2].split(', '))}."
    return next((sentence for part, sentence in _SENTENCES.items() if part in message), "")


def _option(word: str, subcommand: str) -> str | None:
    """The option that a word without one is probably the value of, with the word."""
    path = Path(word)
    if path.suffix == ".ckpt":
        return f"--ckpt_path {word}"
    if subcommand == "export":
        return f"--export_type {word}" if word in _EXPORT_TYPES else None
    if subcommand == "predict":
        return f"--data {word}" if path.exists() else None
    if subcommand in _ON_DATA and path.is_dir():
        return f"--config folder --data.root {word}"
    return f"--config {word}" if word in configuration_names() else None
