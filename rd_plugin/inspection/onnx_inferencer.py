# SPDX-License-Identifier: Apache-2.0
"""ONNX exports, run by ONNX Runtime."""

from pathlib import Path
from threading import Lock
from time import perf_counter

import numpy as np

from .inferencer import Inferencer, Prediction, check_outputs, to_prediction

__all__ = ["ONNXInferencer"]

# TF32 would round to ten bits.
_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
}


class ONNXInferencer(Inferencer):
    """An ONNX export.

    Args:
        path: The ``.onnx`` file.
        threads: Number of threads of the model; all cores by default.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ImportError: If ONNX Runtime is not installed.
        ValueError: If the file cannot be read, the model has no scores or labels, or there is no such device.
    """

    def __init__(self, path: Path, threads: int | None = None, device: str = "cpu") -> None:
        try:
            import onnxruntime  # part of the extra `onnx`
        except ImportError as error:
            msg = f"model {str(path)!r} needs ONNX Runtime: pip install onnxruntime."
            raise ImportError(msg) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        provider = _PROVIDERS.get(device.lower())
        if provider is None or provider[0] not in onnxruntime.get_available_providers():
            known = [name for name, (kind, _) in _PROVIDERS.items() if kind in onnxruntime.get_available_providers()]
            choices = " or ".join(map(repr, known))
            msg = f"device must be {choices} for {path.name} with this ONNX Runtime, got {device!r}."
            raise ValueError(msg)
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[provider])
        except Exception as error:  # its error types share no other base class
            msg = f"model {str(path)!r} cannot be read by ONNX Runtime: {error}"
            raise ValueError(msg) from error
        # Without CUDA's libraries it falls back to the CPU, and says so only in its log.
        if provider[0] not in self._session.get_providers():
            msg = f"device {device!r} cannot be used by ONNX Runtime: its CUDA libraries do not load."
            raise ValueError(msg)
        self._names = [output.name for output in self._session.get_outputs()]
        check_outputs(path, self._names)
        (images,) = self._session.get_inputs()
        self._input = images.name
        height, width = images.shape[-2:]
        if isinstance(height, int) and isinstance(width, int):
            self.image_size = (height, width)
        self._lock = Lock()

    def predict(self, image: np.ndarray) -> Prediction:
        """Predict an image; threads take turns, since one image keeps all cores busy."""
        batch = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        with self._lock:
            start = perf_counter()
            outputs = self._session.run(None, {self._input: batch})
            milliseconds = 1e3 * (perf_counter() - start)
        return to_prediction(dict(zip(self._names, outputs, strict=True)), milliseconds)
