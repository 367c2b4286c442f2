# SPDX-License-Identifier: Apache-2.0
"""The common interface of all runtimes of a trained model."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from rd_plugin.data.part_names import chosen_part
from rd_plugin.drift import Reference

__all__ = ["Inferencer", "Precision", "Prediction"]

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Prediction:
    """A model's outputs for one image.

    Args:
        anomalous: The model's label.
        score: Anomaly score.
        anomaly_map: Anomaly map of shape ``(h, w)``, in the model's own size; ``None`` if the model has no such output.
        mask: Where the map exceeds the model's pixel threshold, of shape ``(h, w)``; ``None`` likewise.
        milliseconds: How long it took.
        registration: Of a model with an alignment: 1 if the image was registered or 0, correlation, and shift to the
            right and down as shares of width and height; ``None`` for others.
    """

    anomalous: bool
    score: float
    anomaly_map: np.ndarray | None
    mask: np.ndarray | None
    milliseconds: float
    registration: tuple[float, ...] | None = None


class Inferencer(ABC):
    """A trained model.

    Attributes:
        image_size: Height and width of the only images that it takes, in pixels; ``None`` if it takes any.
        record: Where the model comes from, as plain data; empty if it has no record.
        record_id: Name of the model by its record, or by its file if it has none.
        reference: Normal images that others are compared with; ``None`` if the record has none.
        threshold: It calls images with a higher score anomalous.
        parallel: How many images it works on at a time.
        parts: Of a model for several parts, their names; it predicts nothing until one is chosen by :meth:`of_part`.
    """

    image_size: tuple[int, int] | None = None
    record: Mapping[str, Any] = MappingProxyType({})
    record_id: str = ""
    reference: Reference | None = None
    threshold: float = 0.5
    parallel: int = 1
    parts: tuple[str, ...] = ()

    @abstractmethod
    def predict(self, image: np.ndarray) -> Prediction:
        """Predict an image; may be called from several threads.

        Args:
            image: 8-bit RGB pixels of shape ``(H, W, 3)``.

        Raises:
            RuntimeError: If what runs the model fails.
        """

    def of_part(self, part: str | None) -> "Inferencer":
        """Return the model for one of its parts; that of an export for this part is the export itself.

        Raises:
            ValueError: If there is no such part; the message lists the existing ones.
        """
        names = self.parts or tuple(filter(None, [self.record.get("part")]))
        chosen_part(part, names)
        return self

    def recognize(self, image: np.ndarray) -> tuple[str, ...]:
        """Return the parts that an image may show, the nearest first: one, unless others are about as near.

        Args:
            image: 8-bit RGB pixels of shape ``(H, W, 3)``.

        Returns:
            Names of parts; empty for a model that cannot recognize them: an export, a model of one part, or one that
            was trained by an earlier version or with a teacher that is trained.
        """
        del image
        return ()

    def unclip(self) -> None:
        """Give scores that are not clipped at 1, if the model can; only models of version 0.2 clip them."""
        return


def check_outputs(path: Path, outputs: Collection[str], threshold: float | None = 0.5) -> None:
    """Check that a model gives verdicts.

    Args:
        path: Its file.
        outputs: Names of its outputs.
        threshold: The threshold of its scores; ``None`` if it was never set.

    Raises:
        ValueError: If it has no scores, labels or threshold.
    """
    if missing := {"pred_label", "pred_score"} - set(outputs):
        msg = (
            f"model {str(path)!r} has no {' and no '.join(sorted(missing))}; train it with a post-processor that sets "
            "a threshold, and export it with that."
        )
        raise ValueError(msg)
    if threshold is None:
        msg = (
            f"model {str(path)!r} has no threshold: it was never validated. Train it with validation images, or set a "
            "threshold on good images: rd-plugin threshold CHECKPOINT --good FOLDER."
        )
        raise ValueError(msg)


def to_prediction(outputs: dict[str, np.ndarray], milliseconds: float) -> Prediction:
    """Make a prediction of a model's outputs for one image, by anomalib's names.

    Args:
        outputs: ``"pred_score"`` and ``"pred_label"`` of one element each, and where the model gives them
            ``"anomaly_map"`` and ``"pred_mask"``, whose last two dimensions are height and width, and
            ``"registration"`` of four elements.
        milliseconds: How long it took.
    """
    names = [name for name in ("anomaly_map", "pred_mask") if name in outputs]
    planes = {name: outputs[name].reshape(outputs[name].shape[-2:]) for name in names}
    mask = planes.get("pred_mask")
    registration = outputs.get("registration")
    return Prediction(
        anomalous=bool(outputs["pred_label"].item()),
        score=float(outputs["pred_score"].item()),
        anomaly_map=planes.get("anomaly_map"),
        mask=None if mask is None else mask.astype(bool),
        milliseconds=milliseconds,
        registration=None if registration is None else tuple(registration.ravel().tolist()),
    )
