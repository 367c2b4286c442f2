# SPDX-License-Identifier: Apache-2.0
"""The default place of an export: next to its checkpoint, under the checkpoint's name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .argv import option_names

__all__ = ["beside_checkpoint"]

# Where anomalib keeps checkpoints below a run's folder, and this package writes exports.
_CHECKPOINTS = ("weights", "lightning")


def beside_checkpoint(arguments: Any, given: Sequence[str]) -> None:
    """Set folder and name of an export if they are not given.

    anomalib's own default is one folder for the exports of all models.

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
