# SPDX-License-Identifier: Apache-2.0
"""A pre-processor whose exports give the same result as the engine."""

from typing import Any

from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Transform

from .transforms import exportable

__all__ = ["ExactPreProcessor"]


class ExactPreProcessor(PreProcessor):
    """anomalib's pre-processor, whose exports resize with antialiasing where the engine does; anomalib's own drop it.

    It works with all anomalib models, and its checkpoints are compatible with anomalib's pre-processor.

    Args:
        transform: Transform of images and masks. See :func:`~rd_plugin.export.exportable` for those that are exact in
            exports.

    Example:
        >>> import torch
        >>> from torchvision.transforms.v2 import Resize
        >>> ExactPreProcessor(Resize((32, 48)))(torch.rand(1, 3, 300, 400)).shape
        torch.Size([1, 3, 32, 48])
    """

    def __init__(self, transform: Transform | None = None) -> None:
        super().__init__(transform)
        self.export_transform = exportable(transform)

    def load_checkpoint_config(self, config: dict[str, Any]) -> None:
        """Restore the transform that a checkpoint holds."""
        super().load_checkpoint_config(config)
        self.export_transform = exportable(self.transform)
