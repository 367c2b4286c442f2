# SPDX-License-Identifier: Apache-2.0
"""A trained model of ours, whichever its checkpoint says it is."""

from pathlib import Path
from typing import Any

from rd_plugin.models.distillation import Distillation
from rd_plugin.models.recorded import read_recorded

__all__ = ["load_trained"]


def load_trained(checkpoint: Path, **arguments: Any) -> Distillation:
    """Load a model from its checkpoint.

    Args:
        checkpoint: The file.
        **arguments: Arguments of the model, in place of those that it was trained with.

    Raises:
        ValueError: If the checkpoint does not say which of the package's models it is of.
    """
    found = read_recorded(checkpoint)
    if found is None:
        msg = f"checkpoint {checkpoint} does not say which of the package's models it is of."
        raise ValueError(msg)
    return found.method.load_from_checkpoint(checkpoint, **arguments)
