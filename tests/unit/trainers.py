# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from lightning.pytorch import Trainer


def quiet_trainer(folder: Path, **arguments: object) -> Trainer:
    """A trainer on the CPU that writes neither logs nor checkpoints, nor to the screen."""
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(default_root_dir=folder, accelerator="cpu", **{**dict.fromkeys(quiet, False), **arguments})
