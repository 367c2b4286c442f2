# SPDX-License-Identifier: Apache-2.0
"""Where an export goes if nobody says so: beside its checkpoint, under a name of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .argv import option_names

__all__ = ["beside_checkpoint"]

# Below a run's folder, where anomalib keeps checkpoints and this package's exports go, too.
_CHECKPOINTS = ("weights", "lightning")


def beside_checkpoint(arguments: Any, given: Sequence[str]) -> None:
    """Set folder and name of an export where they are not given.

    anomalib's own default is one place for the exports of all models.

    Args:
        arguments: Those of ``export``, as parsed; ``export_root`` becomes the run's folder or the checkpoint's own, and
            ``model_file_name`` the checkpoint's name, followed by the compression.
        given: The words of the command line.
    """
    names = option_names(given)
    checkpoint = arguments.get("ckpt_path")
    if checkpoint is None or "://" in str(checkpoint) or arguments.get("export_root") is not None:
        return
    path = Path(checkpoint)
    if "--default_root_dir" not in names:
        arguments["export_root"] = path.parents[2] if path.parts[-3:-1] == _CHECKPOINTS else path.parent
    if "--model_file_name" not in names:
        compression = arguments.get("compression_type")
        arguments["model_file_name"] = "_".join([path.stem, *([compression.value] if compression else [])])
