# SPDX-License-Identifier: Apache-2.0
"""A model with a record of its origin, which its checkpoints hold."""

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn

from rd_plugin.data.crop_steps import crop_steps
from rd_plugin.results import RegionRules
from rd_plugin.storage import check_checkpoint, read_plain

from .record import RECORD_KEY, Provenance, installed_versions, now

__all__ = ["RecordedModule", "resizing", "score_threshold"]

logger = logging.getLogger(__name__)

# anomalib's keys in a checkpoint.
_PRE_PROCESSOR = "anomalib_pre_processor_config"
_POST_PROCESSOR = "anomalib_post_processor_config"
_ENABLED = "anomalib_components_enabled"
# Components that a user may replace: the weights do not depend on them.
_REPLACEABLE = ("post_processor", "evaluator", "visualizer")


def resizing(size: list[int] | None) -> str:
    """Describe how a pre-processor changes an image's size, given as height and width."""
    return "no resizing" if size is None else f"resizing to {size[0]} x {size[1]} pixels"


def score_threshold(post_processor: nn.Module | None) -> float | None:
    """Return the score above which a post-processor calls an image anomalous.

    Args:
        post_processor: The post-processor of a model; 0.5 is assumed of one that is not derived from anomalib's.

    Returns:
        The threshold in units of the scores that the model gives; ``None`` if it was never set, or the range that
        normalizes scores was not.
    """
    if not isinstance(post_processor, PostProcessor):
        return None if post_processor is None else 0.5
    needed = [post_processor.image_threshold]
    if post_processor.enable_normalization:
        needed += [post_processor.image_min, post_processor.image_max]
    if not post_processor.enable_thresholding or any(math.isnan(value) for value in needed):
        return None
    return round(float(post_processor.normalized_image_threshold), 6)


def argument_names(kind: type) -> set[str]:
    """Return the names of a class's arguments, and of those that it hands on to its base classes."""
    return {name for base in kind.__mro__ for name in signature(base.__init__).parameters}  # type: ignore[misc]


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
        given: Names of the components that are not left to the default, which a checkpoint does not replace.
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
        components = zip(_REPLACEABLE, (post_processor, evaluator, visualizer), strict=True)
        self.given = {name for name, component in components if component is not True}

    @property
    def resized_to(self) -> list[int] | None:
        """Height and width that the pre-processor resizes to; ``None`` if it does not resize."""
        try:
            return None if self.input_size is None else list(self.input_size)
        except Exception:  # a user's own may lack attributes that anomalib reads, or reject its test image
            return None

    @property
    def _transforms(self) -> dict[str, Any] | None:
        """The pre-processor's transforms as a checkpoint holds them; ``None`` if it cannot."""
        return self.pre_processor.checkpoint_config() if isinstance(self.pre_processor, PreProcessor) else None

    def described_arguments(self) -> dict[str, Any]:
        """Return the model's arguments, as in the record."""
        return dict(self.hparams)

    def learned_settings(self) -> dict[str, Any]:
        """Return what the model has fitted to normal images besides its weights, as in the record."""
        return {}

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
            parts={part: known.parts.get(part, {}) for part in getattr(self.post_processor, "parts", ())},
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
        had, transforms = self.resized_to, self._transforms
        self._keep_unsaved_pre_processor(checkpoint, record)
        self._keep_given(checkpoint)
        super().on_load_checkpoint(checkpoint)
        self._fit_state(checkpoint)
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
        elif self._own_pre_processor and self._transforms != transforms:
            logger.warning(
                "The checkpoint's pre-processor replaces the model's, which has other transforms: the thresholds "
                "belong to it."
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

    def _keep_given(self, checkpoint: dict[str, Any]) -> None:
        """Keep the components that the user has given; say which others the checkpoint takes away."""
        enabled = dict(checkpoint.get(_ENABLED) or {})
        for name in _REPLACEABLE:
            if enabled.get(name, True) or getattr(self, name) is None:
                continue
            if name in self.given:
                enabled[name] = True
            else:
                logger.info(
                    "The checkpoint's model has no %s, so this one has none; --model.%s true, or an object in Python, "
                    "gives one.",
                    name,
                    name,
                )
        checkpoint[_ENABLED] = enabled
        saved = checkpoint.get(_POST_PROCESSOR)
        if "post_processor" not in self.given or not saved or not isinstance(self.post_processor, PostProcessor):
            return
        names = argument_names(type(self.post_processor))
        own = {name: value for name, value in self.post_processor.checkpoint_config().items() if name in names}
        differing = [
            f"{name} {value}, not {saved[name]}" for name, value in own.items() if saved.get(name, value) != value
        ]
        if differing:
            logger.info("The given post-processor replaces the checkpoint's settings: %s.", "; ".join(differing))
        # What is no argument, such as how old scores were cut off, stays the checkpoint's.
        checkpoint[_POST_PROCESSOR] = {**saved, **own}

    def _fit_state(self, checkpoint: dict[str, Any]) -> None:
        """Give the checkpoint the state of components that the model has, and no other.

        Raises:
            ValueError: If the checkpoint has state of a post-processor that was not given.
        """
        own = self.state_dict()
        for name in _REPLACEABLE:
            saved = set(_below(checkpoint["state_dict"], name))
            expected = set(_below(own, name))
            if name == "post_processor" and name not in self.given and saved - expected and self.post_processor:
                msg = (
                    f"The checkpoint does not fit the model: its post-processor holds {min(saved - expected)!r}, which "
                    f"a {type(self.post_processor).__name__} does not. Give the model the post_processor that it was "
                    "trained with."
                )
                raise ValueError(msg)
            state = {key: value for key, value in checkpoint["state_dict"].items() if key not in saved - expected}
            checkpoint["state_dict"] = {**state, **{key: own[key] for key in expected - saved}}

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
        for name in _REPLACEABLE:
            if kwargs.get(name) is True:
                kwargs[name] = getattr(cls, f"configure_{name}")()
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

    def restore(self, checkpoint_path: str | Path) -> None:
        """Take over a checkpoint's weights and record, and keep the arguments that the model was built with.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is not a checkpoint, holds more than plain data, or does not fit the model.
        """
        content = read_plain(checkpoint_path, self.checkpoint_safe_globals())
        check_checkpoint(checkpoint_path, content)
        # These are for runs, whatever the checkpoint's run had.
        self.given |= {"evaluator", "visualizer"}
        self.on_load_checkpoint(content)
        self.load_state_dict(content["state_dict"])


def _below(state: dict[str, Any], name: str) -> Iterator[str]:
    """The keys of a component's state."""
    return (key for key in state if key.startswith(f"{name}."))
