# SPDX-License-Identifier: Apache-2.0
"""OpenVINO exports, run with the number of asynchronous requests that OpenVINO recommends."""

from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import cv2
import numpy as np

from .devices import is_cpu
from .inferencer import Inferencer, Precision, Prediction, check_outputs, to_prediction

__all__ = ["OpenVINOInferencer"]

_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVINOInferencer(Inferencer):
    """An OpenVINO export.

    It computes in float32 unless ``precision`` says otherwise. OpenVINO's own default is bfloat16 if the processor
    supports it and float16 on a GPU, which changes labels near the threshold. Bytes are converted to floats within the
    graph.

    Args:
        path: The ``.xml`` file, with its ``.bin`` next to it.
        threads: Number of threads of the model; all cores by default.
        mode: ``"throughput"`` for most images a second, ``"latency"`` for the shortest time per image.
        precision: Type of floating-point layers; a processor without it computes in float32. An NPU computes in
            float16 only.
        device: A device of OpenVINO's, in lower or upper case, such as ``"cpu"``, ``"GPU"``, ``"NPU"`` or ``"AUTO"``.

    Raises:
        ValueError: If OpenVINO cannot read it, it has no scores or labels, or the device cannot run it in this
            precision.
    """

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        mode: Literal["throughput", "latency"] = "throughput",
        precision: Precision = "float32",
        device: str = "cpu",
    ) -> None:
        import openvino as ov  # part of the extra `openvino`

        if device.upper().startswith("NPU") and precision != "float16":
            msg = f"precision must be 'float16' for device {device!r}, which has no other, got {precision!r}."
            raise ValueError(msg)
        core = ov.Core()
        try:
            model = core.read_model(path)
        except (RuntimeError, ValueError) as error:
            msg = f"model {str(path)!r} cannot be read by OpenVINO: {error}"
            raise ValueError(msg) from error
        given = {name for output in model.outputs for name in output.names}
        check_outputs(path, given)
        sides = [side.get_length() for side in list(model.input(0).partial_shape)[-2:] if side.is_static]
        if len(sides) == 2:
            self.image_size = (sides[0], sides[1])
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8)
        steps.input().preprocess().convert_element_type(ov.Type.f32).scale(255.0)
        hints = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": mode.upper()}
        if threads is not None and is_cpu(device):
            hints["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            compiled = core.compile_model(steps.build(), device.upper(), hints)
        except RuntimeError as error:
            available = ", ".join(core.available_devices)
            msg = f"device {device!r} cannot run {path.name}; OpenVINO finds {available} ({_first_line(error)})."
            raise ValueError(msg) from error
        # OpenVINO imports numpy at the first array; two threads that do so at once cause a deadlock.
        ov.Tensor(np.zeros(1, np.uint8))
        self._names = [output.get_any_name() for output in compiled.outputs]
        self.parallel = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        # Not OpenVINO's AsyncInferQueue: a failed request there never calls back, and blocks all others.
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.parallel):
            self._idle.put(compiled.create_infer_request())

    def predict(self, image: np.ndarray) -> Prediction:
        """Predict an image, in parallel with other threads."""
        batch = np.empty((1, image.shape[2], *image.shape[:2]), np.uint8)
        # OpenVINO would need a quarter of its time for this, at 1,024 pixels.
        cv2.split(np.ascontiguousarray(image), list(batch[0]))
        request = self._idle.get()
        try:
            request.start_async(batch, share_inputs=True)
            request.wait()
            # Copied before the request is used again.
            outputs = {name: request.get_output_tensor(index).data.copy() for index, name in enumerate(self._names)}
            return to_prediction(outputs, request.latency)
        finally:
            self._idle.put(request)


def _first_line(error: Exception) -> str:
    """What an error of OpenVINO's says, without the places in its source that it begins with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(("Exception from", "Check '"))), type(error).__name__)
