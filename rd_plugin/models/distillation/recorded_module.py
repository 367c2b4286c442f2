# SPDX-License-Identifier: Apache-2.0
"""A model that knows where it comes from, and says so in its checkpoints and exports."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from anomalib.deploy import CompressionType
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer

from rd_plugin.provenance import RECORD_KEY, Provenance, installed_versions, now, record_file, write_record
from rd_plugin.safe_loading import short_refusal

from .torch_model import DistillationModel

__all__ = ["RecordedModule"]

logger = logging.getLogger(__name__)

# Under this key anomalib keeps the pre-processor in a checkpoint.
_PRE_PROCESSOR = "anomalib_pre_processor_config"


def _resizing(size: list[int] | None) -> str:
    """What a pre-processor does to an image's size, in words."""
    return "no resizing" if size is None else f"resizing to {size[0]} x {size[1]} pixels"


class RecordedModule(AnomalibModule):
    """anomalib's module with a record of its training, which it checks checkpoints and exports by.

    Args:
        pre_processor: anomalib's pre-processor, or whether to use the default.
        post_processor: anomalib's post-processor, or whether to use the default.
        evaluator: anomalib's evaluator, or whether to use the default.
        visualizer: anomalib's visualizer, or whether to use the default.

    Attributes:
        model: The torch module.
        provenance: Record of the training that the weights come from; ``None`` if neither a training nor a checkpoint
            has changed them.
    """

    model: DistillationModel

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
        except Exception:  # a user's own may lack what anomalib looks at, or refuse its single pixel
            return None

    def describe(self) -> Provenance:
        """Return the record of the model as it is now."""
        known = self.provenance or Provenance()
        return replace(
            known,
            method=self.name,
            arguments={**self.hparams, "layers": list(self.model.teacher.pyramid.distilled)},
            input_size=self.resized_to,
            # A trainer that only tests has taken no step.
            steps=self.global_step or known.steps,
            versions=known.versions or installed_versions(),
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the record to a checkpoint."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[RECORD_KEY] = replace(self.describe(), date=now()).plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint fits the model, and take over its record and the configuration of its components.

        A checkpoint without a record is one of an earlier version or converted by hand; it is taken as it is.

        Raises:
            ValueError: If the checkpoint is of another method, backbone, layers, bottleneck or injection, or belongs to
                a pre-processor that it does not hold and the model does not have.
        """
        record = Provenance.of(checkpoint) or Provenance()
        record.check_fits(self.describe(), {kind.__name__ for kind in type(self).__mro__})
        had = self.resized_to
        self._keep_unsaved_pre_processor(checkpoint, record)
        super().on_load_checkpoint(checkpoint)
        if self.pre_processor is None and record.input_size:
            logger.warning(
                "The checkpoint's pre-processor (%s) is left out: images must be resized and normalized beforehand.",
                _resizing(record.input_size),
            )
        elif self._own_pre_processor and self.resized_to != had:
            logger.warning(
                "The checkpoint's pre-processor (%s) replaces the model's (%s): the thresholds belong to it.",
                _resizing(self.resized_to),
                _resizing(had),
            )
        self.provenance = record

    def _keep_unsaved_pre_processor(self, checkpoint: dict[str, Any], record: Provenance) -> None:
        """Keep the model's pre-processor where anomalib could not save the checkpoint's and would leave the model none.

        Raises:
            ValueError: If the model's is not the user's own, or resizes to another size.
        """
        saved = bool(checkpoint.get(_PRE_PROCESSOR, {}).get("transform"))
        if saved or record.input_size is None or self.pre_processor is None:
            return
        if not self._own_pre_processor or self.resized_to != record.input_size:
            msg = (
                f"The checkpoint does not fit the model: anomalib could not save its pre-processor "
                f"({_resizing(record.input_size)}), and the model has another ({_resizing(self.resized_to)}). Give the "
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
            *args: Those of anomalib's method.
            **kwargs: Those, and arguments of the model in place of the checkpoint's.

        Raises:
            ValueError: If the checkpoint holds more than plain data, or does not fit the arguments given.
        """
        with short_refusal(checkpoint_path):
            return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def to_torch(self, export_root: Path | str, model_file_name: str = "model") -> Path:
        """Export to a PyTorch file with the record beside it; see anomalib's method for arguments and result."""
        self._announce_export()
        return self._record_export(super().to_torch(export_root, model_file_name))

    def to_onnx(  # type: ignore[override]  # anomalib's has nothing in common with Lightning's, either
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Path:
        """Export to ONNX with the record beside it; see anomalib's method for arguments and result."""
        self._announce_export()
        size = self.resized_to
        if input_size is not None and size is not None and list(input_size) != size:
            logger.warning(
                "input_size: the export takes images of %d x %d pixels and resizes them to the model's %d x %d.",
                *input_size,
                *size,
            )
        path = super().to_onnx(export_root, model_file_name, input_size, **kwargs)
        return self._record_export(path, input_size=input_size)

    def to_openvino(
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        compression_type: CompressionType | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Path:
        """Export to OpenVINO with the record beside it; see anomalib's method for arguments and result."""
        path = super().to_openvino(export_root, model_file_name, input_size, compression_type, *args, **kwargs)
        return self._record_export(path, input_size=input_size, compression_type=compression_type)

    def _announce_export(self) -> None:
        """Say what is exported, since anomalib takes all arguments from the checkpoint, whichever are given."""
        record = self.describe()
        logger.info(
            "Exporting %s with backbone %s and layers %s, %s, trained for %d steps.",
            record.method,
            record.arguments["backbone"],
            ", ".join(record.arguments["layers"]),
            _resizing(record.input_size),
            record.steps,
        )

    def _record_export(self, path: Path, **arguments: object) -> Path:
        """Write the record beside an export, with the arguments of the export."""
        export = {"date": now(), "versions": installed_versions(), **arguments}
        write_record(record_file(path), {**self.describe().plain(), "export": export})
        return path
