# SPDX-License-Identifier: Apache-2.0
"""The configuration that a run writes next to its results."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch import cli as lightning_cli

__all__ = ["SaveConfigCallback"]


# Under Lightning's name, by which ``rd_plugin.callbacks`` finds it.
class SaveConfigCallback(lightning_cli.SaveConfigCallback):
    """Lightning's callback, also for a logger without a folder, such as MLflow's with a database.

    Lightning stops there with an assertion without a message. The configuration is then written into the run's folder.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the configuration before anything else is done."""
        if trainer.log_dir is not None or self.already_saved:
            super().setup(trainer, pl_module, stage)
            return
        if trainer.is_global_zero:
            folder = Path(trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, str(folder / self.config_filename), skip_none=False, overwrite=True)
        self.already_saved = True
