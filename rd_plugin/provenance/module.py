# SPDX-License-Identifier: Apache-2.0
"""A model with a record of its origin, which its checkpoints hold."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor, nn

from rd_plugin.data.crop import crop_steps
from rd_plugin.results import RegionRules
from rd_plugin.storage import check_checkpoint, read_plain

from .record import RECORD_KEY, Provenance, installed_versions, now

__all__ = ["RecordedModule", "resizing"]

logger = logging.getLogger(__name__)

# anomalib's key for the pre-processor in a checkpoint.
_PRE_PROCESSOR = "anomalib_pre_processor_config"


def resizing(size: list[int] | None) -> str:
    """Describe how a pre-processor changes an image's size, given as height and width."""
    return "no resizing" if size is None else f"resizing to {size[0]} x {size[1]} pixels"


class RecordedModule(AnomalibModule):
    """anomalib's module with a record of its training, which is used to check checkpoints.

    Args:
        pre_processor: anomalib's pre-processor, or whether to use the default.
        post_processor: anomalib's post-processor, or whether to use the default.
        evaluator: anomalib's evaluator, or whether to use the default.
        visualizer: anomalib's visualizer, or whether to use the default.

    Attributes:
        provenance: Record of the training that the weights come from; ``None`` if neither a training nor a checkpoint
            has changed them.
    """

    def __init__(
        self,
        pre_processor: PreProcessor | bool,
        post_processor: PostProcessor | bool,
        evaluator: Evaluator | bool,
        visualizer: Visualizer | bool,
    ) -> None:
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.provenance: Provenance | None = None
        self._own_pre_processor = not isinstance(pre_processor, bool)

    @property
    def resized_to(self) -> list[int] | None:
        """Height and width that the pre-processor resizes to; ``None`` if it does not resize."""
        try:
            return None if self.input_size is None else list(self.input_size)
        except Exception:  # a user's own may lack attributes that anomalib reads, or reject its test image
            return None

    def described_arguments(self) -> dict[str, Any]:
        """Return the model's arguments, as in the record."""
        return dict(self.hparams)

    def learned_settings(self) -> dict[str, Any]:
        """Return what the model has fitted to normal images besides its weights, as in the record."""
        return {}

    @property
    def score_threshold(self) -> float | None:
        """Score above which an image is called anomalous; ``None`` if the model has no threshold."""
        if self.post_processor is None or not self.post_processor.enable_thresholding:
            return None
        return round(float(cast("Tensor", self.post_processor.normalized_image_threshold)), 6)

    @property
    def frozen_network(self) -> nn.Module:
        """The pre-trained network, whose weights do not change in training."""
        raise NotImplementedError

    def describe(self) -> Provenance:
        """Return the record of the model as it is now."""
        known = self.provenance or Provenance()
        rules = getattr(self.post_processor, "rules", None)
        return replace(
            known,
            method=self.name,
            arguments=self.described_arguments(),
            input_size=self.resized_to,
            crop=crop_steps(getattr(self.pre_processor, "transform", None)),
            learned=self.learned_settings(),
            regions=rules.plain() if isinstance(rules, RegionRules) else {},
            # A trainer that only tests has made no step.
            steps=self.global_step if self.global_step > 0 else known.steps,
            versions=known.versions or installed_versions(),
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the record to a checkpoint."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[RECORD_KEY] = replace(self.describe(), date=now()).plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint fits the model, and take over its record and the configuration of its components.

        A checkpoint without a record is from an earlier version or was converted by hand; it is not checked.

        Raises:
            ValueError: If the checkpoint has another method, backbone, layers, bottleneck or injection, or belongs to a
                pre-processor that neither the checkpoint nor the model holds.
        """
        record = Provenance.of(checkpoint) or Provenance()
        record.check_fits(self.describe(), {kind.__name__ for kind in type(self).__mro__})
        had = self.resized_to
        self._keep_unsaved_pre_processor(checkpoint, record)
        super().on_load_checkpoint(checkpoint)
        if self.pre_processor is None and record.input_size:
            logger.warning(
                "The checkpoint's pre-processor (%s) is left out: images must be resized and normalized beforehand.",
                resizing(record.input_size),
            )
        elif self._own_pre_processor and self.resized_to != had:
            logger.warning(
                "The checkpoint's pre-processor (%s) replaces the model's (%s): the thresholds belong to it.",
                resizing(self.resized_to),
                resizing(had),
            )
        self.provenance = record

    def _keep_unsaved_pre_processor(self, checkpoint: dict[str, Any], record: Provenance) -> None:
        """Keep the model's pre-processor if anomalib could not save that of the checkpoint.

        Raises:
            ValueError: If the model's pre-processor is not the user's own, or resizes to another size.
        """
        saved = bool(checkpoint.get(_PRE_PROCESSOR, {}).get("transform"))
        if saved or record.input_size is None or self.pre_processor is None:
            return
        if not self._own_pre_processor or self.resized_to != record.input_size:
            msg = (
                f"The checkpoint does not fit the model: anomalib could not save its pre-processor "
                f"({resizing(record.input_size)}), and the model has another ({resizing(self.resized_to)}). Give the "
                "model the pre_processor that it was trained with."
            )
            raise ValueError(msg)
        checkpoint.pop(_PRE_PROCESSOR, None)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # as anomalib narrows it
        cls,
        checkpoint_path: str | Path,
        *args: Any,
        **kwargs: Any,
    ) -> AnomalibModule:
        """Build the model from a checkpoint, without running code from it.

        Args:
            checkpoint_path: The checkpoint.
            *args: Arguments of anomalib's method.
            **kwargs: Arguments of anomalib's method, and of the model, which override those of the checkpoint.

        Raises:
            ValueError: If the file is not a checkpoint, holds more than plain data, or does not fit the given
                arguments.
        """
        try:
            return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        except Exception:
            if "://" in str(checkpoint_path) or kwargs.get("weights_only") is False:
                raise
            # The file or its record may explain the error better: it is not a checkpoint, or has another method.
            content = read_plain(checkpoint_path, cls.checkpoint_safe_globals())
            check_checkpoint(checkpoint_path, content)
            record = Provenance.of(content) or Provenance()
            record.check_fits(Provenance(method=cls.__name__), {kind.__name__ for kind in cls.__mro__})
            raise
