# SPDX-License-Identifier: Apache-2.0
"""A trained model that inspects image files and arrays."""

import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Event, Lock
from time import perf_counter
from typing import Any, Literal, get_args

import numpy as np

from rd_plugin.components import Region
from rd_plugin.data.check import MAX_PIXELS, allow_pixels, check_image, read_file
from rd_plugin.data.crop import on_whole_image
from rd_plugin.drift import DriftMonitor, image_statistics
from rd_plugin.results import AS_A_WHOLE, InspectionResult, Picture, RegionRules, find_regions

from .devices import compare_with_cpu, is_cpu
from .inferencer import Inferencer, Precision, Prediction
from .loading import load_inferencer
from .pipeline import in_order
from .source import Source
from .sources import find_images

__all__ = ["Inspector", "MultiFrame"]

MultiFrame = Literal["first", "refuse"]
Channels = Literal["RGB", "BGR"]


class Inspector:
    """A trained model that inspects image files and arrays.

    Args:
        model: An OpenVINO model (``.xml``), ONNX model (``.onnx``), torch export (``.pt``) or checkpoint (``.ckpt``);
            or the result of :func:`~rd_plugin.inspection.load_inferencer`.
        max_pixels: Maximum number of pixels in an image file.
        multi_frame: What to do about a file with several images: inspect the ``"first"``, or ``"refuse"`` it.
        threads: Number of threads of the model; all cores by default.
        workers: Number of threads that read images; one for each core by default.
        mode: ``"throughput"`` for most images a second, ``"latency"`` for the shortest time per image (OpenVINO).
        precision: ``"float32"``, as in the engine, or less exact (OpenVINO): ``"bfloat16"`` is a quarter faster on
            processors that support it, ``"float16"`` is for GPU and NPU.
        window: Number of last images that are compared with the training images; ``None`` for all.
        threshold: Images with a higher score are anomalous, and pixels with a higher value are marked; ``None`` for the
            model's own threshold.
        rules: Which regions count; ``None`` for the rules of the model's record.
        unclipped: Whether a checkpoint or torch export of version 0.2 gives scores that are not clipped at 1.
        part_id: Regular expression that finds a part's name in the name of its file: its first group, or the whole.
        product: Name of the product in the results; by default the part.
        part: Of a checkpoint for several parts, the one that all images show.
        device: ``"cpu"``; ``"GPU"``, ``"NPU"`` or ``"AUTO"`` for OpenVINO models, ``"cuda"`` for others. The score of
            the first image is compared with the CPU's, and logged.

    Attributes:
        inferencer: The runtime of the model.
        threshold: Images with a higher score are anomalous.
        rules: Which regions count.
        drift: The monitor that compares images with the training images; ``None`` if the model's record has no
            reference.
        workers: Number of threads that keep the model busy: they read images and wait for predictions.

    Raises:
        FileNotFoundError: If the model does not exist.
        ImportError: If its runtime is not installed.
        ValueError: If the model cannot be used, or an argument is out of range.

    Example:
        ::

            inspector = Inspector("model.xml")
            for result in inspector(["parts"]):
                print(result.path, result.verdict, result.score)
            inspector.predict(camera_frame).boxes
    """

    def __init__(
        self,
        model: str | Path | Inferencer,
        *,
        max_pixels: int = MAX_PIXELS,
        multi_frame: MultiFrame = "first",
        threads: int | None = None,
        workers: int | None = None,
        mode: Literal["throughput", "latency"] = "throughput",
        precision: Precision = "float32",
        window: int | None = None,
        threshold: float | None = None,
        unclipped: bool = False,
        rules: RegionRules | None = None,
        part_id: str | None = None,
        product: str = "",
        device: str = "cpu",
        part: str | None = None,
    ) -> None:
        for name, value in (("threads", threads), ("workers", workers)):
            if value is not None and value < 1:
                msg = f"{name} must be at least 1, got {value}."
                raise ValueError(msg)
        if multi_frame not in {"first", "refuse"}:
            msg = f"multi_frame must be 'first' or 'refuse', got {multi_frame!r}."
            raise ValueError(msg)
        try:
            # Without a pattern nothing matches.
            self._part_id = re.compile("(?!)" if part_id is None else part_id)
        except re.error as error:
            msg = f"part_id must be a regular expression, got {part_id!r}: {error}."
            raise ValueError(msg) from error
        allow_pixels(max_pixels)
        self._device = device
        self._on_cpu: Inferencer | None = None
        if isinstance(model, Inferencer):
            self.inferencer = model
        else:
            self.inferencer = load_inferencer(Path(model), threads, mode, precision, device)
            self._on_cpu = None if is_cpu(device) else load_inferencer(Path(model), threads)
        if part is not None or self.inferencer.parts:
            self.inferencer = self.inferencer.of_part(part)
            self._on_cpu = None if self._on_cpu is None else self._on_cpu.of_part(part)
        self._region = Region.of_record(self.inferencer.record)
        self._outlined: tuple[tuple[int, int] | None, list[np.ndarray]] = (None, [])
        if unclipped:
            self.inferencer.unclip()
        if threshold is not None and not math.isfinite(threshold):
            msg = f"threshold must be a number, got {threshold}."
            raise ValueError(msg)
        self._trial = threshold
        self.threshold = self.inferencer.threshold if threshold is None else threshold
        self.rules = RegionRules.of(self.inferencer.record) if rules is None else rules
        reference = self.inferencer.reference
        self.drift = None if reference is None else DriftMonitor(reference, window)
        self._comparing = Lock()
        self._max_pixels = max_pixels
        self._multi_frame = multi_frame
        self._product = product or part or ""
        self.workers = (workers if workers is not None else os.cpu_count() or 1) + self.inferencer.parallel

    def __call__(self, paths: str | Path | Sequence[str | Path], pictures: bool = False) -> Iterator[InspectionResult]:
        """Inspect image files; one that cannot be inspected has the verdict ``"error"`` and a reason.

        Args:
            paths: Files, folders (searched at any depth) or patterns.
            pictures: Whether results hold image, map and mask, which take memory as long as a result is kept.

        Returns:
            Results in the order of the files, each as soon as it is known.
        """
        given = [paths] if isinstance(paths, str | Path) else paths
        return self.inspect(find_images(map(str, given)), pictures)

    def inspect(
        self,
        sources: Iterable[Source],
        pictures: bool = False,
        each: Sequence[Callable[[InspectionResult], None]] = (),
        stop: Event | None = None,
    ) -> Iterator[InspectionResult]:
        """Inspect image files as their paths arrive.

        Args:
            sources: The files.
            pictures: Whether results hold image, map and mask.
            each: Called with each result and its picture before it is yielded, in the thread that has computed it: for
                slow work that need not be in order.
            stop: When it is set, no more sources are taken.

        Returns:
            Results in the order of the files, each as soon as it is known.
        """

        def work(source: Source) -> tuple[InspectionResult, np.ndarray | None]:
            result, statistics = self.inspect_file(source)
            for act in each:
                act(result)
            return result if pictures else replace(result, picture=None), statistics

        return (self.compare(*found) for found in in_order(work, sources, self.workers, stop))

    def inspect_one(self, source: Source) -> InspectionResult:
        """Inspect an image file in the calling thread; may be called from several threads.

        Returns:
            The result, with its picture and drift.
        """
        return self.compare(*self.inspect_file(source))

    def predict(
        self, image: np.ndarray, path: str = "", channels: Channels = "RGB", part_id: str | None = None
    ) -> InspectionResult:
        """Inspect an image in memory, such as a camera's frame.

        Args:
            image: 8-bit pixels of shape ``(H, W, 3)``, or grey ones of shape ``(H, W)`` or ``(H, W, 1)``.
            path: Name of the image in the result.
            channels: Order of the colours: ``"RGB"``, or ``"BGR"`` as in OpenCV's arrays.
            part_id: Name of the part in the result; by default from ``path``, by the inspector's pattern.

        Returns:
            The result, with its picture.

        Raises:
            TypeError: If the image is not an array of 8-bit pixels.
            ValueError: If it has another shape, the model does not accept its size, or ``channels`` is something else.
        """
        if channels not in get_args(Channels):
            msg = f"channels must be 'RGB' or 'BGR', got {channels!r}."
            raise ValueError(msg)
        pixels = _rgb(image)
        if channels == "BGR":
            pixels = np.ascontiguousarray(pixels[..., ::-1])
        if reason := self._misfit(pixels.shape[0], pixels.shape[1]):
            raise ValueError(reason)
        result, statistics = self._inspect_pixels(path, pixels)
        return self.compare(self._labelled(result, part_id), statistics)

    def judge(self, image: np.ndarray, path: str = "") -> InspectionResult:
        """Inspect an image in memory: alias of :meth:`predict`, its name in version 0.2."""
        warnings.warn(
            "Inspector.judge is now Inspector.predict; the old name works until version 0.4.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.predict(image, path)

    def inspect_file(self, source: Source) -> tuple[InspectionResult, np.ndarray | None]:
        """Inspect an image file without comparing it with the training images; an error does not stop the run.

        Returns:
            The result, with its picture, and the image's statistics for :meth:`compare`.
        """
        result, statistics = self._inspect_file(source)
        return self._labelled(result, source.part_id), statistics

    def _inspect_file(self, source: Source) -> tuple[InspectionResult, np.ndarray | None]:
        """Inspect an image file; the time and the part's name are added afterwards."""
        if source.missing:
            return self._error(source.path, source.missing)
        start = perf_counter()
        pixels: Any = source.pixels
        if pixels is None:
            try:
                facts, pixels = read_file(source.to_decode(), self._max_pixels)
            except OSError as error:
                return self._error(source.path, str(error))
            for problem in check_image(source.path, facts):
                if problem.severity == "error":
                    return self._error(source.path, problem.message)
            if facts.frames > 1 and self._multi_frame == "refuse":
                return self._error(source.path, f"the file holds {facts.frames} images, but multi_frame is 'refuse'.")
            height, width = facts.height, facts.width
        else:
            height, width = pixels.shape[:2]
        if reason := self._misfit(height, width):
            return self._error(source.path, reason)
        reading = 1e3 * (perf_counter() - start)
        try:
            return self._inspect_pixels(source.path, np.asarray(pixels), reading)
        except Exception as error:  # torch, ONNX Runtime and OpenVINO raise errors of their own types
            return self._error(source.path, f"the image cannot be inspected ({' '.join(str(error).split())}).")

    def _inspect_pixels(
        self, path: str, pixels: np.ndarray, reading: float = 0.0
    ) -> tuple[InspectionResult, np.ndarray | None]:
        """Inspect pixels that the model accepts, and compute their statistics for drift."""
        inferencer = self.inferencer
        start = perf_counter()
        statistics = None if self.drift is None else image_statistics(pixels)
        reading += 1e3 * (perf_counter() - start)
        found = inferencer.predict(pixels)
        with self._comparing:
            on_cpu, self._on_cpu = self._on_cpu, None
        if on_cpu is not None:
            compare_with_cpu(self._device, found, on_cpu, pixels)
        found = self._tried(found)
        if not math.isfinite(found.score):
            return self._error(path, "the model's score is not a number.")
        size = (pixels.shape[0], pixels.shape[1])
        anomaly_map, mask = (
            None if plane is None else on_whole_image(plane, size, inferencer.record.get("crop", ()))
            for plane in (found.anomaly_map, found.mask)
        )
        boxes = () if mask is None else find_regions(mask, anomaly_map, size, self.rules)
        anomalous = found.anomalous
        if self.rules and mask is not None:
            anomalous = anomalous and any(not region.ignored for region in boxes)
        result = InspectionResult(
            path,
            "anomalous" if anomalous else "normal",
            round(found.score, 6),
            self.threshold,
            boxes,
            round(reading + found.milliseconds, 1),
            inferencer.record_id,
            AS_A_WHOLE if anomalous and mask is not None and not boxes else "",
            product=self._product,
            **_alignment(found, size, cropped=bool(inferencer.record.get("crop"))),
            picture=Picture(pixels, anomaly_map, mask, self._outlines(size)),
        )
        return result, statistics

    def _outlines(self, size: tuple[int, int]) -> list[np.ndarray]:
        """Outlines of the region of interest in an image of a height and width; they are kept for the next image."""
        if self._region is None:
            return []
        known, outlines = self._outlined
        if known != size:
            outlines = self._region.outlines(size)
            self._outlined = size, outlines
        return outlines

    def _tried(self, found: Prediction) -> Prediction:
        """A prediction at another threshold, if one is given."""
        if self._trial is None:
            return found
        mask = None if found.anomaly_map is None else ~(found.anomaly_map <= self._trial)
        return replace(found, anomalous=found.score > self._trial, mask=mask)

    def _labelled(self, result: InspectionResult, part_id: str | None = None) -> InspectionResult:
        """Add the time and the part's name."""
        if part_id is None and (found := self._part_id.search(Path(result.path).name)):
            part_id = found[1] if found.re.groups else found[0]
        return replace(result, time=current_time(), part_id=part_id or "")

    def compare(self, result: InspectionResult, statistics: np.ndarray | None) -> InspectionResult:
        """Add to a result whether the images up to this one differ from the training images.

        Args:
            result: The result.
            statistics: The image's statistics; ``None`` if it could not be inspected.
        """
        if self.drift is None:
            return result
        with self._comparing:
            drifted = self.drift.drifted
            if statistics is not None and result.score is not None:
                drifted = self.drift.add(statistics, result.score)
        return replace(result, drift="" if drifted is None else "yes" if drifted else "no")

    def _error(self, path: str, reason: str) -> tuple[InspectionResult, None]:
        at, model = self.threshold, self.inferencer.record_id
        return InspectionResult(path, "error", threshold=at, model=model, reason=reason, product=self._product), None

    def _misfit(self, height: int, width: int) -> str | None:
        """The reason why the model does not accept an image's size."""
        if self._region is not None:
            try:
                self._region.check_aspect((height, width), "the image")
            except ValueError as error:
                return str(error)
        size = self.inferencer.image_size
        if size is None or size == (height, width):
            return None
        return (
            f"the image has {width} x {height} pixels, the model accepts only {size[1]} x {size[0]}; resize it, or "
            "export the model without --input_size."
        )


def _alignment(found: Prediction, size: tuple[int, int], cropped: bool) -> dict[str, Any]:
    """What a row says about the registration of an image of a height and width."""
    if found.registration is None:
        return {}
    certain, correlation, right, down = found.registration
    fields = {"aligned": "yes" if certain else "no", "correlation": round(correlation, 4)}
    # Of a crop the shares are others.
    return fields if cropped else {**fields, "shift_x": round(right * size[1], 2), "shift_y": round(down * size[0], 2)}


def current_time() -> str:
    """Return the time for a row: ISO 8601 with the zone, to the millisecond."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _rgb(image: np.ndarray) -> np.ndarray:
    """Give an array three equal channels if it is grey."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        msg = f"image must be a numpy array of uint8, got {kind}."
        raise TypeError(msg)
    grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    if not (grey or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape:
        msg = f"image must have shape (H, W), (H, W, 1) or (H, W, 3), got {image.shape}."
        raise ValueError(msg)
    return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if grey else image
