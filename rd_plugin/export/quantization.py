# SPDX-License-Identifier: Apache-2.0
"""Int8 quantization for OpenVINO that keeps the anomaly map in floating point."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from anomalib.data import AnomalibDataModule, AnomalibDataset, ImageBatch
from anomalib.metrics import AUROC
from torchmetrics import Metric
from torchvision.transforms.v2.functional import resize

from rd_plugin.components import held_out, perturbed_places

from .latency import latencies
from .networks import is_transformer, other_operations
from .statistics import compute_statistics, distances

if TYPE_CHECKING:
    import nncf
    import openvino as ov

__all__ = ["quantize", "quantize_with_control"]

# Operations of the networks that stay in floating point. A norm by each image's own statistics magnifies what 8 bits
# round, and cannot be folded into a convolution.
_ARITHMETIC = ["Divide", "Multiply", "Power", "ReduceL2", "ReduceSum", "Sqrt", "Subtract"]
_NORMS = ["MVN"]
# A vision transformer's layers are products.
_PRODUCT = "MatMul"

_CALIBRATION_IMAGES = 300


def _images(model: "ov.Model", dataset: AnomalibDataset) -> Callable[[int], np.ndarray]:
    """Return a function that reads an image of a data set as the model's input, of shape ``(1, 3, H, W)``."""
    shape = model.input(0).partial_shape
    size = [side.get_length() for side in list(shape)[-2:] if side.is_static]

    def read(index: int) -> np.ndarray:
        image = dataset[index].image
        # An export with a fixed input size does not resize images.
        return np.asarray(resize(image, size) if len(size) == 2 else image)[None]

    return read


def _check_gain(model: "ov.Model", quantized: "ov.Model", image: np.ndarray) -> None:
    """Check that a vision transformer is faster in int8 on this processor: on some it is slower."""
    if not is_transformer(model):
        return
    before, after = latencies([model, quantized], image)
    if after >= before:
        msg = (
            f"compression_type: on this processor an image takes this vision transformer {after:.0f} ms in int8 and "
            f"{before:.0f} ms in float32. Export it as FP16, or in int8 on the processor that will run it."
        )
        raise ValueError(msg)


def _options(model: "ov.Model", datamodule: AnomalibDataModule) -> dict[str, Any]:
    """Options of the quantization, with the images of a data module for the calibration; the module must be set up."""
    import nncf  # part of the extra `openvino`

    images = datamodule.train_data
    transformer = is_transformer(model)
    chosen = np.linspace(0, len(images) - 1, num=min(_CALIBRATION_IMAGES, len(images)), dtype=int)
    return {
        "calibration_dataset": nncf.Dataset(chosen.tolist(), _images(model, images)),
        "preset": nncf.QuantizationPreset.MIXED,
        "subset_size": len(chosen),
        "fast_bias_correction": False,
        # Its activations differ much from channel to channel, which nncf equalizes for such models.
        **({"model_type": nncf.ModelType.TRANSFORMER} if transformer else {}),
        "ignored_scope": nncf.IgnoredScope(
            names=other_operations(model),
            types=[*_ARITHMETIC, *_NORMS, *([] if transformer else [_PRODUCT])],
            validate=False,
        ),
    }


def _ranges() -> "nncf.AdvancedQuantizationParameters":
    """Ranges of activations from the extremes of all images.

    nncf's default is the mean of each image's extremes. Activations of defects exceed that range, and clipped ones look
    like those of a good part.
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.AdvancedQuantizationParameters(activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)


def quantize(model: "ov.Model", datamodule: AnomalibDataModule) -> "ov.Model":
    """Quantize an exported model after training, calibrated on training images.

    Args:
        model: Model as read or converted by OpenVINO.
        datamodule: Data module whose training images, up to 300 spread evenly over the set, calibrate the ranges. For a
            model with a Mahalanobis distance, the statistics are fitted to all of them again.

    Returns:
        The quantized model.

    Raises:
        ValueError: If the model is a vision transformer, and not faster in int8 on this processor.
    """
    import nncf

    datamodule.setup("fit")
    quantized = nncf.quantize(model, **_options(model, datamodule), advanced_parameters=_ranges())
    images = datamodule.train_data
    _check_gain(model, quantized, _images(model, images)(0))
    places = range(len(images))
    compute_statistics(
        quantized, map(_images(quantized, images), places), held_out(places), perturbed_places(len(images))
    )
    return quantized


def quantize_with_control(
    model: "ov.Model", datamodule: AnomalibDataModule, metric: Metric | None, max_drop: float
) -> "ov.Model":
    """Quantize like :func:`quantize`, and return layers to floating point until accuracy is kept.

    anomalib's own function calibrates on validation images and measures on test images, so test images choose the
    layers.

    Args:
        model: Model as read or converted by OpenVINO.
        datamodule: Data module whose training images calibrate the ranges and whose validation images measure accuracy.
        metric: anomalib's metric of accuracy; by default image AUROC, which does not depend on a threshold.
        max_drop: Largest accepted loss of accuracy, in [0, 1].

    Returns:
        The quantized model.

    Raises:
        ValueError: If ``max_drop`` is out of range, the validation set lacks normal or defective images, or the model
            is a vision transformer, and not faster in int8 on this processor.
    """
    import nncf
    import openvino as ov

    if not 0 <= max_drop <= 1:
        msg = f"max_drop must be in [0, 1], got {max_drop}."
        raise ValueError(msg)
    datamodule.setup("fit")
    images: AnomalibDataset | None = getattr(datamodule, "val_data", None)
    labels = set() if images is None else set(images.samples["label_index"].astype(bool))
    if images is None or labels != {False, True}:
        msg = (
            "INT8_ACQ measures accuracy on validation images, but the data has no "
            f"{'normal' if True in labels else 'defective'} ones for validation: set val_split_mode, or use INT8_PTQ."
        )
        raise ValueError(msg)
    metric = AUROC(fields=["pred_score", "gt_label"]) if metric is None else metric
    read = _images(model, images)

    def measure(compiled: "ov.CompiledModel", indices: Iterable[int]) -> float:
        metric.reset()
        for index in indices:
            item = images[index]
            known = {"image": item.image, "gt_label": item.gt_label, "gt_mask": item.gt_mask}
            batch: dict[str, Any] = {name: value[None] for name, value in known.items() if value is not None}
            outputs = {output.get_any_name(): value for output, value in compiled(read(index)).items()}
            # anomalib's batches have no place for it.
            outputs.pop("registration", None)
            batch |= {name: torch.from_numpy(value).squeeze(1) for name, value in outputs.items()}
            metric.update(ImageBatch(**batch))
        return float(metric.compute())

    if distances(model):
        # Until its statistics are fitted again, such a model loses more accuracy than necessary, and layers would be
        # returned to floating point without need.
        quantized, all_images = quantize(model, datamodule), range(len(images))
        kept, before = (measure(ov.compile_model(version, "CPU"), all_images) for version in (quantized, model))
        if before - kept <= max_drop:
            return quantized
    quantized = nncf.quantize_with_accuracy_control(
        model,
        validation_dataset=nncf.Dataset(list(range(len(images)))),
        validation_fn=measure,
        max_drop=max_drop,
        **_options(model, datamodule),
        advanced_quantization_parameters=_ranges(),
    )
    _check_gain(model, quantized, read(0))
    return quantized
