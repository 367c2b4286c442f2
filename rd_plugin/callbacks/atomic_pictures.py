# SPDX-License-Identifier: Apache-2.0
"""Pictures that are written atomically."""

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Callback, LightningModule, Trainer

from rd_plugin.storage import move_files

__all__ = ["AtomicPictures"]


class AtomicPictures(Callback):
    """Make anomalib's visualizer draw into a hidden folder, and move the pictures of each batch to their places.

    It must come after the visualizer in the list of callbacks.
    """

    def __init__(self) -> None:
        self._visualizer: ImageVisualizer | None = None
        self._folder = Path()
        self._partial = Path()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the hidden folder inside the visualizer's folder.

        Raises:
            OSError: If it cannot be made.
        """
        visualizer = pl_module.visualizer
        if not isinstance(visualizer, ImageVisualizer):
            return
        self._folder = Path(visualizer.output_dir or Path(trainer.default_root_dir) / "images")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._partial = Path(mkdtemp(prefix=".", suffix=".partial", dir=self._folder))
        self._visualizer = visualizer
        visualizer.output_dir = self._partial

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Move the pictures of a batch."""
        del args, kwargs
        if self._visualizer is not None:
            move_files(self._partial, self._folder)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the hidden folder."""
        del trainer, pl_module
        if self._visualizer is not None:
            shutil.rmtree(self._partial)
            self._visualizer.output_dir = self._folder
            self._visualizer = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the hidden folder when a test fails, too."""
        del exception
        self.on_test_end(trainer, pl_module)

    on_predict_start = on_test_start
    on_predict_batch_end = on_test_batch_end
    on_predict_end = on_test_end
