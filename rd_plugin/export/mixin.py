# SPDX-License-Identifier: Apache-2.0
"""Export to torch, ONNX and OpenVINO: written atomically, with the record next to the export."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib import TaskType
from anomalib.data import AnomalibDataModule
from anomalib.deploy import CompressionType
from anomalib.pre_processing import PreProcessor
from lightning.pytorch.trainer.states import TrainerFn
from torchmetrics import Metric

from rd_plugin.data.check import MAX_PIXELS, OnBadData, act_on, check_datamodule, datasets, set_up
from rd_plugin.data.one_part import images_of_part
from rd_plugin.data.part_names import chosen_part
from rd_plugin.provenance import (
    Provenance,
    RecordedModule,
    hash_export,
    installed_versions,
    now,
    record_file,
    resizing,
    write_record,
)
from rd_plugin.provenance.module import score_threshold
from rd_plugin.storage import atomic_export, check_folder, state_size

from .graph import decide_branches
from .pre_processor import ExactPreProcessor
from .quantization import quantize, quantize_with_control

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["ExportedModule"]

logger = logging.getLogger(__name__)

# The lowest opset of torch's exporter; anomalib asks for an older one, and torch logs a failed conversion.
_ONNX_OPSET = 18
_CALIBRATED = {CompressionType.INT8_PTQ, CompressionType.INT8_ACQ}


class ExportedModule(RecordedModule):
    """A recorded module whose exports are written atomically, each with its record.

    Its arguments are those of :class:`~rd_plugin.provenance.RecordedModule`.

    Attributes:
        on_bad_data: What to do about images that would distort a calibration, as in
            :class:`~rd_plugin.callbacks.DataCheck`.
        max_pixels: Maximum number of pixels in such an image.
        exported_part: Of a model for several parts, the one that is exported; ``None`` for all of them. Each is
            written into a folder of its name, as an ordinary export for one part.
    """

    on_bad_data: OnBadData = "error"
    max_pixels: int = MAX_PIXELS
    exported_part: str | None = None
    _on_the_way_to_openvino = False
    # Within :meth:`as_part`, the part whose own statistics the network has, and the names of all parts.
    _with_own: tuple[str, tuple[str, ...]] | None = None

    def __init__(self, pre_processor: PreProcessor | bool, **components: Any) -> None:
        if type(pre_processor) is PreProcessor:
            pre_processor = ExactPreProcessor(pre_processor.transform)
        super().__init__(pre_processor=pre_processor, **components)

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Return anomalib's default pre-processor, made exact for exports."""
        return ExactPreProcessor(RecordedModule.configure_pre_processor(image_size).transform)

    def to_torch(self, export_root: Path | str, model_file_name: str = "model") -> Path:
        """Export to a PyTorch file; see anomalib's method for arguments and result.

        Raises:
            OSError: If the folder cannot be written to or has less space than the weights take.
        """
        return self._export(lambda folder: super(ExportedModule, self).to_torch(folder, model_file_name), export_root)

    def to_onnx(  # type: ignore[override]  # anomalib's method does not match Lightning's, either
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Path:
        """Export to ONNX; see anomalib's method for arguments and result.

        Raises:
            OSError: If the folder cannot be written to or has less space than the weights take.
        """
        size = self.resized_to
        if input_size is not None and size is not None and list(input_size) != size:
            logger.warning(
                "input_size: the export takes images of %d x %d pixels and resizes them to the model's %d x %d.",
                *input_size,
                *size,
            )
        kwargs.setdefault("opset_version", _ONNX_OPSET)
        # Otherwise torch prints each of its steps.
        kwargs.setdefault("verbose", False)

        def write(folder: Path | str) -> Path:
            # A post-processor of the package's keeps its thresholds where they can be changed.
            with getattr(self.post_processor, "as_constants", nullcontext)():
                return super(ExportedModule, self).to_onnx(folder, model_file_name, input_size, **kwargs)

        # anomalib's export to OpenVINO makes an ONNX file for its own use.
        if self._on_the_way_to_openvino:
            return write(export_root)
        return self._export(write, export_root, input_size=input_size)

    def to_openvino(
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        compression_type: CompressionType | None = None,
        datamodule: AnomalibDataModule | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Path:
        """Export to OpenVINO; see anomalib's method for arguments and result.

        Raises:
            OSError: If the folder cannot be written to or has less space than the weights take.
            ValueError: If images would distort the calibration of int8, and ``on_bad_data`` is ``"error"``, or the part
                has its own statistics, and there are no images of it.
        """
        calibration = datamodule if compression_type in _CALIBRATED else None
        if calibration is not None:
            self._check_calibration(calibration)

        def write(folder: Path | str) -> Path:
            images = datamodule
            if calibration is not None and self._with_own is not None:
                # In 8 bits its statistics are computed again: of its own images, as in the training.
                images = images_of_part(calibration, *self._with_own)
            self._on_the_way_to_openvino = True
            try:
                path = super(ExportedModule, self).to_openvino(
                    folder, model_file_name, input_size, compression_type, images, *args, **kwargs
                )
            finally:
                self._on_the_way_to_openvino = False
            decide_branches(path)
            return path

        return self._export(write, export_root, input_size=input_size, compression_type=compression_type)

    def _check_calibration(self, datamodule: AnomalibDataModule) -> None:
        """Check the images for the calibration of int8, as a training does."""
        if self.on_bad_data == "off":
            return
        set_up(datamodule)
        # As the trainer does: later calls keep the splits, without the images that are left out here.
        datamodule.setup(TrainerFn.FITTING)
        splits = ("train", "val")
        problems = check_datamodule(datamodule, splits=splits, max_pixels=self.max_pixels)
        act_on(problems, self.on_bad_data, datasets(datamodule, splits))

    def _export(self, write: Callable[[Path | str], Path], export_root: Path | str, **arguments: object) -> Path:
        """Run one of anomalib's exports in a hidden folder, add the record, and move both to their place.

        Args:
            write: Takes the folder to write into and returns the main file.
            export_root: The folder that the export belongs to.
            **arguments: Those of the export, for the record.
        """
        parts = getattr(self.post_processor, "parts", ())
        if self.exported_part is not None:
            parts = (chosen_part(self.exported_part, parts),)
        if not parts:
            return self._export_one(write, export_root, **arguments)
        for part in parts:
            with self.as_part(part):
                self._export_one(write, Path(export_root) / part, **arguments)
        return Path(export_root)

    @contextmanager
    def as_part(self, part: str) -> Iterator[None]:
        """Within this block, the model of several parts is that of one of them.

        Raises:
            ValueError: If there is no such part.
        """
        post_processor: Any = self.post_processor
        network: Any = self.model
        record = self.provenance
        self.post_processor = post_processor.of(part)
        self.provenance = (record or Provenance()).of_part(part)
        self._with_own = (part, tuple(network.parts)) if network.parts else None
        try:
            with network.as_part(part):
                yield
        finally:
            self.post_processor, self.provenance, self._with_own = post_processor, record, None

    def _export_one(self, write: Callable[[Path | str], Path], export_root: Path | str, **arguments: object) -> Path:
        """Run an export of a model of one part; see :meth:`_export`."""
        check_folder(export_root, state_size(self), "export_root")
        record = self.describe()
        # anomalib takes all arguments from the checkpoint, even if others are given.
        logger.info(
            "Exporting %s with backbone %s and layers %s, %s, trained for %d steps.",
            record.method,
            record.arguments["backbone"],
            ", ".join(record.arguments["layers"]),
            resizing(record.input_size),
            record.steps,
        )
        if record.input_size and not isinstance(self.pre_processor, ExactPreProcessor):
            logger.warning(
                "pre_processor is a %s: the export resizes with its export_transform, by anomalib's default without "
                "antialiasing, so scores may differ from the engine's. Derive it from rd_plugin.ExactPreProcessor.",
                type(self.pre_processor).__name__,
            )

        threshold = score_threshold(self.post_processor)
        if threshold is None:
            logger.warning(
                "The model has no threshold, since it was never validated or has no post-processor that sets one: "
                "rd-plugin inspect will refuse the export."
            )

        def write_with_record(folder: Path | str) -> Path:
            path = write(folder)
            export = {"date": now(), "versions": installed_versions(), "files": hash_export(path), **arguments}
            export["threshold"] = threshold
            write_record(record_file(path), {**record.plain(), "export": export})
            return path

        path = atomic_export(write_with_record, export_root)
        logger.info("Exported: %s", path)
        return path

    @staticmethod
    def _post_training_quantization_ov(model: "ov.Model", datamodule: AnomalibDataModule | None = None) -> "ov.Model":
        """Quantize an OpenVINO model, leaving the anomaly map in floating point; called by anomalib's export.

        Raises:
            ValueError: If there is no data module to calibrate with.
        """
        return quantize(model, _calibrating(datamodule, "INT8_PTQ"))

    @staticmethod
    def _accuracy_control_quantization_ov(
        model: "ov.Model",
        datamodule: AnomalibDataModule | None = None,
        metric: Metric | None = None,
        task: TaskType | None = None,
        max_drop: float = 0.01,
    ) -> "ov.Model":
        """Quantize an OpenVINO model as far as its accuracy on validation images allows; called by anomalib.

        Raises:
            ValueError: If there is no data module, ``max_drop`` is out of range or validation images are missing.
        """
        del task  # the metric defines what is measured
        return quantize_with_control(model, _calibrating(datamodule, "INT8_ACQ"), metric, max_drop)


def _calibrating(datamodule: AnomalibDataModule | None, compression: str) -> AnomalibDataModule:
    """The data module, which is required."""
    if datamodule is None:
        msg = f"compression_type {compression} needs calibration images: give --data, or datamodule in Python."
        raise ValueError(msg)
    return datamodule
