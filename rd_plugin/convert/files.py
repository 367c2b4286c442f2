# SPDX-License-Identifier: Apache-2.0
"""Read other programs' checkpoints without running code from them, and write ours atomically."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from rd_plugin.callbacks import AtomicCheckpointIO, RecordedCheckpointIO
from rd_plugin.provenance import Provenance, RecordedModule
from rd_plugin.storage import read_plain

__all__ = ["check_output", "named_parts", "named_tensors", "read_checkpoint", "under", "write_checkpoint"]


def check_output(output: str | Path, source: str | Path) -> None:
    """Make sure that ``output`` can be written, before any work is done for it.

    Raises:
        FileNotFoundError: If its folder does not exist.
        PermissionError: If its folder cannot be written to.
        ValueError: If it is a folder, or ``source`` itself.
    """
    output = Path(output)
    folder = output.parent
    if not folder.is_dir():
        msg = f"output {str(output)!r}: the folder {str(folder)!r} does not exist."
        raise FileNotFoundError(msg)
    if not os.access(folder, os.W_OK):
        msg = f"output {str(output)!r}: the folder {str(folder)!r} cannot be written to."
        raise PermissionError(msg)
    if output.is_dir():
        msg = f"output {str(output)!r} is a folder; give the name of a file."
        raise ValueError(msg)
    if output.resolve() == Path(source).resolve():
        msg = f"output {str(output)!r} is the source itself, which must not be overwritten."
        raise ValueError(msg)


def read_checkpoint(source: str | Path, safe_globals: Sequence[Any] = ()) -> dict[str, Any]:
    """Read a file that ``torch.save`` wrote, without running code from it.

    Args:
        source: Path of the file.
        safe_globals: Classes that the file may hold in addition to tensors and plain values.

    Returns:
        The file's content; empty if that is not a dictionary, so that a caller finds every part missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a ``torch.save`` file or holds pickled objects.
    """
    source = Path(source)
    if not source.is_file():
        msg = f"source {str(source)!r} is not a file."
        raise FileNotFoundError(msg)
    try:
        content = read_plain(source, safe_globals)
    except ValueError as error:
        msg = f"source {error}"
        raise ValueError(msg) from error
    return content if isinstance(content, dict) else {}


def named_tensors(part: object) -> dict[str, Tensor]:
    """Return ``part`` if it is a state dict, and an empty one otherwise.

    Example:
        >>> import torch
        >>> named_tensors({"weight": torch.zeros(1)})
        {'weight': tensor([0.])}
        >>> named_tensors({"epoch": 3})
        {}
    """
    if not isinstance(part, dict):
        return {}
    fits = all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in part.items())
    return dict(part) if fits else {}


def named_parts(
    content: Mapping[str, object], keys: Sequence[str], source: str | Path, program: str
) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts that a checkpoint of an authors' program must hold.

    Args:
        content: What the file holds.
        keys: Keys of the state dicts.
        source: Path of the file, for the message.
        program: Whose program it is, likewise.

    Raises:
        ValueError: If a state dict is missing or empty.

    Example:
        >>> named_parts({"bn": {}}, ["bn"], "theirs.pth", "RD4AD")
        Traceback (most recent call last):
        ValueError: 'theirs.pth' is not a checkpoint of the RD4AD authors' program: it has no tensors under 'bn'.
    """
    parts = {key: named_tensors(content.get(key)) for key in keys}
    if missing := [repr(key) for key, tensors in parts.items() if not tensors]:
        msg = (
            f"{str(source)!r} is not a checkpoint of the {program} authors' program: it has no tensors under "
            f"{' or '.join(missing)}."
        )
        raise ValueError(msg)
    return parts


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, under the rest of their names.

    Example:
        >>> import torch
        >>> under("encoder.", {"encoder.bias": torch.zeros(1), "decoder.bias": torch.ones(1)})
        {'bias': tensor([0.])}
    """
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def write_checkpoint(model: RecordedModule, output: str | Path, converted_from: str) -> None:
    """Write a model as a full Lightning checkpoint, with its record next to it.

    If anything fails, an existing file is kept.

    Args:
        model: The model, with all its weights.
        output: Path of the checkpoint, in a folder that exists.
        converted_from: Program that trained the model, for the record.

    Raises:
        OSError: If the file cannot be written.
    """
    model.provenance = replace(model.provenance or Provenance(), converted_from=converted_from)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[RecordedCheckpointIO(AtomicCheckpointIO())],
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(output, weights_only=False)
