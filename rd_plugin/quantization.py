# SPDX-License-Identifier: Apache-2.0
"""Int8 for OpenVINO without loss in the anomaly map."""

from typing import TYPE_CHECKING

import numpy as np
from anomalib.data import AnomalibDataModule
from torchvision.transforms.v2.functional import resize

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["quantize"]

# The anomaly map is a small difference, one minus a cosine near one. In 8 bits it drowns, so the networks are quantized
# and what follows them is not; in the exported graph it consists of these operations.
_MAP_OPERATIONS = ["Divide", "MatMul", "Multiply", "Power", "ReduceL2", "ReduceSum", "Sqrt", "Subtract"]
# A quantizer would bring NaN, infinity and whatever is out of range into range before it is compared.
_COMPARISONS = ["GreaterEqual", "LessEqual"]

_CALIBRATION_IMAGES = 300


def quantize(model: "ov.Model", datamodule: AnomalibDataModule) -> "ov.Model":
    """Quantize an exported model after training, calibrated on training images.

    Args:
        model: Model as read or converted by OpenVINO.
        datamodule: Data module whose training images, up to 300 spread evenly over the set, calibrate the ranges.

    Returns:
        The quantized model.
    """
    import nncf  # part of the extra `openvino`

    datamodule.setup("fit")
    images = datamodule.train_data
    shape = model.input(0).partial_shape
    size = [side.get_length() for side in list(shape)[-2:] if side.is_static]

    def read(index: int) -> np.ndarray:
        image = images[index].image
        # An export of one size cannot resize images to it by itself.
        return np.asarray(resize(image, size) if len(size) == 2 else image)[None]

    chosen = np.linspace(0, len(images) - 1, num=min(_CALIBRATION_IMAGES, len(images)), dtype=int)
    return nncf.quantize(
        model,
        nncf.Dataset(chosen.tolist(), read),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(chosen),
        fast_bias_correction=False,
        ignored_scope=nncf.IgnoredScope(types=[*_MAP_OPERATIONS, *_COMPARISONS], validate=False),
    )
