# SPDX-License-Identifier: Apache-2.0
"""A trained model of ours, whichever its checkpoint says it is."""

from pathlib import Path
from typing import Any

import rd_plugin.models
from rd_plugin.models.distillation import Distillation
from rd_plugin.provenance import Provenance
from rd_plugin.storage import read_plain

__all__ = ["load_trained"]


def load_trained(checkpoint: Path, **arguments: Any) -> Distillation:
    """Load a model from its checkpoint.

    Args:
        checkpoint: The file.
        **arguments: Arguments of the model, in place of those that it was trained with.

    Raises:
        ValueError: If the checkpoint does not say which of the package's models it is of.
    """
    record = Provenance.of(read_plain(checkpoint, Distillation.checkpoint_safe_globals()))
    if record is None or record.method not in rd_plugin.models.__all__:
        msg = f"checkpoint {checkpoint} does not say which of the package's models it is of."
        raise ValueError(msg)
    method: type[Distillation] = getattr(rd_plugin.models, record.method)
    return method.load_from_checkpoint(checkpoint, **arguments)
