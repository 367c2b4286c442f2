# SPDX-License-Identifier: Apache-2.0
"""Trained models that judge image files: an OpenVINO export or a checkpoint."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from anomalib.data.utils import read_image
from anomalib.deploy import OpenVINOInferencer

import rd_plugin
from rd_plugin.data.check import inspect_file
from rd_plugin.data.check.rules import check_image
from rd_plugin.models.distillation import Distillation
from rd_plugin.provenance import RECORD_KEY, Provenance, record_file
from rd_plugin.storage import read_plain

__all__ = ["Judge", "load_judge"]

# OpenVINO computes in bfloat16 where a processor has instructions for it, and verdicts near the threshold differ.
_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


class Judge(ABC):
    """A trained model.

    Attributes:
        image_size: Height and width of the only images that it takes, in pixels; ``None`` if it takes any.
    """

    image_size: tuple[int, int] | None = None

    @abstractmethod
    def judge(self, path: str) -> tuple[bool, float]:
        """Return whether an image is anomalous, and its score."""

    def refusal(self, path: str) -> str | None:
        """Return why an image cannot be judged, or ``None`` if it can.

        Args:
            path: The file.
        """
        facts = inspect_file(path)
        for problem in check_image(path, facts):
            if problem.severity == "error":
                return problem.message
        if self.image_size is not None and self.image_size != (facts.height, facts.width):
            height, width = self.image_size
            return (
                f"the image has {facts.width} x {facts.height} pixels, the model takes {width} x {height} only; resize "
                "it, or export the model without --input_size."
            )
        return None


class _UncachedInferencer(OpenVINOInferencer):
    """anomalib's inferencer, which would leave a cache of 20 MB in the current folder."""

    def load_model(self, path: str | Path) -> tuple[Any, Any, Any]:  # type: ignore[override]  # files only
        """Return input, output and the compiled model."""
        import openvino  # not needed for anything else here

        model = openvino.Core().compile_model(path, self.device, self.config)
        return model.input(0), model.output(0), model


class _OpenVINOJudge(Judge):
    """An OpenVINO export, computed in float32."""

    def __init__(self, path: Path) -> None:
        _check_trained(path)
        try:
            self._inferencer = _UncachedInferencer(path=path, device="CPU", config=_FLOAT32)
        except (RuntimeError, ValueError) as error:
            msg = f"model {str(path)!r} cannot be read by OpenVINO: {error}"
            raise ValueError(msg) from error
        model = self._inferencer.model
        given = {name for output in model.outputs for name in output.names}
        if missing := {"pred_label", "pred_score"} - given:
            msg = f"model {str(path)!r} gives no {' and no '.join(sorted(missing))}; export it with a post-processor."
            raise ValueError(msg)
        sides = [side.get_length() for side in list(model.input(0).partial_shape)[-2:] if side.is_static]
        if len(sides) == 2:
            self.image_size = (sides[0], sides[1])

    def judge(self, path: str) -> tuple[bool, float]:
        prediction = self._inferencer.predict(path)
        return bool(np.asarray(prediction.pred_label).item()), float(np.asarray(prediction.pred_score).item())


class _CheckpointJudge(Judge):
    """A checkpoint of one of the package's models, on the CPU."""

    def __init__(self, path: Path) -> None:
        record = Provenance.of(_content(path))
        methods = {kind.__name__: kind for kind in vars(rd_plugin).values() if isinstance(kind, type)}
        method = methods.get(record.method) if record is not None else None
        if method is None or not issubclass(method, Distillation):
            msg = f"model {str(path)!r} is no checkpoint of one of the package's models."
            raise ValueError(msg)
        self._model = method.load_from_checkpoint(path, map_location="cpu").eval()

    def judge(self, path: str) -> tuple[bool, float]:
        image = cast("torch.Tensor", read_image(path, as_tensor=True))
        with torch.inference_mode():
            prediction = self._model(image[None])
        return bool(prediction.pred_label.item()), float(prediction.pred_score.item())


def _content(path: Path) -> dict:
    """What a checkpoint holds."""
    try:
        content = read_plain(path, Distillation.checkpoint_safe_globals())
    except ValueError as error:
        msg = f"model {error}"
        raise ValueError(msg) from error
    return content if isinstance(content, dict) else {}


def _check_trained(path: Path) -> None:
    """Refuse an export whose record says that it was never trained.

    Raises:
        ValueError: If it says so.
    """
    try:
        record = Provenance.of({RECORD_KEY: json.loads(record_file(path).read_text())})
    except (OSError, TypeError, ValueError, RecursionError):
        return  # none of ours, or none at all
    # A converted checkpoint's steps are not known, but it has a date.
    if record is not None and not record.steps and record.date is None:
        msg = f"model {str(path)!r} has not been trained (0 steps in {record_file(path).name}); export a checkpoint."
        raise ValueError(msg)


def load_judge(path: Path) -> Judge:
    """Load a trained model.

    Args:
        path: An OpenVINO model, ``.xml``, or a checkpoint, ``.ckpt``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, gives no scores or labels, or has not been trained.
    """
    if not path.is_file():
        msg = f"model {str(path)!r} is not a file."
        raise FileNotFoundError(msg)
    if path.suffix not in {".xml", ".ckpt"}:
        msg = f"model {str(path)!r} must be an OpenVINO model (.xml) or a checkpoint (.ckpt)."
        raise ValueError(msg)
    return _OpenVINOJudge(path) if path.suffix == ".xml" else _CheckpointJudge(path)
