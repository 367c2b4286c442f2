# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and torch exports, run by torch."""

import os
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from rd_plugin.data.part_names import chosen_part
from rd_plugin.data.part_recognition import Recognizer
from rd_plugin.drift import Reference
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.recorded import read_recorded
from rd_plugin.provenance import is_untrained
from rd_plugin.provenance.module import score_threshold

from .inferencer import Inferencer, Prediction, check_outputs, to_prediction

__all__ = ["CheckpointInferencer", "TorchExportInferencer"]

# anomalib's own environment variable for the same purpose.
_TRUST = "TRUST_REMOTE_CODE"
_OUTPUTS = ("pred_score", "pred_label", "anomaly_map", "pred_mask", "registration")


class _TorchInferencer(Inferencer):
    """An anomalib module.

    Args:
        path: Its file.
        model: Takes images of shape ``(N, 3, H, W)`` in [0, 1].
        threads: Number of threads of the model; all cores by default.
        device: ``"cpu"`` or ``"cuda"``, which may have a number, as in ``"cuda:1"``.

    Attributes:
        module: The module.

    Raises:
        ValueError: If it has no labels or threshold, or there is no such device.
    """

    def __init__(self, path: Path, model: nn.Module, threads: int | None, device: str) -> None:
        self._device = _device(device)
        self.module = model.eval().to(self._device)
        self.parts = tuple(getattr(getattr(model, "post_processor", None), "parts", ()))
        if hasattr(model, "post_processor") and not self.parts:
            post_processor = cast("nn.Module | None", model.post_processor)
            labels = post_processor is not None and getattr(post_processor, "enable_thresholding", True)
            threshold = score_threshold(post_processor)
            check_outputs(path, ["pred_score", *(["pred_label"] if labels else [])], threshold)
            self.threshold = cast("float", threshold)
        # Besides images.
        self.call_with: dict[str, str] = {}
        # One thread, since torch keeps a pool of threads for each thread that calls it.
        self._executor = ThreadPoolExecutor(1, initializer=_begin, initargs=(threads,))

    def unclip(self) -> None:
        """Give scores that are not clipped at 1."""
        post_processor: Any = getattr(self.module, "post_processor", None)
        if post_processor is not None:
            post_processor.clip_scores = False

    def predict(self, image: np.ndarray) -> Prediction:
        """Predict an image; threads take turns, since one image keeps all cores busy."""
        return self._executor.submit(self._predict, image).result()

    def _batch(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image.transpose(2, 0, 1).copy())[None].to(self._device).float() / 255

    def _predict(self, image: np.ndarray) -> Prediction:
        start = perf_counter()
        with torch.inference_mode():
            found = self.module(self._batch(image), **self.call_with)
        tensors = {name: getattr(found, name, None) for name in _OUTPUTS}
        outputs = {name: tensor.cpu().numpy() for name, tensor in tensors.items() if tensor is not None}
        return to_prediction(outputs, 1e3 * (perf_counter() - start))


def _begin(threads: int | None) -> None:
    """Prepare the thread that calls torch."""
    if threads is not None:
        torch.set_num_threads(threads)


def _device(name: str) -> torch.device:
    """The device of a name, if it exists."""
    known = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name.lower() not in {*known, *(["cuda"] if len(known) > 1 else [])}:
        msg = f"device must be one of {', '.join(known)} for a checkpoint or torch export, got {name!r}."
        raise ValueError(msg)
    if name.lower() != "cpu":
        # TF32 would round to ten bits.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name.lower())


class CheckpointInferencer(_TorchInferencer):
    """A checkpoint of one of the package's models.

    Args:
        path: The ``.ckpt`` file.
        threads: Number of threads of the model; all cores by default.
        device: ``"cpu"`` or ``"cuda"``, which may have a number, as in ``"cuda:1"``.

    Raises:
        ValueError: If it is not such a checkpoint, or has never been trained.
    """

    def __init__(self, path: Path, threads: int | None = None, device: str = "cpu") -> None:
        try:
            found = read_recorded(path)
        except ValueError as error:
            msg = f"model {error}"
            raise ValueError(msg) from error
        if found is None:
            msg = f"model {str(path)!r} is not a checkpoint of one of the package's models."
            raise ValueError(msg)
        if is_untrained(found.plain):
            msg = f"model {str(path)!r} has not been trained (0 steps in its record)."
            raise ValueError(msg)
        model = cast("Distillation", found.method.load_from_checkpoint(path, map_location="cpu", visualizer=False))
        super().__init__(path, model, threads, device)
        # Older records do not say how the pre-processor crops.
        self.record, self.record_id = {**found.record.plain(), "crop": model.describe().crop}, found.record.id
        self.reference = Reference.of(found.record.reference)
        self._path, self._recorded = path, found.record
        self._recognizer = Recognizer.of(found.record.parts)

    def recognize(self, image: np.ndarray) -> tuple[str, ...]:
        """Return the parts that an image may show, the nearest first; see :meth:`Inferencer.recognize`."""
        if self._recognizer is None:
            return super().recognize(image)
        return self._recognizer.candidates(self._executor.submit(self._pooled, image).result())

    def _pooled(self, image: np.ndarray) -> np.ndarray:
        module = cast("Distillation", self.module)
        with torch.inference_mode():
            batch = self._batch(image)
            inputs = batch if module.pre_processor is None else module.pre_processor(batch)
            return module.model.pooled_features(inputs)[0].double().cpu().numpy()

    def of_part(self, part: str | None) -> Inferencer:
        """Return the model for one of its parts, which shares networks and thread with the others.

        Raises:
            ValueError: If there is no such part, or it has no threshold.
        """
        if not self.parts:
            return super().of_part(part)
        name, chosen = chosen_part(part, self.parts), copy(self)
        threshold = score_threshold(cast("Any", self.module.post_processor).of(name))
        check_outputs(self._path, ["pred_score", "pred_label"], threshold)
        record = self._recorded.of_part(name)
        chosen.parts, chosen.call_with, chosen.threshold = (), {"part": name}, cast("float", threshold)
        chosen.record, chosen.record_id = {**record.plain(), "crop": self.record["crop"]}, record.id
        chosen.reference = Reference.of(record.reference)
        return chosen


class TorchExportInferencer(_TorchInferencer):
    """A torch export, which is a pickle and may run any code when it is loaded.

    Args:
        path: The ``.pt`` file.
        threads: Number of threads of the model; all cores by default.
        device: ``"cpu"`` or ``"cuda"``, which may have a number, as in ``"cuda:1"``.

    Raises:
        ValueError: If it is not trusted, or is not an export of a model.
    """

    def __init__(self, path: Path, threads: int | None = None, device: str = "cpu") -> None:
        if os.environ.get(_TRUST, "0").lower() not in {"1", "true"}:
            msg = (
                f"model {str(path)!r} can run code when it is loaded, like every torch export; give its checkpoint "
                f"(.ckpt) or another export, or set {_TRUST}=1 if you trust its source."
            )
            raise ValueError(msg)
        try:
            model = torch.load(path, map_location="cpu", weights_only=False)["model"]
        except Exception as error:  # the unpickler passes on any error
            msg = f"model {str(path)!r} cannot be read as a torch export ({type(error).__name__}: {error})."
            raise ValueError(msg) from error
        super().__init__(path, model, threads, device)
